#ifndef ROLE_NODE_NODE_H
#define ROLE_NODE_NODE_H
/* node - the agent beside one engine or several (`isochrone node`): lets gateways, and nobody else,
 * use their model API, guards them against too much at once, and tells gateways the truth about
 * them. Everything happens on one loop, the caller's thread; a bus has threads of its own.
 *
 * node_open sets everything up and listens; node_run serves until node_stop or, with signals on,
 * SIGTERM or SIGINT: it says that it drains, takes nothing new, waits at most limits.drain, says
 * that it is gone. A second one ends it at once. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "role/roster.h"

struct node;

struct node_options {
    struct roster *roster;   /* of roster_load_node; taken over, also on failure */
    const char *config_path; /* what SIGHUP reads again; NULL: there is no file */
    const char *state_path;  /* what outlives a restart, where no `state` is set; NULL: nothing */
    const char *notify_path; /* NOTIFY_SOCKET; NULL: no service manager listens */
    bool signals;            /* handle signals; the process has no other threads yet */
    bool own_log;            /* `log` of the configuration is that of the process */
    uint64_t ask_ns;         /* between two looks at an engine; 0: NODE_ASK_NS; tests shorten it */
    uint64_t report_ns;      /* between two reports; 0: NODE_REPORT_NS; tests shorten it */
};

#define NODE_ASK_NS    500000000u
#define NODE_REPORT_NS 1000000000u

/* ERR_IO, ERR_ARG, ERR_PARSE, ERR_MEMORY: logged. */
MUST_USE enum err node_open(const struct node_options *options, struct node **ret_node);
void node_run(struct node *node);
/* From any thread: drain, then end; a second call: end at once. */
void node_stop(struct node *node);
void node_close(struct node *node); /* NULL: does nothing */
/* Where it listens (port 0 was filled in). */
void node_addresses(const struct node *node, struct sockaddr_storage *ret_public,
                    struct sockaddr_storage *ret_admin);
#endif
