/* members - what comes over the bus, judged, and told to the core; see members.h. */
#include "role/gateway/members.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/inbox.h"
#include "role/gateway/members_state.h"
#include "role/gateway/steer.h"
#include "role/roster_bus.h"
#include "wire/message_proof.h"

#define FEW_MEMBERS_MAX 1024u /* room when there is no bus: they come over HTTP */

/* ---- Telling the core. Under the lock, so that what one member says stays in order. */

static void
tell(struct members *m, const struct event *event)
{
    struct actions actions;
    uint64_t now_ns = decide_step(m->gateway->door, event, &actions);

    inbox_share(m->gateway, now_ns, &actions, 0);
}

void
members_tell_node(struct members *m, struct member *member)
{
    struct event event = {.kind = EVENT_NODE, .node = member->about};

    event.node.epoch = member->life;
    event.node.state = member->state;
    tell(m, &event);
    member->state_told = member->state;
}

_Static_assert(TOTAL_UNKNOWN == MESSAGE_UNKNOWN, "accepted_total is told as it was read");

/* What may not be known, in core's form. */
static float
figure(uint64_t number)
{
    return number == MESSAGE_UNKNOWN ? NAN : (float)number;
}

/* Which of our dispatches these figures count; 0: they do not say, or of a life before this one.
 * What it counts when it is first heard is of such a life: nothing was sent there yet. Our numbers
 * are higher in each life, unless the clock was set back. */
static uint32_t
acked(struct members *m, uint32_t node, const struct report *r)
{
    const struct gateway *g = m->gateway;
    uint64_t *past = &m->acked_before[node], number = 1;

    for (size_t i = 0; i < r->ack_count; i++) {
        if (span_eq_text(r->acks[i].name, g->name))
            number = r->acks[i].number;
    }
    if (*past == 0)
        *past = number;
    if (number <= *past || number <= g->dispatch_base)
        return 0;
    number -= g->dispatch_base;
    return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX; /* more was never sent */
}

/* What it has of each model that has slots of its own; behind the report that counts them. */
static void
tell_requests(struct members *m, uint32_t node, const struct report *r)
{
    struct fleet *fleet = r->request_count > 0 ? decide_fleet(m->gateway->door) : NULL;

    for (size_t i = 0; i < r->request_count; i++) {
        const struct report_requests *q = &r->requests[i];
        uint16_t model = fleet_model_find(fleet, q->id);
        struct event event = {.kind = EVENT_REQUESTS};
        event.requests = (struct event_requests){
            .node = node, .model = model, .requests = figure(q->running) + figure(q->waiting)};
        if (model != FLEET_MODEL_NONE)
            tell(m, &event);
    }
    fleet_unref(fleet);
}

static void
tell_load(struct members *m, uint32_t node, const struct report *r)
{
    struct event event = {.kind = EVENT_REPORT};

    event.report = (struct event_report){
        .node = node,
        .running = figure(r->engine.running),
        .waiting = figure(r->engine.waiting),
        .prefill_tokens_in_flight = figure(r->engine.prefill_tokens_in_flight),
        .kv_tokens_used = figure(r->engine.kv_tokens_used),
        .kv_tokens_cap = figure(r->engine.kv_tokens_cap),
        .slots = figure(r->engine.slots),
        .age_ms = NAN,
        .acked = acked(m, node, r),
        .is_word = 1,
        .accepted_total = r->engine.accepted_total, /* not said: unknown in both */
        .prefill_tok_s = (float)r->engine.prefill_tok_s,
        .decode_tok_s = (float)r->engine.decode_tok_s,
    };
    tell(m, &event);
    tell_requests(m, node, r);
}

bool
members_is_reporting(const struct gateway *g, uint32_t node, uint64_t now_ns)
{
    uint32_t heard_ms = atomic_load_explicit(&g->node_heard_ms[node], memory_order_relaxed);

    return heard_ms != 0 && (uint32_t)(now_ns / 1000000u) - heard_ms < MEMBERS_FRESH_MS;
}

static void
note_heard(struct members *m, const struct member *member, uint64_t now_ns)
{
    atomic_store_explicit(&m->gateway->node_heard_ms[member->index],
                          (uint32_t)(now_ns / 1000000u) | 1, memory_order_relaxed);
}

/* ---- Reports. */

/* May so much more wait? */
static bool
has_room(const struct members *m, const struct member *member, size_t bytes, bool is_page)
{
    if (bytes > MEMBERS_CHANGE_BYTES_MAX - m->change_bytes)
        return false;
    return !is_page || member->sender.proven || bytes <= MEMBERS_PAGE_BYTES_MAX - m->page_bytes;
}

/* What it tells of models, in memory of its own. NULL: there is no room for more that waits. */
static struct member_change *
make_change(struct members *m, const struct member *member, const struct report *r, bool is_page)
{
    size_t bytes = sizeof(struct member_change) +
                   r->model_count * sizeof(struct member_change_model);
    struct member_change *c;
    char *text;
    size_t at = 0;

    for (size_t i = 0; i < r->model_count; i++)
        bytes += r->models[i].id.bytes;
    if (!has_room(m, member, bytes, is_page))
        return NULL;
    c = malloc(bytes);
    if (c == NULL)
        return NULL;
    *c = (struct member_change){.proven = member->sender.proven,
                                .is_page = is_page && !member->sender.proven,
                                .bytes = (uint32_t)bytes,
                                .count = (uint32_t)r->model_count};
    span_copy(span_of(member->name), c->member, sizeof(c->member));
    c->text = text = (char *)&c->models[r->model_count];
    for (size_t i = 0; i < r->model_count; i++) {
        const struct report_model *model = &r->models[i];
        memcpy(text + at, model->id.data, model->id.bytes);
        c->models[i] = (struct member_change_model){
            .at = (uint16_t)at,
            .bytes = (uint16_t)model->id.bytes,
            .state = (uint16_t)model->state,
            .ready_in_ms = (float)model->ready_in_ms,
            .pinned = model->pinned,
            .slots = model->slots != MESSAGE_UNKNOWN ? (uint32_t)model->slots : 0,
            .weights_bytes = model->bytes != MESSAGE_UNKNOWN ? model->bytes : 0};
        at += model->id.bytes;
    }
    m->change_count++;
    m->change_bytes += c->bytes;
    m->page_bytes += c->is_page ? c->bytes : 0;
    return c;
}

/* It waits for no others any more. */
static void
end_page(struct members *m, struct member_change *c)
{
    m->page_bytes -= c->is_page ? c->bytes : 0;
    c->is_page = false;
}

void
members_drop_some(struct members *m, struct member_changes *some)
{
    struct member_change *c;

    STAILQ_FOREACH(c, some, link)
    {
        must(m->change_count > 0 && m->change_bytes >= c->bytes);
        end_page(m, c);
        m->change_count--;
        m->change_bytes -= c->bytes;
    }
    member_drop_changes(some);
}

void
members_drop_pages(struct members *m, struct member *member)
{
    members_drop_some(m, &member->pages);
    member->page_count = 0;
}

/* What it told is to be in the next fleet. */
static void
release_pages(struct members *m, struct member *member)
{
    struct member_change *c;

    STAILQ_FOREACH(c, &member->pages, link)
    {
        end_page(m, c);
    }
    STAILQ_CONCAT(&m->changes, &member->pages);
    member->page_count = 0;
    members_gather_soon(m);
}

/* Models wait for the next fleet: those of a full report only when all its pages are here, for what
 * is on none of them is gone. Of very many pages the first ones have all that counts. */
static void
note_models(struct members *m, struct member *member, const struct report *r, uint64_t now_ns)
{
    bool is_page = r->full && (member->sender.whole || member->sender.pages > 0);
    struct member_change *c = NULL;

    if (!is_page || r->page == MESSAGE_UNKNOWN || r->page == 1)
        members_drop_pages(m, member);
    if (!is_page && (r->full || r->model_count == 0))
        return;
    if (member->page_count < MEMBERS_PAGES_MAX) {
        bool lacks_some = is_page && r->page != MESSAGE_UNKNOWN && r->page > 1 &&
                          STAILQ_EMPTY(&member->pages);
        if (!lacks_some)
            c = make_change(m, member, r, is_page && !member->sender.whole);
        if (c == NULL) {
            members_drop_pages(m, member);
            member->sender.wants_full = true;
            return;
        }
        c->all = is_page && STAILQ_EMPTY(&member->pages);
        STAILQ_INSERT_TAIL(&member->pages, c, link);
        if (member->page_count++ == 0)
            member->pages_ns = now_ns;
    }
    if (!is_page || member->sender.whole)
        release_pages(m, member);
}

static enum engine_kind
kind_of(const struct report *r)
{
    const struct adapter *adapter = adapter_by_name(r->engine.kind);

    return adapter != NULL ? adapter->kind : ENGINE_UNKNOWN;
}

static void
note_report(struct members *m, struct member *member, const struct report *r, uint64_t now_ns)
{
    member->reports++;
    member->heard_ns = now_ns;
    member->state = r->state;
    member->engine = kind_of(r);
    note_models(m, member, r, now_ns);
    members_note_steering(member, r);
    for (size_t i = 0; i < r->outcome_count; i++)
        steer_outcome(m->gateway->steer, span_of(member->name), &r->outcomes[i]);
    if (!member->is_in_core)
        return;
    note_heard(m, member, now_ns);
    if (member->state != member->state_told)
        members_tell_node(m, member);
    if (!member->sender.late)
        tell_load(m, member->index, r);
}

static uint32_t
take_report(struct members *m, struct member *member, struct span name, const struct report *r,
            struct span body, uint64_t now_ns)
{
    enum report_verdict verdict;

    if (member == NULL)
        return r->role == REPORT_NODE ? REPORT_UNANNOUNCED : MEMBERS_NO_NODE;
    if (member->is_in_core)
        decide_expect(m->gateway->door, member->index);
    verdict = report_sender_take(&member->sender, name, r, body, now_ns);
    if (report_verdict_is_taken(verdict))
        note_report(m, member, r, now_ns);
    return verdict;
}

void
members_take_piggyback(struct members *m, uint32_t node, struct span json)
{
    struct message_error error;
    struct report r;
    struct member *member;

    if (report_parse_piggyback(json, &r, &error) != ERR_OK)
        return; /* the answer is good all the same */
    members_lock(m);
    member = m->by_index[node];
    /* of a node that is known from the configuration alone the connection is proof enough */
    if (member == NULL || report_sender_take_piggyback(&member->sender, &r) == REPORT_NEWS) {
        m->counts.piggybacks++;
        tell_load(m, node, &r);
        if (member != NULL && member->is_in_core && r.state != member->state_told) {
            member->state = r.state;
            members_tell_node(m, member);
        }
    }
    members_unlock(m);
}

/* ---- Hello. */

static struct span
label(const struct identity *i, const char *name)
{
    for (size_t k = 0; k < i->labels.count; k++) {
        if (span_eq_text(i->labels.list[k].name, name))
            return i->labels.list[k].value;
    }
    return (struct span){NULL, 0};
}

/* The same node in the same place, by what a roster has of it? */
static bool
is_same(const struct roster_member *a, const struct roster_member *b)
{
    return a != NULL && span_eq(a->node.url, b->node.url) && span_eq(a->region, b->region) &&
           span_eq(a->gpu, b->gpu) && span_eq(a->site, b->site) &&
           span_eq(a->operator, b->operator) && a->node.kind == b->node.kind &&
           a->node.tls_identity == b->node.tls_identity;
}

/* What it is as a node. False: nowhere to send requests to. */
static bool
make_node(struct members *m, const struct identity *i, bool proven, const struct roster *roster,
          struct roster_member **ret_node)
{
    struct span region = label(i, "region");
    struct roster_member_said said = {
        .name = i->node,
        .url = i->url,
        .region = config_is_name(region) ? region : (struct span){NULL, 0},
        .gpu = label(i, "gpu"),
        .site = label(i, "site"),
        .operator= i->operator.bytes> 0
        ? i->operator: label(i, "operator"),
        .engine = label(i, "engine"),
        .proven = proven,
        .pin = message_is_zero(i->tls_pin, sizeof(i->tls_pin)) ? NULL : i->tls_pin, };
    const struct tls_client_options pinned = {.pinned = true};
    const char *why;

    if (said.pin != NULL && m->pinned == NULL && tls_client_open(&pinned, &m->pinned) != ERR_OK)
        m->pinned = NULL;
    said.tls = members_tls(m, roster);
    if (said.pin != NULL && said.tls == NULL)
        return false;
    return roster_member_make(&said, ret_node, &why) == ERR_OK;
}

static void
note_hello(struct members *m, struct member *member, const struct report_hello *h,
           enum identity_verdict identity, struct roster_member *node, bool is_new_life)
{
    member->greeted_ns = clock_now_ns();
    member->identity = identity;
    member->expires_s = h->identity.expires_s;
    member->wants_hello = false;
    memcpy(member->pin, h->identity.tls_pin, sizeof(member->pin));
    identity_hash(&h->identity, member->record);
    span_copy(h->identity.operator, member->operator_name, sizeof(member->operator_name));
    if (is_new_life) {
        log_info("node %s: is here, at %.*s, %s%.*s", member->name, (int)h->identity.url.bytes,
                 h->identity.url.data, identity == IDENTITY_PROVEN ? "proven, of " : "unproven",
                 identity == IDENTITY_PROVEN ? (int)h->identity.operator.bytes : 0,
                 identity == IDENTITY_PROVEN ? h->identity.operator.data : "");
        members_drop_pages(m, member);
        member->life++;
        member->told_steering = false;
        steer_restarted(m->gateway->steer, span_of(member->name));
        member->state = NODE_READY;
        member->is_over = false;
    }
    if (member->is_in_core && member->next == NULL && is_same(member->node, node)) {
        roster_member_unref(node);
    } else {
        roster_member_unref(member->next);
        member->next = node;
    }
    if (member->is_in_core && member->next == NULL && is_new_life)
        members_tell_node(m, member);
    if (!member->is_in_core || member->next != NULL) {
        m->is_changed = true;
        members_gather_soon(m);
    }
}

/* One that was not known, and said so with `sender`, whose place may be another's until now. NULL:
 * the table is full, or there is no memory. */
static struct member *
admit(struct members *m, struct span name, const struct report_sender *sender)
{
    struct member *member;

    if (sender->proven)
        members_make_room(m);
    member = member_add(&m->table, name);
    if (member != NULL)
        member->sender = *sender;
    return member;
}

/* May one more be looked at of those that are not known by their key? All of them share it. */
static bool
may_be_strange(struct members *m, uint64_t now_ns)
{
    uint64_t wait_ns;

    return bucket_take(&m->strangers_heard, MEMBERS_STRANGERS_PER_MINUTE_MAX, 1, now_ns, &wait_ns);
}

/* May a hello be looked at, which is dear? Of who has the key of the name as often as a node may
 * say it; over the bus all others share what there is. (Over HTTP they have the allowance of their
 * address.) Of a name that a subject says nobody has it was asked already. */
static bool
may_look(struct members *m, const struct member *member, const struct members_message *message,
         const struct report_hello *h, uint64_t now_ns)
{
    if (member != NULL && signature_key_eq(&member->sender.key, &h->identity.key))
        return bucket_look(&member->sender.signed_checks, REPORT_SIGNED_PER_MINUTE_MAX, now_ns)
                   .left > 0;
    return message->is_public || (member == NULL && message->is_by_subject) ||
           may_be_strange(m, now_ns);
}

/* Is it the node of the configuration that it says to be, as far as anything shows? Its key alone
 * shows nothing, when the first one to come has made it himself. */
static bool
is_entitled(const struct members_message *message, const struct member *member,
            const struct roster_node *configured, const struct report_hello *h)
{
    bool has_key = member != NULL && signature_key_eq(&member->sender.key, &h->identity.key);

    if (configured == NULL || !message->is_public || (has_key && !member->by_public))
        return true;
    return message->pin != NULL && configured->tls_pin != NULL &&
           memcmp(message->pin, configured->tls_pin, TLS_PIN_BYTES) == 0;
}

/* As what it says to be; REPORT_NEWS: yes. */
static uint32_t
may_be_member(const struct members_message *message, const struct member *member,
              const struct roster *roster, const struct report_hello *h,
              enum identity_verdict identity)
{
    const struct roster_node *configured = roster_find(roster, message->name);
    uint64_t wait_ns;

    if (!identity_is_unproven(identity)) /* proven, or refused for what it shows */
        return REPORT_NEWS;
    if (!is_entitled(message, member, configured, h))
        return MEMBERS_TAKEN_NAME;
    if (configured == NULL && roster->config.operators.only)
        return MEMBERS_UNTRUSTED;
    if (member == NULL && message->strangers != NULL &&
        !bucket_take(message->strangers, MEMBERS_ADDRESS_STRANGERS_MAX, 1, clock_now_ns(),
                     &wait_ns))
        return MEMBERS_BUSY_ADDRESS;
    return REPORT_NEWS;
}

/* What it says is no news by itself: who knows it, and from where? */
static void
note_way(struct member *member, const struct members_message *message,
         const struct roster_node *configured, const struct signature_key *before)
{
    bool is_new = !signature_key_eq(before, &member->sender.key);

    if (!message->is_public || (configured != NULL && !member->sender.proven))
        member->by_public = false; /* is_entitled said so */
    else if (is_new)
        member->by_public = true;
}

/* roster: the configuration's, without members. */
static uint32_t
take_hello(struct members *m, struct member *member, const struct members_message *message,
           const struct report_hello *h, const struct roster *roster, uint64_t now_ns,
           char words[MEMBERS_WORDS_BYTES])
{
    struct span name = message->name;
    const struct roster_node *configured = roster_find(roster, name);
    struct signature_key before = {{0}};
    const struct config_operators *operators = &roster->config.operators;
    const struct identity_trust trust = {.operators = operators->trust,
                                         .count = operators->trust_count,
                                         .revoked = operators->revoke,
                                         .revoked_count = operators->revoke_count};
    enum identity_verdict identity;
    uint32_t verdict;
    struct report_sender unknown = {.epoch = 0};
    struct roster_member *node;
    bool is_stranger = member == NULL, is_taken;

    if (h->role != REPORT_NODE)
        return MEMBERS_NO_NODE;
    if (!is_stranger && !member->wants_hello && report_sender_has_heard(&member->sender, h))
        return REPORT_REPEATED;
    if (!may_look(m, member, message, h, now_ns))
        return REPORT_TOO_OFTEN;
    identity = identity_verify(&h->identity, name, &trust, clock_wall_s());
    if (is_stranger && identity != IDENTITY_PROVEN && m->table.count == MEMBERS_MAX)
        return MEMBERS_TABLE_FULL;
    if (identity != IDENTITY_PROVEN && !identity_is_unproven(identity))
        identity_words(identity, &h->identity, clock_wall_s(), words);
    verdict = may_be_member(message, member, roster, h, identity);
    if (verdict != REPORT_NEWS)
        return verdict;
    if (!make_node(m, &h->identity, identity == IDENTITY_PROVEN, roster, &node))
        return MEMBERS_NO_URL;
    if (node->node.address.bytes > 0 && configured == NULL &&
        !members_may_reach(roster, identity == IDENTITY_PROVEN, &node->node.address, words)) {
        roster_member_unref(node);
        return MEMBERS_BAD_PLACE;
    }
    if (!is_stranger)
        before = member->sender.key;
    verdict = report_sender_take_hello(is_stranger ? &unknown : &member->sender, name, h, identity,
                                       now_ns);
    is_taken = verdict == REPORT_NEWS || verdict == REPORT_REPEATED;
    if (is_taken && is_stranger) { /* only now: records can be copied, signatures can not */
        member = admit(m, name, &unknown);
        if (member == NULL) {
            roster_member_unref(node);
            return MEMBERS_TABLE_FULL;
        }
    }
    if (is_taken) {
        note_way(member, message, configured, &before);
        note_hello(m, member, h, identity, node, verdict == REPORT_NEWS);
        return REPORT_NEWS;
    }
    roster_member_unref(node);
    if (verdict == REPORT_OTHER_KEY && !is_stranger)
        member->rival_ns = now_ns;
    return verdict;
}

/* ---- Gone, and the chain. */

static uint32_t
take_gone(struct members *m, struct member *member, struct span name, const struct report_gone *g,
          uint64_t now_ns)
{
    enum report_verdict verdict = REPORT_UNANNOUNCED;

    if (member != NULL)
        verdict = report_sender_take_gone(&member->sender, name, g, now_ns);
    if (verdict == REPORT_NEWS) {
        log_info("node %s: is gone: %.*s", member->name, (int)g->reason.bytes, g->reason.data);
        members_drop_pages(m, member);
        member->over_ns = now_ns;
        member->is_over = true;
        m->is_changed = true;
        members_gather_soon(m);
    }
    return verdict;
}

static uint32_t
take_chain(struct member *member, struct span name, const struct report_chain *c, uint64_t now_ns)
{
    return member != NULL ? report_sender_take_chain(&member->sender, name, c, now_ns)
                          : REPORT_UNANNOUNCED;
}

/* ---- A message. */

union said {
    struct report report;
    struct report_hello hello;
    struct report_gone gone;
    struct report_chain chain;
};

static enum err
parse(enum members_kind kind, struct span body, union said *ret, struct message_error *ret_error)
{
    switch (kind) {
    case MEMBERS_REPORT:
        return report_parse(body, &ret->report, ret_error);
    case MEMBERS_HELLO:
        return report_hello_parse(body, &ret->hello, ret_error);
    case MEMBERS_GONE:
        return report_gone_parse(body, &ret->gone, ret_error);
    default:
        return report_chain_parse(body, &ret->chain, ret_error);
    }
}

/* What a sender has shown beside a message, as far as it could be looked at without the lock. */
struct proof {
    bool is_needed;
    bool is_known, is_good; /* the node is; it is the node's, if `key` is still */
    bool is_forged;         /* not signed by whom it says */
    struct signature_key key;
};

/* A message with a signature of its own. What is forged is not to reach what is counted for the
 * node: over HTTP anybody could use up what it may say in a minute. */
static bool
is_forged(const struct proof *proof, enum members_kind kind, const union said *said)
{
    const struct signature_key *key = &proof->key;
    const struct signature *signature = &said->chain.signature;
    struct signature_data data;

    if (kind == MEMBERS_HELLO) {
        report_hello_data(&said->hello, &data);
        key = &said->hello.identity.key;
        signature = &said->hello.signature;
    } else if (kind == MEMBERS_GONE) {
        report_gone_data(&said->gone, &data);
        signature = &said->gone.signature;
    } else {
        report_chain_data(&said->chain, &data);
    }
    return (proof->is_known || kind == MEMBERS_HELLO) && !signature_is_good(key, &data, signature);
}

/* Signatures are dear: they are not looked at under the lock. */
static void
prove(struct members *m, const struct members_message *message, const union said *said,
      struct proof *ret)
{
    unsigned char pin[IDENTITY_PIN_BYTES] = {0};
    const struct member *member;

    *ret = (struct proof){.is_needed = message->is_public && message->kind == MEMBERS_REPORT};
    if (!message->is_public)
        return;
    members_lock(m);
    member = member_find(&m->table, message->name);
    if (member != NULL) {
        ret->is_known = true;
        ret->key = member->sender.key;
        memcpy(pin, member->pin, sizeof(pin));
    }
    members_unlock(m);
    if (!ret->is_needed) {
        ret->is_forged = is_forged(ret, message->kind, said);
        return;
    }
    if (ret->is_known && message->pin != NULL && !message_is_zero(pin, sizeof(pin)))
        ret->is_good = memcmp(pin, message->pin, sizeof(pin)) == 0;
    if (ret->is_known && !ret->is_good && message->signature != NULL)
        ret->is_good = message_proof_is_good(&ret->key, span_of(members_kind_names[message->kind]),
                                             message->body, message->signature);
}

/* Is it the member's? Of somebody unknown a hello is wanted first. Under the lock. */
static bool
is_proven(const struct proof *proof, const struct member *member)
{
    return !proof->is_needed || member == NULL ||
           (proof->is_good && signature_key_eq(&proof->key, &member->sender.key));
}

static uint32_t
judge(struct members *m, struct member *member, const struct members_message *message,
      const union said *said, const struct roster *roster, uint64_t now_ns,
      char words[MEMBERS_WORDS_BYTES])
{
    switch (message->kind) {
    case MEMBERS_REPORT:
        return take_report(m, member, message->name, &said->report, message->body, now_ns);
    case MEMBERS_HELLO:
        return take_hello(m, member, message, &said->hello, roster, now_ns, words);
    case MEMBERS_GONE:
        return take_gone(m, member, message->name, &said->gone, now_ns);
    default:
        return take_chain(member, message->name, &said->chain, now_ns);
    }
}

/* Over HTTP nothing but this tells a hello from one that somebody kept. */
static bool
is_of_now(uint64_t issued_s, char ret_words[MEMBERS_WORDS_BYTES])
{
    uint64_t now_s = clock_wall_s();

    if (signature_is_of_now(issued_s, now_s))
        return true;
    if (issued_s < now_s)
        snprintf(ret_words, MEMBERS_WORDS_BYTES,
                 "its hello is %" PRIu64 " s old, or its clock is behind ours by as much",
                 now_s - issued_s);
    else
        snprintf(ret_words, MEMBERS_WORDS_BYTES,
                 "its clock is %" PRIu64 " s ahead of ours, or ours behind", issued_s - now_s);
    return false;
}

/* Before it is read: REPORT_NEWS, or what is thought of it already. Where a subject says whose it
 * is a flood is not parsed; and of a name that nobody has only a hello is of use. */
static uint32_t
before_reading(struct members *m, const struct members_message *message)
{
    uint64_t now_ns = clock_now_ns();
    struct member *member;

    if (!message->is_by_subject) { /* anybody's word: what is signed tells whom it costs */
        member_expect(&m->table, message->name);
        return REPORT_NEWS;
    }
    member = member_find(&m->table, message->name);
    if (member != NULL)
        return report_sender_may_be_read(&member->sender, now_ns) ? REPORT_NEWS : REPORT_TOO_OFTEN;
    if (message->kind != MEMBERS_HELLO)
        return REPORT_UNANNOUNCED;
    return may_be_strange(m, now_ns) ? REPORT_NEWS : REPORT_TOO_OFTEN;
}

void
members_take(struct members *m, const struct members_message *message,
             struct members_answer *ret_answer)
{
    struct message_error error = {.text = ""};
    char words[MEMBERS_WORDS_BYTES] = "";
    union said said;
    struct proof proof;
    struct fleet *fleet;
    struct member *member;
    uint32_t verdict;
    enum err err;

    members_lock(m);
    verdict = before_reading(m, message);
    members_unlock(m);
    if (verdict != REPORT_NEWS) {
        members_refuse(m, message->kind, message->name, verdict, NULL, ret_answer);
        return;
    }
    err = parse(message->kind, message->body, &said, &error);
    if (err != ERR_OK) {
        members_refuse(m, message->kind, message->name,
                       err == ERR_FULL ? MEMBERS_OVERSIZED : MEMBERS_MALFORMED, error.text,
                       ret_answer);
        return;
    }
    if (message->is_public && message->kind == MEMBERS_HELLO &&
        !is_of_now(said.hello.issued_s, words)) {
        members_refuse(m, message->kind, message->name, MEMBERS_CLOCK, words, ret_answer);
        return;
    }
    fleet = message->kind == MEMBERS_HELLO ? decide_fleet(m->gateway->door) : NULL;
    prove(m, message, &said, &proof);
    members_lock(m);
    member = member_find(&m->table, message->name);
    if (proof.is_forged)
        verdict = REPORT_BAD_SIGNATURE;
    else if (!is_proven(&proof, member))
        verdict = MEMBERS_UNPROVEN;
    else
        verdict = judge(m, member, message, &said,
                        fleet != NULL ? roster_base(fleet->roster) : NULL, clock_now_ns(), words);
    if (member == NULL) /* it may be one now */
        member = member_find(&m->table, message->name);
    members_conclude(m, message->kind, message->name, member, verdict,
                     words[0] != '\0' ? words : NULL, ret_answer);
    members_unlock(m);
    fleet_unref(fleet);
}

void
members_refuse(struct members *m, enum members_kind kind, struct span name, uint32_t verdict,
               const char *words, struct members_answer *ret_answer)
{
    members_lock(m);
    members_conclude(m, kind, name, member_find(&m->table, name), verdict, words, ret_answer);
    members_unlock(m);
}

/* ---- The bus. */

/* The last word of a subject: whose it is. */
static struct span
name_of(struct span subject)
{
    size_t at = subject.bytes;

    while (at > 0 && subject.data[at - 1] != '.')
        at--;
    return span_from(subject, at);
}

static void
on_message(const struct bus_message *message, enum members_kind kind, struct members *m)
{
    struct members_answer answer;
    const struct members_message said = {.kind = kind,
                                         .name = name_of(message->subject),
                                         .body = message->body,
                                         .is_by_subject = true};

    if (!config_is_name(said.name))
        return;
    members_take(m, &said, &answer);
    if (report_verdict_is_taken((enum report_verdict)answer.verdict))
        return;
    members_lock(m);
    members_tell(m, said.name, &answer);
    members_unlock(m);
}

/* Reports, and the chain over them, which alone has a head. */
static void
on_report(const struct bus_message *message, void *user)
{
    bool is_chain = memmem(message->body.data, message->body.bytes, "\"head\":", 7) != NULL;

    on_message(message, is_chain ? MEMBERS_CHAIN : MEMBERS_REPORT, user);
}

static void
on_hello(const struct bus_message *message, void *user)
{
    on_message(message, MEMBERS_HELLO, user);
}

static void
on_gone(const struct bus_message *message, void *user)
{
    on_message(message, MEMBERS_GONE, user);
}

static enum err
bus_start(struct members *m, const struct roster *roster)
{
    enum err err;

    if (roster->config.bus.nats_count == 0)
        return ERR_OK;
    err = roster_bus_open(roster, span_of(m->gateway->name), &m->bus);
    if (err == ERR_OK)
        err = bus_subscribe(m->bus, SPAN_LIT("iso.hello.*"), on_hello, m);
    if (err == ERR_OK)
        err = bus_subscribe(m->bus, SPAN_LIT("iso.gone.*"), on_gone, m);
    if (err == ERR_OK)
        err = bus_subscribe(m->bus, SPAN_LIT("iso.report.>"), on_report, m);
    return err;
}

/* ---- Life. */

uint32_t
members_room(const struct config *config)
{
    return config->bus.nats_count > 0 || config->bus.http ? MEMBERS_MAX : FEW_MEMBERS_MAX;
}

enum err
members_open(struct gateway *gateway, struct members **ret_members)
{
    struct members *m = calloc(1, sizeof(*m));
    struct fleet *fleet;
    enum err err;

    if (m == NULL)
        return ERR_MEMORY;
    m->gateway = gateway;
    m->table.key = gateway->own_secret;
    STAILQ_INIT(&m->changes);
    must(pthread_mutex_init(&m->lock, NULL) == 0);
    m->by_index = calloc(gateway->nodes_max, sizeof(struct member *));
    m->strangers = calloc(MEMBER_TABLE_SLOTS, sizeof(*m->strangers));
    m->acked_before = calloc(gateway->nodes_max, sizeof(*m->acked_before));
    if (m->by_index == NULL || m->strangers == NULL || m->acked_before == NULL) {
        members_close(m);
        return ERR_MEMORY;
    }
    members_gather_open(m);
    fleet = decide_fleet(gateway->door);
    err = bus_start(m, fleet->roster);
    fleet_unref(fleet);
    if (err != ERR_OK) {
        members_close(m);
        return err;
    }
    *ret_members = m;
    return ERR_OK;
}

void
members_stop(struct members *m)
{
    if (m == NULL)
        return;
    bus_close(m->bus);
    m->bus = NULL;
}

void
members_close(struct members *m)
{
    if (m == NULL)
        return;
    members_stop(m);
    members_gather_close(m);
    member_table_clear(&m->table);
    members_drop_changes(m);
    tls_unref(m->pinned);
    must(pthread_mutex_destroy(&m->lock) == 0);
    free(m->by_index);
    free(m->acked_before);
    free(m->strangers);
    free(m);
}
