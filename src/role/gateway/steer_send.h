#ifndef ROLE_GATEWAY_STEER_SEND_H
#define ROLE_GATEWAY_STEER_SEND_H
/* steer_send - a directive on its way: signed, over the bus or by HTTP, and its answer back. For
 * steer.c, and nobody else; on the first lane. */
#include "role/gateway/lane.h"
#include "role/gateway/steer.h"

struct steer_order { /* what is known of a directive; under the lock of steer */
    uint64_t id;     /* 1 ...; 0: none */
    uint32_t node;   /* index in the fleet */
    uint16_t model;  /* MODEL_NONE: none, or one that only the node knows */
    uint16_t reason;
    uint32_t action; /* enum directive_action */
    bool by_person, is_sent, needs_deny;
    enum steer_state state;
    unsigned char nonce[DIRECTIVE_NONCE_BYTES];
    char node_name[CONFIG_NAME_BYTES_MAX + 1];
    char model_name[CONFIG_MODEL_NAME_BYTES_MAX + 1];  /* as people call it */
    char engine_name[CONFIG_MODEL_NAME_BYTES_MAX + 1]; /* as the node does */
    char words[STEER_WORDS_BYTES];
    uint64_t asked_ns, changed_ns;
    double took_ms, ready_in_ms, worth_ms_s, load_ms;
};

struct steer_send;

MUST_USE enum err steer_send_open(struct gateway *gateway, struct steer *steer,
                                  struct steer_send **ret_send);
void steer_send_close(struct steer_send *send); /* NULL: does nothing */
/* One of the two below follows, once. */
void steer_send(struct steer_send *send, const struct steer_order *order);

/* ---- In steer.c. */
void steer_answered(struct steer *steer, uint64_t id, const struct directive_reply *reply);
/* is_silent: the node may have heard it. */
void steer_unanswered(struct steer *steer, uint64_t id, bool is_silent, const char *words);
#endif
