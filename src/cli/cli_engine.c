/* cli_engine - one question after the other; see cli_engine.h. */
#include "cli/cli_engine.h"

#include <string.h>

#include "role/roster.h"
#include "wire/json.h" /* JSON_PADDING */

#define ARENA_BYTES_MAX 16777216u
#define PASS_NS         1000000000u

static void
on_sent(struct http_call *call, bool fresh, void *user)
{
    (void)call, (void)fresh, (void)user;
}

static void
on_head(struct http_call *call, const struct http_response *response, void *user)
{
    struct cli_engine *e = user;

    (void)call;
    e->status = response->status;
}

static void
on_data(struct http_call *call, struct span bytes, void *user)
{
    struct cli_engine *e = user;

    (void)call;
    if (bytes.bytes <= ADAPTER_DOCUMENT_BYTES_MAX - e->body_bytes) {
        memcpy(e->body + e->body_bytes, bytes.data, bytes.bytes);
        e->body_bytes += bytes.bytes;
    }
}

static void
on_end(struct http_call *call, const struct http_header *trailers, size_t count, void *user)
{
    struct cli_engine *e = user;

    (void)call, (void)trailers, (void)count;
    e->over = true;
}

static void
on_failed(struct http_call *call, enum http_failure why, void *user)
{
    struct cli_engine *e = user;

    (void)call, (void)why;
    e->status = 0;
    e->over = true;
}

void
cli_engine_ask(struct cli_engine *e, const char *path, struct span body)
{
    static const struct http_call_fn fn = {
        .sent = on_sent, .head = on_head, .data = on_data, .end = on_end, .failed = on_failed};
    const struct http_call_limits limits = {.connect_ns = e->wait_ns,
                                            .first_byte_ns = e->wait_ns,
                                            .idle_ns = e->wait_ns,
                                            .body_bytes_max = ADAPTER_DOCUMENT_BYTES_MAX};
    struct http_header headers[2];
    struct http_call_request r = {.method = SPAN_LIT("GET"), .target = span_of(path)};
    struct http_call *call;

    if (body.data != NULL) {
        r.method = SPAN_LIT("POST");
        r.parts = &body;
        r.part_count = 1;
        headers[r.header_count++] = (struct http_header){SPAN_LIT("content-type"),
                                                         SPAN_LIT("application/json")};
    }
    if (e->authorization.bytes > 0)
        headers[r.header_count++] = (struct http_header){SPAN_LIT("authorization"),
                                                         e->authorization};
    r.headers = headers;
    memset(e->body, 0, e->body_bytes + JSON_PADDING);
    e->body_bytes = 0;
    e->status = 0;
    e->over = http_call_start(e->target, &r, &limits, &fn, e, &call) != ERR_OK;
    while (!e->over)
        loop_pass(e->loop, PASS_NS);
}

struct span
cli_engine_body(const struct cli_engine *e)
{
    return (struct span){e->body, e->body_bytes};
}

static void
get(struct cli_engine *e, const char *path)
{
    cli_engine_ask(e, path, (struct span){NULL, 0});
}

enum err
cli_engine_at(struct cli_engine *e, const struct config_engine *engine)
{
    struct span host = span_from(engine->url, sizeof("http://") - 1);
    struct roster_address address;
    enum err err = roster_resolve(engine->host, engine->port, &address);

    http_target_close(e->target);
    e->target = NULL;
    if (err == ERR_OK)
        err = http_target_open(e->client, &address.any, address.bytes, host, NULL, 0, &e->target);
    return err;
}

const struct adapter *
cli_engine_detect(struct cli_engine *e)
{
    const struct adapter *adapter;

    for (size_t i = 0; (adapter = adapter_at(i)) != NULL; i++) {
        get(e, adapter->detect_path);
        if (e->status == 0)
            return NULL;
        if (adapter->detect(e->status, cli_engine_body(e)))
            return adapter;
    }
    return NULL;
}

/* Does the engine say that it sleeps, where it has a place for that? */
static bool
sleeps(struct cli_engine *e, const struct adapter *a)
{
    enum err (*parse)(struct span, struct adapter_load *) = a->slots_path != NULL ? a->parse_slots
                                                                                  : a->parse_load;
    const char *path = a->slots_path != NULL ? a->slots_path : a->load_path;
    struct adapter_load load;

    if (path == NULL)
        return false;
    get(e, path);
    return e->status == 200 && parse(cli_engine_body(e), &load) == ERR_OK && load.sleeping;
}

bool
cli_engine_models(struct cli_engine *e, const struct adapter *adapter,
                  struct adapter_models *ret_models)
{
    const struct adapter *a = adapter->has_adapter ? adapter : adapter_of(ENGINE_OPENAI);
    bool good;

    get(e, a->models_path);
    good = e->status == 200 && a->parse_models(cli_engine_body(e), ret_models) == ERR_OK;
    if (good && a->states_path != NULL) {
        get(e, a->states_path);
        good = e->status == 200 && a->parse_states(cli_engine_body(e), ret_models) == ERR_OK;
    }
    if (!good) {
        memset(ret_models, 0, sizeof(*ret_models));
        return false;
    }
    if (sleeps(e, a)) {
        for (size_t i = 0; i < ret_models->count; i++)
            if (ret_models->list[i].state == MODEL_READY)
                ret_models->list[i].state = a->wakes_on_request ? MODEL_SLEEPING : MODEL_DORMANT;
    }
    return true;
}

enum err
cli_engine_init(struct cli_engine *e)
{
    enum err err = ERR_MEMORY;

    memset(e, 0, sizeof(*e));
    arena_init(&e->arena, ARENA_BYTES_MAX);
    e->body = arena_zeroed(&e->arena, ADAPTER_DOCUMENT_BYTES_MAX + JSON_PADDING);
    if (e->body != NULL)
        err = loop_open(&e->loop);
    if (err == ERR_OK)
        err = http_client_open(e->loop, &e->client);
    return err;
}

void
cli_engine_fini(struct cli_engine *e)
{
    http_target_close(e->target);
    http_client_close(e->client);
    if (e->loop != NULL) {
        loop_pass(e->loop, 0);
        loop_close(e->loop);
    }
    arena_fini(&e->arena);
}
