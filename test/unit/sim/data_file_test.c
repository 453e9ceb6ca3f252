/* data_file_test - lines out of plain and packed files, as they should be and as they should not.
 * The files are made here: what is cut short or damaged begins as a good one. */
#include "sim/data_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "tap.h"

#define LINES_MAX 8

/* One row: bytes, and the lines that come out, or the error behind them. */
static const struct {
    const char *label, *bytes;
    const char *lines[LINES_MAX];
} good[] = {
    {"nothing", "", {NULL}},
    {"one line", "a,b\n", {"a,b"}},
    {"no end of the last line", "a\nb", {"a", "b"}},
    {"CR LF", "a\r\nb\r\n", {"a", "b"}},
    {"a CR of its own stays", "a\rb\n", {"a\rb"}},
    {"blank lines and comments", "\n# x\n  \n\t\na\n\r\n#\nb\n\n", {"a", "b"}},
    {"a byte order mark", "\xEF\xBB\xBFname\n1\n", {"name", "1"}},
};

static enum err
first_error(struct data_file *f, size_t *ret_lines)
{
    struct span line;
    enum err err;

    *ret_lines = 0;
    while ((err = data_file_line(f, &line)) == ERR_OK)
        ++*ret_lines;
    return err;
}

static void
check_good(size_t i)
{
    struct data_error error = {""};
    struct data_file *f = NULL;
    struct span line;
    size_t n = 0;

    CHECK(data_file_open_memory("m", span_of(good[i].bytes), &error, &f) == ERR_OK, good[i].label);
    while (f != NULL && data_file_line(f, &line) == ERR_OK) {
        bool same = n < LINES_MAX && good[i].lines[n] != NULL &&
                    span_eq_text(line, good[i].lines[n]);

        CHECK(same, good[i].label);
        n++;
    }
    CHECK(n == LINES_MAX || good[i].lines[n] == NULL, good[i].label);
    data_file_close(f);
}

static void
write_file(const char *path, const void *bytes, size_t count)
{
    FILE *out = fopen(path, "wb");

    CHECK(out != NULL && fwrite(bytes, 1, count, out) == count && fclose(out) == 0, "a file");
}

/* 4,000 lines that do not pack to nothing. */
static size_t
packed(const char *path, char *bytes, size_t size)
{
    gzFile gz = gzopen(path, "wb");
    FILE *in;
    size_t count;

    for (unsigned i = 0; i < 4000; i++)
        gzprintf(gz, "%u,%u\n", i, i * 2654435761u);
    gzclose(gz);
    in = fopen(path, "rb");
    count = fread(bytes, 1, size, in);
    fclose(in);
    return count;
}

static enum err
read_path(const char *path, size_t *ret_lines, struct data_error *error)
{
    struct data_file *f = NULL;
    enum err err = data_file_open(path, error, &f);

    *ret_lines = 0;
    if (err == ERR_OK)
        err = first_error(f, ret_lines);
    data_file_close(f);
    return err;
}

static void
check_packed(const char *path)
{
    static char bytes[200000];
    size_t count = packed(path, bytes, sizeof(bytes)), lines;
    struct data_error error = {""};

    CHECK(read_path(path, &lines, &error) == ERR_NOT_FOUND && lines == 4000, "a packed file");
    write_file(path, bytes, count / 2);
    CHECK(read_path(path, &lines, &error) == ERR_PARSE, "cut short");
    CHECK(strstr(error.text, "ends too early") != NULL, error.text);
    CHECK(strncmp(error.text, path, strlen(path)) == 0 && error.text[strlen(path)] == ':',
          "a message begins with the file");
    write_file(path, bytes, 5);
    CHECK(read_path(path, &lines, &error) == ERR_PARSE && lines == 0, "cut in its head");
    bytes[count / 2] = (char)(bytes[count / 2] ^ 0x55);
    write_file(path, bytes, count);
    CHECK(read_path(path, &lines, &error) == ERR_PARSE, "a byte is wrong");
    CHECK(strstr(error.text, "damaged") != NULL, error.text);
    write_file(path, "a\nb\n", 4);
    CHECK(read_path(path, &lines, &error) == ERR_NOT_FOUND && lines == 2,
          "plain, whatever its name");
    CHECK(read_path("/nowhere/at/all", &lines, &error) == ERR_IO, "no such file");
    CHECK(strcmp(error.text, "/nowhere/at/all: cannot be opened: No such file or directory") == 0,
          error.text);
    CHECK(read_path("/", &lines, &error) != ERR_OK && error.text[0] == '/', "a folder");
}

static void
check_limits(void)
{
    size_t bytes = DATA_FILE_LINE_BYTES_MAX + 10, lines;
    char *text = malloc(bytes);
    struct data_error error = {""};
    struct data_file *f = NULL;
    struct span line;

    memset(text, 'x', bytes);
    memcpy(text, "a\n", 2);
    CHECK(data_file_open_memory("long", (struct span){text, bytes}, &error, &f) == ERR_OK, "long");
    CHECK(first_error(f, &lines) == ERR_FULL && lines == 1, "a line over the limit");
    CHECK(strncmp(error.text, "long:2: a line of more than", 27) == 0, error.text);
    data_file_close(f);

    text[bytes - 20] = '\n';
    CHECK(data_file_open_memory("m", (struct span){text, bytes - 15}, &error, &f) == ERR_OK, "m");
    CHECK(first_error(f, &lines) == ERR_NOT_FOUND && lines == 3, "a line just below it");
    data_file_close(f);

    CHECK(data_file_open_memory("m", SPAN_LIT("a\n\nb\n"), &error, &f) == ERR_OK, "m");
    CHECK(data_file_line(f, &line) == ERR_OK && span_eq_text(line, "a"), "a line");
    data_file_again(f);
    CHECK(data_file_line(f, &line) == ERR_OK && span_eq_text(line, "a"), "the same again");
    CHECK(data_file_line(f, &line) == ERR_OK && span_eq_text(line, "b"), "and the next");
    CHECK(data_file_fail(f, ERR_ARG, "no %s", "good") == ERR_ARG, "a mistake");
    CHECK(strcmp(error.text, "m:3: no good") == 0, error.text);
    data_file_close(f);
    free(text);
}

int
main(void)
{
    char path[] = "/tmp/isochrone-data-file-XXXXXX";
    int fd = mkstemp(path);

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        check_good(i);
    check_packed(path);
    check_limits();
    close(fd);
    unlink(path);
    return tap_done();
}
