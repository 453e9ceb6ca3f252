/* poll - an asker per node and one timer per lane; see poll.h.
 *
 * A node is awake or rests. Who is awake is looked at in each round, and asked when it is due; who
 * tells us everything by itself rests, and a walk over all nodes, once in WALK_NS, wakes it when it
 * has become silent, or is used and its round trip was not measured for long. Its first round trip
 * takes two questions, for the first one is over a new connection: so only as many are awake for it
 * as are asked in a second, and the second question comes while that connection is there. */
#include "role/gateway/poll.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/asker.h"
#include "role/failure.h"
#include "role/gateway/discover.h"
#include "role/gateway/inbox.h"
#include "role/gateway/lane.h"
#include "role/gateway/members.h"
#include "role/gateway/upstream.h"

#define ROUND_NS      20000000u
#define ROUND_READS   8u /* at most, in one round of one lane */
#define WALK_NS       1000000000u
#define WALK_ROUNDS   (WALK_NS / ROUND_NS)
#define JOIN_ASKS_MAX 4u /* until the way to who tells everything else by itself is measured */

struct poll_node {
    struct poller *poller;
    struct asker asker;
    uint32_t index;
    uint64_t identity;         /* of name and URL: another engine starts anew */
    uint32_t failures;         /* since a whole cycle went well */
    bool settled;              /* a whole cycle went well, or failed */
    bool measured;             /* its round trip */
    bool is_awake, is_joining; /* is_joining: awake to be measured, and for nothing else */
    uint32_t place;            /* among those that are awake */
    uint32_t asked;            /* questions */
    uint64_t due_ns, asked_ns;
    uint64_t models_hash;
    struct upstream *upstream; /* of the question in progress */
};

struct poller {
    struct lane *lane;
    struct loop_timer timer;
    struct poll_node **nodes; /* by index; NULL: not ours or not there */
    struct poll_node **awake; /* in no order */
    uint32_t awake_count, joining_count;
    uint32_t walked_to;    /* the index that is looked at next */
    struct roster *roster; /* as of the last sync; a reference */
    struct rng rng;
    uint64_t round_ns; /* of the last round */
    double reads;      /* that may be made now */
    bool incomplete;   /* there was no memory for a node */
    _Atomic bool settled;
};

static struct poll_node *
node_of(struct asker *asker)
{
    return CONTAINER_OF(asker, struct poll_node, asker);
}

/* It tells us by itself. */
static bool
is_told(const struct poll_node *n, uint64_t now_ns)
{
    return members_is_reporting(n->poller->lane->gateway, n->index, now_ns);
}

/* ---- Who is awake. */

static void
wake(struct poll_node *n, bool is_joining)
{
    struct poller *p = n->poller;

    n->is_awake = true;
    n->is_joining = is_joining;
    n->place = p->awake_count;
    p->awake[p->awake_count++] = n;
    p->joining_count += is_joining ? 1 : 0;
}

static void
end_joining(struct poll_node *n)
{
    n->poller->joining_count -= n->is_joining ? 1 : 0;
    n->is_joining = false;
}

static void
put_to_rest(struct poll_node *n)
{
    struct poller *p = n->poller;
    struct poll_node *last = p->awake[--p->awake_count];

    p->awake[n->place] = last;
    last->place = n->place;
    n->is_awake = false;
    end_joining(n);
}

static uint32_t
uses(const struct poll_node *n)
{
    return atomic_load_explicit(&n->poller->lane->gateway->node_uses[n->index],
                                memory_order_relaxed);
}

/* Was its round trip measured, or did that fail too often? */
static bool
has_joined(const struct poll_node *n)
{
    return n->measured || n->asked >= JOIN_ASKS_MAX;
}

/* Is there nothing to ask it for? */
static bool
may_rest(const struct poll_node *n, uint64_t now_ns)
{
    if (!is_told(n, now_ns))
        return false;
    if (has_joined(n))
        return uses(n) == 0 || now_ns - n->asked_ns < POLL_REPORTING_NS;
    return uses(n) == 0 && !n->is_joining;
}

/* ---- Telling core. */

static void
tell(struct poll_node *n, const struct event *event)
{
    struct gateway *gateway = n->poller->lane->gateway;
    struct actions actions;
    uint64_t now_ns = decide_step(gateway->door, event, &actions);

    inbox_share(gateway, now_ns, &actions, 0);
}

static void
tell_probe(struct poll_node *n, enum failure failure)
{
    struct event event = {.kind = EVENT_PROBE};

    event.probe = (struct event_probe){.node = n->index, .failure = (uint32_t)failure};
    tell(n, &event);
}

static void
tell_rtt(struct poll_node *n)
{
    struct event event = {.kind = EVENT_RTT};

    event.rtt = (struct event_rtt){
        .node = n->index, .rtt_ms = (float)((double)(n->asker.head_ns - n->asker.sent_ns) / 1e6)};
    tell(n, &event);
    n->measured = true;
}

static void
on_load(struct asker *asker, const struct adapter_load *load)
{
    struct poll_node *n = node_of(asker);
    struct event event = {.kind = EVENT_REPORT};

    event.report = (struct event_report){
        .node = n->index,
        .running = load->running,
        .waiting = load->waiting,
        .prefill_tokens_in_flight = load->prefill_tokens_in_flight,
        .kv_tokens_used = load->kv_tokens_used,
        .kv_tokens_cap = load->kv_tokens_cap,
        .slots = load->slots,
        .age_ms = asker_age_ms(asker),
    };
    tell(n, &event);
}

static void
log_node(const struct poll_node *n, const char *what, const char *more)
{
    const struct roster_node *node = roster_node(n->poller->roster, n->index);

    log_warn("node %.*s: %s: %s (status %u)", (int)node->name.bytes, node->name.data, what, more,
             n->asker.status);
}

/* ---- What it said of itself. */

static void
on_kind(struct asker *asker, const struct adapter *found)
{
    struct poll_node *n = node_of(asker);
    const struct roster_node *node = roster_node(n->poller->roster, n->index);
    struct gateway *g = n->poller->lane->gateway;

    atomic_store_explicit(&g->node_kinds[n->index], (uint8_t)found->kind, memory_order_relaxed);
    log_info("node %.*s: is %s%s", (int)node->name.bytes, node->name.data, found->title,
             asker_kind_words(asker, found));
}

static uint64_t
models_hash(const struct adapter_models *models)
{
    uint64_t h = hash_fnv(HASH_FNV_START, &models->cut, sizeof(models->cut));

    for (size_t i = 0; i < models->count; i++) {
        unsigned char state = (unsigned char)models->list[i].state;
        h = hash_fnv(h, models->list[i].name, strlen(models->list[i].name) + 1);
        h = hash_fnv(h, &state, 1);
        h = hash_fnv(h, &models->list[i].slots, sizeof(models->list[i].slots));
    }
    return h;
}

static void
on_models(struct asker *asker, const struct adapter_models *models)
{
    struct poll_node *n = node_of(asker);
    uint64_t hash = models_hash(models);

    if (is_told(n, loop_now_ns(n->poller->lane->loop)))
        return;
    if (hash != n->models_hash &&
        discover_report(n->poller->lane->gateway->discover, n->index, models) == ERR_OK)
        n->models_hash = hash;
}

/* ---- The end of a question. */

static void
note_failures(const struct poll_node *n)
{
    atomic_store_explicit(&n->poller->lane->gateway->node_failures[n->index], (uint8_t)n->failures,
                          memory_order_relaxed);
}

static void
failed(struct poll_node *n, enum failure failure)
{
    struct poller *p = n->poller;
    uint64_t pause_ns = p->lane->gateway->poll_ns;

    metrics_add(&p->lane->metrics.poll_failures, 1);
    if (n->failures == 0)
        log_node(n, "does not answer as it should", failure_name(failure));
    n->settled = true;
    if (n->failures < POLL_BACK_OFF_MAX)
        n->failures++;
    note_failures(n);
    pause_ns <<= n->failures;
    n->due_ns = loop_now_ns(p->lane->loop) + pause_ns / 2 + rng_below(&p->rng, pause_ns);
    if (n->is_joining) /* others first */
        put_to_rest(n);
    tell_probe(n, failure);
}

static void
give_upstream(struct poll_node *n)
{
    upstream_give(n->upstream);
    n->upstream = NULL;
}

static void
on_over(struct asker *asker, enum failure failure)
{
    struct poll_node *n = node_of(asker);
    struct lane *lane = n->poller->lane;

    give_upstream(n);
    if (failure != FAILURE_NONE) {
        failed(n, failure);
        return;
    }
    n->due_ns = loop_now_ns(lane->loop); /* at once, but in its turn */
    if (!asker->more) {                  /* whatever it has to tell was read: it is well */
        if (n->failures > 0)
            log_node(n, "answers again", asker->adapter->title);
        n->settled = true;
        n->failures = 0;
        note_failures(n);
        if (!n->is_joining) /* its connection is there now */
            n->due_ns += lane->gateway->poll_ns;
    }
    tell_probe(n, FAILURE_NONE);
    if (!asker->fresh)
        tell_rtt(n);
    if (has_joined(n))
        end_joining(n);
}

static const struct asker_fn asker_fn = {
    .kind = on_kind, .models = on_models, .load = on_load, .over = on_over};

/* ---- Asking. */

static void
ask(struct poll_node *n)
{
    struct poller *p = n->poller;
    const struct roster_node *node = roster_node(p->roster, n->index);
    enum err err = upstream_take(p->lane, p->roster, node, &n->upstream);

    n->asked_ns = loop_now_ns(p->lane->loop);
    n->asked++;
    metrics_add(&p->lane->metrics.polls, 1);
    n->asker.status = 0;
    if (err == ERR_OK)
        err = asker_ask(&n->asker, upstream_target(n->upstream), node->authorization);
    if (err == ERR_OK) {
        atomic_store_explicit(&p->lane->gateway->node_uses[n->index], 0, memory_order_relaxed);
        return;
    }
    give_upstream(n);
    asker_fail(&n->asker);
    failed(n, err == ERR_NOT_FOUND ? FAILURE_CONNECT : FAILURE_LOCAL);
}

/* Through the next part of all nodes: who rests and may not is woken, and some of those who were
 * not measured yet. */
static void
walk(struct poller *p, uint64_t now_ns)
{
    uint32_t lanes = p->lane->gateway->lane_count;
    uint32_t steps = p->roster->node_bound / (lanes * WALK_ROUNDS) + 1;
    uint32_t joining_max = POLL_READS_PER_S / lanes + 1;

    for (; steps > 0; steps--, p->walked_to += lanes) {
        struct poll_node *n;

        if (p->walked_to >= p->roster->node_bound)
            p->walked_to = p->lane->index;
        n = p->nodes[p->walked_to];
        if (n == NULL || n->is_awake)
            continue;
        if (!may_rest(n, now_ns))
            wake(n, false);
        else if (!has_joined(n) && n->due_ns <= now_ns && p->joining_count < joining_max)
            wake(n, true);
    }
}

/* How much it matters to ask this node now; 0: it is not due. */
static double
urgency(const struct poll_node *n, uint64_t now_ns)
{
    if (n->asker.call != NULL || n->due_ns > now_ns)
        return 0.0;
    return (1.0 + (double)uses(n)) * (1e6 + (double)(now_ns - n->due_ns));
}

/* Ask the most urgent nodes, as many as may be asked. */
static void
ask_most_urgent(struct poller *p, uint64_t now_ns)
{
    struct poll_node *best[ROUND_READS];
    double urgencies[ROUND_READS];
    size_t count = 0, max = p->reads < ROUND_READS ? (size_t)p->reads : ROUND_READS;

    for (uint32_t i = 0; max > 0 && i < p->awake_count;) {
        struct poll_node *n = p->awake[i];
        double u = urgency(n, now_ns);
        size_t at;

        if (u > 0.0 && may_rest(n, now_ns)) {
            put_to_rest(n); /* another one stands here now */
            continue;
        }
        i++;
        if (u <= 0.0 || (count == max && u <= urgencies[count - 1]))
            continue;
        at = count < max ? count++ : count - 1;
        for (; at > 0 && urgencies[at - 1] < u; at--) {
            urgencies[at] = urgencies[at - 1];
            best[at] = best[at - 1];
        }
        urgencies[at] = u;
        best[at] = n;
    }
    p->reads -= (double)count;
    for (size_t i = 0; i < count; i++)
        ask(best[i]);
}

/* ---- Nodes that come and go. */

static void
node_drop(struct poller *p, uint32_t index)
{
    struct poll_node *n = p->nodes[index];

    if (n == NULL)
        return;
    if (n->is_awake)
        put_to_rest(n);
    asker_stop(&n->asker);
    give_upstream(n);
    upstream_forget(p->lane, index);
    free(n);
    p->nodes[index] = NULL;
}

/* false: no memory; the next round tries again. */
static bool
node_add(struct poller *p, const struct roster_node *node, uint64_t identity)
{
    struct poll_node *n = calloc(1, sizeof(*n));

    if (n == NULL)
        return false;
    n->poller = p;
    n->index = node->index;
    n->identity = identity;
    n->due_ns = loop_now_ns(p->lane->loop);
    asker_init(&n->asker, &asker_fn, node->kind, node->slots > 0 ? (float)node->slots : NAN);
    p->nodes[node->index] = n;
    wake(n, false);
    atomic_store_explicit(&p->lane->gateway->node_kinds[n->index], (uint8_t)node->kind,
                          memory_order_relaxed);
    return true;
}

static void
sync_nodes(struct poller *p)
{
    struct fleet *fleet = lane_fleet(p->lane);
    const struct roster *roster = fleet->roster;
    uint32_t lanes = p->lane->gateway->lane_count;

    if (roster == p->roster && !p->incomplete)
        return;
    p->incomplete = false;
    roster_unref(p->roster);
    p->roster = roster_ref(fleet->roster);
    for (uint32_t i = p->lane->index; i < p->lane->gateway->nodes_max; i += lanes) {
        const struct roster_node *node = roster_node(roster, i);
        uint64_t identity = 0;

        if (node != NULL) {
            identity = hash_fnv(HASH_FNV_START, node->name.data, node->name.bytes);
            identity = hash_fnv(identity, node->url.data, node->url.bytes);
            identity = hash_fnv(identity, &node->kind, sizeof(node->kind));
        }
        if (p->nodes[i] != NULL && (node == NULL || p->nodes[i]->identity != identity))
            node_drop(p, i);
        if (p->nodes[i] == NULL && node != NULL && !node_add(p, node, identity))
            p->incomplete = true;
    }
}

static bool
all_settled(const struct poller *p)
{
    for (uint32_t i = 0; i < p->roster->node_bound; i++) {
        if (p->nodes[i] != NULL && !p->nodes[i]->settled &&
            !is_told(p->nodes[i], loop_now_ns(p->lane->loop)))
            return false;
    }
    return !p->incomplete;
}

bool
poll_settled(const struct poller *p)
{
    return atomic_load(&p->settled);
}

static void
on_round(struct loop_timer *timer)
{
    struct poller *p = CONTAINER_OF(timer, struct poller, timer);
    uint64_t now_ns = loop_now_ns(p->lane->loop);
    double rate = (double)POLL_READS_PER_S / p->lane->gateway->lane_count;

    p->reads += rate * (double)(now_ns - p->round_ns) / 1e9;
    if (p->reads > ROUND_READS)
        p->reads = ROUND_READS;
    p->round_ns = now_ns;
    sync_nodes(p);
    if (!atomic_load_explicit(&p->settled, memory_order_relaxed) && all_settled(p))
        atomic_store(&p->settled, true);
    walk(p, now_ns);
    ask_most_urgent(p, now_ns);
    loop_timer_set(p->lane->loop, &p->timer, now_ns + ROUND_NS, on_round);
}

enum err
poll_open(struct lane *lane, struct poller **ret_poller)
{
    struct poller *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return ERR_MEMORY;
    p->nodes = calloc(lane->gateway->nodes_max, sizeof(struct poll_node *));
    p->awake = calloc(lane->gateway->nodes_max, sizeof(struct poll_node *));
    if (p->nodes == NULL || p->awake == NULL) {
        free(p->nodes);
        free(p->awake);
        free(p);
        return ERR_MEMORY;
    }
    p->lane = lane;
    p->walked_to = lane->index;
    rng_init(&p->rng, clock_now_ns() + lane->index);
    p->round_ns = loop_now_ns(lane->loop);
    p->reads = ROUND_READS;
    loop_timer_set(lane->loop, &p->timer, p->round_ns + 1, on_round);
    *ret_poller = p;
    return ERR_OK;
}

void
poll_close(struct poller *p)
{
    if (p == NULL)
        return;
    loop_timer_stop(&p->timer);
    for (uint32_t i = 0; i < p->lane->gateway->nodes_max; i++)
        node_drop(p, i);
    roster_unref(p->roster);
    free(p->nodes);
    free(p->awake);
    free(p);
}
