#ifndef CORE_ACTION_H
#define CORE_ACTION_H
/* action - what core wants done, and why: at most ACTIONS_MAX a step, and at most one decision
 * with the candidates it weighed. Plain values without pointers, like events. */
#include <stdbool.h>
#include <stdint.h>

#include "core/event.h"

#define ACTIONS_MAX 4u
#define DECISION_CANDIDATES_MAX                                                                    \
    24u /* kept in a decision: the best by cost, and the nearest node                              \
         */

enum action_kind {
    ACTION_NONE = 0,
    ACTION_DISPATCH, /* send this attempt to that node */
    ACTION_REFUSE,   /* answer the client: it cannot be done */
    ACTION_HOLD,     /* keep it: a later step dispatches or refuses it */
    ACTION_CANCEL,   /* give up this attempt: another one of the request goes on */
    ACTION_LOAD,     /* have the node load the model: only of nodes that are steered */
    ACTION_UNLOAD,   /* likewise unload: when what it has of the model's requests is done */
    ACTION_KIND_COUNT
};

/* Why a request is refused; the driver turns it into status and words. */
enum refusal {
    REFUSAL_NONE = 0,
    REFUSAL_NO_NODE,   /* no node has or can load the model */
    REFUSAL_NOT_READY, /* nodes have it, none is ready or loading */
    REFUSAL_DRAINING,  /* those that have it are draining */
    REFUSAL_FAILING,   /* those that have it keep failing */
    REFUSAL_FULL,      /* every node's limit is reached */
    REFUSAL_CROWDED,   /* core's own table of requests in flight is full */
    REFUSAL_ALL_TRIED, /* attempts are used up, or no node is left to try */
    REFUSAL_REQUEST,   /* the engine said the request itself is wrong: pass its answer on */
    REFUSAL_SHED,      /* overload: its class is turned away in part */
    REFUSAL_DEADLINE,  /* nobody could begin the answer by its deadline */
    REFUSAL_STARTED,   /* it failed after content had been passed on: outcome B */
    REFUSAL_COUNT
};

struct action_dispatch {
    uint64_t request;
    uint32_t attempt; /* 1.. */
    uint32_t node;
    float first_ms, done_ms, sigma_ms;  /* predicted, from this step on */
    float first_limit_ms, gap_limit_ms; /* the driver raises FIRST_BYTE or STALL after these */
    float hedge_after_ms; /* nothing by then: the driver says LATE, once; NAN: it need not */
    uint16_t model;       /* asked for, or the one that may answer instead */
    uint16_t hedge;       /* 1: beside an attempt that goes on */
    uint32_t serial;      /* of all that was ever sent to the node: 1, 2 ... */
};

struct action_refuse {
    uint64_t request;
    uint32_t refusal;  /* enum refusal */
    uint32_t attempts; /* tries made before */
    float retry_after_ms;
    uint32_t failure; /* enum failure of the last try; FAILURE_NONE if there was none */
};

struct action_hold {
    uint64_t request;
    float hold_ms; /* expected */
};

struct action_cancel {
    uint64_t request;
    uint32_t attempt;
};

/* Why a model is to be somewhere, or no more. */
enum plan_reason {
    PLAN_NONE = 0,
    PLAN_SPILLED,   /* requests that had to go elsewhere or wait have cost as much as a load */
    PLAN_HEADROOM,  /* more is expected than its copies can take at once */
    PLAN_NOWHERE,   /* it is asked for, and ready nowhere */
    PLAN_GIVES_WAY, /* unload: another one is worth more there */
    PLAN_RETURNS,   /* it gave way to one that could not be loaded */
    PLAN_REASON_COUNT
};

struct action_plan {  /* of LOAD and UNLOAD; the driver tells by EVENT_MODEL what becomes of it */
    uint64_t request; /* 0: it is about none */
    uint32_t node;
    uint16_t model, reason; /* enum plan_reason */
    float worth_ms_s; /* waiting that it saves, all requests together; unload: that it costs */
    float load_ms;    /* expected until it is ready; unload: until it would be again */
};

/* An action may speak of another request than the event did: a place that became free goes to one
 * that was held. */
struct action {
    uint32_t kind; /* enum action_kind */
    union {
        struct action_dispatch dispatch;
        struct action_refuse refuse;
        struct action_hold hold;
        struct action_cancel cancel;
        struct action_plan plan;
    };
};

/* Milliseconds per term, as routing.md names them. */
struct terms {
    float net_ms, ready_ms, queue_ms, prefill_ms, step_ms; /* step: one decode step */
    float first_ms, done_ms, proof_ms;
    float sigma_ms; /* deviation of first_ms */
};

/* Why a candidate was not chosen. */
enum why_not {
    WHY_CHOSEN = 0,
    WHY_SLOWER,    /* costs more milliseconds */
    WHY_TIED,      /* as good: the softmin took another of the best three */
    WHY_ABSENT,    /* does not have the model */
    WHY_NOT_READY, /* has it, not ready, and others are */
    WHY_DRAINING,
    WHY_FAILING,
    WHY_FULL,
    WHY_TRIED,        /* an earlier attempt failed there */
    WHY_RULE,         /* the configured rule does not look at milliseconds */
    WHY_BUSIER_FITS,  /* a busier node meets the goals: this one is kept free */
    WHY_STALE,        /* news too old for milliseconds: our own count decides */
    WHY_LATE,         /* could not begin in time */
    WHY_OTHERS_FIRST, /* others wait for the same place */
    WHY_TOGETHER,     /* would fail together with the attempt beside it: others would not */
    WHY_COUNT
};

/* What decided. */
enum decision_mode {
    DECISION_RULE = 0,  /* a configured rule that does not weigh milliseconds as we do */
    DECISION_TIME,      /* the least cost */
    DECISION_GOAL,      /* the client gave a deadline: the fullest node that meets it */
    DECISION_STALE,     /* news too old: our own count */
    DECISION_SUSPICION, /* so many nodes are silent that it may be us: our own count */
    DECISION_MODE_COUNT
};

/* What became of a request when it was decided whether it may go. */
enum admission {
    ADMISSION_NONE = 0, /* it was not asked */
    ADMISSION_NOW,
    ADMISSION_HELD,
    ADMISSION_AFTER_HOLD,
    ADMISSION_OTHER_MODEL, /* the one that its client named beside the first */
    ADMISSION_REFUSED,
    ADMISSION_COUNT
};

struct decision_candidate {
    uint32_t node;
    uint16_t region;
    uint16_t why; /* enum why_not */
    struct terms terms;
    float hit_tokens; /* of the prompt, expected in its prefix cache */
    float ext_ms;     /* delay put on those that decode there, by its weight */
    float late_ms;    /* what passes the soft deadline, by its weight */
    float kv_ms;      /* price of little KV room */
    float fail_ms;    /* p_fail * (detect + redo elsewhere) */
    float stick_ms;   /* what leaving a node that holds the prompt's beginning would cost later */
    float word_ms;    /* what its word's being worth less costs (claim) */
    float cost_ms;    /* J: first, a part of done, and the prices above, less stick */
};

struct decision {
    uint64_t request, now_ns;
    uint32_t attempt;
    uint32_t rule; /* enum rule_id */
    uint16_t model;
    uint16_t mode;                                  /* enum decision_mode */
    uint16_t candidate_count;                       /* 0: the step made no decision */
    uint16_t admission;                             /* enum admission */
    uint32_t considered;                            /* nodes that have the model in any state */
    float prompt_tokens, hit_tokens, output_tokens; /* as estimated */
    float held_ms;                                  /* so long it was held before */
    float hedge_ms; /* the attempt beside it is expected to need so long from now; NAN: no hedge */
    struct decision_candidate candidates[DECISION_CANDIDATES_MAX]; /* the chosen one first */
};

struct actions {
    uint32_t count;
    struct action list[ACTIONS_MAX];
    struct decision decision;
};
#endif
