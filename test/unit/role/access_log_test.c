/* access_log_test - lines through the rings into a file: in order, over the ring's end, lost and
 * counted when it is full or the disk is, and into another file when it is opened anew. */
#include "role/gateway/access_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "role/gateway/lane.h"
#include "tap.h"

#define PASSES_MAX 20000 /* of at most 1 ms: a test that waits longer has failed */

static struct gateway gateway;
static struct lane lanes[2];
static char directory[64], paths[3][128];

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
put(struct access_log *log, uint32_t lane, const char *text)
{
    access_log_put(log, lane, span_of(text));
}

/* Turn the first lane's loop until the file holds exactly this. */
static bool
comes(const char *path, const char *wanted)
{
    size_t bytes;

    for (int i = 0; i < PASSES_MAX; i++) {
        if (strcmp(contents(path, &bytes), wanted) == 0)
            return true;
        loop_pass(lanes[0].loop, 1000000);
    }
    printf("# %s holds: %s\n", path, contents(path, &bytes));
    return false;
}

/* Turn it until there is such a file. */
static bool
exists(const char *path)
{
    for (int i = 0; i < PASSES_MAX && access(path, F_OK) != 0; i++)
        loop_pass(lanes[0].loop, 1000000);
    return access(path, F_OK) == 0;
}

static bool
counts(const struct access_log *log, uint64_t lines, uint64_t dropped)
{
    uint64_t got_lines, got_dropped;

    access_log_counts(log, &got_lines, &got_dropped);
    return got_lines == lines && got_dropped == dropped;
}

/* More than the ring has room for, with nobody who writes. */
static void
test_full_ring(struct access_log *log)
{
    char line[4097];
    size_t bytes, lines = 2 * ACCESS_LOG_RING_BYTES / 4096;
    const char *text;

    memset(line, 'x', sizeof(line));
    line[4095] = '\n';
    line[4096] = '\0';
    for (size_t i = 0; i < lines; i++)
        put(log, 1, line);
    CHECK(counts(log, 3 + lines, lines - ACCESS_LOG_RING_BYTES / 4096),
          "a full ring costs lines, and no time");
    for (int i = 0;
         i < PASSES_MAX && contents(paths[0], &bytes) != NULL && bytes < 9 + ACCESS_LOG_RING_BYTES;
         i++)
        loop_pass(lanes[0].loop, 1000000);
    text = contents(paths[0], &bytes);
    CHECK(bytes == 9 + ACCESS_LOG_RING_BYTES && strcmp(text + bytes - 4096, line) == 0,
          "what was in it is written whole");
    put(log, 1, "after\n");
    for (int i = 0; i < PASSES_MAX && strstr(contents(paths[0], &bytes), "after\n") == NULL; i++)
        loop_pass(lanes[0].loop, 1000000);
    CHECK(strcmp(contents(paths[0], &bytes) + 9 + ACCESS_LOG_RING_BYTES, "after\n") == 0,
          "and it goes on");
}

static void
test_files(void)
{
    struct access_log *log = NULL;
    char nowhere[] = "/nowhere/at/all";
    uint64_t lines, dropped;

    CHECK(access_log_open(&gateway, nowhere, &log) == ERR_IO, "a path that cannot be");
    access_log_close(log);
    CHECK(access_log_open(&gateway, paths[0], &log) == ERR_OK && access_log_is_on(log), "a file");
    put(log, 0, "a1\n");
    put(log, 0, "a2\n");
    CHECK(comes(paths[0], "a1\na2\n"), "lines come into it in order");
    put(log, 1, "b1\n");
    CHECK(comes(paths[0], "a1\na2\nb1\n"), "those of another lane, too");
    test_full_ring(log);
    must(rename(paths[0], paths[2]) == 0);
    access_log_reopen(log, NULL);
    CHECK(exists(paths[0]), "opened anew under its name");
    put(log, 0, "c1\n");
    CHECK(comes(paths[0], "c1\n"), "for what comes after");
    access_log_reopen(log, nowhere);
    for (int i = 0; i < 400; i++) /* longer than it takes to look */
        loop_pass(lanes[0].loop, 1000000);
    put(log, 0, "c2\n");
    CHECK(comes(paths[0], "c1\nc2\n"), "what cannot be opened leaves the old one");
    access_log_reopen(log, paths[1]);
    CHECK(exists(paths[1]), "another name");
    put(log, 0, "d1\n");
    access_log_stop(log);
    loop_pass(lanes[0].loop, 0);
    put(log, 1, "d2\n");
    access_log_close(log);
    CHECK(comes(paths[1], "d1\nd2\n"), "closing writes the rest");
    CHECK(comes(paths[0], "c1\nc2\n"), "and the former file is left alone");
    log = NULL;
    CHECK(access_log_open(&gateway, "", &log) == ERR_OK && !access_log_is_on(log), "none");
    access_log_reopen(log, "/dev/full");
    for (int i = 0; i < PASSES_MAX && !access_log_is_on(log); i++)
        loop_pass(lanes[0].loop, 1000000);
    put(log, 0, "e1\n");
    put(log, 0, "e2\n");
    for (int i = 0; i < PASSES_MAX; i++) {
        access_log_counts(log, &lines, &dropped);
        if (dropped > 0)
            break;
        loop_pass(lanes[0].loop, 1000000);
    }
    CHECK(lines == 2 && dropped == 2, "what a full disk does not take is counted");
    access_log_stop(log);
    loop_pass(lanes[0].loop, 0);
    access_log_close(log);
}

int
main(void)
{
    snprintf(directory, sizeof(directory), "/tmp/isochrone-access-XXXXXX");
    must(mkdtemp(directory) != NULL);
    for (int i = 0; i < 3; i++)
        snprintf(paths[i], sizeof(paths[i]), "%s/%d", directory, i);
    gateway.lane_count = 2;
    gateway.lanes = lanes;
    must(loop_open(&lanes[0].loop) == ERR_OK);
    test_files();
    loop_pass(lanes[0].loop, 0);
    loop_close(lanes[0].loop);
    for (int i = 0; i < 3; i++)
        unlink(paths[i]);
    rmdir(directory);
    return tap_done();
}
