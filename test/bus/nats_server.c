/* nats_server - see nats_server.h. The port is below those that the kernel gives to whoever
 * connects, so that it is still free after a kill. */
#include "nats_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/must.h"

#define PORT_FROM 20000u
#define PORTS     12000u
#define WAIT_MS   60000 /* a guard */

static const char *
program(void)
{
    static const char *const paths[] = {"/usr/sbin/nats-server", "/usr/bin/nats-server",
                                        "/usr/local/bin/nats-server"};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (access(paths[i], X_OK) == 0)
            return paths[i];
    }
    return NULL;
}

bool
nats_server_exists(void)
{
    return program() != NULL;
}

static struct sockaddr_in
address(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static bool
is_free(uint16_t port)
{
    struct sockaddr_in a = address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound;

    must(fd >= 0);
    bound = bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
    close(fd);
    return bound;
}

static bool
listens(uint16_t port)
{
    struct sockaddr_in a = address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected;

    must(fd >= 0);
    connected = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
    close(fd);
    return connected;
}

void
nats_server_init(struct nats_server *s)
{
    uint32_t random;

    memset(s, 0, sizeof(*s));
    scratch_make("nats", s->folder);
    snprintf(s->config, sizeof(s->config), "%.100s/nats.conf", s->folder);
    do {
        must(getrandom(&random, sizeof(random), 0) == (ssize_t)sizeof(random));
        s->port = (uint16_t)(PORT_FROM + random % PORTS);
    } while (!is_free(s->port));
    snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", s->port);
    snprintf(s->url, sizeof(s->url), "nats://%s", s->address);
}

static void
write_config(const struct nats_server *s, const char *text)
{
    FILE *file = fopen(s->config, "we");

    must(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* In the child. */
static void
become_server(const struct nats_server *s)
{
    char log[NATS_SERVER_PATH_BYTES];

    snprintf(log, sizeof(log), "%.100s/log", s->folder);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execl(program(), "nats-server", "-c", s->config, "-l", log, (char *)NULL);
    _exit(127);
}

static void
show_log(const struct nats_server *s)
{
    char path[NATS_SERVER_PATH_BYTES], line[512];
    FILE *file;

    snprintf(path, sizeof(path), "%.100s/log", s->folder);
    file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        fprintf(stderr, "nats-server: %s", line);
    if (file != NULL)
        fclose(file);
}

bool
nats_server_start(struct nats_server *s, const char *text)
{
    must(s->pid == 0);
    write_config(s, text);
    s->pid = fork();
    must(s->pid >= 0);
    if (s->pid == 0)
        become_server(s);
    for (int ms = 0; ms < WAIT_MS; ms += 10) {
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
            s->pid = 0;
            break;
        }
        if (listens(s->port))
            return true;
        usleep(10000);
    }
    show_log(s);
    return false;
}

void
nats_server_kill(struct nats_server *s)
{
    if (s->pid == 0)
        return;
    kill(s->pid, SIGKILL);
    must(waitpid(s->pid, NULL, 0) == s->pid);
    s->pid = 0;
}

void
nats_server_fini(struct nats_server *s)
{
    nats_server_kill(s);
    scratch_remove(s->folder);
}
