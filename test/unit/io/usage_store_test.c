/* usage_store_test - what is added is there, summed up as asked, after a restart too; and what
 * happens with a full disk, a damaged file and one of a later version. */
#include "io/usage_store.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/must.h"
#include "tap.h"

#define ROWS_MAX 16u

static char folder[64], directory[96], path[128];

static struct usage_row
row(uint64_t hour, const char *key, const char *model, uint64_t requests, uint64_t tokens)
{
    struct usage_row r = {.hour = hour,
                          .counts = {.requests = requests,
                                     .failed = 1,
                                     .refused = 2,
                                     .prompt_tokens = tokens,
                                     .cached_tokens = 3,
                                     .output_tokens = 4}};

    snprintf(r.key, sizeof(r.key), "%s", key);
    snprintf(r.model, sizeof(r.model), "%s", model);
    return r;
}

struct rows {
    struct usage_row list[ROWS_MAX];
    size_t count;
};

static bool
take(const struct usage_row *r, void *user)
{
    struct rows *rows = user;

    must(rows->count < ROWS_MAX);
    rows->list[rows->count++] = *r;
    return true;
}

/* The rows as one text: "hour key model requests tokens;" each, "more" at the end. */
static const char *
ask(struct usage_store *s, uint64_t from_hour, uint32_t by, const char *key, uint32_t rows_max)
{
    static char text[4096];
    const struct usage_question q = {from_hour, by, key, rows_max};
    struct rows rows = {.count = 0};
    size_t bytes = 0;
    bool more = false;

    text[0] = '\0';
    if (usage_store_read(s, &q, take, &rows, &more) != ERR_OK)
        return "error";
    for (size_t i = 0; i < rows.count; i++) {
        const struct usage_row *r = &rows.list[i];
        bytes += (size_t)snprintf(text + bytes, sizeof(text) - bytes, "%llu %s %s %llu %llu;",
                                  (unsigned long long)r->hour, r->key, r->model,
                                  (unsigned long long)r->counts.requests,
                                  (unsigned long long)r->counts.prompt_tokens);
    }
    snprintf(text + bytes, sizeof(text) - bytes, "%s", more ? "more" : "");
    return text;
}

static struct usage_store *
new_store(void)
{
    struct usage_store *s;

    must(usage_store_new(directory, &s) == ERR_OK);
    return s;
}

static const struct {
    const char *label, *key, *text;
    uint64_t from_hour;
    uint32_t by, rows_max;
} questions[] = {
    {"all of it as one", NULL, "0   10 7450;", 0, 0, 9},
    {"by key", NULL, "0 alice  6 7050;0 bob  4 400;", 0, USAGE_BY_KEY, 9},
    {"by model", NULL, "0  big 3 7000;0  tiny 7 450;", 0, USAGE_BY_MODEL, 9},
    {"by key and model", NULL, "0 alice big 3 7000;0 bob tiny 4 400;0 alice tiny 3 50;", 0,
     USAGE_BY_KEY | USAGE_BY_MODEL, 9},
    {"by hour", NULL, "100   6 250;101   4 7200;", 0, USAGE_BY_HOUR, 9},
    {"since", NULL, "0 alice  3 7000;0 bob  1 200;", 101, USAGE_BY_KEY, 9},
    {"since now", NULL, "", 102, USAGE_BY_KEY, 9},
    {"one key's", "bob", "0  tiny 4 400;", 0, USAGE_BY_MODEL, 9},
    {"nobody's", "carol", "", 0, USAGE_BY_KEY, 9},
    {"as many as asked", NULL, "0 alice big 3 7000;more", 0, USAGE_BY_KEY | USAGE_BY_MODEL, 1},
};

static void
check_sums(void)
{
    struct usage_store *s = new_store();
    const struct usage_row first[] = {row(100, "alice", "tiny", 1, 20),
                                      row(100, "bob", "tiny", 3, 200)};
    const struct usage_row second[] = {row(100, "alice", "tiny", 2, 30),
                                       row(101, "alice", "big", 3, 7000),
                                       row(101, "bob", "tiny", 1, 200)};
    struct stat about;
    struct rows rows = {.count = 0};
    bool more;

    CHECK(strcmp(ask(s, 0, 0, NULL, 9), "") == 0, "nothing yet");
    CHECK(stat(directory, &about) == 0 && (about.st_mode & 0777) == 0700, "a folder of its own");
    CHECK(stat(path, &about) == 0 && (about.st_mode & 0777) == 0600, "for its owner only");
    CHECK(usage_store_add(s, first, 2, 0) == ERR_OK, "two rows");
    CHECK(usage_store_add(s, second, 3, 0) == ERR_OK, "three, one of them known");
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        const char *text = ask(s, questions[i].from_hour, questions[i].by, questions[i].key,
                               questions[i].rows_max);
        CHECK(strcmp(text, questions[i].text) == 0, questions[i].label);
        if (strcmp(text, questions[i].text) != 0)
            printf("# %s\n", text);
    }
    CHECK(usage_store_read(s, &(struct usage_question){0, 0, NULL, 1}, take, &rows, &more) ==
                  ERR_OK &&
              rows.list[0].counts.failed == 5 && rows.list[0].counts.refused == 10 &&
              rows.list[0].counts.cached_tokens == 15 && rows.list[0].counts.output_tokens == 20,
          "all columns are added up");
    usage_store_free(s);
    s = new_store();
    CHECK(strcmp(ask(s, 0, 0, NULL, 9), "0   10 7450;") == 0, "and are there after a restart");
    CHECK(usage_store_add(s, NULL, 0, 101) == ERR_OK &&
              strcmp(ask(s, 0, USAGE_BY_HOUR, NULL, 9), "101   4 7200;") == 0,
          "old hours are forgotten");
    usage_store_free(s);
}

/* A process that is killed after an add has lost nothing of it. */
static void
check_killed(void)
{
    struct usage_store *s;
    pid_t child = fork();
    int status;

    must(child >= 0);
    if (child == 0) {
        const struct usage_row one = row(200, "carol", "m", 5, 500);
        s = new_store();
        if (usage_store_add(s, &one, 1, 0) == ERR_OK)
            raise(SIGKILL);
        _exit(1);
    }
    must(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status), "it was killed");
    s = new_store();
    CHECK(strcmp(ask(s, 200, USAGE_BY_KEY, NULL, 9), "0 carol  5 500;") == 0, "its row is there");
    usage_store_free(s);
}

static void
check_two_processes(void)
{
    struct usage_store *a = new_store(), *b = new_store();
    const struct usage_row one = row(300, "dora", "m", 1, 10);

    for (unsigned i = 0; i < 10; i++)
        CHECK(usage_store_add(i % 2 == 0 ? a : b, &one, 1, 0) == ERR_OK, "two write in turn");
    CHECK(strcmp(ask(a, 300, USAGE_BY_KEY, NULL, 9), "0 dora  10 100;") == 0, "both count");
    usage_store_free(a);
    usage_store_free(b);
}

/* A limit on the size of files stands for a disk that is full. */
static void
check_full(void)
{
    struct usage_store *s = new_store();
    struct usage_row many[64];
    struct rlimit before, small;

    for (unsigned i = 0; i < 64; i++) {
        many[i] = row(400 + i, "eve", "", 1, 1);
        memset(many[i].model, 'x', sizeof(many[i].model) - 1);
    }
    must(getrlimit(RLIMIT_FSIZE, &before) == 0);
    must(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    small = (struct rlimit){.rlim_cur = 4096, .rlim_max = before.rlim_max};
    must(setrlimit(RLIMIT_FSIZE, &small) == 0);
    CHECK(usage_store_add(s, many, 64, 0) == ERR_IO, "the disk is full");
    CHECK(usage_store_add(s, many, 64, 0) == ERR_IO, "and stays so");
    must(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(usage_store_add(s, many, 64, 0) == ERR_OK, "until there is room");
    CHECK(strcmp(ask(s, 400, USAGE_BY_KEY, NULL, 9), "0 eve  64 64;") == 0,
          "what failed was taken back whole");
    usage_store_free(s);
}

static void
write_file(const char *text, size_t bytes)
{
    FILE *f = fopen(path, "wb");

    must(f != NULL && fwrite(text, 1, bytes, f) == bytes && fclose(f) == 0);
}

static void
check_damaged(void)
{
    static const char nonsense[8192] = "this is no database, whatever its name says";
    struct usage_store *s = new_store();
    const struct usage_row one = row(500, "fay", "m", 1, 10);
    char text[64] = "";
    sqlite3 *db;
    FILE *f;

    write_file(nonsense, sizeof(nonsense));
    CHECK(usage_store_add(s, &one, 1, 0) == ERR_IO, "a damaged file");
    CHECK(strcmp(ask(s, 0, 0, NULL, 9), "error") == 0, "cannot be read either");
    f = fopen(path, "rb");
    must(f != NULL && fread(text, 1, 20, f) == 20 && fclose(f) == 0);
    CHECK(strcmp(text, "this is no database,") == 0, "it is left as it is");
    must(unlink(path) == 0);
    CHECK(usage_store_add(s, &one, 1, 0) == ERR_OK &&
              strcmp(ask(s, 0, USAGE_BY_KEY, NULL, 9), "0 fay  1 10;") == 0,
          "taken away, a new one is made");
    usage_store_free(s);
    must(sqlite3_open(path, &db) == SQLITE_OK);
    must(sqlite3_exec(db, "PRAGMA user_version = 2", NULL, NULL, NULL) == SQLITE_OK);
    must(sqlite3_close(db) == SQLITE_OK);
    s = new_store();
    CHECK(usage_store_add(s, &one, 1, 0) == ERR_IO, "a file of a later version is left alone");
    usage_store_free(s);
    must(mkdir("in-the-way", 0700) == 0);
    must(usage_store_new("in-the-way/usage.db/x", &s) == ERR_OK);
    f = fopen("in-the-way/usage.db", "w");
    must(f != NULL && fclose(f) == 0);
    CHECK(usage_store_add(s, &one, 1, 0) == ERR_IO, "a folder that cannot be made");
    usage_store_free(s);
}

int
main(void)
{
    snprintf(folder, sizeof(folder), "/tmp/isochrone-usage-XXXXXX");
    must(mkdtemp(folder) != NULL && chdir(folder) == 0);
    snprintf(directory, sizeof(directory), "%s/state/isochrone", folder);
    snprintf(path, sizeof(path), "%s/usage.db", directory);
    check_sums();
    check_killed();
    check_two_processes();
    check_full();
    check_damaged();
    must(chdir("/") == 0);
    {
        char command[160];
        snprintf(command, sizeof(command), "rm -rf %s", folder);
        CHECK(system(command) == 0, "clean");
    }
    return tap_done();
}
