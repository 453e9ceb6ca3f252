/* fleet_load - tells of a fleet (what emulate --print-fleet wrote, on standard input) what people
 * want to know before the demo starts, and writes loadgen's options for a share of its capacity.
 *
 *   fleet_load SHARE PROMPT_TOKENS OUTPUT_TOKENS OPTIONS_FILE MODEL:WEIGHT...
 *
 * Capacity by the published figures (base/speed_table), hidden speeds unknown: requests a second of
 * this length with a full batch. A node with several models counts for each by its part. WEIGHT
 * skews the demand: 1 everywhere asks each model for the same share of its capacity. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"
#include "base/speed_table.h"
#include "role/emulate/emulate_fleet.h"

#define INPUT_BYTES_MAX (4u << 20)
#define BATCH           32.0 /* requests that share a decode step under load */
#define REGIONS_MAX     64u

struct tally {
    uint32_t nodes[EMULATE_FLEET_MODELS];
    double capacity[EMULATE_FLEET_MODELS]; /* requests a second */
    const char *regions[REGIONS_MAX];
    uint32_t region_count, node_count;
};

/* How long one request of the mean keeps the whole node busy. */
static double
request_ms(const struct speed_row *s, double prompt_tokens, double output_tokens)
{
    double step_ms = s->t0_ms / BATCH + s->tb_ms + s->tk_ms * prompt_tokens / 1000.0;

    return s->a_ms + s->b_ms * prompt_tokens + s->c_ms * prompt_tokens * prompt_tokens / 2.0 +
           output_tokens * step_ms;
}

static bool
is_model(const char *id, uint32_t model)
{
    return strcmp(id, emulate_fleet_models[model].vllm_id) == 0 ||
           strcmp(id, emulate_fleet_models[model].llama_id) == 0;
}

static void
tally_region(struct tally *t, const char *region)
{
    for (uint32_t i = 0; i < t->region_count; i++)
        if (strcmp(t->regions[i], region) == 0)
            return;
    if (t->region_count < REGIONS_MAX)
        t->regions[t->region_count++] = region;
}

static void
tally_node(struct tally *t, const cJSON *node, double prompt_tokens, double output_tokens)
{
    const char *gpu = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(node, "gpu"));
    const char *region = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(node, "region"));
    const cJSON *models = cJSON_GetObjectItemCaseSensitive(node, "models"), *model;
    struct speed_row row;

    if (gpu == NULL || region == NULL)
        return;
    t->node_count++;
    tally_region(t, region);
    cJSON_ArrayForEach(model, models)
    {
        const char *id = cJSON_GetStringValue(model);

        for (uint32_t m = 0; id != NULL && m < EMULATE_FLEET_MODELS; m++) {
            if (!is_model(id, m) ||
                speed_table_find(emulate_fleet_models[m].params_b, span_of(gpu), &row) != ERR_OK)
                continue;
            t->nodes[m]++;
            t->capacity[m] += 1000.0 / request_ms(&row, prompt_tokens, output_tokens) /
                              cJSON_GetArraySize(models);
        }
    }
}

/* The weight given to this model among MODEL:WEIGHT arguments; 1 when none is. */
static double
weight_of(const char *model, char *const *arguments, int count)
{
    size_t bytes = strlen(model);
    double weight;

    for (int i = 0; i < count; i++)
        if (strncmp(arguments[i], model, bytes) == 0 && arguments[i][bytes] == ':' &&
            span_f64(span_of(arguments[i] + bytes + 1), &weight) == ERR_OK && weight >= 0.0)
            return weight;
    return 1.0;
}

static enum err
tell(const struct tally *t, double share, const char *options_file, char *const *weights, int count)
{
    FILE *out = fopen(options_file, "w");
    bool bad;

    if (out == NULL) {
        perror(options_file);
        return ERR_IO;
    }
    printf("%u nodes in %u regions\n", t->node_count, t->region_count);
    for (uint32_t m = 0; m < EMULATE_FLEET_MODELS; m++) {
        const char *name = emulate_fleet_models[m].name;
        double rate = share * t->capacity[m] * weight_of(name, weights, count);

        printf("  %-14s on %2u nodes, about %4.0f requests/s in all; asked for %5.1f\n", name,
               t->nodes[m], t->capacity[m], rate);
        fprintf(out, "--model %s:%.2f\n", name, rate);
    }
    bad = ferror(out) != 0;
    if (fclose(out) != 0 || bad) {
        perror(options_file);
        return ERR_IO;
    }
    return ERR_OK;
}

int
main(int argc, char **argv)
{
    double share, prompt_tokens, output_tokens;
    struct tally tally = {0};
    const cJSON *nodes, *node;
    enum err err = ERR_PARSE;
    char *text = malloc(INPUT_BYTES_MAX);
    cJSON *root;

    if (argc < 5 || span_f64(span_of(argv[1]), &share) != ERR_OK ||
        span_f64(span_of(argv[2]), &prompt_tokens) != ERR_OK ||
        span_f64(span_of(argv[3]), &output_tokens) != ERR_OK || text == NULL) {
        fprintf(stderr, "usage: fleet_load SHARE PROMPT_TOKENS OUTPUT_TOKENS OPTIONS_FILE "
                        "MODEL:WEIGHT... <FLEET.json\n");
        free(text);
        return 2;
    }
    root = cJSON_ParseWithLength(text, fread(text, 1, INPUT_BYTES_MAX, stdin));
    nodes = cJSON_GetObjectItemCaseSensitive(root, "nodes");
    cJSON_ArrayForEach(node, nodes) tally_node(&tally, node, prompt_tokens, output_tokens);
    if (tally.node_count > 0)
        err = tell(&tally, share, argv[4], argv + 5, argc - 5);
    else
        fprintf(stderr, "fleet_load: no fleet in the input\n");
    cJSON_Delete(root);
    free(text);
    return err == ERR_OK ? 0 : 1;
}
