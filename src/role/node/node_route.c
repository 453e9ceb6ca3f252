/* node_route - the paths of a node: the model API and the reports on its public side, for gateways;
 * what people and machines look at on its admin side. Everything else is nobody's: an engine's
 * other routes (load, unload, weights, profiles) are not for who may only ask for completions. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "io/clock.h"
#include "role/answer.h"
#include "role/node/node_control.h"
#include "role/origin.h"

static const struct node_api apis[] = {
    {"/v1/chat/completions", .is_openai = true, .has_output = true},
    {"/v1/completions", .is_openai = true, .has_output = true},
    {"/v1/embeddings", .is_openai = true, .has_output = false},
    {"/v1/responses", .is_openai = false, .has_output = true},
    {"/v1/messages", .is_openai = false, .has_output = true},
};

void
node_refuse(struct http_exchange *x, unsigned status, const char *code, float retry_ms,
            const char *format, ...)
{
    char message[160];
    struct openai_error e;
    struct answer_head head;
    va_list list;

    va_start(list, format);
    (void)vsnprintf(message, sizeof(message), format, list);
    va_end(list);
    answer_fill(&e, status,
                status == 401   ? "authentication_error"
                : status == 429 ? "rate_limit_error"
                : status >= 500 ? "server_error"
                                : "invalid_request_error",
                code, "%s", message);
    answer_head_init(&head);
    answer_retry_head(&head, retry_ms, false);
    answer_error_head(x, &e, &head);
}

static bool
is_get(const struct http_request *r, const char *path)
{
    return span_eq(r->method, SPAN_LIT("GET")) && span_eq_text(r->path, path);
}

/* May it come in? Whom TLS let in comes in; with keys a key is asked for. False: answered. */
static bool
may_enter(struct node *n, struct http_exchange *x, const struct http_request *r,
          struct access_grant *ret_grant)
{
    struct origin_refusal refusal;

    if (access_who(&n->roster->access, r, clock_wall_s(), ret_grant) != ACCESS_GRANTED) {
        node_refuse(x, 401, "invalid_api_key", NAN,
                    "this node wants a key of a gateway: `Authorization: Bearer KEY`");
        return false;
    }
    if (!config_node_knows_callers(n->config) && !origin_public(n->roster, r, &refusal)) {
        node_refuse(x, refusal.status, refusal.code, NAN, "%s", refusal.message);
        return false;
    }
    return true;
}

static const struct config_gateway *
by_name(const struct config_node *c, struct span name)
{
    for (size_t i = 0; i < c->base.gateway_count; i++) {
        if (span_eq(c->base.gateways[i].name, name))
            return &c->base.gateways[i];
    }
    return NULL;
}

static const struct config_gateway *
by_pin(const struct config_node *c, const struct http_exchange *x)
{
    unsigned char pin[TLS_PIN_BYTES];

    if (!http_exchange_client_pin(x, pin))
        return NULL;
    for (size_t i = 0; i < c->base.gateway_count; i++) {
        if (c->base.gateways[i].pin.bytes > 0 &&
            memcmp(c->base.gateways[i].pin_sha256, pin, sizeof(pin)) == 0)
            return &c->base.gateways[i];
    }
    return NULL;
}

/* The common name of the certificate that was shown; empty: none. */
static struct span
common_name(const struct http_exchange *x)
{
    const char *text = http_exchange_client_certificate(x), *at = strstr(text, "CN=");

    if (at == NULL || (at != text && at[-1] != ','))
        return (struct span){NULL, 0};
    return (struct span){at + 3, strcspn(at + 3, ",")};
}

/* Which of the gateways of the configuration has shown that it asks: by the name of its key, or by
 * its certificate. NULL: none of them. */
static const struct config_gateway *
shown_caller(const struct node *n, const struct http_exchange *x, const struct access_grant *grant)
{
    const struct config_gateway *found;

    if (grant->key != NULL)
        return by_name(n->config, grant->key->name);
    found = by_pin(n->config, x);
    return found != NULL ? found : by_name(n->config, common_name(x));
}

/* Or, where anybody comes in, as it says itself. */
static const struct config_gateway *
caller_of(const struct node *n, const struct http_exchange *x, const struct http_request *r,
          const struct access_grant *grant)
{
    const struct config_gateway *shown = shown_caller(n, x, grant);

    if (shown != NULL || grant->key != NULL)
        return shown;
    return by_name(n->config, node_gateway_name(n, r));
}

/* As which gateway it is counted: what one says in another's name would be held against the node
 * by that one. Empty: as none. */
static struct span
counted_name(const struct node *n, const struct http_exchange *x, const struct http_request *r,
             const struct access_grant *grant)
{
    const struct config_gateway *shown = shown_caller(n, x, grant);
    struct span said = node_gateway_name(n, r);

    return shown == NULL || span_eq(shown->name, said) ? said : (struct span){NULL, 0};
}

/* May it have the engines answer? False: answered. */
static bool
may_infer(const struct node *n, struct http_exchange *x, const struct http_request *r,
          const struct access_grant *grant)
{
    const struct config_gateway *caller;

    if (n->config->base.gateway_count == 0)
        return true;
    caller = caller_of(n, x, r, grant);
    if (caller != NULL && (caller->may & DIRECTIVE_MAY_INFER) == 0)
        node_refuse(
            x, 403, "may_not_infer", NAN,
            "`may` of the gateway %.*s has no `infer` at this node: it may send no requests",
            (int)caller->name.bytes, caller->name.data);
    else if (caller == NULL && grant->key != NULL)
        node_refuse(x, 403, "may_not_infer", NAN, "the key %.*s has the name of no gateway here",
                    (int)grant->key->name.bytes, grant->key->name.data);
    else
        return true; /* who is let in and is none of them: everybody may, or whom the CA knows */
    return false;
}

static void
route_public(struct http_exchange *x, const struct http_request *r, void *user)
{
    struct node *n = user;
    struct access_grant grant;

    if (is_get(r, "/livez")) {
        node_livez(x);
        return;
    }
    if (!may_enter(n, x, r, &grant))
        return;
    for (size_t i = 0; i < sizeof(apis) / sizeof(apis[0]); i++) {
        if (!span_eq_text(r->path, apis[i].path))
            continue;
        if (span_eq(r->method, SPAN_LIT("POST")) && may_infer(n, x, r, &grant))
            node_proxy_begin(n, &apis[i], x, r, counted_name(n, x, r, &grant));
        else if (!span_eq(r->method, SPAN_LIT("POST")))
            node_refuse(x, 405, "method_not_allowed", NAN, "POST a request here");
        return;
    }
    if (is_get(r, "/v1/models"))
        node_models_get(n, x);
    else if (is_get(r, "/readyz"))
        node_readyz(n, x);
    else if (is_get(r, "/network/v1/report"))
        node_report_get(n, x, r);
    else if (is_get(r, "/network/v1/hello"))
        node_hello_get(n, x);
    else if (span_eq(r->method, SPAN_LIT("POST")) && span_eq_text(r->path, "/network/v1/directive"))
        node_control_post(n, x, r);
    else
        node_refuse(x, 404, "unknown_url", NAN, "there is nothing at this path");
}

static bool
admit_public(const struct http_request *r, void *user, struct http_share **ret_share)
{
    const struct node *n = user;
    struct access_grant grant;

    if (access_who(&n->roster->access, r, clock_wall_s(), &grant) != ACCESS_GRANTED)
        return false;
    *ret_share = access_share(&n->roster->access, &grant);
    return true;
}

static void
route_admin(struct http_exchange *x, const struct http_request *r, void *user)
{
    struct node *n = user;
    struct origin_refusal refusal;

    if (!origin_admin(n->roster, r, &refusal)) {
        node_refuse(x, refusal.status, refusal.code, NAN, "%s", refusal.message);
    } else if (is_get(r, "/livez")) {
        node_livez(x);
    } else if (is_get(r, "/readyz")) {
        node_readyz(n, x);
    } else if (is_get(r, "/metrics")) {
        node_metrics(n, x);
    } else if (is_get(r, "/network/v1/report")) {
        node_report_get(n, x, r);
    } else if (is_get(r, "/network/v1/hello")) {
        node_hello_get(n, x);
    } else if (span_eq(r->method, SPAN_LIT("POST")) && span_eq_text(r->path, "/network/v1/drain")) {
        answer_body(x, 202, SPAN_LIT("application/json"), SPAN_LIT("{\"draining\":true}"));
        node_end(n);
    } else {
        node_refuse(x, 404, "unknown_url", NAN, "there is nothing at this path");
    }
}

static bool
admit_admin(const struct http_request *r, void *user, struct http_share **ret_share)
{
    const struct node *n = user;

    (void)ret_share; /* one operator has it all */
    return origin_has_token(n->roster, r);
}

static void
on_gone(struct http_exchange *x, void *user)
{
    (void)user;
    node_proxy_gone(x);
}

static void
on_drained(struct http_exchange *x, void *user)
{
    (void)user;
    node_proxy_drained(x);
}

const struct http_server_fn node_public_fn = {
    .request = route_public, .admit = admit_public, .gone = on_gone, .drained = on_drained};
const struct http_server_fn node_admin_fn = {.request = route_admin, .admit = admit_admin};
