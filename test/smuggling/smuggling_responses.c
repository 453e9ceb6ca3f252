/* smuggling_responses - each case is the answer of a node that is the gateway's first choice, with
 * a good one behind it: what the client gets, whom it is charged to, and what becomes of the
 * connection. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e.h"
#include "smuggling_case.h"

#define GOOD_BEHIND_BAD                                                                            \
    16u /* answers that make up for a failure, so that the node stays the choice */
#define CLASS_BYTES_MAX 32u
#define LOOK_US         200u
#define LOOKS_MAX       100000u /* a guard, not a promise */

static struct e2e_engine *bad, *good;
static struct e2e_gateway gateway;

/* What the bad node is to do next; also what it did. */
static struct {
    pthread_mutex_t lock;
    const struct smuggling_case *attack; /* NULL: behave */
    enum smuggling_cut cut;
    int fd; /* of the last answer, good or bad */
} node = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

/* ---- The nodes. */

static bool
expects(const struct smuggling_case *c, const char *word)
{
    return span_eq_text(c->expect[0].word, word);
}

static bool
is_kept(const struct smuggling_case *c)
{
    return span_eq_text(c->expect[0].rest, "kept") || expects(c, "refused");
}

static bool
misbehave(struct e2e_call *call)
{
    const struct smuggling_case *c;
    enum smuggling_cut cut;

    pthread_mutex_lock(&node.lock);
    c = node.attack;
    cut = node.cut;
    node.attack = NULL;
    node.fd = call->fd;
    pthread_mutex_unlock(&node.lock);
    if (c == NULL)
        return e2e_good(call);
    smuggling_send(call->fd, c->bytes, cut);
    if (c->later.bytes > 0) {
        smuggling_wait_taken(call->fd);
        smuggling_send(call->fd, c->later, cut);
    }
    if (c->closes)
        return false;
    if (!is_kept(c))
        e2e_wait_hangup(call);
    return is_kept(c);
}

static void
attack_with(const struct smuggling_case *c, enum smuggling_cut cut)
{
    pthread_mutex_lock(&node.lock);
    node.attack = c;
    node.cut = cut;
    pthread_mutex_unlock(&node.lock);
}

static int
last_fd(void)
{
    int fd;

    pthread_mutex_lock(&node.lock);
    fd = node.fd;
    pthread_mutex_unlock(&node.lock);
    return fd;
}

/* ---- What the client may see. */

static const char *const own_names[] = {
    "date",         "content-type",  "content-length", "transfer-encoding", "connection",
    "x-request-id", "server-timing", "cache-control",  "x-accel-buffering",
};

/* The gateway's own headers, and its own words in them. */
static const char *
head_wrong(const struct e2e_reply *reply)
{
    struct span head = span_of(reply->head);

    for (head = span_from(head, span_find(head, '\n') + 1); !span_eq_text(head, "\r\n");) {
        struct span line = {head.data, span_find(head, '\n')};
        struct span name = {line.data, span_find(line, ':')};
        bool known = span_starts(name, SPAN_LIT("isochrone-"));

        for (size_t i = 0; i < sizeof(own_names) / sizeof(own_names[0]); i++)
            known = known || span_eq_text(name, own_names[i]);
        if (!known)
            return "a header that is not the gateway's";
        head = span_from(head, line.bytes + 1);
    }
    return NULL;
}

static const char *
reply_wrong(const struct smuggling_case *c, const struct e2e_reply *reply)
{
    bool refused = expects(c, "refused"), retried = expects(c, "retried");
    bool broken = expects(c, "broken");

    if (memmem(reply->body, reply->body_bytes, "poison", 6) != NULL ||
        strstr(reply->head, "poison") != NULL)
        return "the client sees what it must not";
    if (reply->status != (refused ? 400 : 200))
        return "another status";
    if (!reply->whole)
        return "an answer that is not whole";
    if (head_wrong(reply) != NULL)
        return head_wrong(reply);
    if (strcmp(e2e_header(reply, "isochrone-attempts"), retried ? "2" : "1") != 0 && !refused)
        return "another number of attempts";
    if ((strstr(reply->body, "sounds") == NULL) != retried)
        return retried ? "the answer is the bad node's" : "the answer is not the node's";
    if (broken != (strstr(reply->body, "stream_interrupted") != NULL))
        return "a stream that ends otherwise";
    return NULL;
}

/* ---- Whom it is charged to. */

struct counts {
    unsigned long of_class, all; /* failures */
    uint32_t hangups;
};

static struct counts
count(const char *class)
{
    static const char name[] = "isochrone_engine_failures_total{class=\"";
    struct counts counts = {.hangups = e2e_engine_hangups(bad)};
    struct e2e_reply reply;

    e2e_ask(gateway.admin_port, "GET", "/metrics", "", "", &reply);
    for (const char *at = strstr(reply.body, name); at != NULL; at = strstr(at + 1, name)) {
        const char *own = at + sizeof(name) - 1;
        unsigned long failures = strtoul(strchr(own, ' '), NULL, 10);

        counts.all += failures;
        if (strncmp(own, class, strlen(class)) == 0 && own[strlen(class)] == '"')
            counts.of_class += failures;
    }
    e2e_reply_fini(&reply);
    return counts;
}

/* ---- One case. */

static const char *
ask_plainly(struct smuggling_client *client)
{
    static const char text[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
                               "Content-Length: 60\r\n\r\n" E2E_CHAT;
    struct smuggling_response response;
    const char *wrong;

    _Static_assert(sizeof(E2E_CHAT) - 1 == 60, "as announced");
    smuggling_send(client->fd, span_of(text), SMUGGLING_WHOLE);
    wrong = smuggling_client_read(client, false, &response);
    if (wrong != NULL)
        return wrong;
    return response.status == 200 && strstr(response.text, "hi there") != NULL
               ? NULL
               : "the next answer is another one";
}

/* The gateway closes the bad node's connection: soon, and surely if it takes long. */
static bool
hangs_up(uint32_t hangups)
{
    for (unsigned looks = 0; looks < LOOKS_MAX; looks++) {
        if (e2e_engine_hangups(bad) >= hangups)
            return true;
        usleep(LOOK_US);
    }
    return false;
}

/* The connection it came on: used again, or ended by the gateway. */
static const char *
connection_wrong(const struct smuggling_case *c, uint32_t hangups_before, int fd)
{
    bool same = last_fd() == fd && e2e_engine_hangups(bad) == hangups_before;

    if (c->closes)
        return NULL;
    if (is_kept(c))
        return same ? NULL : "the connection was not used again";
    return hangs_up(hangups_before + 1) ? NULL : "the connection is left open";
}

static const char *
charge_wrong(const struct smuggling_case *c, const struct counts *before, const struct counts *now)
{
    bool charged = !expects(c, "passed");

    if (now->all - before->all != charged)
        return "another number of failures";
    return now->of_class - before->of_class == charged ? NULL : "another class of failure";
}

static const char *
run_case(const struct smuggling_case *c, struct smuggling_client *client, enum smuggling_cut cut)
{
    char class[CLASS_BYTES_MAX];
    struct counts before, now;
    struct e2e_reply reply;
    const char *wrong;
    int fd;

    span_copy(expects(c, "refused") ? SPAN_LIT("request") : c->expect[0].rest, class,
              sizeof(class)); /* "request": charged to no node */
    before = count(class);
    attack_with(c, cut);
    e2e_ask(gateway.port, "POST", "/v1/chat/completions", "", c->stream ? E2E_STREAM : E2E_CHAT,
            &reply);
    fd = last_fd();
    wrong = reply_wrong(c, &reply);
    if (wrong != NULL)
        printf("# %s%s\n", reply.head, reply.body);
    e2e_reply_fini(&reply);
    now = count(class);
    if (wrong == NULL)
        wrong = charge_wrong(c, &before, &now);
    /* In step again: on the same connection, or, when the gateway has ended that, on another. What
     * a node sends when the next request is on its way already, nobody can tell from its answer. */
    if (wrong == NULL && !is_kept(c))
        wrong = connection_wrong(c, before.hangups, fd);
    if (wrong == NULL)
        wrong = ask_plainly(client);
    if (wrong == NULL && is_kept(c))
        wrong = connection_wrong(c, before.hangups, fd);
    for (unsigned i = 0; i < GOOD_BEHIND_BAD && now.all > before.all; i++) {
        const char *later = ask_plainly(client);
        wrong = wrong != NULL ? wrong : later;
    }
    return wrong;
}

size_t
smuggling_run_responses(const struct smuggling_list *list)
{
    const struct gateway_options options = {.rule = -1, .poll_ns = 3600000000000u, .seed = 1};
    static struct smuggling_client client;
    size_t held = 0;

    bad = e2e_engine_start("m", misbehave);
    good = e2e_engine_start("m", e2e_good);
    e2e_gateway_start(
        &gateway, &options,
        "region: us-east\nrule: nearest\n"
        "engines:\n"
        "  - {name: bad, url: \"http://127.0.0.1:%u\", kind: openai, region: us-east}\n"
        "  - {name: good, url: \"http://127.0.0.1:%u\", kind: openai, region: eu-west}\n",
        e2e_engine_port(bad), e2e_engine_port(good));
    must(e2e_wait_ready(&gateway, 2));
    smuggling_client_open(&client, gateway.port);
    for (size_t i = 0; i < list->count; i++) {
        const char *wrong[SMUGGLING_CUTS];
        for (unsigned cut = 0; cut < SMUGGLING_CUTS; cut++)
            wrong[cut] = run_case(&list->cases[i], &client, (enum smuggling_cut)cut);
        held += smuggling_verdict(&list->cases[i], wrong);
    }
    smuggling_client_close(&client);
    e2e_gateway_stop(&gateway);
    e2e_engine_stop(bad);
    e2e_engine_stop(good);
    return held;
}
