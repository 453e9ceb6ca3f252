#ifndef ROLE_PROCESS_LOG_H
#define ROLE_PROCESS_LOG_H
/* process_log - the log of the process as `log` of the configuration has it: its level, its form,
 * and its file. For a gateway that is the process (gateway_options.own_log); lines go to standard
 * error, too, until it serves, so that whoever starts it sees why it does not. */
#include "io/log_file.h"
#include "role/roster.h"

/* Before there are other threads that log. ERR_IO: it cannot be opened, logged; ERR_MEMORY. */
MUST_USE enum err process_log_open(const struct roster *roster, struct log_file **ret_file);
/* It serves: where there is a file, lines go there only. From here on NULL: does nothing. */
void process_log_serving(struct log_file *file);
/* On the first lane's thread: a reload brought another configuration. */
void process_log_reload(struct log_file *file, const struct roster *before,
                        const struct roster *after);
/* Lines go to standard error again. When no other thread is left. */
void process_log_close(struct log_file *file);
#endif
