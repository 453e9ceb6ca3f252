#ifndef WIRE_CONFIG_NODE_H
#define WIRE_CONFIG_NODE_H
/* config_node - the configuration of a node: who it is, which engines it guards, and which gateways
 * may ask what of it. Strict like the gateway's (wire/config), with which it has many keys in
 * common:
 *
 *   name: NAME                                      as the key file says
 *   key: file:PATH                                  the node's secret key (`isochrone key node`)
 *   identity: file:PATH                             what its operator signed; none: unproven
 *   labels: {site: ams1, gpu: h100 ...}             what it says of itself
 *   gateways: [{name, key: ed25519:..., may: [infer, load, drain], pin: sha256:...,
 *               url, url_pin, ca, client_cert, client_key} ...]      with a url: it is told over
 * HTTP
 *   memory: 80GiB                                   for weights; none: it is not steered
 *   models: {NAME: {bytes: 16GiB}}                  how large those are that no engine tells of
 *   guard: {requests_max: N, tokens_max: N}         what the engines get at once; as they say
 *   guard: {loading: 120s, waiting: 30s}            so long requests wait for a model's load, for
 * a place
 *   engines: [{url, name, key, kind, slots ...} ...]        at least one
 *   bus: {nats ...}                                 none: gateways ask
 *   listen, region, keys, auth, admin_token, log, limits, state        as gateways
 *
 * Off loopback it wants TLS and to know its gateways: each that may infer with a pin of its
 * certificate, or a CA for all (listen.tls.client_ca); or `keys`; or `auth: none`. */
#include "wire/config.h"
#include "wire/directive.h"
#include "wire/message.h"

#define CONFIG_GUARD_REQUESTS_MAX 65536u
#define CONFIG_GUARD_TOKENS_MAX   1000000000000u
#define CONFIG_GUARD_NS_MAX       3600000000000u      /* an hour */
#define CONFIG_NODE_BYTES_MAX     ((uint64_t)1 << 50) /* of memory, or of a model */

struct config_node_model {
    struct span name; /* as its engine has it */
    uint64_t bytes;   /* of its weights; 0: not said */
};

struct config_node {
    struct config base; /* listen to engines, and bus; public is 127.0.0.1:4143, admin :4144 */
    struct span name;   /* empty: as the key file says */
    struct span key_file;
    struct span identity_file;    /* empty: none */
    struct message_labels labels; /* region is base.region */
    uint64_t memory_bytes;        /* for weights; 0: not known */
    struct config_node_model *models;
    size_t model_count;
    uint32_t guard_requests_max; /* 0: as the engines say */
    uint64_t guard_tokens_max;   /* prompts and answers under way; 0: as the engines say */
    uint64_t guard_loading_ns;   /* so long a request waits for its model to be loaded or woken */
    uint64_t guard_waiting_ns;   /* and for a place at the engines */
};

/* Does TLS let in only gateways that are named: by a CA, or each by its pin? */
bool config_node_knows_callers(const struct config_node *config);
/* As config_parse. */
MUST_USE enum err config_node_parse(struct span yaml, config_env_fn *env, void *env_user,
                                    struct arena *arena, struct config_node *ret_config,
                                    struct config_problems *ret_problems);
/* Is this meant as a node's configuration: has it a key that only these have (identity, labels,
 * guard, memory; `may` of a gateway)? Whatever is no YAML is not. */
bool config_node_is(struct span yaml, struct arena *arena);
#endif
