/* trace_mooncake - JSON lines with prefixes: timestamp (ms), input_length, output_length (tokens)
 * and hash_ids, one for each block of the prompt, equal leading ids being a shared prefix. How many
 * tokens a block has the file does not say: it is the largest power of two by which every line has
 * as many ids as it should.
 *
 * Sessions are not written down either, but a turn of a conversation begins with the whole prompt
 * of the turn before. So a request belongs to the session whose prompt, in full blocks, is the
 * longest that its own begins with; one common block is a system prompt and no conversation. */
#include "sim/trace_builder.h"

#include "sim/trace_map.h"
#include "wire/json.h"
#include "wire/json_scan.h"

#define BLOCK_SHIFT_MAX    16u /* blocks of 1 to 65536 tokens */
#define SESSION_BLOCKS_MIN 2u
#define TIMESTAMP_MS_MAX   1e14

enum { TIMESTAMP, INPUT, OUTPUT, IDS, KEY_COUNT };
static const char *const keys[KEY_COUNT] = {"timestamp", "input_length", "output_length",
                                            "hash_ids"};

/* The sizes that a prompt of so many tokens in so many blocks leaves possible, as bits: a part of a
 * block at the end may have an id or not. */
static uint32_t
shifts_that_fit(uint32_t tokens, uint32_t blocks)
{
    uint32_t shifts = 0;

    for (uint32_t i = 0; i <= BLOCK_SHIFT_MAX; i++) {
        uint32_t full = tokens >> i, partial = (tokens & ((1u << i) - 1)) != 0;

        if (blocks == full || blocks == full + partial)
            shifts |= 1u << i;
    }
    return shifts;
}

/* The values of our keys; NULL data where a key is missing. */
static enum err
take_line(struct data_file *f, struct span line, struct span values[KEY_COUNT])
{
    struct json_scan s = json_scan_of(line);
    struct span key, value;

    for (int i = 0; i < KEY_COUNT; i++)
        values[i] = (struct span){NULL, 0};
    if (json_scan_open(&s, '{')) {
        for (bool first = true; json_scan_key(&s, &first, &key);) {
            if (!json_scan_value(&s, &value))
                break;
            for (int i = 0; i < KEY_COUNT; i++) {
                if (span_eq_text(key, keys[i]))
                    values[i] = value;
            }
        }
    }
    if (!json_scan_end(&s))
        return data_file_fail(f, ERR_PARSE, "no JSON object, column %zu: %s",
                              (size_t)(s.at - line.data) + 1,
                              s.why != NULL ? s.why : "trailing text");
    for (int i = 0; i < KEY_COUNT; i++) {
        if (values[i].data == NULL)
            return data_file_fail(f, ERR_PARSE, "%s is missing", keys[i]);
    }
    return ERR_OK;
}

static enum err
take_tokens(struct data_file *f, int key, struct span value, uint32_t *ret)
{
    uint64_t tokens;

    if (json_u64(value, &tokens) != ERR_OK || tokens > TRACE_TOKENS_MAX)
        return data_file_fail(f, ERR_PARSE, "%s: `%.*s` is no whole number from 0 to %u", keys[key],
                              value.bytes < 40 ? (int)value.bytes : 40, value.data,
                              TRACE_TOKENS_MAX);
    *ret = (uint32_t)tokens;
    return ERR_OK;
}

/* The array is known to be valid JSON; its ids are read by hand because they are most of the file.
 */
static enum err
take_ids(struct trace_builder *b, struct data_file *f, struct span array)
{
    const char *at = array.data + 1, *end = array.data + array.bytes - 1;

    if (array.data[0] != '[')
        return data_file_fail(f, ERR_PARSE, "hash_ids is no array");
    while (at < end) {
        const char *begin;
        uint64_t id = 0;
        enum err err;

        while (at < end && (*at == ' ' || *at == ',' || *at == '\t'))
            at++;
        for (begin = at; at < end && *at >= '0' && *at <= '9' && at - begin < 19; at++)
            id = id * 10 + (uint64_t)(*at - '0');
        if (at == begin && at == end)
            break;
        if (at == begin || (at < end && *at != ',' && *at != ' ' && *at != '\t'))
            return data_file_fail(f, ERR_PARSE, "hash_ids: an id that is no whole number");
        err = trace_builder_block(b, f, id);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err
trace_mooncake_read(struct trace_builder *b, struct data_file *f)
{
    uint32_t shifts = UINT32_MAX, prompt = 0, output = 0;
    struct span line, values[KEY_COUNT];
    double at_ms = 0.0;
    enum err err;

    while ((err = data_file_line(f, &line)) == ERR_OK) {
        const struct trace_request *q;

        err = take_line(f, line, values);
        if (err == ERR_OK && (json_f64(values[TIMESTAMP], &at_ms) != ERR_OK || !(at_ms >= 0.0) ||
                              at_ms > TIMESTAMP_MS_MAX))
            err = data_file_fail(f, ERR_PARSE, "timestamp is no number of milliseconds");
        if (err == ERR_OK)
            err = take_tokens(f, INPUT, values[INPUT], &prompt);
        if (err == ERR_OK)
            err = take_tokens(f, OUTPUT, values[OUTPUT], &output);
        if (err == ERR_OK)
            err = trace_builder_request(b, f, at_ms, prompt, output);
        if (err == ERR_OK)
            err = take_ids(b, f, values[IDS]);
        if (err != ERR_OK)
            return err;
        q = &b->trace.requests[b->trace.count - 1];
        if (q->block_count == 0)
            continue; /* nothing known of this one */
        shifts &= shifts_that_fit(q->prompt_tokens, q->block_count);
        if (shifts == 0)
            return data_file_fail(f, ERR_PARSE,
                                  "%u ids for %u tokens: by no block size does this fit the lines "
                                  "before",
                                  q->block_count, q->prompt_tokens);
    }
    if (b->trace.block_count > 0)
        b->trace.block_tokens = 1u << (31 - __builtin_clz(shifts));
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

enum err
trace_mooncake_sessions(struct trace_builder *b)
{
    struct trace_map tips = {NULL, 0, 0}; /* last full block of a prompt: its session */
    struct trace *t = &b->trace;
    enum err err = ERR_OK;

    for (size_t i = 0; i < t->count && err == ERR_OK && t->block_tokens > 0; i++) {
        struct trace_request *q = &t->requests[i];
        const uint64_t *blocks = t->blocks + q->block_first, *found = NULL;
        uint32_t full = q->prompt_tokens / t->block_tokens;

        for (uint32_t n = q->block_count; n >= SESSION_BLOCKS_MIN && found == NULL; n--)
            found = trace_map_get(&tips, blocks[n - 1]);
        q->session = found != NULL ? *found : i + 1;
        if (full > q->block_count)
            full = q->block_count;
        if (full >= SESSION_BLOCKS_MIN)
            err = trace_map_put(&tips, blocks[full - 1], q->session, NULL);
    }
    trace_map_fini(&tips);
    return err;
}
