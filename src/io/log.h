#ifndef IO_LOG_H
#define IO_LOG_H
/* log - lines for operators on standard error: "2026-11-21T10:00:00.123Z warn  text".
 * Thread-safe: one write() a line, at most LOG_LINE_BYTES_MAX, longer ones are cut.
 * Control bytes become '?'. Prompts, answers and keys are never logged.
 * The level is the one thing of the program that every layer may need before anything is open; it
 * is set once at the start. That and the tap, one a thread, are the only state here. */
#include "base/err.h"

#define LOG_LINE_BYTES_MAX 1024u

enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level); /* default LOG_INFO; call before threads start */
void log_line(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);
/* From now on give the lines of this thread to fn as well, whatever their level; NULL: no more. For
 * a command that comes from elsewhere and wants to hear what was logged on its behalf. fn may not
 * log. text: without time and level, at most LOG_LINE_BYTES_MAX, control bytes replaced. */
typedef void log_tap_fn(enum log_level level, const char *text, void *user);
void log_tap(log_tap_fn *fn, void *user);
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#endif
