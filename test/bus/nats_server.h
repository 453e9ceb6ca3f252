#ifndef TEST_NATS_SERVER_H
#define TEST_NATS_SERVER_H
/* nats_server - a real NATS server on a loopback port, for tests and benchmarks: started with a
 * configuration, killed, started again at the same place. It ends with this process. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "scratch.h"

#define NATS_SERVER_PATH_BYTES 128u

struct nats_server {
    char folder[SCRATCH_PATH_BYTES], config[NATS_SERVER_PATH_BYTES];
    char address[32], url[48]; /* "127.0.0.1:4222", "nats://127.0.0.1:4222" */
    uint16_t port;
    pid_t pid; /* 0: it does not run */
};

/* Is there one in PATH? */
bool nats_server_exists(void);
/* A port and a folder for it; what fails here ends the program. */
void nats_server_init(struct nats_server *s);
/* text: its configuration, which has to listen at s->address. Waits until it does. False: it ended;
 * what it said is on standard error. */
bool nats_server_start(struct nats_server *s, const char *text);
/* By SIGKILL, as crashes do. */
void nats_server_kill(struct nats_server *s);
/* Killed, and its folder with everything in it is gone. */
void nats_server_fini(struct nats_server *s);
#endif
