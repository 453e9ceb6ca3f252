/* outcome - two files of JSON lines joined by request id and node; see outcome.h. A request that
 * was tried at two nodes has two truths; that of the node that answered counts. */
#include "outcome.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"
#include "json_member.h"

static void
take_text(const cJSON *object, const char *name, char *text, size_t size)
{
    span_copy(span_of(member_text(object, name)), text, size);
}

/* ---- Results. */

static enum err
append(struct outcome_run *run, const struct outcome *o)
{
    if ((run->count & (run->count - 1)) == 0) { /* full at every power of two */
        size_t room = run->count == 0 ? 1 : 2 * run->count;
        struct outcome *grown = realloc(run->list, room * sizeof(*grown));

        if (grown == NULL)
            return ERR_MEMORY;
        run->list = grown;
    }
    run->list[run->count++] = *o;
    return ERR_OK;
}

static enum err
take_result(const cJSON *line, void *user)
{
    struct outcome_run *run = user;
    struct outcome o = {0};
    const char *end = member_text(line, "end");

    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, "run"))) {
        run->host_busy_percent = member_number(line, "host_busy_percent");
        run->host_other_percent = member_number(line, "host_other_percent");
        return ERR_OK;
    }
    take_text(line, "id", o.id, sizeof(o.id));
    take_text(line, "target", o.target, sizeof(o.target));
    take_text(line, "model", o.model, sizeof(o.model));
    take_text(line, "node", o.node, sizeof(o.node));
    o.ok = strcmp(end, "ok") == 0;
    o.open = strcmp(end, "open") == 0;
    o.attempts = (unsigned)fmax(0.0, member_number(line, "attempts"));
    o.sent_ms = member_number(line, "sent_ms");
    o.predicted_ms = member_number(line, "predicted_ms");
    o.ttft_ms = member_number(line, "ttft_ms");
    o.e2e_ms = member_number(line, "e2e_ms");
    return o.target[0] != '\0' && o.model[0] != '\0' ? append(run, &o) : ERR_PARSE;
}

/* ---- Truths. */

static int
by_id(const void *a, const void *b)
{
    return strcmp((*(struct outcome *const *)a)->id, (*(struct outcome *const *)b)->id);
}

struct index { /* outcomes by id */
    struct outcome **list;
    size_t count;
};

static enum err
take_truth(const cJSON *line, void *user)
{
    const struct index *index = user;
    const cJSON *state = cJSON_GetObjectItemCaseSensitive(line, "truth");
    struct outcome key = {0}, *wanted = &key, **found, *o;
    struct outcome_truth *t;

    take_text(line, "id", key.id, sizeof(key.id));
    found = bsearch(&wanted, index->list, index->count, sizeof(*index->list), by_id);
    if (found == NULL || strcmp((*found)->node, member_text(line, "name")) != 0)
        return ERR_OK; /* somebody else's, or a try that failed */
    o = *found;
    t = &o->truth;
    t->known = true;
    take_text(line, "gpu", t->gpu, sizeof(t->gpu));
    take_text(line, "kind", t->kind, sizeof(t->kind));
    t->fresh_connection = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, "fresh_connection"));
    t->rtt_ms = member_number(line, "rtt_ms");
    t->body_bytes = member_number(line, "body_bytes");
    t->prompt_tokens = member_number(line, "prompt_tokens");
    t->output_tokens = member_number(line, "output_tokens");
    t->cached_tokens = member_number(line, "cached_tokens_at_arrival");
    t->first_ms = member_number(line, "first_ms");
    t->queue_tokens = member_number(state, "queue_tokens");
    t->running = member_number(state, "running");
    t->waiting = member_number(state, "waiting");
    t->kv_tokens_used = member_number(state, "kv_tokens_used");
    t->kv_tokens_cap = member_number(state, "kv_tokens_cap");
    t->speed = member_number(state, "speed");
    t->load_left_ms = member_number(state, "load_left_ms");
    t->iteration_left_ms = member_number(state, "iteration_left_ms");
    return ERR_OK;
}

/* How many of the same target, model and GPU were sent before each. */
static void
count_turns(struct outcome_run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        struct outcome *o = &run->list[i];

        for (size_t k = i; o->truth.known && k-- > 0;) {
            const struct outcome *before = &run->list[k];

            if (before->truth.known && strcmp(before->target, o->target) == 0 &&
                strcmp(before->model, o->model) == 0 &&
                strcmp(before->truth.gpu, o->truth.gpu) == 0) {
                o->turn = before->turn + 1;
                break;
            }
        }
    }
}

/* ---- Files. */

static enum err
each_line(const char *path, enum err (*take)(const cJSON *line, void *user), void *user)
{
    FILE *in = fopen(path, "r");
    char *text = NULL;
    size_t room = 0;
    enum err err = ERR_OK;

    if (in == NULL) {
        perror(path);
        return ERR_IO;
    }
    while (err == ERR_OK && getline(&text, &room, in) > 0) {
        cJSON *line = cJSON_Parse(text);

        err = line != NULL ? take(line, user) : ERR_PARSE;
        cJSON_Delete(line);
    }
    if (err == ERR_PARSE)
        fprintf(stderr, "%s: not a line of results: %.60s\n", path, text);
    free(text);
    fclose(in);
    return err;
}

enum err
outcome_read(const char *results, const char *truths, struct outcome_run *ret_run)
{
    struct index index = {0};
    enum err err;

    *ret_run = (struct outcome_run){0};
    err = each_line(results, take_result, ret_run);
    if (err != ERR_OK || truths == NULL || ret_run->count == 0)
        return err;
    index.list = calloc(ret_run->count, sizeof(*index.list));
    if (index.list == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < ret_run->count; i++)
        if (ret_run->list[i].id[0] != '\0')
            index.list[index.count++] = &ret_run->list[i];
    qsort(index.list, index.count, sizeof(*index.list), by_id);
    err = each_line(truths, take_truth, &index);
    count_turns(ret_run);
    free(index.list);
    return err;
}

void
outcome_fini(struct outcome_run *run)
{
    free(run->list);
    *run = (struct outcome_run){0};
}

double
outcome_late_ms(const char *path)
{
    static const char name[] = "figure emulate_late_p99_ms ";
    FILE *in = fopen(path, "r");
    double late_ms = NAN;
    char line[256];

    while (in != NULL && fgets(line, sizeof(line), in) != NULL)
        if (strncmp(line, name, sizeof(name) - 1) == 0)
            late_ms = strtod(line + sizeof(name) - 1, NULL);
    if (in != NULL)
        fclose(in);
    return late_ms;
}
