#ifndef CLI_CLI_TABLE_H
#define CLI_CLI_TABLE_H
/* cli_table - tables and words for people, on standard output.
 *
 * Columns are as wide as their cells. On a terminal (or where COLUMNS says how wide it is) a line
 * that is too long loses the columns that matter least, then names are shortened in the middle;
 * elsewhere nothing is cut, so that names can be searched for. A column without a value in any row
 * is left out. Colours only on a terminal, and
 * not with NO_COLOR. Names come from outside: a byte that is no printable ASCII is shown as '?', so
 * nothing that a node calls itself can move a cursor. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"

#define CLI_COLUMNS_MAX    20u
#define CLI_TABLE_ROWS_MAX 1048576u

enum cli_colour { CLI_PLAIN, CLI_GOOD, CLI_WARN, CLI_BAD, CLI_FAINT };

struct cli_column {
    const char *head, *unit; /* two lines; unit "": none in any column is no second line */
    unsigned least;          /* text that may be cut, to this many characters; 0: never cut */
    bool is_text;            /* to the left; numbers go to the right */
    bool is_optional;        /* left out when every cell is "-" or "0" */
    uint8_t extra;           /* above 0: left out where a line would be too long; highest first */
};

struct cli_cell {
    const char *text; /* printable */
    uint32_t width, colour;
};

struct cli_table {
    const struct cli_column *columns;
    size_t column_count, cell_count, cell_room;
    struct cli_cell *cells; /* row after row */
    struct arena *arena;
    bool is_full; /* out of room: what is missing is told at the end */
};

void cli_table_init(struct cli_table *t, const struct cli_column *columns, size_t column_count,
                    struct arena *arena);
/* The next cell, left to right, row after row. The text is copied; "": "-". */
void cli_table_text(struct cli_table *t, enum cli_colour colour, const char *text);
void cli_table_printf(struct cli_table *t, enum cli_colour colour, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* A measure, rounded for reading ("3.4", "312", "12.3k"); NAN: "-". */
void cli_table_number(struct cli_table *t, enum cli_colour colour, double value);
void cli_table_print(const struct cli_table *t);

#define CLI_NUMBER_BYTES 24u
/* What cli_table_number writes, and the same with a unit that fits: "3.4 ms", "310 ms", "1.3 s". */
void cli_number(double value, char text[CLI_NUMBER_BYTES]);
void cli_milliseconds(double ms, char text[CLI_NUMBER_BYTES]);

/* Text of others, made printable. */
void cli_print(FILE *out, const char *text);
/* The same for standard output in a colour. */
void cli_print_coloured(enum cli_colour colour, const char *text);
#endif
