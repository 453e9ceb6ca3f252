/* prometheus - one sample at a time out of the text exposition format; see prometheus.h. Nothing is
 * copied or built: a document of an engine has thousands of lines of which four are wanted. */
#include "wire/prometheus.h"

static bool
is_name_char(char c, bool first)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';

    return letter || (!first && c >= '0' && c <= '9');
}

/* How many bytes of s are a metric or label name. */
static size_t
name_bytes(struct span s)
{
    size_t n = 0;

    while (n < s.bytes && is_name_char(s.data[n], n == 0))
        n++;
    return n;
}

/* s begins behind an opening quote: where the closing one stands, else s.bytes. */
static size_t
quote_end(struct span s)
{
    for (size_t i = 0; i < s.bytes; i++) {
        if (s.data[i] == '"')
            return i;
        if (s.data[i] == '\\')
            i++;
    }
    return s.bytes;
}

/* s begins behind `{`: where the matching `}` stands, else s.bytes. Braces in quotes do not count.
 */
static size_t
labels_end(struct span s)
{
    for (size_t i = 0; i < s.bytes; i++) {
        if (s.data[i] == '}')
            return i;
        if (s.data[i] == '"')
            i += 1 + quote_end(span_from(s, i + 1));
    }
    return s.bytes;
}

/* Up to the first space or tab; *rest is what follows it, trimmed. */
static struct span
word(struct span s, struct span *rest)
{
    size_t n = 0;

    while (n < s.bytes && s.data[n] != ' ' && s.data[n] != '\t')
        n++;
    *rest = span_trim(span_from(s, n));
    return (struct span){s.data, n};
}

static enum err
sample_parse(struct span line, struct prometheus_sample *ret_sample)
{
    struct prometheus_sample sample = {{NULL, 0}, {NULL, 0}, 0.0};
    struct span rest = line, stamp;
    double time;
    size_t n = name_bytes(line);

    if (n == 0)
        return ERR_PARSE;
    sample.name = (struct span){line.data, n};
    rest = span_trim(span_from(line, n));
    if (rest.bytes > 0 && rest.data[0] == '{') {
        rest = span_from(rest, 1);
        n = labels_end(rest);
        if (n >= rest.bytes)
            return ERR_PARSE;
        sample.labels = (struct span){rest.data, n};
        rest = span_trim(span_from(rest, n + 1));
    } else if (rest.bytes > 0 && rest.data == line.data + sample.name.bytes) {
        return ERR_PARSE; /* no space between name and value */
    }
    if (span_f64(word(rest, &rest), &sample.value) != ERR_OK)
        return ERR_PARSE;
    if (rest.bytes > 0 &&
        rest.data[0] != '#') { /* a time stamp; `#` begins OpenMetrics' exemplar */
        stamp = word(rest, &rest);
        if (span_f64(stamp, &time) != ERR_OK || (rest.bytes > 0 && rest.data[0] != '#'))
            return ERR_PARSE;
    }
    *ret_sample = sample;
    return ERR_OK;
}

enum err
prometheus_next(struct span text, size_t *at, struct prometheus_sample *ret_sample)
{
    while (*at < text.bytes) {
        struct span line = span_from(text, *at);

        line.bytes = span_find(line, '\n');
        *at += line.bytes + (*at + line.bytes < text.bytes);
        if (line.bytes > 0 && line.data[line.bytes - 1] == '\r')
            line.bytes--;
        line = span_trim(line);
        if (line.bytes > 0 && line.data[0] != '#')
            return sample_parse(line, ret_sample);
    }
    return ERR_AGAIN;
}

bool
prometheus_label(struct span labels, const char *name, struct span *ret_value)
{
    while (labels.bytes > 0) {
        struct span key, value;
        size_t n;

        labels = span_trim(labels);
        key = (struct span){labels.data, name_bytes(labels)};
        labels = span_trim(span_from(labels, key.bytes));
        if (key.bytes == 0 || labels.bytes == 0 || labels.data[0] != '=')
            return false;
        labels = span_trim(span_from(labels, 1));
        if (labels.bytes == 0 || labels.data[0] != '"')
            return false;
        value = span_from(labels, 1);
        n = quote_end(value);
        if (n >= value.bytes)
            return false;
        labels = span_trim(span_from(value, n + 1));
        value.bytes = n;
        if (span_eq_text(key, name)) {
            *ret_value = value;
            return true;
        }
        if (labels.bytes > 0 && labels.data[0] != ',')
            return false;
        labels = span_from(labels, 1);
    }
    return false;
}
