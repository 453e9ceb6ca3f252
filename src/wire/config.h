#ifndef WIRE_CONFIG_H
#define WIRE_CONFIG_H
/* config - the gateway's configuration: strict YAML (libyaml), every problem at once with
 * file:line:column and the nearest valid name. Bytes in, a struct out; reading the file, and the
 * files that `file:` values name, is the caller's (io). Keys of parts that are not built yet are
 * warnings here; the gateway refuses to start with them, naming the key.
 *
 *   listen: {public: HOST:PORT, admin: HOST:PORT}   127.0.0.1:4141, 127.0.0.1:4142
 *   listen: {tls: {cert: file:PATH, key: file:PATH}}     none: the public one is plain HTTP
 *   listen: {tls: {certificates: [{cert, key} ...]}}     several; the first for whoever asks for
 * none listen: {tls: {client_ca: file:PATH, client_auth: required|optional}}   none; required
 *   listen: {admin_tls: {... as tls}  |  none}      needed when admin is off loopback
 *   region: NAME                                    local
 *   upstream_bind: ADDRESS                          source address towards engines; none
 *   keys: file:PATH  |  auth: none                  one of them off loopback
 *   admin_token: file:PATH                          needed when admin is off loopback
 *   access_log: {file: PATH}                        none: a JSON line an answer
 *   log: {file: PATH}                               none: standard error
 *   log: {level: error|warn|info|debug, format: text|json}   info, text
 *   threads: N                                      1 (1..64)
 *   limits: {body_bytes_max, buffers_bytes_max}     64MiB, 1GiB
 *   limits: {connect, first_byte, idle, drain}      2s, 120s, 60s, 30s
 *   limits: {buffers_bytes_per_key_max}             a quarter of buffers_bytes_max, at least a body
 *   limits: {upload_bytes_per_second_min}           4KiB, the mean of a body; 0: none
 *   limits: {download_bytes_per_second_min}         1KiB, of an answer while it waits; 0: none
 *   limits: {pace_grace}                            10s, before either of the two counts
 *   limits: {connections_per_address_max}           8192; of IPv6 a /64 counts as one
 *   limits: {json_values_max}                       1048576 values in one body
 *   limits: {holds_max}                             1024 requests that wait for room
 *   limits: {usage_days}                            400 days that usage is kept for
 *   rule: time|nearest|least_request|round_robin|random
 *   slo: {ttft_p90, tpot_p90}                       none
 *   prefix: {scope: tenant|network, secret: file:PATH}   tenant; a secret of this process
 *   predict: {constants_scale: X}                   1 (0.1..10): shipped speeds times this
 *   rtt: FILE                                       none: the built-in table
 *   key: file:PATH                                  none: nodes obey it in nothing
 *   state: DIRECTORY                                none: $STATE_DIRECTORY, else no usage is kept
 *   bus: {http: true}                               false: only the admin side takes messages
 *   bus: {nats: nats://HOST:PORT | [...], nkey: file:PATH | user, password: file:PATH,
 *         ca: file:PATH, reach: [10.0.0.0/8 ...]}    none
 *   operators: {trust: [ed25519:...]}               none: every node is unproven
 *   operators: {revoke: [ed25519:... | sha256:...]} none
 *   operators: {only: true}                         false
 *   models: {NAME: {aliases: [NAME ...], params: 8B}}
 *   engines: [{url, name, key, region, operator, site, gpu, kind, slots} ...]
 *     with https: pin: sha256:...  |  ca: file:PATH      the system's CAs
 *     client_cert: file:PATH, client_key: file:PATH      none: what we show when asked
 *
 * ${VAR} and ${VAR:-default} in a value come from the environment. A relative path is relative to
 * what the caller says. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"
#include "core/event.h"
#include "wire/net_range.h"
#include "wire/signature.h"

#define CONFIG_BYTES_MAX            16777216u
#define CONFIG_PROBLEMS_MAX         64u
#define CONFIG_ENGINES_MAX          131072u
#define CONFIG_MODELS_MAX           256u
#define CONFIG_ALIASES_MAX          16u
#define CONFIG_RATE_MAX             1073741824u
#define CONFIG_CONNECTIONS_MAX      1048576u
#define CONFIG_JSON_VALUES_MIN      1024u
#define CONFIG_JSON_VALUES_MAX      1073741824u
#define CONFIG_DEPTH_MAX            16u
#define CONFIG_NAME_BYTES_MAX       63u  /* of regions, engines ... */
#define CONFIG_MODEL_NAME_BYTES_MAX 255u /* of models and aliases */
#define CONFIG_THREADS_MAX          64u
#define CONFIG_HOLDS_MAX            65536u
#define CONFIG_USAGE_DAYS_MAX       36525u
#define CONFIG_SLOTS_MAX            65536u
#define CONFIG_PARAMS_B_MAX         100000.0
#define CONFIG_PIN_BYTES            32u
#define CONFIG_CERTIFICATES_MAX     256u /* of one listener */

struct config_engine {
    struct span name; /* [a-z0-9-]{1,63}; made from the URL when absent */
    struct span url;  /* http://host[:port], as written; or https:// */
    struct span host; /* out of the URL, no brackets */
    uint16_t port;
    bool tls;                                   /* https */
    unsigned char pin_sha256[CONFIG_PIN_BYTES]; /* of a certificate's SubjectPublicKeyInfo */
    struct span pin;                            /* as written; empty: the CA decides */
    struct span ca_file;                        /* empty: the system's */
    struct span client_cert_file, client_key_file;
    struct span key;      /* file: path or ${VAR} value of the credential; empty none */
    struct span key_file; /* path when the value was file:...; then key is empty until read */
    struct span region, operator, site, gpu; /* empty: default */
    struct span kind;                        /* "vllm", "llama-server", "openai"; empty: ask */
    uint32_t slots;                          /* 0: ask */
    uint32_t line;
};

struct config_gateway {
    struct span name;
    struct signature_key key;
    uint32_t may;                               /* set of enum directive_right; of a node's */
    unsigned char pin_sha256[CONFIG_PIN_BYTES]; /* of its certificate's SubjectPublicKeyInfo */
    struct span pin;                            /* as written; empty: none; of a node's */
    uint32_t requests_s_max; /* that it may say it is asked for; 0: not said; of a gateway's */
    /* Where it hears what we say, without a bus; url empty: nowhere. Its pin is that of the
     * listener. */
    struct config_engine at;
};

#define CONFIG_SERVERS_MAX      8u
#define CONFIG_SERVER_BYTES_MAX 255u
#define CONFIG_OPERATORS_MAX    256u
#define CONFIG_REVOKED_MAX      4096u
#define CONFIG_REACH_MAX        64u

struct config_bus {
    bool http;               /* of a gateway: nodes' messages are taken on the public side, too */
    struct net_range *reach; /* where nodes may be, beyond what is public; NULL: not said */
    size_t reach_count;
    /* nats_count 0: no server */
    struct span nats[CONFIG_SERVERS_MAX]; /* nats:// or tls://, host[:port] */
    size_t nats_count;
    struct span nkey_file;           /* a user's seed; empty: none */
    struct span user, password_file; /* both or none */
    struct span ca_file;             /* with tls:// */
};

struct config_operators {
    struct signature_key *trust;
    size_t trust_count;
    struct signature_revoked *revoke;
    size_t revoke_count;
    bool only; /* nodes that none of those vouches for are refused */
};

struct config_model {
    struct span name;
    struct span aliases[CONFIG_ALIASES_MAX];
    size_t alias_count;
    double params_b; /* billions of parameters; 0: from the name, else unknown */
    uint32_t line;
};

struct config_file { /* what `file:PATH` names */
    struct span path;
    uint32_t line, column;
};

struct config_certificate {
    struct config_file cert, key;
};

struct config_tls {                          /* of a listener */
    struct config_certificate *certificates; /* the first is for whoever asks for no other */
    size_t certificate_count;                /* 0: plain HTTP */
    struct config_file client_ca;            /* empty: clients need no certificate */
    bool client_optional;                    /* those who show none come in too */
    bool none;                               /* plain HTTP, and it was said so */
};

struct config {
    struct span public_listen, admin_listen; /* "host:port" */
    struct config_tls tls, admin_tls;
    struct span region;        /* "local" by default */
    struct span upstream_bind; /* empty: none */
    struct span keys_file;     /* empty: none */
    bool auth_none;            /* auth: none */
    struct span admin_token_file;
    struct span access_log_file; /* empty: none */
    struct span log_file;        /* empty: standard error */
    uint32_t log_level;          /* enum log_level of io/log */
    bool log_json;               /* else lines are plain text */
    uint64_t body_bytes_max, buffers_bytes_max;
    uint64_t buffers_bytes_per_key_max; /* 0: a quarter of buffers_bytes_max, or one body */
    uint64_t upload_bytes_per_second_min, download_bytes_per_second_min; /* 0: none */
    uint64_t pace_grace_ns; /* before these two count */
    uint32_t connections_per_address_max;
    uint32_t json_values_max; /* members and elements in one body */
    uint64_t connect_ns, first_byte_ns, idle_ns, drain_ns;
    uint32_t threads;   /* I/O threads; 1 by default */
    uint32_t holds_max; /* requests that wait here for room at a node */
    uint32_t usage_days;
    enum rule_id rule;
    double ttft_goal_ms, tpot_goal_ms; /* NAN none */
    bool prefix_network;               /* prefix.scope: whoever asks, equal prompts are equal */
    struct span prefix_secret_file;    /* empty: a secret of its own, which no other gateway has */
    double constants_scale;            /* predict.constants_scale: shipped speeds times this; 1 */
    struct config_engine *engines;
    size_t engine_count;
    struct config_model *models;
    size_t model_count;
    struct config_gateway *gateways; /* of a gateway: the others */
    size_t gateway_count;            /* at most DIRECTIVE_GATEWAYS_MAX */
    struct span name;     /* of the gateway, to nodes and on the bus; empty: one is made up */
    struct span key_file; /* its secret key, to ask things of nodes; empty: none */
    struct config_bus bus;
    struct config_operators operators; /* whose signatures of nodes are believed */
    struct span state_dir;             /* empty: as the environment says */
    struct span rtt_file;              /* region round trips, measured; empty: built-in table */
    bool unbuilt;                      /* a key of a part that is not built yet is set */
};

struct config_problem {
    uint32_t line, column; /* 1-based */
    bool warning;
    char text[240]; /* "unknown key `regoin`; did you mean `region`?" */
};

struct config_problems {
    struct config_problem list[CONFIG_PROBLEMS_MAX];
    size_t count, errors; /* errors: those that are no warnings, also beyond the list */
};

/* The names of log_level, in their order. */
#define CONFIG_LOG_LEVELS 4u
extern const char *const config_log_levels[CONFIG_LOG_LEVELS];

/* Looks up ${NAME}: the value or NULL. */
typedef const char *config_env_fn(const char *name, void *user);

/* Read a configuration. Everything in *ret_config points into arena. *ret_problems is written
 * whole, in the order of lines. ERR_PARSE: ret_problems->errors > 0, and *ret_config is not to be
 * used; warnings alone are ERR_OK. env may be NULL: no variable is set. */
MUST_USE enum err config_parse(struct span yaml, config_env_fn *env, void *env_user,
                               struct arena *arena, struct config *ret_config,
                               struct config_problems *ret_problems);
/* The defaults alone (for `up`). */
void config_defaults(struct config *ret_config);
/* The configuration as it is in effect, defaults included, as YAML that gives the same when it is
 * read (unless a credential was in it: that is shown as `***`). ERR_FULL: the arena. */
MUST_USE enum err config_dump(const struct config *config, struct arena *arena,
                              struct span *ret_yaml);
/* Add a problem; beyond CONFIG_PROBLEMS_MAX errors are only counted. Texts are cut to their place.
 */
void config_problem(struct config_problems *problems, uint32_t line, uint32_t column, bool warning,
                    const char *format, ...) PRINTF_LIKE(5, 6);

/* ---- Parts used elsewhere too. */
MUST_USE enum err config_duration(struct span text, uint64_t *ret_ns); /* "250ms" "2s" "1m" */
MUST_USE enum err config_size(struct span text, uint64_t *ret_bytes);  /* "64MiB" "1GiB" "10" */
/* "127.0.0.1:80" "[::1]:80" "name:80"; port 0 is one too. The host without brackets. */
MUST_USE enum err config_host_port(struct span text, struct span *ret_host, uint16_t *ret_port);
/* http://host[:port][/]. ERR_UNSUPPORTED, for who speaks plain HTTP only: it is https, and good;
 * host and port are written too. */
MUST_USE enum err config_url(struct span text, struct span *ret_host, uint16_t *ret_port);
/* "sha256:" and 43 or 44 characters of base64, or 64 hexadecimal digits. */
MUST_USE enum err config_pin(struct span text, unsigned char ret_pin[CONFIG_PIN_BYTES]);
/* Is it a name of a region, node ...: [a-z0-9-]{1,63}? */
bool config_is_name(struct span text);
/* Is it a name of a model: 1 to CONFIG_MODEL_NAME_BYTES_MAX bytes, no spaces? */
bool config_is_model_name(struct span text);
/* 127.x.x.x, ::1 or localhost. */
bool config_is_loopback(struct span host);
/* "8B" "70b" "500M" "8x7B" in billions of parameters. */
MUST_USE enum err config_params(struct span text, double *ret_params_b);
/* The first such number that is a word of its own in a model's name ("llama-3.1-8b": 8); 0: none.
 */
double config_params_from_name(struct span name);
/* The candidate nearest to word by edit distance (at most a third of its length), or NULL; of
 * equals the first. */
const char *config_nearest(struct span word, const char *const *candidates, size_t count);
#endif
