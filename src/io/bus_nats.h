#ifndef IO_BUS_NATS_H
#define IO_BUS_NATS_H
/* bus_nats - the bus over a NATS server (core NATS, nothing is stored), by libnats.
 *
 * It connects in the background and for ever: what opens a bus needs no server to start, and
 * forgets nothing when there is none for a while but messages. When it tries again is bus_pace's to
 * say. bus_close may have to wait for a name that is just looked up. */
#include "io/bus.h"
#include "io/tls.h"

#define BUS_NATS_URL_BYTES_MAX        1024u
#define BUS_NATS_SERVERS_MAX          8u
#define BUS_NATS_BUFFER_BYTES_MAX     1048576u /* published, and not taken by the network yet */
#define BUS_NATS_CREDENTIAL_BYTES_MAX 1024u
#define BUS_NATS_CA_BYTES_MAX         1048576u

struct bus_nats_options {
    struct span name; /* who we are: [a-z0-9-], at most BUS_NAME_BYTES_MAX */
    /* nats://HOST:PORT, several with commas between them (tried in turn); tls:// instead of
     * nats://: over TLS, which needs ca. */
    struct span url;
    const char *nkey_path;      /* a user's seed, in a file that only its owner reads; NULL: none */
    struct span user, password; /* empty: none */
    struct tls_file ca;         /* whom to trust; the server's own certificate: a pin */
};

/* Everything is copied. Give it to bus_close. ERR_ARG, ERR_PARSE, ERR_IO: logged, with what to do;
 * ERR_MEMORY. It blocks for a file, not for the network. */
MUST_USE enum err bus_nats_open(const struct bus_nats_options *o, struct bus **ret_bus);
#endif
