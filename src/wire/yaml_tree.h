#ifndef WIRE_YAML_TREE_H
#define WIRE_YAML_TREE_H
/* yaml_tree - a YAML document as a tree that remembers where everything stands. Only the plain part
 * of YAML is taken: scalars of one line, sequences, mappings with scalar keys. Anchors, aliases,
 * tags, several documents and duplicate keys are problems, not surprises. Used by config and keys.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/span.h"
#include "wire/config.h"

#define YAML_TREE_NODES_MAX 2097152u
#define YAML_TREE_KEYS_MAX  1024u /* keys of one mapping */

enum yaml_tree_type {
    YAML_TREE_SCALAR,
    YAML_TREE_SEQUENCE,
    YAML_TREE_MAPPING,
    YAML_TREE_BAD /* a problem was told already: say nothing more about it */
};

struct yaml_tree_node {
    enum yaml_tree_type type;
    bool plain;            /* a scalar without quotes */
    bool duplicate;        /* its key stood before, and this was told: not to be read */
    bool substituted;      /* ${...} was in it: set by schema_substitute */
    uint32_t line, column; /* 1-based */
    struct span text;      /* of a scalar; ends in a zero that is not counted */
    struct span key;       /* in a mapping: what stands before the colon */
    uint32_t key_line, key_column;
    uint32_t count; /* children */
    struct yaml_tree_node *first, *last, *next;
};

/* Read a document into arena. *ret_root is NULL when it is empty. Problems are added. ERR_PARSE: it
 * could not be read to its end; ERR_FULL: the arena (a problem says so). */
MUST_USE enum err yaml_tree_parse(struct span text, struct arena *arena,
                                  struct config_problems *problems,
                                  struct yaml_tree_node **ret_root);
/* The child of a mapping with this key, or NULL (also for other types and NULL). */
const struct yaml_tree_node *yaml_tree_get(const struct yaml_tree_node *mapping, const char *key);
#endif
