#ifndef ROLE_ASKER_H
#define ROLE_ASKER_H
/* asker - asks one engine, one question at a time: first which kind it is (unless that is known),
 * then how much it runs at once, its models, and from then on its load, with a look at the models
 * now and then. Gateways ask so engines that nobody speaks for, node agents the ones beside them.
 *
 * When to ask and over which connection is the owner's; the asker knows what comes next, and tells
 * what it heard. Completions are never used to ask. Embed it; it belongs to one loop. */
#include <stdbool.h>
#include <stdint.h>

#include "io/http_client.h"
#include "wire/adapter.h"

#define ASKER_MODELS_EVERY 5u          /* reads of the load between two looks at the models */
#define ASKER_QUIET_LOOKS  10u         /* at the models, until a mute one is asked for it again */
#define ASKER_CONNECT_NS   2000000000u /* limits of one question */
#define ASKER_ANSWER_NS    5000000000u

struct asker;

/* All must be set. They come from the loop, within the end of a question, in this order. */
struct asker_fn {
    /* It is of this kind; one without an adapter is used as a plain OpenAI server. */
    void (*kind)(struct asker *a, const struct adapter *found);
    void (*models)(struct asker *a, const struct adapter_models *models);
    void (*load)(struct asker *a, const struct adapter_load *load);
    /* The question is over, and the owner's may be asked anew: at once when a->more, else after a
     * pause. Anything but FAILURE_NONE: it did not answer as it should. */
    void (*over)(struct asker *a, enum failure failure);
};

enum asker_step { ASKER_DETECT, ASKER_SLOTS, ASKER_MODELS, ASKER_STATES, ASKER_LOAD };

struct asker {
    const struct asker_fn *fn;
    const struct adapter *adapter; /* NULL: not known yet */
    size_t detect_at;              /* adapter_at() of the next question */
    enum asker_step step;          /* of the next or current question */
    uint32_t loads;                /* reads of the load since the last look at the models */
    bool no_load, fallback_load, sleeping;
    bool more;                     /* this round of questions is not over */
    uint32_t quiet;                /* looks at the models while no_load */
    float slots;                   /* requests at once; NAN unknown */
    bool slots_of_each;            /* those are of each model, not of all in sum */
    struct adapter_models *models; /* malloc; until the document with their states is read */
    /* the question in progress */
    struct http_call *call; /* NULL: none */
    uint64_t sent_ns, head_ns;
    bool fresh; /* over a new connection */
    unsigned status;
    char *body;
    size_t body_bytes, body_room;
};

/* kind ENGINE_UNKNOWN: ask; slots NAN: ask. Zeroes *a. Where each model has slots of its own, they
 * stand with the models that are told. */
void asker_init(struct asker *a, const struct asker_fn *fn, enum engine_kind kind, float slots);
/* Stop the question in progress, if there is one; nothing is told. It may be asked anew. */
void asker_stop(struct asker *a);
/* Ask the next question; none may be in progress. authorization: empty: none. The error of
 * http_call_start: call asker_fail then, or ask again. */
MUST_USE enum err asker_ask(struct asker *a, struct http_target *target, struct span authorization);
/* A round failed: the next one begins where a round does. over() has done so already. */
void asker_fail(struct asker *a);
/* The next questions are all that there is to ask, so that its models' states come as they are now;
 * none may be in progress. */
void asker_anew(struct asker *a);
/* What to say of an engine behind the name of its kind, when it is found: how it is used, and what
 * is taken for granted because nobody said it; or "". */
const char *asker_kind_words(const struct asker *a, const struct adapter *found);
/* How old a figure of the answer that came last is at least: half of the way it took. */
float asker_age_ms(const struct asker *a);
#endif
