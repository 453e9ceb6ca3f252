/* hash_test - SipHash-1-3 against values made by two other implementations: the Rust standard
 * library's vectors (key 00 01 .. 0f, message 00 01 02 ..) and CPython's str hash (key zero). */
#include "base/hash.h"
#include "tap.h"

static const struct hash_key counting = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

/* One row: the hash of the bytes 0, 1, .., bytes - 1 under `counting`. */
static const struct {
    size_t bytes;
    uint64_t hash;
} counted[] = {
    {0, 0xabac0158050fc4dcu},  {1, 0xc9f49bf37d57ca93u},  {2, 0x82cb9b024dc7d44du},
    {3, 0x8bf80ab8e7ddf7fbu},  {4, 0xcf75576088d38328u},  {5, 0xdef9d52f49533b67u},
    {6, 0xc50d2b50c59f22a7u},  {7, 0xd3927d989bb11140u},  {8, 0x369095118d299a8eu},
    {9, 0x25a48eb36c063de4u},  {15, 0xd320d86d2a519956u}, {16, 0xcc4fdd1a7d908b66u},
    {31, 0x2370dd1f8c21d1bcu}, {63, 0x9d199062b7bbb3a8u},
};

static const struct {
    const char *text;
    uint64_t hash;
} texts[] = {
    {"a", 0x407448d2b89b1813u},
    {"abcdefg", 0x6db12aae9070f506u},
    {"abcdefgh", 0x3f7b849c0b8e35eau},
    {"The quick brown fox jumps over the lazy dog", 0x8df676d3d00c451eu},
};

int
main(void)
{
    unsigned char message[65];
    uint64_t in_parts;

    for (size_t i = 0; i < sizeof(message); i++)
        message[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof(counted) / sizeof(counted[0]); i++) {
        char label[32];
        snprintf(label, sizeof(label), "siphash of %zu bytes", counted[i].bytes);
        CHECK(hash_bytes(counting, message, counted[i].bytes) == counted[i].hash, label);
    }
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct hash_key zero = {0, 0};
        CHECK(hash_span(zero, span_of(texts[i].text)) == texts[i].hash, texts[i].text);
        CHECK(hash_span(counting, span_of(texts[i].text)) != texts[i].hash, "the key matters");
    }
    for (size_t i = 0; i < sizeof(message); i++) /* the same bytes, one further: 0, 0, 1, 2, .. */
        message[i] = (unsigned char)(i == 0 ? 0 : i - 1);
    CHECK(hash_bytes(counting, message + 1, 63) == counted[13].hash, "unaligned bytes");
    CHECK(hash_bytes(counting, NULL, 0) == counted[0].hash, "no bytes at no address");

    /* FNV-1a, 64 bit: from the tables of its authors. */
    CHECK(hash_fnv(HASH_FNV_START, "", 0) == 0xcbf29ce484222325u, "fnv of nothing");
    CHECK(hash_fnv(HASH_FNV_START, "a", 1) == 0xaf63dc4c8601ec8cu, "fnv of a");
    CHECK(hash_fnv(HASH_FNV_START, "foobar", 6) == 0x85944171f73967e8u, "fnv of foobar");
    in_parts = hash_fnv(hash_fnv(HASH_FNV_START, "foo", 3), "bar", 3);
    CHECK(in_parts == 0x85944171f73967e8u, "fnv goes on from a start");
    return tap_done();
}
