/* data_file - lines out of a file; see data_file.h.
 *
 * One buffer holds what was read and not yet given away. zlib passes plain files through, so one
 * path serves both; a buffer in memory stands in for the file in tests. The buffer grows only while
 * one line does not fit, and stops at the limit of a line. */
#include "sim/data_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define BUFFER_BYTES    (256u << 10)
#define NAME_BYTES_MAX  255u
#define ROOM_FIRST      64u
#define BYTE_ORDER_MARK "\xEF\xBB\xBF"

struct data_file {
    gzFile gz;          /* NULL: memory */
    struct span memory; /* what is left of it */
    struct data_error *error;
    char *buffer;
    size_t size, from, to; /* bytes; [from, to) is still to be given away */
    uint64_t total_bytes;
    uint64_t line;
    struct span last;
    bool again, ended;
    char name[NAME_BYTES_MAX + 1];
};

enum err
data_error_say(struct data_error *error, enum err err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return err;
}

enum err
data_file_fail(struct data_file *f, enum err err, const char *format, ...)
{
    char what[DATA_ERROR_BYTES - NAME_BYTES_MAX - 24];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    if (f->line == 0)
        return data_error_say(f->error, err, "%s: %s", f->name, what);
    return data_error_say(f->error, err, "%s:%llu: %s", f->name, (unsigned long long)f->line, what);
}

const char *
data_file_name(const struct data_file *f)
{
    return f->name;
}

static enum err
open_any(const char *name, struct data_error *error, struct data_file **ret_file)
{
    size_t bytes = strlen(name);
    struct data_file *f = calloc(1, sizeof(*f));

    if (f != NULL) {
        f->size = BUFFER_BYTES;
        f->buffer = malloc(f->size);
    }
    if (f == NULL || f->buffer == NULL) {
        data_file_close(f);
        return data_error_say(error, ERR_MEMORY, "%s: no memory to read it", name);
    }
    f->error = error;
    /* the end of a path tells more than its beginning */
    span_copy(
        span_from((struct span){name, bytes}, bytes > NAME_BYTES_MAX ? bytes - NAME_BYTES_MAX : 0),
        f->name, sizeof(f->name));
    *ret_file = f;
    return ERR_OK;
}

enum err
data_file_open(const char *path, struct data_error *error, struct data_file **ret_file)
{
    struct data_file *f = NULL;
    enum err err = open_any(path, error, &f);

    if (err != ERR_OK)
        return err;
    errno = 0;
    f->gz = gzopen(path, "rb");
    if (f->gz == NULL || gzbuffer(f->gz, BUFFER_BYTES) != 0) {
        err = data_file_fail(f, ERR_IO, "cannot be opened: %s",
                             errno != 0 ? strerror(errno) : "no memory");
        data_file_close(f);
        return err;
    }
    *ret_file = f;
    return ERR_OK;
}

enum err
data_file_open_memory(const char *name, struct span bytes, struct data_error *error,
                      struct data_file **ret_file)
{
    enum err err = open_any(name, error, ret_file);

    if (err == ERR_OK)
        (*ret_file)->memory = bytes;
    return err;
}

void
data_file_close(struct data_file *f)
{
    if (f == NULL)
        return;
    if (f->gz != NULL)
        gzclose(f->gz);
    free(f->buffer);
    free(f);
}

/* ---- */

/* Bytes into the free end of the buffer; *ret_bytes 0 at the end of the file. */
static enum err
read_some(struct data_file *f, size_t *ret_bytes)
{
    size_t room = f->size - f->to;
    int n, code;

    if (f->gz == NULL) {
        *ret_bytes = f->memory.bytes < room ? f->memory.bytes : room;
        if (*ret_bytes > 0)
            memcpy(f->buffer + f->to, f->memory.data, *ret_bytes);
        f->memory = span_from(f->memory, *ret_bytes);
        return ERR_OK;
    }
    errno = 0;
    n = gzread(f->gz, f->buffer + f->to, (unsigned)room);
    if (n > 0) {
        *ret_bytes = (size_t)n;
        return ERR_OK;
    }
    *ret_bytes = 0;
    gzerror(f->gz, &code);
    f->line++; /* the line that is missing */
    if (code == Z_ERRNO)
        return data_file_fail(f, ERR_IO, "cannot be read: %s", strerror(errno));
    if (code == Z_BUF_ERROR)
        return data_file_fail(f, ERR_PARSE, "the compressed data ends too early");
    if (code == Z_MEM_ERROR)
        return data_file_fail(f, ERR_MEMORY, "no memory to unpack it");
    if (n < 0 || (code != Z_OK && code != Z_STREAM_END))
        return data_file_fail(f, ERR_PARSE, "the compressed data is damaged");
    f->line--;
    return ERR_OK;
}

/* More bytes behind f->to; f->ended when there are none. */
static enum err
fill(struct data_file *f)
{
    size_t bytes;
    enum err err;

    if (f->from > 0) {
        memmove(f->buffer, f->buffer + f->from, f->to - f->from);
        f->to -= f->from;
        f->from = 0;
    }
    if (f->to == f->size) {
        char *larger;

        if (f->size >= DATA_FILE_LINE_BYTES_MAX) {
            f->line++;
            return data_file_fail(f, ERR_FULL, "a line of more than %u bytes",
                                  DATA_FILE_LINE_BYTES_MAX);
        }
        larger = realloc(f->buffer, f->size * 2);
        if (larger == NULL)
            return data_file_fail(f, ERR_MEMORY, "no memory for a line of %zu bytes", f->size);
        f->buffer = larger;
        f->size *= 2;
    }
    err = read_some(f, &bytes);
    if (err != ERR_OK)
        return err;
    if (f->total_bytes == 0 && bytes >= 3 && memcmp(f->buffer, BYTE_ORDER_MARK, 3) == 0)
        f->from = 3;
    f->ended = bytes == 0;
    f->to += bytes;
    f->total_bytes += bytes;
    return f->total_bytes <= DATA_FILE_BYTES_MAX
               ? ERR_OK
               : data_file_fail(f, ERR_FULL, "more than %llu bytes",
                                (unsigned long long)DATA_FILE_BYTES_MAX);
}

/* The next line, whatever is in it. */
static enum err
raw_line(struct data_file *f, struct span *ret_line)
{
    size_t looked = 0; /* bytes behind from that hold no line end */
    char *end = NULL;

    for (;;) {
        enum err err;

        end = f->to > f->from + looked
                  ? memchr(f->buffer + f->from + looked, '\n', f->to - f->from - looked)
                  : NULL;
        if (end != NULL || f->ended)
            break;
        looked = f->to - f->from;
        err = fill(f);
        if (err != ERR_OK)
            return err;
        if (f->from > 0) /* a byte order mark was taken off */
            looked = 0;
    }
    if (end == NULL && f->from == f->to)
        return ERR_NOT_FOUND;
    f->line++;
    *ret_line = (struct span){f->buffer + f->from,
                              end != NULL ? (size_t)(end - f->buffer) - f->from : f->to - f->from};
    f->from += ret_line->bytes + (end != NULL);
    if (ret_line->bytes > 0 && ret_line->data[ret_line->bytes - 1] == '\r')
        ret_line->bytes--;
    return ERR_OK;
}

enum err
data_file_line(struct data_file *f, struct span *ret_line)
{
    enum err err;

    if (f->again) {
        f->again = false;
        *ret_line = f->last;
        return ERR_OK;
    }
    do {
        err = raw_line(f, &f->last);
        if (err != ERR_OK)
            return err;
    } while (span_trim(f->last).bytes == 0 || f->last.data[0] == '#');
    *ret_line = f->last;
    return ERR_OK;
}

enum err
data_file_first(struct data_file *f, struct span *ret_line)
{
    enum err err = data_file_line(f, ret_line);

    return err == ERR_NOT_FOUND ? data_file_fail(f, ERR_PARSE, "the file is empty") : err;
}

void
data_file_again(struct data_file *f)
{
    f->again = true;
}

enum err
data_file_whole(struct data_file *f, size_t bytes_max, char **ret_text, size_t *ret_bytes)
{
    size_t used = 0, room = BUFFER_BYTES;
    char *text = malloc(room);
    enum err err = text != NULL ? fill(f) : ERR_MEMORY;

    while (err == ERR_OK && !f->ended) {
        size_t bytes = f->to - f->from;

        if (bytes > bytes_max - used) {
            err = data_file_fail(f, ERR_FULL, "more than %zu bytes", bytes_max);
            break;
        }
        if (used + bytes > room) {
            char *larger = realloc(text, (used + bytes) * 2);

            if (larger == NULL) {
                err = ERR_MEMORY;
                break;
            }
            text = larger;
            room = (used + bytes) * 2;
        }
        memcpy(text + used, f->buffer + f->from, bytes);
        used += bytes;
        f->from = f->to;
        err = fill(f);
    }
    if (err != ERR_OK) {
        free(text);
        return err == ERR_MEMORY ? data_file_fail(f, err, "no memory for all of it") : err;
    }
    *ret_text = text;
    *ret_bytes = used;
    return ERR_OK;
}

enum err
data_room(void *array_address, size_t *room, size_t count, size_t count_max, size_t item_bytes)
{
    size_t wanted = *room == 0 ? ROOM_FIRST : *room * 2;
    void *items;

    if (count < *room)
        return ERR_OK;
    if (count >= count_max)
        return ERR_FULL;
    if (wanted > count_max)
        wanted = count_max;
    memcpy(&items, array_address, sizeof(items)); /* whatever type of pointer stands there */
    items = realloc(items, wanted * item_bytes);
    if (items == NULL)
        return ERR_MEMORY;
    memcpy(array_address, &items, sizeof(items));
    *room = wanted;
    return ERR_OK;
}
