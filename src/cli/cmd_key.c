/* cmd_key - make a key for a client: 32 random bytes, shown once; the file gets its SHA-256 and
 * limits.
 *
 * The line is appended under a lock in one write, after the file with the line was read as a
 * gateway would read it: a gateway never finds a file that this command broke. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/cli.h"
#include "wire/keys.h"

#define KEY_RANDOM_BYTES 32u
#define KEY_PREFIX       "isk-"
#define KEY_TEXT_SIZE    (sizeof(KEY_PREFIX) + (KEY_RANDOM_BYTES * 4 + 2) / 3)
#define KEY_MEMORY_MAX   ((size_t)256 << 20)
#define KEY_FILE_DEFAULT "keys.yaml"

const char cmd_key_help[] =
    "Make a key for a client. It is shown once; the file keeps only its hash.\n"
    "\n"
    "  isochrone key add alice\n"
    "  isochrone key add alice --file /etc/isochrone/keys.yaml --concurrency 32\n"
    "  KEY=$(isochrone key add batch --tokens-per-minute 100000)\n"
    "\n"
    "      --file FILE             the key file (keys.yaml); made if it is not there\n"
    "      --concurrency N         requests at once; without it no limit\n"
    "      --tokens-per-minute N   without it no limit\n"
    "      --priority CLASS        high, normal or low: who goes first when not all can (normal)\n"
    "      --json                  name and key as JSON\n"
    "\n"
    "Clients send it as `Authorization: Bearer isk-...`. To take a key back, delete its line.\n"
    "A running gateway reads the file again on SIGHUP.\n"
    "Exit status: 0 done, 1 not done, 2 wrong use.\n";

struct key_add {
    const char *name, *path;
    uint64_t concurrency, tokens_per_minute;
    enum priority priority;
    bool json;
    char text[KEY_TEXT_SIZE]; /* the key */
};

/* isk- and 32 random bytes in base64 for URLs. */
static enum err
key_make(char text[KEY_TEXT_SIZE])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char bytes[KEY_RANDOM_BYTES];
    char *to = text + sizeof(KEY_PREFIX) - 1;
    uint32_t bits = 0, bit_count = 0;

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return ERR_IO; /* up to 256 bytes come whole or not at all */
    memcpy(text, KEY_PREFIX, sizeof(KEY_PREFIX));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bits = bits << 8 | bytes[i];
        bit_count += 8;
        while (bit_count >= 6) {
            bit_count -= 6;
            *to++ = digits[bits >> bit_count & 63];
        }
    }
    if (bit_count > 0)
        *to++ = digits[bits << (6 - bit_count) & 63];
    *to = '\0';
    return ERR_OK;
}

static void
complain(const char *path, const struct config_problems *problems)
{
    for (size_t i = 0; i < problems->count; i++)
        fprintf(stderr, "%s:%u:%u: error: %s\n", path, problems->list[i].line,
                problems->list[i].column, problems->list[i].text);
}

/* What to append to `old` for a new key, and is the whole good then? Says why not. */
static enum err
addition_make(const struct key_add *k, struct span old, struct arena *arena,
              struct span *ret_addition)
{
    struct config_problems problems;
    unsigned char sha256[KEY_SHA256_BYTES];
    struct keys before, after;
    struct span line, whole;
    const char *head = "";

    if (keys_parse(old, arena, &before, &problems) != ERR_OK) {
        complain(k->path, &problems);
        return ERR_PARSE;
    }
    for (size_t i = 0; i < before.count; i++) {
        if (span_eq_text(before.list[i].name, k->name)) {
            fprintf(stderr, "key: %s has a key named %s already; take another name\n", k->path,
                    k->name);
            return ERR_EXISTS;
        }
    }
    if (old.bytes == 0)
        head = "keys:\n";
    else if (old.data[old.bytes - 1] != '\n')
        head = "\n";
    keys_sha256(span_of(k->text), sha256);
    if (keys_line(span_of(k->name), sha256, (uint32_t)k->concurrency, k->tokens_per_minute,
                  k->priority, arena, &line) != ERR_OK ||
        arena_printf(arena, ret_addition, "%s%.*s", head, (int)line.bytes, line.data) != ERR_OK ||
        arena_printf(arena, &whole, "%.*s%.*s", (int)old.bytes, old.data, (int)ret_addition->bytes,
                     ret_addition->data) != ERR_OK)
        return ERR_FULL;
    if (keys_parse(whole, arena, &after, &problems) == ERR_OK && after.count == before.count + 1)
        return ERR_OK;
    fprintf(stderr,
            "key: a line cannot be appended to %s, because its list is not written line by line "
            "(`keys:`, then `  - {name: ...}` on each)\n",
            k->path);
    return ERR_PARSE;
}

/* One write; what was written of it is taken back when it is not all. */
static enum err
append(int fd, off_t old_bytes, struct span addition)
{
    ssize_t n = write(fd, addition.data, addition.bytes);

    if (n == (ssize_t)addition.bytes && fsync(fd) == 0)
        return ERR_OK;
    if (n >= 0 && n < (ssize_t)addition.bytes)
        errno = ENOSPC;
    if (ftruncate(fd, old_bytes) != 0)
        fprintf(stderr, "key: the end of the file may be damaged\n");
    return ERR_IO;
}

static enum err
key_add(struct key_add *k, struct arena *arena)
{
    struct span old, addition;
    enum err err = key_make(k->text);
    int fd = -1;

    if (err == ERR_OK) {
        fd = open(k->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        err = fd < 0 || flock(fd, LOCK_EX) != 0 ? ERR_IO : ERR_OK;
    }
    if (err == ERR_OK)
        err = cli_read_fd(fd, CONFIG_BYTES_MAX, arena, &old);
    if (err != ERR_OK) {
        fprintf(stderr, "key: %s: %s\n", k->path, cli_read_words(err));
        goto out;
    }
    err = addition_make(k, old, arena, &addition);
    if (err != ERR_OK)
        goto out;
    err = append(fd, (off_t)old.bytes, addition);
    if (err != ERR_OK)
        fprintf(stderr, "key: %s: %s\n", k->path, strerror(errno));
out:
    if (fd >= 0)
        close(fd); /* and with it the lock */
    return err;
}

/* A limit given as an option; false: it is none. */
static bool
limit_parse(const char *text, uint64_t max, uint64_t *ret)
{
    return span_u64(span_of(text), ret) == ERR_OK && *ret > 0 && *ret <= max;
}

/* False: wrong use, and why was said unless the help tells. */
static bool
options_parse(int argc, char **argv, struct key_add *k)
{
    static const struct option options[] = {
        {"file", required_argument, NULL, 'f'},
        {"concurrency", required_argument, NULL, 'c'},
        {"tokens-per-minute", required_argument, NULL, 't'},
        {"priority", required_argument, NULL, 'p'},
        {"json", no_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    bool good = true;
    int option;

    while ((option = getopt_long(argc, argv, "f:", options, NULL)) != -1) {
        if (option == 'f')
            k->path = optarg;
        else if (option == 'c')
            good = good && limit_parse(optarg, KEY_CONCURRENCY_MAX, &k->concurrency);
        else if (option == 't')
            good = good && limit_parse(optarg, KEY_TOKENS_PER_MINUTE_MAX, &k->tokens_per_minute);
        else if (option == 'j')
            k->json = true;
        else if (option == 'p' && keys_priority(span_of(optarg), &k->priority) == ERR_OK)
            continue;
        else if (option == 'p')
            return fputs("key: --priority is high, normal or low\n", stderr), false;
        else
            return false;
    }
    if (!good) {
        fputs("key: a limit is a whole number above 0; leave it out for none\n", stderr);
        return false;
    }
    if (argc - optind != 2 || strcmp(argv[optind], "add") != 0) {
        fputs(cmd_key_help, stderr);
        return false;
    }
    k->name = argv[optind + 1];
    if (config_is_name(span_of(k->name)))
        return true;
    fprintf(stderr, "key: `%s` is no name: take 1 to 63 of a-z, 0-9 and -\n", k->name);
    return false;
}

int
cmd_key(int argc, char **argv)
{
    struct key_add k = {.path = KEY_FILE_DEFAULT, .priority = PRIORITY_NORMAL};
    struct arena arena;
    enum err err;

    if (!options_parse(argc, argv, &k))
        return CLI_USAGE;
    arena_init(&arena, KEY_MEMORY_MAX);
    err = key_add(&k, &arena);
    arena_fini(&arena);
    if (err != ERR_OK)
        return CLI_FAILED;
    if (k.json) {
        printf("{\"name\":\"%s\",\"key\":\"%s\"}\n", k.name, k.text);
    } else {
        printf("%s\n", k.text);
        fprintf(stderr, "Keep it: it is shown only this once. Its hash is in %s.\n", k.path);
    }
    return CLI_OK;
}
