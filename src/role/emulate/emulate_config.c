/* emulate_config - the fleet as its operator would write it down: a JSON list, and a gateway's YAML
 * for each client region. Neither names what an operator cannot know (hidden speed, load from
 * elsewhere); a simulator's table does. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/log.h"
#include "role/emulate/emulate_world.h"

#define ADDRESS_BYTES_MAX 16u
#define PATH_BYTES_MAX    4096u

static void
address_text(uint32_t address, char text[ADDRESS_BYTES_MAX])
{
    (void)snprintf(text, ADDRESS_BYTES_MAX, "%u.%u.%u.%u", address >> 24, address >> 16 & 255,
                   address >> 8 & 255, address & 255);
}

static cJSON *
node_json(const struct emulate_fleet *f, const struct emulate_fleet_node *n,
          const struct emulate_options *o)
{
    struct span region = f->rtt.names[n->region];
    cJSON *root = cJSON_CreateObject(), *models;
    char address[ADDRESS_BYTES_MAX], url[64], text[128];

    address_text(n->address, address);
    (void)snprintf(url, sizeof(url), "http%s://%s:%u", o->tls_cert_file != NULL ? "s" : "", address,
                   o->port);
    (void)cJSON_AddStringToObject(root, "name", n->name);
    (void)cJSON_AddStringToObject(root, "url", url);
    span_copy(region, text, sizeof(text));
    (void)cJSON_AddStringToObject(root, "region", text);
    (void)cJSON_AddStringToObject(root, "operator", n->operator_name);
    (void)snprintf(text, sizeof(text), "%.*s-%u", (int)region.bytes, region.data, n->site);
    (void)cJSON_AddStringToObject(root, "site", text);
    (void)cJSON_AddStringToObject(root, "gpu", n->gpu);
    (void)cJSON_AddStringToObject(root, "kind", emulate_fleet_kind_name(n->kind));
    models = cJSON_AddArrayToObject(root, "models");
    for (uint32_t i = 0; i < n->held_count; i++)
        (void)cJSON_AddItemToArray(models,
                                   cJSON_CreateString(emulate_fleet_model_id(n, n->held[i].model)));
    return root;
}

enum err
emulate_print_fleet(const struct emulate_options *options)
{
    struct emulate_fleet fleet;
    enum err err = emulate_fleet_init(&fleet, options);
    cJSON *root = cJSON_CreateObject(), *list;
    char *text;

    if (err == ERR_OK) {
        (void)cJSON_AddNumberToObject(root, "seed", (double)options->seed);
        list = cJSON_AddArrayToObject(root, "nodes");
        for (uint32_t i = 0; i < fleet.node_count; i++)
            (void)cJSON_AddItemToArray(list, node_json(&fleet, &fleet.nodes[i], options));
        text = cJSON_Print(root);
        if (text == NULL || puts(text) < 0 || fflush(stdout) != 0)
            err = ERR_IO;
        cJSON_free(text);
    }
    cJSON_Delete(root);
    emulate_fleet_fini(&fleet);
    return err;
}

/* End what was written to path. */
static enum err
close_file(FILE *out, const char *path)
{
    bool bad = ferror(out) != 0;

    if (fclose(out) == 0 && !bad)
        return ERR_OK;
    log_error("%s: not written whole", path);
    return ERR_IO;
}

static FILE *
open_file(const char *path)
{
    FILE *out = fopen(path, "w");

    if (out == NULL)
        log_error("%s: %s", path, strerror(errno));
    return out;
}

static void
write_fleet(FILE *out, const struct emulate_fleet *f, const struct emulate_options *o)
{
    fputs("kind,name,region,model,params_b,gpu,speed,seed\n", out);
    for (uint32_t g = 0; g < o->gateway_count; g++)
        fprintf(out, "gateway,%s,%s,,,,,%llu\n", o->gateways[g].region, o->gateways[g].region,
                (unsigned long long)o->seed);
    for (uint32_t i = 0; i < f->node_count; i++) {
        const struct emulate_fleet_node *n = &f->nodes[i];
        const struct emulate_fleet_model *model = &emulate_fleet_models[n->held[0].model];
        struct span region = f->rtt.names[n->region];

        fprintf(out, "%s,%s,%.*s,%s,%.6g,%s,%.17g,%llu\n", emulate_fleet_kind_name(n->kind),
                n->name, (int)region.bytes, region.data, model->name, model->params_b, n->gpu,
                n->hidden_speed, (unsigned long long)n->seed);
    }
}

enum err
emulate_write_fleet(const struct emulate_options *options, const char *path)
{
    struct emulate_fleet fleet;
    enum err err = emulate_fleet_init(&fleet, options);
    FILE *out = err == ERR_OK ? open_file(path) : NULL;

    if (out != NULL) {
        write_fleet(out, &fleet, options);
        err = close_file(out, path);
    } else if (err == ERR_OK) {
        err = ERR_IO;
    }
    emulate_fleet_fini(&fleet);
    return err;
}

static void
write_config(FILE *out, const struct emulate_fleet *f, const struct emulate_options *o,
             const struct emulate_gateway *g, const char *pin)
{
    char address[ADDRESS_BYTES_MAX];

    fprintf(out, "# A gateway in %s over the emulated fleet of seed %llu.\n", g->region,
            (unsigned long long)o->seed);
    fprintf(out, "listen: {public: \"%s\", admin: \"%s\"}\nregion: %s\n", g->public_listen,
            g->admin_listen, g->region);
    address_text(g->source, address);
    fprintf(out, "upstream_bind: %s\n", address);
    if (o->constants_scale != 1.0)
        fprintf(out, "predict: {constants_scale: %.6g}\n", o->constants_scale);
    if (o->rtt_file != NULL)
        fprintf(out, "rtt: \"%s\"\n", o->rtt_file);
    fputs("models:\n", out);
    for (uint32_t m = 0; m < o->models; m++) {
        const struct emulate_fleet_model *model = &emulate_fleet_models[m];
        bool same = strcmp(model->llama_id, model->name) == 0;

        fprintf(out, "  %s: {aliases: [\"%s\"", model->name, model->vllm_id);
        if (!same)
            fprintf(out, ", \"%s\"", model->llama_id);
        for (uint32_t i = 0; i < f->node_count; i++)
            if (f->nodes[i].kind == EMULATE_FLEET_OLLAMA) {
                fprintf(out, ", \"%s\"", model->ollama_id);
                break;
            }
        fputs("]}\n", out);
    }
    fputs("engines:\n", out);
    for (uint32_t i = 0; i < f->node_count; i++) {
        const struct emulate_fleet_node *n = &f->nodes[i];
        struct span region = f->rtt.names[n->region];

        address_text(n->address, address);
        fprintf(out,
                "  - {name: %s, url: \"http%s://%s:%u\", region: %.*s, operator: %s, "
                "site: %.*s-%u, gpu: \"%s\"",
                n->name, pin[0] != '\0' ? "s" : "", address, o->port, (int)region.bytes,
                region.data, n->operator_name, (int)region.bytes, region.data, n->site, n->gpu);
        if (pin[0] != '\0')
            fprintf(out, ", pin: \"%s\"", pin);
        if (n->kind == EMULATE_FLEET_OLLAMA) /* it does not tell */
            fprintf(out, ", slots: %u", EMULATE_OLLAMA_PARALLEL);
        fputs("}\n", out);
    }
}

enum err
emulate_write_configs(const struct emulate_options *options, const char *dir)
{
    struct emulate_fleet fleet;
    enum err err = emulate_fleet_init(&fleet, options);
    char pin[TLS_PIN_TEXT_BYTES] = "";

    if (err == ERR_OK && options->tls_cert_file != NULL)
        err = emulate_tls_pin(options, pin);
    for (uint32_t g = 0; err == ERR_OK && g < options->gateway_count; g++) {
        char path[PATH_BYTES_MAX];
        FILE *out;

        (void)snprintf(path, sizeof(path), "%s/gateway-%s.yaml", dir, options->gateways[g].region);
        out = open_file(path);
        if (out == NULL) {
            err = ERR_IO;
            break;
        }
        write_config(out, &fleet, options, &options->gateways[g], pin);
        err = close_file(out, path);
    }
    emulate_fleet_fini(&fleet);
    return err;
}
