/* inherit_test - descriptors from process to process: this program starts itself, and what it finds
 * it tells through one of them. And what of the environment is refused. */
#include "io/inherit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/must.h"
#include "tap.h"

static int
listener(uint32_t host, struct sockaddr_in *ret_address)
{
    socklen_t bytes = sizeof(*ret_address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *ret_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(host)};
    must(fd >= 0 && bind(fd, (struct sockaddr *)ret_address, bytes) == 0 && listen(fd, 8) == 0);
    must(getsockname(fd, (struct sockaddr *)ret_address, &bytes) == 0);
    return fd;
}

/* ---- The started one. */

static int
child(uint16_t port)
{
    struct sockaddr_in wanted = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct inherit in;
    bool good = inherit_read(&in) == ERR_OK && in.count == 3;
    int said = inherit_take(&in, "ready"), fd = inherit_take(&in, "public");
    char text[128];

    good = good && inherit_check(fd, "public", (struct sockaddr *)&wanted) == ERR_OK;
    good = good && inherit_take(&in, "public") >= 0 && inherit_take(&in, "public") < 0;
    snprintf(text, sizeof(text), "%s %s %s %s %s", good ? "good" : "bad",
             getenv("LISTEN_FDS") == NULL ? "clean" : "dirty",
             getenv("WATCHDOG_PID") == NULL ? "clean" : "dirty",
             getenv("KEPT") != NULL ? getenv("KEPT") : "lost",
             fcntl(fd, F_GETFD) == FD_CLOEXEC ? "cloexec" : "open");
    must(write(said, text, strlen(text)) > 0);
    return 0;
}

static void
test_start(char *program)
{
    char port[16], got[128] = "";
    char word[] = "child", nowhere[] = "/nowhere/at/all";
    char *arguments[] = {program, word, port, NULL}, *nobody[] = {nowhere, NULL};
    struct inherit give = {.count = 0};
    struct sockaddr_in address;
    int first = listener(INADDR_LOOPBACK, &address), pipe_fds[2], status;
    pid_t pid;

    must(pipe2(pipe_fds, O_CLOEXEC) == 0);
    snprintf(port, sizeof(port), "%u", ntohs(address.sin_port));
    setenv("WATCHDOG_PID", "1", 1);
    setenv("LISTEN_FDS", "77", 1);
    setenv("KEPT", "kept", 1);
    must(inherit_add(&give, "ready", pipe_fds[1]) == ERR_OK);
    must(inherit_add(&give, "public", first) == ERR_OK);
    must(inherit_add(&give, "public", first) == ERR_OK);
    CHECK(inherit_start(arguments, &give, &pid) == ERR_OK, "a process is started");
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0,
          "and ends well");
    CHECK(read(pipe_fds[0], got, sizeof(got) - 1) > 0 &&
              strcmp(got, "good clean clean kept cloexec") == 0,
          "it has the descriptors by name, and an environment of its own");
    CHECK(fcntl(first, F_GETFD) == FD_CLOEXEC, "they are still ours");
    CHECK(inherit_start(nobody, &give, &pid) == ERR_OK && waitpid(pid, &status, 0) == pid &&
              WIFEXITED(status) && WEXITSTATUS(status) == 127,
          "a program that is not there ends with 127");
    close(first);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    unsetenv("LISTEN_FDS");
}

/* ---- The environment. */

static const struct {
    const char *label, *pid, *fds; /* pid "me": ours */
    enum err err;
    size_t count;
} rows[] = {
    {"nothing", NULL, NULL, ERR_OK, 0},
    {"for somebody else", "1", "2", ERR_OK, 0},
    {"for us", "me", "2", ERR_OK, 2},
    {"none", "me", "0", ERR_OK, 0},
    {"no number", "me", "two", ERR_PARSE, 0},
    {"no process", "you", "2", ERR_PARSE, 0},
    {"too many", "me", "129", ERR_PARSE, 0},
    {"absurd", "me", "18446744073709551616", ERR_PARSE, 0},
    {"more than there are", "me", "100", ERR_IO, 0},
};

static void
test_environment(void)
{
    char me[32];
    struct inherit in;

    snprintf(me, sizeof(me), "%ld", (long)getpid());
    for (int fd = 3; fd < 5; fd++)
        must(dup2(0, fd) == fd);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *pid = rows[i].pid;
        if (pid != NULL && strcmp(pid, "me") == 0)
            pid = me;
        unsetenv("LISTEN_PID");
        if (pid != NULL) {
            setenv("LISTEN_PID", pid, 1);
            setenv("LISTEN_FDS", rows[i].fds, 1);
            setenv("LISTEN_FDNAMES", "public", 1);
        }
        CHECK(inherit_read(&in) == rows[i].err && in.count == rows[i].count, rows[i].label);
        if (in.count == 2)
            CHECK(strcmp(in.list[0].name, "public") == 0 && strcmp(in.list[1].name, "unknown") == 0,
                  "names");
    }
    in.count = 0;
    for (size_t i = 0; i < INHERIT_MAX; i++)
        must(inherit_add(&in, "a-name-that-is-far-longer-than-there-is-room", -1) == ERR_OK);
    CHECK(inherit_add(&in, "one more", -1) == ERR_FULL, "full");
}

static void
test_check(void)
{
    struct sockaddr_in address, other;
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = listener(INADDR_LOOPBACK, &address), plain = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(inherit_check(fd, "public", (struct sockaddr *)&address) == ERR_OK, "the address");
    other = address;
    other.sin_port = 0;
    CHECK(inherit_check(fd, "public", (struct sockaddr *)&other) == ERR_OK, "any port");
    other.sin_port = htons((uint16_t)(ntohs(address.sin_port) ^ 1));
    CHECK(inherit_check(fd, "public", (struct sockaddr *)&other) == ERR_ARG, "another port");
    other = address;
    other.sin_addr.s_addr = htonl(INADDR_ANY);
    CHECK(inherit_check(fd, "public", (struct sockaddr *)&other) == ERR_ARG, "another address");
    CHECK(inherit_check(fd, "public", (struct sockaddr *)&v6) == ERR_ARG, "another family");
    CHECK(inherit_check(plain, "public", (struct sockaddr *)&address) == ERR_ARG,
          "a socket that does not listen");
    CHECK(inherit_check(-1, "public", (struct sockaddr *)&address) == ERR_ARG, "no socket");
    close(fd);
    close(plain);
}

int
main(int argc, char **argv)
{
    uint16_t port = argc > 2 ? (uint16_t)strtoul(argv[2], NULL, 10) : 0;

    if (argc > 1 && strcmp(argv[1], "child") == 0)
        return child(port);
    test_start(argv[0]);
    test_check();
    test_environment();
    return tap_done();
}
