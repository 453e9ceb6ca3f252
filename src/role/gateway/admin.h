#ifndef ROLE_GATEWAY_ADMIN_H
#define ROLE_GATEWAY_ADMIN_H
/* admin - what the gateway tells about itself: health, the network API (JSON), metrics.
 *
 *   POST /network/v1/reload           {"reloaded", "messages": [{"level", "text"}]}; 200 or 422
 *   GET  /livez                       "ok"
 *   GET  /readyz                      {"ready", "reason", "nodes", "ready_placements"}; 200 or 503
 *   GET  /network/v1/capacity         {"slo": {"ttft_p90_ms", "ttft_p90_ms_per_prompt_token",
 *                                     "ttft_source": "config" or "default", "tpot_p90_ms",
 *                                     "tpot_source"}, "additive": false, "models": [{"model",
 *                                     "regions": [capacity]}]}
 *   GET  /network/v1/readiness        {"models": [{"model", "regions": [{"region", "absent": n,
 * ..., one count per state, "silent": n (of nodes that are: in no state), "silent_ms": the longest
 * or null, "ready_in_ms": soonest or null}]}]}
 *
 *   GET  /network/v1/demand           {"gateway", "gateways": n, "models": [{"model", "regions":
 *                                     [{"region", "requests_s", "prompt_tok_s", "output_tok_s",
 *                                     "usual_requests_s", "ahead_requests_s",
 *                                     "trend_requests_s_min", "told_requests_s",
 *                                     "told_usual_requests_s": the part of it that other gateways
 *                                     count, "told_by": [gateway], "told_by_count"}]}]}: models
 *                                     that were ever asked for
 *
 *   GET  /network/v1/plan             {"nodes_steered": n, "why_none": words, "directives":
 *                                     [directive]}: the last first
 *
 *   GET  /network/v1/directives/ID    directive
 *
 *   POST /network/v1/nodes/NAME/ACTION   {"model": NAME} or nothing; load, unload, wake, sleep,
 * pin, unpin, drain, ready: 202 with a directive; 400, 404, 409
 *
 *   GET  /network/v1/nodes            {"nodes": [node], "next": index or null};
 *                                     ?from=INDEX&limit=N
 *
 *   GET  /network/v1/nodes/NAME       a node with "models": [{"model", "engine_name", "state",
 * "pinned"}]
 *
 *   GET  /network/v1/bus              {"configured", "bus": {"connected", "since_ms", ...},
 * "members", "in_fleet", "proven", "silent", "reports", "piggybacks", "hellos", "refused": {reason:
 * n}, "gateways": n, "peers": [{"gateway", "region", "key", "state": "alive", "silent" or "gone",
 * "heard_ago_ms", "epoch", "messages", "refused", "models", "requests_s", "usual_requests_s"}],
 * "peers_refused": {reason: n}, "refused_nodes": [{"node", "reason", "words", "times", "ago_ms"}]}:
 * the newest first
 *
 *   POST /network/v1/bus/KIND         see bus_http.h; on the public side, too, where it is on
 *
 *   POST /network/v1/explain          an OpenAI body: {"decision": decision}; nothing is sent
 *
 *   GET  /network/v1/explain/ID       {"id", "attempts": [decision]}
 *
 *   GET  /metrics                     Prometheus text
 *
 *   GET  /network/v1/usage            {"from": time, "by": [word], "rows": [{"hour", "key", "model"
 *                                     (those of `by`), "requests", "failed", "refused",
 *                                     "prompt_tokens", "cached_tokens", "output_tokens"}], "more":
 *                                     bool}; ?since=24h&by=key,model,hour&key=NAME; on the public
 *                                     side of the key that asks. Up to a second or two old.
 *
 * capacity: {"region", "nodes_ready" (not drained, ejected or silent), "prefill_tok_s",
 * "decode_tok_s", "free_prefill_tok_s", "free_decode_tok_s" (with this model, either of
 * the two alone), "requests_s" (served now), "extra_requests_s", "extra_prefill_tok_s",
 * "extra_decode_tok_s" (all three together, at the model's own mix, within the SLO), "limited_by":
 * "prefill", "decode", "kv", "slots" or "no_node", "prompt_tokens", "uncached_tokens",
 * "output_tokens" (of a usual request), "pool": the first model of those that share nodes there,
 * "pool_models": how many they are; what one of them takes the others lose; "correction",
 * "checked": null or {"ago_ms", "windows", "told_requests_s", "held_requests_s",
 * "broke_requests_s", "error_percent"} (null: not tested)}.
 *
 * node: {"node", "index", "url", "engine", "region", "operator", "site", "gpu", "state", "ejected",
 * "ejected_for" (the last failure, where it is out), "ejected_left_ms", "silent_ms", "slots",
 * "own_outstanding", "report_age_ms", "running", "waiting", "queue_tokens", "kv_tokens_used",
 * "kv_tokens_cap", "rtt_ms", "residual", "p_fail", "word": 0..1, "claims":
 * {"tested", "broken": {claim: times}, "first_ago_ms", "last_ago_ms", and of the last that was
 * broken "last": claim, "said", "came"}, "prefill_tok_s", "decode_tok_s", "free_prefill_tok_s",
 * "free_decode_tok_s", "models_ready", "source": "config", "bus" or "config+bus", "proven",
 * "identity": words; of those on the bus also "operator_record", "epoch", "seq", "signed_seq",
 * "reports", "messages_refused", "bus_report_age_ms", "rival_ago_ms", "steered", "steering":
 * words}; unknown figures are null. decision: {"attempt", "model", "rule", "mode", "node",
 * "considered", "prompt_tokens", "hit_tokens", "output_tokens", "predicted_first_ms",
 * "actual_first_ms", "actual_ms", "failure", "refusal", "class", "not_granted": words,
 * "candidates": [{"node", "region", "why", "terms":
 * {"net_ms", "ready_ms", "queue_ms", "prefill_ms", "step_ms", "first_ms", "done_ms", "sigma_ms"},
 * "hit_tokens", "ext_ms", "late_ms", "kv_ms", "fail_ms", "stick_ms", "word_ms", "cost_ms"}]}.
 *
 * directive: {"id", "node", "model", "action", "by": "plan" or "person", "reason", "state":
 * "asked", "begun", "done", "refused", "failed" or "silent", "words", "model_state",
 * "model_pinned", "ready_in_ms", "asked_ago_ms", "changed_ago_ms", "took_ms", "worth_ms_s",
 * "load_ms"}; alone also "node_state".
 *
 * Handlers run on the lane that has the exchange; what another lane knows is asked by loop_post. */
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/core.h"
#include "io/http_server.h"
#include "role/admin_json.h"
#include "role/gateway/fleet.h"
#include "role/gateway/lane.h"

#define ADMIN_NODES_DEFAULT 1000u /* of one answer */
#define ADMIN_NODES_MAX     10000u

struct admin_call { /* one question; lives until its handler returns */
    struct lane *lane;
    struct http_exchange *exchange;
    const struct http_request *http;
    struct span word;            /* what follows the route's path */
    uint64_t key_id;             /* on the public side: whose key; 0 without keys */
    const struct key_entry *key; /* the same; NULL without keys, and on the admin side */
    bool is_admin;
};

/* ---- Handlers, see route.c. */
void admin_livez(struct admin_call *call);
void admin_readyz(struct admin_call *call);
void admin_capacity(struct admin_call *call);
void admin_readiness(struct admin_call *call);
void admin_demand(struct admin_call *call);
void admin_plan(struct admin_call *call);
void admin_nodes(struct admin_call *call);
void admin_node(struct admin_call *call);
void admin_explain(struct admin_call *call);
void admin_explain_dry(struct admin_call *call);
void admin_metrics(struct admin_call *call);
void admin_usage(struct admin_call *call);
void admin_reload(struct admin_call *call);
void admin_bus(struct admin_call *call);
void admin_steer(struct admin_call *call);
void admin_directive(struct admin_call *call);

/* ---- For /metrics. */
/* A label's value: what others named it, escaped. */
void admin_put_label(FILE *out, struct span value);
/* Headroom. */
void admin_capacity_metrics(FILE *out, struct door *door, const struct fleet *fleet);

/* ---- admin_bus.c, for the other views. */
/* What it is and what is known of it over the bus, into its JSON. kind: of what answers there. */
void admin_put_member(cJSON *json, struct gateway *gateway, struct span name,
                      enum engine_kind kind);
void admin_bus_metrics(FILE *out, const struct gateway *gateway);
void admin_steer_metrics(FILE *out, const struct gateway *gateway); /* admin_steer.c */

/* ---- admin_demand.c, likewise. */
void admin_put_peers(cJSON *json, struct gateway *gateway);
void admin_demand_metrics(FILE *out, const struct gateway *gateway);
#endif
