/* members_trust - where members may be, and who of them is not believed any more; see members.h.
 *
 * The URL of a member is chosen by who runs it. A gateway that others reach goes to no address on
 * its own machine, link or network because a stranger says so: to private ones for members whose
 * operator is trusted, and to whatever `bus.reach` names. A gateway on loopback is somebody's own,
 * and goes anywhere, unless `bus.reach` is set: it may be behind a proxy. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/members_state.h"

static void
net_address_of(const struct roster_address *address, struct net_address *ret)
{
    if (address->any.sa_family == AF_INET6) {
        memcpy(ret->bytes, &address->v6.sin6_addr, sizeof(ret->bytes));
        return;
    }
    *ret = (struct net_address){{[10] = 0xff, 0xff}};
    memcpy(ret->bytes + 12, &address->v4.sin_addr, 4);
}

bool
members_may_reach(const struct roster *roster, bool proven, const struct roster_address *address,
                  char ret_words[MEMBERS_WORDS_BYTES])
{
    const struct config_bus *c = &roster->config.bus;
    char text[INET6_ADDRSTRLEN] = "";
    struct net_address a;
    enum net_kind kind;

    net_address_of(address, &a);
    kind = net_kind_of(&a);
    if ((roster->is_local && c->reach == NULL) || kind == NET_PUBLIC ||
        (kind == NET_PRIVATE && proven))
        return true;
    for (size_t i = 0; i < c->reach_count; i++) {
        if (net_range_has(&c->reach[i], &a))
            return true;
    }
    if (address->any.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &address->v6.sin6_addr, text, sizeof(text));
    else
        inet_ntop(AF_INET, &address->v4.sin_addr, text, sizeof(text));
    snprintf(ret_words, MEMBERS_WORDS_BYTES,
             "its url leads to %s, which is no public address%s: bus.reach can allow it", text,
             kind == NET_PRIVATE ? ", and no trusted operator vouches for it" : "");
    return false;
}

struct tls_context *
members_tls(const struct members *m, const struct roster *roster)
{
    return roster->tls.shown != NULL ? roster->tls.shown : m->pinned;
}

void
members_end(struct members *m, struct member *member, uint32_t verdict, const char *words)
{
    log_warn("node %s: is no member any more: %s", member->name, words);
    members_note_refused(m, span_of(member->name), verdict, words);
    members_drop_pages(m, member);
    member->sender = (struct report_sender){.epoch = 0}; /* its name is anybody's */
    member->is_over = m->is_changed = true;
    member->over_ns = clock_now_ns();
    members_gather_soon(m);
}

bool
members_must_leave(const struct member *member, const struct roster *roster)
{
    return roster->config.operators.only && !member->sender.proven &&
           roster_find(roster, span_of(member->name)) == NULL;
}

static void
judge(struct members *m, struct member *member, const struct roster *roster,
      const struct identity_trust *trust)
{
    struct report_sender *s = &member->sender;
    bool trusted = identity_is_trusted(trust, &s->operator_key);
    char words[MEMBERS_WORDS_BYTES];

    if (s->proven && !trusted) {
        s->proven = false;
        member->identity = IDENTITY_UNKNOWN_OPERATOR;
    }
    if (identity_is_revoked(trust, &s->key, &s->operator_key, member->record)) {
        members_end(m, member, MEMBERS_REVOKED, members_verdict_words(MEMBERS_REVOKED));
        return;
    }
    if (member->by_public && !s->proven && roster_find(roster, span_of(member->name)) != NULL) {
        members_end(m, member, MEMBERS_TAKEN_NAME, members_verdict_words(MEMBERS_TAKEN_NAME));
        return;
    }
    if (members_must_leave(member, roster)) {
        members_end(m, member, MEMBERS_UNTRUSTED, members_verdict_words(MEMBERS_UNTRUSTED));
        return;
    }
    if (member->node != NULL && roster_find(roster, span_of(member->name)) == NULL &&
        !members_may_reach(roster, s->proven, &member->node->node.address, words)) {
        members_end(m, member, MEMBERS_BAD_PLACE, words);
        return;
    }
    if ((trusted && member->identity == IDENTITY_UNKNOWN_OPERATOR) ||
        (member->node != NULL && member->node->node.tls != NULL &&
         member->node->node.tls != members_tls(m, roster))) {
        member->wants_hello = true;
        members_ask(m, span_of(member->name), &member->asked_ns, "hello", clock_now_ns());
    }
}

void
members_judge_again(struct members *m, const struct roster *roster)
{
    const struct config_operators *o = &roster->config.operators;
    const struct identity_trust trust = {.operators = o->trust,
                                         .count = o->trust_count,
                                         .revoked = o->revoke,
                                         .revoked_count = o->revoke_count};

    for (uint32_t i = 0; i < m->table.count; i++) {
        if (!m->table.list[i]->is_over)
            judge(m, m->table.list[i], roster, &trust);
    }
}
