#ifndef SIM_SIM_VALUE_H
#define SIM_SIM_VALUE_H
/* sim_value - values of a scenario, read out of YAML and written back so that they read the same:
 * durations with a unit, shares as 30% or 0.3, numbers, words. */
#include "sim/sim_options.h"
#include "wire/schema.h"

/* ---- Readers for tables of keys; min and max of the key in whole units of the value (milliseconds
 * of a duration, percent of a share, else 1). */
schema_read_fn sim_value_ms;     /* double: "250ms", "1.5s" */
schema_read_fn sim_value_share;  /* double */
schema_read_fn sim_value_number; /* double */
schema_read_fn sim_value_float;  /* float */
schema_read_fn sim_value_u16;    /* uint16_t */
schema_read_fn sim_value_bool;   /* bool: yes, no, true, false */
schema_read_fn sim_value_rule;   /* const char *: the name of a rule, which lives for ever */

#define SIM_TEXT_BYTES_MAX 256u
schema_read_fn sim_value_text; /* char[SIM_TEXT_BYTES_MAX] */

/* Does node, a value of key, name one of these? Its index; count: no, and it was told. */
size_t sim_value_word(struct schema_reader *r, const struct schema_key *key,
                      const struct yaml_tree_node *node, const char *const *words, size_t count);

/* Text that grows in a place of fixed size. */
struct sim_text {
    char *at;
    size_t bytes, room; /* room: with the zero at its end */
    bool is_full;
};
void sim_text_add(struct sim_text *t, const char *format, ...) PRINTF_LIKE(2, 3);
/* The value that key's reader would read into base, in the form in which it reads it. */
void sim_value_write(struct sim_text *t, const struct schema_key *key, const void *base);
/* With as few digits as read back the same. */
void sim_value_write_number(struct sim_text *t, double value);
#endif
