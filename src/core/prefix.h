#ifndef CORE_PREFIX_H
#define CORE_PREFIX_H
/* prefix - which nodes still hold the beginning of a prompt in their prefix cache.
 *
 * A prompt is cut at fixed borders of its canonical text: each KiB up to 64 KiB, then each 4 KiB up
 * to 192 KiB, then each 16 KiB. Who parses the request hashes it once and gives a chain of keyed
 * hashes, one per border it reaches (struct prefix_chain). */
#include <stdint.h>

#include "core/event.h"

/* Bytes of text before the end of border i (0 ..). i < PREFIX_BORDERS_MAX. */
static inline uint32_t
prefix_border_bytes(uint32_t i)
{
    if (i < 64)
        return (i + 1) * 1024;
    if (i < 96)
        return 65536 + (i - 63) * 4096;
    return 196608 + (i - 95) * 16384;
}
#endif
