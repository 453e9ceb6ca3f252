/* directive - its table, its signature, and the node's judgement; see directive.h. */
#include "wire/directive.h"

#include <inttypes.h>
#include <stdio.h>

#include "wire/config.h"

static const char *const actions[DIRECTIVE_ACTION_COUNT] = {"load", "unload", "wake",  "sleep",
                                                            "pin",  "unpin",  "drain", "ready"};

static const char *const verdict_names[DIRECTIVE_VERDICT_COUNT] = {
    [DIRECTIVE_GOOD] = "good",
    [DIRECTIVE_WRONG_NODE] = "wrong_node",
    [DIRECTIVE_UNKNOWN_GATEWAY] = "unknown_gateway",
    [DIRECTIVE_NOT_ALLOWED] = "not_allowed",
    [DIRECTIVE_OTHER_EPOCH] = "other_epoch",
    [DIRECTIVE_EXPIRED] = "expired",
    [DIRECTIVE_NOT_YET] = "not_yet",
    [DIRECTIVE_TOO_LONG] = "too_long",
    [DIRECTIVE_REPLAYED] = "replayed",
    [DIRECTIVE_BAD_SIGNATURE] = "bad_signature",
    [DIRECTIVE_TOO_MANY] = "too_many",
    [DIRECTIVE_MALFORMED] = "malformed",
};

const char *const directive_results[DIRECTIVE_RESULT_COUNT] = {
    [DIRECTIVE_BEGUN] = "begun",
    [DIRECTIVE_DONE] = "done",
    [DIRECTIVE_REFUSED] = "refused",
    [DIRECTIVE_FAILED] = "failed",
};

#define AT(member_) .offset = offsetof(struct directive, member_)

static const struct message_field directive_fields[] = {
    {.name = "v", .type = MESSAGE_U64, .required = true, AT(v), .min = 1, .max = MESSAGE_VERSION},
    {.name = "gateway",
     .type = MESSAGE_HEX,
     .required = true,
     AT(gateway),
     .prefix = SIGNATURE_KEY_PREFIX,
     .max = SIGNATURE_KEY_BYTES},
    {.name = "node", .type = MESSAGE_NAME, .required = true, AT(node)},
    {.name = "epoch",
     .type = MESSAGE_U64,
     .required = true,
     AT(epoch),
     .min = 1,
     .max = MESSAGE_NUMBER_MAX},
    {.name = "nonce",
     .type = MESSAGE_HEX,
     .required = true,
     AT(nonce),
     .max = DIRECTIVE_NONCE_BYTES},
    {.name = "issued_s",
     .type = MESSAGE_U64,
     .required = true,
     AT(issued_s),
     .max = MESSAGE_NUMBER_MAX},
    {.name = "expires_s",
     .type = MESSAGE_U64,
     .required = true,
     AT(expires_s),
     .max = MESSAGE_NUMBER_MAX},
    {.name = "action",
     .type = MESSAGE_WORD,
     .required = true,
     AT(action),
     .words = actions,
     .min = DIRECTIVE_ACTION_COUNT},
    {.name = "model", .type = MESSAGE_TEXT, AT(model), .max = CONFIG_MODEL_NAME_BYTES_MAX},
    {.name = "signature",
     .type = MESSAGE_HEX,
     .required = true,
     AT(signature),
     .max = SIGNATURE_BYTES},
    {.name = NULL},
};

/* Does this action say of which model? */
static bool
names_model(const struct directive *d)
{
    return d->model.bytes > 0 || d->action == DIRECTIVE_WAKE || d->action == DIRECTIVE_SLEEP ||
           d->action == DIRECTIVE_DRAIN || d->action == DIRECTIVE_READY;
}

enum err
directive_parse(struct span json, struct directive *ret_directive, struct message_error *ret_error)
{
    enum err err;

    *ret_directive = (struct directive){.v = 0};
    err = message_read(json, directive_fields, ret_directive, ret_error);
    if (err == ERR_OK && !names_model(ret_directive)) {
        snprintf(ret_error->text, sizeof(ret_error->text), "model: %s needs one",
                 actions[ret_directive->action]);
        err = ERR_PARSE;
    }
    return err;
}

enum err
directive_write(const struct directive *directive, char ret_text[MESSAGE_BYTES_MAX],
                size_t *ret_bytes)
{
    return names_model(directive)
               ? message_write(directive_fields, directive, ret_text, MESSAGE_BYTES_MAX, ret_bytes)
               : ERR_ARG;
}

/* ---- The answer. */

#undef AT
#define AT(member_) .offset = offsetof(struct directive_reply, member_)

static const struct message_field reply_fields[] = {
    {.name = "v", .type = MESSAGE_U64, .required = true, AT(v), .min = 1, .max = MESSAGE_VERSION},
    {.name = "node", .type = MESSAGE_NAME, .required = true, AT(node)},
    {.name = "epoch",
     .type = MESSAGE_U64,
     .required = true,
     AT(epoch),
     .min = 1,
     .max = MESSAGE_NUMBER_MAX},
    {.name = "nonce", .type = MESSAGE_HEX, AT(nonce), .max = DIRECTIVE_NONCE_BYTES},
    {.name = "verdict",
     .type = MESSAGE_WORD,
     .required = true,
     AT(verdict),
     .words = verdict_names,
     .min = DIRECTIVE_VERDICT_COUNT},
    {.name = "result",
     .type = MESSAGE_WORD,
     .required = true,
     AT(result),
     .words = directive_results,
     .min = DIRECTIVE_RESULT_COUNT},
    {.name = "ready_in_ms", .type = MESSAGE_F64, AT(ready_in_ms), .max = DIRECTIVE_READY_IN_MS_MAX},
    {.name = "words", .type = MESSAGE_TEXT, AT(words), .max = DIRECTIVE_REPLY_WORDS_BYTES - 1},
    {.name = NULL},
};

void
directive_plain(const char *words, char ret_text[DIRECTIVE_REPLY_WORDS_BYTES])
{
    span_copy(span_of(words), ret_text, DIRECTIVE_REPLY_WORDS_BYTES);
    for (size_t i = 0; ret_text[i] != '\0'; i++) {
        if (!message_is_text((struct span){ret_text + i, 1}, 1))
            ret_text[i] = '?';
    }
}

enum err
directive_reply_parse(struct span json, struct directive_reply *ret_reply,
                      struct message_error *ret_error)
{
    *ret_reply = (struct directive_reply){.v = 0};
    return message_read(json, reply_fields, ret_reply, ret_error);
}

enum err
directive_reply_write(const struct directive_reply *reply, char ret_text[MESSAGE_BYTES_MAX],
                      size_t *ret_bytes)
{
    return message_write(reply_fields, reply, ret_text, MESSAGE_BYTES_MAX, ret_bytes);
}

/* ---- What is signed, and names. */

void
directive_data(const struct directive *directive, struct signature_data *ret_data)
{
    signature_data_begin(ret_data, DIRECTIVE_DOMAIN);
    signature_data_add(ret_data, directive->gateway.bytes, SIGNATURE_KEY_BYTES);
    signature_data_add_span(ret_data, directive->node);
    signature_data_add_u64(ret_data, directive->epoch);
    signature_data_add(ret_data, directive->nonce, DIRECTIVE_NONCE_BYTES);
    signature_data_add_u64(ret_data, directive->issued_s);
    signature_data_add_u64(ret_data, directive->expires_s);
    signature_data_add_span(ret_data, span_of(directive_action_name(directive->action)));
    signature_data_add_span(ret_data, directive->model);
}

enum err
directive_sign(struct directive *directive, const struct signature_secret *gateway_secret)
{
    struct signature_data data;

    signature_key_of_secret(gateway_secret, &directive->gateway);
    directive_data(directive, &data);
    return signature_sign(gateway_secret, &data, &directive->signature);
}

enum err
directive_action_parse(struct span text, enum directive_action *ret_action)
{
    for (uint32_t i = 0; i < DIRECTIVE_ACTION_COUNT; i++) {
        if (span_eq_text(text, actions[i])) {
            *ret_action = (enum directive_action)i;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

const char *
directive_action_name(enum directive_action action)
{
    return action < DIRECTIVE_ACTION_COUNT ? actions[action] : "unknown";
}

enum err
directive_right_parse(struct span text, enum directive_right *ret_right)
{
    static const char *const rights[] = {"infer", "load", "drain"};

    for (uint32_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++) {
        if (span_eq_text(text, rights[i])) {
            *ret_right = (enum directive_right)(1u << i);
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

enum directive_right
directive_right_for(enum directive_action action)
{
    return action == DIRECTIVE_DRAIN || action == DIRECTIVE_READY ? DIRECTIVE_MAY_DRAIN
                                                                  : DIRECTIVE_MAY_LOAD;
}

/* ---- The node's side. */

static const struct directive_gateway *
gateway_of(const struct directive_guard *g, const struct signature_key *key)
{
    for (size_t i = 0; i < g->gateway_count; i++) {
        if (signature_key_eq(&g->gateways[i].key, key))
            return &g->gateways[i];
    }
    return NULL;
}

static bool
was_seen(const struct directive_guard *g, const struct directive *d)
{
    for (size_t i = 0; i < g->nonce_count; i++) {
        if (memcmp(g->nonces[i].bytes, d->nonce, DIRECTIVE_NONCE_BYTES) == 0)
            return true;
    }
    return false;
}

/* Would the directive pass the check of times, or after a little while by a clock set back? */
static bool
is_kept(const struct directive_nonce *n, uint64_t now_s)
{
    return n->expires_s + SIGNATURE_CLOCK_SKEW_S_MAX > now_s;
}

/* What has expired goes when there is need of room, not before: a clock that is set back makes old
 * directives good again. */
static void
make_room(struct directive_guard *g, uint64_t now_s)
{
    size_t kept = 0;

    if (g->nonce_count < DIRECTIVE_NONCES_MAX)
        return;
    for (size_t i = 0; i < g->nonce_count; i++) {
        if (is_kept(&g->nonces[i], now_s))
            g->nonces[kept++] = g->nonces[i];
    }
    g->nonce_count = kept;
}

/* Has this gateway its part of what is remembered? */
static bool
has_its_part(const struct directive_guard *g, const struct signature_key *gateway, uint64_t now_s)
{
    size_t steering = 0, own = 0;

    for (size_t i = 0; i < g->gateway_count; i++)
        steering += (g->gateways[i].may & (DIRECTIVE_MAY_LOAD | DIRECTIVE_MAY_DRAIN)) != 0;
    for (size_t i = 0; i < g->nonce_count; i++)
        own += is_kept(&g->nonces[i], now_s) && signature_key_eq(&g->nonces[i].gateway, gateway);
    return own >= DIRECTIVE_NONCES_MAX / steering; /* it is one of them */
}

static enum directive_verdict
judge_times(const struct directive *d, uint64_t now_s)
{
    if (d->expires_s <= d->issued_s || d->expires_s - d->issued_s > DIRECTIVE_LIFETIME_S_MAX)
        return DIRECTIVE_TOO_LONG;
    if (d->expires_s <= now_s)
        return DIRECTIVE_EXPIRED;
    if (d->issued_s > now_s && d->issued_s - now_s > SIGNATURE_CLOCK_SKEW_S_MAX)
        return DIRECTIVE_NOT_YET;
    return DIRECTIVE_GOOD;
}

enum directive_verdict
directive_judge(struct directive_guard *guard, const struct directive *directive, uint64_t now_s)
{
    const struct directive_gateway *gateway = gateway_of(guard, &directive->gateway);
    struct signature_data data;
    struct directive_nonce *n;
    enum directive_verdict verdict;

    if (!span_eq(directive->node, guard->node))
        return DIRECTIVE_WRONG_NODE;
    if (gateway == NULL)
        return DIRECTIVE_UNKNOWN_GATEWAY;
    if ((gateway->may & directive_right_for(directive->action)) == 0)
        return DIRECTIVE_NOT_ALLOWED;
    if (directive->epoch != guard->epoch)
        return DIRECTIVE_OTHER_EPOCH;
    verdict = judge_times(directive, now_s);
    if (verdict != DIRECTIVE_GOOD)
        return verdict;
    if (was_seen(guard, directive))
        return DIRECTIVE_REPLAYED;
    directive_data(directive, &data);
    if (!signature_is_good(&gateway->key, &data, &directive->signature))
        return DIRECTIVE_BAD_SIGNATURE;
    make_room(guard, now_s);
    if (guard->nonce_count == DIRECTIVE_NONCES_MAX || has_its_part(guard, &gateway->key, now_s))
        return DIRECTIVE_TOO_MANY;
    n = &guard->nonces[guard->nonce_count++];
    *n = (struct directive_nonce){.gateway = gateway->key, .expires_s = directive->expires_s};
    memcpy(n->bytes, directive->nonce, DIRECTIVE_NONCE_BYTES);
    return DIRECTIVE_GOOD;
}

/* ---- Words. */

static const char *const verdict_words[DIRECTIVE_VERDICT_COUNT] = {
    [DIRECTIVE_GOOD] = "accepted",
    [DIRECTIVE_WRONG_NODE] = "the directive is for another node",
    [DIRECTIVE_UNKNOWN_GATEWAY] = "this node's configuration does not name that gateway's key",
    [DIRECTIVE_NOT_ALLOWED] = "this node's configuration does not let that gateway",
    [DIRECTIVE_OTHER_EPOCH] = "it is for another life of this node, which restarted",
    [DIRECTIVE_EXPIRED] = "expired",
    [DIRECTIVE_NOT_YET] = "issued in the future: the clocks differ by",
    [DIRECTIVE_TOO_LONG] = "it is good for longer than a directive may be, or never",
    [DIRECTIVE_REPLAYED] = "it was obeyed before",
    [DIRECTIVE_BAD_SIGNATURE] = "the gateway's signature does not fit",
    [DIRECTIVE_TOO_MANY] = "more directives of one gateway than this node remembers: wait",
    [DIRECTIVE_MALFORMED] = "it is no directive",
};

const char *
directive_verdict_name(enum directive_verdict verdict)
{
    return verdict < DIRECTIVE_VERDICT_COUNT ? verdict_names[verdict] : "unknown";
}

void
directive_words(enum directive_verdict verdict, const struct directive *directive, uint64_t now_s,
                char ret_text[DIRECTIVE_WORDS_BYTES])
{
    const char *words = verdict < DIRECTIVE_VERDICT_COUNT ? verdict_words[verdict] : "unknown";

    if (verdict == DIRECTIVE_EXPIRED)
        snprintf(ret_text, DIRECTIVE_WORDS_BYTES,
                 "%s %" PRIu64 " s ago, unless the clocks differ by as much", words,
                 now_s - directive->expires_s);
    else if (verdict == DIRECTIVE_NOT_YET)
        snprintf(ret_text, DIRECTIVE_WORDS_BYTES, "%s %" PRIu64 " s", words,
                 directive->issued_s - now_s);
    else if (verdict == DIRECTIVE_NOT_ALLOWED)
        snprintf(ret_text, DIRECTIVE_WORDS_BYTES, "%s %s", words,
                 directive_action_name(directive->action));
    else
        snprintf(ret_text, DIRECTIVE_WORDS_BYTES, "%s", words);
}
