/* sim_scenario_fuzz - any bytes as a scenario: problems, or options in their ranges whose one line
 * reads back as the same. */
#include "base/must.h"
#include "sim/sim_scenario.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static char line[4 * SIM_SCENARIO_LINE_BYTES_MAX], again[4 * SIM_SCENARIO_LINE_BYTES_MAX];
    static struct config_problems problems;
    struct sim_scenario s;
    struct sim_error error;

    sim_scenario_init(&s);
    if (sim_scenario_read((struct span){(const char *)data, bytes}, &s, &problems) != ERR_OK) {
        must(problems.errors > 0 && problems.count > 0);
        return 0;
    }
    must(sim_options_check(&s.options, &error) == ERR_OK);
    must(sim_scenario_line(&s, line, sizeof(line)) == ERR_OK);
    sim_scenario_init(&s);
    must(sim_scenario_read(span_of(line), &s, &problems) == ERR_OK);
    must(sim_scenario_line(&s, again, sizeof(again)) == ERR_OK);
    must(strcmp(line, again) == 0);
    return 0;
}
