#ifndef CORE_CORE_H
#define CORE_CORE_H
/* core - event in, bounded actions out.
 *
 * One core decides for one gateway. It reads no clock, file or socket, starts no thread, calls
 * nobody back and allocates nothing after core_init; its generator is part of its state. So the
 * same configuration and the same (now, event) pairs give the same actions on every machine: the
 * gateway and the simulator run this very code, and a record can be replayed byte for byte.
 *
 * One thread at a time (the gateway's door, role/gateway/decide.c, holds a lock around it). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/action.h"
#include "core/event.h"

#define CORE_NODES_MAX       131072u
#define CORE_MODELS_MAX      4096u
#define CORE_MODELS_USUAL    256u /* what a gateway makes room for: tables are models by regions */
#define CORE_REGIONS_MAX     64u  /* a bit set of regions is one word */
#define CORE_CLASSES_MAX     32u
#define CORE_NODE_MODELS_MAX 32u /* models of one node that are kept; in memory first */
#define CORE_REQUESTS_MAX    1048576u
#define CORE_PREFIX_MAX      67108864u
#define CORE_SKETCHES_MAX    1048576u

/* Sizes and seed: fixed for the life of a core. A plain value; part of a record's head. */
struct core_config {
    uint64_t seed;
    uint32_t nodes_max, models_max, regions_max, classes_max;
    uint32_t placements_max;     /* (node, model) pairs */
    uint32_t requests_max;       /* in flight */
    uint32_t own_region;         /* this gateway's */
    uint32_t rule;               /* enum rule_id, until an EVENT_SETTINGS */
    uint32_t prefix_entries_max; /* (border, placement) pairs that are remembered; 0: no index */
    uint32_t sketches_max;       /* (tenant, model, size of prompt) of known lengths; 0: 4096 */
    uint32_t holds_max;          /* requests held at once; 0: FAIR_HOLDS_DEFAULT */
};

struct core;

/* Bytes that core_init needs for *c; 0 when a field is out of range. */
size_t core_bytes(const struct core_config *c);

/* The part of it that is read a line here and a line there, for a good configuration: where large
 * pages save the most. */
void core_scattered(const struct core_config *c, size_t *ret_offset, size_t *ret_bytes);

/* Build a core in memory[bytes], 64-byte aligned and zeroed, which the caller owns and frees after
 * the last use of *ret_core. ERR_ARG: a field is out of range, or bytes < core_bytes(c). */
MUST_USE enum err core_init(void *memory, size_t bytes, const struct core_config *c,
                            struct core **ret_core);

/* Take one event at now_ns (monotonic; a smaller value than before counts as the one before).
 * *ret_actions is written whole: count, and decision.candidate_count, may be 0. Events that name
 * what does not exist (anything outside may be late or hostile) do nothing.
 * Only ret_actions->list[0..count) and decision.candidates[0..candidate_count) hold values. */
void core_step(struct core *core, uint64_t now_ns, const struct event *event,
               struct actions *ret_actions);

/* Choose by this rule from now on, whatever the settings say: for rules that core does not have.
 * rule_state is handed to it; the caller owns both, and keeps them as long as the core. */
struct rule;
void core_use_rule(struct core *core, const struct rule *rule, void *rule_state);

/* An event about this node (below config.nodes_max) comes soon: what it needs of the node is
 * fetched into the cache. Nothing is read or written, so others may be in the core meanwhile. */
void core_expect(const struct core *core, uint32_t node);

/* Where would this request (an EVENT_ARRIVED) go, and why? A copied generator, nothing reserved,
 * *core unchanged. */
void core_explain(const struct core *core, uint64_t now_ns, const struct event *arrived,
                  struct decision *ret_decision);

/* Are so many nodes silent that it may be us? (suspicion.h) */
bool core_suspects_itself(const struct core *core);

/* ---- Reading: short holds; at most CORE_VIEW_MAX nodes a call. */
#define CORE_VIEW_MAX 64u

/* What a node may be found to have said that was not so (claim.h). */
enum claim_kind {
    CLAIM_LOAD = 0, /* requests that it had */
    CLAIM_TOKENS,   /* tokens that it answered */
    CLAIM_ACK,      /* requests that we sent */
    CLAIM_ROOM,     /* slots that were free */
    CLAIM_READY,    /* a model that was ready */
    CLAIM_KIND_COUNT
};

/* With one model, by curve and residual: at full load, of either kind alone; on top of now. */
struct speed_view {
    float prefill_tok_s, decode_tok_s;
    float free_prefill_tok_s, free_decode_tok_s;
};

struct node_view {
    uint32_t node;
    uint16_t region, class, site, operator;
    uint32_t state; /* enum node_state */
    uint32_t slots, own_outstanding;
    float report_age_ms; /* NAN: never heard */
    float running, waiting, queue_tokens, kv_tokens_used, kv_tokens_cap;
    float rtt_ms, residual, spread, p_fail; /* residual: learned factor on times */
    uint32_t ejected;                       /* 1: out for failures */
    uint32_t ejected_for;                   /* the last of them, an enum failure */
    float ejected_left_ms;                  /* at most so long; NAN: it is not out */
    float silent_ms;         /* nothing is heard of it, and it does not answer; NAN: something is */
    uint32_t changes;        /* times that its speed changed at once */
    float changed_ago_ms;    /* since the last of them; NAN: never */
    struct speed_view speed; /* with the model it has ready that it answers with the fastest */
    uint32_t models_ready;
    float word; /* what its word is worth, 0..1 */
    uint32_t claims_tested, claims_broken[CLAIM_KIND_COUNT];
    uint32_t claim;      /* enum claim_kind of the last that was broken; the rest is about it: */
    float claimed, came; /* what it said; what was so */
    float broken_first_ago_ms, broken_last_ago_ms; /* any of them; NAN: never */
};

struct placement_view {
    uint32_t node;
    uint16_t model, state; /* enum model_state */
    float ready_in_ms;
    uint16_t region;
    uint32_t slots, requests; /* where it has slots of its own: those; what is there; else 0 */
    struct speed_view speed;  /* 0 unless it is ready */
};

/* Fill at most CORE_VIEW_MAX views of known nodes with index >= from; *ret_next is where to go on,
 * UINT32_MAX at the end. Returns how many. */
uint32_t core_view_nodes(const struct core *core, uint64_t now_ns, uint32_t from,
                         struct node_view *ret_views, uint32_t *ret_next);
uint32_t core_view_placements(const struct core *core, uint64_t now_ns, uint32_t from,
                              struct placement_view *ret_views, uint32_t *ret_next);

struct model_view {
    uint16_t model;
    float bytes_per_token[SCRIPT_CLASS_COUNT];
    float output_tokens_mean;
    float load; /* of its nodes: 1 is what they can take */
    uint64_t requests_total;
};
/* Requests that it knows of, and those of them that it holds. */
struct core_load_view {
    uint32_t requests, held;
};
void core_view_load(const struct core *core, struct core_load_view *ret_view);
/* The prefix index. */
struct prefix_view {
    uint64_t entries, entries_max;
    uint64_t evictions; /* entries that still counted and had to make room */
};
void core_view_prefix(const struct core *core, struct prefix_view *ret_view);
/* Second attempts beside late first ones, since the start. */
struct hedge_view {
    uint64_t late;                       /* attempts whose first token was overdue */
    uint64_t sent, won;                  /* second attempts; those that were first after all */
    uint64_t skipped_load;               /* none: the model's nodes are too busy */
    uint64_t skipped_budget;             /* none: it would add too much prefill */
    uint64_t skipped_slower;             /* none: nobody is expected to be faster */
    double prefill_tokens, extra_tokens; /* uncached, as predicted: of attempts, of second ones */
};
void core_view_hedges(const struct core *core, struct hedge_view *ret_view);
/* How much of a model is asked for in a region (demand.h). */
struct demand_rates {
    float requests_s, prompt_tok_s, output_tok_s; /* now */
    float usual_requests_s;                       /* over the last minutes */
    float ahead_requests_s;                       /* expected in a minute */
};
struct demand_view {
    uint16_t model, region;
    struct demand_rates all, told;                /* told: the part that other gateways count */
    float usual_prompt_tok_s, usual_output_tok_s; /* of what is counted here */
    float trend_requests_s_min;                   /* by how much all.requests_s rises a minute */
};
/* Regions that ever asked for one of the models from `from` on; as core_view_nodes. */
uint32_t core_view_demand(const struct core *core, uint64_t now_ns, uint32_t from,
                          struct demand_view *ret_views, uint32_t *ret_next);
/* What became of a directive. */
enum plan_state { PLAN_ASKED = 0, PLAN_LOADING, PLAN_DONE, PLAN_FAILED, PLAN_SILENT };

struct plan_view { /* a directive; the last first */
    uint32_t node;
    uint16_t model, reason;             /* enum plan_reason */
    uint32_t load;                      /* 1: load, 0: unload */
    uint32_t state;                     /* enum plan_state */
    float asked_ago_ms, changed_ago_ms; /* changed: its state */
    float worth_ms_s, load_ms;          /* as in the action */
};
uint32_t core_view_plan(const struct core *core, uint64_t now_ns, uint32_t from,
                        struct plan_view *ret_views, uint32_t *ret_next);
void core_view_model(const struct core *core, uint16_t model, struct model_view *ret_view);

/* What a model's nodes in a region can take, so that the goals still hold (headroom.h). */
enum headroom_limit {                       /* which would not, with more */
                      HEADROOM_PREFILL = 0, /* the first token */
                      HEADROOM_DECODE,      /* the time between two tokens */
                      HEADROOM_KV,          /* room for KV */
                      HEADROOM_SLOTS,       /* requests run at once */
                      HEADROOM_LIMITS
};

struct headroom_goals { /* p90s */
    float first_ms, first_per_token_ms, step_ms;
    bool is_first_configured, is_step_configured; /* else it is the default */
};
void core_view_goals(const struct core *core, struct headroom_goals *ret_goals);

/* A whole hour's outcome: where between two loads the goals ceased to hold. Requests/s. */
struct headroom_checked {
    uint64_t at_ns;   /* 0: there was none yet */
    float told_s;     /* what was told, on average */
    float held_s;     /* the highest load at which they held; NAN: none was looked at */
    float broke_s;    /* the lowest at which they did not, above it; NAN: none */
    float error_part; /* told over reached, less 1; NAN: the load never came near */
    uint32_t windows; /* that had enough requests to say something */
};

struct headroom_view {
    uint16_t model, region;
    uint32_t nodes;        /* ready, heard of, not ejected */
    uint32_t limit;        /* enum headroom_limit */
    float requests_s;      /* served now, by all gateways */
    float most_requests_s; /* that can be, with what else runs on these nodes */
    float prompt_tokens, uncached_tokens, output_tokens; /* of a usual request */
    float known_part;  /* of it, how far the nodes' speeds were measured there, 0..1 */
    float others_part; /* of the nodes' time, that other models take now, 0..1 */
    float correction;  /* learned by the checks; most_requests_s has it */
    struct headroom_checked checked;
    float checked_ago_ms; /* NAN: never */
};
/* Models from `from` on, in regions where they are known; as core_view_demand. */
uint32_t core_view_headroom(const struct core *core, uint64_t now_ns, uint32_t from,
                            struct headroom_view *ret_views, uint32_t *ret_next);
#endif
