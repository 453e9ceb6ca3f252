/* tls_names_test - which certificate is for which name, and what is wrong with a list of them, told
 * with where it stands. That clients get them is in tls_certificates_test. */
#include "io/tls_names.h"

#include "io/log.h"
#include "tap.h"
#include "tls_fixture.h"

static struct identity node, alice, plain_name, wild_name, own_copy, own_rsa;

static void
test_names(void)
{
    struct tls_names names = {0};
    uint32_t added;

    must(tls_names_add(&names, plain_name.certificate, 7, &added) == ERR_OK);
    CHECK(added == 3 && tls_names_sort(&names) == NULL, "names: of one certificate");
    CHECK(tls_names_find(&names, "a.example.") == 7 &&
              tls_names_find(&names, "") == TLS_NAMES_NOBODYS &&
              tls_names_find(&names, ".example") == TLS_NAMES_NOBODYS &&
              tls_names_find(&names, "a..example") == TLS_NAMES_NOBODYS &&
              tls_names_find(&names, "a .example") == TLS_NAMES_NOBODYS,
          "names: asked for in odd ways");
    must(tls_names_add(&names, alice.certificate, 8, &added) == ERR_OK);
    CHECK(added == 0, "names: none of a host");
    must(tls_names_add(&names, own_copy.certificate, 9, &added) == ERR_OK);
    CHECK(tls_names_sort(&names) != NULL, "names: one twice");
    tls_names_fini(&names);
    CHECK(tls_names_same(own_copy.certificate, own_rsa.certificate) &&
              tls_names_same(plain_name.certificate, plain_name.certificate) &&
              !tls_names_same(plain_name.certificate, own_copy.certificate) &&
              !tls_names_same(own_copy.certificate, node.certificate) &&
              !tls_names_same(alice.certificate, alice.certificate),
          "names: the same in two, and any");
}

static char told[1024];

static void
on_told(enum log_level level, const char *text, void *user)
{
    (void)user;
    snprintf(told, sizeof(told), "%d %s", (int)level, text);
}

/* What is wrong with one of several is told with where it stands. */
static void
test_certificate_lists(void)
{
    struct tls_certificate more[2] = {
        {file_of("plain.crt", plain_name.cert_pem), file_of("plain.key", plain_name.key_pem)},
        {file_of("copy.crt", own_copy.cert_pem), file_of("copy.key", own_copy.key_pem)}};
    struct tls_server_options o = {.cert = file_of("node.crt", node.cert_pem),
                                   .key = file_of("node.key", node.key_pem),
                                   .more = more,
                                   .more_count = 2};
    struct tls_context *context;

    more[1].cert.place = SPAN_LIT("g.yaml:3:4: ");
    more[1].key.place = SPAN_LIT("g.yaml:3:9: ");
    log_tap(on_told, NULL);
    CHECK(tls_server_open(&o, &context) == ERR_PARSE &&
              strcmp(told,
                     "0 g.yaml:3:4: copy.crt: it has the name `a.example`, and so has the "
                     "certificate in plain.crt: a name can be in one only, or in two with the "
                     "same names and other kinds of keys (RSA, ECDSA)") == 0,
          "a name in two");
    more[1].cert.pem = span_of(own_rsa.cert_pem);
    more[1].key.pem = span_of(own_rsa.key_pem);
    CHECK(tls_server_open(&o, &context) == ERR_PARSE &&
              strncmp(told, "0 g.yaml:3:4: copy.crt: it has the name `a.example`", 51) == 0,
          "in two of other kinds that have not the same ones");
    more[0] = more[1];
    CHECK(tls_server_open(&o, &context) == ERR_PARSE, "in two of one kind that have");
    more[0] = (struct tls_certificate){file_of("plain.crt", plain_name.cert_pem),
                                       file_of("plain.key", plain_name.key_pem)};
    more[1].cert.pem = span_of(own_copy.cert_pem);
    more[1].key.pem = span_of(wild_name.key_pem);
    CHECK(tls_server_open(&o, &context) == ERR_PARSE &&
              strncmp(told, "0 g.yaml:3:9: copy.key: this key does not belong", 48) == 0,
          "a key of another");
    more[1].cert.pem = span_of(alice.cert_pem);
    more[1].key.pem = span_of(alice.key_pem);
    CHECK(tls_server_open(&o, &context) == ERR_OK &&
              strncmp(told, "1 g.yaml:3:4: copy.crt: no host's name", 38) == 0,
          "one that nobody will be given");
    tls_unref(context);
    log_tap(NULL, NULL);
}

int
main(void)
{
    make_identity(&node, NULL, "node", "DNS:node.example", 90);
    make_identity(&alice, NULL, "alice", "IP:127.0.0.9", 90);
    make_identity(&plain_name, NULL, "plain", "DNS:a.example,DNS:written.example,DNS:second.test",
                  90);
    make_identity(&wild_name, NULL, "wild", "DNS:*.example", 90);
    make_identity(&own_copy, NULL, "copy", "DNS:A.example", 90);
    own_rsa.key = EVP_RSA_gen(2048);
    make_identity(&own_rsa, NULL, "copy", "DNS:a.example", 90);
    test_names();
    test_certificate_lists();
    free_identity(&node);
    free_identity(&alice);
    free_identity(&plain_name);
    free_identity(&wild_name);
    free_identity(&own_copy);
    free_identity(&own_rsa);
    return tap_done();
}
