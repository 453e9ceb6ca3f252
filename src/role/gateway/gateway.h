#ifndef ROLE_GATEWAY_GATEWAY_H
#define ROLE_GATEWAY_GATEWAY_H
/* gateway - one process that answers clients: N I/O threads (lanes) around one core.
 *
 * gateway_open sets everything up and listens; gateway_run serves until it is stopped: by
 * gateway_stop, or, with signals on, by SIGTERM or SIGINT (not ready, no new connections, wait for
 * what is in flight at most limits.drain, then end the rest with an error; a second one: at once).
 * SIGHUP reads the configuration again. SIGUSR1 opens the log files anew. SIGUSR2 hands over to a
 * new process (see handover.h). */
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "io/inherit.h"
#include "role/roster.h"

struct gateway;

struct gateway_options {
    struct roster *roster;     /* taken over, also on failure */
    const char *config_path;   /* read again on SIGHUP; NULL: there is none */
    const char *record_path;   /* NULL: nothing is recorded */
    uint64_t seed;             /* of core; 0: a random one */
    int rule;                  /* enum rule_id instead of the configured one; -1: as configured */
    struct inherit *inherited; /* sockets of another process, taken over; NULL: none */
    char *const *argv;         /* of this process, for the next one; NULL: there can be none */
    uint64_t watchdog_ns;      /* a sign of life at least so often; 0: nobody waits for it */
    const char *notify_path;   /* NOTIFY_SOCKET; NULL: no service manager listens */
    const char *state_path;    /* what outlives a restart, where no `state` is set; NULL: nothing */
    bool signals;              /* handle signals; the process has no other threads yet */
    bool own_log;              /* `log` of the configuration is that of the process */
    bool admin_on_public; /* no admin listener: the admin side is on the public one, for loopback */
    bool measure_hold;    /* histogram of the core's lock */
    uint64_t keep_alive_ns; /* 0: KEEP_ALIVE_NS; tests shorten it */
    uint64_t poll_ns;       /* 0: POLL_NS; tests shorten it */
};

/* ERR_IO, ERR_ARG, ERR_MEMORY: logged. */
MUST_USE enum err gateway_open(const struct gateway_options *options, struct gateway **ret_gateway);
void gateway_run(struct gateway *gateway);
/* From any thread: drain, then stop; a second call: stop at once. */
void gateway_stop(struct gateway *gateway);
/* From any thread: read the configuration again. */
void gateway_reload(struct gateway *gateway);
void gateway_close(struct gateway *gateway); /* NULL: does nothing */

/* Where it listens (port 0 was filled in). admin: ss_family 0 when there is no admin listener. */
void gateway_addresses(const struct gateway *gateway, struct sockaddr_storage *ret_public,
                       struct sockaddr_storage *ret_admin);
#endif
