/* metrics - counting, and the words that stand for codes; see metrics.h. The text for /metrics is
 * written in admin_metrics.c. */
#include "role/gateway/metrics.h"

static const unsigned short codes[METRICS_CODE_COUNT] = METRICS_CODES;

void
metrics_observe(struct metrics_histogram *h, uint64_t us)
{
    uint32_t bucket = 0;

    while (bucket < METRICS_BUCKETS - 1 && us > (UINT64_C(1000) << bucket))
        bucket++;
    metrics_add(&h->buckets[bucket], 1);
    metrics_add(&h->count, 1);
    metrics_add(&h->sum_us, us);
}

void
metrics_request(struct metrics *m, uint32_t model, unsigned status)
{
    uint32_t code = 0;

    while (code < METRICS_CODE_COUNT - 1 && codes[code] != status)
        code++;
    metrics_add(&m->requests[model < METRICS_MODELS ? model : METRICS_MODELS - 1][code], 1);
}

void
metrics_decision(struct metrics *m, const struct decision *decision)
{
    if (decision->candidate_count > 0 && decision->mode < DECISION_MODE_COUNT)
        metrics_add(&m->modes[decision->mode], 1);
    for (uint32_t i = 0; i < decision->candidate_count; i++) {
        if (decision->candidates[i].why < WHY_COUNT)
            metrics_add(&m->why_not[decision->candidates[i].why], 1);
    }
}

static const char *
named(const char *const *names, uint32_t count, uint32_t value)
{
    return value < count && names[value] != 0 ? names[value] : "unknown";
}

const char *
metrics_claim_name(uint32_t claim)
{
    static const char *const names[CLAIM_KIND_COUNT] = {
        [CLAIM_LOAD] = "load", [CLAIM_TOKENS] = "tokens", [CLAIM_ACK] = "ack",
        [CLAIM_ROOM] = "room", [CLAIM_READY] = "ready",
    };
    return named(names, CLAIM_KIND_COUNT, claim);
}

const char *
metrics_refusal_name(uint32_t refusal)
{
    static const char *const names[REFUSAL_COUNT] = {
        [REFUSAL_NONE] = "none",           [REFUSAL_NO_NODE] = "no_node",
        [REFUSAL_NOT_READY] = "not_ready", [REFUSAL_DRAINING] = "draining",
        [REFUSAL_FAILING] = "failing",     [REFUSAL_FULL] = "full",
        [REFUSAL_CROWDED] = "crowded",     [REFUSAL_ALL_TRIED] = "all_tried",
        [REFUSAL_REQUEST] = "request",     [REFUSAL_STARTED] = "started",
        [REFUSAL_SHED] = "shed",           [REFUSAL_DEADLINE] = "deadline",
    };
    return named(names, REFUSAL_COUNT, refusal);
}

const char *
metrics_why_name(uint32_t why)
{
    static const char *const names[WHY_COUNT] = {
        [WHY_CHOSEN] = "chosen",       [WHY_SLOWER] = "slower",
        [WHY_TIED] = "tied",           [WHY_ABSENT] = "absent",
        [WHY_NOT_READY] = "not_ready", [WHY_DRAINING] = "draining",
        [WHY_FAILING] = "failing",     [WHY_FULL] = "full",
        [WHY_TRIED] = "tried",         [WHY_RULE] = "rule",
        [WHY_LATE] = "late",           [WHY_OTHERS_FIRST] = "others_first",
        [WHY_TOGETHER] = "together",   [WHY_BUSIER_FITS] = "busier_fits",
        [WHY_STALE] = "stale",
    };
    return named(names, WHY_COUNT, why);
}

const char *
metrics_model_state_name(uint32_t state)
{
    static const char *const names[MODEL_STATE_COUNT] = {
        [MODEL_ABSENT] = "absent",     [MODEL_DOWNLOADING] = "downloading",
        [MODEL_ON_DISK] = "on_disk",   [MODEL_LOADING] = "loading",
        [MODEL_SLEEPING] = "sleeping", [MODEL_READY] = "ready",
        [MODEL_FAILED] = "failed",     [MODEL_DORMANT] = "dormant",
    };
    return named(names, MODEL_STATE_COUNT, state);
}

const char *
metrics_node_state_name(uint32_t state)
{
    static const char *const names[NODE_STATE_COUNT] = {
        [NODE_READY] = "ready", [NODE_DRAIN] = "drain", [NODE_MAINT] = "maint"};
    return named(names, NODE_STATE_COUNT, state);
}

const char *
metrics_mode_name(uint32_t mode)
{
    static const char *const names[DECISION_MODE_COUNT] = {
        [DECISION_RULE] = "rule",   [DECISION_TIME] = "time",           [DECISION_GOAL] = "goal",
        [DECISION_STALE] = "stale", [DECISION_SUSPICION] = "suspicion",
    };
    return named(names, DECISION_MODE_COUNT, mode);
}

const char *
metrics_rule_name(uint32_t rule)
{
    static const char *const names[RULE_COUNT] = {
        [RULE_TIME] = "time",
        [RULE_NEAREST] = "nearest",
        [RULE_LEAST_REQUEST] = "least_request",
        [RULE_ROUND_ROBIN] = "round_robin",
        [RULE_RANDOM] = "random",
    };
    return named(names, RULE_COUNT, rule);
}

const char *
metrics_admission_name(uint32_t admission)
{
    static const char *const names[ADMISSION_COUNT] = {
        [ADMISSION_NONE] = "none",
        [ADMISSION_NOW] = "now",
        [ADMISSION_HELD] = "held",
        [ADMISSION_AFTER_HOLD] = "after_hold",
        [ADMISSION_OTHER_MODEL] = "other_model",
        [ADMISSION_REFUSED] = "refused",
    };
    return named(names, ADMISSION_COUNT, admission);
}

const char *
metrics_priority_name(uint32_t priority)
{
    static const char *const names[PRIORITIES_MAX] = {
        [PRIORITY_HIGH] = "high", [PRIORITY_NORMAL] = "normal", [PRIORITY_LOW] = "low"};
    return named(names, PRIORITIES_MAX, priority);
}

const char *
metrics_access_name(uint32_t verdict)
{
    static const char *const names[ACCESS_VERDICTS] = {
        [ACCESS_GRANTED] = "granted",
        [ACCESS_NO_KEY] = "no_key",
        [ACCESS_UNKNOWN_KEY] = "unknown_key",
        [ACCESS_EXPIRED] = "expired",
        [ACCESS_MODEL] = "model",
        [ACCESS_CONCURRENCY] = "concurrency",
        [ACCESS_REQUESTS] = "requests_per_minute",
        [ACCESS_TOKENS] = "tokens_per_minute",
    };
    return named(names, ACCESS_VERDICTS, verdict);
}
