/* outcome and floor - results and truths joined by id and node, turns counted by target, model and
 * GPU, and the floor's terms of a state that can be summed by hand. */
#include "outcome.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "floor.h"
#include "tap.h"

#define RESULT(id, target, node, end)                                                              \
    "{\"target\":\"" target "\",\"model\":\"llama-3.1-8b\",\"end\":\"" end "\",\"id\":\"" id       \
    "\",\"node\":\"" node "\",\"attempts\":1,\"sent_ms\":1,\"predicted_ms\":100,\"ttft_ms\":110,"  \
    "\"e2e_ms\":200}\n"
#define TRUTH(id, name, gpu)                                                                       \
    "{\"id\":\"" id "\",\"name\":\"" name "\",\"gpu\":\"" gpu "\",\"kind\":\"vllm\","              \
    "\"rtt_ms\":80,\"fresh_connection\":true,\"body_bytes\":15000,\"prompt_tokens\":1000,"         \
    "\"output_tokens\":16,\"cached_tokens_at_arrival\":0,\"first_ms\":30,\"truth\":{\"queue_"      \
    "tokens\":0,\"running\":0,"                                                                    \
    "\"waiting\":0,\"kv_tokens_used\":0,\"kv_tokens_cap\":427000,\"speed\":0.5,"                   \
    "\"load_left_ms\":0,\"iteration_left_ms\":7}}\n"

static const char results[] = RESULT("a", "east", "n1", "ok") RESULT("b", "east", "n2", "ok")
    RESULT("c", "west", "n1", "ok") RESULT("d", "east", "n1", "open")
        RESULT("", "east", "", "failed")
            RESULT("e", "east", "n1",
                   "ok") "{\"run\":true,\"host_busy_percent\":12.5,\"host_other_percent\":3}\n";
static const char truths[] = TRUTH("a", "n9", "4090") /* a try that failed elsewhere */
    TRUTH("a", "n1", "h100") TRUTH("b", "n2", "l40s") TRUTH("c", "n1", "h100")
        TRUTH("d", "n1", "h100") TRUTH("e", "n1", "h100") TRUTH("zz", "n1", "h100");

static void
write_file(char *path, const char *text)
{
    int fd = mkstemp(path);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;

    CHECK(out != NULL && fputs(text, out) >= 0 && fclose(out) == 0, "a file to read");
}

static void
check_floor(const struct outcome *o)
{
    struct terms t;
    struct outcome other = *o;

    CHECK(floor_predict(o, false, &t) == ERR_OK && t.queue_ms == 0.0f,
          "nothing runs, nothing is waited for");
    CHECK(floor_predict(o, true, &t) == ERR_OK, "a floor");
    /* 8B on an H100: 6 + 0.028 u + 9.14e-7 u^2/2, step 7.7 + 0.076 a 1000 tokens + 0.0044; half
     * as fast as it should be; three rounds of 80 ms; 7 ms left of an iteration are real ms. */
    CHECK(fabs((double)t.net_ms - 240.0) < 0.01,
          "two rounds over a new connection, one for the body");
    CHECK(fabs((double)t.queue_ms - 7.0) < 0.01, "what is left of the iteration");
    CHECK(fabs((double)t.prefill_ms - 2 * (6 + 28 + 0.457)) < 0.05, "the prefill");
    CHECK(fabs((double)t.step_ms - 2 * (7.7 + 0.076 + 0.0044)) < 0.05, "a step");
    other.truth.known = false;
    CHECK(floor_predict(&other, true, &t) == ERR_ARG, "no floor without truth");
    other = *o;
    memcpy(other.model, "tiny", 5);
    CHECK(floor_predict(&other, true, &t) == ERR_ARG, "no floor for a model of no known size");
}

int
main(void)
{
    char results_path[] = "/tmp/outcome-XXXXXX", truths_path[] = "/tmp/outcome-XXXXXX";
    char broken_path[] = "/tmp/outcome-XXXXXX";
    struct outcome_run run;
    const struct outcome *o;

    write_file(results_path, results);
    write_file(truths_path, truths);
    write_file(broken_path, "{\"target\":");
    CHECK(outcome_read(results_path, truths_path, &run) == ERR_OK && run.count == 6, "all lines");
    CHECK(run.host_busy_percent == 12.5 && run.host_other_percent == 3.0, "the machine");
    o = run.list;
    CHECK(o[0].truth.known && strcmp(o[0].truth.gpu, "h100") == 0, "the truth of the right node");
    CHECK(o[0].turn == 0 && o[1].turn == 0 && o[2].turn == 0, "first of each kind");
    CHECK(o[3].turn == 1 && o[5].turn == 2, "the next of the first kind");
    CHECK(o[0].ok && !o[3].ok && o[3].open && !o[4].ok && !o[4].open, "how they ended");
    CHECK(!o[4].truth.known, "a request without an id has no truth");
    CHECK(o[0].predicted_ms == 100.0 && o[0].ttft_ms == 110.0, "times");
    check_floor(&o[0]);
    outcome_fini(&run);
    CHECK(outcome_read(broken_path, NULL, &run) == ERR_PARSE, "a cut line is an error");
    outcome_fini(&run);
    unlink(results_path);
    unlink(truths_path);
    unlink(broken_path);
    return tap_done();
}
