/* cmd_nodes - who is there, and what each can take: a table of all nodes, or everything about one.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_admin.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"
#include "wire/config.h"

#define NODES_MAX      1048576u
#define REFUSED_AGO_MS 600000.0 /* what is older is no news */

const char cmd_nodes_help[] =
    "Who is there, and what each can take.\n"
    "\n"
    "  isochrone nodes\n"
    "  isochrone nodes ams1-gpu0           # everything about one\n"
    "  isochrone nodes --json\n"
    "\n" CLI_ADMIN_HELP "\n"
    "RUN and WAIT are requests as the engine told; KV is how full its cache is; FREE\n"
    "is what it could write on top of what it does now, of one request at least,\n"
    "however late its tokens come (what it may take so that they come in time is\n"
    "`isochrone capacity`); AGE is that of its last report; WORD, where there is one,\n"
    "what its word is worth after it said what was not so. Below: whose messages the\n"
    "gateway refused in the last ten minutes, and why.\n"
    "Exit status: 0 done, 1 no answer, 2 wrong use.\n";

/* ---- One node in words. */

static const char *
state_of(const cJSON *node, enum cli_colour *ret_colour)
{
    const char *state = cli_json_text(node, "state");

    *ret_colour = CLI_WARN;
    if (cli_json_true(node, "ejected")) {
        *ret_colour = CLI_BAD;
        return "ejected";
    }
    if (cli_json_number(node, "silent_ms") >= 0.0) { /* NAN: it is heard of */
        *ret_colour = CLI_BAD;
        return "silent";
    }
    if (strcmp(state, "ready") != 0)
        return state;
    if (strcmp(cli_json_text(node, "engine"), "unknown") == 0) {
        *ret_colour = CLI_BAD;
        return "no answer"; /* never yet */
    }
    if (!(cli_json_number(node, "models_ready") > 0.0))
        return "no model";
    *ret_colour = CLI_GOOD;
    return state;
}

static double
kv_percent(const cJSON *node)
{
    double cap = cli_json_number(node, "kv_tokens_cap");

    return cap > 0.0 ? 100.0 * cli_json_number(node, "kv_tokens_used") / cap : (double)NAN;
}

/* Where we know it from; empty: from the configuration alone. */
static const char *
from_of(const cJSON *node)
{
    const char *source = cli_json_text(node, "source");

    if (strcmp(source, "config") == 0 || source[0] == '\0')
        return "";
    return cli_json_true(node, "proven") ? "bus" : "bus, unproven";
}

/* ---- All of them. */

struct row { /* texts in the arena */
    const char *node, *region, *engine, *gpu, *state, *from;
    enum cli_colour colour;
    double running, waiting, kv_percent, rtt_ms, free_tok_s, age_ms;
    double word; /* NAN: it counts whole */
};

struct rows {
    struct arena *arena;
    struct row *list;
    size_t count, room, ready;
    bool failed;
};

static const char *
keep(struct rows *rows, const char *text)
{
    struct span copy;

    if (arena_copy(rows->arena, span_of(text), &copy) != ERR_OK) {
        rows->failed = true;
        return "";
    }
    return copy.data;
}

static bool
rows_grow(struct rows *rows)
{
    size_t room = rows->room > 0 ? 2 * rows->room : 256;
    struct row *list = room <= NODES_MAX ? realloc(rows->list, room * sizeof(*list)) : NULL;

    if (list == NULL) {
        rows->failed = true;
        return false;
    }
    rows->list = list;
    rows->room = room;
    return true;
}

static bool
take_row(const cJSON *node, void *user)
{
    struct rows *rows = user;
    const char *gpu = cli_json_text(node, "gpu");
    struct row *r;

    if (rows->count == rows->room && !rows_grow(rows))
        return false;
    r = &rows->list[rows->count++];
    *r = (struct row){
        .node = keep(rows, cli_json_text(node, "node")),
        .region = keep(rows, cli_json_text(node, "region")),
        .engine = keep(rows, cli_json_text(node, "engine")),
        .gpu = keep(rows, strcmp(gpu, "unknown") == 0 ? "" : gpu), /* of none known: no column */
        .running = cli_json_number(node, "running"),
        .waiting = cli_json_number(node, "waiting"),
        .kv_percent = kv_percent(node),
        .rtt_ms = cli_json_number(node, "rtt_ms"),
        .free_tok_s = cli_json_number(node, "free_decode_tok_s"),
        .age_ms = cli_json_number(node, "report_age_ms"),
        .word = cli_json_number(node, "word") < 1.0 ? cli_json_number(node, "word") : (double)NAN,
    };
    r->state = keep(rows, state_of(node, &r->colour));
    r->from = keep(rows, from_of(node));
    rows->ready += r->colour == CLI_GOOD;
    return !rows->failed;
}

/* By region, then by name. */
static int
row_order(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int order = strcmp(x->region, y->region);

    return order != 0 ? order : strcmp(x->node, y->node);
}

static void
print_rows(const struct rows *rows)
{
    static const struct cli_column columns[] = {
        {"NODE", "", 24, true, false, 0},      {"REGION", "", 12, true, false, 0},
        {"ENGINE", "", 6, true, false, 3},     {"GPU", "", 4, true, true, 2},
        {"FROM", "", 0, true, true, 1},        {"STATE", "", 0, true, false, 0},
        {"RUN", "", 0, false, false, 0},       {"WAIT", "", 0, false, false, 0},
        {"KV", "%", 0, false, true, 0},        {"RTT", "ms", 0, false, false, 0},
        {"FREE", "tok/s", 0, false, false, 0}, {"AGE", "s", 0, false, true, 1},
        {"WORD", "%", 0, false, true, 0},
    };
    struct cli_table t;

    cli_table_init(&t, columns, sizeof(columns) / sizeof(columns[0]), rows->arena);
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *r = &rows->list[i];

        cli_table_text(&t, CLI_PLAIN, r->node);
        cli_table_text(&t, CLI_PLAIN, r->region);
        cli_table_text(&t, CLI_PLAIN, r->engine);
        cli_table_text(&t, CLI_PLAIN, r->gpu);
        cli_table_text(&t, CLI_PLAIN, r->from);
        cli_table_text(&t, r->colour, r->state);
        cli_table_number(&t, CLI_PLAIN, floor(r->running + 0.5));
        cli_table_number(&t, CLI_PLAIN, floor(r->waiting + 0.5));
        cli_table_number(&t, CLI_PLAIN, floor(r->kv_percent + 0.5));
        cli_table_number(&t, CLI_PLAIN, r->rtt_ms);
        cli_table_number(&t, CLI_PLAIN, floor(r->free_tok_s + 0.5));
        cli_table_number(&t, CLI_PLAIN, floor(r->age_ms / 100.0 + 0.5) / 10.0);
        cli_table_number(&t, r->word < 0.5 ? CLI_BAD : CLI_WARN, floor(100.0 * r->word + 0.5));
    }
    cli_table_print(&t);
    printf("\n%zu node%s, %zu ready\n", rows->count, rows->count == 1 ? "" : "s", rows->ready);
}

/* Who came over the bus lately and was refused, and why: they are no nodes, so no row has them. */
static void
print_refused(struct cli_admin *a)
{
    static const struct cli_column columns[] = {{"REFUSED", "", 24, true, false, 0},
                                                {"TIMES", "", 0, false, false, 0},
                                                {"LAST", "s", 0, false, false, 0},
                                                {"WHY", "", 0, true, false, 0}};
    struct span text;
    cJSON *bus = cli_admin_json(a, "/network/v1/bus", (struct span){NULL, 0}, &text);
    const cJSON *one;
    struct cli_table t;
    size_t count = 0;

    cli_table_init(&t, columns, sizeof(columns) / sizeof(columns[0]), &a->arena);
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(bus, "refused_nodes"))
    {
        if (cli_json_number(one, "ago_ms") > REFUSED_AGO_MS)
            continue;
        cli_table_text(&t, CLI_WARN, cli_json_text(one, "node"));
        cli_table_number(&t, CLI_PLAIN, cli_json_number(one, "times"));
        cli_table_number(&t, CLI_PLAIN, floor(cli_json_number(one, "ago_ms") / 1000.0));
        cli_table_text(&t, CLI_PLAIN, cli_json_text(one, "words"));
        count++;
    }
    if (count > 0) {
        putchar('\n');
        cli_table_print(&t);
    }
    cJSON_Delete(bus);
}

static int
show_all(struct cli_admin *a)
{
    struct rows rows = {.arena = &a->arena};
    bool good = cli_admin_nodes(a, take_row, &rows);

    if (good && rows.failed)
        fprintf(stderr, "isochrone nodes: no memory for so many\n");
    else if (good && rows.count == 0)
        puts(
            "no nodes: the gateway's configuration names no engines, and nobody came over the bus");
    else if (good) {
        qsort(rows.list, rows.count, sizeof(*rows.list), row_order);
        print_rows(&rows);
    }
    if (good && !rows.failed)
        print_refused(a);
    good = good && !rows.failed;
    free(rows.list);
    return good ? CLI_OK : CLI_FAILED;
}

/* ---- The same as JSON: what the gateway says of each, however many pages it takes. */

static bool
print_json(const cJSON *node, void *user)
{
    size_t *count = user;
    char *text = cJSON_PrintUnformatted(node);

    if (text == NULL)
        return false;
    printf("%s%s", *count > 0 ? "," : "{\"nodes\":[", text);
    cJSON_free(text);
    ++*count;
    return true;
}

static int
show_all_json(struct cli_admin *a)
{
    size_t count = 0;

    if (!cli_admin_nodes(a, print_json, &count))
        return CLI_FAILED;
    puts(count > 0 ? "],\"next\":null}" : "{\"nodes\":[],\"next\":null}");
    return CLI_OK;
}

/* ---- One. */

static void
line(const char *name, const char *value)
{
    printf("  %-12s ", name);
    cli_print(stdout, value[0] != '\0' ? value : "-");
    putchar('\n');
}

/* "running 3, waiting 0": two figures of a pair, unknown ones as "-". */
static void
pair(const char *name, double a, const char *a_word, double b, const char *b_word)
{
    char first[CLI_NUMBER_BYTES], second[CLI_NUMBER_BYTES];

    cli_number(a, first);
    cli_number(b, second);
    printf("  %-12s %s %s, %s %s\n", name, first, a_word, second, b_word);
}

static void
print_figures(const cJSON *node)
{
    char text[CLI_NUMBER_BYTES];

    pair("requests", cli_json_number(node, "running"), "running", cli_json_number(node, "waiting"),
         "waiting");
    cli_number(cli_json_number(node, "slots") > 0.0 ? cli_json_number(node, "slots") : (double)NAN,
               text);
    printf("  %-12s %s at once; %.0f are this gateway's\n", "", text,
           cli_json_number(node, "own_outstanding"));
    pair("KV cache", cli_json_number(node, "kv_tokens_used"), "tokens used",
         cli_json_number(node, "kv_tokens_cap"), "there are");
    pair("at full load", cli_json_number(node, "prefill_tok_s"), "tok/s read",
         cli_json_number(node, "decode_tok_s"), "written");
    pair("free now", cli_json_number(node, "free_prefill_tok_s"), "tok/s read",
         cli_json_number(node, "free_decode_tok_s"), "written");
    cli_milliseconds(cli_json_number(node, "rtt_ms"), text);
    line("round trip", text);
    cli_milliseconds(cli_json_number(node, "report_age_ms"), text);
    line("report's age", text);
    if (cli_json_number(node, "ejected_left_ms") >= 0.0) {
        cli_milliseconds(cli_json_number(node, "ejected_left_ms"), text);
        printf("  %-12s it failed too often, the last time with `", "ejected");
        cli_print(stdout, cli_json_text(node, "ejected_for"));
        printf("`: out for %s more, or less\n", text);
    }
    if (cli_json_number(node, "silent_ms") >= 0.0) {
        cli_milliseconds(cli_json_number(node, "silent_ms"), text);
        printf("  %-12s for %s, and it does not answer\n", "silent", text);
    }
    printf("  %-12s takes %.2f times as long as its class\n", "learned",
           cli_json_number(node, "residual"));
    if (cli_json_number(node, "changes") > 0.0) {
        cli_milliseconds(cli_json_number(node, "changed_ago_ms"), text);
        printf("  %-12s its speed, %.0f times, last %s ago\n", "changed",
               cli_json_number(node, "changes"), text);
    }
    printf("  %-12s %.1f %% of requests\n", "fails", 100.0 * cli_json_number(node, "p_fail"));
}

/* The last that was broken: what it said, what came. */
static void
print_last(const cJSON *claims)
{
    static const struct {
        const char *claim, *before, *between, *after;
    } table[] = {
        {"load", "it said that it had ", " requests, and answered ", " of ours alone then"},
        {"tokens", "it counted ", " tokens while it answered ", " to us alone"},
        {"ack", "it counted our requests up to number ", ", and we had sent ", ""},
        {"room", "it said that it took ", " at once, and turned ours away when it had ", ""},
        {"ready", "it said that a model was ready, and had none of it when it was asked", NULL,
         NULL},
    };
    char said[CLI_NUMBER_BYTES], came[CLI_NUMBER_BYTES];
    const char *last = cli_json_text(claims, "last");

    cli_number(cli_json_number(claims, "said"), said);
    cli_number(cli_json_number(claims, "came"), came);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(table[i].claim, last) != 0)
            continue;
        printf("  %-12s %s", "", table[i].before);
        if (table[i].between != NULL)
            printf("%s%s%s%s", said, table[i].between, came, table[i].after);
        putchar('\n');
    }
}

/* What its word is worth: nothing where it was never found to be wrong. */
static void
print_word(const cJSON *node)
{
    const cJSON *claims = cJSON_GetObjectItemCaseSensitive(node, "claims"), *count;
    char first[CLI_NUMBER_BYTES], last[CLI_NUMBER_BYTES];
    double broken = 0.0;

    cJSON_ArrayForEach(count, cJSON_GetObjectItemCaseSensitive(claims, "broken"))
        broken += cJSON_GetNumberValue(count);
    if (!(broken > 0.0))
        return;
    cli_milliseconds(cli_json_number(claims, "first_ago_ms"), first);
    cli_milliseconds(cli_json_number(claims, "last_ago_ms"), last);
    printf("  %-12s counts %.0f %%: %.0f of %.0f times that it was tested it was wrong, first %s "
           "ago, last %s ago\n",
           "its word", 100.0 * cli_json_number(node, "word"), broken,
           cli_json_number(claims, "tested"), first, last);
    print_last(claims);
}

/* How it came, who vouches for it, and what it last said. */
static void
print_source(const cJSON *node)
{
    char age[CLI_NUMBER_BYTES];

    line("known from", cli_json_text(node, "source"));
    line("identity", cli_json_text(node, "identity"));
    if (strcmp(cli_json_text(node, "source"), "config") == 0)
        return;
    cli_milliseconds(cli_json_number(node, "bus_report_age_ms"), age);
    printf("  %-12s %.0f reports, the last %s ago, signed up to %.0f of %.0f; epoch %.0f\n", "bus",
           cli_json_number(node, "reports"), age, cli_json_number(node, "signed_seq"),
           cli_json_number(node, "seq"), cli_json_number(node, "epoch"));
    line("steered", cli_json_text(node, "steering"));
    if (isfinite(cli_json_number(node, "rival_ago_ms"))) {
        cli_milliseconds(cli_json_number(node, "rival_ago_ms"), age);
        printf("  %-12s another node says that it has this name, last %s ago: it is refused\n", "",
               age);
    }
}

static void
print_models(struct arena *arena, const cJSON *models)
{
    static const struct cli_column columns[] = {{"  MODEL", "", 20, true, false, 0},
                                                {"STATE", "", 0, true, false, 0},
                                                {"HERE", "", 0, false, false, 0},
                                                {"SLOTS", "", 0, false, false, 0},
                                                {"NAME AT THE ENGINE", "", 20, true, false, 0}};
    const cJSON *m;
    struct cli_table t;

    if (cJSON_GetArraySize(models) == 0) {
        puts("\n  no models");
        return;
    }
    putchar('\n');
    cli_table_init(&t, columns, sizeof(columns) / sizeof(columns[0]), arena);
    cJSON_ArrayForEach(m, models)
    {
        const char *state = cli_json_text(m, "state");
        char requests[CLI_NUMBER_BYTES], slots[CLI_NUMBER_BYTES];

        cli_table_printf(&t, CLI_PLAIN, "  %s", cli_json_text(m, "model"));
        cli_table_printf(&t, strcmp(state, "ready") == 0 ? CLI_GOOD : CLI_WARN, "%s%s", state,
                         cli_json_true(m, "pinned") ? ", pinned" : "");
        cli_number(cli_json_number(m, "requests"), requests);
        cli_number(cli_json_number(m, "slots"), slots);
        cli_table_text(&t, CLI_PLAIN, requests);
        cli_table_text(&t, CLI_PLAIN, slots); /* "-": it shares the node's */
        cli_table_text(&t, CLI_PLAIN, cli_json_text(m, "engine_name"));
    }
    cli_table_print(&t);
}

static int
show_one(struct cli_admin *a, const char *name)
{
    char path[CLI_ADMIN_PATH_BYTES_MAX];
    enum cli_colour colour;
    struct span text;
    const char *state;
    cJSON *node;

    snprintf(path, sizeof(path), "/network/v1/nodes/%s", name);
    a->wanted = name;
    node = cli_admin_json(a, path, (struct span){NULL, 0}, &text);
    if (node == NULL)
        return CLI_FAILED;
    if (a->json) {
        printf("%.*s\n", (int)text.bytes, text.data);
    } else {
        cli_print(stdout, cli_json_text(node, "node"));
        fputs(": ", stdout);
        state = state_of(node, &colour);
        cli_print_coloured(colour, state);
        putchar('\n');
        line("url", cli_json_text(node, "url"));
        line("engine", cli_json_text(node, "engine"));
        line("region", cli_json_text(node, "region"));
        line("site", cli_json_text(node, "site"));
        line("operator", cli_json_text(node, "operator"));
        line("gpu", cli_json_text(node, "gpu"));
        print_source(node);
        print_figures(node);
        print_word(node);
        print_models(&a->arena, cJSON_GetObjectItemCaseSensitive(node, "models"));
    }
    cJSON_Delete(node);
    return CLI_OK;
}

int
cmd_nodes(int argc, char **argv)
{
    struct cli_admin a = {.command = "nodes"};
    const struct cli_option options[] = {CLI_ADMIN_OPTIONS(a)};
    const char *name;
    int result;

    if (!cli_options(argc, argv, options, sizeof(options) / sizeof(options[0]), &name))
        return CLI_USAGE;
    if (name != NULL && !config_is_name(span_of(name))) {
        fprintf(stderr, "isochrone nodes: `%s` is no name of a node: those are a-z, 0-9 and -\n",
                name);
        return CLI_USAGE;
    }
    result = cli_admin_open(&a);
    if (result == CLI_OK && name != NULL)
        result = show_one(&a, name);
    else if (result == CLI_OK)
        result = a.json ? show_all_json(&a) : show_all(&a);
    cli_admin_close(&a);
    return result;
}
