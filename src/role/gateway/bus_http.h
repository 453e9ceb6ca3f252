#ifndef ROLE_GATEWAY_BUS_HTTP_H
#define ROLE_GATEWAY_BUS_HTTP_H
/* bus_http - messages of the bus over HTTP: the same bytes, posted to /network/v1/bus/KIND.
 *
 * The admin side takes them from whoever may come in there. The public side takes them when the
 * configuration says so (`bus: {http: true}`), from anybody: a message is believed for what is
 * signed, and bounded in size, and in number for each client address, before that is looked at. So
 * who has no key of a member costs BUS_HTTP_PER_MINUTE_MAX signatures a minute and address at most,
 * a hundredth of a core.
 *
 * The answer is JSON: {"verdict": word, "words": why, "want": "hello", "full" or ""}. */
#include "base/bucket.h"
#include "io/http_server.h"

#define BUS_HTTP_PATH           "/network/v1/bus/"
#define BUS_HTTP_PER_MINUTE_MAX 12000u /* messages of one client address; of IPv6 a /64 is one */
#define BUS_HTTP_ADDRESSES      4096u  /* buckets: who shares one with another has less */

struct admin_call;
struct roster;

struct bus_http {
    /* by hash of the address; all lanes': */
    struct bucket buckets[BUS_HTTP_ADDRESSES];
    struct bucket strangers[BUS_HTTP_ADDRESSES]; /* nodes of which nothing is known */
};

/* POST /network/v1/bus/KIND. On the public side too. */
void bus_http_take(struct admin_call *call);
/* Is this the head of a message that may come in on the public side, with its body? */
bool bus_http_admits(const struct roster *roster, const struct http_request *r);
#endif
