/* config_gateways - the schema of one, and the list; see config_gateways.h. */
#include "wire/config_gateways.h"

#include "wire/config_parts.h"
#include "wire/config_tls.h"
#include "wire/demand_news.h"
#include "wire/directive.h"

/* struct config_gateway */
static void
read_gateway_key(struct schema_reader *r, const struct schema_key *key,
                 const struct yaml_tree_node *node, void *base)
{
    struct config_gateway *g = base;

    if (schema_is_scalar(r, key, node) && signature_key_parse(node->text, &g->key) != ERR_OK)
        schema_bad_value(r, key, node,
                         "a gateway's public key (ed25519: and 64 digits of 0-9a-f; `isochrone key "
                         "gateway` prints one)");
}

/* struct config_gateway */
static void
read_may(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
         void *base)
{
    struct config_gateway *g = base;
    enum directive_right right;

    if (node->type != YAML_TREE_SEQUENCE) {
        config_problem(r->problems, node->line, node->column, false,
                       "may is a list; write for example `may: %s`", key->example);
        return;
    }
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        if (!schema_is_scalar(r, key, n))
            continue;
        if (directive_right_parse(n->text, &right) == ERR_OK)
            g->may |= right;
        else
            schema_bad_value(r, key, n, "infer, load or drain");
    }
}

/* struct config_gateway */
static void
read_url(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
         void *base)
{
    struct config_engine *at = &((struct config_gateway *)base)->at;
    enum err err;

    if (!schema_is_scalar(r, key, node))
        return;
    err = config_url(node->text, &at->host, &at->port);
    if (err == ERR_PARSE) {
        schema_bad_value(r, key, node,
                         "the address of a gateway's public side (https://host:port, or http)");
        return;
    }
    at->url = node->text;
    at->tls = err == ERR_UNSUPPORTED;
}

/* struct config_gateway */
static void
read_url_pin(struct schema_reader *r, const struct schema_key *key,
             const struct yaml_tree_node *node, void *base)
{
    config_tls_read_pin(r, key, node, &((struct config_gateway *)base)->at);
}

/* struct config_gateway */
static void
read_pin(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
         void *base)
{
    struct config_gateway *g = base;

    if (!schema_is_scalar(r, key, node))
        return;
    if (config_pin(node->text, g->pin_sha256) == ERR_OK)
        g->pin = node->text;
    else
        schema_bad_value(r, key, node,
                         "the SHA-256 of the public key of the gateway's certificate (sha256: and "
                         "44 characters of base64, or 64 hexadecimal digits)");
}

#define GATEWAY(member_) .offset = offsetof(struct config_gateway, member_)

/* What a node and a gateway say of one alike. */
#define KEYS_OF_BOTH                                                                               \
    {.name = "name", .read = schema_name, GATEWAY(name), .example = "ams-gw"},                     \
        {.name = "key",                                                                            \
         .read = read_gateway_key,                                                                 \
         .example =                                                                                \
             "\"ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\""},      \
        {.name = "url", .read = read_url, .example = "https://gateway.example:8443"},              \
        {.name = "url_pin",                                                                        \
         .read = read_url_pin,                                                                     \
         .example = "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},                        \
        {.name = "ca",                                                                             \
         .read = schema_file,                                                                      \
         GATEWAY(at.ca_file),                                                                      \
         .example = "file:/etc/isochrone/ca.crt"},                                                 \
        {.name = "client_cert",                                                                    \
         .read = schema_file,                                                                      \
         GATEWAY(at.client_cert_file),                                                             \
         .example = "file:/etc/isochrone/node.crt"},                                               \
    {                                                                                              \
        .name = "client_key", .read = schema_file, GATEWAY(at.client_key_file),                    \
        .example = "file:/etc/isochrone/node.key"                                                  \
    }

static const struct schema_key gateway_keys_of_node[] = {
    KEYS_OF_BOTH,
    {.name = "may", .read = read_may, .example = "[infer, load]"},
    {.name = "pin",
     .read = read_pin,
     .example = "sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
    {.name = NULL},
};

static const struct schema_key gateway_keys[] = {
    KEYS_OF_BOTH,
    {.name = "requests_per_second_max",
     .read = schema_u32,
     GATEWAY(requests_s_max),
     .example = "500",
     .min = 1,
     .max = DEMAND_NEWS_REQUESTS_S_MAX},
    {.name = NULL},
};

static void
read_list(struct schema_reader *r, const struct yaml_tree_node *node, struct config *config,
          const struct schema_key *keys, const char *example)
{
    if (node->type != YAML_TREE_SEQUENCE || node->count > DIRECTIVE_GATEWAYS_MAX) {
        config_problem(r->problems, node->line, node->column, false,
                       "gateways are a list of up to %u; write for example `gateways: [%s]`",
                       DIRECTIVE_GATEWAYS_MAX, example);
        return;
    }
    config->gateways = arena_zeroed(r->arena, (node->count + 1) * sizeof(config->gateways[0]));
    if (config->gateways == NULL) {
        schema_out_of_memory(r, node);
        return;
    }
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        struct config_gateway *g = &config->gateways[config->gateway_count++];

        schema_read(r, keys, "a gateway", n, g);
        config_tls_check_engine(r, &g->at, "url_pin", n);
        g->at.name = g->name;
        if (n->type == YAML_TREE_MAPPING &&
            (yaml_tree_get(n, "name") == NULL || yaml_tree_get(n, "key") == NULL ||
             (keys == gateway_keys_of_node && yaml_tree_get(n, "may") == NULL)))
            config_problem(r->problems, n->line, n->column, false, "a gateway needs %s: `%s`",
                           keys == gateway_keys_of_node ? "a name, its key, and what it may"
                                                        : "a name and its key",
                           example);
    }
}

/* struct config_node */
void
config_gateways_read_node(struct schema_reader *r, const struct schema_key *key,
                          const struct yaml_tree_node *node, void *base)
{
    (void)key;
    read_list(r, node, base, gateway_keys_of_node,
              "{name: ams-gw, key: \"ed25519:...\", may: [infer, load, drain]}");
}

/* struct config */
void
config_gateways_read(struct schema_reader *r, const struct schema_key *key,
                     const struct yaml_tree_node *node, void *base)
{
    (void)key;
    read_list(r, node, base, gateway_keys,
              "{name: ams-gw, key: \"ed25519:...\", url: \"https://gateway.example:8443\"}");
}

bool
config_gateways_are_obeyed(const struct yaml_tree_node *list)
{
    for (const struct yaml_tree_node *n = list != NULL ? list->first : NULL; n != NULL;
         n = n->next) {
        if (yaml_tree_get(n, "may") != NULL)
            return true;
    }
    return false;
}

void
config_gateways_check(struct schema_reader *r, const struct config *config,
                      const struct yaml_tree_node *list)
{
    struct config_place names[DIRECTIVE_GATEWAYS_MAX], keys[DIRECTIVE_GATEWAYS_MAX];
    const struct yaml_tree_node *n = list != NULL ? list->first : NULL;
    size_t name_count = 0, key_count = 0;

    for (size_t i = 0; i < config->gateway_count && n != NULL; i++, n = n->next) {
        const struct yaml_tree_node *name = yaml_tree_get(n, "name"),
                                    *key = yaml_tree_get(n, "key");

        if (name != NULL)
            names[name_count++] = (struct config_place){config->gateways[i].name, name->line,
                                                        name->column};
        if (key != NULL && key->type == YAML_TREE_SCALAR)
            keys[key_count++] = (struct config_place){key->text, key->line, key->column};
    }
    config_check_unique(r, names, name_count, "the gateway's name");
    config_check_unique(r, keys, key_count, "the gateway's key");
}
