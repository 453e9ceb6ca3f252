/* cmd_up - `isochrone up`: a gateway in front of the engines of this machine, without a
 * configuration. It asks the ports that model servers use, prints what it found and what to paste
 * into a program, and serves. An engine that was named but does not answer yet is asked again by
 * the gateway. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "cli/cli.h"
#include "cli/cli_engine.h"
#include "cli/cli_keep.h"
#include "cli/cli_nats.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"
#include "role/gateway/gateway.h"
#include "wire/config_bus.h"

const char cmd_up_help[] =
    "  isochrone up                                # what answers on the usual ports\n"
    "  isochrone up --engine http://10.0.0.5:8000  # this one; may be repeated\n"
    "  isochrone up --listen 127.0.0.1:8888\n"
    "  isochrone up --nats start                   # with a bus for nodes\n"
    "\n"
    "Finds the model servers on this machine (ports 8000, 8080, 11434, 30000, 3000),\n"
    "prints what to paste into your program, and serves the OpenAI API in front of\n"
    "them. `isochrone nodes` and the other words work meanwhile.\n"
    "\n"
    "Ollama does not tell how many requests of a model it runs at once: 1, or what\n"
    "OLLAMA_NUM_PARALLEL is here.\n"
    "`isochrone usage` shows what was used; it is kept in ~/.local/state/isochrone.\n"
    "\n"
    "  --engine URL   do not look for engines, use this one; may be repeated\n"
    "  --listen ADDR  where to serve: HOST:PORT on loopback; 127.0.0.1:4141 without\n"
    "  --nats start   start the installed nats-server on loopback, and end it with\n"
    "                 this gateway; its keys and configuration are kept in\n"
    "                 ~/.local/state/isochrone/bus, and more users can be listed in\n"
    "                 users.txt there (isochrone bus config)\n"
    "  --nats URL     use this bus, nats://HOST:PORT\n"
    "  --nkey FILE    sign in there with this seed, as the gateway `up`\n"
    "\n"
    "With a bus it has a key, kept in ~/.local/state/isochrone/gateway.key: nodes\n"
    "that name it obey `isochrone load`, `drain` and the like. Its public half is\n"
    "printed.\n";

#define ENGINES_MAX    64u
#define ASK_NS         1000000000u /* an engine on this machine answers at once */
#define LISTEN_DEFAULT "127.0.0.1:4141"

static const char *const usual_urls[] = {
    "http://127.0.0.1:8000",  "http://127.0.0.1:8080", "http://127.0.0.1:11434",
    "http://127.0.0.1:30000", "http://127.0.0.1:3000",
};

/* Which kind of engine is there, and what does it serve? NULL: none that we know. */
static const struct adapter *
look(struct cli_engine *e, const struct config_engine *engine, struct adapter_models *ret_models)
{
    const struct adapter *adapter;

    memset(ret_models, 0, sizeof(*ret_models));
    if (cli_engine_at(e, engine) != ERR_OK)
        return NULL;
    adapter = cli_engine_detect(e);
    if (adapter != NULL)
        (void)cli_engine_models(e, adapter, ret_models);
    return adapter;
}

/* How many requests of a model an Ollama runs at once it does not tell: what it is started with may
 * stand in our environment, too. 0: it does not. */
static uint32_t
parallel(void)
{
    const char *text = getenv("OLLAMA_NUM_PARALLEL");
    uint64_t slots;

    return text != NULL && span_u64(span_of(text), &slots) == ERR_OK && slots <= CONFIG_SLOTS_MAX
               ? (uint32_t)slots
               : 0;
}

/* ---- Printing. */

static void
print_snippet(const char *listen, const char *model)
{
    printf("\nPython (pip install openai):\n\n"
           "  from openai import OpenAI\n"
           "  client = OpenAI(base_url=\"http://%s/v1\", api_key=\"none\")\n"
           "  print(client.chat.completions.create(model=\"%s\",\n"
           "      messages=[{\"role\": \"user\", \"content\": "
           "\"Hello\"}]).choices[0].message.content)\n"
           "\nJavaScript (npm install openai):\n\n"
           "  import OpenAI from \"openai\";\n"
           "  const client = new OpenAI({baseURL: \"http://%s/v1\", apiKey: \"none\"});\n"
           "  const answer = await client.chat.completions.create({model: \"%s\",\n"
           "      messages: [{role: \"user\", content: \"Hello\"}]});\n"
           "  console.log(answer.choices[0].message.content);\n"
           "\nServing on http://%s/v1; stop with Ctrl-C.\n",
           listen, model, listen, model, listen);
    fflush(stdout);
}

static void
print_found(const struct config_engine *engine, const struct adapter *adapter,
            const struct adapter_models *models)
{
    uint32_t of_each = adapter != NULL ? adapter->slots_of_each : 0;

    printf("%.*s  %s%s\n", (int)engine->url.bytes, engine->url.data,
           adapter != NULL ? adapter->title : "does not answer (it is asked again)",
           adapter != NULL && !adapter->has_adapter ? " (used as a plain OpenAI server)" : "");
    if (of_each > 0)
        printf("    requests of each model at once: %" PRIu32 " (OLLAMA_NUM_PARALLEL%s)\n",
               engine->slots > 0 ? engine->slots : of_each,
               engine->slots > 0 ? "" : " is not set here");
    for (size_t i = 0; i < models->count; i++) {
        fputs("    ", stdout);
        cli_print(stdout, models->list[i].name);
        fputs("\n", stdout);
    }
}

/* May this name of an engine's stand between quotes in code that people paste? */
static bool
is_pasteable(const char *name)
{
    for (const char *c = name; *c != '\0'; c++) {
        if (*c <= ' ' || *c > '~' || *c == '"' || *c == '\\')
            return false;
    }
    return name[0] != '\0';
}

/* The first such name, into model[ADAPTER_MODEL_BYTES_MAX]; untouched: there is none. */
static void
choose_model(const struct adapter_models *models, char *model)
{
    for (size_t i = 0; i < models->count; i++) {
        if (is_pasteable(models->list[i].name)) {
            memcpy(model, models->list[i].name, ADAPTER_MODEL_BYTES_MAX);
            return;
        }
    }
}

/* ---- The command. */

struct up {
    struct cli_engine asker;
    const char *listen;
    struct config_engine engines[ENGINES_MAX];
    size_t engine_count;
    char names[ENGINES_MAX][16];
    char model[ADAPTER_MODEL_BYTES_MAX]; /* the first one found; for the snippet */
    const char *nats, *nkey;             /* "start" or a URL, and a file; NULL: none */
    struct cli_nats server;              /* with "start" */
    char key[SIGNATURE_KEY_TEXT_SIZE];   /* with a bus: its own, the public half; "": none */
};

/* Add an engine. False: its URL is none, which was told. */
static bool
add_engine(struct up *up, const char *url)
{
    struct config_engine *e = &up->engines[up->engine_count];

    if (up->engine_count == ENGINES_MAX) {
        fprintf(stderr, "isochrone up: more than %u engines\n", ENGINES_MAX);
        return false;
    }
    *e = (struct config_engine){.url = span_of(url)};
    if (config_url(e->url, &e->host, &e->port) != ERR_OK) {
        fprintf(stderr, "isochrone up: %s is no http://host:port\n", url);
        return false;
    }
    snprintf(up->names[up->engine_count], sizeof(up->names[0]), "engine-%zu", up->engine_count + 1);
    e->name = span_of(up->names[up->engine_count]);
    up->engine_count++;
    return true;
}

/* What was said of a bus fits together, else it is told. */
static bool
has_good_bus(const struct up *up)
{
    bool starts = up->nats != NULL && strcmp(up->nats, "start") == 0;

    if (up->nats != NULL && !starts && !config_is_server(span_of(up->nats))) {
        fprintf(stderr, "isochrone up: %s is no nats://HOST:PORT; or `--nats start`\n", up->nats);
        return false;
    }
    if (up->nkey != NULL && (up->nats == NULL || starts)) {
        fputs("isochrone up: --nkey FILE goes with --nats URL\n", stderr);
        return false;
    }
    return true;
}

static bool
read_options(int argc, char **argv, struct up *up)
{
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) {
            fprintf(stderr, "isochrone up: a value is missing after %s\n", argv[i]);
            return false;
        }
        if (strcmp(argv[i], "--engine") == 0) {
            if (!add_engine(up, argv[i + 1]))
                return false;
        } else if (strcmp(argv[i], "--listen") == 0) {
            up->listen = argv[i + 1];
        } else if (strcmp(argv[i], "--nats") == 0) {
            up->nats = argv[i + 1];
        } else if (strcmp(argv[i], "--nkey") == 0) {
            up->nkey = argv[i + 1];
        } else {
            fprintf(stderr, "isochrone up: there is no option %s\n", argv[i]);
            return false;
        }
    }
    return has_good_bus(up);
}

/* Ask every engine, or every usual port, and print who is there. */
static void
find(struct up *up)
{
    bool given = up->engine_count > 0;
    size_t count = given ? up->engine_count : sizeof(usual_urls) / sizeof(usual_urls[0]);
    struct adapter_models models;

    for (size_t i = 0; i < count; i++) {
        const struct adapter *adapter;
        struct config_engine *e;
        if (!given)
            must(add_engine(up, usual_urls[i]));
        e = &up->engines[given ? i : up->engine_count - 1];
        adapter = look(&up->asker, e, &models);
        if (adapter == NULL && !given) {
            up->engine_count--; /* nobody there */
            continue;
        }
        if (adapter != NULL && adapter->slots_of_each > 0)
            e->slots = parallel();
        print_found(e, adapter, &models);
        if (up->model[0] == '\0')
            choose_model(&models, up->model);
    }
}

/* Have a bus, as it was asked for. CLI_OK, or told. */
static int
have_bus(struct up *up, const char *state_path, struct config_bus *bus)
{
    const char *url = up->nats, *nkey = up->nkey;

    if (url == NULL)
        return CLI_OK;
    if (strcmp(url, "start") == 0) {
        int result = cli_nats_start(state_path, &up->asker.arena, &up->server);
        if (result != CLI_OK)
            return result;
        url = up->server.url;
        nkey = up->server.gateway_nkey;
    }
    bus->nats[bus->nats_count++] = span_of(url);
    if (nkey != NULL)
        bus->nkey_file = span_of(nkey);
    return CLI_OK;
}

/* With a bus nodes come by themselves: have a key that they can name, so that it may ask things of
 * them. CLI_OK, or told. */
static int
have_key(struct up *up, const char *state_path, struct config *config)
{
    struct arena *arena = &up->asker.arena;
    struct span path;
    int result;

    if (up->nats == NULL)
        return CLI_OK;
    if (state_path == NULL) {
        fputs(
            "isochrone up: no node can be asked to load a model: there is no place to keep a key; "
            "set HOME, or XDG_STATE_HOME\n",
            stderr);
        return CLI_OK;
    }
    result = cli_keep_folder("up", state_path, arena);
    if (result == CLI_OK && arena_printf(arena, &path, "%s/gateway.key", state_path) != ERR_OK)
        result = cli_complain(CLI_FAILED, "up", "no memory");
    if (result == CLI_OK)
        result = cli_keep_key("up", path.data, SIGNATURE_OWNER_GATEWAY, CLI_NATS_GATEWAY, arena,
                              up->key);
    if (result == CLI_OK)
        config->key_file = path;
    return result;
}

static void
print_bus(const struct up *up)
{
    const struct cli_nats *n = &up->server;

    if (n->pid != 0)
        printf("\nThe bus is at %s. A node comes by itself:\n\n"
               "  isochrone node --engine http://127.0.0.1:8000 --key %s \\\n"
               "      --bus %s --nkey %s \\\n"
               "      --gateway " CLI_NATS_GATEWAY "=%s\n",
               n->url, n->node_key, n->url, n->node_nkey, up->key);
    if (up->key[0] != '\0')
        printf("\nA node obeys this gateway where its file names its key:\n\n"
               "  gateways: [{name: " CLI_NATS_GATEWAY
               ", key: \"%s\", may: [infer, load, drain]}]\n",
               up->key);
}

static int
serve(struct up *up)
{
    struct gateway_options options = {.rule = -1,
                                      .signals = true,
                                      .admin_on_public = true,
                                      .state_path = cli_state_path(true, &up->asker.arena)};
    int code = CLI_FAILED;
    struct roster_address address;
    struct config config;
    struct gateway *gateway;

    config_defaults(&config);
    config.public_listen = span_of(up->listen);
    config.admin_listen = (struct span){NULL, 0};
    config.engines = up->engines;
    config.engine_count = up->engine_count;
    if (roster_listen_address(config.public_listen, &address) != ERR_OK)
        return CLI_FAILED;
    if (!roster_is_loopback(&address.any)) {
        fputs("isochrone up serves this machine only; for others write a configuration and run "
              "`isochrone gateway -f FILE`\n",
              stderr);
        return CLI_FAILED;
    }
    config.name = SPAN_LIT(CLI_NATS_GATEWAY);
    if (have_key(up, options.state_path, &config) != CLI_OK ||
        have_bus(up, options.state_path, &config.bus) != CLI_OK)
        return CLI_FAILED;
    if (roster_make(&config, &options.roster) == ERR_OK &&
        gateway_open(&options, &gateway) == ERR_OK) {
        print_bus(up);
        print_snippet(up->listen, up->model[0] != '\0' ? up->model : "MODEL");
        gateway_run(gateway);
        gateway_close(gateway);
        code = CLI_OK;
    }
    cli_nats_stop(&up->server);
    return code;
}

int
cmd_up(int argc, char **argv)
{
    struct up up = {.listen = LISTEN_DEFAULT};
    int code = CLI_FAILED;

    if (!read_options(argc, argv, &up)) {
        fputs(cmd_up_help, stderr);
        return CLI_USAGE;
    }
    if (cli_engine_init(&up.asker) == ERR_OK) {
        up.asker.wait_ns = ASK_NS;
        find(&up);
        if (up.engine_count > 0 || up.nats != NULL)
            code = serve(&up);
        else
            fputs("No model server answers on 8000, 8080, 11434, 30000 or 3000 of this machine.\n"
                  "Start one, or name it: isochrone up --engine http://HOST:PORT\n"
                  "Or let nodes come by themselves: isochrone up --nats start\n",
                  stderr);
    }
    cli_engine_fini(&up.asker);
    return code;
}
