/* schema - reading a tree by tables; see schema.h. A reader never stops at the first problem: what
 * it cannot read keeps its default, and the caller looks at problems->errors at the end. */
#include "wire/schema.h"

#include <inttypes.h>
#include <stdio.h>

#define KEYS_IN_TABLE_MAX  32u
#define PART_BYTES_MIN     3u
#define VALUE_BYTES_MAX    4096u /* of a scalar with its variables filled in */
#define VARIABLE_BYTES_MAX 128u  /* of a variable's name */
#define SHOWN_BYTES_MAX    60u   /* of a value in an error text */

static int
shown(struct span text)
{
    return (int)(text.bytes < SHOWN_BYTES_MAX ? text.bytes : SHOWN_BYTES_MAX);
}

void
schema_out_of_memory(struct schema_reader *r, const struct yaml_tree_node *node)
{
    config_problem(r->problems, node != NULL ? node->line : 1, node != NULL ? node->column : 1,
                   false, "this file needs more memory than it may have");
}

/* ---- Variables. */

struct writer {
    char text[VALUE_BYTES_MAX];
    size_t bytes;
    bool full;
};

static void
writer_add(struct writer *w, struct span s)
{
    if (w->full || s.bytes > VALUE_BYTES_MAX - w->bytes) {
        w->full = true;
        return;
    }
    if (s.bytes > 0)
        memcpy(w->text + w->bytes, s.data, s.bytes);
    w->bytes += s.bytes;
}

static bool
is_variable(struct span name)
{
    for (size_t i = 0; i < name.bytes; i++) {
        char c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return name.bytes > 0 && name.bytes < VARIABLE_BYTES_MAX;
}

/* What stands between the braces of ${...}: its value. False: a problem was told. */
static bool
variable_value(struct schema_reader *r, const struct yaml_tree_node *node, struct span inside,
               struct span *ret_value)
{
    size_t colon = span_find(inside, ':');
    struct span name = {inside.data, colon}, rest = span_from(inside, colon);
    bool has_default = span_starts(rest, SPAN_LIT(":-"));
    char text[VARIABLE_BYTES_MAX];
    const char *value;

    if (!is_variable(name) || (rest.bytes > 0 && !has_default)) {
        config_problem(r->problems, node->line, node->column, false,
                       "`${%.*s}` is no variable; write ${NAME} or ${NAME:-default}", shown(inside),
                       inside.data);
        return false;
    }
    span_copy(name, text, sizeof(text));
    value = r->env != NULL ? r->env(text, r->env_user) : NULL;
    if (value == NULL && !has_default) {
        config_problem(r->problems, node->line, node->column, false,
                       "the variable %s is not set; set it, or write ${%s:-default}", text, text);
        return false;
    }
    /* as in a shell, :- also replaces a variable that is set to nothing */
    *ret_value = value != NULL && (value[0] != '\0' || !has_default) ? span_of(value)
                                                                     : span_from(rest, 2);
    for (size_t i = 0; i < ret_value->bytes; i++) {
        if ((unsigned char)ret_value->data[i] < 0x20 || ret_value->data[i] == 0x7f) {
            config_problem(r->problems, node->line, node->column, false,
                           "a line break or a control character in the variable %s", text);
            return false;
        }
    }
    return true;
}

static void
scalar_substitute(struct schema_reader *r, struct yaml_tree_node *node)
{
    struct writer w;
    struct span left = node->text, value;

    if (strstr(node->text.data, "${") == NULL)
        return;
    w.bytes = 0;
    w.full = false;
    while (left.bytes > 0) {
        size_t dollar = span_find(left, '$'), end;
        struct span inside;

        writer_add(&w, (struct span){left.data, dollar});
        left = span_from(left, dollar);
        if (!span_starts(left, SPAN_LIT("${"))) {
            writer_add(&w, (struct span){left.data, left.bytes > 0});
            left = span_from(left, 1);
            continue;
        }
        end = span_find(left, '}');
        inside = span_from((struct span){left.data, end}, 2);
        if (end == left.bytes || !variable_value(r, node, inside, &value)) {
            if (end == left.bytes)
                config_problem(r->problems, node->line, node->column, false,
                               "`${` without its `}`");
            node->type = YAML_TREE_BAD;
            return;
        }
        writer_add(&w, value);
        left = span_from(left, end + 1);
    }
    node->substituted = true;
    if (w.full) {
        config_problem(r->problems, node->line, node->column, false,
                       "a value of more than %u bytes", VALUE_BYTES_MAX);
        node->type = YAML_TREE_BAD;
    } else if (arena_copy(r->arena, (struct span){w.text, w.bytes}, &node->text) != ERR_OK) {
        schema_out_of_memory(r, node);
    }
}

void
schema_substitute(struct schema_reader *r, struct yaml_tree_node *node)
{
    if (node->type == YAML_TREE_SCALAR)
        scalar_substitute(r, node);
    for (struct yaml_tree_node *n = node->first; n != NULL; n = n->next)
        schema_substitute(r, n); /* as deep as the tree: CONFIG_DEPTH_MAX */
}

/* ---- Mappings. */

/* The first name of which the key is a part, as `pin` is of `url_pin`; what is shorter than that is
 * a part of too much. NULL: there is none. */
static const char *
whole_of(struct span key, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count && key.bytes >= PART_BYTES_MIN; i++) {
        struct span rest = span_of(names[i]);

        for (; rest.bytes >= key.bytes; rest = span_from(rest, 1)) {
            if (span_starts(rest, key))
                return names[i];
        }
    }
    return NULL;
}

static void
unknown_key(struct schema_reader *r, const struct schema_key *keys,
            const struct yaml_tree_node *node)
{
    const char *names[KEYS_IN_TABLE_MAX], *nearest;
    size_t count = 0;

    while (keys[count].name != NULL && count < KEYS_IN_TABLE_MAX) {
        names[count] = keys[count].name;
        count++;
    }
    nearest = config_nearest(node->key, names, count);
    if (nearest == NULL)
        nearest = whole_of(node->key, names, count);
    if (nearest != NULL)
        config_problem(r->problems, node->key_line, node->key_column, false,
                       "unknown key `%.*s`; did you mean `%s`?", shown(node->key), node->key.data,
                       nearest);
    else
        config_problem(r->problems, node->key_line, node->key_column, false, "unknown key `%.*s`",
                       shown(node->key), node->key.data);
}

void
schema_read(struct schema_reader *r, const struct schema_key *keys, const char *name,
            const struct yaml_tree_node *node, void *base)
{
    if (node->type == YAML_TREE_BAD)
        return;
    if (node->type != YAML_TREE_MAPPING) {
        config_problem(r->problems, node->line, node->column, false,
                       "%s must be keys with values (`key: value`)", name);
        return;
    }
    for (const struct yaml_tree_node *n = node->first; n != NULL; n = n->next) {
        const struct schema_key *key = keys;

        if (n->duplicate)
            continue;
        while (key->name != NULL && !span_eq_text(n->key, key->name))
            key++;
        if (key->name == NULL)
            unknown_key(r, keys, n);
        else if (n->type != YAML_TREE_BAD)
            key->read(r, key, n, base);
    }
}

void
schema_bad_value(struct schema_reader *r, const struct schema_key *key,
                 const struct yaml_tree_node *node, const char *wanted)
{
    struct span text = node->text;

    /* the text of a variable may be a secret */
    if (node->substituted)
        text = SPAN_LIT("${...}");
    config_problem(r->problems, node->line, node->column, false,
                   "%s: `%.*s` is not %s; write for example `%s: %s`", key->name, shown(text),
                   text.data, wanted, key->name, key->example);
}

bool
schema_is_scalar(struct schema_reader *r, const struct schema_key *key,
                 const struct yaml_tree_node *node)
{
    if (node->type == YAML_TREE_SCALAR && node->text.bytes > 0)
        return true;
    if (node->type == YAML_TREE_SCALAR)
        config_problem(r->problems, node->line, node->column, false,
                       "%s has no value; write for example `%s: %s`", key->name, key->name,
                       key->example);
    else if (node->type != YAML_TREE_BAD)
        config_problem(r->problems, node->line, node->column, false,
                       "%s takes one value; write for example `%s: %s`", key->name, key->name,
                       key->example);
    return false;
}

/* ---- Readers. */

static void *
member(const struct schema_key *key, void *base)
{
    return (char *)base + key->offset;
}

void
schema_mapping(struct schema_reader *r, const struct schema_key *key,
               const struct yaml_tree_node *node, void *base)
{
    schema_read(r, key->keys, key->name, node, member(key, base));
}

void
schema_unbuilt(struct schema_reader *r, const struct schema_key *key,
               const struct yaml_tree_node *node, void *base)
{
    (void)base;
    r->unbuilt = true;
    config_problem(r->problems, node->key_line, node->key_column, true,
                   "`%s` belongs to a part that is not built yet: a gateway does not start with it",
                   key->name);
}

void
schema_name(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, void *base)
{
    struct span *ret = member(key, base);

    if (!schema_is_scalar(r, key, node))
        return;
    if (config_is_name(node->text))
        *ret = node->text;
    else
        schema_bad_value(r, key, node, "a name of 1 to 63 of a-z, 0-9 and -");
}

void
schema_path(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, void *base)
{
    const struct span prefix = SPAN_LIT("file:");
    struct span *ret = member(key, base), path = node->text;

    if (!schema_is_scalar(r, key, node))
        return;
    if (span_starts(path, prefix))
        path = span_from(path, prefix.bytes);
    if (path.bytes == 0)
        schema_bad_value(r, key, node, "the path of a file");
    else
        *ret = path;
}

void
schema_file(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, void *base)
{
    if (!schema_is_scalar(r, key, node))
        return;
    if (span_starts(node->text, SPAN_LIT("file:")))
        schema_path(r, key, node, base);
    else
        schema_bad_value(r, key, node, "file: and a path");
}

/* A number of base units that has been read: in range? */
static bool
in_range(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
         uint64_t value)
{
    if (value >= key->min && value <= key->max)
        return true;
    config_problem(r->problems, node->line, node->column, false,
                   "%s: `%.*s` is too %s; write for example `%s: %s`", key->name, shown(node->text),
                   node->text.data, value < key->min ? "small" : "large", key->name, key->example);
    return false;
}

void
schema_duration_ns(struct schema_reader *r, const struct schema_key *key,
                   const struct yaml_tree_node *node, void *base)
{
    uint64_t *ret = member(key, base), ns;

    if (!schema_is_scalar(r, key, node))
        return;
    if (config_duration(node->text, &ns) != ERR_OK)
        schema_bad_value(r, key, node, "a duration (a whole number and us, ms, s, m or h)");
    else if (in_range(r, key, node, ns))
        *ret = ns;
}

void
schema_duration_ms(struct schema_reader *r, const struct schema_key *key,
                   const struct yaml_tree_node *node, void *base)
{
    double *ret = member(key, base);
    uint64_t ns = 0;

    schema_duration_ns(
        r,
        &(struct schema_key){
            .name = key->name, .example = key->example, .min = key->min, .max = key->max},
        node, &ns);
    if (ns > 0)
        *ret = (double)ns / 1e6;
}

void
schema_size(struct schema_reader *r, const struct schema_key *key,
            const struct yaml_tree_node *node, void *base)
{
    uint64_t *ret = member(key, base), bytes;

    if (!schema_is_scalar(r, key, node))
        return;
    if (config_size(node->text, &bytes) != ERR_OK)
        schema_bad_value(r, key, node, "a size (a whole number and B, KiB, MiB, GiB or TiB)");
    else if (in_range(r, key, node, bytes))
        *ret = bytes;
}

void
schema_u64(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
           void *base)
{
    uint64_t *ret = member(key, base), value;

    if (!schema_is_scalar(r, key, node))
        return;
    if (span_u64(node->text, &value) != ERR_OK)
        schema_bad_value(r, key, node, "a whole number");
    else if (in_range(r, key, node, value))
        *ret = value;
}

void
schema_u32(struct schema_reader *r, const struct schema_key *key, const struct yaml_tree_node *node,
           void *base)
{
    uint32_t *ret = member(key, base);
    uint64_t value = *ret;

    schema_u64(r,
               &(struct schema_key){
                   .name = key->name, .example = key->example, .min = key->min, .max = key->max},
               node, &value);
    *ret = (uint32_t)value;
}
