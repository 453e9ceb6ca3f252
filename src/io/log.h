#ifndef IO_LOG_H
#define IO_LOG_H
/* log - lines for operators on standard error: "2026-11-21T10:00:00.123Z warn  text".
 * Thread-safe: one write() a line, at most LOG_LINE_BYTES_MAX, longer ones are cut.
 * Control bytes become '?'. Prompts, answers and keys are never logged.
 * The level is the one thing of the program that every layer may need before anything is open: the
 * only state here, set once at the start. */
#include "base/err.h"

#define LOG_LINE_BYTES_MAX 1024u

enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level); /* default LOG_INFO; call before threads start */
void log_line(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#endif
