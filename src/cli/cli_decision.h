#ifndef CLI_CLI_DECISION_H
#define CLI_CLI_DECISION_H
/* cli_decision - one decision as the gateway tells it, in words for people: which node and why, why
 * the nearest lost, and a table of all that were weighed, in milliseconds. */
#include <cjson/cJSON.h>
#include <stdbool.h>

#include "base/arena.h"

/* decision: of POST explain (is_dry) or an attempt of GET explain/ID; anything that is missing is
 * shown as unknown. */
void cli_decision_print(const cJSON *decision, bool is_dry, struct arena *arena);
#endif
