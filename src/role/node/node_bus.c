/* node_bus - the node on the bus: what it says goes out under its own name, and directives come in
 * on its control subject, on a thread of the bus; each is handed to the loop, few at a time. The
 * bus keeps nothing: whenever it is connected anew, and whenever somebody asks, the node says
 * hello and all that it is once more. */
#include <stdio.h>
#include <stdlib.h>

#include "io/log.h"
#include "role/node/node_control.h"
#include "role/roster_bus.h"
#include "wire/json.h"
#include "wire/notice.h"

#define ASKS_MAX         64u /* on their way from the bus to the loop */
#define NOT_HEARD_LOG_NS UINT64_C(10000000000)

struct node_bus_ask { /* made on the bus's thread, gone on the loop's: no other life fits it */
    struct loop_post post;
    struct node *node;
    size_t body_bytes;
    char body[BUS_BODY_BYTES_MAX + JSON_PADDING];
    char reply[BUS_SUBJECT_BYTES_MAX + 1];
};

/* Who missed something asks for it; who refuses what we say tells us why. Anybody who may write to
 * us can say so: it is told, seldom, and believed in nothing. */
static void
take_notice(struct node *n, const struct notice *notice)
{
    uint64_t now_ns = loop_now_ns(n->loop);

    if (notice->want != NOTICE_NOTHING)
        node_report_asked(n, notice->want == NOTICE_HELLO);
    if (notice->verdict.bytes == 0)
        return;
    n->counts.not_heard++;
    if (n->not_heard_ns != 0 && now_ns - n->not_heard_ns < NOT_HEARD_LOG_NS)
        return;
    n->not_heard_ns = now_ns;
    log_warn("gateway %.*s does not hear us: %.*s%s%.*s", (int)notice->gateway.bytes,
             notice->gateway.data, (int)notice->verdict.bytes, notice->verdict.data,
             notice->words.bytes > 0 ? ": " : "", (int)notice->words.bytes, notice->words.data);
}

static void
on_ask(struct loop_post *post)
{
    struct node_bus_ask *a = CONTAINER_OF(post, struct node_bus_ask, post);
    struct span body = {a->body, a->body_bytes};
    struct node *n = a->node;
    char text[MESSAGE_BYTES_MAX];
    struct message_error error;
    struct notice notice;
    size_t bytes;

    atomic_fetch_sub(&n->asks, 1);
    if (notice_read(body, &notice, &error) == ERR_OK) {
        take_notice(n, &notice);
    } else {
        (void)node_control_take(n, body, text, &bytes);
        if (a->reply[0] != '\0' &&
            bus_reply(n->bus, span_of(a->reply), (struct span){text, bytes}) != ERR_OK)
            log_debug("an answer to a directive was not sent");
    }
    free(a);
}

static void
on_message(const struct bus_message *message, void *user)
{
    struct node *n = user;
    struct node_bus_ask *a;

    if (atomic_fetch_add(&n->asks, 1) >= ASKS_MAX) {
        atomic_fetch_sub(&n->asks, 1);
        return; /* a flood; who asked for something asks again */
    }
    a = calloc(1, sizeof(*a));
    if (a == NULL) {
        atomic_fetch_sub(&n->asks, 1);
        return;
    }
    a->node = n;
    a->body_bytes = message->body.bytes;
    memcpy(a->body, message->body.data, message->body.bytes);
    span_copy(message->reply, a->reply, sizeof(a->reply));
    loop_post(n->loop, &a->post, on_ask);
}

void
node_bus_say(struct node *n, const char *kind, struct span bytes)
{
    char subject[BUS_SUBJECT_BYTES_MAX + 1];
    struct span region = node_self_region(n);
    bool is_report = strcmp(kind, "report") == 0 || strcmp(kind, "chain") == 0;

    if (n->bus == NULL)
        return;
    if (is_report)
        snprintf(subject, sizeof(subject), "iso.report.%.*s.%.*s", (int)region.bytes, region.data,
                 (int)n->name.bytes, n->name.data);
    else
        snprintf(subject, sizeof(subject), "iso.%s.%.*s", kind, (int)n->name.bytes, n->name.data);
    if (bus_publish(n->bus, span_of(subject), bytes) != ERR_OK)
        log_debug("the bus did not take a %s", kind); /* it counts them */
}

void
node_bus_look(struct node *n)
{
    struct bus_state state;

    if (n->bus == NULL)
        return;
    bus_read_state(n->bus, &state);
    if (state.connects == n->bus_connects)
        return;
    n->bus_connects = state.connects;
    n->wants_hello = n->wants_full = true;
}

enum err
node_bus_open(struct node *n)
{
    char subject[BUS_SUBJECT_BYTES_MAX + 1];
    enum err err;

    if (n->first->config.bus.nats_count == 0)
        return ERR_OK;
    err = roster_bus_open(n->first, n->name, &n->bus);
    if (err != ERR_OK)
        return err;
    snprintf(subject, sizeof(subject), "iso.ctl.%.*s", (int)n->name.bytes, n->name.data);
    return bus_subscribe(n->bus, span_of(subject), on_message, n);
}

void
node_bus_close(struct node *n)
{
    bus_close(n->bus);
    n->bus = NULL;
    while (atomic_load(&n->asks) > 0) /* they were posted, and nobody posts any more */
        loop_pass(n->loop, 0);
}
