/* admin - health, and the parts that all answers share; see admin.h. */
#include "role/gateway/admin.h"

#include <math.h>
#include <stdlib.h>

#include "role/gateway/answer.h"

/* ---- cJSON's memory. */

static _Thread_local bool lacked_memory; /* since the last document of this thread was printed */

static void *
on_malloc(size_t bytes)
{
    void *data = malloc(bytes);

    if (data == NULL)
        lacked_memory = true;
    return data;
}

void
admin_init(void)
{
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = on_malloc, .free_fn = free});
}

void
admin_append(cJSON *list, cJSON *item)
{
    if (!cJSON_AddItemToArray(list, item))
        cJSON_Delete(item);
}

char *
admin_print(cJSON *json)
{
    char *text = json != NULL && !lacked_memory ? cJSON_PrintUnformatted(json) : NULL;

    lacked_memory = false;
    cJSON_Delete(json);
    return text;
}

/* ---- Answers. */

void
admin_send(struct http_exchange *x, unsigned status, cJSON *json)
{
    char *text = admin_print(json);

    if (text == NULL) {
        admin_send_error(x, 500, "out_of_memory", "there is no memory for this answer");
        return;
    }
    answer_body(x, status, SPAN_LIT("application/json"), span_of(text));
    cJSON_free(text);
}

void
admin_send_error(struct http_exchange *x, unsigned status, const char *code, const char *message)
{
    struct openai_error e;

    answer_fill(&e, status, status >= 500 ? "server_error" : "invalid_request_error", code, "%s",
                message);
    answer_error(x, &e, NULL);
}

void
admin_put_span(cJSON *object, const char *key, struct span value)
{
    char text[OPENAI_MODEL_BYTES_MAX * 4];

    span_copy(value, text, sizeof(text));
    cJSON_AddStringToObject(object, key, text);
}

void
admin_put_number(cJSON *object, const char *key, double value)
{
    if (!isfinite(value))
        cJSON_AddNullToObject(object, key);
    else
        cJSON_AddNumberToObject(object, key, floor(value * 1e3 + 0.5) / 1e3);
}

struct span
admin_query(const struct http_request *r, const char *key)
{
    struct span rest = r->query, name = span_of(key);

    while (rest.bytes > 0) {
        struct span pair = {rest.data, span_find(rest, '&')};
        size_t equals = span_find(pair, '=');
        if (span_eq((struct span){pair.data, equals}, name))
            return span_from(pair, equals + 1);
        rest = span_from(rest, pair.bytes + 1);
    }
    return (struct span){NULL, 0};
}

uint64_t
admin_query_u64(const struct http_request *r, const char *key, uint64_t otherwise)
{
    uint64_t value;

    return span_u64(admin_query(r, key), &value) == ERR_OK ? value : otherwise;
}

void
admin_livez(struct admin_call *call)
{
    answer_body(call->exchange, 200, SPAN_LIT("text/plain"), SPAN_LIT("ok\n"));
}

/* Ready when some model is ready somewhere; the body says what is missing. */
void
admin_readyz(struct admin_call *call)
{
    const struct fleet *fleet = lane_fleet(call->lane);
    const char *reason = NULL;
    cJSON *json = cJSON_CreateObject();

    if (atomic_load(&call->lane->gateway->draining))
        reason = "the gateway is draining";
    else if (fleet->roster->node_count == 0)
        reason = "no engines are configured";
    else if (fleet->ready_count == 0)
        reason = "no engine has a model ready yet";
    cJSON_AddBoolToObject(json, "ready", reason == NULL);
    cJSON_AddStringToObject(json, "reason", reason != NULL ? reason : "");
    cJSON_AddNumberToObject(json, "nodes", fleet->roster->node_count);
    cJSON_AddNumberToObject(json, "ready_placements", fleet->ready_count);
    admin_send(call->exchange, reason == NULL ? 200 : 503, json);
}
