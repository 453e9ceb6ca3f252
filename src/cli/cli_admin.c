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
#include "cli/cli_table.h"
#include "wire/config.h"

#define BODY_START_BYTES 65536u

/* ---- Where and as whom. */

static int
complain_url(const struct cli_admin *a)
{
    fprintf(stderr,
            "isochrone %s: `%s` is no admin address; write it as " CLI_ADMIN_URL
            " (https is not built in)\n",
            a->command, a->url_text);
    return CLI_USAGE;
}

/* The token's file, into an Authorization header. */
static int
read_token(struct cli_admin *a)
{
    struct span text;
    enum err err;

    if (a->token_text == NULL)
        a->token_text = getenv("ISOCHRONE_ADMIN_TOKEN");
    if (a->token_text == NULL || a->token_text[0] == '\0')
        return CLI_OK;
    if (strncmp(a->token_text, "file:", 5) != 0) {
        fprintf(stderr,
                "isochrone %s: the token is taken from a file: --token file:PATH\n"
                "(on a command line everybody on this machine could read it)\n",
                a->command);
        return CLI_USAGE;
    }
    err = cli_read_file(a->token_text + 5, CLI_ADMIN_TOKEN_BYTES_MAX, &a->arena, &text);
    if (err != ERR_OK) {
        fprintf(stderr, "isochrone %s: %s: %s\n", a->command, a->token_text + 5,
                cli_read_words(err));
        return CLI_FAILED;
    }
    while (text.bytes > 0 && strchr(" \t\r\n", text.data[text.bytes - 1]) != NULL)
        text.bytes--;
    if (arena_printf(&a->arena, &a->authorization, "Bearer %.*s", (int)text.bytes, text.data) !=
        ERR_OK)
        return CLI_FAILED;
    return CLI_OK;
}

int
cli_admin_open(struct cli_admin *a)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct span host;
    char port[8];
    int result, error;

    arena_init(&a->arena, CLI_ADMIN_MEMORY_MAX);
    if (a->url_text == NULL)
        a->url_text = getenv("ISOCHRONE_ADMIN");
    a->is_default = a->url_text == NULL || a->url_text[0] == '\0';
    if (a->is_default)
        a->url_text = CLI_ADMIN_URL;
    if ((config_url(span_of(a->url_text), &host, &a->port) != ERR_OK &&
         config_host_port(span_of(a->url_text), &host, &a->port) != ERR_OK) ||
        host.bytes >= sizeof(a->host))
        return complain_url(a);
    span_copy(host, a->host, sizeof(a->host));
    snprintf(a->host_port, sizeof(a->host_port),
             span_find(host, ':') < host.bytes ? "[%s]:%u" : "%s:%u", a->host, a->port);
    result = read_token(a);
    if (result != CLI_OK)
        return result;
    snprintf(port, sizeof(port), "%u", a->port);
    error = getaddrinfo(a->host, port, &hints, &a->addresses);
    if (error != 0) {
        fprintf(stderr, "isochrone %s: %s: %s\n", a->command, a->host, gai_strerror(error));
        return CLI_FAILED;
    }
    if (loop_open(&a->loop) != ERR_OK || http_client_open(a->loop, &a->client) != ERR_OK) {
        fprintf(stderr, "isochrone %s: cannot start\n", a->command);
        return CLI_FAILED;
    }
    return CLI_OK;
}

void
cli_admin_close(struct cli_admin *a)
{
    http_client_close(a->client);
    loop_close(a->loop);
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

    fprintf(stderr, "isochrone %s: no gateway answers at %s: %s\n", a->command, a->host_port,
            words[a->why]);
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

cJSON *
cli_admin_json(struct cli_admin *a, const char *path, struct span body, struct span *ret_text)
{
    struct span text;
    const char *message;
    const cJSON *error;
    cJSON *json;

    if (!cli_admin_ask(a, path, body, &text))
        return NULL;
    json = cJSON_ParseWithLength(text.data, text.bytes);
    error = cJSON_GetObjectItemCaseSensitive(json, "error");
    if (cJSON_IsObject(json) && error == NULL &&
        (a->status == 200 || a->status == 422 || a->status == 503)) {
        if (ret_text != NULL)
            *ret_text = text;
        return json;
    }
    message = cli_json_text(error, "message");
    fprintf(stderr, "isochrone %s: ", a->command);
    if (message[0] != '\0')
        cli_print(stderr, message);
    else if (a->status == 200)
        fprintf(stderr, "%s answers something that is not JSON", a->host_port);
    else
        fprintf(stderr, "%s answers with status %u; is it a gateway's admin side?", a->host_port,
                a->status);
    if (a->status == 401)
        fputs("; here: --token file:PATH", stderr);
    fputc('\n', stderr);
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
