/* cli_table - cells first, widths when all are known, then the lines; see cli_table.h. */
#include "cli/cli_table.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/must.h"

#define GAP              2u /* spaces between columns */
#define CELL_BYTES_MAX   512u
#define COLUMNS_TERMINAL 80u   /* where a terminal does not say */
#define COLUMNS_LEAST    20u   /* below this COLUMNS is a mistake */
#define COLUMNS_MOST     1000u /* above, too */
#define EXTRA_MAX        3u
#define CUT_MARK         ".."

/* ---- The screen. */

static bool
has_colour(void)
{
    const char *off = getenv("NO_COLOR"), *term = getenv("TERM");

    return (off == NULL || off[0] == '\0') && isatty(STDOUT_FILENO) &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

/* Characters in a line; 0: no end. */
static size_t
screen_columns(void)
{
    const char *text = getenv("COLUMNS");
    struct winsize size = {0};
    uint64_t columns;

    if (text != NULL && span_u64(span_of(text), &columns) == ERR_OK && columns >= COLUMNS_LEAST &&
        columns <= COLUMNS_MOST)
        return (size_t)columns;
    if (!isatty(STDOUT_FILENO))
        return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < COLUMNS_LEAST)
        return COLUMNS_TERMINAL;
    return size.ws_col;
}

static const char *
colour_start(enum cli_colour colour)
{
    static const char *const codes[] = {[CLI_PLAIN] = "",
                                        [CLI_GOOD] = "\033[32m",
                                        [CLI_WARN] = "\033[33m",
                                        [CLI_BAD] = "\033[31m",
                                        [CLI_FAINT] = "\033[2m"};
    return codes[colour];
}

/* text in to[size], every character that is no printable ASCII as one '?'. Returns its bytes. */
static size_t
make_printable(const char *text, char *to, size_t to_size)
{
    size_t n = 0;

    for (const char *c = text; *c != '\0' && n + 1 < to_size; c++) {
        unsigned char byte = (unsigned char)*c;

        if ((byte & 0xc0) == 0x80 && c > text && (unsigned char)c[-1] >= 0x80)
            continue; /* the rest of a character that has its '?' */
        to[n++] = byte >= 0x20 && byte < 0x7f ? *c : '?';
    }
    to[n] = '\0';
    return n;
}

void
cli_print(FILE *out, const char *text)
{
    char clean[4096];

    make_printable(text, clean, sizeof(clean));
    fputs(clean, out);
}

void
cli_print_coloured(enum cli_colour colour, const char *text)
{
    bool coloured = colour != CLI_PLAIN && has_colour();

    if (coloured)
        fputs(colour_start(colour), stdout);
    cli_print(stdout, text);
    if (coloured)
        fputs("\033[0m", stdout);
}

/* ---- Numbers. */

void
cli_number(double value, char text[CLI_NUMBER_BYTES])
{
    double size = fabs(value);

    if (!isfinite(value))
        snprintf(text, CLI_NUMBER_BYTES, "-");
    else if (size < 9.95 && size != floor(size))
        snprintf(text, CLI_NUMBER_BYTES, "%.1f", value);
    else if (size < 9999.5)
        snprintf(text, CLI_NUMBER_BYTES, "%.0f", value);
    else if (size < 99950.0)
        snprintf(text, CLI_NUMBER_BYTES, "%.1fk", value / 1e3);
    else if (size < 999500.0)
        snprintf(text, CLI_NUMBER_BYTES, "%.0fk", value / 1e3);
    else if (size < 99.95e6)
        snprintf(text, CLI_NUMBER_BYTES, "%.1fM", value / 1e6);
    else
        snprintf(text, CLI_NUMBER_BYTES, "%.4gM", value / 1e6);
}

void
cli_milliseconds(double ms, char text[CLI_NUMBER_BYTES])
{
    if (!isfinite(ms))
        snprintf(text, CLI_NUMBER_BYTES, "unknown");
    else if (ms < 9.95)
        snprintf(text, CLI_NUMBER_BYTES, "%.1f ms", ms);
    else if (ms < 999.5)
        snprintf(text, CLI_NUMBER_BYTES, "%.0f ms", ms);
    else if (ms < 99950.0)
        snprintf(text, CLI_NUMBER_BYTES, "%.1f s", ms / 1e3);
    else
        snprintf(text, CLI_NUMBER_BYTES, "%.4g s", ms / 1e3);
}

/* ---- Cells. */

void
cli_table_init(struct cli_table *t, const struct cli_column *columns, size_t column_count,
               struct arena *arena)
{
    must(column_count > 0 && column_count <= CLI_COLUMNS_MAX);
    *t = (struct cli_table){.columns = columns, .column_count = column_count, .arena = arena};
}

/* A place for the next cell; NULL: no room. Old places stay in the arena: at most as much again. */
static struct cli_cell *
next_cell(struct cli_table *t)
{
    if (t->cell_count == t->cell_room) {
        size_t room = t->cell_room > 0 ? 2 * t->cell_room : 256;
        struct cli_cell *cells = NULL;

        if (room <= (size_t)CLI_TABLE_ROWS_MAX * CLI_COLUMNS_MAX)
            cells = arena_take(t->arena, room * sizeof(*cells));
        if (cells == NULL) {
            t->is_full = true;
            return NULL;
        }
        if (t->cell_count > 0)
            memcpy(cells, t->cells, t->cell_count * sizeof(*cells));
        t->cells = cells;
        t->cell_room = room;
    }
    return &t->cells[t->cell_count];
}

void
cli_table_text(struct cli_table *t, enum cli_colour colour, const char *text)
{
    char clean[CELL_BYTES_MAX];
    size_t bytes = make_printable(text[0] != '\0' ? text : "-", clean, sizeof(clean));
    struct cli_cell *cell = t->is_full ? NULL : next_cell(t);
    struct span copy;

    if (cell == NULL)
        return;
    if (arena_copy(t->arena, (struct span){clean, bytes}, &copy) != ERR_OK) {
        t->is_full = true;
        return;
    }
    *cell = (struct cli_cell){copy.data, (uint32_t)bytes, colour};
    t->cell_count++;
}

void
cli_table_printf(struct cli_table *t, enum cli_colour colour, const char *format, ...)
{
    char text[CELL_BYTES_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    cli_table_text(t, colour, text);
}

void
cli_table_number(struct cli_table *t, enum cli_colour colour, double value)
{
    char text[CLI_NUMBER_BYTES];

    cli_number(value, text);
    cli_table_text(t, colour, text);
}

/* ---- Lines. */

/* Which columns are there, and how wide they want to be: 0 is left out. */
static void
measure(const struct cli_table *t, size_t rows, size_t widths[CLI_COLUMNS_MAX])
{
    for (size_t c = 0; c < t->column_count; c++) {
        const struct cli_column *column = &t->columns[c];
        size_t head = strlen(column->head), unit = strlen(column->unit);
        bool used = !column->is_optional;

        widths[c] = head > unit ? head : unit;
        for (size_t r = 0; r < rows; r++) {
            const struct cli_cell *cell = &t->cells[r * t->column_count + c];

            if (cell->width > widths[c])
                widths[c] = cell->width;
            used = used || (strcmp(cell->text, "-") != 0 && strcmp(cell->text, "0") != 0);
        }
        if (!used)
            widths[c] = 0;
    }
}

/* How long a line is; with every name cut as far as it may be when `least`. */
static size_t
line_width(const struct cli_table *t, const size_t *widths, bool least)
{
    size_t line = 0;

    for (size_t c = 0; c < t->column_count; c++) {
        size_t width = widths[c], cut = t->columns[c].least;

        if (width > 0)
            line += (least && cut > 0 && cut < width ? cut : width) + (line > 0 ? GAP : 0);
    }
    return line;
}

/* Make a line fit: leave out extra columns, then cut the widest name, again and again. */
static void
fit(const struct cli_table *t, size_t line_max, size_t widths[CLI_COLUMNS_MAX])
{
    for (uint8_t extra = EXTRA_MAX; extra > 0 && line_width(t, widths, true) > line_max; extra--) {
        for (size_t c = 0; c < t->column_count; c++) {
            if (t->columns[c].extra == extra)
                widths[c] = 0;
        }
    }
    while (line_width(t, widths, false) > line_max) {
        size_t widest = CLI_COLUMNS_MAX;

        for (size_t c = 0; c < t->column_count; c++) {
            if (t->columns[c].least > 0 && widths[c] > t->columns[c].least &&
                (widest == CLI_COLUMNS_MAX || widths[c] > widths[widest]))
                widest = c;
        }
        if (widest == CLI_COLUMNS_MAX)
            return; /* it does not fit */
        widths[widest]--;
    }
}

static void
put_spaces(size_t count)
{
    while (count-- > 0)
        putchar(' ');
}

/* One cell; the last of a line is not filled up. */
static void
put_cell(const struct cli_column *column, const char *text, size_t bytes, size_t width,
         const char *colour, bool is_last)
{
    size_t shown = bytes < width ? bytes : width;

    if (!column->is_text)
        put_spaces(width - shown);
    fputs(colour, stdout);
    if (bytes <= width) {
        fwrite(text, 1, bytes, stdout);
    } else { /* least is above the mark's length, so there is a head and a tail */
        size_t tail = (width - sizeof(CUT_MARK) + 1) / 2;
        size_t head = width - (sizeof(CUT_MARK) - 1) - tail;

        fwrite(text, 1, head, stdout);
        fputs(CUT_MARK, stdout);
        fwrite(text + bytes - tail, 1, tail, stdout);
    }
    if (colour[0] != '\0')
        fputs("\033[0m", stdout);
    if (column->is_text && !is_last)
        put_spaces(width - shown);
}

static void
print_heads(const struct cli_table *t, const size_t *widths, size_t last, bool coloured)
{
    bool has_units = false;

    for (size_t c = 0; c <= last; c++)
        has_units = has_units || (widths[c] > 0 && t->columns[c].unit[0] != '\0');
    for (int line = 0; line < (has_units ? 2 : 1); line++) {
        bool first = true;

        for (size_t c = 0; c <= last; c++) {
            const char *text = line == 0 ? t->columns[c].head : t->columns[c].unit;

            if (widths[c] == 0)
                continue;
            if (c == last && text[0] == '\0')
                break; /* no spaces at the end */
            put_spaces(first ? 0 : GAP);
            first = false;
            put_cell(&t->columns[c], text, strlen(text), widths[c],
                     coloured ? colour_start(CLI_FAINT) : "", c == last);
        }
        putchar('\n');
    }
}

void
cli_table_print(const struct cli_table *t)
{
    size_t rows = t->cell_count / t->column_count, widths[CLI_COLUMNS_MAX], last = 0;
    bool coloured = has_colour();

    measure(t, rows, widths);
    if (screen_columns() > 0)
        fit(t, screen_columns(), widths);
    for (size_t c = 0; c < t->column_count; c++)
        last = widths[c] > 0 ? c : last;
    print_heads(t, widths, last, coloured);
    for (size_t r = 0; r < rows; r++) {
        bool first = true;

        for (size_t c = 0; c <= last; c++) {
            const struct cli_cell *cell = &t->cells[r * t->column_count + c];

            if (widths[c] == 0)
                continue;
            put_spaces(first ? 0 : GAP);
            first = false;
            put_cell(&t->columns[c], cell->text, cell->width, widths[c],
                     coloured ? colour_start(cell->colour) : "", c == last);
        }
        putchar('\n');
    }
    if (t->is_full)
        fputs("(there is more: not enough memory to show it; --json has all)\n", stdout);
}
