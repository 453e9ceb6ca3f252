/* config_fuzz - any bytes as a configuration: every problem has a place and words, and what was
 * read without errors can be written out and read again. */
#include "base/must.h"
#include "wire/config.h"

#define ARENA_BYTES (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const char *
environment(const char *name, void *user)
{
    (void)user;
    return name[0] == 'A' ? "a" : NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct config_problems problems;
    struct arena arena;
    struct config config, again;
    struct span yaml;
    enum err err;

    arena_init(&arena, ARENA_BYTES);
    err = config_parse((struct span){(const char *)data, bytes}, environment, NULL, &arena, &config,
                       &problems);
    must((err == ERR_OK) == (problems.errors == 0));
    for (size_t i = 0; i < problems.count; i++)
        must(problems.list[i].line > 0 && problems.list[i].column > 0 &&
             problems.list[i].text[0] != '\0');
    if (err == ERR_OK && config_dump(&config, &arena, &yaml) == ERR_OK) {
        must(config_parse(yaml, NULL, NULL, &arena, &again, &problems) == ERR_OK);
        must(config.engine_count == again.engine_count && config.model_count == again.model_count);
        must(config.first_byte_ns == again.first_byte_ns && config.rule == again.rule);
    }
    arena_fini(&arena);
    return 0;
}
