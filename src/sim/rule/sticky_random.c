/* sticky_random - what OpenGradient's clients do: each draws any of the listed nodes once and stays
 * there until it fails, then draws again (opengradient SDK, tee_registry.py and tee_connection.py:
 * getActiveTEEs, random.choice, sticky). No probe, no load, no distance.
 *
 * Modelled: the draw, that it stays, the new draw after a failure. Not modelled: that the retry may
 * draw the very node that failed (our retries never do, for any rule), the list that is up to half
 * an hour old, the check of it every 300 s.
 *
 * A client is a conversation where the trace knows those; else each tenant counts as CLIENTS
 * processes that ask in turn, since a trace's tenant is a whole service. */
#include "sim/rule/rule_tools.h"
#include "sim/rule/rules.h"

#define CLIENTS 64u
#define SLOTS   65536u

struct sticky {
    uint32_t node[SLOTS]; /* + 1; 0: never drawn */
};

static uint64_t
client_of(const struct rule_request *r)
{
    uint64_t key = r->session != 0 ? r->session
                                   : ((uint64_t)r->tenant << 32 | rule_mix(r->id) % CLIENTS);

    return rule_mix(key ^ (uint64_t)r->model << 56);
}

static size_t
sticky_choose(const struct rule_input *input, struct rng *rng, bool weighted)
{
    struct sticky *s = input->state;
    uint32_t *mine = &s->node[client_of(&input->request) % SLOTS];
    size_t at = *mine == 0 ? input->count : rule_find(input, *mine - 1);

    if (at == input->count) {
        at = rule_draw(input, rng, weighted, input->count);
        *mine = input->candidates[at].node + 1;
    }
    return at;
}

static size_t
sticky_random_choose(const struct rule_input *input, struct rng *rng)
{
    return sticky_choose(input, rng, true);
}

static size_t
sticky_random_plain_choose(const struct rule_input *input, struct rng *rng)
{
    return sticky_choose(input, rng, false);
}

const struct sim_rule sim_rule_sticky_random = {
    .rule = {"sticky_random", RULE_WANTS_NOTHING, sticky_random_choose, NULL},
    .source = "OpenGradient's SDK, drawn by capacity",
    .state_bytes = sizeof(struct sticky),
};

const struct sim_rule sim_rule_sticky_random_plain = {
    .rule = {"sticky_random_plain", RULE_WANTS_NOTHING, sticky_random_plain_choose, NULL},
    .source = "OpenGradient's SDK, tee_registry.py",
    .state_bytes = sizeof(struct sticky),
};
