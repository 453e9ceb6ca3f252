/* cmd_emulate - isochrone emulate: options in, a fleet on loopback until SIGTERM or SIGINT, and at
 * the end the figure that tells whether the machine kept up. */
#include <arpa/inet.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/span.h"
#include "cli/cli.h"
#include "io/log.h"
#include "io/loop.h"
#include "io/signals.h"
#include "role/emulate/emulate.h"

const char cmd_emulate_help[] =
    "Model servers on loopback: real sockets, modelled speed, real distances between\n"
    "regions.\n"
    "\n"
    "  isochrone emulate --gateway us-east=127.0.0.11 --gateway eu-west=127.0.0.12\n"
    "  isochrone emulate --seed 7 --print-fleet\n"
    "  isochrone emulate --write-configs /tmp/run \\\n"
    "      --gateway us-east=127.0.0.11,127.0.0.1:4141,127.0.0.1:4142\n"
    "\n"
    "      --nodes N            how many nodes, from 6 (60)\n"
    "      --regions N          in how many regions (12)\n"
    "      --seed N             which fleet (1)\n"
    "      --listen-port PORT   one listener for all of 127.0.0.0/8 (9000)\n"
    "      --base ADDRESS       of node 0; node i is i further (127.1.0.1)\n"
    "      --gateway REGION=ADDRESS[,PUBLIC,ADMIN]\n"
    "                           it calls from ADDRESS, listens on PUBLIC, ADMIN\n"
    "      --rtt FILE           measured round trips; without it great circles\n"
    "      --background L       load from elsewhere, as a share of capacity (0.5)\n"
    "      --log FILE           a JSON line a request: the truth at its arrival, and\n"
    "                           what came\n"
    "      --constants-scale X  into the configurations: the gateways' priors are off\n"
    "                           by X\n"
    "      --engines LIST       node after node of these kinds, over and over: vllm,\n"
    "                           sglang, llama-server, llama-router, ollama (as the\n"
    "                           seed has it)\n"
    "      --models-max N       that a router or an Ollama has in memory at once (2)\n"
    "      --models N           how many there are: with more than 3, routers and\n"
    "                           Ollamas have 24 of them on disk (own-03 ...: versions\n"
    "                           of the small one)\n"
    "      --dev-mode           vLLM has its routes for sleep and LoRA\n"
    "                           (VLLM_SERVER_DEV_MODE=1), SGLang its memory saver\n"
    "      --only-vllm          every node is a vLLM with one model, ready at once\n"
    "      --tls-cert FILE      speak TLS, with this certificate for all nodes ...\n"
    "      --tls-key FILE       ... and its key; configurations have https and its\n"
    "                           pin\n"
    "      --print-fleet        the nodes as JSON, and end\n"
    "      --write-configs DIR  a configuration for each gateway, and end\n"
    "      --write-fleet FILE   gateways, nodes and their hidden speeds for isochrone\n"
    "                           sim, and end\n"
    "\n"
    "At run time: GET /emulate/nodes, GET /emulate/late, POST /emulate/nodes/I/fault\n"
    "with\n"
    "{\"fault\": \"none|refuse|hang|cut|slow|500|garbage|stale|mute|idle|missing|full\"}\n"
    "(cut: \"chunks\", slow: \"factor\").\n"
    "It ends on SIGTERM or SIGINT and prints how late its outputs were.\n"
    "Exit status: 0 ended, 1 it could not run, 2 wrong use.\n";

enum option_id {
    OPTION_NODES = 256,
    OPTION_REGIONS,
    OPTION_SEED,
    OPTION_PORT,
    OPTION_BASE,
    OPTION_GATEWAY,
    OPTION_RTT,
    OPTION_BACKGROUND,
    OPTION_LOG,
    OPTION_SCALE,
    OPTION_PRINT,
    OPTION_CONFIGS,
    OPTION_ONLY_VLLM,
    OPTION_ENGINES,
    OPTION_MODELS_MAX,
    OPTION_MODELS,
    OPTION_DEV_MODE,
    OPTION_FLEET,
    OPTION_TLS_CERT,
    OPTION_TLS_KEY
};

static const struct option long_options[] = {
    {"nodes", required_argument, NULL, OPTION_NODES},
    {"regions", required_argument, NULL, OPTION_REGIONS},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"listen-port", required_argument, NULL, OPTION_PORT},
    {"base", required_argument, NULL, OPTION_BASE},
    {"gateway", required_argument, NULL, OPTION_GATEWAY},
    {"rtt", required_argument, NULL, OPTION_RTT},
    {"background", required_argument, NULL, OPTION_BACKGROUND},
    {"log", required_argument, NULL, OPTION_LOG},
    {"constants-scale", required_argument, NULL, OPTION_SCALE},
    {"print-fleet", no_argument, NULL, OPTION_PRINT},
    {"write-configs", required_argument, NULL, OPTION_CONFIGS},
    {"only-vllm", no_argument, NULL, OPTION_ONLY_VLLM},
    {"engines", required_argument, NULL, OPTION_ENGINES},
    {"models-max", required_argument, NULL, OPTION_MODELS_MAX},
    {"models", required_argument, NULL, OPTION_MODELS},
    {"dev-mode", no_argument, NULL, OPTION_DEV_MODE},
    {"write-fleet", required_argument, NULL, OPTION_FLEET},
    {"tls-cert", required_argument, NULL, OPTION_TLS_CERT},
    {"tls-key", required_argument, NULL, OPTION_TLS_KEY},
    {NULL, 0, NULL, 0},
};

struct request { /* what the command line asks for */
    struct emulate_options options;
    bool print;
    const char *configs_dir, *fleet_file;
};

static bool
read_whole(const char *text, uint64_t max, uint64_t *ret_value)
{
    return span_u64(span_of(text), ret_value) == ERR_OK && *ret_value <= max;
}

static bool
read_uint32(const char *text, uint32_t max, uint32_t *ret_value)
{
    uint64_t value;

    if (!read_whole(text, max, &value))
        return false;
    *ret_value = (uint32_t)value;
    return true;
}

static bool
read_number(const char *text, double max, double *ret_value)
{
    return span_f64(span_of(text), ret_value) == ERR_OK && *ret_value >= 0 && *ret_value <= max;
}

static bool
read_loopback(const char *text, uint32_t *ret_address)
{
    struct in_addr address;

    if (inet_pton(AF_INET, text, &address) != 1 || ntohl(address.s_addr) >> 24 != 127)
        return false;
    *ret_address = ntohl(address.s_addr);
    return true;
}

/* REGION=ADDRESS[,PUBLIC,ADMIN] */
static bool
read_gateway(char *text, struct emulate_options *o)
{
    struct emulate_gateway *g = &o->gateways[o->gateway_count];
    char *address = strchr(text, '='), *public_listen, *admin_listen = NULL;

    if (o->gateway_count == EMULATE_GATEWAYS_MAX || address == NULL || address == text)
        return false;
    *address++ = '\0';
    public_listen = strchr(address, ',');
    if (public_listen != NULL) {
        *public_listen++ = '\0';
        admin_listen = strchr(public_listen, ',');
        if (admin_listen == NULL)
            return false;
        *admin_listen++ = '\0';
    }
    span_copy(span_of(text), g->region, sizeof(g->region));
    span_copy(span_of(public_listen != NULL ? public_listen : "127.0.0.1:4141"), g->public_listen,
              sizeof(g->public_listen));
    span_copy(span_of(admin_listen != NULL ? admin_listen : "127.0.0.1:4142"), g->admin_listen,
              sizeof(g->admin_listen));
    if (!read_loopback(address, &g->source))
        return false;
    o->gateway_count++;
    return true;
}

/* One option. False: its value is not understood. */
static bool
take_option(int id, char *value, struct request *r)
{
    struct emulate_options *o = &r->options;
    uint32_t port = o->port;
    bool good = true;

    switch (id) {
    case OPTION_NODES:
        return read_uint32(value, EMULATE_NODES_MAX, &o->nodes);
    case OPTION_REGIONS:
        return read_uint32(value, EMULATE_NODES_MAX, &o->regions);
    case OPTION_SEED:
        return read_whole(value, UINT64_MAX, &o->seed);
    case OPTION_PORT:
        good = read_uint32(value, 65535, &port);
        o->port = (uint16_t)port;
        return good;
    case OPTION_BASE:
        return read_loopback(value, &o->base);
    case OPTION_GATEWAY:
        return read_gateway(value, o);
    case OPTION_RTT:
        o->rtt_file = value;
        return true;
    case OPTION_BACKGROUND:
        return read_number(value, 10, &o->background);
    case OPTION_LOG:
        o->log_file = value;
        return true;
    case OPTION_SCALE:
        return read_number(value, 100, &o->constants_scale);
    case OPTION_PRINT:
        r->print = true;
        return true;
    case OPTION_CONFIGS:
        r->configs_dir = value;
        return true;
    case OPTION_ONLY_VLLM:
        o->only_vllm = true;
        return true;
    case OPTION_ENGINES:
        return emulate_engines_parse(value, o) == ERR_OK;
    case OPTION_MODELS_MAX:
        return read_uint32(value, EMULATE_MODELS_MAX, &o->models_max) && o->models_max > 0;
    case OPTION_MODELS:
        return read_uint32(value, UINT32_MAX, &o->models);
    case OPTION_DEV_MODE:
        o->dev_mode = true;
        return true;
    case OPTION_FLEET:
        r->fleet_file = value;
        return true;
    case OPTION_TLS_CERT:
        o->tls_cert_file = value;
        return true;
    case OPTION_TLS_KEY:
        o->tls_key_file = value;
        return true;
    default:
        return false;
    }
}

/* False: said what is wrong. */
static bool
parse(int argc, char **argv, struct request *ret)
{
    int id, index = 0;

    emulate_options_init(&ret->options);
    optind = 1;
    while ((id = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (id == '?')
            return false; /* getopt named it */
        if (!take_option(id, optarg, ret)) {
            fprintf(stderr, "emulate: --%s %s: not understood; see isochrone emulate --help\n",
                    long_options[index].name, optarg);
            return false;
        }
    }
    if (optind < argc)
        fprintf(stderr, "emulate: %s: not expected\n", argv[optind]);
    else if ((ret->options.tls_cert_file == NULL) != (ret->options.tls_key_file == NULL))
        fprintf(stderr, "emulate: --tls-cert and --tls-key go together\n");
    else
        return true;
    return false;
}

/* ---- Running. */

static void
on_signal(int number, void *user)
{
    (void)number;
    loop_stop(user);
}

static enum err
run(const struct emulate_options *options)
{
    static const int numbers[] = {SIGTERM, SIGINT, 0};
    struct signals signals = {.fn = NULL};
    struct emulate *emulate = NULL;
    struct loop *loop = NULL;
    enum err err = loop_open(&loop);

    if (err != ERR_OK)
        return err;
    err = signals_open(&signals, loop, numbers, on_signal, loop);
    if (err == ERR_OK)
        err = emulate_open(loop, options, &emulate);
    if (err == ERR_OK) {
        log_info("emulate: %u nodes of seed %llu on port %u", options->nodes,
                 (unsigned long long)options->seed, emulate_port(emulate));
        loop_run(loop);
        printf("figure emulate_late_p99_ms %.2f ms\n", emulate_late_p99_ms(emulate));
    }
    emulate_close(emulate);
    signals_close(&signals);
    loop_close(loop);
    return err;
}

int
cmd_emulate(int argc, char **argv)
{
    struct request r = {0};
    enum err err = ERR_OK;

    if (!parse(argc, argv, &r))
        return CLI_USAGE;
    if (r.print)
        err = emulate_print_fleet(&r.options);
    if (err == ERR_OK && r.configs_dir != NULL)
        err = emulate_write_configs(&r.options, r.configs_dir);
    if (err == ERR_OK && r.fleet_file != NULL)
        err = emulate_write_fleet(&r.options, r.fleet_file);
    if (err == ERR_OK && !r.print && r.configs_dir == NULL && r.fleet_file == NULL)
        err = run(&r.options);
    if (err == ERR_ARG)
        return CLI_USAGE;
    return err == ERR_OK ? CLI_OK : CLI_FAILED;
}
