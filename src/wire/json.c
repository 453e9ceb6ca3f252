/* json - documents and values; see json.h. Who decides what is valid: a short document is checked
 * and listed in one pass of json_scan; of a longer one simdjson says yes fast. When either says no,
 * or a document is too large for simdjson's buffers (fourteen bytes for one of text), json_check
 * has the last word, knows where, and needs no memory. What is walked here afterwards is known to
 * be valid; the walk still never leaves the bytes it was given. */
#include "wire/json.h"

#include <math.h>
#include <stdio.h>

#include "wire/json_scan.h"
#include "wire/json_simd.h"

#define JSON_SIMD_BYTES_MIN                                                                        \
    4096u /* below it our own pass is faster, but for text all outside ASCII */
#define JSON_SIMD_BYTES_MAX 1048576u

enum err
json_parser_open(struct json_parser **ret_parser)
{
    struct json_parser *parser = json_simd_open();

    if (parser == NULL)
        return ERR_MEMORY;
    *ret_parser = parser;
    return ERR_OK;
}

void
json_parser_close(struct json_parser *parser)
{
    json_simd_close(parser);
}

/* Line and column of `at`, which lies in document or behind its last byte. */
static void
locate(struct span document, const char *at, struct json_error *ret_error)
{
    const char *line = document.data;
    uint32_t lines = 1;

    while (line < at) {
        const char *next = memchr(line, '\n', (size_t)(at - line));
        if (next == NULL)
            break;
        line = next + 1;
        lines++;
    }
    ret_error->line = lines;
    ret_error->column = (uint32_t)(at - line) + 1;
}

enum err
json_check(struct span document, struct json_error *ret_error)
{
    struct json_scan s = json_scan_of(document);
    const char *end = s.end;
    char found[24] = "the end";
    struct span value;

    if (json_scan_value(&s, &value) && json_scan_end(&s))
        return ERR_OK;
    if (s.at<end && * s.at> ' ' && *s.at < 0x7f)
        snprintf(found, sizeof(found), "`%c`", *s.at);
    else if (s.at < end)
        snprintf(found, sizeof(found), "byte 0x%02x", (unsigned char)*s.at);
    document.data = end - document.bytes; /* never NULL */
    locate(document, s.at, ret_error);
    snprintf(ret_error->message, sizeof(ret_error->message), "%s, found %s", s.why, found);
    return s.too_deep ? ERR_FULL : ERR_PARSE;
}

/* ---- Walking what is valid. */

static size_t
space_end(struct span s, size_t at)
{
    while (at < s.bytes &&
           (s.data[at] == ' ' || s.data[at] == '\n' || s.data[at] == '\r' || s.data[at] == '\t'))
        at++;
    return at;
}

/* Behind the string whose opening quote is at s.data[at]. */
static size_t
string_end(struct span s, size_t at)
{
    return (size_t)(json_scan_string_end(s.data + at, s.data + s.bytes) - s.data);
}

/* Behind the value at s.data[at]; *deepest grows to the arrays and objects open at once in it. */
static size_t
value_end(struct span s, size_t at, uint32_t *deepest)
{
    uint32_t depth = 0;

    if (at < s.bytes && s.data[at] == '"')
        return string_end(s, at);
    for (; at < s.bytes; at++) {
        char c = s.data[at];
        if (c == '"') {
            at = string_end(s, at) - 1;
        } else if (c == '{' || c == '[') {
            depth++;
            if (depth > *deepest)
                *deepest = depth;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return at; /* of what is around: the value was a number or a word */
            if (--depth == 0)
                return at + 1;
        } else if (depth == 0 && (c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t')) {
            return at;
        }
    }
    return s.bytes;
}

/* Where the next element of an array or object stands, or s.bytes. *at: where the last one ended.
 */
static size_t
element_start(struct span s, size_t at)
{
    at = space_end(s, at == 0 ? 1 : at); /* 1: behind the bracket */
    if (at < s.bytes && s.data[at] == ',')
        at = space_end(s, at + 1);
    if (at >= s.bytes || s.data[at] == '}' || s.data[at] == ']')
        return s.bytes;
    return at;
}

static bool
object_next(struct span object, size_t *at, struct json_field *ret_field, uint32_t *deepest)
{
    size_t start = element_start(object, *at), end;

    if (start >= object.bytes || object.data[start] != '"')
        return false;
    end = string_end(object, start);
    if (end - start < 2)
        return false;
    ret_field->key = (struct span){object.data + start + 1, end - start - 2};
    ret_field->key_escaped = span_find(ret_field->key, '\\') < ret_field->key.bytes;
    end = space_end(object, end);
    if (end >= object.bytes || object.data[end] != ':')
        return false;
    start = space_end(object, end + 1);
    end = value_end(object, start, deepest);
    ret_field->value = (struct span){object.data + start, end - start};
    ret_field->type = json_type_of(ret_field->value);
    *at = end;
    return true;
}

bool
json_object_next(struct span object, size_t *at, struct json_field *ret_field)
{
    uint32_t deepest = 0;

    return object_next(object, at, ret_field, &deepest);
}

bool
json_array_next(struct span array, size_t *at, struct span *ret_value)
{
    size_t start = element_start(array, *at), end;
    uint32_t deepest = 0;

    if (start >= array.bytes)
        return false;
    end = value_end(array, start, &deepest);
    *ret_value = (struct span){array.data + start, end - start};
    *at = end;
    return true;
}

enum err
json_fields(struct span value, struct json_object *ret_object)
{
    struct json_field field;
    size_t at = 0;

    ret_object->count = 0;
    if (json_type_of(value) != JSON_OBJECT)
        return ERR_PARSE;
    while (json_object_next(value, &at, &field)) {
        if (ret_object->count == JSON_FIELDS_MAX)
            return ERR_FULL;
        ret_object->fields[ret_object->count++] = field;
    }
    return ERR_OK;
}

struct span
json_key_text(const struct json_field *field, char text[JSON_KEY_BYTES_MAX + 1])
{
    struct span key = field->key, quoted = {key.data - 1, key.bytes + 2};
    size_t bytes;

    if (!field->key_escaped ||
        json_unescape(quoted, text, JSON_KEY_BYTES_MAX + 1, &bytes) != ERR_OK)
        return key;
    return (struct span){text, bytes};
}

const struct json_field *
json_get(const struct json_object *object, const char *key)
{
    struct span want = span_of(key);

    for (size_t i = 0; i < object->count; i++) {
        if (span_eq(object->fields[i].key, want))
            return &object->fields[i];
    }
    return NULL;
}

/* ---- The whole document. */

/* Is this key, unescaped, among the first `count` fields? */
static bool
key_taken(const struct json_object *object, const struct json_field *field)
{
    char text[JSON_KEY_BYTES_MAX + 1], other_text[JSON_KEY_BYTES_MAX + 1];
    struct span key = json_key_text(field, text);

    for (size_t i = 0; i < object->count; i++) {
        if (span_eq(key, json_key_text(&object->fields[i], other_text)))
            return true;
    }
    return false;
}

/* Take one field of the top level, or say in ret_error->message what is wrong with it. */
static enum err
add_field(struct json_object *object, const struct json_field *field, struct json_error *ret_error)
{
    const int shown = field->key.bytes < 40 ? (int)field->key.bytes : 40;

    if (object->count == JSON_FIELDS_MAX) {
        snprintf(ret_error->message, sizeof(ret_error->message), "more than %u keys in one object",
                 JSON_FIELDS_MAX);
        return ERR_FULL;
    }
    if (field->key.bytes > JSON_KEY_BYTES_MAX) {
        snprintf(ret_error->message, sizeof(ret_error->message),
                 "a key longer than %u bytes at the top level", JSON_KEY_BYTES_MAX);
        return ERR_FULL;
    }
    if (key_taken(object, field)) {
        snprintf(ret_error->message, sizeof(ret_error->message), "duplicate key \"%.*s\"", shown,
                 field->key.data);
        return ERR_PARSE;
    }
    object->fields[object->count++] = *field;
    return ERR_OK;
}

/* Check a document and list its fields in one pass. false: something is wrong with it, the longer
 * way finds out what. */
static bool
list_checked(struct span document, struct json_object *ret_object)
{
    struct json_scan s = json_scan_of(document);
    struct json_field field;
    struct json_error unused;

    ret_object->count = 0;
    if (!json_scan_open(&s, '{'))
        return false;
    for (bool first = true; json_scan_key(&s, &first, &field.key);) {
        if (!json_scan_value(&s, &field.value))
            return false;
        field.key_escaped = span_find(field.key, '\\') < field.key.bytes;
        field.type = json_type_of(field.value);
        if (add_field(ret_object, &field, &unused) != ERR_OK)
            return false;
    }
    return json_scan_end(&s);
}

enum err
json_parse(struct json_parser *parser, struct span document, struct json_object *ret_object,
           struct json_error *ret_error)
{
    struct json_field field;
    struct span whole;
    uint32_t deepest = 0;
    size_t start, at = 0;
    enum err err;

    if (document.bytes < JSON_SIMD_BYTES_MIN && list_checked(document, ret_object))
        return ERR_OK;
    if (document.bytes < JSON_SIMD_BYTES_MIN || document.bytes > JSON_SIMD_BYTES_MAX ||
        !json_simd_valid(parser, document.data, document.bytes)) {
        err = json_check(document, ret_error);
        if (err != ERR_OK)
            return err;
    }
    start = space_end(document, 0);
    whole = span_from(document, start);
    if (json_type_of(whole) != JSON_OBJECT) {
        locate(document, whole.data, ret_error);
        snprintf(ret_error->message, sizeof(ret_error->message), "expected an object, found `%c`",
                 whole.data[0]);
        return ERR_PARSE;
    }
    ret_object->count = 0;
    while (object_next(whole, &at, &field, &deepest)) {
        err = add_field(ret_object, &field, ret_error);
        if (err != ERR_OK) {
            locate(document, field.key.data - 1, ret_error);
            return err;
        }
    }
    return deepest < JSON_DEPTH_MAX ? ERR_OK : json_check(document, ret_error);
}

/* ---- Values. */

enum json_type
json_type_of(struct span value)
{
    switch (value.bytes > 0 ? value.data[0] : 'n') {
    case '"':
        return JSON_STRING;
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

enum err
json_bool(struct span value, bool *ret)
{
    enum json_type type = json_type_of(value);

    if (type != JSON_TRUE && type != JSON_FALSE)
        return ERR_PARSE;
    *ret = type == JSON_TRUE;
    return ERR_OK;
}

enum err
json_u64(struct span value, uint64_t *ret)
{
    return span_u64(value, ret);
}

enum err
json_f64(struct span value, double *ret)
{
    double number;

    if (json_type_of(value) != JSON_NUMBER || span_f64(value, &number) != ERR_OK ||
        !isfinite(number))
        return ERR_PARSE;
    *ret = number;
    return ERR_OK;
}
