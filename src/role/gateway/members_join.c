/* members_join - how members become nodes of the fleet, and leave it; see members.h. On the first
 * lane: what changed is gathered for a moment, then there is one new fleet with all of it; the
 * moment is longer where many nodes make fleets dear, so that they take a tenth of the lane at
 * most. Host names are looked up on the worker's thread; who has one joins after that. */
#include <math.h>
#include <stdlib.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/feed.h"
#include "role/gateway/members_state.h"
#include "role/gateway/reload.h"

#define GATHER_COST_FACTOR 10u /* the pause before a gathering, over what the last one took */
#define BUSY_NS            100000000u /* until another look while the configuration is read */
#define RETRY_NS           1000000000u
#define SWEEP_NS           5000000000u

static void on_gather(struct loop_timer *timer);

static struct loop *
loop_of(const struct members *m)
{
    return m->gateway->lanes[0].loop;
}

/* ---- Asking for it. */

static void
gather_after(struct members *m, uint64_t wait_ns)
{
    loop_timer_set(loop_of(m), &m->gather_timer, loop_now_ns(loop_of(m)) + wait_ns, on_gather);
}

static void
on_post(struct loop_post *post)
{
    struct members *m = CONTAINER_OF(post, struct members, post);
    uint64_t wait_ns = GATHER_COST_FACTOR * m->gather_ns;

    gather_after(m, wait_ns > MEMBERS_GATHER_NS ? wait_ns : MEMBERS_GATHER_NS);
}

void
members_gather_soon(struct members *m)
{
    if (m->is_asked)
        return;
    m->is_asked = true;
    loop_post(loop_of(m), &m->post, on_post);
}

/* ---- Looking names up. */

/* Others wait for the worker, too: those whose turn does not come within some time wait for the
 * next job. */
static void
on_resolve(struct worker_job *job)
{
    struct members *m = CONTAINER_OF(job, struct members, job);
    uint64_t begun_ns = clock_now_ns();
    uint32_t i = 0;

    for (; i < m->resolving_count && clock_now_ns() - begun_ns < MEMBERS_RESOLVE_NS; i++)
        m->resolved[i] = roster_member_resolve(m->resolving[i]);
    m->looked_up_count = i;
}

/* Its name was looked up: may it be there? */
static void
end_resolve(struct members *m, struct member *member, bool has_address, const struct roster *base)
{
    const struct roster_node *n = &member->next->node;
    char words[MEMBERS_WORDS_BYTES] = "the name in its url has no address";

    if (has_address && (roster_find(base, n->name) != NULL ||
                        members_may_reach(base, member->sender.proven, &n->address, words)))
        return;
    roster_member_unref(member->next);
    member->next = NULL;
    if (member->node == NULL)
        members_end(m, member, MEMBERS_BAD_PLACE, words);
    else /* it stays where it was; its next hello tries again */
        members_note_refused(m, span_of(member->name), MEMBERS_BAD_PLACE, words);
}

static void
on_resolved(struct worker_job *job)
{
    struct members *m = CONTAINER_OF(job, struct members, job);
    struct fleet *fleet = decide_fleet(m->gateway->door);

    m->is_resolving = false;
    members_lock(m);
    for (uint32_t i = 0; i < m->resolving_count; i++) {
        struct member *member = member_find(&m->table, m->resolving[i]->node.name);
        if (member != NULL)
            member->is_resolving = false;
        if (i < m->looked_up_count && member != NULL && member->next == m->resolving[i])
            end_resolve(m, member, m->resolved[i], roster_base(fleet->roster));
        roster_member_unref(m->resolving[i]);
    }
    m->resolving_count = m->resolving_proven = 0;
    m->is_changed = true;
    members_gather_soon(m);
    members_unlock(m);
    fleet_unref(fleet);
}

/* Strangers choose which server of names is asked, and how long that takes: they wait behind those
 * of whom more is known, and leave them room. */
static void
ask_address(struct members *m, struct member *member)
{
    bool proven = member->sender.proven;

    if (m->resolving_count >= (proven ? MEMBERS_RESOLVE_MAX : MEMBERS_RESOLVE_MAX / 2))
        return;
    member->is_resolving = true;
    m->resolving[m->resolving_count] = roster_member_ref(member->next);
    if (proven) {
        struct roster_member *first = m->resolving[m->resolving_proven];
        m->resolving[m->resolving_proven++] = m->resolving[m->resolving_count];
        m->resolving[m->resolving_count] = first;
    }
    m->resolving_count++;
}

/* Is the address of what it is to be known? If not it is asked for. */
static bool
has_address(struct members *m, struct member *member)
{
    if (member->is_resolving)
        return false;
    if (member->next->node.address.bytes > 0)
        return true;
    if (!m->is_resolving)
        ask_address(m, member);
    return false;
}

/* ---- Who is there. */

/* An index that nobody has: one that was never used, because late news of who had it before may
 * still be on its way, else any. MEMBER_NO_INDEX: there is none. */
static uint32_t
free_index(struct members *m)
{
    const struct gateway *g = m->gateway;

    if (m->index_fresh < g->nodes_max)
        return m->index_fresh++;
    for (uint32_t i = g->members_first; i < g->nodes_max; i++) {
        if (m->by_index[i] == NULL)
            return i;
    }
    return MEMBER_NO_INDEX;
}

static void
leave_index(struct members *m, struct member *member)
{
    if (member->index == MEMBER_NO_INDEX)
        return;
    m->by_index[member->index] = NULL;
    m->acked_before[member->index] = 0;
    atomic_store_explicit(&m->gateway->node_heard_ms[member->index], 0, memory_order_relaxed);
    member->index = MEMBER_NO_INDEX;
    member->is_in_core = member->is_configured = false;
}

/* Where does it belong? base: the configuration's nodes. False: nowhere now. */
static bool
place(struct members *m, struct member *member, const struct roster *base)
{
    const struct roster_node *configured = roster_find(base, span_of(member->name));

    if (configured != NULL && (!member->is_configured || member->index != configured->index)) {
        leave_index(m, member);
        member->index = configured->index;
        member->is_configured = true;
    } else if (configured == NULL && member->is_configured) {
        leave_index(m, member);
        member->sender.wants_full = true; /* what the engine said by itself is not what it says */
    }
    if (member->index == MEMBER_NO_INDEX)
        member->index = free_index(m);
    if (member->index == MEMBER_NO_INDEX)
        return false;
    m->by_index[member->index] = member;
    return true;
}

/* What it is to be becomes what it is, as far as that is known. False: it is no node. */
static bool
settle(struct members *m, struct member *member, const struct roster *base)
{
    if (member->is_over) {
        leave_index(m, member);
        return false;
    }
    if (member->next != NULL && has_address(m, member)) {
        roster_member_unref(member->node);
        member->node = member->next;
        member->next = NULL;
        member->is_in_core = false; /* until it is published as what it is now */
    }
    return member->node != NULL && place(m, member, base);
}

/* It was the configuration's for a while, and has another index now. */
static bool
make_anew(struct member *member)
{
    struct roster_member *again;

    if (roster_member_again(member->node, &again) != ERR_OK)
        return false;
    roster_member_unref(member->node);
    member->node = again;
    return true;
}

/* All who are nodes by themselves, into list. */
static uint32_t
collect(struct members *m, const struct roster *base, struct roster_member **list)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < m->table.count; i++) {
        struct member *member = m->table.list[i];
        if (!settle(m, member, base) || member->is_configured)
            continue;
        if (member->node->placed && member->node->node.index != member->index &&
            !make_anew(member)) {
            leave_index(m, member); /* no memory: the next gathering tries again */
            continue;
        }
        member->node->node.index = member->index;
        list[count++] = roster_member_ref(member->node);
    }
    return count;
}

static enum err
build(struct members *m, struct roster *from, const struct roster *base, struct roster **ret_roster)
{
    struct roster_member **list;
    uint32_t count;
    enum err err;

    members_lock(m);
    list = malloc((m->table.count + 1) * sizeof(struct roster_member *));
    if (list == NULL) {
        members_unlock(m);
        return ERR_MEMORY;
    }
    m->is_changed = false;
    count = collect(m, base, list);
    members_unlock(m);
    err = roster_with_members(from, list, count, ret_roster);
    for (uint32_t i = 0; i < count; i++)
        roster_member_unref(list[i]);
    free(list);
    return err;
}

enum err
members_add_to(struct members *m, struct roster *read, struct roster **ret_roster)
{
    enum err err;

    members_lock(m);
    members_judge_again(m, read);
    members_unlock(m);
    err = build(m, read, read, ret_roster);
    roster_unref(read);
    members_lock(m);
    m->is_changed = true; /* who has another index now enters the core with it */
    members_gather_soon(m);
    members_unlock(m);
    return err;
}

/* ---- What they have. */

/* False: it joined after the roster was made, and waits for the next one. */
static bool
apply(struct members *m, struct fleet *next, const struct member_change *c)
{
    const struct member *member = member_find(&m->table, span_of(c->member));

    if (member == NULL || member->is_over)
        return true;
    if (member->index == MEMBER_NO_INDEX)
        return false;
    if (c->all)
        fleet_clear(next, member->index);
    for (uint32_t i = 0; i < c->count; i++) {
        const struct fleet_said said = {.state = c->models[i].state,
                                        .ready_in_ms = c->models[i].ready_in_ms,
                                        .pinned = c->models[i].pinned,
                                        .proven = c->proven,
                                        .slots = c->models[i].slots,
                                        .bytes = c->models[i].weights_bytes};
        fleet_change(next, member->index,
                     (struct span){c->text + c->models[i].at, c->models[i].bytes}, &said);
    }
    return true;
}

/* What waits becomes part of next; what was taken goes to *taken. */
static void
apply_all(struct members *m, struct fleet *next, struct member_changes *taken)
{
    struct member_changes waiting = STAILQ_HEAD_INITIALIZER(waiting);
    struct member_change *c;

    STAILQ_CONCAT(&waiting, &m->changes);
    while ((c = STAILQ_FIRST(&waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&waiting, link);
        if (apply(m, next, c))
            STAILQ_INSERT_TAIL(taken, c, link);
        else
            STAILQ_INSERT_TAIL(&m->changes, c, link);
    }
}

void
members_drop_changes(struct members *m)
{
    members_drop_some(m, &m->changes);
}

/* ---- The gathering. */

/* After a fleet was published: those in it may be told of. */
static void
enter_core(struct members *m, const struct fleet *fleet)
{
    for (uint32_t i = m->table.count; i-- > 0;) {
        struct member *member = m->table.list[i];
        const struct roster_node *n = roster_node(fleet->roster, member->index);
        if (member->is_in_core || n == NULL || !span_eq_text(n->name, member->name))
            continue;
        member->is_in_core = true;
        member->about = (struct event_node){
            .node = n->index,
            .region = n->region,
            .class = n->class,
            .site = n->site,
            .operator= n->operator,
            .slots = n->slots,
            .rtt_ms = n->rtt_ms,
            .identity = roster_node_identity(n),
            .unproven = members_is_unproven(member),
        };
        members_tell_node(m, member);
    }
}

static struct fleet *
next_fleet(struct members *m, const struct fleet *now, bool is_changed)
{
    struct roster *roster = NULL;
    struct fleet *next;
    struct member_changes taken = STAILQ_HEAD_INITIALIZER(taken);

    if (is_changed && build(m, now->roster, roster_base(now->roster), &roster) != ERR_OK)
        return NULL;
    if (fleet_copy(now, roster, &next) != ERR_OK)
        return NULL;
    members_lock(m);
    apply_all(m, next, &taken);
    if (next->incomplete) { /* once more, with all of it */
        STAILQ_CONCAT(&taken, &m->changes);
        STAILQ_CONCAT(&m->changes, &taken);
    } else {
        members_drop_some(m, &taken);
    }
    members_unlock(m);
    if (!next->incomplete)
        return next;
    fleet_unref(next);
    return NULL;
}

static void
submit_names(struct members *m)
{
    if (m->resolving_count == 0 || m->is_resolving || m->gateway->worker == NULL)
        return;
    m->is_resolving = true;
    m->job = (struct worker_job){.run = on_resolve, .done = on_resolved, .reply_to = loop_of(m)};
    worker_submit(m->gateway->worker, &m->job);
}

static void
on_gather(struct loop_timer *timer)
{
    struct members *m = CONTAINER_OF(timer, struct members, gather_timer);
    struct fleet *now, *next;
    uint64_t begun_ns = clock_now_ns();
    bool is_changed;

    if (m->gateway->reload != NULL && reload_is_busy(m->gateway->reload)) {
        gather_after(m, BUSY_NS); /* it is made of the roster that is current now */
        return;
    }
    members_lock(m);
    m->is_asked = false;
    is_changed = m->is_changed;
    members_unlock(m);
    now = decide_fleet(m->gateway->door);
    next = next_fleet(m, now, is_changed);
    if (next == NULL) {
        log_error("no memory for the list of nodes and models: it stays as it was for now");
        members_lock(m);
        m->is_asked = m->is_changed = true;
        members_unlock(m);
        gather_after(m, RETRY_NS);
    } else {
        feed_publish(m->gateway->door, m->gateway->recorder, now, fleet_ref(next));
        members_lock(m);
        if (is_changed)
            enter_core(m, next);
        members_unlock(m);
        fleet_unref(next);
        submit_names(m);
    }
    fleet_unref(now);
    m->gather_ns = clock_now_ns() - begun_ns;
}

/* ---- Room for who is proven. */

/* Has it a place in the fleet beside the configuration's nodes, or a claim to one? */
static bool
wants_index(const struct member *member)
{
    return !member->is_over && !member->is_configured;
}

/* May another one have its place? */
static bool
may_yield(const struct member *member)
{
    return !member->sender.proven && !member->is_configured && !member->is_resolving;
}

/* Who was silent longest of those who may yield; NULL: nobody. */
static struct member *
most_silent(const struct members *m, bool needs_index)
{
    struct member *found = NULL;

    for (uint32_t i = 0; i < m->table.count; i++) {
        struct member *member = m->table.list[i];
        if (may_yield(member) && (!needs_index || wants_index(member)) &&
            (found == NULL || member->heard_ns < found->heard_ns))
            found = member;
    }
    return found;
}

void
members_make_room(struct members *m)
{
    const char *words = "a node of a trusted operator took its place: there are too many members";
    uint32_t room = m->gateway->nodes_max - m->gateway->members_first, claims = 0;
    struct member *member;

    for (uint32_t i = 0; i < m->table.count; i++)
        claims += wants_index(m->table.list[i]);
    if (claims < room && m->table.count < MEMBERS_MAX)
        return;
    member = most_silent(m, claims >= room);
    if (member == NULL)
        return;
    log_info("node %s: is no member any more: %s", member->name, words);
    members_note_refused(m, span_of(member->name), MEMBERS_TABLE_FULL, words);
    members_drop_pages(m, member);
    leave_index(m, member);
    member_remove(&m->table, member);
    m->is_changed = true; /* it leaves the fleet with the next gathering */
    members_gather_soon(m);
}

/* ---- Forgetting. */

/* Silent for long, though it could have said something, and no answer either. */
static bool
is_lost(const struct members *m, const struct member *member, const struct bus_state *bus,
        uint64_t now_ns)
{
    bool reported = member->heard_ns > member->greeted_ns; /* who has just come has not yet */
    uint64_t heard_ns = reported ? member->heard_ns : member->greeted_ns;
    uint64_t since_ms = (now_ns - heard_ns) / 1000000u, wall_ms = clock_wall_ms();

    if (m->bus != NULL &&
        (!bus->connected || wall_ms - bus->since_ms < MEMBERS_FORGET_NS / 1000000u))
        return false;
    return since_ms > MEMBERS_FORGET_NS / 1000000u &&
           (member->index == MEMBER_NO_INDEX ||
            atomic_load_explicit(&m->gateway->node_failures[member->index], memory_order_relaxed) >
                0);
}

static void
on_sweep(struct loop_timer *timer)
{
    struct members *m = CONTAINER_OF(timer, struct members, sweep_timer);
    const struct roster *base = roster_base(lane_fleet(&m->gateway->lanes[0])->roster);
    uint64_t now_ns = clock_now_ns();
    struct bus_state bus;

    if (!members_bus(m, &bus))
        bus.connected = false;
    members_lock(m);
    for (uint32_t i = m->table.count; i-- > 0;) {
        struct member *member = m->table.list[i];
        bool is_expired = member->sender.proven && member->expires_s <= clock_wall_s();
        bool is_half = member->page_count > 0 && now_ns - member->pages_ns > MEMBERS_PAGES_NS;
        bool is_past = member->is_over && now_ns - member->over_ns > MEMBERS_GONE_NS;

        if (is_expired) {
            member->sender.proven = false;
            member->identity = IDENTITY_EXPIRED;
            member->wants_hello = true;
            if (!member->is_over && members_must_leave(member, base))
                members_end(m, member, MEMBERS_UNTRUSTED, members_verdict_words(MEMBERS_UNTRUSTED));
        }
        if (is_half) {
            members_drop_pages(m, member);
            member->sender.wants_full = true;
        }
        if (!member->is_over && is_lost(m, member, &bus, now_ns)) {
            members_end(m, member, REPORT_IS_GONE, "forgotten: it neither reports nor answers");
        } else if (is_past && member->index == MEMBER_NO_INDEX && !member->is_resolving) {
            member_remove(&m->table, member);
        }
    }
    members_unlock(m);
    loop_timer_set(loop_of(m), &m->sweep_timer, loop_now_ns(loop_of(m)) + SWEEP_NS, on_sweep);
}

void
members_gather_open(struct members *m)
{
    m->index_fresh = m->gateway->members_first;
    loop_timer_set(loop_of(m), &m->sweep_timer, loop_now_ns(loop_of(m)) + SWEEP_NS, on_sweep);
}

void
members_gather_close(struct members *m)
{
    loop_timer_stop(&m->gather_timer);
    loop_timer_stop(&m->sweep_timer);
    for (uint32_t i = 0; i < m->resolving_count; i++)
        roster_member_unref(m->resolving[i]);
}
