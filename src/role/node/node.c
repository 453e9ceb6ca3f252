/* node - setting up, signals, draining, taking down; see node.h.
 * Life: open -> run -> (draining -> gone -> stopping) -> close. While it drains it still answers
 * who asks: that it takes nothing new, and how much is left. */
#include "role/node/node.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/log.h"
#include "io/log_file.h"
#include "role/admin_json.h"
#include "role/node/node_control.h"
#include "role/node/node_order.h"
#include "role/process_log.h"

#define HEAD_NS        10000000000u
#define BODY_IDLE_NS   30000000000u
#define CLIENT_IDLE_NS 75000000000u /* between two requests of a gateway */
#define WRITE_IDLE_NS  60000000000u
#define DRAIN_LOOK_NS  20000000u
#define STOP_GRACE_NS  1000000000u /* for the last bytes to leave */

/* ---- The end. */

static void
finish(struct node *n)
{
    if (n->is_over)
        return;
    n->is_over = true;
    loop_timer_stop(&n->drain_timer);
    node_report_close(n);
    loop_stop(n->loop);
}

static void
on_drain_timer(struct loop_timer *timer)
{
    struct node *n = CONTAINER_OF(timer, struct node, drain_timer);
    uint64_t now_ns = loop_now_ns(n->loop);
    uint32_t left = n->running_count + n->waiting_count;

    if (left == 0 && n->drain_until_ns > now_ns + STOP_GRACE_NS)
        n->drain_until_ns = now_ns + STOP_GRACE_NS;
    if ((left == 0 && http_server_exchanges(n->public_server) == 0) ||
        now_ns >= n->drain_until_ns) {
        if (left > 0)
            log_warn("stopping with %u requests under way: limits.drain is over", left);
        finish(n);
        return;
    }
    loop_timer_set(n->loop, timer, now_ns + DRAIN_LOOK_NS, on_drain_timer);
}

void
node_set_state(struct node *n, enum node_state state)
{
    if (n->state == state)
        return;
    n->state = state;
    node_report_soon(n);
}

void
node_end(struct node *n)
{
    if (n->is_ending) {
        finish(n);
        return;
    }
    n->is_ending = true;
    log_info("draining: %u requests under way", n->running_count + n->waiting_count);
    notify_send(&n->notify, "STOPPING=1\nSTATUS=Finishing %u requests.",
                n->running_count + n->waiting_count);
    node_set_state(n, NODE_DRAIN);
    n->drain_until_ns = loop_now_ns(n->loop) + n->roster->config.drain_ns;
    loop_timer_set(n->loop, &n->drain_timer, loop_now_ns(n->loop) + DRAIN_LOOK_NS, on_drain_timer);
}

static void
on_stop_first(struct loop_post *post)
{
    node_end(CONTAINER_OF(post, struct node, stop_post[0]));
}

static void
on_stop_second(struct loop_post *post)
{
    node_end(CONTAINER_OF(post, struct node, stop_post[1]));
}

void
node_stop(struct node *n)
{
    uint32_t calls = atomic_fetch_add(&n->stop_calls, 1);

    if (calls < 2)
        loop_post(n->loop, &n->stop_post[calls], calls == 0 ? on_stop_first : on_stop_second);
}

static void
on_signal(int number, void *user)
{
    struct node *n = user;

    if (number == SIGHUP)
        node_reload(n);
    else if (number != SIGUSR1)
        node_end(n);
    else if (n->log != NULL)
        log_file_reopen(n->log, NULL);
}

/* ---- Listening. */

static struct tls_context *
give_tls(void *user)
{
    return ((const struct node *)user)->roster->tls.context;
}

static struct tls_context *
give_admin_tls(void *user)
{
    return ((const struct node *)user)->roster->admin_tls.context;
}

static enum err
listen_at(struct node *n, struct span listen, const struct http_server_fn *fn,
          http_server_tls_fn *tls, struct http_server **ret_server)
{
    const struct config *c = &n->roster->config;
    const size_t quarter = c->buffers_bytes_max / 4, body = c->body_bytes_max;
    const struct http_server_limits limits = {
        .body_bytes_max = c->body_bytes_max,
        .connections_max = NODE_CONNECTIONS_MAX,
        .head_ns = HEAD_NS,
        .body_idle_ns = BODY_IDLE_NS,
        .keep_alive_ns = CLIENT_IDLE_NS,
        .write_idle_ns = WRITE_IDLE_NS,
        .high_water_bytes = NODE_HIGH_WATER_BYTES,
        .low_water_bytes = NODE_LOW_WATER_BYTES,
        .buffers_bytes = &n->buffers_bytes,
        .buffers_bytes_max = c->buffers_bytes_max,
        .share_bytes_max = c->buffers_bytes_per_key_max != 0 ? c->buffers_bytes_per_key_max
                           : quarter > body                  ? quarter
                                                             : body,
        .upload_bytes_per_second_min = c->upload_bytes_per_second_min,
        .download_bytes_per_second_min = c->download_bytes_per_second_min,
        .pace_grace_ns = c->pace_grace_ns,
        .addresses = fn == &node_public_fn ? n->addresses : NULL,
        .connections_per_address_max = c->connections_per_address_max,
    };
    struct roster_address address;
    enum err err = roster_listen_address(listen, &address);

    if (err == ERR_OK)
        err = http_server_open(n->loop, &address.any, address.bytes, false, NULL, &limits, fn, n,
                               ret_server);
    if (err == ERR_OK)
        err = http_server_use_tls(*ret_server, tls, &n->tickets, NULL);
    return err;
}

static enum err
listeners_open(struct node *n)
{
    const struct config *c = &n->roster->config;
    struct hash_key secret;
    enum err err = tls_tickets_init(&n->tickets, clock_now_ns());

    if (err == ERR_OK && getrandom(&secret, sizeof(secret), 0) != (ssize_t)sizeof(secret))
        err = ERR_IO;
    if (err == ERR_OK)
        err = http_addresses_open(secret, &n->addresses);
    if (err == ERR_OK)
        err = listen_at(n, c->public_listen, &node_public_fn, give_tls, &n->public_server);
    if (err == ERR_OK)
        err = listen_at(n, c->admin_listen, &node_admin_fn, give_admin_tls, &n->admin_server);
    return err;
}

/* ---- Life. */

static enum err
setup(struct node *n, const struct node_options *o)
{
    static const int signals[] = {SIGHUP, SIGTERM, SIGINT, SIGUSR1, 0};
    enum err err = o->own_log ? process_log_open(n->roster, &n->log) : ERR_OK;

    if (notify_open(&n->notify, o->notify_path) != ERR_OK)
        log_warn("no service manager will hear of this node");
    if (err == ERR_OK)
        err = loop_open(&n->loop);
    if (err == ERR_OK && o->signals) /* before there are threads: they inherit the mask */
        err = signals_open(&n->signals, n->loop, signals, on_signal, n);
    if (err == ERR_OK && o->config_path != NULL)
        err = node_reload_open(n, o->config_path);
    if (err == ERR_OK)
        err = http_client_open(n->loop, &n->client);
    if (err == ERR_OK)
        err = node_self_open(n, o->state_path);
    if (err == ERR_OK)
        err = node_control_open(n);
    if (err == ERR_OK)
        err = node_orders_open(n);
    if (err == ERR_OK)
        err = node_engines_open(n);
    if (err == ERR_OK)
        err = listeners_open(n);
    if (err == ERR_OK)
        err = node_self_identity(n, n->roster, &n->identity);
    if (err == ERR_OK)
        err = node_bus_open(n);
    if (err == ERR_OK)
        err = node_post_open(n);
    if (err == ERR_OK)
        err = node_report_open(n);
    if (err == ERR_OK)
        node_self_tell_end(n);
    return err;
}

enum err
node_open(const struct node_options *o, struct node **ret_node)
{
    struct node *n = calloc(1, sizeof(*n));
    enum err err;

    admin_init();
    if (n == NULL) {
        roster_unref(o->roster);
        return ERR_MEMORY;
    }
    n->roster = o->roster;
    n->first = roster_ref(o->roster);
    n->config = o->roster->node;
    n->ask_ns = o->ask_ns != 0 ? o->ask_ns : NODE_ASK_NS;
    n->report_ns = o->report_ns != 0 ? o->report_ns : NODE_REPORT_NS;
    n->output_mean = NODE_OUTPUT_TOKENS_FIRST;
    n->seconds_mean = 1.0;
    rng_init(&n->rng, clock_now_ns());
    TAILQ_INIT(&n->running);
    TAILQ_INIT(&n->waiting);
    TAILQ_INIT(&n->coming);
    TAILQ_INIT(&n->engines);
    TAILQ_INIT(&n->leaving);
    err = setup(n, o);
    if (err != ERR_OK) {
        log_error("the node does not start: %s", err_name(err));
        n->is_announced = false; /* nobody has heard of it */
        node_close(n);
        return err;
    }
    *ret_node = n;
    return ERR_OK;
}

void
node_run(struct node *n)
{
    log_info("node %.*s: epoch %llu", (int)n->name.bytes, n->name.data,
             (unsigned long long)n->epoch);
    notify_send(&n->notify, "READY=1\nSTATUS=Serving.");
    process_log_serving(n->log);
    loop_run(n->loop);
}

void
node_close(struct node *n)
{
    if (n == NULL)
        return;
    if (n->loop != NULL) {
        node_reload_close(n);
        node_report_close(n);
        node_bus_close(n);
        node_post_close(n);
        http_server_close(n->public_server);
        http_server_close(n->admin_server);
        node_orders_close(n);
        node_control_close(n);
        node_engines_close(n);
        http_client_close(n->client);
        loop_undefer(&n->admit);
        loop_timer_stop(&n->drain_timer);
    }
    signals_close(&n->signals);
    loop_close(n->loop);
    http_addresses_close(n->addresses);
    node_self_close(n);
    explicit_bzero(&n->tickets, sizeof(n->tickets));
    notify_close(&n->notify);
    process_log_close(n->log);
    roster_unref(n->roster);
    roster_unref(n->first);
    free(n);
}

void
node_addresses(const struct node *n, struct sockaddr_storage *ret_public,
               struct sockaddr_storage *ret_admin)
{
    http_server_address(n->public_server, ret_public);
    http_server_address(n->admin_server, ret_admin);
}
