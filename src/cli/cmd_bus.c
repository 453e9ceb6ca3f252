/* cmd_bus - the bus between nodes and gateways, for who runs it: listen to it, see whether it works
 * and what one may do there, make keys for it and its server's configuration. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "cli/cli.h"
#include "cli/cli_nats.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"
#include "io/bus_nats.h"
#include "io/clock.h"
#include "io/log.h"
#include "wire/config.h"
#include "wire/nats_config.h"

#define ARENA_BYTES       67108864u
#define USERS_BYTES_MAX   4194304u
#define CONNECT_NS        10000000000u
#define ANSWER_NS         1000000000u
#define ROUND_TRIPS       5u
#define NAP_NS            1000000
#define WATCH_NAP_NS      50000000
#define DEFAULT_NAME      "operator"
#define DEFAULT_LISTEN    "127.0.0.1:4222"
#define COUNT_MAX         1000000000u
#define SUBJECT_ROOM      (BUS_SUBJECT_BYTES_MAX + 1)
#define CHECKED_COUNT_MAX 8u

const char cmd_bus_help[] =
    "The bus between nodes and gateways: listen to it, try it, set its server up.\n"
    "\n"
    "  isochrone bus check --bus nats://10.0.0.1:4222 --nkey operator.nkey\n"
    "  isochrone bus watch                  # every message, as it comes\n"
    "  isochrone bus watch 'iso.report.eu-west.>' --json\n"
    "  isochrone bus key gw1.nkey           # makes a key, prints its public half\n"
    "  isochrone bus config users.txt --listen 10.0.0.1:4222 > nats.conf\n"
    "\n"
    "      --bus URL          nats://HOST:PORT or tls://HOST:PORT (ISOCHRONE_BUS)\n"
    "      --nkey FILE        sign in with this seed (ISOCHRONE_BUS_NKEY)\n"
    "      --user NAME, --password file:PATH   or with these\n"
    "      --ca file:PATH     with tls://: who vouches for the server; its own\n"
    "                         certificate: a pin\n"
    "      --name NAME        who we are there (operator)\n"
    "      --json             one object a message; or all that check found\n"
    "      --count N          watch: end after so many messages\n"
    "      --publish SUBJECT  check: may we say something there? An empty message is\n"
    "                         sent\n"
    "      --listen ADDRESS   config: where the server will listen (127.0.0.1:4222)\n"
    "\n"
    "check connects, tells the server's version, how long a word to it and back\n"
    "takes, and which subjects we may hear: a gateway all but iso.ctl, a node\n"
    "iso.ctl.NAME alone, a watcher all.\n"
    "config reads lines `ROLE NAME NKEY`, where ROLE is node, gateway, auditor or\n"
    "watcher and NKEY what `bus key` printed, and writes a NATS server's\n"
    "configuration in which each may say and hear what its role needs, a node only\n"
    "under its own name.\n"
    "Exit status: 0 done, 1 it did not work, 2 wrong use.\n";

struct bus_command {
    const char *url, *nkey, *user, *password, *ca, *name, *count, *publish, *listen;
    bool json;
    const char *word; /* pattern or file */
    struct arena arena;
    struct bus *bus;
};

#define COMPLAIN(result, ...) cli_complain(result, "bus", __VA_ARGS__)

/* ---- Opening it. */

static int
read_file(struct bus_command *c, const char *path, size_t bytes_max, struct span *ret_text)
{
    enum err err;

    if (strncmp(path, "file:", 5) == 0)
        path += 5;
    err = cli_read_file(path, bytes_max, &c->arena, ret_text);
    return err == ERR_OK ? CLI_OK : COMPLAIN(CLI_FAILED, "%s: %s", path, cli_read_words(err));
}

static const char *
or_environment(const char *text, const char *variable)
{
    const char *value = text != NULL ? text : getenv(variable);

    return value != NULL && value[0] != '\0' ? value : NULL;
}

static int
open_bus(struct bus_command *c)
{
    struct bus_nats_options o = {.name = span_of(c->name != NULL ? c->name : DEFAULT_NAME)};
    int result = CLI_OK;

    c->url = or_environment(c->url, "ISOCHRONE_BUS");
    if (c->url == NULL)
        return COMPLAIN(CLI_USAGE, "where is it? --bus nats://HOST:PORT");
    o.url = span_of(c->url);
    if (c->user != NULL)
        o.user = span_of(c->user);
    else
        o.nkey_path = or_environment(c->nkey, "ISOCHRONE_BUS_NKEY");
    if (c->ca != NULL) {
        o.ca.name = span_of(c->ca);
        result = read_file(c, c->ca, BUS_NATS_CA_BYTES_MAX, &o.ca.pem);
    }
    if (result == CLI_OK && c->password != NULL)
        result = cli_read_secret("bus", "password", c->password, &c->arena, &o.password);
    if (result != CLI_OK)
        return result;
    /* What is wrong with it was logged: on standard error, as everything a command complains of. */
    return bus_nats_open(&o, &c->bus) == ERR_OK ? CLI_OK : CLI_USAGE;
}

static void
nap(void)
{
    const struct timespec t = {.tv_nsec = NAP_NS};

    (void)nanosleep(&t, NULL);
}

/* ---- watch */

struct watching {
    bool json;
    uint64_t left; /* messages */
    _Atomic bool done, failed;
};

/* Messages are printable ASCII by their own rules; what is not becomes '?'. */
static void
to_printable(struct span body, char text[BUS_BODY_BYTES_MAX + 1])
{
    for (size_t i = 0; i < body.bytes; i++)
        text[i] = body.data[i] >= ' ' && body.data[i] <= '~' ? body.data[i] : '?';
    text[body.bytes] = '\0';
}

static bool
print_json(cJSON *json)
{
    char *line = cJSON_PrintUnformatted(json);
    bool good = line != NULL && puts(line) >= 0 && fflush(stdout) == 0;

    cJSON_free(line);
    cJSON_Delete(json);
    return good;
}

static bool
print_message(const struct watching *w, const struct bus_message *m)
{
    char body[BUS_BODY_BYTES_MAX + 1], subject[SUBJECT_ROOM];
    uint64_t ms = clock_wall_ms();
    time_t s = (time_t)(ms / 1000);
    struct tm t = {0};
    cJSON *json, *content;

    to_printable(m->body, body);
    span_copy(m->subject, subject, sizeof(subject));
    if (!w->json) {
        (void)localtime_r(&s, &t);
        return printf("%02d:%02d:%02d.%03u %s %s\n", t.tm_hour, t.tm_min, t.tm_sec,
                      (unsigned)(ms % 1000), subject, body) > 0 &&
               fflush(stdout) == 0;
    }
    json = cJSON_CreateObject();
    content = cJSON_Parse(body);
    cJSON_AddNumberToObject(json, "time_ms", (double)ms);
    cJSON_AddStringToObject(json, "subject", subject);
    if (content != NULL)
        cJSON_AddItemToObject(json, "message", content);
    else
        cJSON_AddStringToObject(json, "text", body);
    return print_json(json);
}

static void
on_message(const struct bus_message *m, void *user)
{
    struct watching *w = user;

    if (atomic_load(&w->done))
        return;
    if (!print_message(w, m))
        atomic_store(&w->failed, true);
    if (atomic_load(&w->failed) || --w->left == 0)
        atomic_store(&w->done, true);
}

/* Until enough was shown, or somebody ends it, or the server does not let us hear: that it says so
 * is logged, on standard error. */
static void
watch(struct bus_command *c, struct watching *w, const char *pattern, const sigset_t *ends)
{
    const struct timespec moment = {.tv_nsec = WATCH_NAP_NS};
    char quoted[SUBJECT_ROOM + 2];
    struct bus_state state;

    snprintf(quoted, sizeof(quoted), "\"%s\"", pattern);
    while (!atomic_load(&w->done) && sigtimedwait(ends, NULL, &moment) < 0) {
        bus_read_state(c->bus, &state);
        if (state.connected && strstr(state.error, quoted) != NULL) {
            atomic_store(&w->failed, true);
            break;
        }
    }
}

static int
bus_watch(struct bus_command *c)
{
    const char *pattern = c->word != NULL ? c->word : "iso.>";
    struct watching w = {.json = c->json, .left = UINT64_MAX};
    struct bus_state state;
    sigset_t ends;
    int result;

    if (c->count != NULL &&
        (span_u64(span_of(c->count), &w.left) != ERR_OK || w.left == 0 || w.left > COUNT_MAX))
        return COMPLAIN(CLI_USAGE, "--count is a number of messages, from 1 to %u", COUNT_MAX);
    if (!bus_is_pattern(span_of(pattern)))
        return COMPLAIN(CLI_USAGE,
                        "`%s` is no pattern: words with dots between, * for any word, > "
                        "for all the rest",
                        c->word);
    must(sigemptyset(&ends) == 0 && sigaddset(&ends, SIGINT) == 0 &&
         sigaddset(&ends, SIGTERM) == 0 && sigprocmask(SIG_BLOCK, &ends, NULL) == 0);
    result = open_bus(c);
    if (result != CLI_OK)
        return result;
    must(bus_subscribe(c->bus, span_of(pattern), on_message, &w) == ERR_OK);
    watch(c, &w, pattern, &ends);
    bus_read_state(c->bus, &state);
    bus_close(c->bus);
    c->bus = NULL;
    if (state.dropped_in > 0)
        (void)COMPLAIN(CLI_OK, "%llu messages were not shown: they came faster than they could be",
                       (unsigned long long)state.dropped_in);
    return atomic_load(&w.failed) ? CLI_FAILED : CLI_OK;
}

/* ---- check */

struct found { /* what check found out */
    struct bus_state state;
    double round_trip_ms; /* below 0: none */
    bool is_other;        /* the server does not let us ask under this name */
    struct {
        char subject[SUBJECT_ROOM];
        bool says, may; /* says: else it is heard */
    } rows[CHECKED_COUNT_MAX];
    size_t count;
};

struct asked {
    _Atomic bool done;
    enum err err;
};

static void
on_answer(enum err err, struct span body, void *user)
{
    struct asked *a = user;

    (void)body;
    a->err = err;
    atomic_store(&a->done, true);
}

/* A word to where nobody listens: the server itself says so. Milliseconds; below 0: no answer. */
static double
round_trip(struct bus_command *c, const char *name)
{
    struct asked asked = {.err = ERR_OK};
    uint64_t began_ns = clock_now_ns();
    char subject[SUBJECT_ROOM];

    snprintf(subject, sizeof(subject), "iso.check.%s", name);
    if (bus_request(c->bus, span_of(subject), SPAN_LIT(""), ANSWER_NS, on_answer, &asked) != ERR_OK)
        return -1.0;
    while (!atomic_load(&asked.done))
        nap();
    return asked.err == ERR_TIMEOUT ? -1.0 : (double)(clock_now_ns() - began_ns) / 1e6;
}

static void
try_hear(const struct bus_message *m, void *user)
{
    (void)m;
    (void)user;
}

/* Subscribe there, or say something; the server complains before it answers the next question. */
static void
try_subject(struct bus_command *c, struct found *f, const char *name, const char *subject,
            bool says)
{
    struct bus_state before, after;
    char quoted[SUBJECT_ROOM + 2];
    enum err err;

    bus_read_state(c->bus, &before);
    if (says)
        err = bus_publish(c->bus, span_of(subject), SPAN_LIT(""));
    else
        err = bus_subscribe(c->bus, span_of(subject), try_hear, NULL);
    (void)round_trip(c, name); /* without an answer it has waited long enough */
    bus_read_state(c->bus, &after);
    snprintf(quoted, sizeof(quoted), "\"%s\"", subject);
    snprintf(f->rows[f->count].subject, SUBJECT_ROOM, "%s", subject);
    f->rows[f->count].says = says;
    f->rows[f->count++].may = err == ERR_OK && (after.errors == before.errors ||
                                                strstr(after.error, quoted) == NULL);
}

static int
print_found(const struct bus_command *c, const struct found *f, const char *name)
{
    cJSON *json, *rows[2];

    int result = f->is_other ? CLI_FAILED : CLI_OK;

    if (!c->json) {
        printf("connected to %s\n", f->state.server);
        if (f->state.warning[0] != '\0')
            printf("warning: %s\n", f->state.warning);
        if (f->is_other)
            printf("not permitted as `%s`: is that our name there (--name)?\n", name);
        else if (f->round_trip_ms < 0)
            puts("a word to it and back: no answer; somebody hears all (isochrone bus watch?)");
        else
            printf("a word to it and back: %.1f ms\n", f->round_trip_ms);
        for (size_t i = 0; i < f->count; i++)
            printf("may %s %-28s %s\n", f->rows[i].says ? "say " : "hear", f->rows[i].subject,
                   f->rows[i].may ? "yes" : "no");
        return fflush(stdout) == 0 ? result : CLI_FAILED;
    }
    json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "connected", true);
    cJSON_AddStringToObject(json, "server", f->state.server);
    cJSON_AddStringToObject(json, "warning", f->state.warning);
    if (f->round_trip_ms >= 0)
        cJSON_AddNumberToObject(json, "round_trip_ms", f->round_trip_ms);
    if (f->is_other)
        cJSON_AddStringToObject(json, "error", f->state.error);
    rows[0] = cJSON_AddObjectToObject(json, "hears");
    rows[1] = cJSON_AddObjectToObject(json, "says");
    for (size_t i = 0; i < f->count; i++)
        cJSON_AddBoolToObject(rows[f->rows[i].says], f->rows[i].subject, f->rows[i].may);
    return print_json(json) ? result : CLI_FAILED;
}

/* The state, connected or with its first error. */
static void
wait_connected(struct bus_command *c, struct bus_state *ret_state)
{
    uint64_t until_ns = clock_now_ns() + CONNECT_NS;

    do {
        nap();
        bus_read_state(c->bus, ret_state);
    } while (!ret_state->connected && ret_state->errors == 0 && clock_now_ns() < until_ns);
}

static int
print_unconnected(const struct bus_command *c, const struct bus_state *state)
{
    const char *why = state->error[0] != '\0' ? state->error : "no answer";
    cJSON *json;

    if (!c->json)
        return COMPLAIN(CLI_FAILED, "%s", why);
    json = cJSON_CreateObject();
    cJSON_AddBoolToObject(json, "connected", false);
    cJSON_AddStringToObject(json, "error", why);
    (void)print_json(json);
    return CLI_FAILED;
}

/* Where the server does not permit even the question, its complaint is of that, and nothing is
 * known of any subject. Where there is no answer and no complaint, somebody listens. */
static void
ask_back(struct bus_command *c, struct found *f, const char *name)
{
    uint64_t errors = f->state.errors;

    for (size_t i = 0; i < ROUND_TRIPS; i++) {
        double ms = round_trip(c, name);

        if (ms < 0)
            break;
        f->round_trip_ms = i == 0 || ms < f->round_trip_ms ? ms : f->round_trip_ms;
    }
    bus_read_state(c->bus, &f->state);
    f->is_other = f->round_trip_ms < 0 && f->state.errors > errors &&
                  (strstr(f->state.error, "iso.check.") != NULL ||
                   strstr(f->state.error, "_INBOX.") != NULL);
}

static int
bus_check(struct bus_command *c)
{
    static const char *const heard[] = {"iso.report.>", "iso.hello.*", "iso.gone.*", "iso.demand.>",
                                        "iso.ctl.%s"};
    const char *name = c->name != NULL ? c->name : DEFAULT_NAME;
    struct found f = {.round_trip_ms = -1};
    char subject[SUBJECT_ROOM];
    int result;

    if (c->word != NULL)
        return COMPLAIN(CLI_USAGE, "one word too many: `%s`", c->word);
    if (c->publish != NULL && !bus_is_subject(span_of(c->publish)))
        return COMPLAIN(CLI_USAGE, "`%s` is no subject", c->publish);
    log_set_level(LOG_ERROR); /* it is told on standard output */
    result = open_bus(c);
    if (result != CLI_OK)
        return result;
    wait_connected(c, &f.state);
    if (!f.state.connected)
        return print_unconnected(c, &f.state);
    ask_back(c, &f, name);
    for (size_t i = 0; !f.is_other && i < sizeof(heard) / sizeof(heard[0]); i++) {
        bool named = strchr(heard[i], '%') != NULL;

        snprintf(subject, sizeof(subject), "%.*s%s", (int)strcspn(heard[i], "%"), heard[i],
                 named ? name : "");
        try_subject(c, &f, name, subject, false);
    }
    if (!f.is_other && c->publish != NULL)
        try_subject(c, &f, name, c->publish, true);
    return print_found(c, &f, name);
}

/* ---- key, config */

static int
bus_key(struct bus_command *c)
{
    char public_text[NKEY_PUBLIC_TEXT_BYTES + 1];
    int result;

    if (c->word == NULL)
        return COMPLAIN(CLI_USAGE, "in which file? isochrone bus key FILE");
    result = cli_nats_make_nkey("bus", c->word, public_text);
    if (result == CLI_OK)
        puts(public_text);
    return result;
}

static int
bus_config(struct bus_command *c)
{
    char why[NATS_CONFIG_WHY_BYTES_MAX];
    struct nats_user *users;
    struct span text;
    size_t count;
    enum err err;
    int result;

    if (c->word == NULL)
        return COMPLAIN(CLI_USAGE, "of which users? isochrone bus config FILE");
    result = read_file(c, c->word, USERS_BYTES_MAX, &text);
    if (result != CLI_OK)
        return result;
    if (nats_config_read_users(text, &c->arena, &users, &count, why) != ERR_OK)
        return COMPLAIN(CLI_FAILED, "%s: %s", c->word, why);
    if (count == 0)
        return COMPLAIN(CLI_FAILED, "%s: there is nobody in it", c->word);
    err = nats_config_write(c->listen != NULL ? c->listen : DEFAULT_LISTEN, users, count, &c->arena,
                            &text);
    if (err == ERR_ARG)
        return COMPLAIN(CLI_USAGE, "`%s` is no address", c->listen);
    if (err != ERR_OK)
        return COMPLAIN(CLI_FAILED, "no memory");
    return fwrite(text.data, 1, text.bytes, stdout) == text.bytes && fflush(stdout) == 0
               ? CLI_OK
               : CLI_FAILED;
}

static const struct {
    const char *verb;
    int (*run)(struct bus_command *c);
} verbs[] = {
    {"check", bus_check},
    {"watch", bus_watch},
    {"key", bus_key},
    {"config", bus_config},
};

#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

static int
unknown_verb(const char *word)
{
    const char *names[VERB_COUNT], *nearest;

    for (size_t i = 0; i < VERB_COUNT; i++)
        names[i] = verbs[i].verb;
    nearest = word != NULL ? config_nearest(span_of(word), names, VERB_COUNT) : NULL;
    if (nearest != NULL)
        return COMPLAIN(CLI_USAGE, "there is no word `%s`; did you mean `%s`?", word, nearest);
    fputs(cmd_bus_help, stderr);
    return CLI_USAGE;
}

int
cmd_bus(int argc, char **argv)
{
    struct bus_command c = {.word = NULL};
    const struct cli_option options[] = {
        {"bus", 0, NULL, &c.url},         {"nkey", 0, NULL, &c.nkey},
        {"user", 0, NULL, &c.user},       {"password", 0, NULL, &c.password},
        {"ca", 0, NULL, &c.ca},           {"name", 0, NULL, &c.name},
        {"json", 0, &c.json, NULL},       {"count", 0, NULL, &c.count},
        {"publish", 0, NULL, &c.publish}, {"listen", 0, NULL, &c.listen},
    };
    int result = CLI_USAGE;
    size_t verb = 0;

    while (argc > 1 && verb < VERB_COUNT && strcmp(argv[1], verbs[verb].verb) != 0)
        verb++;
    if (argc < 2 || verb == VERB_COUNT)
        return unknown_verb(argc < 2 ? NULL : argv[1]);
    arena_init(&c.arena, ARENA_BYTES);
    if (cli_options(argc - 1, argv + 1, options, sizeof(options) / sizeof(options[0]), &c.word))
        result = verbs[verb].run(&c);
    bus_close(c.bus);
    arena_fini(&c.arena);
    return result;
}
