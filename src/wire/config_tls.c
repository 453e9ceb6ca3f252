/* config_tls - reading them, and which of them go together; see config_tls.h. */
#include "wire/config_tls.h"

#define MEMBER(type_) ((type_ *)(void *)((char *)base + key->offset))
#define AT(member_)   .offset = offsetof(struct config, member_)

/* ---- The listener. */

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

const struct schema_key config_tls_listen_keys[] = {
    {.name = "cert",
     .read = schema_file,
     AT(tls_cert_file),
     .example = "file:/etc/isochrone/tls.crt"},
    {.name = "key",
     .read = schema_file,
     AT(tls_key_file),
     .example = "file:/etc/isochrone/tls.key"},
    {.name = "client_ca",
     .read = schema_file,
     AT(tls_client_ca_file),
     .example = "file:/etc/isochrone/clients.crt"},
    {.name = "client_auth",
     .read = read_client_auth,
     AT(tls_client_optional),
     .example = "required"},
    {.name = NULL},
};

void
config_tls_check_listen(struct schema_reader *r, const struct config *config,
                        const struct yaml_tree_node *tls)
{
    const struct yaml_tree_node *auth = yaml_tree_get(tls, "client_auth");

    if (tls == NULL || tls->type != YAML_TREE_MAPPING)
        return;
    if (yaml_tree_get(tls, "cert") == NULL || yaml_tree_get(tls, "key") == NULL)
        config_problem(r->problems, tls->line, tls->column, false,
                       "tls needs a certificate and its key: `tls: {cert: file:PATH, key: "
                       "file:PATH}`");
    if (auth != NULL && config->tls_client_ca_file.bytes == 0)
        config_problem(r->problems, auth->key_line, auth->key_column, false,
                       "client_auth needs to know who vouches for clients: set `client_ca: "
                       "file:PATH`");
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
                        const struct yaml_tree_node *node)
{
    static const char *const tls_keys[] = {"pin", "ca", "client_cert", "client_key"};
    const struct yaml_tree_node *pin = yaml_tree_get(node, "pin");
    const struct yaml_tree_node *cert = yaml_tree_get(node, "client_cert");
    const struct yaml_tree_node *key = yaml_tree_get(node, "client_key");
    const struct yaml_tree_node *any;

    if (engine->host.bytes == 0)
        return; /* no URL, told */
    for (size_t i = 0; i < sizeof(tls_keys) / sizeof(tls_keys[0]) && !engine->tls; i++) {
        any = yaml_tree_get(node, tls_keys[i]);
        if (any != NULL) {
            config_problem(r->problems, any->key_line, any->key_column, false,
                           "`%s` is about TLS, and the engine's url begins with http://: write "
                           "https://, or leave it out",
                           tls_keys[i]);
            return;
        }
    }
    if (pin != NULL && yaml_tree_get(node, "ca") != NULL)
        config_problem(r->problems, pin->key_line, pin->key_column, false,
                       "`pin` is instead of a CA: keep one of pin and ca");
    if ((cert == NULL) != (key == NULL)) {
        any = cert != NULL ? cert : key;
        config_problem(r->problems, any->key_line, any->key_column, false,
                       "client_cert and client_key go together: set both");
    }
}
