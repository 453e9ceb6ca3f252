/* sim_options - the defaults; see sim_options.h. */
#include "sim/sim_options.h"

#include <math.h>

#include "core/tuning.h"

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
