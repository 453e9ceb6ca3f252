/* tls_connection - OpenSSL between our own reads and writes; see tls_connection.h.
 *
 * OpenSSL reads and writes through a BIO of ours. Reading, it finds what one recv brought into the
 * shared buffer (or what was kept of an earlier one); an operation makes at most one recv, and none
 * once it has something to give back: what the socket still has, the loop announces again. Writing,
 * it fills the other shared buffer, which `push` sends when the operation is over. So the shared
 * buffers hold nothing between two operations.
 *
 * A connection that failed stays failed: `error` is what all calls give from then on. */
#include "io/tls_connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/must.h"
#include "io/clock.h"

/* Asked of the socket for whoever wants less: so much may be kept for a later operation. */
#define RECORD_WHOLE_BYTES 16704u
#define OUT_BYTES_MIN      (TLS_SEND_BYTES_MAX + 4096u) /* what one operation writes, usually */

struct tls_bytes {
    char *data;
    size_t at, bytes; /* data[at, bytes) */
};

struct tls {
    SSL *ssl;
    struct tls_buffers *buffers;
    struct tls_peer *peer; /* NULL: it is a server's */
    struct tls_context *context;
    struct tls_bytes in;  /* from the socket, not read by OpenSSL: buffers->in, or our own memory */
    struct tls_bytes out; /* for the socket, not taken by the kernel; our own memory */
    int fd;
    int error;         /* an errno; 0: none */
    uint32_t messages; /* after the handshake, that are no data */
    size_t recv_bytes; /* what this operation may ask of the socket, once */
    char *client;      /* whose certificate was shown; NULL: none */
    bool got_byte;     /* from the peer, ever */
    bool got_end;      /* of the socket's stream */
    bool closed;       /* the peer said goodbye, in order */
    bool done;         /* the handshake */
    bool silent;       /* no goodbye */
};

/* ---- Reading and writing as OpenSSL sees it. */

static struct tls *
tls_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

/* One recv. false: nothing came. */
static bool
fill(struct tls *t)
{
    ssize_t n;

    if (t->recv_bytes == 0 || t->got_end)
        return false;
    n = recv(t->fd, t->buffers->in, t->recv_bytes, 0);
    t->recv_bytes = 0;
    if (n < 0 && errno != EAGAIN && errno != EINTR)
        t->error = errno;
    t->got_end = n == 0;
    t->got_byte = t->got_byte || n > 0;
    t->in = (struct tls_bytes){t->buffers->in, 0, n > 0 ? (size_t)n : 0};
    return n > 0;
}

static void
free_bytes(struct tls_bytes *b)
{
    free(b->data);
    *b = (struct tls_bytes){0};
}

static bool
in_is_kept(const struct tls *t)
{
    return t->in.data != t->buffers->in;
}

static int
method_read(BIO *bio, char *data, size_t bytes, size_t *ret_bytes)
{
    struct tls *t = BIO_get_data(bio);
    struct tls_bytes *in = &t->in;

    BIO_clear_retry_flags(bio);
    *ret_bytes = 0;
    if (t->error != 0)
        return 0;
    if (in->at == in->bytes) {
        if (in_is_kept(t))
            free_bytes(in);
        if (!fill(t)) {
            if (!t->got_end && t->error == 0)
                BIO_set_retry_read(bio);
            return 0;
        }
    }
    *ret_bytes = bytes < in->bytes - in->at ? bytes : in->bytes - in->at;
    memcpy(data, in->data + in->at, *ret_bytes);
    in->at += *ret_bytes;
    return 1;
}

/* Room in the shared buffer, which grows with the longest certificates. */
static bool
reserve(struct tls_buffers *b, size_t bytes)
{
    size_t capacity = b->out_capacity;
    char *data;

    if (b->out_bytes + bytes <= capacity)
        return true;
    while (capacity < b->out_bytes + bytes)
        capacity = capacity < OUT_BYTES_MIN ? OUT_BYTES_MIN : 2 * capacity;
    data = realloc(b->out, capacity);
    if (data == NULL)
        return false;
    b->out = data;
    b->out_capacity = capacity;
    return true;
}

static int
method_write(BIO *bio, const char *data, size_t bytes, size_t *ret_bytes)
{
    struct tls *t = BIO_get_data(bio);
    struct tls_buffers *b = t->buffers;

    BIO_clear_retry_flags(bio);
    *ret_bytes = 0;
    /* A peer that makes us answer and does not read must not fill our memory. */
    if (t->error == 0 && t->out.bytes + b->out_bytes + bytes > TLS_KEPT_BYTES_MAX)
        t->error = ENOBUFS;
    if (t->error == 0 && !reserve(b, bytes))
        t->error = ENOMEM;
    if (t->error != 0)
        return 0;
    memcpy(b->out + b->out_bytes, data, bytes);
    b->out_bytes += bytes;
    *ret_bytes = bytes;
    return 1;
}

static long
method_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH; /* `push` is what flushes */
}

static int
method_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *
tls_connection_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "transport");

    if (method != NULL && BIO_meth_set_read_ex(method, method_read) == 1 &&
        BIO_meth_set_write_ex(method, method_write) == 1 &&
        BIO_meth_set_ctrl(method, method_control) == 1 &&
        BIO_meth_set_create(method, method_create) == 1)
        return method;
    BIO_meth_free(method);
    return NULL;
}

/* ---- Around each operation. */

static void
begin(struct tls *t, size_t recv_bytes)
{
    must(t->buffers->out_bytes == 0);
    if (ERR_peek_error() != 0) /* clearing goes through all places of the queue */
        ERR_clear_error();
    t->recv_bytes = recv_bytes < sizeof(t->buffers->in) ? recv_bytes : sizeof(t->buffers->in);
}

/* What OpenSSL has not read leaves the shared buffer. */
static void
keep_input(struct tls *t)
{
    size_t left = t->in.bytes - t->in.at;
    char *data = NULL;

    if (in_is_kept(t)) {
        if (left == 0)
            free_bytes(&t->in);
        return;
    }
    if (left > 0) {
        data = malloc(left);
        if (data != NULL)
            memcpy(data, t->in.data + t->in.at, left);
        else
            t->error = ENOMEM;
    }
    t->in = (struct tls_bytes){data, 0, data != NULL ? left : 0};
}

static bool
append_out(struct tls *t, const char *data, size_t bytes)
{
    struct tls_bytes *out = &t->out;
    size_t left = out->bytes - out->at;
    char *all = malloc(left + bytes);

    if (all == NULL)
        return false;
    if (left > 0)
        memcpy(all, out->data + out->at, left);
    memcpy(all + left, data, bytes);
    free(out->data);
    *out = (struct tls_bytes){all, 0, left + bytes};
    return true;
}

/* Hand the kernel what was kept and what this operation wrote. Returns what it took; -1: nothing,
 * with errno. */
static ssize_t
push(struct tls *t)
{
    struct tls_buffers *b = t->buffers;
    size_t fresh = b->out_bytes;
    ssize_t n = 0;

    b->out_bytes = 0;
    if (t->out.bytes > 0) { /* in order: behind what is kept */
        if (fresh > 0 && !append_out(t, b->out, fresh))
            t->error = ENOMEM;
        n = send(t->fd, t->out.data + t->out.at, t->out.bytes - t->out.at, MSG_NOSIGNAL);
        t->out.at += n > 0 ? (size_t)n : 0;
        if (t->out.at == t->out.bytes)
            free_bytes(&t->out);
    } else if (fresh > 0) {
        n = send(t->fd, b->out, fresh, MSG_NOSIGNAL);
        if ((n >= 0 || errno == EAGAIN || errno == EINTR) && n < (ssize_t)fresh) {
            size_t taken = n > 0 ? (size_t)n : 0;
            if (!append_out(t, b->out + taken, fresh - taken))
                t->error = ENOMEM;
        }
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR && t->error == 0)
        t->error = errno;
    return n;
}

/* Why an operation gave nothing: 0 the end, -1 with errno. To be called before `finish`. */
static int
outcome(struct tls *t, int result)
{
    int why = SSL_get_error(t->ssl, result);

    if (why == SSL_ERROR_ZERO_RETURN) {
        t->closed = true;
        return 0;
    }
    if (why == SSL_ERROR_WANT_READ && t->error == 0) {
        errno = EAGAIN;
        return -1;
    }
    if (t->error == 0) /* an end without goodbye is one that somebody else may have made */
        t->error = t->got_end ? ECONNRESET : EPROTO;
    errno = t->error;
    return -1;
}

static void
finish(struct tls *t)
{
    int error = errno;

    keep_input(t);
    (void)push(t); /* what fails shows in t->error, at the latest in the next call */
    errno = error;
}

/* ---- Callbacks of contexts. */

/* Tickets as RFC 5077 has them: AES-256-CBC, then HMAC-SHA-256. 0: not ours; 1: good; 2: good, but
 * the client should get a new one. In TLS 1.3 always: clients use one once, so without it only
 * every second of their connections would be a short one. */
int
tls_connection_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                      EVP_MAC_CTX *mac, int making)
{
    struct tls_buffers *b = tls_of(ssl)->buffers;
    struct tls_ticket_keys keys;
    char digest[] = "SHA256";
    OSSL_PARAM params[3];
    bool old = false;
    int result = -1;

    if (making) {
        tls_tickets_now(&b->tickets, clock_now_ns(), &keys);
        memcpy(name, keys.name, sizeof(keys.name));
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
            goto out;
    } else if (tls_tickets_find(&b->tickets, clock_now_ns(), name, &keys, &old) != ERR_OK) {
        result = 0;
        goto out;
    }
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, keys.mac, sizeof(keys.mac));
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    params[2] = OSSL_PARAM_construct_end();
    if (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, keys.cipher, iv, making) == 1 &&
        EVP_MAC_CTX_set_params(mac, params) == 1)
        result = old || SSL_version(ssl) >= TLS1_3_VERSION ? 2 : 1;
out:
    OPENSSL_cleanse(&keys, sizeof(keys));
    return result;
}

/* The server gave us a session to come back with. */
int
tls_connection_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_peer *peer = tls_of(ssl)->peer;

    SSL_SESSION_free(peer->session);
    peer->session = session;
    return 1; /* it is ours now */
}

/* By the pin, or by CA and name. */
int
tls_connection_verify(X509_STORE_CTX *store, void *user)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_peer *peer = tls_of(ssl)->peer;
    unsigned char pin[TLS_PIN_BYTES];
    char text[TLS_PIN_TEXT_BYTES];
    bool good = false;

    (void)user;
    if (!peer->has_pin)
        return X509_verify_cert(store);
    if (tls_key_pin(X509_STORE_CTX_get0_cert(store), pin)) {
        good = CRYPTO_memcmp(pin, peer->pin, sizeof(peer->pin)) == 0;
        tls_pin_text(pin, text);
        if (!good)
            snprintf(peer->why, sizeof(peer->why), "its key is not the pinned one but %s", text);
    }
    X509_STORE_CTX_set_error(store, good ? X509_V_OK : X509_V_ERR_APPLICATION_VERIFICATION);
    return good;
}

/* Each message that is no data is a step: after the handshake, tickets and new keys. New keys cost
 * us much and the peer little. */
void
tls_connection_info(const SSL *ssl, int where, int result)
{
    struct tls *t = tls_of(ssl);

    (void)result;
    if ((where & SSL_CB_LOOP) && t->done && t->messages++ == TLS_MESSAGES_MAX)
        t->error = EPROTO;
}

/* ---- Buffers and peers. */

struct tls_buffers *
tls_buffers_open(const struct tls_tickets *tickets, struct tls_stats *stats)
{
    struct tls_buffers *b = malloc(sizeof(*b)); /* not zeroed: it is large */

    if (b == NULL)
        return NULL;
    b->tickets = tickets != NULL ? *tickets : (struct tls_tickets){0};
    b->stats = stats;
    b->out = NULL;
    b->out_bytes = b->out_capacity = 0;
    return b;
}

void
tls_buffers_close(struct tls_buffers *b)
{
    if (b == NULL)
        return;
    OPENSSL_cleanse(&b->tickets, sizeof(b->tickets));
    free(b->out);
    free(b);
}

enum err
tls_peer_init(struct tls_peer *peer, struct tls_context *context, struct span name,
              const unsigned char *pin)
{
    struct in6_addr address;

    if (name.bytes > TLS_NAME_BYTES_MAX || span_find(name, '\0') < name.bytes)
        return ERR_ARG;
    *peer = (struct tls_peer){.context = tls_ref(context), .has_pin = pin != NULL};
    span_copy(name, peer->name, sizeof(peer->name));
    peer->is_address = inet_pton(AF_INET, peer->name, &address) == 1 ||
                       inet_pton(AF_INET6, peer->name, &address) == 1;
    if (pin != NULL)
        memcpy(peer->pin, pin, sizeof(peer->pin));
    return ERR_OK;
}

void
tls_peer_fini(struct tls_peer *peer)
{
    SSL_SESSION_free(peer->session);
    tls_unref(peer->context);
    *peer = (struct tls_peer){0};
}

/* ---- A connection's life. */

static void
count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* Whom to expect, and the session of the last time. */
static bool
expect_peer(SSL *ssl, struct tls_peer *peer)
{
    if (peer->is_address && X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), peer->name) != 1)
        return false;
    if (!peer->is_address &&
        (SSL_set1_host(ssl, peer->name) != 1 || SSL_set_tlsext_host_name(ssl, peer->name) != 1))
        return false;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return peer->session == NULL || SSL_set_session(ssl, peer->session) == 1;
}

struct tls *
tls_open(struct tls_context *context, struct tls_buffers *buffers, struct tls_peer *peer, int fd)
{
    struct tls *t = calloc(1, sizeof(*t));
    BIO *bio;

    if (t == NULL)
        return NULL;
    t->context = tls_ref(context);
    t->buffers = buffers;
    t->peer = peer;
    t->fd = fd;
    t->ssl = SSL_new(context->ssl);
    bio = BIO_new(context->method);
    if (t->ssl == NULL || bio == NULL || SSL_set_app_data(t->ssl, t) != 1 ||
        (peer != NULL && !expect_peer(t->ssl, peer))) {
        BIO_free(bio);
        t->silent = true;
        tls_close(t);
        return NULL;
    }
    BIO_set_data(bio, t);
    SSL_set_bio(t->ssl, bio, bio);
    if (peer != NULL)
        SSL_set_connect_state(t->ssl);
    else
        SSL_set_accept_state(t->ssl);
    return t;
}

void
tls_close(struct tls *t)
{
    if (t->done && !t->silent && t->error == 0 && t->out.bytes == 0) {
        begin(t, 0);
        (void)SSL_shutdown(t->ssl); /* the peer's answer is not waited for */
        (void)push(t);              /* if it does not get there, nothing can be done */
    }
    if (!t->done && t->got_byte && t->buffers->stats != NULL)
        count(&t->buffers->stats->failed);
    SSL_free(t->ssl);
    ERR_clear_error();
    tls_unref(t->context);
    if (in_is_kept(t))
        free(t->in.data);
    free(t->out.data);
    free(t->client);
    free(t);
}

/* Why the handshake failed, for a client's log: the certificate's fault, or OpenSSL's words. */
static void
note_failure(struct tls *t)
{
    long verdict = SSL_get_verify_result(t->ssl);
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    if (t->peer == NULL || verdict == X509_V_ERR_APPLICATION_VERIFICATION)
        return; /* the pin: noted */
    if (verdict != X509_V_OK)
        text = X509_verify_cert_error_string(verdict);
    else if (t->got_end || text == NULL)
        text = t->got_end ? "the connection was closed" : strerror(t->error);
    snprintf(t->peer->why, sizeof(t->peer->why), "%s", text);
}

static void
note_client(struct tls *t)
{
    const X509 *shown = t->peer == NULL ? SSL_get0_peer_certificate(t->ssl) : NULL;
    char text[TLS_CLIENT_BYTES_MAX + 1];

    if (shown == NULL)
        return;
    tls_certificate_name(shown, text, sizeof(text));
    t->client = strdup(text); /* without memory it stays unnamed */
}

enum err
tls_handshake(struct tls *t)
{
    int result;

    if (t->done)
        return ERR_OK;
    if (t->error != 0)
        return ERR_PARSE;
    begin(t, SIZE_MAX);
    result = SSL_do_handshake(t->ssl);
    if (result == 1) {
        t->done = true;
        note_client(t);
        if (t->buffers->stats != NULL) {
            count(&t->buffers->stats->handshakes);
            if (SSL_session_reused(t->ssl))
                count(&t->buffers->stats->resumed);
        }
        finish(t);
        return ERR_OK;
    }
    result = outcome(t, result);
    if (result < 0 && errno == EAGAIN) {
        finish(t);
        return t->error == 0 ? ERR_AGAIN : ERR_PARSE;
    }
    t->error = t->error != 0 ? t->error : EPROTO; /* a goodbye instead of a handshake */
    note_failure(t);
    finish(t); /* the alert that says why */
    ERR_clear_error();
    return t->got_end ? ERR_CLOSED : ERR_PARSE;
}

bool
tls_is_http2(const struct tls *t)
{
    const unsigned char *name;
    unsigned bytes;

    SSL_get0_alpn_selected(t->ssl, &name, &bytes);
    return bytes == 2 && memcmp(name, "h2", 2) == 0;
}

bool
tls_is_resumed(const struct tls *t)
{
    return SSL_session_reused(t->ssl) == 1;
}

const char *
tls_client(const struct tls *t)
{
    return t->client != NULL ? t->client : "";
}

bool
tls_client_pin(const struct tls *t, unsigned char ret_pin[TLS_PIN_BYTES])
{
    const X509 *shown = t->peer == NULL && t->done ? SSL_get0_peer_certificate(t->ssl) : NULL;

    return shown != NULL && tls_key_pin(shown, ret_pin);
}

/* ---- Data. */

/* 1: go on; 0 and -1: what the call is to give back. */
static int
check_readable(const struct tls *t)
{
    if (t->closed)
        return 0;
    if (t->error == 0 && t->done)
        return 1;
    errno = t->error != 0 ? t->error : EAGAIN;
    return -1;
}

/* May OpenSSL have more to give back without the socket? It takes no more of the input than the
 * record it gives back. */
static bool
has_pending_data(const struct tls *t)
{
    return t->in.bytes > t->in.at || SSL_pending(t->ssl) > 0;
}

ssize_t
tls_recv(struct tls *t, void *data, size_t bytes)
{
    size_t have = 0, n = 0;
    int result = check_readable(t);

    if (result <= 0)
        return result;
    begin(t, bytes < RECORD_WHOLE_BYTES ? RECORD_WHOLE_BYTES : SIZE_MAX);
    while (have < bytes && (have == 0 || has_pending_data(t))) {
        if (SSL_read_ex(t->ssl, (char *)data + have, bytes - have, &n) != 1) {
            result = outcome(t, 0);
            break;
        }
        have += n;
        t->recv_bytes = 0; /* there is something to give back */
    }
    finish(t);
    return have > 0 ? (ssize_t)have : result;
}

int
tls_peek(struct tls *t)
{
    size_t n;
    char byte;
    int result = check_readable(t);

    if (result <= 0)
        return result;
    begin(t, SIZE_MAX);
    if (SSL_peek_ex(t->ssl, &byte, 1, &n) != 1)
        result = outcome(t, 0);
    finish(t);
    return result;
}

bool
tls_has_pending(const struct tls *t)
{
    return t->closed || t->error != 0 || has_pending_data(t);
}

bool
tls_wants_write(const struct tls *t)
{
    return t->out.bytes > 0;
}

size_t
tls_kept_bytes(const struct tls *t)
{
    return t->out.bytes - t->out.at;
}

/* Encrypt the pieces, TLS_SEND_BYTES_MAX at most, in records as long as can be. Returns how much;
 * less than there was to do: it failed. */
static size_t
encrypt(struct tls *t, const struct iovec *pieces, size_t count, size_t *ret_wanted)
{
    char *record = t->buffers->record;
    size_t at = 0, taken = 0, joined = 0, n;

    *ret_wanted = 0;
    for (size_t i = 0; i < count && *ret_wanted < TLS_SEND_BYTES_MAX;) {
        size_t room = TLS_SEND_BYTES_MAX - *ret_wanted, left = pieces[i].iov_len - at;
        const char *from = left > 0 ? (const char *)pieces[i].iov_base + at : record;
        size_t bytes = left < room ? left : room;

        bytes = bytes < TLS_RECORD_BYTES - joined ? bytes : TLS_RECORD_BYTES - joined;
        *ret_wanted += bytes;
        at = bytes == left ? 0 : at + bytes;
        i += bytes == left;
        if (bytes > 0 && joined == 0 && (bytes == TLS_RECORD_BYTES || i == count)) {
            if (SSL_write_ex(t->ssl, from, bytes, &n) != 1)
                return taken;
            taken += n;
            continue;
        }
        if (bytes > 0)
            memcpy(record + joined, from, bytes);
        joined += bytes;
        if (joined == TLS_RECORD_BYTES || i == count || *ret_wanted == TLS_SEND_BYTES_MAX) {
            if (joined > 0 && SSL_write_ex(t->ssl, record, joined, &n) != 1)
                return taken;
            taken += joined;
            joined = 0;
        }
    }
    return taken;
}

/* Before anything else goes out, what was kept. > 0: it has gone; else what the call gives back. */
static int
push_kept(struct tls *t)
{
    ssize_t n;

    if (t->out.bytes == 0)
        return 1;
    n = push(t);
    if (t->error != 0) {
        errno = t->error;
        return -1;
    }
    if (t->out.bytes == 0)
        return 1;
    if (n > 0)
        return 0;
    errno = EAGAIN;
    return -1;
}

ssize_t
tls_sendv(struct tls *t, const struct iovec *pieces, size_t count)
{
    size_t taken, wanted;
    int result;

    if (t->error != 0 || !t->done) {
        errno = t->error != 0 ? t->error : EAGAIN;
        return -1;
    }
    result = push_kept(t);
    if (result <= 0 || count == 0)
        return result < 0 ? -1 : 0;
    begin(t, 0);
    taken = encrypt(t, pieces, count, &wanted);
    if (taken < wanted)
        (void)outcome(t, 0); /* a handshake within is refused: that it wants to read is an error */
    if (taken < wanted && t->error == 0)
        t->error = EPROTO;
    finish(t);
    if (t->error != 0) {
        errno = t->error;
        return -1;
    }
    return (ssize_t)taken;
}

void
tls_shutdown(struct tls *t)
{
    if (t->error != 0 || !t->done || t->silent)
        return;
    begin(t, 0);
    (void)SSL_shutdown(t->ssl); /* the peer's goodbye is read like data */
    (void)push(t);
    t->silent = true;
}

void
tls_hush(struct tls *t)
{
    t->silent = true;
}
