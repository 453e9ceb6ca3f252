/* trace_test - each form of trace in a few lines, rows that are odd, and what is done with a trace.
 */
#include "sim/trace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data_fixture.h"
#include "sim/trace_stats.h"
#include "tap.h"

#define AZURE "TIMESTAMP,ContextTokens,GeneratedTokens\n"
#define DAY   "2023-11-16 "
#define LINE(at, in, out, ids)                                                                     \
    "{\"timestamp\":" at ",\"input_length\":" in ",\"output_length\":" out ",\"hash_ids\":" ids    \
    "}\n"
#define RATES "client_id,t_start_s,rate_rps,iat_cv,pattern,arg1,arg2\n"
#define LENGTHS                                                                                    \
    "client_id,t_start_s,field,mean,p1,p5,p10,p25,p40,p50,p60,p75,p90,p95,p99,p99.9,max\n"
#define FLAT(n) n "," n "," n "," n "," n "," n "," n "," n "," n "," n "," n "," n "," n "," n "\n"

static const struct trace_options plain = {.seed = 1, .as_recorded = true};

static enum err
read_text(const char *name, const char *text, const char *lengths, const struct trace_options *o,
          struct data_error *error, struct trace *ret)
{
    struct data_file *f = NULL, *other = NULL;
    enum err err = data_file_open_memory(name, span_of(text), error, &f);

    if (err == ERR_OK && lengths != NULL)
        err = data_file_open_memory("lengths", span_of(lengths), error, &other);
    if (err == ERR_OK)
        err = trace_read(f, other, o, error, ret);
    data_file_close(f);
    data_file_close(other);
    return err;
}

/* One row: a file of requests, and its last request. */
static const struct {
    const char *label, *text;
    size_t count;
    double last_ms;
    uint32_t prompt_tokens, output_tokens, block_count, block_tokens;
} good[] = {
    {"timestamps to 100 ns", AZURE DAY "18:17:03.9799600,4808,10\n" DAY "18:17:04.0319600,3180,8\n",
     2, 52.0, 3180, 8, 0, 0},
    {"over midnight, month and leap day",
     AZURE "2024-02-28 23:59:59,1,1\n2024-03-01 00:00:00.5,2,2\n", 2, 86401500.0, 2, 2, 0, 0},
    {"a year that is no leap year", AZURE "2023-02-28 23:59:59,1,1\n2023-03-01 00:00:00,2,2\n", 2,
     1000.0, 2, 2, 0, 0},
    {"zones", AZURE "2024-05-10T00:00:00+02:00,1,1\n2024-05-09T22:00:01.25Z,2,3\n", 2, 1250.0, 2, 3,
     0, 0},
    {"out of order", AZURE DAY "18:00:09,9,9\n" DAY "18:00:01,1,1\n" DAY "18:00:05,5,5\n", 3,
     8000.0, 9, 9, 0, 0},
    {"columns in another order, CR LF",
     "GeneratedTokens,x,ContextTokens,TIMESTAMP\r\n7,,5," DAY "18:00:09\r\n", 1, 0.0, 5, 7, 0, 0},
    {"nothing generated counts as one token", AZURE DAY "18:00:09,5,0\n", 1, 0.0, 5, 1, 0, 0},
    {"blocks of 512", LINE("27000", "6758", "500", "[0,1,2,3,4,5,6,7,8,9,10,11,12,13]"), 1, 0.0,
     6758, 500, 14, 512},
    {"from the first one on", LINE("100", "600", "5", "[0,1]") LINE("350.5", "512", "6", "[0]"), 2,
     250.5, 512, 6, 1, 512},
    {"blocks of 16, the partial one without an id", LINE("1", "63", "5", "[0,1,2]"), 1, 0.0, 63, 5,
     3, 16},
    {"keys in another order, others between, spaces",
     "{ \"hash_ids\" : [ 1 , 2 ],\"type\":{\"a\":[1]},\"output_length\":3, \"input_length\":900,"
     "\"timestamp\":5 }\n",
     1, 0.0, 900, 3, 2, 512},
    {"no ids", LINE("1", "47", "5", "[]"), 1, 0.0, 47, 5, 0, 0},
};

static const struct {
    const char *label, *text, *lengths, *words;
    enum err err;
} bad[] = {
    {"empty", "", NULL, "m: the file is empty", ERR_PARSE},
    {"another table", "a,b\n1,2\n", NULL, "m:1: no form of trace", ERR_UNSUPPORTED},
    {"a column is missing", "TIMESTAMP,ContextTokens\n", NULL, "m:1: the column GeneratedTokens",
     ERR_PARSE},
    {"only a header", AZURE, NULL, "m:1: a header and no requests", ERR_PARSE},
    {"negative tokens", AZURE DAY "18:00:00,-5,1\n", NULL, "m:2: ContextTokens: `-5`", ERR_PARSE},
    {"NaN tokens", AZURE DAY "18:00:00,5,NaN\n", NULL, "m:2: GeneratedTokens: `NaN`", ERR_PARSE},
    {"absurd tokens", AZURE DAY "18:00:00,5,1\n" DAY "18:00:00,99999999999,1\n", NULL,
     "m:3: ContextTokens: `99999999999`", ERR_PARSE},
    {"a cell is missing", AZURE DAY "18:00:00,5\n", NULL, "m:2: 2 cells", ERR_PARSE},
    {"text for a time", AZURE "yesterday,5,1\n", NULL, "m:2: TIMESTAMP: `yesterday`", ERR_PARSE},
    {"no such day", AZURE "2023-02-29 18:00:00,5,1\n", NULL, "m:2: TIMESTAMP: `2023-02-29",
     ERR_PARSE},
    {"no such month", AZURE "2023-13-01 18:00:00,5,1\n", NULL, "m:2: TIMESTAMP", ERR_PARSE},
    {"no such hour", AZURE DAY "24:00:00,5,1\n", NULL, "m:2: TIMESTAMP", ERR_PARSE},
    {"something behind a time", AZURE DAY "18:00:00 PM,5,1\n", NULL, "m:2: TIMESTAMP", ERR_PARSE},
    {"no JSON", "{\"timestamp\":1,\n", NULL, "m:1: no JSON object", ERR_PARSE},
    {"two objects", "{} {}\n", NULL, "m:1: no JSON object, column 4", ERR_PARSE},
    {"a key is missing", "{\"timestamp\":1,\"input_length\":5,\"hash_ids\":[]}\n", NULL,
     "m:1: output_length is missing", ERR_PARSE},
    {"negative input", LINE("1", "5", "5", "[1]") LINE("1", "-5", "5", "[1]"), NULL,
     "m:2: input_length: `-5`", ERR_PARSE},
    {"a negative time", LINE("-1", "5", "5", "[1]"), NULL, "m:1: timestamp is no number",
     ERR_PARSE},
    {"text for a time in JSON", LINE("\"now\"", "5", "5", "[1]"), NULL, "m:1: timestamp",
     ERR_PARSE},
    {"absurd output", LINE("1", "5", "1e30", "[1]"), NULL, "m:1: output_length: `1e30`", ERR_PARSE},
    {"ids are no array", LINE("1", "5", "5", "7"), NULL, "m:1: hash_ids is no array", ERR_PARSE},
    {"a negative id", LINE("1", "5", "5", "[-7]"), NULL, "m:1: hash_ids: an id", ERR_PARSE},
    {"an id in quotes", LINE("1", "5", "5", "[\"7\"]"), NULL, "m:1: hash_ids: an id", ERR_PARSE},
    {"an id over 64 bits", LINE("1", "5", "5", "[99999999999999999999]"), NULL,
     "m:1: hash_ids: an id", ERR_PARSE},
    {"lines of two block sizes", LINE("1", "600", "5", "[1,2]") LINE("1", "600", "5", "[1,2,3,4]"),
     NULL, "m:2: 4 ids for 600 tokens", ERR_PARSE},
    {"rates alone", RATES "0,0,1,1,Gamma,1,1\n", NULL, "m:1: rates and lengths", ERR_UNSUPPORTED},
    {"lengths alone", LENGTHS, NULL, "m:1: rates and lengths", ERR_UNSUPPORTED},
    {"an unknown law", RATES "0,0,1,1,Pareto,1,1\n", LENGTHS, "m:2: pattern: `Pareto`", ERR_PARSE},
    {"a negative rate", RATES "0,0,-1,1,Gamma,1,1\n", LENGTHS, "m:2: rate_rps: `-1`", ERR_PARSE},
    {"a shape of 0", RATES "0,0,1,1,Gamma,0,1\n", LENGTHS, "m:2: arg1: `0`", ERR_PARSE},
    {"rates without rows", RATES, LENGTHS, "m:1: a header and no rows", ERR_PARSE},
    {"lengths without rows", RATES "0,0,1,1,Gamma,1,1\n", LENGTHS, "lengths:1: no input_tokens",
     ERR_PARSE},
    {"lengths of one kind", RATES "0,0,1,1,Gamma,1,1\n", LENGTHS "0,0,input_tokens," FLAT("5"),
     "lengths:2: client 0 has only one", ERR_PARSE},
    {"quantiles that fall", RATES "0,0,1,1,Gamma,1,1\n",
     LENGTHS "0,0,input_tokens,5,5,5,5,5,5,5,5,4,5,5,5,5,5\n", "lengths:2: p75 is less than p60",
     ERR_PARSE},
};

static void
check_good(size_t i)
{
    struct data_error error = {""};
    struct trace t = {.name = ""};
    enum err err = read_text("m", good[i].text, NULL, &plain, &error, &t);

    CHECK(err == ERR_OK && t.count == good[i].count, err == ERR_OK ? good[i].label : error.text);
    if (t.count > 0) {
        const struct trace_request *q = &t.requests[t.count - 1];

        CHECK(t.requests[0].at_ms == 0.0 && fabs(q->at_ms - good[i].last_ms) < 0.001 &&
                  q->prompt_tokens == good[i].prompt_tokens &&
                  q->output_tokens == good[i].output_tokens &&
                  q->block_count == good[i].block_count,
              good[i].label);
    }
    CHECK(t.block_tokens == good[i].block_tokens, good[i].label);
    trace_close(&t);
}

static void
check_prefixes(void)
{
    struct data_error error = {""};
    struct trace_stats s;
    struct trace t = {.name = ""};
    const uint64_t *b;

    CHECK(read_text("m",
                    LINE("0", "1200", "9", "[7,8,9]") LINE("1", "600", "9", "[7,5]")
                        LINE("2", "2000", "9", "[7,8,1,2]") LINE("3", "1100", "9", "[4,8,9]")
                            LINE("4", "2500", "9", "[7,8,1,3,6]"),
                    NULL, &plain, &error, &t) == ERR_OK,
          "five prompts");
    b = t.blocks;
    CHECK(b[0] == b[3] && b[0] == b[5] && b[1] == b[6] && b[2] != b[7], "equal beginnings");
    CHECK(b[9] != b[0] && b[10] != b[1] && b[11] != b[2],
          "an id that follows another beginning is another block");
    CHECK(t.requests[0].session == t.requests[2].session, "a prompt in full blocks, gone on with");
    CHECK(t.requests[0].session != t.requests[1].session, "one common block is no conversation");
    CHECK(t.requests[4].session == t.requests[0].session, "two full blocks of it are");
    CHECK(trace_describe(&t, &s) == ERR_OK && s.session_count == 3, "three conversations");
    /* 512 (7) + 1024 (7, 8) + 1536 (7, 8, 1) of 7400 */
    CHECK(fabs(s.repeated_share - 3072.0 / 7400.0) < 1e-9 && fabs(s.hit_share - 0.6) < 1e-9,
          "repeated tokens");
    trace_close(&t);
}

static void
check_grid(void)
{
    struct trace_options o = {.seed = 1};
    struct data_error error = {""};
    struct trace t = {.name = ""}, again = {.name = ""};
    char text[4096] = "";
    bool kept = true, same;

    for (unsigned i = 0; i < 20; i++) {
        size_t used = strlen(text);

        snprintf(text + used, sizeof(text) - used, LINE("%u", "%u", "5", "[]"),
                 i / 10 * 3000 + (i == 10), i + 1);
    }
    CHECK(read_text("m", text, NULL, &o, &error, &t) == ERR_OK && t.count == 20,
          "two ticks of 3 s");
    for (size_t i = 0; i < t.count; i++) {
        double low_ms = i < 10 ? 0.0 : 3000.0;

        kept = kept && t.requests[i].prompt_tokens == i + 1 &&
               t.requests[i].at_ms >= low_ms - 1.0 && t.requests[i].at_ms <= low_ms + 3001.0 &&
               (i == 0 || t.requests[i].at_ms > t.requests[i - 1].at_ms);
    }
    CHECK(!kept, "a tick with a single request a millisecond later is no clock of 3 s");
    trace_close(&t);

    text[0] = '\0';
    for (unsigned i = 0; i < 30; i++) {
        size_t used = strlen(text);

        snprintf(text + used, sizeof(text) - used, LINE("%u", "%u", "5", "[]"),
                 i / 10 * 3000 + (i / 10 == 1), i + 1);
    }
    CHECK(read_text("m", text, NULL, &o, &error, &t) == ERR_OK, "three ticks, a millisecond off");
    kept = t.count == 30;
    for (size_t i = 1; i < t.count; i++)
        kept = kept && t.requests[i].prompt_tokens == i + 1 &&
               t.requests[i].at_ms > t.requests[i - 1].at_ms &&
               floor((t.requests[i].at_ms - 1.0) / 3000.0) <= (double)(i / 10);
    CHECK(kept, "spread within their ticks, in their order");
    CHECK(read_text("m", text, NULL, &o, &error, &again) == ERR_OK, "the same seed");
    same = same_requests(&again, &t);
    CHECK(same, "gives the same times");
    trace_close(&again);
    o.as_recorded = true;
    CHECK(read_text("m", text, NULL, &o, &error, &again) == ERR_OK &&
              again.requests[9].at_ms == 0.0 && again.requests[10].at_ms == 3001.0,
          "or as they are");
    trace_close(&again);
    trace_close(&t);
}

static void
check_windows(void)
{
    struct data_error error = {""};
    struct trace t = {.name = ""};
    const char *text = AZURE DAY "18:00:00,1,1\n" DAY "18:00:02,2,1\n" DAY "18:00:05,3,1\n" DAY
                                 "18:00:07,4,1\n" DAY "18:00:10,5,1\n";
    struct trace_options o = {.from_share = 0.5, .to_share = 1.0};

    CHECK(read_text("m", text, NULL, &plain, &error, &t) == ERR_OK && t.span_ms == 10000.0, "10 s");
    CHECK(trace_rate_rps(&t) == 0.5, "their rate");
    CHECK(trace_window(&t, 0.5, 0.5) == ERR_ARG && trace_window(&t, -0.1, 0.5) == ERR_ARG &&
              trace_window(&t, 0.5, 1.5) == ERR_ARG && trace_window(&t, NAN, 0.5) == ERR_ARG,
          "no windows");
    CHECK(trace_window(&t, 0.25, 0.45) == ERR_NOT_FOUND && t.count == 5, "an empty one");
    CHECK(trace_window(&t, 0.2, 0.7) == ERR_OK && t.count == 2,
          "the end belongs to the next window");
    CHECK(t.requests[0].at_ms == 0.0 && t.requests[1].at_ms == 3000.0 && t.span_ms == 5000.0,
          "times from the window's beginning");
    CHECK(trace_rate_rps(&t) == 0.4, "two in five seconds");
    trace_close(&t);
    CHECK(read_text("m", text, NULL, &o, &error, &t) == ERR_OK && t.count == 3 &&
              t.requests[0].prompt_tokens == 3,
          "the last window has the last request");
    trace_close(&t);
    o.to_share = 0.4;
    CHECK(read_text("m", text, NULL, &o, &error, &t) == ERR_ARG && error.text[0] != '\0',
          "backwards");
}

/* Two clients over an hour in 10-minute steps; the second has no lengths. */
static const char *const two_rates = RATES "3,0,2,1,Gamma,1,0.5\n3,600,4,1,Weibull,0.5,0.1\n"
                                           "3,3000,2,3,Gamma,0.1,5\n9,1200,1,1,Exponential,,\n";
static const char *const two_lengths = LENGTHS "3,0,input_tokens," FLAT(
    "100") "3,0,output_tokens," FLAT("10") "3,0,reason_ratio,0.5,0,0,0,0,0,"
                                           "0,0,0,0,0,0,0,0\n"
                                           "3,3000,input_tokens,"
                                           "55,1,5,10,25,40,50,60,75,90,95,"
                                           "99,100,100\n"
                                           "3,3000,output_tokens," FLAT("20");

static void
check_drawn(void)
{
    struct trace_options o = {.seed = 7};
    struct data_error error = {""};
    struct trace t = {.name = ""}, part = {.name = ""};
    size_t in_step[6] = {0}, tenants[2] = {0}, equal = 0;
    bool good_lengths = true;
    double before_ms = 0.0;

    CHECK(read_text("m", two_rates, two_lengths, &o, &error, &t) == ERR_OK, error.text);
    CHECK(t.drawn && t.tenant_count == 2 && t.span_ms == 3600000.0, "an hour of two clients");
    for (size_t i = 0; i < t.count; i++) {
        const struct trace_request *q = &t.requests[i];

        in_step[(size_t)(q->at_ms / 600000.0)]++;
        tenants[q->tenant]++;
        good_lengths = good_lengths &&
                       (q->at_ms < 3000000.0 ? q->prompt_tokens == 100 && q->output_tokens == 10
                                             : q->prompt_tokens <= 100 && q->output_tokens == 20);
        good_lengths = good_lengths && q->at_ms >= before_ms;
        before_ms = q->at_ms;
    }
    CHECK(in_step[0] == 1200 && in_step[1] == 2400 && in_step[2] == 600 && in_step[3] == 0 &&
              in_step[4] == 0 && in_step[5] == 1200,
          "each step as its rate says");
    CHECK(tenants[0] == 4800 && tenants[1] == 600, "clients are tenants");
    CHECK(good_lengths, "lengths of their time, in order");
    o.from_share = 1.0 / 6.0;
    o.to_share = 0.5;
    CHECK(read_text("m", two_rates, two_lengths, &o, &error, &part) == ERR_OK, "a window");
    for (size_t i = 0; i < part.count; i++)
        equal += part.requests[i].prompt_tokens == 100 &&
                 fabs(part.requests[i].at_ms + 600000.0 - t.requests[1200 + i].at_ms) < 0.001;
    CHECK(part.count == 3000 && equal == 3000, "draws what the whole draws there");
    trace_close(&part);
    o.drawn_count = 300;
    CHECK(read_text("m", two_rates, two_lengths, &o, &error, &part) == ERR_OK &&
              part.count >= 298 && part.count <= 302,
          "thinned to a number");
    trace_close(&part);
    trace_close(&t);
}

/* The law's shape is what comes out: the deviation of the gaps over their mean. */
static void
check_burstiness(void)
{
    static const struct {
        const char *label, *rates;
        double low, high;
    } laws[] = {
        {"Gamma 4: even", RATES "0,0,60,0.5,Gamma,4,1\n", 0.45, 0.55},
        {"Gamma 0.25: bursts", RATES "0,0,60,2,Gamma,0.25,1\n", 1.9, 2.1},
        {"Weibull 0.5: bursts", RATES "0,0,60,2.2,Weibull,0.5,1\n", 2.0, 2.5},
        {"exponential", RATES "0,0,60,1,Exponential,,\n", 0.95, 1.05},
        {"so heavy a tail that gaps leave the numbers", RATES "0,0,60,99,Weibull,0.001,1\n", 0.0,
         1e9},
    };

    for (size_t i = 0; i < sizeof(laws) / sizeof(laws[0]); i++) {
        struct trace_options o = {.seed = 3};
        struct data_error error = {""};
        struct trace t = {.name = ""};
        struct trace_stats s = {0};

        CHECK(read_text("m", laws[i].rates, two_lengths, &o, &error, &t) == ERR_OK, laws[i].label);
        CHECK(trace_describe(&t, &s) == ERR_OK && s.count == 36000, laws[i].label);
        CHECK(s.gap_cv >= laws[i].low && s.gap_cv <= laws[i].high, laws[i].label);
        trace_close(&t);
    }
}

static void
check_find(void)
{
    static const char *const names[] = {"azure_llm_x_conv_1.csv", "azure_llm_x_conv_2.csv",
                                        "mooncake_a_0.jsonl",     "servegen_m_lengths.csv",
                                        "servegen_m_rates.csv",   "servegen_n_rates.csv"};
    char folder[] = "/tmp/isochrone-trace-XXXXXX", traces[64], path[DATA_PATH_BYTES_MAX];
    struct trace_options o = {.seed = 7};
    struct data_error error = {""};
    struct trace t = {.name = ""};

    CHECK(mkdtemp(folder) != NULL, "a folder");
    snprintf(traces, sizeof(traces), "%s/traces", folder);
    CHECK(trace_find(folder, "mooncake", &error, path) == ERR_NOT_FOUND, "no folder of traces");
    CHECK(mkdir(traces, 0700) == 0, traces);
    put_file(traces, names[0], AZURE DAY "18:00:00,1,1\n");
    put_file(traces, names[1], "");
    put_file(traces, names[2], "");
    put_file(traces, names[3], two_lengths);
    put_file(traces, names[4], two_rates);
    put_file(traces, names[5], two_rates);
    CHECK(trace_find(folder, "mooncake", &error, path) == ERR_OK && strstr(path, names[2]) != NULL,
          "the one that begins so");
    CHECK(trace_find(folder, "azure_llm_x_conv_1", &error, path) == ERR_OK &&
              strstr(path, names[0]) != NULL,
          "by its whole stem");
    CHECK(trace_open(path, &plain, &error, &t) == ERR_OK && t.count == 1 &&
              strcmp(t.name, "azure_llm_x_conv_1") == 0,
          "its name");
    trace_close(&t);
    CHECK(trace_find("/nowhere", path, &error, path) == ERR_OK, "a path is itself");
    CHECK(trace_find(folder, "azure", &error, path) == ERR_NOT_FOUND &&
              strstr(error.text, "there are: azure_llm_x_conv_1, azure_llm_x_conv_2") != NULL &&
              strstr(error.text, "mooncake") == NULL,
          error.text);
    CHECK(trace_find(folder, "burst", &error, path) == ERR_NOT_FOUND &&
              strstr(error.text, "mooncake_a_0, servegen_m, servegen_n") != NULL,
          error.text);
    for (size_t i = 3; i < 5; i++) {
        CHECK(trace_find(folder, i == 3 ? "servegen_m" : "servegen_m_rates", &error, path) ==
                  ERR_OK,
              "a pair counts as one");
        if (i == 3)
            snprintf(path, sizeof(path), "%s/%s", traces, names[3]);
        CHECK(trace_open(path, &o, &error, &t) == ERR_OK && t.count == 5400 &&
                  strcmp(t.name, "servegen_m") == 0,
              "by either of its files");
        trace_close(&t);
    }
    CHECK(trace_find(folder, "servegen_n", &error, path) == ERR_OK &&
              trace_open(path, &o, &error, &t) == ERR_NOT_FOUND &&
              strstr(error.text, "servegen_n_lengths.csv beside it") != NULL,
          error.text);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        drop(traces, names[i]);
    drop(folder, "traces");
    drop(folder, "");
}

static void
check_stats(void)
{
    struct data_error error = {""};
    struct trace_stats s = {0};
    struct trace t = {.name = ""};
    char text[16384] = AZURE;

    for (unsigned i = 0; i < 300; i++) { /* one a second for two minutes, then two, 1..300 tokens */
        unsigned second = i < 120 ? i : 120 + (i - 120) / 2;
        size_t used = strlen(text);

        snprintf(text + used, sizeof(text) - used, DAY "18:%02u:%02u,%u,7\n", second / 60,
                 second % 60, i + 1);
    }
    CHECK(read_text("m", text, NULL, &plain, &error, &t) == ERR_OK, "300 requests");
    CHECK(trace_describe(&t, &s) == ERR_OK && s.count == 300 && s.span_s == 209.0, "their span");
    CHECK(s.peak_1s_rps == 2.0 && s.peak_10s_rps == 2.0 && s.peak_60s_rps == 2.0, "peaks");
    /* whole minutes hold 60, 60, 120 */
    CHECK(fabs(s.dispersion_60s - 10.0) < 1e-9, "dispersion of whole minutes");
    CHECK(s.prompt.mean == 150.5 && s.prompt.p1 == 3 && s.prompt.p50 == 150 &&
              s.prompt.p99 == 297 && s.prompt.max == 300 && s.output.p5 == 7,
          "nearest ranks");
    CHECK(s.repeated_share == 0.0 && s.hit_share == 0.0 && s.session_count == 300, "no prefixes");
    trace_close(&t);
}

int
main(void)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        check_good(i);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct data_error error = {""};
        struct trace t = {.name = ""};

        CHECK(read_text("m", bad[i].text, bad[i].lengths, &plain, &error, &t) == bad[i].err,
              bad[i].label);
        CHECK(strncmp(error.text, bad[i].words, strlen(bad[i].words)) == 0, error.text);
        CHECK(t.requests == NULL, "an error leaves nothing behind");
    }
    check_prefixes();
    check_grid();
    check_windows();
    check_drawn();
    check_burstiness();
    check_find();
    check_stats();
    return tap_done();
}
