/* access_line - JSON by hand into a buffer that all of it fits into: every text of others is cut
 * before it is escaped (six bytes for one at worst); see access_line.h. */
#include "role/gateway/access_line.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/log_file.h"
#include "role/gateway/answer_request.h"
#include "role/gateway/request.h"
#include "wire/json.h"

/* ,"name":"value", cut to bytes_max; nothing when it is empty. name: with its quotes and colon. */
static void
put_string(struct put *p, const char *name, struct span value, size_t bytes_max)
{
    size_t bytes;

    if (value.bytes == 0)
        return;
    value.bytes = value.bytes < bytes_max ? value.bytes : bytes_max;
    bytes = json_escaped_bytes(value);
    put_text(p, name);
    must(bytes + 2 <= p->room_bytes - p->bytes);
    p->text[p->bytes++] = '"';
    json_escape(value, p->text + p->bytes);
    p->bytes += bytes;
    p->text[p->bytes++] = '"';
}

static void
put_number(struct put *p, const char *name, uint64_t value)
{
    put_text(p, name);
    put_u64(p, value);
}

static void
put_bool(struct put *p, const char *name, bool value)
{
    put_text(p, name);
    put_text(p, value ? "true" : "false");
}

static void
put_duration(struct put *p, const char *name, uint64_t from_ns, uint64_t to_ns)
{
    if (from_ns == 0 || to_ns < from_ns)
        return;
    put_text(p, name);
    put_ms(p, (to_ns - from_ns) / 1000);
}

/* ---- A completion's part. */

static void
put_node(struct put *p, const struct request *r)
{
    const struct attempt *a = r->shown;
    const struct roster *roster = a->fleet != NULL ? a->fleet->roster : NULL;
    const struct roster_node *node = roster != NULL ? roster_node(roster, a->node) : NULL;
    char text[160];
    struct put reason = {.text = text, .room_bytes = sizeof(text)};

    put_number(p, ",\"attempts\":", r->tries);
    if (node == NULL)
        return;
    put_string(p, ",\"node\":", node->name, CONFIG_NAME_BYTES_MAX);
    put_string(p, ",\"region\":", roster->regions.list[node->region], CONFIG_NAME_BYTES_MAX);
    put_string(p, ",\"operator\":", roster->operators.list[node->operator], CONFIG_NAME_BYTES_MAX);
    put_bool(p, ",\"hedged\":", a->is_hedge);
    answer_reason(&reason, r);
    put_string(p, ",\"reason\":", (struct span){text, reason.bytes}, sizeof(text));
    put_duration(p, ",\"queue_ms\":", r->arrived_ns, a->dispatched_ns);
}

static void
put_usage(struct put *p, const struct openai_usage *u)
{
    if (!u->known)
        return;
    put_number(p, ",\"prompt_tokens\":", u->prompt_tokens);
    if (u->cached_known)
        put_number(p, ",\"cached_tokens\":", u->cached_tokens);
    put_number(p, ",\"completion_tokens\":", u->output_tokens);
}

struct span
access_line_of(const struct request *r, const char *error_code)
{
    const struct fleet *fleet = r->shown->fleet != NULL ? r->shown->fleet : lane_fleet(r->lane);
    char text[ACCESS_LINE_BYTES_MAX / 2];
    struct put p = {.text = text, .room_bytes = sizeof(text)};
    struct span copy;

    put_string(&p, ",\"id\":", (struct span){r->id_text, REQUEST_ID_BYTES}, REQUEST_ID_BYTES);
    put_string(&p, ",\"key\":", span_of(r->key_name), CONFIG_NAME_BYTES_MAX);
    put_string(&p, ",\"model\":", r->openai.model, ACCESS_LINE_MODEL_MAX);
    if (r->model < fleet->model_count)
        put_string(&p, ",\"served\":", fleet->models[r->model].name, ACCESS_LINE_MODEL_MAX);
    put_bool(&p, ",\"stream\":", r->openai.stream);
    if (error_code != NULL)
        put_string(&p, ",\"error\":", span_of(error_code), CONFIG_NAME_BYTES_MAX);
    put_node(&p, r);
    put_duration(&p, ",\"ttft_ms\":", r->arrived_ns, r->first_ns);
    put_usage(&p, &r->shown->usage);
    if (arena_copy(http_exchange_arena(r->exchange), (struct span){text, p.bytes}, &copy) != ERR_OK)
        return (struct span){NULL, 0};
    return copy;
}

/* ---- The whole line. */

static void
put_time(struct put *p)
{
    uint64_t ms = clock_wall_ms();
    time_t seconds = (time_t)(ms / 1000);
    char text[64];
    struct tm utc;
    int bytes;

    must(gmtime_r(&seconds, &utc) != NULL);
    bytes = snprintf(text, sizeof(text), "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"",
                     utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
                     utc.tm_sec, (int)(ms % 1000));
    must(bytes > 0 && (size_t)bytes < sizeof(text));
    put_text(p, text);
}

static void
put_client(struct put *p, const struct sockaddr *peer)
{
    char host[INET6_ADDRSTRLEN] = "", text[INET6_ADDRSTRLEN + 10];
    bool is_v6 = peer->sa_family == AF_INET6;
    struct sockaddr_in v4 = {0};
    struct sockaddr_in6 v6 = {0};

    if (is_v6)
        memcpy(&v6, peer, sizeof(v6));
    else if (peer->sa_family == AF_INET)
        memcpy(&v4, peer, sizeof(v4));
    else
        return;
    if (inet_ntop(peer->sa_family, is_v6 ? (const void *)&v6.sin6_addr : &v4.sin_addr, host,
                  sizeof(host)) == NULL)
        return;
    snprintf(text, sizeof(text), is_v6 ? "[%s]:%u" : "%s:%u", host,
             ntohs(is_v6 ? v6.sin6_port : v4.sin_port));
    put_string(p, ",\"client\":", span_of(text), sizeof(text));
}

static void
put_line(struct lane *lane, struct put *p)
{
    put_text(p, "}\n");
    must(p->bytes < p->room_bytes); /* or something was left out */
    log_file_put(lane->gateway->access_log, lane->index, (struct span){p->text, p->bytes});
}

void
access_line_refused(struct lane *lane, const struct sockaddr *peer, const char *protocol,
                    unsigned status, const char *code)
{
    char text[512];
    struct put p = {.text = text, .room_bytes = sizeof(text)};

    put_time(&p);
    put_client(&p, peer);
    put_string(&p, ",\"protocol\":", span_of(protocol), 16);
    put_number(&p, ",\"status\":", status);
    put_string(&p, ",\"outcome\":", SPAN_LIT("refused"), 16);
    put_string(&p, ",\"error\":", span_of(code), CONFIG_NAME_BYTES_MAX);
    put_line(lane, &p);
}

void
access_line_put(struct lane *lane, const struct http_exchange *x, enum access_outcome outcome,
                struct span more)
{
    static const char *const outcomes[] = {[ACCESS_COMPLETE] = "complete",
                                           [ACCESS_ERROR] = "error",
                                           [ACCESS_CLIENT_GONE] = "client_gone",
                                           [ACCESS_CLIENT_SLOW] = "client_slow"};
    const struct http_request *r = http_exchange_request(x);
    char text[ACCESS_LINE_BYTES_MAX];
    struct put p = {.text = text, .room_bytes = sizeof(text)};
    struct sockaddr_storage peer;

    put_time(&p);
    http_exchange_peer(x, &peer, NULL);
    put_client(&p, (const struct sockaddr *)&peer);
    put_string(&p, ",\"client_certificate\":", span_of(http_exchange_client_certificate(x)),
               ACCESS_LINE_CERTIFICATE_MAX);
    put_string(&p, ",\"method\":", r->method, 32);
    put_string(&p, ",\"path\":", r->path, ACCESS_LINE_PATH_MAX);
    put_string(&p, ",\"protocol\":", span_of(http_exchange_protocol(x)), 16);
    put_number(&p, ",\"status\":", http_exchange_status(x));
    put_string(&p, ",\"outcome\":", span_of(outcomes[outcome]), 16);
    put_number(&p, ",\"bytes_in\":", r->body.bytes);
    put_number(&p, ",\"bytes_out\":", http_exchange_body_bytes(x));
    put_duration(&p, ",\"total_ms\":", http_exchange_began_ns(x), clock_now_ns());
    put_span(&p, more);
    put_line(lane, &p);
}
