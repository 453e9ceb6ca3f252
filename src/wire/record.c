/* record - tables of fields, one line each, and the file around them; see record.h.
 *
 * The tables name every field of every kind once. A field is copied as its little-endian bytes:
 * hosts are little-endian (checked), so a number is its own encoding; a NAN of any kind becomes the
 * one NAN, so that the same fact always has the same bytes. */
#include "wire/record.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are little-endian by copying");

enum field_type { FIELD_U16 = 2, FIELD_U32 = 4, FIELD_U64 = 8, FIELD_F32 = 5 };

struct field {
    uint16_t offset;
    uint8_t type;
};

#define FIELD(type, struct_name, member)                                                           \
    {                                                                                              \
        offsetof(struct struct_name, member), FIELD_##type                                         \
    }
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct field settings_fields[] = {
    FIELD(U32, event, settings.rule),          FIELD(F32, event, settings.ttft_goal_ms),
    FIELD(F32, event, settings.tpot_goal_ms),  FIELD(F32, event, settings.first_limit_ms),
    FIELD(F32, event, settings.idle_limit_ms),
};
static const struct field tuning_fields[] = {
    FIELD(F32, event, tuning.done_part),         FIELD(F32, event, tuning.ext_part),
    FIELD(F32, event, tuning.late_factor),       FIELD(F32, event, tuning.soft_first_ms),
    FIELD(F32, event, tuning.queue_part),        FIELD(F32, event, tuning.kv_ms),
    FIELD(F32, event, tuning.kv_from),           FIELD(F32, event, tuning.temperature),
    FIELD(F32, event, tuning.stick_ms),          FIELD(F32, event, tuning.hedge_part),
    FIELD(F32, event, tuning.hedge_load_max),    FIELD(F32, event, tuning.class_part),
    FIELD(F32, event, tuning.class_queue_ms),    FIELD(F32, event, tuning.fresh_ms),
    FIELD(F32, event, tuning.stale_ms),          FIELD(U16, event, tuning.own_region_max),
    FIELD(U16, event, tuning.elsewhere_max),     FIELD(U16, event, tuning.own_region_old_max),
    FIELD(U16, event, tuning.elsewhere_old_max), FIELD(U32, event, tuning.without),
};
static const struct field curve_fields[] = {
    FIELD(U16, event, curve.model),         FIELD(U16, event, curve.class),
    FIELD(F32, event, curve.curve.a_ms),    FIELD(F32, event, curve.curve.b_ms),
    FIELD(F32, event, curve.curve.c_ms),    FIELD(F32, event, curve.curve.t0_ms),
    FIELD(F32, event, curve.curve.tk_ms),   FIELD(F32, event, curve.curve.tb_ms),
    FIELD(F32, event, curve.kv_tokens_cap), FIELD(F32, event, curve.load_ms),
    FIELD(U32, event, curve.guess),         FIELD(F32, event, curve.weights_mib),
    FIELD(U32, event, curve.identity),
};
static const struct field node_fields[] = {
    FIELD(U32, event, node.node),        FIELD(U32, event, node.epoch),
    FIELD(U16, event, node.region),      FIELD(U16, event, node.class),
    FIELD(U16, event, node.site),        FIELD(U16, event, node.operator),
    FIELD(U32, event, node.state),       FIELD(U32, event, node.slots),
    FIELD(F32, event, node.rtt_ms),      FIELD(U32, event, node.identity),
    FIELD(U32, event, node.steered),     FIELD(F32, event, node.memory_mib),
    FIELD(F32, event, node.fetch_mib_s), FIELD(U32, event, node.loads_max),
    FIELD(U32, event, node.unproven),
};
static const struct field node_gone_fields[] = {
    FIELD(U32, event, node_gone.node),
    FIELD(U32, event, node_gone.epoch),
};
static const struct field model_fields[] = {
    FIELD(U32, event, model.node),   FIELD(U16, event, model.model),
    FIELD(U16, event, model.state),  FIELD(F32, event, model.ready_in_ms),
    FIELD(U32, event, model.pinned), FIELD(U32, event, model.denied),
    FIELD(U32, event, model.slots),
};
static const struct field report_fields[] = {
    FIELD(U32, event, report.node),           FIELD(F32, event, report.running),
    FIELD(F32, event, report.waiting),        FIELD(F32, event, report.prefill_tokens_in_flight),
    FIELD(F32, event, report.kv_tokens_used), FIELD(F32, event, report.kv_tokens_cap),
    FIELD(F32, event, report.slots),          FIELD(F32, event, report.age_ms),
    FIELD(U32, event, report.acked),          FIELD(U32, event, report.is_word),
    FIELD(U64, event, report.accepted_total), FIELD(F32, event, report.prefill_tok_s),
    FIELD(F32, event, report.decode_tok_s),
};
static const struct field rtt_fields[] = {
    FIELD(U32, event, rtt.node),
    FIELD(F32, event, rtt.rtt_ms),
};
static const struct field probe_fields[] = {
    FIELD(U32, event, probe.node),
    FIELD(U32, event, probe.failure),
};
static const struct field arrived_fields[] = {
    FIELD(U64, event, arrived.request),     FIELD(U16, event, arrived.model),
    FIELD(U16, event, arrived.script),      FIELD(U32, event, arrived.prompt_bytes),
    FIELD(U32, event, arrived.body_bytes),  FIELD(U32, event, arrived.max_tokens),
    FIELD(U32, event, arrived.stream),      FIELD(F32, event, arrived.deadline_ms),
    FIELD(U32, event, arrived.only_node),   FIELD(U64, event, arrived.session),
    FIELD(U16, event, arrived.other_model), FIELD(U16, event, arrived.tenant),
    FIELD(U16, event, arrived.priority),    FIELD(F32, event, arrived.tpot_goal_ms),
};
static const struct field dispatched_fields[] = {
    FIELD(U64, event, dispatched.request),
    FIELD(U32, event, dispatched.attempt),
    FIELD(U32, event, dispatched.fresh_connection),
};
static const struct field started_fields[] = {
    FIELD(U64, event, started.request),
    FIELD(U32, event, started.attempt),
    FIELD(F32, event, started.path_bytes_per_ms),
    FIELD(U32, event, started.path_limited),
};
static const struct field ended_fields[] = {
    FIELD(U64, event, ended.request),           FIELD(U32, event, ended.attempt),
    FIELD(U32, event, ended.prompt_tokens),     FIELD(U32, event, ended.cached_tokens),
    FIELD(U32, event, ended.output_tokens),     FIELD(U32, event, ended.cached_known),
    FIELD(F32, event, ended.engine_prefill_ms), FIELD(F32, event, ended.engine_decode_ms),
    FIELD(U32, event, ended.held_up),
};
static const struct field failed_fields[] = {
    FIELD(U64, event, failed.request),        FIELD(U32, event, failed.attempt),
    FIELD(U32, event, failed.failure),        FIELD(U32, event, failed.started),
    FIELD(F32, event, failed.retry_after_ms),
};
static const struct field late_fields[] = {
    FIELD(U64, event, late.request),
    FIELD(U32, event, late.attempt),
};
static const struct field cancelled_fields[] = {
    FIELD(U64, event, cancelled.request),
};
static const struct field demand_fields[] = {
    FIELD(U16, event, demand.model),
    FIELD(U16, event, demand.region),
    FIELD(F32, event, demand.requests_s),
    FIELD(F32, event, demand.prompt_tok_s),
    FIELD(F32, event, demand.output_tok_s),
    FIELD(F32, event, demand.usual_requests_s),
    FIELD(F32, event, demand.ahead_requests_s),
};
static const struct field gateways_fields[] = {
    FIELD(U32, event, gateways.count),
    FIELD(U32, event, gateways.planners),
    FIELD(U32, event, gateways.place),
};
static const struct field requests_fields[] = {
    FIELD(U32, event, requests.node),
    FIELD(U16, event, requests.model),
    FIELD(F32, event, requests.requests),
};

static const struct {
    const struct field *fields;
    size_t count;
} event_tables[EVENT_KIND_COUNT] = {
    [EVENT_SETTINGS] = {settings_fields, COUNT(settings_fields)},
    [EVENT_TUNING] = {tuning_fields, COUNT(tuning_fields)},
    [EVENT_CURVE] = {curve_fields, COUNT(curve_fields)},
    [EVENT_NODE] = {node_fields, COUNT(node_fields)},
    [EVENT_NODE_GONE] = {node_gone_fields, COUNT(node_gone_fields)},
    [EVENT_MODEL] = {model_fields, COUNT(model_fields)},
    [EVENT_REPORT] = {report_fields, COUNT(report_fields)},
    [EVENT_RTT] = {rtt_fields, COUNT(rtt_fields)},
    [EVENT_PROBE] = {probe_fields, COUNT(probe_fields)},
    [EVENT_ARRIVED] = {arrived_fields, COUNT(arrived_fields)},
    [EVENT_DISPATCHED] = {dispatched_fields, COUNT(dispatched_fields)},
    [EVENT_STARTED] = {started_fields, COUNT(started_fields)},
    [EVENT_ENDED] = {ended_fields, COUNT(ended_fields)},
    [EVENT_FAILED] = {failed_fields, COUNT(failed_fields)},
    [EVENT_LATE] = {late_fields, COUNT(late_fields)},
    [EVENT_CANCELLED] = {cancelled_fields, COUNT(cancelled_fields)},
    [EVENT_DEMAND] = {demand_fields, COUNT(demand_fields)},
    [EVENT_GATEWAYS] = {gateways_fields, COUNT(gateways_fields)},
    [EVENT_REQUESTS] = {requests_fields, COUNT(requests_fields)},
};

static const struct field dispatch_fields[] = {
    FIELD(U64, action, dispatch.request),        FIELD(U32, action, dispatch.attempt),
    FIELD(U32, action, dispatch.node),           FIELD(F32, action, dispatch.first_ms),
    FIELD(F32, action, dispatch.done_ms),        FIELD(F32, action, dispatch.sigma_ms),
    FIELD(F32, action, dispatch.first_limit_ms), FIELD(F32, action, dispatch.gap_limit_ms),
    FIELD(F32, action, dispatch.hedge_after_ms), FIELD(U16, action, dispatch.model),
    FIELD(U16, action, dispatch.hedge),          FIELD(U32, action, dispatch.serial),
};
static const struct field refuse_fields[] = {
    FIELD(U64, action, refuse.request),  FIELD(U32, action, refuse.refusal),
    FIELD(U32, action, refuse.attempts), FIELD(F32, action, refuse.retry_after_ms),
    FIELD(U32, action, refuse.failure),
};
static const struct field hold_fields[] = {
    FIELD(U64, action, hold.request),
    FIELD(F32, action, hold.hold_ms),
};
static const struct field cancel_fields[] = {
    FIELD(U64, action, cancel.request),
    FIELD(U32, action, cancel.attempt),
};
static const struct field plan_fields[] = {
    FIELD(U32, action, plan.node),    FIELD(U16, action, plan.model),
    FIELD(U16, action, plan.reason),  FIELD(F32, action, plan.worth_ms_s),
    FIELD(F32, action, plan.load_ms),
};
static const struct field decision_fields[] = {
    FIELD(U64, decision, request),         FIELD(U64, decision, now_ns),
    FIELD(U32, decision, attempt),         FIELD(U32, decision, rule),
    FIELD(U16, decision, model),           FIELD(U16, decision, mode),
    FIELD(U16, decision, candidate_count), FIELD(U32, decision, considered),
    FIELD(F32, decision, prompt_tokens),   FIELD(F32, decision, hit_tokens),
    FIELD(F32, decision, output_tokens),   FIELD(U16, decision, admission),
    FIELD(F32, decision, held_ms),         FIELD(F32, decision, hedge_ms),
};
static const struct field candidate_fields[] = {
    FIELD(U32, decision_candidate, node),
    FIELD(U16, decision_candidate, region),
    FIELD(U16, decision_candidate, why),
    FIELD(F32, decision_candidate, terms.net_ms),
    FIELD(F32, decision_candidate, terms.ready_ms),
    FIELD(F32, decision_candidate, terms.queue_ms),
    FIELD(F32, decision_candidate, terms.prefill_ms),
    FIELD(F32, decision_candidate, terms.step_ms),
    FIELD(F32, decision_candidate, terms.first_ms),
    FIELD(F32, decision_candidate, terms.done_ms),
    FIELD(F32, decision_candidate, terms.proof_ms),
    FIELD(F32, decision_candidate, terms.sigma_ms),
    FIELD(F32, decision_candidate, hit_tokens),
    FIELD(F32, decision_candidate, ext_ms),
    FIELD(F32, decision_candidate, late_ms),
    FIELD(F32, decision_candidate, kv_ms),
    FIELD(F32, decision_candidate, fail_ms),
    FIELD(F32, decision_candidate, stick_ms),
    FIELD(F32, decision_candidate, word_ms),
    FIELD(F32, decision_candidate, cost_ms),
};

static size_t
field_bytes(const struct field *f)
{
    return f->type == FIELD_F32 ? 4 : f->type;
}

static size_t
fields_encode(const struct field *fields, size_t count, const void *from, unsigned char *bytes)
{
    size_t at = 0;

    for (size_t i = 0; i < count; i++) {
        memcpy(bytes + at, (const char *)from + fields[i].offset, field_bytes(&fields[i]));
        if (fields[i].type == FIELD_F32) {
            float value;
            memcpy(&value, bytes + at, sizeof(value));
            if (isnan(value))
                memcpy(bytes + at, &(uint32_t){0x7fc00000u}, 4);
        }
        at += field_bytes(&fields[i]);
    }
    return at;
}

static enum err
fields_decode(const struct field *fields, size_t count, struct span bytes, void *ret_to, size_t *at)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = field_bytes(&fields[i]);

        if (bytes.bytes - *at < n)
            return ERR_AGAIN;
        memcpy((char *)ret_to + fields[i].offset, bytes.data + *at, n);
        *at += n;
    }
    return ERR_OK;
}

/* The prefix chain behind an arrival: how many, then so many hashes. */
static size_t
chain_encode(const struct prefix_chain *chain, unsigned char *bytes)
{
    unsigned count = chain->count < PREFIX_BORDERS_MAX ? chain->count : PREFIX_BORDERS_MAX;

    bytes[0] = (unsigned char)count;
    memcpy(bytes + 1, chain->hashes, count * sizeof(chain->hashes[0]));
    return 1 + count * sizeof(chain->hashes[0]);
}

static enum err
chain_decode(struct span bytes, struct prefix_chain *ret_chain, size_t *at)
{
    size_t n;

    if (bytes.bytes <= *at)
        return ERR_AGAIN;
    ret_chain->count = (unsigned char)bytes.data[(*at)++];
    n = ret_chain->count * sizeof(ret_chain->hashes[0]);
    if (ret_chain->count > PREFIX_BORDERS_MAX)
        return ERR_PARSE;
    if (bytes.bytes - *at < n)
        return ERR_AGAIN;
    memcpy(ret_chain->hashes, bytes.data + *at, n);
    *at += n;
    return ERR_OK;
}

size_t
record_event_encode(const struct event *event, unsigned char *bytes)
{
    uint32_t kind = event->kind < EVENT_KIND_COUNT ? event->kind : EVENT_NONE;

    size_t at = 1;

    bytes[0] = (unsigned char)kind;
    at += fields_encode(event_tables[kind].fields, event_tables[kind].count, event, bytes + at);
    return kind == EVENT_ARRIVED ? at + chain_encode(&event->prefix, bytes + at) : at;
}

enum err
record_event_decode(struct span bytes, struct event *ret_event, size_t *ret_used_bytes)
{
    struct event event = {0};
    size_t at = 1;
    enum err err;

    if (bytes.bytes < 1)
        return ERR_AGAIN;
    event.kind = (unsigned char)bytes.data[0];
    if (event.kind >= EVENT_KIND_COUNT)
        return ERR_PARSE;
    err = fields_decode(event_tables[event.kind].fields, event_tables[event.kind].count, bytes,
                        &event, &at);
    if (err == ERR_OK && event.kind == EVENT_ARRIVED)
        err = chain_decode(bytes, &event.prefix, &at);
    if (err != ERR_OK)
        return err;
    *ret_event = event;
    *ret_used_bytes = at;
    return ERR_OK;
}

static size_t
action_encode(const struct action *a, unsigned char *bytes)
{
    bytes[0] = (unsigned char)a->kind;
    switch ((enum action_kind)a->kind) {
    case ACTION_DISPATCH:
        return 1 + fields_encode(dispatch_fields, COUNT(dispatch_fields), a, bytes + 1);
    case ACTION_REFUSE:
        return 1 + fields_encode(refuse_fields, COUNT(refuse_fields), a, bytes + 1);
    case ACTION_HOLD:
        return 1 + fields_encode(hold_fields, COUNT(hold_fields), a, bytes + 1);
    case ACTION_CANCEL:
        return 1 + fields_encode(cancel_fields, COUNT(cancel_fields), a, bytes + 1);
    case ACTION_LOAD:
    case ACTION_UNLOAD:
        return 1 + fields_encode(plan_fields, COUNT(plan_fields), a, bytes + 1);
    default:
        return 1;
    }
}

size_t
record_actions_encode(const struct actions *actions, unsigned char *bytes)
{
    const struct decision *d = &actions->decision;
    size_t at = 2;

    bytes[0] = (unsigned char)actions->count;
    bytes[1] = d->candidate_count != 0;
    for (uint32_t i = 0; i < actions->count; i++)
        at += action_encode(&actions->list[i], bytes + at);
    if (d->candidate_count == 0)
        return at;
    at += fields_encode(decision_fields, COUNT(decision_fields), d, bytes + at);
    for (uint32_t i = 0; i < d->candidate_count; i++)
        at += fields_encode(candidate_fields, COUNT(candidate_fields), &d->candidates[i],
                            bytes + at);
    return at;
}

/* ---- The file. */

static const char magic[8] = {'I', 'S', 'O', 'R', 'E', 'C', '\r', '\n'};

static const struct field config_fields[] = {
    FIELD(U64, core_config, seed),         FIELD(U32, core_config, nodes_max),
    FIELD(U32, core_config, models_max),   FIELD(U32, core_config, regions_max),
    FIELD(U32, core_config, classes_max),  FIELD(U32, core_config, placements_max),
    FIELD(U32, core_config, requests_max), FIELD(U32, core_config, own_region),
    FIELD(U32, core_config, rule),         FIELD(U32, core_config, prefix_entries_max),
    FIELD(U32, core_config, sketches_max), FIELD(U32, core_config, holds_max),
};

static void
put_u32(unsigned char *bytes, size_t *at, size_t value)
{
    uint32_t v = (uint32_t)value;

    memcpy(bytes + *at, &v, 4);
    *at += 4;
}

static enum err
get_u32(struct span bytes, size_t *at, uint32_t *ret)
{
    if (bytes.bytes - *at < 4)
        return ERR_AGAIN;
    memcpy(ret, bytes.data + *at, 4);
    *at += 4;
    return ERR_OK;
}

static void
put_span(unsigned char *bytes, size_t *at, struct span s)
{
    put_u32(bytes, at, s.bytes);
    if (s.bytes > 0)
        memcpy(bytes + *at, s.data, s.bytes);
    *at += s.bytes;
}

static enum err
get_span(struct span bytes, size_t *at, struct span *ret)
{
    uint32_t n;
    enum err err = get_u32(bytes, at, &n);

    if (err != ERR_OK)
        return err;
    if (bytes.bytes - *at < n)
        return ERR_AGAIN;
    *ret = (struct span){bytes.data + *at, n};
    *at += n;
    return ERR_OK;
}

size_t
record_head_encode(const struct record_head *head, unsigned char *bytes)
{
    size_t at = sizeof(magic);

    memcpy(bytes, magic, sizeof(magic));
    put_u32(bytes, &at, RECORD_FORMAT);
    at += fields_encode(config_fields, COUNT(config_fields), &head->config, bytes + at);
    put_span(bytes, &at, head->build);
    put_span(bytes, &at, head->config_text);
    return at;
}

enum err
record_head_decode(struct span bytes, struct record_head *ret_head, size_t *ret_used_bytes)
{
    struct record_head head = {0};
    size_t at = sizeof(magic);
    uint32_t format;
    enum err err;

    if (bytes.bytes < sizeof(magic) || memcmp(bytes.data, magic, sizeof(magic)) != 0)
        return ERR_PARSE;
    err = get_u32(bytes, &at, &format);
    if (err != ERR_OK)
        return err;
    if (format != RECORD_FORMAT)
        return ERR_UNSUPPORTED;
    err = fields_decode(config_fields, COUNT(config_fields), bytes, &head.config, &at);
    if (err == ERR_OK)
        err = get_span(bytes, &at, &head.build);
    if (err == ERR_OK)
        err = get_span(bytes, &at, &head.config_text);
    if (err != ERR_OK)
        return err;
    *ret_head = head;
    *ret_used_bytes = at;
    return ERR_OK;
}

/* An entry: its bytes, then now_ns and the event, or an end mark (now_ns all ones), then actions.
 */
size_t
record_entry_encode(const struct record_entry *entry, unsigned char *bytes)
{
    size_t at = 4, start = 4;
    uint64_t now_ns = entry->end != RECORD_END_NONE ? UINT64_MAX : entry->now_ns;

    memcpy(bytes + at, &now_ns, 8);
    at += 8;
    if (entry->end != RECORD_END_NONE) {
        bytes[at++] = (unsigned char)entry->end;
    } else {
        at += record_event_encode(&entry->event, bytes + at);
        if (entry->actions.bytes > 0)
            memcpy(bytes + at, entry->actions.data, entry->actions.bytes);
        at += entry->actions.bytes;
    }
    start = 0;
    put_u32(bytes, &start, at - 4);
    return at;
}

enum err
record_entry_decode(struct span bytes, struct record_entry *ret_entry, size_t *ret_used_bytes)
{
    struct record_entry entry = {0};
    struct span body;
    size_t at = 0, used;
    enum err err = get_span(bytes, &at, &body);

    if (err != ERR_OK)
        return err;
    if (body.bytes < 9 || body.bytes > RECORD_ENTRY_BYTES_MAX)
        return ERR_PARSE;
    memcpy(&entry.now_ns, body.data, 8);
    if (entry.now_ns == UINT64_MAX) {
        entry.end = (unsigned char)body.data[8];
        if (body.bytes != 9 ||
            (entry.end != RECORD_END_CLOSED && entry.end != RECORD_END_RING_FULL))
            return ERR_PARSE;
    } else {
        err = record_event_decode(span_from(body, 8), &entry.event, &used);
        if (err != ERR_OK)
            return ERR_PARSE;
        entry.actions = span_from(body, 8 + used);
        if (entry.actions.bytes > RECORD_ACTIONS_BYTES_MAX)
            return ERR_PARSE; /* what is read must fit where it is written again */
    }
    *ret_entry = entry;
    *ret_used_bytes = at;
    return ERR_OK;
}
