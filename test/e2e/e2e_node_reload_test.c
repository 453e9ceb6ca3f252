/* e2e_node_reload_test - engines that come and leave by a reload, while requests run and wait: none
 * of them is lost, one that leaves takes nothing new, and one that takes another's place leaves no
 * gap. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e_fleet.h"
#include "e2e_node.h"
#include "e2e_page.h"
#include "patience.h"
#include "tap.h"

#define ENGINE "{url: \"http://127.0.0.1:%u\", kind: openai, slots: 2}"
#define ASKERS 4u

enum { GATEWAY = 3 }; /* the first byte of its seed */

static struct e2e_node node;
static char path[256];
static atomic_bool may_end;

static void
reload(void)
{
    must(kill(getpid(), SIGHUP) == 0);
}

static bool
metric(const char *name, unsigned value)
{
    char line[128];

    snprintf(line, sizeof(line), "\nisochrone_node_%s %u\n", name, value);
    return e2e_page_comes(node.admin_port, "/metrics", line);
}

/* This engine and no other, and wait until it is so. */
static void
reload_to(const struct e2e_engine *engine, unsigned slots)
{
    e2e_node_write(
        path, "auth: none\nengines: [{url: \"http://127.0.0.1:%u\", kind: openai, slots: %u}]\n",
        e2e_engine_port(engine), slots);
    reload();
    must(metric("slots", slots));
}

/* Says something, and ends when the test lets it. */
static bool
until_told(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{"
                    "\"content\":\"hi\"},\"finish_reason\":null}]}\n\n");
    while (!atomic_load(&may_end))
        usleep(1000);
    e2e_chunk(call, "data: [DONE]\n\n");
    e2e_chunk(call, "");
    return true;
}

/* The status of an answer, in which text stands. */
static unsigned
ask(const char *text)
{
    struct e2e_reply reply;
    unsigned status;

    e2e_ask(node.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    status = strstr(reply.body, text) != NULL ? reply.status : 0;
    if (status == 0)
        printf("# %u %s\n", reply.status, reply.body);
    e2e_reply_fini(&reply);
    return status;
}

static int
open_stream(void)
{
    return e2e_open_request(node.port, "/v1/chat/completions", "", E2E_STREAM);
}

static bool
ends_well(int fd)
{
    bool good = e2e_read_until(fd, "[DONE]");

    close(fd);
    return good;
}

/* One comes, and takes what the first one has no room for; the first one leaves. */
static void
test_come_and_leave(struct e2e_engine *first, struct e2e_engine *second)
{
    int open[3];

    atomic_store(&may_end, false);
    e2e_engine_script(first, until_told);
    e2e_engine_script(second, e2e_good);
    e2e_node_write(path, "auth: none\nengines: [" ENGINE "]\n", e2e_engine_port(first));
    e2e_node_load(&node, path);
    for (unsigned i = 0; i < 3; i++)
        open[i] = open_stream();
    CHECK(e2e_read_until(open[0], "content") && metric("running", 2) && metric("waiting", 1),
          "two run, one waits");
    e2e_node_write(path, "auth: none\nengines: [" ENGINE ", " ENGINE "]\n", e2e_engine_port(first),
                   e2e_engine_port(second));
    reload();
    CHECK(metric("engines_up", 2) && metric("slots", 4), "another engine comes");
    CHECK(ask("hi there") == 200 && e2e_engine_calls(second) >= 1, "and takes requests");

    e2e_node_write(path, "auth: none\nengines: [" ENGINE "]\n", e2e_engine_port(second));
    reload();
    CHECK(metric("engines", 1) && metric("engines_leaving", 1), "the first one is taken out");
    CHECK(ends_well(open[2]), "who waited for it is answered by the other one");
    CHECK(metric("slots", 4) && metric("running", 2), "what runs there takes nothing from others");
    for (unsigned i = 0; i < 4; i++)
        must(ask("hi there") == 200);
    CHECK(e2e_engine_calls(first) == 2, "it takes nothing new");
    atomic_store(&may_end, true);
    CHECK(ends_well(open[0]) && ends_well(open[1]), "what runs there goes to its end");
    CHECK(metric("engines_leaving", 0) && metric("slots", 2), "then it is forgotten");
    CHECK(e2e_node_report(&node)->engine.slots == 2, "as reports have it");

    e2e_engine_script(first, e2e_good);
    reload_to(first, 7);
    CHECK(ask("hi there") == 200 && e2e_engine_calls(first) == 3, "and it may come again");
}

/* ---- In the place of another one. */

static atomic_bool is_over;
static atomic_uint failures, answers;

static void *
run_asker(void *unused)
{
    (void)unused;
    while (!atomic_load(&is_over)) {
        if (ask("hi there") != 200)
            atomic_fetch_add(&failures, 1);
        atomic_fetch_add(&answers, 1);
    }
    return NULL;
}

static void
test_no_gap(struct e2e_engine *first, struct e2e_engine *second)
{
    pthread_t askers[ASKERS];
    uint64_t until_s = 0;
    unsigned before;

    e2e_engine_script(first, e2e_good);
    e2e_engine_script(second, e2e_good);
    for (unsigned i = 0; i < ASKERS; i++)
        must(pthread_create(&askers[i], NULL, run_asker, NULL) == 0);
    for (unsigned i = 0; i < 10; i++) { /* without a kind: it takes a while until it is known */
        struct e2e_engine *one = i % 2 == 0 ? second : first;
        uint32_t calls = e2e_engine_calls(one);
        e2e_node_write(path, "auth: none\nengines: [{name: e, url: \"http://127.0.0.1:%u\"}]\n",
                       e2e_engine_port(one));
        reload();
        must(e2e_wait_count(e2e_engine_calls, one, calls + 10));
    }
    before = atomic_load(&answers);
    for (unsigned i = 0; i < 10; i++) /* one after the other, without waiting for what they do */
        reload();
    while (atomic_load(&answers) < before + 10 && patience(&until_s))
        usleep(10000);
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < ASKERS; i++)
        pthread_join(askers[i], NULL);
    CHECK(atomic_load(&failures) == 0, "who asks does not notice");
    CHECK(metric("engines", 1) && metric("engines_leaving", 0), "and one is left");
}

/* ---- The same engine, otherwise. */

static void
test_otherwise(struct e2e_engine *engine)
{
    char head[E2E_HEAD_BYTES_MAX], body[8192];
    unsigned calls;
    int open;

    atomic_store(&may_end, false);
    e2e_engine_script(engine, until_told);
    e2e_node_write(path, "auth: none\nengines: [" ENGINE "]\n", e2e_engine_port(engine));
    reload();
    CHECK(metric("slots", 2) && metric("engines_leaving", 0), "an engine");
    calls = e2e_engine_calls(engine);
    open = open_stream();
    CHECK(e2e_read_until(open, "content"), "at which a request runs");
    e2e_node_write(
        path,
        "auth: none\nengines: [{url: \"http://127.0.0.1:%u\", name: other, kind: openai, "
        "slots: 3, key: sesame}]\n",
        e2e_engine_port(engine));
    reload();
    CHECK(metric("slots", 3) && metric("running", 1) && metric("engines_leaving", 0),
          "with other slots, name and key it is the same one");
    e2e_engine_script(engine, e2e_good);
    CHECK(ask("hi there") == 200 && e2e_engine_calls(engine) == calls + 2, "it is asked");
    e2e_engine_last(engine, head, body, sizeof(body));
    CHECK(strstr(head, "authorization: Bearer sesame") != NULL, "with the key that it has now");
    atomic_store(&may_end, true);
    CHECK(ends_well(open), "and what ran goes to its end");
}

/* A stream runs at an engine, which then leaves for another one. */
static int
leave_running(struct e2e_engine *from, unsigned from_slots, struct e2e_engine *to)
{
    int open;

    atomic_store(&may_end, false);
    e2e_engine_script(from, until_told);
    reload_to(from, from_slots);
    open = open_stream();
    must(e2e_read_until(open, "content"));
    e2e_node_write(path, "auth: none\nengines: [" ENGINE "]\n", e2e_engine_port(to));
    reload();
    return open;
}

/* ---- What cannot be. */

static void
test_mistakes(struct e2e_engine *engine)
{
    struct e2e_engine *other = e2e_engine_start("another-model", e2e_good);
    int open;

    e2e_node_write(path, "auth: none\nengines: [{url: \"http://127.0.0.1:1\"}, " ENGINE "]\n",
                   e2e_engine_port(other));
    reload();
    CHECK(metric("engines", 2) && metric("engines_up", 1),
          "one that does not answer keeps no other one");
    CHECK(ask("model_not_found") == 404, "nor a model that left with its engine");

    open = leave_running(engine, 5, other);
    CHECK(metric("engines_leaving", 1), "one leaves");
    close(open);
    CHECK(metric("engines_leaving", 0), "and is forgotten when who asked it is gone");
    atomic_store(&may_end, true);
    e2e_engine_stop(other);
}

/* ---- Directives. */

static bool
model_comes(const char *model, enum model_state state)
{
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        const struct report *r = e2e_node_report(&node);
        for (size_t k = 0; k < r->model_count; k++) {
            if (span_eq_text(r->models[k].id, model) && r->models[k].state == (uint32_t)state)
                return true;
        }
        usleep(10000);
    }
    return false;
}

static bool
load(const char *model)
{
    return e2e_node_direct(&node, GATEWAY, DIRECTIVE_LOAD, model, 1, "begun");
}

/* An order is under way at an engine that leaves. */
static void
test_order(struct e2e_engine *engine)
{
    struct e2e_fleet *fleet = e2e_fleet_start_routers();
    char url[64], key[SIGNATURE_KEY_TEXT_SIZE], model[128] = "";
    const struct report *r;
    struct signature_secret secret;

    e2e_fleet_url(fleet, 0, url, sizeof(url));
    e2e_node_key(GATEWAY, &secret, key);
    e2e_node_write(path,
                   "auth: none\nengines: [{url: \"%s\", kind: llama-server}]\n"
                   "gateways: [{name: gw, key: \"%s\", may: [infer, load]}]\n",
                   url, key);
    e2e_node_load(&node, path);
    r = e2e_node_report(&node);
    for (size_t i = 0; i < r->model_count; i++) {
        if (r->models[i].state == MODEL_ON_DISK)
            span_copy(r->models[i].id, model, sizeof(model));
    }
    CHECK(model[0] != '\0' && load(model) && model_comes(model, MODEL_LOADING),
          "a model is being loaded");
    e2e_node_write(path,
                   "auth: none\nengines: [" ENGINE "]\n"
                   "gateways: [{name: gw, key: \"%s\", may: [infer, load]}]\n",
                   e2e_engine_port(engine), key);
    reload();
    CHECK(model_comes(model, MODEL_ABSENT), "and its engine leaves: it comes no more");
    CHECK(metric("engines_up", 1) && metric("engines_leaving", 0) && ask("hi there") == 200,
          "another one serves");
    e2e_node_stop(&node);
    e2e_fleet_stop(fleet);
}

int
main(void)
{
    struct e2e_engine *first, *second;
    sigset_t set;
    int open;

    sigemptyset(&set); /* the node takes it from a descriptor; no other thread may */
    sigaddset(&set, SIGHUP);
    must(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    first = e2e_engine_start("m", e2e_good);
    second = e2e_engine_start("m", e2e_good);
    e2e_path("node.yaml", path, sizeof(path));
    test_come_and_leave(first, second);
    test_no_gap(first, second);
    test_otherwise(first);
    test_mistakes(first);

    open = leave_running(first, 4, second);
    must(metric("engines_leaving", 1));
    e2e_node_stop(&node);
    CHECK(true, "a node ends while an engine leaves");
    close(open);
    atomic_store(&may_end, true);
    test_order(second);
    e2e_engine_stop(first);
    e2e_engine_stop(second);
    return tap_done();
}
