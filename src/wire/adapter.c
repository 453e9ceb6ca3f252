/* adapter - the table of engines, and what all of them share: OpenAI's list of models, ORCA, and
 * reports of plain Prometheus names; see adapter.h.
 *
 * Figures of one report are tallied by field, so that an engine which publishes one sample per rank
 * or spells a name in an old and a new way needs no code. Values that cannot be (negative,
 * infinite) count as not said. */
#include "wire/adapter.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "wire/prometheus.h"

#define ORCA_BYTES_MAX 8192u
#define BYTES_MAX      1e15 /* of a model */
#define SLOTS_MAX      1000000u

/* In the order in which detection asks. What others imitate comes late: SGLang speaks Ollama's API,
 * and everybody has OpenAI's list of models. */
static const struct adapter *const rows[] = {
    &engine_vllm, &engine_sglang, &engine_llama_server, &engine_ollama,
    &engine_tgi,  &engine_triton, &engine_tensorrt_llm, &engine_openai,
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

const struct adapter *
adapter_at(size_t index)
{
    return index < ROW_COUNT ? rows[index] : NULL;
}

const struct adapter *
adapter_of(enum engine_kind kind)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i]->kind == kind)
            return rows[i];
    }
    return NULL;
}

const struct adapter *
adapter_by_name(struct span name)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (span_eq_text(name, rows[i]->name))
            return rows[i];
    }
    return NULL;
}

void
adapter_load_init(struct adapter_load *ret_load)
{
    *ret_load = (struct adapter_load){.running = NAN,
                                      .waiting = NAN,
                                      .prefill_tokens_in_flight = NAN,
                                      .kv_tokens_used = NAN,
                                      .kv_tokens_cap = NAN,
                                      .slots = NAN,
                                      .kv_used_fraction = NAN};
}

/* ---- Tally: samples into a load. */

struct tally {
    double sum[ADAPTER_FIELD_COUNT];
    unsigned count[ADAPTER_FIELD_COUNT];
};

static void
tally_add(struct tally *t, enum adapter_field field, double value)
{
    if (!isfinite(value) || value < 0.0)
        return;
    t->sum[field] += value;
    t->count[field]++;
}

static double
tally_sum(const struct tally *t, enum adapter_field field)
{
    return t->count[field] > 0 ? t->sum[field] : (double)NAN;
}

static double
tally_mean(const struct tally *t, enum adapter_field field)
{
    return t->count[field] > 0 ? t->sum[field] / t->count[field] : (double)NAN;
}

/* ERR_PARSE: nothing was tallied. */
static enum err
tally_finish(const struct tally *t, struct adapter_load *ret_load)
{
    double fraction = fmin(tally_mean(t, ADAPTER_KV_FRACTION), 1.0); /* fmin drops a NAN */
    double cap = tally_sum(t, ADAPTER_KV_CAP), used = tally_sum(t, ADAPTER_KV_USED);
    unsigned count = 0;

    for (size_t i = 0; i < ADAPTER_FIELD_COUNT; i++)
        count += t->count[i];
    if (count == 0)
        return ERR_PARSE;
    if (t->count[ADAPTER_KV_FRACTION] == 0)
        fraction = (double)NAN;
    if (isnan(cap))
        cap = tally_mean(t, ADAPTER_KV_BLOCK_TOKENS) * tally_sum(t, ADAPTER_KV_BLOCKS);
    if (isnan(used))
        used = fraction * cap;
    if (isnan(fraction) && cap > 0.0)
        fraction = fmin(used, cap) / cap;
    adapter_load_init(ret_load);
    ret_load->running = (float)tally_sum(t, ADAPTER_RUNNING);
    ret_load->waiting = (float)tally_sum(t, ADAPTER_WAITING);
    ret_load->prefill_tokens_in_flight = (float)tally_sum(t, ADAPTER_PREFILL_TOKENS);
    ret_load->kv_tokens_used = (float)used;
    ret_load->kv_tokens_cap = (float)cap;
    ret_load->kv_used_fraction = (float)fraction;
    ret_load->slots = (float)tally_sum(t, ADAPTER_SLOTS);
    ret_load->sleeping = t->count[ADAPTER_AWAKE] > 0 && !(t->sum[ADAPTER_AWAKE] > 0.0);
    return ERR_OK;
}

static void
tally_sample(struct tally *t, const struct adapter_metric *row,
             const struct prometheus_sample *sample)
{
    struct span text;
    double value = sample->value;

    if (row->only_label != NULL && !(prometheus_label(sample->labels, row->only_label, &text) &&
                                     span_eq_text(text, row->only_value)))
        return;
    if (row->value_label != NULL && !(prometheus_label(sample->labels, row->value_label, &text) &&
                                      span_f64(text, &value) == ERR_OK))
        return;
    tally_add(t, row->field, value);
}

enum err
adapter_parse_metrics(const struct adapter_metric *table, struct span body,
                      struct adapter_load *ret_load)
{
    struct tally tally = {{0.0}, {0}};
    struct prometheus_sample sample;
    size_t at = 0;

    for (;;) {
        enum err err = prometheus_next(body, &at, &sample);

        if (err == ERR_AGAIN)
            break;
        if (err != ERR_OK)
            continue; /* one odd line does not make the others wrong */
        for (const struct adapter_metric *row = table; row->name != NULL; row++) {
            if (span_eq_text(sample.name, row->name))
                tally_sample(&tally, row, &sample);
        }
    }
    return tally_finish(&tally, ret_load);
}

enum err
adapter_parse_fields(const struct adapter_metric *table, const struct cJSON *list,
                     struct adapter_load *ret_load)
{
    struct tally tally = {{0.0}, {0}};
    const cJSON *item;

    cJSON_ArrayForEach(item, list)
    {
        for (const struct adapter_metric *row = table; row->name != NULL; row++) {
            const cJSON *value = cJSON_GetObjectItemCaseSensitive(item, row->name);

            if (cJSON_IsNumber(value))
                tally_add(&tally, row->field, value->valuedouble);
        }
    }
    return tally_finish(&tally, ret_load);
}

struct cJSON *
adapter_json(struct span body)
{
    cJSON *root;
    char *copy;

    if (body.bytes == 0 || body.bytes > ADAPTER_DOCUMENT_BYTES_MAX)
        return NULL;
    copy = malloc(body.bytes +
                  1); /* cJSON before 1.7.18 looks one byte past the length it is given */
    if (copy == NULL)
        return NULL;
    memcpy(copy, body.data, body.bytes);
    copy[body.bytes] = '\0';
    root = cJSON_ParseWithLength(copy, body.bytes);
    free(copy);
    return root;
}

/* ---- ORCA: the load report in the head of a response. */

static const struct adapter_metric orca_names[] = {
    {.name = "kv_cache_usage_perc", .field = ADAPTER_KV_FRACTION},  /* vLLM */
    {.name = "kv_cache_utilization", .field = ADAPTER_KV_FRACTION}, /* Triton */
    {.name = "max_token_capacity", .field = ADAPTER_KV_CAP},        /* Triton */
    {.name = "num_requests_waiting", .field = ADAPTER_WAITING},
    {.name = "num_requests_running", .field = ADAPTER_RUNNING},
};

static void
orca_add(struct tally *t, struct span name, double value)
{
    for (size_t i = 0; i < sizeof(orca_names) / sizeof(orca_names[0]); i++) {
        if (span_eq_text(name, orca_names[i].name))
            tally_add(t, orca_names[i].field, value);
    }
}

/* named_metrics.a=1, named_metrics.b=2 */
static void
orca_text(struct span text, struct tally *t)
{
    const struct span prefix = SPAN_LIT("named_metrics.");

    while (text.bytes > 0) {
        size_t end = span_find(text, ','), equals;
        struct span item = span_trim((struct span){text.data, end});
        double value;

        text = span_from(text, end + 1);
        equals = span_find(item, '=');
        if (!span_starts(item, prefix) || equals >= item.bytes ||
            span_f64(span_trim(span_from(item, equals + 1)), &value) != ERR_OK)
            continue;
        item.bytes = equals;
        orca_add(t, span_trim(span_from(item, prefix.bytes)), value);
    }
}

/* {"named_metrics": {"a": 1}} */
static void
orca_json(struct span text, struct tally *t)
{
    cJSON *root = adapter_json(text);
    const cJSON *item;

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(root, "named_metrics"))
    {
        if (cJSON_IsNumber(item) && item->string != NULL)
            orca_add(t, span_of(item->string), item->valuedouble);
    }
    cJSON_Delete(root);
}

enum err
adapter_parse_orca(struct span header, struct adapter_load *ret_load)
{
    struct tally tally = {{0.0}, {0}};
    size_t space;

    header = span_trim(header);
    if (header.bytes > ORCA_BYTES_MAX)
        return ERR_PARSE;
    space = span_find(header, ' ');
    if (span_eq_nocase((struct span){header.data, space}, SPAN_LIT("TEXT")))
        orca_text(span_from(header, space), &tally);
    else if (span_eq_nocase((struct span){header.data, space}, SPAN_LIT("JSON")))
        orca_json(span_from(header, space), &tally);
    return tally_finish(&tally, ret_load);
}

/* ---- Documents in JSON. */

bool
adapter_json_has(unsigned status, struct span body, const char *const keys[])
{
    cJSON *root = status == 200 ? adapter_json(body) : NULL;
    bool all = cJSON_IsObject(root);

    for (size_t i = 0; all && keys[i] != NULL; i++)
        all = cJSON_GetObjectItemCaseSensitive(root, keys[i]) != NULL;
    cJSON_Delete(root);
    return all;
}

static enum model_state
state_of(const cJSON *status)
{
    static const struct {
        const char *word;
        enum model_state state;
    } words[] = {
        {"loaded", MODEL_READY},      {"loading", MODEL_LOADING},
        {"sleeping", MODEL_SLEEPING}, {"downloading", MODEL_DOWNLOADING},
        {"unloaded", MODEL_ON_DISK},  {"downloaded", MODEL_ON_DISK},
        {"failed", MODEL_FAILED},     {"dormant", MODEL_DORMANT}, /* our own agent's word */
    };
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(status, "value");

    if (status == NULL)
        return MODEL_READY;
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(status, "failed")))
        return MODEL_FAILED;
    for (size_t i = 0; cJSON_IsString(value) && i < sizeof(words) / sizeof(words[0]); i++) {
        if (span_eq_text(span_of(value->valuestring), words[i].word))
            return words[i].state;
    }
    return cJSON_IsString(value) ? MODEL_ON_DISK
                                 : MODEL_READY; /* a new word: not known to be ready */
}

static bool
name_is_good(struct span name)
{
    if (name.bytes == 0 || name.bytes >= ADAPTER_MODEL_BYTES_MAX)
        return false;
    for (size_t i = 0; i < name.bytes; i++) {
        if ((unsigned char)name.data[i] < 0x20 || name.data[i] == 0x7f)
            return false;
    }
    return true;
}

void
adapter_models_add(struct adapter_models *models, struct span name, enum model_state state)
{
    for (size_t i = 0; i < models->count; i++) {
        if (span_eq_text(name, models->list[i].name))
            return;
    }
    if (!name_is_good(name) || models->count == ADAPTER_MODELS_MAX) {
        models->cut = true;
        return;
    }
    span_copy(name, models->list[models->count].name, ADAPTER_MODEL_BYTES_MAX);
    models->list[models->count].state = state;
    models->list[models->count].bytes = 0;
    models->count++;
}

void
adapter_models_size(struct adapter_models *models, struct span name, const struct cJSON *size)
{
    if (!cJSON_IsNumber(size) || !(size->valuedouble >= 1.0 && size->valuedouble <= BYTES_MAX))
        return;
    for (size_t i = 0; i < models->count; i++) {
        if (span_eq_text(name, models->list[i].name))
            models->list[i].bytes = (uint64_t)size->valuedouble;
    }
}

/* With which options llama-server's router starts the model's server: "args":["--parallel","4"]. An
 * agent of ours says "slots":4. */
static void
note_slots(struct adapter_models *models, struct span name, const cJSON *status)
{
    const cJSON *args = cJSON_GetObjectItemCaseSensitive(status, "args"), *arg;
    const cJSON *said = cJSON_GetObjectItemCaseSensitive(status, "slots");
    uint64_t slots = 0;

    if (cJSON_IsNumber(said) && said->valuedouble >= 1.0 && said->valuedouble <= SLOTS_MAX)
        slots = (uint64_t)said->valuedouble;
    cJSON_ArrayForEach(arg, args)
    {
        if (cJSON_IsString(arg) && cJSON_IsString(arg->next) &&
            (strcmp(arg->valuestring, "--parallel") == 0 || strcmp(arg->valuestring, "-np") == 0) &&
            span_u64(span_of(arg->next->valuestring), &slots) != ERR_OK)
            slots = 0; /* -1: it chooses, and does not say what */
    }
    for (size_t i = 0; slots <= SLOTS_MAX && i < models->count; i++) {
        if (span_eq_text(name, models->list[i].name))
            models->list[i].slots = (uint32_t)slots;
    }
}

enum err
adapter_parse_openai_models(struct span body, struct adapter_models *ret_models)
{
    enum err err = ERR_PARSE;
    cJSON *root = adapter_json(body);
    const cJSON *data = cJSON_GetObjectItemCaseSensitive(root, "data"), *item;

    if (!cJSON_IsArray(data))
        goto out;
    ret_models->count = 0;
    ret_models->cut = false;
    cJSON_ArrayForEach(item, data)
    {
        const cJSON *id = cJSON_GetObjectItemCaseSensitive(item, "id");

        if (!cJSON_IsString(id))
            continue;
        adapter_models_add(ret_models, span_of(id->valuestring),
                           state_of(cJSON_GetObjectItemCaseSensitive(item, "status")));
        note_slots(ret_models, span_of(id->valuestring),
                   cJSON_GetObjectItemCaseSensitive(item, "status"));
        adapter_models_size(/* llama.cpp's */
                            ret_models, span_of(id->valuestring),
                            cJSON_GetObjectItemCaseSensitive(
                                cJSON_GetObjectItemCaseSensitive(item, "meta"), "size"));
    }
    err = ERR_OK;
out:
    cJSON_Delete(root);
    return err;
}
