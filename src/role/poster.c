/* poster - messages posted, one after the other; see poster.h.
 *
 *   in time -> away (it does not answer, or refuses: pauses that grow) -> greeted -> in time
 *
 * Who was away, who says that it does not know us, and who is so slow that the ring went past it,
 * is greeted, where there is something to greet with; then all is said anew. */
#include "role/poster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "io/http_fetch.h"
#include "io/log.h"
#include "role/roster.h"
#include "wire/json.h"
#include "wire/message_proof.h"
#include "wire/notice.h"
#include "wire/report.h"

#define RING_MAX        256u /* messages: a full report of as many models as there can be fits */
#define KIND_BYTES_MAX  8u   /* "report" is the longest */
#define PATH            "/network/v1/bus/"
#define CONNECT_NS      2000000000u
#define ANSWER_NS       5000000000u
#define ANSWER_BYTES    2048u
#define PAUSE_NS        500000000u /* after the first failure; then twice as long each time */
#define PAUSE_DOUBLINGS 4u
#define LOG_NS          10000000000u /* between two words about why one does not hear us */
#define WHY_BYTES       (NOTICE_VERDICT_BYTES_MAX + NOTICE_WORDS_BYTES_MAX + sizeof(": "))

struct said { /* a message */
    char kind[KIND_BYTES_MAX];
    char proof[MESSAGE_PROOF_TEXT_SIZE];
    size_t bytes; /* 0: there was no memory for it */
    char *text;
};

struct told { /* one gateway */
    struct poster *poster;
    const struct roster_node *at;
    struct http_target *target;
    struct http_fetch fetch; /* into answer */
    struct loop_timer pause;
    uint64_t next; /* message */
    bool is_greeting, is_lost, is_away, was_heard;
    uint32_t failures;
    struct said now; /* on its way; its text is body */
    char body[MESSAGE_BYTES_MAX];
    char answer[ANSWER_BYTES + JSON_PADDING];
    uint64_t posted, failed;
    uint64_t logged_ns;  /* when it was told last why it does not hear us, and */
    char why[WHY_BYTES]; /* why */
};

struct poster {
    struct poster_options options;
    struct said ring[RING_MAX];
    uint64_t end; /* of the message that comes next; those before it, at most RING_MAX, are there */
    struct told *list;
    size_t count;
};

static void go_on(struct told *t);

/* ---- Pauses. */

static void
on_paused(struct loop_timer *timer)
{
    go_on(CONTAINER_OF(timer, struct told, pause));
}

static void
rest(struct told *t)
{
    const struct poster_options *o = &t->poster->options;
    uint64_t pause_ns = PAUSE_NS << (t->failures < PAUSE_DOUBLINGS ? t->failures : PAUSE_DOUBLINGS);

    t->failures++;
    t->is_lost = true; /* what was said meanwhile is old then */
    pause_ns += rng_below(o->rng, pause_ns);
    loop_timer_set(o->loop, &t->pause, loop_now_ns(o->loop) + pause_ns, on_paused);
}

/* Told when it begins, and when the reason becomes another one. */
static void
failed(struct told *t, const char *why)
{
    uint64_t now_ns = loop_now_ns(t->poster->options.loop);

    t->failed++;
    if (!t->is_away || (strcmp(why, t->why) != 0 && now_ns - t->logged_ns >= LOG_NS)) {
        t->logged_ns = now_ns;
        snprintf(t->why, sizeof(t->why), "%s", why);
        log_warn("gateway %.*s at %.*s does not hear us: %s", (int)t->at->name.bytes,
                 t->at->name.data, (int)t->at->url.bytes, t->at->url.data, why);
    }
    t->is_away = true;
    rest(t);
}

/* ---- Answers. */

/* What came late or twice is no news to it, and no harm. */
static bool
is_late(struct span verdict)
{
    return span_eq_text(verdict, "repeated") || span_eq_text(verdict, "stale");
}

/* False: why not, in words. */
static bool
is_heard(struct told *t, struct notice *ret_answer, char why[WHY_BYTES])
{
    struct message_error error;
    const struct span text = {t->answer, t->fetch.bytes};

    memset(t->answer + t->fetch.bytes, 0, JSON_PADDING);
    if (notice_read(text, ret_answer, &error) != ERR_OK || ret_answer->verdict.bytes == 0) {
        if (t->fetch.status == 404)
            snprintf(why, WHY_BYTES,
                     "nothing takes messages there (status 404): is it a gateway's public side, "
                     "and has its configuration `bus: {http: true}`?");
        else
            snprintf(why, WHY_BYTES, "its answer is not that of a gateway (status %u)",
                     t->fetch.status);
        return false;
    }
    snprintf(why, WHY_BYTES, "%.*s%s%.*s", (int)ret_answer->verdict.bytes, ret_answer->verdict.data,
             ret_answer->words.bytes > 0 ? ": " : "", (int)ret_answer->words.bytes,
             ret_answer->words.bytes > 0 ? ret_answer->words.data : "");
    return t->fetch.status == 200 || ret_answer->want != NOTICE_NOTHING ||
           is_late(ret_answer->verdict);
}

static void
answered(struct told *t)
{
    struct notice a = {.want = NOTICE_NOTHING};
    bool was_greeting = t->is_greeting;
    char why[WHY_BYTES];

    if (!is_heard(t, &a, why)) {
        failed(t, why);
        return;
    }
    if (was_greeting && a.want == NOTICE_HELLO) { /* it does not take it: not over and over */
        failed(t, "it does not take our hello");
        return;
    }
    if (t->is_away || !t->was_heard)
        log_info("gateway %.*s hears us%s", (int)t->at->name.bytes, t->at->name.data,
                 t->was_heard ? " again" : "");
    t->posted++;
    t->is_away = t->is_greeting = false;
    t->was_heard = true;
    t->failures = 0;
    t->is_greeting = a.want == NOTICE_HELLO;
    if ((was_greeting || a.want == NOTICE_FULL) && t->poster->options.wish != NULL)
        t->poster->options.wish(t->poster->options.user);
    go_on(t);
}

/* ---- A message on its way. */

static void
on_over(struct http_fetch *f, bool is_whole, enum http_failure why)
{
    struct told *t = CONTAINER_OF(f, struct told, fetch);

    if (is_whole)
        answered(t);
    else
        failed(t, why == HTTP_FAILED_TLS ? "no TLS handshake with it: the line before says why"
                  : why == HTTP_FAILED_CONNECT || why == HTTP_FAILED_CONNECT_TIMEOUT
                      ? "it takes no connections"
                      : "it does not answer");
}

/* Into now: hello. False: there is none. */
static bool
greet(struct told *t)
{
    const struct poster_options *o = &t->poster->options;
    struct said *now = &t->now;

    memcpy(now->kind, "hello", sizeof("hello"));
    if (o->greet(o->user, t->body, &now->bytes) != ERR_OK)
        return false;
    message_proof_write(o->secret, span_of(now->kind), (struct span){now->text, now->bytes},
                        now->proof);
    return true;
}

/* What it is to hear next, into now. False: nothing. */
static bool
pick(struct told *t)
{
    struct poster *p = t->poster;
    const struct said *said;
    struct said *now = &t->now;

    if (p->end - t->next > RING_MAX)
        t->is_lost = true;
    if (t->is_lost) {
        t->is_lost = false;
        t->is_greeting = p->options.greet != NULL;
        t->next = p->end;
    }
    now->text = t->body;
    if (t->is_greeting)
        return greet(t);
    if (t->next == p->end)
        return false;
    said = &p->ring[t->next++ % RING_MAX];
    if (said->bytes == 0) {
        t->is_lost = true;
        return pick(t);
    }
    memcpy(t->body, said->text, said->bytes);
    memcpy(now->kind, said->kind, sizeof(now->kind));
    memcpy(now->proof, said->proof, sizeof(now->proof));
    now->bytes = said->bytes;
    return true;
}

static void
go_on(struct told *t)
{
    static const struct http_call_limits limits = {.connect_ns = CONNECT_NS,
                                                   .first_byte_ns = ANSWER_NS,
                                                   .idle_ns = ANSWER_NS,
                                                   .body_bytes_max = ANSWER_BYTES};
    char path[sizeof(PATH) + KIND_BYTES_MAX];
    struct span body;
    struct http_header headers[] = {
        {SPAN_LIT("content-type"), SPAN_LIT("application/json")},
        {SPAN_LIT("user-agent"), SPAN_LIT("isochrone/" ISOCHRONE_VERSION)},
        {SPAN_LIT(MESSAGE_PROOF_HEADER), {NULL, 0}}};

    if (t->fetch.call != NULL || t->pause.deadline_ns != 0 || !pick(t))
        return;
    body = (struct span){t->now.text, t->now.bytes};
    headers[2].value = span_of(t->now.proof);
    snprintf(path, sizeof(path), PATH "%s", t->now.kind);
    t->fetch.data = t->answer;
    t->fetch.room = ANSWER_BYTES;
    t->fetch.over = on_over;
    t->fetch.loop = t->poster->options.loop;
    if (http_fetch_start(&t->fetch, t->target,
                         &(struct http_call_request){.method = SPAN_LIT("POST"),
                                                     .target = span_of(path),
                                                     .headers = headers,
                                                     .header_count = 3,
                                                     .parts = &body,
                                                     .part_count = 1},
                         &limits) != ERR_OK)
        failed(t, "no connection to it can be had now");
}

void
poster_say(struct poster *p, const char *kind, struct span bytes)
{
    struct said *said = &p->ring[p->end++ % RING_MAX];

    must(strlen(kind) < KIND_BYTES_MAX && bytes.bytes > 0 && bytes.bytes <= MESSAGE_BYTES_MAX);
    free(said->text);
    *said = (struct said){.text = malloc(bytes.bytes)};
    if (said->text != NULL) {
        memcpy(said->text, bytes.data, bytes.bytes);
        said->bytes = bytes.bytes;
        memcpy(said->kind, kind, strlen(kind) + 1);
        message_proof_write(p->options.secret, span_of(kind), bytes, said->proof);
    }
    for (size_t i = 0; i < p->count; i++)
        go_on(&p->list[i]);
}

/* ---- Figures. */

void
poster_each(const struct poster *p, poster_fn *fn, void *user)
{
    for (size_t i = 0; i < p->count; i++)
        fn(p->list[i].at->name, p->list[i].posted, p->list[i].failed, user);
}

/* ---- Life. */

static void
told_close(struct told *t)
{
    loop_timer_stop(&t->pause);
    http_fetch_cancel(&t->fetch);
    http_target_close(t->target);
}

/* Into *t; without an address it has no target, and is told nothing. */
static enum err
told_open(struct poster *p, const struct roster_node *at, struct told *t)
{
    enum err err;

    *t = (struct told){.poster = p,
                       .at = at,
                       .next = p->end,
                       .is_greeting = p->end > 0 && p->options.greet != NULL};
    if (at->address.bytes == 0) {
        log_error("gateway %.*s: its url has no address: it will not hear of us",
                  (int)at->name.bytes, at->name.data);
        return ERR_NOT_FOUND;
    }
    err = http_target_open(p->options.client, &at->address.any, at->address.bytes, at->host, NULL,
                           0, &t->target);
    if (err == ERR_OK && at->tls != NULL)
        err = http_target_use_tls(t->target, at->tls, at->tls_name, at->tls_pin);
    if (err != ERR_OK && t->target != NULL)
        http_target_close(t->target);
    return err;
}

enum err
poster_change(struct poster *p, const struct roster_node *gateways, size_t gateway_count)
{
    struct told *list = calloc(gateway_count + 1, sizeof(*list));
    enum err err = list != NULL ? ERR_OK : ERR_MEMORY;
    size_t count = 0;

    for (size_t i = 0; i < gateway_count && err == ERR_OK; i++) {
        if (gateways[i].url.bytes == 0)
            continue;
        err = told_open(p, &gateways[i], &list[count]);
        count += err == ERR_OK;
        if (err == ERR_NOT_FOUND)
            err = ERR_OK;
    }
    if (err == ERR_OK) { /* the new ones stay, the old ones go */
        struct told *old = p->list;
        size_t old_count = p->count;

        p->list = list;
        p->count = count;
        list = old;
        count = old_count;
    }
    for (size_t i = 0; i < count; i++)
        told_close(&list[i]);
    free(list);
    for (size_t i = 0; i < p->count && err == ERR_OK; i++)
        go_on(&p->list[i]);
    return err;
}

enum err
poster_open(const struct poster_options *options, struct poster **ret_poster)
{
    struct poster *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return ERR_MEMORY;
    p->options = *options;
    *ret_poster = p;
    return ERR_OK;
}

size_t
poster_count(const struct poster *p)
{
    return p->count;
}

bool
poster_is_over(const struct poster *p)
{
    for (size_t i = 0; i < p->count; i++) {
        if (p->list[i].fetch.call != NULL)
            return false;
    }
    return true;
}

void
poster_end(struct poster *p)
{
    for (size_t i = 0; i < p->count; i++)
        loop_timer_stop(&p->list[i].pause);
}

void
poster_close(struct poster *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->count; i++)
        told_close(&p->list[i]);
    for (size_t i = 0; i < RING_MAX; i++)
        free(p->ring[i].text);
    free(p->list);
    free(p);
}
