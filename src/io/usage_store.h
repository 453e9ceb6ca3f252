#ifndef IO_USAGE_STORE_H
#define IO_USAGE_STORE_H
/* usage_store - what each key used, by model and hour, in DIRECTORY/usage.db (SQLite, WAL). Calls
 * block: one thread at a time, never a loop's.
 *
 * The file is opened by the first call that needs it, and again after an error: a disk that is full
 * or a file that is damaged ends nothing but this call, and what comes later is tried again. A
 * damaged file is left as it is for people to look at. What a call wrote is there after a
 * crash of the process; a crash of the machine may take the last writes, and nothing else. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define USAGE_KEY_BYTES   64u  /* with its zero */
#define USAGE_MODEL_BYTES 257u /* likewise */

struct usage_counts {
    uint64_t requests;        /* answers, of any kind */
    uint64_t failed, refused; /* of these: 5xx; 4xx of ours (limits, unknown model ...) */
    uint64_t prompt_tokens, cached_tokens, output_tokens;
};

struct usage_row {
    uint64_t hour; /* since 1970 */
    char key[USAGE_KEY_BYTES];
    char model[USAGE_MODEL_BYTES]; /* "": none was found */
    struct usage_counts counts;
};

enum usage_by { USAGE_BY_KEY = 1, USAGE_BY_MODEL = 2, USAGE_BY_HOUR = 4 };

struct usage_question {
    uint64_t from_hour;
    uint32_t by;     /* set of enum usage_by: rows that differ in nothing else are added up */
    const char *key; /* of this key alone; NULL: of all */
    uint32_t rows_max;
};

struct usage_store;

/* ERR_MEMORY. Opens no file yet; the directory is made when it is needed. */
MUST_USE enum err usage_store_new(const char *directory, struct usage_store **ret_store);
/* Add these to what is there, all or none. Hours before keep_from_hour are forgotten. ERR_IO:
 * logged, once until it works again. */
MUST_USE enum err usage_store_add(struct usage_store *s, const struct usage_row *rows, size_t count,
                                  uint64_t keep_from_hour);
/* Give each row to fn, most tokens first (by hour: in the order of hours). *ret_more: there are
 * more than rows_max. ERR_IO as above; ERR_MEMORY: fn had none. */
typedef bool usage_row_fn(const struct usage_row *row, void *user);
MUST_USE enum err usage_store_read(struct usage_store *s, const struct usage_question *question,
                                   usage_row_fn *fn, void *user, bool *ret_more);
void usage_store_free(struct usage_store *s); /* NULL: does nothing */
#endif
