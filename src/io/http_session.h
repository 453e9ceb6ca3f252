#ifndef IO_HTTP_SESSION_H
#define IO_HTTP_SESSION_H
/* http_session - what the files of the server share, and nobody else includes:
 *   http_server.c    the listener, all connections;
 *   http_session.c   one connection: its output, its one time limit, its end;
 *   http_exchange.c  the exchange's side of http_server.h, which knows no protocol;
 *   http1_session.c, http1_response.c  HTTP/1.x on a connection: reading, writing;
 *   http2_session.c, http2_stream.c    HTTP/2 on a connection, one stream of it: http2_session.h.
 *
 * A session has a protocol, a table of functions, which it calls when the loop says something and
 * which the exchanges call to be written. Exchanges of whatever protocol look the same above.
 *
 * A session is freed only by its own watch, timer or flush task, or by http_server_close: never
 * while a call of an exchange is on the stack. */
#include <netinet/in.h>
#include <stdatomic.h>

#include "base/list.h"
#include "io/http_body.h"
#include "io/http_pace.h"
#include "io/http_server.h"
#include "io/transport.h"
#include "wire/http1.h"

#define HTTP_INPUT_BYTES     65536u      /* read at once; one buffer a server */
#define HTTP_SHRUNK_BYTES    96u         /* of an exchange that only waits, if that is enough */
#define HTTP_OUT_FREE_BYTES  131072u     /* of an output; more counts among all bodies */
#define HTTP_OUT_KEEP_BYTES  2048u       /* of an empty output buffer */
#define HTTP_OUT_SPARE_BYTES 262144u     /* of the one that a server lends, at most */
#define HTTP_ACCEPT_BATCH    64u         /* connections accepted in a row */
#define HTTP_ACCEPT_RETRY_NS 100000000u  /* after the process ran out of descriptors */
#define HTTP_LINGER_NS       2000000000u /* throwing away after a refusal */
#define HTTP1_TURNS          16u         /* requests that were pipelined, begun in a row */
#define HTTP_DATE_BYTES      37u         /* "date: Sun, 06 Nov 1994 08:49:37 GMT" CR LF */

enum http_framing { HTTP_FRAME_LENGTH, HTTP_FRAME_CHUNKED, HTTP_FRAME_UNTIL_CLOSE };

enum http_limit { /* what the connection's one timer limits now */
                  HTTP_LIMIT_NONE,
                  HTTP_LIMIT_KEEP_ALIVE,
                  HTTP_LIMIT_HEAD,
                  HTTP_LIMIT_BODY,
                  HTTP_LIMIT_WRITE,
                  HTTP_LIMIT_LINGER
};

struct http_session;

struct http_exchange { /* inside its connection or stream, reset for each request */
    struct http_session *session;
    struct arena arena;
    void *user;
    struct http_request request;
    uint64_t length_left; /* of a response by length */
    uint64_t began_ns;    /* when the request was whole */
    uint64_t body_bytes;  /* of the response, so far */
    unsigned status;      /* of the response; 0: none yet */
    enum http_framing framing;
    bool shrunk;
    bool open; /* from fn.request to the end: only then it accepts calls */
    bool started, ended;
    bool bodiless;  /* HEAD, 204, 304: whatever is written, no body goes out */
    bool slow;      /* cut off, for its client takes it too slowly */
    bool over_high; /* pending was above the high-water mark, drained was not called since */
};

struct http_protocol {
    const char *name;                                      /* for people: "HTTP/1.1" */
    bool (*takes_trailers)(const struct http_exchange *x); /* to be answered */
    /* The loop says: the descriptor is ready; the end of the pass; the limit has run out. Each may
     * free the session. */
    void (*ready)(struct http_session *c, unsigned ready);
    void (*flush)(struct http_session *c);
    void (*late)(struct http_session *c);
    /* Free what is the protocol's; its open exchanges get fn.gone first. */
    void (*fini)(struct http_session *c);
    /* The server takes no new connections: end this one when it is done; when idle, as soon as
     * http_server_is_impatient (it is called again then). */
    void (*drain)(struct http_session *c);

    /* An exchange that is open, to be written into the session's output, which is woken. head:
     * false: no memory, the session ends by itself. `more` body bytes come at once. */
    bool (*head)(struct http_exchange *x, unsigned status, const struct http_header *headers,
                 size_t header_count, uint64_t length, size_t more);
    void (*body)(struct http_exchange *x, const struct span *parts, size_t part_count,
                 size_t bytes); /* the first so many bytes of the parts, > 0 */
    /* trailers: clean ones, at most HTTP_TRAILERS_MAX; none unless the framing has a place. */
    void (*end)(struct http_exchange *x, const struct http_header *trailers, size_t trailer_count);
    void (*abort)(struct http_exchange *x);
    void (*close_after)(struct http_exchange *x);
    size_t (*pending)(const struct http_exchange *x);
};

struct http_output {
    char *data;
    size_t at, bytes, capacity; /* data[at, bytes) waits for the client */
};

/* HTTP/1.x on a connection: one exchange at a time. It goes READING -> ANSWERING -> READING and so
 * on; by way of QUEUED when the next request is here already: its turn comes when those of others
 * have had theirs. From each it may go to REFUSING (the last answer is being written), from there
 * to LINGERING (what the client still sends is thrown away, so that a reset does not overtake that
 * answer), and from ANSWERING to ABORTED or GONE. Between fn.request and fn.done it is ANSWERING.
 */
enum http1_state {
    HTTP1_READING,
    HTTP1_ANSWERING,
    HTTP1_QUEUED,
    HTTP1_REFUSING,
    HTTP1_LINGERING,
    HTTP1_ABORTED,
    HTTP1_GONE
};

struct http1_session {
    struct http1_parser parser;
    struct http_exchange exchange;
    struct http_body body; /* of the request */
    char *kept;            /* input behind a request: the next one's, kept until its turn */
    size_t kept_at, kept_bytes;
    enum http1_state state;
    TAILQ_ENTRY(http_session) turn; /* QUEUED */
    bool has_head;                  /* of the request being read */
    bool input_waiting; /* bytes of a next request are in the socket: LOOP_READ is not asked for */
    bool keep_alive;    /* after this response */
    bool unread;        /* it was not admitted: its body is still to come, for nobody */
};

struct http_session {
    struct transport transport;
    struct loop_timer timer;
    struct loop_task flush;
    LIST_ENTRY(http_session) link;
    struct http_server *server;
    const struct http_protocol *protocol;
    struct http_output out;
    size_t out_counted; /* of its capacity, among all bodies */
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } peer;
    enum http_limit limit;
    uint64_t sent_bytes; /* taken from `out` in its life */
    uint64_t pace_bytes; /* of them: what the client had before those that pace is about */
    struct http_pace pace;
    bool slow;    /* it is cut off for that */
    bool blocked; /* the kernel took less than there was: LOOP_WRITE is asked for */
    bool out_of_memory;
    bool answered; /* an exchange before the present one */
    struct http1_session h1;
    struct http2_session *h2; /* NULL: HTTP/1.x is spoken */
};

struct http_listener {
    struct loop_watch watch; /* its fd is the socket */
    struct http_server *server;
};

struct http_server {
    struct loop *loop;
    struct http_listener listeners[HTTP_LISTENERS_MAX];
    size_t listener_count;
    struct loop_timer accept_retry, grace_timer;
    uint64_t accept_told_ns; /* when it was logged last that nothing can be accepted; 0: never */
    uint64_t turned_away_told_ns; /* ... that a client has too many connections */
    struct http_server_limits limits;
    struct http1_limits message_limits;
    struct http_server_fn fn;
    void *user;
    LIST_HEAD(http_sessions, http_session) connections;
    TAILQ_HEAD(http_turns, http_session) turns; /* HTTP1_QUEUED, in the order of asking */
    struct loop_task turns_task;
    size_t connection_count, exchange_count;
    http_server_tls_fn *tls;         /* NULL: no TLS */
    struct tls_buffers *tls_buffers; /* with tls: of all connections */
    bool draining;
    uint64_t grace_until_ns;          /* while draining: so long idle connections are kept */
    struct arena_spares spare_blocks; /* of the exchanges' arenas */
    struct http_output spare_out;     /* empty; of the next connection with much to write */
    uint64_t date_until_ns;
    char date[HTTP_DATE_BYTES + 1];
    struct sockaddr_storage address;
    char input[HTTP_INPUT_BYTES];
};

/* ---- http_server.c, for the others. */
void http_server_resume(struct http_server *s);             /* a connection ended: accept again */
bool http_server_is_impatient(const struct http_server *s); /* idle connections end now */
struct span http_server_date(struct http_server *s);

/* ---- http_session.c: a connection begins, over TLS with the handshake as its protocol; then it
 * gets the one that was agreed on. */
/* Take the descriptor over (closed when that fails). */
void http_session_open(struct http_server *s, int fd, const struct sockaddr *peer,
                       socklen_t peer_bytes);
/* Free it; open exchanges get fn.gone first. */
void http_session_close(struct http_session *c);
/* Start the limit that runs now; wait_ns 0: none. */
void http_session_limit(struct http_session *c, enum http_limit what, uint64_t wait_ns);
/* Room for `bytes` at the end of an output, to be claimed by adding to out->bytes. NULL: no memory.
 */
char *http_output_reserve(struct http_output *out, size_t bytes);
void http_output_clear(struct http_output *out); /* everything was taken */
/* Much is going to be written, and the output has no buffer: borrow the server's. Who cannot write
 * it at once gives it back all the same. */
void http_session_borrow(struct http_session *c);
/* An output has this capacity now, of which *counted was counted: count it among the bodies of the
 * process (limits.buffers_bytes), which new ones have to find room beside. A whole answer that
 * waits for its client is as large as a body. */
void http_output_count(const struct http_server *s, size_t capacity, size_t *counted);
/* Room for `bytes` at the end of the connection's output, to be claimed by adding to c->out.bytes.
 * NULL: no memory; the connection ends by itself soon. */
char *http_session_reserve(struct http_session *c, size_t bytes);
/* There is something for flush to do: bytes, an end, an abort. */
void http_session_wake(struct http_session *c);
/* What waits was taken late, or so the timer says: look at what the client really has. True: it is
 * too slow, and the session is gone. */
bool http_session_cut_slow(struct http_session *c);
/* What is sent from now on is another answer. */
void http_session_pace_anew(struct http_session *c);
/* Write what waits, and note in c->blocked whether the kernel took it all. false: the client is
 * gone, or memory was short. */
bool http_session_write(struct http_session *c);

/* ---- http_exchange.c */
/* A request has come, in r of x (path and query are filled in here): tell the server's user. */
void http_exchange_begin(struct http_exchange *x);
/* It is over, told or not: what it had is freed. */
void http_exchange_fini(struct http_exchange *x);
/* It has ended and waits for its client: give back what nobody will want. */
void http_exchange_shrink(struct http_exchange *x);
/* The client has gone: tell, if it is open. */
void http_exchange_gone(struct http_exchange *x);
/* The response is with the kernel, whole: tell. */
void http_exchange_done(struct http_exchange *x);
/* Less waits for the client than before: tell, if somebody waits for that. */
void http_exchange_drained(struct http_exchange *x);
/* A request was refused and becomes no exchange: tell. */
void http_exchange_refused(struct http_session *c, unsigned status, const char *code);
/* Note which headers there are; no call means that each look goes through all. */
void http_request_index(struct http_request *r);
/* "/path?query" out of the target, which may be a whole URL (RFC 9112 3.2.2). */
void http_request_split(struct http_request *r);
/* The error object of a refusal, into text; returns the bytes. The words are ours. */
#define HTTP_REFUSAL_BYTES_MAX 512u
size_t http_refusal_text(unsigned status, const char *code, const char *message,
                         char text[HTTP_REFUSAL_BYTES_MAX]);

/* ---- http1_session.c */
extern const struct http_protocol http1_protocol;
void http1_session_init(struct http_session *c);

/* ---- http1_response.c */
bool http1_response_head(struct http_exchange *x, unsigned status,
                         const struct http_header *headers, size_t header_count, uint64_t length,
                         size_t more);
void http1_response_body(struct http_exchange *x, const struct span *parts, size_t part_count,
                         size_t bytes);
void http1_response_end(struct http_exchange *x, const struct http_header *trailers,
                        size_t trailer_count);
/* Answer a request that never became an exchange, in place of one: the error object, and close. */
void http1_session_refuse(struct http_session *c, unsigned status, const char *code,
                          const char *message);
#endif
