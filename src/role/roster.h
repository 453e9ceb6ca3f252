#ifndef ROLE_ROSTER_H
#define ROLE_ROSTER_H
/* roster - the configuration, read, checked and made ready for use: engines with index, address and
 * credential, names of regions and hardware with theirs, keys, first guesses of round trips.
 *
 * Immutable once built and shared by all loops (reference-counted). A reload builds a new one
 * beside the old one, and keeps every index that a name had. Building blocks (files, name
 * look-ups): at the start, or on a worker's thread. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"
#include "io/tls.h"
#include "role/access.h"
#include "wire/adapter.h"
#include "wire/config_node.h"
#include "wire/rtt.h"

#define ROSTER_ARENA_BYTES_MAX  1073741824u
#define ROSTER_FILE_BYTES_MAX   CONFIG_BYTES_MAX
#define ROSTER_SECRET_BYTES_MAX 4096u
#define ROSTER_NAMES_MAX        65535u /* operators, and sites */

struct roster_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t bytes; /* 0: none (the name did not resolve) */
};

struct roster_node {
    uint32_t index; /* as the core knows it; kept over reloads as long as the name is there */
    uint32_t slots; /* as configured; 0: ask */
    struct span name, url, host; /* host: the Host header's value */
    struct span authorization;   /* "Bearer ..." towards this engine; empty: none */
    uint16_t region, class, site, operator;
    enum engine_kind kind; /* ENGINE_UNKNOWN: ask */
    float rtt_ms;          /* a first guess; NAN: none */
    struct roster_address address;
    struct tls_context *tls;      /* the roster's; NULL: plain HTTP */
    struct span tls_name;         /* of the certificate */
    const unsigned char *tls_pin; /* TLS_PIN_BYTES of it instead; NULL: CA and name */
    uint64_t tls_identity;        /* of all three, over reloads */
};

struct roster_names { /* index -> name; grows, never changes */
    struct span *list;
    uint32_t count, room;
};

struct roster_listener_tls {
    struct tls_context *context;      /* NULL: plain HTTP */
    struct tls_context *shown;        /* of a gateway's public side: towards nodes that come by
                                         themselves it shows its first certificate; NULL: none */
    uint64_t content;                 /* what they were made of */
    unsigned char pin[TLS_PIN_BYTES]; /* of a node agent: of its first certificate */
};

struct roster_bus {           /* the files that `bus` names */
    const char *nkey_path;    /* "": none */
    struct span password, ca; /* what is in them; empty: none */
};

struct roster_key { /* of a gateway */
    struct signature_secret secret;
    struct signature_key key;
    char id[SIGNATURE_SHORT_SIZE];
};

struct roster {
    _Atomic uint32_t refs;
    struct arena arena;
    struct config config;
    struct span config_text; /* as it was read; empty under `up` */
    struct span directory;   /* of the file, while it is read */
    struct span name;        /* of the file, for messages, likewise */
    struct span state_dir;   /* with a zero behind it; empty: as the environment says */
    struct span admin_token; /* empty: none */
    struct roster_bus bus;
    struct roster_key *own_key;     /* of its base; NULL: none */
    const char *access_log;         /* path; "": none */
    const char *log;                /* likewise */
    const struct config_node *node; /* of a node agent: the rest of its file; NULL: a gateway's */
    struct span node_key, node_identity; /* its two files; wipe the first when it was read */
    struct roster_node *gateways; /* [config.gateway_count] how to reach them; url empty: not */
    struct roster_listener_tls tls, admin_tls; /* of the two listeners */
    struct roster_tls_context *tls_contexts;   /* of engines */
    uint32_t tls_context_count;
    bool is_local; /* the public side is on loopback: nobody from elsewhere comes in */
    bool has_prefix_secret;
    struct hash_key prefix_secret;
    struct access access;
    struct roster_address bind; /* upstream_bind; bytes 0: none */
    struct roster_names regions, classes, sites, operators;
    uint16_t own_region;
    struct roster_node **nodes; /* by index; holes are NULL */
    uint32_t node_bound;        /* indices are below it */
    uint32_t node_count;
    uint32_t *by_name; /* hash table of indices + 1 */
    uint32_t by_name_mask;
    struct rtt_matrix rtt; /* first guesses between regions */
    /* Of a roster with members (roster_member): */
    struct roster *base;            /* the one without them, whose configuration it shares */
    struct roster_member **members; /* a reference to each */
    uint32_t member_count;
};

/* Read the file at path and all it names. previous: NULL, or the roster whose indices are kept;
 * then what needs a restart to change is told. Every problem is logged as file:line:column;
 * ERR_PARSE, ERR_IO: nothing was built. nodes_max: see core_config; 0: as many as there are. */
MUST_USE enum err roster_load(const char *path, uint32_t nodes_max, const struct roster *previous,
                              struct roster **ret_roster);
/* The same from text that has no file; name stands for it in messages. */
MUST_USE enum err roster_read(struct span yaml, const char *name, uint32_t nodes_max,
                              const struct roster *previous, struct roster **ret_roster);
/* The same for the file of a node agent (wire/config_node.h), or for its text when path is NULL. */
MUST_USE enum err roster_load_node(const char *path, struct span yaml,
                                   const struct roster *previous, struct roster **ret_roster);
/* From a configuration made by hand (`up`); it is copied, its spans must outlive the roster. */
MUST_USE enum err roster_make(const struct config *config, struct roster **ret_roster);

struct roster *roster_ref(struct roster *roster);
void roster_unref(struct roster *roster); /* NULL: does nothing */

/* NULL: no such index. */
const struct roster_node *roster_node(const struct roster *roster, uint32_t index);
const struct roster_node *roster_find(const struct roster *roster, struct span name);
/* The configuration's nodes alone. */
static inline const struct roster *
roster_base(const struct roster *roster)
{
    return roster->base != NULL ? roster->base : roster;
}
/* By its address, which every gateway writes alike. Never 0. */
uint32_t roster_node_identity(const struct roster_node *node);
/* Look up host:port, at most one address. ERR_NOT_FOUND: logged. Blocks. */
MUST_USE enum err roster_resolve(struct span host, uint16_t port,
                                 struct roster_address *ret_address);
/* "host:port" of a listener as an address. ERR_ARG, ERR_NOT_FOUND: logged. Blocks. */
MUST_USE enum err roster_listen_address(struct span listen, struct roster_address *ret_address);
bool roster_is_loopback(const struct sockaddr *address);

/* ---- For roster_member.c, before publication. */
void roster_put_name(struct roster *roster, const struct roster_node *node); /* into by_name */
/* The index of name in *names, added when it is new. ERR_FULL: `max` names are there. */
MUST_USE enum err roster_intern(struct roster *roster, struct roster_names *names, struct span name,
                                uint32_t max, uint16_t *ret_index);
#endif
