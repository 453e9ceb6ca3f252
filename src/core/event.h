#ifndef CORE_EVENT_H
#define CORE_EVENT_H
/* event - everything core can be told. Plain values without pointers; wire/record gives each a
 * canonical encoding, so a recorded run can be played again byte for byte.
 *
 * Names (of models, regions, nodes) stay outside: the driver hands out small indices and keeps
 * them for as long as core may mention them. Milliseconds and tokens are float: core's figures
 * are estimates, and replay fixes their bits. "Unknown" is NAN where a float may be unknown. */
#include <stdbool.h>
#include <stdint.h>

#define ATTEMPTS_MAX       3u    /* tries of one request, the first counted (isolation: retries) */
#define TENANTS_MAX        4096u /* whose request it is, as a small index; 0: nobody's */
#define PRIORITIES_MAX     3u    /* classes of requests */
#define PREFIX_BORDERS_MAX 128u  /* of one prompt; where they lie: core/prefix.h */

enum event_kind {
    EVENT_NONE = 0,
    /* what there is */
    EVENT_SETTINGS,  /* rule and limits, at start and on reload */
    EVENT_TUNING,    /* the weights of a decision, when they are not the defaults */
    EVENT_CURVE,     /* how fast hardware class runs a model: the prior */
    EVENT_NODE,      /* a node appeared, or what is configured of it changed */
    EVENT_NODE_GONE, /* it left: its index may be used again */
    EVENT_MODEL,     /* a model on a node changed state */
    /* news */
    EVENT_REPORT, /* what an engine says of its load */
    EVENT_RTT,    /* one measured round trip to a node */
    EVENT_PROBE,  /* asking a node worked, or failed */
    /* one request; at most six per attempt */
    EVENT_ARRIVED,
    EVENT_DISPATCHED, /* the bytes of the attempt went out */
    EVENT_STARTED,    /* the first engine content was seen */
    EVENT_ENDED,      /* the attempt ended well; usage if the engine told it */
    EVENT_FAILED,     /* the attempt ended badly */
    EVENT_LATE,       /* nothing came within the dispatch's hedge_after_ms */
    EVENT_CANCELLED,  /* the client left: forget the request */
    EVENT_TICK,       /* time passes: a bounded piece of upkeep */
    EVENT_DEMAND,     /* news: how much other gateways are asked for */
    EVENT_GATEWAYS,   /* news: how many gateways there are */
    EVENT_REQUESTS,   /* news: how many requests of one model are at a node */
    EVENT_KIND_COUNT
};

/* Why an attempt or a probe failed. */
enum failure {
    FAILURE_NONE = 0,
    FAILURE_CONNECT,    /* refused, unreachable or not connected in time */
    FAILURE_STATUS_5XX, /* the engine answered 500..599 */
    FAILURE_BUSY,       /* 429, or 503 with Retry-After: no fault, a limit */
    FAILURE_FIRST_BYTE, /* nothing came in time */
    FAILURE_STALL,      /* it began and fell silent */
    FAILURE_EOF,        /* the connection ended before the answer did */
    FAILURE_MALFORMED,  /* bytes that are no HTTP, SSE or JSON of the promised kind */
    FAILURE_REQUEST,    /* 4xx: the request's own fault; the node is not charged */
    FAILURE_LOCAL,      /* our own limit (no descriptor, no memory); the node is not charged */
    FAILURE_TLS,        /* no handshake, or whoever answered is not the node */
    FAILURE_MODEL,      /* it has not got the model that it said it had: 404 */
    FAILURE_COUNT
};

/* States of (node, model); protocols.md has the words. */
enum model_state {
    MODEL_ABSENT = 0,
    MODEL_DOWNLOADING,
    MODEL_ON_DISK, /* a request makes the engine load it */
    MODEL_LOADING,
    MODEL_SLEEPING, /* wakes on a request */
    MODEL_READY,
    MODEL_FAILED,
    MODEL_DORMANT, /* asleep until somebody wakes it; a request would wait in vain */
    MODEL_STATE_COUNT
};

enum node_state { NODE_READY = 0, NODE_DRAIN, NODE_MAINT, NODE_STATE_COUNT };

/* How text is written: tokens per byte differ. Learned apart. */
enum script_class { SCRIPT_ASCII = 0, SCRIPT_MIXED, SCRIPT_WIDE, SCRIPT_CLASS_COUNT };

enum rule_id {
    RULE_TIME = 0,
    RULE_NEAREST,
    RULE_LEAST_REQUEST,
    RULE_ROUND_ROBIN,
    RULE_RANDOM,
    RULE_COUNT
};

/* Who goes first when there is not room for all; the middle one is the default. */
enum priority { PRIORITY_HIGH = 0, PRIORITY_NORMAL, PRIORITY_LOW };

struct event_settings {
    uint32_t rule;        /* enum rule_id */
    float ttft_goal_ms;   /* slo.ttft_p90; NAN when none is configured */
    float tpot_goal_ms;   /* slo.tpot_p90; NAN likewise */
    float first_limit_ms; /* limits.first_byte: the longest wait for a first byte */
    float idle_limit_ms;  /* limits.idle: the longest silence after it */
};

/* Parts of a decision that can be left out, to see what each is worth. */
enum without {
    WITHOUT_OWN_COUNT = 1u << 0,     /* own dispatches on top of the reports */
    WITHOUT_RELEASE_FIRST = 1u << 1, /* own work released at its first token, not its end */
    WITHOUT_SHARE = 1u << 2,         /* others' dispatches since the report, guessed from ours */
    WITHOUT_AGE_DRAIN = 1u << 3,     /* reported queues drained by their age */
    WITHOUT_SIGMA = 1u << 4,         /* softmin by uncertainty: the cheapest is taken */
    WITHOUT_PREFIX = 1u << 5,        /* prefix index */
    WITHOUT_HEDGE = 1u << 6,
    WITHOUT_ADMISSION = 1u << 7, /* hold, degrade, shed: all are admitted */
    WITHOUT_SELF_SUSPICION = 1u << 8,
    WITHOUT_LEARNING = 1u << 9,     /* curves and residuals stay as they began */
    WITHOUT_LOAD_TIMES = 1u << 10,  /* what is told of loads is believed */
    WITHOUT_TREND = 1u << 11,       /* no more is expected than is now, or usual */
    WITHOUT_CLAIMS = 1u << 12,      /* what nodes say is believed, whatever came of it before */
    WITHOUT_MODEL_SLOTS = 1u << 13, /* slots of a model's own are taken for a part of the node's */
    WITHOUT_TURNS = 1u << 14,       /* gateways of a region load without a thought of each other */
};

/* The weights of routing.md's J and of what stands around it; each in its unit, 0 leaves a term
 * out. core/tuning.h has the defaults, which a search in the simulator found. */
struct event_tuning {
    float done_part;      /* of done_ms in J */
    float ext_part;       /* of the delay put on those that decode there */
    float late_factor;    /* on what passes the soft deadline */
    float soft_first_ms;  /* the soft deadline where the client gave none */
    float queue_part;     /* of queue_ms once more: a price on queueing itself */
    float kv_ms;          /* price of a full KV cache; quadratic from kv_from on */
    float kv_from;        /* share of the KV capacity, 0..1 */
    float temperature;    /* of the softmin, in sigmas of the difference */
    float stick_ms;       /* what a prefix holder may cost more before it is left */
    float hedge_part;     /* extra prefill tokens that hedging may cost, 0..1 */
    float hedge_load_max; /* load above which nothing is hedged, 0..1 */
    float class_part;     /* of a node's bounds for lower classes while a higher one is about */
    float class_queue_ms; /* of queue at a node, likewise; the way and a step are on top */
    float fresh_ms;       /* news older than this: fewer candidates */
    float stale_ms;       /* older: weighted least request on our own count */
    uint16_t own_region_max, elsewhere_max;         /* candidates by headroom */
    uint16_t own_region_old_max, elsewhere_old_max; /* with old news */
    uint32_t without;                               /* set of enum without */
};

/* prefill ms = a + b*u + c*u*(h + u/2) for u uncached tokens after h cached ones;
 * decode step ms = t0 + tk*(KV tokens in use)/1000 + tb*(requests in the batch). */
struct curve {
    float a_ms, b_ms, c_ms;
    float t0_ms, tk_ms, tb_ms;
};

struct event_curve {
    uint16_t model, class;
    struct curve curve;
    float kv_tokens_cap; /* room for KV on this hardware; 0 unknown */
    float load_ms;       /* from disk to ready, as far as known; 0 unknown */
    uint32_t guess;      /* 1: nothing is known of this hardware: learn from what is seen alone */
    float weights_mib;   /* memory that its weights take; 0 unknown: it is never loaded by plan */
    uint32_t identity;   /* hash of the model's name, the same at every gateway; 0: its index stands
                            for it */
};

struct event_node {
    uint32_t node;
    uint32_t epoch; /* grows at each restart: older ones are ignored */
    uint16_t region, class, site, operator;
    uint32_t state;    /* enum node_state */
    uint32_t slots;    /* requests the engine runs at once; 0 unknown */
    float rtt_ms;      /* a first guess before any measurement (region table); NAN none */
    uint32_t identity; /* hash of its name, the same at every gateway; 0: its index stands for it */
    uint32_t steered;  /* 1: it loads and unloads models as this gateway says (plan); the next three
                          count only then */
    float memory_mib;  /* for weights */
    float fetch_mib_s; /* how fast weights come that it has not; 0: it cannot fetch any */
    uint32_t loads_max; /* models that it loads at once; 0: one */
    uint32_t unproven;  /* 1: it came by itself, and nobody whom we trust vouches for it */
};

struct event_node_gone {
    uint32_t node, epoch;
};

struct event_model {
    uint32_t node;
    uint16_t model;
    uint16_t state;    /* enum model_state */
    float ready_in_ms; /* when loading: what is left; NAN unknown */
    uint32_t pinned;   /* 1: it stays, whatever plan thinks of it */
    uint32_t denied;   /* 1: what plan wanted last of the two is not going to be; its state is as it
                          says */
    uint32_t slots;    /* requests of this model that run there at once, where each model has slots
                          of its own; 0: it shares the node's, or that is not known */
};

struct event_report {
    uint32_t node;
    float running, waiting;         /* requests; NAN unknown */
    float prefill_tokens_in_flight; /* NAN unknown */
    float kv_tokens_used;           /* NAN unknown */
    float kv_tokens_cap;            /* NAN or 0 unknown */
    float slots;                    /* NAN unknown */
    float age_ms;                   /* how old the news is as it arrives; NAN: half a round trip */
    uint32_t acked; /* of our dispatches to it, the highest serial that these figures count; 0: they
                       do not say */
    uint32_t is_word; /* 1: the node's own account of all it does, to which it is held (claim); 0:
                         an engine's figures, read by us */
    uint64_t accepted_total;           /* tokens since this life of the node began; TOTAL_UNKNOWN */
    float prefill_tok_s, decode_tok_s; /* as it measured them, of one request; NAN unknown */
};
#define TOTAL_UNKNOWN UINT64_MAX

struct event_rtt {
    uint32_t node;
    float rtt_ms;
};

struct event_probe {
    uint32_t node;
    uint32_t failure; /* enum failure; FAILURE_NONE = it answered */
};

struct event_arrived {
    uint64_t request; /* the driver's id, unique among those in flight; never 0 */
    uint64_t
        session; /* hash of the conversation it goes on with, as the client names it; 0: none */
    uint16_t model;
    uint16_t other_model;  /* may be answered by this one when there is no room; MODEL_NONE */
    uint16_t script;       /* enum script_class */
    uint16_t tenant;       /* < TENANTS_MAX; 0: nobody's */
    uint16_t priority;     /* enum priority */
    uint32_t prompt_bytes; /* of canonical message text */
    uint32_t body_bytes;   /* what goes over the wire */
    uint32_t max_tokens;   /* 0 = none given */
    uint32_t stream;       /* 1: the first token is seen when it comes; 0: only the whole answer */
    float deadline_ms;     /* the client's TTFT goal; NAN or 0 none */
    float tpot_goal_ms;    /* its goal for the time per output token; NAN or 0 none */
    uint32_t only_node;    /* dispatch nowhere else; NODE_ANY */
};
#define NODE_ANY   UINT32_MAX
#define MODEL_NONE UINT16_MAX

/* Keyed chain hashes of the prompt up to each border (core/prefix.h): equal hashes, equal text. */
struct prefix_chain {
    uint32_t count; /* borders that the prompt reaches; 0: nothing is known of it */
    uint64_t hashes[PREFIX_BORDERS_MAX];
};

struct event_dispatched {
    uint64_t request;
    uint32_t attempt;
    uint32_t fresh_connection; /* 1: a new connection had to be made */
};

struct event_started {
    uint64_t request;
    uint32_t attempt;
    /* How fast the body of the attempt was delivered, as the sending kernel saw it; NAN or 0
     * unknown. It is what the path carries if that held the sender back; else it carries more. */
    float path_bytes_per_ms;
    uint32_t path_limited; /* 1: the path did, not the window of slow start or a lack of bytes */
};

struct event_ended {
    uint64_t request;
    uint32_t attempt;
    uint32_t prompt_tokens, cached_tokens, output_tokens; /* 0 unknown */
    uint32_t cached_known;                     /* 1: cached_tokens is what the engine said, 0 too */
    float engine_prefill_ms, engine_decode_ms; /* the engine's own timings; NAN none */
    uint32_t held_up; /* 1: the client took it slowly, so its end says nothing of the node */
};

struct event_failed {
    uint64_t request;
    uint32_t attempt;
    uint32_t failure;     /* enum failure */
    uint32_t started;     /* 1: content had been passed on: no retry */
    float retry_after_ms; /* as the node asked; NAN none */
};

struct event_late {
    uint64_t request;
    uint32_t attempt;
};

struct event_cancelled {
    uint64_t request;
};

struct event_demand { /* what the gateways of a region count, all but this one, in sum */
    uint16_t model, region;
    float requests_s, prompt_tok_s, output_tok_s; /* now */
    float usual_requests_s;                       /* over the last minutes */
    float ahead_requests_s;                       /* expected in a minute */
};

struct event_gateways {
    uint32_t count; /* that send to these nodes, this one counted; 0: not known */
    /* Those of our region that steer nodes, and where we stand among them, in an order that all of
     * them know; 0: we are alone. */
    uint32_t planners, place;
};

struct event_requests { /* of a model with slots of its own; behind the report that counts them */
    uint32_t node;
    uint16_t model;
    float requests; /* of all gateways, running and waiting */
};

struct event {
    uint32_t kind; /* enum event_kind */
    union {
        struct event_settings settings;
        struct event_tuning tuning;
        struct event_curve curve;
        struct event_node node;
        struct event_node_gone node_gone;
        struct event_model model;
        struct event_report report;
        struct event_rtt rtt;
        struct event_probe probe;
        struct event_arrived arrived;
        struct event_dispatched dispatched;
        struct event_started started;
        struct event_ended ended;
        struct event_failed failed;
        struct event_late late;
        struct event_cancelled cancelled;
        struct event_demand demand;
        struct event_gateways gateways;
        struct event_requests requests;
    };
    struct prefix_chain prefix; /* of ARRIVED; only hashes[0..count) hold values */
};
#endif
