/* cmd_replay - play a recorded run again: `isochrone replay FILE`.
 *
 * The record holds every event with its time and the actions that came of it. The same core, built
 * from the record's head, must give the same actions byte for byte; the first that differs is
 * shown. This is what makes the gateway and the simulator one system. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/core.h"
#include "wire/record.h"

struct replay {
    struct core *core;
    void *memory;
    uint64_t steps, decisions, different;
    uint64_t first_ns, last_ns;
    enum record_end end;
    bool cut;
    FILE *out; /* the actions' bytes go here; NULL: nowhere */
};

static enum err
replay_open(struct replay *r, const struct record_head *head)
{
    size_t bytes = core_bytes(&head->config);

    if (bytes == 0)
        return ERR_PARSE;
    r->memory = aligned_alloc(64, bytes);
    if (r->memory == NULL)
        return ERR_MEMORY;
    memset(r->memory, 0, bytes);
    return core_init(r->memory, bytes, &head->config, &r->core);
}

static void
report_difference(const struct replay *r, const struct record_entry *entry, struct span now)
{
    size_t at = 0;

    if (r->different > 0) /* the first one tells; the rest follows from it */
        return;
    while (at < now.bytes && at < entry->actions.bytes && now.data[at] == entry->actions.data[at])
        at++;
    fprintf(stderr,
            "replay: step %llu (event %u at %llu ns) differs at byte %zu: recorded %zu bytes, "
            "now %zu\n",
            (unsigned long long)r->steps, entry->event.kind, (unsigned long long)entry->now_ns, at,
            entry->actions.bytes, now.bytes);
}

static enum err
replay_step(struct replay *r, const struct record_entry *entry)
{
    static struct actions actions;
    unsigned char encoded[RECORD_ACTIONS_BYTES_MAX];
    struct span now = {(char *)encoded, 0};

    core_step(r->core, entry->now_ns, &entry->event, &actions);
    now.bytes = record_actions_encode(&actions, encoded);
    if (!span_eq(now, entry->actions)) {
        report_difference(r, entry, now);
        r->different++;
    }
    if (r->out != NULL && fwrite(encoded, 1, now.bytes, r->out) != now.bytes)
        return ERR_IO;
    r->decisions += actions.decision.candidate_count > 0;
    if (r->steps++ == 0)
        r->first_ns = entry->now_ns;
    r->last_ns = entry->now_ns;
    return ERR_OK;
}

static enum err
replay_all(struct replay *r, struct span file)
{
    struct record_head head;
    struct record_entry entry;
    size_t used;
    enum err err = record_head_decode(file, &head, &used);

    if (err == ERR_OK)
        err = replay_open(r, &head);
    while (err == ERR_OK && r->end == RECORD_END_NONE) {
        file = span_from(file, used);
        err = record_entry_decode(file, &entry, &used);
        if (err == ERR_AGAIN) { /* a gateway that was killed: what is there is good */
            r->cut = true;
            return ERR_OK;
        }
        if (err == ERR_OK && entry.end != RECORD_END_NONE)
            r->end = entry.end;
        else if (err == ERR_OK)
            err = replay_step(r, &entry);
    }
    return err;
}

static const char *
end_words(const struct replay *r)
{
    if (r->cut)
        return "cut off: the gateway was killed";
    return r->end == RECORD_END_RING_FULL ? "the ring was full: the record ends early" : "closed";
}

static void
print_result(const struct replay *r, bool json)
{
    double s = (double)(r->last_ns - r->first_ns) * 1e-9;

    if (json)
        printf("{\"steps\":%llu,\"decisions\":%llu,\"different\":%llu,\"seconds\":%.3f,"
               "\"end\":\"%s\"}\n",
               (unsigned long long)r->steps, (unsigned long long)r->decisions,
               (unsigned long long)r->different, s, end_words(r));
    else
        printf("%llu steps, %llu decisions over %.1f s (%s): %s\n", (unsigned long long)r->steps,
               (unsigned long long)r->decisions, s, end_words(r),
               r->different == 0 ? "identical" : "DIFFERENT");
}

static int
replay_file(const char *path, struct replay *r, bool json)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC), result = 1;
    void *map = MAP_FAILED;
    enum err err;

    if (fd < 0 || fstat(fd, &st) != 0) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        goto out;
    }
    if (st.st_size > 0)
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
        fprintf(stderr, "replay: %s: empty, or cannot be mapped\n", path);
        goto out;
    }
    err = replay_all(r, (struct span){map, (size_t)st.st_size});
    if (err != ERR_OK) {
        fprintf(stderr, "replay: %s: %s\n", path,
                err == ERR_UNSUPPORTED ? "another format version"
                : err == ERR_PARSE     ? "no record, or damaged"
                                       : err_name(err));
        goto out;
    }
    print_result(r, json);
    result = r->different == 0 ? 0 : 1;
out:
    if (map != MAP_FAILED)
        munmap(map, (size_t)st.st_size);
    if (fd >= 0)
        close(fd);
    return result;
}

const char cmd_replay_help[] =
    "Play a recorded run again and check that every action comes out the same.\n"
    "\n"
    "  isochrone replay run.rec\n"
    "  isochrone replay --json run.rec\n"
    "  isochrone replay --actions out.bin run.rec  # their bytes, to compare\n"
    "\n"
    "A record is made by `isochrone gateway -f FILE --record run.rec`.\n"
    "Exit status: 0 identical, 1 different or unreadable, 2 usage.\n";

int
cmd_replay(int argc, char **argv)
{
    struct replay r = {0};
    const char *path = NULL, *actions_path = NULL;
    bool json = false;
    int result;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--actions") == 0 && i + 1 < argc)
            actions_path = argv[++i];
        else if (argv[i][0] != '-' && path == NULL)
            path = argv[i];
        else
            path = "";
    }
    if (path == NULL || path[0] == '\0') {
        fputs(cmd_replay_help, stderr);
        return 2;
    }
    if (actions_path != NULL && (r.out = fopen(actions_path, "wb")) == NULL) {
        fprintf(stderr, "replay: %s: %s\n", actions_path, strerror(errno));
        return 1;
    }
    result = replay_file(path, &r, json);
    if (r.out != NULL && fclose(r.out) != 0)
        result = 1;
    free(r.memory);
    return result;
}
