#ifndef WIRE_SCHEMA_H
#define WIRE_SCHEMA_H
/* schema - tables that say which keys a mapping may have, how each is read and where it goes in a
 * struct. What is not in the table is an error with the nearest name; what is wrong says where,
 * what, and what to write instead. Used by config and keys. */
#include "wire/yaml_tree.h"

struct schema_reader {
    struct arena *arena;
    struct config_problems *problems;
    config_env_fn *env; /* NULL: no variable is set */
    void *env_user;
    bool unbuilt; /* a key of a part that is not built yet was seen */
};

struct schema_key;
/* Reads node, a value of *key, into *base. */
typedef void schema_read_fn(struct schema_reader *r, const struct schema_key *key,
                            const struct yaml_tree_node *node, void *base);

/* A row. The table ends with name == NULL. */
struct schema_key {
    const char *name;
    schema_read_fn *read;
    size_t offset;                 /* of the member in *base */
    const char *example;           /* a value that would be right */
    uint64_t min, max;             /* of a number, in its base unit */
    const struct schema_key *keys; /* of schema_mapping */
};

/* Replace ${VAR} and ${VAR:-default} in every scalar below node. */
void schema_substitute(struct schema_reader *r, struct yaml_tree_node *node);
/* Read node, which should be a mapping, by the table into *base. name: what to call it. */
void schema_read(struct schema_reader *r, const struct schema_key *keys, const char *name,
                 const struct yaml_tree_node *node, void *base);
/* The error that a value is not what its key wants. */
void schema_bad_value(struct schema_reader *r, const struct schema_key *key,
                      const struct yaml_tree_node *node, const char *wanted);
/* The error that the arena is full. node may be NULL. */
void schema_out_of_memory(struct schema_reader *r, const struct yaml_tree_node *node);
/* Is node a scalar with something in it? If not, tell it. */
bool schema_is_scalar(struct schema_reader *r, const struct schema_key *key,
                      const struct yaml_tree_node *node);

/* ---- Readers: what they write at base + offset. */
schema_read_fn schema_mapping;     /* by key->keys, into the struct at base + offset */
schema_read_fn schema_unbuilt;     /* nothing: a warning, r->unbuilt */
schema_read_fn schema_name;        /* struct span: [a-z0-9-]{1,63} */
schema_read_fn schema_path;        /* struct span: PATH or file:PATH, the path */
schema_read_fn schema_file;        /* struct span: file:PATH, the path */
schema_read_fn schema_duration_ns; /* uint64_t, min..max ns */
schema_read_fn schema_duration_ms; /* double, min..max ns */
schema_read_fn schema_size;        /* uint64_t, min..max bytes */
schema_read_fn schema_u32;         /* uint32_t, min..max */
schema_read_fn schema_u64;         /* uint64_t, min..max */
#endif
