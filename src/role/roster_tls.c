/* roster_tls - from paths to contexts; see roster_tls.h. Private keys are wiped from the roster's
 * memory once a context has them. */
#include "role/roster_tls.h"

#include <string.h>

#include "io/log.h"

#define FILES_MAX 3u

/* What a context is made of: paths in the order cert, key, CA. An empty path is not given. */
struct source {
    struct span paths[FILES_MAX];
    struct tls_file files[FILES_MAX];
    uint64_t mode; /* what else makes a difference */
};

enum { CERT, KEY, CA };

static uint64_t
hash_spans(uint64_t h, const struct span *first, size_t stride)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        const struct span *s = (const struct span *)(const void *)((const char *)first +
                                                                   i * stride);
        h = hash_fnv(h, &s->bytes, sizeof(s->bytes));
        h = hash_fnv(h, s->data, s->bytes);
    }
    return h;
}

static uint64_t
hash_paths(const struct source *s)
{
    return hash_spans(hash_fnv(HASH_FNV_START, &s->mode, sizeof(s->mode)), &s->paths[0],
                      sizeof(s->paths[0]));
}

static uint64_t
hash_content(const struct source *s)
{
    return hash_spans(hash_fnv(HASH_FNV_START, &s->mode, sizeof(s->mode)), &s->files[0].pem,
                      sizeof(s->files[0]));
}

static enum err
read_source(struct roster *r, struct source *s)
{
    enum err err = ERR_OK;

    for (size_t i = 0; i < FILES_MAX && err == ERR_OK; i++) {
        s->files[i].name = s->paths[i];
        if (s->paths[i].bytes == 0)
            continue;
        err = roster_read_file(r, s->paths[i], ROSTER_PEM_BYTES_MAX,
                               i == KEY ? ROSTER_FILE_SECRET : ROSTER_FILE_PLAIN, &s->files[i].pem);
        if (err == ERR_OK && s->files[i].pem.bytes == 0) {
            log_error("%.*s: the file is empty", (int)s->paths[i].bytes, s->paths[i].data);
            err = ERR_PARSE;
        }
    }
    return err;
}

static void
wipe(struct tls_file *key)
{
    /* The bytes are the arena's, which are not const. */
    if (key->pem.bytes > 0)
        explicit_bzero((void *)(uintptr_t)key->pem.data, key->pem.bytes);
}

/* ---- Listeners. */

/* One file of a listener, and where the configuration names it. */
static enum err
read_listed(struct roster *r, const struct config_file *f, enum roster_file kind,
            struct tls_file *ret_file, uint64_t *content)
{
    enum err err;

    if (f->path.bytes == 0)
        return ERR_OK;
    ret_file->name = f->path;
    if (r->name.bytes > 0 &&
        arena_printf(&r->arena, &ret_file->place, "%.*s:%u:%u: ", (int)r->name.bytes, r->name.data,
                     f->line, f->column) != ERR_OK)
        return ERR_MEMORY;
    err = roster_read_file(r, f->path, ROSTER_PEM_BYTES_MAX, kind, &ret_file->pem);
    if (err == ERR_OK && ret_file->pem.bytes == 0) {
        log_error("%.*s%.*s: the file is empty", (int)ret_file->place.bytes, ret_file->place.data,
                  (int)f->path.bytes, f->path.data);
        err = ERR_PARSE;
    }
    *content = hash_fnv(*content, &ret_file->pem.bytes, sizeof(ret_file->pem.bytes));
    *content = hash_fnv(*content, ret_file->pem.data, ret_file->pem.bytes);
    return err;
}

/* Of the gateways that a node agent knows by their pins, on its public listener. */
static enum err
take_pins(struct roster *r, const struct config_tls *c, struct tls_server_options *o)
{
    unsigned char(*pins)[TLS_PIN_BYTES];

    if (r->node == NULL || c != &r->config.tls)
        return ERR_OK;
    pins = arena_take(&r->arena, (r->config.gateway_count + 1) * sizeof(*pins));
    if (pins == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < r->config.gateway_count; i++) {
        const struct config_gateway *g = &r->config.gateways[i];
        if (g->pin.bytes > 0)
            memcpy(pins[o->client_pin_count++], g->pin_sha256, TLS_PIN_BYTES);
    }
    o->client_pins = (const unsigned char(*)[TLS_PIN_BYTES])pins;
    return ERR_OK;
}

static enum err
listen_one(struct roster *r, const struct config_tls *c, const char *realm,
           const struct roster_listener_tls *before, struct roster_listener_tls *ret)
{
    struct tls_certificate *list = arena_zeroed(&r->arena, c->certificate_count * sizeof(*list));
    struct tls_server_options o = {.client_cert_required = !c->client_optional,
                                   .more_count = c->certificate_count - 1,
                                   .realm = realm,
                                   .http2 = true};
    enum err err = list != NULL ? take_pins(r, c, &o) : ERR_MEMORY;

    ret->content = hash_fnv(HASH_FNV_START, &c->client_optional, sizeof(c->client_optional));
    for (size_t i = 0; i < o.client_pin_count; i++)
        ret->content = hash_fnv(ret->content, o.client_pins[i], TLS_PIN_BYTES);
    for (size_t i = 0; i < c->certificate_count && err == ERR_OK; i++) {
        err = read_listed(r, &c->certificates[i].cert, ROSTER_FILE_PLAIN, &list[i].cert,
                          &ret->content);
        if (err == ERR_OK)
            err = read_listed(r, &c->certificates[i].key, ROSTER_FILE_SECRET, &list[i].key,
                              &ret->content);
    }
    if (err == ERR_OK)
        err = read_listed(r, &c->client_ca, ROSTER_FILE_PLAIN, &o.client_ca, &ret->content);
    if (err == ERR_OK && before != NULL && before->context != NULL &&
        before->content == ret->content) {
        ret->context = tls_ref(before->context);
        ret->shown = before->shown != NULL ? tls_ref(before->shown) : NULL;
    } else if (err == ERR_OK) {
        o.cert = list[0].cert;
        o.key = list[0].key;
        o.more = list + 1;
        err = tls_server_open(&o, &ret->context);
        if (err == ERR_OK && r->node == NULL && c == &r->config.tls)
            err = tls_client_open(
                &(struct tls_client_options){.cert = o.cert, .key = o.key, .pinned = true},
                &ret->shown);
    }
    if (err == ERR_OK && r->node != NULL)
        err = tls_file_pin(&list[0].cert, ret->pin);
    for (size_t i = 0; list != NULL && i < c->certificate_count; i++)
        wipe(&list[i].key);
    return err;
}

enum err
roster_tls_listen(struct roster *r, const struct roster *previous)
{
    const struct config *c = &r->config;
    enum err err = ERR_OK;

    if (c->tls.certificate_count > 0)
        err = listen_one(r, &c->tls, "public", previous != NULL ? &previous->tls : NULL, &r->tls);
    if (err == ERR_OK && c->admin_tls.certificate_count > 0)
        err = listen_one(r, &c->admin_tls, "admin", previous != NULL ? &previous->admin_tls : NULL,
                         &r->admin_tls);
    return err;
}

/* ---- Engines. */

static const struct roster_tls_context *
find_content(const struct roster *roster, uint64_t content)
{
    for (uint32_t i = 0; roster != NULL && i < roster->tls_context_count; i++) {
        if (roster->tls_contexts[i].content == content)
            return &roster->tls_contexts[i];
    }
    return NULL;
}

static const struct roster_tls_context *
find_files(const struct roster *r, uint64_t files)
{
    for (uint32_t i = 0; i < r->tls_context_count; i++) {
        if (r->tls_contexts[i].files == files)
            return &r->tls_contexts[i];
    }
    return NULL;
}

/* One more context, read and made, or the previous roster's. */
static enum err
add_context(struct roster *r, struct source *s, bool pinned, const struct roster *previous,
            const struct roster_tls_context **ret_context)
{
    const struct roster_tls_context *before;
    struct roster_tls_context *context;
    struct tls_client_options o;
    enum err err;

    if (r->tls_contexts == NULL)
        r->tls_contexts = arena_zeroed(&r->arena, ROSTER_TLS_CONTEXTS_MAX * sizeof(*context));
    if (r->tls_contexts == NULL)
        return ERR_MEMORY;
    if (r->tls_context_count == ROSTER_TLS_CONTEXTS_MAX) {
        log_error("more than %u different sets of ca, client_cert and client_key",
                  ROSTER_TLS_CONTEXTS_MAX);
        return ERR_FULL;
    }
    err = read_source(r, s);
    if (err != ERR_OK)
        return err;
    context = &r->tls_contexts[r->tls_context_count];
    context->files = hash_paths(s);
    context->content = hash_content(s);
    before = find_content(previous, context->content);
    if (before != NULL) {
        context->tls = tls_ref(before->tls);
    } else {
        o = (struct tls_client_options){
            .ca = s->files[CA], .cert = s->files[CERT], .key = s->files[KEY], .pinned = pinned};
        err = tls_client_open(&o, &context->tls);
    }
    wipe(&s->files[KEY]);
    if (err == ERR_OK) {
        r->tls_context_count++;
        *ret_context = context;
    }
    return err;
}

enum err
roster_tls_engine(struct roster *r, const struct config_engine *engine,
                  const struct roster *previous, struct roster_node *node)
{
    bool pinned = engine->pin.bytes > 0;
    struct source s = {
        .paths = {engine->client_cert_file, engine->client_key_file, engine->ca_file},
        .mode = pinned};
    const struct roster_tls_context *context = find_files(r, hash_paths(&s));
    enum err err = ERR_OK;

    if (context == NULL)
        err = add_context(r, &s, pinned, previous, &context);
    if (err != ERR_OK)
        return err;
    node->tls = context->tls;
    node->tls_name = engine->host;
    node->tls_pin = pinned ? engine->pin_sha256 : NULL;
    node->tls_identity = hash_fnv(context->content, engine->pin_sha256, CONFIG_PIN_BYTES);
    return ERR_OK;
}

void
roster_tls_fini(struct roster *r)
{
    tls_unref(r->tls.context);
    tls_unref(r->tls.shown);
    tls_unref(r->admin_tls.context);
    for (uint32_t i = 0; i < r->tls_context_count; i++)
        tls_unref(r->tls_contexts[i].tls);
}
