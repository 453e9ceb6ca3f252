/* log_file_test - lines through the rings into a file: in order, over the ring's end, lost and
 * counted when it is full or the disk is, told where it can be heard, and into another file when it
 * is opened anew. */
#include "io/log_file.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "io/log.h"
#include "patience.h"
#include "tap.h"

#define FULL_LINES_MAX 10000 /* far above what a ring and a pipe can hold of them */

static char directory[64], paths[3][128];

static void
moment(void)
{
    const struct timespec ms = {.tv_nsec = 1000000};

    nanosleep(&ms, NULL);
}

static char *
contents(const char *path, size_t *ret_bytes)
{
    static char text[4u << 20];
    FILE *file = fopen(path, "r");

    *ret_bytes = 0;
    if (file != NULL) {
        *ret_bytes = fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
    }
    text[*ret_bytes] = '\0';
    return text;
}

static void
put(struct log_file *log, uint32_t ring, const char *text)
{
    log_file_put(log, ring, span_of(text));
}

/* Wait until the file holds exactly this. */
static bool
comes(const char *path, const char *wanted)
{
    uint64_t until_s = 0;
    size_t bytes;

    while (patience(&until_s)) {
        if (strcmp(contents(path, &bytes), wanted) == 0)
            return true;
        moment();
    }
    printf("# %s holds: %s\n", path, contents(path, &bytes));
    return false;
}

/* Wait until there is such a file. */
static bool
exists(const char *path)
{
    uint64_t until_s = 0;

    while (access(path, F_OK) != 0 && patience(&until_s))
        moment();
    return access(path, F_OK) == 0;
}

static bool
counts(const struct log_file *log, uint64_t lines, uint64_t dropped)
{
    uint64_t got_lines, got_dropped;

    log_file_counts(log, &got_lines, &got_dropped);
    return got_lines == lines && got_dropped == dropped;
}

/* Wait until they are these. */
static bool
counts_come(const struct log_file *log, uint64_t lines, uint64_t dropped)
{
    uint64_t until_s = 0;

    while (!counts(log, lines, dropped) && patience(&until_s))
        moment();
    return counts(log, lines, dropped);
}

static enum err
open_log(const char *path, struct log_file **ret_log)
{
    const struct log_file_options o = {.name = "test log", .path = path, .ring_count = 2};

    return log_file_open(&o, ret_log);
}

/* So many bytes of a pipe; false: they do not come. */
static bool
read_whole(int fd, char *text, size_t bytes)
{
    while (bytes > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n = poll(&p, 1, (int)PATIENCE_S * 1000) == 1 ? read(fd, text, bytes) : 0;
        if (n <= 0)
            return false;
        text += n;
        bytes -= (size_t)n;
    }
    return true;
}

/* More than the ring has room for, while the file takes nothing: it is a pipe that nobody reads, so
 * what is taken is a ring's worth and what the kernel keeps. */
static void
test_full_ring(void)
{
    uint64_t lines = 0, dropped = 0, until_s = 0;
    struct log_file *log = NULL;
    char line[4097], got[4096];
    bool whole = true;
    int fd;

    memset(line, 'x', sizeof(line));
    line[4095] = '\n';
    line[4096] = '\0';
    must(mkfifo(paths[0], 0600) == 0);
    fd = open(paths[0], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    must(fd >= 0 && open_log(paths[0], &log) == ERR_OK);
    while (dropped == 0 && lines < FULL_LINES_MAX) {
        put(log, 1, line);
        log_file_counts(log, &lines, &dropped);
    }
    CHECK(dropped == 1 && lines > LOG_FILE_RING_BYTES / 4096,
          "a full ring costs lines, and no time");
    for (uint64_t i = 0; i < lines - dropped; i++)
        whole = whole && read_whole(fd, got, sizeof(got)) && memcmp(got, line, sizeof(got)) == 0;
    CHECK(whole, "what was in it is written whole");
    /* It can be read before the ring knows that it went, so there may be no room yet. */
    for (uint64_t before = 0; before != dropped && patience(&until_s); moment()) {
        before = dropped;
        put(log, 1, "after\n");
        log_file_counts(log, &lines, &dropped);
    }
    CHECK(read_whole(fd, got, 6) && memcmp(got, "after\n", 6) == 0, "and it goes on");
    log_file_close(log);
    close(fd);
    unlink(paths[0]);
}

static void
test_files(void)
{
    struct log_file *log = NULL;
    char nowhere[] = "/nowhere/at/all";

    CHECK(open_log(nowhere, &log) == ERR_IO && log == NULL, "a path that cannot be");
    CHECK(open_log(paths[0], &log) == ERR_OK && log_file_is_on(log), "a file");
    put(log, 0, "a1\n");
    put(log, 0, "a2\n");
    CHECK(comes(paths[0], "a1\na2\n"), "lines come into it in order");
    put(log, 1, "b1\n");
    CHECK(comes(paths[0], "a1\na2\nb1\n"), "those of another ring, too");
    must(rename(paths[0], paths[2]) == 0);
    log_file_reopen(log, NULL);
    CHECK(exists(paths[0]), "opened anew under its name");
    put(log, 0, "c1\n");
    CHECK(comes(paths[0], "c1\n"), "for what comes after");
    log_file_reopen(log, nowhere);
    put(log, 0, "c2\n");
    CHECK(comes(paths[0], "c1\nc2\n"), "what cannot be opened leaves the old one");
    log_file_reopen(log, paths[1]);
    CHECK(exists(paths[1]), "another name");
    put(log, 0, "d1\n");
    put(log, 1, "d2\n");
    log_file_close(log);
    CHECK(comes(paths[1], "d1\nd2\n"), "closing writes the rest");
    CHECK(comes(paths[0], "c1\nc2\n"), "and the former file is left alone");
}

static bool
becomes(struct log_file *log, bool on)
{
    uint64_t until_s = 0;

    while (log_file_is_on(log) != on && patience(&until_s))
        moment();
    return log_file_is_on(log) == on;
}

/* No file at first; then one that takes nothing; none; a good one. */
static void
test_trouble(void)
{
    struct log_file *log = NULL;

    CHECK(!log_file_is_on(NULL), "nothing is off");
    CHECK(open_log("", &log) == ERR_OK && !log_file_is_on(log), "none");
    log_file_reopen(log, NULL);
    log_file_reopen(log, "/dev/full");
    CHECK(becomes(log, true), "one later");
    put(log, 0, "e1\n");
    put(log, 0, "e2\n");
    CHECK(counts_come(log, 2, 2), "what a full disk does not take is counted");
    log_file_reopen(log, "");
    CHECK(becomes(log, false), "none again");
    log_file_reopen(log, paths[2]);
    CHECK(becomes(log, true), "and a good one");
    log_file_close(log);
}

/* A disk that becomes full within a line: the rest of it is lost, and the next begins on its own.
 */
static void
test_torn_line(void)
{
    const struct rlimit small = {6, RLIM_INFINITY}, large = {RLIM_INFINITY, RLIM_INFINITY};
    struct log_file *log = NULL;

    unlink(paths[0]);
    must(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    must(open_log(paths[0], &log) == ERR_OK);
    must(setrlimit(RLIMIT_FSIZE, &small) == 0);
    put(log, 0, "123456789\n");
    must(counts_come(log, 1, 1));
    must(setrlimit(RLIMIT_FSIZE, &large) == 0);
    put(log, 0, "next\n");
    CHECK(comes(paths[0], "123456\nnext\n"), "a line that is cut is ended");
    CHECK(counts(log, 2, 1), "and counted");
    log_file_close(log);
}

static bool
into_file(struct span line, void *user)
{
    log_file_put(user, 0, line);
    return true;
}

/* The file of the log itself: it can tell its trouble nowhere but on standard error, once. */
static void
test_own_log(void)
{
    const struct log_file_options o = {
        .name = "log", .path = "/dev/full", .ring_count = 1, .is_log = true};
    int before = dup(STDERR_FILENO), fd = open(paths[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    uint64_t lines, dropped = 0, until_s = 0;
    struct log_file *log = NULL;
    const char *text;
    size_t bytes = 0;

    must(log_file_open(&o, &log) == ERR_OK);
    must(before >= 0 && fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    log_divert(into_file, log, false);
    /* Lines are counted as lost before that is told; they go there until it was, or the complaint
     * that is meant for the log comes out beside the other. */
    while ((dropped < 3 || bytes == 0) && patience(&until_s)) {
        log_info("a line"); /* beside it the complaint is lost, too */
        log_file_wake(log);
        moment();
        log_file_counts(log, &lines, &dropped);
        (void)contents(paths[1], &bytes);
    }
    log_divert(NULL, NULL, false);
    log_file_close(log);
    must(dup2(before, STDERR_FILENO) >= 0);
    close(before);
    close(fd);
    text = contents(paths[1], &bytes);
    CHECK(dropped >= 3, "a log on a full disk is counted");
    CHECK(strstr(text, "log /dev/full: No space left on device: lines are lost\n") != NULL &&
              strchr(text, '\n') == text + bytes - 1,
          "and told once where somebody may hear it");
}

int
main(void)
{
    snprintf(directory, sizeof(directory), "/tmp/isochrone-log-XXXXXX");
    must(mkdtemp(directory) != NULL);
    for (int i = 0; i < 3; i++)
        snprintf(paths[i], sizeof(paths[i]), "%s/%d", directory, i);
    test_full_ring();
    test_files();
    test_trouble();
    test_torn_line();
    test_own_log();
    for (int i = 0; i < 3; i++)
        unlink(paths[i]);
    rmdir(directory);
    return tap_done();
}
