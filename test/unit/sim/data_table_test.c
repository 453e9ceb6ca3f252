/* data_table_test - cells by column names, quotes, and numbers that are none. */
#include "sim/data_table.h"

#include "tap.h"

enum { NAME, COUNT, MS };
static const struct data_column columns[] = {
    [NAME] = {"name", false},
    [COUNT] = {"count", false},
    [MS] = {"ms", true},
};

/* One row: a file with one line below the header, and what it says. ms < 0: empty. */
static const struct {
    const char *label, *text, *name;
    uint32_t count;
    double ms;
} good[] = {
    {"in order", "name,count,ms\na,5,1.5\n", "a", 5, 1.5},
    {"in another order, with columns nobody asked for", "x,ms,y,count,name\n,2,,3,b\n", "b", 3, 2},
    {"an optional column is missing", "count,name\n7,c\n", "c", 7, -1},
    {"an optional cell is empty", "count,name,ms\n7,c,\n", "c", 7, -1},
    {"tabs", "name\tcount\tms\na, b\t5\t1\n", "a, b", 5, 1},
    {"quotes", "\"name\",count,ms\n\"a, \"\"b\"\"\",\"5\",1\n", "a, \"b\"", 5, 1},
    {"empty quotes", "name,count,ms\n\"\",5,1\n", "", 5, 1},
    {"spaces around cells", "name , count,ms\n a ,5 , 1\r\n", "a", 5, 1},
    {"whole numbers with a point or an exponent", "name,count,ms\na,5.0,1\n", "a", 5, 1},
    {"an exponent", "name,count,ms\na,1e2,1e-3\n", "a", 100, 0.001},
};

static const struct {
    const char *label, *text, *words;
} bad[] = {
    {"empty", "", "m: the file is empty"},
    {"a column is missing", "name,ms\na,1\n", "m:1: the column count is missing"},
    {"a column twice", "name,count,name\na,1,b\n", "m:1: the column name is there twice"},
    {"too few cells", "name,count\na\n", "m:2: 1 cells, but the header names 2"},
    {"too many cells", "name,count\na,1,\n", "m:2: 3 cells, but the header names 2"},
    {"text for a number", "name,count\na,many\n", "m:2: count: `many` is no whole number from 1"},
    {"an empty number", "name,count\na,\n", "m:2: count: `` is no whole number"},
    {"below the range", "name,count\na,0\n", "m:2: count: `0`"},
    {"negative", "name,count\na,-3\n", "m:2: count: `-3`"},
    {"over the range", "name,count\na,99999999999999999999999\n", "m:2: count: `9999"},
    {"a fraction", "name,count\na,1.5\n", "m:2: count: `1.5`"},
    {"NaN", "name,count,ms\na,1,NaN\n", "m:2: ms: `NaN` is no number from 0 to 100"},
    {"infinity", "name,count,ms\na,1,+Inf\n", "m:2: ms: `+Inf`"},
    {"a name too long", "name,count\nabcdefghi,1\n", "m:2: name: a name of 9 characters"},
    {"a name with a control character", "name,count\na\001b,1\n", "m:2: name: a name with control"},
    {"quotes never close", "name,count\n\"a,1\n", "m:2: cell 1: its quotes do not close"},
    {"text behind quotes", "name,count\n\"a\"b,1\n", "m:2: cell 1: its quotes do not close"},
};

struct row {
    char name[9];
    uint32_t count;
    double ms;
};

static enum err
read_row(const char *text, struct data_error *error, struct row *ret)
{
    struct data_file *f = NULL;
    struct data_table t;
    enum err err = data_file_open_memory("m", span_of(text), error, &f);

    if (err == ERR_OK)
        err = data_table_open(&t, f, columns, 3);
    if (err == ERR_OK)
        err = data_table_next(&t);
    if (err == ERR_OK)
        err = data_table_name(&t, NAME, ret->name, sizeof(ret->name));
    if (err == ERR_OK)
        err = data_table_u32(&t, COUNT, 1, 1000000, &ret->count);
    ret->ms = -1.0;
    if (err == ERR_OK && data_table_text(&t, MS).bytes > 0)
        err = data_table_f64(&t, MS, 0.0, 100.0, &ret->ms);
    if (err == ERR_OK && data_table_next(&t) != ERR_NOT_FOUND)
        err = ERR_EXISTS;
    data_file_close(f);
    return err;
}

int
main(void)
{
    struct data_error error = {""};
    struct row row;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        enum err err = read_row(good[i].text, &error, &row);

        CHECK(err == ERR_OK && strcmp(row.name, good[i].name) == 0, good[i].label);
        CHECK(row.count == good[i].count && row.ms == good[i].ms, good[i].label);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        error.text[0] = '\0';
        CHECK(read_row(bad[i].text, &error, &row) == ERR_PARSE, bad[i].label);
        CHECK(strncmp(error.text, bad[i].words, strlen(bad[i].words)) == 0, error.text);
    }
    return tap_done();
}
