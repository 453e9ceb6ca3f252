/* nats_config - one table of roles; see nats_config.h. In it, % stands for the user's name. */
#include "wire/nats_config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/config.h"

#define WORDS_MAX      8u
#define USER_BYTES_MAX 1536u /* of the text about one */
#define HEAD_BYTES_MAX 1024u

static const struct {
    const char *word;
    const char *says[WORDS_MAX], *hears[WORDS_MAX];
} roles[] = {
    [NATS_ROLE_NODE] = {"node",
                        {"iso.report.*.%", "iso.hello.%", "iso.gone.%", "iso.check.%"},
                        {"iso.ctl.%", "_INBOX.%.>"}},
    [NATS_ROLE_GATEWAY] = {"gateway",
                           {"iso.ctl.*", "iso.demand.*.%", "iso.check.%"},
                           {"iso.report.>", "iso.hello.*", "iso.gone.*", "iso.demand.>",
                            "_INBOX.%.>"}},
    [NATS_ROLE_AUDITOR] = {"auditor",
                           {"iso.check.%"},
                           {"iso.report.>", "iso.hello.*", "iso.gone.*", "_INBOX.%.>"}},
    [NATS_ROLE_WATCHER] = {"watcher", {"iso.check.%"}, {"iso.>", "_INBOX.%.>"}},
};
#define ROLE_COUNT (sizeof(roles) / sizeof(roles[0]))

#define HEAD                                                                                       \
    "# The bus: a NATS server for Isochrone. Who may come in, and what each may say and hear.\n"   \
    "listen: \"%s\"\n"                                                                             \
    "max_payload: 8KB           # our messages have at most 4 KiB\n"                               \
    "max_control_line: 1KB\n"                                                                      \
    "write_deadline: \"2s\"       # who does not read is let go of\n"                              \
    "max_connections: 65536\n"                                                                     \
    "# tls { cert_file: \"...\", key_file: \"...\" }   # off the machine: then tls:// and `ca`\n"  \
    "authorization {\n"                                                                            \
    "  users = [\n"
#define TAIL "  ]\n}\n"

/* The next word of a line. */
static struct span
next_word(struct span *rest)
{
    struct span word;

    *rest = span_trim(*rest);
    word = (struct span){rest->data, 0};
    while (word.bytes < rest->bytes && rest->data[word.bytes] != ' ' &&
           rest->data[word.bytes] != '\t')
        word.bytes++;
    *rest = span_from(*rest, word.bytes);
    return word;
}

/* NULL: good. */
static const char *
read_user(struct span line, struct nats_user *ret)
{
    struct span role = next_word(&line), name = next_word(&line), key = next_word(&line);
    unsigned char bytes[NKEY_BYTES];
    const char *why;
    size_t i = 0;

    while (i < ROLE_COUNT && !span_eq_text(role, roles[i].word))
        i++;
    if (i == ROLE_COUNT)
        return "a line is ROLE NAME NKEY, where the role is node, gateway, auditor or watcher";
    if (!config_is_name(name))
        return "a name is made of a-z, 0-9 and -, and has at most 63";
    if (nkey_read_public(key, bytes, &why) != ERR_OK)
        return why;
    if (span_trim(line).bytes > 0)
        return "one word too many";
    ret->role = (enum nats_role)i;
    span_copy(name, ret->name, sizeof(ret->name));
    span_copy(key, ret->nkey, sizeof(ret->nkey));
    return NULL;
}

static int
by_name(const void *a, const void *b)
{
    const struct nats_user *x = a, *y = b;

    return x->role != y->role ? (int)x->role - (int)y->role : strcmp(x->name, y->name);
}

static int
by_key(const void *a, const void *b)
{
    const struct nats_user *x = a, *y = b;

    return strcmp(x->nkey, y->nkey);
}

/* Two that are one by this order. users: sorted here. */
static const struct nats_user *
find_twice(struct nats_user *users, size_t count, int (*order)(const void *, const void *))
{
    if (count > 1)
        qsort(users, count, sizeof(users[0]), order);
    for (size_t i = 1; i < count; i++) {
        if (order(&users[i - 1], &users[i]) == 0)
            return &users[i];
    }
    return NULL;
}

static enum err
check_twice(struct nats_user *users, size_t count, char ret_why[NATS_CONFIG_WHY_BYTES_MAX])
{
    const struct nats_user *twice = find_twice(users, count, by_key);

    if (twice != NULL) {
        snprintf(ret_why, NATS_CONFIG_WHY_BYTES_MAX, "two users have the key of `%s`", twice->name);
        return ERR_PARSE;
    }
    twice = find_twice(users, count, by_name);
    if (twice != NULL) {
        snprintf(ret_why, NATS_CONFIG_WHY_BYTES_MAX, "%s `%s` is there twice",
                 roles[twice->role].word, twice->name);
        return ERR_PARSE;
    }
    return ERR_OK;
}

enum err
nats_config_read_users(struct span text, struct arena *arena, struct nats_user **ret_users,
                       size_t *ret_count, char ret_why[NATS_CONFIG_WHY_BYTES_MAX])
{
    struct nats_user *users;
    size_t lines = 1, count = 0, line_number = 0;

    for (size_t i = 0; i < text.bytes; i++)
        lines += text.data[i] == '\n';
    users = lines <= NATS_CONFIG_USERS_MAX ? arena_zeroed(arena, lines * sizeof(*users)) : NULL;
    if (users == NULL) {
        snprintf(ret_why, NATS_CONFIG_WHY_BYTES_MAX, "too many lines");
        return ERR_FULL;
    }
    while (text.bytes > 0) {
        struct span line = {text.data, span_find(text, '\n')};
        const char *why;

        text = span_from(text, line.bytes + 1);
        line_number++;
        line.bytes = span_find(line, '#');
        if (line.bytes > 0 && line.data[line.bytes - 1] == '\r')
            line.bytes--;
        if (span_trim(line).bytes == 0)
            continue;
        why = read_user(line, &users[count++]);
        if (why != NULL) {
            snprintf(ret_why, NATS_CONFIG_WHY_BYTES_MAX, "line %zu: %s", line_number, why);
            return ERR_PARSE;
        }
    }
    *ret_users = users;
    *ret_count = count;
    return check_twice(users, count, ret_why);
}

struct out {
    char *text;
    size_t bytes, room;
};

/* There is always room: see USER_BYTES_MAX. */
PRINTF_LIKE(2, 3) static void put(struct out *o, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(o->text + o->bytes, o->room - o->bytes, format, args);
    va_end(args);
    if (n > 0)
        o->bytes += (size_t)n;
}

static void
put_subjects(struct out *o, const char *verb, const char *const subjects[WORDS_MAX],
             const char *name)
{
    put(o, "        %s: { allow: [", verb);
    for (size_t i = 0; i < WORDS_MAX && subjects[i] != NULL; i++) {
        size_t before = strcspn(subjects[i], "%");
        bool named = subjects[i][before] == '%';

        put(o, "%s\"%.*s%s%s\"", i > 0 ? ", " : "", (int)before, subjects[i], named ? name : "",
            named ? subjects[i] + before + 1 : "");
    }
    put(o, "] }\n");
}

static void
put_user(struct out *o, const struct nats_user *u)
{
    put(o, "    { # %s %s\n      nkey: %s\n      permissions: {\n", roles[u->role].word, u->name,
        u->nkey);
    put_subjects(o, "publish", roles[u->role].says, u->name);
    put_subjects(o, "subscribe", roles[u->role].hears, u->name);
    if (u->role == NATS_ROLE_NODE)
        put(o, "        allow_responses: { max: 1, expires: \"10m\" } # to whom gave an order\n");
    put(o, "      }\n    }\n");
}

enum err
nats_config_write(const char *listen, const struct nats_user *users, size_t user_count,
                  struct arena *arena, struct span *ret_text)
{
    size_t listen_bytes = strlen(listen);
    struct out o = {.room = HEAD_BYTES_MAX + listen_bytes + user_count * USER_BYTES_MAX};

    for (size_t i = 0; i < listen_bytes; i++) {
        if (listen[i] <= ' ' || listen[i] > '~' || listen[i] == '"' || listen[i] == '\\')
            return ERR_ARG;
    }
    if (listen_bytes == 0 || listen_bytes > NATS_CONFIG_LISTEN_BYTES_MAX)
        return ERR_ARG;
    o.text = arena_take(arena, o.room);
    if (o.text == NULL)
        return ERR_FULL;
    put(&o, HEAD, listen);
    for (size_t i = 0; i < user_count; i++)
        put_user(&o, &users[i]);
    put(&o, TAIL);
    *ret_text = (struct span){o.text, o.bytes};
    return ERR_OK;
}
