/* access - keys and their limits; see access.h.
 * A window of tokens is a whole minute of the clock: simple, and at a border at most twice the
 * limit. A request is let in while tokens are left and pays what it used when it ends. */
#include "role/gateway/access.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_NS 60000000000u

struct key_usage {
    _Atomic uint32_t refs; /* one per access that knows the key, one per request */
    _Atomic uint32_t in_flight;
    _Atomic uint64_t minute; /* which one `tokens` counts */
    _Atomic uint64_t tokens;
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

static struct key_usage *
usage_new(const struct key_entry *key)
{
    struct key_usage *u = calloc(1, sizeof(*u));

    if (u == NULL)
        return NULL;
    atomic_init(&u->refs, 1);
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
find(const struct access *a, const struct http_request *r, const struct key_entry **ret_key)
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
    *ret_key = keys_find(&a->keys, text);
    return *ret_key != NULL ? ACCESS_GRANTED : ACCESS_UNKNOWN_KEY;
}

/* Without keys there is nobody to be put before others: clients say themselves. */
static struct access_grant
grant_of(const struct key_entry *key)
{
    if (key == NULL)
        return (struct access_grant){.priority = PRIORITY_NORMAL, .best = PRIORITY_HIGH};
    return (struct access_grant){.priority = key->priority, .best = key->priority};
}

enum access_verdict
access_who(const struct access *a, const struct http_request *r, struct access_grant *ret_grant)
{
    const struct key_entry *key;
    enum access_verdict verdict = find(a, r, &key);

    *ret_grant = grant_of(key);
    if (key != NULL)
        ret_grant->key_id = a->usage[key - a->keys.list]->key_id;
    return verdict;
}

/* Begin a new minute when it is time. Two loops may do so at once: one of them wins, and at most a
 * few tokens of the first requests are lost. */
static void
turn_minute(struct key_usage *u, uint64_t now_ns)
{
    uint64_t minute = now_ns / MINUTE_NS;
    uint64_t seen = atomic_load_explicit(&u->minute, memory_order_relaxed);

    if (seen != minute && atomic_compare_exchange_strong(&u->minute, &seen, minute))
        atomic_store_explicit(&u->tokens, 0, memory_order_relaxed);
}

enum access_verdict
access_enter(const struct access *a, const struct http_request *r, uint64_t now_ns,
             struct access_grant *ret_grant)
{
    const struct key_entry *key;
    enum access_verdict verdict = find(a, r, &key);
    struct key_usage *u;

    *ret_grant = grant_of(key);
    if (key == NULL)
        return verdict;
    u = a->usage[key - a->keys.list];
    ret_grant->key_id = u->key_id;
    if (key->tokens_per_minute_max != 0) {
        turn_minute(u, now_ns);
        if (atomic_load_explicit(&u->tokens, memory_order_relaxed) >= key->tokens_per_minute_max) {
            ret_grant->wait_ns = MINUTE_NS - now_ns % MINUTE_NS;
            ret_grant->limit = key->tokens_per_minute_max;
            return ACCESS_TOKENS;
        }
    }
    if (atomic_fetch_add_explicit(&u->in_flight, 1, memory_order_relaxed) >= key->concurrency_max &&
        key->concurrency_max != 0) {
        atomic_fetch_sub_explicit(&u->in_flight, 1, memory_order_relaxed);
        ret_grant->limit = key->concurrency_max;
        return ACCESS_CONCURRENCY;
    }
    ret_grant->usage = usage_ref(u);
    return ACCESS_GRANTED;
}

void
access_leave(struct access_grant *grant, uint64_t tokens, uint64_t now_ns)
{
    struct key_usage *u = grant->usage;

    if (u == NULL)
        return;
    grant->usage = NULL;
    turn_minute(u, now_ns);
    atomic_fetch_add_explicit(&u->tokens, tokens, memory_order_relaxed);
    atomic_fetch_sub_explicit(&u->in_flight, 1, memory_order_relaxed);
    usage_unref(u);
}
