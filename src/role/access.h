#ifndef ROLE_ACCESS_H
#define ROLE_ACCESS_H
/* access - who may ask, and how much: the key of a request, its limits on requests at once,
 * requests a minute and tokens a minute, and what it may claim. The counters are shared by all
 * loops (atomics, no lock) and live on over a reload of the keys file, found again by the key's
 * hash.
 *
 * A request takes its place and itself when it comes, tokens when it is understood (as many as it
 * may need), and gives back at its end what it did not use. */
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bucket.h"
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
    ACCESS_EXPIRED,     /* 401 */
    ACCESS_MODEL,       /* 403: not one of the key's models */
    ACCESS_CONCURRENCY, /* 429: the key's limit on requests at once */
    ACCESS_REQUESTS,    /* 429: on requests a minute */
    ACCESS_TOKENS,      /* 429: on tokens a minute */
    ACCESS_VERDICTS
};

struct access_time {
    uint64_t now_ns; /* monotonic */
    uint64_t wall_s; /* since 1970 */
};

struct access_grant {
    struct key_usage *usage;     /* NULL: nothing is counted */
    const struct key_entry *key; /* NULL: none is needed. Of the fleet in which it was looked up */
    uint64_t key_id;             /* the same for all requests with this key; 0 without keys */
    uint64_t wait_ns;            /* of a limit on minutes that was reached: until it is not */
    uint64_t limit;              /* the limit that was reached */
    uint64_t requests_max, tokens_max; /* a minute; 0: no limit */
    uint64_t tokens;                   /* taken for this request */
    enum priority priority;            /* class of its requests */
    enum priority best;                /* the highest that a client may claim */
    uint32_t preferences;              /* set of enum key_preference */
};

/* Set *a up over keys (which live in arena, as *a will). previous may be NULL; counters of keys
 * that are in both go on. ERR_FULL, ERR_MEMORY: *a needs access_fini all the same. */
MUST_USE enum err access_init(struct access *a, const struct keys *keys, bool open,
                              const struct access *previous, struct arena *arena);
void access_fini(struct access *a);

/* Who asks? By its key, or, where r->share is one of access_share, by that: it was admitted by its
 * key. Does not count. Grants without limits, or says why not. */
enum access_verdict access_who(const struct access *a, const struct http_request *r,
                               uint64_t wall_s, struct access_grant *ret_grant);
/* The same and, when granted, counts the request in: access_leave must follow. */
enum access_verdict access_enter(const struct access *a, const struct http_request *r,
                                 struct access_time time, struct access_grant *ret_grant);
/* What bodies of this key's requests are counted in, which lives until its release; NULL: there is
 * no key. */
struct http_share *access_share(const struct access *a, const struct access_grant *grant);
/* It will need so many tokens for its prompt, and output_max more, 0: nobody knows, then as many as
 * answers to this key have had of late. At most once. ACCESS_TOKENS: it may not; access_cancel
 * must follow. */
enum access_verdict access_take(struct access_grant *grant, uint64_t prompt_tokens,
                                uint64_t output_max, uint64_t now_ns);
/* The request is over; this is what it used. output_tokens 0: nobody learns from it. */
void access_leave(struct access_grant *grant, uint64_t prompt_tokens, uint64_t output_tokens,
                  uint64_t now_ns);
/* The request was refused and counts as none. */
void access_cancel(struct access_grant *grant, uint64_t now_ns);

/* How it stands with the limits on minutes; {0, 0} where there is none. */
struct bucket_view access_requests(const struct access_grant *grant, uint64_t now_ns);
struct bucket_view access_tokens(const struct access_grant *grant, uint64_t now_ns);
#endif
