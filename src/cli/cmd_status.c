/* cmd_status - is all well? One line for the gateway and its network, then a line for each model.
 * The figures come from what the network API and /metrics tell; nothing is kept here. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_admin.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"
#include "core/core.h"
#include "wire/prometheus.h"

#define STATUS_BUCKETS_MAX 64u
#define STATUS_MODELS_MAX  CORE_MODELS_USUAL
#define STATUS_QUANTILE    0.95

const char cmd_status_help[] =
    "Is all well? One line for the network as this gateway sees it, then one for each\n"
    "model.\n"
    "\n"
    "  isochrone status\n"
    "  isochrone status && deploy          # status 1: it cannot answer now\n"
    "  isochrone status --json\n"
    "\n"
    "      --json             the figures below\n" CLI_ADMIN_HELP_WHERE "\n"
    "Times are those of streams since the gateway started: p95 TTFT, by which 19 of\n"
    "20 had their first token, and the mean distance between prediction and fact,\n"
    "over the mean time.\n"
    "Exit status: 0 ready, 1 not ready or no answer, 2 wrong use.\n";

struct model {
    const char *name; /* in a document */
    double ready, coming, failed_nodes, requests, failed, free_read_tok_s, free_write_tok_s;
};

struct status {
    struct cli_admin *admin;
    bool ready;
    cJSON *readyz, *readiness, *capacity, *bus;
    double nodes, nodes_ready, nodes_ejected;
    double suspicion, in_flight, held, ttft_count, ttft_sum_s, error_count, error_sum_s;
    double late, hedges, hedges_won; /* attempts; of them those with a second one beside them */
    double bucket_le_s[STATUS_BUCKETS_MAX], bucket_count[STATUS_BUCKETS_MAX]; /* cumulative */
    size_t bucket_total;
    struct model models[STATUS_MODELS_MAX];
    size_t model_count;
};

/* ---- What the gateway tells. */

static bool
take_node(const cJSON *node, void *user)
{
    struct status *s = user;
    bool ejected = cli_json_true(node, "ejected");

    s->nodes += 1.0;
    s->nodes_ejected += ejected;
    s->nodes_ready += !ejected && !(cli_json_number(node, "silent_ms") >= 0.0) &&
                      strcmp(cli_json_text(node, "state"), "ready") == 0 &&
                      cli_json_number(node, "models_ready") > 0.0;
    return true;
}

/* The sum of a figure over the regions of a model. */
static double
sum(const cJSON *model, const char *key)
{
    double total = 0.0;
    const cJSON *region;

    cJSON_ArrayForEach(region, cJSON_GetObjectItemCaseSensitive(model, "regions"))
    {
        double value = cli_json_number(region, key);
        total += isfinite(value) ? value : 0.0;
    }
    return total;
}

static struct model *
model_named(struct status *s, struct span name)
{
    for (size_t i = 0; i < s->model_count; i++) {
        if (span_eq_text(name, s->models[i].name))
            return &s->models[i];
    }
    return NULL;
}

static void
take_models(struct status *s)
{
    const cJSON *m;

    cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(s->readiness, "models"))
    {
        if (s->model_count == STATUS_MODELS_MAX)
            break;
        s->models[s->model_count++] = (struct model){
            .name = cli_json_text(m, "model"),
            .ready = sum(m, "ready"),
            .coming = sum(m, "loading") + sum(m, "downloading"),
            .failed_nodes = sum(m, "failed"),
        };
    }
    cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(s->capacity, "models"))
    {
        struct model *model = model_named(s, span_of(cli_json_text(m, "model")));

        if (model == NULL)
            continue;
        model->free_read_tok_s = sum(m, "free_prefill_tok_s");
        model->free_write_tok_s = sum(m, "free_decode_tok_s");
    }
}

static void
take_requests(struct status *s, const struct prometheus_sample *sample)
{
    struct span name, code;
    struct model *model;

    if (!prometheus_label(sample->labels, "model", &name) ||
        !prometheus_label(sample->labels, "code", &code))
        return;
    model = model_named(s, name);
    if (model == NULL)
        return;
    model->requests += sample->value;
    if (code.bytes > 0 && code.data[0] == '5')
        model->failed += sample->value;
}

static void
take_sample(struct status *s, const struct prometheus_sample *sample)
{
    const struct {
        const char *name;
        double *value;
    } plain[] = {
        {"isochrone_requests_in_flight", &s->in_flight},
        {"isochrone_requests_held", &s->held},
        {"isochrone_self_suspicion", &s->suspicion},
        {"isochrone_late_attempts_total", &s->late},
        {"isochrone_hedges_total", &s->hedges},
        {"isochrone_hedges_won_total", &s->hedges_won},
        {"isochrone_ttft_seconds_count", &s->ttft_count},
        {"isochrone_ttft_seconds_sum", &s->ttft_sum_s},
        {"isochrone_ttft_error_seconds_count", &s->error_count},
        {"isochrone_ttft_error_seconds_sum", &s->error_sum_s},
    };
    struct span le;

    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (span_eq_text(sample->name, plain[i].name))
            *plain[i].value = sample->value;
    }
    if (span_eq_text(sample->name, "isochrone_requests_total"))
        take_requests(s, sample);
    if (span_eq_text(sample->name, "isochrone_ttft_seconds_bucket") &&
        s->bucket_total < STATUS_BUCKETS_MAX && prometheus_label(sample->labels, "le", &le) &&
        span_f64(le, &s->bucket_le_s[s->bucket_total]) == ERR_OK)
        s->bucket_count[s->bucket_total++] = sample->value;
}

static bool
take_metrics(struct status *s)
{
    struct prometheus_sample sample;
    struct span text;
    size_t at = 0;
    enum err err;

    if (!cli_admin_ask(s->admin, "/metrics", (struct span){NULL, 0}, &text))
        return false;
    while ((err = prometheus_next(text, &at, &sample)) != ERR_AGAIN) {
        if (err == ERR_OK)
            take_sample(s, &sample);
    }
    return true;
}

static bool
read_all(struct status *s)
{
    const struct span none = {NULL, 0};

    s->readyz = cli_admin_json(s->admin, "/readyz", none, NULL);
    if (s->readyz == NULL)
        return false;
    s->ready = cli_json_true(s->readyz, "ready");
    s->readiness = cli_admin_json(s->admin, "/network/v1/readiness", none, NULL);
    if (s->readiness == NULL)
        return false;
    s->capacity = cli_admin_json(s->admin, "/network/v1/capacity", none, NULL);
    if (s->capacity == NULL || !cli_admin_nodes(s->admin, take_node, s))
        return false;
    s->bus = cli_admin_json(s->admin, "/network/v1/bus", none, NULL);
    if (s->bus == NULL)
        return false;
    take_models(s);
    return take_metrics(s);
}

/* ---- Two figures out of these. */

/* The time by which a part of the streams had begun, linear inside its bucket; NAN: none yet. */
static double
ttft_quantile_ms(const struct status *s, double part)
{
    double wanted = part * s->ttft_count, low_s = 0.0, below = 0.0;

    for (size_t i = 0; i < s->bucket_total && s->ttft_count > 0.0; i++) {
        double le_s = s->bucket_le_s[i], count = s->bucket_count[i];

        if (count >= wanted && count > below)
            return 1e3 * (isfinite(le_s)
                              ? low_s + (le_s - low_s) * (wanted - below) / (count - below)
                              : low_s);
        low_s = isfinite(le_s) ? le_s : low_s;
        below = count;
    }
    return (double)NAN;
}

static double
error_percent(const struct status *s)
{
    if (!(s->error_count > 0.0) || !(s->ttft_sum_s > 0.0))
        return (double)NAN;
    return 100.0 * (s->error_sum_s / s->error_count) / (s->ttft_sum_s / s->ttft_count);
}

/* ---- Out. */

/* The rest of the line: other gateways, by name. */
static void
print_peers(const struct status *s)
{
    const cJSON *peer;
    const char *before = "; gateways beside this one: ";

    cJSON_ArrayForEach(peer, cJSON_GetObjectItemCaseSensitive(s->bus, "peers"))
    {
        const char *state = cli_json_text(peer, "state");

        fputs(before, stdout);
        cli_print(stdout, cli_json_text(peer, "gateway"));
        if (strcmp(state, "alive") != 0) {
            fputs(" (", stdout);
            cli_print_coloured(CLI_WARN, state);
            putchar(')');
        }
        before = ", ";
    }
    putchar('\n');
}

static void
print_bus(const struct status *s)
{
    const cJSON *bus = cJSON_GetObjectItemCaseSensitive(s->bus, "bus");
    const cJSON *peers = cJSON_GetObjectItemCaseSensitive(s->bus, "peers");

    if (bus == NULL && !(cli_json_number(s->bus, "members") > 0.0) &&
        cJSON_GetArraySize(peers) == 0)
        return; /* nobody came by itself */
    if (bus == NULL || cli_json_true(bus, "connected")) {
        printf("bus: %.0f node%s, %.0f proven, %.0f silent", cli_json_number(s->bus, "in_fleet"),
               cli_json_number(s->bus, "in_fleet") == 1.0 ? "" : "s",
               cli_json_number(s->bus, "proven"), cli_json_number(s->bus, "silent"));
        print_peers(s);
        if (bus != NULL && cli_json_text(bus, "error")[0] != '\0') {
            cli_print_coloured(CLI_WARN, "bus: ");
            cli_print(stdout, cli_json_text(bus, "error"));
            putchar('\n');
        }
        return;
    }
    cli_print_coloured(CLI_WARN, "bus: not connected");
    fputs(": ", stdout);
    cli_print(stdout, cli_json_text(bus, "error"));
    putchar('\n');
}

static void
print_verdict(const struct status *s)
{
    enum cli_colour colour = s->nodes_ready < s->nodes ? CLI_WARN : CLI_GOOD;
    double ttft_ms = ttft_quantile_ms(s, STATUS_QUANTILE), percent = error_percent(s);
    char line[256], ttft[CLI_NUMBER_BYTES], word[64];

    if (!s->ready) {
        cli_print_coloured(CLI_BAD, "not ready");
        fputs(": ", stdout);
        cli_print(stdout, cli_json_text(s->readyz, "reason"));
        putchar('\n');
        colour = CLI_BAD;
    }
    snprintf(line, sizeof(line), "%.0f/%.0f nodes ready", s->nodes_ready, s->nodes);
    cli_print_coloured(colour, line);
    snprintf(line, sizeof(line), ", %zu model%s, %.0f request%s in flight", s->model_count,
             s->model_count == 1 ? "" : "s", s->in_flight, s->in_flight == 1.0 ? "" : "s");
    fputs(line, stdout);
    if (s->held > 0.0)
        printf(", %.0f held", s->held);
    if (isfinite(ttft_ms)) {
        double step = ttft_ms >= 100.0 ? pow(10.0, floor(log10(ttft_ms)) - 1.0) : 1.0;

        cli_milliseconds(floor(ttft_ms / step + 0.5) * step, ttft); /* two digits: a bucket's */
        printf(", p95 TTFT %s", ttft);
    }
    if (isfinite(percent)) {
        snprintf(word, sizeof(word), ", predicted within %.0f %%", percent);
        fputs(word, stdout);
    }
    putchar('\n');
    if (s->nodes_ejected > 0.0)
        printf("%.0f node%s out for failures: isochrone nodes\n", s->nodes_ejected,
               s->nodes_ejected == 1.0 ? "" : "s");
    if (s->hedges > 0.0)
        printf("%.0f late first tokens, %.0f tried at a second node, which was first %.0f times\n",
               s->late, s->hedges, s->hedges_won);
    print_bus(s);
    if (s->suspicion > 0.0)
        puts("few nodes are heard, so it may be this gateway: it decides by its own count");
}

static void
print_models(const struct status *s)
{
    static const struct cli_column columns[] = {
        {"MODEL", "", 16, true, false, 0},          {"READY", "nodes", 0, false, false, 0},
        {"LOADING", "nodes", 0, false, true, 0},    {"FAILED", "nodes", 0, false, true, 0},
        {"REQUESTS", "", 0, false, false, 0},       {"ERRORS", "5xx", 0, false, true, 0},
        {"FREE READ", "tok/s", 0, false, false, 0}, {"FREE WRITE", "tok/s", 0, false, false, 0},
    };
    struct cli_table t;

    if (s->model_count == 0)
        return;
    putchar('\n');
    cli_table_init(&t, columns, sizeof(columns) / sizeof(columns[0]), &s->admin->arena);
    for (size_t i = 0; i < s->model_count; i++) {
        const struct model *m = &s->models[i];

        cli_table_text(&t, CLI_PLAIN, m->name);
        cli_table_number(&t, m->ready > 0.0 ? CLI_GOOD : CLI_BAD, m->ready);
        cli_table_number(&t, CLI_WARN, m->coming);
        cli_table_number(&t, CLI_BAD, m->failed_nodes);
        cli_table_number(&t, CLI_PLAIN, m->requests);
        cli_table_number(&t, m->failed > 0.0 ? CLI_BAD : CLI_PLAIN, m->failed);
        cli_table_number(&t, CLI_PLAIN, floor(m->free_read_tok_s + 0.5));
        cli_table_number(&t, CLI_PLAIN, floor(m->free_write_tok_s + 0.5));
    }
    cli_table_print(&t);
}

static void
add_number(cJSON *json, const char *key, double value)
{
    if (isfinite(value))
        cJSON_AddNumberToObject(json, key, value);
    else
        cJSON_AddNullToObject(json, key);
}

static void
print_json(const struct status *s)
{
    cJSON *json = cJSON_CreateObject(), *list;
    char *text;

    cJSON_AddBoolToObject(json, "ready", s->ready);
    cJSON_AddStringToObject(json, "reason", cli_json_text(s->readyz, "reason"));
    add_number(json, "nodes", s->nodes);
    add_number(json, "nodes_ready", s->nodes_ready);
    add_number(json, "nodes_ejected", s->nodes_ejected);
    cJSON_AddBoolToObject(json, "self_suspicion", s->suspicion > 0.0);
    add_number(json, "requests_in_flight", s->in_flight);
    add_number(json, "requests_held", s->held);
    add_number(json, "ttft_p95_ms", ttft_quantile_ms(s, STATUS_QUANTILE));
    add_number(json, "ttft_error_percent", error_percent(s));
    add_number(json, "late_attempts", s->late);
    add_number(json, "hedges", s->hedges);
    add_number(json, "hedges_won", s->hedges_won);
    cJSON_AddItemToObject(json, "bus", cJSON_Duplicate(s->bus, true));
    list = cJSON_AddArrayToObject(json, "models");
    for (size_t i = 0; i < s->model_count; i++) {
        const struct model *m = &s->models[i];
        cJSON *model = cJSON_CreateObject();

        cJSON_AddStringToObject(model, "model", m->name);
        add_number(model, "nodes_ready", m->ready);
        add_number(model, "nodes_loading", m->coming);
        add_number(model, "nodes_failed", m->failed_nodes);
        add_number(model, "requests", m->requests);
        add_number(model, "errors", m->failed);
        add_number(model, "free_prefill_tok_s", m->free_read_tok_s);
        add_number(model, "free_decode_tok_s", m->free_write_tok_s);
        cJSON_AddItemToArray(list, model);
    }
    text = cJSON_PrintUnformatted(json);
    if (text != NULL)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(json);
}

int
cmd_status(int argc, char **argv)
{
    struct cli_admin a = {.command = "status"};
    struct status s = {.admin = &a};
    const struct cli_option options[] = {CLI_ADMIN_OPTIONS(a)};
    int result;

    if (!cli_options(argc, argv, options, sizeof(options) / sizeof(options[0]), NULL))
        return CLI_USAGE;
    result = cli_admin_open(&a);
    if (result == CLI_OK && !read_all(&s)) {
        result = CLI_FAILED;
    } else if (result == CLI_OK) {
        if (a.json) {
            print_json(&s);
        } else {
            print_verdict(&s);
            print_models(&s);
        }
        result = s.ready ? CLI_OK : CLI_FAILED;
    }
    cJSON_Delete(s.readyz);
    cJSON_Delete(s.readiness);
    cJSON_Delete(s.capacity);
    cJSON_Delete(s.bus);
    cli_admin_close(&a);
    return result;
}
