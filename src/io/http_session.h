#ifndef IO_HTTP_SESSION_H
#define IO_HTTP_SESSION_H
/* http_session - what the three files of the server share: http_server.c (listener, all
 * connections), http_session.c (one connection: reading, writing, limits) and http_response.c
 * (the exchange's side of http_server.h). Nobody else includes this.
 *
 * A session goes READING -> ANSWERING -> READING and so on. From either it may go to REFUSING (the
 * last answer is being written), from there to LINGERING (what the client still sends is thrown
 * away, so that a reset does not overtake that answer), and from ANSWERING to ABORTED or GONE.
 * Between fn.request and fn.done it is ANSWERING; only then the exchange accepts calls. A session
 * is freed only by its own watch, timer or flush task, or by http_server_close: never while a call
 * of the exchange is on the stack. */
#include <netinet/in.h>
#include <stdatomic.h>

#include "base/list.h"
#include "io/http_server.h"
#include "wire/http1.h"

#define HTTP_INPUT_BYTES     65536u /* read at once; one buffer a server */
#define HTTP_BODY_STEP_BYTES 16384u /* a body's first memory, and what an announcement is worth */
#define HTTP_OUT_KEEP_BYTES  2048u  /* of an empty output buffer */
#define HTTP_ACCEPT_BATCH    64u    /* connections accepted in a row */
#define HTTP_ACCEPT_RETRY_NS 100000000u  /* after the process ran out of descriptors */
#define HTTP_LINGER_NS       2000000000u /* throwing away after a refusal */
#define HTTP_DATE_BYTES      37u         /* "date: Sun, 06 Nov 1994 08:49:37 GMT" CR LF */

enum http_state {
    HTTP_READING,
    HTTP_ANSWERING,
    HTTP_REFUSING,
    HTTP_LINGERING,
    HTTP_ABORTED,
    HTTP_GONE
};

enum http_framing { HTTP_FRAME_LENGTH, HTTP_FRAME_CHUNKED, HTTP_FRAME_UNTIL_CLOSE };

enum http_limit { /* what the connection's one timer limits now */
                  HTTP_LIMIT_NONE,
                  HTTP_LIMIT_KEEP_ALIVE,
                  HTTP_LIMIT_HEAD,
                  HTTP_LIMIT_BODY,
                  HTTP_LIMIT_WRITE,
                  HTTP_LIMIT_LINGER
};

struct http_exchange { /* inside its connection, reset for each request */
    struct arena arena;
    void *user;
    struct http_request request;
    uint64_t length_left; /* of a response by length */
    enum http_framing framing;
    bool started, ended;
    bool bodiless;   /* HEAD, 204, 304: whatever is written, no body goes out */
    bool keep_alive; /* after this response */
    bool unread;     /* it was not admitted: its body is still to come, for nobody */
    bool over_high;  /* pending was above the high-water mark, drained was not called since */
};

struct http_output {
    char *data;
    size_t at, bytes, capacity; /* data[at, bytes) waits for the client */
};

struct http_session {
    struct loop_watch watch;
    struct loop_timer timer;
    struct loop_task flush;
    LIST_ENTRY(http_session) link;
    struct http_server *server;
    struct http1_parser parser;
    struct http_exchange exchange;
    struct http_output out;
    char *body; /* of the request; body_capacity and the padding behind it are allocated */
    size_t body_bytes, body_capacity;
    char *kept; /* input behind a request: the next one's, kept until its turn */
    size_t kept_at, kept_bytes;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } peer;
    enum http_state state;
    enum http_limit limit;
    bool has_head;      /* of the request being read */
    bool blocked;       /* the kernel took less than there was: LOOP_WRITE is asked for */
    bool input_waiting; /* bytes of a next request are in the socket: LOOP_READ is not asked for */
    bool out_of_memory;
    bool answered; /* an exchange before the present one */
};

struct http_server {
    struct loop *loop;
    struct loop_watch watch; /* the listener */
    struct loop_timer accept_retry;
    uint64_t accept_told_ns; /* when it was logged last that nothing can be accepted; 0: never */
    struct http_server_limits limits;
    struct http1_limits message_limits;
    struct http_server_fn fn;
    void *user;
    LIST_HEAD(http_sessions, http_session) connections;
    size_t connection_count, exchange_count;
    int fd; /* of the listener; -1: closed */
    bool draining;
    uint64_t date_until_ns;
    char date[HTTP_DATE_BYTES + 1];
    struct sockaddr_storage address;
    char input[HTTP_INPUT_BYTES];
};

/* ---- http_server.c, for the other two. */
void http_server_resume(struct http_server *s); /* a connection ended: accept again */
struct span http_server_date(struct http_server *s);

/* ---- http_session.c */
/* Take the descriptor over (closed when that fails). */
void http_session_open(struct http_server *s, int fd, const struct sockaddr *peer,
                       socklen_t peer_bytes);
/* Free it; an open exchange gets fn.gone first. */
void http_session_close(struct http_session *c);
/* Nothing of a request has come, neither here nor in the socket. */
bool http_session_is_idle(const struct http_session *c);
/* Room for `bytes` at the end of the output, to be claimed by adding to c->out.bytes. NULL: no
 * memory; the connection ends by itself soon. */
char *http_session_reserve(struct http_session *c, size_t bytes);
/* There is something for flush to do: bytes, an end, an abort. */
void http_session_wake(struct http_session *c);

/* ---- http_response.c */
/* Answer a request that never became an exchange, in place of one: the error object, and close. */
void http_session_refuse(struct http_session *c, unsigned status, const char *code,
                         const char *message);
#endif
