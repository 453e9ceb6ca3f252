/* bus_node - what a node says, made by hand and signed; see bus_node.h. */
#include "bus_node.h"

#include <stdio.h>
#include <string.h>

#include "base/must.h"
#include "io/clock.h"

#define LIFETIME_S 86400u

void
bus_node_init(struct bus_node *n, struct bus *bus, unsigned number, uint16_t port)
{
    unsigned char seed[SIGNATURE_SEED_BYTES] = {(unsigned char)number, (unsigned char)(number >> 8),
                                                0x42};

    *n = (struct bus_node){.bus = bus, .epoch = clock_wall_ms()};
    snprintf(n->name, sizeof(n->name), "n%u", number);
    snprintf(n->url, sizeof(n->url), "http://127.0.0.1:%u", port);
    snprintf(n->region, sizeof(n->region), "eu-west");
    signature_secret_of_seed(seed, &n->secret);
    report_chain_begin(span_of(n->name), n->epoch, n->head);
}

static void
fill_identity(const struct bus_node *n, struct identity *i)
{
    i->node = span_of(n->name);
    signature_key_of_secret(&n->secret, &i->key);
    i->url = span_of(n->url);
    must(message_label_add(&i->labels, SPAN_LIT("region"), span_of(n->region)) == ERR_OK);
    must(message_label_add(&i->labels, SPAN_LIT("gpu"), SPAN_LIT("h100")) == ERR_OK);
    if (n->pin_hex != NULL)
        must(message_unhex(span_of(n->pin_hex), i->tls_pin, sizeof(i->tls_pin)) == ERR_OK);
    i->issued_s = i->expires_s = MESSAGE_UNKNOWN;
    if (n->operator_secret == NULL)
        return;
    i->operator= SPAN_LIT("acme");
    i->issued_s = (uint64_t)((int64_t)clock_wall_s() + n->clock_s);
    i->expires_s = i->issued_s + LIFETIME_S;
    must(identity_sign(i, n->operator_secret) == ERR_OK);
}

size_t
bus_node_hello_text(struct bus_node *n, char text[MESSAGE_BYTES_MAX])
{
    struct report_hello hello = {.v = MESSAGE_VERSION, .epoch = n->epoch, .role = REPORT_NODE};
    struct signature_data data;
    size_t bytes;

    hello.issued_s = (uint64_t)((int64_t)clock_wall_s() + n->clock_s);
    fill_identity(n, &hello.identity);
    report_hello_data(&hello, &data);
    must(signature_sign(&n->secret, &data, &hello.signature) == ERR_OK);
    must(report_hello_write(&hello, text, &bytes) == ERR_OK);
    return bytes;
}

size_t
bus_node_report_text(struct bus_node *n, bool full, char text[MESSAGE_BYTES_MAX])
{
    struct report r;
    size_t bytes;

    report_init(&r);
    r.node = span_of(n->name);
    r.epoch = n->epoch;
    r.seq = ++n->seq;
    r.at_us = n->seq * 1000;
    r.full = full;
    r.state = n->state;
    r.engine.kind = SPAN_LIT("vllm");
    r.engine.slots = 64;
    r.engine.running = n->running;
    r.engine.waiting = 0;
    r.engine.kv_tokens_used = 1000;
    r.engine.kv_tokens_cap = 400000;
    r.engine.accepted_total = n->accepted_total;
    if (full && n->model != NULL) {
        r.models[0].id = span_of(n->model);
        r.models[0].state = n->model_state != 0 ? n->model_state : MODEL_READY;
        r.models[0].ready_in_ms = 0.0;
        r.models[0].bytes = n->model_bytes != 0 ? n->model_bytes : MESSAGE_UNKNOWN;
        r.model_count = 1;
    }
    if (n->ack > 0) {
        r.acks[0] = (struct message_counter){span_of(n->ack_gateway), n->ack};
        r.ack_count = 1;
    }
    if (full && n->obeys != NULL) {
        r.obeys[r.obey_count++] = span_of(n->obeys);
        r.memory_bytes = n->memory_bytes;
        r.loads_max = 1;
    }
    if (!full && n->outcome != NULL)
        r.outcomes[r.outcome_count++] = *n->outcome;
    must(report_write(&r, text, &bytes) == ERR_OK);
    report_chain_add(n->head, (struct span){text, bytes});
    return bytes;
}

/* What cannot be sent now is dropped, as the bus has it. */
static void
publish(const struct bus_node *n, const char *subject, const char *text, size_t bytes)
{
    enum err err = bus_publish(n->bus, span_of(subject), (struct span){text, bytes});

    must(err == ERR_OK || err == ERR_AGAIN);
}

void
bus_node_hello(struct bus_node *n)
{
    char text[MESSAGE_BYTES_MAX], subject[128];
    size_t bytes = bus_node_hello_text(n, text);

    snprintf(subject, sizeof(subject), "iso.hello.%s", n->name);
    publish(n, subject, text, bytes);
}

static void
publish_report(const struct bus_node *n, const char *text, size_t bytes)
{
    char subject[160];

    snprintf(subject, sizeof(subject), "iso.report.%s.%s", n->region, n->name);
    publish(n, subject, text, bytes);
}

void
bus_node_report(struct bus_node *n, bool full)
{
    char text[MESSAGE_BYTES_MAX];
    size_t bytes = bus_node_report_text(n, full, text);

    publish_report(n, text, bytes);
}

size_t
bus_node_chain_text(struct bus_node *n, char text[MESSAGE_BYTES_MAX])
{
    struct report_chain chain = {
        .v = MESSAGE_VERSION, .node = span_of(n->name), .epoch = n->epoch, .seq = n->seq};
    struct signature_data data;
    size_t bytes;

    memcpy(chain.head, n->head, sizeof(chain.head));
    report_chain_data(&chain, &data);
    must(signature_sign(&n->secret, &data, &chain.signature) == ERR_OK);
    must(report_chain_write(&chain, text, &bytes) == ERR_OK);
    return bytes;
}

void
bus_node_chain(struct bus_node *n)
{
    char text[MESSAGE_BYTES_MAX];
    size_t bytes = bus_node_chain_text(n, text);

    publish_report(n, text, bytes);
}

size_t
bus_node_gone_text(struct bus_node *n, char text[MESSAGE_BYTES_MAX])
{
    struct report_gone gone = {.v = MESSAGE_VERSION,
                               .node = span_of(n->name),
                               .epoch = n->epoch,
                               .reason = SPAN_LIT("the test is over")};
    struct signature_data data;
    size_t bytes;

    report_gone_data(&gone, &data);
    must(signature_sign(&n->secret, &data, &gone.signature) == ERR_OK);
    must(report_gone_write(&gone, text, &bytes) == ERR_OK);
    return bytes;
}

void
bus_node_gone(struct bus_node *n)
{
    char text[MESSAGE_BYTES_MAX], subject[128];
    size_t bytes = bus_node_gone_text(n, text);

    snprintf(subject, sizeof(subject), "iso.gone.%s", n->name);
    publish(n, subject, text, bytes);
}

void
bus_node_begin_life(struct bus_node *n)
{
    n->epoch++;
    n->seq = 0;
    report_chain_begin(span_of(n->name), n->epoch, n->head);
}

void
bus_node_restart(struct bus_node *n)
{
    bus_node_begin_life(n);
    bus_node_hello(n);
    bus_node_report(n, true);
}
