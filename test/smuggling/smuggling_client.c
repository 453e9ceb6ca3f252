/* smuggling_client - the client of smuggling_case.h: it takes nothing for a response but what a
 * careful client would, since a gateway that answers ambiguously is no better than one that asks
 * so.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e.h"
#include "patience.h"
#include "smuggling_case.h"

void
smuggling_client_open(struct smuggling_client *c, uint16_t port)
{
    const struct timeval wait = {.tv_sec = PATIENCE_S};
    const int one = 1;

    c->fd = e2e_connect(port);
    c->at = c->bytes = 0;
    must(setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
    must(setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == 0);
}

void
smuggling_client_close(struct smuggling_client *c)
{
    close(c->fd);
}

/* Some bytes more behind the unread ones. false: none came. */
static bool
fill(struct smuggling_client *c)
{
    ssize_t n;

    memmove(c->data, c->data + c->at, c->bytes - c->at);
    c->bytes -= c->at;
    c->at = 0;
    must(c->bytes < sizeof(c->data) - 1);
    n = recv(c->fd, c->data + c->bytes, sizeof(c->data) - 1 - c->bytes, 0);
    if (n <= 0)
        return false;
    c->bytes += (size_t)n;
    return true;
}

/* The head, its lines and the empty one; ret_bytes: 0 when it is not whole. */
static size_t
head_bytes(const struct smuggling_client *c)
{
    for (size_t i = c->at; i + 4 <= c->bytes; i++) {
        if (memcmp(c->data + i, "\r\n\r\n", 4) == 0)
            return i + 4 - c->at;
    }
    return 0;
}

/* One line of the head: NULL, or what is wrong with it. */
static const char *
read_header(struct span line, struct smuggling_response *r, bool *has_length, uint64_t *ret_length)
{
    size_t colon = span_find(line, ':');
    struct span name = {line.data, colon}, value = span_trim(span_from(line, colon + 1));

    for (size_t i = 0; i < line.bytes; i++) {
        if (line.data[i] < ' ' || line.data[i] > '~')
            return "a strange byte in a header";
    }
    if (colon == line.bytes || colon == 0)
        return "a header without a name";
    if (span_eq_nocase(name, SPAN_LIT("transfer-encoding")))
        return "chunks where a length was to be";
    if (span_eq_nocase(name, SPAN_LIT("connection")))
        r->closes = span_eq_nocase(value, SPAN_LIT("close"));
    if (!span_eq_nocase(name, SPAN_LIT("content-length")))
        return NULL;
    if (*has_length || span_u64(value, ret_length) != ERR_OK)
        return "two lengths, or none";
    *has_length = true;
    return NULL;
}

static const char *
read_head(struct span head, struct smuggling_response *r, uint64_t *ret_length)
{
    struct span line = {head.data, span_find(head, '\r')};
    bool has_length = false;
    uint64_t status;
    const char *wrong = NULL;

    *r = (struct smuggling_response){0};
    *ret_length = 0;
    if (line.bytes < 13 || !span_starts(line, SPAN_LIT("HTTP/1.1 ")) || line.data[12] != ' ' ||
        span_u64((struct span){line.data + 9, 3}, &status) != ERR_OK)
        return "no status line";
    r->status = (unsigned)status;
    for (;;) {
        head = span_from(head, line.bytes + 2);
        line = (struct span){head.data, span_find(head, '\r')};
        if (wrong != NULL || line.bytes == 0)
            break;
        wrong = read_header(line, r, &has_length, ret_length);
    }
    if (wrong == NULL && !has_length && status >= 200)
        return "no length";
    return wrong;
}

const char *
smuggling_client_read(struct smuggling_client *c, bool to_head,
                      struct smuggling_response *ret_response)
{
    static char body[sizeof(c->data)];
    const char *wrong;
    uint64_t length;

    do {
        size_t bytes;
        while ((bytes = head_bytes(c)) == 0) {
            if (!fill(c))
                return "no response";
        }
        wrong = read_head((struct span){c->data + c->at, bytes}, ret_response, &length);
        c->at += bytes;
    } while (wrong == NULL && ret_response->status < 200);
    if (wrong != NULL || to_head)
        length = 0;
    while (c->bytes - c->at < length) {
        if (!fill(c))
            return "the body is not whole";
    }
    memcpy(body, c->data + c->at, length);
    body[length] = '\0';
    c->at += length;
    ret_response->text = body;
    return wrong;
}

bool
smuggling_client_ended(struct smuggling_client *c)
{
    ssize_t n;

    if (c->at != c->bytes)
        return false;
    n = recv(c->fd, c->data, sizeof(c->data), 0);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}
