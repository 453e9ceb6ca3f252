#ifndef SIM_TRACE_BUILDER_H
#define SIM_TRACE_BUILDER_H
/* trace_builder - a trace while it is being read, and the readers of the forms. Only for trace*.c.
 */
#include "sim/trace.h"

struct trace_builder {
    struct trace trace;
    const struct trace_options *options;
    size_t request_room, block_room;
};

/* Add a request that has no blocks yet. Tokens of 0 become 1: an empty answer cost a request all
 * the same. Errors are told about the last line of f. */
MUST_USE enum err trace_builder_request(struct trace_builder *b, struct data_file *f, double at_ms,
                                        uint32_t prompt_tokens, uint32_t output_tokens);
/* Add a block to the last request: `id` says what is in it; the chain is made here. */
MUST_USE enum err trace_builder_block(struct trace_builder *b, struct data_file *f, uint64_t id);
/* Hash of a block behind another (0: the first one). */
uint64_t trace_builder_chain(uint64_t before, uint64_t id);
/* Sort by time, equal times in their order, and count from the first one unless it was drawn. */
MUST_USE enum err trace_builder_sort(struct trace_builder *b);

/* One reader a form. Each reads f to its end. */
MUST_USE enum err trace_azure_read(struct trace_builder *b, struct data_file *f);
MUST_USE enum err trace_mooncake_read(struct trace_builder *b, struct data_file *f);
/* Sessions out of prefixes, once the requests are sorted. */
MUST_USE enum err trace_mooncake_sessions(struct trace_builder *b);
/* Draws the window of b->options itself. */
MUST_USE enum err trace_servegen_read(struct trace_builder *b, struct data_file *rates,
                                      struct data_file *lengths);
#endif
