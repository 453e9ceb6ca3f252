/* sim_fault - what goes wrong, by plan. */
#include <math.h>

#include "sim/sim_state.h"

/* More faults than one may keep a node down. */
static void
down(struct sim_world *w, uint32_t node, bool begins)
{
    uint32_t *count = &w->nodes[node].down;

    *count += begins ? 1u : -1u;
    if (begins && *count == 1)
        sim_node_crash(w, node);
}

static void
cut(struct sim_world *w, uint32_t a, uint32_t b, bool begins)
{
    w->net.cut[a][b] += begins ? 1u : -1u;
    if (begins && w->net.cut[a][b] == 1)
        w->net.cut_ms[a][b] = sim_now_ms(w);
}

static void
apply(struct sim_world *w, const struct sim_fault *f, bool begins)
{
    switch ((enum sim_fault_kind)f->kind) {
    case SIM_FAULT_NODE_DOWN:
        down(w, f->a, begins);
        break;
    case SIM_FAULT_NODE_SLOW:
        sim_node_slow(w, f->a, begins ? f->factor : 1.0);
        break;
    case SIM_FAULT_NODE_MUTE:
        w->nodes[f->a].mute += begins ? 1u : -1u;
        break;
    case SIM_FAULT_NODE_TELLS_LESS:
        w->nodes[f->a].tells.load = begins ? f->factor : 1.0;
        break;
    case SIM_FAULT_NODE_TELLS_FAST:
        w->nodes[f->a].tells.speed = begins ? f->factor : 1.0;
        break;
    case SIM_FAULT_NODE_TELLS_SLOTS:
        w->nodes[f->a].slots_kept = begins ? (uint32_t)ceil(SIM_SLOTS / f->factor) : 0;
        break;
    case SIM_FAULT_NODE_TELLS_READY:
        w->nodes[f->a].tells.ready += begins ? 1u : -1u;
        break;
    case SIM_FAULT_REGION_DOWN:
        for (uint32_t i = 0; i < w->options.nodes; i++) {
            if (w->nodes[i].region == f->a)
                down(w, i, begins);
        }
        break;
    case SIM_FAULT_PARTITION:
        cut(w, f->a, f->b, begins);
        cut(w, f->b, f->a, begins);
        break;
    case SIM_FAULT_REPORTS_LOST:
        w->gateways[f->a].report_loss = begins ? f->factor : w->options.report_loss;
        break;
    default:
        break;
    }
}

void
sim_fault_begin(struct sim_world *w, uint32_t fault)
{
    const struct sim_fault *f = &w->options.faults[fault];

    apply(w, f, true);
    sim_put(w, f->for_ms, SIM_FAULT_END, fault, 0);
}

void
sim_fault_end(struct sim_world *w, uint32_t fault)
{
    apply(w, &w->options.faults[fault], false);
}
