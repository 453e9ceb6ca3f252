/* openai_reply - what a reply or one chunk of a stream says; see openai.h. This runs for every
 * token of every stream: one forward pass of json_scan that checks everything, looks into what it
 * knows, and allocates nothing. A key that stands twice counts as its last. */
#include <math.h>

#include "wire/json_scan.h"
#include "wire/openai.h"

/* One value; does it say something (not null, "", [], {}, a number or a flag)? */
static bool
scan_filled(struct json_scan *s)
{
    struct span value;
    int c = json_scan_peek(s);
    size_t at = 1;

    if (!json_scan_value(s, &value))
        return false;
    if (c == '"')
        return value.bytes > 2;
    if (c != '[' && c != '{')
        return false;
    while (value.data[at] == ' ' || value.data[at] == '\n' || value.data[at] == '\r' ||
           value.data[at] == '\t')
        at++;
    return at + 1 < value.bytes;
}

/* A value that should be an object or an array: entered when it is one, else passed over. */
static bool
enter(struct json_scan *s, char bracket)
{
    struct span value;

    if (json_scan_peek(s) == bracket)
        return json_scan_open(s, bracket);
    json_scan_value(s, &value);
    return false;
}

static void
scan_count(struct json_scan *s, bool *known, uint32_t *ret)
{
    struct span value;
    uint64_t count;

    if (!json_scan_value(s, &value) || json_u64(value, &count) != ERR_OK)
        return;
    *ret = count < UINT32_MAX ? (uint32_t)count : UINT32_MAX;
    *known = true;
}

static void
scan_ms(struct json_scan *s, double *ret)
{
    struct span value;
    double ms;

    if (json_scan_value(s, &value) && json_f64(value, &ms) == ERR_OK && ms >= 0)
        *ret = ms;
}

/* delta or message: is there content? The names are those of OpenAI, vLLM and llama.cpp. */
static bool
scan_message(struct json_scan *s)
{
    static const struct span names[] = {
        SPAN_INIT("content"),    SPAN_INIT("reasoning"),     SPAN_INIT("reasoning_content"),
        SPAN_INIT("tool_calls"), SPAN_INIT("function_call"), SPAN_INIT("refusal"),
        SPAN_INIT("audio")};
    struct span key, value;
    bool filled = false;

    if (!enter(s, '{'))
        return false;
    for (bool first = true; json_scan_key(s, &first, &key);) {
        size_t i = 0;
        while (i < sizeof(names) / sizeof(names[0]) && !span_eq(key, names[i]))
            i++;
        if (i < sizeof(names) / sizeof(names[0]))
            filled = scan_filled(s) || filled;
        else
            json_scan_value(s, &value);
    }
    return filled;
}

static void
scan_choice(struct json_scan *s, struct openai_reply *reply)
{
    struct span key, value;
    bool finished = false;

    if (!enter(s, '{'))
        return;
    for (bool first = true; json_scan_key(s, &first, &key);) {
        if (span_eq_text(key, "delta") || span_eq_text(key, "message"))
            reply->has_content = scan_message(s) || reply->has_content;
        else if (span_eq_text(key, "text"))
            reply->has_content = scan_filled(s) || reply->has_content;
        else if (json_scan_value(s, &value) && span_eq_text(key, "finish_reason"))
            finished = json_type_of(value) == JSON_STRING;
    }
    reply->finishes += finished;
}

/* How many there are. */
static uint32_t
scan_choices(struct json_scan *s, struct openai_reply *reply)
{
    uint32_t count = 0;

    if (!enter(s, '['))
        return 0;
    for (bool first = true; json_scan_item(s, &first); count++)
        scan_choice(s, reply);
    return count;
}

static void
scan_prompt_details(struct json_scan *s, struct openai_usage *usage)
{
    struct span key, value;

    if (!enter(s, '{'))
        return;
    for (bool first = true; json_scan_key(s, &first, &key);) {
        if (span_eq_text(key, "cached_tokens"))
            scan_count(s, &usage->cached_known, &usage->cached_tokens);
        else
            json_scan_value(s, &value);
    }
}

static void
scan_usage(struct json_scan *s, struct openai_usage *usage)
{
    struct span key, value;

    if (!enter(s, '{'))
        return;
    for (bool first = true; json_scan_key(s, &first, &key);) {
        if (span_eq_text(key, "prompt_tokens"))
            scan_count(s, &usage->known, &usage->prompt_tokens);
        else if (span_eq_text(key, "completion_tokens"))
            scan_count(s, &usage->known, &usage->output_tokens);
        else if (span_eq_text(key, "prompt_tokens_details"))
            scan_prompt_details(s, usage);
        else
            json_scan_value(s, &value);
    }
}

/* llama.cpp's own figures: what it computed (prompt_n) and what it had (cache_n), apart. */
static void
scan_timings(struct json_scan *s, struct openai_usage *timings)
{
    struct span key, value;
    uint32_t computed_tokens = 0;

    if (!enter(s, '{'))
        return;
    for (bool first = true; json_scan_key(s, &first, &key);) {
        if (span_eq_text(key, "cache_n"))
            scan_count(s, &timings->cached_known, &timings->cached_tokens);
        else if (span_eq_text(key, "prompt_n"))
            scan_count(s, &timings->known, &computed_tokens);
        else if (span_eq_text(key, "predicted_n"))
            scan_count(s, &timings->known, &timings->output_tokens);
        else if (span_eq_text(key, "prompt_ms"))
            scan_ms(s, &timings->engine_prefill_ms);
        else if (span_eq_text(key, "predicted_ms"))
            scan_ms(s, &timings->engine_decode_ms);
        else
            json_scan_value(s, &value);
    }
    timings->known = timings->known || timings->cached_known;
    if (__builtin_add_overflow(timings->cached_tokens, computed_tokens, &timings->prompt_tokens))
        timings->prompt_tokens = UINT32_MAX;
}

/* The value of one top-level key that is none of the structures above. */
static void
scan_plain(struct json_scan *s, struct span key, struct openai_reply *reply)
{
    struct span value;
    enum json_type type;

    if (!json_scan_value(s, &value))
        return;
    type = json_type_of(value);
    if (span_eq_text(key, "model") && type == JSON_STRING)
        reply->model_range = value;
    else if (span_eq_text(key, "error") && type != JSON_NULL && type != JSON_FALSE)
        reply->is_error = true;
    else if (span_eq_text(key, "object") && span_eq_text(value, "\"error\"")) /* vLLM */
        reply->is_error = true;
}

enum err
openai_reply_parse(struct span document, struct openai_reply *ret_reply)
{
    const double nan = (double)NAN;
    struct openai_usage usage = {.engine_prefill_ms = nan, .engine_decode_ms = nan};
    struct openai_usage timings = usage;
    struct openai_reply reply = {0};
    struct json_scan s = json_scan_of(document);
    struct span key;
    bool no_choices = false;

    if (!json_scan_open(&s, '{'))
        return ERR_PARSE;
    for (bool first = true; json_scan_key(&s, &first, &key);) {
        const int begins = json_scan_peek(&s);
        const char *start = s.at;
        if (span_eq_text(key, "choices")) {
            no_choices = scan_choices(&s, &reply) == 0 && begins == '[';
        } else if (span_eq_text(key, "usage")) {
            scan_usage(&s, &usage);
            if (begins == '{')
                reply.usage_range = (struct span){start, (size_t)(s.at - start)};
        } else if (span_eq_text(key, "timings")) {
            scan_timings(&s, &timings);
        } else {
            scan_plain(&s, key, &reply);
        }
    }
    if (!json_scan_end(&s))
        return ERR_PARSE;
    reply.usage = usage.known ? usage : timings;
    if (!reply.usage.cached_known) { /* llama.cpp tells it here alone */
        reply.usage.cached_tokens = timings.cached_tokens;
        reply.usage.cached_known = timings.cached_known;
    }
    reply.usage.engine_prefill_ms = timings.engine_prefill_ms;
    reply.usage.engine_decode_ms = timings.engine_decode_ms;
    reply.has_finish = reply.finishes > 0;
    reply.usage_only = no_choices && reply.usage_range.bytes > 0;
    *ret_reply = reply;
    return ERR_OK;
}
