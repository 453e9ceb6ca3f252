/* admin_json - what all answers of the admin side share; see admin_json.h. */
#include "role/admin_json.h"

#include <math.h>
#include <stdlib.h>

#include "role/answer.h"

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

/* Is it one of the words? */
static bool
is_among(struct span words, struct span name)
{
    while (words.bytes > 0) {
        struct span word = {words.data, span_find(words, ' ')};
        if (span_eq(word, name))
            return true;
        words = span_from(words, word.bytes + 1);
    }
    return false;
}

struct span
admin_query_unknown(const struct http_request *r, const char *known)
{
    struct span rest = r->query;

    while (rest.bytes > 0) {
        struct span pair = {rest.data, span_find(rest, '&')};
        struct span name = {pair.data, span_find(pair, '=')};
        if (pair.bytes > 0 && !is_among(span_of(known), name))
            return name.bytes > 0 ? name : pair;
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
