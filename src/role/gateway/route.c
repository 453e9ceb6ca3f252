/* route - one table of paths; see route.h. Both sides are guarded against other sites in a browser
 * (role/origin). */
#include "role/gateway/route.h"

#include <stdio.h>

#include "io/clock.h"
#include "role/answer.h"
#include "role/gateway/admin.h"
#include "role/gateway/bus_http.h"
#include "role/gateway/lane.h"
#include "role/gateway/models.h"
#include "role/gateway/request.h"
#include "role/gateway/via.h"
#include "role/origin.h"

enum route_side {
    ROUTE_PUBLIC = 1,
    ROUTE_ADMIN = 2,
    ROUTE_KEYED = 4 /* on the public side a key is asked for here; completions ask themselves */
};

struct route {
    const char *method, *path; /* a path that ends with '/' takes one more word */
    unsigned sides;
    void (*answer)(struct admin_call *call);
    /* The parameters that it takes, with blanks between them; "": none. NULL: as others have it
     * (health, metrics, OpenAI's), where what is not known does no harm. */
    const char *parameters;
};

static const struct route routes[] = {
    {"GET", "/v1/models", ROUTE_PUBLIC | ROUTE_KEYED, models_list, NULL},
    {"GET", "/v1/models/", ROUTE_PUBLIC | ROUTE_KEYED, models_one, NULL},
    {"GET", "/livez", ROUTE_PUBLIC | ROUTE_ADMIN, admin_livez, NULL},
    {"GET", "/readyz", ROUTE_PUBLIC | ROUTE_ADMIN, admin_readyz, NULL},
    {"GET", "/metrics", ROUTE_ADMIN, admin_metrics, NULL},
    {"GET", "/network/v1/capacity", ROUTE_ADMIN, admin_capacity, ""},
    {"GET", "/network/v1/readiness", ROUTE_ADMIN, admin_readiness, ""},
    {"GET", "/network/v1/demand", ROUTE_ADMIN, admin_demand, ""},
    {"GET", "/network/v1/plan", ROUTE_ADMIN, admin_plan, ""},
    {"GET", "/network/v1/nodes", ROUTE_ADMIN, admin_nodes, "from limit"},
    {"GET", "/network/v1/nodes/", ROUTE_ADMIN, admin_node, ""},
    {"POST", "/network/v1/nodes/", ROUTE_ADMIN, admin_steer, ""},
    {"GET", "/network/v1/directives/", ROUTE_ADMIN, admin_directive, ""},
    {"GET", "/network/v1/bus", ROUTE_ADMIN, admin_bus, ""},
    {"POST", BUS_HTTP_PATH, ROUTE_PUBLIC | ROUTE_ADMIN, bus_http_take, ""},
    {"POST", "/network/v1/reload", ROUTE_ADMIN, admin_reload, ""},
    {"POST", "/network/v1/explain", ROUTE_ADMIN, admin_explain_dry, ""},
    {"GET", "/network/v1/usage", ROUTE_PUBLIC | ROUTE_ADMIN | ROUTE_KEYED, admin_usage,
     "since by key"},
    {"GET", "/network/v1/explain/", ROUTE_PUBLIC | ROUTE_ADMIN | ROUTE_KEYED, admin_explain, ""},
};

/* Does the path of a request belong to this route? *ret_word: what follows a path with '/'. */
static bool
path_matches(const struct route *route, struct span path, struct span *ret_word)
{
    struct span own = span_of(route->path);

    *ret_word = (struct span){NULL, 0};
    if (own.data[own.bytes - 1] != '/')
        return span_eq(path, own);
    if (path.bytes <= own.bytes || !span_starts(path, own))
        return false;
    *ret_word = span_from(path, own.bytes);
    return true;
}

static void
refuse(struct lane *lane, struct http_exchange *x, unsigned status, const char *code,
       const char *message)
{
    struct openai_error e;

    answer_fill(&e, status, status == 401 ? "authentication_error" : "invalid_request_error", code,
                "%s", message);
    metrics_request(&lane->metrics, CORE_MODELS_USUAL, status);
    answer_error(x, &e, NULL);
}

/* A parameter that a path does not take is a mistake that would be taken for an answer. False:
 * told. */
static bool
takes_query(const struct route *route, struct lane *lane, struct http_exchange *x,
            const struct http_request *r)
{
    struct span name = route->parameters != NULL ? admin_query_unknown(r, route->parameters)
                                                 : (struct span){NULL, 0};
    char text[CONFIG_NAME_BYTES_MAX + 1], message[200];
    bool takes_some = route->parameters != NULL && route->parameters[0] != '\0';

    if (name.bytes == 0)
        return true;
    span_copy(name, text, sizeof(text));
    snprintf(message, sizeof(message), "this path takes no parameter `%s`%s%s",
             config_is_name(name) ? text : "?", takes_some ? ", but: " : "", route->parameters);
    refuse(lane, x, 400, "unknown_parameter", message);
    return false;
}

static void
dispatch(const struct route *route, struct span word, struct lane *lane, struct http_exchange *x,
         const struct http_request *r, bool admin)
{
    struct admin_call call = {
        .lane = lane, .exchange = x, .http = r, .word = word, .is_admin = admin};
    struct access_grant grant;

    if (!admin && (route->sides & ROUTE_KEYED) != 0) {
        enum access_verdict verdict = access_who(&lane_fleet(lane)->roster->access, r,
                                                 clock_wall_s(), &grant);
        if (verdict != ACCESS_GRANTED) {
            metrics_add(&lane->metrics.key_refusals[verdict], 1);
            refuse(lane, x, 401,
                   verdict == ACCESS_NO_KEY    ? "missing_api_key"
                   : verdict == ACCESS_EXPIRED ? "expired_api_key"
                                               : "invalid_api_key",
                   "send a valid API key: `Authorization: Bearer KEY` or `x-api-key: KEY`");
            return;
        }
        call.key_id = grant.key_id;
        call.key = grant.key;
    }
    if (takes_query(route, lane, x, r))
        route->answer(&call);
}

/* Find the route on this side and follow it. */
static void
follow(struct lane *lane, struct http_exchange *x, const struct http_request *r, unsigned side)
{
    bool path_known = false;

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        struct span word;
        if ((routes[i].sides & side) == 0 || !path_matches(&routes[i], r->path, &word))
            continue;
        path_known = true;
        if (span_eq_text(r->method, routes[i].method)) {
            dispatch(&routes[i], word, lane, x, r, side == ROUTE_ADMIN);
            return;
        }
    }
    if (path_known)
        refuse(lane, x, 405, "method_not_allowed", "this path does not take this method");
    else
        refuse(lane, x, 404, "unknown_url", "there is nothing at this path");
}

/* ---- The admin side. */

static void
refuse_origin(struct lane *lane, struct http_exchange *x, const struct origin_refusal *refusal)
{
    refuse(lane, x, refusal->status, refusal->code, refusal->message);
}

void
route_admin(struct http_exchange *x, const struct http_request *r, void *user)
{
    struct lane *lane = user;
    struct origin_refusal refusal;

    if (origin_admin(lane_fleet(lane)->roster, r, &refusal))
        follow(lane, x, r, ROUTE_ADMIN);
    else
        refuse_origin(lane, x, &refusal);
}

bool
route_admit_admin(const struct http_request *r, void *user, struct http_share **ret_share)
{
    (void)ret_share; /* one operator has it all */
    return origin_has_token(lane_fleet(user)->roster, r);
}

/* ---- The public side. */

/* Did a proxy on this machine bring it? Not every proxy says so. */
static bool
is_forwarded(const struct http_request *r)
{
    static const char *const names[] = {"forwarded", "via", "x-forwarded-for", "x-real-ip"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (http_request_header(r, span_of(names[i])).bytes > 0)
            return true;
    }
    return false;
}

/* Under `up` the admin side is also here, for clients on this machine. */
static bool
is_local_admin(struct lane *lane, struct http_exchange *x, const struct http_request *r)
{
    struct sockaddr_storage peer, local;

    if (!lane->gateway->admin_on_public || is_forwarded(r))
        return false;
    if (!span_starts(r->path, SPAN_LIT("/network/")) && !span_eq(r->path, SPAN_LIT("/metrics")))
        return false;
    http_exchange_peer(x, &peer, &local);
    return roster_is_loopback((const struct sockaddr *)&peer);
}

bool
route_admit_public(const struct http_request *r, void *user, struct http_share **ret_share)
{
    const struct roster *roster = lane_fleet(user)->roster;
    const struct access *access = &roster->access;
    struct access_grant grant;

    if (bus_http_admits(roster, r))
        return true;
    if (access_who(access, r, clock_wall_s(), &grant) != ACCESS_GRANTED)
        return false;
    *ret_share = access_share(access, &grant);
    return true;
}

static void
begin(struct lane *lane, enum openai_api api, struct http_exchange *x, const struct http_request *r)
{
    if (via_goes_round(lane->gateway->via_mark, r))
        refuse(lane, x, 508, "goes_round",
               "this request was here before: the URL of a node or engine leads back to a gateway");
    else
        request_begin(lane, api, x, r);
}

void
route_public(struct http_exchange *x, const struct http_request *r, void *user)
{
    struct lane *lane = user;
    bool post = span_eq(r->method, SPAN_LIT("POST"));
    struct origin_refusal refusal;

    if (!origin_public(lane_fleet(lane)->roster, r, &refusal))
        refuse_origin(lane, x, &refusal);
    else if (post && span_eq(r->path, SPAN_LIT("/v1/chat/completions")))
        begin(lane, OPENAI_CHAT, x, r);
    else if (post && span_eq(r->path, SPAN_LIT("/v1/completions")))
        begin(lane, OPENAI_COMPLETIONS, x, r);
    else if (span_eq(r->path, SPAN_LIT("/v1/chat/completions")) ||
             span_eq(r->path, SPAN_LIT("/v1/completions")))
        refuse(lane, x, 405, "method_not_allowed", "POST a request here");
    else if (is_local_admin(lane, x, r))
        route_admin(x, r, user);
    else
        follow(lane, x, r, ROUTE_PUBLIC);
}
