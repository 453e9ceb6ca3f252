/* access - keys and their limits; see access.h.
 *
 * Tokens are taken by the client's own limit on the answer where it gave one, as it is usual: so
 * the key's limit is never passed by what is under way. Who gives none is counted by what answers
 * to this key have had so far, and what was too little is owed (base/bucket). */
#include "role/access.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

#define OUTPUT_TOKENS_FIRST 256u /* of an answer, before the key has had any */
#define OUTPUT_PART         16u  /* of the mean is replaced by each answer */

struct key_usage {
    _Atomic uint32_t refs; /* one per access that knows the key, one per request */
    _Atomic uint32_t in_flight;
    _Atomic uint32_t output_mean; /* tokens of an answer; racing loops may lose one of two */
    struct bucket requests, tokens;
    struct http_share share;                /* of the memory for bodies */
    unsigned char sha256[KEY_SHA256_BYTES]; /* of the key */
    uint64_t key_id;
};

static struct key_usage *
usage_ref(struct key_usage *u)
{
    atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
    return u;
}

static void
usage_unref(struct key_usage *u)
{
    if (u != NULL && atomic_fetch_sub_explicit(&u->refs, 1, memory_order_acq_rel) == 1)
        free(u);
}

static void
release_share(struct http_share *share)
{
    usage_unref(CONTAINER_OF(share, struct key_usage, share));
}

static struct key_usage *
usage_new(const struct key_entry *key)
{
    struct key_usage *u = calloc(1, sizeof(*u));

    if (u == NULL)
        return NULL;
    atomic_init(&u->refs, 1);
    atomic_init(&u->output_mean, OUTPUT_TOKENS_FIRST);
    u->share.release = release_share;
    memcpy(u->sha256, key->sha256, sizeof(u->sha256));
    memcpy(&u->key_id, key->sha256, sizeof(u->key_id));
    u->key_id |= 1; /* never 0, which says "no keys" */
    return u;
}

/* The counters of this key in an earlier access, or NULL. Both lists are sorted by hash; *at only
 * moves on. */
static struct key_usage *
usage_carried(const struct access *previous, const struct key_entry *key, size_t *at)
{
    if (previous == NULL)
        return NULL;
    while (*at < previous->keys.count) {
        int order = memcmp(previous->keys.list[*at].sha256, key->sha256, KEY_SHA256_BYTES);
        if (order == 0)
            return usage_ref(previous->usage[*at]);
        if (order > 0)
            return NULL;
        (*at)++;
    }
    return NULL;
}

enum err
access_init(struct access *a, const struct keys *keys, bool open, const struct access *previous,
            struct arena *arena)
{
    size_t at = 0;

    *a = (struct access){.open = open, .keys = *keys};
    if (keys->count == 0)
        return ERR_OK;
    a->usage = arena_zeroed(arena, keys->count * sizeof(struct key_usage *));
    if (a->usage == NULL)
        return ERR_FULL;
    for (size_t i = 0; i < keys->count; i++) {
        a->usage[i] = usage_carried(previous, &keys->list[i], &at);
        if (a->usage[i] == NULL)
            a->usage[i] = usage_new(&keys->list[i]);
        if (a->usage[i] == NULL)
            return ERR_MEMORY;
    }
    return ERR_OK;
}

void
access_fini(struct access *a)
{
    for (size_t i = 0; a->usage != NULL && i < a->keys.count; i++)
        usage_unref(a->usage[i]);
    *a = (struct access){0};
}

/* The key text of a request: `Authorization: Bearer` or `x-api-key`; empty when there is none. */
static struct span
key_text(const struct http_request *r)
{
    static const char bearer[] = "Bearer ";
    struct span value = http_request_header(r, SPAN_LIT("authorization"));
    const size_t prefix_bytes = sizeof(bearer) - 1;

    if (value.bytes > prefix_bytes &&
        span_eq_nocase((struct span){value.data, prefix_bytes}, SPAN_LIT("Bearer ")))
        return span_trim(span_from(value, prefix_bytes));
    return span_trim(http_request_header(r, SPAN_LIT("x-api-key")));
}

static enum access_verdict
find(const struct access *a, const struct http_request *r, uint64_t wall_s,
     const struct key_entry **ret_key)
{
    struct span text;

    *ret_key = NULL;
    if (a->open)
        return ACCESS_GRANTED;
    text = key_text(r);
    if (text.bytes == 0)
        return ACCESS_NO_KEY;
    if (text.bytes > KEY_TEXT_BYTES_MAX)
        return ACCESS_UNKNOWN_KEY;
    /* Who was admitted was hashed then; whether the key is still known is asked again. */
    *ret_key = r->share != NULL
                   ? keys_find_sha256(&a->keys,
                                      CONTAINER_OF(r->share, struct key_usage, share)->sha256)
                   : keys_find(&a->keys, text);
    if (*ret_key == NULL)
        return ACCESS_UNKNOWN_KEY;
    return (*ret_key)->expires_s != 0 && wall_s >= (*ret_key)->expires_s ? ACCESS_EXPIRED
                                                                         : ACCESS_GRANTED;
}

/* Without keys there is nobody to be put before others: clients say themselves. */
static struct access_grant
grant_of(const struct access *a, const struct key_entry *key)
{
    if (key == NULL)
        return (struct access_grant){
            .priority = PRIORITY_NORMAL, .best = PRIORITY_HIGH, .preferences = KEY_PREFERENCES_ALL};
    return (struct access_grant){.key = key,
                                 .key_id = a->usage[key - a->keys.list]->key_id,
                                 .requests_max = key->requests_per_minute_max,
                                 .tokens_max = key->tokens_per_minute_max,
                                 .priority = key->priority,
                                 .best = key->best,
                                 .preferences = key->preferences};
}

enum access_verdict
access_who(const struct access *a, const struct http_request *r, uint64_t wall_s,
           struct access_grant *ret_grant)
{
    const struct key_entry *key;
    enum access_verdict verdict = find(a, r, wall_s, &key);

    *ret_grant = grant_of(a, key);
    return verdict;
}

struct http_share *
access_share(const struct access *a, const struct access_grant *grant)
{
    if (grant->key == NULL)
        return NULL;
    return &usage_ref(a->usage[grant->key - a->keys.list])->share;
}

/* Give back the place of a request. */
static void
leave_place(struct access_grant *grant)
{
    atomic_fetch_sub_explicit(&grant->usage->in_flight, 1, memory_order_relaxed);
    usage_unref(grant->usage);
    grant->usage = NULL;
}

enum access_verdict
access_enter(const struct access *a, const struct http_request *r, struct access_time time,
             struct access_grant *ret_grant)
{
    enum access_verdict verdict = access_who(a, r, time.wall_s, ret_grant);
    const struct key_entry *key = ret_grant->key;
    struct key_usage *u;

    if (key == NULL || verdict != ACCESS_GRANTED)
        return verdict;
    u = a->usage[key - a->keys.list];
    if (atomic_fetch_add_explicit(&u->in_flight, 1, memory_order_relaxed) >= key->concurrency_max &&
        key->concurrency_max != 0) {
        atomic_fetch_sub_explicit(&u->in_flight, 1, memory_order_relaxed);
        ret_grant->limit = key->concurrency_max;
        return ACCESS_CONCURRENCY;
    }
    ret_grant->usage = usage_ref(u);
    if (ret_grant->requests_max != 0 &&
        !bucket_take(&u->requests, ret_grant->requests_max, 1, time.now_ns, &ret_grant->wait_ns)) {
        ret_grant->limit = ret_grant->requests_max;
        leave_place(ret_grant);
        return ACCESS_REQUESTS;
    }
    return ACCESS_GRANTED;
}

enum access_verdict
access_take(struct access_grant *grant, uint64_t prompt_tokens, uint64_t output_max,
            uint64_t now_ns)
{
    struct key_usage *u = grant->usage;
    uint64_t tokens;

    if (u == NULL || grant->tokens_max == 0)
        return ACCESS_GRANTED;
    if (output_max == 0)
        output_max = atomic_load_explicit(&u->output_mean, memory_order_relaxed);
    if (__builtin_add_overflow(prompt_tokens, output_max, &tokens))
        tokens = UINT64_MAX;
    if (!bucket_take(&u->tokens, grant->tokens_max, tokens, now_ns, &grant->wait_ns)) {
        grant->limit = grant->tokens_max;
        return ACCESS_TOKENS;
    }
    grant->tokens = tokens;
    return ACCESS_GRANTED;
}

static void
learn_output(struct key_usage *u, uint64_t output_tokens)
{
    uint32_t mean = atomic_load_explicit(&u->output_mean, memory_order_relaxed);
    uint64_t sum = (uint64_t)mean * (OUTPUT_PART - 1) + output_tokens;

    sum = (sum + OUTPUT_PART / 2) / OUTPUT_PART;
    atomic_store_explicit(&u->output_mean, sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX,
                          memory_order_relaxed);
}

void
access_leave(struct access_grant *grant, uint64_t prompt_tokens, uint64_t output_tokens,
             uint64_t now_ns)
{
    struct key_usage *u = grant->usage;

    if (u == NULL)
        return;
    if (grant->tokens_max != 0) {
        bucket_settle(&u->tokens, grant->tokens_max, grant->tokens, prompt_tokens + output_tokens,
                      now_ns);
        if (output_tokens > 0)
            learn_output(u, output_tokens);
    }
    leave_place(grant);
}

void
access_cancel(struct access_grant *grant, uint64_t now_ns)
{
    if (grant->usage == NULL)
        return;
    if (grant->requests_max != 0)
        bucket_settle(&grant->usage->requests, grant->requests_max, 1, 0, now_ns);
    access_leave(grant, 0, 0, now_ns);
}

struct bucket_view
access_requests(const struct access_grant *grant, uint64_t now_ns)
{
    if (grant->usage == NULL || grant->requests_max == 0)
        return (struct bucket_view){0, 0};
    return bucket_look(&grant->usage->requests, grant->requests_max, now_ns);
}

struct bucket_view
access_tokens(const struct access_grant *grant, uint64_t now_ns)
{
    if (grant->usage == NULL || grant->tokens_max == 0)
        return (struct bucket_view){0, 0};
    return bucket_look(&grant->usage->tokens, grant->tokens_max, now_ns);
}
