#ifndef IO_HTTP2_SESSION_H
#define IO_HTTP2_SESSION_H
/* http2_session - what the two files of HTTP/2 share: http2_session.c (the connection: frames in
 * and out by nghttp2, limits, its end) and http2_stream.c (one request and its response on it).
 *
 * A stream is READING (head and body are coming) -> ANSWERING (its exchange is open), or REFUSED
 * from either of the two: answered without an exchange, or nobody waits for it any more. nghttp2
 * says when it is closed on the wire; then it is freed, or, when its response has gone out whole,
 * FINISHED until the kernel has that. */
#include <nghttp2/nghttp2.h>

#include "io/http2_memory.h"
#include "io/http_session.h"

#define HTTP2_STREAMS_MAX       100u     /* at once, of one connection; above: REFUSED_STREAM */
#define HTTP2_STREAM_WINDOW     262144u  /* of a body, before we take it */
#define HTTP2_CONNECTION_WINDOW 1048576u /* of all bodies of a connection */
#define HTTP2_CONTINUATIONS_MAX 8u       /* frames of one head */
#define HTTP2_ACKS_MAX          64u      /* of SETTINGS and PING, that wait to be written */
#define HTTP2_SETTINGS_MAX      32u      /* entries in one frame */
/* Frames that cost more than they say: resets (theirs, and ours for their errors), PING, SETTINGS,
 * PRIORITY, empty DATA. A connection has so many, and earns so many a second; then
 * ENHANCE_YOUR_CALM.
 */
#define HTTP2_GLITCHES_MAX        256u
#define HTTP2_GLITCHES_PER_SECOND 32u
#define HTTP2_QUEUE_MAX           1024u /* frames of ours that wait for a client to read; the end */
#define HTTP2_HEADS_BYTES_MAX     131072u /* of the requests that a connection has open; 429 above */
#define HTTP2_HEAD_BYTES_END      (2u * HTTP_HEAD_BYTES_MAX) /* of one, with trailers: the end */
#define HTTP2_OUT_BYTES           32768u /* of frames, made before the kernel has taken some */
#define HTTP2_READS_MAX           8u     /* in one turn */
/* Of a client that does not read: so many of its streams, or frames of ours, may wait; then it is
 * not listened to, and before that in small pieces. */
#define HTTP2_BLOCKED_STREAMS_MAX 16u
#define HTTP2_BLOCKED_FRAMES_MAX  64u
#define HTTP2_BLOCKED_PIECE_BYTES 1024u
#define HTTP2_TICK_NS             1000000000u

enum http2_state { HTTP2_READING, HTTP2_ANSWERING, HTTP2_REFUSED, HTTP2_FINISHED };

struct http2_trailers; /* of a response that is made, but for frames */

struct http2_stream {
    struct http_exchange exchange;
    struct http_session *session;
    TAILQ_ENTRY(http2_stream) link; /* in streams, or finished */
    struct http_body body;
    struct http_output out;          /* of the response's body, not in frames yet */
    struct http2_trailers *trailers; /* behind it; NULL: none */
    size_t out_counted;              /* of its capacity, among all bodies */
    struct span authority;
    uint64_t announced_bytes; /* UINT64_MAX: not */
    uint64_t deadline_ns;     /* of the next byte, in or out; 0: none */
    struct http_pace pace;    /* at which the client takes the response's body */
    size_t head_bytes;        /* as SETTINGS_MAX_HEADER_LIST_SIZE counts, with trailers */
    size_t kept_bytes;        /* of them: what lies in the arena */
    uint32_t header_count;    /* in the connection's headers[] */
    int32_t id;
    uint16_t refusal; /* what the head deserves: a status, 0: nothing yet */
    enum http2_state state;
    bool deferred; /* nghttp2 waits for more of out */
};

TAILQ_HEAD(http2_streams, http2_stream);

struct http2_session {
    struct http2_memory memory;
    nghttp2_session *nghttp2; /* not called any more once the connection is out_of_memory */
    struct http_session *session;
    struct http2_streams streams, finished;
    uint32_t stream_count; /* of both */
    size_t heads_bytes;    /* kept_bytes of both */
    size_t waiting_bytes;  /* in the outputs of both */
    struct loop_timer tick;
    uint64_t glitches_ns; /* when they were earned up to */
    uint32_t glitches;    /* left */
    bool notice_sent;     /* of a shutdown; GOAWAY follows after a tick */
    bool spent; /* no glitches are left: it was asked to calm down, and is not listened to */
    bool lingering;
    struct http_header headers[HTTP_HEADERS_MAX]; /* of the head that comes now */
};

/* ---- http2_session.c */
extern const struct http_protocol http2_protocol;
/* Speak HTTP/2 from now on; input is what came already. false: the session is gone. */
bool http2_session_begin(struct http_session *c, struct span input);

/* ---- http2_stream.c: what nghttp2 says of a stream. */
struct http2_stream *http2_stream_open(struct http_session *c, int32_t id); /* NULL: no memory */
/* Of a head or, is_trailer, behind the body. false: it is so far beyond its limit that the
 * connection has to end, for going through the rest costs more than it cost to send. */
bool http2_stream_header(struct http2_stream *st, struct span name, struct span value,
                         bool is_trailer);
void http2_stream_head(struct http2_stream *st, bool is_whole);
void http2_stream_data(struct http2_stream *st, struct span part);
void http2_stream_whole(struct http2_stream *st);
/* A time limit has passed: an answer, or the end. */
void http2_stream_late(struct http2_stream *st);
/* The next bytes of the body, for a frame of `length` at most: NGHTTP2_ERR_DEFERRED, or a count. */
ssize_t http2_stream_take(struct http2_stream *st, size_t length, uint32_t *ret_flags);
/* A frame's head and so many bytes of the body into the connection's output. false: no memory. */
bool http2_stream_put(struct http2_stream *st, const uint8_t *frame_head, size_t length);
/* Its response is whole and waits for the client: give back what nobody will want. */
void http2_stream_shrink(struct http2_stream *st);
void http2_stream_free(struct http2_stream *st); /* an open exchange gets fn.gone first */
/* The protocol's functions for exchanges. */
bool http2_stream_respond(struct http_exchange *x, unsigned status,
                          const struct http_header *headers, size_t header_count, uint64_t length,
                          size_t more);
void http2_stream_body(struct http_exchange *x, const struct span *parts, size_t part_count,
                       size_t bytes);
void http2_stream_end(struct http_exchange *x, const struct http_header *trailers,
                      size_t trailer_count);
void http2_stream_abort(struct http_exchange *x);
/* What waits, weighed by how much room the connection's other answers leave: twice the high-water
 * mark is for all of them, and each may have as much as is free then (a dynamic threshold, as
 * switches share their memory). So one answer may have the mark, a hundred that nobody reads have
 * little each, and one that is read finds room beside them. */
size_t http2_stream_pending(const struct http_exchange *x);
#endif
