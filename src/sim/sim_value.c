/* sim_value - one reader and one writer for each kind of value; see sim_value.h. */
#include "sim/sim_value.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "sim/sim_rule.h"

#define SHOWN_BYTES_MAX 60u

static void *
member(const struct schema_key *key, void *base)
{
    return (char *)base + key->offset;
}

/* ---- Reading. */

static bool
in_range(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
         double value)
{
    if (value >= (double)key->min && value <= (double)key->max)
        return true;
    schema_bad_value(r, key, node, value < (double)key->min ? "large enough" : "small enough");
    return false;
}

/* A number of digits with a point at most, and what stands behind it. */
static bool
number_take(struct span text, double *ret_value, struct span *ret_rest)
{
    size_t n = 0;

    while (n < text.bytes && ((text.data[n] >= '0' && text.data[n] <= '9') || text.data[n] == '.'))
        n++;
    *ret_rest = span_from(text, n);
    return n > 0 && span_f64((struct span){text.data, n}, ret_value) == ERR_OK;
}

void
sim_value_ms(struct schema_reader *r, const struct schema_key *key,
             const struct yaml_tree_node *node, void *base)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1.0}, {"s", 1000.0}, {"us", 0.001}, {"m", 60000.0}, {"h", 3600000.0}};
    struct span unit;
    double value;

    if (!schema_is_scalar(r, key, node))
        return;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (!number_take(node->text, &value, &unit) || !span_eq_text(unit, units[i].name))
            continue;
        if (in_range(r, key, node, value * units[i].ms))
            *(double *)member(key, base) = value * units[i].ms;
        return;
    }
    schema_bad_value(r, key, node, "a duration (a number and us, ms, s, m or h)");
}

void
sim_value_share(struct schema_reader *r, const struct schema_key *key,
                const struct yaml_tree_node *node, void *base)
{
    struct span rest;
    double value;

    if (!schema_is_scalar(r, key, node))
        return;
    if (!number_take(node->text, &value, &rest) || (rest.bytes > 0 && !span_eq_text(rest, "%"))) {
        schema_bad_value(r, key, node, "a share (30% or 0.3)");
        return;
    }
    if (rest.bytes > 0)
        value /= 100.0;
    if (in_range(r, key, node, value * 100.0))
        *(double *)member(key, base) = value;
}

void
sim_value_number(struct schema_reader *r, const struct schema_key *key,
                 const struct yaml_tree_node *node, void *base)
{
    double value;

    if (!schema_is_scalar(r, key, node))
        return;
    if (span_f64(node->text, &value) != ERR_OK)
        schema_bad_value(r, key, node, "a number");
    else if (in_range(r, key, node, value))
        *(double *)member(key, base) = value;
}

/* The same key for another type of member. */
static struct schema_key
key_alone(const struct schema_key *key)
{
    struct schema_key alone = *key;

    alone.offset = 0;
    return alone;
}

void
sim_value_float(struct schema_reader *r, const struct schema_key *key,
                const struct yaml_tree_node *node, void *base)
{
    struct schema_key alone = key_alone(key);
    float *ret = member(key, base);
    double value = (double)*ret;

    sim_value_number(r, &alone, node, &value);
    *ret = (float)value;
}

void
sim_value_u16(struct schema_reader *r, const struct schema_key *key,
              const struct yaml_tree_node *node, void *base)
{
    struct schema_key alone = key_alone(key);
    uint16_t *ret = member(key, base);
    uint32_t value = *ret;

    schema_u32(r, &alone, node, &value);
    *ret = (uint16_t)value;
}

size_t
sim_value_word(struct schema_reader *r, const struct schema_key *key,
               const struct yaml_tree_node *node, const char *const *words, size_t count)
{
    const char *nearest;

    if (!schema_is_scalar(r, key, node))
        return count;
    for (size_t i = 0; i < count; i++) {
        if (span_eq_text(node->text, words[i]))
            return i;
    }
    nearest = config_nearest(node->text, words, count);
    config_problem(r->problems, node->line, node->column, false, "%s: there is no `%.*s`%s%s%s",
                   key->name,
                   (int)(node->text.bytes < SHOWN_BYTES_MAX ? node->text.bytes : SHOWN_BYTES_MAX),
                   node->text.data, nearest != NULL ? "; did you mean `" : "",
                   nearest != NULL ? nearest : "", nearest != NULL ? "`?" : "");
    return count;
}

void
sim_value_bool(struct schema_reader *r, const struct schema_key *key,
               const struct yaml_tree_node *node, void *base)
{
    static const char *const words[] = {"no", "false", "yes", "true"};
    size_t i = sim_value_word(r, key, node, words, 4);

    if (i < 4)
        *(bool *)member(key, base) = i >= 2;
}

void
sim_value_rule(struct schema_reader *r, const struct schema_key *key,
               const struct yaml_tree_node *node, void *base)
{
    const char *names[SIM_RULE_NAMES_MAX];
    size_t count = 0, i;

    while (count < SIM_RULE_NAMES_MAX && (names[count] = sim_rule_name(count)) != NULL)
        count++;
    i = sim_value_word(r, key, node, names, count);
    if (i < count)
        *(const char **)member(key, base) = names[i];
}

void
sim_value_text(struct schema_reader *r, const struct schema_key *key,
               const struct yaml_tree_node *node, void *base)
{
    if (!schema_is_scalar(r, key, node))
        return;
    if (node->text.bytes >= SIM_TEXT_BYTES_MAX)
        schema_bad_value(r, key, node, "short enough");
    else
        span_copy(node->text, member(key, base), SIM_TEXT_BYTES_MAX);
}

/* ---- Writing. */

void
sim_text_add(struct sim_text *t, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(t->at + t->bytes, t->room - t->bytes, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= t->room - t->bytes) {
        t->is_full = true;
        t->at[t->bytes] = '\0';
        return;
    }
    t->bytes += (size_t)n;
}

void
sim_value_write_number(struct sim_text *t, double value)
{
    char text[32];

    for (int digits = 6; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    sim_text_add(t, "%s", text);
}

static void
write_float(struct sim_text *t, float value)
{
    char text[32];

    for (int digits = 6; digits <= 9; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    sim_text_add(t, "%s", text);
}

/* A duration or share is read without an exponent. */
static void
write_plain(struct sim_text *t, double value)
{
    char text[64];

    for (int digits = 0; digits <= 20; digits++) {
        (void)snprintf(text, sizeof(text), "%.*f", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    sim_text_add(t, "%s", text);
}

void
sim_value_write(struct sim_text *t, const struct schema_key *key, const void *base)
{
    const void *at = (const char *)base + key->offset;

    if (key->read == sim_value_ms) {
        write_plain(t, *(const double *)at);
        sim_text_add(t, "ms");
    } else if (key->read == sim_value_share) {
        write_plain(t, *(const double *)at);
    } else if (key->read == sim_value_number) {
        sim_value_write_number(t, *(const double *)at);
    } else if (key->read == sim_value_float) {
        write_float(t, *(const float *)at);
    } else if (key->read == sim_value_u16) {
        sim_text_add(t, "%u", *(const uint16_t *)at);
    } else if (key->read == schema_u32) {
        sim_text_add(t, "%" PRIu32, *(const uint32_t *)at);
    } else if (key->read == schema_u64) {
        sim_text_add(t, "%" PRIu64, *(const uint64_t *)at);
    } else if (key->read == sim_value_bool) {
        sim_text_add(t, "%s", *(const bool *)at ? "yes" : "no");
    } else if (key->read == sim_value_rule) {
        sim_text_add(t, "%s", *(const char *const *)at);
    } else {
        must(key->read == sim_value_text);
        sim_text_add(t, "%s", (const char *)at);
    }
}
