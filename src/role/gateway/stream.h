#ifndef ROLE_GATEWAY_STREAM_H
#define ROLE_GATEWAY_STREAM_H
/* stream - server-sent events from the engine to the client, each one checked and then passed on
 * with the model's name put back.
 *
 * Two engines may be asked at once: whichever first has content is the one whose events go on, and
 * the other is cancelled then. Events before the first content are held, so that another node can
 * take over without a trace. When nothing was said for keep_alive_ns the answer is committed early
 * and `: keep-alive` follows at that interval; node and attempts then stand in a comment before
 * [DONE]. After content was passed on, a failure is an error event; a stream never ends silently
 * without a finish reason. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "io/loop.h"
#include "wire/sse.h"

#define STREAM_HELD_BYTES_MAX   65536u /* of events before the first content */
#define STREAM_HIGH_WATER_BYTES 65536u /* waiting for the client: the upstream pauses */
#define STREAM_LOW_WATER_BYTES  16384u
#define STREAM_DONE_WAIT_NS     1000000000u /* after [DONE], for the engine to end its response */

struct attempt;
struct request;
struct openai_error;

/* What one attempt's engine said; in its attempt. */
struct stream_source {
    struct sse_reader reader;
    char *held; /* events before the first content, as they go to the client */
    size_t held_bytes, held_room;
    uint64_t first_ns; /* longest wait from the head to the first content; 0: no limit */
    uint64_t gap_ns;   /* longest silence of the engine between two tokens; 0: no limit */
    uint64_t heard_ns; /* when the engine said something of use last; 0: not yet */
    uint32_t finishes; /* choices that gave a finish reason */
    uint32_t pieces;   /* of content that were passed on: a token each, more or less */
    bool done;         /* [DONE] was seen, or all that was to come */
};

/* What the client was told; in its request. */
struct stream {
    struct loop_timer silence; /* next keep-alive or limit of an engine; after [DONE]: our end */
    uint64_t said_ns;          /* when the client was told something last */
    bool early;                /* committed before a node had answered */
    bool paused;
    bool held_up; /* it was paused ever: the client takes it slowly */
};

/* A new attempt with these limits: forget what a former one said. */
void stream_source_open(struct stream_source *s, uint64_t first_ns, uint64_t gap_ns);
void stream_source_close(struct stream_source *s); /* free what is held */

/* The request is a stream: start counting silence. */
void stream_open(struct request *r);
/* The head came: content is to follow. Comments and empty events do not count as such. */
void stream_head(struct attempt *a);
/* Bytes of the engine. The request may be gone after it. */
void stream_data(struct attempt *a, struct span bytes);
/* The engine's response is over, or its connection. The request is gone, or tried again, after it.
 */
void stream_end(struct attempt *a);
/* Write an error event in place of what was to come (committed streams). Not the end. */
void stream_error(struct request *r, const struct openai_error *error);
/* The client took what waited. */
void stream_drained(struct request *r);
void stream_close(struct request *r); /* the request is over */
#endif
