/* place_node - one node of a place_world: what is in its memory, what it loads, what runs there.
 *
 * A copy of a model waits for memory, loads, is ready, and leaves. One model loads at a time. A
 * copy that is asked to leave still answers what comes, and goes when nothing of its is left, not
 * before a moment has passed in which gateways hear of it. What goes is asleep in the host's memory
 * first, then on disk, then gone: room there is what so many usual models need. */
#include <math.h>
#include <string.h>

#include "base/must.h"
#include "sim/place_state.h"

#define LEAVE_AFTER_MS 1000.0

/* ---- Tiers. */

static bool
tier_has(const uint16_t *tier, uint32_t count, uint32_t model)
{
    for (uint32_t i = 0; i < count; i++) {
        if (tier[i] == model)
            return true;
    }
    return false;
}

static void
tier_drop(uint16_t *tier, uint32_t *count, uint32_t model)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < *count; i++) {
        if (tier[i] != model)
            tier[kept++] = tier[i];
    }
    *count = kept;
}

static double
tier_mib(const struct place_world *w, const uint16_t *tier, uint32_t count)
{
    double sum = 0.0;

    for (uint32_t i = 0; i < count; i++)
        sum += w->weights_mib[tier[i]];
    return sum;
}

/* Put it in front, into room for so many usual ones; PLACE_NONE, or it itself, if it does not fit
 * at all. What has to go is at the end from *count on, *ret_out of them. */
static uint32_t
tier_push(const struct place_world *w, uint16_t *tier, uint32_t *count, uint32_t room,
          uint32_t model, uint32_t *ret_out)
{
    double room_mib = room * w->options.weights_mib;
    uint32_t before;

    *ret_out = 0;
    if (w->weights_mib[model] > room_mib)
        return model;
    memmove(tier + 1, tier, *count * sizeof(*tier));
    tier[0] = (uint16_t)model;
    before = ++*count;
    while (*count > PLACE_TIERS_MAX || tier_mib(w, tier, *count) > room_mib)
        --*count;
    *ret_out = before - *count;
    return PLACE_NONE;
}

/* It goes to the disk. */
static void
disk_put(struct place_world *w, uint32_t node, uint32_t model)
{
    struct place_node *n = &w->nodes[node];
    uint32_t out;
    bool fits = tier_push(w, n->on_disk, &n->disk_count, w->options.on_disk, model, &out) ==
                PLACE_NONE;

    place_gateway_told(w, node, model);
    for (uint32_t i = 0; fits && i < out; i++)
        place_gateway_told(w, node, n->on_disk[n->disk_count + i]);
}

/* It left the memory. */
static void
tiers_put(struct place_world *w, uint32_t node, uint32_t model)
{
    struct place_node *n = &w->nodes[node];
    uint16_t out[PLACE_TIERS_MAX + 1];
    uint32_t count;

    if (tier_push(w, n->asleep, &n->asleep_count, w->options.asleep, model, &count) == model) {
        disk_put(w, node, model);
        return;
    }
    memcpy(out, n->asleep + n->asleep_count, count * sizeof(*out));
    place_gateway_told(w, node, model);
    for (uint32_t i = count; i > 0; i--) /* the one that slept longest first */
        disk_put(w, node, out[i - 1]);
}

double
place_node_load_ms(const struct place_world *w, uint32_t node, uint32_t model)
{
    const struct place_options *o = &w->options;
    const struct place_node *n = &w->nodes[node];

    double mib = w->weights_mib[model];

    if (tier_has(n->asleep, n->asleep_count, model))
        return n->slow * (o->wake_ms + 1000.0 * mib / o->host_mib_s);
    if (tier_has(n->on_disk, n->disk_count, model))
        return n->slow * (o->start_ms + 1000.0 * mib / o->disk_mib_s);
    return n->slow * (o->start_ms + 1000.0 * mib / o->fetch_mib_s);
}

/* ---- Copies. */

struct place_copy *
place_node_copy(struct place_world *w, uint32_t node, uint32_t model)
{
    struct place_node *n = &w->nodes[node];

    for (uint32_t i = 0; i < n->copy_count; i++) {
        if (n->copies[i].model == model)
            return &n->copies[i];
    }
    return NULL;
}

static struct place_copy *
copy_add(struct place_world *w, uint32_t node, uint32_t model, enum place_copy_state state)
{
    struct place_node *n = &w->nodes[node];
    struct place_copy *c = &n->copies[n->copy_count++];

    if (n->copy_count > PLACE_HELD_MAX + PLACE_LOADS_MAX)
        must(false);
    *c = (struct place_copy){.model = (uint16_t)model,
                             .state = (uint8_t)state,
                             .first = PLACE_NONE,
                             .last = PLACE_NONE,
                             .used_ns = w->now_ns,
                             .asked_ns = w->now_ns};
    return c;
}

static uint32_t
held_count(const struct place_node *n)
{
    uint32_t held = 0;

    for (uint32_t i = 0; i < n->copy_count; i++)
        held += n->copies[i].state != COPY_WAITING;
    return held;
}

static double
held_mib(const struct place_world *w, const struct place_node *n)
{
    double sum = 0.0;

    for (uint32_t i = 0; i < n->copy_count; i++)
        sum += n->copies[i].state != COPY_WAITING ? w->weights_mib[n->copies[i].model] : 0.0;
    return sum;
}

static double
memory_mib(const struct place_world *w)
{
    return w->options.held * w->options.weights_mib;
}

/* Is there room for its weights now? */
static bool
has_place(const struct place_world *w, const struct place_node *n, uint32_t model)
{
    return held_count(n) < PLACE_HELD_MAX &&
           held_mib(w, n) + w->weights_mib[model] <= memory_mib(w);
}

bool
place_node_has_room(const struct place_world *w, uint32_t node, uint32_t model)
{
    const struct place_node *n = &w->nodes[node];
    double sum = w->weights_mib[model];

    for (uint32_t i = 0; i < n->copy_count; i++)
        sum += w->weights_mib[n->copies[i].model];
    return n->copy_count < PLACE_HELD_MAX && sum <= memory_mib(w);
}

static void
copy_out(struct place_world *w, uint32_t node, struct place_copy *c)
{
    struct place_node *n = &w->nodes[node];
    uint32_t model = c->model;

    if (c->running != 0)
        place_failed(w, "model %u leaves node %u with %u requests", model, node, c->running);
    *c = n->copies[--n->copy_count];
    tiers_put(w, node, model);
}

/* The one that nobody asked for longest, of those that nobody uses. */
static struct place_copy *
copy_idle(struct place_node *n)
{
    struct place_copy *best = NULL;

    for (uint32_t i = 0; i < n->copy_count; i++) {
        struct place_copy *c = &n->copies[i];
        if (c->state == COPY_READY && c->running == 0 &&
            (best == NULL || c->used_ns < best->used_ns))
            best = c;
    }
    return best;
}

/* One that is to go, and can; has: is there any that is to go? */
static struct place_copy *
copy_leaving(const struct place_world *w, struct place_node *n, bool *ret_has)
{
    *ret_has = false;
    for (uint32_t i = 0; i < n->copy_count; i++) {
        struct place_copy *c = &n->copies[i];
        if (c->state != COPY_LEAVING)
            continue;
        *ret_has = true;
        if (c->running == 0 && c->leave_ns <= w->now_ns)
            return c;
    }
    return NULL;
}

/* The one that waits longest for memory; PLACE_NONE. */
static uint32_t
copy_next(const struct place_node *n)
{
    uint32_t next = PLACE_NONE;

    for (uint32_t i = 0; i < n->copy_count; i++) {
        if (n->copies[i].state == COPY_WAITING &&
            (next == PLACE_NONE || n->copies[i].asked_ns < n->copies[next].asked_ns))
            next = i;
    }
    return next;
}

void
place_node_go_on(struct place_world *w, uint32_t node)
{
    struct place_node *n = &w->nodes[node];
    struct place_copy *c;
    bool has_leaving;
    uint32_t next, model;
    double ms;

    while ((c = copy_leaving(w, n, &has_leaving)) != NULL)
        copy_out(w, node, c);
    if (n->loading != PLACE_NONE)
        return;
    next = copy_next(n);
    if (next == PLACE_NONE)
        return;
    model = n->copies[next].model;
    while (!has_place(w, n, model)) {
        c = has_leaving ? NULL : copy_idle(n);
        if (c == NULL)
            return; /* when something ends, or leaves, it goes on */
        copy_out(w, node, c);
    }
    c = place_node_copy(w, node, model);
    ms = place_node_load_ms(w, node, c->model);
    tier_drop(n->asleep, &n->asleep_count, c->model);
    tier_drop(n->on_disk, &n->disk_count, c->model);
    c->state = COPY_LOADING;
    c->ready_ns = w->now_ns + place_ns(ms);
    n->loading = c->model;
    w->stats.loads += w->now_ns >= w->warm_ns;
    w->loads_mib += w->now_ns >= w->warm_ns ? w->weights_mib[c->model] : 0.0;
    if (held_mib(w, n) > memory_mib(w))
        place_failed(w, "node %u holds %.0f MiB", node, held_mib(w, n));
    place_put(w, ms, PLACE_LOADED, node, 0);
    place_gateway_told(w, node, c->model);
}

bool
place_node_load(struct place_world *w, uint32_t node, uint32_t model, bool asked)
{
    struct place_node *n = &w->nodes[node];
    struct place_copy *c = place_node_copy(w, node, model);
    uint32_t waiting = n->copy_count - held_count(n);

    if (c != NULL && asked && c->state != COPY_LEAVING)
        place_failed(w, "node %u was asked twice for model %u", node, model);
    if (c != NULL) {
        if (c->state == COPY_LEAVING) {
            c->state = COPY_READY; /* it stays after all */
            place_gateway_told(w, node, model);
        }
        return true;
    }
    if (waiting == PLACE_LOADS_MAX)
        return false;
    c = copy_add(w, node, model, COPY_WAITING);
    c->ready_ns = w->now_ns + place_ns(place_node_load_ms(w, node, model) * (1.0 + waiting));
    w->stats.loads_asked += asked && w->now_ns >= w->warm_ns;
    place_gateway_told(w, node, model);
    place_node_go_on(w, node);
    return true;
}

void
place_node_unload(struct place_world *w, uint32_t node, uint32_t model)
{
    struct place_copy *c = place_node_copy(w, node, model);

    if (c == NULL || c->state != COPY_READY)
        return;
    c->state = COPY_LEAVING;
    c->leave_ns = w->now_ns + place_ns(LEAVE_AFTER_MS);
    place_put(w, LEAVE_AFTER_MS, PLACE_LEAVES, node, 0);
    place_gateway_told(w, node, model);
}

/* ---- Requests. */

static void
list_add(struct place_world *w, uint32_t *first, uint32_t *last, uint32_t request)
{
    w->requests[request].next = PLACE_NONE;
    if (*first == PLACE_NONE)
        *first = request;
    else
        w->requests[*last].next = request;
    *last = request;
}

/* It has a slot: its prompt is computed behind those before it, its tokens come at the pace of now.
 */
static void
request_run(struct place_world *w, uint32_t request)
{
    struct place_request *r = &w->requests[request];
    struct place_node *n = &w->nodes[r->node];
    struct place_copy *c = place_node_copy(w, r->node, r->model);
    const struct speed_row *s = &w->speed;
    double prompt = r->prompt_tokens, wait_ms = 0.0, first_ms, step_ms, back_ms;

    n->running++;
    c->at_once++;
    if (n->gpu_free_ns > w->now_ns)
        wait_ms = (double)(n->gpu_free_ns - w->now_ns) * 1e-6;
    first_ms = wait_ms + place_prefill_ms(w, r->model, prompt) / n->speed;
    n->gpu_free_ns = w->now_ns + place_ns(first_ms);
    place_put(w, first_ms, PLACE_STARTED, request, 0);
    step_ms = s->t0_ms * fmax(n->active, place_scale(w, r->model)) +
              place_scale(w, r->model) *
                  (s->tb_ms * n->running +
                   s->tk_ms * 1e-3 * (prompt + r->output_tokens) * n->running);
    step_ms /= n->speed;
    first_ms += step_ms;
    back_ms = place_one_way_ms(w, n->region, r->region);
    place_put(w, first_ms + back_ms, PLACE_FIRST, request, r->tries);
    first_ms += step_ms * (r->output_tokens - 1.0);
    place_put(w, first_ms + back_ms, PLACE_END, request, r->tries);
    place_put(w, first_ms, PLACE_FREED, request, 0);
    w->running_ms += first_ms;
}

static void
request_enter(struct place_world *w, uint32_t request)
{
    const struct place_request *r = &w->requests[request];
    struct place_node *n = &w->nodes[r->node];
    struct place_copy *c = place_node_copy(w, r->node, r->model);

    n->prompt_tokens += r->prompt_tokens;
    if (w->options.has_own_slots ? c->at_once < n->slots : n->running < w->options.held * n->slots)
        request_run(w, request);
    else if (w->options.has_own_slots)
        list_add(w, &c->first, &c->last, request);
    else
        list_add(w, &n->first, &n->last, request);
}

void
place_node_submit(struct place_world *w, uint32_t request)
{
    struct place_request *r = &w->requests[request];
    struct place_node *n = &w->nodes[r->node];
    struct place_copy *c = place_node_copy(w, r->node, r->model);

    if (c == NULL) { /* engines load what they are asked for */
        if (!place_node_load(w, r->node, r->model, false)) {
            place_gateway_failed(w, request); /* too many wait there: it says that it is busy */
            return;
        }
        c = place_node_copy(w, r->node, r->model);
    }
    c->used_ns = w->now_ns;
    n->active += c->running++ == 0 ? place_scale(w, r->model) : 0.0;
    if (c->state == COPY_READY || c->state == COPY_LEAVING) {
        request_enter(w, request);
        return;
    }
    r->waited = true;
    list_add(w, &c->first, &c->last, request);
}

void
place_node_loaded(struct place_world *w, uint32_t node)
{
    struct place_node *n = &w->nodes[node];
    struct place_copy *c = place_node_copy(w, node, n->loading);
    uint32_t request;

    must(c != NULL && c->state == COPY_LOADING);
    n->loading = PLACE_NONE;
    c->state = COPY_READY;
    c->used_ns = w->now_ns;
    request = c->first;
    c->first = c->last = PLACE_NONE;
    place_gateway_told(w, node, c->model);
    while (request != PLACE_NONE) {
        uint32_t next = w->requests[request].next;
        request_enter(w, request);
        request = next;
    }
    place_node_go_on(w, node);
}

void
place_node_started(struct place_world *w, uint32_t request)
{
    const struct place_request *r = &w->requests[request];

    w->nodes[r->node].prompt_tokens -= r->prompt_tokens;
}

void
place_node_freed(struct place_world *w, uint32_t request)
{
    struct place_request *r = &w->requests[request];
    struct place_node *n = &w->nodes[r->node];
    struct place_copy *c = place_node_copy(w, r->node, r->model);

    must(c != NULL && c->running > 0);
    c->running--;
    n->active -= c->running == 0 ? place_scale(w, r->model) : 0.0;
    n->running--;
    c->at_once--;
    if (w->options.has_own_slots && c->first != PLACE_NONE) {
        uint32_t next = c->first;
        c->first = w->requests[next].next;
        request_run(w, next);
    } else if (n->first != PLACE_NONE) {
        uint32_t next = n->first;
        n->first = w->requests[next].next;
        request_run(w, next);
    }
    place_node_go_on(w, r->node);
}

/* ---- The beginning. */

void
place_node_hold(struct place_world *w, uint32_t node, uint32_t model)
{
    (void)copy_add(w, node, model, COPY_READY);
}

void
place_node_store(struct place_world *w, uint32_t node, uint32_t model)
{
    uint32_t out;

    must(tier_push(w, w->nodes[node].on_disk, &w->nodes[node].disk_count, w->options.on_disk, model,
                   &out) == PLACE_NONE);
}

void
place_node_init(struct place_world *w)
{
    const struct place_options *o = &w->options;
    struct rng rng;

    rng_init(&rng, o->seed * 15485863u + 3u);
    for (uint32_t i = 0; i < o->nodes; i++) {
        struct place_node *n = &w->nodes[i];
        n->region = (uint16_t)(i % o->regions);
        n->slow = fmod(i / o->regions * 0.6180339887, 1.0) < o->slow_share ? o->slow_loads : 1.0;
        n->speed = 1.0 + o->hidden_speed * (2.0 * rng_unit(&rng) - 1.0);
        n->slots = i % 2 == 1 && o->slots_odd > 0 ? o->slots_odd : o->slots;
        n->loading = n->first = n->last = PLACE_NONE;
    }
}
