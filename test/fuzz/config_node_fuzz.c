/* config_node_fuzz - any bytes as a node's configuration: every problem has a place and words, and
 * what was read without errors keeps its promises. */
#include "base/must.h"
#include "wire/config_node.h"

#define ARENA_BYTES (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct config_problems problems;
    struct span text = {(const char *)data, bytes};
    static struct config_node node;
    struct arena arena;
    enum err err;

    arena_init(&arena, ARENA_BYTES);
    (void)config_node_is(text, &arena);
    err = config_node_parse(text, NULL, NULL, &arena, &node, &problems);
    must((err == ERR_OK) == (problems.errors == 0));
    for (size_t i = 0; i < problems.count; i++)
        must(problems.list[i].line > 0 && problems.list[i].column > 0 &&
             problems.list[i].text[0] != '\0');
    if (err == ERR_OK) {
        must(node.key_file.bytes > 0 && node.base.gateway_count <= DIRECTIVE_GATEWAYS_MAX);
        for (size_t i = 0; i < node.base.gateway_count; i++)
            must(config_is_name(node.base.gateways[i].name));
        for (size_t i = 1; i < node.labels.count; i++)
            must(!span_eq(node.labels.list[i - 1].name, node.labels.list[i].name));
    }
    arena_fini(&arena);
    return 0;
}
