/* bus_http - from a request to a message; see bus_http.h. */
#include "role/gateway/bus_http.h"

#include <stdio.h>
#include <string.h>

#include "io/clock.h"
#include "role/gateway/admin.h"
#include "role/gateway/members.h"
#include "role/gateway/peers.h"
#include "wire/message_proof.h"

/* The name is not said by who carries the message, as it is on NATS: so it is the message's own,
 * and what is signed proves it. */
static struct span
name_in(struct span body, const char *key)
{
    struct span rest = {NULL, 0};
    const char *at = memmem(body.data, body.bytes, key, strlen(key));

    if (at != NULL) {
        rest = span_from(body, (size_t)(at - body.data) + strlen(key));
        rest.bytes = span_find(rest, '"');
    }
    return rest;
}

/* ---- Kinds of messages, and who takes each. */

struct said { /* a message, and what was shown beside it */
    struct gateway *gateway;
    const struct config *config;
    struct span kind, body;
    bool is_public;
    const struct signature *signature; /* NULL: none */
    const unsigned char *pin;          /* NULL: none */
    struct bucket *strangers;          /* NULL: on the admin side */
};

/* What nodes say of themselves. */
static void
take_member(const struct said *said, struct members_answer *ret_answer)
{
    struct members_message message = {.name = name_in(said->body, "\"node\":\""),
                                      .body = said->body,
                                      .is_public = said->is_public,
                                      .signature = said->signature,
                                      .pin = said->pin,
                                      .strangers = said->strangers};

    if (members_kind_parse(said->kind, &message.kind) == ERR_OK && config_is_name(message.name))
        members_take(said->gateway->members, &message, ret_answer);
    else
        members_refuse(said->gateway->members, message.kind, (struct span){NULL, 0},
                       MEMBERS_MALFORMED, "the message says no name of a node", ret_answer);
}

/* What another gateway says of itself: the message is signed, or it is nobody's; on the public side
 * by one that the configuration names. */
static void
take_peer(const struct said *said, struct members_answer *ret_answer)
{
    struct span name = name_in(said->body, "\"gateway\":\"");
    uint32_t verdict = PEERS_MALFORMED;

    if (said->is_public && peers_named(said->config, name) == NULL) {
        members_refuse(said->gateway->members, MEMBERS_DEMAND, name, MEMBERS_UNPROVEN,
                       "the listener's configuration names no such gateway (`gateways`)",
                       ret_answer);
        return;
    }
    if (config_is_name(name))
        verdict = peers_take(said->gateway->peers, name, said->body, true);
    *ret_answer = (struct members_answer){
        .verdict = verdict == DEMAND_NEWS        ? REPORT_NEWS
                   : verdict == PEERS_MALFORMED  ? MEMBERS_MALFORMED
                   : verdict == DEMAND_TOO_OFTEN ? REPORT_TOO_OFTEN
                                                 : REPORT_STALE,
        .name = peers_verdict_name(verdict),
        .want = ""};
    snprintf(ret_answer->words, sizeof(ret_answer->words), "%s", peers_verdict_words(verdict));
}

static const struct {
    const char *name;
    void (*take)(const struct said *said, struct members_answer *ret_answer);
} kinds[] = {
    {"report", take_member}, {"hello", take_member}, {"gone", take_member},
    {"chain", take_member},  {"demand", take_peer},
};

/* ---- Who may say how much. */

bool
bus_http_admits(const struct roster *roster, const struct http_request *r)
{
    uint64_t bytes;

    return roster->config.bus.http && span_eq(r->method, SPAN_LIT("POST")) &&
           span_starts(r->path, SPAN_LIT(BUS_HTTP_PATH)) &&
           span_u64(http_request_header(r, SPAN_LIT("content-length")), &bytes) == ERR_OK &&
           bytes <= MESSAGE_BYTES_MAX;
}

static size_t
slot_of(const struct admin_call *call)
{
    struct sockaddr_storage peer;

    http_exchange_peer(call->exchange, &peer, NULL);
    return http_addresses_hash(call->lane->gateway->addresses, (const struct sockaddr *)&peer) %
           BUS_HTTP_ADDRESSES;
}

static bool
address_may(const struct admin_call *call)
{
    struct bus_http *b = &call->lane->gateway->bus_http;
    uint64_t wait_ns;

    return bucket_take(&b->buckets[slot_of(call)], BUS_HTTP_PER_MINUTE_MAX, 1, clock_now_ns(),
                       &wait_ns);
}

/* ---- The request. */

static unsigned
status_of(uint32_t verdict)
{
    if (verdict <= REPORT_GAP)
        return 200;
    switch (verdict) {
    case MEMBERS_MALFORMED:
        return 400;
    case MEMBERS_UNPROVEN:
        return 401;
    case MEMBERS_OVERSIZED:
        return 413;
    case REPORT_TOO_OFTEN:
    case MEMBERS_BUSY_ADDRESS:
        return 429;
    default:
        return 409;
    }
}

static void
answer(struct admin_call *call, const struct members_answer *a)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "verdict", a->name);
    cJSON_AddStringToObject(json, "words", a->words);
    cJSON_AddStringToObject(json, "want", a->want);
    admin_send(call->exchange, status_of(a->verdict), json);
}

/* Its body, which was not let in then, or came with the head. */
static bool
is_oversized(const struct http_request *r)
{
    uint64_t bytes;

    return r->body.bytes > MESSAGE_BYTES_MAX ||
           (span_u64(http_request_header(r, SPAN_LIT("content-length")), &bytes) == ERR_OK &&
            bytes > MESSAGE_BYTES_MAX);
}

/* The message and what stands beside it. False: refused, and answered. */
static bool
read_request(struct admin_call *call, struct said *ret_said, struct signature *signature,
             unsigned char pin[TLS_PIN_BYTES])
{
    const struct http_request *r = call->http;
    struct members *members = call->lane->gateway->members;
    const struct span nobody = {NULL, 0};
    struct span shown = http_request_header(r, SPAN_LIT(MESSAGE_PROOF_HEADER));
    struct members_answer a;

    *ret_said = (struct said){.gateway = call->lane->gateway,
                              .config = &lane_fleet(call->lane)->roster->config,
                              .kind = call->word,
                              .body = r->body,
                              .is_public = !call->is_admin};
    if (!call->is_admin && !address_may(call))
        members_refuse(members, MEMBERS_REPORT, nobody, MEMBERS_BUSY_ADDRESS, NULL, &a);
    else if (is_oversized(r))
        members_refuse(members, MEMBERS_REPORT, nobody, MEMBERS_OVERSIZED, NULL, &a);
    else if (r->body.bytes == 0)
        members_refuse(members, MEMBERS_REPORT, nobody, MEMBERS_MALFORMED,
                       "a message has a Content-Length of 1 to 4096", &a);
    else if (shown.bytes > 0 && message_proof_parse(shown, signature) != ERR_OK)
        members_refuse(members, MEMBERS_REPORT, nobody, MEMBERS_MALFORMED,
                       "Isochrone-Signature is ed25519: and 128 digits of 0-9a-f", &a);
    else {
        if (!call->is_admin)
            ret_said->strangers = &call->lane->gateway->bus_http.strangers[slot_of(call)];
        ret_said->signature = shown.bytes > 0 ? signature : NULL;
        ret_said->pin = http_exchange_client_pin(call->exchange, pin) ? pin : NULL;
        return true;
    }
    answer(call, &a);
    return false;
}

void
bus_http_take(struct admin_call *call)
{
    const struct roster *roster = lane_fleet(call->lane)->roster;
    unsigned char pin[TLS_PIN_BYTES];
    struct signature signature;
    struct members_answer a;
    struct said said;
    size_t i = 0;

    if (!call->is_admin && !roster->config.bus.http) {
        admin_send_error(call->exchange, 404, "unknown_url", "there is nothing at this path");
        return;
    }
    while (i < sizeof(kinds) / sizeof(kinds[0]) && !span_eq_text(call->word, kinds[i].name))
        i++;
    if (i == sizeof(kinds) / sizeof(kinds[0])) {
        admin_send_error(call->exchange, 404, "unknown_url",
                         "messages are report, hello, gone, chain and demand");
        return;
    }
    if (read_request(call, &said, &signature, pin)) {
        kinds[i].take(&said, &a);
        answer(call, &a);
    }
}
