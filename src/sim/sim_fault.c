/* sim_fault - what goes wrong, by plan. */
#include "sim/sim_state.h"

static void
down(struct sim_world *w, uint32_t node, bool is_down)
{
    w->nodes[node].is_down = is_down;
    if (is_down)
        sim_node_crash(w, node);
}

static void
apply(struct sim_world *w, const struct sim_fault *f, bool begins)
{
    switch ((enum sim_fault_kind)f->kind) {
    case SIM_FAULT_NODE_DOWN:
        down(w, f->a, begins);
        break;
    case SIM_FAULT_NODE_SLOW:
        engine_set_slow(w->nodes[f->a].engine, begins ? f->factor : 1.0);
        w->nodes[f->a].slow = begins ? f->factor : 1.0;
        break;
    case SIM_FAULT_NODE_MUTE:
        w->nodes[f->a].is_mute = begins;
        break;
    case SIM_FAULT_REGION_DOWN:
        for (uint32_t i = 0; i < w->options.nodes; i++) {
            if (w->nodes[i].region == f->a)
                down(w, i, begins);
        }
        break;
    case SIM_FAULT_PARTITION:
        w->net.cut[f->a][f->b] = w->net.cut[f->b][f->a] = begins;
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
