/* data_table_fuzz - any bytes as a table: rows whose cells lie in the file's own text, or an error
 * that names the file. */
#include "base/must.h"
#include "sim/data_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct data_column columns[] = {{"name", true}, {"n", true}, {"ms", false}};
    struct data_error error = {""};
    struct data_file *f = NULL;
    struct data_table t;
    enum err err = data_file_open_memory("m", (struct span){(const char *)data, bytes}, &error, &f);

    must(err == ERR_OK);
    err = data_table_open(&t, f, columns, 3);
    while (err == ERR_OK) {
        uint32_t n = 7, sum = 0;
        double ms = 1.0;
        char name[16];

        err = data_table_next(&t);
        if (err != ERR_OK)
            break;
        for (uint32_t i = 0; i < t.column_count; i++) {
            for (size_t k = 0; k < t.cells[i].bytes; k++)
                sum += (unsigned char)t.cells[i].data[k]; /* every byte can be read */
        }
        must(sum <= 255 * bytes);
        if (data_table_name(&t, 0, name, sizeof(name)) == ERR_OK)
            must(strlen(name) < sizeof(name));
        if (data_table_u32(&t, 1, 5, 10, &n) == ERR_OK)
            must(n >= 5 && n <= 10);
        if (data_table_f64(&t, 2, -1.0, 2.0, &ms) == ERR_OK)
            must(ms >= -1.0 && ms <= 2.0);
    }
    must(err == ERR_NOT_FOUND || (error.text[0] == 'm' && error.text[1] == ':'));
    data_file_close(f);
    return 0;
}
