/* trace_azure - requests as Azure publishes them: TIMESTAMP,ContextTokens,GeneratedTokens, a line
 * each. Nothing is said of clients, sessions or prefixes, so every request is a session of its own.
 */
#include "sim/data_table.h"
#include "sim/trace_builder.h"

#define MS_PER_DAY 86400000.0

enum { TIMESTAMP, CONTEXT, GENERATED, COLUMN_COUNT };
static const struct data_column columns[COLUMN_COUNT] = {
    [TIMESTAMP] = {"TIMESTAMP", false},
    [CONTEXT] = {"ContextTokens", false},
    [GENERATED] = {"GeneratedTokens", false},
};

/* Take `digits` digits and then `end` (0: nothing) off *s; false when they are not there. */
static bool
take_number(struct span *s, unsigned digits, char end, unsigned *ret)
{
    size_t bytes = digits + (end != '\0');

    if (s->bytes < bytes || (end != '\0' && s->data[digits] != end))
        return false;
    *ret = 0;
    for (unsigned i = 0; i < digits; i++) {
        if (s->data[i] < '0' || s->data[i] > '9')
            return false;
        *ret = *ret * 10 + (unsigned)(s->data[i] - '0');
    }
    *s = span_from(*s, bytes);
    return true;
}

static unsigned
days_in(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap);
}

/* Days from 0000-03-01, so that the leap day is a year's last. */
static double
days_before(unsigned year, unsigned month, unsigned day)
{
    unsigned y = year - (month <= 2), m = month > 2 ? month - 3 : month + 9;

    return 365.0 * y + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1;
}

/* Z, +hh:mm, -hh:mm or nothing, as minutes. */
static bool
take_zone(struct span s, int *ret_minutes)
{
    unsigned hours, minutes;
    int sign;

    *ret_minutes = 0;
    if (s.bytes == 0 || span_eq_text(s, "Z"))
        return true;
    sign = s.data[0] == '+' ? 1 : s.data[0] == '-' ? -1 : 0;
    s = span_from(s, 1);
    if (sign == 0 || !take_number(&s, 2, ':', &hours) || !take_number(&s, 2, '\0', &minutes) ||
        s.bytes > 0 || hours > 23 || minutes > 59)
        return false;
    *ret_minutes = sign * (int)(hours * 60 + minutes);
    return true;
}

/* 2023-11-16 18:17:03.9799600, with T for the space and a zone behind it where the file has them.
 */
static bool
timestamp(struct span s, double *ret_ms)
{
    unsigned year, month, day, hour, minute, second;
    double fraction = 0.0, unit = 1.0;
    char between = s.bytes > 10 && s.data[10] == 'T' ? 'T' : ' ';
    int zone_minutes;

    if (!take_number(&s, 4, '-', &year) || !take_number(&s, 2, '-', &month) ||
        !take_number(&s, 2, between, &day) || !take_number(&s, 2, ':', &hour) ||
        !take_number(&s, 2, ':', &minute) || !take_number(&s, 2, '\0', &second))
        return false;
    if (year == 0 || month < 1 || month > 12 || day < 1 || day > days_in(year, month) ||
        hour > 23 || minute > 59 || second > 60)
        return false;
    if (s.bytes > 0 && s.data[0] == '.') {
        size_t i = 1;

        for (; i < s.bytes && s.data[i] >= '0' && s.data[i] <= '9'; i++) {
            unit /= 10.0;
            fraction += unit * (s.data[i] - '0');
        }
        s = span_from(s, i);
    }
    if (!take_zone(s, &zone_minutes))
        return false;
    *ret_ms = days_before(year, month, day) * MS_PER_DAY + hour * 3600000.0 +
              ((int)minute - zone_minutes) * 60000.0 + (second + fraction) * 1000.0;
    return true;
}

enum err
trace_azure_read(struct trace_builder *b, struct data_file *f)
{
    struct data_table t;
    enum err err = data_table_open(&t, f, columns, COLUMN_COUNT);

    while (err == ERR_OK) {
        uint32_t prompt = 0, output = 0;
        struct span stamp;
        double at_ms = 0.0;

        err = data_table_next(&t);
        if (err == ERR_NOT_FOUND)
            return ERR_OK;
        stamp = data_table_text(&t, TIMESTAMP);
        if (err == ERR_OK && !timestamp(stamp, &at_ms))
            err = data_file_fail(f, ERR_PARSE,
                                 "TIMESTAMP: `%.*s` is not of the form 2023-11-16 18:17:03.97",
                                 stamp.bytes < 40 ? (int)stamp.bytes : 40, stamp.data);
        if (err == ERR_OK)
            err = data_table_u32(&t, CONTEXT, 0, TRACE_TOKENS_MAX, &prompt);
        if (err == ERR_OK)
            err = data_table_u32(&t, GENERATED, 0, TRACE_TOKENS_MAX, &output);
        if (err == ERR_OK)
            err = trace_builder_request(b, f, at_ms, prompt, output);
    }
    return err;
}
