/* steer_send - directives on their way; see steer_send.h. The bus first: it is where a node hears
 * at once. Where there is none, or nobody listens there, the node's URL. */
#include "role/gateway/steer_send.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "io/bus.h"
#include "io/clock.h"
#include "io/http_fetch.h"
#include "io/log.h"
#include "role/gateway/members.h"
#include "role/gateway/upstream.h"

#define RIVAL_MS 60000.0 /* another node with a name that was heard since */

struct way { /* one on its way: made and freed on the first lane, while the bus has it not its own
              */
    LIST_ENTRY(way) link;
    struct steer_send *send;
    uint64_t id;
    uint32_t node;
    char node_name[CONFIG_NAME_BYTES_MAX + 1];
    unsigned char nonce[DIRECTIVE_NONCE_BYTES];
    char text[MESSAGE_BYTES_MAX];
    size_t bytes;
    struct span part; /* text */
    /* the answer */
    struct loop_post post; /* from the bus's thread */
    bool is_with_bus;      /* it will be posted, or is: until on_answer nobody may free it */
    enum err err;
    char answer[MESSAGE_BYTES_MAX];
    size_t answer_bytes;
    struct http_fetch fetch; /* over HTTP, into answer */
    struct upstream *upstream;
};

struct steer_send {
    struct gateway *gateway;
    struct steer *steer;
    LIST_HEAD(, way) ways;
};

static void
way_free(struct way *w)
{
    LIST_REMOVE(w, link);
    upstream_give(w->upstream);
    free(w);
}

static void
give_up(struct way *w, bool is_silent, const char *words)
{
    steer_unanswered(w->send->steer, w->id, is_silent, words);
    way_free(w);
}

/* ---- The answer. */

/* Did another node that says it has this name answer, first? Then the one that is meant got it,
 * too. */
static bool
is_rivals(const struct way *w, const struct directive_reply *reply)
{
    struct member_look look;

    members_look(w->send->gateway->members, span_of(w->node_name), &look);
    return reply->epoch != look.epoch && look.rival_ago_ms < RIVAL_MS;
}

static void
read_answer(struct way *w)
{
    struct directive_reply reply;
    struct message_error error;
    char words[STEER_WORDS_BYTES];

    if (directive_reply_parse((struct span){w->answer, w->answer_bytes}, &reply, &error) !=
        ERR_OK) {
        bool is_let_in = w->fetch.status != 401 && w->fetch.status != 403;

        if (is_let_in)
            snprintf(words, sizeof(words), "what came back is no answer: %s", error.text);
        else
            snprintf(words, sizeof(words), "the node does not let this gateway in (status %u)",
                     w->fetch.status);
        give_up(w, is_let_in, words);
    } else if (!span_eq_text(reply.node, w->node_name) ||
               (reply.verdict != DIRECTIVE_MALFORMED &&
                memcmp(reply.nonce, w->nonce, sizeof(w->nonce)) != 0)) {
        give_up(w, true, "what came back is the answer to something else");
    } else if (is_rivals(w, &reply)) {
        give_up(w, true, "another node that says it has this name answered for it");
    } else {
        steer_answered(w->send->steer, w->id, &reply);
        way_free(w);
    }
}

/* ---- HTTP. */

static void
on_over(struct http_fetch *f, bool is_whole, enum http_failure why)
{
    struct way *w = CONTAINER_OF(f, struct way, fetch);
    bool is_tls = why == HTTP_FAILED_TLS;
    bool is_reached = !is_tls && why != HTTP_FAILED_CONNECT && why != HTTP_FAILED_CONNECT_TIMEOUT;

    w->answer_bytes = f->bytes;
    if (is_whole)
        read_answer(w);
    else
        give_up(w, is_reached,
                is_reached ? "the node gave no answer, or none that could be read"
                : is_tls   ? "the node is not reached: no TLS handshake with it"
                           : "the node is not reached: it takes no connections");
}

static void
send_http(struct way *w)
{
    static const struct http_call_limits limits = {.connect_ns = 2000000000u,
                                                   .first_byte_ns = STEER_ANSWER_NS,
                                                   .idle_ns = STEER_ANSWER_NS,
                                                   .body_bytes_max = MESSAGE_BYTES_MAX};
    struct lane *lane = &w->send->gateway->lanes[0];
    const struct roster *roster = lane_fleet(lane)->roster;
    const struct roster_node *n = roster_node(roster, w->node);
    struct http_header headers[] = {
        {SPAN_LIT("content-type"), SPAN_LIT("application/json")},
        {SPAN_LIT("user-agent"), SPAN_LIT("isochrone/" ISOCHRONE_VERSION)},
        {SPAN_LIT("authorization"), n != NULL ? n->authorization : SPAN_LIT("")}};
    struct http_call_request request = {.method = SPAN_LIT("POST"),
                                        .target = SPAN_LIT("/network/v1/directive"),
                                        .headers = headers,
                                        .header_count = 2,
                                        .parts = &w->part,
                                        .part_count = 1};

    if (n == NULL || !span_eq_text(n->name, w->node_name)) {
        give_up(w, false, "the node left");
        return;
    }
    if (n->authorization.bytes > 0)
        request.header_count = 3;
    w->part = (struct span){w->text, w->bytes};
    w->fetch.data = w->answer;
    w->fetch.room = sizeof(w->answer);
    w->fetch.over = on_over;
    w->fetch.loop = lane->loop;
    if (upstream_take(lane, roster, n, &w->upstream) != ERR_OK ||
        http_fetch_start(&w->fetch, upstream_target(w->upstream), &request, &limits) != ERR_OK)
        give_up(w, false, "the node is not reached: it has no address, or there is no room here");
}

/* ---- The bus. */

static void
on_answer(struct loop_post *post)
{
    struct way *w = CONTAINER_OF(post, struct way, post);

    w->is_with_bus = false;
    if (w->err == ERR_OK)
        read_answer(w);
    else if (w->err == ERR_NOT_FOUND)
        send_http(w);
    else
        give_up(w, true,
                w->err == ERR_TIMEOUT ? "no answer over the bus within 10 s"
                                      : "the bus was closed before an answer came");
}

static void
on_reply(enum err err, struct span body, void *user)
{
    struct way *w = user;

    w->err = err;
    w->answer_bytes = body.bytes < sizeof(w->answer) ? body.bytes : sizeof(w->answer);
    if (err == ERR_OK && w->answer_bytes > 0)
        memcpy(w->answer, body.data, w->answer_bytes);
    loop_post(w->send->gateway->lanes[0].loop, &w->post, on_answer);
}

static bool
send_bus(struct way *w)
{
    struct bus *bus = members_bus_of(w->send->gateway->members);
    char subject[BUS_SUBJECT_BYTES_MAX];
    struct bus_state state;

    if (bus == NULL)
        return false;
    bus_read_state(bus, &state);
    if (!state.connected)
        return false;
    snprintf(subject, sizeof(subject), "iso.ctl.%s", w->node_name);
    w->is_with_bus = bus_request(bus, span_of(subject), (struct span){w->text, w->bytes},
                                 STEER_ANSWER_NS, on_reply, w) == ERR_OK;
    return w->is_with_bus; /* it may be posted by now; on_answer comes on this thread, later */
}

/* ---- Sending. */

static enum err
write_directive(struct steer_send *send, const struct steer_order *o, struct way *w)
{
    const struct roster_key *key = lane_fleet(&send->gateway->lanes[0])->roster->own_key;
    struct directive d = {.v = MESSAGE_VERSION,
                          .node = span_of(w->node_name),
                          .issued_s = clock_wall_s(),
                          .action = o->action,
                          .model = span_of(o->engine_name)};
    struct member_look look;
    enum err err;

    members_look(send->gateway->members, d.node, &look);
    if (key == NULL || !look.is_member || look.gone)
        return ERR_NOT_FOUND;
    d.epoch = look.epoch;
    d.expires_s = d.issued_s + STEER_LIFETIME_S;
    memcpy(d.nonce, o->nonce, sizeof(d.nonce));
    err = directive_sign(&d, &key->secret);
    return err == ERR_OK ? directive_write(&d, w->text, &w->bytes) : err;
}

void
steer_send(struct steer_send *send, const struct steer_order *o)
{
    struct way *w = calloc(1, sizeof(*w));
    enum err err;

    if (w == NULL) {
        steer_unanswered(send->steer, o->id, false, "out of memory");
        return;
    }
    LIST_INSERT_HEAD(&send->ways, w, link);
    w->send = send;
    w->id = o->id;
    w->node = o->node;
    memcpy(w->node_name, o->node_name, sizeof(w->node_name));
    memcpy(w->nonce, o->nonce, sizeof(w->nonce));
    err = write_directive(send, o, w);
    if (err != ERR_OK)
        give_up(w, false,
                err == ERR_NOT_FOUND ? "the node left, or this gateway has no key now"
                                     : "this cannot be said in a directive");
    else if (!send_bus(w))
        send_http(w);
}

/* ---- Life. */

enum err
steer_send_open(struct gateway *gateway, struct steer *steer, struct steer_send **ret_send)
{
    struct steer_send *send = calloc(1, sizeof(*send));

    if (send == NULL)
        return ERR_MEMORY;
    send->gateway = gateway;
    send->steer = steer;
    LIST_INIT(&send->ways);
    *ret_send = send;
    return ERR_OK;
}

/* The bus is closed by now (members_stop): it answered all it had, and its thread has ended. What
 * it posted was taken before this (take_last_posts in gateway.c), and whoever asked since found no
 * bus. So what is left here is over HTTP, of this thread alone. */
void
steer_send_close(struct steer_send *send)
{
    struct way *w, *next;

    if (send == NULL)
        return;
    LIST_FOREACH_SAFE (w, &send->ways, link, next) {
        must(!w->is_with_bus);
        http_fetch_cancel(&w->fetch);
        way_free(w);
    }
    free(send);
}
