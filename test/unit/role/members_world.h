#ifndef TEST_MEMBERS_WORLD_H
#define TEST_MEMBERS_WORLD_H
/* members_world - a gateway whose time is the test's, on the test's thread, and nodes that say what
 * the test wants: for the tests of members. */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "bus_node.h"
#include "io/bus_nats.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/gateway.h"
#include "role/gateway/members_state.h"
#include "role/gateway/reload.h"
#include "scratch.h"
#include "tap.h"

#define SECOND_NS     UINT64_C(1000000000)
#define WAIT_MS       60000               /* a guard: for other threads */
#define POLL_PAUSE_NS (UINT64_C(1) << 60) /* nobody is asked: answers are the test's */
#define PORT          1u                  /* nobody is there */

/* ---- Time, instead of io/clock's. */

static _Atomic uint64_t now_ns = 1000 * SECOND_NS;

uint64_t
clock_now_ns(void)
{
    return atomic_load(&now_ns);
}

uint64_t
clock_wall_ms(void)
{
    return UINT64_C(1700000000000) + clock_now_ns() / 1000000u;
}

uint64_t
clock_wall_s(void)
{
    return clock_wall_ms() / 1000u;
}

uint64_t
clock_thread_cpu_ns(void)
{
    return 0;
}

/* ---- A gateway, on this thread. */

static struct gateway *gateway;
static char config_path[SCRATCH_PATH_BYTES + 32];
static struct signature_secret operator_secret;
static char operator_key[SIGNATURE_KEY_TEXT_SIZE];

__attribute__((unused)) static struct members *
members(void)
{
    return gateway->members;
}

/* So much time, in steps in which the gateway does what is due. */
__attribute__((unused)) static void
pass(uint64_t ns)
{
    const uint64_t step_ns = ns < 50 * SECOND_NS ? 20000000u : 5 * SECOND_NS;

    for (uint64_t gone_ns = 0; gone_ns < ns; gone_ns += step_ns) {
        atomic_fetch_add(&now_ns, step_ns);
        loop_pass(gateway->lanes[0].loop, 0);
        loop_pass(gateway->lanes[0].loop, 0);
    }
}

/* What joined or left is in the fleet. */
__attribute__((unused)) static void
gather(void)
{
    members()->gather_ns = 0;
    pass(200000000u);
}

__attribute__((unused)) static void write_config(const char *format, ...) PRINTF_LIKE(1, 2);
__attribute__((unused)) static void
write_config(const char *format, ...)
{
    FILE *file = fopen(config_path, "we");
    va_list list;

    must(file != NULL);
    fputs("listen: {public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n", file);
    va_start(list, format);
    vfprintf(file, format, list);
    va_end(list);
    must(fclose(file) == 0);
}

/* The configuration was written anew. */
__attribute__((unused)) static void
reload(void)
{
    uint64_t before = atomic_load(&gateway->reloads);

    reload_start(gateway->reload, NULL);
    for (int ms = 0; ms < WAIT_MS && atomic_load(&gateway->reloads) == before; ms++) {
        pass(1);
        usleep(1000);
    }
    CHECK(atomic_load(&gateway->reloads) == before + 1, "the configuration is read again");
    gather();
}

__attribute__((unused)) static uint32_t
say(enum members_kind kind, const struct bus_node *n, const char *text, size_t bytes)
{
    struct members_answer answer;
    const struct members_message message = {
        .kind = kind, .name = span_of(n->name), .body = {text, bytes}};

    members_take(members(), &message, &answer);
    return answer.verdict;
}

__attribute__((unused)) static uint32_t
hello(struct bus_node *n)
{
    char text[MESSAGE_BYTES_MAX];

    return say(MEMBERS_HELLO, n, text, bus_node_hello_text(n, text));
}

__attribute__((unused)) static uint32_t
report(struct bus_node *n, bool full)
{
    char text[MESSAGE_BYTES_MAX];

    return say(MEMBERS_REPORT, n, text, bus_node_report_text(n, full, text));
}

__attribute__((unused)) static void
join(struct bus_node *n)
{
    CHECK(hello(n) == REPORT_NEWS, "a hello");
    CHECK(report_verdict_is_taken(report(n, true)), "a full report");
    gather();
}

__attribute__((unused)) static void
leave(struct bus_node *n)
{
    members_lock(members());
    members_end(members(), member_find(&members()->table, span_of(n->name)), REPORT_IS_GONE,
                "test");
    members_unlock(members());
    gather();
}

/* ---- Looking at it. */

/* How many models the node has; -1: it is no node. */
__attribute__((unused)) static int
models_of(const struct bus_node *n)
{
    struct fleet *fleet = decide_fleet(gateway->door);
    const struct roster_node *node = roster_find(fleet->roster, span_of(n->name));
    int count = node != NULL ? (int)fleet_served(fleet, node->index)->count : -1;

    fleet_unref(fleet);
    return count;
}

__attribute__((unused)) static bool
serves(const struct bus_node *n, const char *model)
{
    struct fleet *fleet = decide_fleet(gateway->door);
    const struct roster_node *node = roster_find(fleet->roster, span_of(n->name));
    bool is_there =
        node != NULL &&
        fleet_engine_name(fleet, node->index, fleet_model_find(fleet, span_of(model))).bytes > 0;

    fleet_unref(fleet);
    return is_there;
}

__attribute__((unused)) static struct member_look
look(const struct bus_node *n)
{
    struct member_look l;

    members_look(members(), span_of(n->name), &l);
    return l;
}

/* Was it refused for this reason last, in these words? */
__attribute__((unused)) static bool
was_refused(const struct bus_node *n, uint32_t verdict, const char *words)
{
    struct members_refused list[MEMBERS_REFUSED_MAX];
    uint32_t count = members_refused(members(), list);

    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(list[i].name, n->name) == 0)
            return list[i].verdict == verdict && strstr(list[i].words, words) != NULL;
    }
    return false;
}

__attribute__((unused)) static struct bus_node
new_node(unsigned number)
{
    struct bus_node n;

    bus_node_init(&n, NULL, number, PORT);
    n.model = "m";
    return n;
}

/* ---- Full reports in pages. */

__attribute__((unused)) static uint32_t
page(struct bus_node *n, unsigned place, unsigned pages, const char *model)
{
    char text[MESSAGE_BYTES_MAX];
    struct report r;
    size_t bytes;

    report_init(&r);
    r.node = span_of(n->name);
    r.epoch = n->epoch;
    r.seq = ++n->seq;
    r.at_us = n->seq;
    r.full = pages > 0;
    if (pages > 0) {
        r.page = place;
        r.pages = pages;
    }
    r.models[0].id = span_of(model);
    r.models[0].state = MODEL_READY;
    r.models[0].ready_in_ms = 0.0;
    r.models[0].bytes = MESSAGE_UNKNOWN;
    r.model_count = 1;
    must(report_write(&r, text, &bytes) == ERR_OK);
    return say(MEMBERS_REPORT, n, text, bytes);
}

/* Its first configuration has no operators, and no nodes. */
static void
open_gateway(void)
{
    static const unsigned char seed[SIGNATURE_SEED_BYTES] = {7};
    struct gateway_options o = {.rule = -1, .seed = 1, .poll_ns = POLL_PAUSE_NS};
    struct signature_key public;
    char folder[SCRATCH_PATH_BYTES];

    log_set_level(LOG_ERROR);
    signature_secret_of_seed(seed, &operator_secret);
    signature_key_of_secret(&operator_secret, &public);
    signature_key_text(&public, operator_key);
    scratch_make("members", folder);
    snprintf(config_path, sizeof(config_path), "%s/gateway.yaml", folder);
    write_config("models: {other: {}}\n");
    o.config_path = config_path;
    must(roster_load(config_path, 0, NULL, &o.roster) == ERR_OK);
    must(gateway_open(&o, &gateway) == ERR_OK);
}
#endif
