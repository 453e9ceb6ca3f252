#ifndef SIM_DATA_TABLE_H
#define SIM_DATA_TABLE_H
/* data_table - a CSV or TSV file with a header, read by the names of columns and not by where they
 * stand. Cells may be in double quotes, "" inside them is one; no cell spans lines. */
#include "sim/data_file.h"

#define DATA_TABLE_COLUMNS_MAX 256u /* of a file */
#define DATA_TABLE_WANTED_MAX  24u  /* of them that a reader looks at */

struct data_column {
    const char *name;
    bool optional; /* the file may come without it: its cells are then empty */
};

struct data_table {
    struct data_file *file;
    const struct data_column *columns;
    uint32_t wanted_count, column_count;
    char delimiter;
    uint32_t at[DATA_TABLE_WANTED_MAX]; /* UINT32_MAX: not in this file */
    struct span cells[DATA_TABLE_COLUMNS_MAX];
};

/* Read the header of *f, which the caller keeps open and closes. columns outlives *t. ERR_PARSE:
 * empty, or a column that is not optional is missing, or named twice; ERR_FULL; what data_file_line
 * says. */
MUST_USE enum err data_table_open(struct data_table *t, struct data_file *f,
                                  const struct data_column *columns, uint32_t count);
/* Go to the next row. ERR_NOT_FOUND: no more. ERR_PARSE: not as many cells as the header names. */
MUST_USE enum err data_table_next(struct data_table *t);

/* Cells of this row; column is an index into columns. They are valid until the next row. */
struct span data_table_text(const struct data_table *t, uint32_t column);
/* A number from min to max, never NaN. ERR_PARSE. */
MUST_USE enum err data_table_f64(struct data_table *t, uint32_t column, double min, double max,
                                 double *ret);
/* A whole number from min to max; 1e3 and 5.0 count as whole. ERR_PARSE. */
MUST_USE enum err data_table_u32(struct data_table *t, uint32_t column, uint32_t min, uint32_t max,
                                 uint32_t *ret);
/* The same; an empty cell gives `missing`. */
MUST_USE enum err data_table_u32_or(struct data_table *t, uint32_t column, uint32_t min,
                                    uint32_t max, uint32_t missing, uint32_t *ret);
/* A name into text[size]: printable, not longer than fits. Empty is allowed. ERR_PARSE. */
MUST_USE enum err data_table_name(struct data_table *t, uint32_t column, char *text, size_t size);
#endif
