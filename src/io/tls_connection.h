#ifndef IO_TLS_CONNECTION_H
#define IO_TLS_CONNECTION_H
/* tls_connection - TLS over one socket, for transport.c. The calls are those of transport.h.
 *
 * Few system calls, few copies: what the socket has (64 KiB at most) is read at once into a buffer
 * that all connections of a thread share, and decrypted from there to where the caller wants it;
 * what is written is encrypted into another such buffer and leaves by one send. What the caller did
 * not read, or the kernel did not take, is kept in memory of the connection, which is rare.
 *
 * An idle connection costs 17 KiB beside the socket's own (tls_test prints it), nearly all of it
 * OpenSSL's keys and states. */
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"
#include "io/tls.h"
#include "io/tls_names.h"
#include "io/tls_ticket.h"

#define TLS_READ_BYTES       65536u   /* from the socket at once */
#define TLS_SEND_BYTES_MAX   65536u   /* of the caller's, encrypted at once */
#define TLS_RECORD_BYTES     16384u   /* the longest */
#define TLS_KEPT_BYTES_MAX   1048576u /* encrypted and not taken by the kernel: the end above it */
#define TLS_MESSAGES_MAX     1024u    /* steps beside data, of a connection: about 200 new keys */
#define TLS_NAME_BYTES_MAX   255u
#define TLS_WHY_BYTES        160u
#define TLS_CLIENT_BYTES_MAX 128u

/* ---- In common: a context (tls.h) from within. */
struct tls_context {
    _Atomic uint32_t refs;
    SSL_CTX *ssl;
    BIO_METHOD *method;
    int64_t expires_s;      /* of a server's certificates, the first that does */
    struct tls_names names; /* of its certificates, when there are several; */
    SSL_CTX **by_index;     /* whose contexts these are: the first is ssl; else NULL */
    size_t count;
    unsigned char (*client_pins)[TLS_PIN_BYTES]; /* of a server */
    size_t client_pin_count;
    bool has_client_ca;
};
/* How connections read and write through their buffers. NULL: no memory. */
BIO_METHOD *tls_connection_method(void);
/* The pin of a certificate. false: no memory. */
bool tls_key_pin(const X509 *certificate, unsigned char ret_pin[TLS_PIN_BYTES]);
/* Whose certificate it is, for people to read: the subject as RFC 2253 has it, or, where that is
 * empty, the first alternative name; cut to its place. "": nobody's, or no memory. */
void tls_certificate_name(const X509 *certificate, char *text, size_t size);
/* What a context's callbacks are to be. */
int tls_connection_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                          EVP_MAC_CTX *mac, int making);
int tls_connection_session(SSL *ssl, SSL_SESSION *session);
int tls_connection_verify(X509_STORE_CTX *store, void *user);
void tls_connection_info(const SSL *ssl, int where, int result);

/* ---- Of a thread. */
struct tls_buffers {            /* of a server or a client, for all their connections */
    struct tls_tickets tickets; /* of a server */
    struct tls_stats *stats;    /* NULL: not counted */
    size_t out_bytes, out_capacity;
    char *out;
    char record[TLS_RECORD_BYTES]; /* small pieces, joined */
    char in[TLS_READ_BYTES];
};
/* tickets: copied; NULL for clients. NULL: no memory. */
struct tls_buffers *tls_buffers_open(const struct tls_tickets *tickets, struct tls_stats *stats);
void tls_buffers_close(struct tls_buffers *buffers); /* NULL: does nothing */

/* ---- Whom a client connects to, and the session to resume with it. Belongs to a loop. */
struct tls_peer {
    struct tls_context *context; /* a reference */
    SSL_SESSION *session;        /* NULL: none yet */
    bool has_pin, is_address;
    unsigned char pin[TLS_PIN_BYTES];
    char name[TLS_NAME_BYTES_MAX + 1];
    char why[TLS_WHY_BYTES]; /* the last handshake failed */
};
/* name: a host name or an address without brackets. pin: NULL: the certificate is checked by the
 * context's CA and the name. ERR_ARG: the name is too long. */
MUST_USE enum err tls_peer_init(struct tls_peer *peer, struct tls_context *context,
                                struct span name, const unsigned char *pin);
void tls_peer_fini(struct tls_peer *peer); /* a zeroed one: does nothing */

/* ---- A connection. */
struct tls;
/* NULL: no memory. peer: NULL for a server's; else it, as the buffers, outlives the connection. */
struct tls *tls_open(struct tls_context *context, struct tls_buffers *buffers,
                     struct tls_peer *peer, int fd);
/* Says goodbye, if it was in order until now. Does not close the descriptor. */
void tls_close(struct tls *t);
/* Go on with the handshake. ERR_AGAIN; ERR_CLOSED: the peer went away; ERR_PARSE: it failed, and
 * a client's peer has the reason. */
MUST_USE enum err tls_handshake(struct tls *t);
bool tls_is_http2(const struct tls *t); /* what was agreed on by ALPN */
bool tls_is_resumed(const struct tls *t);
/* Of a server's, after the handshake: by tls_certificate_name, at most TLS_CLIENT_BYTES_MAX, whose
 * certificate the client has shown, which was good; now, or when its session began. "": none. */
const char *tls_client(const struct tls *t);
/* The pin of that certificate. False: none was shown, or there is no memory. */
bool tls_client_pin(const struct tls *t, unsigned char ret_pin[TLS_PIN_BYTES]);
ssize_t tls_recv(struct tls *t, void *data, size_t bytes);
int tls_peek(struct tls *t);
/* 0: none of it was taken, but some of what was kept before. count 0: sends what was kept. */
ssize_t tls_sendv(struct tls *t, const struct iovec *pieces, size_t count);
void tls_shutdown(struct tls *t);
/* Let tls_close not say goodbye. */
void tls_hush(struct tls *t);
/* Something can be read, or the end has come, that the socket will not announce. */
bool tls_has_pending(const struct tls *t);
bool tls_wants_write(const struct tls *t);  /* something is kept for the kernel */
size_t tls_kept_bytes(const struct tls *t); /* how much */
#endif
