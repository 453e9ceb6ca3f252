/* load_reply - what counts as text, what as an error, and times in a header. */
#include "load_reply.h"

#include <math.h>

#include "tap.h"

static const struct {
    const char *label, *data;
    bool content, error;
} events[] = {
    {"a token", "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\" wave\"}}]}", true, false},
    {"the role alone", "{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}",
     false, false},
    {"a role without text", "{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}",
     false, false},
    {"blanks around", "{\"delta\": {\"content\" : \"a\"}}", true, false},
    {"a completion", "{\"choices\":[{\"text\":\" wave\"}]}", true, false},
    {"the end", "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}", false, false},
    {"usage", "{\"choices\":[],\"usage\":{\"completion_tokens\":16}}", false, false},
    {"an error", "{\"error\":{\"message\":\"no\",\"code\":500}}", false, true},
    {"no error", "{\"error\":null}", false, false},
    {"nothing", "", false, false},
    {"cut", "{\"content\":", false, false},
    {"cut later", "{\"content\":\"", false, false},
};

static const struct {
    const char *label, *header;
    double ms;
} timings[] = {
    {"alone", "predict;dur=20.5", 20.5},
    {"behind others", "route;dur=0.1, predict;dur=212.25, ttft;dur=205", 212.25},
    {"without blanks", "route;dur=0.1,predict;dur=7", 7},
    {"with a description", "predict;desc=\"x\";dur=3", 3},
    {"another's name begins alike", "predicted;dur=3", NAN},
    {"no duration", "predict", NAN},
    {"no number", "predict;dur=soon", NAN},
    {"empty", "", NAN},
};

int
main(void)
{
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        struct span data = span_of(events[i].data);

        CHECK(load_reply_has_content(data) == events[i].content, events[i].label);
        CHECK(load_reply_is_error(data) == events[i].error, events[i].label);
    }
    for (size_t i = 0; i < sizeof(timings) / sizeof(timings[0]); i++) {
        double ms = load_reply_timing_ms(span_of(timings[i].header), "predict");

        CHECK(ms == timings[i].ms || (isnan(ms) && isnan(timings[i].ms)), timings[i].label);
    }
    return tap_done();
}
