/* sim_scenario: what is written is what is read, all problems are told with place and nearest name,
 * and the line that repeats a run reads back as the same. */
#include "sim/sim_scenario.h"

#include <math.h>
#include <stdio.h>

#include "tap.h"

static const char all[] =
    "title: \"a \\\"day\\\"\"\ntrace: mooncake\nrtt: a.csv\nseed: 18446744073709551615\n"
    "rule: nearest\nnodes: 77\ngateways: 3\nregions: 5\nmodels: 2\nduration: 1.5m\nwarmup: 2500ms\n"
    "load: 85%\nload_steps: [{at: 20s, load: 1.4}, {at: 30s, load: 33%}]\n"
    "day: {length: 1h, amplitude: 10%}\n"
    "news: {heartbeat: 250ms, piggyback: no, agents: false, loss: 12.5%, rtt_every: 3s, polls: "
    "yes, "
    "poll_every: 2s}\n"
    "engines: {hidden_speed: 0.1, step_noise: 1%, pause_every: 20s, pause: 40ms, prior_scale: 1.3, "
    "host_cache: 15,"
    " exact_tokens: yes}\n"
    "network: {jitter: 3%, jitter_fixed: 0.3ms, loss: 0.7%, bytes_per_ms: 1000}\n"
    "requests: {output_factor: 6, prompt_tokens_max: 8000, bytes_per_token: 3.9,"
    " deadline_share: 20%, deadline: 900ms, deadline_per_token: 0.5ms, high: 10%, low: 0.3,"
    " first_limit: 9s}\n"
    "slo: {first: 800ms, first_per_token: 0.9ms, step: 55.5ms, configured: yes}\nfloor: yes\n"
    "tuning: {done_part: 0.02, ext_part: 0.3, late_factor: 4, soft_first_ms: 301.7, kv_ms: 900,"
    " kv_from: 0.6, temperature: 0.1, stick_ms: 100, hedge_part: 0.03, hedge_load_max: 0.7, "
    "class_part: 0.6, class_queue_ms: 20,"
    " fresh_ms: 1000, stale_ms: 4000, own_region_max: 5, elsewhere_max: 4, own_region_old_max: 2,"
    " elsewhere_old_max: 1}\n"
    "without: [share, learning]\n"
    "faults:\n"
    "  - {kind: node_down, node: 7, at: 25s, for: 20s}\n"
    "  - {kind: node_slow, node: 11, at: 25.5s, for: 30s, factor: 4.5}\n"
    "  - {kind: node_mute, node: 13, at: 25s, for: 30s}\n"
    "  - {kind: region_down, region: 4, at: 60s, for: 15s}\n"
    "  - {kind: partition, region: 1, other_region: 2, at: 0s, for: 15s}\n"
    "  - {kind: reports_lost, gateway: 2, at: 1us, for: 15s, factor: 0.5}\n";

/* A wrong scenario, and what its first problem says; line and column 0: wherever it stands. */
static const struct {
    const char *yaml, *text;
    uint32_t line, column;
} wrong[] = {
    {"noeds: 3\n", "unknown key `noeds`; did you mean `nodes`?", 1, 1},
    {"seed: 1\nnodes: many\n", "nodes: `many` is not a whole number", 2, 8},
    {"news: {hartbeat: 1s}\n", "did you mean `heartbeat`?", 1, 8},
    {"rule: neerest\n", "rule: there is no `neerest`; did you mean `nearest`?", 1, 7},
    {"load: -1\n", "load: `-1` is not a share", 1, 7},
    {"load: 10001%\n", "load: `10001%` is not small enough", 1, 7},
    {"duration: 60\n", "duration: `60` is not a duration", 1, 11},
    {"duration: 1.2.3s\n", "is not a duration", 1, 11},
    {"floor: maybe\n", "floor: there is no `maybe`", 1, 8},
    {"faults: [{node: 1, at: 1s, for: 1s}]\n", "a fault needs a kind", 1, 10},
    {"faults: [{kind: node_dwn}]\n", "did you mean `node_down`?", 1, 17},
    {"faults: [{kind: node_down, at: 1s, for: 1s}]\n", "node_down needs `node`", 1, 10},
    {"faults: [{kind: node_down, node: 1, region: 2, at: 1s, for: 1s}]\n", "has no `region`", 1,
     10},
    {"faults: [{kind: node_down, node: 1, at: 1s}]\n", "needs `for`", 1, 10},
    {"nodes: 20\nregions: 4\nfaults:\n  - {kind: node_down, node: 20, at: 1s, for: 1s}\n",
     "node: 20 is not within 0 to 19", 4, 5},
    {"faults: [{kind: partition, region: 2, other_region: 2, at: 1s, for: 1s}]\n",
     "the two are one", 1, 10},
    {"load_steps: [{at: 1s}]\n", "a load step needs `at` and `load`", 1, 14},
    {"load_steps: 3\n", "load_steps takes a list", 1, 13},
    {"without: [hedgee]\n", "without: there is no `hedgee`; did you mean `hedge`?", 1, 11},
    {"nodes: 3\nregions: 4\n", "nodes (one a region, one a model): 3", 0, 0},
    {"duration: 5s\nwarmup: 5s\n", "duration: not longer than the warm-up", 0, 0},
    {"knobs: {decay: 3}\n", "knobs: there is no `decay`", 1, 9},
    {"knobs: {exponnet: 3}\nrule: c3\n", "did you mean `exponent`?", 1, 9},
    {"rule: c3\nknobs: {exponent: 1000000}\n", "exponent: not within", 2, 19},
    {"rule: c3\nknobs: {exponent: x}\n", "exponent: `x` is not a number", 2, 19},
    {"knobs: 3\n", "knobs must be names with numbers", 1, 8},
    {"requests: {high: 80%, low: 30%}\n", "more than all", 0, 0},
    {"- 1\n", "a scenario must be keys with values", 1, 1},
    {"nodes: [1\n", "", 0, 0},
};

static struct config_problems problems;

static void
check_knobs(void)
{
    char line[SIM_SCENARIO_LINE_BYTES_MAX];
    struct sim_scenario s;

    sim_scenario_init(&s);
    CHECK(sim_scenario_read(SPAN_LIT("knobs: {exponent: 2.5}\nrule: c3\n"), &s, &problems) ==
                  ERR_OK &&
              s.options.knobs[0] == 2.5 && isnan(s.options.knobs[1]),
          "constants of the rule, wherever they stand");
    CHECK(sim_scenario_line(&s, line, sizeof(line)) == ERR_OK &&
              strcmp(line, "{rule: c3, knobs: {exponent: 2.5}}") == 0,
          "and back");
}

static void
check_wrong(void)
{
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const struct config_problem *p = &problems.list[0];
        struct sim_scenario s;

        sim_scenario_init(&s);
        CHECK(sim_scenario_read(span_of(wrong[i].yaml), &s, &problems) == ERR_PARSE &&
                  problems.errors > 0,
              "a problem");
        CHECK(strstr(p->text, wrong[i].text) != NULL, wrong[i].text);
        CHECK(wrong[i].line == 0 || (p->line == wrong[i].line && p->column == wrong[i].column),
              "and where");
    }
}

static void
check_values(const struct sim_options *o)
{
    CHECK(o->seed == UINT64_MAX && strcmp(o->rule, "nearest") == 0 && o->nodes == 77, "counts");
    CHECK(o->duration_ms == 90000.0 && o->warmup_ms == 2500.0 && o->load == 0.85, "time and load");
    CHECK(o->load_step_count == 2 && o->load_steps[1].at_ms == 30000.0 &&
              o->load_steps[1].load == 0.33,
          "steps");
    CHECK(!o->piggyback && !o->agents && o->polls && o->poll_every_ms == 2000.0 &&
              o->report_loss == 0.125 && o->heartbeat_ms == 250.0,
          "news");
    CHECK(o->slo_step_ms == 55.5 && o->configured_slo && o->deadline_per_token_ms == 0.5, "goals");
    CHECK(o->tuning.soft_first_ms == 301.7f && o->tuning.elsewhere_old_max == 1, "tuning");
    CHECK(o->tuning.without == (WITHOUT_SHARE | WITHOUT_LEARNING), "what is left out");
    CHECK(o->fault_count == 6 && o->faults[1].factor == 4.5 && o->faults[1].at_ms == 25500.0 &&
              o->faults[4].a == 1 && o->faults[4].b == 2 && o->faults[5].a == 2,
          "faults");
}

static void
check_line(void)
{
    static char first[SIM_SCENARIO_LINE_BYTES_MAX], second[SIM_SCENARIO_LINE_BYTES_MAX];
    struct sim_scenario s, again;

    sim_scenario_init(&s);
    CHECK(sim_scenario_line(&s, first, sizeof(first)) == ERR_OK && strcmp(first, "{}") == 0,
          "the defaults are nothing");
    CHECK(sim_scenario_read(span_of(all), &s, &problems) == ERR_OK && problems.count == 0,
          "every key");
    check_values(&s.options);
    CHECK(strcmp(s.title, "a \"day\"") == 0 && strcmp(s.trace, "mooncake") == 0, "words");
    CHECK(sim_scenario_line(&s, first, sizeof(first)) == ERR_OK && strchr(first, '\n') == NULL,
          "one line");
    sim_scenario_init(&again);
    CHECK(sim_scenario_read(span_of(first), &again, &problems) == ERR_OK, "that can be read");
    check_values(&again.options);
    CHECK(sim_scenario_line(&again, second, sizeof(second)) == ERR_OK && strcmp(first, second) == 0,
          "as the same");
    CHECK(sim_scenario_line(&s, first, 20) == ERR_FULL && strlen(first) < 20, "too long for 20");
    CHECK(sim_scenario_read(SPAN_LIT("nodes: 80\n"), &s, &problems) == ERR_OK &&
              s.options.nodes == 80 && s.options.gateways == 3,
          "what is not named stays");
    CHECK(sim_scenario_read(SPAN_LIT(""), &s, &problems) == ERR_OK, "an empty one");
}

int
main(void)
{
    check_wrong();
    check_line();
    check_knobs();
    return tap_done();
}
