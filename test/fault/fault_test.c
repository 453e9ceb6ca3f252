/* fault_test - the n-th allocation or system call of a gateway fails, for n = 1, 2, ... until there
 * is no n-th any more, for each kind of fault and each kind of request. Each time a fresh gateway
 * and fresh engines are asked twice while the fault is armed, then once more.
 *
 * What must hold: nothing crashes or hangs; the client gets the whole answer, an error with a
 * status, an event in the stream that says so, or an answer that is recognisably cut off, and never
 * two of them; the question after it is answered; and nothing is counted as in flight any more. A
 * reload or a hand-over happens as a whole or not at all.
 *
 * usage: fault_test --some SCENARIO...  a part of all n, for the gate
 *        fault_test SCENARIO...         every n (with `coarse` ones: nearly)
 *        fault_test --list              the names of all scenarios
 *        fault_test --one SCENARIO FAULT N   one run; what a failure prints */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e_node.h"
#include "fault.h"
#include "fault_client.h"
#include "fault_world.h"
#include "io/log.h"
#include "role/gateway/lane.h"
#include "tap.h"

#define POINTS_MAX     60000u /* of one kind in one scenario: a guard */
#define PROMPT_BYTES   300000u
#define EARN_BYTES     40000u /* a prompt that pays for the hedges after it */
#define SOME           9u     /* every such n for the gate, where there are few */
#define QUESTIONS      6u     /* at once, over as many connections */
#define RUN_S_MAX      60u
#define TRIES          10000u /* of 1 ms */
#define NODE_TRIES     40u    /* the same, while the fault is armed: so that one is passed on */
#define FAILURES_SHOWN 5u

/* ---- Scripts of the first engine. */

static _Atomic unsigned asked; /* completions, by script_late and script_first */

static bool
script_500(struct e2e_call *call)
{
    e2e_json(call, 500, "", "{\"error\":{\"message\":\"boom\"}}");
    return true;
}

static bool
script_leaves(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,"
                    "\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n");
    return false;
}

/* Whoever is asked first says nothing. */
static bool
script_late(struct e2e_call *call)
{
    if (atomic_fetch_add(&asked, 1) > 0)
        return e2e_good(call);
    e2e_wait_hangup(call);
    return false;
}

/* Whoever is asked first answers, when a second one was asked too. */
static bool
script_first(struct e2e_call *call)
{
    if (atomic_fetch_add(&asked, 1) > 0) {
        e2e_stream_head(call);
        e2e_wait_hangup(call);
        return false;
    }
    for (unsigned i = 0; i < TRIES && atomic_load(&asked) < 2; i++)
        usleep(1000);
    return e2e_good(call);
}

/* ---- Questions. */

#define CHAT_LINE "POST /v1/chat/completions"

static void
ask(struct client *c, uint16_t port, const char *first_line, const char *body, struct answer *a)
{
    client_ask(c, port, first_line, body, a);
    client_hear(c, a);
}

static const char *
chat(struct client *c, const char *body, bool stream, struct tally *tally)
{
    static struct answer a;

    ask(c, world.gateway.port, CHAT_LINE, body, &a);
    return client_judge(&a, stream, tally);
}

/* On one connection, or on one each. */
static const char *
chat_twice(const char *body, bool stream, bool apart, struct tally *tally)
{
    struct client c = CLIENT_NEW;
    const char *wrong = NULL;

    for (unsigned i = 0; i < 2 && wrong == NULL; i++) {
        wrong = chat(&c, body, stream, tally);
        if (apart)
            client_leave(&c);
    }
    client_leave(&c);
    return wrong;
}

static const char *
h2_twice(const char *body, bool stream, struct tally *tally)
{
    static struct answer answers[CLIENT_STREAMS];
    const char *wrong = NULL;

    for (unsigned i = 0; i < 2; i++) {
        client_ask_http2(world.gateway.port, body, answers);
        for (unsigned j = 0; j < CLIENT_STREAMS && wrong == NULL; j++)
            wrong = client_judge(&answers[j], stream, tally);
    }
    return wrong;
}

/* A question with a prompt of so many bytes. */
static const char *
long_body(size_t prompt_bytes, const char *more)
{
    static char body[PROMPT_BYTES + 200];
    int bytes = snprintf(body, sizeof(body),
                         "{\"model\":\"m\",%s\"messages\":[{\"role\":\"user\",\"content\":\"",
                         more);

    must(prompt_bytes <= PROMPT_BYTES);
    memset(body + bytes, 'a', prompt_bytes);
    snprintf(body + bytes + prompt_bytes, 20, "\"}]}");
    return body;
}

/* ---- Scenarios: what is asked while the fault is armed. NULL, or what is wrong. */

static const char *
run_json(struct tally *tally)
{
    return chat_twice(E2E_CHAT, false, false, tally);
}

static const char *
run_stream(struct tally *tally)
{
    return chat_twice(E2E_STREAM, true, false, tally);
}

static const char *
run_apart(struct tally *tally)
{
    return chat_twice(E2E_CHAT, false, true, tally);
}

static const char *
run_long(struct tally *tally)
{
    return chat_twice(long_body(PROMPT_BYTES, ""), false, false, tally);
}

static const char *
run_h2_json(struct tally *tally)
{
    return h2_twice(E2E_CHAT, false, tally);
}

static const char *
run_h2_stream(struct tally *tally)
{
    return h2_twice(E2E_STREAM, true, tally);
}

/* What is said about usage, too, is whole or an error. */
static const char *
run_keyed(struct tally *tally)
{
    static struct answer a;
    struct client c = CLIENT_NEW;
    const char *wrong = chat_twice(E2E_CHAT, false, false, tally);

    if (wrong != NULL)
        return wrong;
    ask(&c, world.gateway.port, "GET /network/v1/usage?by=key,model", "", &a);
    client_leave(&c);
    if (a.whole && strstr(a.body, a.status == 200 ? "\"more\":false}" : "\"error\":{") == NULL)
        return "an answer that lacks something";
    return a.wrong;
}

/* What the gateway tells about itself: whole, an error, or cut off. */
static const char *
run_admin(struct tally *tally)
{
    static const char *const lines[] = {"GET /metrics",
                                        "GET /network/v1/nodes",
                                        "GET /network/v1/capacity",
                                        "GET /network/v1/demand",
                                        "GET /network/v1/readiness",
                                        "GET /network/v1/events",
                                        "POST /network/v1/explain"};
    static struct answer a;
    struct client c = CLIENT_NEW;
    const char *wrong = NULL;

    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]) && wrong == NULL; i++) {
        ask(&c, world.gateway.admin_port, lines[i], lines[i][0] == 'P' ? E2E_CHAT : "", &a);
        wrong = a.wrong;
        if (!a.whole)
            tally->count[CUT]++;
        else if (a.status == 200 && a.bytes > 0)
            tally->count[WHOLE]++;
        else if (a.status >= 400 && strstr(a.body, "\"error\"") != NULL)
            tally->count[ERROR_STATUS]++;
        else if (wrong == NULL)
            wrong = "an answer that is none";
    }
    client_leave(&c);
    return wrong;
}

/* Connections to engines begin anew, so that there is a handshake; as often as questions wait. */
static const char *
run_engine_tls(struct tally *tally)
{
    static struct answer answers[2];
    struct client clients[2] = {CLIENT_NEW, CLIENT_NEW};
    const char *wrong = NULL;

    for (unsigned i = 0; i < world.engine_count; i++)
        e2e_engine_disconnect(world.engines[i]);
    for (unsigned i = 0; i < 2; i++)
        client_ask(&clients[i], world.gateway.port, CHAT_LINE, E2E_CHAT, &answers[i]);
    for (unsigned i = 0; i < 2; i++) {
        client_hear(&clients[i], &answers[i]);
        client_leave(&clients[i]);
        if (wrong == NULL)
            wrong = client_judge(&answers[i], false, tally);
    }
    return wrong;
}

/* More than there are places, on whichever lanes: some are held until others end. */
static const char *
run_lanes(struct tally *tally)
{
    static struct answer answers[QUESTIONS];
    struct client clients[QUESTIONS];
    const char *wrong = NULL;

    for (unsigned i = 0; i < QUESTIONS; i++) {
        clients[i] = CLIENT_NEW;
        client_ask(&clients[i], world.gateway.port, CHAT_LINE, E2E_CHAT, &answers[i]);
    }
    for (unsigned i = 0; i < QUESTIONS; i++) {
        client_hear(&clients[i], &answers[i]);
        client_leave(&clients[i]);
        if (wrong == NULL)
            wrong = client_judge(&answers[i], false, tally);
    }
    return wrong;
}

/* ---- Hedges. */

/* Earn what hedges cost, by a long prompt that is answered at once. */
static void
prepare_hedges(void)
{
    struct tally tally = {0};
    struct client c = CLIENT_NEW;

    for (unsigned i = 0; i < world.engine_count; i++)
        e2e_engine_script(world.engines[i], e2e_good);
    must(chat(&c, long_body(EARN_BYTES, "\"stream\":true,"), true, &tally) == NULL);
    must(tally.count[WHOLE] == 1);
    client_leave(&c);
}

static const char *
run_hedges(e2e_script *script, struct tally *tally)
{
    struct client c = CLIENT_NEW;
    const char *wrong = NULL;

    for (unsigned i = 0; i < world.engine_count; i++)
        e2e_engine_script(world.engines[i], script);
    for (unsigned i = 0; i < 2 && wrong == NULL; i++) {
        atomic_store(&asked, 0);
        wrong = chat(&c, E2E_STREAM, true, tally);
    }
    client_leave(&c);
    for (unsigned i = 0; i < world.engine_count; i++)
        e2e_engine_script(world.engines[i], e2e_good);
    return wrong;
}

static const char *
run_hedge_won(struct tally *tally)
{
    return run_hedges(script_late, tally);
}

static const char *
run_hedge_lost(struct tally *tally)
{
    return run_hedges(script_first, tally);
}

/* A late one is hedged again. */
static const char *
after_hedges(void)
{
    struct tally tally = {0};
    const char *wrong;

    prepare_hedges();
    wrong = run_hedges(script_late, &tally);
    return wrong == NULL && atomic_load(&asked) < 2 ? "nothing is hedged any more" : wrong;
}

/* ---- Reload. */

static uint64_t
reloads(void)
{
    struct gateway *g = world.gateway.gateway;

    return atomic_load(&g->reloads) + atomic_load(&g->reload_failures);
}

static bool
await_reload(uint64_t count)
{
    for (unsigned i = 0; i < TRIES && reloads() < count; i++)
        usleep(1000);
    return reloads() >= count;
}

/* Another configuration and other certificates, between questions. */
static const char *
run_reload(struct tally *tally)
{
    struct client c = CLIENT_NEW;
    const char *wrong = chat(&c, E2E_CHAT, false, tally);

    world_change();
    must(kill(getpid(), SIGHUP) == 0);
    if (wrong == NULL)
        wrong = chat(&c, E2E_CHAT, false, tally);
    if (!await_reload(1) && wrong == NULL)
        wrong = "the reload does not end";
    client_leave(&c);
    if (wrong == NULL)
        wrong = chat(&c, E2E_CHAT, false, tally);
    client_leave(&c);
    return wrong;
}

/* What a client sees is the one configuration or the other; and now the new one can be had. */
static const char *
after_reload(void)
{
    struct gateway *g = world.gateway.gateway;
    struct client c = CLIENT_NEW;
    struct tally tally = {0};
    uint64_t before = reloads();
    const char *wrong;

    client_forget_session();
    wrong = chat(&c, E2E_CHAT, false, &tally);
    client_leave(&c);
    if (wrong != NULL)
        return wrong;
    if ((world.flags & WORLD_TLS) &&
        strcmp(client_server_name(), atomic_load(&g->reloads) > 0 ? "after" : "before") != 0)
        return "the other certificate is shown";
    if (!fault_has_struck() && atomic_load(&g->reloads) == 0)
        return "the reload failed for no reason";
    gateway_reload(g);
    if (!await_reload(before + 1) || atomic_load(&g->reloads) == 0)
        return "there can be no reload any more";
    client_forget_session();
    wrong = chat(&c, E2E_CHAT, false, &tally);
    client_leave(&c);
    if (wrong == NULL && (world.flags & WORLD_TLS) && strcmp(client_server_name(), "after") != 0)
        return "the new certificate is not shown";
    return wrong;
}

/* ---- Hand-over. */

/* Until another process serves, or there is none. It may wait for memory; some comes again. */
static bool
await_handover(void)
{
    unsigned without = 0; /* ms since nobody can be expected */

    for (unsigned i = 0; i < 2 * TRIES; i++) {
        pid_t child = fault_forked();
        if (atomic_load(&world.gateway.gateway->draining))
            return true;
        if (i == TRIES / 2)
            (void)fault_disarm();
        without = child == 0 || kill(child, 0) != 0 ? without + 1 : 0;
        if (without > 100)
            return true;
        usleep(1000);
    }
    return false;
}

static const char *
run_handover(struct tally *tally)
{
    struct client c = CLIENT_NEW;
    const char *wrong = chat(&c, E2E_CHAT, false, tally);

    must(kill(getpid(), SIGUSR2) == 0);
    if (wrong == NULL)
        wrong = chat(&c, E2E_CHAT, false, tally);
    if (!await_handover() && wrong == NULL)
        wrong = "the hand-over does not end";
    if (wrong == NULL)
        wrong = chat(&c, E2E_CHAT, false, tally);
    client_leave(&c);
    return wrong;
}

static const char *
after_handover(void)
{
    return fault_has_struck() || atomic_load(&world.gateway.gateway->draining)
               ? NULL
               : "nothing is handed over";
}

/* ---- Starting: it does, or says that it does not. */

static void *
run_gateway(void *gateway)
{
    gateway_run(gateway);
    return NULL;
}

/* Of everything that a gateway can have, and its lanes for a moment. */
static bool
start_strikes(enum fault kind, uint64_t n, unsigned flags, struct tally *tally)
{
    struct gateway_options options = {.rule = -1, .seed = 1};
    struct gateway *gateway = NULL;
    pthread_t thread;
    enum err err;

    options.config_path = world_config(flags, false);
    fault_concerns_me(true);
    fault_arm(kind, n);
    err = roster_load(options.config_path, 0, NULL, &options.roster);
    if (err == ERR_OK)
        err = gateway_open(&options, &gateway);
    fault_concerns_me(false);
    if (err == ERR_OK) {
        fault_marks(true);
        must(pthread_create(&thread, NULL, run_gateway, gateway) == 0);
        fault_marks(false);
        usleep(20000);
        gateway_stop(gateway);
        gateway_stop(gateway);
        must(pthread_join(thread, NULL) == 0);
    }
    fault_concerns_me(true);
    gateway_close(gateway);
    fault_concerns_me(false);
    tally->count[err == ERR_OK ? WHOLE : ERROR_STATUS]++;
    return fault_disarm() >= n;
}

/* ---- A node agent: its start, one question, its end. */

static void *
run_node(void *node)
{
    fault_concerns_me(true);
    node_run(node);
    return NULL;
}

/* Until one of so many questions is answered; false: none is. */
static bool
node_answers(uint16_t port, unsigned tries)
{
    struct tally none = {0};
    static struct answer a;

    for (unsigned i = 0; i < tries && none.count[WHOLE] == 0; i++) {
        struct client c = CLIENT_NEW;
        ask(&c, port, CHAT_LINE, E2E_CHAT, &a);
        (void)client_judge(&a, false, &none);
        client_leave(&c);
        usleep(1000);
    }
    return none.count[WHOLE] > 0;
}

static const char *
node_strikes(enum fault kind, uint64_t n, struct tally *tally, bool *ret_struck)
{
    struct node_options options = {.ask_ns = 20000000, .report_ns = 20000000};
    struct e2e_engine *engine = e2e_engine_start("m", e2e_good);
    char key[256], path[256], gateway[SIGNATURE_KEY_TEXT_SIZE];
    struct sockaddr_storage public_address, admin_address;
    struct signature_secret secret;
    const char *wrong = NULL;
    struct node *node = NULL;
    uint16_t port = 0;
    pthread_t thread;
    enum err err;

    e2e_node_write_key(e2e_path("node.key", key, sizeof(key)));
    e2e_node_key(3, &secret, gateway);
    e2e_write_file(
        e2e_path("node.yaml", path, sizeof(path)),
        "listen: {public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nauth: none\n"
        "key: file:node.key\nstate: .\n"
        "engines: [{url: \"http://127.0.0.1:%u\", name: e1, kind: openai}]\n"
        /* a gateway that wants to hear nothing */
        "gateways: [{name: gw, key: \"%s\", may: [infer], url: \"http://127.0.0.1:%u\"}]\n",
        e2e_engine_port(engine), gateway, e2e_engine_port(engine));
    fault_concerns_me(true);
    fault_arm(kind, n);
    err = roster_load_node(path, (struct span){NULL, 0}, NULL, &options.roster);
    if (err == ERR_OK)
        err = node_open(&options, &node);
    fault_concerns_me(false);
    if (err == ERR_OK) {
        node_addresses(node, &public_address, &admin_address);
        port = ntohs(((struct sockaddr_in *)(void *)&public_address)->sin_port);
        must(pthread_create(&thread, NULL, run_node, node) == 0);
        (void)node_answers(port, NODE_TRIES);
    }
    *ret_struck = fault_disarm() >= n;
    if (err == ERR_OK) {
        if (!node_answers(port, TRIES))
            wrong = "the node never answers";
        node_stop(node);
        must(pthread_join(thread, NULL) == 0);
    }
    node_close(node);
    e2e_engine_stop(engine);
    tally->count[err == ERR_OK ? WHOLE : ERROR_STATUS]++;
    return wrong;
}

static const struct scenario {
    const char *name;
    unsigned flags;
    unsigned some;                      /* every such n for the gate, of memory */
    unsigned coarse;                    /* every such n of all, of memory; 0: 1 */
    bool fresh;                         /* a process each: libraries do more when first used */
    e2e_script *script;                 /* of the first engine; NULL: it is good */
    void (*prepare)(void);              /* before the fault is armed; NULL: nothing */
    const char *(*run)(struct tally *); /* NULL: only the start */
    const char *(*after)(void);         /* when the fault is over; NULL: nothing */
} scenarios[] = {
    {"json", .some = 9, .run = run_json},
    {"keyed", WORLD_KEYS, .some = 31, .run = run_keyed},
    {"stream", .some = 9, .run = run_stream},
    {"long", .some = 9, .run = run_long},
    {"retry", .some = 9, .script = script_500, .run = run_json},
    {"left", .some = 9, .script = script_leaves, .run = run_stream},
    {"h2_json", .some = 9, .run = run_h2_json},
    {"h2_stream", .some = 9, .run = run_h2_stream},
    {"admin", .some = 9, .run = run_admin},
    {"node", WORLD_NODE, .some = 9, .coarse = 1, .run = NULL},
    {"start", .some = 9, .run = NULL},
    {"start_all", WORLD_KEYS | WORLD_TLS | WORLD_ENGINE_TLS | WORLD_MUTUAL | WORLD_LANES,
     .some = 97, .coarse = 13, .run = NULL},
    {"hedge_won", WORLD_HEDGES, .some = 9, .prepare = prepare_hedges, .run = run_hedge_won,
     .after = after_hedges},
    {"hedge_lost", WORLD_HEDGES, .some = 9, .prepare = prepare_hedges, .run = run_hedge_lost,
     .after = after_hedges},
    {"lanes", WORLD_LANES, .some = 9, .run = run_lanes},
    {"tls", WORLD_TLS, .some = 97, .coarse = 3, .run = run_apart},
    {"tls_mutual", WORLD_TLS | WORLD_MUTUAL, .some = 397, .coarse = 7, .run = run_apart},
    {"tls_first", WORLD_TLS | WORLD_ENGINE_TLS | WORLD_MUTUAL, .some = 397, .coarse = 29,
     .fresh = true, .run = run_engine_tls},
    {"tls_long", WORLD_TLS, .some = 97, .coarse = 3, .run = run_long},
    {"tls_h2", WORLD_TLS, .some = 97, .coarse = 3, .run = run_h2_stream},
    {"engine_tls", WORLD_ENGINE_TLS | WORLD_NO_TICKETS, .some = 397, .coarse = 13,
     .run = run_engine_tls},
    {"engine_tls_back", WORLD_ENGINE_TLS | WORLD_MUTUAL, .some = 397, .coarse = 13,
     .run = run_engine_tls},
    {"reload", WORLD_KEYS | WORLD_SIGNALS, .some = 97, .run = run_reload, .after = after_reload},
    {"reload_tls", WORLD_TLS | WORLD_ENGINE_TLS | WORLD_SIGNALS, .some = 397, .coarse = 13,
     .run = run_reload, .after = after_reload},
    {"handover", WORLD_LANES | WORLD_SIGNALS, .some = 9, .run = run_handover,
     .after = after_handover},
    {"takeover", WORLD_LANES | WORLD_SIGNALS | WORLD_ANOTHER, .some = 97, .coarse = 5,
     .run = run_handover, .after = after_handover},
};

#define SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

/* ---- Runs. */

static char present[200]; /* the run that goes on now, for who dies in it */

static void
on_end(int signal_number)
{
    if (write(STDERR_FILENO, present, strlen(present)) < 0 || signal_number == SIGALRM)
        _exit(1);
}

static const char *
ask_once_more(void)
{
    struct client c = CLIENT_NEW;
    struct tally after = {0};
    const char *wrong;

    /* another process that could not ask an engine, or make a note of it, does so again */
    if ((world.flags & WORLD_ANOTHER) && !world_is_ready())
        return "what failed is not tried again";
    wrong = chat(&c, E2E_CHAT, false, &after);
    client_leave(&c);
    if (wrong == NULL && after.count[WHOLE] != 1)
        wrong = "the question after it is not answered";
    return wrong;
}

/* One run; NULL, or what is wrong. *ret_struck: there was an n-th point. */
static const char *
run(const struct scenario *s, enum fault kind, uint64_t n, struct tally *tally, bool *ret_struck)
{
    const char *wrong, *end;

    snprintf(present, sizeof(present), "repeat: fault_test --one %s %s %llu\n", s->name,
             fault_name(kind), (unsigned long long)n);
    alarm(RUN_S_MAX);
    if (s->flags & WORLD_NODE)
        return node_strikes(kind, n, tally, ret_struck);
    if (s->run == NULL) {
        *ret_struck = start_strikes(kind, n, s->flags, tally);
        return NULL;
    }
    world_open(s->script, s->flags);
    if (s->prepare != NULL)
        s->prepare();
    fault_arm(kind, n);
    wrong = s->run(tally);
    *ret_struck = fault_disarm() >= n;
    e2e_engine_script(world.engines[0], e2e_good);
    if (wrong == NULL)
        wrong = ask_once_more();
    if (wrong == NULL && s->after != NULL)
        wrong = s->after();
    if (wrong == NULL && !world_is_at_rest())
        wrong = "something is in flight for ever";
    end = world_close();
    return wrong != NULL ? wrong : end;
}

/* The same in a process of its own, which ends with 0, or with 3 when there was no n-th point. */
static const char *
run_fresh(const struct scenario *s, enum fault kind, uint64_t n, struct tally *tally,
          bool *ret_struck)
{
    pid_t pid;
    int status;

    fflush(stdout);
    alarm(0); /* of the last run in this process; each child has its own */
    pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        bool struck;
        const char *wrong = run(s, kind, n, tally, &struck);
        if (wrong != NULL)
            printf("# %s\n", wrong);
        exit(wrong != NULL ? 1 : struck ? 0 : 3); /* leaks are looked for here */
    }
    snprintf(present, sizeof(present), "repeat: fault_test --one %s %s %llu\n", s->name,
             fault_name(kind), (unsigned long long)n);
    must(waitpid(pid, &status, 0) == pid);
    *ret_struck = !WIFEXITED(status) || WEXITSTATUS(status) != 3;
    tally->count[WHOLE]++;
    return WIFEXITED(status) && (WEXITSTATUS(status) == 0 || !*ret_struck) ? NULL
                                                                           : "its process failed";
}

/* All n of a kind, every stride-th at least. */
static void
run_kind(const struct scenario *s, enum fault kind, uint64_t stride)
{
    struct tally tally = {0};
    unsigned failures = 0;
    bool struck = true;
    uint64_t n = 1;
    char label[100];

    for (; struck && n <= POINTS_MAX; n += stride) {
        const char *wrong = (s->fresh ? run_fresh : run)(s, kind, n, &tally, &struck);
        if (wrong != NULL && failures++ < FAILURES_SHOWN)
            printf("# %s, after %s; %s", wrong, fault_where(), present);
    }
    snprintf(label, sizeof(label), "%s, %s: %llu points, %u whole, %u errors, %u events, %u cut",
             s->name, fault_name(kind), (unsigned long long)(n - 1 - (struck ? 0 : stride)),
             tally.count[WHOLE], tally.count[ERROR_STATUS], tally.count[ERROR_EVENT],
             tally.count[CUT]);
    CHECK(failures == 0 && !struck, label);
    fflush(stdout);
}

static int
run_one(const char *kind, uint64_t n, const struct scenario *s)
{
    for (int k = 0; k < FAULT_COUNT; k++) {
        struct tally tally = {0};
        const char *wrong;
        bool struck;
        if (strcmp(fault_name(k), kind) != 0)
            continue;
        wrong = run(s, (enum fault)k, n, &tally, &struck);
        printf("# %s, of %llu points\n", fault_where(), (unsigned long long)fault_disarm());
        CHECK(wrong == NULL, wrong != NULL ? wrong : "as it should be");
        CHECK(struck, "there is such a point");
    }
    return tap_done();
}

static const struct scenario *
find(const char *name)
{
    for (size_t i = 0; i < SCENARIOS; i++) {
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    }
    fprintf(stderr, "fault_test: there is no scenario %s; see --list\n", name);
    exit(2);
}

static uint64_t
stride(const struct scenario *s, enum fault kind, bool some)
{
    bool memory = kind == FAULT_MEMORY || kind == FAULT_FAMINE || kind == FAULT_DISK;
    unsigned coarse = s->coarse > 0 && memory ? s->coarse : 1;

    if (some)
        return memory ? s->some : SOME;
    return coarse;
}

int
main(int argc, char **argv)
{
    bool some = argc > 2 && strcmp(argv[1], "--some") == 0;

    log_set_level(LOG_ERROR);
    if (argc == 4 && strcmp(argv[1], "--take-over") == 0)
        return world_take_over(argv[2], argv[3]);
    for (size_t i = 0; i < SCENARIOS && argc == 2 && strcmp(argv[1], "--list") == 0; i++)
        puts(scenarios[i].name);
    if (argc == 2 && strcmp(argv[1], "--list") == 0)
        return 0;
    must(signal(SIGABRT, on_end) != SIG_ERR && signal(SIGALRM, on_end) != SIG_ERR);
    fault_take_disk();
    world_init();
    if (argc == 5 && strcmp(argv[1], "--one") == 0)
        return run_one(argv[3], strtoull(argv[4], NULL, 10), find(argv[2]));
    for (int i = some ? 2 : 1; i < argc; i++) {
        const struct scenario *s = find(argv[i]);
        for (int kind = 0; kind < FAULT_COUNT; kind++)
            run_kind(s, (enum fault)kind, stride(s, (enum fault)kind, some));
    }
    return tap_done();
}
