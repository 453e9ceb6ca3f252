#ifndef ROLE_GATEWAY_ACCESS_H
#define ROLE_GATEWAY_ACCESS_H
/* access - who may ask, and how much: the key of a request, its limit on requests at once and on
 * tokens a minute. The counters are shared by all loops (atomics) and live on over a reload of the
 * keys file, found again by the key's hash. */
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "io/http_server.h"
#include "wire/keys.h"

struct key_usage; /* the counters of one key */

struct access {
    bool open; /* auth: none, or no keys file on loopback: everybody may ask */
    struct keys keys;
    struct key_usage **usage; /* one a key, in the order of keys.list */
};

enum access_verdict {
    ACCESS_GRANTED,
    ACCESS_NO_KEY,      /* 401: none was given */
    ACCESS_UNKNOWN_KEY, /* 401 */
    ACCESS_CONCURRENCY, /* 429: the key's limit on requests at once */
    ACCESS_TOKENS       /* 429: the key's tokens of this minute are used up */
};

struct access_grant {
    struct key_usage *usage; /* NULL: nothing is counted */
    uint64_t key_id;         /* the same for all requests with this key; 0 without keys */
    uint64_t wait_ns;        /* ACCESS_TOKENS: until the next minute begins */
    uint64_t limit;          /* the limit that was reached */
    enum priority priority;  /* class of its requests */
    enum priority best;      /* the highest that a client may claim */
};

/* Set *a up over keys (which live in arena, as *a will). previous may be NULL; counters of keys
 * that are in both go on. ERR_FULL, ERR_MEMORY: *a needs access_fini all the same. */
MUST_USE enum err access_init(struct access *a, const struct keys *keys, bool open,
                              const struct access *previous, struct arena *arena);
void access_fini(struct access *a);

/* Who asks? Does not count. Grants without wait, or says why not. */
enum access_verdict access_who(const struct access *a, const struct http_request *r,
                               struct access_grant *ret_grant);
/* The same and, when granted, counts the request in: access_leave must follow. */
enum access_verdict access_enter(const struct access *a, const struct http_request *r,
                                 uint64_t now_ns, struct access_grant *ret_grant);
/* The request is over; it used so many tokens. */
void access_leave(struct access_grant *grant, uint64_t tokens, uint64_t now_ns);
#endif
