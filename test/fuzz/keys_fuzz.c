/* keys_fuzz - any bytes as a key file. */
#include "base/must.h"
#include "wire/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct config_problems problems;
    struct arena arena;
    struct keys keys;

    arena_init(&arena, 16u << 20);
    if (keys_parse((struct span){(const char *)data, bytes}, &arena, &keys, &problems) == ERR_OK) {
        for (size_t i = 1; i < keys.count; i++)
            must(memcmp(keys.list[i - 1].sha256, keys.list[i].sha256, KEY_SHA256_BYTES) < 0);
        (void)keys_find(&keys, SPAN_LIT("abc"));
    } else {
        must(problems.errors > 0 && problems.count > 0);
    }
    arena_fini(&arena);
    return 0;
}
