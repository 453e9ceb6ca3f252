/* sim_node - one node: its engine, what arrives there, what it gives back, and what it tells.
 *
 * An engine's id of a request is the attempt and the serial of its request, so that what comes of
 * one that is long gone is known as such. */
#include <math.h>
#include <stdlib.h>

#include "base/must.h"
#include "sim/sim_check.h"

#define OUTPUTS_MAX  256u
#define END_AFTER_NS 1000u /* an answer's end does not overtake its beginning */

static uint64_t
engine_id(uint32_t attempt, uint32_t serial)
{
    return (uint64_t)serial << 32 | attempt;
}

/* ---- Reports and cancellations on their way: pools. */

static uint32_t
report_take(struct sim_world *w)
{
    uint32_t i = w->report_free;

    if (i != SIM_NONE) {
        w->report_free = w->reports[i].next_free;
        return i;
    }
    if (w->report_count == w->report_room) {
        uint32_t room = w->report_room == 0 ? 4096 : 2 * w->report_room;
        struct sim_report *reports = realloc(w->reports, room * sizeof(*reports));
        must(reports != NULL);
        w->reports = reports;
        w->report_room = room;
    }
    return w->report_count++;
}

void
sim_report_free(struct sim_world *w, uint32_t report)
{
    if (w->reports[report].riders > 1) {
        w->reports[report].riders--;
        return;
    }
    w->reports[report].next_free = w->report_free;
    w->report_free = report;
}

/* What an agent tells beside the load: as it measured them, with one request at a time. */
static void
report_measured(const struct sim_world *w, const struct sim_node *n, struct sim_report *r)
{
    const struct engine_speed *s = &w->classes[n->class].speed[n->model];
    double factor = n->speed * n->tells.speed / n->slow, prompt = w->prompt_mean;
    double prefill_ms = s->a_ms + s->b_ms * prompt + 0.5 * s->c_ms * prompt * prompt;

    r->accepted_total = (uint64_t)((double)n->accepted_total * n->tells.load);
    r->prefill_tok_s = (float)(1000.0 * prompt / prefill_ms * factor);
    r->decode_tok_s = (float)(1000.0 / (s->t0_ms + s->tk_ms * prompt / 1000.0) * factor);
    r->slots = n->slots_kept > 0 ? SIM_SLOTS : NAN;
}

uint32_t
sim_node_report(struct sim_world *w, uint32_t node, uint32_t riders)
{
    const struct sim_node *n = &w->nodes[node];
    uint32_t i = report_take(w);
    struct engine_truth t;

    sim_node_truth(w, node, &t);
    w->reports[i] = (struct sim_report){
        .node = node,
        .riders = riders,
        .running = (float)floor(t.running * n->tells.load),
        .waiting = (float)floor(t.waiting * n->tells.load),
        .queue_tokens = w->options.agents ? (float)(t.queue_tokens * n->tells.load) : NAN,
        .kv_tokens_used = (float)(t.kv_tokens_used * n->tells.load),
        .kv_tokens_cap = (float)t.kv_tokens_cap,
        .age_ms = NAN,
        .slots = NAN,
    };
    if (w->options.agents)
        report_measured(w, n, &w->reports[i]);
    return i;
}

void
sim_node_close(struct sim_world *w)
{
    free(w->reports);
    free(w->cancels);
}

/* ---- The engine. */

/* Ask it again when it has something to do. */
static void
wake_later(struct sim_world *w, uint32_t node)
{
    struct sim_node *n = &w->nodes[node];
    double next_ms = engine_next_ms(n->engine);
    uint64_t at_ns;

    if (isinf(next_ms)) {
        n->wake_ns = UINT64_MAX;
        n->wake_version++;
        return;
    }
    at_ns = (uint64_t)ceil(next_ms * 1e6);
    while ((double)at_ns * 1e-6 < next_ms) /* rounding must not wake it a moment too soon */
        at_ns++;
    if (at_ns < w->now_ns)
        at_ns = w->now_ns;
    if (at_ns == n->wake_ns)
        return;
    n->wake_ns = at_ns;
    sim_queue_put(&w->queue, at_ns, SIM_WAKE, node, ++n->wake_version);
}

static double
way_back_ms(struct sim_world *w, uint32_t node, const struct sim_request *r)
{
    return sim_net_one_way_ms(&w->net, &w->net_rng, w->nodes[node].region,
                              w->gateways[r->gateway].region);
}

/* The network swallows what the node says, and with it the connection: who has heard its beginning
 * notices the silence, who has not runs into the limit on the first token. */
static void
lost(struct sim_world *w, uint32_t attempt, uint32_t serial)
{
    struct sim_request *r = sim_request_of(w, attempt, serial);
    struct sim_attempt *a = &r->attempts[attempt % ATTEMPTS_MAX];
    double cut_ms = w->net.cut_ms[w->nodes[a->node].region][w->gateways[r->gateway].region];

    if (a->first_ns == 0)
        return;
    a->failure = FAILURE_STALL;
    sim_put(w, cut_ms + SIM_IDLE_LIMIT_MS - sim_now_ms(w), SIM_BROKEN, attempt, serial);
}

static void
output(struct sim_world *w, uint32_t node, const struct engine_output *o)
{
    uint32_t attempt = (uint32_t)o->id, serial = (uint32_t)(o->id >> 32);
    struct sim_request *r;
    struct sim_attempt *a;
    uint64_t at_ns;
    bool is_first = o->kind == ENGINE_OUTPUT_TOKEN && o->index == 0;

    if ((!is_first && o->kind != ENGINE_OUTPUT_END) || attempt >= w->request_count * ATTEMPTS_MAX)
        return;
    r = sim_request_of(w, attempt, serial);
    a = r == NULL ? NULL : &r->attempts[attempt % ATTEMPTS_MAX];
    if (a == NULL || a->node != node)
        return;
    if (w->nodes[node].down > 0)
        sim_check_failed(w, "node %u answers, and is down", (unsigned)node);
    if (w->net.cut[w->nodes[node].region][w->gateways[r->gateway].region]) {
        lost(w, attempt, serial);
        return;
    }
    if (!is_first && a->first_ns == 0)
        return; /* its beginning was lost: so is the connection */
    at_ns = (uint64_t)((o->at_ms + way_back_ms(w, node, r)) * 1e6);
    if (!is_first)
        w->nodes[node].accepted_total += r->prompt_tokens + r->output_tokens;
    if (is_first) {
        a->cached_tokens = engine_request_cached(w->nodes[node].engine, o->id);
        a->first_ns = at_ns;
    } else if (at_ns < a->first_ns + END_AFTER_NS) {
        at_ns = a->first_ns + END_AFTER_NS;
    }
    if (w->options.piggyback && !w->options.polls && w->nodes[node].mute == 0 &&
        a->news == SIM_NONE)
        a->news = sim_node_report(w, node, 1);
    sim_queue_put(&w->queue, at_ns, is_first ? SIM_FIRST : SIM_DONE, attempt, serial);
}

static void
run(struct sim_world *w, uint32_t node)
{
    struct engine_output outputs[OUTPUTS_MAX];
    size_t count;

    do {
        count = engine_run(w->nodes[node].engine, sim_now_ms(w), outputs, OUTPUTS_MAX);
        for (size_t i = 0; i < count; i++)
            output(w, node, &outputs[i]);
    } while (count == OUTPUTS_MAX);
    wake_later(w, node);
}

void
sim_node_wake(struct sim_world *w, uint32_t node, uint32_t version)
{
    if (w->nodes[node].wake_version != version)
        return;
    w->nodes[node].wake_ns = UINT64_MAX;
    run(w, node);
}

/* ---- What arrives. */

/* The head of an answer goes out at once, and says how busy the engine is. */
static void
head_send(struct sim_world *w, uint32_t node, const struct sim_request *r)
{
    uint32_t report;

    if (w->nodes[node].mute > 0 ||
        w->net.cut[w->nodes[node].region][w->gateways[r->gateway].region])
        return;
    report = sim_node_report(w, node, 1);
    w->reports[report].kv_tokens_used = NAN; /* only a share of it stands there */
    w->reports[report].kv_tokens_cap = NAN;
    sim_put(w, way_back_ms(w, node, r), SIM_NEWS, report, r->gateway);
}

static void
answer_failure(struct sim_world *w, uint32_t attempt, uint32_t serial, enum failure failure)
{
    struct sim_request *r = sim_request_of(w, attempt, serial);
    struct sim_attempt *a = &r->attempts[attempt % ATTEMPTS_MAX];

    if (w->net.cut[w->nodes[a->node].region][w->gateways[r->gateway].region]) {
        lost(w, attempt, serial);
        return;
    }
    a->failure = (uint32_t)failure;
    sim_put(w, way_back_ms(w, a->node, r), SIM_BROKEN, attempt, serial);
}

/* What prediction would say if it knew everything but the future. */
static void
floor_note(struct sim_world *w, uint32_t attempt, struct sim_request *r)
{
    struct sim_attempt *a = &r->attempts[attempt % ATTEMPTS_MAX];
    struct predict_node node;
    struct predict_request request;
    struct terms terms;

    sim_world_truth(w, r->gateway, a->node, r->model, &node);
    sim_world_request(w, (uint64_t)r->serial << 24 | attempt / ATTEMPTS_MAX, a->node, &request);
    request.rounds = 1.0f;
    predict_terms(&node, &request, &terms);
    /* The way there is past, and known: what is left is the way back. */
    a->floor_first_ms = terms.first_ms - terms.net_ms +
                        (float)((double)(w->now_ns - a->dispatched_ns) * 1e-6) +
                        0.5f * node.path.rtt_ms;
}

static void
attempt_link(struct sim_world *w, uint32_t attempt, struct sim_attempt *a)
{
    struct sim_node *n = &w->nodes[a->node];

    a->at_node = true;
    a->node_prev = SIM_NONE;
    a->node_next = n->first_attempt;
    if (n->first_attempt != SIM_NONE)
        w->requests[n->first_attempt / ATTEMPTS_MAX]
            .attempts[n->first_attempt % ATTEMPTS_MAX]
            .node_prev = attempt;
    n->first_attempt = attempt;
}

void
sim_node_forget(struct sim_world *w, uint32_t attempt)
{
    struct sim_attempt *a = &w->requests[attempt / ATTEMPTS_MAX].attempts[attempt % ATTEMPTS_MAX];

    if (!a->at_node)
        return;
    a->at_node = false;
    if (a->node_prev == SIM_NONE)
        w->nodes[a->node].first_attempt = a->node_next;
    else
        w->requests[a->node_prev / ATTEMPTS_MAX].attempts[a->node_prev % ATTEMPTS_MAX].node_next =
            a->node_next;
    if (a->node_next != SIM_NONE)
        w->requests[a->node_next / ATTEMPTS_MAX].attempts[a->node_next % ATTEMPTS_MAX].node_prev =
            a->node_prev;
}

void
sim_node_expect(struct sim_world *w, uint32_t attempt)
{
    struct sim_request *r = &w->requests[attempt / ATTEMPTS_MAX];
    struct sim_attempt *a = &r->attempts[attempt % ATTEMPTS_MAX];
    struct sim_coming *coming = &w->nodes[a->node].coming;
    struct engine_request request = {.model = sim_engine_model(&w->nodes[a->node], r->model),
                                     .prompt_tokens = r->prompt_tokens,
                                     .output_tokens = r->output_tokens};

    request.block_count = sim_load_blocks(w, r);
    request.blocks = w->blocks;
    a->coming = true;
    a->coming_tokens = r->prompt_tokens;
    if (request.block_count > 0)
        a->coming_tokens -= engine_cached_tokens(w->nodes[a->node].engine, &request);
    coming->requests += 1.0;
    coming->prompt_tokens += r->prompt_tokens;
    coming->uncached_tokens += a->coming_tokens;
}

void
sim_node_arrived(struct sim_world *w, uint32_t attempt)
{
    struct sim_request *r = &w->requests[attempt / ATTEMPTS_MAX];
    struct sim_attempt *a = &r->attempts[attempt % ATTEMPTS_MAX];
    struct sim_coming *coming = &w->nodes[a->node].coming;

    if (!a->coming)
        return;
    a->coming = false;
    coming->requests -= 1.0; /* sums of whole numbers: nothing drifts */
    coming->prompt_tokens -= r->prompt_tokens;
    coming->uncached_tokens -= a->coming_tokens;
}

/* Has it as many as it takes, and says that it takes more? */
static bool
is_full(const struct sim_world *w, uint32_t node)
{
    const struct sim_node *n = &w->nodes[node];
    struct engine_truth t;

    if (n->slots_kept == 0)
        return false;
    engine_truth(n->engine, sim_now_ms(w), 0, &t);
    return t.running + t.waiting >= n->slots_kept;
}

void
sim_node_submit(struct sim_world *w, uint32_t attempt, uint32_t serial)
{
    struct sim_request *r = sim_request_of(w, attempt, serial);
    struct sim_attempt *a = r == NULL ? NULL : &r->attempts[attempt % ATTEMPTS_MAX];
    struct engine_request request;
    enum err err;

    if (a == NULL || a->node == SIM_NONE)
        return; /* given up on its way */
    sim_node_arrived(w, attempt);
    if (w->nodes[a->node].down > 0) {
        answer_failure(w, attempt, serial, FAILURE_CONNECT);
        return;
    }
    if (w->nodes[a->node].tells.ready > 0) {
        answer_failure(w, attempt, serial, FAILURE_MODEL);
        return;
    }
    if (w->options.floor)
        floor_note(w, attempt, r);
    request = (struct engine_request){.id = engine_id(attempt, serial),
                                      .model = sim_engine_model(&w->nodes[a->node], r->model),
                                      .prompt_tokens = r->prompt_tokens,
                                      .output_tokens = r->output_tokens};
    request.block_count = sim_load_blocks(w, r);
    request.blocks = w->blocks;
    run(w, a->node);
    err = is_full(w, a->node) ? ERR_FULL
                              : engine_submit(w->nodes[a->node].engine, sim_now_ms(w), &request);
    if (err != ERR_OK) {
        answer_failure(w, attempt, serial, FAILURE_BUSY);
        return;
    }
    w->stats.submitted++;
    if (a->is_hedge)
        w->stats.hedge_prefill_tokens += r->prompt_tokens -
                                         engine_cached_tokens(w->nodes[a->node].engine, &request);
    attempt_link(w, attempt, a);
    if (w->options.polls)
        head_send(w, a->node, r);
    wake_later(w, a->node);
}

void
sim_node_cancel(struct sim_world *w, uint32_t attempt, uint32_t from_region)
{
    const struct sim_request *r = &w->requests[attempt / ATTEMPTS_MAX];
    uint32_t node = r->attempts[attempt % ATTEMPTS_MAX].node, i = w->cancel_free;

    if (w->net.cut[from_region][w->nodes[node].region])
        return;
    if (i != SIM_NONE) {
        w->cancel_free = w->cancels[i].next_free;
    } else {
        if (w->cancel_count == w->cancel_room) {
            uint32_t room = w->cancel_room == 0 ? 256 : 2 * w->cancel_room;
            struct sim_cancel *cancels = realloc(w->cancels, room * sizeof(*cancels));
            must(cancels != NULL);
            w->cancels = cancels;
            w->cancel_room = room;
        }
        i = w->cancel_count++;
    }
    w->cancels_coming++;
    w->cancels[i] = (struct sim_cancel){.id = engine_id(attempt, r->serial), .node = node};
    sim_put(w, sim_net_one_way_ms(&w->net, &w->net_rng, from_region, w->nodes[node].region),
            SIM_CANCEL, i, 0);
}

void
sim_node_cancelled(struct sim_world *w, uint32_t cancel)
{
    struct sim_cancel c = w->cancels[cancel];

    w->cancels_coming--;
    w->cancels[cancel].next_free = w->cancel_free;
    w->cancel_free = cancel;
    run(w, c.node);
    engine_cancel(w->nodes[c.node].engine, sim_now_ms(w), c.id);
    wake_later(w, c.node);
}

/* ---- What it tells. */

void
sim_node_beat(struct sim_world *w, uint32_t node)
{
    const struct sim_node *n = &w->nodes[node];
    uint32_t report, heard = 0;
    bool hears[SIM_GATEWAYS_MAX];

    sim_put(w, w->options.heartbeat_ms * (0.95 + 0.1 * rng_unit(&w->rng)), SIM_BEAT, node, 0);
    if (n->down > 0 || n->mute > 0)
        return;
    for (uint32_t g = 0; g < w->options.gateways; g++) {
        double lost = w->gateways[g].report_loss;
        hears[g] = !w->net.cut[n->region][w->gateways[g].region] &&
                   !(lost > 0.0 && rng_unit(&w->net_rng) < lost);
        heard += hears[g];
    }
    if (heard == 0)
        return;
    report = sim_node_report(w, node, heard);
    for (uint32_t g = 0; g < w->options.gateways; g++) {
        if (hears[g])
            sim_put(w, sim_net_one_way_ms(&w->net, &w->net_rng, n->region, w->gateways[g].region),
                    SIM_NEWS, report, g);
    }
}

void
sim_node_truth(const struct sim_world *w, uint32_t node, struct engine_truth *ret_truth)
{
    const struct sim_node *n = &w->nodes[node];

    engine_truth(n->engine, sim_now_ms(w), 0, ret_truth);
    if (n->also != MODEL_NONE) { /* both have a room of their own */
        struct engine_truth other;
        engine_truth(n->engine, sim_now_ms(w), 1, &other);
        ret_truth->kv_tokens_used += other.kv_tokens_used;
        ret_truth->kv_tokens_cap += other.kv_tokens_cap;
    }
    ret_truth->prompt_tokens_total += n->before.prompt_tokens_total;
    ret_truth->cached_tokens_total += n->before.cached_tokens_total;
    ret_truth->output_tokens_total += n->before.output_tokens_total;
    ret_truth->requests_total += n->before.requests_total;
    ret_truth->preemptions_total += n->before.preemptions_total;
}

void
sim_node_slow(struct sim_world *w, uint32_t node, double factor)
{
    run(w, node);
    w->nodes[node].slow = factor;
    engine_set_slow(w->nodes[node].engine, factor);
    wake_later(w, node);
}

/* It goes down: what runs there is cut, its caches are gone. */
void
sim_node_crash(struct sim_world *w, uint32_t node)
{
    struct sim_node *n = &w->nodes[node];
    struct engine_truth t;

    run(w, node);
    while (n->first_attempt != SIM_NONE) {
        uint32_t attempt = n->first_attempt;
        struct sim_request *r = &w->requests[attempt / ATTEMPTS_MAX];
        sim_node_forget(w, attempt);
        answer_failure(w, attempt, r->serial, FAILURE_EOF);
    }
    sim_node_truth(w, node, &t);
    n->before = t;
    engine_close(n->engine);
    n->restarts++;
    sim_fleet_engine(w, node);
    wake_later(w, node);
}
