#ifndef SIM_SIM_SCENARIO_H
#define SIM_SIM_SCENARIO_H
/* sim_scenario - a simulated world as people write it: YAML, every problem at once with its place
 * and the nearest name. `isochrone sim --help` lists the keys; test/scenario has some.
 *
 * The same keys in one line are the command that repeats a run. */
#include "sim/sim_options.h"
#include "sim/sim_value.h"
#include "wire/config.h"

#define SIM_SCENARIO_BYTES_MAX      (1u << 20)
#define SIM_SCENARIO_LINE_BYTES_MAX 8192u

struct sim_scenario { /* a plain value */
    struct sim_options options;
    char title[SIM_TEXT_BYTES_MAX]; /* for people; "": none */
    char trace[SIM_TEXT_BYTES_MAX]; /* as in --trace; "": the first there is */
    char rtt[SIM_TEXT_BYTES_MAX];   /* as in --rtt; "": the first there is */
    char fleet[SIM_TEXT_BYTES_MAX]; /* files of a world that is given; "": it is drawn */
    char plan[SIM_TEXT_BYTES_MAX];
};

void sim_scenario_init(struct sim_scenario *s);
/* What yaml names is changed in *s, the rest stays. *ret_problems is written whole. ERR_PARSE:
 * there is an error among them, and *s is not to be used. */
MUST_USE enum err sim_scenario_read(struct span yaml, struct sim_scenario *s,
                                    struct config_problems *ret_problems);
/* What differs from the defaults, on one line in braces. ERR_FULL: it does not fit; text is ended
 * by a zero in any case. */
MUST_USE enum err sim_scenario_line(const struct sim_scenario *s, char *text, size_t size);
#endif
