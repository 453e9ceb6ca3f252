/* http1_fuzz - any bytes as HTTP/1 messages; the first byte chooses requests, responses or answers
 * to HEAD, and where the rest is cut.
 *
 * Two things must hold. Cut or whole, the same comes out. And raw llhttp reads a message that
 * passes here as the same body, to the same byte: framing that only we understood, or understood
 * otherwise, would be the hole this parser is there to close. */
#include <llhttp.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/must.h"
#include "wire/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const struct http1_limits limits = {
    .head_bytes_max = 2000, .target_bytes_max = 200, .headers_max = 20, .body_bytes_max = 3000};

struct trace { /* what came out: a hash over events, and of the first message its body and end */
    uint64_t events, body;
    size_t fed, message_bytes;
    bool complete, extended;
};

static void
note(uint64_t *hash, struct span s)
{
    *hash = hash_fnv(*hash, s.data, s.bytes);
}

static void
note_head(struct trace *t, const struct http1_parser *p)
{
    struct span name, value;
    uint64_t numbers[4] = {http1_status_code(p), http1_minor(p), http1_keep_alive(p), 0};

    if (http1_content_length(p, &numbers[3]))
        note(&t->events, SPAN_LIT("length"));
    t->events = hash_fnv(t->events, numbers, sizeof(numbers));
    note(&t->events, http1_target(p));
    for (size_t i = 0; i < http1_header_count(p); i++) {
        http1_header(p, i, &name, &value);
        must(http1_header_is_clean(name, value));
        note(&t->events, name);
        note(&t->events, value);
    }
}

/* false: nothing more is to be fed. */
static bool
feed(struct trace *t, struct http1_parser *p, struct span in)
{
    for (;;) {
        struct span body = {NULL, 0};
        size_t used = in.bytes + 1;
        enum http1_event event = http1_feed(p, in, &used, &body);
        uint8_t code = (uint8_t)event;

        must(used <= in.bytes);
        if (event == HTTP1_BODY) {
            must(body.bytes > 0 && body.data >= in.data &&
                 body.data + body.bytes <= in.data + used);
            note(&t->events, body);
            if (!t->complete)
                note(&t->body, body);
        } else if (event != HTTP1_NEED_MORE) {
            t->events = hash_fnv(t->events, &code, 1);
        }
        in = span_from(in, used);
        t->fed += used;
        if (event == HTTP1_HEAD)
            note_head(t, p);
        if (event == HTTP1_COMPLETE) {
            if (!t->complete) {
                t->message_bytes = t->fed;
                t->extended = p->extension_bytes > 0;
            }
            t->complete = true;
            http1_next(p);
        }
        if (event == HTTP1_ERROR) {
            code = (uint8_t)http1_status(p);
            t->events = hash_fnv(t->events, &code, 1);
            return false;
        }
        if (event == HTTP1_NEED_MORE || (event == HTTP1_COMPLETE && in.bytes == 0))
            return true;
    }
}

/* Fed in pieces of at most `piece` bytes. */
static struct trace
run(unsigned kind, struct span in, size_t piece)
{
    struct trace t = {.events = HASH_FNV_START, .body = HASH_FNV_START};
    struct http1_parser p;
    bool more = true;
    uint8_t end;

    if (kind == 0)
        http1_request_init(&p, &limits);
    else
        http1_response_init(&p, &limits, kind == 2);
    while (more && in.bytes > 0) {
        size_t n = in.bytes < piece ? in.bytes : piece;
        char *copy = malloc(n); /* so that a step past the piece is seen */
        must(copy != NULL);
        memcpy(copy, in.data, n);
        more = feed(&t, &p, (struct span){copy, n});
        free(copy);
        in = span_from(in, n);
    }
    if (more) {
        end = http1_is_fresh(&p) ? 0 : (uint8_t)http1_finish(&p);
        t.events = hash_fnv(t.events, &end, 1);
    }
    http1_fini(&p);
    return t;
}

struct oracle {
    llhttp_t l;
    uint64_t body;
    bool to_head;
};

static int
oracle_body(llhttp_t *l, const char *text, size_t bytes)
{
    struct oracle *o = l->data;

    o->body = hash_fnv(o->body, text, bytes);
    return 0;
}

static int
oracle_head(llhttp_t *l)
{
    /* 1: no body. llhttp leaves these two to its caller. */
    return ((struct oracle *)l->data)->to_head || l->status_code == 304 ? 1 : 0;
}

static int
oracle_complete(llhttp_t *l)
{
    (void)l;
    return HPE_PAUSED;
}

static void
ask_oracle(unsigned kind, struct span in, const struct trace *t)
{
    static const llhttp_settings_t settings = {.on_body = oracle_body,
                                               .on_headers_complete = oracle_head,
                                               .on_message_complete = oracle_complete};
    struct oracle o = {.body = HASH_FNV_START, .to_head = kind == 2};

    llhttp_init(&o.l, kind == 0 ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    o.l.data = &o;
    must(llhttp_execute(&o.l, in.data, t->message_bytes) == HPE_PAUSED);
    must(llhttp_get_error_pos(&o.l) == in.data + t->message_bytes);
    must(o.body == t->body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct span in;
    struct trace whole, cut;
    unsigned kind;

    if (bytes == 0)
        return 0;
    kind = data[0] % 3;
    in = (struct span){(const char *)data + 1, bytes - 1};
    whole = run(kind, in, SIZE_MAX);
    cut = run(kind, in, 1u + data[0] / 3);
    must(whole.events == cut.events && whole.body == cut.body);
    must(whole.complete == cut.complete && whole.message_bytes == cut.message_bytes);
    /* llhttp is narrower in what a chunk extension may hold; nobody acts on one. */
    if (whole.complete && !whole.extended)
        ask_oracle(kind, in, &whole);
    return 0;
}
