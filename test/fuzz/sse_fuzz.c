/* sse_fuzz - the same stream whole and in pieces (the first byte says how large): the same data,
 * and the raws add up to the input. */
#include "wire/sse.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/must.h"

struct digest {
    uint64_t data, raw;
    size_t raw_bytes;
    bool partial;
};

static struct digest
digest_of(struct span stream, size_t piece_bytes)
{
    struct digest d = {.data = HASH_FNV_START, .raw = HASH_FNV_START};
    struct sse_reader r = {0};
    struct sse_event event;
    enum err err = ERR_AGAIN;

    for (size_t at = 0; at < stream.bytes && err == ERR_AGAIN; at += piece_bytes) {
        size_t left = stream.bytes - at, bytes = left < piece_bytes ? left : piece_bytes;
        char *piece = malloc(bytes);
        must(piece != NULL);
        memcpy(piece, stream.data + at, bytes);
        sse_reader_feed(&r, (struct span){piece, bytes});
        while ((err = sse_reader_next(&r, &event)) == ERR_OK) {
            d.raw = hash_fnv(d.raw, event.raw.data, event.raw.bytes);
            d.raw_bytes += event.raw.bytes;
            must(!event.comment_only || event.data.bytes == 0);
            if (!event.comment_only) {
                d.data = hash_fnv(d.data, event.data.data, event.data.bytes);
                d.data = hash_fnv(d.data, "", 1);
            }
        }
        free(piece);
    }
    must(err == ERR_AGAIN || stream.bytes == 0); /* inputs are below the limit */
    d.partial = sse_reader_partial(&r);
    sse_reader_fini(&r);
    return d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct span stream;
    struct digest whole, cut;

    if (bytes == 0)
        return 0;
    stream = (struct span){(const char *)data + 1, bytes - 1};
    whole = digest_of(stream, stream.bytes + 1);
    cut = digest_of(stream, (size_t)data[0] + 1);
    must(whole.data == cut.data);
    must(whole.raw == hash_fnv(HASH_FNV_START, stream.data, whole.raw_bytes));
    must(cut.raw == hash_fnv(HASH_FNV_START, stream.data, cut.raw_bytes));
    must(whole.partial == (whole.raw_bytes < stream.bytes));
    must(cut.partial == (cut.raw_bytes < stream.bytes));
    return 0;
}
