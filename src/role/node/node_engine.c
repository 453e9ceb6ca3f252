/* node_engine - the engines beside this agent: asked what they are, what they serve and how busy
 * they are (role/asker), each in its own time. Of several that have a model the best state counts,
 * and the one with the most room answers. An engine that does not answer has no model that is
 * ready; what it served stays known as `failed`, so that people see what is missing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/log.h"
#include "role/failure.h"
#include "role/node/node_order.h"

#define BACK_OFF_MAX 3u /* 2^n times the pause, at most */

static struct node_engine *
engine_of(struct asker *asker)
{
    return CONTAINER_OF(asker, struct node_engine, asker);
}

/* ---- Models. */

/* Which of two states is nearer to an answer? */
static unsigned
rank(uint32_t state)
{
    static const unsigned char ranks[MODEL_STATE_COUNT] = {
        [MODEL_ABSENT] = 0,  [MODEL_FAILED] = 1,  [MODEL_DOWNLOADING] = 2, [MODEL_ON_DISK] = 3,
        [MODEL_DORMANT] = 4, [MODEL_LOADING] = 5, [MODEL_SLEEPING] = 6,    [MODEL_READY] = 7};

    return state < MODEL_STATE_COUNT ? ranks[state] : 0;
}

struct node_model *
node_model_find(struct node *n, struct span id)
{
    for (uint32_t i = 0; i < n->model_count; i++) {
        if (span_eq_text(id, n->models[i].id))
            return &n->models[i];
    }
    return NULL;
}

/* While what all engines say is put together: a model that none of them had before, that was told
 * to have gone, and that no request and no gateway's wish holds on to. Engines whose models come
 * and go would fill the table in the end, and full reports before. */
static bool
is_over(const struct node_model *m)
{
    return m->before == MODEL_ABSENT && m->state == MODEL_ABSENT && !m->is_dirty && !m->is_pinned &&
           m->running == 0 && m->waiting == 0;
}

/* A place for one more: that of one that is over (requests point to the others, so none moves), or
 * a new one. NULL: there is no room. */
static struct node_model *
free_place(struct node *n)
{
    for (uint32_t i = 0; i < n->model_count; i++) {
        if (is_over(&n->models[i]))
            return &n->models[i];
    }
    return n->model_count < NODE_MODELS_MAX ? &n->models[n->model_count++] : NULL;
}

/* The model's entry, a new one if need be. NULL: there is no room, or no report can name it. */
static struct node_model *
model_place(struct node *n, const char *id)
{
    struct node_model *m = node_model_find(n, span_of(id));

    if (m != NULL || !message_is_text(span_of(id), REPORT_TEXT_BYTES_MAX))
        return m;
    m = free_place(n);
    if (m == NULL)
        return NULL;
    *m = (struct node_model){.is_dirty = true};
    span_copy(span_of(id), m->id, sizeof(m->id));
    return m;
}

/* How large it is: the configuration knows better than engines. */
static uint64_t
bytes_of(const struct node *n, const struct adapter_model *m)
{
    for (size_t i = 0; i < n->config->model_count; i++) {
        if (n->config->models[i].bytes > 0 && span_eq_text(n->config->models[i].name, m->name))
            return n->config->models[i].bytes;
    }
    return m->bytes;
}

/* How many run at once: of those engines that are nearest to an answer. */
static void
note_slots(struct node_model *m, uint32_t state, uint32_t slots)
{
    if (rank(state) > rank(m->state))
        m->slots = slots;
    else if (rank(state) == rank(m->state))
        m->slots += slots;
}

static void
note_bytes(struct node_model *m, uint64_t bytes)
{
    if (bytes == 0 || bytes == m->bytes)
        return;
    m->bytes = bytes;
    m->is_dirty = true;
}

/* Put together what all engines say. True: something is different now. */
static bool
models_join(struct node *n)
{
    const struct node_engine *engine;
    bool changed = false;

    for (uint32_t i = 0; i < n->model_count; i++) {
        n->models[i].before = n->models[i].state;
        n->models[i].slots_before = n->models[i].slots;
        n->models[i].state = MODEL_ABSENT;
        n->models[i].slots = 0;
    }
    TAILQ_FOREACH (engine, &n->engines, link) {
        for (size_t i = 0; i < engine->models.count; i++) {
            struct node_model *m = model_place(n, engine->models.list[i].name);
            uint32_t state = engine->up ? engine->models.list[i].state : MODEL_FAILED;
            state = node_control_state(engine, span_of(engine->models.list[i].name), state);
            if ((state == MODEL_ON_DISK || state == MODEL_SLEEPING) &&
                node_proxy_awaits(engine, span_of(engine->models.list[i].name)))
                state = MODEL_LOADING;
            if (m == NULL)
                continue;
            note_bytes(m, bytes_of(n, &engine->models.list[i]));
            note_slots(m, state, engine->models.list[i].slots);
            if (rank(state) > rank(m->state))
                m->state = state;
        }
    }
    for (uint32_t i = 0; i < n->model_count; i++) {
        if (n->models[i].state == n->models[i].before &&
            n->models[i].slots == n->models[i].slots_before)
            continue;
        n->models[i].is_dirty = true;
        changed = true;
    }
    return changed;
}

void
node_models_changed(struct node *n)
{
    if (!models_join(n))
        return;
    node_report_soon(n);
    if (n->waiting_count > 0) /* one of them may be what they wait for */
        loop_defer(n->loop, &n->admit, node_admit);
}

void
node_model_took(struct node *n, const char *id, double load_ms)
{
    struct node_model *m = node_model_find(n, span_of(id));

    if (m != NULL)
        m->load_ms = load_ms;
}

double
node_model_ready_in_ms(const struct node *n, struct span id)
{
    for (uint32_t i = 0; i < n->model_count; i++) {
        if (span_eq_text(id, n->models[i].id))
            return node_order_ready_in_ms(n, id, n->models[i].load_ms);
    }
    return (double)NAN;
}

/* Which engines can is written in wire/control; one that sleeps can be woken at least. */
static bool
can_load(const struct node_engine *e)
{
    const struct control_options options = {.adapter_path = {NULL, 0}};
    struct control_request request;
    struct control_words words;

    for (size_t i = 0; i < e->models.count; i++) {
        if (e->models.list[i].state == MODEL_DORMANT)
            return true;
    }
    return e->kind != NULL && control_request(e->kind->kind, CONTROL_LOAD, SPAN_LIT("m"), &options,
                                              &request, &words) == ERR_OK;
}

uint32_t
node_engines_loads_max(const struct node *n)
{
    const struct node_engine *e;
    uint32_t count = 0;

    TAILQ_FOREACH (e, &n->engines, link)
        count += can_load(e);
    return count;
}

/* ---- What they say. */

static void
on_kind(struct asker *asker, const struct adapter *found)
{
    struct node_engine *e = engine_of(asker);

    e->kind = found;
    log_info("engine %.*s: is %s%s", (int)e->at->name.bytes, e->at->name.data, found->title,
             asker_kind_words(asker, found));
}

static void
on_models(struct asker *asker, const struct adapter_models *models)
{
    struct node_engine *e = engine_of(asker);

    e->models = *models;
    for (size_t i = 0; i < e->models.count && e->is_asleep; i++) {
        if (e->models.list[i].state == MODEL_READY)
            e->models.list[i].state = MODEL_DORMANT;
    }
    e->heard = e->up = true;
    if (e->life == NODE_ENGINE_COMING)
        node_engine_arrived(e);
    if (e->is_look)
        node_control_seen(e);
    e->is_look = false;
    node_models_changed(e->node);
}

static void
on_load(struct asker *asker, const struct adapter_load *load)
{
    struct node_engine *e = engine_of(asker);
    double running = isnan(load->running) ? 0.0 : (double)load->running;

    if (!isnan(load->waiting))
        running += (double)load->waiting;
    e->load = *load;
    e->load_known = true;
    e->foreign = fmax(running - e->running, 0.0);
}

static void on_due(struct loop_timer *timer);

static void
begin_look(struct node_engine *e)
{
    e->wants_look = false;
    e->is_look = true;
    asker_anew(&e->asker);
    loop_timer_set(e->node->loop, &e->timer, loop_now_ns(e->node->loop) + 1, on_due);
}

static void
on_over(struct asker *asker, enum failure failure)
{
    struct node_engine *e = engine_of(asker);
    struct node *n = e->node;
    uint64_t pause_ns = asker->more || e->is_look ? 0 : n->ask_ns;

    if (failure == FAILURE_NONE && e->failures > 0) {
        log_info("engine %.*s: answers again", (int)e->at->name.bytes, e->at->name.data);
        e->failures = 0;
    } else if (failure != FAILURE_NONE) {
        if (e->failures == 0)
            log_warn("engine %.*s: does not answer as it should: %s (status %u)",
                     (int)e->at->name.bytes, e->at->name.data, failure_name(failure),
                     asker->status);
        if (e->failures < BACK_OFF_MAX)
            e->failures++;
        e->heard = true;
        e->up = false;
        e->load_known = false;
        if (e->life == NODE_ENGINE_COMING)
            node_engine_arrived(e);
        if (failure == FAILURE_CONNECT)
            e->is_asleep = false; /* who starts anew is awake */
        if (e->is_look)
            node_control_seen(e);
        e->is_look = false;
        node_models_changed(n);
        pause_ns = n->ask_ns << (e->failures - 1);
    }
    if (e->wants_look) {
        begin_look(e);
        return;
    }
    loop_timer_set(n->loop, &e->timer, loop_now_ns(n->loop) + pause_ns + 1, on_due);
}

static const struct asker_fn asker_fn = {
    .kind = on_kind, .models = on_models, .load = on_load, .over = on_over};

static void
on_due(struct loop_timer *timer)
{
    struct node_engine *e = CONTAINER_OF(timer, struct node_engine, timer);

    if (e->asker.call != NULL)
        return;
    if (asker_ask(&e->asker, e->target, e->at->authorization) != ERR_OK) {
        asker_fail(&e->asker);
        on_over(&e->asker, FAILURE_LOCAL);
    }
}

static void
init_asker(struct node_engine *e)
{
    asker_init(&e->asker, &asker_fn, e->at->kind, e->at->slots > 0 ? (float)e->at->slots : NAN);
    loop_timer_set(e->node->loop, &e->timer, loop_now_ns(e->node->loop) + 1, on_due);
}

void
node_engine_begin(struct node_engine *e)
{
    e->kind = adapter_of(e->at->kind);
    init_asker(e);
}

void
node_engine_again(struct node_engine *e)
{
    if (e->at->kind != ENGINE_UNKNOWN) /* else it is that until it says another one */
        e->kind = adapter_of(e->at->kind);
    asker_stop(&e->asker);
    init_asker(e);
}

void
node_engine_stop(struct node_engine *e)
{
    loop_timer_stop(&e->timer);
    asker_stop(&e->asker);
    e->up = e->is_look = e->wants_look = false;
}

void
node_engine_doubt(struct node_engine *e)
{
    if (e->asker.call == NULL && e->up)
        loop_timer_set(e->node->loop, &e->timer, loop_now_ns(e->node->loop) + 1, on_due);
}

void
node_engine_look(struct node_engine *e)
{
    if (e->life == NODE_ENGINE_LEAVING)
        return;
    if (e->asker.call == NULL) {
        begin_look(e);
        return;
    }
    e->wants_look = true; /* what it answers now may be what was before */
    e->is_look = false;
}

/* ---- Who answers. */

uint32_t
node_engine_state(const struct node_engine *e, struct span model)
{
    for (size_t i = 0; i < e->models.count; i++) {
        if (span_eq_text(model, e->models.list[i].name))
            return e->models.list[i].state;
    }
    return MODEL_ABSENT;
}

/* May a request be sent there now? Those that load or wake on a request may be asked for it, and
 * let requests wait meanwhile. */
static bool
is_servable(uint32_t state)
{
    return state == MODEL_READY || state == MODEL_SLEEPING || state == MODEL_ON_DISK ||
           state == MODEL_LOADING;
}

/* Has it less to do, for what it can? */
static bool
is_freer(const struct node_engine *a, const struct node_engine *b)
{
    return (uint64_t)a->running * node_guard_engine_slots(b) <
           (uint64_t)b->running * node_guard_engine_slots(a);
}

static struct node_place
nowhere(bool known, bool unheard)
{
    if (known)
        return (struct node_place){
            .status = 503,
            .retry_ms = NODE_RETRY_MS,
            .code = "model_not_ready",
            .why = "an engine of this node has this model, but it is not ready, nor is it coming"};
    if (unheard)
        return (struct node_place){
            .status = 503,
            .retry_ms = NODE_RETRY_MS,
            .code = "engine_unknown",
            .why = "the engines of this node have not said yet what they serve"};
    return (struct node_place){.status = 404,
                               .retry_ms = NAN,
                               .code = "model_not_found",
                               .why = "no engine of this node has this model"};
}

struct node_place
node_engine_for(struct node *n, struct span model)
{
    struct node_place best = {.engine = NULL};
    uint32_t best_state = MODEL_ABSENT;
    bool known = false, unheard = false;
    struct node_engine *e;

    TAILQ_FOREACH (e, &n->engines, link) {
        uint32_t said = node_engine_state(e, model), state = node_control_state(e, model, said);
        bool lets_in = node_order_lets_in(e, model, said);

        if (lets_in && said == MODEL_READY)
            state = said; /* who cannot know yet that it leaves */
        known = known || state != MODEL_ABSENT;
        unheard = unheard || !e->heard;
        if (!e->up || !is_servable(state))
            continue;
        if (best.engine == NULL || rank(state) > rank(best_state) ||
            (state == best_state && is_freer(e, best.engine))) {
            best = (struct node_place){.engine = e,
                                       .is_cold = state != MODEL_READY,
                                       .is_coming = !is_servable(said) || !lets_in};
            best_state = state;
        }
    }
    return best.engine != NULL ? best : nowhere(known, unheard);
}

bool
node_engines_heard(const struct node *n)
{
    const struct node_engine *e;

    TAILQ_FOREACH (e, &n->engines, link) {
        if (!e->heard)
            return false;
    }
    return true;
}

static uint32_t
count_of(const struct node_engines *list)
{
    const struct node_engine *e;
    uint32_t count = 0;

    TAILQ_FOREACH (e, list, link)
        count++;
    return count;
}

uint32_t
node_engines_count(const struct node *n)
{
    return count_of(&n->engines);
}

uint32_t
node_engines_leaving(const struct node *n)
{
    return count_of(&n->leaving);
}

uint32_t
node_engines_up(const struct node *n)
{
    const struct node_engine *e;
    uint32_t up = 0;

    TAILQ_FOREACH (e, &n->engines, link)
        up += e->up;
    return up;
}
