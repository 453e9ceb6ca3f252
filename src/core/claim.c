/* claim - the proofs, one by one; see claim.h.
 *
 * Load and tokens are judged by one report at a time, the word. For some seconds the requests of
 * ours that end testify: each that was there before the word was said, and went on after it, must
 * be among the requests that the word counts; each that ended after it must be among the tokens
 * that the node counts from then on. When a witness too many came the word is broken at once, else
 * it is judged when the time is over, and the next report is the next word.
 *
 * The node's clock is not ours, and a report takes its time, so that the word may be older than it
 * seems. It never is younger: that is why witnesses must have gone on for a while after it. That
 * they were there before it says its ack; where there is none, they must have begun long before.
 * One whose client takes its answer slowly is no witness: its end may wait here for minutes. */
#include "core/claim.h"

#include <math.h>

#include "core/index.h"
#include "core/readiness.h"

#define WORD_NS         UINT64_C(10000000000) /* until the next one */
#define TESTIFY_NS      UINT64_C(8000000000)  /* witnesses come so long */
#define BEFORE_NS       UINT64_C(1000000000)  /* dispatched so long before; without an ack: */
#define BEGUN_BEFORE_NS UINT64_C(2000000000)
#define AFTER_MS        500.0f /* and two round trips: they went on so long after it */
#define TOKENS_PART     0.8f   /* of ours that must be counted: sides may count a little apart */
#define TOKENS_SLACK    500.0f
#define ROOM_FRESH_NS   UINT64_C(2000000000) /* a word about room is good for so long */
#define ROOM_TAKEN_PART 0.5f                 /* of its slots taken, at most, where it has room */
#define DENIED_NS       UINT64_C(1000000000) /* until a model is asked for again; doubles */
#define DENIALS_MAX     9u                   /* 256 s */
#define DOUBT_PROOF     0.3f                 /* of what is left of its word, for each proof */
#define DOUBT_ROOM      0.1f                 /* for one that others may have been faster to fill */
#define DOUBT_MAX       0.9f
#define DOUBT_HELD      0.95f /* where a claim was tested and held */
#define DOUBT_TAU_MS    600000.0f
#define DOUBT_MIN       0.01f

static bool
is_believed(const struct core *core)
{
    return (core->tuning.without & WITHOUT_CLAIMS) != 0;
}

static void
doubt_set(struct core *core, uint32_t node, float doubt)
{
    struct claim *c = &core->cold[node].claim;

    c->doubt = doubt < DOUBT_MIN ? 0.0f : min_f(DOUBT_MAX, doubt);
    if (c->doubt > 0.0f)
        core->hot[node].flags |= NODE_FLAG_DOUBTED;
    else
        core->hot[node].flags &= (uint8_t)~NODE_FLAG_DOUBTED;
}

static void
broken(struct core *core, uint32_t node, enum claim_kind kind, float said, float came, float part)
{
    struct claim *c = &core->cold[node].claim;

    if (c->doubt == 0.0f)
        c->swept_ns = core->now_ns; /* from now on it is forgiven */
    c->tests++;
    c->broken[kind]++;
    c->kind = (uint32_t)kind;
    c->said = said;
    c->came = came;
    c->last_ns = core->now_ns;
    if (c->first_ns == 0)
        c->first_ns = core->now_ns;
    doubt_set(core, node, c->doubt + part * (1.0f - c->doubt));
}

static void
held(struct core *core, uint32_t node)
{
    struct claim *c = &core->cold[node].claim;

    c->tests++;
    if (c->doubt > 0.0f)
        doubt_set(core, node, DOUBT_HELD * c->doubt);
}

/* ---- The word. */

/* Its time is over. */
static void
judge_word(struct core *core, uint32_t node, uint64_t accepted_total)
{
    struct claim *c = &core->cold[node].claim;
    float counted = 0.0f;

    if (c->word_total != TOTAL_UNKNOWN && accepted_total != TOTAL_UNKNOWN &&
        c->witness_tokens > 0.0f && accepted_total >= c->word_total) {
        counted = (float)(accepted_total - c->word_total);
        if (counted < TOKENS_PART * c->witness_tokens - TOKENS_SLACK)
            broken(core, node, CLAIM_TOKENS, counted, c->witness_tokens, DOUBT_PROOF);
        else
            held(core, node);
    } else if (c->witnesses > 0) {
        held(core, node);
    }
}

void
claim_report(struct core *core, const struct event_report *e, float requests)
{
    const struct node_hot *hot = &core->hot[e->node];
    struct node_cold *cold = &core->cold[e->node];
    struct claim *c = &cold->claim;

    c->room_ns = 0;
    if (e->is_word == 0 || is_believed(core))
        return;
    c->room_ns = core->now_ns;
    if (e->acked > cold->serial)
        broken(core, e->node, CLAIM_ACK, (float)e->acked, (float)cold->serial, DOUBT_PROOF);
    if (c->word_ns != 0 && hot->report_ns < c->word_ns + WORD_NS)
        return;
    if (c->word_ns != 0)
        judge_word(core, e->node, e->accepted_total);
    c->word_ns = isnan(requests) ? 0 : hot->report_ns;
    c->word_requests = requests;
    c->word_acked = cold->acked;
    c->word_total = e->accepted_total;
    c->witnesses = 0;
    c->witness_tokens = 0.0f;
}

void
claim_life(struct core *core, uint32_t node)
{
    core->cold[node].claim.word_ns = 0;
}

/* Was it there when the word was said? */
static bool
was_there(const struct claim *c, const struct attempt *a)
{
    if (c->word_acked != 0)
        return a->serial <= c->word_acked && a->dispatched_ns + BEFORE_NS <= c->word_ns;
    return a->started_ns != 0 && a->started_ns + BEGUN_BEFORE_NS <= c->word_ns;
}

void
claim_ended(struct core *core, const struct attempt *a, const struct event_ended *e)
{
    struct claim *c;
    uint64_t after_ns;

    if (a->node == NODE_ANY)
        return;
    c = &core->cold[a->node].claim;
    after_ns = (uint64_t)((double)(2.0f * core->hot[a->node].rtt_ms + AFTER_MS) * 1e6);
    if (c->word_ns == 0 || e->held_up != 0 || core->now_ns < c->word_ns + after_ns ||
        core->now_ns > c->word_ns + TESTIFY_NS)
        return;
    c->witness_tokens += (float)e->prompt_tokens + (float)e->output_tokens;
    if (!was_there(c, a))
        return;
    c->witnesses++;
    if ((float)c->witnesses <= c->word_requests)
        return;
    broken(core, a->node, CLAIM_LOAD, c->word_requests, (float)c->witnesses, DOUBT_PROOF);
    c->word_ns = 0;
}

/* ---- Turned away. */

void
claim_full(struct core *core, uint32_t node)
{
    struct node_hot *hot = &core->hot[node];
    const struct node_cold *cold = &core->cold[node];
    struct claim *c = &core->cold[node].claim;
    float there = hot->others_requests + (float)hot->own_requests - 1.0f; /* without this one */

    if (is_believed(core) || c->room_ns == 0 || core->now_ns - c->room_ns > ROOM_FRESH_NS ||
        hot->slots == 0 || (hot->flags & NODE_FLAG_SLOTS) != 0 || !(cold->waiting == 0.0f) ||
        there > ROOM_TAKEN_PART * (float)hot->slots)
        return; /* (of one model's slots all may be taken while the others' are free) */
    broken(core, node, CLAIM_ROOM, (float)hot->slots, there, DOUBT_ROOM);
    hot->slots = c->slots_had = (uint16_t)max_f(1.0f, there);
}

void
claim_no_model(struct core *core, uint32_t node, uint32_t model)
{
    uint32_t p = readiness_find(core, node, model);
    struct placed *placed;

    if (p == NONE || core->placements[p].state != MODEL_READY)
        return;
    placed = &core->placed[p];
    if (placed->denials > 0 && !is_believed(core))
        broken(core, node, CLAIM_READY, 1.0f, 0.0f, DOUBT_PROOF);
    core->cold[node].claim.denied = true;
    if (placed->denials < DENIALS_MAX)
        placed->denials++;
    core->placements[p].ready_at_ns = core->now_ns + (DENIED_NS << (placed->denials - 1u));
    index_placement(core, p);
}

/* ---- Forgiven. */

void
claim_started(struct core *core, const struct request *r, const struct attempt *a)
{
    struct node_hot *hot;
    struct claim *c;
    uint32_t p;

    if (a->node == NODE_ANY)
        return;
    hot = &core->hot[a->node];
    c = &core->cold[a->node].claim;
    /* It takes more than it had when it turned us away. */
    if (c->slots_had > 0 && c->slots_had < UINT16_MAX &&
        hot->others_requests + (float)hot->own_requests > (float)c->slots_had)
        c->slots_had++;
    p = c->denied ? readiness_find(core, a->node, r->arrived.model) : NONE;
    if (p == NONE)
        return;
    core->placed[p].denials = 0;
    c->denied = false;
}

void
claim_sweep(struct core *core, uint32_t node)
{
    struct claim *c = &core->cold[node].claim;

    if (c->doubt > 0.0f) {
        float part = min_f(1.0f, ns_to_ms(core->now_ns - c->swept_ns) / DOUBT_TAU_MS);
        doubt_set(core, node, c->doubt - part * c->doubt);
    }
    c->swept_ns = core->now_ns;
}
