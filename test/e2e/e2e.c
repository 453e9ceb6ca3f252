/* e2e - the pieces around a gateway under test; see e2e.h. */
#include "e2e.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "patience.h"
#include "scratch.h"

#define CONNECTIONS_MAX      512u
#define E2E_BODY_BYTES_FIRST 65536u

static void
nap(void)
{
    usleep(20000);
}

/* ---- Engines. */

struct connection {
    struct e2e_engine *engine;
    pthread_t thread;
    int fd;
};

struct e2e_engine {
    int listener;
    uint16_t port;
    char model[256];
    pthread_t thread;
    pthread_mutex_t lock; /* of everything below */
    e2e_script *script;
    struct connection connections[CONNECTIONS_MAX];
    size_t connection_count;
    uint32_t calls, hangups, strays;
    char last_head[E2E_HEAD_BYTES_MAX], *last_body;
    SSL_CTX *tls; /* NULL: none */
    bool stopping;
};

static void
send_all(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = send(fd, text, bytes, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        text += n;
        bytes -= (size_t)n;
    }
}

void
e2e_send(struct e2e_call *call, const char *text)
{
    if (call->ssl != NULL)
        (void)SSL_write(call->ssl, text, (int)strlen(text)); /* like send: nobody may be there */
    else
        send_all(call->fd, text, strlen(text));
}

void
e2e_json(struct e2e_call *call, unsigned status, const char *extra_headers, const char *json)
{
    char head[1024];

    snprintf(head, sizeof(head),
             "HTTP/1.1 %u X\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n%s\r\n",
             status, strlen(json), extra_headers);
    e2e_send(call, head);
    e2e_send(call, json);
}

void
e2e_stream_head(struct e2e_call *call)
{
    e2e_send(call, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                   "transfer-encoding: chunked\r\n\r\n");
}

void
e2e_chunk(struct e2e_call *call, const char *text)
{
    char head[32];

    snprintf(head, sizeof(head), "%zx\r\n", strlen(text));
    e2e_send(call, head);
    e2e_send(call, text);
    e2e_send(call, "\r\n");
}

void
e2e_wait_hangup(struct e2e_call *call)
{
    char bytes[4096];

    while (recv(call->fd, bytes, sizeof(bytes), 0) > 0)
        ;
    pthread_mutex_lock(&call->engine->lock);
    call->engine->hangups += !call->engine->stopping;
    pthread_mutex_unlock(&call->engine->lock);
}

bool
e2e_good_json(struct e2e_call *call)
{
    e2e_json(
        call, 200, "",
        "{\"id\":\"c1\",\"object\":\"chat.completion\",\"model\":\"engine-name\",\"choices\":[{"
        "\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hi there\"},"
        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,"
        "\"total_tokens\":9}}");
    return true;
}

bool
e2e_good_stream(struct e2e_call *call)
{
    e2e_stream_head(call);
    e2e_chunk(call, "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,"
                    "\"delta\":{\"role\":\"assistant\"},\"finish_reason\":null}]}\n\n");
    e2e_chunk(call, "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,"
                    "\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\ndata: {\"id\":"
                    "\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,\"delta\":{"
                    "\"content\":\" there\"},\"finish_reason\":null}]}\n\n");
    e2e_chunk(call, "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[{\"index\":0,"
                    "\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
    e2e_chunk(call, "data: {\"id\":\"c1\",\"model\":\"engine-name\",\"choices\":[],\"usage\":{"
                    "\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9}}\n\n");
    e2e_chunk(call, "data: [DONE]\n\n");
    e2e_chunk(call, "");
    return true;
}

bool
e2e_good(struct e2e_call *call)
{
    return strstr(call->body, "\"stream\":true") != NULL ? e2e_good_stream(call)
                                                         : e2e_good_json(call);
}

static ssize_t
receive(int fd, SSL *ssl, char *data, size_t bytes)
{
    return ssl != NULL ? SSL_read(ssl, data, (int)bytes) : recv(fd, data, bytes, 0);
}

/* What is there up to the first `mark`, or all that is there; what is behind it stays unread.
 * data[have] are bytes before, in which the mark may begin. Returns how many were read, 0: none
 * will come. */
static size_t
receive_to(int fd, SSL *ssl, char *data, size_t have, size_t size, const char *mark,
           bool *ret_found)
{
    ssize_t seen = ssl != NULL ? SSL_peek(ssl, data + have, (int)(size - have))
                               : recv(fd, data + have, size - have, MSG_PEEK);
    size_t mark_bytes = strlen(mark), bytes = seen > 0 ? (size_t)seen : 0, got = 0;
    const char *end = memmem(data, have + bytes, mark, mark_bytes);

    *ret_found = end != NULL;
    if (end != NULL)
        bytes = (size_t)(end - data) + mark_bytes - have;
    while (got < bytes) {
        ssize_t n = receive(fd, ssl, data + have + got, bytes - got);
        if (n <= 0)
            return 0;
        got += (size_t)n;
    }
    return bytes;
}

/* Read a head into head[size]; false at the end of the connection. ssl: NULL: none. */
static bool
read_head(int fd, SSL *ssl, char *head, size_t size)
{
    bool found = false;
    size_t have = 0, more = 1;

    while (!found && more > 0 && have + 1 < size) {
        more = receive_to(fd, ssl, head, have, size - 1, "\r\n\r\n", &found);
        have += more;
    }
    head[have] = '\0';
    return found && more > 0;
}

static char *
read_body(const struct e2e_call *call)
{
    const char *line = strcasestr(call->head, "content-length:");
    size_t bytes = line != NULL ? strtoul(line + 15, NULL, 10) : 0, have = 0;
    char *body = calloc(1, bytes + 1);

    must(body != NULL);
    while (have < bytes) {
        ssize_t n = receive(call->fd, call->ssl, body + have, bytes - have);
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    return body;
}

/* One completion by the script. */
static bool
answer_completion(struct e2e_engine *e, struct e2e_call *call)
{
    e2e_script *script;

    pthread_mutex_lock(&e->lock);
    call->number = ++e->calls;
    memcpy(e->last_head, call->head, sizeof(call->head));
    free(e->last_body);
    e->last_body = strdup(call->body);
    script = e->script;
    pthread_mutex_unlock(&e->lock);
    return script(call);
}

/* NULL: plain, or (then *ret_failed) no handshake. */
static SSL *
shake(const struct connection *c, bool *ret_failed)
{
    SSL_CTX *context;
    SSL *ssl;

    pthread_mutex_lock(&c->engine->lock);
    context = c->engine->tls;
    pthread_mutex_unlock(&c->engine->lock);
    *ret_failed = false;
    if (context == NULL)
        return NULL;
    ssl = SSL_new(context);
    must(ssl != NULL && SSL_set_fd(ssl, c->fd) == 1);
    if (SSL_accept(ssl) == 1)
        return ssl;
    SSL_free(ssl);
    *ret_failed = true;
    return NULL;
}

static void *
serve(void *argument)
{
    struct connection *c = argument;
    struct e2e_call *call = calloc(1, sizeof(*call));
    bool keep = true, failed;

    must(call != NULL);
    call->engine = c->engine;
    call->fd = c->fd;
    call->ssl = shake(c, &failed);
    while (keep && !failed && read_head(c->fd, call->ssl, call->head, sizeof(call->head))) {
        call->body = read_body(call);
        if (strncmp(call->head, "POST ", 5) == 0) {
            keep = answer_completion(c->engine, call);
        } else if (strncmp(call->head, "GET /v1/models ", 15) == 0) {
            char json[512];
            pthread_mutex_lock(&c->engine->lock);
            snprintf(json, sizeof(json), "{\"object\":\"list\",\"data\":[{\"id\":\"%s\"}]}",
                     c->engine->model);
            pthread_mutex_unlock(&c->engine->lock);
            e2e_json(call, 200, "", json);
        } else {
            pthread_mutex_lock(&c->engine->lock);
            c->engine->strays++;
            pthread_mutex_unlock(&c->engine->lock);
            e2e_json(call, 404, "", "{\"error\":{\"message\":\"no\"}}");
        }
        free(call->body);
    }
    SSL_free(call->ssl);
    free(call);
    shutdown(c->fd, SHUT_RDWR); /* closed by e2e_engine_stop, which may be shutting it down now */
    return NULL;
}

static void *
accept_all(void *argument)
{
    struct e2e_engine *e = argument;

    for (;;) {
        int fd = accept(e->listener, NULL, NULL), one = 1;
        struct connection *c;

        if (fd < 0)
            return NULL;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        pthread_mutex_lock(&e->lock);
        if (e->stopping || e->connection_count == CONNECTIONS_MAX) {
            close(fd);
        } else {
            c = &e->connections[e->connection_count++];
            *c = (struct connection){.engine = e, .fd = fd};
            must(pthread_create(&c->thread, NULL, serve, c) == 0);
        }
        pthread_mutex_unlock(&e->lock);
    }
}

struct e2e_engine *
e2e_engine_start(const char *model, e2e_script *script)
{
    struct e2e_engine *e = calloc(1, sizeof(*e));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);

    must(e != NULL && pthread_mutex_init(&e->lock, NULL) == 0);
    snprintf(e->model, sizeof(e->model), "%s", model);
    e->script = script;
    e->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bind(e->listener, (struct sockaddr *)&address, bytes) == 0);
    must(listen(e->listener, 128) == 0);
    must(getsockname(e->listener, (struct sockaddr *)&address, &bytes) == 0);
    e->port = ntohs(address.sin_port);
    must(pthread_create(&e->thread, NULL, accept_all, e) == 0);
    return e;
}

void
e2e_engine_stop(struct e2e_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    shutdown(e->listener, SHUT_RDWR);
    for (size_t i = 0; i < e->connection_count; i++)
        shutdown(e->connections[i].fd, SHUT_RDWR);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->thread, NULL);
    for (size_t i = 0; i < e->connection_count; i++) {
        pthread_join(e->connections[i].thread, NULL);
        close(e->connections[i].fd);
    }
    close(e->listener);
    pthread_mutex_destroy(&e->lock);
    free(e->last_body);
    free(e);
}

void
e2e_engine_use_tls(struct e2e_engine *e, SSL_CTX *context)
{
    must(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    pthread_mutex_lock(&e->lock);
    e->tls = context;
    pthread_mutex_unlock(&e->lock);
}

void
e2e_engine_disconnect(struct e2e_engine *e)
{
    pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < e->connection_count; i++)
        shutdown(e->connections[i].fd, SHUT_RDWR);
    pthread_mutex_unlock(&e->lock);
}

uint16_t
e2e_engine_port(const struct e2e_engine *e)
{
    return e->port;
}

void
e2e_engine_serve(struct e2e_engine *e, const char *model)
{
    pthread_mutex_lock(&e->lock);
    snprintf(e->model, sizeof(e->model), "%s", model);
    pthread_mutex_unlock(&e->lock);
}

void
e2e_engine_script(struct e2e_engine *e, e2e_script *script)
{
    pthread_mutex_lock(&e->lock);
    e->script = script;
    pthread_mutex_unlock(&e->lock);
}

uint32_t
e2e_engine_calls(struct e2e_engine *e)
{
    uint32_t calls;

    pthread_mutex_lock(&e->lock);
    calls = e->calls;
    pthread_mutex_unlock(&e->lock);
    return calls;
}

uint32_t
e2e_engine_hangups(struct e2e_engine *e)
{
    uint32_t hangups;

    pthread_mutex_lock(&e->lock);
    hangups = e->hangups;
    pthread_mutex_unlock(&e->lock);
    return hangups;
}

uint32_t
e2e_engine_strays(struct e2e_engine *e)
{
    uint32_t strays;

    pthread_mutex_lock(&e->lock);
    strays = e->strays;
    pthread_mutex_unlock(&e->lock);
    return strays;
}

void
e2e_engine_last(struct e2e_engine *e, char *head, char *body, size_t size)
{
    pthread_mutex_lock(&e->lock);
    snprintf(head, size, "%s", e->last_head);
    snprintf(body, size, "%s", e->last_body != NULL ? e->last_body : "");
    pthread_mutex_unlock(&e->lock);
}

bool
e2e_wait_count(uint32_t (*value)(struct e2e_engine *), struct e2e_engine *e, uint32_t count)
{
    uint64_t until_s = 0;

    while (patience(&until_s)) {
        if (value(e) >= count)
            return true;
        nap();
    }
    return false;
}

/* ---- The gateway. */

static void *
run_gateway(void *gateway)
{
    gateway_run(gateway);
    return NULL;
}

static uint16_t
port_of(const struct sockaddr_storage *address)
{
    struct sockaddr_in v4;

    memcpy(&v4, address, sizeof(v4));
    return ntohs(v4.sin_port);
}

static void
start(struct e2e_gateway *g, const struct gateway_options *options)
{
    struct sockaddr_storage public_address, admin_address;

    must(gateway_open(options, &g->gateway) == ERR_OK);
    gateway_addresses(g->gateway, &public_address, &admin_address);
    g->port = port_of(&public_address);
    g->admin_port = port_of(&admin_address);
    must(pthread_create(&g->thread, NULL, run_gateway, g->gateway) == 0);
}

void
e2e_gateway_start(struct e2e_gateway *g, const struct gateway_options *options, const char *yaml,
                  ...)
{
    static const char listen[] = "listen: {public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n";
    struct gateway_options o = *options;
    char text[16384];
    va_list args;

    memcpy(text, listen, sizeof(listen));
    va_start(args, yaml);
    vsnprintf(text + sizeof(listen) - 1, sizeof(text) - sizeof(listen), yaml, args);
    va_end(args);
    must(roster_read(span_of(text), "test.yaml", 0, NULL, &o.roster) == ERR_OK);
    start(g, &o);
}

void
e2e_gateway_load(struct e2e_gateway *g, const struct gateway_options *options, const char *path)
{
    struct gateway_options o = *options;

    o.config_path = path;
    must(roster_load(path, 0, NULL, &o.roster) == ERR_OK);
    start(g, &o);
}

void
e2e_gateway_stop(struct e2e_gateway *g)
{
    gateway_stop(g->gateway);
    gateway_stop(g->gateway);
    pthread_join(g->thread, NULL);
    gateway_close(g->gateway);
}

bool
e2e_wait_ready(const struct e2e_gateway *g, unsigned placements)
{
    uint64_t until_s = 0;
    char wanted[64];

    snprintf(wanted, sizeof(wanted), "\"ready_placements\":%u}", placements);
    while (patience(&until_s)) {
        struct e2e_reply reply;
        bool good;
        e2e_ask(g->port, "GET", "/readyz", "", "", &reply);
        good = strstr(reply.body, wanted) != NULL;
        e2e_reply_fini(&reply);
        if (good)
            return true;
        nap();
    }
    return false;
}

const char *
e2e_path(const char *name, char *path, size_t size)
{
    static char directory[SCRATCH_PATH_BYTES];

    if (directory[0] == '\0')
        scratch_make("e2e", directory);
    snprintf(path, size, "%s/%s", directory, name);
    return path;
}

void
e2e_write_file(const char *path, const char *format, ...)
{
    FILE *file = fopen(path, "w");
    va_list args;

    must(file != NULL);
    va_start(args, format);
    vfprintf(file, format, args);
    va_end(args);
    must(fclose(file) == 0);
}

/* ---- The client. */

int
e2e_connect_to(uint32_t ipv4, uint16_t port)
{
    const struct timeval patience = {.tv_sec = 60}; /* a guard: what never comes is seen to */
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ipv4)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(fd >= 0);
    must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
    must(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

int
e2e_connect(uint16_t port)
{
    return e2e_connect_to(INADDR_LOOPBACK, port);
}

void
e2e_write(int fd, const char *text)
{
    send_all(fd, text, strlen(text));
}

static void
send_request(int fd, const char *method, const char *path, const char *headers, const char *body)
{
    char head[E2E_HEAD_BYTES_MAX];

    snprintf(head, sizeof(head),
             "%s %s HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n%scontent-length: "
             "%zu\r\n\r\n",
             method, path, headers, strlen(body));
    e2e_write(fd, head);
    e2e_write(fd, body);
}

int
e2e_open_request(uint16_t port, const char *path, const char *headers, const char *body)
{
    int fd = e2e_connect(port);

    send_request(fd, "POST", path, headers, body);
    return fd;
}

bool
e2e_read_until(int fd, const char *text)
{
    size_t bytes = strlen(text), have = 0, more = 1;
    char window[4096];
    bool found = false;

    must(bytes < sizeof(window));
    while (!found && more > 0) {
        size_t kept;
        more = receive_to(fd, NULL, window, have, sizeof(window), text, &found);
        kept = have + more < bytes ? have + more : bytes - 1;
        memmove(window, window + have + more - kept, kept);
        have = kept;
    }
    return found && more > 0;
}

/* Undo chunks in place. False: the last one is missing, or the empty line behind it. */
static bool
unchunk(char *body, size_t *bytes, const char **ret_trailers)
{
    size_t from = 0, to = 0;

    while (from < *bytes) {
        char *end;
        size_t chunk = strtoul(body + from, &end, 16);
        size_t at = (size_t)(end - body) + 2;
        if (chunk == 0) {
            *bytes = to; /* what is behind stays where it is */
            *ret_trailers = end + (end[0] == '\r' && end[1] == '\n' ? 2 : 0);
            return *ret_trailers != end && strstr(end, "\r\n\r\n") != NULL;
        }
        if (at + chunk > *bytes)
            chunk = *bytes > at ? *bytes - at : 0;
        memmove(body + to, body + at, chunk);
        to += chunk;
        from = at + chunk + 2;
    }
    *bytes = to;
    return false;
}

/* All that comes until the end of the connection. */
static void
read_rest(int fd, struct e2e_reply *r)
{
    size_t room = E2E_BODY_BYTES_FIRST;
    ssize_t n = 1;

    while (n > 0 && r->body_bytes < E2E_BODY_BYTES_MAX) {
        if (r->body_bytes == room)
            room = 4 * room < E2E_BODY_BYTES_MAX ? 4 * room : E2E_BODY_BYTES_MAX;
        r->body = realloc(r->body, room + 1);
        must(r->body != NULL);
        n = recv(fd, r->body + r->body_bytes, room - r->body_bytes, 0);
        r->body_bytes += n > 0 ? (size_t)n : 0;
    }
    r->body[r->body_bytes] = '\0';
}

void
e2e_ask(uint16_t port, const char *method, const char *path, const char *headers, const char *body,
        struct e2e_reply *ret_reply)
{
    int fd = e2e_connect(port);
    struct e2e_reply *r = ret_reply;
    const char *length;

    memset(r, 0, sizeof(*r));
    r->trailers = "";
    r->body = calloc(1, 1);
    must(r->body != NULL);
    send_request(fd, method, path, headers, body);
    if (read_head(fd, NULL, r->head, sizeof(r->head))) {
        r->status = (unsigned)strtoul(r->head + 9, NULL, 10);
        read_rest(fd, r);
        length = strcasestr(r->head, "content-length:");
        if (strcasestr(r->head, "transfer-encoding: chunked") != NULL) {
            r->whole = unchunk(r->body, &r->body_bytes, &r->trailers);
            if (r->trailers != r->body + r->body_bytes)
                r->body[r->body_bytes] = '\0';
        } else {
            r->whole = length != NULL && strtoul(length + 15, NULL, 10) == r->body_bytes;
        }
    }
    close(fd);
}

void
e2e_reply_fini(struct e2e_reply *reply)
{
    free(reply->body);
    reply->body = NULL;
}

const char *
e2e_header(const struct e2e_reply *reply, const char *name)
{
    static char values[4][512];
    static unsigned next;
    char line[128], *value = values[next++ % 4];
    const char *at, *end;

    snprintf(line, sizeof(line), "\r\n%s: ", name);
    at = strcasestr(reply->head, line);
    value[0] = '\0';
    if (at != NULL) {
        at += strlen(line);
        end = strstr(at, "\r\n");
        snprintf(value, sizeof(values[0]), "%.*s", (int)(end - at), at);
    }
    return value;
}
