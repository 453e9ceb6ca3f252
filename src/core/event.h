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

#define ATTEMPTS_MAX 3u /* tries of one request, the first counted (isolation: retries) */

enum event_kind {
    EVENT_NONE = 0,
    /* what there is */
    EVENT_SETTINGS,  /* rule and limits, at start and on reload */
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
    EVENT_CANCELLED,  /* the client left: forget the request */
    EVENT_TICK,       /* time passes: a bounded piece of upkeep */
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

struct event_settings {
    uint32_t rule;        /* enum rule_id */
    float ttft_goal_ms;   /* slo.ttft_p90; NAN when none is configured */
    float tpot_goal_ms;   /* slo.tpot_p90; NAN likewise */
    float first_limit_ms; /* limits.first_byte: the longest wait for a first byte */
    float idle_limit_ms;  /* limits.idle: the longest silence after it */
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
};

struct event_node {
    uint32_t node;
    uint32_t epoch; /* grows at each restart: older ones are ignored */
    uint16_t region, class, site, operator;
    uint32_t state; /* enum node_state */
    uint32_t slots; /* requests the engine runs at once; 0 unknown */
    float rtt_ms;   /* a first guess before any measurement (region table); NAN none */
};

struct event_node_gone {
    uint32_t node, epoch;
};

struct event_model {
    uint32_t node;
    uint16_t model;
    uint16_t state;    /* enum model_state */
    float ready_in_ms; /* when loading: what is left; NAN unknown */
};

struct event_report {
    uint32_t node;
    float running, waiting;         /* requests; NAN unknown */
    float prefill_tokens_in_flight; /* NAN unknown */
    float kv_tokens_used;           /* NAN unknown */
    float kv_tokens_cap;            /* NAN or 0 unknown */
    float slots;                    /* NAN unknown */
    float age_ms;                   /* how old the news is as it arrives; NAN: half a round trip */
};

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
    uint16_t model;
    uint16_t script;       /* enum script_class */
    uint32_t prompt_bytes; /* of canonical message text */
    uint32_t body_bytes;   /* what goes over the wire */
    uint32_t max_tokens;   /* 0 = none given */
    uint32_t stream;       /* 1: the first token is seen when it comes; 0: only the whole answer */
    float deadline_ms;     /* the client's TTFT goal; NAN none */
    uint32_t only_node;    /* dispatch nowhere else; NODE_ANY */
};
#define NODE_ANY UINT32_MAX

struct event_dispatched {
    uint64_t request;
    uint32_t attempt;
    uint32_t fresh_connection; /* 1: a new connection had to be made */
};

struct event_started {
    uint64_t request;
    uint32_t attempt;
};

struct event_ended {
    uint64_t request;
    uint32_t attempt;
    uint32_t prompt_tokens, cached_tokens, output_tokens; /* 0 unknown */
    float engine_prefill_ms, engine_decode_ms;            /* the engine's own timings; NAN none */
};

struct event_failed {
    uint64_t request;
    uint32_t attempt;
    uint32_t failure;     /* enum failure */
    uint32_t started;     /* 1: content had been passed on: no retry */
    float retry_after_ms; /* as the node asked; NAN none */
};

struct event_cancelled {
    uint64_t request;
};

struct event {
    uint32_t kind; /* enum event_kind */
    union {
        struct event_settings settings;
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
        struct event_cancelled cancelled;
    };
};
#endif
