/* core_fuzz - hostile events through core_step: bytes become a record's events, events become
 * steps. Times are made from the bytes too. After the run every view must be readable, finite where
 * it must be, and the bookkeeping of requests in flight must add up; ASan and UBSan watch the rest.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "core/core.h"
#include "wire/record.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t bytes);

static void
check_views(const struct core *core, uint64_t now_ns)
{
    struct node_view views[CORE_VIEW_MAX];
    struct placement_view placements[CORE_VIEW_MAX];
    struct demand_view demands[CORE_VIEW_MAX];
    struct plan_view plans[CORE_VIEW_MAX];
    struct model_view model;
    struct hedge_view hedges;
    uint32_t count, next;

    count = core_view_nodes(core, now_ns, 0, views, &next);
    for (uint32_t i = 0; i < count; i++) {
        must(isfinite(views[i].residual) && views[i].residual > 0.0f);
        must(views[i].queue_tokens >= 0.0f && views[i].kv_tokens_used >= 0.0f);
    }
    count = core_view_placements(core, now_ns, 0, placements, &next);
    for (uint32_t i = 0; i < count; i++)
        must(placements[i].state < MODEL_STATE_COUNT && placements[i].state != MODEL_ABSENT);
    for (uint16_t i = 0; i < 4; i++) {
        core_view_model(core, i, &model);
        must(model.load >= 0.0f && model.load <= 1.0f);
    }
    count = core_view_demand(core, now_ns, 0, demands, &next);
    for (uint32_t i = 0; i < count; i++)
        must(isfinite(demands[i].all.ahead_requests_s) && demands[i].all.requests_s >= 0.0f &&
             isfinite(demands[i].told.requests_s) && demands[i].usual_output_tok_s >= 0.0f);
    count = core_view_plan(core, now_ns, 0, plans, &next);
    for (uint32_t i = 0; i < count; i++)
        must(plans[i].node < 16 && plans[i].model < 4 && plans[i].worth_ms_s >= 0.0f);
    core_view_hedges(core, &hedges);
    must(hedges.extra_tokens <= 1.0001 * hedges.prefill_tokens && hedges.won <= hedges.sent);
}

static void
check_actions(const struct actions *actions)
{
    unsigned char encoded[RECORD_ACTIONS_BYTES_MAX];

    must(actions->count <= ACTIONS_MAX);
    must(actions->decision.candidate_count <= DECISION_CANDIDATES_MAX);
    for (uint32_t i = 0; i < actions->decision.candidate_count; i++) {
        const struct terms *t = &actions->decision.candidates[i].terms;
        must(isfinite(t->net_ms) && t->net_ms >= 0.0f);
        must(t->first_ms >= 0.0f && t->done_ms >= 0.0f && t->sigma_ms >= 0.0f);
    }
    must(record_actions_encode(actions, encoded) <= sizeof(encoded));
}

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t bytes)
{
    struct core_config c = {.seed = 1,
                            .nodes_max = 16,
                            .models_max = 4,
                            .regions_max = 4,
                            .classes_max = 3,
                            .placements_max = 24,
                            .requests_max = 16,
                            .prefix_entries_max = 64};
    size_t memory_bytes = core_bytes(&c), used;
    void *memory = aligned_alloc(64, memory_bytes);
    struct span left = {(const char *)data, bytes};
    struct core *core;
    struct actions actions;
    struct event event;
    uint64_t now_ns = 1000000000u;

    must(memory != NULL);
    memset(memory, 0, memory_bytes);
    must(core_init(memory, memory_bytes, &c, &core) == ERR_OK);
    while (left.bytes > 1) {
        now_ns += (uint64_t)(unsigned char)left.data[0] * (uint64_t)(unsigned char)left.data[0] *
                  100000u;
        left = span_from(left, 1);
        if (record_event_decode(left, &event, &used) != ERR_OK)
            break;
        left = span_from(left, used);
        core_step(core, now_ns, &event, &actions);
        check_actions(&actions);
    }
    check_views(core, now_ns);
    free(memory);
    return 0;
}
