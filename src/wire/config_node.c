/* config_node - the schema of a node's configuration; see config_node.h. */
#include "wire/config_node.h"

#include "wire/config_bus.h"
#include "wire/config_gateways.h"
#include "wire/config_parts.h"
#include "wire/config_tls.h"
#include "wire/schema.h"

#define GUARD_LOADING_NS 120000000000u /* as long as gateways wait for a first token */
#define GUARD_WAITING_NS 30000000000u
#define GUARD_NS_MIN     1000000u /* a millisecond */

/* ---- Labels. */

/* struct message_labels */
static void
read_labels(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, void *base)
{
    struct config_node *config = base;

    if (node->type != YAML_TREE_MAPPING) {
        config_problem(r->problems, node->line, node->column, false,
                       "labels are names with texts; write for example `labels: %s`", key->example);
        return;
    }
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        enum err err;

        if (n->duplicate || n->type == YAML_TREE_BAD)
            continue;
        err = n->type == YAML_TREE_SCALAR ? message_label_add(&config->labels, n->key, n->text)
                                          : ERR_PARSE;
        if (err == ERR_FULL)
            config_problem(r->problems, n->key_line, n->key_column, false, "more than %u labels",
                           MESSAGE_LABELS_MAX);
        else if (err != ERR_OK)
            config_problem(
                r->problems, n->line, n->column, false,
                "a label is a name of up to %u of a-z, 0-9, _ and -, and a text of up to "
                "%u printable characters without quotes",
                MESSAGE_LABEL_NAME_BYTES_MAX, MESSAGE_LABEL_BYTES_MAX);
    }
}

/* ---- Models. */

static const struct schema_key node_model_keys[] = {
    {.name = "bytes",
     .read = schema_size,
     .offset = offsetof(struct config_node_model, bytes),
     .example = "16GiB",
     .min = 1,
     .max = CONFIG_NODE_BYTES_MAX},
    {.name = NULL},
};

/* struct config_node */
static void
read_models(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, void *base)
{
    struct config_node *config = base;

    (void)key;
    if (node->type != YAML_TREE_MAPPING || node->count > CONFIG_MODELS_MAX) {
        config_problem(r->problems, node->line, node->column, false,
                       "models are up to %u names with settings; write for example `models: "
                       "{\"qwen3:8b\": {bytes: 5GiB}}`",
                       CONFIG_MODELS_MAX);
        return;
    }
    config->models = arena_zeroed(r->arena, (node->count + 1) * sizeof(config->models[0]));
    if (config->models == NULL) {
        schema_out_of_memory(r, node);
        return;
    }
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        struct config_node_model *model = &config->models[config->model_count++];

        model->name = n->key;
        schema_read(r, node_model_keys, "a model's settings", n, model);
    }
}

/* ---- The whole. */

#define AT(member_)   .offset = offsetof(struct config_node, member_)
#define BASE(member_) .offset = offsetof(struct config_node, base.member_)

_Static_assert(offsetof(struct config_node, base) == 0, "tables of struct config fit");

static const struct schema_key guard_keys[] = {
    {.name = "requests_max",
     .read = schema_u32,
     AT(guard_requests_max),
     .example = "256",
     .min = 1,
     .max = CONFIG_GUARD_REQUESTS_MAX},
    {.name = "tokens_max",
     .read = schema_u64,
     AT(guard_tokens_max),
     .example = "400000",
     .min = 1,
     .max = CONFIG_GUARD_TOKENS_MAX},
    {.name = "loading",
     .read = schema_duration_ns,
     AT(guard_loading_ns),
     .example = "120s",
     .min = GUARD_NS_MIN,
     .max = CONFIG_GUARD_NS_MAX},
    {.name = "waiting",
     .read = schema_duration_ns,
     AT(guard_waiting_ns),
     .example = "30s",
     .min = GUARD_NS_MIN,
     .max = CONFIG_GUARD_NS_MAX},
    {.name = NULL},
};

static const struct schema_key node_keys[] = {
    {.name = "name", .read = schema_name, AT(name), .example = "ams1-gpu0"},
    {.name = "key", .read = schema_file, AT(key_file), .example = "file:/etc/isochrone/node.key"},
    {.name = "identity",
     .read = schema_file,
     AT(identity_file),
     .example = "file:/etc/isochrone/node.identity"},
    {.name = "labels", .read = read_labels, .example = "{site: ams1, gpu: h100}"},
    {.name = "gateways", .read = config_gateways_read_node},
    {.name = "memory",
     .read = schema_size,
     AT(memory_bytes),
     .example = "80GiB",
     .min = 1,
     .max = CONFIG_NODE_BYTES_MAX},
    {.name = "models", .read = read_models},
    {.name = "guard", .read = schema_mapping, .keys = guard_keys},
    {.name = "engines", .read = config_read_engines},
    {.name = "bus",
     .read = config_bus_read,
     BASE(bus),
     .keys = config_bus_keys + CONFIG_BUS_GATEWAY_KEYS},
    {.name = "listen", .read = schema_mapping, .keys = config_listen_keys},
    {.name = "region", .read = schema_name, BASE(region), .example = "eu-west"},
    {.name = "keys",
     .read = schema_file,
     BASE(keys_file),
     .example = "file:/etc/isochrone/gateways.yaml"},
    {.name = "auth", .read = config_read_auth, BASE(auth_none), .example = "none"},
    {.name = "admin_token",
     .read = schema_file,
     BASE(admin_token_file),
     .example = "file:/etc/isochrone/admin.token"},
    {.name = "log", .read = schema_mapping, .keys = config_log_keys},
    {.name = "limits", .read = schema_mapping, .keys = config_limit_keys},
    {.name = "state", .read = schema_path, BASE(state_dir), .example = "/var/lib/isochrone"},
    {.name = NULL},
};

/* ---- Checks over several keys. */

/* Is every gateway that may infer known by its certificate? */
bool
config_node_knows_callers(const struct config_node *config)
{
    if (config->base.tls.client_ca.path.bytes > 0)
        return !config->base.tls.client_optional;
    for (size_t i = 0; i < config->base.gateway_count; i++) {
        if ((config->base.gateways[i].may & DIRECTIVE_MAY_INFER) != 0 &&
            config->base.gateways[i].pin.bytes == 0)
            return false;
    }
    return config->base.gateway_count > 0;
}

/* Off loopback only gateways that are named may come in, unless it says otherwise. */
static void
check_public(struct schema_reader *r, const struct config_node *config,
             const struct yaml_tree_node *root)
{
    const struct yaml_tree_node *open = yaml_tree_get(yaml_tree_get(root, "listen"), "public");
    bool tls = config->base.tls.certificate_count > 0;

    for (size_t i = 0; i < config->base.gateway_count; i++) {
        if (config->base.gateways[i].pin.bytes > 0 && !tls) {
            config_problem(
                r->problems, root->line, root->column, false,
                "a gateway's pin is about TLS: set `listen: {tls: {cert: file:PATH, key: "
                "file:PATH}}`");
            break;
        }
    }
    if (open == NULL || config->base.auth_none || config->base.keys_file.bytes > 0 ||
        config_is_loopback(config_host(config->base.public_listen)))
        return;
    if (!tls || !config_node_knows_callers(config))
        config_problem(
            r->problems, open->line, open->column, false,
            "the public listener is not on loopback, and who calls is not known: set "
            "`listen.tls` with a `client_ca`, or a `pin` at each gateway that may infer; "
            "or `keys: file:PATH`; or `auth: none` to let everybody in");
}

/* What a node cannot do without, and what it should not. */
static void
check_needs(struct schema_reader *r, const struct config_node *config,
            const struct yaml_tree_node *root)
{
    const struct yaml_tree_node *engines = yaml_tree_get(root, "engines");

    if (yaml_tree_get(root, "key") == NULL)
        config_problem(
            r->problems, 1, 1, false,
            "a node needs a key: `isochrone key node --name NAME -o node.key`, then `key: "
            "file:node.key`");
    if (config->base.engine_count == 0 &&
        (engines == NULL || (engines->type == YAML_TREE_SEQUENCE && engines->count == 0)))
        config_problem(r->problems, 1, 1, false,
                       "a node needs an engine: `engines: [{url: \"http://127.0.0.1:8000\"}]`");
    if (yaml_tree_get(root, "gateways") == NULL)
        config_problem(
            r->problems, 1, 1, true,
            "no gateways: none may load or drain, and none is told anything but over a bus");
    if (yaml_tree_get(root, "identity") == NULL)
        config_problem(r->problems, 1, 1, true,
                       "no identity: every gateway shows this node as unproven");
}

static void
node_defaults(struct config_node *ret_config)
{
    *ret_config = (struct config_node){.guard_loading_ns = GUARD_LOADING_NS,
                                       .guard_waiting_ns = GUARD_WAITING_NS};
    config_defaults(&ret_config->base);
    ret_config->base.public_listen = SPAN_LIT("127.0.0.1:4143");
    ret_config->base.admin_listen = SPAN_LIT("127.0.0.1:4144");
}

enum err
config_node_parse(struct span yaml, config_env_fn *env, void *env_user, struct arena *arena,
                  struct config_node *ret_config, struct config_problems *ret_problems)
{
    struct schema_reader r = {
        .arena = arena, .problems = ret_problems, .env = env, .env_user = env_user};
    struct yaml_tree_node *root = NULL;
    enum err err;

    node_defaults(ret_config);
    ret_problems->count = 0;
    ret_problems->errors = 0;
    err = yaml_tree_parse(yaml, arena, ret_problems, &root);
    if (err == ERR_OK && root != NULL) {
        schema_substitute(&r, root);
        schema_read(&r, node_keys, "the configuration", root, ret_config);
        check_public(&r, ret_config, root);
        config_gateways_check(&r, &ret_config->base, yaml_tree_get(root, "gateways"));
        config_check_admin(&r, &ret_config->base, root);
        config_check_engines(&r, &ret_config->base, yaml_tree_get(root, "engines"));
    }
    if (err == ERR_OK) {
        config_check_limits(&r, &ret_config->base, root);
        check_needs(&r, ret_config, root);
    }
    config_problems_sort(ret_problems);
    return ret_problems->errors > 0 ? ERR_PARSE : ERR_OK;
}

bool
config_node_is(struct span yaml, struct arena *arena)
{
    static const char *const own[] = {"identity", "labels", "guard", "memory"};
    struct config_problems *problems = arena_zeroed(arena, sizeof(*problems));
    struct yaml_tree_node *root = NULL;

    if (problems == NULL || yaml_tree_parse(yaml, arena, problems, &root) != ERR_OK)
        return false;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (yaml_tree_get(root, own[i]) != NULL)
            return true;
    }
    return config_gateways_are_obeyed(yaml_tree_get(root, "gateways"));
}
