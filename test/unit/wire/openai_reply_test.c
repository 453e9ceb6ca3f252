/* openai_reply_test - what chunks and replies of several engines say. */
#include <math.h>

#include "tap.h"
#include "wire/openai.h"

#define CHUNK(choices) "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":" choices "}"
#define DELTA(fields)  CHUNK("[{\"index\":0,\"delta\":{" fields "},\"finish_reason\":null}]")

/* One row: flags as letters. C has_content, F has_finish, E is_error, U usage_only. */
static const struct {
    const char *label, *json, *flags;
    uint32_t finishes;
} rows[] = {
    {"role alone", DELTA("\"role\":\"assistant\",\"content\":null"), "", 0},
    {"role and empty content", DELTA("\"role\":\"assistant\",\"content\":\"\""), "", 0},
    {"content", DELTA("\"content\":\"a\""), "C", 0},
    {"content, then null", DELTA("\"content\":\"a\",\"reasoning\":null,\"tool_calls\":[]"), "C", 0},
    {"content of parts", DELTA("\"content\":[{\"type\":\"text\"}]"), "C", 0},
    {"content of no parts", DELTA("\"content\":[ ]"), "", 0},
    {"content is no text", DELTA("\"content\":5"), "", 0},
    {"space", DELTA("\"content\":\" \""), "C", 0},
    {"escape", DELTA("\"content\":\"\\n\""), "C", 0},
    {"reasoning", DELTA("\"reasoning\":\"hm\""), "C", 0},
    {"reasoning_content", DELTA("\"reasoning_content\":\"hm\""), "C", 0},
    {"tool calls", DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\"}}]"), "C",
     0},
    {"function call", DELTA("\"function_call\":{\"name\":\"f\"}"), "C", 0},
    {"empty function call", DELTA("\"function_call\":{ }"), "", 0},
    {"refusal", DELTA("\"refusal\":\"no\""), "C", 0},
    {"audio", DELTA("\"audio\":{\"data\":\"x\"}"), "C", 0},
    {"unknown field of a delta", DELTA("\"thoughts\":\"x\""), "", 0},
    {"content elsewhere", "{\"choices\":[{\"content\":\"x\"}],\"content\":\"x\"}", "", 0},
    {"second choice", CHUNK("[{\"delta\":{}},{\"delta\":{\"content\":\"x\"}}]"), "C", 0},
    {"finish", CHUNK("[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]"), "F", 1},
    {"two finish",
     CHUNK("[{\"finish_reason\":\"stop\"},{\"finish_reason\":null},{\"finish_reason\":"
           "\"length\"}]"),
     "F", 2},
    {"finish and content", CHUNK("[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]"),
     "CF", 1},
    {"completions", "{\"choices\":[{\"text\":\"x\",\"finish_reason\":null}]}", "C", 0},
    {"completions, empty", "{\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}", "F", 1},
    {"whole reply",
     "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":\"x\"},"
     "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1}}",
     "CF", 1},
    {"usage alone", "{\"choices\":[],\"usage\":{\"prompt_tokens\":5}}", "U", 0},
    {"usage alone, first", " {\"usage\" : {\"prompt_tokens\":5} , \"choices\" : [ ] } ", "U", 0},
    {"usage null", "{\"choices\":[],\"usage\":null}", "", 0},
    {"usage without choices", "{\"usage\":{\"prompt_tokens\":5}}", "", 0},
    {"choices null", "{\"choices\":null,\"usage\":{\"prompt_tokens\":5}}", "", 0},
    {"usage beside content", "{\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":{}}", "C",
     0},
    {"choices of other kinds", "{\"choices\":[null,5,[],{\"delta\":null},{\"delta\":\"x\"}]}", "",
     0},
    {"no choices", "{}", "", 0},
    {"error", "{\"error\":{\"message\":\"x\",\"code\":500}}", "E", 0},
    {"error as text", "{\"error\":\"x\"}", "E", 0},
    {"error null", "{\"error\":null,\"choices\":[]}", "", 0},
    {"error of vLLM", "{\"object\":\"error\",\"message\":\"x\",\"code\":400}", "E", 0},
    {"error within", DELTA("\"error\":{}"), "", 0},
};

static void
test_flags(void)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct openai_reply r;
        const char *flags = rows[i].flags;
        CHECK(openai_reply_parse(span_of(rows[i].json), &r) == ERR_OK, rows[i].label);
        CHECK(r.has_content == (strchr(flags, 'C') != NULL), rows[i].label);
        CHECK(r.has_finish == (strchr(flags, 'F') != NULL), rows[i].label);
        CHECK(r.is_error == (strchr(flags, 'E') != NULL), rows[i].label);
        CHECK(r.usage_only == (strchr(flags, 'U') != NULL), rows[i].label);
        CHECK(r.finishes == rows[i].finishes, rows[i].label);
    }
}

static const struct {
    const char *label, *json, *range;
    bool known;
    uint32_t prompt, cached, output;
    double prefill_ms, decode_ms; /* -1: NAN */
} usage_rows[] = {
    {"none", "{\"choices\":[]}", "", false, 0, 0, 0, -1, -1},
    {"null", "{\"usage\":null}", "", false, 0, 0, 0, -1, -1},
    {"plain", "{\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3,\"total_tokens\":13}}",
     "{\"prompt_tokens\":10,\"completion_tokens\":3,\"total_tokens\":13}", true, 10, 0, 3, -1, -1},
    {"spaces", "{\"usage\" :  { \"completion_tokens\" : 3 } }", "{ \"completion_tokens\" : 3 }",
     true, 0, 0, 3, -1, -1},
    {"cached",
     "{\"usage\":{\"prompt_tokens\":10,\"prompt_tokens_details\":{\"audio\":0,\"cached_tokens\":8}}"
     "}",
     "{\"prompt_tokens\":10,\"prompt_tokens_details\":{\"audio\":0,\"cached_tokens\":8}}", true, 10,
     8, 0, -1, -1},
    {"details null", "{\"usage\":{\"prompt_tokens\":1,\"prompt_tokens_details\":null}}",
     "{\"prompt_tokens\":1,\"prompt_tokens_details\":null}", true, 1, 0, 0, -1, -1},
    {"empty", "{\"usage\":{}}", "{}", false, 0, 0, 0, -1, -1},
    {"no numbers", "{\"usage\":{\"prompt_tokens\":null,\"completion_tokens\":\"3\"}}",
     "{\"prompt_tokens\":null,\"completion_tokens\":\"3\"}", false, 0, 0, 0, -1, -1},
    {"negative", "{\"usage\":{\"prompt_tokens\":-1}}", "{\"prompt_tokens\":-1}", false, 0, 0, 0, -1,
     -1},
    {"too large", "{\"usage\":{\"prompt_tokens\":4294967296}}", "{\"prompt_tokens\":4294967296}",
     true, UINT32_MAX, 0, 0, -1, -1},
    {"timings alone",
     "{\"timings\":{\"cache_n\":4,\"prompt_n\":6,\"prompt_ms\":12.5,\"predicted_n\":3,"
     "\"predicted_ms\":30,\"predicted_per_second\":100}}",
     "", true, 10, 4, 3, 12.5, 30},
    {"timings before usage",
     "{\"timings\":{\"prompt_n\":6,\"prompt_ms\":1.5},\"usage\":{\"prompt_tokens\":7}}",
     "{\"prompt_tokens\":7}", true, 7, 0, 0, 1.5, -1},
    {"cache in timings",
     "{\"usage\":{\"prompt_tokens\":7},\"timings\":{\"cache_n\":5,\"prompt_n\":2}}",
     "{\"prompt_tokens\":7}", true, 7, 5, 0, -1, -1},
    {"timings after usage", "{\"usage\":{\"prompt_tokens\":7},\"timings\":{\"predicted_ms\":2}}",
     "{\"prompt_tokens\":7}", true, 7, 0, 0, -1, 2},
    {"timings that are none", "{\"timings\":{\"prompt_ms\":-1,\"predicted_ms\":\"x\"}}", "", false,
     0, 0, 0, -1, -1},
    {"timings too large", "{\"timings\":{\"cache_n\":4294967295,\"prompt_n\":2}}", "", true,
     UINT32_MAX, UINT32_MAX, 0, -1, -1},
    {"timings of another kind", "{\"timings\":[1]}", "", false, 0, 0, 0, -1, -1},
    {"usage of another kind", "{\"usage\":[1]}", "", false, 0, 0, 0, -1, -1},
};

static bool
same_ms(double got, double want)
{
    return want < 0 ? isnan(got) : got == want;
}

static void
test_usage(void)
{
    for (size_t i = 0; i < sizeof(usage_rows) / sizeof(usage_rows[0]); i++) {
        struct openai_reply r;
        CHECK(openai_reply_parse(span_of(usage_rows[i].json), &r) == ERR_OK, usage_rows[i].label);
        CHECK(span_eq_text(r.usage_range, usage_rows[i].range), usage_rows[i].label);
        CHECK(r.usage.known == usage_rows[i].known, usage_rows[i].label);
        CHECK(r.usage.cached_known == (strstr(usage_rows[i].json, "cached_tokens") != NULL ||
                                       strstr(usage_rows[i].json, "cache_n") != NULL),
              usage_rows[i].label);
        CHECK(r.usage.prompt_tokens == usage_rows[i].prompt &&
                  r.usage.cached_tokens == usage_rows[i].cached &&
                  r.usage.output_tokens == usage_rows[i].output,
              usage_rows[i].label);
        CHECK(same_ms(r.usage.engine_prefill_ms, usage_rows[i].prefill_ms) &&
                  same_ms(r.usage.engine_decode_ms, usage_rows[i].decode_ms),
              usage_rows[i].label);
    }
}

static void
test_model(void)
{
    struct span json = SPAN_LIT("{\"a\":{\"model\":\"no\"},\"model\" : \"m\\/x\" ,\"choices\":[]}");
    struct openai_reply r;

    CHECK(openai_reply_parse(json, &r) == ERR_OK && span_eq_text(r.model_range, "\"m\\/x\""),
          "model");
    CHECK(r.model_range.data == json.data + span_find(json, '/') - 3, "where it stands");
    CHECK(openai_reply_parse(SPAN_LIT("{\"model\":null}"), &r) == ERR_OK &&
              r.model_range.bytes == 0,
          "model null");
}

/* Every beginning of a chunk is no chunk; nor is one with a byte spoilt that must be what it is. */
static void
test_garbage(void)
{
    static const char whole[] =
        "{\"choices\":[{\"delta\":{\"content\":\"\xc3\xa9\"},\"finish_reason\":"
        "null}],\"usage\":{\"prompt_tokens\":1,\"prompt_tokens_details\":{"
        "\"cached_tokens\":0}},\"timings\":{\"prompt_ms\":1.5}}";
    static const char *const bad[] = {"",
                                      "[]",
                                      "null",
                                      "\"x\"",
                                      "{}x",
                                      "{\"choices\":[}",
                                      "{\"choices\":[{\"delta\":{\"content\":}}]}",
                                      "{\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}",
                                      "{\"usage\":{\"prompt_tokens\":01}}",
                                      "{\"model\":\"a\" \"b\"}",
                                      "{\"choices\":[{}{}]}",
                                      "{\"timings\":{\"prompt_ms\":1.}}"};
    struct openai_reply r;
    bool good = true;

    for (size_t bytes = 0; bytes + 1 < sizeof(whole); bytes++) {
        char *exact = malloc(bytes + (bytes == 0));
        if (exact == NULL)
            abort();
        memcpy(exact, whole, bytes);
        good = good && openai_reply_parse((struct span){exact, bytes}, &r) == ERR_PARSE;
        free(exact);
    }
    CHECK(good, "cut anywhere");
    CHECK(openai_reply_parse(span_of(whole), &r) == ERR_OK, "whole");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK(openai_reply_parse(span_of(bad[i]), &r) == ERR_PARSE, bad[i]);
}

int
main(void)
{
    test_flags();
    test_usage();
    test_model();
    test_garbage();
    return tap_done();
}
