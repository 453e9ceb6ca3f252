/* sim_options - defaults and ranges; see sim_options.h. */
#include "sim/sim_options.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/tuning.h"
#include "sim/sim_rule.h"

#define MS_MAX SIM_DURATION_MS_MAX

void
sim_options_init(struct sim_options *o)
{
    *o = (struct sim_options){
        .seed = 1,
        .rule = "time",
        .nodes = 240,
        .gateways = 8,
        .regions = 16,
        .models = 3,
        .duration_ms = 60000.0,
        .warmup_ms = 15000.0,
        .load = 0.7,
        .day_ms = 240000.0,
        .day_amplitude = 0.5,
        .output_factor = 1.0,
        .prompt_tokens_max = 32000.0,
        .bytes_per_token = 4.2,
        .heartbeat_ms = 1000.0,
        .piggyback = true,
        .agents = true,
        .rtt_every_ms = 5000.0,
        .poll_every_ms = 1000.0,
        .hidden_speed = 0.3,
        .step_noise = 0.08,
        .prior_scale = 1.0,
        .jitter = 0.02,
        .jitter_ms = 0.2,
        .bytes_per_ms = 12500.0, /* 100 Mbit/s a connection */
        .deadline_ms = 1000.0,
        .deadline_per_token_ms = 1.0,
        .slo_first_ms = 1000.0,
        .slo_first_per_token_ms = 1.0,
        .slo_step_ms = 60.0,
        .first_limit_ms = 120000.0,
        .tuning = tuning_default,
    };
    for (uint32_t i = 0; i < SIM_KNOBS_MAX; i++)
        o->knobs[i] = NAN;
}

/* ---- Ranges, both ends allowed. */

static const struct {
    const char *name;
    size_t offset;
    double min, max;
} ranges[] = {
    {"duration", offsetof(struct sim_options, duration_ms), 1.0, MS_MAX},
    {"warmup", offsetof(struct sim_options, warmup_ms), 0.0, MS_MAX},
    {"load", offsetof(struct sim_options, load), 1e-6, 100.0},
    {"others_load", offsetof(struct sim_options, others_load), 0.0, 100.0},
    {"day.length", offsetof(struct sim_options, day_ms), 1.0, 1e12},
    {"day.amplitude", offsetof(struct sim_options, day_amplitude), 0.0, 0.99},
    {"requests.output_factor", offsetof(struct sim_options, output_factor), 0.001, 1000.0},
    {"requests.prompt_tokens_max", offsetof(struct sim_options, prompt_tokens_max), 1.0, 1e7},
    {"requests.bytes_per_token", offsetof(struct sim_options, bytes_per_token), 0.1, 100.0},
    {"news.heartbeat", offsetof(struct sim_options, heartbeat_ms), 1.0, MS_MAX},
    {"news.loss", offsetof(struct sim_options, report_loss), 0.0, 1.0},
    {"news.rtt_every", offsetof(struct sim_options, rtt_every_ms), 1.0, MS_MAX},
    {"news.poll_every", offsetof(struct sim_options, poll_every_ms), 1.0, MS_MAX},
    {"engines.hidden_speed", offsetof(struct sim_options, hidden_speed), 0.0, 0.9},
    {"engines.step_noise", offsetof(struct sim_options, step_noise), 0.0, 1.0},
    {"engines.pause_every", offsetof(struct sim_options, pause_every_ms), 0.0, MS_MAX},
    {"engines.pause", offsetof(struct sim_options, pause_ms), 0.0, MS_MAX},
    {"engines.prior_scale", offsetof(struct sim_options, prior_scale), 0.01, 100.0},
    {"engines.host_cache", offsetof(struct sim_options, host_cache), 0.0, 1000.0},
    {"network.jitter", offsetof(struct sim_options, jitter), 0.0, 10.0},
    {"network.jitter_fixed", offsetof(struct sim_options, jitter_ms), 0.0, 1e5},
    {"network.loss", offsetof(struct sim_options, loss), 0.0, 0.9},
    {"network.bytes_per_ms", offsetof(struct sim_options, bytes_per_ms), 0.0, 1e9},
    {"requests.deadline_share", offsetof(struct sim_options, deadline_share), 0.0, 1.0},
    {"requests.deadline", offsetof(struct sim_options, deadline_ms), 0.0, MS_MAX},
    {"requests.deadline_per_token", offsetof(struct sim_options, deadline_per_token_ms), 0.0, 1e4},
    {"requests.high", offsetof(struct sim_options, priority_high), 0.0, 1.0},
    {"requests.low", offsetof(struct sim_options, priority_low), 0.0, 1.0},
    {"slo.first", offsetof(struct sim_options, slo_first_ms), 0.0, MS_MAX},
    {"slo.first_per_token", offsetof(struct sim_options, slo_first_per_token_ms), 0.0, 1e4},
    {"slo.step", offsetof(struct sim_options, slo_step_ms), 0.001, MS_MAX},
    {"requests.first_limit", offsetof(struct sim_options, first_limit_ms), 1.0, MS_MAX},
};

static enum err
wrong(struct sim_error *e, const char *name, const char *what)
{
    (void)snprintf(e->message, sizeof(e->message), "%s: %s", name, what);
    return ERR_ARG;
}

static enum err
out_of_range(struct sim_error *e, const char *name, double value, double min, double max)
{
    (void)snprintf(e->message, sizeof(e->message), "%s: %.6g is not within %.6g to %.6g", name,
                   value, min, max);
    return ERR_ARG;
}

static bool
within(double value, double min, double max)
{
    return value >= min && value <= max; /* NAN is not */
}

enum err
sim_options_check_fault(const struct sim_options *o, const struct sim_fault *f,
                        struct sim_error *ret_error)
{
    uint32_t max = o->regions, b = f->kind == SIM_FAULT_PARTITION ? f->b : 0;
    const char *what = "region";

    if (f->kind <= SIM_FAULT_NODE_TELLS_READY) {
        max = o->nodes;
        what = "node";
    } else if (f->kind == SIM_FAULT_REPORTS_LOST) {
        max = o->gateways;
        what = "gateway";
    } else if (f->kind >= SIM_FAULT_KIND_COUNT) {
        return wrong(ret_error, "faults", "there is no such kind");
    }
    if (f->a >= max || b >= max)
        return out_of_range(ret_error, what, f->a >= max ? f->a : b, 0.0, max - 1.0);
    if (f->kind == SIM_FAULT_PARTITION && f->a == f->b)
        return wrong(ret_error, "other_region", "the two are one");
    if (!within(f->at_ms, 0.0, MS_MAX))
        return out_of_range(ret_error, "at", f->at_ms, 0.0, MS_MAX);
    if (!within(f->for_ms, 0.001, MS_MAX))
        return out_of_range(ret_error, "for", f->for_ms, 0.001, MS_MAX);
    if ((f->kind == SIM_FAULT_NODE_SLOW || f->kind == SIM_FAULT_NODE_TELLS_FAST ||
         f->kind == SIM_FAULT_NODE_TELLS_SLOTS) &&
        !within(f->factor, 0.01, 1000.0))
        return out_of_range(ret_error, "factor", f->factor, 0.01, 1000.0);
    if ((f->kind == SIM_FAULT_REPORTS_LOST || f->kind == SIM_FAULT_NODE_TELLS_LESS) &&
        !within(f->factor, 0.0, 1.0))
        return out_of_range(ret_error, "factor", f->factor, 0.0, 1.0);
    return ERR_OK;
}

static enum err
counts_check(const struct sim_options *o, struct sim_error *ret_error)
{
    uint32_t least = o->given != NULL ? 1 : o->regions > o->models ? o->regions : o->models;

    if (o->regions < 1 || o->regions > SIM_REGIONS_MAX)
        return out_of_range(ret_error, "regions", o->regions, 1, SIM_REGIONS_MAX);
    if (o->models < 1 || o->models > SIM_MODELS_MAX)
        return out_of_range(ret_error, "models", o->models, 1, SIM_MODELS_MAX);
    if (o->nodes < least || o->nodes > SIM_NODES_MAX)
        return out_of_range(ret_error, "nodes (one a region, one a model)", o->nodes, least,
                            SIM_NODES_MAX);
    if (o->gateways < 1 || o->gateways > SIM_GATEWAYS_MAX)
        return out_of_range(ret_error, "gateways", o->gateways, 1, SIM_GATEWAYS_MAX);
    if (o->gateway_regions > o->regions)
        return out_of_range(ret_error, "gateway_regions", o->gateway_regions, 0, o->regions);
    if (o->fault_count > SIM_FAULTS_MAX || o->load_step_count > SIM_LOAD_STEPS_MAX)
        return wrong(ret_error, "faults, load_steps", "too many");
    return ERR_OK;
}

static bool
rule_is_known(const char *rule)
{
    const char *name;

    for (size_t i = 0; (name = sim_rule_name(i)) != NULL; i++) {
        if (strcmp(name, rule) == 0)
            return true;
    }
    return false;
}

enum err
sim_options_check(const struct sim_options *o, struct sim_error *ret_error)
{
    enum err err = counts_check(o, ret_error);

    if (err == ERR_OK && !rule_is_known(o->rule))
        err = wrong(ret_error, o->rule, "there is no rule of this name");
    for (size_t i = 0; err == ERR_OK && i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        double value = *(const double *)(const void *)((const char *)o + ranges[i].offset);
        if (!within(value, ranges[i].min, ranges[i].max))
            err = out_of_range(ret_error, ranges[i].name, value, ranges[i].min, ranges[i].max);
    }
    if (err == ERR_OK && !(o->duration_ms > o->warmup_ms))
        err = wrong(ret_error, "duration", "not longer than the warm-up");
    if (err == ERR_OK && o->pause_every_ms > 0.0 && o->pause_every_ms < 1.0)
        err = wrong(ret_error, "engines.pause_every", "neither 0 nor at least 1 ms");
    if (err == ERR_OK && o->priority_high + o->priority_low > 1.0)
        err = wrong(ret_error, "requests.high, requests.low", "more than all");
    for (uint32_t i = 0; err == ERR_OK && i < o->load_step_count; i++) {
        if (!within(o->load_steps[i].load, 1e-6, 100.0))
            err = out_of_range(ret_error, "load_steps", o->load_steps[i].load, 1e-6, 100.0);
        else if (!within(o->load_steps[i].at_ms, 0.0, MS_MAX))
            err = out_of_range(ret_error, "load_steps: at", o->load_steps[i].at_ms, 0.0, MS_MAX);
    }
    for (uint32_t i = 0; err == ERR_OK && i < o->fault_count; i++)
        err = sim_options_check_fault(o, &o->faults[i], ret_error);
    return err;
}
