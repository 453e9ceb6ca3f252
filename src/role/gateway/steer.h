#ifndef ROLE_GATEWAY_STEER_H
#define ROLE_GATEWAY_STEER_H
/* steer - what this gateway asks of nodes: loads and unloads that core wants (core/plan), and
 * whatever a person wants, as directives signed with the gateway's key (wire/directive).
 *
 * A directive goes over the bus, where the node listens there, else by HTTP to the node's URL. Its
 * answer says that it was done, begun or refused; what came of one that was begun the node's
 * reports tell, or the state of the model, when they were lost. All of that is kept for the last
 * STEER_ORDERS_MAX, in words. Core hears of what it wanted and will not be. A node that does not
 * accept what we say at all (another clock, a key it does not know) is left alone for
 * STEER_REFUSED_NS.
 *
 * Core and people ask on any thread; the first lane sends. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "role/gateway/fleet.h"
#include "wire/report.h"

#define STEER_ORDERS_MAX   256u
#define STEER_WORDS_BYTES  DIRECTIVE_REPLY_WORDS_BYTES
#define STEER_LIFETIME_S   60u
#define STEER_ANSWER_NS    10000000000u   /* a node judges at once */
#define STEER_END_NS       1260000000000u /* a node gives up after 20 minutes */
#define STEER_QUIET_NS     15000000000u   /* its outcome was lost: the model's state tells; */
#define STEER_GOES_NS      60000000000u   /* it tells at once that it goes: that is not gone yet */
#define STEER_REFUSED_NS   60000000000u
#define STEER_REFUSALS_MAX 64u
#define STEER_LOOK_NS      500000000u

struct gateway;
struct steer;

enum steer_state {
    STEER_ASKED = 0, /* no answer yet */
    STEER_BEGUN,
    STEER_DONE,
    STEER_REFUSED, /* nothing was done */
    STEER_FAILED,  /* begun, or never heard by the node, and it will not be */
    STEER_SILENT,  /* nobody said what came of it */
    STEER_STATE_COUNT
};

struct steer_look { /* one directive, for people */
    uint64_t id;
    char node[CONFIG_NAME_BYTES_MAX + 1];
    char model[CONFIG_MODEL_NAME_BYTES_MAX + 1]; /* "": it is about the node */
    uint32_t action;                             /* enum directive_action */
    bool by_person;
    uint16_t reason; /* enum plan_reason */
    enum steer_state state;
    char words[STEER_WORDS_BYTES];
    double asked_ago_ms, changed_ago_ms;
    double took_ms;             /* from asked to its end; NAN: it goes on */
    double ready_in_ms;         /* as the node thinks; NAN: it does not */
    double worth_ms_s, load_ms; /* of plan: as in its action; NAN */
};

MUST_USE enum err steer_open(struct gateway *gateway, struct steer **ret_steer);
/* The loop runs from now on: look at what is under way. First lane. */
void steer_begin(struct steer *steer);
/* After members_stop, before the lanes are closed. NULL: does nothing. */
void steer_close(struct steer *steer);

/* What core wants of a node. Any thread. */
void steer_plan(struct steer *steer, const struct action *action);
/* What a person wants; model: as people call it, may be empty where the action allows it. ERR_OK:
 * *ret_id; else *ret_words says why not: ERR_NOT_FOUND: there is no such node; ERR_ARG: the model;
 * ERR_UNSUPPORTED: nothing can be asked of this node. Any thread. */
MUST_USE enum err steer_ask(struct steer *steer, struct span node, enum directive_action action,
                            struct span model, uint64_t *ret_id, char ret_words[STEER_WORDS_BYTES]);
/* A node told what came of one. Any thread. */
void steer_outcome(struct steer *steer, struct span node, const struct report_outcome *outcome);
/* It began another life: what it was doing is over. Any thread. */
void steer_restarted(struct steer *steer, struct span node);
/* Did the node say, a moment ago, that it does not accept what we ask? words: NULL, or why. */
bool steer_is_refused(struct steer *steer, struct span node, char *ret_words, size_t size);

/* The directives, the last one first: of them number `from` and on, up to max. */
uint32_t steer_list(struct steer *steer, uint32_t from, struct steer_look *ret_looks, uint32_t max);
/* ERR_NOT_FOUND: it never was, or is forgotten. */
MUST_USE enum err steer_find(struct steer *steer, uint64_t id, struct steer_look *ret_look);
const char *steer_state_name(enum steer_state state);
/* How many there were in all, of plan ([0]) and of people ([1]), by what came of them. */
struct steer_counts {
    uint64_t ended[2][STEER_STATE_COUNT];
};
void steer_count(struct steer *steer, struct steer_counts *ret_counts);
#endif
