/* recorder_test - what was put is in the file, in order, and a ring that was full says so. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/must.h"
#include "role/gateway/decide.h"
#include "role/gateway/recorder.h"
#include "tap.h"

static const struct core_config config = {.seed = 1,
                                          .nodes_max = 4,
                                          .models_max = 2,
                                          .regions_max = 2,
                                          .classes_max = 2,
                                          .placements_max = 8,
                                          .requests_max = 16,
                                          .rule = RULE_TIME};

static struct recorder *
start(const char *path)
{
    const struct record_head head = {
        .config = config, .build = SPAN_LIT("test"), .config_text = SPAN_LIT("engines: []\n")};
    struct recorder *r;

    must(recorder_open(path, &head, &r) == ERR_OK);
    return r;
}

/* The entries of the file; *ret_end: how it ends. Their times must count up from 1. */
static unsigned
count_entries(const char *path, enum record_end *ret_end)
{
    FILE *file = fopen(path, "rb");
    size_t room = 64u << 20, at;
    unsigned char *bytes = malloc(room);
    struct record_head head;
    struct record_entry entry;
    struct span text;
    unsigned count = 0;

    must(file != NULL && bytes != NULL);
    text = (struct span){(const char *)bytes, fread(bytes, 1, room, file)};
    fclose(file);
    *ret_end = RECORD_END_NONE;
    must(record_head_decode(text, &head, &at) == ERR_OK);
    CHECK(span_eq_text(head.config_text, "engines: []\n"), "the head has the configuration");
    for (;;) {
        size_t used;
        text = span_from(text, at);
        if (text.bytes == 0 || record_entry_decode(text, &entry, &used) != ERR_OK)
            break;
        at = used;
        *ret_end = entry.end;
        if (entry.end != RECORD_END_NONE)
            break;
        must(entry.now_ns == ++count && entry.event.kind == EVENT_TICK);
    }
    free(bytes);
    return count;
}

struct drain {
    int from;
    const char *to;
};

/* Everything that comes out of a pipe, into a file. */
static void *
drain(void *argument)
{
    const struct drain *d = argument;
    FILE *to = fopen(d->to, "wb");
    char bytes[65536];
    ssize_t n;

    must(to != NULL);
    while ((n = read(d->from, bytes, sizeof(bytes))) > 0)
        must(fwrite(bytes, 1, (size_t)n, to) == (size_t)n);
    must(fclose(to) == 0);
    return NULL;
}

/* A disk that takes nothing, played by a pipe that nobody reads: the ring fills up, nobody waits,
 * and once the disk is back the record holds what the ring held and says that it ends early. */
static void
test_full(const char *path)
{
    const struct event tick = {.kind = EVENT_TICK};
    const struct actions actions = {0};
    char fifo[] = "/tmp/isochrone-recorder-fifo-XXXXXX";
    struct drain d = {.to = path};
    struct recorder *r;
    enum record_end end;
    pthread_t thread;
    unsigned count;
    int fd = mkstemp(fifo);

    must(fd >= 0 && close(fd) == 0 && unlink(fifo) == 0 && mkfifo(fifo, 0600) == 0);
    d.from = open(fifo, O_RDONLY | O_NONBLOCK);
    must(d.from >= 0);
    r = start(fifo);
    for (uint64_t i = 1; i <= 3 * RECORDER_SLOTS; i++)
        recorder_put(r, i, &tick, &actions);
    must(fcntl(d.from, F_SETFL, 0) == 0);
    must(pthread_create(&thread, NULL, drain, &d) == 0);
    recorder_close(r);
    must(pthread_join(thread, NULL) == 0);
    count = count_entries(path, &end);
    CHECK(count >= RECORDER_SLOTS && count < 3 * RECORDER_SLOTS, "a full ring takes no more");
    CHECK(end == RECORD_END_RING_FULL, "and the record says so");
    close(d.from);
    unlink(fifo);
}

int
main(void)
{
    const struct event tick = {.kind = EVENT_TICK};
    struct actions actions = {0};
    char path[] = "/tmp/isochrone-recorder-XXXXXX";
    int fd = mkstemp(path);
    struct recorder *r;
    enum record_end end;

    must(fd >= 0);
    close(fd);
    r = start(path);
    for (uint64_t i = 1; i <= 3 * RECORDER_SLOTS; i++) {
        recorder_wait_room(r);
        recorder_put(r, i, &tick, &actions);
    }
    recorder_close(r);
    CHECK(count_entries(path, &end) == 3 * RECORDER_SLOTS, "every step, with time given");
    CHECK(end == RECORD_END_CLOSED, "and closed");

    test_full(path);
    unlink(path);
    return tap_done();
}
