#ifndef WIRE_NOTICE_H
#define WIRE_NOTICE_H
/* notice - what a gateway answers to what a node (or another gateway) said of itself: what it
 * thinks of it, and what it wants. Over HTTP it is the answer; over the bus, where nobody answers,
 * it comes on the node's control subject, and only when something is wanted or was not taken:
 *
 *   {"words":"its record has expired","v":1,"want":"hello","gateway":"gw1","verdict":"expired"}
 *
 * Nobody signs it: it is a question and a hint for people, and at most costs a message more. */
#include "wire/message.h"

#define NOTICE_VERDICT_BYTES_MAX 63u
#define NOTICE_WORDS_BYTES_MAX   300u

enum notice_want { NOTICE_NOTHING, NOTICE_HELLO, NOTICE_FULL, NOTICE_WANTS };

struct notice {
    uint64_t v;
    uint32_t want;       /* enum notice_want */
    struct span gateway; /* its name; empty: over HTTP it is known, or it has none */
    struct span verdict; /* one word; empty: it thinks nothing of it */
    struct span words;   /* the same for people; empty: none that can be read */
};

/* ERR_FULL, ERR_PARSE: as message_read; ERR_PARSE also where nothing is wanted and nothing said, as
 * of a directive. Spans point into json, which has JSON_PADDING behind it. */
MUST_USE enum err notice_read(struct span json, struct notice *ret_notice,
                              struct message_error *ret_error);
/* Words that cannot be written are left out. ERR_FULL; ERR_ARG: the rest cannot. */
MUST_USE enum err notice_write(const struct notice *notice, char text[MESSAGE_BYTES_MAX],
                               size_t *ret_bytes);
#endif
