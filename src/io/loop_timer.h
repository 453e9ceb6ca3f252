#ifndef IO_LOOP_TIMER_H
#define IO_LOOP_TIMER_H
/* loop_timer - the timer wheel inside a loop; users of timers need only loop.h. It reads no clock,
 * so that the tests can turn it by hand.
 *
 * One ring of slots of 1 ms, and a bitmap of those that hold something. A timer beyond the ring's
 * end is parked near it and looked at again there: the same second look that lazy deadlines need,
 * so no second ring is needed. Parking places are LOOP_WHEEL_PARK_TICKS apart, so that many far
 * timers wake the loop a few times a second and not at each of their milliseconds. */
#include <stdint.h>

#include "io/loop.h"

#define LOOP_WHEEL_TICK_NS    1000000u
#define LOOP_WHEEL_SLOTS      4096u /* 64 words of 64 bits, so one word sums them up */
#define LOOP_WHEEL_PARK_TICKS 64u

LIST_HEAD(loop_timers, loop_timer);

struct loop_wheel {
    uint64_t tick; /* all slots up to this one (in ticks since the clock's zero) were looked at */
    uint64_t summary;
    uint64_t occupied[LOOP_WHEEL_SLOTS / 64];
    struct loop_timers slots[LOOP_WHEEL_SLOTS];
};

void loop_wheel_init(struct loop_wheel *w, uint64_t now_ns);
/* Arm or move; timer->fn is the caller's to set. */
void loop_wheel_set(struct loop_wheel *w, struct loop_timer *timer, uint64_t deadline_ns);
void loop_wheel_stop(struct loop_wheel *w, struct loop_timer *timer);
/* When loop_wheel_run has something to do next (at or before the first deadline rounded up to a
 * tick); UINT64_MAX: no timer is armed. */
uint64_t loop_wheel_next_ns(const struct loop_wheel *w);
/* Fire what is due at now_ns (never less than before). A timer set by the callbacks fires in a
 * later run, even when its deadline has passed. */
void loop_wheel_run(struct loop_wheel *w, uint64_t now_ns);
#endif
