/* ablations - each part of the decision left out alone, in the worlds of E1, E3 (16 gateways, news
 * each 5 s alone) and E12. */
#include <stdio.h>

#include "experiment.h"

struct part {
    const char *name, *figure;
    uint32_t without;
};

static const struct part parts[] = {
    {"all", NULL, 0},
    {"own count", "own_count", WITHOUT_OWN_COUNT},
    {"release on first token", "release_first", WITHOUT_RELEASE_FIRST},
    {"share", "share", WITHOUT_SHARE},
    {"age drain", "age_drain", WITHOUT_AGE_DRAIN},
    {"sigma", "sigma", WITHOUT_SIGMA},
    {"learning", "learning", WITHOUT_LEARNING},
    {"prefixes", "prefix", WITHOUT_PREFIX},
    {"ext", "ext", 0},
    {"soft deadline", "soft_deadline", 0},
    {"KV price", "kv_price", 0},
    {"piggy-backed reports", "piggyback", 0},
    {"half the sample", "half_sample", 0},
    {"twice the sample", "twice_sample", 0},
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

static void
leave_out(struct sim_options *o, uint32_t part)
{
    struct event_tuning *t = &o->tuning;

    t->without |= parts[part].without;
    switch (part) {
    case 8:
        t->ext_part = 0.0f;
        break;
    case 9:
        t->late_factor = 0.0f;
        break;
    case 10:
        t->kv_ms = 0.0f;
        break;
    case 11:
        o->piggyback = false;
        break;
    case 12:
        t->own_region_max = (uint16_t)(t->own_region_max / 2);
        t->elsewhere_max = (uint16_t)(t->elsewhere_max / 2);
        break;
    case 13:
        t->own_region_max = (uint16_t)(t->own_region_max * 2);
        t->elsewhere_max = (uint16_t)(t->elsewhere_max * 2);
        break;
    default:
        break;
    }
}

static bool
world_run(const struct experiment *e, const char *world, const char *title,
          const struct sim_options *options, enum experiment_trace trace)
{
    static struct experiment_cell cells[PARTS];
    char name[64];
    uint32_t count = 0;

    for (uint32_t i = 0; i < PARTS; i++) {
        struct experiment_cell *c = experiment_add(e, cells, &count, parts[i].name, "time", trace);
        c->options = *options;
        leave_out(&c->options, i);
    }
    if (!experiment_run(e, title, cells, count))
        return false;
    (void)snprintf(name, sizeof(name), "ablations-%s", world);
    experiment_table(e, name, title, cells, count, experiment_columns, experiment_column_count);
    for (uint32_t i = 1; i < PARTS; i++) {
        (void)snprintf(name, sizeof(name), "ablation_%s_p99_without_%s", world, parts[i].figure);
        experiment_number(
            e, name, experiment_ratio(e, &cells[i], &cells[0], metric_first_p99).value, "ratio");
    }
    return true;
}

bool
experiment_ablations(const struct experiment *e)
{
    struct experiment few = *e;
    struct sim_options o;

    few.seeds = e->is_quick ? 2 : e->seeds;
    experiment_world(e, &o);
    if (!world_run(&few, "e1", "Ablations in E1: each part left out", &o, TRACE_CONV))
        return false;
    o.gateways = 16;
    o.heartbeat_ms = 5000.0;
    if (!world_run(&few, "e3", "Ablations in E3: 16 gateways, heartbeat 5 s", &o, TRACE_CONV))
        return false;
    experiment_world(e, &o);
    o.host_cache = 16.0;
    if (!e->is_quick &&
        !world_run(&few, "e5", "Ablations on Mooncake, host memory of 16 x HBM", &o, TRACE_PREFIX))
        return false;
    experiment_world(e, &o);
    o.nodes = 120;
    o.output_factor = 6.0;
    o.load = 0.9;
    return world_run(&few, "e12", "Ablations in E12: outputs times six, load 0.9", &o, TRACE_CONV);
}
