/* asker - a small state machine; see asker.h. */
#include "role/asker.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "role/failure.h"
#include "wire/json.h"

#define BODY_FIRST 4096u

/* ---- What comes next. */

static void
next(struct asker *a, enum asker_step step)
{
    a->step = step;
    a->more = true;
}

/* Whatever it has to tell was read. */
static void
next_later(struct asker *a, enum asker_step step)
{
    a->step = step;
    a->more = false;
}

/* Is its load to be read? An engine that did not tell us is asked again now and then: it was
 * started with other options, or we have another key. */
static bool
has_load(struct asker *a)
{
    if (a->no_load && ++a->quiet >= ASKER_QUIET_LOOKS) {
        a->quiet = 0;
        a->no_load = a->fallback_load = false;
    }
    return a->adapter->load_path != NULL && !a->no_load;
}

static enum asker_step
step_of_round(const struct asker *a)
{
    return a->adapter->slots_path != NULL ? ASKER_SLOTS : ASKER_MODELS;
}

void
asker_fail(struct asker *a)
{
    a->detect_at = 0;
    a->more = false;
    if (a->adapter != NULL) /* who comes back may serve something else */
        a->step = step_of_round(a);
}

void
asker_anew(struct asker *a)
{
    if (a->adapter == NULL)
        return;
    if (a->adapter->slots_path == NULL && has_load(a)) {
        a->step = ASKER_LOAD; /* which says whether it sleeps, without which states mean nothing */
        a->loads = ASKER_MODELS_EVERY;
    } else {
        a->step = step_of_round(a);
    }
}

const char *
asker_kind_words(const struct asker *a, const struct adapter *found)
{
    if (!found->has_adapter)
        return ", used as a plain OpenAI server";
    if (found->slots_of_each > 0 && isnan(a->slots)) /* the one row that has such: Ollama */
        return ", and runs one request of each model at once, unless `slots` says what its "
               "OLLAMA_NUM_PARALLEL is";
    return "";
}

float
asker_age_ms(const struct asker *a)
{
    return (float)((double)(a->head_ns - a->sent_ns) / 2e6);
}

/* ---- Answers. Each handler sets what comes next, or says which failure the answer is. */

static void
set_adapter(struct asker *a, const struct adapter *found)
{
    a->adapter = found->has_adapter ? found : adapter_of(ENGINE_OPENAI);
    a->slots_of_each = a->adapter->slots_of_each > 0;
    a->step = step_of_round(a);
}

static enum failure
on_detected(struct asker *a, struct span body)
{
    const struct adapter *asked = adapter_at(a->detect_at);

    a->more = true;
    if (asked != NULL && asked->detect(a->status, body)) {
        set_adapter(a, asked);
        a->fn->kind(a, asked);
        return FAILURE_NONE;
    }
    a->detect_at++;
    if (adapter_at(a->detect_at) != NULL)
        return FAILURE_NONE;
    return a->status >= 500 ? FAILURE_STATUS_5XX : FAILURE_MALFORMED;
}

static enum failure
on_slots(struct asker *a, struct span body)
{
    struct adapter_load load;

    adapter_load_init(&load);
    if (a->status == 200 && a->adapter->parse_slots(body, &load) == ERR_OK) {
        a->sleeping = load.sleeping;
        a->slots_of_each = load.is_router;
        if (!isnan(load.slots))
            a->slots = load.slots;
    } /* else: an engine that does not tell; its slots stay unknown */
    if (a->fallback_load && a->loads > 0 && a->loads < ASKER_MODELS_EVERY && !a->sleeping)
        next(a, ASKER_LOAD);
    else
        next(a, ASKER_MODELS);
    return FAILURE_NONE;
}

/* Its models and their states are known. */
static void
take_models(struct asker *a, struct adapter_models *models)
{
    bool load_wakes = a->fallback_load; /* what an engine's own report does not */
    uint32_t slots = a->slots >= 1.0f ? (uint32_t)a->slots : a->adapter->slots_of_each;

    for (size_t i = 0; a->sleeping && i < models->count; i++) {
        if (models->list[i].state == MODEL_READY)
            models->list[i].state = a->adapter->wakes_on_request ? MODEL_SLEEPING : MODEL_DORMANT;
    }
    for (size_t i = 0; a->slots_of_each && i < models->count; i++) {
        if (models->list[i].slots == 0)
            models->list[i].slots = slots;
    }
    a->fn->models(a, models);
    a->loads = 0;
    if (has_load(a) && !(a->sleeping && load_wakes))
        next(a, ASKER_LOAD);
    else
        next_later(a, step_of_round(a));
}

static enum failure
on_models(struct asker *a, struct span body)
{
    struct adapter_models models = {0};

    if (a->status != 200 || a->adapter->parse_models(body, &models) != ERR_OK)
        return a->status == 200 ? FAILURE_MALFORMED : FAILURE_STATUS_5XX;
    if (a->adapter->states_path == NULL) {
        take_models(a, &models);
        return FAILURE_NONE;
    }
    if (a->models == NULL && (a->models = malloc(sizeof(*a->models))) == NULL)
        return FAILURE_LOCAL;
    *a->models = models;
    next(a, ASKER_STATES);
    return FAILURE_NONE;
}

static void
drop_models(struct asker *a)
{
    free(a->models);
    a->models = NULL;
}

static enum failure
on_states(struct asker *a, struct span body)
{
    if (a->status != 200 || a->adapter->parse_states(body, a->models) != ERR_OK)
        return a->status == 200 ? FAILURE_MALFORMED : FAILURE_STATUS_5XX;
    take_models(a, a->models);
    drop_models(a);
    return FAILURE_NONE;
}

static enum failure
on_load(struct asker *a, struct span body)
{
    const struct adapter *adapter = a->adapter;
    struct adapter_load load;
    enum err err = ERR_PARSE;

    if (a->status == 400 || a->status == 404 || a->status == 501 || a->status == 401 ||
        a->status == 403) {
        /* it does not tell, not us, or not without a model's name (a router of llama.cpp's); ask
         * elsewhere or live without */
        a->no_load = a->fallback_load || adapter->fallback_load_path == NULL;
        a->fallback_load = true;
        next(a, a->no_load ? ASKER_MODELS : ASKER_LOAD);
        return FAILURE_NONE;
    }
    adapter_load_init(&load);
    if (a->status == 200)
        err = a->fallback_load ? adapter->parse_fallback_load(body, &load)
                               : adapter->parse_load(body, &load);
    if (err != ERR_OK)
        return a->status == 200 ? FAILURE_MALFORMED : FAILURE_STATUS_5XX;
    if (isnan(load.slots) && !a->slots_of_each)
        load.slots = a->slots;
    a->fn->load(a, &load);
    a->loads++;
    if (adapter->slots_path == NULL && load.sleeping != a->sleeping) { /* else that one told */
        a->sleeping = load.sleeping;
        a->loads = ASKER_MODELS_EVERY; /* their states are other ones now */
    }
    if (a->loads >= ASKER_MODELS_EVERY || a->fallback_load)
        next_later(a, step_of_round(a));
    else
        next_later(a, ASKER_LOAD);
    return FAILURE_NONE;
}

/* The answer, by what was asked. */
static enum failure
answered(struct asker *a, struct span body)
{
    switch (a->step) {
    case ASKER_DETECT:
        return on_detected(a, body);
    case ASKER_SLOTS:
        return on_slots(a, body);
    case ASKER_STATES:
        return on_states(a, body);
    case ASKER_LOAD:
        return on_load(a, body);
    default:
        return on_models(a, body);
    }
}

/* ---- The question. */

static void
drop_body(struct asker *a)
{
    free(a->body); /* thousands of engines: none keeps a buffer between reads */
    a->body = NULL;
    a->body_bytes = a->body_room = 0;
}

static void
over(struct asker *a, enum failure failure)
{
    drop_body(a);
    if (failure != FAILURE_NONE) {
        drop_models(a);
        asker_fail(a);
    }
    a->fn->over(a, failure);
}

static void
on_sent(struct http_call *call, bool fresh, void *user)
{
    struct asker *a = user;

    (void)call;
    a->fresh = fresh;
    a->sent_ns = clock_now_ns();
}

static void
on_head(struct http_call *call, const struct http_response *response, void *user)
{
    struct asker *a = user;

    (void)call;
    a->status = response->status;
    a->head_ns = clock_now_ns();
}

static void
on_data(struct http_call *call, struct span bytes, void *user)
{
    struct asker *a = user;
    size_t room = a->body_room == 0 ? BODY_FIRST : a->body_room;

    while (room - a->body_bytes < bytes.bytes + JSON_PADDING)
        room *= 2;
    if (room != a->body_room) {
        char *body = realloc(a->body, room);
        if (body == NULL) {
            http_call_cancel(call);
            a->call = NULL;
            over(a, FAILURE_LOCAL);
            return;
        }
        a->body = body;
        a->body_room = room;
    }
    memcpy(a->body + a->body_bytes, bytes.data, bytes.bytes);
    a->body_bytes += bytes.bytes;
}

static void
on_end(struct http_call *call, const struct http_header *trailers, size_t trailer_count, void *user)
{
    struct asker *a = user;

    (void)call, (void)trailers, (void)trailer_count;
    a->call = NULL;
    if (a->body_bytes > 0)
        memset(a->body + a->body_bytes, 0, JSON_PADDING);
    over(a, answered(a, (struct span){a->body, a->body_bytes}));
}

static void
on_failed(struct http_call *call, enum http_failure why, void *user)
{
    struct asker *a = user;

    (void)call;
    a->call = NULL;
    over(a, failure_of_call(why));
}

static const struct http_call_fn call_fn = {
    .sent = on_sent, .head = on_head, .data = on_data, .end = on_end, .failed = on_failed};

static const char *
path_of(const struct asker *a)
{
    switch (a->step) {
    case ASKER_DETECT:
        return adapter_at(a->detect_at)->detect_path;
    case ASKER_SLOTS:
        return a->adapter->slots_path;
    case ASKER_STATES:
        return a->adapter->states_path;
    case ASKER_LOAD:
        return a->fallback_load ? a->adapter->fallback_load_path : a->adapter->load_path;
    default:
        return a->adapter->models_path;
    }
}

enum err
asker_ask(struct asker *a, struct http_target *target, struct span authorization)
{
    struct http_header headers[3] = {
        {SPAN_LIT("accept"), SPAN_LIT("*/*")},
        {SPAN_LIT("user-agent"), SPAN_LIT("isochrone/" ISOCHRONE_VERSION)},
        {SPAN_LIT("authorization"), authorization},
    };
    const struct http_call_request request = {
        .method = SPAN_LIT("GET"),
        .target = span_of(path_of(a)),
        .headers = headers,
        .header_count = authorization.bytes > 0 ? 3 : 2,
    };
    const struct http_call_limits limits = {
        .connect_ns = ASKER_CONNECT_NS,
        .first_byte_ns = ASKER_ANSWER_NS,
        .idle_ns = ASKER_ANSWER_NS,
        .body_bytes_max = ADAPTER_DOCUMENT_BYTES_MAX,
    };

    a->status = 0;
    a->fresh = true;
    a->sent_ns = a->head_ns = clock_now_ns();
    return http_call_start(target, &request, &limits, &call_fn, a, &a->call);
}

/* ---- Life. */

void
asker_init(struct asker *a, const struct asker_fn *fn, enum engine_kind kind, float slots)
{
    *a = (struct asker){.fn = fn, .slots = slots, .more = true};
    if (kind != ENGINE_UNKNOWN)
        set_adapter(a, adapter_of(kind));
}

void
asker_stop(struct asker *a)
{
    if (a->call != NULL)
        http_call_cancel(a->call);
    a->call = NULL;
    drop_body(a);
    drop_models(a);
    if (a->step == ASKER_STATES) /* of which they are */
        a->step = ASKER_MODELS;
}
