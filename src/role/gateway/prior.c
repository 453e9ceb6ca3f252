/* prior - the speed table, asked with half-known questions; see prior.h. */
#include "role/gateway/prior.h"

#include "base/must.h"
#include "base/speed_table.h"

#define GENERIC_GPU       "a100" /* neither the fastest nor the slowest of the table */
#define DISK_BYTES_PER_MS 3e6    /* NVMe */
#define ENGINE_START_MS   5000.0
#define PARAMS_B_MAX      10000.0

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The number that ends right before `end`; 0 when none does. *ret_from: where it begins. */
static double
number_before(struct span s, size_t end, size_t *ret_from)
{
    size_t from = end;
    double value = 0.0;

    while (from > 0 && (is_digit(s.data[from - 1]) ||
                        (s.data[from - 1] == '.' && from >= 2 && is_digit(s.data[from - 2]))))
        from--;
    *ret_from = from;
    if (from == end || span_f64((struct span){s.data + from, end - from}, &value) != ERR_OK)
        return 0.0;
    return value;
}

double
prior_params_b(struct span name)
{
    for (size_t i = 1; i < name.bytes; i++) {
        size_t from, experts_from;
        double size, experts;
        bool ends = i + 1 == name.bytes ||
                    !((name.data[i + 1] | 0x20) >= 'a' && (name.data[i + 1] | 0x20) <= 'z');

        if ((name.data[i] | 0x20) != 'b' || !ends)
            continue;
        size = number_before(name, i, &from);
        if (size <= 0.0 || size > PARAMS_B_MAX)
            continue;
        if (from >= 2 && (name.data[from - 1] | 0x20) == 'x') { /* 8x7b */
            experts = number_before(name, from - 1, &experts_from);
            if (experts > 0.0 && experts * size <= PARAMS_B_MAX)
                size *= experts;
        }
        return size;
    }
    return 0.0;
}

void
prior_curve(struct span model_name, double params_b, struct span gpu, double scale,
            struct event_curve *ret_curve)
{
    struct speed_row row;

    if (!(params_b > 0.0))
        params_b = prior_params_b(model_name);
    if (!(params_b > 0.0))
        params_b = PRIOR_PARAMS_B;
    ret_curve->guess = speed_table_find(params_b, gpu, &row) != ERR_OK;
    if (ret_curve->guess != 0)
        must(speed_table_find(params_b, SPAN_LIT(GENERIC_GPU), &row) == ERR_OK);
    ret_curve->curve = (struct curve){
        .a_ms = (float)(row.a_ms * scale),
        .b_ms = (float)(row.b_ms * scale),
        .c_ms = (float)(row.c_ms * scale),
        .t0_ms = (float)(row.t0_ms * scale),
        .tk_ms = (float)(row.tk_ms * scale),
        .tb_ms = (float)(row.tb_ms * scale),
    };
    ret_curve->kv_tokens_cap = (float)row.kv_tokens_cap;
    ret_curve->load_ms = (float)((row.weights_bytes / DISK_BYTES_PER_MS + ENGINE_START_MS) * scale);
}
