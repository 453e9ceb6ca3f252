/* load_reply - searches in the bytes of an event; see load_reply.h. Engines and gateways write
 * these keys without blanks; one blank is allowed for those that do not. */
#include "load_reply.h"

#include <math.h>

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The bytes behind `key` (quotes included) and its colon, wherever it stands first; empty: nowhere.
 */
static struct span
value_of(struct span data, const char *key)
{
    const char *at = memmem(data.data, data.bytes, key, strlen(key));
    struct span rest;

    if (at == NULL)
        return (struct span){NULL, 0};
    rest = span_trim(span_from(data, (size_t)(at - data.data) + strlen(key)));
    if (rest.bytes == 0 || rest.data[0] != ':')
        return (struct span){NULL, 0};
    return span_trim(span_from(rest, 1));
}

static bool
has_text(struct span value)
{
    return value.bytes >= 2 && value.data[0] == '"' && value.data[1] != '"';
}

bool
load_reply_has_content(struct span data)
{
    return has_text(value_of(data, "\"content\"")) || has_text(value_of(data, "\"text\""));
}

bool
load_reply_is_error(struct span data)
{
    struct span value = value_of(data, "\"error\"");

    return value.bytes > 0 && value.data[0] == '{';
}

/* One metric: name;param=value;... Its dur, or NAN. */
static double
duration_ms(struct span metric)
{
    while (metric.bytes > 0) {
        size_t end = span_find(metric, ';');
        struct span part = span_trim((struct span){metric.data, end});
        double ms;

        metric = span_from(metric, end + 1);
        if (span_starts(part, SPAN_LIT("dur=")))
            return span_f64(span_from(part, 4), &ms) == ERR_OK ? ms : NAN;
    }
    return NAN;
}

double
load_reply_timing_ms(struct span header, const char *metric)
{
    while (header.bytes > 0) {
        size_t end = span_find(header, ','), name_end;
        struct span one = {header.data, end};

        header = span_from(header, end + 1);
        while (one.bytes > 0 && is_blank(one.data[0]))
            one = span_from(one, 1);
        name_end = span_find(one, ';');
        if (span_eq_text(span_trim((struct span){one.data, name_end}), metric))
            return duration_ms(span_from(one, name_end + 1));
    }
    return NAN;
}
