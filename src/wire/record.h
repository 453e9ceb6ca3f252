#ifndef WIRE_RECORD_H
#define WIRE_RECORD_H
/* record - canonical bytes of events, actions and decisions, and the file of a recorded run.
 *
 * Canonical: little-endian, every field of the kind in the order of its struct, floats by their
 * bits (one NAN), no padding, nothing else of the union. Encoded by tables, so that a new field is
 * one line.
 *
 * File: a head {magic "ISOREC", format, build, core_config, the configuration's text}, then entries
 * {length, now_ns, event, the actions' bytes}, then an end mark that says
 * why it ends (closed, or the ring was full). Version RECORD_FORMAT; others are refused. */
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "core/core.h"

#define RECORD_FORMAT            7u
#define RECORD_EVENT_BYTES_MAX   (128u + 8u * PREFIX_BORDERS_MAX)
#define RECORD_ACTIONS_BYTES_MAX 4096u

/* Bytes written; `bytes` has room for the MAX above. A kind out of range is EVENT_NONE. */
size_t record_event_encode(const struct event *event, unsigned char *bytes);
MUST_USE enum err record_event_decode(struct span bytes, struct event *ret_event,
                                      size_t *ret_used_bytes);
/* Actions with their decision. */
size_t record_actions_encode(const struct actions *actions, unsigned char *bytes);

struct record_head {
    struct core_config config;
    struct span build;       /* version and compiler, for people */
    struct span config_text; /* the configuration file as it was, secrets are in files */
};
#define RECORD_HEAD_FIXED_BYTES 128u /* head without build and config_text */
/* Bytes written, at most RECORD_HEAD_FIXED_BYTES + build + config_text. */
size_t record_head_encode(const struct record_head *head, unsigned char *bytes);
MUST_USE enum err record_head_decode(struct span bytes, struct record_head *ret_head,
                                     size_t *ret_used_bytes);

enum record_end { RECORD_END_NONE = 0, RECORD_END_CLOSED, RECORD_END_RING_FULL };
struct record_entry {
    uint64_t now_ns;
    struct event event;
    struct span actions; /* their canonical bytes */
    enum record_end end; /* not NONE: the last entry, nothing else is set */
};
#define RECORD_ENTRY_BYTES_MAX (RECORD_EVENT_BYTES_MAX + RECORD_ACTIONS_BYTES_MAX + 32u)
size_t record_entry_encode(const struct record_entry *entry, unsigned char *bytes);
/* ERR_AGAIN: the bytes end in the middle of an entry (a run that was killed). ERR_PARSE. */
MUST_USE enum err record_entry_decode(struct span bytes, struct record_entry *ret_entry,
                                      size_t *ret_used_bytes);
#endif
