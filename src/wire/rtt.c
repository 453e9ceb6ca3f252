/* rtt - the reader of measured matrices, and the look-up; see rtt.h.
 *
 * A file is read twice: first the names, then the milliseconds into a table of the right size. Both
 * shapes come down to (from, to, cell) triples, so there is one loop (walk) and two things done
 * with it. */
#include "wire/rtt.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define CELL_MS_MAX    60000.0
#define NAME_BYTES_MAX 63u
#define DIAGONAL_MS    1.0f

/* Names in the order in which they appear. Rows of a list mostly follow one another in that order,
 * so a search begins where the last one ended. */
struct names {
    struct span list[RTT_REGIONS_MAX];
    uint32_t count, hint;
};

struct reader {
    struct span csv;
    size_t at;
    uint32_t line;
    struct rtt_error *error;
    struct names *names;
    float *ms; /* NULL in the first pass */
    struct arena *arena;
};

static enum err fail(struct reader *r, enum err err, const char *format, ...) PRINTF_LIKE(3, 4);
static enum err
fail(struct reader *r, enum err err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(r->error->message, sizeof(r->error->message), format, args);
    va_end(args);
    r->error->line = r->line;
    return err;
}

/* The next line that is not empty and no comment; false at the end. */
static bool
next_line(struct reader *r, struct span *ret_line)
{
    while (r->at < r->csv.bytes) {
        struct span line = span_from(r->csv, r->at);

        line.bytes = span_find(line, '\n');
        r->at += line.bytes + (r->at + line.bytes < r->csv.bytes);
        r->line++;
        if (line.bytes > 0 && line.data[line.bytes - 1] == '\r')
            line.bytes--;
        line = span_trim(line);
        if (line.bytes > 0 && line.data[0] != '#') {
            *ret_line = line;
            return true;
        }
    }
    return false;
}

/* Take the first cell off *line; false when nothing is left, which line->data == NULL says: behind
 * a comma at the end there is one more cell, an empty one. */
static bool
next_cell(struct span *line, struct span *ret_cell)
{
    size_t end;

    if (line->data == NULL)
        return false;
    end = span_find(*line, ',');
    *ret_cell = span_trim((struct span){line->data, end});
    if (ret_cell->bytes >= 2 && ret_cell->data[0] == '"' &&
        ret_cell->data[ret_cell->bytes - 1] == '"')
        *ret_cell = (struct span){ret_cell->data + 1, ret_cell->bytes - 2};
    *line = end < line->bytes ? span_from(*line, end + 1) : (struct span){NULL, 0};
    return true;
}

/* `:` and `-` are the same in a name. */
static bool
same_name(struct span name, struct span cell)
{
    if (name.bytes != cell.bytes)
        return false;
    for (size_t i = 0; i < cell.bytes; i++) {
        if (name.data[i] != (cell.data[i] == ':' ? '-' : cell.data[i]))
            return false;
    }
    return true;
}

static uint32_t
names_find(struct names *names, struct span cell)
{
    for (uint32_t i = 0; i < names->count; i++) {
        uint32_t at = (names->hint + i) % names->count;

        if (same_name(names->list[at], cell)) {
            names->hint = at + 1;
            return at;
        }
    }
    return UINT32_MAX;
}

/* The index of a name, which is added when it is new. */
static enum err
name_index(struct reader *r, struct span cell, uint32_t *ret_index)
{
    char *text;

    *ret_index = names_find(r->names, cell);
    if (*ret_index != UINT32_MAX)
        return ERR_OK;
    if (cell.bytes == 0 || cell.bytes > NAME_BYTES_MAX)
        return fail(r, ERR_PARSE, "a region's name has 1 to %u characters, here are %zu",
                    NAME_BYTES_MAX, cell.bytes);
    if (r->names->count == RTT_REGIONS_MAX)
        return fail(r, ERR_FULL, "more than %u regions", RTT_REGIONS_MAX);
    text = arena_take(r->arena, cell.bytes);
    if (text == NULL)
        return fail(r, ERR_FULL, "out of memory");
    for (size_t i = 0; i < cell.bytes; i++) {
        char c = cell.data[i] == ':' ? '-' : cell.data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return fail(r, ERR_PARSE, "`%.*s`: a region's name is of a-z, 0-9 and -",
                        (int)cell.bytes, cell.data);
        text[i] = c;
    }
    *ret_index = r->names->count;
    r->names->list[r->names->count++] = (struct span){text, cell.bytes};
    return ERR_OK;
}

/* One (from, to, cell): its milliseconds into the table, in the second pass. */
static enum err
take_cell(struct reader *r, uint32_t from, uint32_t to, struct span cell)
{
    double ms;

    if (cell.bytes == 0 || span_eq_text(cell, "-") || span_eq_nocase(cell, SPAN_LIT("nan")))
        return ERR_OK;
    if (span_f64(cell, &ms) != ERR_OK || !(ms >= 0.0 && ms <= CELL_MS_MAX))
        return fail(r, ERR_PARSE, "`%.*s` is no number of milliseconds from 0 to %.0f",
                    (int)(cell.bytes < 40 ? cell.bytes : 40), cell.data, CELL_MS_MAX);
    if (r->ms != NULL)
        r->ms[(size_t)from * r->names->count + to] = (float)ms;
    return ERR_OK;
}

/* ---- The square shape. `head` is the first line. */
static enum err
walk_square(struct reader *r, struct span head)
{
    uint16_t columns[RTT_REGIONS_MAX];
    struct span cell, line;
    uint32_t count = 0, index, from;
    enum err err;

    next_cell(&head, &cell); /* the corner says nothing */
    while (next_cell(&head, &cell)) {
        if (count == RTT_REGIONS_MAX)
            return fail(r, ERR_FULL, "more than %u regions", RTT_REGIONS_MAX);
        err = name_index(r, cell, &index);
        if (err != ERR_OK)
            return err;
        for (uint32_t i = 0; i < count; i++) {
            if (columns[i] == index)
                return fail(r, ERR_PARSE, "the region `%.*s` has two columns", (int)cell.bytes,
                            cell.data);
        }
        columns[count++] = (uint16_t)index;
    }
    if (count == 0)
        return fail(r, ERR_PARSE,
                    "the first line must name regions, or the columns from, to and rtt_ms");
    while (next_line(r, &line)) {
        uint32_t n = 0;

        next_cell(&line, &cell);
        err = name_index(r, cell, &from);
        while (err == ERR_OK && next_cell(&line, &cell)) {
            if (n == count)
                return fail(r, ERR_PARSE, "more than the %u cells that the first line names",
                            count);
            err = take_cell(r, from, columns[n++], cell);
        }
        if (err != ERR_OK)
            return err;
        if (n != count)
            return fail(r, ERR_PARSE, "%u cells, but the first line names %u", n, count);
    }
    return ERR_OK;
}

/* ---- The list shape. */

enum { COLUMN_FROM, COLUMN_TO, COLUMN_MS, COLUMN_COUNT };

struct columns {
    uint32_t at[COLUMN_COUNT]; /* UINT32_MAX: not there */
};

static struct columns
columns_find(struct span head)
{
    static const struct {
        const char *name;
        int column;
    } known[] = {
        /* of milliseconds the first that is there counts */
        {"from", COLUMN_FROM},
        {"src", COLUMN_FROM},
        {"source", COLUMN_FROM},
        {"src_region", COLUMN_FROM},
        {"from_region", COLUMN_FROM},
        {"to", COLUMN_TO},
        {"dst", COLUMN_TO},
        {"destination", COLUMN_TO},
        {"dst_region", COLUMN_TO},
        {"to_region", COLUMN_TO},
        {"ms", COLUMN_MS},
        {"rtt_ms", COLUMN_MS},
        {"rtt", COLUMN_MS},
        {"avg_rtt", COLUMN_MS},
        {"min_rtt", COLUMN_MS},
        {"latency_ms", COLUMN_MS},
        {"latency", COLUMN_MS},
    };
    struct columns c = {{UINT32_MAX, UINT32_MAX, UINT32_MAX}};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct span rest = head, cell;

        for (uint32_t n = 0; c.at[known[i].column] == UINT32_MAX && next_cell(&rest, &cell); n++) {
            if (span_eq_nocase(cell, span_of(known[i].name)))
                c.at[known[i].column] = n;
        }
    }
    return c;
}

static bool
columns_complete(const struct columns *c)
{
    return c->at[COLUMN_FROM] != UINT32_MAX && c->at[COLUMN_TO] != UINT32_MAX &&
           c->at[COLUMN_MS] != UINT32_MAX;
}

static enum err
walk_list(struct reader *r, const struct columns *c)
{
    struct span line;

    while (next_line(r, &line)) {
        struct span cells[COLUMN_COUNT] = {{NULL, 0}, {NULL, 0}, {NULL, 0}}, cell;
        uint32_t from, to;
        enum err err;

        for (uint32_t n = 0; next_cell(&line, &cell); n++) {
            for (int i = 0; i < COLUMN_COUNT; i++) {
                if (n == c->at[i])
                    cells[i] = cell;
            }
        }
        if ((err = name_index(r, cells[COLUMN_FROM], &from)) != ERR_OK ||
            (err = name_index(r, cells[COLUMN_TO], &to)) != ERR_OK ||
            (err = take_cell(r, from, to, cells[COLUMN_MS])) != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* ---- */

static enum err
walk(struct reader *r)
{
    struct columns columns;
    struct span head;

    r->at = 0;
    r->line = 0;
    if (!next_line(r, &head))
        return fail(r, ERR_PARSE, "the file is empty");
    columns = columns_find(head);
    return columns_complete(&columns) ? walk_list(r, &columns) : walk_square(r, head);
}

enum err
rtt_parse(struct span csv, struct arena *arena, struct rtt_matrix *ret_matrix,
          struct rtt_error *ret_error)
{
    struct reader r = {.csv = csv, .arena = arena, .error = ret_error};
    size_t cells;
    enum err err;

    r.names = arena_take(arena, sizeof(*r.names));
    if (r.names == NULL)
        return fail(&r, ERR_FULL, "out of memory");
    r.names->count = 0;
    r.names->hint = 0;
    err = walk(&r);
    if (err != ERR_OK)
        return err;
    if (r.names->count == 0)
        return fail(&r, ERR_PARSE, "no region in it");
    cells = (size_t)r.names->count * r.names->count;
    r.ms = arena_take(arena, cells * sizeof(r.ms[0]));
    if (r.ms == NULL)
        return fail(&r, ERR_FULL, "out of memory");
    for (size_t i = 0; i < cells; i++)
        r.ms[i] = NAN;
    err = walk(&r);
    for (uint32_t i = 0; i < r.names->count; i++) {
        float *own = &r.ms[(size_t)i * r.names->count + i];

        *own = isnan(*own) ? DIAGONAL_MS : *own;
    }
    if (err == ERR_OK)
        *ret_matrix = (struct rtt_matrix){r.names->list, r.names->count, r.ms};
    return err;
}

static uint32_t
matrix_find(const struct rtt_matrix *m, struct span name)
{
    uint32_t i = 0;

    while (i < m->count && !span_eq(m->names[i], name))
        i++;
    return i;
}

float
rtt_ms(const struct rtt_matrix *m, struct span from, struct span to)
{
    size_t f = matrix_find(m, from), t = matrix_find(m, to);
    float ms;

    if (f == m->count || t == m->count)
        return NAN;
    ms = m->ms[f * m->count + t];
    return isnan(ms) ? m->ms[t * m->count + f] : ms;
}
