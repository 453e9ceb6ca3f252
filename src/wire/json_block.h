#ifndef WIRE_JSON_BLOCK_H
#define WIRE_JSON_BLOCK_H
/* json_block - sixteen bytes of a string looked at in one go. Every look gives a mask, of which bit
 * i speaks of at[i]. With SSE2, which every x86-64 has; elsewhere eight bytes at a time in a word
 * (little-endian, as the records are), which is always compiled, so that tests see it too. */
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define JSON_BLOCK_BYTES 16u

#define JSON_BLOCK_ONES 0x0101010101010101u
#define JSON_BLOCK_HIGH 0x8080808080808080u

static inline uint64_t
json_block_word(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return word;
}

/* The high bit of each byte of a word, next to each other. */
static inline unsigned
json_block_gather(uint64_t word)
{
    return (unsigned)(((word & JSON_BLOCK_HIGH) >> 7) * 0x0102040810204080u >> 56);
}

/* The high bit of each byte that is zero. No borrow from one byte to the next: exact. */
static inline uint64_t
json_block_zeros(uint64_t word)
{
    return ~(((word & ~JSON_BLOCK_HIGH) + ~JSON_BLOCK_HIGH) | word) & JSON_BLOCK_HIGH;
}

static inline unsigned
json_block_equal_words(const char *at, char byte)
{
    const uint64_t all = JSON_BLOCK_ONES * (unsigned char)byte;

    return json_block_gather(json_block_zeros(json_block_word(at) ^ all)) |
           json_block_gather(json_block_zeros(json_block_word(at + 8) ^ all)) << 8;
}

static inline unsigned
json_block_wide_words(const char *at)
{
    return json_block_gather(json_block_word(at)) | json_block_gather(json_block_word(at + 8)) << 8;
}

static inline unsigned
json_block_special_words(const char *at)
{
    unsigned mask = json_block_equal_words(at, '"') | json_block_equal_words(at, '\\');

    for (unsigned i = 0; i < 2; i++) { /* controls: nothing above the five lower bits */
        uint64_t word = json_block_word(at + i * 8);
        uint64_t controls = json_block_zeros(word & JSON_BLOCK_ONES * 0xe0u);
        mask |= json_block_gather(controls | word) << i * 8;
    }
    return mask;
}

/* Which bytes are this one? */
static inline unsigned
json_block_equal(const char *at, char byte)
{
#ifdef __SSE2__
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)at);

    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8(byte)));
#else
    return json_block_equal_words(at, byte);
#endif
}

/* Which are outside ASCII? */
static inline unsigned
json_block_wide(const char *at)
{
#ifdef __SSE2__
    return (unsigned)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)at));
#else
    return json_block_wide_words(at);
#endif
}

/* Which are no plain text of a string: quotes, backslashes, control characters, what is outside
 * ASCII? */
static inline unsigned
json_block_special(const char *at)
{
#ifdef __SSE2__
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('"')),
                                _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));

    /* signed: below ' ' are the controls and all of 0x80..0xff */
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(stop, _mm_cmplt_epi8(x, _mm_set1_epi8(' '))));
#else
    return json_block_special_words(at);
#endif
}
#endif
