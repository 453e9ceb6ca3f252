/* config_dump - a configuration written out as YAML: what `check --dump` shows. Everything in
 * effect stands there, defaults too; credentials do not. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/rule.h"
#include "wire/config.h"
#include "wire/message.h"

#define TEXT_BYTES_START 4096u

/* A text that grows in the arena by doubling. */
struct text {
    struct arena *arena;
    char *data;
    size_t bytes, room;
    bool full;
};

static bool
text_reserve(struct text *t, size_t bytes)
{
    size_t room = t->room == 0 ? TEXT_BYTES_START : t->room;
    char *data;

    while (room - t->bytes < bytes)
        room *= 2;
    if (room == t->room)
        return true;
    data = arena_take(t->arena, room);
    if (data == NULL)
        return false;
    if (t->bytes > 0)
        memcpy(data, t->data, t->bytes);
    t->data = data;
    t->room = room;
    return true;
}

static void put(struct text *t, const char *format, ...) PRINTF_LIKE(2, 3);
static void
put(struct text *t, const char *format, ...)
{
    va_list args, again;
    int bytes;

    va_start(args, format);
    va_copy(again, args);
    bytes = vsnprintf(NULL, 0, format, args);
    if (!t->full && bytes >= 0 && text_reserve(t, (size_t)bytes + 1)) {
        vsnprintf(t->data + t->bytes, (size_t)bytes + 1, format, again);
        t->bytes += (size_t)bytes;
    } else {
        t->full = true;
    }
    va_end(again);
    va_end(args);
}

/* s in double quotes. */
static void
put_quoted(struct text *t, struct span s)
{
    put(t, "\"");
    for (size_t i = 0; i < s.bytes; i++)
        put(t, s.data[i] == '"' || s.data[i] == '\\' ? "\\%c" : "%c", s.data[i]);
    put(t, "\"");
}

/* `key: "value"` between `before` and `after`; nothing when value is empty. */
static void
put_field(struct text *t, const char *before, struct span value, const char *after)
{
    if (value.bytes == 0)
        return;
    put(t, "%s", before);
    put_quoted(t, value);
    put(t, "%s", after);
}

/* `key: "file:value"` likewise. */
static void
put_file(struct text *t, const char *before, struct span path, const char *after)
{
    struct span value;

    if (path.bytes == 0)
        return;
    if (arena_printf(t->arena, &value, "file:%.*s", (int)path.bytes, path.data) != ERR_OK)
        t->full = true;
    else
        put_field(t, before, value, after);
}

/* With the largest unit that is exact. */
static void
put_duration(struct text *t, uint64_t ns)
{
    if (ns % 1000000000u == 0)
        put(t, "%" PRIu64 "s", ns / 1000000000u);
    else if (ns % 1000000u == 0)
        put(t, "%" PRIu64 "ms", ns / 1000000u);
    else
        put(t, "%" PRIu64 "us", ns / 1000u);
}

static void
put_size(struct text *t, uint64_t bytes)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;

    for (; bytes > 0 && bytes % 1024 == 0 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        bytes /= 1024;
    put(t, "%" PRIu64 "%s", bytes, units[unit]);
}

static void
put_limits(struct text *t, const struct config *c)
{
    const struct {
        const char *name;
        uint64_t ns;
    } times[] = {{"connect", c->connect_ns},
                 {"first_byte", c->first_byte_ns},
                 {"idle", c->idle_ns},
                 {"drain", c->drain_ns}};

    put(t, "limits: {body_bytes_max: ");
    put_size(t, c->body_bytes_max);
    put(t, ", buffers_bytes_max: ");
    put_size(t, c->buffers_bytes_max);
    if (c->buffers_bytes_per_key_max != 0) {
        put(t, ", buffers_bytes_per_key_max: ");
        put_size(t, c->buffers_bytes_per_key_max);
    }
    put(t, ", upload_bytes_per_second_min: ");
    put_size(t, c->upload_bytes_per_second_min);
    put(t, ", download_bytes_per_second_min: ");
    put_size(t, c->download_bytes_per_second_min);
    put(t, ", pace_grace: ");
    put_duration(t, c->pace_grace_ns);
    put(t, ", connections_per_address_max: %" PRIu32, c->connections_per_address_max);
    put(t, ", json_values_max: %" PRIu32, c->json_values_max);
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        put(t, ", %s: ", times[i].name);
        put_duration(t, times[i].ns);
    }
    put(t, ", holds_max: %" PRIu32 ", usage_days: %" PRIu32 "}\n", c->holds_max, c->usage_days);
}

static void
put_slo(struct text *t, const struct config *c)
{
    bool ttft = !isnan(c->ttft_goal_ms), tpot = !isnan(c->tpot_goal_ms);

    if (!ttft && !tpot)
        return;
    put(t, "slo: {");
    if (ttft) {
        put(t, "ttft_p90: ");
        put_duration(t, (uint64_t)(c->ttft_goal_ms * 1e6 + 0.5));
    }
    if (tpot) {
        put(t, "%stpot_p90: ", ttft ? ", " : "");
        put_duration(t, (uint64_t)(c->tpot_goal_ms * 1e6 + 0.5));
    }
    put(t, "}\n");
}

static void
put_models(struct text *t, const struct config *c)
{
    if (c->model_count > 0)
        put(t, "models:\n");
    for (size_t i = 0; i < c->model_count; i++) {
        const struct config_model *m = &c->models[i];

        put(t, "  ");
        put_quoted(t, m->name);
        put(t, ": {aliases: [");
        for (size_t k = 0; k < m->alias_count; k++)
            put_field(t, k > 0 ? ", " : "", m->aliases[k], "");
        put(t, "]");
        if (m->params_b > 0.0)
            put(t, ", params: %.9gB", m->params_b);
        put(t, "}\n");
    }
}

/* How it is reached. */
static void
put_reach(struct text *t, const struct config_engine *e, const char *pin)
{
    put_field(t, pin, e->pin, "");
    put_file(t, ", ca: ", e->ca_file, "");
    put_file(t, ", client_cert: ", e->client_cert_file, "");
    put_file(t, ", client_key: ", e->client_key_file, "");
}

static void
put_gateways(struct text *t, const struct config *config)
{
    char key[SIGNATURE_KEY_TEXT_SIZE];

    if (config->gateway_count > 0)
        put(t, "gateways:\n");
    for (size_t i = 0; i < config->gateway_count; i++) {
        const struct config_gateway *g = &config->gateways[i];
        signature_key_text(&g->key, key);
        put_field(t, "  - {name: ", g->name, "");
        put_field(t, ", key: ", span_of(key), "");
        put_field(t, ", url: ", g->at.url, "");
        put_reach(t, &g->at, ", url_pin: ");
        if (g->requests_s_max > 0)
            put(t, ", requests_per_second_max: %u", g->requests_s_max);
        put(t, "}\n");
    }
}

static void
put_engine(struct text *t, const struct config_engine *e)
{
    put_field(t, "  - {url: ", e->url, "");
    put_field(t, ", name: ", e->name, "");
    put_reach(t, e, ", pin: ");
    put_file(t, ", key: ", e->key_file, "");
    if (e->key.bytes > 0)
        put(t, ", key: \"***\"");
    put_field(t, ", region: ", e->region, "");
    put_field(t, ", operator: ", e->operator, "");
    put_field(t, ", site: ", e->site, "");
    put_field(t, ", gpu: ", e->gpu, "");
    put_field(t, ", kind: ", e->kind, "");
    if (e->slots > 0)
        put(t, ", slots: %" PRIu32, e->slots);
    put(t, "}\n");
}

static void
put_tls(struct text *t, const char *name, const struct config_tls *tls)
{
    bool list = tls->certificate_count > 1;

    if (tls->none)
        put(t, ", %s: none", name);
    if (tls->certificate_count == 0)
        return;
    put(t, ", %s: {%s", name, list ? "certificates: [" : "");
    for (size_t i = 0; i < tls->certificate_count; i++) {
        put(t, "%s", !list ? "" : i > 0 ? ", {" : "{");
        put_file(t, "cert: ", tls->certificates[i].cert.path, "");
        put_file(t, ", key: ", tls->certificates[i].key.path, list ? "}" : "");
    }
    put(t, "%s", list ? "]" : "");
    put_file(t, ", client_ca: ", tls->client_ca.path, "");
    if (tls->client_ca.path.bytes > 0)
        put(t, ", client_auth: %s", tls->client_optional ? "optional" : "required");
    put(t, "}");
}

/* As it can be read again. */
static void
put_range(struct text *t, const struct net_range *range)
{
    static const struct net_range v4 = {{{[10] = 0xff, 0xff}}, 96};
    const unsigned char *b = range->first.bytes;

    if (range->bits >= v4.bits && net_range_has(&v4, &range->first)) {
        put(t, "\"%u.%u.%u.%u/%" PRIu32 "\"", b[12], b[13], b[14], b[15], range->bits - v4.bits);
        return;
    }
    for (size_t i = 0; i < NET_ADDRESS_BYTES; i += 2)
        put(t, "%s%x", i == 0 ? "\"" : ":", b[i] << 8 | b[i + 1]);
    put(t, "/%" PRIu32 "\"", range->bits);
}

static void
put_bus(struct text *t, const struct config_bus *b)
{
    if (!b->http && b->reach == NULL && b->nats_count == 0)
        return;
    put(t, "bus: {http: %s", b->http ? "true" : "false");
    put(t, b->reach != NULL ? ", reach: [" : "");
    for (size_t i = 0; i < b->reach_count; i++) {
        put(t, i > 0 ? ", " : "");
        put_range(t, &b->reach[i]);
    }
    put(t, b->reach != NULL ? "]" : "");
    for (size_t i = 0; i < b->nats_count; i++)
        put_field(t, i > 0 ? ", " : ", nats: [", b->nats[i], "");
    put(t, b->nats_count > 0 ? "]" : "");
    put_file(t, ", nkey: ", b->nkey_file, "");
    put_field(t, ", user: ", b->user, "");
    put_file(t, ", password: ", b->password_file, "");
    put_file(t, ", ca: ", b->ca_file, "");
    put(t, "}\n");
}

static void
put_operators(struct text *t, const struct config_operators *o)
{
    char key[SIGNATURE_KEY_TEXT_SIZE];

    if (o->trust_count + o->revoke_count == 0 && !o->only)
        return;
    put(t, "operators: {");
    if (o->only)
        put(t, "only: true%s", o->trust_count + o->revoke_count > 0 ? ", " : "");
    for (size_t i = 0; i < o->trust_count; i++) {
        signature_key_text(&o->trust[i], key);
        put_field(t, i > 0 ? ", " : "trust: [", span_of(key), "");
    }
    if (o->trust_count > 0)
        put(t, "]%s", o->revoke_count > 0 ? ", " : "");
    for (size_t i = 0; i < o->revoke_count; i++) {
        message_hex(o->revoke[i].bytes, sizeof(o->revoke[i].bytes), key);
        put(t, "%s\"%s%s\"", i > 0 ? ", " : "revoke: [",
            o->revoke[i].is_record ? "sha256:" : SIGNATURE_KEY_PREFIX, key);
    }
    put(t, "%s}\n", o->revoke_count > 0 ? "]" : "");
}

enum err
config_dump(const struct config *config, struct arena *arena, struct span *ret_yaml)
{
    struct text t = {.arena = arena};
    const struct rule *rule = rule_by_id(config->rule);

    put_field(&t, "listen: {public: ", config->public_listen, "");
    put_field(&t, ", admin: ", config->admin_listen, "");
    put_tls(&t, "tls", &config->tls);
    put_tls(&t, "admin_tls", &config->admin_tls);
    put(&t, "}\n");
    put_field(&t, "region: ", config->region, "\n");
    put_field(&t, "upstream_bind: ", config->upstream_bind, "\n");
    put_file(&t, "keys: ", config->keys_file, "\n");
    if (config->auth_none)
        put(&t, "auth: none\n");
    put_file(&t, "admin_token: ", config->admin_token_file, "\n");
    put_field(&t, "access_log: {file: ", config->access_log_file, "}\n");
    put_field(&t, "log: {file: ", config->log_file, ", ");
    put(&t, "%slevel: %s, format: %s}\n", config->log_file.bytes == 0 ? "log: {" : "",
        config_log_levels[config->log_level], config->log_json ? "json" : "text");
    put(&t, "threads: %" PRIu32 "\n", config->threads);
    put_limits(&t, config);
    put(&t, "rule: %s\n", rule != NULL ? rule->name : "time");
    put_slo(&t, config);
    put(&t, "prefix: {scope: %s", config->prefix_network ? "network" : "tenant");
    put_file(&t, ", secret: ", config->prefix_secret_file, "");
    put(&t, "}\n");
    put(&t, "predict: {constants_scale: %.9g}\n", config->constants_scale);
    put_field(&t, "rtt: ", config->rtt_file, "\n");
    put_field(&t, "name: ", config->name, "\n");
    put_file(&t, "key: ", config->key_file, "\n");
    put_field(&t, "state: ", config->state_dir, "\n");
    put_bus(&t, &config->bus);
    put_operators(&t, &config->operators);
    put_gateways(&t, config);
    put_models(&t, config);
    if (config->engine_count > 0)
        put(&t, "engines:\n");
    for (size_t i = 0; i < config->engine_count; i++)
        put_engine(&t, &config->engines[i]);
    if (t.full)
        return ERR_FULL;
    *ret_yaml = (struct span){t.data, t.bytes};
    return ERR_OK;
}
