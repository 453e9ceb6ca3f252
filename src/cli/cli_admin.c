/* cli_admin - one question at a time over io's HTTP client; see cli_admin.h. A command has nothing
 * else to do meanwhile, so the look-up of the name may block and each call runs the loop until it
 * is over. */
#include "cli/cli_admin.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_nearest.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"
#include "io/log.h"
#include "role/roster.h"
#include "wire/config.h"

#define BODY_START_BYTES 65536u

/* ---- Where and as whom. */

/* The token's file, into an Authorization header. */
static int
read_token(struct cli_admin *a)
{
    if (a->token_text == NULL)
        a->token_text = getenv("ISOCHRONE_ADMIN_TOKEN");
    if (a->token_text == NULL || a->token_text[0] == '\0')
        return CLI_OK;
    return cli_read_bearer(a->command, "token", a->token_text, &a->arena, &a->authorization);
}

/* What io logs of TLS becomes part of a sentence of ours. */
static void
on_log(enum log_level level, const char *text, void *user)
{
    struct cli_admin *a = user;

    (void)level;
    snprintf(a->why_text, sizeof(a->why_text), "%s", text);
}

static bool
swallow(struct span line, void *user)
{
    (void)line, (void)user;
    return true;
}

/* A file of an option; ret_file stays empty when it was not given. */
static int
read_pem(struct cli_admin *a, const char *text, struct tls_file *ret_file)
{
    const char *path = text;
    enum err err;

    if (text == NULL || text[0] == '\0')
        return CLI_OK;
    if (strncmp(text, "file:", 5) == 0)
        path += 5;
    ret_file->name = span_of(path);
    err = cli_read_file(path, CLI_ADMIN_PEM_BYTES_MAX, &a->arena, &ret_file->pem);
    if (err != ERR_OK)
        return cli_complain(CLI_FAILED, a->command, "%s: %s", path, cli_read_words(err));
    if (ret_file->pem.bytes == 0)
        return cli_complain(CLI_FAILED, a->command, "%s: the file is empty", path);
    return CLI_OK;
}

/* Whom to trust, and what to show. */
static int
open_tls(struct cli_admin *a)
{
    struct tls_client_options o = {0};
    int result;

    if (a->ca_text != NULL && a->pin_text != NULL)
        return cli_complain(CLI_USAGE, a->command,
                            "--pin is instead of a CA: keep one of --pin and --ca");
    if ((a->client_cert_text == NULL) != (a->client_key_text == NULL))
        return cli_complain(CLI_USAGE, a->command,
                            "--client-cert and --client-key go together: give both");
    if (a->ca_text == NULL && a->pin_text == NULL) {
        a->ca_text = getenv("ISOCHRONE_ADMIN_CA");
        a->pin_text = getenv("ISOCHRONE_ADMIN_PIN");
    }
    a->has_pin = a->pin_text != NULL && a->pin_text[0] != '\0';
    if (a->has_pin && config_pin(span_of(a->pin_text), a->pin) != ERR_OK)
        return cli_complain(CLI_USAGE, a->command,
                            "`%s` is no pin; it is sha256: and 44 characters of base64, or 64 "
                            "hexadecimal digits",
                            a->pin_text);
    o.pinned = a->has_pin;
    result = a->has_pin ? CLI_OK : read_pem(a, a->ca_text, &o.ca);
    if (result == CLI_OK)
        result = read_pem(a, a->client_cert_text, &o.cert);
    if (result == CLI_OK)
        result = read_pem(a, a->client_key_text, &o.key);
    if (result != CLI_OK)
        return result;
    log_tap(on_log, a);
    log_divert(swallow, NULL, false);
    return tls_client_open(&o, &a->tls) == ERR_OK
               ? CLI_OK
               : cli_complain(CLI_FAILED, a->command, "%s", a->why_text);
}

/* The token would be read by whoever is on the way. */
static void
warn_of_clear(const struct cli_admin *a)
{
    for (const struct addrinfo *i = a->addresses; i != NULL; i = i->ai_next) {
        if (!roster_is_loopback(i->ai_addr)) {
            (void)cli_complain(
                0, a->command,
                "warning: the token goes to %s in clear; use https:// (listen.admin_tls)",
                a->host_port);
            return;
        }
    }
}

/* Host, port, and whether it is TLS. */
static int
read_url(struct cli_admin *a)
{
    struct span text, host;
    enum err err;

    if (a->url_text == NULL)
        a->url_text = getenv("ISOCHRONE_ADMIN");
    a->is_default = a->url_text == NULL || a->url_text[0] == '\0';
    if (a->is_default)
        a->url_text = CLI_ADMIN_URL;
    text = span_of(a->url_text);
    err = config_url(text, &host, &a->port);
    a->has_tls = err == ERR_UNSUPPORTED; /* by plain HTTP */
    if ((err != ERR_OK && !a->has_tls && config_host_port(text, &host, &a->port) != ERR_OK) ||
        host.bytes >= sizeof(a->host))
        return cli_complain(CLI_USAGE, a->command,
                            "`%s` is no admin address; write it as " CLI_ADMIN_URL
                            " or https://HOST:PORT",
                            a->url_text);
    if (!a->has_tls && (a->ca_text != NULL || a->pin_text != NULL || a->client_cert_text != NULL ||
                        a->client_key_text != NULL))
        return cli_complain(
            CLI_USAGE, a->command,
            "--ca, --pin, --client-cert and --client-key are about TLS: write --admin "
            "https://HOST:PORT");
    span_copy(host, a->host, sizeof(a->host));
    snprintf(a->host_port, sizeof(a->host_port),
             span_find(host, ':') < host.bytes ? "[%s]:%u" : "%s:%u", a->host, a->port);
    return CLI_OK;
}

int
cli_admin_open(struct cli_admin *a)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];
    int result, error;

    arena_init(&a->arena, CLI_ADMIN_MEMORY_MAX);
    result = read_url(a);
    if (result == CLI_OK)
        result = read_token(a);
    if (result == CLI_OK && a->has_tls)
        result = open_tls(a);
    if (result != CLI_OK)
        return result;
    snprintf(port, sizeof(port), "%u", a->port);
    error = getaddrinfo(a->host, port, &hints, &a->addresses);
    if (error != 0)
        return cli_complain(CLI_FAILED, a->command, "%s: %s", a->host, gai_strerror(error));
    if (!a->has_tls && a->authorization.bytes > 0)
        warn_of_clear(a);
    if (loop_open(&a->loop) != ERR_OK || http_client_open(a->loop, &a->client) != ERR_OK)
        return cli_complain(CLI_FAILED, a->command, "cannot start");
    return CLI_OK;
}

void
cli_admin_close(struct cli_admin *a)
{
    http_client_close(a->client);
    loop_close(a->loop);
    tls_unref(a->tls);
    log_divert(NULL, NULL, false);
    log_tap(NULL, NULL);
    if (a->addresses != NULL)
        freeaddrinfo(a->addresses);
    free(a->body);
    arena_fini(&a->arena);
}

/* ---- One call. */

static void
on_sent(struct http_call *c, bool fresh, void *user)
{
    (void)c, (void)fresh, (void)user; /* nothing is measured here */
}

static void
on_head(struct http_call *c, const struct http_response *r, void *user)
{
    struct cli_admin *a = user;

    (void)c;
    a->status = r->status;
}

static void
over(struct cli_admin *a, bool failed, enum http_failure why)
{
    a->failed = failed;
    a->why = why;
    loop_stop(a->loop);
}

static void
on_data(struct http_call *c, struct span bytes, void *user)
{
    struct cli_admin *a = user;
    size_t room = a->body_room;

    while (room - a->body_bytes < bytes.bytes)
        room = room > 0 ? 2 * room : BODY_START_BYTES;
    if (room > a->body_room) {
        char *larger = realloc(a->body, room); /* call limits bound it to twice the answer */

        if (larger == NULL) {
            http_call_cancel(c);
            over(a, true, HTTP_FAILED_LOCAL);
            return;
        }
        a->body = larger;
        a->body_room = room;
    }
    memcpy(a->body + a->body_bytes, bytes.data, bytes.bytes);
    a->body_bytes += bytes.bytes;
}

static void
on_end(struct http_call *c, const struct http_header *trailers, size_t trailer_count, void *user)
{
    (void)c, (void)trailers, (void)trailer_count;
    over(user, false, HTTP_FAILED_LOCAL);
}

static void
on_failed(struct http_call *c, enum http_failure why, void *user)
{
    (void)c;
    over(user, true, why);
}

/* One call to the target there is. False: a->why. */
static bool
call(struct cli_admin *a, const char *path, struct span body)
{
    static const struct http_call_fn fn = {on_sent, on_head, on_data, on_end, on_failed};
    static const struct http_call_limits limits = {
        .connect_ns = CLI_ADMIN_CONNECT_NS,
        .first_byte_ns = CLI_ADMIN_SILENCE_NS,
        .idle_ns = CLI_ADMIN_SILENCE_NS,
        .body_bytes_max = CLI_ADMIN_ANSWER_BYTES_MAX,
    };
    struct http_header headers[2] = {{SPAN_LIT("accept"), SPAN_LIT("application/json")}};
    struct http_call_request r = {
        .method = body.data != NULL ? SPAN_LIT("POST") : SPAN_LIT("GET"),
        .target = span_of(path),
        .headers = headers,
        .header_count = 1,
        .parts = &body,
        .part_count = body.data != NULL ? 1 : 0,
    };
    struct http_call *started;

    if (a->authorization.bytes > 0)
        headers[r.header_count++] = (struct http_header){SPAN_LIT("authorization"),
                                                         a->authorization};
    a->body_bytes = 0;
    a->status = 0;
    if (http_call_start(a->target, &r, &limits, &fn, a, &started) != ERR_OK) {
        a->why = HTTP_FAILED_LOCAL;
        return false;
    }
    loop_run(a->loop);
    return !a->failed;
}

static bool
tell_failure(const struct cli_admin *a)
{
    static const char *const words[] = {
        [HTTP_FAILED_CONNECT] = "is it running? Start one with `isochrone gateway -f FILE`, or "
                                "name another with --admin URL",
        [HTTP_FAILED_CONNECT_TIMEOUT] = "nothing came back in time; is the address right?",
        [HTTP_FAILED_FIRST_BYTE] = "connected, but it is silent",
        [HTTP_FAILED_IDLE] = "it fell silent in the middle of its answer",
        [HTTP_FAILED_EOF] = "it closed the connection in the middle of its answer",
        [HTTP_FAILED_MALFORMED] = "what answers there is no gateway, or its answer is too large",
        [HTTP_FAILED_LOCAL] = "out of memory or descriptors here, or a token that no header can "
                              "carry",
    };

    bool maybe_tls = !a->has_tls && a->status == 0 &&
                     (a->why == HTTP_FAILED_EOF || a->why == HTTP_FAILED_MALFORMED);

    if (a->why == HTTP_FAILED_TLS)
        (void)cli_complain(0, a->command,
                           "%s; whom to trust is said by --ca file:PATH or --pin sha256:...",
                           a->why_text);
    else
        (void)cli_complain(0, a->command, "no gateway answers at %s: %s%s", a->host_port,
                           words[a->why],
                           maybe_tls ? "; or it speaks TLS: --admin https://HOST:PORT" : "");
    return false;
}

/* The first address that takes the call is the target from then on. */
static bool
call_first(struct cli_admin *a, const char *path, struct span body)
{
    for (const struct addrinfo *i = a->addresses; i != NULL; i = i->ai_next) {
        if (http_target_open(a->client, i->ai_addr, i->ai_addrlen, span_of(a->host_port), NULL, 0,
                             &a->target) != ERR_OK) {
            a->why = HTTP_FAILED_LOCAL;
            return false;
        }
        if (a->has_tls && http_target_use_tls(a->target, a->tls, span_of(a->host),
                                              a->has_pin ? a->pin : NULL) != ERR_OK) {
            a->why = HTTP_FAILED_LOCAL;
            return false;
        }
        if (call(a, path, body))
            return true;
        if (a->why != HTTP_FAILED_CONNECT && a->why != HTTP_FAILED_CONNECT_TIMEOUT)
            return false;
        http_target_close(a->target);
        a->target = NULL;
    }
    return false;
}

/* Nobody said where, and nobody is there: `isochrone up` has its admin side on its public port. */
static bool
call_up(struct cli_admin *a, const char *path, struct span body)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *old = a->addresses, *up = NULL;
    char old_host_port[sizeof(a->host_port)];
    bool good;

    if (!a->is_default || getaddrinfo(a->host, CLI_ADMIN_UP_PORT, &hints, &up) != 0)
        return false;
    memcpy(old_host_port, a->host_port, sizeof(old_host_port));
    snprintf(a->host_port, sizeof(a->host_port), "%s:" CLI_ADMIN_UP_PORT, a->host);
    a->addresses = up;
    good = call_first(a, path, body);
    a->addresses = good ? up : old;
    freeaddrinfo(good ? old : up);
    if (!good && a->target == NULL)
        memcpy(a->host_port, old_host_port, sizeof(old_host_port));
    return good;
}

bool
cli_admin_ask(struct cli_admin *a, const char *path, struct span body, struct span *ret_text)
{
    bool good = a->target != NULL ? call(a, path, body) : call_first(a, path, body);

    if (!good && a->target == NULL && a->why == HTTP_FAILED_CONNECT)
        good = call_up(a, path, body);
    if (!good)
        return tell_failure(a);
    *ret_text = (struct span){a->body, a->body_bytes};
    return true;
}

static bool
offer_node(const cJSON *node, void *user)
{
    cli_nearest_offer(user, cli_json_text(node, "node"));
    return true;
}

/* The node or model that was meant, where `code` says that there is none of the name. */
static void
guess(struct cli_admin *a, const char *code, struct cli_nearest *nearest)
{
    cJSON *json, *m;

    nearest->wanted = a->wanted;
    a->wanted = NULL; /* what is asked now is about nothing of that name */
    if (nearest->wanted == NULL)
        return;
    if (strcmp(code, "node_not_found") == 0)
        (void)cli_admin_nodes(a, offer_node, nearest);
    if (strcmp(code, "model_not_found") != 0)
        return;
    json = cli_admin_json(a, "/network/v1/readiness", (struct span){NULL, 0}, NULL);
    cJSON_ArrayForEach(m, cJSON_GetObjectItemCaseSensitive(json, "models"))
    {
        cli_nearest_offer(nearest, cli_json_text(m, "model"));
    }
    cJSON_Delete(json);
}

/* An answer that is no success, in the gateway's words. */
static void
tell_error(struct cli_admin *a, const cJSON *error)
{
    const char *message = cli_json_text(error, "message"), *code = cli_json_text(error, "code");
    struct cli_nearest nearest = {.wanted = NULL};
    char hint[CLI_NEAREST_HINT_BYTES];
    unsigned status = a->status;

    guess(a, code, &nearest);
    fprintf(stderr, "isochrone %s: ", a->command);
    if (message[0] != '\0')
        cli_print(stderr, message);
    else if (status == 200)
        fprintf(stderr, "%s answers something that is not JSON", a->host_port);
    else
        fprintf(stderr, "%s answers with status %u; is it a gateway's admin side?", a->host_port,
                status);
    cli_print(stderr, cli_nearest_hint(&nearest, hint));
    if (status == 401)
        fputs("; here: --token file:PATH", stderr);
    if (strcmp(code, "unknown_url") == 0)
        fprintf(stderr, ": is %s a gateway's admin side?", a->host_port);
    fputc('\n', stderr);
}

cJSON *
cli_admin_json(struct cli_admin *a, const char *path, struct span body, struct span *ret_text)
{
    struct span text;
    const cJSON *error;
    cJSON *json;

    if (!cli_admin_ask(a, path, body, &text))
        return NULL;
    json = cJSON_ParseWithLength(text.data, text.bytes);
    error = cJSON_GetObjectItemCaseSensitive(json, "error");
    if (cJSON_IsObject(json) && error == NULL &&
        (a->status == 200 || a->status == 202 || a->status == 422 || a->status == 503)) {
        if (ret_text != NULL)
            *ret_text = text;
        return json;
    }
    tell_error(a, error);
    cJSON_Delete(json);
    return NULL;
}

bool
cli_admin_nodes(struct cli_admin *a, cli_node_fn *fn, void *user)
{
    char path[CLI_ADMIN_PATH_BYTES_MAX];
    double from = 0.0;
    bool more = true;

    for (uint32_t page = 0; more && page < CLI_ADMIN_PAGES_MAX; page++) {
        const cJSON *node;
        double next;
        cJSON *json;

        snprintf(path, sizeof(path), "/network/v1/nodes?from=%.0f&limit=%u", from,
                 CLI_ADMIN_PAGE_NODES);
        json = cli_admin_json(a, path, (struct span){NULL, 0}, NULL);
        if (json == NULL)
            return false;
        cJSON_ArrayForEach(node, cJSON_GetObjectItemCaseSensitive(json, "nodes"))
        {
            more = more && fn(node, user);
        }
        next = cli_json_number(json, "next");
        more = more && next > from && next < (double)UINT32_MAX;
        from = next;
        cJSON_Delete(json);
    }
    return true;
}

/* ---- Reading. */

const char *
cli_json_text(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsString(item) ? item->valuestring : "";
}

double
cli_json_number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
}

bool
cli_json_true(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, key));
}
