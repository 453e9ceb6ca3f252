#ifndef IO_BUS_NATS_CONNECT_H
#define IO_BUS_NATS_CONNECT_H
/* bus_nats_connect - from options to a connection of libnats, or words why there is none. */
#include <nats/nats.h>

#include "io/bus_nats.h"
#include "io/bus_pace.h"
#include "wire/nats_info.h"
#include "wire/nkey.h"

#define BUS_NATS_HOST_BYTES_MAX 255u
#define BUS_NATS_SECRET_BYTES   64u /* libsodium's form: seed and public key */
#define BUS_NATS_IO_BYTES       65536

struct bus_nats_server {
    char host[BUS_NATS_HOST_BYTES_MAX + 1]; /* without the brackets of IPv6 */
    char port[6];
    bool tls;
};

struct bus_nats_plan { /* what each connection is made from */
    char name[BUS_NAME_BYTES_MAX + 1];
    struct bus_nats_server servers[BUS_NATS_SERVERS_MAX];
    size_t server_count;
    char user[BUS_NATS_CREDENTIAL_BYTES_MAX + 1], password[BUS_NATS_CREDENTIAL_BYTES_MAX + 1];
    bool has_nkey;
    char nkey[NKEY_PUBLIC_TEXT_BYTES + 1];
    unsigned char secret[BUS_NATS_SECRET_BYTES];
    char *ca;         /* PEM; NULL: none */
    int handshake_ms; /* a server that needs longer is none */
};

struct bus_nats_loop { /* libnats's callbacks for a loop that is not its own */
    void *loop;
    natsEvLoop_Attach attach;
    natsEvLoop_ReadAddRemove read;
    natsEvLoop_WriteAddRemove write;
    natsEvLoop_Detach detach;
};

/* plan: zeroed. Errors as bus_nats_open; the plan is to be given to bus_nats_plan_fini whatever. */
MUST_USE enum err bus_nats_plan(const struct bus_nats_options *o, struct bus_nats_plan *plan);
void bus_nats_plan_fini(struct bus_nats_plan *plan); /* secrets are wiped */

struct bus_nats_outcome {
    struct nats_info info;
    enum bus_away why; /* there is none */
    char words[BUS_WORDS_BYTES_MAX];
};
/* Connect, for 6 s and handshake_ms at most (and as long as a name look-up takes). NULL: not,
 * ret->words says why. wake_fd: readable when it shall end, which it then does at once.
 * loop->attach is to call bus_nats_guard_release. */
natsConnection *bus_nats_connect(const struct bus_nats_plan *plan,
                                 const struct bus_nats_server *server,
                                 const struct bus_nats_loop *loop, int wake_fd,
                                 struct bus_nats_outcome *ret);
#endif
