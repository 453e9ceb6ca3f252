/* why - the line about the nearest node, out of explanations as a gateway writes them. */
#include "why.h"

#include "tap.h"

#define TERMS(net, ready, queue, prefill, step, first)                                             \
    "\"terms\":{\"net_ms\":" #net ",\"ready_ms\":" #ready ",\"queue_ms\":" #queue                  \
    ",\"prefill_ms\":" #prefill ",\"step_ms\":" #step ",\"first_ms\":" #first "}"
#define CHOSEN    "{\"node\":\"far-1\",\"why\":\"chosen\"," TERMS(80, 0, 10, 50, 10, 150) "}"
#define ONE(list) "{\"id\":\"1\",\"attempts\":[{\"candidates\":[" list "]}]}"

static const struct {
    const char *label, *explanation, *line;
} rows[] = {
    {"a queue",
     ONE(CHOSEN ",{\"node\":\"near-1\",\"why\":\"slower\"," TERMS(2, 0, 1190, 130, 18, 1340) "}"),
     "nearest near-1: 1,340 ms: queue 1,190"},
    {"loading",
     ONE(CHOSEN
         ",{\"node\":\"near-1\",\"why\":\"slower\"," TERMS(2, 12000000, 0, 50, 10, 12000062) "}"),
     "nearest near-1: 12,000,062 ms: loading 12,000,000"},
    {"slower hardware, and a farther one",
     ONE(CHOSEN ",{\"node\":\"third-1\",\"why\":\"slower\"," TERMS(
         90, 0, 10, 50, 10, 160) "},"
                                 "{\"node\":\"near-1\",\"why\":\"tied\"," TERMS(2, 0, 0, 130, 18,
                                                                                150) "}"),
     "nearest near-1: 150 ms: prefill 130"},
    {"a nearer one has no such model",
     ONE(CHOSEN ",{\"node\":\"near-1\",\"why\":\"absent\"," TERMS(2, 0, 0, 0, 0, 0) "}"),
     "the nearest that has it"},
    {"the nearest itself",
     ONE(CHOSEN ",{\"node\":\"x-1\",\"why\":\"slower\"," TERMS(90, 0, 0, 130, 18, 238) "}"),
     "the nearest that has it"},
    {"the last attempt counts",
     "{\"attempts\":[{\"candidates\":[]},{\"candidates\":[" CHOSEN "]}]}",
     "the nearest that has it"},
    {"no decision", ONE(""), NULL},
    {"an error", "{\"error\":{\"message\":\"no such request\"}}", NULL},
    {"cut", "{\"attempts\":[", NULL},
};

int
main(void)
{
    char line[WHY_LINE_BYTES_MAX];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum err err = why_nearest(span_of(rows[i].explanation), line, sizeof(line));

        CHECK(err == (rows[i].line != NULL ? ERR_OK : ERR_PARSE), rows[i].label);
        if (rows[i].line != NULL)
            CHECK(strcmp(line, rows[i].line) == 0, rows[i].label);
    }
    return tap_done();
}
