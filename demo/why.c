/* why - explanations in a line; see why.h. */
#include "why.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "json_member.h"

#define EXPLANATION_BYTES_MAX 65536u
#define NUMBER_BYTES          32u

/* Whole milliseconds with a comma every three digits: 1,340. */
static const char *
grouped(double ms, char text[NUMBER_BYTES])
{
    unsigned long long whole = ms > 0.0 && ms < 1e9 ? (unsigned long long)(ms + 0.5) : 0;

    if (whole >= 1000000)
        (void)snprintf(text, NUMBER_BYTES, "%llu,%03llu,%03llu", whole / 1000000,
                       whole / 1000 % 1000, whole % 1000);
    else if (whole >= 1000)
        (void)snprintf(text, NUMBER_BYTES, "%llu,%03llu", whole / 1000, whole % 1000);
    else
        (void)snprintf(text, NUMBER_BYTES, "%llu", whole);
    return text;
}

/* Was it weighed in milliseconds? Others are absent, draining, full ... */
static bool
is_weighed(const cJSON *candidate)
{
    const char *why = member_text(candidate, "why");

    return strcmp(why, "chosen") == 0 || strcmp(why, "slower") == 0 || strcmp(why, "tied") == 0 ||
           strcmp(why, "busier_fits") == 0;
}

/* The weighed candidate with the shortest way; among equals the one that would have been first. */
static const cJSON *
nearest_of(const cJSON *candidates)
{
    const cJSON *c, *best = NULL;
    double best_ms = INFINITY, best_first_ms = INFINITY;

    cJSON_ArrayForEach(c, candidates)
    {
        const cJSON *terms = cJSON_GetObjectItemCaseSensitive(c, "terms");
        double net_ms = member_number(terms, "net_ms"), first_ms = member_number(terms, "first_ms");

        if (!is_weighed(c))
            continue;
        if (net_ms < best_ms || (net_ms == best_ms && first_ms < best_first_ms)) {
            best = c;
            best_ms = net_ms;
            best_first_ms = first_ms;
        }
    }
    return best;
}

/* The term that weighs most beside what it weighs at the chosen node. */
static const char *
worst_term(const cJSON *terms, const cJSON *chosen_terms, double *ret_ms)
{
    static const struct {
        const char *key, *word;
    } known[] = {{"net_ms", "way"},
                 {"ready_ms", "loading"},
                 {"queue_ms", "queue"},
                 {"prefill_ms", "prefill"},
                 {"step_ms", "step"}};
    const char *word = "";
    double worst = -INFINITY;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        double ms = member_number(terms, known[i].key);

        if (ms - member_number(chosen_terms, known[i].key) > worst) {
            worst = ms - member_number(chosen_terms, known[i].key);
            word = known[i].word;
            *ret_ms = ms;
        }
    }
    return word;
}

static void
tell_nearest(const cJSON *nearest, const cJSON *chosen, char *text, size_t size)
{
    const cJSON *terms = cJSON_GetObjectItemCaseSensitive(nearest, "terms");
    char first[NUMBER_BYTES], part[NUMBER_BYTES];
    double part_ms = 0.0;

    const char *word;

    if (nearest == chosen) {
        (void)snprintf(text, size, "the nearest that has it");
        return;
    }
    word = worst_term(terms, cJSON_GetObjectItemCaseSensitive(chosen, "terms"), &part_ms);
    (void)snprintf(text, size, "nearest %s: %s ms: %s %s", member_text(nearest, "node"),
                   grouped(member_number(terms, "first_ms"), first), word, grouped(part_ms, part));
}

enum err
why_nearest(struct span explanation, char *text, size_t size)
{
    cJSON *root = cJSON_ParseWithLength(explanation.data, explanation.bytes);
    const cJSON *attempts = cJSON_GetObjectItemCaseSensitive(root, "attempts");
    const cJSON *last = cJSON_GetArrayItem(attempts, cJSON_GetArraySize(attempts) - 1);
    const cJSON *candidates = cJSON_GetObjectItemCaseSensitive(last, "candidates");
    const cJSON *nearest = nearest_of(candidates);
    enum err err = ERR_PARSE;

    text[0] = '\0';
    if (nearest != NULL) {
        tell_nearest(nearest, cJSON_GetArrayItem(candidates, 0), text, size);
        err = ERR_OK;
    }
    cJSON_Delete(root);
    return err;
}

/* ---- Asking. */

struct question {
    LIST_ENTRY(question) link;
    FILE *raw;
    bool print;
    const char *target, *model;
    struct load_result result;
    size_t bytes;
    char explanation[EXPLANATION_BYTES_MAX];
};

LIST_HEAD(questions, question);

struct why {
    FILE *raw;
    const struct load_options *options;
    struct http_target *targets[LOAD_PLAN_TARGETS_MAX]; /* NULL: it has no admin port */
    struct questions questions;                         /* not answered yet */
};

static void
question_free(struct question *q)
{
    LIST_REMOVE(q, link);
    free(q);
}

static void
on_head(struct http_call *c, const struct http_response *response, void *user)
{
    (void)c;
    (void)response;
    (void)user;
}

static void
on_data(struct http_call *c, struct span bytes, void *user)
{
    struct question *q = user;
    size_t room = EXPLANATION_BYTES_MAX - q->bytes;
    size_t take = bytes.bytes < room ? bytes.bytes : room;

    (void)c;
    memcpy(q->explanation + q->bytes, bytes.data, take);
    q->bytes += take;
}

static void
print_line(const struct question *q, const char *nearest)
{
    char predicted[NUMBER_BYTES], actual[NUMBER_BYTES], where[2 * LOAD_RUN_NAME_BYTES + 4];

    (void)snprintf(where, sizeof(where), "%s (%s)", q->result.node, q->result.region);
    printf("%-12s  %-13s -> %-38s predicted %5s ms  actual %5s ms | %s\n", q->target, q->model,
           where, grouped(q->result.predicted_ms, predicted), grouped(q->result.ttft_ms, actual),
           nearest);
    fflush(stdout);
}

static void
on_end(struct http_call *c, const struct http_header *trailers, size_t count, void *user)
{
    struct question *q = user;
    char nearest[WHY_LINE_BYTES_MAX];

    (void)c;
    (void)trailers;
    (void)count;
    if (q->raw != NULL)
        fprintf(q->raw, "%.*s\n", (int)q->bytes, q->explanation);
    if (q->print &&
        why_nearest((struct span){q->explanation, q->bytes}, nearest, sizeof(nearest)) == ERR_OK)
        print_line(q, nearest);
    question_free(q);
}

static void
on_failed(struct http_call *c, enum http_failure why, void *user)
{
    (void)c;
    (void)why;
    question_free(user);
}

enum err
why_open(struct http_client *client, const struct load_options *options, FILE *raw,
         struct why **ret_why)
{
    struct why *why = calloc(1, sizeof(*why));
    enum err err = why != NULL ? ERR_OK : ERR_MEMORY;

    for (uint32_t i = 0; err == ERR_OK && i < options->target_count; i++) {
        const struct sockaddr_in *address = &options->targets[i].admin_address;

        if (address->sin_port != 0)
            err = http_target_open(client, (const struct sockaddr *)address, sizeof(*address),
                                   SPAN_LIT("localhost"), NULL, 0, &why->targets[i]);
    }
    if (err != ERR_OK) {
        why_close(why);
        return err;
    }
    LIST_INIT(&why->questions);
    why->options = options;
    why->raw = raw;
    *ret_why = why;
    return ERR_OK;
}

void
why_close(struct why *why)
{
    struct question *q;

    if (why == NULL)
        return;
    for (uint32_t i = 0; i < LOAD_PLAN_TARGETS_MAX; i++)
        if (why->targets[i] != NULL)
            http_target_close(why->targets[i]); /* with its calls */
    while ((q = LIST_FIRST(&why->questions)) != NULL)
        question_free(q);
    free(why);
}

void
why_ask(struct why *why, const struct load_item *item, const struct load_result *result, bool print)
{
    static const struct http_call_fn fn = {load_run_on_sent, on_head, on_data, on_end, on_failed};
    const struct http_call_limits limits = {.connect_ns = 1000000000u,
                                            .first_byte_ns = 1000000000u};
    char path[64 + LOAD_RUN_NAME_BYTES];
    struct http_call_request request = {.method = SPAN_LIT("GET")};
    struct http_call *call;
    struct question *q;

    if (why->targets[item->target] == NULL || result->id[0] == '\0' ||
        (q = calloc(1, sizeof(*q))) == NULL)
        return;
    q->target = why->options->targets[item->target].name;
    q->model = why->options->models[item->model];
    q->result = *result;
    q->raw = why->raw;
    q->print = print;
    (void)snprintf(path, sizeof(path), "/network/v1/explain/%s", result->id);
    request.target = span_of(path);
    if (http_call_start(why->targets[item->target], &request, &limits, &fn, q, &call) != ERR_OK)
        free(q);
    else
        LIST_INSERT_HEAD(&why->questions, q, link);
}
