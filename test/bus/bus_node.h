#ifndef TEST_BUS_NODE_H
#define TEST_BUS_NODE_H
/* bus_node - a node as others see it on a bus: it has a key, says hello, reports and goes, in real
 * bytes; and it lies if a test wants it to. What answers requests is somebody else. */
#include "io/bus.h"
#include "wire/report.h"

struct bus_node {
    struct bus *bus; /* the caller's */
    char name[64], url[64], region[64];
    const char *model;   /* that it has ready; NULL: none */
    const char *pin_hex; /* NULL: none */
    /* Of full reports: whom it obeys, NULL: nobody; what its model takes, and how it is (0: ready).
     */
    const char *obeys;
    uint64_t memory_bytes, model_bytes;
    uint32_t model_state;
    const struct report_outcome *outcome; /* of deltas; NULL: none */
    struct signature_secret secret;
    const struct signature_secret *operator_secret; /* NULL: nobody vouches */
    uint64_t epoch, seq;
    int64_t clock_s; /* how far its clock is off */
    enum node_state state;
    uint64_t running, accepted_total;
    uint64_t ack; /* of ack_gateway; 0: none */
    char ack_gateway[64];
    unsigned char head[REPORT_HASH_BYTES];
};

/* Names and keys by number: n0, n1 ... port: of what answers its requests. */
void bus_node_init(struct bus_node *n, struct bus *bus, unsigned number, uint16_t port);
void bus_node_hello(struct bus_node *n);
/* The next report; full: with its model. */
void bus_node_report(struct bus_node *n, bool full);
void bus_node_chain(struct bus_node *n);
void bus_node_gone(struct bus_node *n);
/* It ended and starts again: a higher epoch, a hello and a full report. */
void bus_node_restart(struct bus_node *n);
/* The bytes of the next message, as they are published. */
size_t bus_node_hello_text(struct bus_node *n, char text[MESSAGE_BYTES_MAX]);
size_t bus_node_report_text(struct bus_node *n, bool full, char text[MESSAGE_BYTES_MAX]);
size_t bus_node_chain_text(struct bus_node *n, char text[MESSAGE_BYTES_MAX]);
size_t bus_node_gone_text(struct bus_node *n, char text[MESSAGE_BYTES_MAX]);
/* It ended and starts again, and has said nothing yet. */
void bus_node_begin_life(struct bus_node *n);
#endif
