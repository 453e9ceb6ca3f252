/* keys_fuzz - any bytes as a key file. */
#include "base/must.h"
#include "wire/keys.h"

#define LINES_MAX 8u

/* What can be read can be written, but for names of models with odd characters, and says the same.
 */
static void
write_again(const struct key_entry *e, struct arena *arena)
{
    static struct config_problems problems;
    struct span line, text;
    struct keys again;

    if (keys_line(e, arena, &line) != ERR_OK)
        return;
    if (arena_printf(arena, &text, "keys:\n%.*s", (int)line.bytes, line.data) != ERR_OK)
        return;
    must(keys_parse(text, arena, &again, &problems) == ERR_OK && again.count == 1);
    must(again.list[0].best == e->best && again.list[0].expires_s == e->expires_s &&
         again.list[0].preferences == e->preferences &&
         again.list[0].model_count == e->model_count);
}

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
        for (size_t i = 0; i < keys.count && i < LINES_MAX; i++)
            write_again(&keys.list[i], &arena);
    } else {
        must(problems.errors > 0 && problems.count > 0);
    }
    arena_fini(&arena);
    return 0;
}
