/* openai_prefix - walks the text of a request once more and hashes it; see openai_prefix.h.
 *
 * The text is cut into blocks of a KiB, each hashed together with the hash of all before it, so a
 * hash stands for the whole beginning. A request too short for the first border is not walked. */
#include "wire/openai_prefix.h"

#include <string.h>

#define BLOCK_BYTES 1024u /* every border is a multiple */
#define OTHER_BYTES                                                                                \
    32768u /* of what is no text: so much of its beginning and of its end counts                   \
            */

/* Between two pieces that could be confused; none of them is in UTF-8 text. */
enum mark { MARK_MESSAGE = 0xf8, MARK_TEXT, MARK_CALL, MARK_ARGUMENTS, MARK_OTHER };

struct hasher {
    struct hash_key key;
    struct prefix_chain *chain;
    uint32_t blocks, used; /* whole blocks so far; bytes of the one that grows */
    bool is_full;          /* the last border is reached */
    struct {
        uint64_t before; /* hash of all blocks before */
        char bytes[BLOCK_BYTES];
    } block;
};

static void
block_end(struct hasher *h)
{
    struct prefix_chain *chain = h->chain;

    h->block.before = hash_bytes(h->key, &h->block, sizeof(h->block));
    h->used = 0;
    h->blocks++;
    if (h->blocks * BLOCK_BYTES == prefix_border_bytes(chain->count)) {
        chain->hashes[chain->count++] = h->block.before;
        h->is_full = chain->count == PREFIX_BORDERS_MAX;
    }
}

static void
add(struct hasher *h, struct span piece)
{
    while (piece.bytes > 0 && !h->is_full) {
        size_t room = BLOCK_BYTES - h->used, bytes = piece.bytes < room ? piece.bytes : room;

        memcpy(h->block.bytes + h->used, piece.data, bytes);
        h->used += (uint32_t)bytes;
        piece = span_from(piece, bytes);
        if (h->used == BLOCK_BYTES)
            block_end(h);
    }
}

static void
add_mark(struct hasher *h, enum mark mark)
{
    char byte = (char)mark;

    add(h, (struct span){&byte, 1});
}

/* Copy text as it stands, up to a backslash, the end of the block or left_bytes. Eight bytes at a
 * time: code has an escape in every line. Returns how much it was. */
static size_t
add_plain(struct hasher *h, const char *at, size_t left_bytes)
{
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    size_t room = BLOCK_BYTES - h->used, most = left_bytes < room ? left_bytes : room, done = 0;
    char *to = h->block.bytes + h->used;

    for (; most - done >= 8; done += 8) {
        uint64_t word, zeros;
        memcpy(&word, at + done, 8);
        memcpy(to + done, &word, 8);
        word ^= ones * '\\';
        zeros = (word - ones) & ~word & high; /* the lowest one is where the first backslash is */
        if (zeros != 0) {
            done += (size_t)__builtin_ctzll(zeros) / 8;
            most = done;
            break;
        }
    }
    for (; done < most && at[done] != '\\'; done++)
        to[done] = at[done];
    h->used += (uint32_t)done;
    if (h->used == BLOCK_BYTES)
        block_end(h);
    return done;
}

/* A string value; anything else is nothing. */
static void
add_string(struct hasher *h, struct span value)
{
    const char *at, *end;
    size_t bytes, used;
    char text[4];

    if (json_type_of(value) != JSON_STRING)
        return;
    at = value.data + 1;
    end = value.data + value.bytes - 1; /* around it stand the quotes */
    while (at < end && !h->is_full) {
        at += add_plain(h, at, (size_t)(end - at));
        if (at == end || *at != '\\' || h->is_full)
            continue;
        bytes = json_unescape_one(at, end, text, &used);
        if (bytes == 0)
            return;
        add(h, (struct span){text, bytes});
        at += used;
    }
}

/* An image, a sound: by the hash of how it is written. Of long ones both ends and the length will
 * do: what is the same in all three is hardly another one. */
static void
add_other(struct hasher *h, struct span value)
{
    size_t bytes = value.bytes < OTHER_BYTES ? value.bytes : OTHER_BYTES;
    uint64_t sums[3] = {value.bytes, hash_bytes(h->key, value.data, bytes),
                        hash_bytes(h->key, value.data + value.bytes - bytes, bytes)};

    add_mark(h, MARK_OTHER);
    add(h, (struct span){(const char *)sums, sizeof(sums)});
}

/* The values of some keys of an object, in the order of the names; empty where absent. */
static void
members(struct span object, const char *const *names, size_t count, struct span *ret_values)
{
    char text[JSON_KEY_BYTES_MAX + 1];
    struct json_field field;
    size_t at = 0;

    memset(ret_values, 0, count * sizeof(*ret_values));
    if (json_type_of(object) != JSON_OBJECT)
        return;
    while (json_object_next(object, &at, &field)) {
        struct span key = json_key_text(&field, text);
        for (size_t i = 0; i < count; i++) {
            if (span_eq_text(key, names[i]))
                ret_values[i] = field.value;
        }
    }
}

static void
add_content(struct hasher *h, struct span content)
{
    static const char *const names[] = {"text"};
    struct span part, text;
    size_t at = 0;

    add_mark(h, MARK_TEXT);
    add_string(h, content);
    if (json_type_of(content) != JSON_ARRAY)
        return;
    while (!h->is_full && json_array_next(content, &at, &part)) {
        members(part, names, 1, &text);
        if (json_type_of(text) == JSON_STRING)
            add_string(h, text);
        else
            add_other(h, part);
    }
}

static void
add_calls(struct hasher *h, struct span calls)
{
    static const char *const names[] = {"name", "arguments"}, *const outer[] = {"function"};
    struct span call, function, values[2];
    size_t at = 0;

    if (json_type_of(calls) != JSON_ARRAY)
        return;
    while (!h->is_full && json_array_next(calls, &at, &call)) {
        members(call, outer, 1, &function);
        members(function, names, 2, values);
        add_mark(h, MARK_CALL);
        add_string(h, values[0]);
        add_mark(h, MARK_ARGUMENTS);
        add_string(h, values[1]);
    }
}

static void
add_messages(struct hasher *h, struct span messages)
{
    static const char *const names[] = {"role", "content", "tool_calls"};
    struct span message, values[3];
    size_t at = 0;

    while (!h->is_full && json_array_next(messages, &at, &message)) {
        members(message, names, 3, values);
        add_mark(h, MARK_MESSAGE);
        add_string(h, values[0]);
        add_content(h, values[1]);
        add_calls(h, values[2]);
    }
}

/* A token, as wide as openai.c counts it. */
static void
add_token(struct hasher *h, struct span value)
{
    uint64_t number;
    uint32_t token = UINT32_MAX;

    if (json_u64(value, &number) == ERR_OK && number < UINT32_MAX)
        token = (uint32_t)number;
    add(h, (struct span){(const char *)&token, sizeof(token)});
}

/* A string, tokens, or an array of either. */
static void
add_prompt(struct hasher *h, struct span prompt)
{
    struct span item, token;
    size_t at = 0;

    add_string(h, prompt);
    if (json_type_of(prompt) != JSON_ARRAY)
        return;
    while (!h->is_full && json_array_next(prompt, &at, &item)) {
        size_t token_at = 0;
        if (json_type_of(item) == JSON_NUMBER) {
            add_token(h, item);
            continue;
        }
        add_mark(h, MARK_MESSAGE); /* a prompt of its own */
        add_string(h, item);
        while (json_type_of(item) == JSON_ARRAY && !h->is_full &&
               json_array_next(item, &token_at, &token))
            add_token(h, token);
    }
}

void
openai_prefix(const struct openai_request *r, struct hash_key key, struct prefix_chain *ret_chain)
{
    struct hasher h;

    ret_chain->count = 0;
    if (r->prompt_bytes < prefix_border_bytes(0))
        return;
    h.key = key;
    h.chain = ret_chain;
    h.blocks = h.used = 0;
    h.is_full = false;
    h.block.before = 0;
    if (json_type_of(r->tools) == JSON_ARRAY)
        add(&h, r->tools);
    if (r->api == OPENAI_CHAT)
        add_messages(&h, r->text);
    else
        add_prompt(&h, r->text);
}
