#ifndef SIM_FIT_SPECS_H
#define SIM_FIT_SPECS_H
/* fit_specs - how fast an engine should be by the data sheet of its GPUs and the shape of its
 * model: where a fit begins, and all there is where nothing was measured. */
#include "sim/gpu_data.h"

enum fit_param { /* of an engine, in the order of a fit */
                 FIT_A,
                 FIT_B,
                 FIT_C,
                 FIT_T0,
                 FIT_TK,
                 FIT_TB,
                 FIT_FRONT, /* before the engine and after it, delaying nobody else */
                 FIT_EXPERT,
                 FIT_PARAMS
};

struct fit_specs {
    double params[FIT_PARAMS]; /* ms, > 0; [FIT_EXPERT] is 0 without experts */
    double expert_share;       /* that one token asks for; 0: no experts */
    double kv_tokens_cap, weights_bytes;
    double model_params; /* how many it has: tells models apart; 0: not known */
    bool known; /* false: the system or the model is in no table; what stands here is a usual case,
                   with room for any KV */
};

/* The row of data->models for a name as others write it: the vendor before the slash, letter case,
 * "Meta-" in front and what follows the size may differ. NULL: none. */
const struct gpu_model *fit_specs_model(const struct gpu_data *data, const char *name);
void fit_specs_of(const struct gpu_data *data, const struct gpu_point *point,
                  struct fit_specs *ret_specs);
#endif
