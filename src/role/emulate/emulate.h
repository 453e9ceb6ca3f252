#ifndef ROLE_EMULATE_EMULATE_H
#define ROLE_EMULATE_EMULATE_H
/* emulate - a fleet of model servers on loopback: real sockets, real routes and quirks of vLLM,
 * SGLang, llama-server and Ollama, modelled speed (engine/), round trips between regions. For
 * demos, tests, benchmarks.
 *
 * One listener serves all of 127.0.0.0/8; a node is told by the address that was called, the
 * caller's region by the address it calls from. Everything happens at modelled times, in order: a
 * late wake-up delays what is written, never what is modelled, and how late it was is a figure of
 * its own. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/loop.h"

#define EMULATE_NODES_MAX    4096u
#define EMULATE_GATEWAYS_MAX 16u
#define EMULATE_EVENTS_MAX   524288u /* things that are to happen */
#define EMULATE_FLOWS_MAX    65536u  /* requests in progress */

#define EMULATE_ENGINES_MAX 64u /* of a list of kinds */
#define EMULATE_MODELS_MAX  8u  /* of options.models_max */

enum emulate_fleet_kind {
    EMULATE_FLEET_VLLM,
    EMULATE_FLEET_LLAMA,
    EMULATE_FLEET_LLAMA_ROUTER,
    EMULATE_FLEET_OLLAMA,
    EMULATE_FLEET_SGLANG,
    EMULATE_FLEET_KIND_COUNT
};

struct emulate_gateway {
    char region[64];
    uint32_t source;                          /* IPv4, host order: where it calls from */
    char public_listen[64], admin_listen[64]; /* for its configuration */
};

struct emulate_options {
    uint64_t seed;
    uint32_t nodes, regions;
    uint32_t base;     /* address of node 0, IPv4, host order; node i has base + i */
    uint16_t port;     /* 0: any */
    double background; /* load from elsewhere, as a share of capacity; 0 none */
    bool only_vllm;    /* every node is a vLLM that has its model: what simulations know */
    enum emulate_fleet_kind engines[EMULATE_ENGINES_MAX]; /* node i is of kind i % engine_count */
    uint32_t engine_count;                                /* 0: as the seed has it */
    uint32_t models_max; /* that a router or an Ollama has in memory at once */
    uint32_t models;     /* that there are, with the small one's versions */
    /* vLLM has its routes for sleep and LoRA, as with the variables for them; SGLang its memory
     * saver. */
    bool dev_mode;
    double constants_scale;                   /* written into configurations; 1 = not */
    const char *rtt_file;                     /* NULL: great circles */
    const char *log_file;                     /* NULL: none */
    const char *tls_cert_file, *tls_key_file; /* NULL: plain; both or none */
    struct emulate_gateway gateways[EMULATE_GATEWAYS_MAX];
    uint32_t gateway_count;
};

void emulate_options_init(struct emulate_options *ret_options);
/* "vllm,ollama,llama-router" into options->engines. ERR_PARSE: a kind that is none; ERR_FULL. */
MUST_USE enum err emulate_engines_parse(const char *text, struct emulate_options *options);

struct emulate;
/* Make the fleet and listen. ERR_ARG: an option makes no sense, logged; ERR_IO likewise. The caller
 * owns *ret_emulate; everything happens on loop's thread. */
MUST_USE enum err emulate_open(struct loop *loop, const struct emulate_options *options,
                               struct emulate **ret_emulate);
/* Closes every connection; requests in progress are logged as open. NULL: does nothing. */
void emulate_close(struct emulate *e);
uint16_t emulate_port(const struct emulate *e);
/* How late after its due time an output was handed to the socket: the 99th percentile, within 5 %.
 * 0 when nothing was written yet. */
double emulate_late_p99_ms(const struct emulate *e);

/* What an operator of the fleet knows, as JSON on standard output. Listens nowhere. */
MUST_USE enum err emulate_print_fleet(const struct emulate_options *options);
/* What the operator does not know: a table of gateways, and of nodes with their hidden speeds,
 * which a simulation takes (sim/sim_given.h). Listens nowhere. */
MUST_USE enum err emulate_write_fleet(const struct emulate_options *options, const char *path);
/* One configuration for each gateway: DIR/gateway-REGION.yaml. Listens nowhere. */
MUST_USE enum err emulate_write_configs(const struct emulate_options *options, const char *dir);
#endif
