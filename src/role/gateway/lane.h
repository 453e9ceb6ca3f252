#ifndef ROLE_GATEWAY_LANE_H
#define ROLE_GATEWAY_LANE_H
/* lane - one I/O thread and all that belongs to it: loop, upstream pools, public listener, the
 * requests in progress, counters, recent decisions. Nothing in it is touched by another thread but
 * the counters (atomics) and, by loop_post, what is asked of it.
 *
 * And the gateway, what all lanes share: the door to the core, and a few atomics. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/list.h"
#include "io/http_client.h"
#include "io/http_server.h"
#include "io/loop.h"
#include "io/notify.h"
#include "io/tls_ticket.h"
#include "io/worker.h"
#include "role/gateway/bus_http.h"
#include "role/gateway/decide.h"
#include "role/gateway/fleet.h"
#include "role/gateway/inbox.h"
#include "role/gateway/metrics.h"
#include "role/gateway/recent.h"
#include "role/gateway/recorder.h"

#define LANES_MAX            64u
#define LANE_ID_SHIFT        56u /* the lane's index stands in the top bits of a request id */
#define LANE_CONNECTIONS_MAX 65536u
#define LANE_HELD_LISTS      256u         /* power of two: held requests by id */
#define KEEP_ALIVE_NS        10000000000u /* silence until `: keep-alive` */

struct gateway;
struct poller;
struct discover;
struct handover;
struct log_file;
struct members;
struct peers;
struct reload;
struct request;
struct steer;
struct upstream;
struct usage;
struct watchdog;

struct lane {
    struct gateway *gateway;
    uint32_t index;
    struct loop *loop;
    struct http_client *client;
    struct http_server *public_server;
    struct http_server *admin_server; /* the first lane's; NULL elsewhere */
    struct fleet *fleet;              /* use lane_fleet() */
    uint64_t fleet_generation;
    struct upstream **upstreams; /* by node; NULL: none yet */
    LIST_HEAD(, request) requests;
    LIST_HEAD(, request) held[LANE_HELD_LISTS]; /* those that core holds, by their id's low bits */
    struct inbox inbox;
    uint64_t next_id;
    struct recent *recent;
    struct poller *poller;
    struct loop_timer stop_timer, drain_timer;
    _Atomic size_t left; /* while draining: connections with a request, at least one until known */
    uint64_t drain_grace_ns;
    bool drain_admin;
    struct loop_post drain_post, stop_post;
    uint32_t stop_looks;
    pthread_t thread; /* of all but the first lane */
    bool running;
    struct metrics metrics;
};

struct gateway {
    struct door *door;
    struct recorder *recorder; /* NULL: nothing is recorded */
    struct worker *worker;
    struct notify notify; /* the service manager */
    struct handover *handover;
    struct log_file *access_log; /* a ring for each lane; may be off */
    struct log_file *log;        /* NULL: the process has others to log for, too */
    struct usage *usage;         /* NULL: none is kept */
    struct watchdog *watchdog;   /* NULL: no service manager waits for signs of life */
    struct reload *reload;       /* NULL: there is no file to read again */
    struct discover *discover;
    struct steer *steer; /* what we ask of nodes */
    struct members *members;
    struct peers *peers;
    char name[CONFIG_NAME_BYTES_MAX + 1]; /* who we are, to nodes and on the bus */
    uint32_t nodes_max, holds_max;
    uint32_t members_first; /* indices from here on are members', those below the configuration's */
    uint64_t keep_alive_ns;
    uint64_t poll_ns; /* between two reads of one engine, at least */
    uint64_t started_wall_s;
    uint64_t dispatch_base; /* what nodes hear as Isochrone-Dispatch is so much more than serials:
                               above all that this gateway said in a former life */
    struct tls_tickets tickets; /* of all lanes alike; the first one turns these */
    struct hash_key own_secret; /* of this process: for whatever has none of its own */
    uint64_t via_mark;          /* of this process, for everybody to see: via.h */
    bool admin_on_public;       /* under `up`: for loopback clients */
    int rule_override;          /* enum rule_id, or -1 */
    _Atomic size_t buffers_bytes;
    struct http_addresses *addresses; /* of the public side's clients */
    struct bus_http bus_http;
    _Atomic bool draining;
    _Atomic uint64_t reloads, reload_failures;
    _Atomic uint32_t *node_uses; /* [nodes_max] attempts since the last read: who is busy */
    _Atomic uint8_t *node_kinds; /* [nodes_max] enum engine_kind, as configured or found */
    _Atomic uint32_t
        *node_heard_ms;             /* [nodes_max] its last report on the bus, monotonic; 0: none */
    _Atomic uint8_t *node_failures; /* [nodes_max] of questions in a row */
    uint32_t lane_count;
    struct lane *lanes;
};

/* Whoever has an exchange in hand; the exchange's user pointer leads here, as long as it lives. */
struct owner {
    void (*gone)(struct owner *owner);    /* the client left; NULL: does not care */
    void (*drained)(struct owner *owner); /* likewise */
    /* for the access log, once nothing more will happen: what there is to say, and how it went */
    struct span line;
    bool failed;
};

/* Set up lane `index` of the gateway: loop, client, listener on address (port 0: any; NULL: its
 * sockets come later), poller. ERR_IO: logged. On failure lane_close cleans up. */
MUST_USE enum err lane_open(struct gateway *gateway, uint32_t index,
                            const struct roster_address *address);
/* Run until the lane is stopped; on the lane's own thread. */
void lane_run(struct lane *lane);
/* From any thread, once: take no new connections; idle ones are kept for grace_ns. With admin also
 * on the admin side, if it is here: another process has it. */
void lane_drain(struct lane *lane, uint64_t grace_ns, bool with_admin);
/* Another listener on this lane, with the limits of the configuration. address NULL: its sockets
 * come later. ERR_IO: logged. */
MUST_USE enum err lane_listen(struct lane *lane, const struct roster_address *address,
                              bool reuse_port, const struct http_server_fn *fn,
                              struct http_server **ret_server);
extern const struct http_server_fn lane_public_fn, lane_admin_fn;
/* From any thread, once: end all requests with an error, close, and make lane_run return. */
void lane_stop(struct lane *lane);
/* Close all that asks or tells other lanes something; what was posted before may still come. */
void lane_hush(struct lane *lane);
void lane_close(struct lane *lane); /* after lane_run returned, or when it was never called */

/* The current fleet, as the lane sees it: valid until control goes back to the loop; take a
 * reference to keep it. */
struct fleet *lane_fleet(struct lane *lane);
/* A fresh request id, never 0. */
uint64_t lane_id(struct lane *lane);
#endif
