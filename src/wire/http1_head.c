/* http1_head - llhttp takes a head apart, and the policy looks at every piece: see http1.h for what
 * is refused. llhttp gets the head in one call, never a body, so its state is one call long and its
 * looser corners (Debian 12 builds it without its strict mode: bare LF, spaces in names, RTSP) are
 * behind checks of ours: the line structure in http1.c, names, values and the first line here. */
#include "wire/http1_head.h"

#include <llhttp.h>

enum known { /* a bit each in reader.seen */
             KNOWN_HOST = 1,
             KNOWN_LENGTH = 2,
             KNOWN_TRANSFER = 4,
             KNOWN_UPGRADE = 8,
             KNOWN_CONNECTION = 16,
             KNOWN_EXPECT = 32
};

struct reader { /* one run of llhttp */
    struct http1_parser *p;
    struct http1_header_at *at; /* the header being read */
    struct span host;
    unsigned seen;
    uint32_t count;
    bool trailers, target_seen;
    bool says_close, says_keep_alive; /* Connection */
};

static uint32_t
offset(const struct reader *r, const char *text)
{
    return (uint32_t)(text - r->p->head);
}

static struct reader *
reader_of(llhttp_t *l)
{
    return l->data;
}

/* llhttp may hand over one piece in several spans: they are neighbours, since the head is whole. */
static int
on_url(llhttp_t *l, const char *text, size_t bytes)
{
    struct reader *r = reader_of(l);

    if (!r->target_seen)
        r->p->target_at = offset(r, text);
    r->target_seen = true;
    r->p->target_bytes = offset(r, text) + (uint32_t)bytes - r->p->target_at;
    return 0;
}

static int
on_name(llhttp_t *l, const char *text, size_t bytes)
{
    struct reader *r = reader_of(l);

    if (r->at == NULL) {
        uint32_t index = (r->trailers ? r->p->header_count : 0) + r->count;
        if (index >= r->p->line_count) /* llhttp saw more headers than there are lines */
            return HPE_USER;
        r->at = &r->p->headers[index];
        *r->at = (struct http1_header_at){.name_at = offset(r, text)};
    }
    r->at->name_bytes = offset(r, text) + (uint32_t)bytes - r->at->name_at;
    return 0;
}

static int
on_value(llhttp_t *l, const char *text, size_t bytes)
{
    struct reader *r = reader_of(l);

    if (r->at == NULL)
        return HPE_USER;
    if (r->at->value_at == 0)
        r->at->value_at = offset(r, text);
    r->at->value_bytes = offset(r, text) + (uint32_t)bytes - r->at->value_at;
    return 0;
}

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
    /* visible ASCII without /?#@\,"<> , a bit a byte */
    static const uint64_t allowed[2] = {0x2fff6ff200000000u, 0x7fffffffeffffffeu};
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

static int
on_header_done(llhttp_t *l)
{
    struct reader *r = reader_of(l);
    struct span name, raw, value;
    unsigned kind;

    if (r->at == NULL)
        return HPE_USER;
    if (r->at->value_at == 0) /* an empty value has no place of its own */
        r->at->value_at = r->at->name_at + r->at->name_bytes;
    name = (struct span){r->p->head + r->at->name_at, r->at->name_bytes};
    raw = (struct span){r->p->head + r->at->value_at, r->at->value_bytes};
    value = span_trim(raw);
    r->at->value_at = offset(r, value.data);
    r->at->value_bytes = (uint32_t)value.bytes;
    kind = known(name);
    /* A tab behind it is white space to RFC 9110, but part of the value to llhttp and others. */
    if ((kind & (KNOWN_LENGTH | KNOWN_TRANSFER)) != 0 && span_find(raw, '\t') < raw.bytes)
        return HPE_USER;
    /* the lines were seen to hold no control bytes: of the value nothing is left to check */
    if (!http1_header_is_clean(name, SPAN_LIT("")) || (kind != 0 && !known_is_good(r, kind, value)))
        return HPE_USER;
    r->at = NULL;
    r->count++;
    return 0;
}

static int
on_head_done(llhttp_t *l)
{
    const struct reader *r = reader_of(l);
    struct http1_parser *p = r->p;

    if (r->trailers)
        return HPE_PAUSED;
    p->minor = l->http_minor;
    p->status_code = l->status_code;
    p->keep_alive = !r->says_close && (l->http_minor == 1 || r->says_keep_alive);
    return HPE_PAUSED; /* the body is not llhttp's */
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_header_value_complete = on_header_done,
    .on_headers_complete = on_head_done,
};

/* Run l over text, which must end the head: true when llhttp took it so, to the last byte. */
static bool
run(llhttp_t *l, const char *text, size_t bytes)
{
    return llhttp_execute(l, text, bytes) == HPE_PAUSED && llhttp_get_error_pos(l) == text + bytes;
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

/* "METHOD SP target SP HTTP/1.x": single spaces, and nothing else in the line, which llhttp's loose
 * mode would not promise. *line without its CR LF. */
static enum http1_status
request_line(const struct reader *r, struct span line)
{
    struct http1_parser *p = r->p;
    struct span target = http1_target(p), version;
    size_t method = span_find(line, ' ');

    if (target.bytes == 0 || p->target_at != method + 1 ||
        p->target_at + p->target_bytes >= line.bytes)
        return HTTP1_BAD;
    version = span_from(line, p->target_at + p->target_bytes);
    if (!span_eq_text(version, p->minor == 1 ? " HTTP/1.1" : " HTTP/1.0"))
        return HTTP1_BAD;
    for (size_t i = 0; i < target.bytes; i++) {
        unsigned char c = (unsigned char)target.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '#')
            return HTTP1_BAD;
    }
    p->method_bytes = (uint32_t)method;
    if (span_eq_text(http1_method(p), "CONNECT") || !target_is_good(r, http1_method(p), target))
        return HTTP1_BAD;
    return target.bytes > p->limits->target_bytes_max ? HTTP1_TARGET_TOO_LONG : HTTP1_OK;
}

static enum http1_status
status_line(struct http1_parser *p, struct span line)
{
    const char *start = p->minor == 1 ? "HTTP/1.1 " : "HTTP/1.0 ";
    const size_t digits_end = 12; /* "HTTP/1.1 200" */

    if (!span_starts(line, span_of(start)) || line.bytes < digits_end ||
        (line.bytes > digits_end && line.data[digits_end] != ' '))
        return HTTP1_BAD;
    if (p->status_code < 100 || p->status_code > 599 || p->status_code == 101)
        return HTTP1_BAD;
    return HTTP1_OK;
}

enum http1_status
http1_head_read(struct http1_parser *p)
{
    struct reader r = {.p = p};
    struct span head = {p->head, p->head_bytes};
    struct span line = {p->head, span_find(head, '\n') - 1};
    enum http1_status status;
    llhttp_t l;

    llhttp_init(&l, p->is_response ? HTTP_RESPONSE : HTTP_REQUEST, &settings);
    l.data = &r;
    if (!run(&l, head.data, head.bytes) || r.count + 1 != p->line_count)
        return HTTP1_BAD; /* line_count: the first line and one a header */
    p->header_count = r.count;
    status = p->is_response ? status_line(p, line) : request_line(&r, line);
    if (status != HTTP1_OK)
        return status;
    if (p->has_length && p->chunked)
        return HTTP1_BAD;
    if (p->chunked && p->minor == 0) /* 1.0 knows no chunks: somebody before us got it wrong */
        return HTTP1_BAD;
    if (!p->is_response && p->minor == 1 && !p->has_host)
        return HTTP1_BAD;
    p->expects_continue = p->expects_continue && p->minor == 1;
    return HTTP1_OK;
}

enum http1_status
http1_trailers_read(struct http1_parser *p)
{
    static const char first_line[] = "HTTP/1.1 204 \r\n"; /* so that llhttp reads header lines */
    struct reader r = {.p = p, .trailers = true};
    llhttp_t l;

    llhttp_init(&l, HTTP_RESPONSE, &settings);
    l.data = &r;
    if (llhttp_execute(&l, first_line, sizeof(first_line) - 1) != HPE_OK ||
        !run(&l, p->head + p->trailers_at, p->head_bytes - p->trailers_at) ||
        r.count + 1 + p->header_count != p->line_count)
        return HTTP1_BAD;
    p->trailer_count = r.count;
    return HTTP1_OK;
}
