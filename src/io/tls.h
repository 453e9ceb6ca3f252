#ifndef IO_TLS_H
#define IO_TLS_H
/* tls - what connections over TLS have in common: certificates, keys, whom to trust (OpenSSL 3).
 * One connection is in tls_connection.h.
 *
 * TLS 1.2 and 1.3 with the suites of Mozilla's "intermediate" list but DHE, no renegotiation, no
 * compression, no early data. Sessions are resumed by tickets (tls_ticket.h); the server keeps
 * nothing for it. Of several certificates a client gets the one that has the name it asks for
 * (SNI; tls_names.h), else the first: whether it fits is the client's to judge. Of two with the
 * same names and other kinds of keys it gets the one that it can check.
 *
 * Contexts are made of bytes that the caller has read, at the start or on a worker's thread, so no
 * loop ever reads a file; they do not change and are counted by reference. A reload makes new ones
 * for new connections; each connection keeps the one it began with. What is wrong is logged with
 * the name of the file and what to do. From any thread. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

#define TLS_PIN_BYTES      32u
#define TLS_PIN_TEXT_BYTES 52u /* "sha256:", 44 of base64, and the zero */

struct tls_context;

struct tls_stats { /* of a server's handshakes, where somebody sent something */
    _Atomic uint64_t handshakes, resumed, failed;
};

#define TLS_CERTIFICATES_MAX 256u /* of one server */

struct tls_file {
    struct span name;  /* for messages */
    struct span pem;   /* one piece after the other; empty: not given */
    struct span place; /* for messages: "FILE:LINE:COLUMN: " of who names it; empty: nowhere */
};

struct tls_certificate {
    struct tls_file cert; /* the certificate, then those that lead to its root */
    struct tls_file key;
};

struct tls_server_options {
    struct tls_file cert, key; /* a struct tls_certificate */
    /* For their names. Two may have the same ones when their keys are of different kinds (RSA and
     * ECDSA): a client gets the one that it can check. Any other name in two is an error. */
    const struct tls_certificate *more;
    size_t more_count;         /* less than TLS_CERTIFICATES_MAX */
    const char *realm;         /* sessions of another one do not come back here; or NULL */
    struct tls_file client_ca; /* not given: clients are not asked for a certificate */
    bool client_cert_required; /* else one that is shown must be good, but need not be shown */
    /* Clients by the keys of their certificates, which nobody need vouch for. With a client_ca
     * either does. */
    const unsigned char (*client_pins)[TLS_PIN_BYTES];
    size_t client_pin_count;
    bool http2; /* offer h2 by ALPN, before http/1.1 */
};
/* ERR_PARSE, ERR_MEMORY: logged. */
MUST_USE enum err tls_server_open(const struct tls_server_options *o,
                                  struct tls_context **ret_context);

struct tls_client_options {
    struct tls_file ca;        /* not given: the system's */
    struct tls_file cert, key; /* what we show when asked; both or none */
    bool pinned;               /* for peers with a pin only: no CA is needed */
};
/* ERR_PARSE, ERR_IO (no certificates in the system), ERR_MEMORY: logged. */
MUST_USE enum err tls_client_open(const struct tls_client_options *o,
                                  struct tls_context **ret_context);

/* Until when all of a server's certificates are good, in seconds since 1970. */
int64_t tls_expires_s(const struct tls_context *context);
struct tls_context *tls_ref(struct tls_context *context);
void tls_unref(struct tls_context *context); /* NULL: does nothing */

/* Of the first certificate in the file. ERR_PARSE: logged. */
MUST_USE enum err tls_file_pin(const struct tls_file *cert, unsigned char ret_pin[TLS_PIN_BYTES]);
/* As config_pin reads it, in base64. */
void tls_pin_text(const unsigned char pin[TLS_PIN_BYTES], char ret_text[TLS_PIN_TEXT_BYTES]);
#endif
