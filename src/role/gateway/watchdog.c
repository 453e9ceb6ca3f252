/* watchdog - a question to each loop, and a datagram when all have answered; see watchdog.h. The
 * question is a post: it is answered by a pass of the loop and by nothing else. */
#include "role/gateway/watchdog.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "io/log.h"
#include "role/gateway/lane.h"

struct beat {
    struct loop_post post;
    _Atomic bool waiting; /* asked, and not answered */
    uint32_t missed;      /* looks since it was asked */
};

struct watchdog {
    struct gateway *gateway;
    struct loop_timer timer; /* of the first lane */
    uint64_t look_ns;        /* between two looks */
    bool asked;              /* at least once */
    struct beat beats[LANES_MAX];
};

static void
on_beat(struct loop_post *post)
{
    atomic_store(&CONTAINER_OF(post, struct beat, post)->waiting, false);
}

/* Has every lane answered? Ask those again that did. */
static bool
ask_all(struct watchdog *w)
{
    bool all = w->asked;

    for (uint32_t i = 0; i < w->gateway->lane_count; i++) {
        struct beat *b = &w->beats[i];

        if (atomic_load(&b->waiting)) {
            all = false;
            if (++b->missed == WATCHDOG_SHARE / 2)
                log_warn("watchdog: lane %u has not made a pass for %llu ms", i,
                         (unsigned long long)(b->missed * w->look_ns / 1000000));
            continue;
        }
        b->missed = 0;
        atomic_store(&b->waiting, true);
        loop_post(w->gateway->lanes[i].loop, &b->post, on_beat);
    }
    w->asked = true;
    return all;
}

static void
on_timer(struct loop_timer *timer)
{
    struct watchdog *w = CONTAINER_OF(timer, struct watchdog, timer);
    struct loop *loop = w->gateway->lanes[0].loop;

    if (ask_all(w))
        notify_send(&w->gateway->notify, "WATCHDOG=1");
    loop_timer_set(loop, timer, loop_now_ns(loop) + w->look_ns, on_timer);
}

enum err
watchdog_open(struct gateway *gateway, uint64_t period_ns, struct watchdog **ret_watchdog)
{
    struct watchdog *w = calloc(1, sizeof(*w));
    struct loop *loop = gateway->lanes[0].loop;

    if (w == NULL)
        return ERR_MEMORY;
    w->gateway = gateway;
    w->look_ns = period_ns / WATCHDOG_SHARE;
    loop_timer_set(loop, &w->timer, loop_now_ns(loop) + 1, on_timer);
    *ret_watchdog = w;
    return ERR_OK;
}

void
watchdog_close(struct watchdog *w)
{
    if (w == NULL)
        return;
    loop_timer_stop(&w->timer);
    free(w);
}
