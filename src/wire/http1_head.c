/* http1_head - what the lines of a whole head say: see http1.h for what is refused. http1.c has
 * seen each line end in CR LF and hold no control byte but tab, and none of them begin with a
 * blank; so what is left is small: the first line, "NAME: VALUE" in the others, and those few
 * headers that frame or route. Everything that is not exactly so is refused. llhttp reads the same
 * bytes in the fuzz target, and must agree (doc/decisions/http-parser.md). */
#include "wire/http1_head.h"

enum known { /* a bit each in reader.seen */
             KNOWN_HOST = 1,
             KNOWN_LENGTH = 2,
             KNOWN_TRANSFER = 4,
             KNOWN_UPGRADE = 8,
             KNOWN_CONNECTION = 16,
             KNOWN_EXPECT = 32
};

struct reader { /* of one head, or trailer section */
    struct http1_parser *p;
    struct span host;
    unsigned seen;
    bool trailers;
    bool says_close, says_keep_alive; /* Connection */
};

static unsigned
known(struct span name)
{
    switch (name.bytes) { /* most names fall through at once */
    case 4:
        return span_eq_nocase(name, SPAN_LIT("host")) ? KNOWN_HOST : 0;
    case 6:
        return span_eq_nocase(name, SPAN_LIT("expect")) ? KNOWN_EXPECT : 0;
    case 7:
        return span_eq_nocase(name, SPAN_LIT("upgrade")) ? KNOWN_UPGRADE : 0;
    case 10:
        return span_eq_nocase(name, SPAN_LIT("connection")) ? KNOWN_CONNECTION : 0;
    case 14:
        return span_eq_nocase(name, SPAN_LIT("content-length")) ? KNOWN_LENGTH : 0;
    case 17:
        return span_eq_nocase(name, SPAN_LIT("transfer-encoding")) ? KNOWN_TRANSFER : 0;
    default:
        return 0;
    }
}

bool
http1_host_is_clean(struct span value)
{
    /* RFC 3986: unreserved, sub-delims but the comma, and %:[] , a bit a byte */
    static const uint64_t allowed[2] = {0x2fff6ff200000000u, 0x47fffffeaffffffeu};
    uint64_t good = 1;

    for (size_t i = 0; i < value.bytes; i++) {
        unsigned char c = (unsigned char)value.data[i];
        good &= c < 128 ? allowed[c >> 6] >> (c & 63) : 0;
    }
    return (good & 1) != 0;
}

/* Its options are whole words, and llhttp's flags do not do: they take Proxy-Connection for the
 * same header. */
static void
read_connection(struct reader *r, struct span value)
{
    while (value.bytes > 0) {
        size_t comma = span_find(value, ',');
        struct span option = span_trim((struct span){value.data, comma});

        r->says_close = r->says_close || span_eq_nocase(option, SPAN_LIT("close"));
        r->says_keep_alive = r->says_keep_alive || span_eq_nocase(option, SPAN_LIT("keep-alive"));
        value = span_from(value, comma + 1);
    }
}

/* A header of a kind that frames or routes: false when it must not be there, or not so. */
static bool
known_is_good(struct reader *r, unsigned kind, struct span value)
{
    struct http1_parser *p = r->p;
    bool again = (r->seen & kind) != 0;

    if (r->trailers)
        return false;
    r->seen |= kind;
    switch (kind) {
    case KNOWN_HOST:
        p->has_host = true;
        r->host = value;
        return !again && http1_host_is_clean(value);
    case KNOWN_LENGTH:
        p->has_length = true;
        return !again && span_u64(value, &p->body_left) == ERR_OK;
    case KNOWN_TRANSFER:
        p->chunked = true;
        return !again && span_eq_nocase(value, SPAN_LIT("chunked"));
    case KNOWN_UPGRADE: /* an offer that nobody here takes up (RFC 9110 7.8) */
        return true;
    case KNOWN_EXPECT:
        p->expects_continue = span_eq_nocase(value, SPAN_LIT("100-continue"));
        return true;
    default: /* Connection */
        read_connection(r, value);
        return true;
    }
}

/* One line, without its CR LF, into *at. */
static bool
header_line(struct reader *r, struct span line, struct http1_header_at *at)
{
    size_t name_bytes = http1_token_bytes(line.data, line.bytes);
    struct span name = {line.data, name_bytes}, value, rest;
    unsigned kind;

    if (name_bytes == 0 || name_bytes == line.bytes || line.data[name_bytes] != ':')
        return false;
    value = span_trim((struct span){line.data + name_bytes + 1, line.bytes - name_bytes - 1});
    at->name_at = (uint32_t)(line.data - r->p->head);
    at->name_bytes = (uint32_t)name_bytes;
    at->value_at = (uint32_t)(value.data - r->p->head);
    at->value_bytes = (uint32_t)value.bytes;
    kind = known(name);
    /* A tab behind it is white space to RFC 9110, but part of the value to llhttp and others. */
    rest = span_from(line, (size_t)(value.data - line.data));
    if ((kind & (KNOWN_LENGTH | KNOWN_TRANSFER)) != 0 && span_find(rest, '\t') < rest.bytes)
        return false;
    return kind == 0 || known_is_good(r, kind, value);
}

/* The lines of text up to the empty one, which is its last, into at[]; so many. false: refused, or
 * not so many lines. */
static bool
header_lines(struct reader *r, struct span text, struct http1_header_at *at, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t bytes = span_find(text, '\n');
        if (bytes >= text.bytes || bytes < 2)
            return false;
        if (!header_line(r, (struct span){text.data, bytes - 1}, &at[i]))
            return false;
        text = span_from(text, bytes + 1);
    }
    return span_eq(text, SPAN_LIT("\r\n"));
}

static struct span
without_scheme(struct span target)
{
    static const struct span schemes[] = {{"http://", 7}, {"https://", 8}};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t bytes = schemes[i].bytes;
        if (target.bytes > bytes && span_eq_nocase((struct span){target.data, bytes}, schemes[i]))
            return span_from(target, bytes);
    }
    return (struct span){NULL, 0};
}

/* RFC 9112 3.2: a path; "*" of OPTIONS; or a URL whose authority is what Host says, so that it does
 * not matter which of the two somebody looks at. */
static bool
target_is_good(const struct reader *r, struct span method, struct span target)
{
    struct span authority;

    if (target.data[0] == '/')
        return true;
    if (span_eq_text(target, "*"))
        return span_eq_text(method, "OPTIONS");
    authority = without_scheme(target);
    authority.bytes = span_find(authority, '/');
    authority.bytes = span_find(authority, '?');
    return authority.bytes > 0 && http1_host_is_clean(authority) &&
           (!r->p->has_host || span_eq_nocase(authority, r->host));
}

/* Those of HTTP that anybody here answers, if with 405. Other protocols have methods, too. */
static bool
method_is_known(struct span method)
{
    static const char *const methods[] = {"POST",  "GET",    "HEAD",    "PUT",
                                          "PATCH", "DELETE", "OPTIONS", "TRACE"};

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (span_eq_text(method, methods[i]))
            return true;
    }
    return false; /* CONNECT among them */
}

/* " HTTP/1.x" or "HTTP/1.x ", all of the rest of a line. */
static bool
version_is_good(struct http1_parser *p, struct span text, const char *old, const char *new)
{
    p->minor = span_eq_text(text, new) ? 1 : 0;
    return p->minor == 1 || span_eq_text(text, old);
}

/* "METHOD SP target SP HTTP/1.x": a token, single blanks, and nothing else. The target is judged
 * when Host is known. *line without its CR LF. */
static bool
request_line(struct http1_parser *p, struct span line)
{
    size_t method = http1_token_bytes(line.data, line.bytes), target;
    struct span rest = span_from(line, method + 1);

    if (method >= line.bytes || line.data[method] != ' ' ||
        !method_is_known((struct span){line.data, method}))
        return false;
    target = span_find(rest, ' ');
    if (target == 0 || !version_is_good(p, span_from(rest, target), " HTTP/1.0", " HTTP/1.1"))
        return false;
    for (size_t i = 0; i < target; i++) {
        unsigned char c = (unsigned char)rest.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '#')
            return false;
    }
    p->method_bytes = (uint32_t)method;
    p->target_at = (uint32_t)(rest.data - p->head);
    p->target_bytes = (uint32_t)target;
    return true;
}

/* "HTTP/1.x 200", and a reason behind a blank, or not. */
static bool
status_line(struct http1_parser *p, struct span line)
{
    const size_t digits_at = 9, digits_end = 12;
    unsigned code = 0;

    if (line.bytes < digits_end || (line.bytes > digits_end && line.data[digits_end] != ' ') ||
        !version_is_good(p, (struct span){line.data, digits_at}, "HTTP/1.0 ", "HTTP/1.1 "))
        return false;
    for (size_t i = digits_at; i < digits_end; i++) {
        if (line.data[i] < '0' || line.data[i] > '9')
            return false;
        code = code * 10 + (unsigned)(line.data[i] - '0');
    }
    p->status_code = (uint16_t)code;
    return code >= 100 && code <= 599 && code != 101;
}

static enum http1_status
judge_request(const struct reader *r)
{
    struct http1_parser *p = r->p;

    if (!target_is_good(r, http1_method(p), http1_target(p)) || (p->minor == 1 && !p->has_host))
        return HTTP1_BAD;
    return p->target_bytes > p->limits->target_bytes_max ? HTTP1_TARGET_TOO_LONG : HTTP1_OK;
}

enum http1_status
http1_head_read(struct http1_parser *p)
{
    struct reader r = {.p = p};
    struct span head = {p->head, p->head_bytes};
    size_t first = span_find(head, '\n');
    struct span line = {p->head, first - 1}; /* it ends in CR LF */
    uint32_t count = p->line_count - 1;      /* line_count: the first line and one a header */

    if (!(p->is_response ? status_line(p, line) : request_line(p, line)) ||
        !header_lines(&r, span_from(head, first + 1), p->headers, count))
        return HTTP1_BAD;
    p->header_count = count;
    p->keep_alive = !r.says_close && (p->minor == 1 || r.says_keep_alive);
    if (p->has_length && p->chunked)
        return HTTP1_BAD;
    if (p->chunked && p->minor == 0) /* 1.0 knows no chunks: somebody before us got it wrong */
        return HTTP1_BAD;
    p->expects_continue = p->expects_continue && p->minor == 1;
    return p->is_response ? HTTP1_OK : judge_request(&r);
}

enum http1_status
http1_trailers_read(struct http1_parser *p)
{
    struct reader r = {.p = p, .trailers = true};
    uint32_t count = p->line_count - 1 - p->header_count;

    if (!header_lines(&r, (struct span){p->head + p->trailers_at, p->head_bytes - p->trailers_at},
                      p->headers + p->header_count, count))
        return HTTP1_BAD;
    p->trailer_count = count;
    return HTTP1_OK;
}
