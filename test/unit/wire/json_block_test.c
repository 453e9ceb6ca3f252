/* json_block_test - masks against a look at each byte, in both forms: the one for this machine and
 * the one in words for others. */
#include "wire/json_block.h"

#include <stdbool.h>

#include "base/rng.h"
#include "tap.h"

#define ROUNDS 20000u

struct masks {
    unsigned equal, wide, special;
};

static struct masks
slow(const char *at, char byte)
{
    struct masks m = {0};

    for (unsigned i = 0; i < JSON_BLOCK_BYTES; i++) {
        unsigned char c = (unsigned char)at[i];
        m.equal |= (unsigned)(at[i] == byte) << i;
        m.wide |= (unsigned)(c >= 0x80) << i;
        m.special |= (unsigned)(c >= 0x80 || c < 0x20 || c == '"' || c == '\\') << i;
    }
    return m;
}

int
main(void)
{
    static const char edges[] = "\"\\\x00\x01\x1f !#[]^\x7f\x80\x81\xff\xa2\xdc";
    bool equal = true, wide = true, special = true;
    char text[JSON_BLOCK_BYTES + 1];
    struct rng rng;

    rng_init(&rng, 1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char *at = text + round % 2; /* aligned and not */
        char byte = edges[rng_below(&rng, sizeof(edges) - 1)];
        struct masks m;
        for (unsigned i = 0; i < JSON_BLOCK_BYTES; i++) {
            at[i] = rng_below(&rng, 2) == 0 ? edges[rng_below(&rng, sizeof(edges) - 1)]
                                            : (char)rng_below(&rng, 256);
        }
        m = slow(at, byte);
        equal = equal && json_block_equal(at, byte) == m.equal &&
                json_block_equal_words(at, byte) == m.equal;
        wide = wide && json_block_wide(at) == m.wide && json_block_wide_words(at) == m.wide;
        special = special && json_block_special(at) == m.special &&
                  json_block_special_words(at) == m.special;
    }
    CHECK(equal, "bytes that are the one looked for");
    CHECK(wide, "bytes outside ASCII");
    CHECK(special, "bytes that are no plain text of a string");
    return tap_done();
}
