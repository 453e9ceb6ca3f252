#ifndef TLS_SERVER_FIXTURE_H
#define TLS_SERVER_FIXTURE_H
/* tls_server_fixture - the server of http_server_fixture over TLS, and a client by OpenSSL's own
 * code for it, both on the test's thread. */
#include <fcntl.h>
#include <openssl/err.h>

#include "http_server_fixture.h"
#include "tls_fixture.h"

static struct tls_context *context_now; /* what the server's next connection gets */
static struct tls_stats stats;

__attribute__((unused)) static struct tls_context *
give_context(void *user)
{
    (void)user;
    return context_now;
}

__attribute__((unused)) static void
open_tls(struct fixture *f, struct tls_context *context, struct http_server_limits limits)
{
    struct tls_tickets tickets;

    open_fixture(f, limits);
    context_now = context;
    must(tls_tickets_init(&tickets, 1) == ERR_OK);
    must(http_server_use_tls(f->server, give_context, &tickets, &stats) == ERR_OK);
}

__attribute__((unused)) static void
close_tls(struct fixture *f)
{
    close_fixture(f);
    tls_unref(context_now);
    context_now = NULL;
}

/* ---- A client by OpenSSL, on the loop's own thread. */

struct tls_client {
    struct client c;
    SSL_CTX *context;
    SSL *ssl;
    bool failed, goodbye;
    int reason; /* of the failure */
};

struct wish {
    int version_max;
    const char *alpn; /* in the wire's form */
    const char *name; /* by SNI */
    const struct identity *own;
    SSL_SESSION *session;
    const char *signatures; /* that it can check; NULL: all */
};

static SSL_SESSION *last_session; /* whoever takes it frees it */

__attribute__((unused)) static int
on_new_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(last_session);
    last_session = session;
    return 1;
}

__attribute__((unused)) static struct tls_client
connect_tls(struct fixture *f, struct wish wish)
{
    struct tls_client t = {.c = connect_to(f), .context = SSL_CTX_new(TLS_client_method())};
    int flags = fcntl(t.c.fd, F_GETFL);
    char name[64], signatures[64]; /* not const: OpenSSL's macros would cast that away */

    must(flags >= 0 && fcntl(t.c.fd, F_SETFL, flags | O_NONBLOCK) == 0);
    SSL_CTX_set_security_level(t.context, 0);
    must(SSL_CTX_set_cipher_list(t.context, "ALL:@SECLEVEL=0") == 1);
    SSL_CTX_set_min_proto_version(t.context, TLS1_VERSION);
    if (wish.version_max != 0)
        SSL_CTX_set_max_proto_version(t.context, wish.version_max);
    SSL_CTX_set_session_cache_mode(t.context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(t.context, on_new_session);
    if (wish.own != NULL)
        must(SSL_CTX_use_certificate(t.context, wish.own->certificate) == 1 &&
             SSL_CTX_use_PrivateKey(t.context, wish.own->key) == 1);
    t.ssl = SSL_new(t.context);
    must(t.ssl != NULL && SSL_set_fd(t.ssl, t.c.fd) == 1);
    SSL_set_mode(t.ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (wish.alpn != NULL)
        must(SSL_set_alpn_protos(t.ssl, (const unsigned char *)wish.alpn,
                                 (unsigned)strlen(wish.alpn)) == 0);
    snprintf(name, sizeof(name), "%s", wish.name != NULL ? wish.name : "");
    if (wish.name != NULL)
        must(SSL_set_tlsext_host_name(t.ssl, name) == 1);
    snprintf(signatures, sizeof(signatures), "%s", wish.signatures != NULL ? wish.signatures : "");
    if (wish.signatures != NULL)
        must(SSL_set1_sigalgs_list(t.ssl, signatures) == 1);
    if (wish.session != NULL)
        must(SSL_set_session(t.ssl, wish.session) == 1);
    return t;
}

__attribute__((unused)) static void
close_tls_client(struct tls_client *t)
{
    SSL_free(t->ssl);
    SSL_CTX_free(t->context);
    close_client(&t->c);
}

/* Did the operation fail for good? */
__attribute__((unused)) static bool
note_result(struct tls_client *t, int result)
{
    int why = SSL_get_error(t->ssl, result);

    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return false;
    t->goodbye = why == SSL_ERROR_ZERO_RETURN;
    t->failed = !t->goodbye;
    t->reason = ERR_GET_REASON(ERR_peek_last_error());
    t->c.ended = true;
    ERR_clear_error();
    return true;
}

__attribute__((unused)) static bool
shake(struct fixture *f, struct tls_client *t)
{
    uint64_t until_s = 0;

    while (!t->failed && patience(&until_s)) {
        int result = SSL_connect(t->ssl);
        if (result == 1)
            return true;
        if (note_result(t, result))
            return false;
        loop_pass(f->loop, 1000000);
    }
    return false;
}

__attribute__((unused)) static bool
send_tls(struct fixture *f, struct tls_client *t, struct span bytes)
{
    while (bytes.bytes > 0 && !t->failed) {
        size_t n = 0;
        int result = SSL_write_ex(t->ssl, bytes.data, bytes.bytes, &n);
        if (result != 1)
            note_result(t, result);
        bytes = span_from(bytes, n);
        loop_pass(f->loop, 0);
    }
    return bytes.bytes == 0;
}

__attribute__((unused)) static void
receive_tls(struct tls_client *t)
{
    size_t n;

    while (!t->c.ended && t->c.bytes < RECEIVED_MAX) {
        if (SSL_read_ex(t->ssl, t->c.data + t->c.bytes, RECEIVED_MAX - t->c.bytes, &n) == 1) {
            t->c.bytes += n;
        } else {
            note_result(t, 0);
            return;
        }
    }
}

__attribute__((unused)) static bool
await_tls(struct fixture *f, struct tls_client *t, const char *text, size_t times)
{
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        size_t before = t->c.bytes;

        receive_tls(t);
        until_s = t->c.bytes > before ? 0 : until_s;
        if (text == NULL ? t->c.ended : count(&t->c, text) >= times)
            return true;
        if (t->c.ended)
            return false;
        loop_pass(f->loop, 1000000);
    }
    return false;
}

#define GET "GET /a HTTP/1.1\r\n" H "\r\n"
#endif
