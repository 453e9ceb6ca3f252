/* config_value - the small languages inside a configuration: durations, sizes, addresses, the size
 * of a model; the nearest word; and the list of problems. */
#include <stdarg.h>
#include <stdio.h>

#include "wire/config.h"

#define HOST_BYTES_MAX 253u
#define WORD_BYTES_MAX 48u

/* ---- Problems. */

void
config_problem(struct config_problems *problems, uint32_t line, uint32_t column, bool warning,
               const char *format, ...)
{
    struct config_problem *p;
    va_list args;

    problems->errors += !warning;
    if (problems->count == CONFIG_PROBLEMS_MAX)
        return;
    p = &problems->list[problems->count++];
    p->line = line;
    p->column = column;
    p->warning = warning;
    va_start(args, format);
    vsnprintf(p->text, sizeof(p->text), format, args);
    va_end(args);
}

/* ---- Numbers with a unit. */

struct unit {
    const char *name;
    uint64_t factor;
};

/* A whole number and one of the units, nothing between them. */
static enum err
number_with_unit(struct span text, const struct unit *units, size_t unit_count, uint64_t *ret)
{
    size_t digits = 0;
    uint64_t value;

    while (digits < text.bytes && text.data[digits] >= '0' && text.data[digits] <= '9')
        digits++;
    if (span_u64((struct span){text.data, digits}, &value) != ERR_OK)
        return ERR_PARSE;
    for (size_t i = 0; i < unit_count; i++) {
        if (!span_eq_text(span_from(text, digits), units[i].name))
            continue;
        return __builtin_mul_overflow(value, units[i].factor, ret) ? ERR_PARSE : ERR_OK;
    }
    return ERR_PARSE;
}

enum err
config_duration(struct span text, uint64_t *ret_ns)
{
    static const struct unit units[] = {
        {"us", 1000u},       {"ms", 1000000u},      {"s", 1000000000u},
        {"m", 60000000000u}, {"h", 3600000000000u},
    };
    uint64_t ns;

    if (number_with_unit(text, units, sizeof(units) / sizeof(units[0]), &ns) != ERR_OK)
        return ERR_PARSE;
    *ret_ns = ns;
    return ERR_OK;
}

enum err
config_size(struct span text, uint64_t *ret_bytes)
{
    static const struct unit units[] = {
        {"", 1u},          {"B", 1u},         {"KiB", 1u << 10},
        {"MiB", 1u << 20}, {"GiB", 1u << 30}, {"TiB", (uint64_t)1 << 40},
    };
    uint64_t bytes;

    if (number_with_unit(text, units, sizeof(units) / sizeof(units[0]), &bytes) != ERR_OK)
        return ERR_PARSE;
    *ret_bytes = bytes;
    return ERR_OK;
}

/* ---- Addresses. */

static bool
is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool
is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* A name or IPv4 address; or, from between brackets, an IPv6 address (at least two colons). */
static bool
host_is_good(struct span host, bool v6)
{
    size_t colons = 0;

    if (host.bytes == 0 || host.bytes > HOST_BYTES_MAX)
        return false;
    for (size_t i = 0; i < host.bytes; i++) {
        char c = host.data[i];

        colons += c == ':';
        if (c != '.' && !(v6 ? is_hex(c) || c == ':' : is_alnum(c) || c == '-' || c == '_'))
            return false;
    }
    return !v6 || colons >= 2;
}

/* host, [v6] with what follows it in *ret_rest. */
static enum err
host_take(struct span text, struct span *ret_host, struct span *ret_rest)
{
    bool v6 = text.bytes > 0 && text.data[0] == '[';
    struct span host = v6 ? span_from(text, 1) : text;

    host.bytes = span_find(host, v6 ? ']' : ':');
    if (v6 && host.bytes + 1 >= text.bytes)
        return ERR_PARSE;
    if (!host_is_good(host, v6))
        return ERR_PARSE;
    *ret_host = host;
    *ret_rest = span_from(text, host.bytes + (v6 ? 2 : 0));
    return ERR_OK;
}

static enum err
port_take(struct span text, uint16_t *ret_port)
{
    uint64_t port;

    if (text.bytes < 2 || text.bytes > 6 || text.data[0] != ':' ||
        span_u64(span_from(text, 1), &port) != ERR_OK || port > UINT16_MAX)
        return ERR_PARSE;
    *ret_port = (uint16_t)port;
    return ERR_OK;
}

enum err
config_host_port(struct span text, struct span *ret_host, uint16_t *ret_port)
{
    struct span host, rest;
    uint16_t port;

    if (host_take(text, &host, &rest) != ERR_OK || port_take(rest, &port) != ERR_OK)
        return ERR_PARSE;
    *ret_host = host;
    *ret_port = port;
    return ERR_OK;
}

enum err
config_url(struct span text, struct span *ret_host, uint16_t *ret_port)
{
    const struct span http = SPAN_LIT("http://"), https = SPAN_LIT("https://");
    bool tls = span_starts(text, https);
    uint16_t port = tls ? 443 : 80;
    struct span host, rest;

    if (!tls && !span_starts(text, http))
        return ERR_PARSE;
    text = span_from(text, tls ? https.bytes : http.bytes);
    if (text.bytes > 0 && text.data[text.bytes - 1] == '/')
        text.bytes--;
    if (host_take(text, &host, &rest) != ERR_OK)
        return ERR_PARSE;
    if (rest.bytes > 0 && (port_take(rest, &port) != ERR_OK || port == 0))
        return ERR_PARSE;
    *ret_host = host;
    *ret_port = port;
    return tls ? ERR_UNSUPPORTED : ERR_OK;
}

bool
config_is_loopback(struct span host)
{
    if (span_eq_text(host, "::1") || span_eq_text(host, "localhost"))
        return true;
    for (size_t i = 0; i < host.bytes; i++) {
        if (host.data[i] != '.' && !(host.data[i] >= '0' && host.data[i] <= '9'))
            return false;
    }
    return span_starts(host, SPAN_LIT("127."));
}

bool
config_is_name(struct span text)
{
    if (text.bytes == 0 || text.bytes > CONFIG_NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];

        if (!is_alnum(c) && c != '-')
            return false;
        if (c >= 'A' && c <= 'Z')
            return false;
    }
    return true;
}

/* ---- How large a model is. */

/* A decimal number at *at, without sign and exponent; *at behind it. */
static bool
decimal_take(struct span s, size_t *at, double *ret_value)
{
    size_t from = *at;

    while (*at < s.bytes &&
           ((s.data[*at] >= '0' && s.data[*at] <= '9') || (s.data[*at] == '.' && *at > from)))
        (*at)++;
    return *at > from && span_f64((struct span){s.data + from, *at - from}, ret_value) == ERR_OK;
}

/* Billions, when a number of parameters ("8b", "0.5B", "500M", "8x7B") stands at *at; *at is behind
 * it. Else 0. Experts share their attention: a mixture is a little smaller than its product. */
static double
params_take(struct span s, size_t *at)
{
    const double shared = 0.83;
    double value, times;
    char unit;

    if (!decimal_take(s, at, &value))
        return 0.0;
    if (*at < s.bytes && s.data[*at] == 'x') {
        ++*at;
        if (!decimal_take(s, at, &times))
            return 0.0;
        value *= times * shared;
    }
    unit = *at < s.bytes ? s.data[(*at)++] : '\0';
    if (unit == 'm' || unit == 'M')
        value /= 1000.0;
    else if (unit != 'b' && unit != 'B')
        return 0.0;
    return value <= CONFIG_PARAMS_B_MAX ? value : 0.0;
}

enum err
config_params(struct span text, double *ret_params_b)
{
    size_t at = 0;
    double params_b = params_take(text, &at);

    if (!(params_b > 0.0) || at != text.bytes)
        return ERR_PARSE;
    *ret_params_b = params_b;
    return ERR_OK;
}

double
config_params_from_name(struct span name)
{
    for (size_t i = 0; i < name.bytes; i++) {
        size_t at = i;
        double params_b;

        if (i > 0 && (is_alnum(name.data[i - 1]) || name.data[i - 1] == '.'))
            continue; /* in the middle of a word or a number */
        params_b = params_take(name, &at);
        if (params_b > 0.0 && (at == name.bytes || !is_alnum(name.data[at])))
            return params_b;
    }
    return 0.0;
}

/* ---- The nearest word. */

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, replacements and swaps of neighbours from a to b; both at most
 * WORD_BYTES_MAX. */
static size_t
edit_distance(struct span a, struct span b)
{
    size_t rows[3][WORD_BYTES_MAX + 1];

    for (size_t j = 0; j <= b.bytes; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.bytes; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= b.bytes; j++) {
            size_t change = a.data[i - 1] != b.data[j - 1];

            now[j] = least(last[j - 1] + change, least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
    }
    return rows[a.bytes % 3][b.bytes];
}

const char *
config_nearest(struct span word, const char *const *candidates, size_t count)
{
    const char *nearest = NULL;
    size_t best = word.bytes / 3 + 1;

    if (word.bytes > WORD_BYTES_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        struct span candidate = span_of(candidates[i]);
        size_t distance;

        if (candidate.bytes > WORD_BYTES_MAX)
            continue;
        distance = edit_distance(word, candidate);
        if (distance < best) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}
