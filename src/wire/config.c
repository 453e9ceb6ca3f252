/* config - the schema of the gateway's configuration, and the checks that look at several keys; see
 * config.h. The tables below are the whole schema: a new key is a row and a member.
 *
 * Everything is read before anything is judged, so that one run of `check` shows every problem. */
#include "wire/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/rule.h"
#include "wire/adapter.h"
#include "wire/config_bus.h"
#include "wire/config_gateways.h"
#include "wire/config_parts.h"
#include "wire/config_tls.h"
#include "wire/json.h"
#include "wire/schema.h"

#define SECOND_NS    1000000000u
#define LIMIT_NS_MAX 604800000000000u /* a week */
#define BYTES_MIN    1024u
#define BYTES_MAX    ((uint64_t)1 << 40)
#define SCALE_MIN    0.1
#define SCALE_MAX    10.0

/* ---- Readers of single keys; what they write at base + offset. */

#define MEMBER(type) ((type *)(void *)((char *)base + key->offset))

const char *const config_log_levels[CONFIG_LOG_LEVELS] = {"error", "warn", "info", "debug"};

/* struct span: host:port */
static void
read_listen(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, void *base)
{
    struct span host;
    uint16_t port;

    if (!schema_is_scalar(r, key, node))
        return;
    if (config_host_port(node->text, &host, &port) == ERR_OK)
        *MEMBER(struct span) = node->text;
    else
        schema_bad_value(r, key, node, "an address and a port");
}

/* struct span: an address without a port */
static void
read_address(struct schema_reader *r, const struct schema_key *key,
             const struct yaml_tree_node *node, void *base)
{
    struct span host;
    uint16_t port = 0;
    char text[128];

    if (!schema_is_scalar(r, key, node))
        return;
    snprintf(text, sizeof(text),
             span_find(node->text, ':') < node->text.bytes ? "[%.*s]:1" : "%.*s:1",
             (int)(node->text.bytes < 100 ? node->text.bytes : 100), node->text.data);
    if (config_host_port(span_of(text), &host, &port) == ERR_OK && port == 1)
        *MEMBER(struct span) = node->text;
    else
        schema_bad_value(r, key, node, "an address");
}

/* bool */
void
config_read_auth(struct schema_reader *r, const struct schema_key *key,
                 const struct yaml_tree_node *node, void *base)
{
    if (!schema_is_scalar(r, key, node))
        return;
    if (span_eq_text(node->text, "none"))
        *MEMBER(bool) = true;
    else
        schema_bad_value(r, key, node, "`none` (with keys, leave it out)");
}

/* bool: for the whole network */
static void
read_scope(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
           void *base)
{
    bool network = span_eq_text(node->text, "network");

    if (!schema_is_scalar(r, key, node))
        return;
    if (!network && !span_eq_text(node->text, "tenant"))
        schema_bad_value(r, key, node, "tenant or network");
    *MEMBER(bool) = network;
}

/* uint32_t: at which place the value stands among these names. false: at none, told. */
static bool
read_one_of(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, const char *const *names, uint32_t count,
            const char *wanted, uint32_t *ret_place)
{
    if (!schema_is_scalar(r, key, node))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (span_eq_text(node->text, names[i])) {
            *ret_place = i;
            return true;
        }
    }
    schema_bad_value(r, key, node, wanted);
    return false;
}

/* uint32_t: enum log_level */
static void
read_log_level(struct schema_reader *r, const struct schema_key *key,
               const struct yaml_tree_node *node, void *base)
{
    (void)read_one_of(r, key, node, config_log_levels, CONFIG_LOG_LEVELS,
                      "one of error, warn, info and debug", MEMBER(uint32_t));
}

/* bool: JSON */
static void
read_log_format(struct schema_reader *r, const struct schema_key *key,
                const struct yaml_tree_node *node, void *base)
{
    static const char *const names[] = {"text", "json"};
    uint32_t place;

    if (read_one_of(r, key, node, names, 2, "text or json", &place))
        *MEMBER(bool) = place == 1;
}

/* enum rule_id */
static void
read_rule(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
          void *base)
{
    const char *names[RULE_COUNT], *nearest;

    if (!schema_is_scalar(r, key, node))
        return;
    for (uint32_t id = 0; id < RULE_COUNT; id++) {
        names[id] = rule_by_id(id)->name;
        if (span_eq_text(node->text, names[id])) {
            *MEMBER(enum rule_id) = (enum rule_id)id;
            return;
        }
    }
    nearest = config_nearest(node->text, names, RULE_COUNT);
    config_problem(
        r->problems, node->line, node->column, false,
        "unknown rule `%.60s`%s%s%s; there are time, nearest, least_request, round_robin "
        "and random",
        node->text.data, nearest != NULL ? "; did you mean `" : "", nearest != NULL ? nearest : "",
        nearest != NULL ? "`?" : "");
}

/* struct span: an engine's kind */
static void
read_kind(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
          void *base)
{
    char names[128];
    size_t bytes = 0;
    const struct adapter *a;

    if (!schema_is_scalar(r, key, node))
        return;
    if (adapter_by_name(node->text) != NULL) {
        *MEMBER(struct span) = node->text;
        return;
    }
    for (size_t i = 0; (a = adapter_at(i)) != NULL && bytes < sizeof(names); i++)
        bytes += (size_t)snprintf(names + bytes, sizeof(names) - bytes, "%s%s", i > 0 ? ", " : "",
                                  a->name);
    config_problem(
        r->problems, node->line, node->column, false,
        "unknown kind of engine `%.60s`; leave it out to have it asked, or write one of %s",
        node->text.data, names);
}

/* double */
static void
read_scale(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
           void *base)
{
    double scale;

    if (!schema_is_scalar(r, key, node))
        return;
    if (span_f64(node->text, &scale) == ERR_OK && scale >= SCALE_MIN && scale <= SCALE_MAX)
        *MEMBER(double) = scale;
    else
        schema_bad_value(r, key, node, "a number from 0.1 to 10");
}

/* double: billions */
static void
read_params(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, void *base)
{
    if (!schema_is_scalar(r, key, node))
        return;
    if (config_params(node->text, MEMBER(double)) != ERR_OK)
        schema_bad_value(r, key, node, "a number of parameters (a number and B or M)");
}

/* struct config_engine */
static void
read_url(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
         void *base)
{
    struct config_engine *engine = base;
    enum err err;

    if (!schema_is_scalar(r, key, node))
        return;
    err = config_url(node->text, &engine->host, &engine->port);
    if (err == ERR_PARSE) {
        schema_bad_value(r, key, node,
                         "the address of an engine (http://host:port, no path: /v1 is added; or "
                         "https)");
        return;
    }
    engine->url = node->text;
    engine->tls = err == ERR_UNSUPPORTED;
}

/* struct config_engine */
static void
read_credential(struct schema_reader *r, const struct schema_key *key,
                const struct yaml_tree_node *node, void *base)
{
    struct config_engine *engine = base;

    if (!schema_is_scalar(r, key, node))
        return;
    if (span_starts(node->text, SPAN_LIT("file:"))) {
        engine->key_file = span_from(node->text, sizeof("file:") - 1);
        if (engine->key_file.bytes == 0)
            schema_bad_value(r, key, node, "file: and a path");
        return;
    }
    engine->key = node->text;
    if (!node->substituted)
        config_problem(r->problems, node->line, node->column, true,
                       "a secret stands in the configuration; keep it out with `key: file:PATH` or "
                       "`key: \"${VAR}\"`");
}

/* ---- Models. */

bool
config_is_model_name(struct span name)
{
    return name.bytes > 0 && name.bytes <= CONFIG_MODEL_NAME_BYTES_MAX &&
           span_find(name, ' ') == name.bytes;
}

/* struct config_model */
static void
read_aliases(struct schema_reader *r, const struct schema_key *key,
             const struct yaml_tree_node *node, void *base)
{
    struct config_model *model = base;

    if (node->type != YAML_TREE_SEQUENCE) {
        config_problem(r->problems, node->line, node->column, false,
                       "aliases are a list; write for example `aliases: %s`", key->example);
        return;
    }
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        if (n->type == YAML_TREE_BAD)
            continue;
        if (n->type != YAML_TREE_SCALAR || !config_is_model_name(n->text)) {
            config_problem(r->problems, n->line, n->column, false,
                           "an alias is a name of 1 to %u characters without spaces",
                           CONFIG_MODEL_NAME_BYTES_MAX);
        } else if (model->alias_count == CONFIG_ALIASES_MAX) {
            config_problem(r->problems, n->line, n->column, false,
                           "more than %u aliases of one model", CONFIG_ALIASES_MAX);
            return;
        } else {
            model->aliases[model->alias_count++] = n->text;
        }
    }
}

static const struct schema_key model_keys[] = {
    {.name = "aliases", .read = read_aliases, .example = "[\"llama3.1:8b\"]"},
    {.name = "params",
     .read = read_params,
     .offset = offsetof(struct config_model, params_b),
     .example = "8B"},
    {.name = "accept", .read = schema_unbuilt},
    {.name = NULL},
};

/* struct config */
static void
read_models(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, void *base)
{
    struct config *config = base;

    (void)key;
    if (node->type != YAML_TREE_MAPPING) {
        config_problem(r->problems, node->line, node->column, false,
                       "models are names with settings; write for example `models: {llama-3.1-8b: "
                       "{aliases: [\"llama3.1:8b\"]}}`");
        return;
    }
    if (node->count > CONFIG_MODELS_MAX) {
        config_problem(r->problems, node->line, node->column, false, "more than %u models",
                       CONFIG_MODELS_MAX);
        return;
    }
    config->models = arena_zeroed(r->arena, node->count * sizeof(config->models[0]));
    if (config->models == NULL) {
        schema_out_of_memory(r, node);
        return;
    }
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        struct config_model *model = &config->models[config->model_count++];
        bool empty = n->type == YAML_TREE_SCALAR && n->text.bytes == 0; /* `NAME:` alone is fine */

        model->name = n->key;
        model->line = n->key_line;
        if (!config_is_model_name(n->key))
            config_problem(r->problems, n->key_line, n->key_column, false,
                           "a model's name has 1 to %u characters and no spaces",
                           CONFIG_MODEL_NAME_BYTES_MAX);
        if (!empty)
            schema_read(r, model_keys, "a model's settings", n, model);
    }
}

/* ---- Engines. */

#define ENGINE(member_) .offset = offsetof(struct config_engine, member_)

static const struct schema_key engine_keys[] = {
    {.name = "url", .read = read_url, .example = "http://10.0.0.5:8000"},
    {.name = "name", .read = schema_name, ENGINE(name), .example = "ams1-gpu0"},
    {.name = "key", .read = read_credential, .example = "file:/etc/isochrone/engine.key"},
    {.name = "region", .read = schema_name, ENGINE(region), .example = "eu-west"},
    {.name = "operator", .read = schema_name, ENGINE(operator), .example = "acme"},
    {.name = "site", .read = schema_name, ENGINE(site), .example = "ams1"},
    {.name = "gpu", .read = schema_name, ENGINE(gpu), .example = "h100"},
    {.name = "kind", .read = read_kind, ENGINE(kind), .example = "vllm"},
    {.name = "slots",
     .read = schema_u32,
     ENGINE(slots),
     .example = "256",
     .min = 1,
     .max = CONFIG_SLOTS_MAX},
    {.name = "pin",
     .read = config_tls_read_pin,
     .example = "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
    {.name = "ca", .read = schema_file, ENGINE(ca_file), .example = "file:/etc/isochrone/ca.crt"},
    {.name = "client_cert",
     .read = schema_file,
     ENGINE(client_cert_file),
     .example = "file:/etc/isochrone/gateway.crt"},
    {.name = "client_key",
     .read = schema_file,
     ENGINE(client_key_file),
     .example = "file:/etc/isochrone/gateway.key"},
    {.name = NULL},
};

/* A name out of host and port: lower case, every other character a dash. */
static void
engine_name(struct schema_reader *r, const struct yaml_tree_node *node,
            struct config_engine *engine)
{
    char text[CONFIG_NAME_BYTES_MAX + 1];
    int room = (int)CONFIG_NAME_BYTES_MAX - 6; /* for the port */
    int host = (int)(engine->host.bytes < (size_t)room ? engine->host.bytes : (size_t)room);

    snprintf(text, sizeof(text), "%.*s-%u", host, engine->host.data, engine->port);
    for (char *c = text; *c != '\0'; c++) {
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
        else if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9')))
            *c = '-';
    }
    if (arena_copy(r->arena, span_of(text), &engine->name) != ERR_OK)
        schema_out_of_memory(r, node);
}

/* struct config */
void
config_read_engines(struct schema_reader *r, const struct schema_key *key,
                    const struct yaml_tree_node *node, void *base)
{
    struct config *config = base;

    (void)key;
    if (node->type != YAML_TREE_SEQUENCE || node->count > CONFIG_ENGINES_MAX) {
        if (node->type == YAML_TREE_SEQUENCE)
            config_problem(r->problems, node->line, node->column, false, "more than %u engines",
                           CONFIG_ENGINES_MAX);
        else
            config_problem(r->problems, node->line, node->column, false,
                           "engines are a list; write for example `engines: [{url: "
                           "\"http://10.0.0.5:8000\"}]`");
        return;
    }
    config->engines = arena_zeroed(r->arena, node->count * sizeof(config->engines[0]));
    if (config->engines == NULL) {
        schema_out_of_memory(r, node);
        return;
    }
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        struct config_engine *engine = &config->engines[config->engine_count++];

        engine->line = n->line;
        schema_read(r, engine_keys, "an engine", n, engine);
        if (n->type == YAML_TREE_MAPPING && yaml_tree_get(n, "url") == NULL)
            config_problem(r->problems, n->line, n->column, false,
                           "an engine needs a url; write for example `url: http://10.0.0.5:8000`");
        config_tls_check_engine(r, engine, "pin", n);
        if (engine->name.bytes == 0 && engine->host.bytes > 0)
            engine_name(r, n, engine);
    }
}

/* ---- The whole. */

#define AT(member_) .offset = offsetof(struct config, member_)
#define LIMIT_NS    .min = 1000000, .max = LIMIT_NS_MAX
#define LIMIT_BYTES .min = BYTES_MIN, .max = BYTES_MAX

const struct schema_key config_listen_keys[] = {
    {.name = "public", .read = read_listen, AT(public_listen), .example = "127.0.0.1:4141"},
    {.name = "admin", .read = read_listen, AT(admin_listen), .example = "127.0.0.1:4142"},
    {.name = "tls", .read = config_tls_read_listener, AT(tls), .keys = config_tls_listener_keys},
    {.name = "admin_tls",
     .read = config_tls_read_admin,
     AT(admin_tls),
     .keys = config_tls_listener_keys},
    {.name = NULL},
};

const struct schema_key config_limit_keys[] = {
    {.name = "body_bytes_max",
     .read = schema_size,
     AT(body_bytes_max),
     .example = "64MiB",
     LIMIT_BYTES},
    {.name = "buffers_bytes_max",
     .read = schema_size,
     AT(buffers_bytes_max),
     .example = "1GiB",
     LIMIT_BYTES},
    {.name = "buffers_bytes_per_key_max",
     .read = schema_size,
     AT(buffers_bytes_per_key_max),
     .example = "256MiB",
     LIMIT_BYTES},
    {.name = "upload_bytes_per_second_min",
     .read = schema_size,
     AT(upload_bytes_per_second_min),
     .example = "4KiB",
     .max = CONFIG_RATE_MAX},
    {.name = "download_bytes_per_second_min",
     .read = schema_size,
     AT(download_bytes_per_second_min),
     .example = "1KiB",
     .max = CONFIG_RATE_MAX},
    {.name = "pace_grace",
     .read = schema_duration_ns,
     AT(pace_grace_ns),
     .example = "10s",
     LIMIT_NS},
    {.name = "connections_per_address_max",
     .read = schema_u32,
     AT(connections_per_address_max),
     .example = "8192",
     .min = 1,
     .max = CONFIG_CONNECTIONS_MAX},
    {.name = "json_values_max",
     .read = schema_u32,
     AT(json_values_max),
     .example = "1048576",
     .min = CONFIG_JSON_VALUES_MIN,
     .max = CONFIG_JSON_VALUES_MAX},
    {.name = "connect", .read = schema_duration_ns, AT(connect_ns), .example = "2s", LIMIT_NS},
    {.name = "first_byte",
     .read = schema_duration_ns,
     AT(first_byte_ns),
     .example = "120s",
     LIMIT_NS},
    {.name = "idle", .read = schema_duration_ns, AT(idle_ns), .example = "60s", LIMIT_NS},
    {.name = "drain", .read = schema_duration_ns, AT(drain_ns), .example = "30s", LIMIT_NS},
    {.name = "holds_max",
     .read = schema_u32,
     AT(holds_max),
     .example = "1024",
     .min = 1,
     .max = CONFIG_HOLDS_MAX},
    {.name = "usage_days",
     .read = schema_u32,
     AT(usage_days),
     .example = "400",
     .min = 1,
     .max = CONFIG_USAGE_DAYS_MAX},
    {.name = NULL},
};

static const struct schema_key access_log_keys[] = {
    {.name = "file",
     .read = schema_path,
     AT(access_log_file),
     .example = "/var/log/isochrone/access.log"},
    {.name = NULL},
};

const struct schema_key config_log_keys[] = {
    {.name = "file",
     .read = schema_path,
     AT(log_file),
     .example = "/var/log/isochrone/isochrone.log"},
    {.name = "level", .read = read_log_level, AT(log_level), .example = "info"},
    {.name = "format", .read = read_log_format, AT(log_json), .example = "text"},
    {.name = NULL},
};

static const struct schema_key prefix_keys[] = {
    {.name = "scope", .read = read_scope, AT(prefix_network), .example = "tenant"},
    {.name = "secret",
     .read = schema_file,
     AT(prefix_secret_file),
     .example = "file:/etc/isochrone/prefix.secret"},
    {.name = NULL},
};

static const struct schema_key slo_keys[] = {
    {.name = "ttft_p90", .read = schema_duration_ms, AT(ttft_goal_ms), .example = "1s", LIMIT_NS},
    {.name = "tpot_p90", .read = schema_duration_ms, AT(tpot_goal_ms), .example = "60ms", LIMIT_NS},
    {.name = NULL},
};

static const struct schema_key predict_keys[] = {
    {.name = "constants_scale", .read = read_scale, AT(constants_scale), .example = "1.0"},
    {.name = NULL},
};

static const struct schema_key keys[] = {
    {.name = "listen", .read = schema_mapping, .keys = config_listen_keys},
    {.name = "region", .read = schema_name, AT(region), .example = "eu-west"},
    {.name = "upstream_bind", .read = read_address, AT(upstream_bind), .example = "10.0.0.1"},
    {.name = "keys",
     .read = schema_file,
     AT(keys_file),
     .example = "file:/etc/isochrone/keys.yaml"},
    {.name = "auth", .read = config_read_auth, AT(auth_none), .example = "none"},
    {.name = "admin_token",
     .read = schema_file,
     AT(admin_token_file),
     .example = "file:/etc/isochrone/admin.token"},
    {.name = "access_log", .read = schema_mapping, .keys = access_log_keys},
    {.name = "log", .read = schema_mapping, .keys = config_log_keys},
    {.name = "threads",
     .read = schema_u32,
     AT(threads),
     .example = "2",
     .min = 1,
     .max = CONFIG_THREADS_MAX},
    {.name = "limits", .read = schema_mapping, .keys = config_limit_keys},
    {.name = "rule", .read = read_rule, AT(rule), .example = "time"},
    {.name = "slo", .read = schema_mapping, .keys = slo_keys},
    {.name = "prefix", .read = schema_mapping, .keys = prefix_keys},
    {.name = "predict", .read = schema_mapping, .keys = predict_keys},
    {.name = "rtt", .read = schema_path, AT(rtt_file), .example = "/etc/isochrone/rtt.csv"},
    {.name = "name", .read = schema_name, AT(name), .example = "ams-gw"},
    {.name = "key",
     .read = schema_file,
     AT(key_file),
     .example = "file:/etc/isochrone/gateway.key"},
    {.name = "state", .read = schema_path, AT(state_dir), .example = "/var/lib/isochrone"},
    {.name = "models", .read = read_models},
    {.name = "engines", .read = config_read_engines},
    {.name = "gateways", .read = config_gateways_read},
    {.name = "bus", .read = config_bus_read, AT(bus), .keys = config_bus_keys},
    {.name = "operators", .read = schema_mapping, AT(operators), .keys = config_operators_keys},
    {.name = NULL},
};

void
config_defaults(struct config *ret_config)
{
    *ret_config = (struct config){
        .public_listen = SPAN_LIT("127.0.0.1:4141"),
        .admin_listen = SPAN_LIT("127.0.0.1:4142"),
        .region = SPAN_LIT("local"),
        .body_bytes_max = (uint64_t)64 << 20,
        .buffers_bytes_max = (uint64_t)1 << 30,
        .upload_bytes_per_second_min = 4096,
        .download_bytes_per_second_min = 1024,
        .pace_grace_ns = (uint64_t)10 * SECOND_NS,
        .connections_per_address_max = 8192,
        .json_values_max = JSON_VALUES_MAX,
        .connect_ns = (uint64_t)2 * SECOND_NS,
        .first_byte_ns = (uint64_t)120 * SECOND_NS,
        .idle_ns = (uint64_t)60 * SECOND_NS,
        .drain_ns = (uint64_t)30 * SECOND_NS,
        .threads = 1,
        .holds_max = 1024,
        .log_level = 2,
        .usage_days = 400,
        .rule = RULE_TIME,
        .ttft_goal_ms = (double)NAN,
        .tpot_goal_ms = (double)NAN,
        .constants_scale = 1.0,
    };
}

/* ---- Checks over several keys. */

static int
place_order(const void *a, const void *b)
{
    const struct config_place *x = a, *y = b;
    size_t bytes = x->text.bytes < y->text.bytes ? x->text.bytes : y->text.bytes;
    int order = bytes > 0 ? memcmp(x->text.data, y->text.data, bytes) : 0;

    if (order == 0)
        order = (x->text.bytes > y->text.bytes) - (x->text.bytes < y->text.bytes);
    if (order == 0)
        order = (x->line > y->line) - (x->line < y->line);
    if (order == 0)
        order = (x->column > y->column) - (x->column < y->column);
    return order;
}

void
config_check_unique(struct schema_reader *r, struct config_place *places, size_t count,
                    const char *what)
{
    const struct config_place *first = places;

    if (count > 0)
        qsort(places, count, sizeof(places[0]), place_order);
    for (size_t i = 1; i < count; i++) {
        if (!span_eq(places[i].text, first->text)) {
            first = &places[i];
            continue;
        }
        config_problem(r->problems, places[i].line, places[i].column, false,
                       "%s `%.*s` is used twice; it stands on line %u already", what,
                       (int)(places[i].text.bytes < 80 ? places[i].text.bytes : 80),
                       places[i].text.data, first->line);
    }
}

/* Names and addresses of engines: `name`, else `url`, is where a clash is shown. */
void
config_check_engines(struct schema_reader *r, const struct config *config,
                     const struct yaml_tree_node *list)
{
    struct config_place *names = arena_take(r->arena, config->engine_count * sizeof(*names));
    struct config_place *urls = arena_take(r->arena, config->engine_count * sizeof(*urls));
    const struct yaml_tree_node *n = list != NULL ? list->first : NULL;
    size_t count = 0;

    if (names == NULL || urls == NULL) {
        schema_out_of_memory(r, list);
        return;
    }
    for (size_t i = 0; i < config->engine_count && n != NULL; i++, n = n->next) {
        const struct config_engine *engine = &config->engines[i];
        const struct yaml_tree_node *url = yaml_tree_get(n, "url"),
                                    *name = yaml_tree_get(n, "name");
        struct span address;

        if (engine->host.bytes == 0 || url == NULL)
            continue;
        if (arena_printf(r->arena, &address, "%.*s:%u", (int)engine->host.bytes, engine->host.data,
                         engine->port) != ERR_OK) {
            schema_out_of_memory(r, n);
            return;
        }
        name = name != NULL ? name : url;
        names[count] = (struct config_place){engine->name, name->line, name->column};
        urls[count++] = (struct config_place){address, url->line, url->column};
    }
    config_check_unique(r, urls, count, "the address");
    config_check_unique(r, names, count, "the engine's name");
}

static void
check_models(struct schema_reader *r, const struct config *config,
             const struct yaml_tree_node *list)
{
    size_t room = config->model_count * (CONFIG_ALIASES_MAX + 1), count = 0;
    struct config_place *places = arena_take(r->arena, room * sizeof(*places));
    const struct yaml_tree_node *n = list != NULL ? list->first : NULL;

    if (places == NULL) {
        schema_out_of_memory(r, list);
        return;
    }
    for (size_t i = 0; i < config->model_count && n != NULL; i++, n = n->next) {
        const struct yaml_tree_node *aliases = yaml_tree_get(n, "aliases");
        const struct yaml_tree_node *alias = aliases != NULL ? aliases->first : NULL;

        places[count++] = (struct config_place){n->key, n->key_line, n->key_column};
        for (size_t k = 0; k < CONFIG_ALIASES_MAX && alias != NULL; k++, alias = alias->next) {
            if (alias->type == YAML_TREE_SCALAR)
                places[count++] = (struct config_place){alias->text, alias->line, alias->column};
        }
    }
    config_check_unique(r, places, count, "the model name or alias");
}

struct span
config_host(struct span listen)
{
    struct span host = {NULL, 0};
    uint16_t port;

    return config_host_port(listen, &host, &port) == ERR_OK ? host : (struct span){NULL, 0};
}

/* Off loopback nobody may come in by omission. */
static void
check_public(struct schema_reader *r, const struct config *config,
             const struct yaml_tree_node *root)
{
    const struct yaml_tree_node *open = yaml_tree_get(yaml_tree_get(root, "listen"), "public");
    const struct yaml_tree_node *auth = yaml_tree_get(root, "auth");

    if (open != NULL && !config_is_loopback(config_host(config->public_listen)) &&
        !config->auth_none && yaml_tree_get(root, "keys") == NULL)
        config_problem(
            r->problems, open->line, open->column, false,
            "the public listener is not on loopback and has no keys: set `keys: file:PATH`, "
            "or `auth: none` to let everybody in");
    if (auth != NULL && config->auth_none && config->keys_file.bytes > 0)
        config_problem(r->problems, auth->line, auth->column, false,
                       "`auth: none` and `keys` contradict each other: keep one");
}

void
config_check_admin(struct schema_reader *r, const struct config *config,
                   const struct yaml_tree_node *root)
{
    const struct yaml_tree_node *listen = yaml_tree_get(root, "listen");
    const struct yaml_tree_node *admin = yaml_tree_get(listen, "admin");
    const struct yaml_tree_node *place = admin != NULL ? admin : yaml_tree_get(listen, "public");

    if (admin != NULL && !config_is_loopback(config_host(config->admin_listen)) &&
        yaml_tree_get(root, "admin_token") == NULL)
        config_problem(r->problems, admin->line, admin->column, false,
                       "the admin listener is not on loopback and has no token: set `admin_token: "
                       "file:PATH`");
    if (admin != NULL && !config_is_loopback(config_host(config->admin_listen)) &&
        yaml_tree_get(listen, "admin_tls") == NULL)
        config_problem(r->problems, admin->line, admin->column, false,
                       "the admin listener is not on loopback and its token would go in clear: set "
                       "`admin_tls: {cert: file:PATH, key: file:PATH}`, or `admin_tls: none`");
    if (place != NULL && span_eq(config->public_listen, config->admin_listen) &&
        !span_starts(span_from(config->public_listen, config->public_listen.bytes - 2),
                     SPAN_LIT(":0")))
        config_problem(r->problems, place->line, place->column, false,
                       "the public and the admin listener have one address: give them two");
}

void
config_check_limits(struct schema_reader *r, const struct config *config,
                    const struct yaml_tree_node *root)
{
    const struct yaml_tree_node *limits = yaml_tree_get(root, "limits");

    if (limits != NULL && config->buffers_bytes_max < config->body_bytes_max)
        config_problem(r->problems, limits->line, limits->column, false,
                       "buffers_bytes_max (all bodies together) is less than body_bytes_max (one)");
    if (limits != NULL && config->buffers_bytes_per_key_max != 0 &&
        config->buffers_bytes_per_key_max < config->body_bytes_max)
        config_problem(r->problems, limits->line, limits->column, false,
                       "buffers_bytes_per_key_max (all bodies of a key) is less than "
                       "body_bytes_max (one)");
    if (config->log_file.bytes > 0 && span_eq(config->log_file, config->access_log_file)) {
        const struct yaml_tree_node *file = yaml_tree_get(yaml_tree_get(root, "log"), "file");
        config_problem(r->problems, file->line, file->column, false,
                       "log.file and access_log.file are one file: give them two");
    }
}

static int
problem_order(const void *a, const void *b)
{
    const struct config_problem *x = a, *y = b;

    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return strcmp(x->text, y->text);
}

void
config_problems_sort(struct config_problems *problems)
{
    if (problems->count > 0)
        qsort(problems->list, problems->count, sizeof(problems->list[0]), problem_order);
}

/* What we say to other gateways is signed, or they do not take it. */
static void
check_gateways(struct schema_reader *r, const struct config *config,
               const struct yaml_tree_node *list)
{
    for (size_t i = 0; i < config->gateway_count; i++) {
        if (config->gateways[i].at.url.bytes == 0 || config->key_file.bytes > 0)
            continue;
        config_problem(r->problems, list->line, list->column, false,
                       "what is posted to a gateway's url is signed: `isochrone key gateway` makes "
                       "a key, `key: file:PATH` names it");
        return;
    }
}

enum err
config_parse(struct span yaml, config_env_fn *env, void *env_user, struct arena *arena,
             struct config *ret_config, struct config_problems *ret_problems)
{
    struct schema_reader r = {
        .arena = arena, .problems = ret_problems, .env = env, .env_user = env_user};
    struct yaml_tree_node *root = NULL;
    enum err err;

    config_defaults(ret_config);
    ret_problems->count = 0;
    ret_problems->errors = 0;
    err = yaml_tree_parse(yaml, arena, ret_problems, &root);
    if (err == ERR_OK && root != NULL) {
        schema_substitute(&r, root);
        schema_read(&r, keys, "the configuration", root, ret_config);
        check_public(&r, ret_config, root);
        config_check_admin(&r, ret_config, root);
        check_models(&r, ret_config, yaml_tree_get(root, "models"));
        config_check_engines(&r, ret_config, yaml_tree_get(root, "engines"));
        config_gateways_check(&r, ret_config, yaml_tree_get(root, "gateways"));
        check_gateways(&r, ret_config, yaml_tree_get(root, "gateways"));
    }
    if (err == ERR_OK)
        config_check_limits(&r, ret_config, root);
    if (err == ERR_OK && ret_config->engine_count == 0 && yaml_tree_get(root, "engines") == NULL &&
        ret_config->bus.nats_count == 0 && !ret_config->bus.http)
        config_problem(r.problems, 1, 1, true,
                       "no engines, and no bus that nodes could come by (`bus: {http: true}`): "
                       "every request will be refused");
    ret_config->unbuilt = r.unbuilt;
    config_problems_sort(ret_problems);
    return ret_problems->errors > 0 ? ERR_PARSE : ERR_OK;
}
