/* admit - now, later, elsewhere or not at all; see admit.h. */
#include "core/admit.h"

#include <math.h>
#include <string.h>

#include "core/fair.h"
#include "core/flight.h"

#define GOAL_STRETCH    2.0f /* a configured goal is at least so much of what an idle node needs */
#define RELEASES_MEAN   16u  /* the time between two releases is a mean over so many */
#define PATIENCE_MS_MIN 1.0f
#define PATIENCE_MS_MAX 1e9f
#define SHED_FROM       0.75f
#define SHED_SPAN       0.25f

static const float shed_shift[PRIORITIES_MAX] = {-0.25f, 0.0f, 0.25f};

static bool
is_off(const struct core *core)
{
    return (core->tuning.without & WITHOUT_ADMISSION) != 0;
}

static struct fair_who
who_of(const struct request *r)
{
    return (struct fair_who){r->arrived.model, r->arrived.priority, r->arrived.tenant};
}

/* ---- Room. */

void
admit_note(struct core *core, const struct request *r)
{
    core->models[r->arrived.model].class_seen_ns[r->arrived.priority] = core->now_ns;
}

struct admit_room
admit_room(const struct core *core, uint64_t now_ns, const struct request *r)
{
    const struct model_record *m = &core->models[r->arrived.model];

    if (fair_is_due(&core->fair, r->arrived.model, r->arrived.priority))
        return (struct admit_room){1.0f, ADMIT_ANY_MS};
    for (uint32_t class = 0; class < r->arrived.priority; class ++) {
        if (m->class_seen_ns[class] != 0 && now_ns - m->class_seen_ns[class] < ADMIT_CLASS_SEEN_NS)
            return (struct admit_room){core->tuning.class_part, core->tuning.class_queue_ms};
    }
    return (struct admit_room){1.0f, ADMIT_ANY_MS};
}

/* ---- Now or later. */

enum verdict { GO, LATER, NEVER };
struct judgement {
    enum verdict verdict;
    enum refusal refusal; /* NEVER */
    float patience_ms;    /* LATER: so long it can wait; GO: so long it could */
    float wait_ms;        /* NEVER: when to come again; NAN unknown */
    enum why_not why;     /* LATER, NEVER: why not where it was chosen to go */
};

/* By when it must begin, from its arrival; NAN: whenever. The client's word is taken as it is. A
 * configured goal sheds load, but does not refuse what no node could do faster. */
static float
goal_ms(const struct core *core, const struct request *r, const struct choice *choice)
{
    float goal = core->settings.ttft_goal_ms;

    if (!isnan(r->arrived.deadline_ms))
        return r->arrived.deadline_ms;
    return isnan(goal) ? goal : max_f(goal, GOAL_STRETCH * choice->idle_p90_ms);
}

static struct judgement
judge(const struct core *core, const struct request *r, const struct choice *choice)
{
    float waited_ms = ns_to_ms(core->now_ns - r->arrived_ns), left_ms;
    bool found = choice->placement != NONE;
    struct judgement j = {.verdict = found ? GO : LATER, .wait_ms = NAN, .why = WHY_LATE};

    if (!found && choice->refusal != REFUSAL_FULL) {
        j.verdict = NEVER;
        j.refusal = choice->refusal;
        return j;
    }
    left_ms = goal_ms(core, r, choice) - waited_ms;
    j.patience_ms = min_f(core->settings.first_limit_ms, PATIENCE_MS_MAX) - waited_ms;
    if (!isnan(left_ms)) {
        j.patience_ms = min_f(j.patience_ms, left_ms - choice->idle_p90_ms);
        if (!found || choice->best_p90_ms > left_ms)
            j.verdict = LATER;
    }
    if (r->arrived.other_model != MODEL_NONE)
        j.patience_ms = min_f(j.patience_ms, ADMIT_FALLBACK_HOLD_MS - waited_ms);
    if (j.verdict == LATER && j.patience_ms <= 0.0f) {
        j.verdict = NEVER;
        j.refusal = isnan(r->arrived.deadline_ms) ? REFUSAL_SHED : REFUSAL_DEADLINE;
        if (choice->idle_p90_ms <= left_ms + waited_ms) /* an emptier fleet could do it */
            j.wait_ms = choice->best_p90_ms - choice->idle_p90_ms;
    }
    return j;
}

static float
retry_ms(float wait_ms)
{
    return isnan(wait_ms) ? wait_ms : min_f(ADMIT_RETRY_MS_MAX, max_f(ADMIT_RETRY_MS_MIN, wait_ms));
}

/* How long those that go before a newcomer of this class will take, itself counted. That nothing
 * was released for long says of the next release alone that it takes long: a full node works off
 * its queue, and then all are soon. While the model is being loaded it says nothing. */
static float
wait_ms(const struct core *core, const struct request *r)
{
    const struct model_record *m = &core->models[r->arrived.model];
    uint32_t ahead = fair_ahead(&core->fair, r->arrived.model, r->arrived.priority);
    float next_ms = m->release_ms;

    if (m->loading_count == 0 && fair_ahead(&core->fair, r->arrived.model, PRIORITIES_MAX - 1) > 0)
        next_ms = max_f(next_ms, ns_to_ms(core->now_ns - m->released_ns));
    return next_ms + (float)ahead * m->release_ms;
}

/* One of the model is let go: how long after the last one, if others waited since? */
static void
note_release(struct core *core, struct model_record *m)
{
    float ms = ns_to_ms(core->now_ns - m->released_ns);

    if (m->is_releasing) {
        if (m->releases < RELEASES_MEAN)
            m->releases++;
        m->release_ms += (ms - m->release_ms) / (float)m->releases;
    }
    m->is_releasing = true;
    m->released_ns = core->now_ns;
}

/* Is this one to be turned away? */
static bool
shed(struct core *core, const struct request *r, float expected_ms, float patience_ms)
{
    const struct fair *f = &core->fair;
    float u = (float)f->held / (float)f->holds_max, over;

    if (f->held == f->holds_max)
        return true;
    u = max_f(u, expected_ms / patience_ms) + shed_shift[r->arrived.priority];
    over = min_f(1.0f, max_f(0.0f, (u - SHED_FROM) / SHED_SPAN));
    if (over <= 0.0f || over >= 1.0f)
        return over >= 1.0f;
    return (float)rng_unit(&core->rng) < over * over;
}

/* ---- What follows. */

static uint64_t
ms_to_ns(float ms)
{
    return (uint64_t)((double)ms * 1e6);
}

/* Into the decision: what became of the request, and why not the node that was chosen. */
static void
say(struct actions *actions, const struct request *r, enum admission admission, enum why_not why)
{
    struct decision *d = &actions->decision;

    d->admission = (uint16_t)admission;
    d->held_ms = r->held_ms;
    if (d->candidate_count > 0 && d->candidates[0].why == WHY_CHOSEN)
        d->candidates[0].why = (uint16_t)why;
}

/* That it is held, said earlier in this step, is not true any more: a step says one thing about a
 * request. */
static void
unsay_hold(struct actions *actions, uint64_t id)
{
    for (uint32_t i = 0; i < actions->count; i++) {
        const struct action *a = &actions->list[i];
        if (a->kind == ACTION_HOLD && a->hold.request == id) {
            actions->count--;
            memmove(&actions->list[i], &actions->list[i + 1], (actions->count - i) * sizeof(*a));
            return;
        }
    }
}

static void
unhold(struct core *core, struct request *r, struct actions *actions)
{
    if (r->hold == NONE)
        return;
    unsay_hold(actions, r->id);
    r->held_ms += ns_to_ms(core->now_ns - r->held_ns);
    fair_take(&core->fair, r->hold);
    r->hold = NONE;
}

static void
go(struct core *core, struct request *r, const struct choice *choice, enum admission admission,
   struct actions *actions)
{
    unhold(core, r, actions);
    if (r->attempt == 1 || admission == ADMISSION_OTHER_MODEL)
        fair_admitted(&core->fair, who_of(r), (uint64_t)r->prompt_tokens);
    say(actions, r, admission, WHY_CHOSEN);
    flight_dispatch(core, r, choice, actions);
}

/* It cannot be served as asked: by the other model, if its client allows one, else not at all. */
static void
give_up(struct core *core, struct request *r, const struct judgement *j, uint32_t failure,
        struct actions *actions)
{
    struct choice choice;

    unhold(core, r, actions);
    if (r->arrived.other_model != MODEL_NONE && !is_off(core)) {
        r->arrived.model = r->arrived.other_model;
        r->arrived.other_model = MODEL_NONE;
        flight_estimate(core, r);
        choose(core, core->now_ns, r, &core->rng, &choice, &actions->decision);
        if (judge(core, r, &choice).verdict == GO) {
            go(core, r, &choice, ADMISSION_OTHER_MODEL, actions);
            return;
        }
    }
    say(actions, r, ADMISSION_REFUSED, j->why);
    core->models[r->arrived.model].refused_total += j->refusal == REFUSAL_SHED ||
                                                    j->refusal == REFUSAL_FULL ||
                                                    j->refusal == REFUSAL_DEADLINE;
    flight_refuse(actions, r->id, r->attempt - 1, j->refusal, failure, retry_ms(j->wait_ms));
    flight_drop(core, r);
}

static void
hold(struct core *core, struct request *r, float patience_ms)
{
    struct model_record *m = &core->models[r->arrived.model];

    if (fair_ahead(&core->fair, r->arrived.model, PRIORITIES_MAX - 1) == 0) {
        m->released_ns = core->now_ns;
        m->is_releasing = false;
    }
    r->attempt--;
    r->held_ns = core->now_ns;
    r->hold = fair_put(&core->fair, (uint32_t)(r - core->requests), who_of(r),
                       core->now_ns + ms_to_ns(patience_ms));
}

/* ---- Those that are held. */

/* Let the one go whose turn it is, if it may. A step makes one decision at most. */
static void
release(struct core *core, uint32_t model, struct actions *actions)
{
    struct model_record *m = &core->models[model];
    uint32_t turn = fair_next(&core->fair, model);
    struct request *r;
    struct choice choice;
    struct judgement j;

    if (turn == FAIR_NONE)
        return;
    r = &core->requests[core->fair.holds[turn].request];
    r->attempt++;
    choose(core, core->now_ns, r, &core->rng, &choice, &actions->decision);
    j = judge(core, r, &choice);
    if (j.verdict == LATER) {
        r->attempt--;
        actions->decision.candidate_count = 0;
        return;
    }
    if (j.verdict == NEVER) {
        give_up(core, r, &j, FAILURE_NONE, actions);
        return;
    }
    note_release(core, m);
    go(core, r, &choice, ADMISSION_AFTER_HOLD, actions);
}

/* End those whose patience is over, as many as there is room for. */
static void
expire(struct core *core, struct actions *actions)
{
    uint32_t hold;

    while (actions->count < ACTIONS_MAX && (hold = fair_earliest(&core->fair)) != FAIR_NONE &&
           fair_expiry_ns(&core->fair, hold) <= core->now_ns) {
        struct request *r = &core->requests[core->fair.holds[hold].request];
        struct judgement j = {.refusal = isnan(r->arrived.deadline_ms) ? REFUSAL_SHED
                                                                       : REFUSAL_DEADLINE,
                              .why = WHY_LATE,
                              .wait_ms = wait_ms(core, r)};

        if (r->arrived.other_model != MODEL_NONE && actions->decision.candidate_count > 0)
            return; /* that takes a decision: in the next step */
        r->attempt++;
        give_up(core, r, &j, FAILURE_NONE, actions);
    }
}

void
admit_freed(struct core *core, uint32_t node, struct actions *actions)
{
    if (core->fair.held == 0)
        return;
    if (node_known(core, node) && actions->decision.candidate_count == 0) {
        uint32_t p = core->cold[node].first_placement;
        while (p != NONE &&
               fair_ahead(&core->fair, core->placements[p].model, PRIORITIES_MAX - 1) == 0)
            p = core->placements[p].node_next;
        if (p != NONE)
            release(core, core->placements[p].model, actions);
    }
    expire(core, actions);
}

void
admit_tick(struct core *core, struct actions *actions)
{
    uint32_t model = fair_model_from(&core->fair, core->admit_model);

    if (model == FAIR_NONE)
        return;
    core->admit_model = (model + 1) % core->config.models_max;
    release(core, model, actions);
    expire(core, actions);
}

void
admit_ended(struct core *core, const struct request *r, uint32_t output_tokens)
{
    fair_ended(&core->fair, who_of(r),
               output_tokens > 0 ? output_tokens : (uint64_t)r->output_tokens);
}

/* ---- Those that come. */

/* Hold it, and let the one go whose turn it is, which may be this one. */
static void
queue(struct core *core, struct request *r, const struct judgement *j, float expected_ms,
      struct actions *actions)
{
    uint64_t id = r->id;
    struct action *a;

    say(actions, r, ADMISSION_HELD, j->why);
    hold(core, r, j->patience_ms);
    if (j->verdict == GO) { /* there is room, but for those before it */
        actions->decision.candidate_count = 0;
        release(core, r->arrived.model, actions);
    }
    if (r->id != id || r->hold == NONE)
        return;
    a = flight_action(actions, ACTION_HOLD);
    a->hold.request = id;
    a->hold.hold_ms = min_f(expected_ms, j->patience_ms);
}

/* Not subject to admission: switched off, or asked for by the node's name. */
static bool
is_exempt(const struct core *core, const struct request *r)
{
    return is_off(core) || r->arrived.only_node != NODE_ANY;
}

/* May it go where it was chosen to go, or is there room, but for those before it? */
static struct judgement
judge_newcomer(const struct core *core, const struct request *r, const struct choice *choice)
{
    struct judgement j;

    if (is_exempt(core, r))
        return (struct judgement){.verdict = choice->placement != NONE ? GO : NEVER,
                                  .refusal = choice->refusal,
                                  .wait_ms = NAN};
    j = judge(core, r, choice);
    if (j.verdict == GO)
        j.why = fair_waits(&core->fair, r->arrived.model, r->arrived.priority) ? WHY_OTHERS_FIRST
                                                                               : WHY_CHOSEN;
    return j;
}

enum admission
admit_foresee(const struct core *core, const struct request *r, const struct choice *choice)
{
    struct judgement j = judge_newcomer(core, r, choice);

    if (j.verdict == NEVER)
        return ADMISSION_REFUSED;
    return j.verdict == GO && j.why == WHY_CHOSEN ? ADMISSION_NOW : ADMISSION_HELD;
}

void
admit_place(struct core *core, struct request *r, uint32_t failure, struct actions *actions)
{
    struct judgement j;
    struct choice choice;
    float expected_ms;

    r->attempt++;
    choose(core, core->now_ns, r, &core->rng, &choice, &actions->decision);
    j = judge_newcomer(core, r, &choice);
    if (j.verdict == GO && j.why == WHY_CHOSEN) {
        go(core, r, &choice, is_exempt(core, r) ? ADMISSION_NONE : ADMISSION_NOW, actions);
        return;
    }
    if (j.verdict != NEVER) {
        j.patience_ms = max_f(j.patience_ms, PATIENCE_MS_MIN);
        expected_ms = wait_ms(core, r);
        if (!shed(core, r, expected_ms, j.patience_ms)) {
            queue(core, r, &j, expected_ms, actions);
            return;
        }
        j.refusal = REFUSAL_SHED;
        j.wait_ms = expected_ms;
    }
    give_up(core, r, &j, failure, actions);
}
