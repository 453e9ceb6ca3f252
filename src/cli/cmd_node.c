/* cmd_node - `isochrone node`: the agent beside an engine, by a configuration file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_admin.h"
#include "cli/cli_options.h"
#include "role/node/node.h"

#define ARENA_BYTES_MAX 65536u

const char cmd_node_help[] =
    "  isochrone key node --name ams1-gpu0 -o node.key               # once\n"
    "  isochrone node -f node.yaml\n"
    "  isochrone node --engine http://127.0.0.1:8000 --key node.key  # without a file\n"
    "  isochrone node --drain                                        # let it end\n"
    "\n"
    "Stands beside one engine or several: lets gateways use their model API and\n"
    "nothing else, guards them against too much at once, and tells gateways how busy\n"
    "they are.\n"
    "\n"
    "  -f FILE            the configuration (isochrone check -f FILE shows what is\n"
    "                     wrong with it)\n"
    "  --engine URL       instead of it: the engine, with\n"
    "  --key FILE         the node's key,\n"
    "  --name NAME        its name (the key's),\n"
    "  --identity FILE    the record that its operator signed,\n"
    "  --listen ADDRESS   where gateways come in (127.0.0.1:4143; loopback only\n"
    "                     without a file),\n"
    "  --bus URL          where the bus is, nats://HOST:PORT, and\n"
    "  --nkey FILE        the seed to sign in with there,\n"
    "  --gateway NAME=KEY the gateway that it obeys, and answers nobody else\n"
    "  --drain            have the node at --admin finish what it has, and end\n"
    "  --admin URL        its admin side (http://127.0.0.1:4144)\n"
    "  --token file:PATH  its admin token, where one is needed\n"
    "\n"
    "Its epoch is kept in the directory `state` of the configuration, else\n"
    "$STATE_DIRECTORY.\n"
    "SIGTERM stops taking requests, waits at most limits.drain, and says that the\n"
    "node is gone; a second one does so at once. SIGHUP reads the configuration\n"
    "again, and keeps the old one when anything is wrong with it. SIGUSR1 opens the\n"
    "log file anew, after it was moved away.\n";

static int
drain(struct cli_admin *admin)
{
    struct span text;
    int code;

    admin->command = "node";
    if (admin->url_text == NULL)
        admin->url_text = "http://127.0.0.1:4144";
    code = cli_admin_open(admin);
    if (code == CLI_OK && !cli_admin_ask(admin, "/network/v1/drain", SPAN_LIT(""), &text))
        code = CLI_FAILED;
    if (code == CLI_OK && admin->status != 202) {
        fprintf(stderr, "isochrone node: the node at %s answers with status %u\n", admin->host_port,
                admin->status);
        code = CLI_FAILED;
    }
    if (code == CLI_OK)
        puts("It drains, and ends when its last request is done.");
    cli_admin_close(admin);
    return code;
}

/* What stands in the file when there is none. */
struct node_words {
    const char *engine, *key, *name, *identity, *listen, *bus, *nkey, *gateway;
};

/* A line `before"value"after`; nothing for a value that was not given. */
static enum err
put_line(struct arena *arena, struct span *text, const char *before, const char *value,
         const char *after)
{
    if (value == NULL)
        return ERR_OK;
    if (strpbrk(value, "\"\\\n\r\t") != NULL) {
        fprintf(stderr, "isochrone node: no quotes, backslashes and line ends in `%s`\n", value);
        return ERR_ARG;
    }
    return arena_printf(arena, text, "%.*s%s\"%s\"%s\n", (int)text->bytes, text->data, before,
                        value, after);
}

/* bus: {nats: ..., nkey: ...} */
static enum err
put_bus(struct arena *arena, struct span *text, const struct node_words *w)
{
    char nkey[CLI_ADMIN_PATH_BYTES_MAX];
    enum err err = put_line(arena, text, "bus: {nats: ", w->bus, w->nkey != NULL ? "," : "}");

    if (err == ERR_OK && w->nkey != NULL && w->bus == NULL) {
        fputs("isochrone node: --nkey FILE goes with --bus URL\n", stderr);
        return ERR_ARG;
    }
    snprintf(nkey, sizeof(nkey), "file:%s", w->nkey != NULL ? w->nkey : "");
    return err == ERR_OK ? put_line(arena, text, "  nkey: ", w->nkey != NULL ? nkey : NULL, "}")
                         : err;
}

/* gateways: [{name: ..., key: ..., may: [...]}] */
static enum err
put_gateway(struct arena *arena, struct span *text, const struct node_words *w)
{
    const char *key = w->gateway != NULL ? strchr(w->gateway, '=') : NULL;
    struct span name;
    enum err err;

    if (w->gateway == NULL)
        return ERR_OK;
    if (key == NULL) {
        fputs("isochrone node: --gateway NAME=KEY, as `isochrone up` and `isochrone key gateway` "
              "show it\n",
              stderr);
        return ERR_ARG;
    }
    err = arena_copy(arena, (struct span){w->gateway, (size_t)(key - w->gateway)}, &name);
    if (err == ERR_OK)
        err = put_line(arena, text, "gateways: [{name: ", name.data, ",");
    return err == ERR_OK
               ? put_line(arena, text, "  key: ", key + 1, ", may: [infer, load, drain]}]")
               : err;
}

static enum err
make_yaml(const struct node_words *w, struct arena *arena, struct span *ret_yaml)
{
    struct span text = SPAN_LIT("");
    char key[CLI_ADMIN_PATH_BYTES_MAX], identity[CLI_ADMIN_PATH_BYTES_MAX];
    enum err err;

    if (w->key == NULL) {
        fputs("isochrone node: --key FILE: `isochrone key node --name NAME -o FILE` makes one\n",
              stderr);
        return ERR_ARG;
    }
    snprintf(key, sizeof(key), "file:%s", w->key);
    snprintf(identity, sizeof(identity), "file:%s", w->identity != NULL ? w->identity : "");
    err = put_line(arena, &text, "engines: [{url: ", w->engine, "}]");
    if (err == ERR_OK)
        err = put_line(arena, &text, "key: ", key, "");
    if (err == ERR_OK)
        err = put_line(arena, &text, "name: ", w->name, "");
    if (err == ERR_OK)
        err = put_line(arena, &text, "identity: ", w->identity != NULL ? identity : NULL, "");
    if (err == ERR_OK)
        err = put_line(arena, &text, "listen: {public: ", w->listen, "}");
    if (err == ERR_OK)
        err = put_bus(arena, &text, w);
    if (err == ERR_OK)
        err = put_gateway(arena, &text, w);
    *ret_yaml = text;
    return err;
}

static int
serve(const char *path, const struct node_words *words)
{
    struct node_options options = {
        .signals = true, .own_log = true, .notify_path = getenv("NOTIFY_SOCKET")};
    struct span yaml = {NULL, 0};
    struct node *node;
    struct arena arena;
    int code = CLI_FAILED;

    arena_init(&arena, ARENA_BYTES_MAX);
    options.state_path = cli_state_path(false, &arena);
    options.config_path = path;
    if (path == NULL && make_yaml(words, &arena, &yaml) != ERR_OK)
        code = CLI_USAGE;
    else if (roster_load_node(path, yaml, NULL, &options.roster) == ERR_OK && /* told by both */
             node_open(&options, &node) == ERR_OK) {
        node_run(node);
        node_close(node);
        code = CLI_OK;
    }
    arena_fini(&arena);
    return code;
}

int
cmd_node(int argc, char **argv)
{
    struct cli_admin admin = {0};
    struct node_words words = {.engine = NULL};
    const char *path = NULL;
    bool is_drain = false;
    const struct cli_option options[] = {{"file", 'f', NULL, &path},
                                         {"engine", 0, NULL, &words.engine},
                                         {"key", 0, NULL, &words.key},
                                         {"name", 0, NULL, &words.name},
                                         {"identity", 0, NULL, &words.identity},
                                         {"listen", 0, NULL, &words.listen},
                                         {"bus", 0, NULL, &words.bus},
                                         {"nkey", 0, NULL, &words.nkey},
                                         {"gateway", 0, NULL, &words.gateway},
                                         {"drain", 0, &is_drain, NULL},
                                         {"admin", 0, NULL, &admin.url_text},
                                         {"token", 0, NULL, &admin.token_text}};

    bool is_good = cli_options(argc, argv, options, sizeof(options) / sizeof(options[0]), NULL);

    if (is_good && (path != NULL) + (words.engine != NULL) + is_drain != 1) {
        fputs("isochrone node: which configuration? -f FILE, or --engine URL; or --drain\n",
              stderr);
        is_good = false;
    }
    if (!is_good) {
        fputs(cmd_node_help, stderr);
        return CLI_USAGE;
    }
    return is_drain ? drain(&admin) : serve(path, &words);
}
