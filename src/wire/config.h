#ifndef WIRE_CONFIG_H
#define WIRE_CONFIG_H
/* config - the gateway's configuration: strict YAML (libyaml), every problem at once with
 * file:line:column and the nearest valid name. Bytes in, a struct out; reading the file, and the
 * files that `file:` values name, is the caller's (io). Keys of parts that are not built yet are
 * warnings here; the gateway refuses to start with them, naming the key. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"
#include "core/event.h"

#define CONFIG_BYTES_MAX 16777216u
#define CONFIG_PROBLEMS_MAX 64u
#define CONFIG_ENGINES_MAX 131072u
#define CONFIG_MODELS_MAX 256u
#define CONFIG_ALIASES_MAX 16u
#define CONFIG_DEPTH_MAX 16u

struct config_engine {
    struct span name;     /* [a-z0-9-]{1,63}; made from the URL when absent */
    struct span url;      /* http://host[:port] */
    struct span host;     /* out of the URL, no brackets */
    uint16_t port;
    struct span key;      /* file: path or ${VAR} value of the credential; empty none */
    struct span key_file; /* path when the value was file:...; then key is empty until read */
    struct span region, operator, site, gpu; /* empty: default */
    struct span kind;     /* "vllm", "llama-server", "openai"; empty: ask */
    uint32_t slots;       /* 0: ask */
    uint32_t line;
};

struct config_model {
    struct span name;
    struct span aliases[CONFIG_ALIASES_MAX];
    size_t alias_count;
    double params_b; /* billions of parameters; 0: from the name, else unknown */
    uint32_t line;
};

struct config {
    struct span public_listen, admin_listen; /* "host:port" */
    struct span region;                      /* "local" by default */
    struct span upstream_bind;               /* empty: none */
    struct span keys_file;                   /* empty: none */
    bool auth_none;                          /* auth: none */
    struct span admin_token_file;
    uint64_t body_bytes_max, buffers_bytes_max;
    uint64_t connect_ns, first_byte_ns, idle_ns, drain_ns;
    uint32_t threads;                        /* I/O threads; 1 by default */
    enum rule_id rule;
    double ttft_goal_ms, tpot_goal_ms;       /* NAN none */
    double constants_scale;                  /* predict.constants_scale: shipped speeds times this; 1 */
    struct config_engine *engines;
    size_t engine_count;
    struct config_model *models;
    size_t model_count;
    struct span rtt_file;                    /* region round trips, measured; empty: built-in table */
    bool unbuilt;                            /* a key of a part that is not built yet is set */
};

struct config_problem {
    uint32_t line, column; /* 1-based */
    bool warning;
    char text[240];        /* "unknown key `regoin`; did you mean `region`?" */
};

struct config_problems {
    struct config_problem list[CONFIG_PROBLEMS_MAX];
    size_t count, errors;  /* errors: those that are no warnings, also beyond the list */
};

/* Looks up ${NAME}: the value or NULL. */
typedef const char *config_env_fn(const char *name, void *user);

/* Read a configuration. Everything in *ret_config points into arena. ERR_PARSE: ret_problems->errors >
 * 0, and *ret_config is not to be used; warnings alone are ERR_OK. */
MUST_USE enum err config_parse(struct span yaml, config_env_fn *env, void *env_user,
                               struct arena *arena, struct config *ret_config,
                               struct config_problems *ret_problems);
/* The defaults alone (for `up`). */
void config_defaults(struct config *ret_config);

/* ---- Parts used elsewhere too. */
MUST_USE enum err config_duration(struct span text, uint64_t *ret_ns);  /* "250ms" "2s" "1m" */
MUST_USE enum err config_size(struct span text, uint64_t *ret_bytes);   /* "64MiB" "1GiB" "10" */
MUST_USE enum err config_host_port(struct span text, struct span *ret_host, uint16_t *ret_port);
/* http://host[:port][/]; https is ERR_UNSUPPORTED. */
MUST_USE enum err config_url(struct span text, struct span *ret_host, uint16_t *ret_port);
/* The candidate nearest to word by edit distance (at most a third of its length), or NULL. */
const char *config_nearest(struct span word, const char *const *candidates, size_t count);
#endif
