#ifndef BENCH_CANNED_H
#define BENCH_CANNED_H
/* canned - an engine that costs as little as it can, behind a proxy that is measured: it answers
 * /v1/models and chat completions from fixed bytes. One process, one thread, one epoll, one read
 * and one write an exchange; it listens on all of 127.0.0.0/8, so one process is as many engines as
 * a test needs.
 *
 * A request with "stream":true among its first bytes gets an event stream that never ends: a chunk
 * at once, then one each tick. */
#include <stdint.h>

#define CANNED_MODEL            "bench-8b"
#define CANNED_REPLY_BODY_BYTES 500u

struct canned_plan {
    uint16_t port;
    uint32_t tick_ms; /* between two chunks of a stream */
};

/* Serve until killed. arg points to a struct canned_plan. For child_fork(). */
void canned_run(void *arg);
#endif
