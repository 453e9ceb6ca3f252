#ifndef WIRE_OPENAI_PREFIX_H
#define WIRE_OPENAI_PREFIX_H
/* openai_prefix - the beginning of a request's prompt as a chain of keyed hashes (core/prefix.h):
 * two requests have as many equal ones as their canonical texts have borders in common.
 *
 * Canonical text: the tools as written; then for each message its role, its text, its tool calls,
 * whatever the order of keys, unescaped, however it is split into parts. What is no text (an image)
 * stands for itself by a hash. A prompt that is tokens is these numbers. It ends where openai_text
 * keeps no more pieces. */
#include "base/hash.h"
#include "core/prefix.h"
#include "wire/openai.h"

/* The key decides who can compare: one for a tenant, or one for a whole network. */
void openai_prefix(const struct openai_request *r, struct hash_key key,
                   struct prefix_chain *ret_chain);
#endif
