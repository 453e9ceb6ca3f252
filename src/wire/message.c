/* message - tables walked in both directions; see message.h. A reader keeps the path to where it is
 * (`models[3].id`), so that a refusal names the field. */
#include "wire/message.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/must.h"
#include "wire/config.h"
#include "wire/json.h"

#define DEPTH_MAX   8u /* of tables within tables, lists counted twice */
#define NAME_WORDS  "a name of 1 to 63 of a-z, 0-9 and -"
#define SHOWN_BYTES 32u /* of a value in an error text */

struct reader {
    struct json_scan scan;
    struct message_error *error;
    bool failed; /* the error was told */
    size_t depth;
    struct {
        const char *name; /* NULL: an element */
        size_t index;
    } path[DEPTH_MAX]; /* where we are */
};

/* ---- Texts. */

bool
message_is_text(struct span text, size_t bytes_max)
{
    for (size_t i = 0; i < text.bytes && text.bytes <= bytes_max; i++) {
        char c = text.data[i];

        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
            return false;
    }
    return text.bytes > 0 && text.bytes <= bytes_max;
}

static bool
is_label_name(struct span name)
{
    for (size_t i = 0; i < name.bytes && name.bytes <= MESSAGE_LABEL_NAME_BYTES_MAX; i++) {
        char c = name.data[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_' && c != '-')
            return false;
    }
    return name.bytes > 0 && name.bytes <= MESSAGE_LABEL_NAME_BYTES_MAX;
}

static int
span_order(struct span a, struct span b)
{
    size_t bytes = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = memcmp(a.data, b.data, bytes);

    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

enum err
message_label_add(struct message_labels *labels, struct span name, struct span value)
{
    size_t at = labels->count;

    if (!is_label_name(name) || !message_is_text(value, MESSAGE_LABEL_BYTES_MAX))
        return ERR_PARSE;
    while (at > 0 && span_order(labels->list[at - 1].name, name) > 0)
        at--;
    if (at > 0 && span_eq(labels->list[at - 1].name, name))
        return ERR_EXISTS;
    if (labels->count == MESSAGE_LABELS_MAX)
        return ERR_FULL;
    memmove(&labels->list[at + 1], &labels->list[at],
            (labels->count - at) * sizeof(labels->list[0]));
    labels->list[at] = (struct message_label){name, value};
    labels->count++;
    return ERR_OK;
}

void
message_hex(const unsigned char *data, size_t bytes, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes; i++) {
        text[2 * i] = digits[data[i] >> 4];
        text[2 * i + 1] = digits[data[i] & 15];
    }
    text[2 * bytes] = '\0';
}

static int
digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum err
message_unhex(struct span text, unsigned char *ret_data, size_t bytes)
{
    if (text.bytes != 2 * bytes)
        return ERR_PARSE;
    for (size_t i = 0; i < bytes; i++) {
        int high = digit_of(text.data[2 * i]), low = digit_of(text.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return ERR_PARSE;
        ret_data[i] = (unsigned char)(high << 4 | low);
    }
    return ERR_OK;
}

bool
message_is_zero(const unsigned char *data, size_t bytes)
{
    unsigned char any = 0;

    for (size_t i = 0; i < bytes; i++)
        any |= data[i];
    return any == 0;
}

/* ---- Reading. */

static bool refuse(struct reader *r, const char *format, ...) PRINTF_LIKE(2, 3);
static bool
refuse(struct reader *r, const char *format, ...)
{
    char *text = r->error->text;
    size_t bytes = 0, room = sizeof(r->error->text);
    va_list args;

    if (r->failed)
        return false;
    r->failed = true;
    for (size_t i = 0; i < r->depth && bytes < room / 2; i++) {
        if (r->path[i].name != NULL)
            bytes += (size_t)snprintf(text + bytes, room - bytes, "%s%s", i > 0 ? "." : "",
                                      r->path[i].name);
        else
            bytes += (size_t)snprintf(text + bytes, room - bytes, "[%zu]", r->path[i].index);
    }
    bytes += (size_t)snprintf(text + bytes, room - bytes, "%s", r->depth > 0 ? ": " : "");
    va_start(args, format);
    vsnprintf(text + bytes, room - bytes, format, args);
    va_end(args);
    return false;
}

/* Go down to a field or, without a name, to an element. */
static void
path_down(struct reader *r, const char *name, size_t index)
{
    must(r->depth < DEPTH_MAX);
    r->path[r->depth].name = name;
    r->path[r->depth++].index = index;
}

static bool
refuse_value(struct reader *r, struct span value, const char *wanted)
{
    bool is_long = value.bytes > SHOWN_BYTES;

    for (size_t i = 0; i < value.bytes; i++) { /* of what others wrote nothing strange is shown */
        if (value.data[i] < 0x20 || value.data[i] > 0x7e)
            return refuse(r, "this is not %s", wanted);
    }
    return refuse(r, "`%.*s%s` is not %s", (int)(is_long ? SHOWN_BYTES : value.bytes), value.data,
                  is_long ? "..." : "", wanted);
}

static bool read_object(struct reader *r, const struct message_field *fields, char *base);

/* The inside of a string without escapes; anything else is empty. */
static struct span
text_of(struct span value)
{
    if (value.bytes < 2 || value.data[0] != '"' || span_find(value, '\\') < value.bytes)
        return (struct span){NULL, 0};
    return (struct span){value.data + 1, value.bytes - 2};
}

static bool
read_word(struct reader *r, const struct message_field *f, struct span value, uint32_t *ret)
{
    struct span text = text_of(value);
    char wanted[96];
    size_t bytes = 0;

    for (uint32_t i = 0; i < f->min; i++) {
        if (span_eq_text(text, f->words[i])) {
            *ret = i;
            return true;
        }
    }
    for (uint32_t i = 0; i < f->min && bytes < sizeof(wanted); i++)
        bytes += (size_t)snprintf(wanted + bytes, sizeof(wanted) - bytes, "%s%s",
                                  i > 0 ? ", " : "one of ", f->words[i]);
    return refuse_value(r, value, wanted);
}

static bool
read_hex(struct reader *r, const struct message_field *f, struct span value, void *ret)
{
    struct span text = text_of(value), prefix = span_of(f->prefix != NULL ? f->prefix : "");
    char wanted[64];

    if (span_starts(text, prefix) &&
        message_unhex(span_from(text, prefix.bytes), ret, f->max) == ERR_OK)
        return true;
    snprintf(wanted, sizeof(wanted), "%s%s%" PRIu64 " digits of 0-9a-f",
             f->prefix ? prefix.data : "", f->prefix != NULL ? " and " : "", 2 * f->max);
    return refuse_value(r, value, wanted);
}

static bool
read_number(struct reader *r, const struct message_field *f, struct span value, void *member)
{
    double real;
    uint64_t whole;

    if (f->type == MESSAGE_F64) {
        if (json_f64(value, &real) != ERR_OK)
            return refuse_value(r, value, "a number");
        if (!(real >= 0.0 && real <= (double)f->max))
            return refuse(r, "it is not from 0 to %" PRIu64, f->max);
        *(double *)member = real;
        return true;
    }
    if (json_u64(value, &whole) != ERR_OK)
        return refuse_value(r, value, "a whole number");
    if (whole < f->min || whole > f->max || whole > MESSAGE_NUMBER_MAX)
        return refuse(r, "it is not from %" PRIu64 " to %" PRIu64, f->min, f->max);
    *(uint64_t *)member = whole;
    return true;
}

/* Has a text the form of its type? */
static bool
is_good_text(const struct message_field *f, struct span text)
{
    struct span host;
    uint16_t port;
    enum err err;

    if (f->type == MESSAGE_NAME)
        return config_is_name(text);
    if (!message_is_text(text, f->max))
        return false;
    if (f->type == MESSAGE_TEXT)
        return true;
    err = config_url(text, &host, &port);
    return err == ERR_OK || err == ERR_UNSUPPORTED; /* https */
}

static bool
read_text(struct reader *r, const struct message_field *f, struct span value, struct span *ret)
{
    struct span text = text_of(value);
    char wanted[64];

    if (is_good_text(f, text)) {
        *ret = text;
        return true;
    }
    if (f->type == MESSAGE_NAME)
        return refuse_value(r, value, NAME_WORDS);
    snprintf(wanted, sizeof(wanted), "%s of 1 to %" PRIu64 " printable ASCII characters",
             f->type == MESSAGE_URL ? "http(s)://host:port" : "a text", f->max);
    return refuse_value(r, value, wanted);
}

/* {"name": "text"} */
static bool
read_labels(struct reader *r, struct message_labels *labels)
{
    struct span name, value;

    if (json_scan_peek(&r->scan) != '{' || !json_scan_open(&r->scan, '{'))
        return refuse(r, "it must be an object");
    for (bool first = true; json_scan_key(&r->scan, &first, &name);) {
        enum err err;

        if (!json_scan_value(&r->scan, &value))
            return false;
        err = message_label_add(labels, name, text_of(value));
        if (err == ERR_EXISTS)
            return refuse(r, "`%.*s` stands twice", (int)name.bytes, name.data);
        if (err == ERR_FULL)
            return refuse(r, "more than %u", MESSAGE_LABELS_MAX);
        if (err != ERR_OK)
            return refuse(r, "a name is up to %u of a-z0-9_-, its text up to %u of ASCII",
                          MESSAGE_LABEL_NAME_BYTES_MAX, MESSAGE_LABEL_BYTES_MAX);
    }
    return r->scan.why == NULL;
}

/* The next element of a list, which goes to *item. */
static bool
read_item(struct reader *r, const struct message_field *f, char *item)
{
    struct span value, text;

    if (f->type == MESSAGE_LIST) {
        memset(item, 0, f->item_bytes);
        return read_object(r, f->fields, item);
    }
    if (!json_scan_value(&r->scan, &value))
        return false;
    text = text_of(value);
    if (!config_is_name(text))
        return refuse_value(r, value, NAME_WORDS);
    *(struct span *)(void *)item = text;
    return true;
}

static bool
read_list(struct reader *r, const struct message_field *f, char *base)
{
    size_t *count = (size_t *)(void *)(base + f->count_offset);
    size_t item_bytes = f->type == MESSAGE_LIST ? f->item_bytes : sizeof(struct span);

    if (json_scan_peek(&r->scan) != '[' || !json_scan_open(&r->scan, '['))
        return refuse(r, "it must be a list");
    for (bool first = true; json_scan_item(&r->scan, &first);) {
        if (*count == f->max)
            return refuse(r, "more than %" PRIu64, f->max);
        path_down(r, NULL, *count);
        if (!read_item(r, f, base + f->offset + *count * item_bytes))
            return false;
        r->depth--;
        ++*count;
    }
    return r->scan.why == NULL;
}

static bool
read_counters(struct reader *r, const struct message_field *f, char *base)
{
    size_t *count = (size_t *)(void *)(base + f->count_offset);
    struct message_counter *list = (struct message_counter *)(void *)(base + f->offset);
    struct message_counter c;
    struct span value;

    if (json_scan_peek(&r->scan) != '{' || !json_scan_open(&r->scan, '{'))
        return refuse(r, "it must be an object");
    for (bool first = true; json_scan_key(&r->scan, &first, &c.name);) {
        if (!json_scan_value(&r->scan, &value))
            return false;
        if (!config_is_name(c.name))
            return refuse_value(r, c.name, NAME_WORDS);
        if (json_u64(value, &c.number) != ERR_OK || c.number > MESSAGE_NUMBER_MAX)
            return refuse_value(r, value, "a whole number below 2^53");
        for (size_t i = 0; i < *count; i++) {
            if (span_eq(list[i].name, c.name))
                return refuse(r, "`%.*s` stands twice", (int)c.name.bytes, c.name.data);
        }
        if (*count == f->max)
            return refuse(r, "more than %" PRIu64, f->max);
        list[(*count)++] = c;
    }
    return r->scan.why == NULL;
}

/* The value of a field that comes next, and is not null. */
static bool
read_value(struct reader *r, const struct message_field *f, char *base)
{
    void *member = base + f->offset;
    struct span value;

    if (f->type == MESSAGE_LABELS)
        return read_labels(r, member);
    if (f->type == MESSAGE_OBJECT)
        return read_object(r, f->fields, member);
    if (f->type == MESSAGE_LIST || f->type == MESSAGE_NAMES)
        return read_list(r, f, base);
    if (f->type == MESSAGE_COUNTERS)
        return read_counters(r, f, base);
    if (!json_scan_value(&r->scan, &value))
        return false;
    switch (f->type) {
    case MESSAGE_U64:
    case MESSAGE_F64:
        return read_number(r, f, value, member);
    case MESSAGE_BOOL:
        return json_bool(value, member) == ERR_OK || refuse_value(r, value, "true or false");
    case MESSAGE_WORD:
        return read_word(r, f, value, member);
    case MESSAGE_HEX:
        return read_hex(r, f, value, member);
    default:
        return read_text(r, f, value, member);
    }
}

/* The field with this name: its row. */
static size_t
row_of(const struct message_field *fields, struct span name)
{
    size_t row = 0;

    while (fields[row].name != NULL && !span_eq_text(name, fields[row].name))
        row++;
    return row;
}

static bool
read_object(struct reader *r, const struct message_field *fields, char *base)
{
    struct span name, value;
    uint32_t seen = 0, null = 0; /* rows */

    message_absent(fields, base);
    if (json_scan_peek(&r->scan) != '{' || !json_scan_open(&r->scan, '{'))
        return refuse(r, "it must be an object");
    for (bool first = true; json_scan_key(&r->scan, &first, &name);) {
        size_t row = row_of(fields, name);
        bool good;

        if (fields[row].name == NULL) {
            if (!json_scan_value(&r->scan, &value))
                return false;
            continue;
        }
        path_down(r, fields[row].name, 0);
        if ((seen >> row & 1) != 0)
            return refuse(r, "it stands twice");
        seen |= 1u << row;
        if (json_scan_peek(&r->scan) == 'n') {
            null |= 1u << row;
            good = json_scan_value(&r->scan, &value);
        } else {
            good = read_value(r, &fields[row], base);
        }
        if (!good)
            return false;
        r->depth--;
    }
    for (size_t row = 0; fields[row].name != NULL && r->scan.why == NULL; row++) {
        if (fields[row].required && ((seen & ~null) >> row & 1) == 0) {
            path_down(r, fields[row].name, 0);
            return refuse(r, "it is missing");
        }
    }
    return r->scan.why == NULL;
}

void
message_absent(const struct message_field *fields, void *base)
{
    for (const struct message_field *f = fields; f->name != NULL; f++) {
        void *member = (char *)base + f->offset;

        must(f - fields < (ptrdiff_t)MESSAGE_FIELDS_MAX);
        if (f->type == MESSAGE_U64)
            *(uint64_t *)member = MESSAGE_UNKNOWN;
        else if (f->type == MESSAGE_F64)
            *(double *)member = (double)NAN;
        else if (f->type == MESSAGE_OBJECT)
            message_absent(f->fields, member);
    }
}

enum err
message_read(struct span json, const struct message_field *fields, void *base,
             struct message_error *ret_error)
{
    struct reader r = {.scan = json_scan_of(json), .error = ret_error};

    if (json.bytes > MESSAGE_BYTES_MAX) {
        snprintf(ret_error->text, sizeof(ret_error->text), "%zu bytes; a message has at most %u",
                 json.bytes, MESSAGE_BYTES_MAX);
        return ERR_FULL;
    }
    if (read_object(&r, fields, base) && json_scan_end(&r.scan))
        return ERR_OK;
    if (!r.failed)
        snprintf(ret_error->text, sizeof(ret_error->text), "no JSON at byte %zu: %s",
                 (size_t)(r.scan.at - (json.bytes > 0 ? json.data : r.scan.at)),
                 r.scan.why != NULL ? r.scan.why : "it should end here");
    return ERR_PARSE;
}

/* ---- Writing. */

struct writer {
    char *text;
    size_t bytes, room;
    enum err err; /* the first */
};

static void put(struct writer *w, const char *format, ...) PRINTF_LIKE(2, 3);
static void
put(struct writer *w, const char *format, ...)
{
    va_list args;
    int bytes;

    if (w->err != ERR_OK)
        return;
    va_start(args, format);
    bytes = vsnprintf(w->text + w->bytes, w->room - w->bytes, format, args);
    va_end(args);
    if (bytes < 0 || (size_t)bytes >= w->room - w->bytes)
        w->err = ERR_FULL;
    else
        w->bytes += (size_t)bytes;
}

static void
put_text(struct writer *w, struct span text)
{
    put(w, "\"%.*s\"", (int)text.bytes, text.data);
}

static void
put_hex(struct writer *w, const struct message_field *f, const unsigned char *data)
{
    put(w, "\"%s", f->prefix != NULL ? f->prefix : "");
    if (w->err == ERR_OK && w->room - w->bytes <= 2 * f->max)
        w->err = ERR_FULL;
    if (w->err == ERR_OK) {
        message_hex(data, f->max, w->text + w->bytes);
        w->bytes += 2 * f->max;
    }
    put(w, "\"");
}

static void
put_labels(struct writer *w, const struct message_labels *labels)
{
    struct message_labels sorted = {.count = 0};

    for (size_t i = 0; i < labels->count; i++) {
        const struct message_label *l = &labels->list[i];

        if (message_label_add(&sorted, l->name, l->value) != ERR_OK)
            w->err = ERR_ARG;
    }
    for (size_t i = 0; i < sorted.count && w->err == ERR_OK; i++) {
        put(w, "%s", i > 0 ? "," : "{");
        put_text(w, sorted.list[i].name);
        put(w, ":");
        put_text(w, sorted.list[i].value);
    }
    put(w, sorted.count > 0 ? "}" : "{}");
}

static bool is_absent(const struct message_field *f, const char *base);
static void put_object(struct writer *w, const struct message_field *fields, const char *base);

static void
put_number(struct writer *w, const struct message_field *f, const char *member)
{
    uint64_t whole = *(const uint64_t *)(const void *)member;
    double real = *(const double *)(const void *)member;

    if (f->type == MESSAGE_F64 ? !(real >= 0.0 && real <= (double)f->max)
                               : whole < f->min || whole > f->max || whole > MESSAGE_NUMBER_MAX)
        w->err = w->err == ERR_OK ? ERR_ARG : w->err;
    else if (f->type == MESSAGE_F64)
        put(w, "%.9g", real);
    else
        put(w, "%" PRIu64, whole);
}

static void
put_name(struct writer *w, struct span name)
{
    if (!config_is_name(name))
        w->err = w->err == ERR_OK ? ERR_ARG : w->err;
    put_text(w, name);
}

static void
put_list(struct writer *w, const struct message_field *f, const char *base)
{
    size_t count = *(const size_t *)(const void *)(base + f->count_offset);
    bool is_map = f->type == MESSAGE_COUNTERS;
    const void *list = base + f->offset;

    if (count > f->max) {
        w->err = ERR_ARG;
        return;
    }
    put(w, is_map ? "{" : "[");
    for (size_t i = 0; i < count && w->err == ERR_OK; i++) {
        put(w, "%s", i > 0 ? "," : "");
        if (is_map) {
            const struct message_counter *c = (const struct message_counter *)list + i;

            put_name(w, c->name);
            put(w, ":%" PRIu64, c->number);
        } else if (f->type == MESSAGE_NAMES) {
            put_name(w, ((const struct span *)list)[i]);
        } else {
            put_object(w, f->fields, (const char *)list + i * f->item_bytes);
        }
    }
    put(w, is_map ? "}" : "]");
}

static void
put_value(struct writer *w, const struct message_field *f, const char *base)
{
    const char *member = base + f->offset;
    const void *at = member;

    switch (f->type) {
    case MESSAGE_U64:
    case MESSAGE_F64:
        put_number(w, f, member);
        break;
    case MESSAGE_BOOL:
        put(w, "%s", *(const bool *)at ? "true" : "false");
        break;
    case MESSAGE_WORD:
        must(*(const uint32_t *)at < f->min);
        put_text(w, span_of(f->words[*(const uint32_t *)at]));
        break;
    case MESSAGE_NAME:
    case MESSAGE_TEXT:
    case MESSAGE_URL:
        if (!is_good_text(f, *(const struct span *)at))
            w->err = w->err == ERR_OK ? ERR_ARG : w->err;
        put_text(w, *(const struct span *)at);
        break;
    case MESSAGE_HEX:
        put_hex(w, f, at);
        break;
    case MESSAGE_LABELS:
        put_labels(w, at);
        break;
    case MESSAGE_OBJECT:
        put_object(w, f->fields, member);
        break;
    case MESSAGE_LIST:
    case MESSAGE_NAMES:
    case MESSAGE_COUNTERS:
        put_list(w, f, base);
        break;
    }
}

static bool
is_absent_object(const struct message_field *fields, const char *base)
{
    for (const struct message_field *f = fields; f->name != NULL; f++) {
        if (!is_absent(f, base))
            return false;
    }
    return true;
}

static bool
is_absent(const struct message_field *f, const char *base)
{
    const void *member = base + f->offset;

    switch (f->type) {
    case MESSAGE_U64:
        return *(const uint64_t *)member == MESSAGE_UNKNOWN;
    case MESSAGE_F64:
        return isnan(*(const double *)member);
    case MESSAGE_BOOL:
        return !*(const bool *)member;
    case MESSAGE_WORD:
        return *(const uint32_t *)member == 0;
    case MESSAGE_HEX:
        return message_is_zero(member, f->max);
    case MESSAGE_LABELS:
        return ((const struct message_labels *)member)->count == 0;
    case MESSAGE_OBJECT:
        return is_absent_object(f->fields, member);
    case MESSAGE_LIST:
    case MESSAGE_NAMES:
    case MESSAGE_COUNTERS:
        return *(const size_t *)(const void *)(base + f->count_offset) == 0;
    default:
        return ((const struct span *)member)->bytes == 0;
    }
}

static void
put_object(struct writer *w, const struct message_field *fields, const char *base)
{
    const char *before = "{";

    for (const struct message_field *f = fields; f->name != NULL; f++) {
        if (!f->required && is_absent(f, base))
            continue;
        put(w, "%s\"%s\":", before, f->name);
        put_value(w, f, base);
        before = ",";
    }
    put(w, before[0] == '{' ? "{}" : "}");
}

enum err
message_write(const struct message_field *fields, const void *base, char *text, size_t text_size,
              size_t *ret_bytes)
{
    struct writer w = {.text = text, .room = text_size};

    put_object(&w, fields, base);
    if (w.err == ERR_OK)
        *ret_bytes = w.bytes;
    return w.err;
}
