/* process_log - between io/log, which has the lines, and io/log_file, which writes them; see
 * process_log.h. io/log gives one line at a time, whichever thread it is from: one ring does. */
#include "role/process_log.h"

#include <string.h>

#include "io/log.h"

static bool
on_line(struct span line, void *user)
{
    struct log_file *file = user;

    if (!log_file_is_on(file))
        return false;
    log_file_put(file, 0, line);
    log_file_wake(file); /* they are few, and the last ones before a crash matter most */
    return true;
}

static void
set_form(const struct config *config)
{
    log_set_level((enum log_level)config->log_level);
    log_set_json(config->log_json);
}

enum err
process_log_open(const struct roster *roster, struct log_file **ret_file)
{
    const struct log_file_options o = {
        .name = "log", .path = roster->log, .ring_count = 1, .is_log = true};
    enum err err = log_file_open(&o, ret_file);

    set_form(&roster->config);
    if (err == ERR_OK)
        log_divert(on_line, *ret_file, true);
    return err;
}

void
process_log_serving(struct log_file *file)
{
    if (file != NULL)
        log_divert(on_line, file, false);
}

void
process_log_reload(struct log_file *file, const struct roster *before, const struct roster *after)
{
    if (file == NULL)
        return;
    set_form(&after->config);
    if (strcmp(before->log, after->log) != 0)
        log_file_reopen(file, after->log);
}

void
process_log_close(struct log_file *file)
{
    if (file == NULL)
        return;
    log_divert(NULL, NULL, false);
    log_file_close(file);
}
