#ifndef BENCH_SUBJECT_H
#define BENCH_SUBJECT_H
/* subject - the proxies that are measured: our gateway, haproxy and nginx, each in front of the
 * same canned engines, each on one core with one thread, keep-alive on both sides, no log.
 *
 * The rivals choose among the same engines by least connections, reuse connections always, and have
 * buffers that a body fits into. Ours decides by its core for every request, checks an API key,
 * parses the body and counts everything: as it would in production. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SUBJECT_ENGINE_PORT 4300u /* of all canned engines */
#define SUBJECT_API_KEY     "sk-bench-0123456789abcdef0123456789abcdef"
#define SUBJECT_ENGINES_MAX 4096u
#define SUBJECT_BUFFERS_MIB 256u /* all bodies in our memory, of one client too */

struct subject {
    const char *name;
    bool tls;
    uint16_t port;
    pid_t pid;
};

struct subject_options {
    uint32_t engines;
    bool tls;         /* the listener speaks HTTP/2 and 1.1 over TLS */
    bool streams;     /* event streams pass at once, where that is an option */
    uint32_t threads; /* on so many cores from core 0 on; 0: 1 */
};

/* A new directory for configurations and logs, which stays for whoever wants to look. */
const char *subject_directory(void);
/* Ours: `program gateway` with so many engines at addresses of their own, ready for requests. Each
 * call gets a port of its own. */
void subject_open_gateway(const char *program, const char *directory,
                          const struct subject_options *o, struct subject *ret_subject);
void subject_open_haproxy(const char *directory, const struct subject_options *o,
                          struct subject *ret_subject);
void subject_open_nginx(const char *directory, const struct subject_options *o,
                        struct subject *ret_subject);
void subject_close(struct subject *subject);
#endif
