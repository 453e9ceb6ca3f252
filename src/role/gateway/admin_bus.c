/* admin_bus - the bus and who came over it, for people; see admin.h. */
#include <math.h>
#include <stdio.h>

#include "role/gateway/admin.h"
#include "role/gateway/members.h"

static void
put_state(cJSON *json, const struct bus_state *s)
{
    cJSON_AddBoolToObject(json, "connected", s->connected);
    cJSON_AddNumberToObject(json, "since_ms", (double)s->since_ms);
    cJSON_AddNumberToObject(json, "connects", (double)s->connects);
    cJSON_AddNumberToObject(json, "attempts", (double)s->attempts);
    cJSON_AddNumberToObject(json, "published", (double)s->published);
    cJSON_AddNumberToObject(json, "received", (double)s->received);
    cJSON_AddNumberToObject(json, "dropped_out", (double)s->dropped_out);
    cJSON_AddNumberToObject(json, "dropped_in", (double)s->dropped_in);
    cJSON_AddNumberToObject(json, "refused_in", (double)s->refused_in);
    cJSON_AddStringToObject(json, "server", s->server);
    cJSON_AddStringToObject(json, "warning", s->warning);
    /* An error of an earlier connection is over. */
    cJSON_AddStringToObject(json, "error",
                            s->connected && s->error_ms < s->since_ms ? "" : s->error);
}

/* Whose messages were refused lately, and why. */
static void
put_refused(cJSON *json, struct members *members)
{
    struct members_refused list[MEMBERS_REFUSED_MAX];
    uint32_t count = members_refused(members, list);
    cJSON *array = cJSON_AddArrayToObject(json, "refused_nodes");

    for (uint32_t i = 0; i < count && array != NULL; i++) {
        cJSON *one = cJSON_CreateObject();

        cJSON_AddStringToObject(one, "node", list[i].name);
        cJSON_AddStringToObject(one, "reason", members_verdict_name(list[i].verdict));
        cJSON_AddStringToObject(one, "words", list[i].words);
        cJSON_AddNumberToObject(one, "times", (double)list[i].count);
        admin_put_number(one, "ago_ms", list[i].ago_ms);
        admin_append(array, one);
    }
}

void
admin_bus(struct admin_call *call)
{
    struct members *members = call->lane->gateway->members;
    cJSON *json = cJSON_CreateObject(), *bus, *refused;
    struct members_counts counts;
    struct bus_state state;
    bool has_bus = members_bus(members, &state);

    members_count(members, &counts);
    cJSON_AddBoolToObject(json, "configured", has_bus);
    if (has_bus) {
        bus = cJSON_AddObjectToObject(json, "bus");
        if (bus != NULL)
            put_state(bus, &state);
    }
    cJSON_AddNumberToObject(json, "members", counts.known);
    cJSON_AddNumberToObject(json, "in_fleet", counts.in_fleet);
    cJSON_AddNumberToObject(json, "proven", counts.proven);
    cJSON_AddNumberToObject(json, "silent", counts.silent);
    cJSON_AddNumberToObject(json, "reports", (double)counts.taken[MEMBERS_REPORT]);
    cJSON_AddNumberToObject(json, "piggybacks", (double)counts.piggybacks);
    cJSON_AddNumberToObject(json, "hellos", (double)counts.taken[MEMBERS_HELLO]);
    refused = cJSON_AddObjectToObject(json, "refused");
    for (uint32_t v = REPORT_GAP + 1; v < MEMBERS_VERDICT_COUNT && refused != NULL; v++) {
        if (counts.verdicts[v] > 0)
            cJSON_AddNumberToObject(refused, members_verdict_name(v), (double)counts.verdicts[v]);
    }
    put_refused(json, members);
    admin_put_peers(json, call->lane->gateway);
    admin_send(call->exchange, 200, json);
}

void
admin_put_member(cJSON *json, struct gateway *gateway, struct span name, enum engine_kind kind)
{
    struct member_look look;

    members_look(gateway->members, name, &look);
    if (look.is_member && look.engine != ENGINE_UNKNOWN)
        kind = look.engine; /* what we ask is its agent */
    cJSON_AddStringToObject(json, "engine",
                            kind != ENGINE_UNKNOWN ? adapter_of(kind)->name : "unknown");
    cJSON_AddStringToObject(json, "source",
                            !look.is_member      ? "config"
                            : look.is_configured ? "config+bus"
                                                 : "bus");
    cJSON_AddBoolToObject(json, "proven", look.is_member ? look.proven : true);
    cJSON_AddStringToObject(json, "identity",
                            look.is_member ? look.why : "the configuration names it");
    if (!look.is_member)
        return;
    cJSON_AddStringToObject(json, "operator_record", look.operator_name);
    cJSON_AddNumberToObject(json, "epoch", (double)look.epoch);
    cJSON_AddNumberToObject(json, "seq", (double)look.seq);
    cJSON_AddNumberToObject(json, "signed_seq", (double)look.signed_seq);
    cJSON_AddNumberToObject(json, "reports", (double)look.reports);
    cJSON_AddNumberToObject(json, "messages_refused", (double)look.refused);
    admin_put_number(json, "bus_report_age_ms", look.report_age_ms);
    admin_put_number(json, "rival_ago_ms", look.rival_ago_ms);
    cJSON_AddBoolToObject(json, "steered", look.is_steered);
    cJSON_AddStringToObject(json, "steering", look.steering);
}

/* ---- Metrics. */

static void
metric(FILE *out, const char *name, const char *type, const char *help, double value)
{
    fprintf(out, "# HELP isochrone_%s %s\n# TYPE isochrone_%s %s\nisochrone_%s %.17g\n", name, help,
            name, type, name, value);
}

void
admin_bus_metrics(FILE *out, const struct gateway *gateway)
{
    struct members_counts counts;
    struct bus_state state;

    members_count(gateway->members, &counts);
    metric(out, "bus_members", "gauge", "Nodes of the fleet that came over the bus.",
           counts.in_fleet);
    metric(out, "bus_members_proven", "gauge", "Of these, whose operator is trusted.",
           counts.proven);
    metric(out, "bus_members_silent", "gauge", "Of these, who did not report lately.",
           counts.silent);
    metric(out, "bus_reports_total", "counter", "Reports taken.",
           (double)counts.taken[MEMBERS_REPORT]);
    metric(out, "bus_piggybacks_total", "counter", "Reports taken that rode on answers.",
           (double)counts.piggybacks);
    metric(out, "bus_hellos_total", "counter", "Hellos taken.",
           (double)counts.taken[MEMBERS_HELLO]);
    fprintf(out, "# HELP isochrone_bus_refused_total Messages of nodes that were refused.\n"
                 "# TYPE isochrone_bus_refused_total counter\n");
    for (uint32_t v = REPORT_GAP + 1; v < MEMBERS_VERDICT_COUNT; v++)
        fprintf(out, "isochrone_bus_refused_total{reason=\"%s\"} %.17g\n", members_verdict_name(v),
                (double)counts.verdicts[v]);
    if (!members_bus(gateway->members, &state))
        return;
    metric(out, "bus_connected", "gauge", "1: connected to the bus.", state.connected ? 1.0 : 0.0);
    metric(out, "bus_connects_total", "counter", "Times that it was connected.",
           (double)state.connects);
    metric(out, "bus_dropped_in_total", "counter", "Messages that waited too long to be read.",
           (double)state.dropped_in);
    metric(out, "bus_dropped_out_total", "counter", "Messages that could not be sent.",
           (double)state.dropped_out);
}
