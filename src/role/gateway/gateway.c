/* gateway - setting up, signals, draining, taking down; see gateway.h.
 * Life: open -> run -> (draining -> stopping) -> close. Signals, reloads and the drain belong to
 * the first lane, which runs on the caller's thread. */
#include "role/gateway/gateway.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "io/log_file.h"
#include "io/signals.h"
#include "role/gateway/admin.h"
#include "role/gateway/discover.h"
#include "role/gateway/feed.h"
#include "role/gateway/handover.h"
#include "role/gateway/inbox.h"
#include "role/gateway/lane.h"
#include "role/gateway/members.h"
#include "role/gateway/peers.h"
#include "role/gateway/poll.h"
#include "role/gateway/reload.h"
#include "role/gateway/steer.h"
#include "role/gateway/usage.h"
#include "role/gateway/watchdog.h"
#include "role/process_log.h"

#define NODES_SPARE           1024u /* room for engines that a reload brings */
#define PLACEMENTS_A_NODE     4u    /* on average */
#define REQUESTS_MAX          65536u
#define PREFIX_NODES_SPARE    32u
#define PREFIX_ENTRIES_A_NODE 2048u
#define PREFIX_ENTRIES_MAX    4194304u /* 64 MB */
#define DISPATCHES_A_MS       1000u    /* and more than anybody sends to one node */
#define TICK_NS               100000000u
#define TICK_HELD_NS          10000000u /* while requests are held: time lets them go too */
#define DRAIN_LOOK_NS         100000000u
#define STOP_GRACE_NS         1000000000u

/* What only the first lane's thread uses. */
struct control {
    struct gateway gateway; /* first */
    struct signals signals;
    struct loop_timer tick_timer, drain_timer;
    struct loop_post stop_post[2], reload_post;
    _Atomic uint32_t stop_calls;
    uint64_t drain_until_ns;
    bool stop_asked, stopping;
};

static struct control *
control_of(struct gateway *gateway)
{
    return CONTAINER_OF(gateway, struct control, gateway);
}

/* ---- Stopping. */

static void
stop_now(struct control *c)
{
    if (c->stopping)
        return;
    c->stopping = true;
    loop_timer_stop(&c->drain_timer);
    for (uint32_t i = 0; i < c->gateway.lane_count; i++)
        lane_stop(&c->gateway.lanes[i]);
}

static uint64_t
in_flight(const struct gateway *g)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < g->lane_count; i++)
        total += metrics_get(&g->lanes[i].metrics.in_flight);
    return total;
}

static void
on_drain_timer(struct loop_timer *timer)
{
    struct control *c = CONTAINER_OF(timer, struct control, drain_timer);
    struct loop *loop = c->gateway.lanes[0].loop;
    uint64_t left = 0;

    for (uint32_t i = 0; i < c->gateway.lane_count; i++)
        left += atomic_load_explicit(&c->gateway.lanes[i].left, memory_order_relaxed);
    if (left > 0 && loop_now_ns(loop) < c->drain_until_ns) {
        loop_timer_set(loop, timer, loop_now_ns(loop) + DRAIN_LOOK_NS, on_drain_timer);
        return;
    }
    if (left > 0)
        log_warn("stopping with %llu requests in flight: limits.drain is over",
                 (unsigned long long)in_flight(&c->gateway));
    stop_now(c);
}

/* Take nothing new and end when all is done, at the latest after limits.drain. A client that was
 * told that its connection is kept may have its next request on the way: it is waited for, for a
 * moment; and as long as there is time when another process is there for everybody else. */
static void
drain(struct control *c, bool handed_over)
{
    struct gateway *g = &c->gateway;
    struct loop *loop = g->lanes[0].loop;
    uint64_t drain_ns = lane_fleet(&g->lanes[0])->roster->config.drain_ns;
    uint64_t grace_ns = handed_over || drain_ns < STOP_GRACE_NS ? drain_ns : STOP_GRACE_NS;

    if (atomic_exchange(&g->draining, true))
        return;
    c->drain_until_ns = loop_now_ns(loop) + drain_ns;
    log_info("draining: %llu requests in flight", (unsigned long long)in_flight(g));
    for (uint32_t i = 0; i < g->lane_count; i++)
        lane_drain(&g->lanes[i], grace_ns, handed_over);
    loop_timer_set(loop, &c->drain_timer, loop_now_ns(loop) + 1, on_drain_timer);
}

static void
on_handed_over(struct gateway *gateway)
{
    drain(control_of(gateway), true);
}

/* The first call drains, the second one stops. */
static void
stop(struct control *c)
{
    struct gateway *g = &c->gateway;

    if (c->stop_asked) {
        stop_now(c);
        return;
    }
    c->stop_asked = true;
    handover_cancel(g->handover);
    if (!atomic_load(&g->draining)) /* else another process is the service now */
        notify_send(&g->notify, "STOPPING=1\nSTATUS=Finishing %llu requests.",
                    (unsigned long long)in_flight(g));
    drain(c, false);
}

static void
on_stop_first(struct loop_post *post)
{
    stop(CONTAINER_OF(post, struct control, stop_post[0]));
}

static void
on_stop_second(struct loop_post *post)
{
    stop(CONTAINER_OF(post, struct control, stop_post[1]));
}

void
gateway_stop(struct gateway *gateway)
{
    struct control *c = control_of(gateway);
    uint32_t calls = atomic_fetch_add(&c->stop_calls, 1);

    if (calls < 2)
        loop_post(gateway->lanes[0].loop, &c->stop_post[calls],
                  calls == 0 ? on_stop_first : on_stop_second);
}

/* ---- Reload and signals. */

static void
reload(struct control *c)
{
    if (c->gateway.reload == NULL)
        log_warn("there is no configuration file to read again");
    else
        reload_start(c->gateway.reload, NULL);
}

static void
on_reload(struct loop_post *post)
{
    reload(CONTAINER_OF(post, struct control, reload_post));
}

void
gateway_reload(struct gateway *gateway)
{
    loop_post(gateway->lanes[0].loop, &control_of(gateway)->reload_post, on_reload);
}

static void
reopen_logs(struct gateway *g)
{
    log_file_reopen(g->access_log, NULL);
    if (g->log != NULL)
        log_file_reopen(g->log, NULL);
}

static void
on_signal(int number, void *user)
{
    struct control *c = user;

    if (number == SIGHUP)
        reload(c);
    else if (number == SIGUSR1)
        reopen_logs(&c->gateway);
    else if (number == SIGUSR2)
        handover_begin(c->gateway.handover);
    else
        stop(c);
}

static void
on_tick(struct loop_timer *timer)
{
    struct control *c = CONTAINER_OF(timer, struct control, tick_timer);
    const struct event event = {.kind = EVENT_TICK};
    struct loop *loop = c->gateway.lanes[0].loop;
    struct actions actions;
    uint64_t now_ns = decide_step(c->gateway.door, &event, &actions), held = 0;

    inbox_share(&c->gateway, now_ns, &actions, 0);
    tls_tickets_turn(&c->gateway.tickets, now_ns);
    for (uint32_t i = 0; i < c->gateway.lane_count; i++)
        held += metrics_get(&c->gateway.lanes[i].metrics.held);
    loop_timer_set(loop, timer, loop_now_ns(loop) + (held > 0 ? TICK_HELD_NS : TICK_NS), on_tick);
}

/* ---- Setting up. */

/* Of the configuration's nodes. */
static uint32_t
engines_max(const struct roster *roster)
{
    uint32_t wanted = 2 * roster->node_bound + NODES_SPARE;
    uint32_t most = CORE_NODES_MAX - members_room(&roster->config);

    return wanted < most ? wanted : most;
}

/* A node's cache of 400,000 tokens is some 1,600 borders; a gateway uses a part of each. */
static uint32_t
prefix_entries(const struct roster *roster)
{
    uint64_t wanted = (uint64_t)(roster->node_bound + PREFIX_NODES_SPARE) * PREFIX_ENTRIES_A_NODE;

    return wanted < PREFIX_ENTRIES_MAX ? (uint32_t)wanted : PREFIX_ENTRIES_MAX;
}

static struct core_config
core_config(const struct gateway_options *o, uint32_t nodes)
{
    struct core_config c = {
        .seed = o->seed,
        .nodes_max = nodes,
        .models_max = CORE_MODELS_USUAL,
        .regions_max = CORE_REGIONS_MAX,
        .classes_max = CORE_CLASSES_MAX,
        .placements_max = nodes * PLACEMENTS_A_NODE,
        .requests_max = REQUESTS_MAX,
        .own_region = o->roster->own_region,
        .rule = (uint32_t)o->roster->config.rule,
        .prefix_entries_max = prefix_entries(o->roster),
        .holds_max = o->roster->config.holds_max,
    };

    if (c.seed == 0 && getrandom(&c.seed, sizeof(c.seed), 0) != (ssize_t)sizeof(c.seed))
        c.seed = clock_now_ns();
    return c;
}

static enum err
record_open(struct gateway *g, const char *path, const struct core_config *config,
            const struct roster *roster)
{
    const struct record_head head = {
        .config = *config,
        .build = SPAN_LIT("isochrone " ISOCHRONE_VERSION ", " __VERSION__),
        .config_text = roster->config_text,
    };

    return recorder_open(path, &head, &g->recorder);
}

/* The core, told what there is. Takes the roster's reference. */
static enum err
door_open(struct gateway *g, const struct gateway_options *o)
{
    struct core_config config = core_config(o, g->nodes_max);
    struct roster *roster = o->roster;
    struct fleet *fleet;
    enum err err = ERR_OK;

    if (o->record_path != NULL)
        err = record_open(g, o->record_path, &config, roster);
    if (err == ERR_OK)
        err = decide_open(&config, g->recorder, o->measure_hold, &g->door);
    if (err != ERR_OK) {
        roster_unref(roster);
        return err;
    }
    err = fleet_open(roster, NULL, &fleet);
    if (err == ERR_OK)
        feed_publish(g->door, g->recorder, NULL, fleet);
    return err;
}

static enum err
public_open(struct gateway *g, const struct config *config)
{
    struct roster_address address;
    bool given = handover_has_public(g->handover);
    enum err err = given ? ERR_OK : roster_listen_address(config->public_listen, &address);

    for (uint32_t i = 0; i < g->lane_count && err == ERR_OK; i++) {
        err = lane_open(g, i, given ? NULL : &address);
        if (err == ERR_OK && !given && i == 0 && g->lane_count > 1) {
            /* port 0: the others listen where the first one got */
            struct sockaddr_storage bound;
            http_server_address(g->lanes[0].public_server, &bound);
            memcpy(&address.v6, &bound, address.bytes);
        }
    }
    return err;
}

static enum err
lanes_open(struct gateway *g)
{
    const struct config *config = &lane_fleet(&g->lanes[0])->roster->config;
    struct roster_address address;
    bool given = handover_has_admin(g->handover);
    enum err err = public_open(g, config);

    if (err == ERR_OK && !g->admin_on_public && config->admin_listen.bytes > 0) {
        if (!given)
            err = roster_listen_address(config->admin_listen, &address);
        if (err == ERR_OK)
            err = lane_listen(&g->lanes[0], given ? NULL : &address, false, &lane_admin_fn,
                              &g->lanes[0].admin_server);
    }
    return err;
}

static enum err
usage_begin(struct gateway *g, const struct gateway_options *o)
{
    struct span configured = lane_fleet(&g->lanes[0])->roster->state_dir;
    const char *path = configured.bytes > 0 ? configured.data : o->state_path;

    return path != NULL ? usage_open(g, path, &g->usage) : ERR_OK;
}

static enum err
access_log_open(struct gateway *g, const char *path)
{
    const struct log_file_options o = {
        .name = "access log", .path = path, .ring_count = g->lane_count};

    return log_file_open(&o, &g->access_log);
}

static void
name_gateway(struct gateway *g, const struct config *config)
{
    if (config->name.bytes > 0)
        span_copy(config->name, g->name, sizeof(g->name));
    else
        snprintf(g->name, sizeof(g->name), "gateway-%08x", (unsigned)g->own_secret.k0);
}

/* Nodes and gateways that are heard. */
static enum err
others_open(struct gateway *g)
{
    enum err err = steer_open(g, &g->steer); /* members tell it what came of it */

    if (err == ERR_OK)
        err = members_open(g, &g->members);
    if (err == ERR_OK)
        err = peers_open(g, &g->peers);
    if (err == ERR_OK)
        steer_begin(g->steer);
    return err;
}

/* What no other process has. */
static enum err
draw(struct gateway *g)
{
    if (getrandom(&g->own_secret, sizeof(g->own_secret), 0) != (ssize_t)sizeof(g->own_secret) ||
        getrandom(&g->via_mark, sizeof(g->via_mark), 0) != (ssize_t)sizeof(g->via_mark))
        return ERR_IO;
    return ERR_OK;
}

static enum err
setup(struct control *c, const struct gateway_options *o)
{
    static const int signals[] = {SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGUSR2, 0};
    struct gateway *g = &c->gateway;
    enum err err;

    if (notify_open(&g->notify, o->notify_path) != ERR_OK)
        log_warn("no service manager will hear of this gateway");
    g->members_first = engines_max(o->roster);
    g->nodes_max = g->members_first + members_room(&o->roster->config);
    g->holds_max = o->roster->config.holds_max;
    g->lane_count = o->roster->config.threads < 1 ? 1 : o->roster->config.threads;
    if (g->lane_count > LANES_MAX)
        g->lane_count = LANES_MAX;
    g->keep_alive_ns = o->keep_alive_ns != 0 ? o->keep_alive_ns : KEEP_ALIVE_NS;
    g->poll_ns = o->poll_ns != 0 ? o->poll_ns : POLL_NS;
    g->started_wall_s = clock_wall_s();
    g->dispatch_base = clock_wall_ms() * DISPATCHES_A_MS;
    err = o->own_log ? process_log_open(o->roster, &g->log) : ERR_OK;
    if (err == ERR_OK)
        err = tls_tickets_init(&g->tickets, clock_now_ns());
    g->admin_on_public = o->admin_on_public;
    g->rule_override = o->rule;
    if (o->rule >= 0)
        o->roster->config.rule = (enum rule_id)o->rule;
    g->lanes = calloc(g->lane_count, sizeof(*g->lanes));
    g->node_uses = calloc(g->nodes_max, sizeof(*g->node_uses));
    g->node_kinds = calloc(g->nodes_max, sizeof(*g->node_kinds));
    g->node_heard_ms = calloc(g->nodes_max, sizeof(*g->node_heard_ms));
    g->node_failures = calloc(g->nodes_max, sizeof(*g->node_failures));
    if (err == ERR_OK)
        err = draw(g);
    name_gateway(g, &o->roster->config);
    if (err == ERR_OK)
        err = door_open(g, o); /* takes the roster over */
    else
        roster_unref(o->roster);
    if (err == ERR_OK)
        err = http_addresses_open(g->own_secret, &g->addresses);
    if (err == ERR_OK && (g->lanes == NULL || g->node_uses == NULL || g->node_kinds == NULL ||
                          g->node_heard_ms == NULL || g->node_failures == NULL))
        err = ERR_MEMORY;
    for (uint32_t i = 0; i < g->lane_count && g->lanes != NULL; i++)
        g->lanes[i].gateway = g;
    if (err == ERR_OK)
        err = handover_open(g, o->inherited, o->argv, on_handed_over, &g->handover);
    if (err == ERR_OK)
        err = lanes_open(g);
    if (err == ERR_OK)
        err = discover_open(g, &g->discover);
    if (err == ERR_OK && o->signals) /* before the worker's thread: it inherits the mask */
        err = signals_open(&c->signals, g->lanes[0].loop, signals, on_signal, c);
    if (err == ERR_OK)
        err = worker_open(&g->worker);
    if (err == ERR_OK)
        err = usage_begin(g, o);
    if (err == ERR_OK)
        err = others_open(g);
    if (err == ERR_OK && o->config_path != NULL)
        err = reload_open(g, o->config_path, &g->reload);
    if (err == ERR_OK && o->watchdog_ns > 0)
        err = watchdog_open(g, o->watchdog_ns, &g->watchdog);
    if (err == ERR_OK)
        err = access_log_open(g, o->roster->access_log);
    if (err == ERR_OK)
        err = handover_accept(g->handover);
    return err;
}

enum err
gateway_open(const struct gateway_options *options, struct gateway **ret_gateway)
{
    struct control *c = calloc(1, sizeof(*c));
    enum err err;

    admin_init();
    if (c == NULL) {
        roster_unref(options->roster);
        return ERR_MEMORY;
    }
    err = setup(c, options);
    if (err != ERR_OK) {
        log_error("the gateway does not start: %s", err_name(err));
        gateway_close(&c->gateway);
        return err;
    }
    *ret_gateway = &c->gateway;
    return ERR_OK;
}

static void *
lane_thread(void *argument)
{
    lane_run(argument);
    return NULL;
}

void
gateway_run(struct gateway *g)
{
    struct control *c = control_of(g);

    loop_timer_set(g->lanes[0].loop, &c->tick_timer, clock_now_ns() + TICK_NS, on_tick);
    for (uint32_t i = 1; i < g->lane_count; i++) {
        g->lanes[i].running = pthread_create(&g->lanes[i].thread, NULL, lane_thread,
                                             &g->lanes[i]) == 0;
        if (!g->lanes[i].running) { /* its listener would take connections and leave them */
            log_error("no thread for lane %u: stopping", i);
            gateway_stop(g);
            gateway_stop(g);
        }
    }
    notify_send(&g->notify, "READY=1\nSTATUS=Serving.");
    process_log_serving(g->log);
    lane_run(&g->lanes[0]);
    for (uint32_t i = 1; i < g->lane_count; i++) {
        if (g->lanes[i].running)
            pthread_join(g->lanes[i].thread, NULL);
        g->lanes[i].running = false;
    }
}

/* What lanes, the worker and the bus posted when their threads ended, after all that asks is
 * closed. A pass looks at so many descriptors, and its timers may post again; so afterwards posts
 * alone are taken, until there are none. It ends: an answer asks nothing. From here on nobody
 * posts, and who was posted may be freed. */
static void
take_last_posts(struct gateway *g)
{
    bool is_some;

    for (uint32_t i = 0; i < g->lane_count; i++)
        lane_hush(&g->lanes[i]);
    for (uint32_t i = 0; i < 2 * g->lane_count; i++) {
        struct loop *loop = g->lanes[i % g->lane_count].loop;
        if (loop != NULL)
            loop_pass(loop, 0);
    }
    do {
        is_some = false;
        for (uint32_t i = 0; i < g->lane_count; i++) {
            if (g->lanes[i].loop != NULL && loop_take_posts(g->lanes[i].loop))
                is_some = true;
        }
    } while (is_some);
}

void
gateway_close(struct gateway *g)
{
    struct control *c;

    if (g == NULL)
        return;
    c = control_of(g);
    worker_close(g->worker);
    g->worker = NULL;
    usage_stop(g->usage);
    peers_stop(g->peers);
    members_stop(g->members);
    loop_timer_stop(&c->tick_timer);
    loop_timer_stop(&c->drain_timer);
    signals_close(&c->signals);
    if (g->lanes != NULL)
        take_last_posts(g);
    reload_close(g->reload);
    watchdog_close(g->watchdog);
    handover_close(g->handover);
    discover_close(g->discover);
    members_close(g->members);
    peers_close(g->peers);
    steer_close(g->steer);
    for (uint32_t i = 0; i < g->lane_count && g->lanes != NULL; i++)
        lane_close(&g->lanes[i]);
    usage_close(g->usage);
    log_file_close(g->access_log);
    decide_close(g->door);
    recorder_close(g->recorder);
    notify_close(&g->notify);
    http_addresses_close(g->addresses);
    free(g->lanes);
    free(g->node_uses);
    free(g->node_kinds);
    free(g->node_heard_ms);
    free(g->node_failures);
    process_log_close(g->log);
    explicit_bzero(&g->tickets, sizeof(g->tickets));
    free(c);
}

void
gateway_addresses(const struct gateway *g, struct sockaddr_storage *ret_public,
                  struct sockaddr_storage *ret_admin)
{
    http_server_address(g->lanes[0].public_server, ret_public);
    memset(ret_admin, 0, sizeof(*ret_admin));
    if (g->lanes[0].admin_server != NULL)
        http_server_address(g->lanes[0].admin_server, ret_admin);
}
