/* tls_certificates_test - who is shown which certificate, and whose is taken: clients' by a CA or a
 * pin, several of a server by name and by kind of key, what files hold. */
#include "tls_server_fixture.h"
#include "wire/config.h"

static struct identity root, node, other_root, alice, mallory;
static struct identity plain_name, wild_name, plain_rsa, node_rsa;

/* ---- Clients' certificates. */

static const struct {
    const char *label;
    bool required, good;
    const struct identity *own;
} clients[] = {
    {"optional, none", false, true, NULL},
    {"optional, good", false, true, &alice},
    {"optional, of a stranger", false, false, &mallory},
    {"required, none", true, false, NULL},
    {"required, good", true, true, &alice},
    {"required, of a stranger", true, false, &mallory},
};

static void
test_client_certificates(void)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    for (size_t i = 0; i < 2 * sizeof(clients) / sizeof(clients[0]); i++) {
        const char *label = clients[i / 2].label;
        struct tls_client t;
        struct fixture f;
        bool answered;

        open_tls(&f, server_context(&node, &root, clients[i / 2].required, false), usual_limits());
        t = connect_tls(&f,
                        (struct wish){.version_max = versions[i % 2], .own = clients[i / 2].own});
        /* in 1.3 the client learns of it only when it reads */
        answered = shake(&f, &t) && send_tls(&f, &t, SPAN_LIT(GET)) &&
                   await_tls(&f, &t, "x-path: /a", 1);
        CHECK(answered == clients[i / 2].good, label);
        close_tls_client(&t);
        close_tls(&f);
    }
}

/* ---- Several certificates. */

static const struct {
    const char *name;
    const struct identity *who;
} choices[] = {
    {NULL, &node},
    {"localhost", &node},
    {"a.example", &plain_name},
    {"A.Example", &plain_name},
    {"b.example", &wild_name},
    {"BRAVO.EXAMPLE", &wild_name},
    {"x.b.example", &node}, /* a wildcard is one label */
    {"example", &node},
    {"written.example", &plain_name}, /* written out, before the wildcard */
    {"a.example.other", &node},
    {"second.test", &plain_name},
};

/* What a client is shown, at every version; the rest of its connection is as with one certificate.
 */
static void
test_sni(void)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    const struct tls_certificate more[] = {
        {file_of("plain.crt", plain_name.cert_pem), file_of("plain.key", plain_name.key_pem)},
        {file_of("wild.crt", wild_name.cert_pem), file_of("wild.key", wild_name.key_pem)}};
    struct tls_server_options o = {.cert = file_of("node.crt", node.cert_pem),
                                   .key = file_of("node.key", node.key_pem),
                                   .more = more,
                                   .more_count = 2,
                                   .client_ca = file_of("ca.crt", root.cert_pem),
                                   .client_cert_required = true,
                                   .http2 = true};

    for (size_t i = 0; i < 2 * sizeof(choices) / sizeof(choices[0]); i++) {
        const char *label = choices[i / 2].name != NULL ? choices[i / 2].name : "no name";
        struct wish wish = {.version_max = versions[i % 2],
                            .name = choices[i / 2].name,
                            .alpn = "\x08http/1.1",
                            .own = &alice};
        struct tls_context *context;
        struct tls_client t;
        struct fixture f;
        const unsigned char *protocol;
        unsigned protocol_bytes;
        X509 *shown;

        must(tls_server_open(&o, &context) == ERR_OK);
        open_tls(&f, context, usual_limits());
        t = connect_tls(&f, wish);
        CHECK(shake(&f, &t) && send_tls(&f, &t, SPAN_LIT(GET)) &&
                  await_tls(&f, &t, "x-path: /a", 1),
              label);
        SSL_get0_alpn_selected(t.ssl, &protocol, &protocol_bytes);
        CHECK(protocol_bytes == 8, label);
        shown = SSL_get0_peer_certificate(t.ssl);
        CHECK(shown != NULL && X509_cmp(shown, choices[i / 2].who->certificate) == 0, label);
        SSL_shutdown(t.ssl); /* without it the session is lost */
        close_tls_client(&t);

        /* With a ticket; and who must show a certificate must do so under every name. */
        wish.session = last_session;
        last_session = NULL;
        t = connect_tls(&f, wish);
        CHECK(wish.session != NULL && shake(&f, &t) && SSL_session_reused(t.ssl), label);
        close_tls_client(&t);
        SSL_SESSION_free(wish.session);
        wish.session = NULL;
        wish.own = &mallory;
        t = connect_tls(&f, wish);
        (void)shake(&f, &t);
        (void)send_tls(&f, &t, SPAN_LIT(GET));
        CHECK(!await_tls(&f, &t, "x-path: /a", 1) && t.failed, label);
        close_tls_client(&t);
        SSL_SESSION_free(last_session);
        last_session = NULL;
        close_tls(&f);
    }
}

static const struct {
    const char *label, *name, *signatures;
    const struct identity *who;
} kinds[] = {
    {"as the client likes best", "a.example", NULL, &plain_name},
    {"ECDSA alone", "a.example", "ECDSA+SHA256", &plain_name},
    {"RSA alone", "a.example", "RSA-PSS+SHA256:RSA+SHA256", &plain_rsa},
    {"RSA, another name of both", "second.test", "RSA-PSS+SHA256:RSA+SHA256", &plain_rsa},
    {"RSA, no name", NULL, "RSA-PSS+SHA256:RSA+SHA256", &node_rsa},
    {"ECDSA, no name", NULL, "ECDSA+SHA256", &node},
};

/* One name in certificates of two kinds: each client is shown what it can check. */
static void
test_kinds(void)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    const struct tls_certificate more[] = {
        {file_of("rsa.crt", plain_rsa.cert_pem), file_of("rsa.key", plain_rsa.key_pem)},
        {file_of("node2.crt", node_rsa.cert_pem), file_of("node2.key", node_rsa.key_pem)},
        {file_of("plain.crt", plain_name.cert_pem), file_of("plain.key", plain_name.key_pem)}};
    struct tls_server_options o = {.cert = file_of("node.crt", node.cert_pem),
                                   .key = file_of("node.key", node.key_pem),
                                   .more = more,
                                   .more_count = 3};

    for (size_t i = 0; i < 2 * sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct tls_context *context;
        struct tls_client t;
        struct fixture f;
        X509 *shown;

        must(tls_server_open(&o, &context) == ERR_OK);
        CHECK(tls_expires_s(context) < time(NULL) + 31 * (int64_t)DAY_S,
              "the first that ends counts");
        open_tls(&f, context, usual_limits());
        t = connect_tls(&f, (struct wish){.version_max = versions[i % 2],
                                          .name = kinds[i / 2].name,
                                          .signatures = kinds[i / 2].signatures});
        CHECK(shake(&f, &t) && send_tls(&f, &t, SPAN_LIT(GET)) &&
                  await_tls(&f, &t, "x-path: /a", 1),
              kinds[i / 2].label);
        shown = SSL_get0_peer_certificate(t.ssl);
        CHECK(shown != NULL && X509_cmp(shown, kinds[i / 2].who->certificate) == 0,
              kinds[i / 2].label);
        close_tls_client(&t);
        close_tls(&f);
    }
}

/* Clients by the keys of their certificates, which nobody vouches for; or by them and a CA. */
static void
test_client_pins(void)
{
    static const struct {
        const char *label;
        bool has_ca;
        const struct identity *own;
        bool comes_in;
    } rows[] = {
        {"a pinned key", false, &mallory, true},
        {"another key, whoever vouches for it", false, &alice, false},
        {"no certificate", false, NULL, false},
        {"a pinned key beside a CA", true, &mallory, true},
        {"one of the CA beside a pin", true, &alice, true},
        {"neither beside both", true, &other_root, false},
    };

    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        struct tls_server_options o = {.cert = file_of("node.crt", node.cert_pem),
                                       .key = file_of("node.key", node.key_pem),
                                       .client_cert_required = true,
                                       .client_pin_count = 1};
        struct wish wish = {.version_max = i % 2 != 0 ? TLS1_3_VERSION : TLS1_2_VERSION,
                            .alpn = "\x08http/1.1",
                            .own = rows[i / 2].own};
        const char *label = rows[i / 2].label;
        struct tls_context *context;
        struct tls_client t;
        struct fixture f;

        o.client_pins = (const unsigned char(*)[TLS_PIN_BYTES]) & mallory.pin;
        if (rows[i / 2].has_ca)
            o.client_ca = file_of("ca.crt", root.cert_pem);
        must(tls_server_open(&o, &context) == ERR_OK);
        open_tls(&f, context, usual_limits());
        t = connect_tls(&f, wish);
        (void)shake(&f, &t);
        (void)send_tls(&f, &t, SPAN_LIT(GET));
        CHECK(await_tls(&f, &t, "x-path: /a", 1) == rows[i / 2].comes_in, label);
        close_tls_client(&t);
        SSL_SESSION_free(last_session);
        last_session = NULL;
        close_tls(&f);
    }
}

/* ---- What files hold. */

static const struct {
    const char *label, *cert, *key, *client_ca;
    enum err err;
} files[] = {
    {"good", node.cert_pem, node.key_pem, NULL, ERR_OK},
    {"two in a chain", NULL, node.key_pem, NULL, ERR_OK},
    {"a key of another", node.cert_pem, alice.key_pem, NULL, ERR_PARSE},
    {"no certificate", node.key_pem, node.key_pem, NULL, ERR_PARSE},
    {"no key", node.cert_pem, node.cert_pem, NULL, ERR_PARSE},
    {"nothing", "", "", NULL, ERR_PARSE},
    {"clients' CA", node.cert_pem, node.key_pem, root.cert_pem, ERR_OK},
    {"clients' CA is none", node.cert_pem, node.key_pem, "nonsense", ERR_PARSE},
};

static void
test_files(void)
{
    static char chain[2 * PEM_BYTES_MAX], cut[2 * PEM_BYTES_MAX];
    struct tls_server_options o;
    struct tls_context *context;

    snprintf(chain, sizeof(chain), "%s%s", node.cert_pem, root.cert_pem);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        enum err err;

        o = (struct tls_server_options){
            .cert = file_of("cert", files[i].cert != NULL ? files[i].cert : chain),
            .key = file_of("key", files[i].key)};
        if (files[i].client_ca != NULL)
            o.client_ca = file_of("ca", files[i].client_ca);
        err = tls_server_open(&o, &context);
        CHECK(err == files[i].err, files[i].label);
        if (err == ERR_OK)
            tls_unref(context);
    }
    snprintf(cut, sizeof(cut), "%s", chain);
    cut[strlen(node.cert_pem) + 100] = '\0';
    o = (struct tls_server_options){.cert = file_of("cert", cut),
                                    .key = file_of("key", node.key_pem)};
    CHECK(tls_server_open(&o, &context) == ERR_PARSE, "a chain that was cut off");
}

static void
test_pins(void)
{
    unsigned char pin[TLS_PIN_BYTES];
    char text[TLS_PIN_TEXT_BYTES], hex[72] = "sha256:";

    tls_pin_text(node.pin, text);
    CHECK(strlen(text) == 51 && config_pin(span_of(text), pin) == ERR_OK &&
              memcmp(pin, node.pin, sizeof(pin)) == 0,
          "pin: base64");
    text[50] = '\0';
    CHECK(config_pin(span_of(text), pin) == ERR_OK && memcmp(pin, node.pin, sizeof(pin)) == 0,
          "pin: base64 without its end");
    for (size_t i = 0; i < TLS_PIN_BYTES; i++)
        snprintf(hex + 7 + 2 * i, 3, i % 2 == 0 ? "%02x" : "%02X", node.pin[i]);
    CHECK(config_pin(span_of(hex), pin) == ERR_OK && memcmp(pin, node.pin, sizeof(pin)) == 0,
          "pin: hexadecimal");
    hex[20] = 'g';
    CHECK(config_pin(span_of(hex), pin) == ERR_PARSE, "pin: no digit");
    CHECK(config_pin(SPAN_LIT("sha256:"), pin) == ERR_PARSE, "pin: empty");
    CHECK(config_pin(SPAN_LIT("sha1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), pin) ==
              ERR_PARSE,
          "pin: another hash");
    text[20] = ' ';
    CHECK(config_pin(span_of(text), pin) == ERR_PARSE, "pin: a blank");
}

int
main(void)
{
    make_identity(&root, NULL, "root", NULL, 365);
    make_identity(&other_root, NULL, "other root", NULL, 365);
    make_identity(&node, &root, "node", "DNS:node.example,IP:127.0.0.1", 90);
    make_identity(&alice, &root, "alice", "IP:127.0.0.9", 90);
    make_identity(&plain_name, &root, "plain", "DNS:a.example,DNS:written.example,DNS:second.test",
                  90);
    plain_rsa.key = EVP_RSA_gen(2048);
    make_identity(&plain_rsa, &root, "plain", "DNS:second.test,DNS:A.example,DNS:written.example",
                  30);
    node_rsa.key = EVP_RSA_gen(2048);
    make_identity(&node_rsa, &root, "node", "DNS:node.example", 60);
    make_identity(&wild_name, &root, "wild", "DNS:*.example,DNS:f*.second.test", 90);
    make_identity(&mallory, &other_root, "mallory", "DNS:mallory.example", 90);
    test_client_certificates();
    test_sni();
    test_kinds();
    test_client_pins();
    test_files();
    test_pins();
    SSL_SESSION_free(last_session);
    free_identity(&root);
    free_identity(&other_root);
    free_identity(&node);
    free_identity(&alice);
    free_identity(&mallory);
    free_identity(&plain_name);
    free_identity(&wild_name);
    free_identity(&plain_rsa);
    free_identity(&node_rsa);
    return tap_done();
}
