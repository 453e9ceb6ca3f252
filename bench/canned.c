/* canned - the loop of the engine; see canned.h. */
#include "canned.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/must.h"

#define CONNECTIONS_MAX 65536 /* by descriptor */
#define HEAD_BYTES_MAX  8192u /* of a request's head and as much of its body as comes with it */
#define DROP_BYTES      262144u
#define BATCH           64
#define REPLY_BYTES_MAX 2048u

struct connection {
    size_t got_bytes;       /* in text, of a head that is not whole yet */
    uint64_t body_left;     /* of a request's body, still to come */
    bool streaming, answer; /* answer: after the body, with chat completion (or stream) */
    char text[HEAD_BYTES_MAX + 1];
};

struct canned {
    int epoll_fd, listen_fd, timer_fd;
    struct connection *connections[CONNECTIONS_MAX];
    char chat[REPLY_BYTES_MAX], models[REPLY_BYTES_MAX], missing[REPLY_BYTES_MAX];
    char stream[REPLY_BYTES_MAX], chunk[REPLY_BYTES_MAX];
    size_t chat_bytes, models_bytes, missing_bytes, stream_bytes, chunk_bytes;
};

static size_t
reply(char *at, const char *status, const char *body)
{
    int bytes = snprintf(at, REPLY_BYTES_MAX,
                         "HTTP/1.1 %s\r\ndate: Sat, 21 Nov 2026 12:00:00 GMT\r\nserver: canned\r\n"
                         "content-length: %zu\r\ncontent-type: application/json\r\n\r\n%s",
                         status, strlen(body), body);

    must(bytes > 0 && (size_t)bytes < REPLY_BYTES_MAX);
    return (size_t)bytes;
}

static size_t
chunk(char *at, const char *delta)
{
    char event[512];
    int bytes = snprintf(event, sizeof(event),
                         "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\","
                         "\"created\":1795262400,\"model\":\"" CANNED_MODEL
                         "\",\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":null}]}\n\n",
                         delta);

    return (size_t)snprintf(at, REPLY_BYTES_MAX / 2, "%x\r\n%s\r\n", (unsigned)bytes, event);
}

static void
canned_replies(struct canned *c)
{
    const char *begin =
        "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1795262400,"
        "\"model\":\"" CANNED_MODEL "\",\"choices\":[{\"index\":0,\"message\":"
        "{\"role\":\"assistant\",\"content\":\"";
    const char *end = "\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":"
                      "{\"prompt_tokens\":412,\"completion_tokens\":48,\"total_tokens\":460}}";
    char body[CANNED_REPLY_BODY_BYTES + 1];
    size_t fill = CANNED_REPLY_BODY_BYTES - strlen(begin) - strlen(end), head;

    memcpy(body, begin, strlen(begin));
    for (size_t i = 0; i < fill; i++)
        body[strlen(begin) + i] = i % 6 == 5 ? ' ' : 'w';
    memcpy(body + strlen(begin) + fill, end, strlen(end) + 1);
    c->chat_bytes = reply(c->chat, "200 OK", body);
    c->models_bytes = reply(c->models, "200 OK",
                            "{\"object\":\"list\",\"data\":[{\"id\":\"" CANNED_MODEL
                            "\",\"object\":\"model\",\"owned_by\":\"bench\"}]}");
    c->missing_bytes = reply(c->missing, "404 Not Found", "{\"error\":{\"message\":\"no route\"}}");
    head = (size_t)snprintf(c->stream, REPLY_BYTES_MAX,
                            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                            "transfer-encoding: chunked\r\n\r\n");
    c->stream_bytes = head +
                      chunk(c->stream + head, "{\"role\":\"assistant\",\"content\":\"word\"}");
    c->chunk_bytes = chunk(c->chunk, "{\"content\":\" word\"}");
}

static void
canned_watch(struct canned *c, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    must(epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void
canned_close(struct canned *c, int fd)
{
    free(c->connections[fd]);
    c->connections[fd] = NULL;
    close(fd);
}

static void
canned_accept(struct canned *c)
{
    int fd, one = 1;

    while ((fd = accept4(c->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        must(fd < CONNECTIONS_MAX);
        must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
        c->connections[fd] = calloc(1, sizeof(struct connection));
        must(c->connections[fd] != NULL);
        canned_watch(c, fd);
    }
}

/* False: the other side is gone. What does not fit into the socket at once is taken for that. */
static bool
send_all(int fd, const char *bytes, size_t count)
{
    return send(fd, bytes, count, MSG_NOSIGNAL) == (ssize_t)count;
}

static bool
canned_answer(struct canned *c, int fd, struct connection *k)
{
    if (k->streaming)
        return send_all(fd, c->stream, c->stream_bytes);
    return send_all(fd, c->chat, c->chat_bytes);
}

/* Something stands in k->text: whole heads are answered. */
static bool
canned_head(struct canned *c, int fd, struct connection *k)
{
    char *end, *length;
    size_t head_bytes, rest;

    k->text[k->got_bytes] = '\0';
    end = strstr(k->text, "\r\n\r\n");
    if (end == NULL)
        return k->got_bytes < HEAD_BYTES_MAX;
    head_bytes = (size_t)(end - k->text) + 4;
    rest = k->got_bytes - head_bytes;
    k->got_bytes = 0;
    if (strncmp(k->text, "POST ", 5) != 0) {
        bool models = strncmp(k->text, "GET /v1/models", 14) == 0;

        return models ? send_all(fd, c->models, c->models_bytes)
                      : send_all(fd, c->missing, c->missing_bytes);
    }
    length = strcasestr(k->text, "\ncontent-length:");
    if (length == NULL || length > end)
        return false;
    k->body_left = strtoull(length + 16, NULL, 10);
    k->streaming = strstr(end, "\"stream\":true") != NULL;
    if (rest > k->body_left)
        return false; /* nobody pipelines here */
    k->body_left -= rest;
    return k->body_left > 0 || canned_answer(c, fd, k);
}

static void
canned_read(struct canned *c, int fd)
{
    static char drop[DROP_BYTES];
    struct connection *k = c->connections[fd];
    ssize_t bytes;

    if (k->body_left > 0) {
        bytes = read(fd, drop, sizeof(drop) < k->body_left ? sizeof(drop) : k->body_left);
        if (bytes > 0) {
            k->body_left -= (uint64_t)bytes;
            if (k->body_left > 0 || canned_answer(c, fd, k))
                return;
        }
    } else {
        bytes = read(fd, k->text + k->got_bytes, HEAD_BYTES_MAX - k->got_bytes);
        if (bytes > 0) {
            k->got_bytes += (size_t)bytes;
            if (canned_head(c, fd, k))
                return;
        }
    }
    if (bytes >= 0 || errno != EAGAIN)
        canned_close(c, fd);
}

static void
canned_tick(struct canned *c)
{
    uint64_t ticks;

    must(read(c->timer_fd, &ticks, sizeof(ticks)) == sizeof(ticks));
    for (int fd = 0; fd < CONNECTIONS_MAX; fd++) {
        if (c->connections[fd] != NULL && c->connections[fd]->streaming &&
            c->connections[fd]->body_left == 0 && !send_all(fd, c->chunk, c->chunk_bytes))
            canned_close(c, fd);
    }
}

static void
canned_open(struct canned *c, const struct canned_plan *plan)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(plan->port)};
    const struct timespec tick = {plan->tick_ms / 1000, plan->tick_ms % 1000 * 1000000L};
    const struct itimerspec every = {tick, tick};
    int one = 1;

    canned_replies(c);
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    c->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    c->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(c->epoll_fd >= 0 && c->timer_fd >= 0 && c->listen_fd >= 0);
    must(setsockopt(c->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
    must(setsockopt(c->listen_fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0);
    must(bind(c->listen_fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    must(listen(c->listen_fd, SOMAXCONN) == 0);
    must(timerfd_settime(c->timer_fd, 0, &every, NULL) == 0);
    canned_watch(c, c->listen_fd);
    canned_watch(c, c->timer_fd);
}

void
canned_run(void *arg)
{
    static struct canned c;
    struct epoll_event events[BATCH];

    canned_open(&c, arg);
    for (;;) {
        int count = epoll_wait(c.epoll_fd, events, BATCH, -1);

        must(count >= 0 || errno == EINTR);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;

            if (fd == c.listen_fd)
                canned_accept(&c);
            else if (fd == c.timer_fd)
                canned_tick(&c);
            else if (c.connections[fd] != NULL)
                canned_read(&c, fd);
        }
    }
}
