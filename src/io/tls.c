/* tls - making contexts out of what files hold; see tls.h.
 * Debian's openssl.cnf can only raise what is set here (its security level may refuse short keys).
 */
#include "io/tls.h"

#include <openssl/decoder.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "io/tls_connection.h"

#define SUITES_12                                                                                  \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"     \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SUITES_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

#define SYSTEM_CERTIFICATES "/etc/ssl/certs/ca-certificates.crt" /* of Debian and many others */
#define SOON_S              604800                               /* "expires soon" */

/* The last reason that OpenSSL gave; the queue is empty afterwards. */
static const char *
reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return text != NULL ? text : "no reason given";
}

static void say(const struct tls_file *file, enum log_level level, const char *format, ...)
    PRINTF_LIKE(3, 4);
static void
say(const struct tls_file *file, enum log_level level, const char *format, ...)
{
    char text[LOG_LINE_BYTES_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_line(level, "%.*s%.*s: %s", (int)file->place.bytes, file->place.data, (int)file->name.bytes,
             file->name.data, text);
}

static enum err
complain(const struct tls_file *file, const char *what)
{
    say(file, LOG_ERROR, "%s", what);
    ERR_clear_error();
    return ERR_PARSE;
}

/* ---- Certificates. */

static void
warn_of_time(const struct tls_file *file, const X509 *certificate)
{
    time_t now = (time_t)clock_wall_s(), soon = now + SOON_S;
    const char *what = NULL;

    if (X509_cmp_time(X509_get0_notAfter(certificate), &now) < 0)
        what = "the certificate has expired: who checks it will refuse; renew it";
    else if (X509_cmp_time(X509_get0_notBefore(certificate), &now) > 0)
        what = "the certificate is not valid yet: who checks it will refuse";
    else if (X509_cmp_time(X509_get0_notAfter(certificate), &soon) < 0)
        what = "the certificate expires within a week: renew it";
    if (what != NULL)
        say(file, LOG_WARN, "%s", what);
}

static int64_t
expires_s(const X509 *certificate)
{
    int days = 0, seconds = 0;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);

    if (epoch == NULL ||
        ASN1_TIME_diff(&days, &seconds, epoch, X509_get0_notAfter(certificate)) != 1)
        days = seconds = 0;
    ASN1_TIME_free(epoch);
    return (int64_t)days * 86400 + seconds;
}

/* There are no passwords: nobody is there to be asked. */
static int
no_password(char *text, int bytes, int writing, void *user)
{
    (void)text, (void)bytes, (void)writing, (void)user;
    return -1;
}

static BIO *
open_text(struct span text)
{
    return text.bytes > INT32_MAX ? NULL : BIO_new_mem_buf(text.data, (int)text.bytes);
}

typedef bool take_fn(SSL_CTX *ssl, X509 *certificate, unsigned index);

/* Hand each certificate of the file to take, which gets a reference of its own if it wants one. */
static enum err
each_certificate(SSL_CTX *ssl, const struct tls_file *file, take_fn *take)
{
    BIO *bio = open_text(file->pem);
    enum err err = bio != NULL ? ERR_OK : ERR_MEMORY;
    unsigned count = 0;
    X509 *certificate;

    while (err == ERR_OK &&
           (certificate = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL)) != NULL) {
        if (count == 0)
            warn_of_time(file, certificate);
        if (!take(ssl, certificate, count++)) {
            say(file, LOG_ERROR, "certificate %u: %s", count, reason());
            err = ERR_PARSE;
        }
        X509_free(certificate);
    }
    if (err == ERR_OK && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        err = complain(file, "a certificate is broken: it is no PEM, or was cut off");
    else if (err == ERR_OK && count == 0)
        err = complain(file, "there is no certificate in it: a file in PEM form begins with "
                             "-----BEGIN CERTIFICATE-----");
    ERR_clear_error();
    BIO_free(bio);
    return err;
}

/* What a certificate's extensions say is worked out when it is first asked for, and kept in it. If
 * there were no memory in that moment of a handshake, it would count as invalid from then on: so it
 * is asked now. false: invalid it is. */
static bool
settle(X509 *certificate)
{
    return X509_check_purpose(certificate, -1, 0) == 1;
}

/* The first one is ours, the others lead from there to a root. */
static bool
take_own(SSL_CTX *ssl, X509 *certificate, unsigned index)
{
    (void)settle(certificate); /* what is wrong with it, clients judge */
    if (index == 0)
        return SSL_CTX_use_certificate(ssl, certificate) == 1;
    return SSL_CTX_add1_chain_cert(ssl, certificate) == 1;
}

static bool
take_trusted(SSL_CTX *ssl, X509 *certificate, unsigned index)
{
    (void)index;
    return settle(certificate) &&
           X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), certificate) == 1;
}

/* Trusted, and named to clients, who may have several certificates. */
static bool
take_client_ca(SSL_CTX *ssl, X509 *certificate, unsigned index)
{
    return take_trusted(ssl, certificate, index) && SSL_CTX_add_client_CA(ssl, certificate) == 1;
}

static enum err
set_own(SSL_CTX *ssl, const struct tls_file *cert, const struct tls_file *key)
{
    enum err err = each_certificate(ssl, cert, take_own);
    EVP_PKEY *private = NULL;
    BIO *bio = NULL;

    if (err != ERR_OK)
        return err;
    bio = open_text(key->pem);
    private = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    if (private == NULL) {
        err = complain(key, "no private key could be read from it: it is PEM without a password, "
                            "-----BEGIN PRIVATE KEY-----");
    } else if (SSL_CTX_use_PrivateKey(ssl, private) != 1) {
        say(key, LOG_ERROR,
            "this key does not belong to the certificate in %.*s (%s): give both from one request",
            (int)cert->name.bytes, cert->name.data, reason());
        err = ERR_PARSE;
    }
    EVP_PKEY_free(private);
    BIO_free(bio);
    return err;
}

static enum err
set_system_trust(SSL_CTX *ssl)
{
    const char *given = getenv(X509_get_default_cert_file_env());
    const char *path = given != NULL                            ? given
                       : access(SYSTEM_CERTIFICATES, R_OK) == 0 ? SYSTEM_CERTIFICATES
                                                                : X509_get_default_cert_file();

    /* As a file, whole: a directory would be looked into at each handshake, on the loop. */
    if (SSL_CTX_load_verify_file(ssl, path) == 1) {
        STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(SSL_CTX_get_cert_store(ssl));
        for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
            X509 *certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
            if (certificate != NULL)
                (void)settle(certificate); /* one of many may be odd */
        }
        ERR_clear_error();
        return ERR_OK;
    }
    log_error("%s: the system's certificates cannot be read (%s): install ca-certificates, or say "
              "whom to trust by `ca: file:...` or `pin: sha256:...`",
              path, reason());
    return ERR_IO;
}

/* ---- Contexts. */

struct tls_context *
tls_ref(struct tls_context *context)
{
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

int64_t
tls_expires_s(const struct tls_context *context)
{
    return context->expires_s;
}

void
tls_unref(struct tls_context *context)
{
    if (context == NULL || atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 1; i < context->count; i++)
        SSL_CTX_free(context->by_index[i]);
    free(context->by_index);
    tls_names_fini(&context->names);
    free(context->client_pins);
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->method);
    free(context);
}

/* What both sides have. NULL: no memory, or a library that cannot do this; logged. */
static SSL_CTX *
ssl_new(const SSL_METHOD *method)
{
    char groups[] = "X25519:P-256:P-384"; /* not const: OpenSSL's macro would cast that away */
    SSL_CTX *ssl = SSL_CTX_new(method);

    if (ssl != NULL && SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_cipher_list(ssl, SUITES_12) == 1 &&
        SSL_CTX_set_ciphersuites(ssl, SUITES_13) == 1 &&
        SSL_CTX_set1_groups_list(ssl, groups) == 1) {
        SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
        SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_info_callback(ssl, tls_connection_info);
        return ssl;
    }
    log_error("tls: OpenSSL cannot be set up: %s", reason());
    SSL_CTX_free(ssl);
    return NULL;
}

/* OpenSSL makes the methods of an operation when the first of them is asked for. When there is no
 * memory in the middle of that, it takes the operation for one without methods from then on: one
 * such moment in the first handshake, and no later one would succeed. So it happens here, before
 * anybody is served. */
static bool
has_methods(void)
{
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL);
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KEYMGMT *keys = EVP_KEYMGMT_fetch(NULL, "EC", NULL);
    EVP_KEYEXCH *exchange = EVP_KEYEXCH_fetch(NULL, "X25519", NULL);
    EVP_SIGNATURE *signature = EVP_SIGNATURE_fetch(NULL, "ECDSA", NULL);
    OSSL_ENCODER *encoder = OSSL_ENCODER_fetch(NULL, "EC", NULL);
    OSSL_DECODER *decoder = OSSL_DECODER_fetch(NULL, "EC", NULL);
    unsigned char byte;
    bool all = md != NULL && cipher != NULL && mac != NULL && kdf != NULL && keys != NULL &&
               exchange != NULL && signature != NULL && encoder != NULL && decoder != NULL &&
               RAND_bytes(&byte, 1) == 1;

    EVP_MD_free(md);
    EVP_CIPHER_free(cipher);
    EVP_MAC_free(mac);
    EVP_KDF_free(kdf);
    EVP_KEYMGMT_free(keys);
    EVP_KEYEXCH_free(exchange);
    EVP_SIGNATURE_free(signature);
    OSSL_ENCODER_free(encoder);
    OSSL_DECODER_free(decoder);
    return all;
}

/* NULL: as above. */
static struct tls_context *
context_new(const SSL_METHOD *method)
{
    struct tls_context *context = calloc(1, sizeof(*context));

    if (context == NULL)
        return NULL;
    atomic_init(&context->refs, 1);
    context->method = tls_connection_method();
    if (has_methods())
        context->ssl = ssl_new(method);
    else
        log_error("tls: OpenSSL lacks what it needs: %s", reason());
    if (context->method != NULL && context->ssl != NULL)
        return context;
    tls_unref(context);
    return NULL;
}

static const unsigned char alpn_list[] = "\x02h2\x08http/1.1";
#define ALPN_HTTP1       (alpn_list + 3)
#define ALPN_HTTP1_BYTES 9u

/* ---- The server's. */

/* The user is a context, or NULL when there is only http/1.1. A client that offers only
 * what we have not is told so (no_application_protocol); one that offers nothing speaks HTTP/1. */
static int
choose_protocol(SSL *ssl, const unsigned char **ret_chosen, unsigned char *ret_bytes,
                const unsigned char *offered, unsigned offered_bytes, void *user)
{
    const unsigned char *ours = user != NULL ? alpn_list : ALPN_HTTP1;
    unsigned bytes = user != NULL ? sizeof(alpn_list) - 1 : ALPN_HTTP1_BYTES;
    unsigned char *chosen = NULL;

    (void)ssl;
    if (SSL_select_next_proto(&chosen, ret_bytes, ours, bytes, offered, offered_bytes) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret_chosen = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Sessions of one way to judge clients must not get in under another one: their tickets carry this
 * name, and a different one is not taken. */
static bool
name_sessions(SSL_CTX *ssl, const struct tls_server_options *o)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    bool good;
    EVP_MD_CTX *md = EVP_MD_CTX_new();

    good = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
           (o->realm == NULL || EVP_DigestUpdate(md, o->realm, strlen(o->realm)) == 1) &&
           EVP_DigestUpdate(md, &o->client_cert_required, sizeof(o->client_cert_required)) == 1 &&
           EVP_DigestUpdate(md, o->client_ca.pem.data, o->client_ca.pem.bytes) == 1 &&
           EVP_DigestUpdate(md, o->client_pins, o->client_pin_count * TLS_PIN_BYTES) == 1 &&
           EVP_DigestFinal_ex(md, sum, NULL) == 1 &&
           SSL_CTX_set_session_id_context(ssl, sum, SSL_MAX_SID_CTX_LENGTH) == 1;
    EVP_MD_CTX_free(md);
    return good;
}

/* A client's certificate: by its pin, else by the CA. The user is the context. */
static int
verify_client(X509_STORE_CTX *store, void *user)
{
    const struct tls_context *context = user;
    unsigned char pin[TLS_PIN_BYTES];
    bool good = false;

    if (tls_key_pin(X509_STORE_CTX_get0_cert(store), pin)) {
        for (size_t i = 0; i < context->client_pin_count; i++)
            good = good || CRYPTO_memcmp(pin, context->client_pins[i], TLS_PIN_BYTES) == 0;
    }
    if (!good && context->has_client_ca)
        return X509_verify_cert(store);
    X509_STORE_CTX_set_error(store, good ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);
    return good;
}

static enum err
set_pins(const struct tls_server_options *o, struct tls_context *context)
{
    context->has_client_ca = o->client_ca.pem.bytes > 0;
    if (o->client_pin_count == 0)
        return ERR_OK;
    context->client_pins = calloc(o->client_pin_count, TLS_PIN_BYTES);
    if (context->client_pins == NULL)
        return ERR_MEMORY;
    memcpy(context->client_pins, o->client_pins, o->client_pin_count * TLS_PIN_BYTES);
    context->client_pin_count = o->client_pin_count;
    return ERR_OK;
}

/* A certificate, beside those of other kinds that are there already. */
static enum err
server_own(const struct tls_certificate *own, struct tls_context *context, SSL_CTX *ssl)
{
    enum err err = set_own(ssl, &own->cert, &own->key);
    int64_t end_s;

    if (err != ERR_OK)
        return err;
    end_s = expires_s(SSL_CTX_get0_certificate(ssl));
    if (context->expires_s == 0 || end_s < context->expires_s)
        context->expires_s = end_s;
    return ERR_OK;
}

/* A certificate and all that its connections need: the first one's rules are those of all. OpenSSL
 * goes on with whichever was chosen, in nearly everything. */
static enum err
server_set(const struct tls_server_options *o, const struct tls_certificate *own,
           struct tls_context *context, SSL_CTX *ssl)
{
    enum err err = server_own(own, context, ssl);

    if (err != ERR_OK)
        return err;
    if (o->client_ca.pem.bytes > 0) {
        if (ssl == context->ssl) {
            err = each_certificate(ssl, &o->client_ca, take_client_ca);
        } else {
            SSL_CTX_set1_cert_store(ssl, SSL_CTX_get_cert_store(context->ssl));
            SSL_CTX_set_client_CA_list(ssl,
                                       SSL_dup_CA_list(SSL_CTX_get_client_CA_list(context->ssl)));
        }
    }
    if (o->client_ca.pem.bytes > 0 || o->client_pin_count > 0)
        SSL_CTX_set_verify(
            ssl, SSL_VERIFY_PEER | (o->client_cert_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
            NULL);
    if (o->client_pin_count > 0)
        SSL_CTX_set_cert_verify_callback(ssl, verify_client, context);
    if (err == ERR_OK && (!name_sessions(ssl, o) ||
                          SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, tls_connection_ticket) != 1))
        err = ERR_MEMORY;
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ssl, TLS_TICKET_LIFE_S);
    SSL_CTX_set_num_tickets(ssl, 1);
    SSL_CTX_set_alpn_select_cb(ssl, choose_protocol, o->http2 ? context : NULL);
    return err;
}

/* ---- Several certificates. */

/* The user is the context. A name that nobody has is served by the first. */
static int
choose_certificate(SSL *ssl, int *alert, void *user)
{
    const struct tls_context *context = user;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    uint32_t index = name != NULL ? tls_names_find(&context->names, name) : TLS_NAMES_NOBODYS;

    (void)alert; /* internal_error */
    if (index == TLS_NAMES_NOBODYS)
        return SSL_TLSEXT_ERR_NOACK;
    return SSL_set_SSL_CTX(ssl, context->by_index[index]) != NULL ? SSL_TLSEXT_ERR_OK
                                                                  : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static enum err
add_names(struct tls_context *context, const struct tls_file *cert, uint32_t index)
{
    uint32_t added;
    enum err err = tls_names_add(&context->names,
                                 SSL_CTX_get0_certificate(context->by_index[index]), index, &added);

    if (err == ERR_FULL)
        say(cert, LOG_ERROR, "more than %u names in all certificates", TLS_NAMES_MAX);
    else if (err == ERR_OK && added == 0 && index > 0)
        say(cert, LOG_WARN,
            "no host's name is in the certificate (subjectAltName), so nobody is given it: only "
            "the first may have none");
    return err;
}

static int
key_kind(const X509 *certificate)
{
    EVP_PKEY *key = X509_get0_pubkey(certificate);

    return key != NULL ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE;
}

static bool
has_kind(SSL_CTX *ssl, int kind)
{
    for (long at = SSL_CERT_SET_FIRST; SSL_CTX_set_current_cert(ssl, at) == 1;
         at = SSL_CERT_SET_NEXT) {
        if (key_kind(SSL_CTX_get0_certificate(ssl)) == kind)
            return true;
    }
    return false;
}

/* Of those before, the one that a certificate goes to as another kind of the same: OpenSSL chooses
 * between them by what the client can check. NULL: none. */
static SSL_CTX *
same_names(const struct tls_context *context, const struct tls_file *cert)
{
    BIO *bio = open_text(cert->pem);
    X509 *certificate = bio != NULL ? PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL) : NULL;
    SSL_CTX *found = NULL;

    for (size_t i = 0; certificate != NULL && found == NULL && i < context->count; i++) {
        SSL_CTX *ssl = context->by_index[i];
        if (ssl != NULL && tls_names_same(SSL_CTX_get0_certificate(ssl), certificate) &&
            !has_kind(ssl, key_kind(certificate)))
            found = ssl;
    }
    X509_free(certificate);
    BIO_free(bio);
    ERR_clear_error(); /* what is wrong with it is told when it is taken */
    return found;
}

/* One more, which is a kind of an earlier one (its place stays empty) or one for itself. */
static enum err
add_certificate(const struct tls_server_options *o, const struct tls_certificate *own,
                struct tls_context *context)
{
    SSL_CTX *ssl = same_names(context, &own->cert);
    uint32_t index = (uint32_t)context->count++;
    enum err err;

    if (ssl != NULL)
        return server_own(own, context, ssl);
    ssl = context->by_index[index] = ssl_new(TLS_server_method());
    if (ssl == NULL)
        return ERR_MEMORY;
    err = server_set(o, own, context, ssl);
    return err == ERR_OK ? add_names(context, &own->cert, index) : err;
}

/* All but the first, and which is whose. */
static enum err
set_more(const struct tls_server_options *o, struct tls_context *context)
{
    const struct tls_name *twice;
    enum err err = ERR_OK;

    context->by_index = calloc(o->more_count + 1, sizeof(SSL_CTX *));
    if (context->by_index == NULL)
        return ERR_MEMORY;
    context->by_index[context->count++] = context->ssl;
    err = add_names(context, &o->cert, 0);
    for (size_t i = 0; i < o->more_count && err == ERR_OK; i++)
        err = add_certificate(o, &o->more[i], context);
    twice = err == ERR_OK ? tls_names_sort(&context->names) : NULL;
    if (twice != NULL) {
        const struct tls_file *first = twice->certificate == 0
                                           ? &o->cert
                                           : &o->more[twice->certificate - 1].cert;
        say(&o->more[twice[1].certificate - 1].cert, LOG_ERROR,
            "it has the name `%s`, and so has the certificate in %.*s: a name can be in one only, "
            "or in two "
            "with the same names and other kinds of keys (RSA, ECDSA)",
            twice->text, (int)first->name.bytes, first->name.data);
        err = ERR_PARSE;
    }
    SSL_CTX_set_tlsext_servername_callback(context->ssl, choose_certificate);
    SSL_CTX_set_tlsext_servername_arg(context->ssl, context);
    return err;
}

enum err
tls_server_open(const struct tls_server_options *o, struct tls_context **ret_context)
{
    const struct tls_certificate first = {o->cert, o->key};
    struct tls_context *context = context_new(TLS_server_method());
    enum err err;

    must(o->more_count < TLS_CERTIFICATES_MAX);
    if (context == NULL)
        return ERR_MEMORY;
    err = set_pins(o, context);
    if (err == ERR_OK)
        err = server_set(o, &first, context, context->ssl);
    if (err == ERR_OK && o->more_count > 0)
        err = set_more(o, context);
    if (err == ERR_OK)
        *ret_context = context;
    else
        tls_unref(context);
    return err;
}

/* ---- The client's. */

enum err
tls_client_open(const struct tls_client_options *o, struct tls_context **ret_context)
{
    struct tls_context *context = context_new(TLS_client_method());
    enum err err = ERR_OK;

    if (context == NULL)
        return ERR_MEMORY;
    if (o->ca.pem.bytes > 0)
        err = each_certificate(context->ssl, &o->ca, take_trusted);
    else if (!o->pinned)
        err = set_system_trust(context->ssl);
    if (err == ERR_OK && o->cert.pem.bytes > 0)
        err = set_own(context->ssl, &o->cert, &o->key);
    /* This one returns 0 for success. */
    if (err == ERR_OK && SSL_CTX_set_alpn_protos(context->ssl, ALPN_HTTP1, ALPN_HTTP1_BYTES) != 0)
        err = ERR_MEMORY;
    if (err != ERR_OK) {
        tls_unref(context);
        return err;
    }
    /* Whoever is trusted by name need not be a root. */
    if (o->ca.pem.bytes > 0)
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context->ssl), X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(context->ssl, tls_connection_verify, NULL);
    SSL_CTX_set_session_cache_mode(context->ssl,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context->ssl, tls_connection_session);
    *ret_context = context;
    return ERR_OK;
}

/* ---- Pins. */

bool
tls_key_pin(const X509 *certificate, unsigned char ret_pin[TLS_PIN_BYTES])
{
    unsigned char *der = NULL, sum[EVP_MAX_MD_SIZE];
    int bytes = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    bool good = bytes > 0 && EVP_Digest(der, (size_t)bytes, sum, NULL, EVP_sha256(), NULL) == 1;

    if (good)
        memcpy(ret_pin, sum, TLS_PIN_BYTES);
    OPENSSL_free(der);
    return good;
}

/* ---- Whose. */

static bool
print_subject(BIO *out, const X509 *certificate)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);

    return X509_NAME_entry_count(subject) > 0 &&
           X509_NAME_print_ex(out, subject, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0;
}

static void
print_alternative(BIO *out, const X509 *certificate)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

    if (sk_GENERAL_NAME_num(all) > 0)
        (void)GENERAL_NAME_print(out, sk_GENERAL_NAME_value(all, 0));
    GENERAL_NAMES_free(all);
}

void
tls_certificate_name(const X509 *certificate, char *text, size_t size)
{
    BIO *out = BIO_new(BIO_s_mem());
    int bytes = 0;

    if (out != NULL) {
        if (!print_subject(out, certificate))
            print_alternative(out, certificate);
        bytes = BIO_read(out, text, (int)size - 1);
    }
    text[bytes > 0 ? bytes : 0] = '\0';
    BIO_free(out);
    ERR_clear_error();
}

enum err
tls_file_pin(const struct tls_file *cert, unsigned char ret_pin[TLS_PIN_BYTES])
{
    BIO *bio = open_text(cert->pem);
    X509 *certificate = bio != NULL ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
    bool good = certificate != NULL && tls_key_pin(certificate, ret_pin);

    X509_free(certificate);
    BIO_free(bio);
    return good ? ERR_OK : complain(cert, "there is no certificate in it");
}

void
tls_pin_text(const unsigned char pin[TLS_PIN_BYTES], char ret_text[TLS_PIN_TEXT_BYTES])
{
    memcpy(ret_text, "sha256:", 7);
    (void)EVP_EncodeBlock((unsigned char *)ret_text + 7, pin, TLS_PIN_BYTES); /* 44 and a zero */
}
