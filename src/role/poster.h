#ifndef ROLE_POSTER_H
#define ROLE_POSTER_H
/* poster - what a node or a gateway says on the bus, posted to gateways over HTTP: so a small
 * network needs no server for its bus. What is said stands in a ring; each gateway is told one
 * message after the other, signed (wire/message_proof), over one kept connection; what it answers
 * says what it missed. Who does not answer is asked again after pauses that grow. On the loop of
 * its client. */
#include "base/rng.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "role/roster.h"
#include "wire/signature.h"

struct poster;

struct poster_options { /* all of it lives as long as the poster */
    struct loop *loop;
    struct http_client *client;
    struct rng *rng;
    const struct signature_secret *secret;
    /* NULL: who missed something hears what is said next, and nothing before it. Else a hello of at
     * most MESSAGE_BYTES_MAX, for who does not know us. */
    enum err (*greet)(void *user, char *ret_text, size_t *ret_bytes);
    /* NULL, or: one of them wants to hear all, however often it says so. */
    void (*wish)(void *user);
    void *user;
};

/* Nobody is told anything yet. ERR_MEMORY. */
MUST_USE enum err poster_open(const struct poster_options *options, struct poster **ret_poster);
/* From now on these are told, that have a URL: they live until the next change. On failure all is
 * as it was. ERR_MEMORY, ERR_FULL, ERR_IO. */
MUST_USE enum err poster_change(struct poster *p, const struct roster_node *gateways,
                                size_t gateway_count);
/* kind: as in the path, "report" is the longest. */
void poster_say(struct poster *p, const char *kind, struct span bytes);
size_t poster_count(const struct poster *p);
/* Nobody who is away is asked again; has everybody who listens heard what was said? */
void poster_end(struct poster *p);
bool poster_is_over(const struct poster *p);
/* NULL: does nothing. */
void poster_close(struct poster *p);

/* By gateway: messages that were heard, and that were not. */
typedef void poster_fn(struct span gateway, uint64_t posted, uint64_t failed, void *user);
void poster_each(const struct poster *p, poster_fn *fn, void *user);
#endif
