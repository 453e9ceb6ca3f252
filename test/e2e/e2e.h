#ifndef TEST_E2E_E2E_H
#define TEST_E2E_E2E_H
/* e2e - a gateway on real sockets between a client and engines that do what a test says. Everything
 * runs in the test's process: the gateway on its own threads, each engine with a thread per
 * connection, the client blocking on the caller's. Failing to set something up ends the program. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "role/gateway/gateway.h"

#define E2E_HEAD_BYTES_MAX 8192u
#define E2E_BODY_BYTES_MAX 4194304u

/* ---- Engines: /v1/models, and completions by script. */
struct e2e_engine;
struct ssl_st;
struct ssl_ctx_st;
struct e2e_call { /* one completion asked of an engine */
    struct e2e_engine *engine;
    int fd;
    struct ssl_st *ssl; /* NULL: plain */
    uint32_t number;    /* of this engine's completions, from 1 */
    char head[E2E_HEAD_BYTES_MAX];
    char *body; /* zero-terminated */
};
/* Answer, by e2e_send and e2e_chunk. False: the connection is closed now. */
typedef bool e2e_script(struct e2e_call *call);

struct e2e_engine *e2e_engine_start(const char *model, e2e_script *script);
void e2e_engine_stop(struct e2e_engine *e);
/* Speak TLS on connections from now on; the context outlives the engine. SIGPIPE is ignored. */
void e2e_engine_use_tls(struct e2e_engine *e, struct ssl_ctx_st *context);
/* Break all connections off. */
void e2e_engine_disconnect(struct e2e_engine *e);
uint16_t e2e_engine_port(const struct e2e_engine *e);
void e2e_engine_script(struct e2e_engine *e, e2e_script *script);
void e2e_engine_serve(struct e2e_engine *e, const char *model); /* and no other, from now on */
uint32_t e2e_engine_calls(struct e2e_engine *e);                /* completions asked so far */
uint32_t e2e_engine_hangups(struct e2e_engine *e);              /* seen by e2e_wait_hangup */
uint32_t e2e_engine_strays(struct e2e_engine *e);               /* requests that no gateway makes */
/* Copies of the last completion's head and body, zero-terminated. */
void e2e_engine_last(struct e2e_engine *e, char *head, char *body, size_t size);

void e2e_send(struct e2e_call *call, const char *text);
void e2e_json(struct e2e_call *call, unsigned status, const char *extra_headers, const char *json);
void e2e_stream_head(struct e2e_call *call);
void e2e_chunk(struct e2e_call *call, const char *text); /* an HTTP chunk; "" ends */
/* Block until the gateway closes the connection; counted. */
void e2e_wait_hangup(struct e2e_call *call);
/* Scripts of a well-behaved engine; the model in its answers is "engine-name". */
bool e2e_good_json(struct e2e_call *call);
bool e2e_good_stream(struct e2e_call *call);
bool e2e_good(struct e2e_call *call); /* one of the two, as asked */

/* ---- The gateway. */
struct e2e_gateway {
    struct gateway *gateway;
    uint16_t port, admin_port;
    pthread_t thread; /* that it runs on */
};
/* yaml: printf format of a configuration without `listen`. */
void e2e_gateway_start(struct e2e_gateway *g, const struct gateway_options *options,
                       const char *yaml, ...) PRINTF_LIKE(3, 4);
/* The same with a file that can be read again. */
void e2e_gateway_load(struct e2e_gateway *g, const struct gateway_options *options,
                      const char *path);
void e2e_gateway_stop(struct e2e_gateway *g);
/* Wait until this many placements are ready; false after a long time. */
bool e2e_wait_ready(const struct e2e_gateway *g, unsigned placements);
void e2e_write_file(const char *path, const char *format, ...) PRINTF_LIKE(2, 3);
/* A path in a fresh directory of this test. */
const char *e2e_path(const char *name, char *path, size_t size);

/* ---- The client. */
struct e2e_reply {
    unsigned status;
    bool whole; /* ended as its head said it would */
    char head[E2E_HEAD_BYTES_MAX];
    char *body; /* unchunked, zero-terminated; free it with e2e_reply_fini */
    size_t body_bytes;
    const char *trailers; /* the lines behind the last chunk; "": none. They live as body does */
};
/* One request on a connection of its own. headers: lines that end with CRLF, or "". */
void e2e_ask(uint16_t port, const char *method, const char *path, const char *headers,
             const char *body, struct e2e_reply *ret_reply);
void e2e_reply_fini(struct e2e_reply *reply);
/* The value of a header, "" when it is not there. In a buffer of its own per call, four in all. */
const char *e2e_header(const struct e2e_reply *reply, const char *name);
/* Or by hand: connect and send; then read yourself. */
int e2e_connect(uint16_t port);
int e2e_connect_to(uint32_t ipv4, uint16_t port); /* an address in host order */
void e2e_write(int fd, const char *text);
int e2e_open_request(uint16_t port, const char *path, const char *headers, const char *body);
/* Read until text was seen, or the end; false: the end, or nothing came for a minute. */
bool e2e_read_until(int fd, const char *text);
/* Wait until *(value)(engine) >= count; false after a long time. */
bool e2e_wait_count(uint32_t (*value)(struct e2e_engine *), struct e2e_engine *e, uint32_t count);

#define E2E_CHAT "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}"
#define E2E_STREAM                                                                                 \
    "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}"
#endif
