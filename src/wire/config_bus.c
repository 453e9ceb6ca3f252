/* config_bus - reading them; see config_bus.h. */
#include "wire/config_bus.h"

#include "wire/message.h"

#define MEMBER(type_) ((type_ *)(void *)((char *)base + key->offset))

bool
config_is_server(struct span url)
{
    struct span host, rest = url;
    uint16_t port;
    char text[CONFIG_SERVER_BYTES_MAX + 8];

    if (span_starts(url, SPAN_LIT("nats://")))
        rest = span_from(url, sizeof("nats://") - 1);
    else if (span_starts(url, SPAN_LIT("tls://")))
        rest = span_from(url, sizeof("tls://") - 1);
    if (rest.bytes == url.bytes || rest.bytes == 0 || url.bytes > CONFIG_SERVER_BYTES_MAX)
        return false;
    memcpy(text, "http://", 7); /* the rest has the same form */
    memcpy(text + 7, rest.data, rest.bytes);
    return config_url((struct span){text, rest.bytes + 7}, &host, &port) == ERR_OK &&
           text[rest.bytes + 6] != '/';
}

/* struct config_bus: one, or a list */
static void
read_servers(struct schema_reader *r, const struct schema_key *key,
             const struct yaml_tree_node *node, void *base)
{
    struct config_bus *bus = base;
    const struct yaml_tree_node one = {
        .type = YAML_TREE_SEQUENCE, .count = 1, .first = (struct yaml_tree_node *)(uintptr_t)node};
    const struct yaml_tree_node *list = node->type == YAML_TREE_SEQUENCE ? node : &one;

    if (list->count == 0 || list->count > CONFIG_SERVERS_MAX) {
        config_problem(r->problems, node->line, node->column, false,
                       "nats is 1 to %u servers; write for example `nats: %s`", CONFIG_SERVERS_MAX,
                       key->example);
        return;
    }
    for (const struct yaml_tree_node *n = list->first; n != NULL; n = n->next) {
        if (!schema_is_scalar(r, key, n))
            return;
        if (!config_is_server(n->text))
            schema_bad_value(r, key, n, "a server (nats:// or tls://, a host and a port)");
        else
            bus->nats[bus->nats_count++] = n->text;
        if (list == &one)
            return; /* what follows are other keys */
    }
}

/* bool */
static void
read_bool(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
          void *base)
{
    if (!schema_is_scalar(r, key, node))
        return;
    *MEMBER(bool) = span_eq_text(node->text, "true");
    if (!*MEMBER(bool) && !span_eq_text(node->text, "false"))
        schema_bad_value(r, key, node, "true or false");
}

/* struct span: without quotes and control characters */
static void
read_user(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
          void *base)
{
    if (!schema_is_scalar(r, key, node))
        return;
    for (size_t i = 0; i < node->text.bytes; i++) {
        char c = node->text.data[i];

        if (c <= 0x20 || c > 0x7e || c == '"' || c == '\\') {
            schema_bad_value(r, key, node, "a name without spaces and quotes");
            return;
        }
    }
    *MEMBER(struct span) = node->text;
}

/* A list of texts, each of which is an item. */
struct items {
    const char *what; /* they are, in words */
    size_t max, bytes;
    enum err (*parse)(struct span text, void *ret_item);
    const char *wanted; /* of one */
};

/* Are the last `bytes` of count like ones those of another one, too? Told. */
static bool
is_repeated(struct schema_reader *r, const struct yaml_tree_node *node, const char *list,
            size_t count, size_t bytes)
{
    for (size_t i = 0; i + 1 < count; i++) {
        if (memcmp(list + i * bytes, list + (count - 1) * bytes, bytes) != 0)
            continue;
        config_problem(r->problems, node->line, node->column, false, "this stands there twice");
        return true;
    }
    return false;
}

/* All items of the list, zeroed before they are parsed, and how many; what is wrong is told. */
static void *
read_items(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
           const struct items *kind, size_t *ret_count)
{
    const struct yaml_tree_node *n = node->first;
    size_t count = 0;
    char *list;

    *ret_count = 0;
    if (node->type != YAML_TREE_SEQUENCE || node->count > kind->max) {
        config_problem(r->problems, node->line, node->column, false,
                       "%s is a list of up to %zu %s; write for example `%s: [%s]`", key->name,
                       kind->max, kind->what, key->name, key->example);
        return NULL;
    }
    list = arena_zeroed(r->arena, (node->count + 1) * kind->bytes);
    if (list == NULL) {
        schema_out_of_memory(r, node);
        return NULL;
    }
    for (; n != NULL; n = n->next) {
        if (!schema_is_scalar(r, key, n))
            continue;
        memset(list + count * kind->bytes, 0, kind->bytes);
        if (kind->parse(n->text, list + count * kind->bytes) != ERR_OK)
            schema_bad_value(r, key, n, kind->wanted);
        else if (!is_repeated(r, n, list, count + 1, kind->bytes))
            count++;
    }
    *ret_count = count;
    return list;
}

static enum err
parse_range(struct span text, void *ret_item)
{
    return net_range_parse(text, ret_item);
}

/* struct config_bus */
static void
read_reach(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
           void *base)
{
    static const struct items ranges = {
        .what = "ranges of addresses",
        .max = CONFIG_REACH_MAX,
        .bytes = sizeof(struct net_range),
        .parse = parse_range,
        .wanted = "a range of addresses (its first one, `/` and a length)"};
    struct config_bus *bus = base;

    bus->reach = read_items(r, key, node, &ranges, &bus->reach_count);
}

#define BUS(member_) .offset = offsetof(struct config_bus, member_)

const struct schema_key config_bus_keys[] = {
    {.name = "http", .read = read_bool, BUS(http), .example = "true"},
    {.name = "reach", .read = read_reach, .example = "10.0.0.0/8"},
    {.name = "nats", .read = read_servers, .example = "nats://bus.example:4222"},
    {.name = "nkey",
     .read = schema_file,
     BUS(nkey_file),
     .example = "file:/etc/isochrone/bus.nkey"},
    {.name = "user", .read = read_user, BUS(user), .example = "ams1-gpu0"},
    {.name = "password",
     .read = schema_file,
     BUS(password_file),
     .example = "file:/etc/isochrone/bus.password"},
    {.name = "ca", .read = schema_file, BUS(ca_file), .example = "file:/etc/isochrone/bus-ca.crt"},
    {.name = NULL},
};

/* Which keys belong together? */
static void
check_bus(struct schema_reader *r, const struct config_bus *bus, const struct yaml_tree_node *node)
{
    const struct yaml_tree_node *user = yaml_tree_get(node, "user"),
                                *password = yaml_tree_get(node, "password");
    const struct yaml_tree_node *nkey = yaml_tree_get(node, "nkey"),
                                *ca = yaml_tree_get(node, "ca"), *any;
    bool tls = false;

    if (yaml_tree_get(node, "nats") == NULL &&
        (nkey != NULL || user != NULL || password != NULL || ca != NULL || node->count == 0))
        config_problem(r->problems, node->line, node->column, false,
                       "a bus needs a server: `nats: nats://HOST:4222`");
    if ((user == NULL) != (password == NULL)) {
        any = user != NULL ? user : password;
        config_problem(r->problems, any->key_line, any->key_column, false,
                       "user and password go together: set both, or use an nkey");
    }
    if (nkey != NULL && user != NULL)
        config_problem(r->problems, nkey->key_line, nkey->key_column, false,
                       "`nkey` is instead of user and password: keep one");
    for (size_t i = 0; i < bus->nats_count; i++)
        tls = tls || span_starts(bus->nats[i], SPAN_LIT("tls://"));
    if (ca != NULL && bus->nats_count > 0 && !tls)
        config_problem(r->problems, ca->key_line, ca->key_column, false,
                       "`ca` is about TLS, and no server begins with tls://");
    if (tls && ca == NULL)
        config_problem(r->problems, node->line, node->column, false,
                       "tls:// needs to know who vouches for the server: `ca: file:PATH`");
}

void
config_bus_read(struct schema_reader *r, const struct schema_key *key,
                const struct yaml_tree_node *node, void *base)
{
    schema_read(r, key->keys, key->name, node, MEMBER(struct config_bus));
    if (node->type == YAML_TREE_MAPPING)
        check_bus(r, MEMBER(struct config_bus), node);
}

/* ---- Operators. */

static enum err
parse_key(struct span text, void *ret_item)
{
    return signature_key_parse(text, ret_item);
}

/* struct config_operators */
static void
read_trust(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
           void *base)
{
    static const struct items keys = {
        .what = "operators' keys (`isochrone key operator` prints one)",
        .max = CONFIG_OPERATORS_MAX,
        .bytes = sizeof(struct signature_key),
        .parse = parse_key,
        .wanted = "a public key (ed25519: and 64 digits of 0-9a-f)"};
    struct config_operators *o = base;

    o->trust = read_items(r, key, node, &keys, &o->trust_count);
}

static enum err
parse_revoked(struct span text, void *ret_item)
{
    struct signature_revoked *one = ret_item;
    struct signature_key key;

    if (signature_key_parse(text, &key) == ERR_OK) {
        memcpy(one->bytes, key.bytes, sizeof(one->bytes));
        return ERR_OK;
    }
    one->is_record = true;
    return span_starts(text, SPAN_LIT("sha256:"))
               ? message_unhex(span_from(text, 7), one->bytes, sizeof(one->bytes))
               : ERR_PARSE;
}

/* struct config_operators */
static void
read_revoke(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, void *base)
{
    static const struct items revoked = {
        .what = "keys and records",
        .max = CONFIG_REVOKED_MAX,
        .bytes = sizeof(struct signature_revoked),
        .parse = parse_revoked,
        .wanted = "the key of a node or an operator (ed25519:) or the hash of a record (sha256:), "
                  "and 64 digits of 0-9a-f"};
    struct config_operators *o = base;

    o->revoke = read_items(r, key, node, &revoked, &o->revoke_count);
}

#define KEY_EXAMPLE "\"ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\""

const struct schema_key config_operators_keys[] = {
    {.name = "trust", .read = read_trust, .example = KEY_EXAMPLE},
    {.name = "revoke", .read = read_revoke, .example = KEY_EXAMPLE},
    {.name = "only",
     .read = read_bool,
     .offset = offsetof(struct config_operators, only),
     .example = "true"},
    {.name = NULL},
};
