/* e2e_node_control_test - directives to a node agent: obeyed once, from whom its configuration
 * names, in what that says they may; everything else is refused with a reason. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e_fleet.h"
#include "e2e_node.h"
#include "e2e_page.h"
#include "io/clock.h"
#include "patience.h"
#include "tap.h"
#include "wire/directive.h"

#define WAITERS       4u
#define STREAM_TOKENS 300u
#define KNOWN_US      1100000u /* until everybody is taken to have heard that a model goes */

enum { GATEWAY = 3, DRAINER = 4, STRANGER = 9 }; /* first bytes of seeds */

static struct e2e_engine *engine;
static struct e2e_node node;
static uint64_t epoch;
static unsigned char nonces;
static double done_before, failed_before; /* orders, when it was told last */

/* A directive of this action as it should be, from the owner of this seed. */
static void
make(unsigned char seed, enum directive_action action, const char *model,
     struct directive *ret_directive, struct signature_secret *ret_secret)
{
    char text[SIGNATURE_KEY_TEXT_SIZE];

    e2e_node_key(seed, ret_secret, text);
    *ret_directive = (struct directive){.v = MESSAGE_VERSION,
                                        .node = SPAN_LIT("n1"),
                                        .epoch = epoch,
                                        .nonce = {++nonces},
                                        .issued_s = clock_wall_s(),
                                        .expires_s = clock_wall_s() + 60,
                                        .action = action,
                                        .model = span_of(model)};
}

/* Sign it and post it: the answer has this verdict, and this result. */
static bool
post(struct directive *d, const struct signature_secret *secret, const char *verdict,
     const char *result)
{
    char text[MESSAGE_BYTES_MAX + 1], wanted[128];
    struct e2e_reply reply;
    size_t bytes;
    bool good;

    if (directive_sign(d, secret) != ERR_OK || directive_write(d, text, &bytes) != ERR_OK)
        return false;
    text[bytes] = '\0';
    snprintf(wanted, sizeof(wanted), "\"verdict\":\"%s\",\"result\":\"%s\"", verdict, result);
    e2e_ask(node.port, "POST", "/network/v1/directive", "", text, &reply);
    good = strstr(reply.body, wanted) != NULL;
    if (!good)
        printf("# %u %s\n", reply.status, reply.body);
    e2e_reply_fini(&reply);
    return good;
}

/* Of what engines were told. */
static double
metric(const char *which)
{
    char name[64];
    struct e2e_reply reply;
    double value;

    snprintf(name, sizeof(name), "\nisochrone_node_orders%s ", which);
    e2e_ask(node.admin_port, "GET", "/metrics", "", "", &reply);
    value = e2e_number(reply.body, name);
    e2e_reply_fini(&reply);
    return value;
}

/* Make it and post it. */
static bool
tell(enum directive_action action, const char *model, const char *result)
{
    struct signature_secret secret;
    struct directive d;

    done_before = metric("_done_total");
    failed_before = metric("_failed_total");
    make(GATEWAY, action, model, &d, &secret);
    return post(&d, &secret, "good", result);
}

static bool
state_comes(enum node_state state)
{
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        if (e2e_node_report(&node)->state == (uint32_t)state)
            return true;
        usleep(10000);
    }
    return false;
}

static void
test_obeyed(void)
{
    struct signature_secret secret;
    struct e2e_reply reply;
    struct directive d;

    make(DRAINER, DIRECTIVE_DRAIN, "", &d, &secret);
    CHECK(post(&d, &secret, "good", "done"), "a drain");
    CHECK(state_comes(NODE_DRAIN), "is done, and reported");
    e2e_ask(node.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    CHECK(reply.status == 503, "nothing new is taken");
    e2e_reply_fini(&reply);
    CHECK(post(&d, &secret, "replayed", "refused"), "said twice it is not done twice");
    make(DRAINER, DIRECTIVE_READY, "", &d, &secret);
    CHECK(post(&d, &secret, "good", "done") && state_comes(NODE_READY), "and it is ready again");
    e2e_ask(node.port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
    CHECK(reply.status == 200, "and takes requests");
    e2e_reply_fini(&reply);
}

static void
test_refused(void)
{
    struct signature_secret secret, other;
    struct directive d, forged;
    struct e2e_reply reply;
    char text[SIGNATURE_KEY_TEXT_SIZE], json[MESSAGE_BYTES_MAX + 1];
    size_t bytes;

    make(STRANGER, DIRECTIVE_DRAIN, "", &d, &secret);
    CHECK(post(&d, &secret, "unknown_gateway", "refused"), "a stranger's");
    make(GATEWAY, DIRECTIVE_DRAIN, "", &d, &secret);
    CHECK(post(&d, &secret, "not_allowed", "refused"), "more than the gateway may");
    make(DRAINER, DIRECTIVE_DRAIN, "", &d, &secret);
    d.epoch--;
    CHECK(post(&d, &secret, "other_epoch", "refused"), "to an earlier life");
    make(DRAINER, DIRECTIVE_DRAIN, "", &d, &secret);
    d.node = SPAN_LIT("n2");
    CHECK(post(&d, &secret, "wrong_node", "refused"), "to another node");
    make(DRAINER, DIRECTIVE_DRAIN, "", &d, &secret);
    d.issued_s -= 3600;
    d.expires_s -= 3600;
    CHECK(post(&d, &secret, "expired", "refused"), "too late");
    make(DRAINER, DIRECTIVE_DRAIN, "", &d, &secret);
    d.issued_s += 3600;
    d.expires_s += 3600;
    CHECK(post(&d, &secret, "not_yet", "refused"), "from a clock an hour ahead");

    make(DRAINER, DIRECTIVE_READY, "", &forged, &secret);
    e2e_node_key(STRANGER, &other, text);
    if (directive_sign(&forged, &secret) != ERR_OK)
        return;
    forged.action = DIRECTIVE_DRAIN; /* another one under the same signature */
    CHECK(directive_write(&forged, json, &bytes) == ERR_OK, "one that was changed on the way");
    json[bytes] = '\0';
    e2e_ask(node.port, "POST", "/network/v1/directive", "", json, &reply);
    CHECK(reply.status == 403 && strstr(reply.body, "\"verdict\":\"bad_signature\"") != NULL,
          "is not what was signed");
    e2e_reply_fini(&reply);
    e2e_ask(node.port, "POST", "/network/v1/directive", "", "{\"v\":1,\"node\":\"\x01\"}", &reply);
    CHECK(reply.status == 400 && strstr(reply.body, "\"verdict\":\"malformed\"") != NULL,
          "and rubbish is rubbish");
    e2e_reply_fini(&reply);
    CHECK(e2e_node_report(&node)->state == NODE_READY, "none of them did anything");
}

static void
test_models(void)
{
    CHECK(tell(DIRECTIVE_PIN, "m", "done"), "a model is pinned");
    CHECK(tell(DIRECTIVE_UNLOAD, "m", "refused"), "and is not unloaded then");
    CHECK(tell(DIRECTIVE_UNPIN, "m", "done"), "until it is free again");
    CHECK(tell(DIRECTIVE_PIN, "nobodys", "refused"), "a model that is not there");
    CHECK(tell(DIRECTIVE_LOAD, "m", "refused"), "what a plain server cannot do is said");
}

/* A node before this engine, which may be told by two gateways. rest: more lines. */
static void
start_node(const char *url, const char *kind, const char *rest)
{
    struct signature_secret secret;
    char gateway[SIGNATURE_KEY_TEXT_SIZE], drainer[SIGNATURE_KEY_TEXT_SIZE];

    e2e_node_key(GATEWAY, &secret, gateway);
    e2e_node_key(DRAINER, &secret, drainer);
    e2e_node_start(&node,
                   "auth: none\nengines: [{url: \"%s\", name: e1, kind: %s}]\n"
                   "%s\ngateways:\n"
                   "  - {name: gw, key: \"%s\", may: [infer, load]}\n"
                   "  - {name: drainer, key: \"%s\", may: [drain]}\n",
                   url, kind, rest, gateway, drainer);
    epoch = e2e_node_report(&node)->epoch;
}

/* The model is in this state, as the report has it. */
static bool
model_is(const struct report *r, const char *model, enum model_state state)
{
    for (size_t i = 0; i < r->model_count; i++) {
        if (span_eq_text(r->models[i].id, model) && r->models[i].state == (uint32_t)state)
            return true;
    }
    return false;
}

/* It comes to be in this state; false: never, or it is in the other one, behind which it is not
 * coming any more. */
static bool
model_comes_before(const char *model, enum model_state state, enum model_state other)
{
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        const struct report *r = e2e_node_report(&node);

        if (model_is(r, model, state))
            return true;
        if (other != state && model_is(r, model, other))
            return false;
        usleep(20000);
    }
    return false;
}

static bool
model_comes(const char *model, enum model_state state)
{
    return model_comes_before(model, state, state);
}

static bool
ready_model(char *model, size_t size)
{
    const struct report *r = e2e_node_report(&node);

    for (size_t i = 0; i < r->model_count; i++) {
        if (r->models[i].state == MODEL_READY)
            return span_copy(r->models[i].id, model, size), true;
    }
    return false;
}

/* The status of the answer, in which text stands. */
static unsigned
chat(const char *model, const char *text)
{
    char body[256];
    struct e2e_reply reply;
    unsigned status;

    snprintf(body, sizeof(body),
             "{\"model\":\"%s\",\"max_tokens\":2,\"messages\":[{\"role\":\"user\","
             "\"content\":\"hello\"}]}",
             model);
    e2e_ask(node.port, "POST", "/v1/chat/completions", "", body, &reply);
    status = strstr(reply.body, text) != NULL ? reply.status : 0;
    e2e_reply_fini(&reply);
    return status;
}

/* A model has slots of its own, and what it runs is told beside them. */
static bool
tells_slots(const char *model, uint64_t slots)
{
    const struct report *r = e2e_node_report(&node);
    bool has_slots = false, has_requests = false;

    for (size_t i = 0; i < r->model_count; i++)
        has_slots = has_slots ||
                    (span_eq_text(r->models[i].id, model) && r->models[i].slots == slots);
    for (size_t i = 0; i < r->request_count; i++)
        has_requests = has_requests || (span_eq_text(r->requests[i].id, model) &&
                                        r->requests[i].running == 0 && r->requests[i].waiting == 0);
    return has_slots && has_requests && r->engine.slots % slots == 0;
}

/* What was told last, and begun, comes to this end: "done" or "failed". */
static bool
ends(const char *how)
{
    double before = how[0] == 'd' ? done_before : failed_before;
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        if (metric("") == 0.0)
            return metric(how[0] == 'd' ? "_done_total" : "_failed_total") == before + 1.0;
        usleep(20000);
    }
    return false;
}

/* A model that is ready is unloaded, and while it is loaded again somebody else gives orders about
 * it. False also if it was loaded before he could. */
static bool
orders_meanwhile(const char *model)
{
    return tell(DIRECTIVE_UNLOAD, model, "begun") && ends("done") &&
           model_comes(model, MODEL_ON_DISK) && tell(DIRECTIVE_LOAD, model, "begun") &&
           model_comes_before(model, MODEL_LOADING, MODEL_READY) &&
           tell(DIRECTIVE_LOAD, model, "begun") && tell(DIRECTIVE_UNLOAD, model, "refused");
}

/* A real order: a router lets a model go, and loads it again. */
static void
test_load(void)
{
    struct e2e_fleet *fleet = e2e_fleet_start_routers();
    char url[64], model[128];
    uint64_t until_s = 0;
    bool harmless;

    e2e_fleet_url(fleet, 0, url, sizeof(url));
    start_node(url, "llama-server", "");
    CHECK(ready_model(model, sizeof(model)), "a router has a model ready");
    CHECK(tells_slots(model, 16), "its server has slots of its own");
    while (!(harmless = orders_meanwhile(model)) && patience(&until_s)) {
        (void)tell(DIRECTIVE_LOAD, model, "begun");
        must(model_comes(model, MODEL_READY));
    }
    CHECK(harmless, "it is unloaded and loaded again: who asks for that once more, or for the "
                    "opposite meanwhile, does no harm");
    CHECK(chat(model, "") == 200, "who asks for it meanwhile waits at the engine");
    CHECK(model_comes(model, MODEL_READY), "and it is ready again");
    CHECK(tell(DIRECTIVE_LOAD, model, "done"), "what is so already is done");
    CHECK(tell(DIRECTIVE_LOAD, "nobodys", "begun"), "only the engine knows whether it has a model");
    e2e_node_stop(&node);
    e2e_fleet_stop(fleet);
}

/* A request of the model, for so many tokens. */
static int
open_chat(const char *model, unsigned tokens)
{
    char body[256];

    snprintf(body, sizeof(body),
             "{\"model\":\"%s\",\"max_tokens\":%u,\"ignore_eos\":true,\"stream\":true,"
             "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}",
             model, tokens);
    return e2e_open_request(node.port, "/v1/chat/completions", "", body);
}

/* A stream that runs for some seconds, and has begun. */
static int
open_stream(const char *model)
{
    int fd = open_chat(model, STREAM_TOKENS);

    must(e2e_read_until(fd, "\"content\":\""));
    return fd;
}

static bool
ends_whole(int fd)
{
    bool whole = e2e_read_until(fd, "[DONE]");

    close(fd);
    return whole;
}

static bool
one_waits(void)
{
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        if (e2e_node_report(&node)->engine.waiting > 0)
            return true;
        usleep(10000);
    }
    return false;
}

/* A router's unload ends what runs of the model: it is not asked before that has ended. */
static void
test_leaves(const char *model)
{
    int first = open_stream(model), later;

    CHECK(tell(DIRECTIVE_UNLOAD, model, "begun") && model_comes(model, MODEL_ON_DISK),
          "it is to unload a model that answers: others hear at once that it goes");
    CHECK(ends_whole(first), "the answer ends whole");
    CHECK(ends("done"), "then it is unloaded");
    CHECK(tell(DIRECTIVE_LOAD, model, "begun") && model_comes(model, MODEL_READY), "loaded again");

    first = open_stream(model);
    CHECK(tell(DIRECTIVE_UNLOAD, model, "begun"), "the same once more");
    usleep(KNOWN_US);
    later = open_chat(model, 2);
    CHECK(one_waits(), "who comes although he could know it waits");
    CHECK(ends_whole(first), "for what runs, which ends whole");
    CHECK(ends_whole(later), "and is answered: this engine loads on request");
    CHECK(model_comes(model, MODEL_READY), "so it is there again");
}

/* It was to go, and is wanted again, or pinned. */
static void
test_kept(const char *model)
{
    int fd = open_stream(model);

    CHECK(tell(DIRECTIVE_UNLOAD, model, "begun") && tell(DIRECTIVE_LOAD, model, "done"),
          "what was to go is loaded before it went: it is there");
    CHECK(tell(DIRECTIVE_UNLOAD, model, "begun") && tell(DIRECTIVE_PIN, model, "done") &&
              model_comes(model, MODEL_READY),
          "or is pinned: it stays");
    CHECK(tell(DIRECTIVE_UNPIN, model, "done") && ends_whole(fd), "and what ran ends whole");
}

/* A real order: a router lets a model go, when what runs of it has ended. */
static void
test_unload(void)
{
    struct e2e_fleet *fleet = e2e_fleet_start_routers();
    char url[64], model[128];
    int fd;

    e2e_fleet_url(fleet, 0, url, sizeof(url));
    start_node(url, "llama-server", "limits: {drain: 60s}");
    CHECK(ready_model(model, sizeof(model)), "a router has a model ready");
    test_leaves(model);
    test_kept(model);
    e2e_node_stop(&node);
    start_node(url, "llama-server", "limits: {drain: 10ms}");
    fd = open_stream(model);
    CHECK(tell(DIRECTIVE_UNLOAD, model, "begun") && ends("failed"),
          "what does not end in time is not cut: the order fails");
    CHECK(model_comes(model, MODEL_READY) && ends_whole(fd),
          "the model stays, the answer is whole");
    e2e_node_stop(&node);
    e2e_fleet_stop(fleet);
}

/* It sleeps, and is being woken. */
static bool
is_woken(const char *model)
{
    return tell(DIRECTIVE_SLEEP, "", "begun") && ends("done") &&
           model_comes(model, MODEL_DORMANT) && tell(DIRECTIVE_WAKE, "", "begun");
}

/* False: never, or the model was there before all had asked. */
static bool
all_wait(const char *model)
{
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        const struct report *r = e2e_node_report(&node);

        if (r->engine.waiting == WAITERS || model_is(r, model, MODEL_READY))
            return r->engine.waiting == WAITERS;
        usleep(10000);
    }
    return false;
}

static void
close_all(const int open[WAITERS])
{
    for (size_t i = 0; i < WAITERS; i++)
        close(open[i]);
}

/* A model is woken, and several wait for it, each on a connection. */
static bool
wait_together(const char *model, int open[WAITERS])
{
    char body[256];

    snprintf(body, sizeof(body),
             "{\"model\":\"%s\",\"max_tokens\":2,\"stream\":true,\"messages\":[{\"role\":"
             "\"user\",\"content\":\"hello\"}]}",
             model);
    if (!is_woken(model))
        return false;
    for (size_t i = 0; i < WAITERS; i++)
        open[i] = e2e_open_request(node.port, "/v1/chat/completions", "", body);
    if (all_wait(model))
        return true;
    close_all(open);
    return false;
}

/* Several wait for a model; there is room for one of them at once. */
static void
test_one_place(const char *model)
{
    uint64_t until_s = 0;
    int open[WAITERS];
    unsigned answered = 0;
    bool together;

    while (!(together = wait_together(model, open)) && patience(&until_s))
        must(model_comes(model, MODEL_READY));
    CHECK(together, "it is woken, and several wait for it");
    if (!together)
        return;
    for (size_t i = 0; i < WAITERS; i++)
        answered += e2e_read_until(open[i], "[DONE]");
    close_all(open);
    CHECK(answered == WAITERS,
          "and one after the other is answered, however short others may wait");
}

/* An engine that lets nobody wait: they wait here. It wakes within seconds; who was too late to
 * wait tries again. */
static void
test_wake(void)
{
    struct e2e_fleet *fleet = e2e_fleet_start_sleepers();
    char url[64], model[128];
    uint64_t until_s = 0;
    bool refused;
    int fd;

    e2e_fleet_url(fleet, e2e_fleet_find(fleet, NULL, 0), url, sizeof(url));
    start_node(url, "vllm", "limits: {drain: 60s}");
    CHECK(ready_model(model, sizeof(model)), "a server has a model ready");
    CHECK(tell(DIRECTIVE_SLEEP, "nobodys", "refused") && chat(model, "") == 200,
          "a mistyped name puts no other model to sleep");
    fd = open_stream(model);
    CHECK(tell(DIRECTIVE_SLEEP, "", "begun") && model_comes(model, MODEL_DORMANT),
          "it is put to sleep while it answers");
    CHECK(ends_whole(fd) && ends("done"), "when that has ended it sleeps");
    CHECK(chat(model, "model_not_ready") == 503, "and who asks for it is refused");
    CHECK(tell(DIRECTIVE_WAKE, "", "begun"), "it is woken");
    CHECK(chat(model, "") == 200, "who asks meanwhile waits, and is answered");
    e2e_node_stop(&node);
    start_node(url, "vllm", "guard: {requests_max: 1, waiting: 1ms}");
    test_one_place(model);
    e2e_node_stop(&node);
    start_node(url, "vllm", "guard: {loading: 1ms}");
    while (!(refused = is_woken(model) && chat(model, "guard.loading") == 503) &&
           patience(&until_s))
        must(model_comes(model, MODEL_READY));
    CHECK(refused, "nobody waits for longer than is allowed");
    CHECK(model_comes(model, MODEL_READY) && chat(model, "") == 200, "until it is there");
    e2e_node_stop(&node);
    e2e_fleet_stop(fleet);
}

int
main(void)
{
    char url[64];

    engine = e2e_engine_start("m", e2e_good);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", e2e_engine_port(engine));
    start_node(url, "openai", "");
    test_obeyed();
    test_refused();
    test_models();
    e2e_node_stop(&node);
    e2e_engine_stop(engine);
    test_load();
    test_unload();
    test_wake();
    return tap_done();
}
