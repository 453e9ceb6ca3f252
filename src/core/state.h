#ifndef CORE_STATE_H
#define CORE_STATE_H
/* state - what core remembers, in one block of memory that the caller gave. Private to core: the
 * modules capacity, readiness, index, learn, isolation, choose, retry and explain share it.
 *
 * node_hot is one cache line: a decision reads only that, so 32 scattered candidates are 32 cache
 * lines. What a decision does not read is in node_cold.
 *
 * How much waits at a node is split into two parts that age differently: what others sent, as of
 * the last report, and what we sent, which we know exactly and at once (routing.md: own dispatches
 * counted, own work released when its first token is seen). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "core/core.h"
#include "core/fair.h"
#include "core/learn_curve.h"
#include "core/learn_output.h"
#include "core/predict.h"
#include "core/rule.h"

#define NONE              UINT32_MAX
#define INDEX_BUCKETS     32u
#define BUCKET_READY_LAST 27u /* 0..27: ready, by the cost of a usual request */
#define BUCKET_FULL       28u /* ready, but at its limit (limit), or it said so */
#define BUCKET_LOADING    29u
#define BUCKET_LOADABLE   30u /* on disk or asleep: a request wakes it */
#define BUCKET_OUT        31u /* known, no candidate: absent, downloading, failed, node not ready */

#define NODE_FLAG_USED    1u
#define NODE_FLAG_EJECTED 2u   /* isolation: until ejected_until_ns */
#define NODE_FLAG_BUSY    4u   /* it said so: until busy_until_ns */
#define NODE_FLAG_FRESH   8u   /* connections to it are never kept: each request pays a set-up */
#define NODE_FLAG_REPORTS 16u  /* has told its load at least once */
#define NODE_FLAG_DOUBTED 64u  /* it said what was not so: claim */
#define NODE_FLAG_PROBED  32u  /* asked since our last dispatch: that connection waits there */
#define NODE_FLAG_SLOTS   128u /* models on it have slots of their own (model_slots) */

#define FIXED_ONE 4096.0f /* of node_hot's 16-bit factors: 0..16 */
#define SHARE_ONE 65535.0f

struct node_hot {
    _Alignas(64) uint64_t report_ns; /* when the last report was true; 0: never heard */
    float others_requests;           /* running and waiting there, ours not counted */
    float others_queue_tokens;       /* uncached prefill tokens of others that waited */
    float others_kv_tokens;
    float kv_tokens_cap;     /* 0 unknown */
    float own_queue_tokens;  /* dispatched by us, not started */
    float own_recent_tokens; /* of those, what the last report could not have counted */
    float own_kv_tokens;     /* reserved by ours in flight */
    float rtt_ms;
    float residual;               /* factor, see learn */
    float spread;                 /* exp(sigma) - 1 */
    uint16_t own_requests, slots; /* in flight; run at once, 0 unknown */
    uint16_t share;               /* SHARE_ONE * (our part of what it was sent) */
    uint16_t residual_step;       /* FIXED_ONE * factor */
    uint16_t p_fail;              /* SHARE_ONE * probability */
    uint16_t connections;         /* kept to it, as far as our own dispatches tell */
    uint8_t class, region, state, flags;
};
_Static_assert(sizeof(struct node_hot) == 64, "a node is one cache line in a decision");

/* A running mean of ln(actual/predicted). */
struct residual {
    float count; /* effective number of observations */
    float mean, var;
};

/* A residual of one node: its mean is relative to its class's curve as that was `moved` then. */
struct own_residual {
    struct residual residual;
    float moved;
    float doubt;         /* variance on top, after a change */
    float up, down;      /* CUSUM, in sigmas */
    uint16_t ups, downs; /* outcomes in them */
};

enum load_tier {
    LOAD_WAKE = 0, /* from the host's memory */
    LOAD_DISK,
    LOAD_FETCH, /* over the network */
    LOAD_TIERS,
    LOAD_TOLD = LOAD_TIERS, /* what a node says of its loads under way */
    LOAD_KINDS
};

struct load_learned { /* load_time: a running mean of ln(actual / told) */
    float ln, count;
};

struct claim {          /* what a node says, held against what comes of it (claim) */
    float doubt;        /* 0: its word counts whole */
    uint16_t slots_had; /* when it turned one of ours away; 0: it never did */
    bool denied;        /* a model of its was not there when it was asked for */
    uint32_t tests, broken[CLAIM_KIND_COUNT];
    uint32_t kind; /* enum claim_kind of the last that was broken */
    float said, came;
    uint64_t first_ns, last_ns; /* when one was broken; 0: never */
    uint64_t room_ns;           /* it told of its room then; 0: what it told was no word */
    uint64_t swept_ns;
    uint64_t word_ns;    /* what is judged now was true then; 0: nothing is */
    uint64_t word_total; /* accepted_total in it */
    float word_requests;
    uint32_t word_acked;
    uint32_t witnesses;
    float witness_tokens;
};

struct node_cold {
    uint32_t epoch;
    uint32_t first_placement, first_attempt; /* attempts: newest first */
    uint32_t own_waiting;                    /* of own_requests, those not started */
    uint32_t serial,
        acked; /* of our last dispatch; of the last that its report counts, 0: unsaid */
    uint16_t site, operator;
    uint32_t identity;                                    /* where it stands in the ring */
    float running, waiting, queue_tokens, kv_tokens_used; /* as last read; NAN unknown */
    float share;
    /* Tokens that it counts, and of those answered to us: over some seconds; to us since its last
     * report. */
    float accepted_tokens, answered_tokens, answered_since;
    uint64_t accepted_total; /* as last read */
    uint64_t share_ns, decay_ns, dispatched_ns;
    struct own_residual first, step;
    float told_ln;  /* its factor as it says itself (learn_told); 0: it does not */
    uint32_t curve; /* [of core's curves] that their means are relative to; NONE */
    uint32_t changes;
    uint64_t changed_ns;
    bool tells_cached; /* its answers say how much of the prompt was in its cache */
    bool rtt_measured;
    float fresh_rate;                /* how often a connection that should be warm was not */
    float report_gap_ms;             /* suspicion: between reports; 0 unknown */
    bool asked;                      /* and it answered once */
    bool vouched;                    /* suspicion: it is ours, or of somebody whom we trust */
    uint64_t silent_ns;              /* it did not when asked, since then; 0: it did */
    float blame, detect_ms;          /* isolation */
    uint32_t ejections, ejected_for; /* enum failure that ejected it */
    uint64_t ejected_until_ns, busy_until_ns;
    float limit_tokens;             /* 0: never reached yet (limit) */
    float slowdown, slowdown_count; /* mean of actual over predicted */
    struct claim claim;
    struct load_learned load_told; /* what it says of its loads */
    struct {                       /* plan */
        bool steered;
        uint32_t ring_next, ring_prev; /* of those that are */
        uint32_t loads_max, loading;   /* models at once; now, as asked or told */
        float memory_mib, free_mib, fetch_mib_s;
        float victim_ms_s_mib; /* what its least model is worth, when it was looked at last */
        uint64_t asked_ns;     /* for a load, and nothing was heard of it since; 0: none */
        uint32_t asked_model;
        uint16_t asked_reason; /* enum plan_reason, and what it saves */
        bool makes_room; /* it is asked to unload first: the load is asked for when there is room */
        float asked_ms_s;
        uint64_t directive; /* the last one to it, counted from 1; 0: none */
    } plan;
    uint16_t model_slots; /* what one of its models was said to have for itself; 0: none */
    uint64_t headroom_ns; /* headroom: when it was visited last; 0: never */
    float headroom_ms;    /* and since when, HEADROOM_TAU_MS at most */
    float others_batch;   /* requests of other gateways there, a running mean */
};

struct placement { /* a model on a node */
    uint16_t model;
    uint8_t state, bucket;
    uint32_t node_next;   /* chain of its node */
    uint64_t ready_at_ns; /* when loading; 0 unknown. Ready: it was not, until then (claim) */
};

/* Beside each placement, read where its node has NODE_FLAG_SLOTS alone: all 0 where the model has
 * no slots of its own (model_slots). */
struct slotted {
    uint16_t slots;                     /* requests of it that run there at once */
    uint16_t own_requests, own_waiting; /* ours in flight; of those, not started */
    uint16_t others_requests;           /* as last told, ours not counted */
};

#define MODEL_LEAVING MODEL_STATE_COUNT /* a placement's: we asked for it to be unloaded */

struct pace {      /* headroom_pace: of a model on a node; sums over the last half minute, fading */
    float time_ms; /* that they are of */
    float work_ms; /* of ours that ended, by the speeds that were told */
    float tokens, step_ms; /* of answers after their first; how long these took */
    float news_tokens;     /* of them, since the node was visited last */
    float pace, count;     /* time over what was told; answers that it is known from */
};

struct placed {        /* beside each placement: what plan and load_time know of it */
    uint64_t since_ns; /* when it became ready, loading or leaving; 0: it was ready when it was
                          first heard of */
    /* A request of ours was sent there that makes the engine load it, and nothing else was heard of
     * it since; 0: none. The state before. */
    uint64_t asked_ns;
    uint64_t timed_ns; /* when it was learned last how long a load took; 0: never */
    float told_ms;     /* what its node said as the load began; NAN: nothing */
    uint8_t tier;      /* enum load_tier: it loads from there; LOAD_TIERS: nobody knows */
    uint8_t asked_from;
    bool is_alone; /* nothing else loaded there */
    bool pinned;
    uint8_t denials; /* requests in a row that found it not to be there (claim) */
    float sent_ms;   /* headroom: of ours a millisecond, a running mean */
    struct pace pace;
};

struct link { /* beside each placement: what a walk over a bucket's ring reads */
    uint32_t node, next, prev;
    uint32_t
        sent; /* headroom: of ours, since its node was visited last; a dispatch was here anyway */
};

/* What the nodes of a region have in common as seen from here: most of the way to them. */
struct region_path {
    float rtt_ms;       /* a running mean over its nodes */
    float jitter_ms;    /* by how much round trips exceed their node's, on average */
    float bytes_per_ms; /* what the path carries; 0 unknown */
};

struct class_curve { /* how fast a class runs a model: what a decision reads of it */
    struct curve curve;
    float kv_tokens_cap, load_ms;
    float weight; /* requests/s at full batch: the capacity by which baselines are weighted */
};

struct class_residual {
    struct residual residual; /* of all outcomes; variance around each node's own mean */
    float between;            /* variance of node means around the class mean */
    float moved;              /* ln of all that the curve moved since it is known */
    struct work usual;        /* what it is made of, a running mean */
};

struct class_learned { /* and how far that was off; all 0 until a node of it is seen */
    float cache_ln;    /* what its nodes' prefix caches keep, over what is thought: ln */
    bool begun;
    struct curve_filter filter;
    struct class_residual first, step;
    struct load_learned loads[LOAD_TIERS];
    float pace, pace_count; /* headroom_pace: the mean of its nodes, and of how many visits */
    /* What others have at its nodes, a running mean over reports. */
    float others_requests, others_queue_tokens, others_kv_tokens;
};

/* ---- The prefix index (prefix.c). */
#define PREFIX_WAYS        5u
#define PREFIX_PLACE_BITS  22u /* CORE_NODES_MAX * CORE_NODE_MODELS_MAX placements */
#define PREFIX_GENERATIONS 1024u
#define PREFIX_RATES       4096u

/* Which placement holds the text up to which border: one cache line, newest first. */
struct prefix_bucket {
    _Alignas(64) uint32_t tags[PREFIX_WAYS];
    uint32_t places[PREFIX_WAYS]; /* placement | generation << PREFIX_PLACE_BITS; 0: empty */
    uint32_t stamps[PREFIX_WAYS]; /* the placement's clock when it was dispatched */
};
_Static_assert(sizeof(struct prefix_bucket) == 64, "a probe is one cache line");
_Static_assert(CORE_NODES_MAX *CORE_NODE_MODELS_MAX <= 1u << PREFIX_PLACE_BITS, "all fit");

struct prefix_cache {     /* the prefix cache of a placement */
    uint32_t clock;       /* prompt tokens computed there, others' too; wraps */
    uint32_t size_tokens; /* of that many it keeps what it computed */
    float size_ln;        /* learned: what it keeps, over what is thought of its class: ln */
    uint32_t generation;  /* 1 .. PREFIX_GENERATIONS - 1: entries of another one are dead */
};

/* Where a node is not known to hold the beginning of a prompt, and may all the same. */
enum prefix_guess {
    PREFIX_GUESS_NONE = 0,
    PREFIX_GUESS_RING,   /* nobody is known to; other gateways send the same where the ring says */
    PREFIX_GUESS_COMMON, /* more nodes hold it than are remembered */
    PREFIX_GUESS_COUNT
};

struct prefix_rate { /* how often a border is the deepest that a request shares with others */
    uint64_t hash, noted_ns;
    float per_s;
};

struct prefix_dispatch { /* chosen, and not yet in the index */
    uint32_t request, placement;
    float uncached_tokens;
    uint64_t matched; /* the deepest border that somebody held; 0: none */
};

struct prefix_index {
    struct prefix_bucket *buckets; /* NULL: there is no index */
    struct prefix_cache *caches;   /* beside placements */
    struct prefix_rate *rates;
    struct prefix_chain *chains; /* beside requests */
    uint32_t *ring;              /* [slot][RING_SLOTS]: placement + 1; 0 none */
    uint32_t bucket_mask;
    uint64_t entries, evictions;
    uint32_t later_count;
    struct prefix_dispatch later[ACTIONS_MAX];
};

struct demand_told {  /* of a model, by the other gateways of our own region */
    uint64_t told_ns; /* 0: never */
    struct demand_rates rates;
};

struct model_mix { /* what a request of a model is, on average over the last thousand */
    float count;
    float prompt, output;        /* tokens */
    float held;                  /* of KV, over its tokens: output * (prompt + output/2) */
    float uncached, uncached_sq; /* of the prompt, what had to be computed; its square's mean */
};

struct model_record {
    float bytes_per_token[SCRIPT_CLASS_COUNT];
    float tokens_seen[SCRIPT_CLASS_COUNT]; /* that they are a mean of, fading */
    float output_mean;                     /* a copy of learn_output's */
    float prompt_mean;
    float least_cost_ms;  /* of its usual request anywhere, lately: where the buckets begin */
    uint64_t region_mask; /* regions with any placement of it */
    uint64_t demand_mask; /* regions that asked for it */
    uint64_t requests_total;
    uint32_t placement_count, ready_count, loading_count;
    uint32_t last_node;
    float retry_tokens;
    uint64_t retry_ns;
    float hit_ratio; /* tokens that were cached over those expected, where any were */
    float guess_hit[PREFIX_GUESS_COUNT];    /* the part of a guess that was cached, on average */
    uint64_t class_seen_ns[PRIORITIES_MAX]; /* when one of the class came last */
    uint64_t released_ns;      /* when a held one was let go last, or the first began to wait */
    float release_ms;          /* mean time between two while others waited; 0 unknown */
    uint16_t releases;         /* that it is a mean of */
    bool is_releasing;         /* one was let go since the first of them waits */
    float load;                /* of its ready nodes (model_load) */
    float rate_now, rate_most; /* of those that were visited in this round */
    float hedge_tokens;        /* prefill that hedges may still add (hedge) */
    float hedge_price;         /* ms that a hedge has to be later for each token it costs */
    uint32_t copies;           /* of it anywhere, ready or loading */
    float load_ms;             /* from disk, as one of its curves has it; 0 unknown */
    float weights_mib;         /* 0 unknown */
    uint32_t identity;
    float spilled_ms;       /* plan: what it cost that requests went elsewhere, or waited */
    uint64_t spilled_ns;    /* faded until then */
    uint64_t asked_ns;      /* a load was asked for, and not heard of yet; 0: none */
    uint64_t failed_ns;     /* the last of its loads that came to nothing; 0: none */
    uint32_t fails;         /* such in a row */
    float stay_factor;      /* plan: time that answers take over what its curves say; a mean... */
    uint16_t stays;         /* ...of so many; 0: unknown */
    bool wanted;            /* it waits for plan to look at it */
    uint64_t refused_total; /* for want of room */
    struct model_mix mix;
    float late_ms, late_count; /* of late ones: what they took beyond their tail, how many came */
    struct demand_told told;
};

/* One try at a node, from the dispatch to its end. Lists of nodes name it by ATTEMPTS_AT_ONCE times
 * the index of its request, plus its place there. */
struct attempt {
    uint32_t number; /* 1 .. ATTEMPTS_MAX; 0: free */
    uint32_t node;   /* NODE_ANY: it left */
    uint32_t node_next, node_prev;
    uint32_t serial; /* of all that was sent to the node */
    uint64_t dispatched_ns, started_ns;
    uint64_t late_ns; /* when it was late; 0: it was not */
    bool queued;      /* its prefill counts in own_queue_tokens of its node */
    bool is_hedge;    /* it runs beside another one, or did */
    bool by_ring; /* nobody was known to hold the prompt's beginning; it went where the ring says */
    float hit_tokens, hit_age; /* expected there; age in sizes of the cache: 0 .. 1; NAN: nothing */
    uint32_t guess;            /* enum prefix_guess */
    float guess_tokens;        /* all that might be cached if the guess is right */
    float first_ms, sigma_ms, net_ms; /* predicted */
    struct work work;  /* what the rest of first_ms consists of; all 0: not to be learned from */
    float queue_part;  /* share of it that is queue */
    bool taught;       /* its first token was learned from */
    uint8_t load_tier; /* enum load_tier: it had to load for it; LOAD_TIERS: it had not */
    float load_ms;     /* predicted, in first_ms */
};

#define ATTEMPTS_AT_ONCE 2u

enum demand_kind { DEMAND_REQUESTS = 0, DEMAND_PROMPT, DEMAND_OUTPUT, DEMAND_KINDS };

struct demand {                                   /* of a model in a region (demand) */
    _Alignas(64) uint64_t begun_ns;               /* 0: never asked for */
    uint64_t bucket_ns;                           /* when the bucket under way began */
    float sums[DEMAND_KINDS];                     /* in it */
    float fast[DEMAND_KINDS], slow[DEMAND_KINDS]; /* a second, as they were when it began */
    float level, trend; /* requests/s, and by how much more a bucket; of what was told: level is
                           what is expected in a minute, and the trend 0 */
    uint32_t copies; /* of the model on nodes of the region, ready or loading, as index has them */
};
_Static_assert(sizeof(struct demand) == 64, "an arrival touches one line of it");

/* Of a model's copies in a region, as index has them, those with slots of their own (model_slots).
 */
struct own_slots {
    uint32_t copies, slots;
};

/* ---- What a model's nodes in a region can take (headroom, headroom_check). */
#define HEADROOM_TAU_MS 30000.0f /* of rates and their like */
#define HEADROOM_BINS   32u      /* of the load over what was told, each HEADROOM_BIN wide */
#define HEADROOM_BIN    0.05f

struct headroom_sum {               /* over the nodes of a cell */
    float most_ms[HEADROOM_LIMITS]; /* requests/ms, by what limits the node */
    float pooled[HEADROOM_LIMITS];  /* requests that are under way then: chance evens out */
    float sent_ms, own_ms;          /* requests/ms now; ours of them */
    float known_ms;                 /* of most_ms, by speeds that were measured at the nodes */
    float others_part;              /* of the nodes' time, that others take */
    uint32_t nodes;
};

struct headroom {                         /* of a model in a region */
    _Alignas(64) struct headroom_sum sum; /* of the rounds since the last were told */
    /* As told: requests/ms. */
    float most_ms, sent_ms, own_part, known_part, others_part;
    uint32_t nodes, limit; /* enum headroom_limit */
    float correction;      /* learned; 0 stands for 1: none yet */
    /* The window under way (headroom_check), and what was told when it began. */
    uint64_t window_ns; /* 0: there is none */
    float window_most_ms;
    uint32_t sent, started, late, ended, slow;
    uint64_t refused_then, requests_then;
    /* The hour. */
    uint64_t hour_ns;
    float hour_most_ms; /* mean of what was told */
    uint32_t windows;
    uint8_t met[HEADROOM_BINS], missed[HEADROOM_BINS];
    struct headroom_checked checked; /* the last whole one; at_ns 0: none */
};

struct request {
    uint64_t id; /* 0: free */
    uint32_t hash_next;
    uint32_t hold; /* while it is held; NONE */
    uint64_t arrived_ns;
    uint64_t held_ns; /* since when */
    float held_ms;    /* before that, in all */
    struct event_arrived arrived;
    uint32_t attempt, tried[ATTEMPTS_MAX]; /* so far, and where */
    const struct prefix_chain *chain;      /* NULL: none */
    float prompt_tokens, output_tokens;
    struct attempt attempts[ATTEMPTS_AT_ONCE]; /* in flight; none while it is held */
};

#define PLAN_RECENT 1024u /* directives that are remembered */
#define PLAN_WANTED 64u
#define PLAN_ORDERS 64u /* directives that the next ticks give out: an action list is short */
#define PLAN_DUE    64u

struct plan_directive {
    uint64_t asked_ns, changed_ns;
    uint64_t before; /* the one before to this node, counted from 1; 0: none */
    struct action_plan action;
    uint8_t kind, state; /* enum action_kind, enum plan_state */
    bool is_undone;      /* what it gave way to did not come: it may come back at once */
};

struct plan {
    uint32_t steered;                               /* nodes */
    uint32_t loads;                                 /* on them, asked for or told */
    uint32_t node_sweep, target_sweep, model_sweep; /* where they go on: nodes that are steered */
    uint32_t turn;                                  /* of a tick: nodes, models, directives */
    uint32_t stands;                                /* a node that is steered, for those like it */
    uint32_t wanted_count;
    uint32_t planners, place; /* gateways of our region that steer, and where we stand among them */
    uint32_t order_first, order_count, due_first, due_count;
    uint64_t asked;         /* directives since the start */
    float weights_most_mib; /* of any model */
    float price_ms_s_mib;   /* what memory is worth where it is worth least, a running mean */
    struct {
        uint16_t model, reason;
        uint32_t copies;                       /* in our region when it was wanted */
        uint64_t due_ns;                       /* not to be looked at before */
    } wanted[PLAN_WANTED];                     /* in the order in which they were; rings are: */
    struct action orders[PLAN_ORDERS];         /* LOAD and UNLOAD */
    uint32_t due[PLAN_DUE];                    /* nodes that made room */
    struct plan_directive recent[PLAN_RECENT]; /* [asked % PLAN_RECENT] is the next */
};

struct suspicion { /* counts of the round that is under way */
    uint32_t heard, silent, forgotten;
    uint32_t vouched; /* nodes there are of whom we know more than they say */
    bool suspected;
};

struct core {
    struct core_config config;
    struct event_settings settings;
    struct event_tuning tuning;
    const struct rule *rule; /* NULL: by the settings */
    void *rule_state;
    uint64_t now_ns;
    struct rng rng;
    uint32_t node_end; /* nodes used are below */
    uint32_t sweep;    /* where the next tick goes on */
    uint32_t moved;    /* a node that may be in another bucket now, from the next step on; NONE */
    uint32_t nearest;  /* node with the least round trip, whatever it has; NONE */
    uint32_t placement_free, request_free, request_mask;
    uint32_t requests_in_flight;
    struct suspicion suspicion;
    struct plan plan;
    struct load_learned class_loads[CORE_CLASSES_MAX][LOAD_KINDS], any_load;
    float heard_own, heard_requests; /* running means over reports: ours, all that they count */
    uint32_t gateways;               /* that send to these nodes, with this one; 0: not known */
    uint32_t admit_model;            /* whose held requests the next tick looks at */
    struct hedge_view hedges;
    uint64_t load_ns;   /* when all nodes were visited last */
    uint32_t load_next; /* model_load: where it goes on */
    float load_part;
    struct fair fair;
    struct node_hot *hot;
    struct node_cold *cold;
    struct placement *placements;
    struct link *links;            /* beside placements */
    struct placed *placed;         /* likewise */
    struct slotted *slotted;       /* likewise */
    struct class_curve *curves;    /* [model * classes_max + class] */
    struct class_learned *learned; /* beside curves */
    struct output_tables outputs;
    struct model_record *models;
    uint32_t *bucket_heads;     /* [(model * regions_max + region) * INDEX_BUCKETS + bucket] */
    uint32_t *bucket_masks;     /* [model * regions_max + region] */
    struct demand *demands;     /* beside bucket_masks */
    struct own_slots *owns;     /* likewise */
    struct headroom *headrooms; /* likewise */
    uint64_t headroom_ns;       /* when they were told last */
    uint32_t headroom_rounds;   /* in their sums */
    uint32_t headroom_next;     /* headroom: the model it goes on with */
    struct region_path *paths;  /* by region */
    uint8_t region_order[CORE_REGIONS_MAX], region_place[CORE_REGIONS_MAX]; /* nearest first */
    struct request *requests;
    uint32_t *request_heads;
    struct candidate *scratch; /* nodes_max: for rules that look at all */
    struct prefix_index prefix;
};

static inline float
max_f(float a, float b)
{
    return a > b ? a : b;
}

static inline uint32_t
max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static inline float
min_f(float a, float b)
{
    return a < b ? a : b;
}

static inline float
ns_to_ms(uint64_t ns)
{
    return (float)((double)(int64_t)ns * 1e-6); /* signed: one instruction */
}

static inline uint16_t
to_fixed(float value, float one)
{
    float x = value * one + 0.5f;

    if (!(x > 0.0f)) /* NaN too */
        return 0;
    return x >= 65535.0f ? 65535u : (uint16_t)x;
}

/* Not where it was tried, and nowhere else than to the node that was asked for. */
static inline bool
request_may_go(const struct request *r, uint32_t node)
{
    for (uint32_t i = 0; i + 1 < r->attempt; i++) {
        if (r->tried[i] == node)
            return false;
    }
    return r->arrived.only_node == NODE_ANY || r->arrived.only_node == node;
}

/* Regions in a set of them. */
static inline uint32_t
region_count(uint64_t regions)
{
    uint32_t count = 0;

    for (; regions != 0; regions &= regions - 1)
        count++;
    return count;
}

static inline bool
node_known(const struct core *core, uint32_t node)
{
    return node < core->node_end && (core->hot[node].flags & NODE_FLAG_USED) != 0;
}
#endif
