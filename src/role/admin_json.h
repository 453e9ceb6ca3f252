#ifndef ROLE_ADMIN_JSON_H
#define ROLE_ADMIN_JSON_H
/* admin_json - answers of the admin side, a gateway's and a node agent's: JSON, and what a query
 * asks.
 *
 * cJSON leaves out what there is no memory for and goes on; so that no answer lacks something
 * without saying so, its allocator remembers, for each thread, that it failed. */
#include <cjson/cJSON.h>
#include <stdint.h>

#include "base/span.h"
#include "io/http_server.h"

/* Once, before the threads of a gateway or an agent. */
void admin_init(void);
/* Into the list, or, when that fails, freed. */
void admin_append(cJSON *list, cJSON *item);
/* json as text, for cJSON_free, and json is freed. NULL: memory was short while it was made. */
char *admin_print(cJSON *json);
/* Send json with this status and free it; NULL: out of memory. */
void admin_send(struct http_exchange *x, unsigned status, cJSON *json);
void admin_send_error(struct http_exchange *x, unsigned status, const char *code,
                      const char *message);
void admin_put_span(cJSON *object, const char *key, struct span value);
/* Rounded to three places; null when not finite. */
void admin_put_number(cJSON *object, const char *key, double value);
/* The value of this key in the query ("since=24h"), as it is written; empty: it is not there. */
struct span admin_query(const struct http_request *r, const char *key);
/* The name of the first parameter of the query that is none of `known` (words with a blank between
 * them); empty: there is none. */
struct span admin_query_unknown(const struct http_request *r, const char *known);
/* The value of a number in the query ("limit=10"), else `otherwise`. */
uint64_t admin_query_u64(const struct http_request *r, const char *key, uint64_t otherwise);
#endif
