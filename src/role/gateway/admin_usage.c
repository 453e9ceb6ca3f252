/* admin_usage - what each key used, as JSON; see admin.h. The writer's thread asks the database and
 * makes the text, so a long answer holds up no loop. On the public side a key sees what it used
 * itself. */
#include <stdio.h>
#include <stdlib.h>

#include "io/clock.h"
#include "role/answer.h"
#include "role/gateway/admin.h"
#include "role/gateway/usage.h"
#include "wire/keys.h"

#define ANSWER_ROWS_MAX 10000u
#define SINCE_DEFAULT_S 86400u
#define HOUR_S          3600u
#define DAY_S           86400u

static const struct {
    const char *name;
    uint32_t bit;
} bys[] = {{"hour", USAGE_BY_HOUR}, {"key", USAGE_BY_KEY}, {"model", USAGE_BY_MODEL}};
#define BY_COUNT (sizeof(bys) / sizeof(bys[0]))

struct question {
    struct usage_ask ask; /* in the heap; whoever has it frees it */
    struct owner owner;
    struct http_exchange *exchange; /* NULL: the client left */
    uint32_t by;
    uint64_t from_hour;
    bool of_one; /* of this key alone */
    char key[USAGE_KEY_BYTES];
    char *text; /* the answer; NULL: there is none */
};

static bool
put_row(const struct usage_row *row, void *user)
{
    const struct question *q = ((void **)user)[0];
    cJSON *list = ((void **)user)[1], *json = cJSON_CreateObject();
    const struct usage_counts *c = &row->counts;
    char hour[KEYS_TIME_BYTES];

    keys_time_text(row->hour * HOUR_S, hour);
    if ((q->by & USAGE_BY_HOUR) != 0)
        cJSON_AddStringToObject(json, "hour", hour);
    if ((q->by & USAGE_BY_KEY) != 0)
        cJSON_AddStringToObject(json, "key", row->key);
    if ((q->by & USAGE_BY_MODEL) != 0)
        cJSON_AddStringToObject(json, "model", row->model);
    cJSON_AddNumberToObject(json, "requests", (double)c->requests);
    cJSON_AddNumberToObject(json, "failed", (double)c->failed);
    cJSON_AddNumberToObject(json, "refused", (double)c->refused);
    cJSON_AddNumberToObject(json, "prompt_tokens", (double)c->prompt_tokens);
    cJSON_AddNumberToObject(json, "cached_tokens", (double)c->cached_tokens);
    cJSON_AddNumberToObject(json, "output_tokens", (double)c->output_tokens);
    admin_append(list, json);
    return true;
}

/* On the writer's thread. */
static void
answer(struct usage_ask *ask, struct usage_store *store)
{
    struct question *q = CONTAINER_OF(ask, struct question, ask);
    const struct usage_question asked = {.from_hour = q->from_hour,
                                         .by = q->by,
                                         .key = q->of_one ? q->key : NULL,
                                         .rows_max = ANSWER_ROWS_MAX};
    cJSON *json = cJSON_CreateObject(), *list;
    char from[KEYS_TIME_BYTES];
    bool more = false;

    keys_time_text(q->from_hour * HOUR_S, from);
    cJSON_AddStringToObject(json, "from", from);
    list = cJSON_AddArrayToObject(json, "by");
    for (size_t i = 0; i < BY_COUNT; i++) {
        if ((q->by & bys[i].bit) != 0)
            admin_append(list, cJSON_CreateString(bys[i].name));
    }
    list = cJSON_AddArrayToObject(json, "rows");
    if (usage_store_read(store, &asked, put_row, (void *[]){q, list}, &more) == ERR_OK) {
        cJSON_AddBoolToObject(json, "more", more);
        q->text = admin_print(json);
    } else {
        cJSON_Delete(json);
    }
}

static void
drop(struct usage_ask *ask)
{
    struct question *q = CONTAINER_OF(ask, struct question, ask);

    cJSON_free(q->text);
    free(q);
}

/* Back on the lane. */
static void
tell(struct usage_ask *ask)
{
    struct question *q = CONTAINER_OF(ask, struct question, ask);

    if (q->exchange != NULL) {
        http_exchange_set_user(q->exchange, NULL);
        if (q->text != NULL)
            answer_body(q->exchange, 200, SPAN_LIT("application/json"), span_of(q->text));
        else
            admin_send_error(q->exchange, 503, "usage_unreadable",
                             "the file of usage cannot be read now: the log says why");
    }
    drop(ask);
}

static void
on_gone(struct owner *owner)
{
    CONTAINER_OF(owner, struct question, owner)->exchange = NULL;
}

/* "24h", "90m", "7d". */
static bool
parse_since(struct span text, uint64_t *ret_s)
{
    uint64_t ns, days;

    if (text.bytes > 1 && text.data[text.bytes - 1] == 'd' &&
        span_u64((struct span){text.data, text.bytes - 1}, &days) == ERR_OK &&
        days <= CONFIG_USAGE_DAYS_MAX) {
        *ret_s = days * DAY_S;
        return true;
    }
    if (config_duration(text, &ns) != ERR_OK)
        return false;
    *ret_s = ns / 1000000000u;
    return true;
}

static bool
parse_by(struct span text, uint32_t *ret_by)
{
    *ret_by = 0;
    while (text.bytes > 0) {
        struct span word = {text.data, span_find(text, ',')};
        uint32_t bit = 0;

        for (size_t i = 0; i < BY_COUNT; i++)
            bit |= span_eq_text(word, bys[i].name) ? bys[i].bit : 0;
        if (bit == 0)
            return false;
        *ret_by |= bit;
        text = span_from(text, word.bytes + 1);
    }
    return true;
}

/* What is asked. False: it was answered why not. */
static bool
read_question(struct admin_call *call, struct question *q)
{
    struct span since = admin_query(call->http, "since"), by = admin_query(call->http, "by");
    struct span key = admin_query(call->http, "key");
    uint64_t since_s = SINCE_DEFAULT_S, now_s = clock_wall_s();

    if (since.bytes > 0 && !parse_since(since, &since_s)) {
        admin_send_error(call->exchange, 400, "bad_since",
                         "since is a time back from now: 24h, 90m, 7d");
        return false;
    }
    q->by = call->is_admin ? USAGE_BY_KEY | USAGE_BY_MODEL : USAGE_BY_MODEL;
    if (by.bytes > 0 && !parse_by(by, &q->by)) {
        admin_send_error(call->exchange, 400, "bad_by",
                         "by is key, model and hour, with commas between them");
        return false;
    }
    q->from_hour = since_s < now_s ? (now_s - since_s) / HOUR_S : 0;
    if (!call->is_admin) /* its own, whatever it asks for */
        key = call->key != NULL ? call->key->name : SPAN_LIT("");
    q->of_one = !call->is_admin || key.bytes > 0;
    span_copy(key, q->key, sizeof(q->key));
    return true;
}

void
admin_usage(struct admin_call *call)
{
    struct usage *usage = call->lane->gateway->usage;
    struct question *q;

    if (usage == NULL) {
        admin_send_error(call->exchange, 404, "usage_not_kept",
                         "no usage is kept: set `state: DIRECTORY` in the configuration");
        return;
    }
    q = calloc(1, sizeof(*q));
    if (q == NULL) {
        admin_send(call->exchange, 500, NULL);
        return;
    }
    if (!read_question(call, q)) {
        free(q);
        return;
    }
    q->ask.answer = answer;
    q->ask.tell = tell;
    q->ask.drop = drop;
    q->owner.gone = on_gone;
    q->exchange = call->exchange;
    if (usage_ask(usage, call->lane, &q->ask) != ERR_OK) {
        free(q);
        admin_send_error(call->exchange, 503, "too_many_questions",
                         "too many such questions are under way: ask again");
        return;
    }
    http_exchange_set_user(call->exchange, &q->owner);
}
