/* loop_timer - the wheel; see loop_timer.h.
 * Invariants: an armed timer (deadline_ns != 0) is in slots[slot_ns in ticks, modulo the ring], or,
 * while a run holds that slot's timers in hand, in the run's own list; its slot tick is greater
 * than w->tick (or in that run), and its slot_ns is not more than its deadline rounded up to a
 * tick, so nothing fires late. A bit in occupied is set exactly when its slot's list is not empty.
 */
#include "io/loop_timer.h"

#include <stddef.h>

#include "base/must.h"

void
loop_wheel_init(struct loop_wheel *w, uint64_t now_ns)
{
    *w = (struct loop_wheel){.tick = now_ns / LOOP_WHEEL_TICK_NS};
}

static void
mark(struct loop_wheel *w, unsigned index)
{
    w->occupied[index / 64] |= 1ull << (index % 64);
    w->summary |= 1ull << (index / 64);
}

static void
unmark(struct loop_wheel *w, unsigned index)
{
    w->occupied[index / 64] &= ~(1ull << (index % 64));
    if (w->occupied[index / 64] == 0)
        w->summary &= ~(1ull << (index / 64));
}

static unsigned
slot_index(uint64_t tick)
{
    return (unsigned)(tick % LOOP_WHEEL_SLOTS);
}

/* Put a timer that is in no list where its deadline wants it looked at. */
static void
place(struct loop_wheel *w, struct loop_timer *timer)
{
    uint64_t tick = timer->deadline_ns / LOOP_WHEEL_TICK_NS +
                    (timer->deadline_ns % LOOP_WHEEL_TICK_NS != 0);
    uint64_t last = w->tick + LOOP_WHEEL_SLOTS - 1;

    if (tick <= w->tick)
        tick = w->tick + 1;
    if (tick > last)
        tick = last - last % LOOP_WHEEL_PARK_TICKS;
    timer->slot_ns = tick * LOOP_WHEEL_TICK_NS;
    LIST_INSERT_HEAD(&w->slots[slot_index(tick)], timer, link);
    mark(w, slot_index(tick));
}

static void
take_out(struct loop_wheel *w, struct loop_timer *timer)
{
    unsigned index = slot_index(timer->slot_ns / LOOP_WHEEL_TICK_NS);

    LIST_REMOVE(timer, link);
    if (LIST_EMPTY(&w->slots[index]))
        unmark(w, index);
}

void
loop_wheel_set(struct loop_wheel *w, struct loop_timer *timer, uint64_t deadline_ns)
{
    if (deadline_ns == 0)
        deadline_ns = 1; /* 0 means not armed; both are long ago */
    if (timer->deadline_ns != 0) {
        if (deadline_ns > timer->slot_ns - LOOP_WHEEL_TICK_NS) { /* the common case: later */
            timer->deadline_ns = deadline_ns;
            return;
        }
        take_out(w, timer);
    }
    timer->deadline_ns = deadline_ns;
    place(w, timer);
}

void
loop_wheel_stop(struct loop_wheel *w, struct loop_timer *timer)
{
    if (timer->deadline_ns == 0)
        return;
    take_out(w, timer);
    timer->deadline_ns = 0;
}

/* The first occupied slot at or after index, around the ring. The wheel is not empty. */
static unsigned
next_index(const struct loop_wheel *w, unsigned index)
{
    unsigned word = index / 64;
    uint64_t bits = w->occupied[word] & (~0ull << (index % 64)), words;

    if (bits != 0)
        return word * 64 + (unsigned)__builtin_ctzll(bits);
    words = word == 63 ? 0 : w->summary & (~0ull << (word + 1));
    if (words == 0)
        words = w->summary;
    word = (unsigned)__builtin_ctzll(words);
    return word * 64 + (unsigned)__builtin_ctzll(w->occupied[word]);
}

/* The first occupied slot's tick, counted from `from`; UINT64_MAX: the wheel is empty. */
static uint64_t
next_tick(const struct loop_wheel *w, uint64_t from)
{
    if (w->summary == 0)
        return UINT64_MAX;
    return from + (next_index(w, slot_index(from)) - slot_index(from)) % LOOP_WHEEL_SLOTS;
}

uint64_t
loop_wheel_next_ns(const struct loop_wheel *w)
{
    uint64_t tick = next_tick(w, w->tick + 1);

    return tick == UINT64_MAX ? UINT64_MAX : tick * LOOP_WHEEL_TICK_NS;
}

/* Take the slot's timers in hand, then fire those due and place the others anew. Any of them may
 * be stopped or moved by a callback meanwhile, which takes it out of `due`. */
static void
run_slot(struct loop_wheel *w, unsigned index, uint64_t now_ns)
{
    struct loop_timers due = LIST_HEAD_INITIALIZER(due);
    struct loop_timer *timer = LIST_FIRST(&w->slots[index]);

    must(timer != NULL);
    due.lh_first = timer;
    timer->link.le_prev = &due.lh_first;
    LIST_INIT(&w->slots[index]);
    unmark(w, index);
    while ((timer = LIST_FIRST(&due)) != NULL) {
        LIST_REMOVE(timer, link);
        if (timer->deadline_ns > now_ns) {
            place(w, timer);
        } else {
            timer->deadline_ns = 0;
            timer->fn(timer);
        }
    }
}

void
loop_wheel_run(struct loop_wheel *w, uint64_t now_ns)
{
    uint64_t now_tick = now_ns / LOOP_WHEEL_TICK_NS;
    uint64_t from = w->tick + 1, tick;

    if (now_tick <= w->tick)
        return;
    if (now_tick - w->tick > LOOP_WHEEL_SLOTS) /* once around is everything */
        from = now_tick - LOOP_WHEEL_SLOTS + 1;
    w->tick = now_tick; /* so that the callbacks place new timers behind this run */
    while (from <= now_tick && (tick = next_tick(w, from)) <= now_tick) {
        run_slot(w, slot_index(tick), now_ns);
        from = tick + 1;
    }
}
