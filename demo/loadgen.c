/* loadgen - the command line over load_plan and load_run: an open loop of streaming chat requests,
 * seeded, to one or more gateways; a JSON line for each request, and a summary.
 *
 *   loadgen --target eu-west:0.6=127.0.0.1:4151,127.0.0.1:4152 --model llama-3.1-8b:90 \
 *           --seconds 10 --seed 1 --out results.jsonl --explain 3 --pid 4711
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/span.h"
#include "host.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "load_plan.h"
#include "load_ready.h"
#include "load_run.h"
#include "load_stats.h"
#include "why.h"

#define PIDS_MAX 64u

static const char help[] =
    "usage: loadgen --target NAME:SHARE=HOST:PORT[,ADMINHOST:PORT] --model NAME:RATE [OPTIONS]\n"
    "  --target ...          a gateway, and its share of the requests; may be repeated\n"
    "  --second NAME=...     HOST:PORT, where requests of target NAME go that get no answer there\n"
    "  --model NAME:RATE     requests a second for a model, all targets together; may be repeated\n"
    "  --bursts N:FACTOR:S   so often a model is asked for FACTOR times as often, for S seconds "
    "(0)\n"
    "  --seconds S           how long requests are sent (10)\n"
    "  --drain S             how long they may take after that (5)\n"
    "  --seed N              of arrivals and texts (1)\n"
    "  --prompt-tokens N     median of a log-normal (700)\n"
    "  --prompt-sigma X      its sigma (0.7)\n"
    "  --prompt-max N        and its cut (6000)\n"
    "  --max-tokens N        of each answer (16)\n"
    "  --ready S             first wait so long for the targets to be ready; 0: do not (0)\n"
    "  --settle S            and then let them be for so long (0)\n"
    "  --explain N           print why a request went where it went, N a second and target (0)\n"
    "  --explain-file FILE   ask why about every request, and write the answers, a line each\n"
    "  --pid PID             this process is part of the run (host_other_percent); may be "
    "repeated\n"
    "  --write-plan FILE     the requests as a table for isochrone sim; none is sent\n"
    "  --out FILE            a JSON line a request, and one about the run\n";

struct settings {
    struct load_spec spec;
    struct load_options options;
    double ready_seconds, settle_seconds, explain_rate;
    const char *out, *explain_file, *plan_file;
    long pids[PIDS_MAX];
    uint32_t pid_count;
};

/* ---- The command line. */

static bool
read_number(const char *text, double *ret_value)
{
    return span_f64(span_of(text), ret_value) == ERR_OK && *ret_value >= 0.0 && *ret_value < 1e12;
}

static bool
read_address(char *text, struct sockaddr_in *ret_address)
{
    char *colon = strrchr(text, ':');
    uint64_t port;

    if (colon == NULL || span_u64(span_of(colon + 1), &port) != ERR_OK || port > 65535)
        return false;
    *colon = '\0';
    ret_address->sin_family = AF_INET;
    ret_address->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, text, &ret_address->sin_addr) == 1;
}

/* NAME:SHARE=HOST:PORT[,ADMINHOST:PORT] */
static bool
read_target(char *text, struct settings *s)
{
    uint32_t i = s->options.target_count;
    struct load_target *t = &s->options.targets[i];
    char *share = strchr(text, ':'), *address = strchr(text, '='), *admin;

    if (i == LOAD_PLAN_TARGETS_MAX || share == NULL || address == NULL || share > address)
        return false;
    *share++ = *address++ = '\0';
    admin = strchr(address, ',');
    if (admin != NULL)
        *admin++ = '\0';
    t->name = text;
    s->options.target_count = s->spec.target_count = i + 1;
    return read_number(share, &s->spec.target_shares[i]) &&
           read_address(address, &t->public_address) &&
           (admin == NULL || read_address(admin, &t->admin_address));
}

/* NAME=HOST:PORT, of a target that was named before. */
static bool
read_second(char *text, struct settings *s)
{
    char *address = strchr(text, '=');

    if (address == NULL)
        return false;
    *address++ = '\0';
    for (uint32_t i = 0; i < s->options.target_count; i++) {
        if (strcmp(s->options.targets[i].name, text) == 0)
            return read_address(address, &s->options.targets[i].second_address);
    }
    return false;
}

/* NAME:RATE; the name may have colons itself. */
static bool
read_model(char *text, struct settings *s)
{
    uint32_t i = s->options.model_count;
    char *rate = strrchr(text, ':');

    if (i == LOAD_PLAN_MODELS_MAX || rate == NULL)
        return false;
    *rate++ = '\0';
    s->options.models[i] = text;
    s->options.model_count = s->spec.model_count = i + 1;
    return read_number(rate, &s->spec.model_rates[i]);
}

/* N:FACTOR:SECONDS */
static bool
read_bursts(char *text, struct load_spec *spec)
{
    char *factor = strchr(text, ':'), *seconds = factor != NULL ? strchr(factor + 1, ':') : NULL;
    uint64_t count;

    if (seconds == NULL)
        return false;
    *factor++ = *seconds++ = '\0';
    if (span_u64(span_of(text), &count) != ERR_OK || count > LOAD_PLAN_BURSTS_MAX)
        return false;
    spec->burst_count = (uint32_t)count;
    return read_number(factor, &spec->burst_factor) && read_number(seconds, &spec->burst_seconds);
}

static bool
take_option(int id, char *value, struct settings *s)
{
    double number = 0.0;

    if (strchr("TSMBOWL", id) == NULL && !read_number(value, &number))
        return false;
    switch (id) {
    case 'T':
        return read_target(value, s);
    case 'S':
        return read_second(value, s);
    case 'M':
        return read_model(value, s);
    case 'B':
        return read_bursts(value, &s->spec);
    case 'O':
        s->out = value;
        break;
    case 'W':
        s->explain_file = value;
        break;
    case 'L':
        s->plan_file = value;
        break;
    case 's':
        s->spec.seconds = number;
        break;
    case 'd':
        s->options.drain_seconds = number;
        break;
    case 'n':
        s->spec.seed = (uint64_t)number;
        break;
    case 'p':
        s->spec.prompt_median_tokens = number;
        break;
    case 'g':
        s->spec.prompt_sigma = number;
        break;
    case 'x':
        s->spec.prompt_tokens_max = (uint32_t)fmin(number, 1e6);
        break;
    case 'm':
        s->options.max_tokens = (uint32_t)fmin(number, 1e6);
        break;
    case 'r':
        s->ready_seconds = number;
        break;
    case 'e':
        s->settle_seconds = number;
        break;
    case 'w':
        s->explain_rate = number;
        break;
    case 'P':
        if (s->pid_count == PIDS_MAX)
            return false;
        s->pids[s->pid_count++] = (long)number;
        break;
    default:
        return false;
    }
    return true;
}

static bool
parse(int argc, char **argv, struct settings *ret)
{
    static const struct option known[] = {{"target", 1, NULL, 'T'},
                                          {"second", 1, NULL, 'S'},
                                          {"model", 1, NULL, 'M'},
                                          {"out", 1, NULL, 'O'},
                                          {"seconds", 1, NULL, 's'},
                                          {"drain", 1, NULL, 'd'},
                                          {"seed", 1, NULL, 'n'},
                                          {"prompt-max", 1, NULL, 'x'},
                                          {"prompt-tokens", 1, NULL, 'p'},
                                          {"prompt-sigma", 1, NULL, 'g'},
                                          {"max-tokens", 1, NULL, 'm'},
                                          {"ready", 1, NULL, 'r'},
                                          {"settle", 1, NULL, 'e'},
                                          {"explain", 1, NULL, 'w'},
                                          {"explain-file", 1, NULL, 'W'},
                                          {"pid", 1, NULL, 'P'},
                                          {"write-plan", 1, NULL, 'L'},
                                          {"bursts", 1, NULL, 'B'},
                                          {NULL, 0, NULL, 0}};
    int id, index = 0;

    *ret = (struct settings){.spec = {.seed = 1,
                                      .seconds = 10,
                                      .prompt_median_tokens = 700,
                                      .prompt_sigma = 0.7,
                                      .prompt_tokens_max = 6000},
                             .options = {.max_tokens = 16, .drain_seconds = 5}};
    while ((id = getopt_long(argc, argv, "", known, &index)) != -1) {
        if (id == '?')
            return false;
        if (!take_option(id, optarg, ret)) {
            fprintf(stderr, "loadgen: --%s: not understood\n", known[index].name);
            return false;
        }
    }
    return optind == argc && ret->spec.target_count > 0 && ret->spec.model_count > 0;
}

/* ---- The run. */

struct live { /* what is printed while it runs */
    struct why *why;
    FILE *raw; /* every explanation; NULL: not asked for */
    const struct load_item *items;
    double gap_ms; /* between two lines about one target */
    double next_ms[LOAD_PLAN_TARGETS_MAX];
};

static void
on_over(size_t index, const struct load_result *result, void *user)
{
    struct live *live = user;
    const struct load_item *item = &live->items[index];
    bool print = live->gap_ms > 0.0 && result->end == LOAD_END_OK &&
                 result->sent_ms >= live->next_ms[item->target];

    if (print)
        live->next_ms[item->target] = result->sent_ms + live->gap_ms;
    if (print || live->raw != NULL)
        why_ask(live->why, item, result, print);
}

/* If anybody asked for it. ERR_IO: said. */
static enum err
live_open(struct live *live, struct settings *s, struct http_client *client)
{
    if (s->explain_rate <= 0.0 && s->explain_file == NULL)
        return ERR_OK;
    if (s->explain_rate > 0.0)
        live->gap_ms = 1000.0 / s->explain_rate;
    if (s->explain_file != NULL && (live->raw = fopen(s->explain_file, "w")) == NULL) {
        perror(s->explain_file);
        return ERR_IO;
    }
    s->options.over = on_over;
    s->options.user = live;
    return why_open(client, &s->options, live->raw, &live->why);
}

static enum err
live_close(struct live *live)
{
    why_close(live->why);
    return live->raw == NULL || fclose(live->raw) == 0 ? ERR_OK : ERR_IO;
}

static void
read_use(const struct settings *s, struct host_use *ret_use)
{
    host_use_read(ret_use);
    for (uint32_t i = 0; i < s->pid_count; i++)
        host_use_add_process(ret_use, s->pids[i]);
}

static void
put_number(FILE *out, const char *name, double value)
{
    if (isnan(value))
        fprintf(out, ",\"%s\":null", name);
    else
        fprintf(out, ",\"%s\":%.3f", name, value);
}

static void
put_result(FILE *out, const struct settings *s, const struct load_item *item,
           const struct load_result *r)
{
    fprintf(out, "{\"target\":\"%s\",\"model\":\"%s\",\"end\":\"%s\",\"status\":%u",
            s->options.targets[item->target].name, s->options.models[item->model],
            load_run_end_name(r->end), r->status);
    fprintf(out, ",\"id\":\"%s\",\"node\":\"%s\",\"region\":\"%s\",\"attempts\":%u", r->id, r->node,
            r->region, r->attempts);
    fprintf(out, ",\"second\":%s", r->second ? "true" : "false");
    put_number(out, "sent_ms", r->sent_ms);
    put_number(out, "late_ms", r->late_ms);
    put_number(out, "predicted_ms", r->predicted_ms);
    put_number(out, "ttft_ms", r->ttft_ms);
    put_number(out, "e2e_ms", r->e2e_ms);
    fprintf(out, ",\"tokens\":%u,\"prompt_tokens\":%u}\n", r->tokens, item->prompt_tokens);
}

/* What a simulation needs to know of the requests (sim/sim_given.h). ERR_IO: said. */
static enum err
write_plan(const struct settings *s, const struct load_item *items, size_t count)
{
    FILE *out = fopen(s->plan_file, "w");
    bool bad;

    if (out == NULL) {
        perror(s->plan_file);
        return ERR_IO;
    }
    fputs("at_ms,gateway,model,prompt_tokens,prompt_bytes,output_tokens,max_tokens\n", out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%.6f,%s,%s,%u,%u,%u,%u\n", items[i].at_ms,
                s->options.targets[items[i].target].name, s->options.models[items[i].model],
                items[i].prompt_tokens, load_plan_text_bytes(&items[i]), s->options.max_tokens,
                s->options.max_tokens);
    bad = ferror(out) != 0;
    if (fclose(out) == 0 && !bad)
        return ERR_OK;
    perror(s->plan_file);
    return ERR_IO;
}

/* The last line says how the machine was. ERR_IO: said. */
static enum err
write_results(const struct settings *s, const struct load_item *items,
              const struct load_result *results, size_t count, double busy_percent,
              double other_percent)
{
    FILE *out = fopen(s->out, "w");
    bool bad;

    if (out == NULL) {
        perror(s->out);
        return ERR_IO;
    }
    for (size_t i = 0; i < count; i++)
        put_result(out, s, &items[i], &results[i]);
    fprintf(out, "{\"run\":true,\"host_busy_percent\":%.2f,\"host_other_percent\":%.2f}\n",
            busy_percent, other_percent);
    bad = ferror(out) != 0;
    if (fclose(out) != 0 || bad) {
        perror(s->out);
        return ERR_IO;
    }
    return ERR_OK;
}

static enum err
summary(const struct load_result *results, size_t count, double busy_percent, double other_percent)
{
    double *ttft = calloc(count, sizeof(*ttft)), *late = calloc(count, sizeof(*late));
    size_t ok = 0, answered = 0, sent = 0;

    if (ttft == NULL || late == NULL) {
        free(ttft);
        free(late);
        return ERR_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        if (results[i].end == LOAD_END_UNSENT)
            continue;
        late[sent++] = results[i].late_ms;
        ok += results[i].end == LOAD_END_OK;
        if (!isnan(results[i].ttft_ms))
            ttft[answered++] = results[i].ttft_ms;
    }
    load_stats_sort(ttft, answered);
    load_stats_sort(late, sent);
    printf("%zu requests, %zu answered whole; time to first token p50 %.0f p95 %.0f p99 %.0f ms; "
           "sent late p99 %.1f ms; host busy %.0f %%, by others %.0f %%\n",
           count, ok, load_stats_quantile(ttft, answered, 0.50),
           load_stats_quantile(ttft, answered, 0.95), load_stats_quantile(ttft, answered, 0.99),
           load_stats_quantile(late, sent, 0.99), busy_percent, other_percent);
    free(ttft);
    free(late);
    return ERR_OK;
}

static void
on_settled(struct loop_timer *timer)
{
    loop_stop(timer->loop);
}

static enum err
wait_ready(struct loop *loop, struct http_client *client, const struct settings *s)
{
    struct loop_timer timer = {0};
    enum err err = ERR_OK;

    if (s->ready_seconds > 0.0)
        err = load_ready(loop, client, &s->options, s->ready_seconds);
    if (err == ERR_OK && s->settle_seconds > 0.0) {
        loop_timer_set(loop, &timer, loop_now_ns(loop) + (uint64_t)(s->settle_seconds * 1e9),
                       on_settled);
        loop_run(loop);
    }
    return err;
}

static enum err
run(struct settings *s, struct loop *loop, struct http_client *client)
{
    struct live live = {0};
    struct load_result *results = NULL;
    struct load_item *items = NULL;
    struct host_use before, after;
    double busy_percent, other_percent;
    size_t count = 0;
    enum err err = load_plan_make(&s->spec, &items, &count);

    if (err == ERR_OK && s->plan_file != NULL) {
        err = write_plan(s, items, count);
        free(items);
        return err;
    }
    live.items = items;
    if (err == ERR_OK)
        err = live_open(&live, s, client);
    if (err == ERR_OK)
        err = wait_ready(loop, client, s);
    if (err == ERR_OK) {
        read_use(s, &before);
        err = load_run(loop, client, &s->options, items, count, &results);
    }
    if (err == ERR_OK) {
        read_use(s, &after);
        host_use_percent(&before, &after, &busy_percent, &other_percent);
        err = summary(results, count, busy_percent, other_percent);
        if (err == ERR_OK && s->out != NULL)
            err = write_results(s, items, results, count, busy_percent, other_percent);
    }
    if (live_close(&live) != ERR_OK && err == ERR_OK)
        err = ERR_IO;
    free(results);
    free(items);
    return err;
}

int
main(int argc, char **argv)
{
    struct http_client *client = NULL;
    struct loop *loop = NULL;
    struct rlimit files;
    struct settings s;
    enum err err;

    if (!parse(argc, argv, &s)) {
        fputs(help, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    err = loop_open(&loop);
    if (err == ERR_OK)
        err = http_client_open(loop, &client);
    if (err == ERR_OK)
        err = run(&s, loop, client);
    if (err != ERR_OK)
        fprintf(stderr, "loadgen: %s\n", err_name(err));
    http_client_close(client);
    loop_close(loop);
    return err == ERR_OK ? 0 : 1;
}
