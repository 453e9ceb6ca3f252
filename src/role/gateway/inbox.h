#ifndef ROLE_GATEWAY_INBOX_H
#define ROLE_GATEWAY_INBOX_H
/* inbox - what a step decided about a request other than the one its event spoke of: a place became
 * free, and one that was held goes there. Such an action goes to the lane that the request's id
 * names, by that lane's inbox; also when it is the lane's own, so that nothing is done to a request
 * in the middle of what another one does.
 *
 * A ring with many writers and one reader, the lane. It cannot be full: an entry speaks of a
 * request that was held, and until the lane has read it, the connection of that request makes no
 * other one; so there are no more entries than could be held, and those whose connections came and
 * went during one pass of the lane's loop. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/core.h"
#include "io/loop.h"

struct gateway;

struct inbox_entry {
    _Atomic uint64_t turn; /* private: whose turn the slot is */
    uint64_t now_ns;       /* of the step */
    struct action action;
    struct decision *decision; /* of this request; NULL: none, or no memory for it. The reader's */
};

struct inbox {
    struct inbox_entry *entries;
    uint64_t mask;
    _Atomic uint64_t tail;
    uint64_t head;
    _Atomic bool asked; /* the lane was told that there is something */
    struct loop_post post;
};

/* For at most holds_max held requests. ERR_MEMORY. */
MUST_USE enum err inbox_open(struct inbox *box, uint32_t holds_max);
void inbox_close(struct inbox *box);
/* From any thread: hand every action but those about `own` (0: none) to its lane. */
void inbox_share(struct gateway *gateway, uint64_t now_ns, const struct actions *actions,
                 uint64_t own);
/* On the lane's thread: the next entry, moved into *ret_entry; false: there is none now. */
bool inbox_take(struct inbox *box, struct inbox_entry *ret_entry);
#endif
