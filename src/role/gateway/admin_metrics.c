/* admin_metrics - GET /metrics: the lanes' counters added up, in the Prometheus text format.
 * Prefix isochrone_, base units, no ids in labels. */
#include <stdio.h>
#include <stdlib.h>

#include "io/log_file.h"
#include "role/answer.h"
#include "role/failure.h"
#include "role/gateway/admin.h"
#include "role/gateway/usage.h"

#define CHANGED_LATELY_MS 600000.0f

static const unsigned short codes[METRICS_CODE_COUNT] = METRICS_CODES;

/* The sum of one counter, at the same place in each lane's metrics, over all lanes. */
static uint64_t
sum(const struct gateway *g, const _Atomic uint64_t *first_lanes)
{
    uintptr_t offset = (uintptr_t)first_lanes - (uintptr_t)&g->lanes[0].metrics;
    uint64_t total = 0;

    for (uint32_t i = 0; i < g->lane_count; i++) {
        const char *base = (const char *)&g->lanes[i].metrics;
        total += metrics_get((const _Atomic uint64_t *)(const void *)(base + offset));
    }
    return total;
}

static void
head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP isochrone_%s %s\n# TYPE isochrone_%s %s\n", name, help, name, type);
}

static void
counter(FILE *out, const struct gateway *g, const char *name, const char *help,
        const _Atomic uint64_t *value)
{
    head(out, name, "counter", help);
    fprintf(out, "isochrone_%s %llu\n", name, (unsigned long long)sum(g, value));
}

static void
gauge(FILE *out, const char *name, const char *help, double value)
{
    head(out, name, "gauge", help);
    fprintf(out, "isochrone_%s %.15g\n", name, value);
}

static void
histogram(FILE *out, const struct gateway *g, const char *name, const char *help,
          const struct metrics_histogram *h)
{
    uint64_t below = 0;

    head(out, name, "histogram", help);
    for (uint32_t i = 0; i < METRICS_BUCKETS - 1; i++) {
        below += sum(g, &h->buckets[i]);
        fprintf(out, "isochrone_%s_bucket{le=\"%g\"} %llu\n", name, 1e-3 * (double)(1u << i),
                (unsigned long long)below);
    }
    fprintf(out, "isochrone_%s_bucket{le=\"+Inf\"} %llu\n", name,
            (unsigned long long)sum(g, &h->count));
    fprintf(out, "isochrone_%s_sum %.6f\nisochrone_%s_count %llu\n", name,
            (double)sum(g, &h->sum_us) / 1e6, name, (unsigned long long)sum(g, &h->count));
}

void
admin_put_label(FILE *out, struct span value)
{
    for (size_t i = 0; i < value.bytes; i++) {
        if (value.data[i] == '\n')
            fputs("\\n", out);
        else if (value.data[i] == '"' || value.data[i] == '\\')
            fprintf(out, "\\%c", value.data[i]);
        else
            fputc(value.data[i], out);
    }
}

static void
requests(FILE *out, const struct gateway *g, const struct fleet *fleet)
{
    const struct metrics *m = &g->lanes[0].metrics;

    head(out, "requests_total", "counter", "Answers to clients, by model and status.");
    for (uint32_t model = 0; model < METRICS_MODELS; model++) {
        if (model >= fleet->model_count && model != CORE_MODELS_USUAL)
            continue;
        for (uint32_t c = 0; c < METRICS_CODE_COUNT; c++) {
            uint64_t total = sum(g, &m->requests[model][c]);
            if (total == 0)
                continue;
            fputs("isochrone_requests_total{model=\"", out);
            if (model < fleet->model_count)
                admin_put_label(out, fleet->models[model].name);
            if (codes[c] != 0)
                fprintf(out, "\",code=\"%u\"} %llu\n", codes[c], (unsigned long long)total);
            else
                fprintf(out, "\",code=\"other\"} %llu\n", (unsigned long long)total);
        }
    }
}

static void
by_word(FILE *out, const struct gateway *g, const char *name, const char *label, const char *help,
        const _Atomic uint64_t *values, uint32_t count, const char *(*word)(uint32_t))
{
    head(out, name, "counter", help);
    for (uint32_t i = 1; i < count; i++) /* 0 is "none", or "chosen" */
        fprintf(out, "isochrone_%s{%s=\"%s\"} %llu\n", name, label, word(i),
                (unsigned long long)sum(g, &values[i]));
}

static void
nodes(FILE *out, const struct gateway *g)
{
    uint32_t states[NODE_STATE_COUNT] = {0}, ejected = 0, changed = 0, doubted = 0, from = 0;
    uint64_t broken[CLAIM_KIND_COUNT] = {0};
    struct node_view views[CORE_VIEW_MAX];

    while (from != UINT32_MAX) {
        uint32_t count = decide_view_nodes(g->door, from, views, &from);
        for (uint32_t i = 0; i < count; i++) {
            if (views[i].state < NODE_STATE_COUNT)
                states[views[i].state]++;
            ejected += views[i].ejected != 0;
            changed += views[i].changed_ago_ms < CHANGED_LATELY_MS; /* NAN: never */
            doubted += views[i].word < 1.0f;
            for (uint32_t k = 0; k < CLAIM_KIND_COUNT; k++)
                broken[k] += views[i].claims_broken[k];
        }
    }
    head(out, "nodes", "gauge", "Nodes by state.");
    for (uint32_t i = 0; i < NODE_STATE_COUNT; i++)
        fprintf(out, "isochrone_nodes{state=\"%s\"} %u\n", metrics_node_state_name(i), states[i]);
    gauge(out, "nodes_ejected", "Nodes that are out for failures.", ejected);
    gauge(out, "nodes_changed", "Nodes whose speed changed suddenly in the last ten minutes.",
          changed);
    gauge(out, "nodes_doubted", "Nodes whose word does not count whole.", doubted);
    head(out, "claims_broken", "gauge", "What nodes that are there said and was not so.");
    for (uint32_t k = 0; k < CLAIM_KIND_COUNT; k++)
        fprintf(out, "isochrone_claims_broken{claim=\"%s\"} %llu\n", metrics_claim_name(k),
                (unsigned long long)broken[k]);
}

static void
door(FILE *out, const struct gateway *g)
{
    struct decide_hold hold;
    uint64_t below = 0;

    head(out, "decisions_total", "counter", "Steps of the core.");
    fprintf(out, "isochrone_decisions_total %llu\n", (unsigned long long)decide_steps(g->door));
    decide_hold(g->door, &hold);
    if (hold.count == 0) /* not asked for */
        return;
    head(out, "lock_hold_seconds", "histogram", "How long a step held the core's lock.");
    for (uint32_t i = 0; i < DECIDE_HOLD_BUCKETS - 1; i++) {
        below += hold.buckets[i];
        fprintf(out, "isochrone_lock_hold_seconds_bucket{le=\"%g\"} %llu\n",
                1e-9 * (double)(UINT64_C(32) << i), (unsigned long long)below);
    }
    fprintf(out,
            "isochrone_lock_hold_seconds_bucket{le=\"+Inf\"} %llu\n"
            "isochrone_lock_hold_seconds_sum %.9f\nisochrone_lock_hold_seconds_count %llu\n",
            (unsigned long long)hold.count, (double)hold.sum_ns / 1e9,
            (unsigned long long)hold.count);
}

static void
prefixes(FILE *out, const struct gateway *g)
{
    struct prefix_view v;

    decide_view_prefix(g->door, &v);
    gauge(out, "prefix_entries", "Beginnings of prompts that are remembered.", (double)v.entries);
    gauge(out, "prefix_entries_max", "As many as there is room for.", (double)v.entries_max);
    head(out, "prefix_evictions_total", "counter",
         "Of these, forgotten too early for want of room.");
    fprintf(out, "isochrone_prefix_evictions_total %llu\n", (unsigned long long)v.evictions);
}

static void
hedges(FILE *out, const struct gateway *g)
{
    const char *skipped = "isochrone_hedges_skipped_total";
    struct hedge_view v;

    decide_view_hedges(g->door, &v);
    head(out, "late_attempts_total", "counter", "Tries whose first token was overdue.");
    fprintf(out, "isochrone_late_attempts_total %llu\n", (unsigned long long)v.late);
    head(out, "hedges_total", "counter", "Of these, those that got a second one beside them.");
    fprintf(out, "isochrone_hedges_total %llu\n", (unsigned long long)v.sent);
    head(out, "hedges_won_total", "counter", "Second tries that answered first.");
    fprintf(out, "isochrone_hedges_won_total %llu\n", (unsigned long long)v.won);
    head(out, "hedges_skipped_total", "counter", "Late tries that got no second one, by reason.");
    fprintf(out, "%s{reason=\"load\"} %llu\n", skipped, (unsigned long long)v.skipped_load);
    fprintf(out, "%s{reason=\"budget\"} %llu\n", skipped, (unsigned long long)v.skipped_budget);
    fprintf(out, "%s{reason=\"slower\"} %llu\n", skipped, (unsigned long long)v.skipped_slower);
    gauge(out, "hedge_prefill_share", "Part of the prefill that second tries added, as predicted.",
          v.prefill_tokens > v.extra_tokens ? v.extra_tokens / (v.prefill_tokens - v.extra_tokens)
                                            : 0.0);
}

static void
log_lines(FILE *out, const struct log_file *file, const char *lines_name, const char *help,
          const char *dropped_name)
{
    uint64_t lines, dropped;

    log_file_counts(file, &lines, &dropped);
    head(out, lines_name, "counter", help);
    fprintf(out, "isochrone_%s %llu\n", lines_name, (unsigned long long)lines);
    head(out, dropped_name, "counter", "Of these, lost: the ring was full, or the disk.");
    fprintf(out, "isochrone_%s %llu\n", dropped_name, (unsigned long long)dropped);
}

static void
totals(FILE *out, const struct gateway *g)
{
    const struct metrics *m = &g->lanes[0].metrics;
    counter(out, g, "attempts_total", "Tries at nodes.", &m->attempts);
    counter(out, g, "retries_total", "Tries after the first.", &m->retries);
    counter(out, g, "streams_interrupted_total", "Streams that ended with an error event.",
            &m->streams_cut);
    counter(out, g, "slow_clients_total",
            "Answers cut off because their client took them too slowly.", &m->slow_clients);
    counter(out, g, "early_commits_total", "Streams committed before a node had answered.",
            &m->early_commits);
    counter(out, g, "prompt_tokens_total", "As engines told.", &m->prompt_tokens);
    counter(out, g, "output_tokens_total", "As engines told.", &m->output_tokens);
    counter(out, g, "prefix_hit_tokens_total",
            "Prompt tokens expected in prefix caches, where engines tell of them.", &m->hit_tokens);
    counter(out, g, "prefix_cached_tokens_total", "Of these requests, what engines found there.",
            &m->cached_tokens);
    counter(out, g, "polls_total", "Questions to engines about themselves.", &m->polls);
    counter(out, g, "poll_failures_total", "Of these, without a good answer.", &m->poll_failures);
    gauge(out, "requests_held", "Requests that wait here for a place at a node.",
          (double)sum(g, &m->held));
    counter(out, g, "holds_total", "Requests that had to wait here.", &m->holds);
    counter(out, g, "other_model_total", "Requests given to the other model their client named.",
            &m->other_models);
    head(out, "shed_total", "counter", "Requests turned away for overload, by class.");
    for (uint32_t i = 0; i < PRIORITIES_MAX; i++)
        fprintf(out, "isochrone_shed_total{class=\"%s\"} %llu\n", metrics_priority_name(i),
                (unsigned long long)sum(g, &m->shed[i]));
    gauge(out, "requests_in_flight", "Completions in progress.", (double)sum(g, &m->in_flight));
    gauge(out, "buffers_bytes", "Bodies in memory, and answers that wait for their clients.",
          (double)atomic_load(&g->buffers_bytes));
    head(out, "connections_turned_away_total", "counter",
         "Connections over limits.connections_per_address_max.");
    fprintf(out, "isochrone_connections_turned_away_total %llu\n",
            (unsigned long long)atomic_load(&g->addresses->refused));
    gauge(out, "self_suspicion",
          "1: so many nodes are silent that it may be this gateway; its own count decides.",
          decide_suspects_itself(g->door) ? 1.0 : 0.0);
    head(out, "reloads_total", "counter", "Configurations taken over.");
    fprintf(out, "isochrone_reloads_total %llu\n", (unsigned long long)atomic_load(&g->reloads));
    head(out, "reload_failures_total", "counter", "Configurations refused.");
    fprintf(out, "isochrone_reload_failures_total %llu\n",
            (unsigned long long)atomic_load(&g->reload_failures));
    log_lines(out, g->access_log, "access_log_lines_total", "Lines for the access log.",
              "access_log_dropped_total");
    log_lines(out, g->log, "log_lines_total", "Lines for the log's file, where there is one.",
              "log_dropped_total");
    gauge(out, "start_time_seconds", "When the gateway started.", (double)g->started_wall_s);
}

static void
usage(FILE *out, const struct gateway *g)
{
    struct usage_health h;

    if (g->usage == NULL)
        return;
    h = usage_health(g->usage);
    gauge(out, "usage_writes", "1: what keys used could be written when it was tried last.",
          h.writes ? 1.0 : 0.0);
    head(out, "usage_write_failures_total", "counter", "Writings that failed; they are repeated.");
    fprintf(out, "isochrone_usage_write_failures_total %llu\n", (unsigned long long)h.failures);
    head(out, "usage_lost_total", "counter",
         "Requests whose usage was lost: nothing could be written for so long.");
    fprintf(out, "isochrone_usage_lost_total %llu\n", (unsigned long long)h.lost);
}

static void
tls(FILE *out, const struct gateway *g, const struct roster *roster)
{
    const struct metrics *m = &g->lanes[0].metrics;

    if (roster->admin_tls.context != NULL)
        gauge(out, "tls_admin_certificate_expires_seconds",
              "When the time of the first certificate of the admin side is over.",
              (double)tls_expires_s(roster->admin_tls.context));
    if (roster->tls.context == NULL)
        return;
    counter(out, g, "tls_handshakes_total", "TLS handshakes of clients that succeeded.",
            &m->tls.handshakes);
    counter(out, g, "tls_resumptions_total", "Of these, sessions that came back.", &m->tls.resumed);
    counter(out, g, "tls_failures_total",
            "TLS handshakes of clients that failed or ran out of time.", &m->tls.failed);
    gauge(out, "tls_certificate_expires_seconds", "When the time of the first certificate is over.",
          (double)tls_expires_s(roster->tls.context));
}

void
admin_metrics(struct admin_call *call)
{
    const struct gateway *g = call->lane->gateway;
    const struct metrics *m = &g->lanes[0].metrics;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);

    if (out == NULL) {
        admin_send(call->exchange, 500, NULL);
        return;
    }
    head(out, "build_info", "gauge", "Always 1.");
    fprintf(out, "isochrone_build_info{version=\"%s\"} 1\n", ISOCHRONE_VERSION);
    requests(out, g, lane_fleet(call->lane));
    totals(out, g);
    tls(out, g, lane_fleet(call->lane)->roster);
    by_word(out, g, "engine_failures_total", "class", "Failed tries, by class.", m->failures,
            FAILURE_COUNT, failure_name);
    by_word(out, g, "refusals_total", "reason", "Requests refused, by reason.", m->refusals,
            REFUSAL_COUNT, metrics_refusal_name);
    by_word(out, g, "key_refusals_total", "reason", "Requests refused by what their key may.",
            m->key_refusals, ACCESS_VERDICTS, metrics_access_name);
    by_word(out, g, "decisions_total", "mode", "Choices of a node, by what decided.", m->modes,
            DECISION_MODE_COUNT, metrics_mode_name);
    by_word(out, g, "candidates_lost_total", "why", "Nodes weighed and not chosen, by reason.",
            m->why_not, WHY_COUNT, metrics_why_name);
    histogram(out, g, "ttft_predicted_seconds", "Predicted time to first token of streams.",
              &m->ttft_predicted);
    histogram(out, g, "ttft_seconds", "Time to first token of streams.", &m->ttft_actual);
    histogram(out, g, "ttft_error_seconds", "Distance between the two.", &m->ttft_error);
    histogram(out, g, "hold_seconds", "How long requests waited here.", &m->hold);
    nodes(out, g);
    admin_capacity_metrics(out, g->door, lane_fleet(call->lane));
    prefixes(out, g);
    hedges(out, g);
    door(out, g);
    usage(out, g);
    admin_bus_metrics(out, g);
    admin_steer_metrics(out, g);
    admin_demand_metrics(out, g);
    if (fclose(out) != 0 || text == NULL) {
        free(text);
        admin_send(call->exchange, 500, NULL);
        return;
    }
    answer_body(call->exchange, 200, SPAN_LIT("text/plain; version=0.0.4"),
                (struct span){text, bytes});
    free(text);
}
