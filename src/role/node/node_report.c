/* node_report - what the node says of itself (wire/report): on change and each second, on the bus
 * where there is one, to gateways that want it posted, and to whoever asks over HTTP. Reports that
 * nobody hears are made all the same: seq and chain are those of the life of the node, not of who
 * listens. */
#include <math.h>
#include <string.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/admin_json.h"
#include "role/answer.h"
#include "role/node/node_order.h"

#define PAGE_MODELS      10u /* so many fit, however long their names are */
#define SELF_MODELS      6u  /* beside what a node is */
#define SELF_LABELS      8u
#define SOON_NS          50000000u /* between two reports at least */
#define CHAIN_NS         60000000000u
#define JITTER_PARTS     5u   /* a fifth more or less of the time between two reports */
#define SPEED_COUNT_MAX  32.0 /* answers that a speed is a mean of */
#define TOKENS_PER_S_MAX ((double)REPORT_TOKENS_PER_S_MAX)

typedef enum err report_write_fn(const struct report *report, char ret_text[MESSAGE_BYTES_MAX],
                                 size_t *ret_bytes);

/* ---- Numbers. */

void
node_measure(struct node_speed *s, double value)
{
    if (!(value > 0.0) || value > TOKENS_PER_S_MAX)
        return;
    if (s->count < SPEED_COUNT_MAX)
        s->count += 1.0;
    s->mean += (value - s->mean) / s->count;
}

void
node_ack(struct node *n, struct span gateway, uint64_t number)
{
    if (number > MESSAGE_NUMBER_MAX)
        return; /* nobody's: a report that told it would be refused by all */
    for (uint32_t i = 0; i < n->ack_count; i++) {
        if (!span_eq_text(gateway, n->acks[i].name))
            continue;
        if (number > n->acks[i].number)
            n->acks[i].number = number;
        return;
    }
    if (n->ack_count == REPORT_ACKS_MAX)
        return; /* more gateways than a report has room for: the others do without */
    span_copy(gateway, n->acks[n->ack_count].name, sizeof(n->acks[0].name));
    n->acks[n->ack_count++].number = number;
}

static uint64_t
whole(double value)
{
    return value > 0.0 && value < (double)REPORT_TOKENS_MAX ? (uint64_t)value : 0;
}

/* The engines as one; what one of them does not say is not said. */
static void
fill_load(const struct node *n, struct report_engine *e)
{
    double foreign = 0.0, used = 0.0, cap = 0.0;
    uint64_t running = n->running_count, slots = node_guard_slots_now(n);
    const struct node_engine *engine = TAILQ_FIRST(&n->engines);
    const struct adapter *kind = engine != NULL ? engine->kind : NULL;

    TAILQ_FOREACH (engine, &n->engines, link) {
        foreign += engine->load_known ? engine->foreign : 0.0;
        used += engine->load_known ? (double)engine->load.kv_tokens_used : (double)NAN;
        cap += engine->load_known ? (double)engine->load.kv_tokens_cap : (double)NAN;
        if (engine->kind != kind)
            kind = NULL;
    }
    if (kind != NULL)
        e->kind = span_of(kind->name);
    running += whole(foreign);
    e->slots = slots;
    e->waiting = n->waiting_count;
    if (running > slots && slots > 0) { /* the engine has a queue of its own */
        e->waiting += running - slots;
        running = slots;
    }
    e->running = running;
    e->prefill_tokens_in_flight = n->prefill_tokens;
    if (!isnan(used) && !isnan(cap) && cap > 0.0) {
        e->kv_tokens_used = whole(used);
        e->kv_tokens_cap = whole(cap);
    }
    e->accepted_total = n->counts.prompt_tokens + n->counts.output_tokens;
    if (n->prefill.count > 0.0)
        e->prefill_tok_s = n->prefill.mean;
    if (n->decode.count > 0.0)
        e->decode_tok_s = n->decode.mean;
}

/* By model, where each has slots of its own: those in memory, and those that are waited for. */
static void
fill_requests(const struct node *n, struct report *r)
{
    for (uint32_t i = 0; i < n->model_count && r->request_count < REPORT_BY_MODEL_MAX; i++) {
        const struct node_model *m = &n->models[i];
        uint32_t running = m->running < m->slots ? m->running : m->slots;
        if (m->slots > 0 && (m->state == MODEL_READY || m->running + m->waiting > 0))
            r->requests[r->request_count++] = (struct report_requests){
                .id = span_of(m->id),
                .running = running,
                .waiting = m->waiting + m->running - running};
    }
}

static void
fill(const struct node *n, uint64_t seq, struct report *r)
{
    report_init(r);
    r->v = MESSAGE_VERSION;
    r->node = n->name;
    r->epoch = n->epoch;
    r->seq = seq;
    r->at_us = (clock_now_ns() - n->epoch_ns) / 1000;
    r->role = REPORT_NODE;
    r->state = n->state;
    fill_load(n, &r->engine);
    fill_requests(n, r);
    for (uint32_t i = 0; i < n->ack_count; i++)
        r->acks[r->ack_count++] = (struct message_counter){span_of(n->acks[i].name),
                                                           n->acks[i].number};
}

/* What only a full report has. */
static void
fill_self(const struct node *n, struct report *r)
{
    r->url = n->identity.url;
    memcpy(r->tls_pin, n->identity.tls_pin, sizeof(r->tls_pin));
    r->key = n->identity.key;
    r->labels = n->config->labels;
    if (message_label_add(&r->labels, SPAN_LIT("region"), node_self_region(n)) != ERR_OK)
        log_debug("the region is among the labels already, or there is no room for it");
    for (size_t i = 0; i < n->obey_count; i++)
        r->obeys[r->obey_count++] = span_of(n->obeys[i]);
    if (n->config->memory_bytes > 0)
        r->memory_bytes = n->config->memory_bytes;
    r->loads_max = n->loads_max;
}

static void
add_model(const struct node *n, struct report *r, const struct node_model *m)
{
    r->models[r->model_count++] = (struct report_model){
        .id = span_of(m->id),
        .state = m->state,
        .ready_in_ms = m->state == MODEL_LOADING
                           ? node_order_ready_in_ms(n, span_of(m->id), m->load_ms)
                           : (double)NAN,
        .bytes = m->bytes > 0 ? m->bytes : MESSAGE_UNKNOWN,
        .slots = m->slots > 0 ? m->slots : MESSAGE_UNKNOWN,
        .pinned = m->is_pinned,
    };
}

static uint32_t
page_count(const struct node *n)
{
    return 1 + (n->model_count + PAGE_MODELS - 1) / PAGE_MODELS;
}

/* One page of a full report: the first has what the node is, the others its models; a node of few
 * models has all on one. */
static void
fill_page(const struct node *n, uint64_t seq, uint32_t page, struct report *r)
{
    uint32_t pages = page_count(n), first = (page - 2) * PAGE_MODELS, last;
    bool one = n->model_count <= SELF_MODELS && n->config->labels.count <= SELF_LABELS;

    fill(n, seq, r);
    r->full = true;
    r->page = page;
    r->pages = one ? 1 : pages;
    if (page == 1) {
        fill_self(n, r);
        first = 0;
    }
    last = page == 1 && !one ? 0 : first + PAGE_MODELS;
    for (uint32_t i = first; i < last && i < n->model_count; i++)
        add_model(n, r, &n->models[i]);
}

/* ---- Saying it. */

/* Names may be so long that not all of it fits. What a receiver can do without is left out then,
 * half by half: what single models run, and what single gateways are told. */
static enum err
write_fitting(struct report *r, report_write_fn *write, char ret_text[MESSAGE_BYTES_MAX],
              size_t *ret_bytes)
{
    enum err err;

    while ((err = write(r, ret_text, ret_bytes)) == ERR_FULL) {
        if (r->request_count > 0)
            r->request_count /= 2;
        else if (r->ack_count > 0)
            r->ack_count /= 2;
        else
            return err;
    }
    return err;
}

/* kind: "report" "chain" "hello" "gone" */
static void
say(struct node *n, const char *kind, struct span bytes)
{
    node_bus_say(n, kind, bytes);
    node_post_say(n, kind, bytes);
}

/* One more report of this life. */
static bool
publish(struct node *n, struct report *r)
{
    char text[MESSAGE_BYTES_MAX];
    size_t bytes;
    enum err err = write_fitting(r, report_write, text, &bytes);

    if (err != ERR_OK) {
        log_warn("a report of this node could not be written: %s", err_name(err));
        return false;
    }
    n->seq = r->seq;
    report_chain_add(n->head, (struct span){text, bytes});
    n->counts.reports++;
    say(n, "report", (struct span){text, bytes});
    return true;
}

static void
publish_full(struct node *n)
{
    uint32_t page = 1;

    n->loads_max = node_engines_loads_max(n);
    do {
        fill_page(n, n->seq + 1, page, &n->scratch);
        if (!publish(n, &n->scratch))
            return;
    } while (++page <= n->scratch.pages);
    for (uint32_t i = 0; i < n->model_count; i++)
        n->models[i].is_dirty = false;
    n->models_seq = n->seq;
}

/* As many messages as the changed models need, one at least. */
static void
publish_delta(struct node *n)
{
    uint32_t at = 0;

    do {
        fill(n, n->seq + 1, &n->scratch);
        node_order_outcomes(n, &n->scratch);
        for (; at < n->model_count && n->scratch.model_count < PAGE_MODELS; at++) {
            if (!n->models[at].is_dirty)
                continue;
            add_model(n, &n->scratch, &n->models[at]);
            n->models[at].is_dirty = false;
            n->models_seq = n->seq + 1;
        }
        if (!publish(n, &n->scratch))
            return;
    } while (at < n->model_count);
}

static void on_report(struct loop_timer *timer);

static void
plan(struct node *n)
{
    uint64_t part = n->report_ns / JITTER_PARTS;

    loop_timer_set(n->loop, &n->report_timer,
                   n->reported_ns + n->report_ns - part + rng_below(&n->rng, 2 * part + 1),
                   on_report);
}

static void
publish_chain(struct node *n)
{
    struct report_chain chain = {
        .v = MESSAGE_VERSION, .node = n->name, .epoch = n->epoch, .seq = n->seq};
    struct signature_data data;
    char text[MESSAGE_BYTES_MAX];
    size_t bytes;

    memcpy(chain.head, n->head, sizeof(chain.head));
    report_chain_data(&chain, &data);
    if (signature_sign(&n->secret, &data, &chain.signature) == ERR_OK &&
        report_chain_write(&chain, text, &bytes) == ERR_OK)
        say(n, "chain", (struct span){text, bytes});
}

enum err
node_hello_write(const struct node *n, char ret_text[MESSAGE_BYTES_MAX], size_t *ret_bytes)
{
    struct report_hello hello = {.v = MESSAGE_VERSION,
                                 .epoch = n->epoch,
                                 .issued_s = clock_wall_s(),
                                 .role = REPORT_NODE,
                                 .version = SPAN_LIT(ISOCHRONE_VERSION),
                                 .identity = n->identity};
    struct signature_data data;
    enum err err;

    report_hello_data(&hello, &data);
    err = signature_sign(&n->secret, &data, &hello.signature);
    return err == ERR_OK ? report_hello_write(&hello, ret_text, ret_bytes) : err;
}

static enum err
say_hello(struct node *n)
{
    char text[MESSAGE_BYTES_MAX];
    size_t bytes;
    enum err err = node_hello_write(n, text, &bytes);

    if (err == ERR_OK)
        say(n, "hello", (struct span){text, bytes});
    else
        log_error("the node's hello could not be written: %s", err_name(err));
    return err;
}

/* Is it time to do what others asked for? However often they ask, and however many they are, what
 * a node may say in a minute is enough for it: else one of them could mute it for the others. */
static bool
is_asked(const struct node *n)
{
    uint64_t pause_ns = n->report_ns + n->report_ns / 2;

    return (n->asked_hello || n->asked_full) &&
           (n->answered_ns == 0 || loop_now_ns(n->loop) - n->answered_ns >= pause_ns);
}

static void
take_wishes(struct node *n)
{
    if (!is_asked(n))
        return;
    n->answered_ns = n->reported_ns;
    n->wants_hello = n->wants_hello || n->asked_hello;
    n->wants_full = true;
    n->asked_hello = n->asked_full = false;
}

static void
on_report(struct loop_timer *timer)
{
    struct node *n = CONTAINER_OF(timer, struct node, report_timer);

    n->reported_ns = loop_now_ns(n->loop);
    tls_tickets_turn(&n->tickets, n->reported_ns);
    node_bus_look(n);
    take_wishes(n);
    n->wants_full = n->wants_full || n->loads_max != node_engines_loads_max(n);
    if ((!n->wants_hello || say_hello(n) == ERR_OK) && n->wants_full)
        publish_full(n);
    else
        publish_delta(n);
    n->wants_hello = n->wants_full = false;
    if (n->reported_ns - n->chain_ns >= CHAIN_NS) {
        n->chain_ns = n->reported_ns;
        publish_chain(n);
        node_self_tell_end(n);
    }
    plan(n);
}

void
node_report_soon(struct node *n)
{
    uint64_t at_ns = n->reported_ns + SOON_NS, now_ns = loop_now_ns(n->loop);

    if (at_ns < now_ns)
        at_ns = now_ns;
    if (n->is_announced &&
        (n->report_timer.deadline_ns == 0 || at_ns < n->report_timer.deadline_ns))
        loop_timer_set(n->loop, &n->report_timer, at_ns + 1, on_report);
}

void
node_report_asked(struct node *n, bool hello)
{
    n->asked_hello = n->asked_hello || hello;
    n->asked_full = true;
    if (is_asked(n))
        node_report_soon(n);
}

enum err
node_report_piggyback(struct node *n, struct span gateway, char ret_text[MESSAGE_BYTES_MAX],
                      size_t *ret_bytes)
{
    struct report *r = &n->scratch;

    fill(n, n->seq, r);
    for (size_t i = 0; i < r->ack_count; i++) { /* the others' are no news to this one */
        if (span_eq(r->acks[i].name, gateway)) {
            r->acks[0] = r->acks[i];
            r->ack_count = 1;
            return write_fitting(r, report_write_piggyback, ret_text, ret_bytes);
        }
    }
    r->ack_count = 0;
    return write_fitting(r, report_write_piggyback, ret_text, ret_bytes);
}

/* ---- To who asks. */

void
node_report_get(struct node *n, struct http_exchange *x, const struct http_request *r)
{
    uint64_t page = admin_query_u64(r, "page", 1), seq = admin_query_u64(r, "seq", n->seq);
    char text[MESSAGE_BYTES_MAX];
    size_t bytes;

    if (seq > n->seq || seq < n->models_seq) {
        node_refuse(x, 409, "report_changed", NAN,
                    "models changed since that report: begin with page 1 again");
        return;
    }
    if (page >= 1 && page <= page_count(n))
        fill_page(n, seq, (uint32_t)page, &n->scratch);
    if (page < 1 || page > page_count(n) || page > n->scratch.pages) {
        node_refuse(x, 404, "no_such_page", NAN, "the report has fewer pages");
        return;
    }
    if (write_fitting(&n->scratch, report_write, text, &bytes) != ERR_OK) {
        node_refuse(x, 500, "report_failed", NAN, "the report could not be written");
        return;
    }
    answer_body(x, 200, SPAN_LIT("application/json"), (struct span){text, bytes});
}

void
node_hello_get(struct node *n, struct http_exchange *x)
{
    char text[MESSAGE_BYTES_MAX];
    size_t bytes;

    if (node_hello_write(n, text, &bytes) != ERR_OK)
        node_refuse(x, 500, "hello_failed", NAN, "the hello could not be written");
    else
        answer_body(x, 200, SPAN_LIT("application/json"), (struct span){text, bytes});
}

/* ---- Life. */

enum err
node_report_open(struct node *n)
{
    enum err err = say_hello(n);

    if (err != ERR_OK)
        return err;
    n->is_announced = true;
    n->reported_ns = n->chain_ns = loop_now_ns(n->loop);
    publish_full(n);
    plan(n);
    return ERR_OK;
}

void
node_report_close(struct node *n)
{
    struct report_gone gone = {.v = MESSAGE_VERSION,
                               .node = n->name,
                               .epoch = n->epoch,
                               .reason = SPAN_LIT("it was stopped")};
    struct signature_data data;
    char text[MESSAGE_BYTES_MAX];
    size_t bytes;

    loop_timer_stop(&n->report_timer);
    if (!n->is_announced)
        return;
    n->is_announced = false;
    report_gone_data(&gone, &data);
    if (signature_sign(&n->secret, &data, &gone.signature) == ERR_OK &&
        report_gone_write(&gone, text, &bytes) == ERR_OK)
        say(n, "gone", (struct span){text, bytes});
}
