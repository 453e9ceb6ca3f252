/* data_table - rows by column names; see data_table.h. A line is cut in place: what a quoted cell
 * loses when its quotes go leaves a gap behind it that nobody looks at. */
#include "sim/data_table.h"

#include <math.h>

#define SHOWN_BYTES_MAX 40

/* Take the quotes off the cell that begins at *at and find its end in *at; false: never closed, or
 * text behind the closing quote. */
static bool
quoted_cell(char *line, size_t bytes, size_t *at, char delimiter, struct span *ret_cell)
{
    size_t from = *at + 1, to = from, i = from;

    for (; i < bytes; i++) {
        if (line[i] == '"' && !(i + 1 < bytes && line[i + 1] == '"'))
            break;
        i += line[i] == '"';
        line[to++] = line[i];
    }
    if (i == bytes || (i + 1 < bytes && line[i + 1] != delimiter))
        return false;
    *ret_cell = (struct span){line + from, to - from};
    *at = i + 1;
    return true;
}

/* Cut the line into t->cells. */
static enum err
cut(struct data_table *t, struct span span, uint32_t *ret_count)
{
    char *line = (char *)(uintptr_t)span.data; /* the file's buffer, ours to change */
    uint32_t count = 0;
    size_t at = 0;

    do {
        if (count == DATA_TABLE_COLUMNS_MAX)
            return data_file_fail(t->file, ERR_FULL, "more than %u cells", DATA_TABLE_COLUMNS_MAX);
        if (at < span.bytes && line[at] == '"') {
            if (!quoted_cell(line, span.bytes, &at, t->delimiter, &t->cells[count]))
                return data_file_fail(t->file, ERR_PARSE, "cell %u: its quotes do not close",
                                      count + 1);
        } else {
            struct span rest = span_from(span, at);
            size_t end = span_find(rest, t->delimiter);

            t->cells[count] = span_trim((struct span){rest.data, end});
            at += end;
        }
        count++;
    } while (at++ < span.bytes);
    *ret_count = count;
    return ERR_OK;
}

enum err
data_table_open(struct data_table *t, struct data_file *f, const struct data_column *columns,
                uint32_t count)
{
    struct span line;
    enum err err = data_file_first(f, &line);

    *t = (struct data_table){.file = f, .columns = columns, .wanted_count = count};
    if (err != ERR_OK)
        return err;
    t->delimiter = span_find(line, '\t') < line.bytes ? '\t' : ',';
    err = cut(t, line, &t->column_count);
    if (err != ERR_OK)
        return err;
    for (uint32_t i = 0; i < count; i++) {
        t->at[i] = UINT32_MAX;
        for (uint32_t c = 0; c < t->column_count; c++) {
            if (!span_eq_text(t->cells[c], columns[i].name))
                continue;
            if (t->at[i] != UINT32_MAX)
                return data_file_fail(f, ERR_PARSE, "the column %s is there twice",
                                      columns[i].name);
            t->at[i] = c;
        }
        if (t->at[i] == UINT32_MAX && !columns[i].optional)
            return data_file_fail(f, ERR_PARSE, "the column %s is missing", columns[i].name);
    }
    return ERR_OK;
}

enum err
data_table_next(struct data_table *t)
{
    struct span line;
    uint32_t count;
    enum err err = data_file_line(t->file, &line);

    if (err == ERR_OK)
        err = cut(t, line, &count);
    if (err == ERR_OK && count != t->column_count)
        err = data_file_fail(t->file, ERR_PARSE, "%u cells, but the header names %u", count,
                             t->column_count);
    return err;
}

struct span
data_table_text(const struct data_table *t, uint32_t column)
{
    return t->at[column] == UINT32_MAX ? (struct span){NULL, 0} : t->cells[t->at[column]];
}

static enum err
fail_number(struct data_table *t, uint32_t column, const char *kind, double min, double max)
{
    struct span cell = data_table_text(t, column);

    return data_file_fail(t->file, ERR_PARSE, "%s: `%.*s` is no %s from %.10g to %.10g",
                          t->columns[column].name,
                          cell.bytes < SHOWN_BYTES_MAX ? (int)cell.bytes : SHOWN_BYTES_MAX,
                          cell.bytes > 0 ? cell.data : "", kind, min, max);
}

enum err
data_table_f64(struct data_table *t, uint32_t column, double min, double max, double *ret)
{
    double value;

    if (span_f64(data_table_text(t, column), &value) != ERR_OK || !(value >= min && value <= max))
        return fail_number(t, column, "number", min, max);
    *ret = value;
    return ERR_OK;
}

enum err
data_table_u32(struct data_table *t, uint32_t column, uint32_t min, uint32_t max, uint32_t *ret)
{
    struct span cell = data_table_text(t, column);
    uint64_t whole;
    double value;

    if (span_u64(cell, &whole) != ERR_OK) {
        if (span_f64(cell, &value) != ERR_OK || !(value >= 0.0 && value <= UINT32_MAX) ||
            value != floor(value))
            return fail_number(t, column, "whole number", min, max);
        whole = (uint64_t)value;
    }
    if (whole < min || whole > max)
        return fail_number(t, column, "whole number", min, max);
    *ret = (uint32_t)whole;
    return ERR_OK;
}

enum err
data_table_u32_or(struct data_table *t, uint32_t column, uint32_t min, uint32_t max,
                  uint32_t missing, uint32_t *ret)
{
    if (data_table_text(t, column).bytes > 0)
        return data_table_u32(t, column, min, max, ret);
    *ret = missing;
    return ERR_OK;
}

enum err
data_table_name(struct data_table *t, uint32_t column, char *text, size_t size)
{
    struct span cell = data_table_text(t, column);

    if (cell.bytes >= size)
        return data_file_fail(t->file, ERR_PARSE, "%s: a name of %zu characters, at most %zu fit",
                              t->columns[column].name, cell.bytes, size - 1);
    for (size_t i = 0; i < cell.bytes; i++) {
        if ((unsigned char)cell.data[i] < ' ' || cell.data[i] == 0x7F)
            return data_file_fail(t->file, ERR_PARSE, "%s: a name with control characters",
                                  t->columns[column].name);
    }
    span_copy(cell, text, size);
    return ERR_OK;
}
