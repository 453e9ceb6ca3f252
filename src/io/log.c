/* log - one line, one write(); see log.h. Nothing is buffered, so nothing is lost in a crash, and
 * lines of several threads do not mix. Control bytes become '?': a text that quotes an outsider
 * cannot start a line of its own or drive a terminal. */
#include "io/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"

static _Atomic int log_level_now = LOG_INFO; /* log.h says why this may be written */

static _Thread_local struct {
    log_tap_fn *fn;
    void *user;
} tap;

static const char *const level_names[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn ", [LOG_INFO] = "info ", [LOG_DEBUG] = "debug"};

void
log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

void
log_tap(log_tap_fn *fn, void *user)
{
    tap.fn = fn;
    tap.user = user;
}

/* The time and the level into line[size]; how many bytes. */
static size_t
put_head(char *line, size_t size, enum log_level level)
{
    struct timespec t;
    struct tm utc;
    int bytes;

    must(clock_gettime(CLOCK_REALTIME, &t) == 0);
    must(gmtime_r(&t.tv_sec, &utc) != NULL);
    bytes = snprintf(line, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s ", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     (int)(t.tv_nsec / 1000000), level_names[level]);
    must(bytes > 0 && (size_t)bytes < size);
    return (size_t)bytes;
}

void
log_line(enum log_level level, const char *format, ...)
{
    int errno_before = errno; /* logging changes nothing */
    bool shown = (int)level <= atomic_load_explicit(&log_level_now, memory_order_relaxed);
    char line[LOG_LINE_BYTES_MAX + 1];
    size_t at, text_at, room;
    int bytes;
    va_list args;

    if (!shown && tap.fn == NULL)
        return;
    at = text_at = put_head(line, sizeof(line), level);
    room = LOG_LINE_BYTES_MAX - at; /* the text and its newline */
    va_start(args, format);
    bytes = vsnprintf(line + at, room, format, args);
    va_end(args);
    if (bytes < 0)
        bytes = 0;
    if ((size_t)bytes > room - 1)
        bytes = (int)(room - 1);
    for (char *c = line + at; c < line + at + bytes; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
        if (*c == '\xc2' && ((unsigned char)c[1] & 0xe0) == 0x80)
            c[0] = c[1] = '?'; /* U+0080 to U+009F, by which terminals are driven, too */
    }
    at += (size_t)bytes;
    line[at] = '\0';
    if (tap.fn != NULL)
        tap.fn(level, line + text_at, tap.user);
    line[at++] = '\n';
    /* When standard error takes no line there is nobody left to tell. */
    if (shown && write(STDERR_FILENO, line, at) < 0)
        errno = 0;
    errno = errno_before;
}
