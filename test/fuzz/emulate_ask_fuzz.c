/* emulate_ask_fuzz - bodies for each kind of emulated server: what is understood fits the engine.
 * The first byte chooses the server and the route. */
#include <stdint.h>
#include <stdlib.h>

#include "base/must.h"
#include "role/emulate/emulate_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One fleet for the whole run: making it is not what is tried here. */
static struct emulate_node *
node_at(uint32_t index)
{
    static struct emulate_fleet fleet;
    static struct emulate_node nodes[60];

    if (fleet.node_count == 0) {
        struct emulate_options o;

        emulate_options_init(&o);
        must(emulate_fleet_init(&fleet, &o) == ERR_OK);
        for (uint32_t i = 0; i < fleet.node_count; i++) {
            nodes[i].plan = &fleet.nodes[i];
            must(emulate_fleet_engine(nodes[i].plan, &nodes[i].engine) == ERR_OK);
        }
    }
    return &nodes[index % fleet.node_count];
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct emulate_inference in = {0};
    struct emulate_node *node;
    char model[EMULATE_ID_BYTES_MAX];
    struct span body;

    if (size == 0)
        return 0;
    node = node_at(data[0] / 2);
    body = (struct span){(const char *)data + 1, size - 1};
    if (emulate_ask(node, body, data[0] % 2 == 0, &in, model, sizeof(model)) == ERR_OK) {
        struct engine_request request = {
            .id = 1,
            .model = in.model,
            .prompt_tokens = in.prompt_tokens,
            .output_tokens = in.output_tokens,
            .blocks = in.blocks,
            .block_count = in.block_count,
        };

        must(in.prompt_tokens >= 1 && in.output_tokens >= 1);
        must(in.block_count <= in.prompt_tokens / ENGINE_BLOCK_TOKENS);
        must(engine_submit(node->engine, 0, &request) == ERR_OK);
        engine_cancel(node->engine, 0, 1);
    }
    free(in.blocks);
    return 0;
}
