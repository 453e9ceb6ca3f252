/* sim_options: the defaults are in their ranges; what is out of them is named. */
#include "sim/sim_options.h"

#include <math.h>
#include <string.h>

#include "tap.h"

static void
nothing(struct sim_options *o)
{
    (void)o;
}
static void
no_rule(struct sim_options *o)
{
    o->rule = "fastest";
}
static void
no_region(struct sim_options *o)
{
    o->regions = 0;
}
static void
few_nodes(struct sim_options *o)
{
    o->nodes = o->regions - 1;
}
static void
many_gateways(struct sim_options *o)
{
    o->gateways = SIM_GATEWAYS_MAX + 1;
}
static void
four_models(struct sim_options *o)
{
    o->models = SIM_MODELS_MAX + 1;
}
static void
load_nan(struct sim_options *o)
{
    o->load = NAN;
}
static void
endless(struct sim_options *o)
{
    o->duration_ms = INFINITY;
}
static void
all_warm(struct sim_options *o)
{
    o->warmup_ms = o->duration_ms;
}
static void
late_step(struct sim_options *o)
{
    o->load_step_count = 1;
    o->load_steps[0] = (struct sim_load_step){-1.0, 0.5};
}
static void
odd_fault(struct sim_options *o)
{
    o->fault_count = 1;
    o->faults[0] = (struct sim_fault){.kind = SIM_FAULT_KIND_COUNT};
}
static void
far_fault(struct sim_options *o)
{
    o->fault_count = 1;
    o->faults[0] = (struct sim_fault){SIM_FAULT_PARTITION, 0, o->regions, 1.0, 1.0, 0.0};
}
static void
frozen(struct sim_options *o)
{
    o->fault_count = 1;
    o->faults[0] = (struct sim_fault){SIM_FAULT_NODE_SLOW, 0, 0, 1.0, 1.0, 0.0};
}
static void
many_faults(struct sim_options *o)
{
    o->fault_count = SIM_FAULTS_MAX + 1;
}

static const struct {
    const char *label;
    void (*change)(struct sim_options *o);
    const char *word; /* in the error; NULL: there is none */
} rows[] = {
    {"the defaults", nothing, NULL},
    {"a rule that is not there", no_rule, "fastest"},
    {"no region", no_region, "regions"},
    {"a node for each region", few_nodes, "nodes"},
    {"too many gateways", many_gateways, "gateways"},
    {"too many models", four_models, "models"},
    {"no number", load_nan, "load"},
    {"for ever", endless, "duration"},
    {"nothing but warm-up", all_warm, "warm-up"},
    {"a step before the start", late_step, "load_steps: at"},
    {"a fault of no kind", odd_fault, "kind"},
    {"a region that is not there", far_fault, "region"},
    {"infinitely fast", frozen, "factor"},
    {"too many faults", many_faults, "too many"},
};

int
main(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sim_error e = {""};
        struct sim_options o;

        sim_options_init(&o);
        rows[i].change(&o);
        CHECK(sim_options_check(&o, &e) == (rows[i].word == NULL ? ERR_OK : ERR_ARG),
              rows[i].label);
        CHECK(rows[i].word == NULL || strstr(e.message, rows[i].word) != NULL, e.message);
    }
    return tap_done();
}
