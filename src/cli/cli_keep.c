/* cli_keep - see cli_keep.h. What is there is never written over: others may know it by its public
 * half. */
#include "cli/cli_keep.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/cli_options.h"

int
cli_keep_folder(const char *command, const char *path, struct arena *arena)
{
    struct span copy;

    if (arena_printf(arena, &copy, "%s", path) != ERR_OK)
        return cli_complain(CLI_FAILED, command, "no memory");
    for (char *at = (char *)(uintptr_t)copy.data + 1;; at++) {
        char c = *at;

        if (c != '/' && c != '\0')
            continue;
        *at = '\0';
        if (mkdir(copy.data, 0700) != 0 && errno != EEXIST)
            return cli_complain(CLI_FAILED, command, "%s: %s", copy.data, strerror(errno));
        *at = c;
        if (c == '\0')
            return CLI_OK;
    }
}

int
cli_keep_secret(const char *command, const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good;

    if (fd < 0 && errno == EEXIST)
        return cli_complain(CLI_FAILED, command,
                            "%s is there already, and a seed cannot be made again", path);
    if (fd < 0)
        return cli_complain(CLI_FAILED, command, "%s: %s", path, strerror(errno));
    good = write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fsync(fd) == 0;
    if (close(fd) == 0 && good)
        return CLI_OK;
    unlink(path);
    return cli_complain(CLI_FAILED, command, "%s: %s", path, strerror(errno));
}

static int
make_key(const char *command, const char *path, struct signature_file *file)
{
    unsigned char seed[SIGNATURE_SEED_BYTES];
    char text[SIGNATURE_FILE_BYTES_MAX];
    int result;

    if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return cli_complain(CLI_FAILED, command, "no random bytes: %s", strerror(errno));
    file->is_secret = true;
    signature_secret_of_seed(seed, &file->secret);
    signature_key_of_secret(&file->secret, &file->key);
    (void)signature_file_text(file, true, text);
    result = cli_keep_secret(command, path, text);
    signature_forget(seed, sizeof(seed));
    signature_forget(text, sizeof(text));
    return result;
}

int
cli_keep_key(const char *command, const char *path, enum signature_owner owner, const char *name,
             struct arena *arena, char ret_public[SIGNATURE_KEY_TEXT_SIZE])
{
    struct signature_file file = {.owner = owner};
    struct span text;
    int result = CLI_OK;
    enum err err;

    if (access(path, F_OK) != 0) {
        span_copy(span_of(name), file.name, sizeof(file.name));
        result = make_key(command, path, &file);
    } else {
        err = cli_read_file(path, SIGNATURE_FILE_BYTES_MAX, arena, &text);
        if (err != ERR_OK)
            return cli_complain(CLI_FAILED, command, "%s: %s", path, cli_read_words(err));
        err = signature_file_parse(text, &file);
        signature_forget((char *)(uintptr_t)text.data, text.bytes);
        if (err != ERR_OK || !file.is_secret || file.owner != owner)
            result = cli_complain(CLI_FAILED, command,
                                  "%s is not the secret key of a %s: when it is moved away, a new "
                                  "one is made",
                                  path, signature_owner_name(owner));
    }
    if (result == CLI_OK)
        signature_key_text(&file.key, ret_public);
    signature_file_forget(&file);
    return result;
}
