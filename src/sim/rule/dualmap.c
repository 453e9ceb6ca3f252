/* dualmap - two candidates by two hashes of the prompt's beginning (Yuan et al., "DualMap: enabling
 * both cache affinity and load balancing for distributed LLM serving", ICLR 2026, arXiv
 * 2602.06502): the one that has more of the prompt cached, unless its time to first token would
 * exceed the SLO; then, and when neither has more, the one that would answer first.
 *
 * How much of the beginning is hashed is a knob: what all share, as a system prompt, would put all
 * of them on two nodes. A prompt that nobody can hash (unknown text, no conversation) gets two
 * nodes drawn at random. Its rings of instances are rendezvous hashing here: the same two nodes as
 * long as both are there. Not modelled: moving requests that wait from hot to cold instances; a
 * gateway has handed them over. dualmap: rings by capacity, a node's own prefill rate, and the
 * round trip. dualmap_plain: rings with all nodes alike, and no network. */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

enum { SLO_MS, KEY_KIB, KNOBS };

struct dualmap {
    double knob[KNOBS];
};

static void
dualmap_init(void *state, const struct sim_rule_setup *setup)
{
    struct dualmap *s = state;

    for (uint32_t i = 0; i < KNOBS; i++)
        s->knob[i] = setup->knobs[i];
}

/* What two prompts have in common that belong together; 0: nothing is known of it. */
static uint64_t
key_of(const struct dualmap *s, const struct rule_request *r)
{
    uint32_t border = (uint32_t)(s->knob[KEY_KIB] + 0.5) - 1; /* borders are KiB up to 64 */

    if (r->chain == NULL)
        return r->session;
    return r->chain->hashes[border < r->chain->count ? border : r->chain->count - 1];
}

/* Where the key belongs on the ring with this salt; input->count > 1: never `except`. */
static size_t
ring(const struct rule_input *input, uint64_t key, uint64_t salt, size_t except, bool weighted)
{
    size_t best = input->count;
    double best_rank = 0.0;

    for (size_t i = 0; i < input->count; i++) {
        const struct candidate *c = &input->candidates[i];
        uint64_t hash = rule_mix(key ^ rule_mix(c->node + (salt << 32)));
        double rank = (double)((hash >> 12) + 1) * 0x1p-52; /* (0, 1] */
        if (weighted) /* the least of exponentials with these rates: by capacity */
            rank = fmath_log(rank) / (double)c->weight;
        if (i == except)
            continue;
        if (best == input->count || rank > best_rank ||
            (rank == best_rank && c->node < input->candidates[best].node)) {
            best = i;
            best_rank = rank;
        }
    }
    return best == input->count ? except : best;
}

static double
first_ms(const struct rule_input *input, const struct candidate *c, bool weighted)
{
    double ms = (rule_queue_tokens(c) + rule_uncached_tokens(input, c)) * rule_token_ms(c);

    return weighted ? ms + (double)c->rtt_ms : ms;
}

static size_t
choose(const struct rule_input *input, struct rng *rng, bool weighted)
{
    const struct dualmap *s = input->state;
    uint64_t key = key_of(s, &input->request);
    const struct candidate *c[2];
    size_t two[2], warm;
    double ms[2];

    if (key == 0)
        key = rng_u64(rng);
    key = rule_mix(key);
    two[0] = ring(input, key, 1, input->count, weighted);
    two[1] = ring(input, key, 2, two[0], weighted);
    for (size_t i = 0; i < 2; i++) {
        c[i] = &input->candidates[two[i]];
        ms[i] = first_ms(input, c[i], weighted);
    }
    if (c[0]->hit_tokens != c[1]->hit_tokens) {
        warm = c[1]->hit_tokens > c[0]->hit_tokens;
        if (ms[warm] <= s->knob[SLO_MS])
            return two[warm];
    }
    if (ms[0] == ms[1])
        return c[0]->node <= c[1]->node ? two[0] : two[1];
    return ms[0] < ms[1] ? two[0] : two[1];
}

static size_t
dualmap_choose(const struct rule_input *input, struct rng *rng)
{
    return choose(input, rng, true);
}

static size_t
dualmap_plain_choose(const struct rule_input *input, struct rng *rng)
{
    return choose(input, rng, false);
}

static const struct sim_knob knobs[KNOBS] = {
    {"slo_ms", 1000.0, 20.0, 20000.0, true},
    {"key_kib", 4.0, 1.0, 64.0, true},
};

const struct sim_rule sim_rule_dualmap = {
    .rule = {"dualmap", RULE_WANTS_SEEN, dualmap_choose, NULL},
    .source = "Yuan et al., arXiv 2602.06502, by capacity",
    .state_bytes = sizeof(struct dualmap),
    .init = dualmap_init,
    .knobs = knobs,
    .knob_count = KNOBS,
};

const struct sim_rule sim_rule_dualmap_plain = {
    .rule = {"dualmap_plain", RULE_WANTS_SEEN, dualmap_plain_choose, NULL},
    .source = "Yuan et al., arXiv 2602.06502",
    .state_bytes = sizeof(struct dualmap),
    .init = dualmap_init,
    .knobs = knobs,
    .knob_count = KNOBS,
};
