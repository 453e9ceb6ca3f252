#ifndef WIRE_KEYS_H
#define WIRE_KEYS_H
/* keys - the file of API keys, hashed at rest:
 *   keys:
 *     - {name: alice, sha256: "9f86d0...", concurrency: 32, tokens_per_minute: 100000,
 *        priority: high}
 * The key itself is shown once, by `isochrone key add NAME`, and stands nowhere. */
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"
#include "core/event.h"
#include "wire/config.h"

#define KEYS_MAX                  65536u
#define KEY_SHA256_BYTES          32u
#define KEY_CONCURRENCY_MAX       1000000u
#define KEY_TOKENS_PER_MINUTE_MAX 1000000000000u
#define KEY_TEXT_BYTES_MAX        128u

struct key_entry {
    struct span name;
    unsigned char sha256[KEY_SHA256_BYTES];
    uint32_t concurrency_max;       /* 0: no limit */
    uint64_t tokens_per_minute_max; /* 0: no limit */
    enum priority priority;         /* class of its requests when there is not room for all */
};

struct keys {
    struct key_entry *list; /* sorted by sha256 */
    size_t count;
};

MUST_USE enum err keys_parse(struct span yaml, struct arena *arena, struct keys *ret_keys,
                             struct config_problems *ret_problems);
/* The entry of this key (SHA-256, then binary search), or NULL. */
const struct key_entry *keys_find(const struct keys *keys, struct span key_text);
void keys_sha256(struct span text, unsigned char ret_sha256[KEY_SHA256_BYTES]);
/* "high" "normal" "low"; ERR_NOT_FOUND. */
MUST_USE enum err keys_priority(struct span text, enum priority *ret_priority);
/* One line to append to the file for a new key. ERR_ARG: the name is no [a-z0-9-]{1,63}. */
MUST_USE enum err keys_line(struct span name, const unsigned char sha256[KEY_SHA256_BYTES],
                            uint32_t concurrency_max, uint64_t tokens_per_minute_max,
                            enum priority priority, struct arena *arena, struct span *ret_line);
#endif
