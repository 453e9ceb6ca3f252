/* node_post - what the node says of itself, posted to gateways: where the configuration has a `url`
 * of one, it needs no bus. What is said on the bus stands here in a ring, too; each gateway is told
 * one message after the other, over one kept connection, and its answers say what it missed.
 *
 *   in time -> away (it does not answer, or refuses: pauses that grow) -> greeted -> in time
 *
 * Who was away, who says that it does not know us, and who is so slow that the ring went past it,
 * is greeted: a hello of its own, and then everybody gets a full report. */
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/http_fetch.h"
#include "io/log.h"
#include "role/gateway/upstream.h"
#include "role/node/node_state.h"
#include "wire/json.h"
#include "wire/message_proof.h"

#define RING_MAX        256u /* messages: a full report of as many models as there can be fits */
#define KIND_BYTES_MAX  8u
#define PATH            "/network/v1/bus/"
#define CONNECT_NS      2000000000u
#define ANSWER_NS       5000000000u
#define ANSWER_BYTES    2048u
#define PAUSE_NS        500000000u /* after the first failure; then twice as long each time */
#define PAUSE_DOUBLINGS 4u
#define LAST_NS         1000000000u /* for the last words, when the node ends */

struct said { /* a message */
    char kind[KIND_BYTES_MAX];
    char proof[MESSAGE_PROOF_TEXT_SIZE];
    size_t bytes; /* 0: there was no memory for it */
    char *text;
};

struct told { /* one gateway */
    struct node_posts *posts;
    const struct roster_node *at;
    struct http_target *target;
    struct http_fetch fetch; /* into answer */
    struct loop_timer pause;
    uint64_t next; /* message */
    bool is_greeting, is_lost, is_away;
    uint32_t failures;
    uint64_t wished_ns; /* when it last had us speak before it was time */
    struct said now;    /* on its way; its text is body */
    char body[MESSAGE_BYTES_MAX];
    char answer[ANSWER_BYTES + JSON_PADDING];
    uint64_t posted, failed;
};

struct node_posts {
    struct node *node;
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
    struct node *n = t->posts->node;
    uint64_t pause_ns = PAUSE_NS << (t->failures < PAUSE_DOUBLINGS ? t->failures : PAUSE_DOUBLINGS);

    t->failures++;
    t->is_lost = true; /* what was said meanwhile is old then */
    pause_ns += rng_below(&n->rng, pause_ns);
    loop_timer_set(n->loop, &t->pause, loop_now_ns(n->loop) + pause_ns, on_paused);
}

static void
failed(struct told *t, const char *why, unsigned status)
{
    t->failed++;
    if (!t->is_away)
        log_warn("gateway %.*s at %.*s does not hear this node: %s (status %u)",
                 (int)t->at->name.bytes, t->at->name.data, (int)t->at->url.bytes, t->at->url.data,
                 why, status);
    t->is_away = true;
    rest(t);
}

/* ---- Answers. */

struct answer { /* {"verdict":"unannounced","words":"...","want":"hello"} */
    struct span verdict;
    uint32_t want;
};

enum { WANT_NOTHING, WANT_HELLO, WANT_FULL, WANT_COUNT };

static const char *const want_words[WANT_COUNT] = {"", "hello", "full"};
static const struct message_field answer_fields[] = {
    {.name = "verdict",
     .type = MESSAGE_TEXT,
     .required = true,
     .offset = offsetof(struct answer, verdict),
     .max = REPORT_TEXT_BYTES_MAX},
    {.name = "want",
     .type = MESSAGE_WORD,
     .offset = offsetof(struct answer, want),
     .min = WANT_COUNT,
     .words = want_words},
    {.name = NULL},
};

/* It wants to hear all: soon, but however often it says so, only now and then out of turn. */
static void
wish(struct told *t)
{
    struct node *n = t->posts->node;
    uint64_t now_ns = loop_now_ns(n->loop);

    n->wants_full = true;
    if (t->wished_ns != 0 && now_ns - t->wished_ns < n->report_ns)
        return;
    t->wished_ns = now_ns;
    node_report_soon(n);
}

/* What came late or twice is no news to it, and no harm. */
static bool
is_late(struct span verdict)
{
    return span_eq_text(verdict, "repeated") || span_eq_text(verdict, "stale");
}

/* False: why not, in words. */
static bool
is_heard(struct told *t, struct answer *ret_answer, char why[REPORT_TEXT_BYTES_MAX + 1])
{
    struct message_error error;

    memset(t->answer + t->fetch.bytes, 0, JSON_PADDING);
    if (message_read((struct span){t->answer, t->fetch.bytes}, answer_fields, ret_answer, &error) !=
        ERR_OK) {
        span_copy(SPAN_LIT("its answer is not that of a gateway"), why, REPORT_TEXT_BYTES_MAX + 1);
        return false;
    }
    span_copy(ret_answer->verdict, why, REPORT_TEXT_BYTES_MAX + 1);
    return t->fetch.status == 200 || ret_answer->want != WANT_NOTHING ||
           is_late(ret_answer->verdict);
}

static void
answered(struct told *t)
{
    struct answer a = {.want = WANT_NOTHING};
    bool was_greeting = t->is_greeting;
    char why[REPORT_TEXT_BYTES_MAX + 1];

    if (!is_heard(t, &a, why)) {
        failed(t, why, t->fetch.status);
        return;
    }
    if (t->is_away)
        log_info("gateway %.*s hears this node again", (int)t->at->name.bytes, t->at->name.data);
    t->posted++;
    t->is_away = t->is_greeting = false;
    if (was_greeting && a.want == WANT_HELLO) { /* it does not take it: not over and over */
        failed(t, "it does not take the node's hello", t->fetch.status);
        return;
    }
    t->failures = 0;
    t->is_greeting = a.want == WANT_HELLO;
    if (was_greeting || a.want == WANT_FULL)
        wish(t);
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
        failed(t, why == HTTP_FAILED_TLS ? "it is not who it should be" : "it does not answer", 0);
}

/* What it is to hear next, into now. False: nothing. */
static bool
pick(struct told *t)
{
    struct node_posts *posts = t->posts;
    const struct said *said;
    struct said *now = &t->now;

    if (posts->end - t->next > RING_MAX)
        t->is_lost = true;
    if (t->is_lost) {
        t->is_lost = false;
        t->is_greeting = true;
        t->next = posts->end;
    }
    now->text = t->body;
    if (t->is_greeting) {
        memcpy(now->kind, "hello", sizeof("hello"));
        if (node_hello_write(posts->node, t->body, &now->bytes) != ERR_OK)
            return false;
        message_proof_write(&posts->node->secret, span_of(now->kind),
                            (struct span){now->text, now->bytes}, now->proof);
        return true;
    }
    if (t->next == posts->end)
        return false;
    said = &posts->ring[t->next++ % RING_MAX];
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
    if (http_fetch_start(&t->fetch, t->target,
                         &(struct http_call_request){.method = SPAN_LIT("POST"),
                                                     .target = span_of(path),
                                                     .headers = headers,
                                                     .header_count = 3,
                                                     .parts = &body,
                                                     .part_count = 1},
                         &limits) != ERR_OK)
        failed(t, "no connection to it can be had now", 0);
}

void
node_post_say(struct node *n, const char *kind, struct span bytes)
{
    struct node_posts *posts = n->posts;
    struct said *said;

    if (posts == NULL)
        return;
    must(strlen(kind) < KIND_BYTES_MAX && bytes.bytes > 0 && bytes.bytes <= MESSAGE_BYTES_MAX);
    said = &posts->ring[posts->end++ % RING_MAX];
    free(said->text);
    *said = (struct said){.text = malloc(bytes.bytes)};
    if (said->text != NULL) {
        memcpy(said->text, bytes.data, bytes.bytes);
        said->bytes = bytes.bytes;
        memcpy(said->kind, kind, strlen(kind) + 1);
        message_proof_write(&n->secret, span_of(kind), bytes, said->proof);
    }
    for (size_t i = 0; i < posts->count; i++)
        go_on(&posts->list[i]);
}

/* ---- Figures. */

void
node_post_metrics(const struct node *n, FILE *out)
{
    if (n->posts == NULL)
        return;
    fputs("# HELP isochrone_node_posts_total Messages to gateways over HTTP, by what became of "
          "them.\n# TYPE isochrone_node_posts_total counter\n",
          out);
    for (size_t i = 0; i < n->posts->count; i++) {
        const struct told *t = &n->posts->list[i];
        fprintf(out,
                "isochrone_node_posts_total{gateway=\"%.*s\",outcome=\"heard\"} %llu\n"
                "isochrone_node_posts_total{gateway=\"%.*s\",outcome=\"failed\"} %llu\n",
                (int)t->at->name.bytes, t->at->name.data, (unsigned long long)t->posted,
                (int)t->at->name.bytes, t->at->name.data, (unsigned long long)t->failed);
    }
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
told_open(struct node_posts *posts, const struct roster_node *at, struct told *t)
{
    enum err err;

    *t = (struct told){.posts = posts, .at = at, .next = posts->end, .is_greeting = posts->end > 0};
    if (at->address.bytes == 0) {
        log_error("gateway %.*s: its url has no address: it will not hear of this node",
                  (int)at->name.bytes, at->name.data);
        return ERR_NOT_FOUND;
    }
    err = http_target_open(posts->node->client, &at->address.any, at->address.bytes, at->host, NULL,
                           0, &t->target);
    if (err == ERR_OK && at->tls != NULL)
        err = http_target_use_tls(t->target, at->tls, at->tls_name, at->tls_pin);
    if (err != ERR_OK && t->target != NULL)
        http_target_close(t->target);
    return err;
}

enum err
node_post_change(struct node *n, const struct roster *roster)
{
    struct node_posts *posts = n->posts;
    size_t most = roster->node->gateway_count, count = 0;
    struct told *list = calloc(most + 1, sizeof(*list));
    enum err err = list != NULL ? ERR_OK : ERR_MEMORY;

    for (size_t i = 0; i < most && err == ERR_OK; i++) {
        if (roster->node_gateways[i].url.bytes == 0)
            continue;
        err = told_open(posts, &roster->node_gateways[i], &list[count]);
        count += err == ERR_OK;
        if (err == ERR_NOT_FOUND)
            err = ERR_OK;
    }
    if (err == ERR_OK) { /* the new ones stay, the old ones go */
        struct told *old = posts->list;
        size_t old_count = posts->count;

        posts->list = list;
        posts->count = count;
        list = old;
        count = old_count;
    }
    for (size_t i = 0; i < count; i++)
        told_close(&list[i]);
    free(list);
    for (size_t i = 0; i < posts->count && err == ERR_OK; i++)
        go_on(&posts->list[i]);
    return err;
}

enum err
node_post_open(struct node *n)
{
    n->posts = calloc(1, sizeof(*n->posts));
    if (n->posts == NULL)
        return ERR_MEMORY;
    n->posts->node = n;
    return node_post_change(n, n->roster);
}

/* Has everybody who listens heard all? */
static bool
is_over(const struct node_posts *posts)
{
    for (size_t i = 0; i < posts->count; i++) {
        if (posts->list[i].fetch.call != NULL)
            return false;
    }
    return true;
}

void
node_post_close(struct node *n)
{
    struct node_posts *posts = n->posts;
    uint64_t until_ns = clock_now_ns() + LAST_NS;

    if (posts == NULL)
        return;
    for (size_t i = 0; i < posts->count; i++)
        loop_timer_stop(&posts->list[i].pause);
    while (!is_over(posts) && clock_now_ns() < until_ns)
        loop_pass(n->loop, 10);
    for (size_t i = 0; i < posts->count; i++)
        told_close(&posts->list[i]);
    for (size_t i = 0; i < RING_MAX; i++)
        free(posts->ring[i].text);
    free(posts->list);
    free(posts);
    n->posts = NULL;
}
