/* members_look - what was thought of messages: in words, counted, told to the log and to who asks;
 * and what is missing, asked for. See members.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/members_state.h"
#include "wire/notice.h"

/* ---- Words. */

static const struct {
    const char *name, *words;
} refusals[] = {
    [MEMBERS_MALFORMED - MEMBERS_MALFORMED] = {"malformed", "it is no message"},
    [MEMBERS_OVERSIZED - MEMBERS_MALFORMED] = {"oversized", "more than 4096 bytes"},
    [MEMBERS_TABLE_FULL - MEMBERS_MALFORMED] = {"table_full", "there are too many members"},
    [MEMBERS_NO_NODE - MEMBERS_MALFORMED] = {"no_node", "its role is not `node`"},
    [MEMBERS_NO_URL - MEMBERS_MALFORMED] = {"no_url",
                                            "there is nowhere to send requests to: its record has "
                                            "no url, or https without tls_pin"},
    [MEMBERS_UNPROVEN - MEMBERS_MALFORMED] =
        {"unproven", "nothing shows that the node said it: Isochrone-Signature by its key, or a "
                     "certificate whose key its record names"},
    [MEMBERS_BAD_PLACE -
        MEMBERS_MALFORMED] = {"bad_place", "its url leads to where no node may be"},
    [MEMBERS_REVOKED -
        MEMBERS_MALFORMED] = {"revoked",
                              "its key, its operator's or its record is among operators.revoke"},
    [MEMBERS_BUSY_ADDRESS -
        MEMBERS_MALFORMED] = {"busy_address", "too much comes from this address"},
    [MEMBERS_CLOCK - MEMBERS_MALFORMED] =
        {"clock", "its hello is old, or its clock and ours are more than a minute apart"},
    [MEMBERS_TAKEN_NAME - MEMBERS_MALFORMED] =
        {"taken_name", "the configuration names a node so (`engines`): over HTTP an operator of "
                       "operators.trust has to vouch for who says that it is this one"},
    [MEMBERS_UNTRUSTED - MEMBERS_MALFORMED] =
        {"untrusted", "no operator of operators.trust vouches for it, and others are not taken "
                      "here (operators.only)"},
};

const char *
members_verdict_name(uint32_t verdict)
{
    if (verdict < REPORT_VERDICT_COUNT)
        return report_verdict_name((enum report_verdict)verdict);
    return verdict < MEMBERS_VERDICT_COUNT ? refusals[verdict - REPORT_VERDICT_COUNT].name
                                           : "unknown";
}

const char *
members_verdict_words(uint32_t verdict)
{
    return verdict < REPORT_VERDICT_COUNT ? report_verdict_words((enum report_verdict)verdict)
                                          : refusals[verdict - REPORT_VERDICT_COUNT].words;
}

const char *const members_kind_names[MEMBERS_KIND_COUNT] = {"report", "hello", "gone", "chain"};

enum err
members_kind_parse(struct span word, enum members_kind *ret_kind)
{
    for (uint32_t i = 0; i < MEMBERS_KIND_COUNT; i++) {
        if (span_eq_text(word, members_kind_names[i])) {
            *ret_kind = (enum members_kind)i;
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

/* ---- A message was judged. */

static void
notify(struct members *m, struct span name, const struct notice *notice)
{
    char subject[BUS_SUBJECT_BYTES_MAX], text[MESSAGE_BYTES_MAX];
    size_t bytes;

    snprintf(subject, sizeof(subject), "iso.ctl.%.*s", (int)name.bytes, name.data);
    if (notice_write(notice, text, &bytes) != ERR_OK ||
        bus_publish(m->bus, span_of(subject), (struct span){text, bytes}) != ERR_OK)
        log_debug("node %.*s was not written to: the bus does not take it", (int)name.bytes,
                  name.data);
}

void
members_ask(struct members *m, struct span name, uint64_t *asked_ns, const char *want,
            uint64_t now_ns)
{
    bool is_hello = strcmp(want, "hello") == 0;

    if (m->bus == NULL || (*asked_ns != 0 && now_ns - *asked_ns < MEMBERS_ASK_NS))
        return;
    *asked_ns = now_ns;
    notify(m, name,
           &(struct notice){.v = MESSAGE_VERSION, .want = is_hello ? NOTICE_HELLO : NOTICE_FULL});
}

/* What is kept of this name. Of two with one place each makes the other forgotten. */
static struct member_stranger *
stranger_of(struct members *m, struct span name)
{
    uint64_t hash = hash_span(m->table.key, name);
    struct member_stranger *s = &m->strangers[hash % MEMBER_TABLE_SLOTS];

    if (s->hash != hash)
        *s = (struct member_stranger){.hash = hash};
    return s;
}

void
members_tell(struct members *m, struct span name, const struct members_answer *answer)
{
    uint64_t now_ns = clock_now_ns(), wait_ns;
    struct member_stranger *s;

    if (answer->verdict <= REPORT_GAP || answer->verdict == REPORT_UNANNOUNCED ||
        answer->verdict == REPORT_REPEATED || answer->verdict == REPORT_STALE)
        return; /* it is taken, or will be when it was asked; or it is late */
    s = stranger_of(m, name);
    if (m->bus == NULL || (s->told_ns != 0 && now_ns - s->told_ns < MEMBERS_TELL_NS) ||
        !bucket_take(&m->told, MEMBERS_TELLS_PER_MINUTE_MAX, 1, now_ns, &wait_ns))
        return;
    s->told_ns = now_ns;
    notify(m, name,
           &(struct notice){.v = MESSAGE_VERSION,
                            .gateway = span_of(m->gateway->name),
                            .verdict = span_of(answer->name),
                            .words = span_of(answer->words)});
}

/* Where this name is kept, else the row that is longest ago. */
static struct members_refused_row *
refused_row(struct members *m, struct span name)
{
    struct members_refused_row *oldest = &m->refused[0];

    for (uint32_t i = 0; i < MEMBERS_REFUSED_MAX; i++) {
        struct members_refused_row *row = &m->refused[i];
        if (row->last_ns != 0 && span_eq_text(name, row->about.name))
            return row;
        if (row->last_ns < oldest->last_ns)
            oldest = row;
    }
    *oldest = (struct members_refused_row){.last_ns = 0};
    span_copy(name, oldest->about.name, sizeof(oldest->about.name));
    return oldest;
}

void
members_note_refused(struct members *m, struct span name, uint32_t verdict, const char *words)
{
    struct members_refused_row *row;

    if (name.bytes == 0)
        return;
    row = refused_row(m, name);
    row->about.verdict = verdict;
    row->about.count++;
    row->last_ns = clock_now_ns();
    snprintf(row->about.words, sizeof(row->about.words), "%s", words);
}

void
members_conclude(struct members *m, enum members_kind kind, struct span name, struct member *member,
                 uint32_t verdict, const char *words, struct members_answer *a)
{
    uint64_t *asked_ns = member != NULL ? &member->asked_ns : &stranger_of(m, name)->asked_ns;
    uint64_t now_ns = clock_now_ns();
    bool taken = verdict <= REPORT_GAP;

    *a = (struct members_answer){
        .verdict = verdict, .name = members_verdict_name(verdict), .want = ""};
    span_copy(span_of(words != NULL ? words : members_verdict_words(verdict)), a->words,
              sizeof(a->words));
    if (taken)
        m->counts.taken[kind]++;
    m->counts.verdicts[a->verdict]++;
    if (member != NULL && !taken)
        member->refused++;
    if (a->verdict == REPORT_UNANNOUNCED || (member != NULL && member->wants_hello))
        a->want = "hello";
    else if (member != NULL && member->sender.wants_full)
        a->want = "full";
    if (a->want[0] != '\0')
        members_ask(m, name, asked_ns, a->want, now_ns);
    if (taken || a->verdict == REPORT_UNANNOUNCED || a->verdict == REPORT_REPEATED)
        return;
    members_note_refused(m, name, verdict, a->words);
    if (m->logged_ns[a->verdict] == 0 || now_ns - m->logged_ns[a->verdict] >= MEMBERS_LOG_NS) {
        m->logged_ns[a->verdict] = now_ns;
        if (kind == MEMBERS_DEMAND)
            log_warn("gateway %.*s: what it says is refused: %s", (int)name.bytes, name.data,
                     a->words);
        else if (name.bytes > 0)
            log_warn("node %.*s: a %s is refused: %s", (int)name.bytes, name.data,
                     members_kind_names[kind], a->words);
        else
            log_warn("a message over HTTP is refused: %s", a->words);
    }
}

/* ---- For people. */

struct bus *
members_bus_of(struct members *m)
{
    return m->bus;
}

bool
members_bus(struct members *m, struct bus_state *ret_state)
{
    if (m->bus != NULL)
        bus_read_state(m->bus, ret_state);
    return m->bus != NULL;
}

void
members_count(struct members *m, struct members_counts *ret_counts)
{
    uint64_t now_ns = clock_now_ns();

    members_lock(m);
    *ret_counts = m->counts;
    ret_counts->known = m->table.count;
    for (uint32_t i = 0; i < m->table.count; i++) {
        const struct member *member = m->table.list[i];
        ret_counts->in_fleet += member->is_in_core;
        ret_counts->proven += member->is_in_core && member->sender.proven;
        ret_counts->silent += member->is_in_core &&
                              now_ns - member->heard_ns > MEMBERS_FRESH_MS * UINT64_C(1000000);
    }
    members_unlock(m);
}

static double
ago_ms(uint64_t then_ns, uint64_t now_ns)
{
    return then_ns == 0 ? (double)NAN : (double)(now_ns - then_ns) / 1e6;
}

void
members_look(struct members *m, struct span name, struct member_look *ret)
{
    const struct member *member;
    uint64_t now_ns = clock_now_ns(), now_s = clock_wall_s();

    *ret = (struct member_look){.report_age_ms = (double)NAN, .rival_ago_ms = (double)NAN};
    members_lock(m);
    member = member_find(&m->table, name);
    if (member != NULL) {
        struct identity about = {.expires_s = member->expires_s,
                                 .operator_key = member->sender.operator_key};
        ret->is_member = true;
        ret->is_configured = member->is_configured;
        ret->proven = member->sender.proven;
        ret->gone = member->is_over;
        memcpy(ret->operator_name, member->operator_name, sizeof(ret->operator_name));
        identity_words(member->sender.proven && member->expires_s <= now_s ? IDENTITY_EXPIRED
                                                                           : member->identity,
                       &about, now_s, ret->why);
        ret->engine = member->engine;
        ret->epoch = member->sender.epoch;
        ret->seq = member->sender.seq;
        ret->signed_seq = member->sender.signed_seq;
        ret->reports = member->reports;
        ret->refused = member->refused;
        ret->report_age_ms = ago_ms(member->heard_ns, now_ns);
        ret->rival_ago_ms = ago_ms(member->rival_ns, now_ns);
        ret->is_steered = member->steering == MEMBER_STEERED;
        members_steering_words(m, member, ret->steering);
    }
    members_unlock(m);
}

/* The newest first. */
static int
refused_order(const void *a, const void *b)
{
    const struct members_refused *x = a, *y = b;

    return (x->ago_ms > y->ago_ms) - (x->ago_ms < y->ago_ms);
}

uint32_t
members_refused(struct members *m, struct members_refused ret_list[MEMBERS_REFUSED_MAX])
{
    uint64_t now_ns = clock_now_ns();
    uint32_t count = 0;

    members_lock(m);
    for (uint32_t i = 0; i < MEMBERS_REFUSED_MAX; i++) {
        if (m->refused[i].last_ns == 0)
            continue;
        ret_list[count] = m->refused[i].about;
        ret_list[count++].ago_ms = ago_ms(m->refused[i].last_ns, now_ns);
    }
    members_unlock(m);
    qsort(ret_list, count, sizeof(ret_list[0]), refused_order);
    return count;
}
