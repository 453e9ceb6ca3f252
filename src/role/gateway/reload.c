/* reload - one job at a time on the worker; see reload.h. What the job logs on its thread, and the
 * first lane after it, is gathered by a tap on the log, so that no message has to be made twice. */
#include "role/gateway/reload.h"

#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "io/log.h"
#include "io/log_file.h"
#include "role/gateway/feed.h"
#include "role/gateway/lane.h"
#include "role/gateway/members.h"
#include "role/process_log.h"
#include "wire/config_diff.h"

TAILQ_HEAD(waiters, reload_waiter);

struct reload {
    struct gateway *gateway;
    char *path;
    struct worker_job job;
    bool busy, again;
    struct roster *previous; /* what the job compares with; a reference */
    struct roster *result;   /* NULL: it failed */
    uint32_t differences;    /* of the two */
    char *lines;             /* what was logged; RELOAD_LINES_BYTES_MAX */
    size_t line_bytes;
    struct waiters now, next; /* who hears of this reload, and of the one after it */
};

enum err
reload_open(struct gateway *gateway, const char *path, struct reload **ret_reload)
{
    struct reload *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return ERR_MEMORY;
    r->gateway = gateway;
    TAILQ_INIT(&r->now);
    TAILQ_INIT(&r->next);
    r->path = strdup(path);
    r->lines = malloc(RELOAD_LINES_BYTES_MAX);
    if (r->path == NULL || r->lines == NULL) {
        reload_close(r);
        return ERR_MEMORY;
    }
    *ret_reload = r;
    return ERR_OK;
}

void
reload_close(struct reload *r)
{
    if (r == NULL)
        return;
    roster_unref(r->previous);
    roster_unref(r->result);
    free(r->lines);
    free(r->path);
    free(r);
}

/* ---- On the worker's thread. */

/* A line was logged; also on the first lane's thread, never at the same time. */
static void
on_line(enum log_level level, const char *text, void *user)
{
    struct reload *r = user;
    size_t bytes = strlen(text), room = RELOAD_LINES_BYTES_MAX - r->line_bytes;

    if (bytes + 2 > room)
        return;
    r->lines[r->line_bytes++] = (char)('0' + (int)level);
    memcpy(r->lines + r->line_bytes, text, bytes);
    r->line_bytes += bytes;
    r->lines[r->line_bytes++] = '\n';
}

static bool
is_blank(struct span text)
{
    size_t i = 0;

    while (i < text.bytes && strchr(" \t\r\n", text.data[i]) != NULL)
        i++;
    return i == text.bytes;
}

static void
on_difference(const char *text, void *user)
{
    struct reload *r = user;

    if (r->differences++ < RELOAD_DIFFERENCES_MAX)
        log_info("reload: %s", text);
}

static void
tell_differences(struct reload *r)
{
    struct arena arena;

    arena_init(&arena, ROSTER_ARENA_BYTES_MAX);
    r->differences = 0;
    if (config_diff(&r->previous->config, &r->result->config, &arena, on_difference, r) != ERR_OK)
        log_warn("reload: no memory to tell all that differs");
    else if (r->differences > RELOAD_DIFFERENCES_MAX)
        log_info("reload: and %u more differences", r->differences - RELOAD_DIFFERENCES_MAX);
    else if (r->differences == 0)
        log_info("reload: no key differs");
    arena_fini(&arena);
}

static void
run(struct worker_job *job)
{
    struct reload *r = CONTAINER_OF(job, struct reload, job);
    struct gateway *g = r->gateway;

    log_tap(on_line, r);
    if (roster_load(r->path, g->members_first, r->previous, &r->result) != ERR_OK)
        r->result = NULL;
    /* More likely a file that is being written than a wish to serve nobody: that takes a key. */
    if (r->result != NULL && is_blank(r->result->config_text)) {
        log_error("%s: the file is empty", r->path);
        roster_unref(r->result);
        r->result = NULL;
    }
    if (r->result != NULL) {
        if (g->rule_override >= 0)
            r->result->config.rule = (enum rule_id)g->rule_override;
        tell_differences(r);
    }
    log_tap(NULL, NULL);
}

/* ---- On the first lane's thread. */

/* False: logged, and the old configuration is kept. */
static bool
take_over(struct reload *r)
{
    struct gateway *g = r->gateway;
    struct fleet *now = decide_fleet(g->door), *next;
    struct roster *roster;
    bool good;

    r->result->own_region = now->roster->own_region;
    good = members_add_to(g->members, r->result, &roster) == ERR_OK &&
           fleet_open(roster, now, &next) == ERR_OK;
    if (good) {
        log_info("reload: %zu engine%s configured, %u node%s in all",
                 next->roster->config.engine_count,
                 next->roster->config.engine_count == 1 ? "" : "s", next->roster->node_count,
                 next->roster->node_count == 1 ? "" : "s");
        feed_publish(g->door, g->recorder, now, next);
        if (strcmp(r->previous->access_log, next->roster->access_log) != 0)
            log_file_reopen(g->access_log, next->roster->access_log);
        process_log_reload(g->log, r->previous, next->roster);
    } else {
        log_error("reload: out of memory: the old configuration is kept");
    }
    r->result = NULL; /* the fleet's, or gone with it */
    fleet_unref(now);
    return good;
}

static void
done(struct worker_job *job)
{
    struct reload *r = CONTAINER_OF(job, struct reload, job);
    struct gateway *g = r->gateway;
    struct reload_waiter *waiter;
    bool good = false;

    log_tap(on_line, r);
    if (r->result != NULL)
        good = take_over(r);
    else
        log_error("reload: %s has errors: the old configuration is kept", r->path);
    log_tap(NULL, NULL);
    atomic_fetch_add(good ? &g->reloads : &g->reload_failures, 1);
    notify_send(&g->notify, "READY=1\nSTATUS=%s",
                good ? "Serving." : "Serving by the old configuration: the new one has errors.");
    roster_unref(r->previous);
    r->previous = NULL;
    r->busy = false;
    while ((waiter = TAILQ_FIRST(&r->now)) != NULL) {
        TAILQ_REMOVE(&r->now, waiter, link);
        waiter->done(waiter, good, (struct span){r->lines, r->line_bytes});
    }
    if (r->again)
        reload_start(r, NULL);
}

void
reload_start(struct reload *r, struct reload_waiter *waiter)
{
    struct gateway *g = r->gateway;

    if (waiter != NULL)
        TAILQ_INSERT_TAIL(&r->next, waiter, link);
    r->again = r->busy;
    if (r->busy || g->worker == NULL) /* NULL: the gateway is being closed */
        return;
    r->busy = true;
    r->line_bytes = 0;
    TAILQ_CONCAT(&r->now, &r->next, link);
    notify_send(&g->notify, "RELOADING=1\nMONOTONIC_USEC=%llu",
                (unsigned long long)(clock_now_ns() / 1000));
    r->previous = roster_ref(lane_fleet(&g->lanes[0])->roster);
    r->job.run = run;
    r->job.done = done;
    r->job.reply_to = g->lanes[0].loop;
    worker_submit(g->worker, &r->job);
}

bool
reload_is_busy(const struct reload *r)
{
    return r->busy;
}

void
reload_forget(struct reload *r, struct reload_waiter *waiter)
{
    struct reload_waiter *w;

    TAILQ_FOREACH (w, &r->now, link) {
        if (w == waiter) {
            TAILQ_REMOVE(&r->now, waiter, link);
            return;
        }
    }
    TAILQ_REMOVE(&r->next, waiter, link);
}
