/* prequal - Google's balancer (Wydrowski, Kleinberg, Rumble, Archer, "Load is not what you should
 * balance: introducing Prequal", NSDI 2024).
 *
 * A pool of 16 probes, each with a server's requests in flight (RIF) and its latency. Those whose
 * RIF is above the 0.84 quantile of recent ones are hot; the cold one with the least latency is
 * taken, or the one with the least RIF if all are hot. Each request sends 3 probes to servers drawn
 * at random and removes one, the worst and the oldest in turn; a probe is good for 1 s and for
 * (1 + delta) / ((1 - pool/servers) * probes - removed) uses, and its RIF grows as it is used.
 *
 * Here a probe is answered at once, by the last report and our own count: it costs nothing and is
 * as fresh as news are. prequal: RIF by capacity, latency as the node's queue, prefill rate and
 * round trip say for this prompt. prequal_plain: RIF as it is, latency as first tokens of that node
 * at such a RIF took. Its aversion to servers that fail fast is left to isolation, as for all. */
#include <string.h>

#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

#define POOLS    4u  /* models */
#define POOL_MAX 64u /* probes */
#define RECENT   64u /* RIFs for the quantile */
#define LEVELS   4u  /* of RIF, for latencies: 1, 2..4, 5..16, more */
#define NEW_PART 0.3 /* of a latency among those of its level */
#define DELTA    1.0
#define USES_MAX 16.0

enum { HOT_QUANTILE, POOL_SIZE, PROBES, REMOVED, AGE_MS, KNOBS };

struct probe {
    uint32_t node, uses;
    uint64_t at_ns;
    double rif, latency_ms;
};

struct pool {
    struct probe probes[POOL_MAX];
    uint32_t count, requests;
    double recent[RECENT];
    uint32_t recent_count;
};

struct server {                /* as this client found it */
    double rif;                /* when it was used last */
    double latency_ms[LEVELS]; /* 0: none yet */
};

struct prequal {
    double knob[KNOBS];
    struct pool pools[POOLS];
    struct server servers[1]; /* [nodes] */
};

static void
prequal_init(void *state, const struct sim_rule_setup *setup)
{
    struct prequal *s = state;

    for (uint32_t i = 0; i < KNOBS; i++)
        s->knob[i] = setup->knobs[i];
}

static uint32_t
level_of(double rif)
{
    return rif < 2.0 ? 0 : rif < 5.0 ? 1 : rif < 17.0 ? 2 : 3;
}

static void
probe_drop(struct pool *pool, uint32_t at)
{
    memmove(&pool->probes[at], &pool->probes[at + 1],
            (--pool->count - at) * sizeof(pool->probes[0])); /* the oldest stays first */
}

/* Who may not serve this request, or is too old, is of no use. */
static void
pool_clean(struct pool *pool, const struct rule_input *input, double age_ms)
{
    for (uint32_t i = pool->count; i > 0; i--) {
        const struct probe *p = &pool->probes[i - 1];
        if ((double)(input->now_ns - p->at_ns) * 1e-6 > age_ms ||
            rule_find(input, p->node) == input->count)
            probe_drop(pool, i - 1);
    }
}

static double
latency_seen_ms(const struct prequal *s, uint32_t node, double rif)
{
    for (uint32_t level = level_of(rif) + 1; level > 0; level--) {
        if (s->servers[node].latency_ms[level - 1] > 0.0)
            return s->servers[node].latency_ms[level - 1];
    }
    return 0.0; /* nobody was there yet: worth a look */
}

static void
probe_send(struct prequal *s, struct pool *pool, const struct rule_input *input, struct rng *rng,
           bool weighted)
{
    const struct candidate *c = &input->candidates[rng_below(rng, input->count)];
    double servers = (double)input->count, size = s->knob[POOL_SIZE], uses, whole;
    struct probe p = {.node = c->node, .at_ns = input->now_ns};

    p.rif = (double)c->requests / rule_weight(c, weighted);
    if (weighted)
        p.latency_ms = (rule_queue_tokens(c) + rule_uncached_tokens(input, c)) * rule_token_ms(c) +
                       (double)c->rtt_ms;
    else
        p.latency_ms = latency_seen_ms(s, c->node, p.rif);
    uses = (1.0 - fmin(size / servers, 1.0)) * s->knob[PROBES] - s->knob[REMOVED];
    uses = uses > 0.0 ? fmin(USES_MAX, fmax(1.0, (1.0 + DELTA) / uses)) : USES_MAX;
    whole = floor(uses);
    p.uses = (uint32_t)whole + (rng_unit(rng) < uses - whole);
    for (uint32_t i = 0; i < pool->count; i++) { /* a node is in it once */
        if (pool->probes[i].node == p.node) {
            probe_drop(pool, i);
            break;
        }
    }
    while (pool->count >= (uint32_t)size)
        probe_drop(pool, 0);
    pool->probes[pool->count++] = p;
    pool->recent[pool->recent_count++ % RECENT] = p.rif;
}

/* RIFs above it are hot. */
static double
hot_above(const struct pool *pool, double quantile)
{
    uint32_t count = pool->recent_count < RECENT ? pool->recent_count : RECENT;
    uint32_t rank = (uint32_t)(quantile * (count - 1)), below;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t equal = 0;
        below = 0;
        for (uint32_t k = 0; k < count; k++) {
            below += pool->recent[k] < pool->recent[i];
            equal += pool->recent[k] == pool->recent[i];
        }
        if (below <= rank && rank < below + equal)
            return pool->recent[i];
    }
    return 0.0;
}

/* Is a better than b? All cold ones before all hot ones. */
static bool
better(const struct probe *a, const struct probe *b, double hot)
{
    bool a_hot = a->rif > hot, b_hot = b->rif > hot;
    double x = a_hot ? a->rif : a->latency_ms, y = b_hot ? b->rif : b->latency_ms;

    if (a_hot != b_hot)
        return b_hot;
    return x < y || (x == y && a->node < b->node);
}

static void
pool_remove(struct pool *pool, double hot)
{
    uint32_t worst = 0;

    if (pool->count == 0)
        return;
    if (pool->requests % 2 == 0) {
        for (uint32_t i = 1; i < pool->count; i++) {
            if (better(&pool->probes[worst], &pool->probes[i], hot))
                worst = i;
        }
    }
    probe_drop(pool, worst); /* the first: the oldest */
}

static size_t
choose(const struct rule_input *input, struct rng *rng, bool weighted)
{
    struct prequal *s = input->state;
    struct pool *pool = &s->pools[input->request.model % POOLS];
    uint32_t best = 0;
    size_t at;
    double hot;

    pool_clean(pool, input, s->knob[AGE_MS]);
    for (uint32_t i = 0; i < (uint32_t)(s->knob[PROBES] + 0.5); i++)
        probe_send(s, pool, input, rng, weighted);
    hot = hot_above(pool, s->knob[HOT_QUANTILE]);
    for (uint32_t i = 1; i < pool->count; i++) {
        if (better(&pool->probes[i], &pool->probes[best], hot))
            best = i;
    }
    at = rule_find(input, pool->probes[best].node);
    s->servers[input->candidates[at].node].rif = (double)input->candidates[at].requests;
    pool->probes[best].rif += 1.0 / rule_weight(&input->candidates[at], weighted);
    if (--pool->probes[best].uses == 0)
        probe_drop(pool, best);
    pool->requests++;
    for (uint32_t i = 0; i < (uint32_t)(s->knob[REMOVED] + 0.5); i++)
        pool_remove(pool, hot);
    return at;
}

static size_t
prequal_choose(const struct rule_input *input, struct rng *rng)
{
    return choose(input, rng, true);
}

static size_t
prequal_plain_choose(const struct rule_input *input, struct rng *rng)
{
    return choose(input, rng, false);
}

/* A first token came: that long it takes at the RIF that was there. */
static void
prequal_observe(void *state, const struct rule_news *news)
{
    struct server *server = &((struct prequal *)state)->servers[news->node];
    double *mean = &server->latency_ms[level_of(server->rif)];

    if (news->kind != RULE_NEWS_STARTED)
        return;
    *mean = *mean > 0.0 ? *mean + NEW_PART * ((double)news->since_ms - *mean)
                        : (double)news->since_ms;
}

static const struct sim_knob knobs[KNOBS] = {{"hot_quantile", 0.84, 0.3, 0.99, false},
                                             {"pool", 16.0, 4.0, POOL_MAX, true},
                                             {"probes", 3.0, 1.0, 16.0, true},
                                             {"removed", 1.0, 0.0, 2.0, false},
                                             {"age_ms", 1000.0, 100.0, 5000.0, true}};

static const double tuned[] = {0.8485, 8.692, 14.46, 1.905, 3561.0};

const struct sim_rule sim_rule_prequal = {
    .rule = {"prequal", RULE_WANTS_SEEN, prequal_choose, NULL},
    .source = "Wydrowski et al., NSDI 2024, by capacity",
    .state_bytes = sizeof(struct prequal),
    .node_bytes = sizeof(struct server),
    .init = prequal_init,
    .knobs = knobs,
    .knob_count = KNOBS,
    .tuned = tuned,
};

const struct sim_rule sim_rule_prequal_plain = {
    .rule = {"prequal_plain", RULE_WANTS_SEEN, prequal_plain_choose, prequal_observe},
    .source = "Wydrowski et al., NSDI 2024",
    .state_bytes = sizeof(struct prequal),
    .node_bytes = sizeof(struct server),
    .init = prequal_init,
    .knobs = knobs,
    .knob_count = KNOBS,
};
