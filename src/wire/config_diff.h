#ifndef WIRE_CONFIG_DIFF_H
#define WIRE_CONFIG_DIFF_H
/* config_diff - what a reload changes, key by key, in words for people:
 *
 *   engines[gpu0].region: eu-west -> us-east
 *   engines[gpu7]: added (http://10.0.0.12:8000)
 *   threads: 1 -> 2 (with the next process: restart, or SIGUSR2)
 *
 * It compares what config_dump writes of both, so a key that can be dumped can be compared, and
 * what may not be shown there is not shown here. */
#include "base/arena.h"
#include "wire/config.h"

#define CONFIG_DIFF_TEXT_BYTES 400u /* of one difference; longer values are cut */

typedef void config_diff_fn(const char *text, void *user);

/* Call fn for every difference: keys in the order of the dump, engines by name. ERR_FULL: the
 * arena; fn may have been called. */
MUST_USE enum err config_diff(const struct config *before, const struct config *after,
                              struct arena *arena, config_diff_fn *fn, void *user);
/* The same of two files of nodes (wire/config_node.h), as they are written: a default that is
 * written down differs from none. Nothing of `engines` is shown, for credentials may be in it. */
MUST_USE enum err config_diff_node(struct span before, struct span after, struct arena *arena,
                                   config_diff_fn *fn, void *user);
#endif
