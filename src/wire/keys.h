#ifndef WIRE_KEYS_H
#define WIRE_KEYS_H
/* keys - the file of API keys, hashed at rest:
 *   keys:
 *     - {name: alice, sha256: "9f86d0...", concurrency: 32, requests_per_minute: 600,
 *        tokens_per_minute: 100000, priority: normal, may_claim: high,
 *        preferences: [deadline, models], models: [llama-3.1-8b], expires: 2027-01-31}
 * All but name and sha256 may be left out. A name may stand at two keys (while one replaces the
 * other): their usage is one, their limits are not. The key itself is shown once, by
 * `isochrone key add NAME`, and stands nowhere. */
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"
#include "core/event.h"
#include "wire/config.h"

#define KEYS_MAX                    65536u
#define KEY_SHA256_BYTES            32u
#define KEY_CONCURRENCY_MAX         1000000u
#define KEY_REQUESTS_PER_MINUTE_MAX 60000000u
#define KEY_TOKENS_PER_MINUTE_MAX   1000000000000u
#define KEY_MODELS_MAX              64u
#define KEY_TEXT_BYTES_MAX          128u

/* Wishes of a client that its key lets it have: a set. */
enum key_preference {
    KEY_MAY_DEADLINE = 1, /* headers Isochrone-Deadline-Ms, x-llm-d-slo-ttft-ms */
    KEY_MAY_MODELS = 2    /* `models` of the body: which other model may answer instead */
};
#define KEY_PREFERENCES_ALL (KEY_MAY_DEADLINE | KEY_MAY_MODELS)

struct key_entry {
    struct span name;
    unsigned char sha256[KEY_SHA256_BYTES];
    uint32_t concurrency_max;         /* 0: no limit */
    uint32_t line;                    /* where it begins, from 1; 0: nowhere */
    uint64_t requests_per_minute_max; /* 0: no limit */
    uint64_t tokens_per_minute_max;   /* 0: no limit */
    enum priority priority;           /* class of its requests when there is not room for all */
    enum priority best;               /* the highest that they may claim; at or above priority */
    uint32_t preferences;             /* set of enum key_preference */
    struct span *models;              /* names or aliases that it may use */
    size_t model_count;               /* 0: all */
    uint64_t expires_s;               /* since 1970: not valid from then on; 0: never */
};

struct keys {
    struct key_entry *list; /* sorted by sha256 */
    size_t count;
};

MUST_USE enum err keys_parse(struct span yaml, struct arena *arena, struct keys *ret_keys,
                             struct config_problems *ret_problems);
/* The entry of this key, or NULL. How long it takes says nothing of use about other keys: see
 * keys.c. */
const struct key_entry *keys_find(const struct keys *keys, struct span key_text);
/* The same for the key whose hash this is. */
const struct key_entry *keys_find_sha256(const struct keys *keys,
                                         const unsigned char sha256[KEY_SHA256_BYTES]);
void keys_sha256(struct span text, unsigned char ret_sha256[KEY_SHA256_BYTES]);
/* "high" "normal" "low"; ERR_NOT_FOUND. */
MUST_USE enum err keys_priority(struct span text, enum priority *ret_priority);
const char *keys_priority_name(enum priority priority);
/* "deadline" "models", with commas between them, or "none", as a set; ERR_NOT_FOUND. */
MUST_USE enum err keys_preferences(struct span text, uint32_t *ret_preferences);
/* "2027-01-31", its first second, or "2027-01-31T18:00:00Z"; ERR_PARSE. */
MUST_USE enum err keys_time(struct span text, uint64_t *ret_s);
#define KEYS_TIME_BYTES 21u
/* The other way round, with a zero at the end. */
void keys_time_text(uint64_t s, char ret_text[KEYS_TIME_BYTES]);
/* One line to append to the file for a new key. ERR_ARG: what keys_parse would not take. */
MUST_USE enum err keys_line(const struct key_entry *entry, struct arena *arena,
                            struct span *ret_line);
#endif
