/* reload - one job at a time on the worker; see reload.h. */
#include "role/gateway/reload.h"

#include <stdlib.h>
#include <string.h>

#include "io/log.h"
#include "role/gateway/feed.h"
#include "role/gateway/lane.h"

struct reload {
    struct gateway *gateway;
    char *path;
    struct worker_job job;
    bool busy, again;
    struct roster *previous; /* what the job compares with; a reference */
    struct roster *result;   /* NULL: it failed */
};

enum err
reload_open(struct gateway *gateway, const char *path, struct reload **ret_reload)
{
    struct reload *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return ERR_MEMORY;
    r->gateway = gateway;
    r->path = strdup(path);
    if (r->path == NULL) {
        free(r);
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
    free(r->path);
    free(r);
}

static bool
is_blank(struct span text)
{
    size_t i = 0;

    while (i < text.bytes && strchr(" \t\r\n", text.data[i]) != NULL)
        i++;
    return i == text.bytes;
}

/* On the worker's thread. */
static void
run(struct worker_job *job)
{
    struct reload *r = CONTAINER_OF(job, struct reload, job);

    if (roster_load(r->path, r->gateway->nodes_max, r->previous, &r->result) != ERR_OK)
        r->result = NULL;
    /* More likely a file that is being written than a wish to serve nobody: that takes a key. */
    if (r->result != NULL && is_blank(r->result->config_text)) {
        log_error("%s: the file is empty", r->path);
        roster_unref(r->result);
        r->result = NULL;
    }
}

static void
tell_restart(const char *key, bool differs)
{
    if (differs)
        log_warn("reload: %s is changed: it needs a restart to take effect", key);
}

/* What the running listeners, threads and tables were made from. */
static void
compare(const struct config *old, const struct config *new)
{
    tell_restart("listen.public", !span_eq(old->public_listen, new->public_listen));
    tell_restart("listen.admin", !span_eq(old->admin_listen, new->admin_listen));
    tell_restart("region", !span_eq(old->region, new->region));
    tell_restart("threads", old->threads != new->threads);
    tell_restart("limits.body_bytes_max", old->body_bytes_max != new->body_bytes_max);
    tell_restart("limits.buffers_bytes_max", old->buffers_bytes_max != new->buffers_bytes_max);
}

static void
take_over(struct reload *r)
{
    struct gateway *g = r->gateway;
    struct fleet *now = decide_fleet(g->door), *next;

    compare(&r->previous->config, &r->result->config);
    if (g->rule_override >= 0)
        r->result->config.rule = (enum rule_id)g->rule_override;
    r->result->own_region = now->roster->own_region;
    if (fleet_open(r->result, now, &next) != ERR_OK) {
        log_error("reload: out of memory: the old configuration is kept");
        atomic_fetch_add(&g->reload_failures, 1);
    } else {
        log_info("reload: %u engines, %zu models configured", next->roster->node_count,
                 next->roster->config.model_count);
        feed_publish(g->door, g->recorder, now, next);
        atomic_fetch_add(&g->reloads, 1);
    }
    r->result = NULL; /* the fleet's, or gone with it */
    fleet_unref(now);
}

/* Back on the first lane. */
static void
done(struct worker_job *job)
{
    struct reload *r = CONTAINER_OF(job, struct reload, job);

    if (r->result != NULL) {
        take_over(r);
    } else {
        log_error("reload: %s has errors: the old configuration is kept", r->path);
        atomic_fetch_add(&r->gateway->reload_failures, 1);
    }
    roster_unref(r->previous);
    r->previous = NULL;
    r->busy = false;
    if (r->again)
        reload_start(r);
}

void
reload_start(struct reload *r)
{
    r->again = r->busy;
    if (r->busy || r->gateway->worker == NULL) /* NULL: the gateway is being closed */
        return;
    r->busy = true;
    r->previous = roster_ref(lane_fleet(&r->gateway->lanes[0])->roster);
    r->job.run = run;
    r->job.done = done;
    r->job.reply_to = r->gateway->lanes[0].loop;
    worker_submit(r->gateway->worker, &r->job);
}
