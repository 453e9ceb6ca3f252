/* smuggling_http2 - the list of header lists, sent by a client that would send anything (nghttp2
 * without its checks) to the same gateway and engine as the requests of HTTP/1. */
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e.h"
#include "patience.h"
#include "smuggling_case.h"

#define OPENING_BYTES_MAX   256u /* preface and SETTINGS */
#define FIELDS_MAX          (SMUGGLING_FIELDS_MAX + 4u)
#define SEND_HEAD_BYTES_MAX 1048576u

struct client {
    nghttp2_session *session;
    int fd;
    const struct smuggling_case *request; /* whose body and trailers are to be sent */
    size_t body_sent;
    int32_t stream;
    unsigned status; /* of that stream; 0: none yet */
    bool closed;
};

/* ---- What nghttp2 says. */

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
          size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags, void *user)
{
    struct client *c = user;
    struct span text = {(const char *)value, value_bytes};
    uint64_t status;

    (void)session;
    (void)flags;
    if (frame->hd.stream_id == c->stream &&
        span_eq_text((struct span){(const char *)name, name_bytes}, ":status") &&
        span_u64(text, &status) == ERR_OK)
        c->status = (unsigned)status;
    return 0;
}

static int
on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
    struct client *c = user;

    (void)session;
    (void)error_code;
    c->closed = c->closed || id == c->stream;
    return 0;
}

static nghttp2_nv
field(struct span name, struct span value)
{
    /* Copied by nobody, so that large letters stay large. */
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.data, (uint8_t *)(uintptr_t)value.data,
                        name.bytes, value.bytes,
                        NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

static size_t
fields_of(const struct smuggling_case *c, bool trailers, nghttp2_nv *list)
{
    size_t count = 0;

    if (c->with_post && !trailers) {
        list[count++] = field(SPAN_LIT(":method"), SPAN_LIT("POST"));
        list[count++] = field(SPAN_LIT(":scheme"), SPAN_LIT("http"));
        list[count++] = field(SPAN_LIT(":path"), SPAN_LIT("/v1/completions"));
        list[count++] = field(SPAN_LIT(":authority"), SPAN_LIT("a"));
    }
    for (size_t i = 0; i < c->field_count; i++) {
        if (c->fields[i].is_trailer == trailers)
            list[count++] = field(c->fields[i].name, c->fields[i].value);
    }
    return count;
}

static ssize_t
read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
          nghttp2_data_source *source, void *user)
{
    struct client *c = user;
    struct span rest = span_from(c->request->bytes, c->body_sent);
    size_t n = rest.bytes < room ? rest.bytes : room, trailer_count;
    nghttp2_nv trailers[FIELDS_MAX];

    (void)source;
    memcpy(to, rest.data, n);
    c->body_sent += n;
    if (n < rest.bytes)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    trailer_count = fields_of(c->request, true, trailers);
    if (trailer_count > 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        must(nghttp2_submit_trailer(session, id, trailers, trailer_count) == 0);
    }
    return (ssize_t)n;
}

/* ---- The connection. */

/* All that nghttp2 has to send, whole or in pieces. */
static void
send_frames(struct client *c, enum smuggling_cut cut)
{
    const uint8_t *data;
    ssize_t n;

    while ((n = nghttp2_session_mem_send(c->session, &data)) > 0)
        smuggling_send(c->fd, (struct span){(const char *)data, (size_t)n}, cut);
    must(n == 0);
}

static void
open_client(struct client *c, uint16_t port)
{
    const struct timeval wait = {.tv_sec = PATIENCE_S};
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    char opening[OPENING_BYTES_MAX];
    size_t bytes = 0;
    const uint8_t *data;
    ssize_t n;
    const int one = 1;

    *c = (struct client){.fd = e2e_connect(port)};
    must(setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == 0);
    must(setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
    must(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_option_set_no_http_messaging(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, SEND_HEAD_BYTES_MAX);
    must(nghttp2_session_client_new2(&c->session, callbacks, c, option) == 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    must(nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0) == 0);
    while ((n = nghttp2_session_mem_send(c->session, &data)) > 0) {
        must((size_t)n <= sizeof(opening) - bytes);
        memcpy(opening + bytes, data, (size_t)n);
        bytes += (size_t)n;
    }
    smuggling_send(c->fd, (struct span){opening, bytes}, SMUGGLING_WHOLE);
}

static void
close_client(struct client *c)
{
    nghttp2_session_del(c->session);
    close(c->fd);
}

/* Until the stream is closed. false: the connection ended before. */
static bool
await_stream(struct client *c)
{
    uint8_t bytes[16384];

    while (!c->closed) {
        ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);
        if (n <= 0 || nghttp2_session_mem_recv(c->session, bytes, (size_t)n) < 0)
            return false;
        send_frames(c, SMUGGLING_WHOLE); /* acknowledgements */
    }
    return true;
}

/* Ask as the case says, in pieces. false: the connection ended. */
static bool
ask(struct client *c, const struct smuggling_case *request, enum smuggling_cut cut)
{
    nghttp2_nv fields[FIELDS_MAX];
    size_t count = fields_of(request, false, fields);
    nghttp2_data_provider provider = {.read_callback = read_body};

    c->request = request;
    c->body_sent = 0;
    c->status = 0;
    c->closed = false;
    c->stream = nghttp2_submit_request(c->session, NULL, fields, count,
                                       request->bytes.data != NULL ? &provider : NULL, NULL);
    must(c->stream > 0);
    send_frames(c, cut);
    return await_stream(c);
}

const char *
smuggling_run_http2_case(const struct smuggling_case *c, uint16_t port, enum smuggling_cut cut,
                         struct smuggling_asked *ret_asked)
{
    static const struct smuggling_case probe = {
        .with_post = true, .bytes = {SMUGGLING_PROBE, sizeof(SMUGGLING_PROBE) - 1}};
    const struct smuggling_expect *e = &c->expect[0];
    const char *wrong = NULL;
    struct client client;

    open_client(&client, port);
    if (!ask(&client, c, cut))
        wrong = "the connection ended";
    else if (e->status == 0 && client.status != 0 && client.status != 400 && client.status != 413)
        wrong = "it was read as a request";
    else if (e->status != 0 && client.status != e->status)
        wrong = "another status";
    if (wrong != NULL)
        printf("# status %u\n", client.status);
    if (e->rest.bytes > 0)
        smuggling_asked_add(ret_asked, e->rest);
    smuggling_asked_add(ret_asked, probe.bytes);
    if (wrong == NULL && (!ask(&client, &probe, SMUGGLING_WHOLE) || client.status != 200))
        wrong = "the connection does not go on";
    close_client(&client);
    return wrong;
}
