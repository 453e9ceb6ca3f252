/* yaml_tree - libyaml's events put together to a tree; see yaml_tree.h. The stack is our own and as
 * deep as CONFIG_DEPTH_MAX: events are asked for one by one, so a hostile document is left as soon
 * as it passes a limit. */
#include "wire/yaml_tree.h"

#include <yaml.h>

struct builder {
    struct arena *arena;
    struct config_problems *problems;
    struct yaml_tree_node *root;
    struct yaml_tree_node *stack[CONFIG_DEPTH_MAX];
    uint32_t depth, nodes, documents;
    bool has_key; /* the key of the next child of a mapping is known */
    bool duplicate;
    struct span key;
    uint32_t key_line, key_column;
};

static uint32_t
line_of(yaml_mark_t mark)
{
    return (uint32_t)mark.line + 1;
}

static uint32_t
column_of(yaml_mark_t mark)
{
    return (uint32_t)mark.column + 1;
}

static enum err
out_of_memory(struct builder *b, yaml_mark_t mark)
{
    config_problem(b->problems, line_of(mark), column_of(mark), false,
                   "this file needs more memory than it may have");
    return ERR_FULL;
}

/* Why libyaml stopped. Of bytes that are no text it gives only the offset. */
static enum err
syntax_problem(struct builder *b, const yaml_parser_t *parser, struct span text)
{
    const char *what = parser->problem != NULL ? parser->problem : "unreadable";
    yaml_mark_t mark = parser->problem_mark;

    if (parser->error == YAML_MEMORY_ERROR)
        return out_of_memory(b, mark);
    if (parser->error == YAML_READER_ERROR) {
        mark = (yaml_mark_t){0, 0, 0};
        for (size_t i = 0; i < parser->problem_offset && i < text.bytes; i++) {
            mark.column = text.data[i] == '\n' ? 0 : mark.column + 1;
            mark.line += text.data[i] == '\n';
        }
    }
    config_problem(b->problems, line_of(mark), column_of(mark), false, "this is no YAML: %s%s%s",
                   what, parser->context != NULL ? ", " : "",
                   parser->context != NULL ? parser->context : "");
    return ERR_PARSE;
}

/* A new node at its place below the top of the stack. */
static enum err
node_add(struct builder *b, enum yaml_tree_type type, yaml_mark_t mark,
         struct yaml_tree_node **ret_node)
{
    struct yaml_tree_node *node, *parent = b->depth > 0 ? b->stack[b->depth - 1] : NULL;

    if (b->nodes == YAML_TREE_NODES_MAX || (node = arena_zeroed(b->arena, sizeof(*node))) == NULL)
        return out_of_memory(b, mark);
    b->nodes++;
    node->type = type;
    node->line = line_of(mark);
    node->column = column_of(mark);
    *ret_node = node;
    if (parent == NULL) {
        b->root = node;
        return ERR_OK;
    }
    if (parent->type == YAML_TREE_MAPPING) {
        node->key = b->key;
        node->key_line = b->key_line;
        node->key_column = b->key_column;
        node->duplicate = b->duplicate;
        b->has_key = false;
    }
    if (parent->last == NULL)
        parent->first = node;
    else
        parent->last->next = node;
    parent->last = node;
    parent->count++;
    return ERR_OK;
}

static bool
wants_key(const struct builder *b)
{
    return b->depth > 0 && b->stack[b->depth - 1]->type == YAML_TREE_MAPPING && !b->has_key;
}

static bool
has_control(struct span text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f)
            return true;
    }
    return false;
}

static enum err
key_take(struct builder *b, struct span key, yaml_mark_t mark)
{
    const struct yaml_tree_node *mapping = b->stack[b->depth - 1];

    if (mapping->count == YAML_TREE_KEYS_MAX) {
        config_problem(b->problems, line_of(mark), column_of(mark), false,
                       "more than %u keys in one place", YAML_TREE_KEYS_MAX);
        return ERR_PARSE;
    }
    b->duplicate = false;
    for (const struct yaml_tree_node *n = mapping->first; n != NULL && !b->duplicate; n = n->next) {
        b->duplicate = span_eq(n->key, key);
        if (b->duplicate)
            config_problem(b->problems, line_of(mark), column_of(mark), false,
                           "`%.*s` stands here twice; the first is on line %u",
                           (int)(key.bytes < 80 ? key.bytes : 80), key.data, n->key_line);
    }
    b->key = key;
    b->key_line = line_of(mark);
    b->key_column = column_of(mark);
    b->has_key = true;
    return ERR_OK;
}

/* A tag or an anchor: told, and otherwise as if it were not there. */
static void
refuse_marks(struct builder *b, const yaml_char_t *anchor, const yaml_char_t *tag, yaml_mark_t mark)
{
    if (anchor != NULL)
        config_problem(b->problems, line_of(mark), column_of(mark), false,
                       "anchors (`&%.60s`) are not used here: write the value out",
                       (const char *)anchor);
    if (tag != NULL)
        config_problem(b->problems, line_of(mark), column_of(mark), false,
                       "tags (`%.60s`) are not used here: write the plain value",
                       (const char *)tag);
}

static enum err
scalar_take(struct builder *b, const yaml_event_t *event)
{
    const struct span value = {(const char *)event->data.scalar.value, event->data.scalar.length};
    bool key = wants_key(b);
    struct yaml_tree_node *node;
    struct span text;
    enum err err;

    refuse_marks(b, event->data.scalar.anchor, event->data.scalar.tag, event->start_mark);
    if (arena_copy(b->arena, value, &text) != ERR_OK)
        return out_of_memory(b, event->start_mark);
    if (has_control(value))
        config_problem(b->problems, line_of(event->start_mark), column_of(event->start_mark), false,
                       "a line break or a control character in a %s", key ? "key" : "value");
    if (key)
        return key_take(b, text, event->start_mark);
    err = node_add(b, has_control(value) ? YAML_TREE_BAD : YAML_TREE_SCALAR, event->start_mark,
                   &node);
    if (err != ERR_OK)
        return err;
    node->text = text;
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return ERR_OK;
}

static enum err
collection_open(struct builder *b, enum yaml_tree_type type, yaml_mark_t mark)
{
    struct yaml_tree_node *node;
    enum err err;

    if (wants_key(b)) {
        config_problem(b->problems, line_of(mark), column_of(mark), false,
                       "a key must be a plain word");
        return ERR_PARSE;
    }
    if (b->depth == CONFIG_DEPTH_MAX) {
        config_problem(b->problems, line_of(mark), column_of(mark), false,
                       "nested deeper than %u levels", CONFIG_DEPTH_MAX);
        return ERR_PARSE;
    }
    err = node_add(b, type, mark, &node);
    if (err == ERR_OK)
        b->stack[b->depth++] = node;
    return err;
}

static enum err
alias_take(struct builder *b, const yaml_event_t *event)
{
    struct yaml_tree_node *node;

    config_problem(b->problems, line_of(event->start_mark), column_of(event->start_mark), false,
                   "aliases (`*%.60s`) are not used here: write the value out",
                   (const char *)event->data.alias.anchor);
    if (wants_key(b))
        return ERR_PARSE;
    return node_add(b, YAML_TREE_BAD, event->start_mark, &node);
}

static enum err
document_open(struct builder *b, yaml_mark_t mark)
{
    if (b->documents++ == 0)
        return ERR_OK;
    config_problem(b->problems, line_of(mark), column_of(mark), false,
                   "a second document begins here: one file is one document");
    return ERR_PARSE;
}

static enum err
event_take(struct builder *b, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return document_open(b, event->start_mark);
    case YAML_ALIAS_EVENT:
        return alias_take(b, event);
    case YAML_SCALAR_EVENT:
        return scalar_take(b, event);
    case YAML_SEQUENCE_START_EVENT:
        refuse_marks(b, event->data.sequence_start.anchor, event->data.sequence_start.tag,
                     event->start_mark);
        return collection_open(b, YAML_TREE_SEQUENCE, event->start_mark);
    case YAML_MAPPING_START_EVENT:
        refuse_marks(b, event->data.mapping_start.anchor, event->data.mapping_start.tag,
                     event->start_mark);
        return collection_open(b, YAML_TREE_MAPPING, event->start_mark);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return ERR_OK;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        break;
    }
    return ERR_OK;
}

enum err
yaml_tree_parse(struct span text, struct arena *arena, struct config_problems *problems,
                struct yaml_tree_node **ret_root)
{
    struct builder b = {.arena = arena, .problems = problems};
    yaml_parser_t parser;
    bool done = false;
    enum err err = ERR_OK;

    if (text.bytes > CONFIG_BYTES_MAX) {
        config_problem(problems, 1, 1, false, "the file has more than %u bytes", CONFIG_BYTES_MAX);
        return ERR_PARSE;
    }
    if (!yaml_parser_initialize(&parser))
        return out_of_memory(&b, (yaml_mark_t){0, 0, 0});
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.bytes);
    while (err == ERR_OK && !done) {
        yaml_event_t event;

        if (!yaml_parser_parse(&parser, &event)) {
            err = syntax_problem(&b, &parser, text);
            break;
        }
        err = event_take(&b, &event);
        done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (err == ERR_OK)
        *ret_root = b.root;
    return err;
}

const struct yaml_tree_node *
yaml_tree_get(const struct yaml_tree_node *mapping, const char *key)
{
    const struct yaml_tree_node *n = NULL;

    if (mapping != NULL && mapping->type == YAML_TREE_MAPPING)
        n = mapping->first;
    while (n != NULL && !span_eq_text(n->key, key))
        n = n->next;
    return n;
}
