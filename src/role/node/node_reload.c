/* node_reload - the configuration again, while requests run: read and checked on a worker's thread,
 * then swapped in on the loop; engines come and leave as node_engines.c has it. What differs is
 * told, and what needs a restart is named: listeners, name, key, region, bus and state stay as they
 * were at the start (n->first). Anything wrong keeps all of the old one. */
#include <stdlib.h>
#include <string.h>

#include "io/log.h"
#include "io/worker.h"
#include "role/node/node_control.h"
#include "role/process_log.h"
#include "wire/config_diff.h"

#define DIFFERENCES_MAX 200u

struct node_reload {
    struct node *node;
    struct worker *worker;
    struct worker_job job;
    char *path;
    bool is_busy, again;
    struct roster *previous; /* what the job compares with; a reference */
    struct roster *result;   /* NULL: it failed */
    uint32_t differences;
};

/* ---- On the worker's thread. */

static void
on_difference(const char *text, void *user)
{
    struct node_reload *r = user;

    if (r->differences++ < DIFFERENCES_MAX)
        log_info("reload: %s", text);
}

static void
run(struct worker_job *job)
{
    struct node_reload *r = CONTAINER_OF(job, struct node_reload, job);
    const struct span no_text = {NULL, 0};
    struct arena arena;

    if (roster_load_node(r->path, no_text, r->previous, &r->result) != ERR_OK) {
        r->result = NULL;
        return;
    }
    arena_init(&arena, ROSTER_ARENA_BYTES_MAX);
    r->differences = 0;
    if (config_diff_node(r->previous->config_text, r->result->config_text, &arena, on_difference,
                         r) != ERR_OK)
        log_warn("reload: no memory to tell all that differs");
    else if (r->differences == 0)
        log_info("reload: no key differs");
    arena_fini(&arena);
}

/* ---- On the loop. */

/* False: logged, and nothing changed. */
static bool
take_over(struct node *n, struct roster *next)
{
    struct roster *before = n->roster;
    struct node_engines fresh;
    struct identity identity;

    if (!node_self_has_key(n, next)) {
        log_error("reload: the key file has another key: that takes a restart");
        return false;
    }
    if (node_self_identity(n, next, &identity) != ERR_OK)
        return false;
    if (node_engines_prepare(n, next, &fresh) != ERR_OK)
        return false;
    if (node_post_change(n, next) != ERR_OK) {
        log_error("reload: out of memory");
        node_engines_drop(&fresh);
        return false;
    }
    n->roster = next;
    n->config = next->node;
    n->identity = identity;
    n->end_told_s = 0;
    node_self_tell_end(n);
    node_control_change(n);
    node_engines_change(n, next, &fresh);
    process_log_reload(n->log, before, next);
    roster_unref(before);
    n->wants_hello = n->wants_full = true;
    node_report_soon(n);
    if (n->waiting_count > 0) /* there may be room for them now */
        loop_defer(n->loop, &n->admit, node_admit);
    return true;
}

static void
done(struct worker_job *job)
{
    struct node_reload *r = CONTAINER_OF(job, struct node_reload, job);
    struct node *n = r->node;
    bool good = r->result != NULL && take_over(n, r->result);

    if (good)
        log_info("reload: done");
    else
        log_error("reload: %s has errors: the old configuration is kept", r->path);
    if (!good)
        roster_unref(r->result);
    r->result = NULL;
    roster_unref(r->previous);
    r->previous = NULL;
    r->is_busy = false;
    notify_send(&n->notify, "READY=1\nSTATUS=%s",
                good ? "Serving." : "Serving by the old configuration: the new one has errors.");
    if (r->again)
        node_reload(n);
}

void
node_reload(struct node *n)
{
    struct node_reload *r = n->reload;

    if (r == NULL) {
        log_warn("there is no configuration file to read again");
        return;
    }
    r->again = r->is_busy;
    if (r->is_busy)
        return;
    r->is_busy = true;
    notify_send(&n->notify, "RELOADING=1\nMONOTONIC_USEC=%llu",
                (unsigned long long)(loop_now_ns(n->loop) / 1000));
    r->previous = roster_ref(n->roster);
    worker_submit(r->worker, &r->job);
}

/* ---- Life. */

enum err
node_reload_open(struct node *n, const char *path)
{
    struct node_reload *r = calloc(1, sizeof(*r));

    n->reload = r;
    if (r == NULL)
        return ERR_MEMORY;
    r->node = n;
    r->job = (struct worker_job){.run = run, .done = done, .reply_to = n->loop};
    r->path = strdup(path);
    return r->path != NULL ? worker_open(&r->worker) : ERR_MEMORY;
}

void
node_reload_close(struct node *n)
{
    struct node_reload *r = n->reload;

    if (r == NULL)
        return;
    r->again = false;
    worker_close(r->worker);
    loop_pass(n->loop, 0); /* a job that is over has a post on its way */
    roster_unref(r->previous);
    roster_unref(r->result);
    free(r->path);
    free(r);
    n->reload = NULL;
}
