/* config_diff - two dumps as trees, walked side by side; see config_diff.h. Mappings are matched by
 * key, engines by name (sorted: there may be a hundred thousand), everything else by its text. */
#include "wire/config_diff.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/yaml_tree.h"

#define PATH_BYTES  160u
#define VALUE_BYTES 100u

/* What listeners, threads and tables are made from when a process starts. A name that ends with a
 * dot means all keys below it. */
static const char *const restart_keys[] = {
    "listen.public",
    "listen.admin",
    "region",
    "threads",
    "limits.body_bytes_max",
    "limits.buffers_bytes_max",
    "limits.buffers_bytes_per_key_max",
    "limits.upload_bytes_per_second_min",
    "limits.download_bytes_per_second_min",
    "limits.pace_grace",
    "limits.connections_per_address_max",
    "limits.holds_max",
    "name",
    "state",
    "bus.nats",
    "bus.nkey",
    "bus.user",
    "bus.password",
    "bus.ca",
};

/* The same of a node agent. */
static const char *const node_restart_keys[] = {
    "name",
    "key",
    "region",
    "state",
    "bus.",
    "listen.public",
    "listen.admin",
    "limits.body_bytes_max",
    "limits.buffers_bytes_max",
    "limits.buffers_bytes_per_key_max",
    "limits.upload_bytes_per_second_min",
    "limits.download_bytes_per_second_min",
    "limits.pace_grace",
    "limits.connections_per_address_max",
};

/* A text that is cut where its room ends; always ended by a zero. */
struct text {
    char *data;
    size_t bytes, room;
};

struct walk {
    config_diff_fn *fn;
    void *user;
    const char *const *restart_keys;
    size_t restart_key_count;
    const char *restart; /* words */
    struct text path;    /* of what is compared now */
    char path_bytes[PATH_BYTES];
};

/* ---- Words. */

static void add(struct text *t, const char *format, ...) PRINTF_LIKE(2, 3);
static void
add(struct text *t, const char *format, ...)
{
    va_list args;
    int bytes;

    va_start(args, format);
    bytes = vsnprintf(t->data + t->bytes, t->room - t->bytes, format, args);
    va_end(args);
    if (bytes > 0)
        t->bytes += (size_t)bytes < t->room - t->bytes ? (size_t)bytes : t->room - t->bytes - 1;
}

static void
add_span(struct text *t, struct span s)
{
    add(t, "%.*s", (int)(s.bytes < t->room ? s.bytes : t->room), s.data);
}

/* The node as one line of YAML. */
static void
add_node(struct text *t, const struct yaml_tree_node *n)
{
    bool list = n->type == YAML_TREE_SEQUENCE;

    if (n->type == YAML_TREE_SCALAR || n->type == YAML_TREE_BAD) {
        add_span(t, n->text);
        return;
    }
    add(t, list ? "[" : "{");
    for (const struct yaml_tree_node *c = n->first; c != NULL && t->bytes + 1 < t->room;
         c = c->next) {
        add(t, "%s", c != n->first ? ", " : "");
        if (!list) {
            add_span(t, c->key);
            add(t, ": ");
        }
        add_node(t, c);
    }
    add(t, list ? "]" : "}");
}

static void
text_of(const struct yaml_tree_node *n, char value[VALUE_BYTES])
{
    struct text t = {.data = value, .room = VALUE_BYTES};

    if (n == NULL)
        add(&t, "none");
    else
        add_node(&t, n);
}

static bool
needs_restart(const struct walk *w)
{
    const char *path = w->path.data;

    for (size_t i = 0; i < w->restart_key_count; i++) {
        const char *key = w->restart_keys[i];
        size_t bytes = strlen(key);
        bool all_below = key[bytes - 1] == '.';
        if (all_below ? strncmp(path, key, bytes) == 0 : strcmp(path, key) == 0)
            return true;
    }
    return false;
}

/* Tell a difference at the present path. */
static void say(struct walk *w, const char *format, ...) PRINTF_LIKE(2, 3);
static void
say(struct walk *w, const char *format, ...)
{
    char line[CONFIG_DIFF_TEXT_BYTES], what[2 * VALUE_BYTES + 16];
    struct text t = {.data = line, .room = sizeof(line)};
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    add(&t, "%s: %s%s", w->path.data, what, needs_restart(w) ? w->restart : "");
    w->fn(line, w->user);
}

static void
path_back(struct walk *w, size_t bytes)
{
    w->path.bytes = bytes;
    w->path.data[bytes] = '\0';
}

/* ---- Comparing. */

static void compare(struct walk *w, const struct yaml_tree_node *before,
                    const struct yaml_tree_node *after);

static const struct yaml_tree_node *
child_of(const struct yaml_tree_node *mapping, struct span key)
{
    for (const struct yaml_tree_node *n = mapping->first; n != NULL; n = n->next) {
        if (span_eq(n->key, key))
            return n;
    }
    return NULL;
}

/* The child n of a mapping and its other side, which may be missing. */
static void
compare_child(struct walk *w, const struct yaml_tree_node *before,
              const struct yaml_tree_node *after)
{
    bool things = strcmp(w->path.data, "models") == 0; /* those below are no settings */
    struct span key = before != NULL ? before->key : after->key;
    size_t bytes = w->path.bytes;

    if (bytes == 0 && span_eq_text(key, "engines"))
        return; /* matched by name, later */
    add(&w->path, things ? "[" : bytes > 0 ? "." : "");
    add_span(&w->path, key);
    add(&w->path, things ? "]" : "");
    if (things && (before == NULL || after == NULL))
        say(w, before == NULL ? "added" : "removed");
    else
        compare(w, before, after);
    path_back(w, bytes);
}

static void
compare_mappings(struct walk *w, const struct yaml_tree_node *before,
                 const struct yaml_tree_node *after)
{
    static const struct yaml_tree_node nothing = {.type = YAML_TREE_MAPPING};

    before = before != NULL ? before : &nothing;
    after = after != NULL ? after : &nothing;
    for (const struct yaml_tree_node *n = before->first; n != NULL; n = n->next)
        compare_child(w, n, child_of(after, n->key));
    for (const struct yaml_tree_node *n = after->first; n != NULL; n = n->next) {
        if (child_of(before, n->key) == NULL)
            compare_child(w, NULL, n);
    }
}

/* An engine in the tree and in the configuration, which has the credential. */
struct row {
    const struct yaml_tree_node *node;
    const struct config_engine *engine;
};

static int
by_name(const void *a, const void *b)
{
    struct span x = ((const struct row *)a)->engine->name,
                y = ((const struct row *)b)->engine->name;
    size_t bytes = x.bytes < y.bytes ? x.bytes : y.bytes;
    int order = bytes > 0 ? memcmp(x.data, y.data, bytes) : 0;

    return order != 0 ? order : (x.bytes > y.bytes) - (x.bytes < y.bytes);
}

/* The engines sorted by name; NULL: no memory. The dump has them in the order of the list. */
static struct row *
sorted(struct arena *arena, const struct config *config, const struct yaml_tree_node *root)
{
    const struct yaml_tree_node *list = yaml_tree_get(root, "engines");
    const struct yaml_tree_node *n = list != NULL ? list->first : NULL;
    struct row *rows = arena_take(arena, (config->engine_count + 1) * sizeof(*rows));

    for (size_t i = 0; rows != NULL && i < config->engine_count && n != NULL; i++, n = n->next)
        rows[i] = (struct row){n, &config->engines[i]};
    if (rows != NULL && config->engine_count > 1)
        qsort(rows, config->engine_count, sizeof(*rows), by_name);
    return rows;
}

static void
compare_engine(struct walk *w, const struct row *before, const struct row *after)
{
    const struct config_engine *engine = before != NULL ? before->engine : after->engine;
    bool both = before != NULL && after != NULL;

    add(&w->path, "engines[");
    add_span(&w->path, engine->name);
    add(&w->path, "]");
    if (both)
        compare(w, before->node, after->node);
    else
        say(w, "%s (%.*s)", before == NULL ? "added" : "removed", (int)engine->url.bytes,
            engine->url.data);
    /* credentials are three stars in both dumps: all that may be said is that they differ */
    if (both && engine->key.bytes > 0 && after->engine->key.bytes > 0 &&
        !span_eq(engine->key, after->engine->key)) {
        add(&w->path, ".key");
        say(w, "changed");
    }
    path_back(w, 0);
}

static void
compare_engines(struct walk *w, const struct row *old, size_t old_count, const struct row *new,
                size_t new_count)
{
    size_t i = 0, k = 0;

    while (i < old_count || k < new_count) {
        int order = i == old_count ? 1 : k == new_count ? -1 : by_name(&old[i], &new[k]);
        compare_engine(w, order <= 0 ? &old[i] : NULL, order >= 0 ? &new[k] : NULL);
        i += order <= 0;
        k += order >= 0;
    }
}

/* Both are there, and not only their beginnings are the same. */
static bool
same(const struct yaml_tree_node *a, const struct yaml_tree_node *b)
{
    const struct yaml_tree_node *x = a->first, *y = b->first;

    if (a->type != b->type || a->count != b->count || !span_eq(a->key, b->key) ||
        !span_eq(a->text, b->text))
        return false;
    while (x != NULL && y != NULL && same(x, y)) {
        x = x->next;
        y = y->next;
    }
    return x == NULL && y == NULL;
}

/* Two values of one key; NULL: it is not there. Not both. */
static void
compare(struct walk *w, const struct yaml_tree_node *before, const struct yaml_tree_node *after)
{
    const struct yaml_tree_node *any = before != NULL ? before : after;
    char old[VALUE_BYTES], new[VALUE_BYTES];

    if (any->type == YAML_TREE_MAPPING &&
        (before == NULL || after == NULL || after->type == YAML_TREE_MAPPING)) {
        compare_mappings(w, before, after);
        return;
    }
    text_of(before, old);
    text_of(after, new);
    if (strcmp(old, new) != 0)
        say(w, "%s -> %s", old, new);
    else if (before != NULL && after != NULL && !same(before, after))
        say(w, "changed, beyond what is shown: %s", new);
}

/* ---- The whole. */

static enum err
tree_of(const struct config *config, struct arena *arena, struct yaml_tree_node **ret_root)
{
    struct config_problems *problems = arena_zeroed(arena, sizeof(*problems));
    struct span yaml;
    enum err err;

    *ret_root = NULL;
    if (problems == NULL)
        return ERR_FULL;
    err = config_dump(config, arena, &yaml);
    if (err == ERR_OK)
        err = yaml_tree_parse(yaml, arena, problems, ret_root);
    return err == ERR_OK && *ret_root == NULL ? ERR_FULL : err;
}

enum err
config_diff(const struct config *before, const struct config *after, struct arena *arena,
            config_diff_fn *fn, void *user)
{
    struct walk w = {.fn = fn,
                     .user = user,
                     .restart_keys = restart_keys,
                     .restart_key_count = sizeof(restart_keys) / sizeof(restart_keys[0]),
                     .restart = " (with the next process: restart, or SIGUSR2)"};
    struct yaml_tree_node *old, *new;
    const struct row *old_rows, *new_rows;
    enum err err = tree_of(before, arena, &old);

    if (err == ERR_OK)
        err = tree_of(after, arena, &new);
    if (err != ERR_OK)
        return err;
    w.path = (struct text){.data = w.path_bytes, .room = PATH_BYTES};
    old_rows = sorted(arena, before, old);
    new_rows = sorted(arena, after, new);
    if (old_rows == NULL || new_rows == NULL)
        return ERR_FULL;
    compare_mappings(&w, old, new);
    compare_engines(&w, old_rows, before->engine_count, new_rows, after->engine_count);
    return ERR_OK;
}

enum err
config_diff_node(struct span before, struct span after, struct arena *arena, config_diff_fn *fn,
                 void *user)
{
    static const struct yaml_tree_node none = {.type = YAML_TREE_SEQUENCE};
    struct walk w = {.fn = fn,
                     .user = user,
                     .restart_keys = node_restart_keys,
                     .restart_key_count = sizeof(node_restart_keys) / sizeof(node_restart_keys[0]),
                     .restart = " (with the next process: restart)"};
    struct config_problems *problems = arena_zeroed(arena, sizeof(*problems));
    struct yaml_tree_node *old = NULL, *new = NULL;
    const struct yaml_tree_node *x, *y;
    enum err err = problems != NULL ? ERR_OK : ERR_FULL;

    if (err == ERR_OK)
        err = yaml_tree_parse(before, arena, problems, &old);
    if (err == ERR_OK)
        err = yaml_tree_parse(after, arena, problems, &new);
    if (err != ERR_OK || old == NULL || new == NULL)
        return err != ERR_OK ? err : ERR_FULL;
    w.path = (struct text){.data = w.path_bytes, .room = PATH_BYTES};
    compare_mappings(&w, old, new);
    x = child_of(old, SPAN_LIT("engines"));
    y = child_of(new, SPAN_LIT("engines"));
    if (!same(x != NULL ? x : &none, y != NULL ? y : &none)) {
        add(&w.path, "engines");
        say(&w, "changed");
    }
    return ERR_OK;
}
