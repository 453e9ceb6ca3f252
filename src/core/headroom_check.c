/* headroom_check - windows into hours; see headroom_check.h. */
#include "core/headroom_check.h"

#include <math.h>

#include "core/headroom.h"

#define TENTH        0.1f
#define CORRECT_PART 0.5f /* of an hour's error, in the factor */
#define NEAR_PART    0.8f /* of what was told: below, an hour in which all went well says nothing */
#define BIN_FULL     255u

void
headroom_check_started(struct core *core, const struct request *r, const struct attempt *a)
{
    struct headroom_goals goals;
    struct headroom *h;

    if (a->node == NODE_ANY || r->arrived.stream == 0)
        return;
    h = headroom_of(core, r->arrived.model, core->hot[a->node].region);
    headroom_goals(core, &goals);
    h->started++;
    h->late += ns_to_ms(core->now_ns - r->arrived_ns) >
               goals.first_ms + goals.first_per_token_ms * r->prompt_tokens;
}

void
headroom_check_ended(struct core *core, const struct request *r, const struct attempt *a,
                     const struct event_ended *e)
{
    struct headroom_goals goals;
    struct headroom *h;

    if (a->node == NODE_ANY || r->arrived.stream == 0 || a->started_ns == 0 || e->output_tokens < 2)
        return;
    h = headroom_of(core, r->arrived.model, core->hot[a->node].region);
    headroom_goals(core, &goals);
    h->ended++;
    h->slow += ns_to_ms(core->now_ns - a->started_ns) / (float)(e->output_tokens - 1) >
               goals.step_ms;
}

static void
window_begin(const struct core *core, const struct model_record *m, struct headroom *h)
{
    h->window_ns = core->now_ns;
    h->window_most_ms = h->most_ms * headroom_correction(h);
    h->sent = h->started = h->late = h->ended = h->slow = 0;
    h->refused_then = m->refused_total;
    h->requests_then = m->requests_total;
}

static void
count_up(uint8_t *count)
{
    if (*count < BIN_FULL)
        ++*count;
}

/* What the window says goes into the hour's counts. */
static void
window_end(const struct core *core, const struct model_record *m, struct headroom *h)
{
    float ms = ns_to_ms(core->now_ns - h->window_ns);
    float refused = (float)(m->refused_total - h->refused_then);
    float asked = (float)(m->requests_total - h->requests_then);
    float load;
    uint32_t bin;

    if (h->started < HEADROOM_SAMPLES_MIN || !(h->window_most_ms > 0.0f))
        return;
    load = (float)h->sent / ms / max_f(0.01f, h->own_part) / h->window_most_ms;
    bin = (uint32_t)min_f(load / HEADROOM_BIN, (float)(HEADROOM_BINS - 1));
    if ((float)h->late > TENTH * (float)h->started || (float)h->slow > TENTH * (float)h->ended ||
        refused > TENTH * asked)
        count_up(&h->missed[bin]);
    else
        count_up(&h->met[bin]);
    h->windows++;
    h->hour_most_ms += (h->window_most_ms - h->hour_most_ms) / (float)h->windows;
}

/* Between which loads the goals ceased to hold: the border that the fewest windows lie on the wrong
 * side of, and of several such the highest. */
static uint32_t
hour_border(const struct headroom *h)
{
    uint32_t wrong = 0, least, border = 0;

    for (uint32_t i = 0; i < HEADROOM_BINS; i++)
        wrong += h->met[i];
    least = wrong;
    for (uint32_t i = 0; i < HEADROOM_BINS; i++) {
        wrong += h->missed[i];
        wrong -= h->met[i];
        if (wrong <= least) {
            least = wrong;
            border = i + 1;
        }
    }
    return border;
}

/* The hour is over: what it says, and what is learned from it. */
static void
hour_end(const struct core *core, struct headroom *h)
{
    uint32_t border = hour_border(h), low = border, high = border;
    float held = NAN, broke = NAN, reached = NAN, told_s = 1000.0f * h->hour_most_ms;

    while (low > 0 && h->met[low - 1] == 0)
        low--;
    while (high < HEADROOM_BINS && h->missed[high] == 0)
        high++;
    if (low > 0)
        held = ((float)low - 0.5f) * HEADROOM_BIN;
    if (high < HEADROOM_BINS)
        broke = ((float)high + 0.5f) * HEADROOM_BIN;
    if (!isnan(held) && !isnan(broke))
        reached = 0.5f * (held + broke);
    else if (!isnan(broke) && broke < 1.0f)
        reached = broke;
    else if (!isnan(held) && held > 1.0f)
        reached = held;
    if (!isnan(held) && held < NEAR_PART && broke > 1.0f / NEAR_PART)
        reached = NAN; /* anything between the two would be as true */
    h->checked = (struct headroom_checked){.at_ns = core->now_ns,
                                           .told_s = told_s,
                                           .held_s = held * told_s,
                                           .broke_s = broke * told_s,
                                           .error_part = 1.0f / reached - 1.0f,
                                           .windows = h->windows};
    if (!isnan(reached)) {
        float factor = headroom_correction(h) * (1.0f + CORRECT_PART * (reached - 1.0f));
        h->correction = min_f(HEADROOM_CORRECTION_MAX, max_f(HEADROOM_CORRECTION_MIN, factor));
    }
}

static void
hour_begin(const struct core *core, struct headroom *h)
{
    h->hour_ns = core->now_ns;
    h->hour_most_ms = 0.0f;
    h->windows = 0;
    for (uint32_t i = 0; i < HEADROOM_BINS; i++)
        h->met[i] = h->missed[i] = 0;
}

void
headroom_check_look(struct core *core, struct model_record *m, struct headroom *h)
{
    if (h->hour_ns == 0)
        hour_begin(core, h);
    if (h->window_ns != 0 && core->now_ns - h->window_ns < HEADROOM_WINDOW_NS)
        return;
    if (h->window_ns != 0)
        window_end(core, m, h);
    window_begin(core, m, h);
    if (core->now_ns - h->hour_ns < HEADROOM_HOUR_NS)
        return;
    hour_end(core, h);
    hour_begin(core, h);
}
