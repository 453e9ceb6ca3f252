#ifndef TEST_E2E_E2E_NODE_H
#define TEST_E2E_E2E_NODE_H
/* e2e_node - a node agent under test, on a thread of its own, in front of engines that do what a
 * test says. Its key is that of the seed 5 and zeros, its name n1. */
#include <pthread.h>

#include "e2e.h"
#include "role/node/node.h"
#include "wire/directive.h"
#include "wire/report.h"

struct e2e_node {
    struct node *node;
    pthread_t thread;
    uint16_t port, admin_port;
};

/* yaml: printf format of a configuration without `listen` and `key`; if it has no `limits`, a drain
 * takes 2 s. It is looked at and
 * reports much more often than others. It waits until the node has heard of its engines. */
void e2e_node_start(struct e2e_node *n, const char *yaml, ...) PRINTF_LIKE(2, 3);
/* The same of a file that SIGHUP reads again, as e2e_node_write has written it. The process must
 * have it blocked. */
void e2e_node_load(struct e2e_node *n, const char *path);
void e2e_node_write(const char *path, const char *yaml, ...) PRINTF_LIKE(2, 3);
/* Drain, then end. */
void e2e_node_stop(struct e2e_node *n);
/* The seed of its key, and that of a gateway that tests may name: its public key as text. */
void e2e_node_seed(unsigned char first, unsigned char ret_seed[SIGNATURE_SEED_BYTES]);
void e2e_node_key(unsigned char first, struct signature_secret *ret_secret,
                  char ret_text[SIGNATURE_KEY_TEXT_SIZE]);
/* A file with its secret key. */
void e2e_node_write_key(const char *path);
/* Its full report, first page; it lives until the next call. */
const struct report *e2e_node_report(const struct e2e_node *n);
/* Post it a directive of the gateway whose key that of this seed is; the answer has this result.
 * nonce: another one each time. */
bool e2e_node_direct(const struct e2e_node *n, unsigned char gateway, enum directive_action action,
                     const char *model, unsigned char nonce, const char *result);
#endif
