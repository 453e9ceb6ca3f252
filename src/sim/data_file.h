#ifndef SIM_DATA_FILE_H
#define SIM_DATA_FILE_H
/* data_file - public data line by line, plain or gzip, whichever the bytes are. Every mistake is
 * told as `file:line: what is wrong`. Data comes from strangers: each size has a limit with a name,
 * and the unpacked bytes are counted, so that a small file cannot unfold without end. One thread at
 * a time. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

#define DATA_FILE_LINE_BYTES_MAX (8u << 20)
#define DATA_FILE_BYTES_MAX      ((uint64_t)4 << 30) /* unpacked */
#define DATA_ERROR_BYTES         512u

struct data_error {
    char text[DATA_ERROR_BYTES]; /* written by whoever fails, ended by a zero */
};

struct data_file;

/* Open path. *error is where this file's mistakes go; it must outlive the file. ERR_IO, ERR_MEMORY:
 * *error says why. The caller closes it. */
MUST_USE enum err data_file_open(const char *path, struct data_error *error,
                                 struct data_file **ret_file);
/* The same over bytes in memory (not unpacked), under a name for messages. They outlive the file.
 */
MUST_USE enum err data_file_open_memory(const char *name, struct span bytes,
                                        struct data_error *error, struct data_file **ret_file);
void data_file_close(struct data_file *f);

/* The next line that is not blank and does not begin with #, without its end (LF or CR LF), valid
 * until the next call and the caller's to change. ERR_NOT_FOUND: no more lines. ERR_PARSE,
 * ERR_FULL, ERR_IO, ERR_MEMORY: damaged, cut short or over a limit. */
MUST_USE enum err data_file_line(struct data_file *f, struct span *ret_line);
/* The first one, as it must have: ERR_PARSE, and said, when there is none. */
MUST_USE enum err data_file_first(struct data_file *f, struct span *ret_line);
/* Give the last line back, unchanged as it must be: the next call returns it again. */
void data_file_again(struct data_file *f);

/* All of a file that no line was taken from, unpacked, as it is but for a byte order mark:
 * *ret_text is the caller's to free(), also when it is empty. ERR_FULL: more than bytes_max; else
 * as data_file_line. */
MUST_USE enum err data_file_whole(struct data_file *f, size_t bytes_max, char **ret_text,
                                  size_t *ret_bytes);

/* Write "file:line: ..." about the last line, or "file: ..." before the first; returns err. */
enum err data_file_fail(struct data_file *f, enum err err, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* The file's name in messages. */
const char *data_file_name(const struct data_file *f);

/* The text ..., cut to fit; returns err. */
enum err data_error_say(struct data_error *error, enum err err, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* Room for one more item in an array: *array_address is a pointer to its items, NULL at first,
 * which moves and doubles when count == *room. ERR_FULL: count_max is reached; ERR_MEMORY. The
 * array stays as it was then. */
MUST_USE enum err data_room(void *array_address, size_t *room, size_t count, size_t count_max,
                            size_t item_bytes);
#endif
