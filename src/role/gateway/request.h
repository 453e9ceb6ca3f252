#ifndef ROLE_GATEWAY_REQUEST_H
#define ROLE_GATEWAY_REQUEST_H
/* request - one client's completion from its first byte to its last.
 *
 * States: arrived -> (held -> attempt in flight -> failed)* -> ended | refused | cancelled, where
 * held is left out when there is room at once. What ends a hold is decided in a step of any lane
 * and comes through the inbox; when the client leaves before it comes, core has been told so after
 * that step, has taken the decision back, and what comes finds nobody. Beside the states three
 * marks that only ever go up: committed (the status line was sent), started (engine content was
 * passed on), and finished (nothing more will happen). Refusal only before committed, retry before
 * started, an error event after. Core decides what follows a failure; here it is carried out.
 *
 * Until it is started a second attempt may be in flight beside the first, when that one is late
 * (core: hedge). Core has one of them cancelled as the other starts; one that fails leaves the
 * request to the other.
 *
 * The struct lives in the exchange's arena: request_finish comes before the last call on the
 * exchange, and nothing touches either after it. */
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "io/http_server.h"
#include "io/loop.h"
#include "role/gateway/attempt.h"
#include "role/gateway/lane.h"
#include "role/gateway/stream.h"
#include "wire/openai.h"

#define REQUEST_ID_BYTES 16u /* hexadecimal digits */
#define REQUEST_ATTEMPTS 2u  /* in flight at once */

/* What a client asked for beside its question. */
enum key_wish { WISH_PRIORITY = 1, WISH_DEADLINE = 2, WISH_MODELS = 4 };

struct request {
    struct owner owner; /* first: see http_exchange_user */
    LIST_ENTRY(request) link, held_link;
    struct lane *lane;
    struct http_exchange *exchange;
    const struct http_request *http;
    uint64_t id;
    char id_text[REQUEST_ID_BYTES + 1];
    struct access_grant grant;
    struct openai_request openai;
    struct span model_json;      /* the model as the client wrote it, quotes included */
    struct span other_json;      /* the other one that may answer instead, likewise */
    uint16_t model, other_model; /* MODEL_NONE: no other */
    uint16_t priority;           /* enum priority */
    bool committed, started;
    bool uncounted;         /* refused by a limit of its key: gives back all that it took */
    uint8_t not_granted;    /* set of enum key_wish: what its key did not let it have */
    uint32_t prompt_tokens; /* estimated */
    char key_name[CONFIG_NAME_BYTES_MAX + 1]; /* "" without keys */
    bool held;                                /* core keeps it: in a list of its lane */
    uint64_t held_ns;                         /* since when */
    uint32_t considered, rule;                /* of the last decision */
    float hit_tokens;                         /* that it expected to be cached */
    uint64_t arrived_ns, routed_ns;
    uint64_t first_ns; /* when the first content came; 0: not yet */
    uint64_t now_ns;   /* of the last step */
    uint32_t tries;
    struct attempt attempts[REQUEST_ATTEMPTS];
    struct attempt *shown; /* that heads and errors tell of: who answers, else who may, or failed */
    struct stream stream;
};

/* POST /v1/chat/completions, /v1/completions. Answers now or later. */
void request_begin(struct lane *lane, enum openai_api api, struct http_exchange *exchange,
                   const struct http_request *http);

/* ---- For attempt and stream: what happened. The request may be gone after each of these. */

/* The attempt's call is over (ended or cancelled) and it failed so. */
void request_failed(struct attempt *a, enum failure failure, float retry_after_ms);
/* The attempt ended well: tell and count. request_close must follow. */
void request_ended(struct attempt *a);
/* A whole answer was written to the exchange: let go. Only the last call on the exchange may
 * follow. */
void request_close(struct request *r);
/* Nothing came within the time after which core wants to know. */
void request_late(struct attempt *a);
/* First content was seen. The other attempt, if there is one, is cancelled. */
void request_started(struct attempt *a);
/* The bytes of the attempt went out. */
void request_dispatched(struct attempt *a, bool fresh_connection);

/* What core is told of such a request of this key (0: none); also for a dry run. */
void request_arrived_event(struct lane *lane, const struct openai_request *o, uint64_t id,
                           uint16_t model, uint64_t key_id, const struct http_request *http,
                           struct event *ret_event);

/* What core decided about a request that it held. Nothing happens when it is gone. */
struct inbox_entry;
void request_resume(struct lane *lane, const struct inbox_entry *entry);

/* The gateway stops: end it with an error. The request is gone after this. */
void request_abort(struct request *r);
#endif
