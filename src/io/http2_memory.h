#ifndef IO_HTTP2_MEMORY_H
#define IO_HTTP2_MEMORY_H
/* http2_memory - the memory of one nghttp2 session, block by block. After an allocation failed,
 * nghttp2 (1.52 at least) may not be called any more, not even to free the session: an item that
 * could not be queued is freed and stays on its stream, to be freed again. So the blocks are given
 * back from here, without asking it. */
#include <nghttp2/nghttp2.h>
#include <stdbool.h>

#include "base/list.h"

struct http2_block;
struct http2_memory { /* zeroed: empty; it may not move while it has blocks */
    bool *failed;     /* set when there was no memory */
    LIST_HEAD(http2_blocks, http2_block) blocks;
};

/* For nghttp2_session_server_new3. */
nghttp2_mem http2_memory_functions(struct http2_memory *m);
/* Free all that is left. */
void http2_memory_drop(struct http2_memory *m);
#endif
