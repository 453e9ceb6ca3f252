/* sim_scenario - the tables of keys, and both ways through them; see sim_scenario.h. */
#include "sim/sim_scenario.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/must.h"
#include "sim/sim_rule.h"

#define ARENA_BYTES_MAX (16u << 20)

#define AT(member)     offsetof(struct sim_scenario, options.member)
#define TUNING(member) offsetof(struct sim_scenario, options.tuning.member)
#define MS_MAX         604800000u /* a week */

/* ---- Lists with tables of their own. */

static const char *const fault_names[SIM_FAULT_KIND_COUNT] = {
    [SIM_FAULT_NODE_DOWN] = "node_down",
    [SIM_FAULT_NODE_SLOW] = "node_slow",
    [SIM_FAULT_NODE_MUTE] = "node_mute",
    [SIM_FAULT_REGION_DOWN] = "region_down",
    [SIM_FAULT_PARTITION] = "partition",
    [SIM_FAULT_REPORTS_LOST] = "reports_lost",
    [SIM_FAULT_NODE_TELLS_LESS] = "node_tells_less",
    [SIM_FAULT_NODE_TELLS_FAST] = "node_tells_fast",
    [SIM_FAULT_NODE_TELLS_SLOTS] = "node_tells_slots",
    [SIM_FAULT_NODE_TELLS_READY] = "node_tells_ready",
};

struct fault_text {                                     /* as it is written */
    uint32_t kind, node, region, other_region, gateway; /* SIM_UNSET: not named */
    double at_ms, for_ms, factor;                       /* NAN: not named */
};
#define SIM_UNSET UINT32_MAX

static void
read_fault_kind(struct schema_reader *r, const struct schema_key *key,
                const struct yaml_tree_node *node, void *base)
{
    size_t i = sim_value_word(r, key, node, fault_names, SIM_FAULT_KIND_COUNT);

    if (i < SIM_FAULT_KIND_COUNT)
        ((struct fault_text *)base)->kind = (uint32_t)i;
}

#define FAULT(member) offsetof(struct fault_text, member)
static const struct schema_key fault_keys[] = {
    {"kind", read_fault_kind, FAULT(kind), "node_down", 0, 0, NULL},
    {"node", schema_u32, FAULT(node), "3", 0, SIM_NODES_MAX - 1, NULL},
    {"region", schema_u32, FAULT(region), "0", 0, SIM_REGIONS_MAX - 1, NULL},
    {"other_region", schema_u32, FAULT(other_region), "1", 0, SIM_REGIONS_MAX - 1, NULL},
    {"gateway", schema_u32, FAULT(gateway), "0", 0, SIM_GATEWAYS_MAX - 1, NULL},
    {"at", sim_value_ms, FAULT(at_ms), "20s", 0, MS_MAX, NULL},
    {"for", sim_value_ms, FAULT(for_ms), "10s", 0, MS_MAX, NULL},
    {"factor", sim_value_number, FAULT(factor), "3", 0, 1000, NULL},
    {NULL, NULL, 0, NULL, 0, 0, NULL},
};

/* Which of them a kind needs beside at and for: all that it takes. */
static const struct {
    bool node, region, other_region, gateway, factor;
} fault_needs[SIM_FAULT_KIND_COUNT] = {
    [SIM_FAULT_NODE_DOWN] = {.node = true},
    [SIM_FAULT_NODE_SLOW] = {.node = true, .factor = true},
    [SIM_FAULT_NODE_MUTE] = {.node = true},
    [SIM_FAULT_NODE_TELLS_LESS] = {.node = true, .factor = true},
    [SIM_FAULT_NODE_TELLS_FAST] = {.node = true, .factor = true},
    [SIM_FAULT_NODE_TELLS_SLOTS] = {.node = true, .factor = true},
    [SIM_FAULT_NODE_TELLS_READY] = {.node = true},
    [SIM_FAULT_REGION_DOWN] = {.region = true},
    [SIM_FAULT_PARTITION] = {.region = true, .other_region = true},
    [SIM_FAULT_REPORTS_LOST] = {.gateway = true, .factor = true},
};

/* True: the key is named exactly when the kind takes it. */
static bool
fits(struct schema_reader *r, const struct yaml_tree_node *node, uint32_t kind, const char *name,
     bool needed, bool is_set)
{
    if (needed == is_set)
        return true;
    config_problem(r->problems, node->line, node->column, false, "a fault %s %s `%s`",
                   fault_names[kind], needed ? "needs" : "has no", name);
    return false;
}

static bool
fault_take(struct schema_reader *r, const struct yaml_tree_node *node, const struct fault_text *f,
           struct sim_fault *ret)
{
    uint32_t k = f->kind;

    if (k == SIM_UNSET) {
        config_problem(r->problems, node->line, node->column, false,
                       "a fault needs a kind; write for example `kind: node_down`");
        return false;
    }
    if (!fits(r, node, k, "node", fault_needs[k].node, f->node != SIM_UNSET) ||
        !fits(r, node, k, "region", fault_needs[k].region, f->region != SIM_UNSET) ||
        !fits(r, node, k, "other_region", fault_needs[k].other_region,
              f->other_region != SIM_UNSET) ||
        !fits(r, node, k, "gateway", fault_needs[k].gateway, f->gateway != SIM_UNSET) ||
        !fits(r, node, k, "factor", fault_needs[k].factor, !isnan(f->factor)) ||
        !fits(r, node, k, "at", true, !isnan(f->at_ms)) ||
        !fits(r, node, k, "for", true, !isnan(f->for_ms)))
        return false;
    *ret = (struct sim_fault){.kind = k, .at_ms = f->at_ms, .for_ms = f->for_ms};
    ret->a = fault_needs[k].node ? f->node : fault_needs[k].gateway ? f->gateway : f->region;
    ret->b = fault_needs[k].other_region ? f->other_region : 0;
    ret->factor = fault_needs[k].factor ? f->factor : 0.0;
    return true;
}

static bool
is_list(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
        uint32_t count_max)
{
    if (node->type != YAML_TREE_SEQUENCE)
        config_problem(r->problems, node->line, node->column, false,
                       "%s takes a list; write for example `%s: %s`", key->name, key->name,
                       key->example);
    else if (node->count > count_max)
        config_problem(r->problems, node->line, node->column, false, "%s: more than %" PRIu32,
                       key->name, count_max);
    else
        return true;
    return false;
}

static void
read_faults(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, void *base)
{
    struct sim_options *o = &((struct sim_scenario *)base)->options;

    if (!is_list(r, key, node, SIM_FAULTS_MAX))
        return;
    o->fault_count = 0;
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        struct fault_text f = {SIM_UNSET, SIM_UNSET, SIM_UNSET, SIM_UNSET,
                               SIM_UNSET, NAN,       NAN,       NAN};
        size_t errors = r->problems->errors;

        schema_read(r, fault_keys, "a fault", n, &f);
        if (r->problems->errors == errors && fault_take(r, n, &f, &o->faults[o->fault_count]))
            o->fault_count++;
    }
}

#define STEP(member) offsetof(struct sim_load_step, member)
static const struct schema_key step_keys[] = {
    {"at", sim_value_ms, STEP(at_ms), "20s", 0, MS_MAX, NULL},
    {"load", sim_value_share, STEP(load), "140%", 0, 10000, NULL},
    {NULL, NULL, 0, NULL, 0, 0, NULL},
};

static void
read_steps(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
           void *base)
{
    struct sim_options *o = &((struct sim_scenario *)base)->options;

    if (!is_list(r, key, node, SIM_LOAD_STEPS_MAX))
        return;
    o->load_step_count = 0;
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        struct sim_load_step s = {NAN, NAN};
        size_t errors = r->problems->errors;

        schema_read(r, step_keys, "a load step", n, &s);
        if (r->problems->errors == errors && (isnan(s.at_ms) || isnan(s.load)))
            config_problem(r->problems, n->line, n->column, false,
                           "a load step needs `at` and `load`");
        o->load_steps[o->load_step_count++] = s;
    }
}

static const char *const without_names[] = {
    "own_count", "release_first",  "share",    "age_drain",  "sigma", "prefix", "hedge",
    "admission", "self_suspicion", "learning", "load_times", "trend", "claims",
};
#define WITHOUT_COUNT (sizeof(without_names) / sizeof(without_names[0]))
_Static_assert(1u << (WITHOUT_COUNT - 1) == WITHOUT_CLAIMS, "a name for each part");

static void
read_without(struct schema_reader *r, const struct schema_key *key,
             const struct yaml_tree_node *node, void *base)
{
    struct sim_options *o = &((struct sim_scenario *)base)->options;

    if (!is_list(r, key, node, WITHOUT_COUNT))
        return;
    o->tuning.without = 0;
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        size_t i = sim_value_word(r, key, n, without_names, WITHOUT_COUNT);
        if (i < WITHOUT_COUNT)
            o->tuning.without |= 1u << i;
    }
}

/* Their names are the rule's, which may stand behind: see knobs_take. */
static void
read_knobs(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
           void *base)
{
    (void)base;
    if (node->type != YAML_TREE_MAPPING)
        config_problem(r->problems, node->line, node->column, false,
                       "%s must be names with numbers (`name: 1.5`)", key->name);
}

/* ---- The tables. */

static const struct schema_key day_keys[] = {
    {"length", sim_value_ms, AT(day_ms), "240s", 1, UINT64_C(1000000000000), NULL},
    {"amplitude", sim_value_share, AT(day_amplitude), "50%", 0, 99, NULL},
    {NULL, NULL, 0, NULL, 0, 0, NULL},
};
static const struct schema_key news_keys[] = {
    {"heartbeat", sim_value_ms, AT(heartbeat_ms), "1s", 1, MS_MAX, NULL},
    {"piggyback", sim_value_bool, AT(piggyback), "yes", 0, 0, NULL},
    {"agents", sim_value_bool, AT(agents), "yes", 0, 0, NULL},
    {"loss", sim_value_share, AT(report_loss), "5%", 0, 100, NULL},
    {"rtt_every", sim_value_ms, AT(rtt_every_ms), "5s", 1, MS_MAX, NULL},
    {"polls", sim_value_bool, AT(polls), "yes", 0, 0, NULL},
    {"poll_every", sim_value_ms, AT(poll_every_ms), "1s", 1, MS_MAX, NULL},
    {NULL, NULL, 0, NULL, 0, 0, NULL},
};
static const struct schema_key engine_keys[] = {
    {"hidden_speed", sim_value_share, AT(hidden_speed), "30%", 0, 90, NULL},
    {"step_noise", sim_value_share, AT(step_noise), "8%", 0, 100, NULL},
    {"pause_every", sim_value_ms, AT(pause_every_ms), "20s", 0, MS_MAX, NULL},
    {"pause", sim_value_ms, AT(pause_ms), "40ms", 0, MS_MAX, NULL},
    {"prior_scale", sim_value_number, AT(prior_scale), "1", 0, 100, NULL},
    {"host_cache", sim_value_number, AT(host_cache), "15", 0, 1000, NULL},
    {"exact_tokens", sim_value_bool, AT(exact_tokens), "yes", 0, 0, NULL},
    {NULL, NULL, 0, NULL, 0, 0, NULL},
};
static const struct schema_key network_keys[] = {
    {"jitter", sim_value_share, AT(jitter), "2%", 0, 1000, NULL},
    {"jitter_fixed", sim_value_ms, AT(jitter_ms), "0.2ms", 0, 100000, NULL},
    {"loss", sim_value_share, AT(loss), "1%", 0, 90, NULL},
    {"bytes_per_ms", sim_value_number, AT(bytes_per_ms), "12500", 0, 1000000000, NULL},
    {NULL, NULL, 0, NULL, 0, 0, NULL},
};
static const struct schema_key request_keys[] = {
    {"output_factor", sim_value_number, AT(output_factor), "6", 0, 1000, NULL},
    {"prompt_tokens_max", sim_value_number, AT(prompt_tokens_max), "32000", 1, 10000000, NULL},
    {"bytes_per_token", sim_value_number, AT(bytes_per_token), "4.2", 0, 100, NULL},
    {"deadline_share", sim_value_share, AT(deadline_share), "20%", 0, 100, NULL},
    {"deadline", sim_value_ms, AT(deadline_ms), "1s", 0, MS_MAX, NULL},
    {"deadline_per_token", sim_value_ms, AT(deadline_per_token_ms), "1ms", 0, 10000, NULL},
    {"high", sim_value_share, AT(priority_high), "10%", 0, 100, NULL},
    {"low", sim_value_share, AT(priority_low), "30%", 0, 100, NULL},
    {"first_limit", sim_value_ms, AT(first_limit_ms), "120s", 1, MS_MAX, NULL},
    {NULL, NULL, 0, NULL, 0, 0, NULL},
};
static const struct schema_key slo_keys[] = {
    {"first", sim_value_ms, AT(slo_first_ms), "1s", 0, MS_MAX, NULL},
    {"first_per_token", sim_value_ms, AT(slo_first_per_token_ms), "1ms", 0, 10000, NULL},
    {"step", sim_value_ms, AT(slo_step_ms), "60ms", 0, MS_MAX, NULL},
    {"configured", sim_value_bool, AT(configured_slo), "yes", 0, 0, NULL},
    {NULL, NULL, 0, NULL, 0, 0, NULL},
};
static const struct schema_key tuning_keys[] = {
    {"done_part", sim_value_float, TUNING(done_part), "0.1", 0, 10, NULL},
    {"ext_part", sim_value_float, TUNING(ext_part), "0.1", 0, 10, NULL},
    {"late_factor", sim_value_float, TUNING(late_factor), "5", 0, 1000, NULL},
    {"soft_first_ms", sim_value_float, TUNING(soft_first_ms), "300", 0, 1000000, NULL},
    {"queue_part", sim_value_float, TUNING(queue_part), "0", 0, 100, NULL},
    {"kv_ms", sim_value_float, TUNING(kv_ms), "1000", 0, 1000000, NULL},
    {"kv_from", sim_value_float, TUNING(kv_from), "0.7", 0, 1, NULL},
    {"temperature", sim_value_float, TUNING(temperature), "0.25", 0, 100, NULL},
    {"stick_ms", sim_value_float, TUNING(stick_ms), "250", 0, 1000000, NULL},
    {"hedge_part", sim_value_float, TUNING(hedge_part), "0.02", 0, 1, NULL},
    {"hedge_load_max", sim_value_float, TUNING(hedge_load_max), "0.8", 0, 10, NULL},
    {"class_part", sim_value_float, TUNING(class_part), "0.8", 0, 1, NULL},
    {"class_queue_ms", sim_value_float, TUNING(class_queue_ms), "10", 0, 1000000, NULL},
    {"fresh_ms", sim_value_float, TUNING(fresh_ms), "2000", 0, 10000000, NULL},
    {"stale_ms", sim_value_float, TUNING(stale_ms), "5000", 0, 10000000, NULL},
    {"own_region_max", sim_value_u16, TUNING(own_region_max), "4", 1, 16, NULL},
    {"elsewhere_max", sim_value_u16, TUNING(elsewhere_max), "4", 1, 16, NULL},
    {"own_region_old_max", sim_value_u16, TUNING(own_region_old_max), "3", 1, 16, NULL},
    {"elsewhere_old_max", sim_value_u16, TUNING(elsewhere_old_max), "3", 1, 16, NULL},
    {NULL, NULL, 0, NULL, 0, 0, NULL},
};
static const struct schema_key keys[] = {
    {"title", sim_value_text, offsetof(struct sim_scenario, title), "a day", 0, 0, NULL},
    {"trace", sim_value_text, offsetof(struct sim_scenario, trace), "mooncake", 0, 0, NULL},
    {"rtt", sim_value_text, offsetof(struct sim_scenario, rtt), "rtt.csv", 0, 0, NULL},
    {"fleet", sim_value_text, offsetof(struct sim_scenario, fleet), "fleet.csv", 0, 0, NULL},
    {"plan", sim_value_text, offsetof(struct sim_scenario, plan), "plan.csv", 0, 0, NULL},
    {"seed", schema_u64, AT(seed), "1", 0, UINT64_MAX, NULL},
    {"rule", sim_value_rule, AT(rule), "time", 0, 0, NULL},
    {"knobs", read_knobs, 0, "{decay: 3}", 0, 0, NULL},
    {"nodes", schema_u32, AT(nodes), "240", 1, SIM_NODES_MAX, NULL},
    {"gateways", schema_u32, AT(gateways), "8", 1, SIM_GATEWAYS_MAX, NULL},
    {"gateway_regions", schema_u32, AT(gateway_regions), "0", 0, SIM_REGIONS_MAX, NULL},
    {"regions", schema_u32, AT(regions), "16", 1, SIM_REGIONS_MAX, NULL},
    {"models", schema_u32, AT(models), "3", 1, SIM_MODELS_MAX, NULL},
    {"duration", sim_value_ms, AT(duration_ms), "60s", 1, MS_MAX, NULL},
    {"warmup", sim_value_ms, AT(warmup_ms), "15s", 0, MS_MAX, NULL},
    {"load", sim_value_share, AT(load), "70%", 0, 10000, NULL},
    {"others_load", sim_value_share, AT(others_load), "40%", 0, 10000, NULL},
    {"shared", sim_value_bool, AT(shared), "yes", 0, 0, NULL},
    {"load_steps", read_steps, 0, "[{at: 20s, load: 140%}]", 0, 0, NULL},
    {"day", schema_mapping, 0, "{amplitude: 50%}", 0, 0, day_keys},
    {"news", schema_mapping, 0, "{heartbeat: 1s}", 0, 0, news_keys},
    {"engines", schema_mapping, 0, "{hidden_speed: 30%}", 0, 0, engine_keys},
    {"network", schema_mapping, 0, "{loss: 1%}", 0, 0, network_keys},
    {"requests", schema_mapping, 0, "{output_factor: 6}", 0, 0, request_keys},
    {"slo", schema_mapping, 0, "{first: 1s}", 0, 0, slo_keys},
    {"floor", sim_value_bool, AT(floor), "yes", 0, 0, NULL},
    {"tuning", schema_mapping, 0, "{done_part: 0.02}", 0, 0, tuning_keys},
    {"without", read_without, 0, "[hedge]", 0, 0, NULL},
    {"faults", read_faults, 0, "[{kind: node_down, node: 3, at: 20s, for: 10s}]", 0, 0, NULL},
    {NULL, NULL, 0, NULL, 0, 0, NULL},
};

/* ---- Reading. */

void
sim_scenario_init(struct sim_scenario *s)
{
    memset(s, 0, sizeof(*s));
    sim_options_init(&s->options);
}

static void
knobs_take(struct schema_reader *r, const struct yaml_tree_node *node, struct sim_options *o)
{
    const struct sim_rule *rule = sim_rule_find(o->rule);
    const char *names[SIM_KNOBS_MAX];
    size_t count = rule == NULL ? 0 : rule->knob_count;

    if (node == NULL || node->type != YAML_TREE_MAPPING)
        return;
    for (size_t i = 0; i < count; i++)
        names[i] = rule->knobs[i].name;
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        struct yaml_tree_node name = {
            .type = YAML_TREE_SCALAR, .text = n->key, .line = n->key_line, .column = n->key_column};
        struct schema_key key = {.name = "knobs", .example = "{}"};
        size_t i = sim_value_word(r, &key, &name, names, count);
        double value = NAN;

        if (i == count)
            continue;
        key = (struct schema_key){.name = names[i], .example = "1.5", .max = UINT64_MAX};
        sim_value_number(r, &key, n, &value);
        if (value < rule->knobs[i].min || value > rule->knobs[i].max)
            config_problem(r->problems, n->line, n->column, false, "%s: not within %.6g to %.6g",
                           names[i], rule->knobs[i].min, rule->knobs[i].max);
        o->knobs[i] = value;
    }
}

/* What can be judged only when all is known: at the place that it is about, if there is one. */
static void
whole_check(struct schema_reader *r, const struct yaml_tree_node *root, const struct sim_options *o)
{
    const struct yaml_tree_node *faults = yaml_tree_get(root, "faults"), *n;
    struct sim_error error;
    size_t i = 0;

    for (n = faults == NULL ? NULL : faults->first; n != NULL; n = n->next, i++) {
        if (sim_options_check_fault(o, &o->faults[i], &error) != ERR_OK)
            config_problem(r->problems, n->line, n->column, false, "%s", error.message);
    }
    if (r->problems->errors == 0 && sim_options_check(o, &error) != ERR_OK)
        config_problem(r->problems, root->line, root->column, false, "%s", error.message);
}

enum err
sim_scenario_read(struct span yaml, struct sim_scenario *s, struct config_problems *ret_problems)
{
    struct yaml_tree_node *root = NULL;
    struct schema_reader r = {.problems = ret_problems};
    struct arena arena;
    enum err err;

    ret_problems->count = ret_problems->errors = 0;
    arena_init(&arena, ARENA_BYTES_MAX);
    r.arena = &arena;
    err = yaml_tree_parse(yaml, &arena, ret_problems, &root);
    if (err == ERR_OK && root != NULL) {
        schema_read(&r, keys, "a scenario", root, s);
        knobs_take(&r, yaml_tree_get(root, "knobs"), &s->options);
        if (ret_problems->errors == 0)
            whole_check(&r, root, &s->options);
    }
    arena_fini(&arena);
    return err == ERR_OK && ret_problems->errors == 0 ? ERR_OK : ERR_PARSE;
}

/* ---- Writing. */

static void
separate(struct sim_text *t, const char *name)
{
    sim_text_add(t, "%s%s: ", t->at[t->bytes - 1] == '{' ? "" : ", ", name);
}

static bool
differs(const struct schema_key *key, const struct sim_scenario *s, const struct sim_scenario *d)
{
    char ours[2 * SIM_TEXT_BYTES_MAX], theirs[2 * SIM_TEXT_BYTES_MAX];
    struct sim_text a = {ours, 0, sizeof(ours), false}, b = {theirs, 0, sizeof(theirs), false};

    sim_value_write(&a, key, s);
    sim_value_write(&b, key, d);
    return strcmp(ours, theirs) != 0;
}

static void
write_keys(struct sim_text *t, const struct schema_key *table, const struct sim_scenario *s,
           const struct sim_scenario *d)
{
    for (const struct schema_key *k = table; k->name != NULL; k++) {
        if (k->read == schema_mapping) {
            struct sim_text before = *t;
            size_t empty;

            separate(t, k->name);
            sim_text_add(t, "{");
            empty = t->bytes;
            write_keys(t, k->keys, s, d);
            if (t->bytes == empty && !t->is_full) {
                *t = before;
                t->at[t->bytes] = '\0';
            } else {
                sim_text_add(t, "}");
            }
        } else if (k->read != read_steps && k->read != read_faults && k->read != read_without &&
                   k->read != read_knobs && k->read != sim_value_text && differs(k, s, d)) {
            separate(t, k->name);
            sim_value_write(t, k, s);
        }
    }
}

static void
write_texts(struct sim_text *t, const struct sim_scenario *s)
{
    for (const struct schema_key *k = keys; k->name != NULL; k++) {
        const char *text = (const char *)s + k->offset;

        if (k->read != sim_value_text || text[0] == '\0')
            continue;
        separate(t, k->name);
        sim_text_add(t, "\"");
        for (; *text != '\0'; text++) {
            bool is_special = *text == '"' || *text == '\\';
            sim_text_add(t, "%s%c", is_special ? "\\" : "", *text);
        }
        sim_text_add(t, "\"");
    }
}

static void
write_fault(struct sim_text *t, const struct sim_fault *f)
{
    struct fault_text text = {f->kind, f->a, f->a, f->b, f->a, f->at_ms, f->for_ms, f->factor};

    sim_text_add(t, "{kind: %s", fault_names[f->kind]);
    for (const struct schema_key *k = fault_keys + 1; k->name != NULL; k++) {
        if ((k->offset == FAULT(node) && !fault_needs[f->kind].node) ||
            (k->offset == FAULT(region) && !fault_needs[f->kind].region) ||
            (k->offset == FAULT(other_region) && !fault_needs[f->kind].other_region) ||
            (k->offset == FAULT(gateway) && !fault_needs[f->kind].gateway) ||
            (k->offset == FAULT(factor) && !fault_needs[f->kind].factor))
            continue;
        separate(t, k->name);
        sim_value_write(t, k, &text);
    }
    sim_text_add(t, "}");
}

static void
write_steps(struct sim_text *t, const struct sim_options *o)
{
    for (uint32_t i = 0; i < o->load_step_count; i++) {
        if (i == 0)
            separate(t, "load_steps");
        sim_text_add(t, "%s{", i == 0 ? "[" : ", ");
        for (const struct schema_key *k = step_keys; k->name != NULL; k++) {
            separate(t, k->name);
            sim_value_write(t, k, &o->load_steps[i]);
        }
        sim_text_add(t, i + 1 == o->load_step_count ? "}]" : "}");
    }
}

static void
write_without(struct sim_text *t, uint32_t without)
{
    const char *between = "[";

    if (without == 0)
        return;
    separate(t, "without");
    for (uint32_t i = 0; i < WITHOUT_COUNT; i++) {
        if ((without >> i & 1u) == 0)
            continue;
        sim_text_add(t, "%s%s", between, without_names[i]);
        between = ", ";
    }
    sim_text_add(t, "]");
}

static void
write_knobs(struct sim_text *t, const struct sim_options *o)
{
    const struct sim_rule *rule = sim_rule_find(o->rule);
    bool is_open = false;

    for (size_t i = 0; rule != NULL && i < rule->knob_count; i++) {
        if (isnan(o->knobs[i]))
            continue;
        if (!is_open) {
            separate(t, "knobs");
            sim_text_add(t, "{");
        }
        is_open = true;
        separate(t, rule->knobs[i].name);
        sim_value_write_number(t, o->knobs[i]);
    }
    if (is_open)
        sim_text_add(t, "}");
}

enum err
sim_scenario_line(const struct sim_scenario *s, char *text, size_t size)
{
    struct sim_text t = {text, 0, size, false};
    struct sim_scenario defaults;

    must(size >= 2);
    sim_scenario_init(&defaults);
    sim_text_add(&t, "{");
    write_keys(&t, keys, s, &defaults);
    write_texts(&t, s);
    write_knobs(&t, &s->options);
    write_steps(&t, &s->options);
    write_without(&t, s->options.tuning.without);
    for (uint32_t i = 0; i < s->options.fault_count; i++) {
        if (i == 0)
            separate(&t, "faults");
        sim_text_add(&t, i == 0 ? "[" : ", ");
        write_fault(&t, &s->options.faults[i]);
    }
    sim_text_add(&t, s->options.fault_count > 0 ? "]}" : "}");
    return t.is_full ? ERR_FULL : ERR_OK;
}
