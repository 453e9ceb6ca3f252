#ifndef CORE_RULE_H
#define CORE_RULE_H
/* rule - how one of the candidates is picked. Each rule is one file, rule_<name>.c, with one pure
 * function; the same limits and the same retries stand around all of them. */
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "core/action.h"
#include "core/event.h"

/* What a gateway sees of a node, raw: for rules that do not predict as we do. */
struct rule_seen {
    float report_age_ms;    /* NAN: never heard */
    float running, waiting; /* as reported, ours among them; NAN unknown */
    float queue_tokens, kv_tokens_used, kv_tokens_cap; /* as reported; NAN unknown */
    float own_requests, own_waiting;                   /* ours in flight; not started */
    float own_queue_tokens, own_kv_tokens;             /* ours: prefill not started; reserved */
    float others_queue_tokens, others_kv_tokens;       /* as reported, ours taken off */
    float slots;                                       /* 0 unknown */
    struct curve curve;                                /* of its class for the model */
    float residual;                                    /* our learned factor on its times */
};

/* What a rule may look at. Candidates are nodes that may serve the request,
 * in no particular order: ties are broken by the lower node index. */
struct candidate {
    uint32_t node;
    uint32_t placement; /* core's own; no rule looks at it */
    uint16_t region;
    uint8_t own_region; /* 1: in the gateway's own region */
    uint8_t ready;      /* 1: the model is ready there */
    uint8_t barred;     /* core's own: enum why_not if it may not be chosen, else WHY_CHOSEN */
    float rtt_ms;
    float weight;       /* capacity: requests per second it can take, by its curve; > 0 */
    float requests;     /* running + waiting there as far as known, own ones counted */
    struct terms terms; /* zero unless the rule wants predictions */
    float hit_tokens;   /* of the prompt, expected in its prefix cache */
    float ext_ms, late_ms, kv_ms, fail_ms, stick_ms, word_ms, cost_ms;
    float load;            /* where there is a goal: part of what the node can hold that is taken */
    uint8_t fits;          /* 1: it meets the goal */
    struct rule_seen seen; /* zero unless it wants what is seen */
};

/* The request, as far as a rule may know it. */
struct rule_request {
    uint64_t id, session; /* session 0: none */
    uint16_t model, tenant;
    float prompt_tokens, output_tokens; /* as estimated */
    const struct prefix_chain *chain;   /* of its prompt, count >= 1; NULL: unknown */
};

struct rule_input {
    const struct candidate *candidates;
    size_t count;       /* >= 1 */
    uint32_t last_node; /* the choice before this one for the same model; NODE_ANY: none */
    uint64_t now_ns;
    float temperature; /* of a softmin, in sigmas of the difference; 0: the cheapest */
    float soft_ms;     /* how soon the first token should come, for the cost alone */
    struct rule_request request;
    void *state; /* as core_use_rule gave it */
};

/* What happened at a node, for rules that remember (the simulator's baselines). */
enum rule_news_kind { RULE_NEWS_DISPATCHED, RULE_NEWS_STARTED, RULE_NEWS_ENDED, RULE_NEWS_FAILED };
struct rule_news {
    enum rule_news_kind kind;
    uint32_t node;
    uint64_t now_ns, request;
    float since_ms; /* since the dispatch */
    float prompt_tokens, hit_tokens, output_tokens;
};

enum rule_wants {
    RULE_WANTS_NOTHING = 0, /* all candidates with weight, requests and round trip */
    RULE_WANTS_PREDICTION,  /* a sample with terms and costs */
    RULE_WANTS_SEEN         /* all candidates, with what is seen of them */
};

struct rule {
    const char *name; /* as in the configuration */
    uint32_t wants;   /* enum rule_wants */
    /* Index of the chosen candidate, < count. */
    size_t (*choose)(const struct rule_input *input, struct rng *rng);
    /* NULL, or told of everything that happens to requests. */
    void (*observe)(void *state, const struct rule_news *news);
};

extern const struct rule rule_time, rule_nearest, rule_least_request, rule_round_robin, rule_random;

/* By enum rule_id; NULL when there is none. */
const struct rule *rule_by_id(uint32_t id);
#endif
