/* config_tls - reading them, and which of them go together; see config_tls.h. */
#include "wire/config_tls.h"

#define MEMBER(type_) ((type_ *)(void *)((char *)base + key->offset))

/* ---- Listeners. */

/* A listener's keys, while they are read: one certificate may stand without a list. */
struct reading {
    struct config_tls tls;
    struct config_certificate one;
};

/* bool: required */
static void
read_client_auth(struct schema_reader *r, const struct schema_key *key,
                 const struct yaml_tree_node *node, void *base)
{
    if (!schema_is_scalar(r, key, node))
        return;
    if (span_eq_text(node->text, "required") || span_eq_text(node->text, "optional"))
        *MEMBER(bool) = span_eq_text(node->text, "optional");
    else
        schema_bad_value(r, key, node, "`required` or `optional`");
}

/* struct config_file */
static void
read_file(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
          void *base)
{
    struct config_file *file = MEMBER(struct config_file);

    schema_file(r, key, node, base); /* the path stands first */
    file->line = node->line;
    file->column = node->column;
}

static const struct schema_key certificate_keys[] = {
    {.name = "cert",
     .read = read_file,
     .offset = offsetof(struct config_certificate, cert),
     .example = "file:/etc/isochrone/tls.crt"},
    {.name = "key",
     .read = read_file,
     .offset = offsetof(struct config_certificate, key),
     .example = "file:/etc/isochrone/tls.key"},
    {.name = NULL},
};

/* struct config_tls */
static void
read_certificates(struct schema_reader *r, const struct schema_key *key,
                  const struct yaml_tree_node *node, void *base)
{
    struct config_tls *tls = MEMBER(struct config_tls);

    if (node->type != YAML_TREE_SEQUENCE || node->count == 0 ||
        node->count > CONFIG_CERTIFICATES_MAX) {
        config_problem(r->problems, node->line, node->column, false,
                       "certificates are a list of 1 to %u; write for example `certificates: "
                       "[{cert: file:a.crt, key: file:a.key}]`",
                       CONFIG_CERTIFICATES_MAX);
        return;
    }
    tls->certificates = arena_zeroed(r->arena, node->count * sizeof(tls->certificates[0]));
    if (tls->certificates == NULL) {
        schema_out_of_memory(r, node);
        return;
    }
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        schema_read(r, certificate_keys, "a certificate", n,
                    &tls->certificates[tls->certificate_count++]);
        if (n->type == YAML_TREE_MAPPING &&
            (yaml_tree_get(n, "cert") == NULL || yaml_tree_get(n, "key") == NULL))
            config_problem(r->problems, n->line, n->column, false,
                           "a certificate needs its key: `{cert: file:PATH, key: file:PATH}`");
    }
}

const struct schema_key config_tls_listener_keys[] = {
    {.name = "cert",
     .read = read_file,
     .offset = offsetof(struct reading, one.cert),
     .example = "file:/etc/isochrone/tls.crt"},
    {.name = "key",
     .read = read_file,
     .offset = offsetof(struct reading, one.key),
     .example = "file:/etc/isochrone/tls.key"},
    {.name = "certificates", .read = read_certificates, .offset = offsetof(struct reading, tls)},
    {.name = "client_ca",
     .read = read_file,
     .offset = offsetof(struct reading, tls.client_ca),
     .example = "file:/etc/isochrone/clients.crt"},
    {.name = "client_auth",
     .read = read_client_auth,
     .offset = offsetof(struct reading, tls.client_optional),
     .example = "required"},
    {.name = NULL},
};

/* Which of them go together? */
static void
check_listener(struct schema_reader *r, const struct reading *reading, const char *name,
               const struct yaml_tree_node *node)
{
    const struct yaml_tree_node *cert = yaml_tree_get(node, "cert"),
                                *key = yaml_tree_get(node, "key");
    const struct yaml_tree_node *list = yaml_tree_get(node, "certificates");
    const struct yaml_tree_node *auth = yaml_tree_get(node, "client_auth");

    if (list != NULL && (cert != NULL || key != NULL))
        config_problem(r->problems, list->key_line, list->key_column, false,
                       "`certificates` is instead of cert and key: put them into the list");
    else if (list == NULL && (cert == NULL || key == NULL))
        config_problem(r->problems, node->line, node->column, false,
                       "%s needs a certificate and its key: `%s: {cert: file:PATH, key: "
                       "file:PATH}`",
                       name, name);
    if (auth != NULL && reading->tls.client_ca.path.bytes == 0)
        config_problem(r->problems, auth->key_line, auth->key_column, false,
                       "client_auth needs to know who vouches for clients: set `client_ca: "
                       "file:PATH`");
}

void
config_tls_read_listener(struct schema_reader *r, const struct schema_key *key,
                         const struct yaml_tree_node *node, void *base)
{
    struct reading reading = {0};

    schema_read(r, key->keys, key->name, node, &reading);
    if (node->type != YAML_TREE_MAPPING)
        return;
    check_listener(r, &reading, key->name, node);
    if (reading.one.cert.path.bytes > 0 && reading.tls.certificate_count == 0) {
        reading.tls.certificates = arena_zeroed(r->arena, sizeof(reading.one));
        if (reading.tls.certificates == NULL) {
            schema_out_of_memory(r, node);
            return;
        }
        reading.tls.certificates[0] = reading.one;
        reading.tls.certificate_count = 1;
    }
    *MEMBER(struct config_tls) = reading.tls;
}

void
config_tls_read_admin(struct schema_reader *r, const struct schema_key *key,
                      const struct yaml_tree_node *node, void *base)
{
    if (node->type == YAML_TREE_SCALAR && span_eq_text(node->text, "none"))
        MEMBER(struct config_tls)->none = true;
    else
        config_tls_read_listener(r, key, node, base);
}

/* ---- Engines. */

static int
base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `bits` a digit, high ones first; what is left of the last digit must be 0. */
static bool
decode(struct span text, unsigned bits, int (*value_of)(char c),
       unsigned char ret_pin[CONFIG_PIN_BYTES])
{
    uint32_t held = 0;
    unsigned held_bits = 0;
    size_t bytes = 0;

    for (size_t i = 0; i < text.bytes; i++) {
        int value = value_of(text.data[i]);
        if (value < 0)
            return false;
        held = held << bits | (uint32_t)value;
        held_bits += bits;
        if (held_bits >= 8) {
            held_bits -= 8;
            ret_pin[bytes++] = (unsigned char)(held >> held_bits);
            held &= (1u << held_bits) - 1;
        }
    }
    return held == 0;
}

enum err
config_pin(struct span text, unsigned char ret_pin[CONFIG_PIN_BYTES])
{
    unsigned char pin[CONFIG_PIN_BYTES];
    bool good = false;

    if (!span_starts(text, SPAN_LIT("sha256:")))
        return ERR_PARSE;
    text = span_from(text, sizeof("sha256:") - 1);
    if (text.bytes == 44 && text.data[43] == '=')
        text.bytes--;
    if (text.bytes == 2 * CONFIG_PIN_BYTES)
        good = decode(text, 4, hex_value, pin);
    else if (text.bytes == 43)
        good = decode(text, 6, base64_value, pin);
    if (good)
        memcpy(ret_pin, pin, sizeof(pin));
    return good ? ERR_OK : ERR_PARSE;
}

void
config_tls_read_pin(struct schema_reader *r, const struct schema_key *key,
                    const struct yaml_tree_node *node, void *base)
{
    struct config_engine *engine = base;

    if (!schema_is_scalar(r, key, node))
        return;
    if (config_pin(node->text, engine->pin_sha256) == ERR_OK)
        engine->pin = node->text;
    else
        schema_bad_value(r, key, node,
                         "the SHA-256 of a public key (sha256: and 44 characters of base64, or 64 "
                         "hexadecimal digits)");
}

void
config_tls_check_engine(struct schema_reader *r, const struct config_engine *engine,
                        const char *pin_key, const struct yaml_tree_node *node)
{
    const char *const tls_keys[] = {pin_key, "ca", "client_cert", "client_key"};
    const struct yaml_tree_node *pin = yaml_tree_get(node, pin_key);
    const struct yaml_tree_node *cert = yaml_tree_get(node, "client_cert");
    const struct yaml_tree_node *key = yaml_tree_get(node, "client_key");
    const struct yaml_tree_node *any;

    if (engine->host.bytes == 0)
        return; /* no URL, told */
    for (size_t i = 0; i < sizeof(tls_keys) / sizeof(tls_keys[0]) && !engine->tls; i++) {
        any = yaml_tree_get(node, tls_keys[i]);
        if (any != NULL) {
            config_problem(r->problems, any->key_line, any->key_column, false,
                           "`%s` is about TLS, and the url begins with http://: write https://, or "
                           "leave it out",
                           tls_keys[i]);
            return;
        }
    }
    if (pin != NULL && yaml_tree_get(node, "ca") != NULL)
        config_problem(r->problems, pin->key_line, pin->key_column, false,
                       "`%s` is instead of a CA: keep one of %s and ca", pin_key, pin_key);
    if ((cert == NULL) != (key == NULL)) {
        any = cert != NULL ? cert : key;
        config_problem(r->problems, any->key_line, any->key_column, false,
                       "client_cert and client_key go together: set both");
    }
}
