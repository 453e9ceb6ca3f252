/* cmd_steer - `load`, `unload`, `sleep`, `wake`, `pin`, `unpin`, `drain` and `ready` with --node:
 * have a gateway ask a node, whose agent obeys that gateway's key, and follow what comes of it
 * until the node's reports show it. cmd_control has the words that go to an engine straight. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cli_admin.h"
#include "cli/cli_nearest.h"
#include "cli/cli_options.h"
#include "cli/cli_steer.h"
#include "cli/cli_table.h"
#include "io/clock.h"
#include "wire/config.h"
#include "wire/message.h"

#define LOOK_NS           200000000 /* between two looks */
#define TIMEOUT_S_DEFAULT 600u
#define TIMEOUT_S_MAX     86400u
#define LINE_BYTES        800u

#define OPTIONS_HELP                                                                               \
    "      --node NAME        the node\n"                                                          \
    "      --timeout SECONDS  how long to follow it (600); the node goes on\n"                     \
    "      --json             how it ended, as the gateway tells it\n" CLI_ADMIN_HELP_WHERE "\n"   \
    "The node has to let the gateway (`gateways: [{..., may: [load, drain]}]`), and\n"             \
    "the gateway has to have a key (`key: file:PATH`).\n"                                          \
    "Exit status: 0 done, 1 it did not work, 2 wrong use.\n"

const char cmd_pin_help[] =
    "Have a node keep a model: no gateway unloads it or puts it to sleep until\n"
    "`unpin`.\n"
    "\n"
    "  isochrone pin qwen3:8b --node ams1-gpu0\n"
    "\n" OPTIONS_HELP;
const char cmd_unpin_help[] = "Let a model go again that was pinned.\n"
                              "\n"
                              "  isochrone unpin qwen3:8b --node ams1-gpu0\n"
                              "\n" OPTIONS_HELP;
const char cmd_drain_help[] =
    "Have a node take nothing new; what is under way goes on. `ready` ends it.\n"
    "\n"
    "  isochrone drain --node ams1-gpu0\n"
    "\n" OPTIONS_HELP;
const char cmd_ready_help[] = "Have a node that drains take requests again.\n"
                              "\n"
                              "  isochrone ready --node ams1-gpu0\n"
                              "\n" OPTIONS_HELP;

struct steering {
    const char *command;
    enum directive_action action;
    const char *model, *node, *timeout;
    uint64_t timeout_ns, asked_ns;
    struct cli_admin admin;
    bool is_terminal;
    char shown[LINE_BYTES]; /* the last line */
    unsigned turns;
};

/* ---- What is shown meanwhile. */

static double
elapsed_ms(const struct steering *s)
{
    return (double)(clock_now_ns() - s->asked_ns) / 1e6;
}

/* "qwen3:8b on ams1-gpu0: loading, 43 %, 5.2 s left" */
static void
describe(const struct steering *s, const cJSON *d, char line[LINE_BYTES])
{
    const char *state = cli_json_text(d, "state"), *model_state = cli_json_text(d, "model_state");
    double left_ms = cli_json_number(d, "ready_in_ms"),
           gone_ms = cli_json_number(d, "asked_ago_ms");
    char left[CLI_NUMBER_BYTES];
    bool is_begun = strcmp(state, "begun") == 0;
    int at = snprintf(line, LINE_BYTES, "%s%s%s: %s", s->model, s->model[0] != '\0' ? " on " : "",
                      s->node, is_begun && model_state[0] != '\0' ? model_state : state);

    if (!is_begun || !s->is_terminal || !(left_ms > 0.0) || at < 0 || (size_t)at >= LINE_BYTES)
        return;
    cli_milliseconds(left_ms, left);
    snprintf(line + at, LINE_BYTES - (size_t)at, ", %.0f %%, %s left",
             100.0 * gone_ms / (gone_ms + left_ms), left);
}

static void
show(struct steering *s, const cJSON *d)
{
    static const char spinner[] = "|/-\\";
    char line[LINE_BYTES];

    if (s->admin.json)
        return;
    describe(s, d, line);
    if (s->is_terminal) {
        fprintf(stderr, "\r\033[K%c ", spinner[s->turns++ % 4]);
        cli_print(stderr, line);
    } else if (strcmp(line, s->shown) != 0) {
        cli_print(stderr, line);
        fputc('\n', stderr);
    }
    snprintf(s->shown, sizeof(s->shown), "%s", line);
}

static void
wipe(const struct steering *s)
{
    if (s->is_terminal && s->turns > 0)
        fputs("\r\033[K", stderr);
}

/* ---- How it ended. */

static int
fail(struct steering *s, const char *what, const char *words)
{
    wipe(s);
    fprintf(stderr, "isochrone %s: ", s->command);
    cli_print(stderr, s->node);
    fprintf(stderr, ": %s%s", what, words[0] != '\0' ? ": " : "");
    cli_print(stderr, words);
    fputc('\n', stderr);
    return CLI_FAILED;
}

static int
succeed(struct steering *s, const cJSON *d)
{
    static const char *const became[DIRECTIVE_ACTION_COUNT] = {
        [DIRECTIVE_LOAD] = "ready",     [DIRECTIVE_UNLOAD] = "unloaded",
        [DIRECTIVE_WAKE] = "ready",     [DIRECTIVE_SLEEP] = "asleep",
        [DIRECTIVE_PIN] = "pinned",     [DIRECTIVE_UNPIN] = "unpinned",
        [DIRECTIVE_DRAIN] = "draining", [DIRECTIVE_READY] = "ready"};
    const char *words = cli_json_text(d, "words");
    char took[CLI_NUMBER_BYTES];

    wipe(s);
    if (s->admin.json)
        return CLI_OK;
    cli_milliseconds(cli_json_number(d, "took_ms"), took);
    cli_print(stdout, s->model[0] != '\0' ? s->model : s->node);
    printf(": %s", became[s->action]);
    if (s->model[0] != '\0') {
        fputs(" on ", stdout);
        cli_print(stdout, s->node);
    }
    printf(" (%s)", took);
    if (words[0] != '\0') {
        fputs(": ", stdout);
        cli_print(stdout, words);
    }
    putchar('\n');
    return CLI_OK;
}

/* Do the node's reports show it? */
static bool
is_shown(const struct steering *s, const cJSON *d)
{
    const char *model = cli_json_text(d, "model_state"), *node = cli_json_text(d, "node_state");

    switch (s->action) {
    case DIRECTIVE_LOAD:
    case DIRECTIVE_WAKE:
        return model[0] == '\0' || strcmp(model, "ready") == 0;
    case DIRECTIVE_UNLOAD:
    case DIRECTIVE_SLEEP:
        return strcmp(model, "ready") != 0 && strcmp(model, "loading") != 0;
    case DIRECTIVE_DRAIN:
        return strcmp(node, "drain") == 0;
    case DIRECTIVE_READY:
        return strcmp(node, "ready") == 0;
    case DIRECTIVE_PIN:
    case DIRECTIVE_UNPIN:
        return cli_json_true(d, "model_pinned") == (s->action == DIRECTIVE_PIN);
    default:
        return true;
    }
}

/* ---- Following it. */

static void
print_json(const cJSON *d)
{
    char *text = cJSON_PrintUnformatted(d);

    puts(text != NULL ? text : "{}");
    cJSON_free(text);
}

/* The model there that was meant, if the node knows none of this name. */
static void
guess(struct steering *s, struct cli_nearest *nearest)
{
    char path[CLI_ADMIN_PATH_BYTES_MAX];
    cJSON *node, *m;

    nearest->wanted = s->model;
    snprintf(path, sizeof(path), "/network/v1/nodes/%s", s->node);
    node = s->model[0] != '\0' ? cli_admin_json(&s->admin, path, (struct span){NULL, 0}, NULL)
                               : NULL;
    cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(node, "models"))
    {
        if (strcmp(cli_json_text(m, "model"), s->model) == 0 ||
            strcmp(cli_json_text(m, "engine_name"), s->model) == 0) {
            nearest->name[0] = '\0';
            break;
        }
        cli_nearest_offer(nearest, cli_json_text(m, "model"));
    }
    cJSON_Delete(node);
}

/* What the last look showed decides; CLI_OK or CLI_FAILED. */
static int
conclude(struct steering *s, const cJSON *d, bool in_time)
{
    const char *state = cli_json_text(d, "state"), *words = cli_json_text(d, "words");
    struct cli_nearest nearest = {.wanted = NULL};
    char hint[CLI_NEAREST_HINT_BYTES], hinted[LINE_BYTES];

    if (s->admin.json)
        print_json(d);
    if (strcmp(state, "done") == 0 && in_time)
        return succeed(s, d);
    if (!in_time)
        return fail(s, "not within the time; it goes on (--timeout SECONDS)", words);
    guess(s, &nearest);
    snprintf(hinted, sizeof(hinted), "%s%s", words, cli_nearest_hint(&nearest, hint));
    return fail(s, strcmp(state, "silent") == 0 ? "it may have been done" : state, hinted);
}

/* d: the directive as it was when it was asked; freed. */
static int
follow(struct steering *s, cJSON *d)
{
    const struct timespec pause = {.tv_nsec = LOOK_NS};
    char path[CLI_ADMIN_PATH_BYTES_MAX];
    int result;

    snprintf(path, sizeof(path), "/network/v1/directives/%.0f", cli_json_number(d, "id"));
    for (;;) {
        const char *state = cli_json_text(d, "state");
        bool is_open = strcmp(state, "asked") == 0 || strcmp(state, "begun") == 0;
        bool in_time = elapsed_ms(s) * 1e6 < (double)s->timeout_ns;

        if (strcmp(state, "done") == 0)
            is_open = !is_shown(s, d);
        show(s, d);
        if (!is_open || !in_time) {
            result = conclude(s, d, in_time || !is_open);
            cJSON_Delete(d);
            return result;
        }
        cJSON_Delete(d);
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        d = cli_admin_json(&s->admin, path, (struct span){NULL, 0}, NULL);
        if (d == NULL)
            return CLI_FAILED;
    }
}

static int
ask(struct steering *s)
{
    char path[CLI_ADMIN_PATH_BYTES_MAX];
    cJSON *body = cJSON_CreateObject(), *d;
    char *text;

    if (s->model[0] != '\0')
        (void)cJSON_AddStringToObject(body, "model", s->model);
    text = cJSON_PrintUnformatted(body);
    cJSON_Delete(body);
    snprintf(path, sizeof(path), "/network/v1/nodes/%s/%s", s->node,
             directive_action_name(s->action));
    s->admin.wanted = s->node;
    s->asked_ns = clock_now_ns();
    d = cli_admin_json(&s->admin, path, span_of(text != NULL ? text : "{}"), NULL);
    cJSON_free(text);
    return d != NULL ? follow(s, d) : CLI_FAILED;
}

/* ---- The command line. */

bool
cli_steer_is_meant(int argc, char **argv)
{
    bool is_gateways = false; /* where a gateway is makes sense with a node only */

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--engine") == 0 || strncmp(argv[i], "--engine=", 9) == 0)
            return false;
        if (strcmp(argv[i], "--node") == 0 || strncmp(argv[i], "--node=", 7) == 0)
            return true;
        is_gateways = is_gateways || strcmp(argv[i], "--admin") == 0 ||
                      strncmp(argv[i], "--admin=", 8) == 0;
    }
    return is_gateways;
}

static int
read_options(int argc, char **argv, struct steering *s)
{
    const struct cli_option options[] = {{"node", 0, NULL, &s->node},
                                         {"timeout", 0, NULL, &s->timeout},
                                         CLI_ADMIN_OPTIONS(s->admin)};
    bool about_node = s->action == DIRECTIVE_DRAIN || s->action == DIRECTIVE_READY;
    uint64_t seconds = TIMEOUT_S_DEFAULT;

    if (!cli_options(argc, argv, options, sizeof(options) / sizeof(options[0]),
                     about_node ? NULL : &s->model))
        return CLI_USAGE;
    if (s->node == NULL || !config_is_name(span_of(s->node)))
        return cli_complain(CLI_USAGE, s->command, "which node? --node NAME, of a-z, 0-9 and -");
    if (s->timeout != NULL && (span_u64(span_of(s->timeout), &seconds) != ERR_OK || seconds == 0 ||
                               seconds > TIMEOUT_S_MAX))
        return cli_complain(CLI_USAGE, s->command,
                            "--timeout is a whole number of seconds, 1 to 86400");
    if (s->model == NULL)
        s->model = "";
    if (s->model[0] == '\0' && !about_node && s->action != DIRECTIVE_WAKE &&
        s->action != DIRECTIVE_SLEEP)
        return cli_complain(CLI_USAGE, s->command, "which model?");
    s->timeout_ns = seconds * 1000000000u;
    return CLI_OK;
}

int
cli_steer(int argc, char **argv, enum directive_action action)
{
    struct steering s = {.command = argv[0], .action = action, .is_terminal = isatty(2) == 1};
    int result;

    s.admin.command = s.command;
    result = read_options(argc, argv, &s);
    if (result != CLI_OK)
        return result;
    result = cli_admin_open(&s.admin);
    if (result == CLI_OK)
        result = ask(&s);
    cli_admin_close(&s.admin);
    return result;
}

int
cmd_pin(int argc, char **argv)
{
    return cli_steer(argc, argv, DIRECTIVE_PIN);
}

int
cmd_unpin(int argc, char **argv)
{
    return cli_steer(argc, argv, DIRECTIVE_UNPIN);
}

int
cmd_drain(int argc, char **argv)
{
    return cli_steer(argc, argv, DIRECTIVE_DRAIN);
}

int
cmd_ready(int argc, char **argv)
{
    return cli_steer(argc, argv, DIRECTIVE_READY);
}
