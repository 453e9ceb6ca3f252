/* cmd_control - `isochrone load`, `unload`, `sleep` and `wake`: have an engine do something to a
 * model, straight, and wait until it is so. wire/control knows what each kind of engine can and in
 * which words it is asked; here is who asks, what is shown meanwhile, and how it ended. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>

#include "cli/cli.h"
#include "cli/cli_engine.h"
#include "cli/cli_nearest.h"
#include "cli/cli_options.h"
#include "cli/cli_steer.h"
#include "cli/cli_table.h"
#include "io/clock.h"
#include "role/gateway/metrics.h"
#include "wire/control.h"

#define ASK_NS            5000000000u /* for what an engine answers at once */
#define LOOK_NS           200000000   /* between two looks at its models */
#define TIMEOUT_S_DEFAULT 600u
#define TIMEOUT_S_MAX     86400u

#define OPTIONS_HELP                                                                               \
    "      --engine URL       the model server: http://HOST:PORT\n"                                \
    "      --timeout SECONDS  how long to wait for it (600)\n"                                     \
    "      --key file:PATH    the engine's API key, where it wants one\n"                          \
    "      --json             how it ended, as one object\n"
#define NODE_HELP(word_, model_)                                                                   \
    "Or a node, by a gateway whose key it obeys:\n"                                                \
    "  isochrone " word_ " " model_ "--node ams1-gpu0\n"                                           \
    "      --node NAME, --timeout, --json, and --admin and the like, where the\n"                  \
    "      gateway is, as `isochrone pin --help` has them\n"
#define EXIT_HELP                                                                                  \
    "What each kind of engine can is in doc/control.md.\n"                                         \
    "Exit status: 0 done, 1 it did not work, 2 wrong use.\n"

const char cmd_load_help[] =
    "Have a model server take a model into memory, and keep it there.\n"
    "\n"
    "  isochrone load qwen3:8b --engine http://127.0.0.1:11434  # Ollama\n"
    "  isochrone load qwen3-8b --engine http://127.0.0.1:8080   # llama-server\n"
    "  isochrone load mine --lora /adapters/mine \\\n"
    "      --engine http://127.0.0.1:8000                       # vLLM, SGLang\n"
    "\n" OPTIONS_HELP
    "      --lora PATH        a LoRA adapter: the name it gets is MODEL, PATH as the\n"
    "                         engine sees it\n"
    "\n" NODE_HELP("load", "qwen3:8b ") "\n" EXIT_HELP;
const char cmd_unload_help[] =
    "Have a model server take a model out of memory. It stays on disk.\n"
    "\n"
    "  isochrone unload qwen3:8b --engine http://127.0.0.1:11434    # Ollama\n"
    "  isochrone unload qwen3-8b --engine http://127.0.0.1:8080     # llama-server\n"
    "  isochrone unload mine --lora --engine http://127.0.0.1:8000  # an adapter\n"
    "\n"
    "A router ends the requests that the model is answering; Ollama lets them end\n"
    "first.\n"
    "\n" OPTIONS_HELP "      --lora             MODEL is a LoRA adapter\n"
    "\n" NODE_HELP("unload", "qwen3:8b ") "\n" EXIT_HELP;
const char cmd_sleep_help[] =
    "Have a model server give its GPU's memory back; its process stays, and wakes in\n"
    "a moment.\n"
    "\n"
    "  isochrone sleep --engine http://127.0.0.1:8000             # vLLM, SGLang\n"
    "\n"
    "vLLM sleeps only when it was started with VLLM_SERVER_DEV_MODE=1 and\n"
    "--enable-sleep-mode.\n"
    "Requests that reach a sleeping engine wait.\n"
    "\n" OPTIONS_HELP "\n" NODE_HELP("sleep", "") "\n" EXIT_HELP;
const char cmd_wake_help[] = "Wake a model server that sleeps.\n"
                             "\n"
                             "  isochrone wake --engine http://127.0.0.1:8000   # vLLM, SGLang\n"
                             "\n" OPTIONS_HELP "\n" NODE_HELP("wake", "") "\n" EXIT_HELP;

struct order {
    const char *command; /* the word, for complaints */
    enum control_action action;
    const char *model, *engine, *timeout, *key, *lora_path;
    bool json, lora;
    uint64_t timeout_ns, asked_ns;
    struct control_options options;
    struct cli_engine asker;
    const struct adapter *adapter;
    struct adapter_models models;
    struct control_request request;
    struct control_words words;
};

/* ---- How it ended. */

static double
took_ms(const struct order *o)
{
    return o->asked_ns > 0 ? (double)(clock_now_ns() - o->asked_ns) / 1e6 : 0.0;
}

static void
print_json(const struct order *o, const char *result, const char *state, const char *words)
{
    cJSON *root = cJSON_CreateObject();
    char *text;

    (void)cJSON_AddStringToObject(root, "engine", o->engine);
    (void)cJSON_AddStringToObject(root, "kind", o->adapter != NULL ? o->adapter->name : "unknown");
    (void)cJSON_AddStringToObject(root, "model", o->model);
    (void)cJSON_AddStringToObject(root, "action", control_action_name(o->action));
    (void)cJSON_AddStringToObject(root, "result", result);
    if (state != NULL)
        (void)cJSON_AddStringToObject(root, "state", state);
    if (words != NULL)
        (void)cJSON_AddStringToObject(root, "words", words);
    (void)cJSON_AddNumberToObject(root, "took_ms", (double)(uint64_t)took_ms(o));
    text = cJSON_PrintUnformatted(root);
    puts(text != NULL ? text : "{}");
    cJSON_free(text);
    cJSON_Delete(root);
}

/* It is not to be; CLI_FAILED. */
static int
fail(const struct order *o, const char *words)
{
    if (o->json)
        print_json(o, "refused", NULL, words);
    fprintf(stderr, "isochrone %s: ", o->command);
    cli_print(stderr, words);
    fputc('\n', stderr);
    return CLI_FAILED;
}

static int
succeed(const struct order *o)
{
    const char *state = metrics_model_state_name(o->request.goal);
    char took[CLI_NUMBER_BYTES];

    if (o->json) {
        print_json(o, "done", state, NULL);
        return CLI_OK;
    }
    cli_milliseconds(took_ms(o), took);
    cli_print(stdout, o->model[0] != '\0' ? o->model : o->engine);
    printf(": %s (%s, %s)\n", state, o->adapter->title, took);
    return CLI_OK;
}

/* ---- Which model. */

static const struct adapter_model *
model_of(const struct order *o)
{
    for (size_t i = 0; i < o->models.count; i++) {
        if (strcmp(o->models.list[i].name, o->model) == 0)
            return &o->models.list[i];
    }
    return NULL;
}

/* The name as the engine has it: the only one where none was said; Ollama's with its tag. */
static void
complete_name(struct order *o)
{
    static const char latest[] = ":latest";
    struct span full;

    if (o->model[0] == '\0' && o->models.count == 1)
        o->model = o->models.list[0].name;
    if (model_of(o) != NULL || o->adapter->kind != ENGINE_OLLAMA || strchr(o->model, ':') != NULL ||
        arena_printf(&o->asker.arena, &full, "%s%s", o->model, latest) != ERR_OK)
        return;
    for (size_t i = 0; i < o->models.count; i++) {
        if (span_eq_text(full, o->models.list[i].name))
            o->model = o->models.list[i].name;
    }
}

/* Does the engine have it? Where its list is not whole only the engine knows. */
static int
check_name(struct order *o)
{
    struct cli_nearest nearest = {.wanted = o->model};
    char hint[CLI_NEAREST_HINT_BYTES];
    struct span words;
    enum err err;

    if (o->action == CONTROL_ADAPTER_LOAD || o->model[0] == '\0' || o->models.count == 0 ||
        o->models.cut || model_of(o) != NULL)
        return CLI_OK;
    for (size_t i = 0; i < o->models.count; i++)
        cli_nearest_offer(&nearest, o->models.list[i].name);
    if (cli_nearest_hint(&nearest, hint)[0] != '\0')
        err = arena_printf(&o->asker.arena, &words, "%s has no model `%s`%s", o->engine, o->model,
                           hint);
    else
        err = arena_printf(&o->asker.arena, &words, "%s has no model `%s`; it has %s%s", o->engine,
                           o->model, o->models.list[0].name,
                           o->models.count > 1 ? " and others" : "");
    return fail(o, err == ERR_OK ? words.data : "out of memory");
}

/* ---- Asking, and waiting. */

static void
show_state(const struct order *o, enum model_state state)
{
    if (o->json)
        return;
    fputs("  ", stderr);
    cli_print(stderr, o->model);
    fprintf(stderr, ": %s\n", metrics_model_state_name(state));
}

/* The engine has begun. Look at its models until it is done. */
static int
watch(struct order *o)
{
    const struct timespec pause = {.tv_nsec = LOOK_NS};
    enum model_state seen = MODEL_STATE_COUNT;
    bool moved = false;

    while (clock_now_ns() - o->asked_ns < o->timeout_ns) {
        const struct adapter_model *m;
        enum model_state state;

        if (!cli_engine_models(&o->asker, o->adapter, &o->models))
            return fail(o, "the engine answers no more");
        m = model_of(o);
        state = m != NULL ? m->state : MODEL_ABSENT;
        if (state != seen)
            show_state(o, state);
        seen = state;
        if (state == o->request.goal)
            return succeed(o);
        if (state == MODEL_FAILED)
            return fail(o, "it failed; the engine's log says why");
        if (state == MODEL_ABSENT ||
            (moved && o->request.goal == MODEL_READY && state == MODEL_ON_DISK))
            return fail(o, "it began and did not come to its end; the engine's log says why");
        moved = moved || state == MODEL_LOADING;
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
    return fail(o, "not within the time; the engine goes on (--timeout SECONDS)");
}

static int
ask(struct order *o)
{
    const char *check_path;
    int result;

    complete_name(o);
    if (control_request(o->adapter->kind, o->action, span_of(o->model), &o->options, &o->request,
                        &o->words) != ERR_OK)
        return fail(o, o->words.text);
    result = check_name(o);
    if (result != CLI_OK)
        return result;
    check_path = control_check_path(o->adapter->kind, o->action);
    if (check_path != NULL) {
        cli_engine_ask(&o->asker, check_path, (struct span){NULL, 0});
        if (!control_check(o->adapter->kind, o->action, cli_engine_body(&o->asker), &o->words))
            return fail(o, o->words.text);
    }
    if (o->request.answers_when_done && !o->json)
        fprintf(stderr, "  asked; it answers when it is done\n");
    o->asked_ns = clock_now_ns();
    o->asker.wait_ns = o->request.answers_when_done ? o->timeout_ns : ASK_NS;
    cli_engine_ask(&o->asker, o->request.path,
                   (struct span){o->request.body, o->request.body_bytes});
    o->asker.wait_ns = ASK_NS;
    if (o->asker.status == 0)
        return fail(o, "the engine gave no answer in time (--timeout SECONDS), or closed the "
                       "connection");
    switch (control_outcome(o->adapter->kind, o->action, o->asker.status,
                            cli_engine_body(&o->asker), &o->words)) {
    case CONTROL_DONE:
        return succeed(o);
    case CONTROL_BEGUN:
        return watch(o);
    case CONTROL_REFUSED:
        break;
    }
    return fail(o, o->words.text);
}

/* ---- The command line. */

static int
wrong(const struct order *o, const char *words)
{
    fprintf(stderr, "isochrone %s: %s\nRun `isochrone %s --help` for examples.\n", o->command,
            words, o->command);
    return CLI_USAGE;
}

static int
read_order(int argc, char **argv, struct order *o)
{
    const struct cli_option common[] = {
        {"engine", 0, NULL, &o->engine},
        {"timeout", 0, NULL, &o->timeout},
        {"key", 0, NULL, &o->key},
        {"json", 0, &o->json, NULL},
    };
    const struct cli_option own[CONTROL_ACTION_COUNT] = {
        [CONTROL_LOAD] = {"lora", 0, NULL, &o->lora_path},
        [CONTROL_UNLOAD] = {"lora", 0, &o->lora, NULL},
    };
    struct cli_option options[sizeof(common) / sizeof(common[0]) + 1];
    size_t count = sizeof(common) / sizeof(common[0]);
    uint64_t seconds = TIMEOUT_S_DEFAULT;

    memcpy(options, common, sizeof(common));
    if (own[o->action].name != NULL)
        options[count++] = own[o->action];
    if (!cli_options(argc, argv, options, count, &o->model))
        return CLI_USAGE;
    if (o->engine == NULL)
        return wrong(o, "where? --engine http://HOST:PORT, or --node NAME to ask a gateway");
    if (o->timeout != NULL && (span_u64(span_of(o->timeout), &seconds) != ERR_OK || seconds == 0 ||
                               seconds > TIMEOUT_S_MAX))
        return wrong(o, "--timeout is a whole number of seconds, 1 to 86400");
    if (o->model == NULL && (o->action == CONTROL_LOAD || o->action == CONTROL_UNLOAD))
        return wrong(o, "which model?");
    if (o->model == NULL)
        o->model = "";
    if (o->lora_path != NULL)
        o->action = CONTROL_ADAPTER_LOAD;
    else if (o->lora)
        o->action = CONTROL_ADAPTER_UNLOAD;
    o->timeout_ns = seconds * 1000000000u;
    o->options.adapter_path = span_of(o->lora_path != NULL ? o->lora_path : "");
    return CLI_OK;
}

/* Who is there, and what has it? */
static int
meet(struct order *o)
{
    struct config_engine engine = {.url = span_of(o->engine)};
    enum err err = config_url(engine.url, &engine.host, &engine.port);

    if (err != ERR_OK)
        return wrong(o, err == ERR_UNSUPPORTED
                            ? "an engine is asked over http:// here; behind TLS, run this beside it"
                            : "--engine is no http://HOST:PORT");
    if (o->key != NULL) {
        int result = cli_read_bearer(o->command, "key", o->key, &o->asker.arena,
                                     &o->asker.authorization);

        if (result != CLI_OK)
            return result;
    }
    o->asker.wait_ns = ASK_NS;
    if (cli_engine_at(&o->asker, &engine) == ERR_OK)
        o->adapter = cli_engine_detect(&o->asker);
    if (o->adapter == NULL)
        return fail(o, o->asker.status == 0 ? "no model server answers there; is it running?"
                                            : "what answers there is no model server we know");
    (void)cli_engine_models(&o->asker, o->adapter, &o->models); /* else only the engine knows */
    return CLI_OK;
}

static int
run(int argc, char **argv, enum control_action action, enum directive_action of_node)
{
    struct order o = {.command = argv[0], .action = action};
    int result;

    if (cli_steer_is_meant(argc, argv))
        return cli_steer(argc, argv, of_node);
    result = read_order(argc, argv, &o);
    if (result != CLI_OK)
        return result;
    result = CLI_FAILED;
    if (cli_engine_init(&o.asker) == ERR_OK) {
        result = meet(&o);
        if (result == CLI_OK)
            result = ask(&o);
    }
    cli_engine_fini(&o.asker);
    return result;
}

int
cmd_load(int argc, char **argv)
{
    return run(argc, argv, CONTROL_LOAD, DIRECTIVE_LOAD);
}

int
cmd_unload(int argc, char **argv)
{
    return run(argc, argv, CONTROL_UNLOAD, DIRECTIVE_UNLOAD);
}

int
cmd_sleep(int argc, char **argv)
{
    return run(argc, argv, CONTROL_SLEEP, DIRECTIVE_SLEEP);
}

int
cmd_wake(int argc, char **argv)
{
    return run(argc, argv, CONTROL_WAKE, DIRECTIVE_WAKE);
}
