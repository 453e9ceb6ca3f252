/* smuggling_case - reading the lists; see smuggling_case.h. Two passes over a line: ${...} first,
 * then escapes, so that a name may stand for escapes. */
#include "smuggling_case.h"

#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"

#define MEMORY_BYTES_MAX 16777216u
#define NAMES_MAX        32u
#define LINE_BYTES_MAX   131072u
#define PIECES_MAX       512u /* of a long message, cut into "bytes" */
#define FILES_MAX        1024 /* among which the other end is looked for */
#define LOOKS_MAX        50000u
#define LOOKS_BUSY       1000u
#define LOOK_US          50u

struct reader {
    struct smuggling_list *list;
    size_t used; /* of list->memory */
    struct {
        struct span name, text;
    } names[NAMES_MAX];
    size_t name_count, case_capacity;
    char line[LINE_BYTES_MAX];
    size_t line_bytes;
};

_Noreturn static void
complain(const char *what, struct span where)
{
    fprintf(stderr, "smuggling: %s: %.*s\n", what, (int)where.bytes, where.data);
    exit(1);
}

static struct span
keep(struct reader *r, struct span text)
{
    char *at = r->list->memory + r->used;

    must(text.bytes <= MEMORY_BYTES_MAX - r->used);
    if (text.bytes > 0)
        memcpy(at, text.data, text.bytes);
    r->used += text.bytes;
    return (struct span){at, text.bytes};
}

/* More of what was kept last. */
static void
keep_more(struct reader *r, struct span *all, struct span text)
{
    if (all->bytes == 0)
        all->data = r->list->memory + r->used;
    must(all->data + all->bytes == r->list->memory + r->used);
    all->bytes += keep(r, text).bytes;
}

/* ---- A line without ${...} and escapes, in r->line. */

static void
put(struct reader *r, struct span text)
{
    must(text.bytes <= LINE_BYTES_MAX - r->line_bytes);
    memcpy(r->line + r->line_bytes, text.data, text.bytes);
    r->line_bytes += text.bytes;
}

/* What stands between the braces: NAME, or COUNT*TEXT. */
static void
put_name(struct reader *r, struct span inner)
{
    size_t star = span_find(inner, '*');
    uint64_t count;

    for (size_t i = 0; i < r->name_count; i++) {
        if (span_eq(r->names[i].name, inner)) {
            put(r, r->names[i].text);
            return;
        }
    }
    if (span_u64((struct span){inner.data, star}, &count) != ERR_OK)
        complain("no such name", inner);
    while (count-- > 0)
        put(r, span_from(inner, star + 1));
}

static void
expand(struct reader *r, struct span text)
{
    r->line_bytes = 0;
    while (text.bytes > 0) {
        if (span_starts(text, SPAN_LIT("${"))) {
            size_t end = span_find(text, '}');
            put_name(r, (struct span){text.data + 2, end - 2});
            text = span_from(text, end + 1);
        } else {
            put(r, (struct span){text.data, 1});
            text = span_from(text, 1);
        }
    }
}

static unsigned
hex(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;

    must(at != NULL);
    return (unsigned)(at - digits);
}

/* In place: the result is never longer. */
static void
unescape(struct reader *r)
{
    char *text = r->line;
    size_t to = 0;

    for (size_t at = 0; at < r->line_bytes; at++) {
        if (text[at] != '\\') {
            text[to++] = text[at];
            continue;
        }
        switch (text[++at]) {
        case 'r':
            text[to++] = '\r';
            break;
        case 'n':
            text[to++] = '\n';
            break;
        case 't':
            text[to++] = '\t';
            break;
        case '0':
            text[to++] = '\0';
            break;
        case '\\':
            text[to++] = '\\';
            break;
        case 'z': /* nothing */
            break;
        case 'x':
            text[to++] = (char)(hex(text[at + 1]) << 4 | hex(text[at + 2]));
            at += 2;
            break;
        default:
            complain("no such escape", (struct span){text, r->line_bytes});
        }
    }
    r->line_bytes = to;
}

static struct span
bytes_of(struct reader *r, struct span text)
{
    expand(r, text);
    unescape(r);
    return (struct span){r->line, r->line_bytes};
}

/* ---- Lines. */

/* The first word of *text, which is then what follows it. */
static struct span
take_word(struct span *text)
{
    size_t end = span_find(*text, ' ');
    struct span word = {text->data, end};

    *text = span_trim(span_from(*text, end));
    return word;
}

static void
read_expect(struct reader *r, struct smuggling_case *c, struct span text)
{
    struct smuggling_expect *e = &c->expect[c->expect_count++];
    struct span rest;
    uint64_t status;

    must(c->expect_count <= SMUGGLING_EXPECT_MAX);
    *e = (struct smuggling_expect){.word = keep(r, take_word(&text))};
    if (span_u64(e->word, &status) == ERR_OK)
        e->status = (unsigned)status;
    for (rest = text;; text = rest) {
        struct span word = take_word(&rest);
        if (e->status != 0 && span_eq_text(word, "close"))
            e->close = true;
        else if (e->status != 0 && span_eq_text(word, "head"))
            e->head = true;
        else
            break;
    }
    e->rest = keep(r, bytes_of(r, text));
}

static void
read_field(struct reader *r, struct smuggling_case *c, struct span text)
{
    struct smuggling_field *f = &c->fields[c->field_count++];
    struct span name = take_word(&text);

    must(c->field_count <= SMUGGLING_FIELDS_MAX);
    f->name = keep(r, bytes_of(r, name));
    f->value = keep(r, bytes_of(r, text));
    f->is_trailer = c->bytes.data != NULL;
}

static void
read_let(struct reader *r, struct span text)
{
    struct span name = take_word(&text);

    must(r->name_count < NAMES_MAX);
    expand(r, text);
    r->names[r->name_count].name = keep(r, name);
    r->names[r->name_count++].text = keep(r, (struct span){r->line, r->line_bytes});
}

static struct smuggling_case *
new_case(struct reader *r, struct span id)
{
    struct smuggling_list *list = r->list;

    if (list->count == r->case_capacity) {
        r->case_capacity = 2 * r->case_capacity + 64;
        list->cases = realloc(list->cases, r->case_capacity * sizeof(*list->cases));
        must(list->cases != NULL);
    }
    for (size_t i = 0; i < list->count; i++) {
        if (span_eq(list->cases[i].id, id))
            complain("two cases of the name", id);
    }
    list->cases[list->count] = (struct smuggling_case){.id = keep(r, id)};
    return &list->cases[list->count++];
}

static void
read_line(struct reader *r, struct span line)
{
    struct smuggling_case *c = r->list->count > 0 ? &r->list->cases[r->list->count - 1] : NULL;
    struct span text = line, word = take_word(&text);

    if (line.bytes == 0 || line.data[0] == '#')
        return;
    if (span_eq_text(word, "let"))
        read_let(r, text);
    else if (line.data[0] == '[')
        new_case(r, (struct span){line.data + 1, span_find(line, ']') - 1});
    else if (c == NULL)
        complain("no case yet", line);
    else if (span_eq_text(word, "from:"))
        c->from = keep(r, text);
    else if (span_eq_text(word, ">"))
        keep_more(r, &c->bytes, bytes_of(r, text));
    else if (span_eq_text(word, ">>"))
        keep_more(r, &c->later, bytes_of(r, text));
    else if (span_eq_text(word, "+"))
        read_field(r, c, text);
    else if (span_eq_text(word, "="))
        read_expect(r, c, text);
    else if (span_eq_text(line, "ask: stream"))
        c->stream = true;
    else if (span_eq_text(line, "then: close"))
        c->closes = true;
    else if (span_eq_text(line, "with: post"))
        c->with_post = true;
    else
        complain("no such line", line);
}

void
smuggling_list_read(const char *path, struct smuggling_list *ret_list)
{
    FILE *file = fopen(path, "r");
    struct reader *r = calloc(1, sizeof(*r));
    char *line = NULL;
    size_t room = 0;
    ssize_t bytes;

    if (file == NULL || r == NULL)
        complain("cannot read", span_of(path));
    *ret_list = (struct smuggling_list){.memory = malloc(MEMORY_BYTES_MAX)};
    must(ret_list->memory != NULL);
    r->list = ret_list;
    while ((bytes = getline(&line, &room, file)) > 0)
        read_line(r, span_trim((struct span){line, (size_t)bytes - (line[bytes - 1] == '\n')}));
    fclose(file);
    free(line);
    free(r);
    for (size_t i = 0; i < ret_list->count; i++) {
        const struct smuggling_case *c = &ret_list->cases[i];
        if (c->from.bytes == 0 || c->expect_count == 0)
            complain("no source, or nothing expected", c->id);
    }
}

void
smuggling_list_free(struct smuggling_list *list)
{
    free(list->cases);
    free(list->memory);
    *list = (struct smuggling_list){0};
}

/* ---- Pieces. */

static bool
same_address(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
    return a->sin_family == AF_INET && b->sin_family == AF_INET && a->sin_port == b->sin_port &&
           a->sin_addr.s_addr == b->sin_addr.s_addr;
}

static bool
names_of(int fd, struct sockaddr_in *ret_own, struct sockaddr_in *ret_peer)
{
    socklen_t own_bytes = sizeof(*ret_own), peer_bytes = sizeof(*ret_peer);

    return getsockname(fd, (struct sockaddr *)ret_own, &own_bytes) == 0 &&
           getpeername(fd, (struct sockaddr *)ret_peer, &peer_bytes) == 0;
}

static bool
is_other_end(int fd, int other)
{
    struct sockaddr_in own = {0}, peer = {0}, its_own = {0}, its_peer = {0};

    return names_of(fd, &own, &peer) && names_of(other, &its_own, &its_peer) &&
           same_address(&own, &its_peer) && same_address(&peer, &its_own);
}

/* -1: the other end is not in this process, or no longer. */
static int
other_end(int fd)
{
    struct rlimit limit = {0};

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return -1;
    for (int i = 0; i < FILES_MAX && (rlim_t)i < limit.rlim_cur; i++) {
        if (i != fd && is_other_end(fd, i))
            return i;
    }
    return -1;
}

/* Wait until nothing lies unread at the other end, while it is that. */
static void
wait_empty(int fd, int other)
{
    int left = 1;

    for (unsigned looks = 1; looks < LOOKS_MAX; looks++) {
        if (ioctl(other, FIONREAD, &left) != 0 || left == 0)
            return;
        if (looks < LOOKS_BUSY)
            sched_yield();
        else if (is_other_end(fd, other))
            usleep(LOOK_US);
        else
            return;
    }
}

/* The other end, once it has been accepted. */
static int
wait_other_end(int fd)
{
    int other = other_end(fd);

    for (unsigned looks = 0; other < 0 && looks < LOOKS_BUSY; looks++) {
        usleep(100);
        other = other_end(fd);
    }
    return other;
}

void
smuggling_wait_taken(int fd)
{
    int other = other_end(fd);

    if (other >= 0)
        wait_empty(fd, other);
}

static size_t
piece_bytes(struct span rest, size_t all_bytes, enum smuggling_cut cut)
{
    size_t n = 1;

    if (cut == SMUGGLING_WHOLE)
        return rest.bytes;
    if (cut == SMUGGLING_BYTES)
        n = 1 + all_bytes / PIECES_MAX;
    else if (rest.data[0] != '\r' && rest.data[0] != '\n')
        while (n < rest.bytes && rest.data[n] != '\r' && rest.data[n] != '\n')
            n++;
    return n < rest.bytes ? n : rest.bytes;
}

void
smuggling_send(int fd, struct span bytes, enum smuggling_cut cut)
{
    int other = cut != SMUGGLING_WHOLE ? wait_other_end(fd) : -1;
    struct span rest = bytes;

    while (rest.bytes > 0) {
        size_t n = piece_bytes(rest, bytes.bytes, cut);
        ssize_t sent = send(fd, rest.data, n, MSG_NOSIGNAL);

        if (sent <= 0)
            return;
        rest = span_from(rest, (size_t)sent);
        if (other >= 0)
            wait_empty(fd, other);
    }
}
