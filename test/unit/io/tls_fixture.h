#ifndef TLS_FIXTURE_H
#define TLS_FIXTURE_H
/* tls_fixture - certificates made on the spot, for tests: a root, and what it or nobody signs. No
 * key is ever in a file of the repository. */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "base/span.h"
#include "io/tls_connection.h"

#define PEM_BYTES_MAX 8192u
#define DAY_S         86400

struct identity {
    X509 *certificate;
    EVP_PKEY *key;
    char cert_pem[PEM_BYTES_MAX], key_pem[PEM_BYTES_MAX];
    unsigned char pin[TLS_PIN_BYTES];
};

__attribute__((unused)) static void
to_text(BIO *bio, char text[PEM_BYTES_MAX])
{
    int n = BIO_read(bio, text, PEM_BYTES_MAX - 1);

    must(n > 0);
    text[n] = '\0';
    BIO_free(bio);
}

__attribute__((unused)) static void
add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    must(extension != NULL && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

/* names: of subjectAltName, NULL: a root. issuer: NULL: it signs itself. days: until it ends, which
 * may have been before now. id is zero, or has the key that it is to have. */
__attribute__((unused)) static void
make_identity(struct identity *id, const struct identity *issuer, const char *common_name,
              const char *names, int days)
{
    unsigned char *der = NULL;
    X509 *c = X509_new();
    X509_NAME *name;
    BIO *cert_text = BIO_new(BIO_s_mem()), *key_text = BIO_new(BIO_s_mem());
    int bytes;

    if (id->key == NULL)
        id->key = EVP_EC_gen("P-256");
    must(c != NULL && id->key != NULL && X509_set_version(c, 2) == 1);
    must(ASN1_INTEGER_set(X509_get_serialNumber(c), rand()) == 1);
    X509_gmtime_adj(X509_getm_notBefore(c), -30 * DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(c), (long)days * DAY_S);
    must(X509_set_pubkey(c, id->key) == 1);
    name = X509_get_subject_name(c);
    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name,
                                    -1, -1, 0) == 1);
    must(X509_set_issuer_name(c, issuer != NULL ? X509_get_subject_name(issuer->certificate)
                                                : name) == 1);
    add_extension(c, issuer != NULL ? issuer->certificate : c, NID_basic_constraints,
                  names == NULL ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (names != NULL)
        add_extension(c, c, NID_subject_alt_name, names);
    must(X509_sign(c, issuer != NULL ? issuer->key : id->key, EVP_sha256()) > 0);
    id->certificate = c;
    must(PEM_write_bio_X509(cert_text, c) == 1 &&
         PEM_write_bio_PKCS8PrivateKey(key_text, id->key, NULL, NULL, 0, NULL, NULL) == 1);
    to_text(cert_text, id->cert_pem);
    to_text(key_text, id->key_pem);
    bytes = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c), &der);
    must(bytes > 0 && EVP_Digest(der, (size_t)bytes, id->pin, NULL, EVP_sha256(), NULL) == 1);
    OPENSSL_free(der);
}

__attribute__((unused)) static void
free_identity(struct identity *id)
{
    X509_free(id->certificate);
    EVP_PKEY_free(id->key);
}

__attribute__((unused)) static struct tls_file
file_of(const char *name, const char *pem)
{
    return (struct tls_file){.name = span_of(name), .pem = span_of(pem)};
}

__attribute__((unused)) static struct tls_context *
server_context(const struct identity *id, const struct identity *client_ca, bool required,
               bool http2)
{
    struct tls_server_options o = {.cert = file_of("tls.crt", id->cert_pem),
                                   .key = file_of("tls.key", id->key_pem),
                                   .client_cert_required = required,
                                   .http2 = http2};
    struct tls_context *context;

    if (client_ca != NULL)
        o.client_ca = file_of("clients.crt", client_ca->cert_pem);
    must(tls_server_open(&o, &context) == ERR_OK);
    return context;
}

__attribute__((unused)) static struct tls_context *
client_context(const struct identity *ca, const struct identity *own)
{
    struct tls_client_options o = {.pinned = ca == NULL};
    struct tls_context *context;

    if (ca != NULL)
        o.ca = file_of("ca.crt", ca->cert_pem);
    if (own != NULL) {
        o.cert = file_of("own.crt", own->cert_pem);
        o.key = file_of("own.key", own->key_pem);
    }
    must(tls_client_open(&o, &context) == ERR_OK);
    return context;
}
#endif
