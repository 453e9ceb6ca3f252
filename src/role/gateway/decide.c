/* decide - the lock around the core; see decide.h.
 * An adaptive mutex: a step lasts about a microsecond, so a waiter spins a little before it sleeps.
 */
#include "role/gateway/decide.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/fleet.h"
#include "role/gateway/recorder.h"

#define CORE_ALIGN_BYTES   64u
#define LARGE_PAGE_BYTES   2097152u
#define HOLD_FIRST_LOG2_NS 5u

struct door {
    pthread_mutex_t lock;
    struct core *core;
    struct fleet *fleet;
    struct recorder *recorder;
    bool measure;
    uint64_t steps;
    struct decide_hold hold;
    _Atomic uint64_t fleet_generation;
    void *memory; /* of the core */
};

/* Where there are any; the rest of the memory stays in small ones, of which few may be touched. */
static void
use_large_pages(const struct core_config *config, uintptr_t memory)
{
    size_t offset, bytes;

    core_scattered(config, &offset, &bytes);
    memory = (memory + offset + LARGE_PAGE_BYTES - 1) & ~(uintptr_t)(LARGE_PAGE_BYTES - 1);
    if (bytes >= 2 * LARGE_PAGE_BYTES &&
        madvise((void *)memory, bytes - LARGE_PAGE_BYTES, MADV_HUGEPAGE) != 0)
        log_debug("no large pages: %s", strerror(errno));
}

enum err
decide_open(const struct core_config *config, struct recorder *recorder, bool measure,
            struct door **ret_door)
{
    enum err err = ERR_MEMORY;
    size_t bytes = core_bytes(config);
    struct door *door = calloc(1, sizeof(*door));
    pthread_mutexattr_t kind;

    if (door == NULL)
        return ERR_MEMORY;
    must(pthread_mutexattr_init(&kind) == 0);
    must(pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ADAPTIVE_NP) == 0);
    must(pthread_mutex_init(&door->lock, &kind) == 0);
    must(pthread_mutexattr_destroy(&kind) == 0);
    door->recorder = recorder;
    door->measure = measure;
    if (bytes == 0) {
        err = ERR_ARG;
        goto out;
    }
    /* calloc, so that pages nobody touches stay the kernel's; aligned by hand for the same reason
     */
    door->memory = calloc(1, bytes + CORE_ALIGN_BYTES);
    if (door->memory == NULL)
        goto out;
    uintptr_t aligned = ((uintptr_t)door->memory + CORE_ALIGN_BYTES - 1) &
                        ~(uintptr_t)(CORE_ALIGN_BYTES - 1);
    use_large_pages(config, aligned);
    err = core_init((void *)aligned, bytes, config, &door->core);
    if (err != ERR_OK)
        goto out;
    *ret_door = door;
    door = NULL;
out:
    decide_close(door);
    return err;
}

void
decide_close(struct door *door)
{
    if (door == NULL)
        return;
    fleet_unref(door->fleet);
    free(door->memory);
    must(pthread_mutex_destroy(&door->lock) == 0);
    free(door);
}

static void
door_lock(struct door *door)
{
    must(pthread_mutex_lock(&door->lock) == 0);
}

static void
door_unlock(struct door *door)
{
    must(pthread_mutex_unlock(&door->lock) == 0);
}

static void
hold_note(struct decide_hold *hold, uint64_t held_ns)
{
    uint32_t bucket = 0;

    while (bucket < DECIDE_HOLD_BUCKETS - 1 && held_ns >> (bucket + HOLD_FIRST_LOG2_NS) != 0)
        bucket++;
    hold->buckets[bucket]++;
    hold->count++;
    hold->sum_ns += held_ns;
}

uint64_t
decide_step(struct door *door, const struct event *event, struct actions *ret_actions)
{
    uint64_t now_ns;

    door_lock(door);
    now_ns = clock_now_ns();
    core_step(door->core, now_ns, event, ret_actions);
    door->steps++;
    if (door->recorder != NULL)
        recorder_put(door->recorder, now_ns, event, ret_actions);
    if (door->measure)
        hold_note(&door->hold, clock_now_ns() - now_ns);
    door_unlock(door);
    return now_ns;
}

void
decide_expect(const struct door *door, uint32_t node)
{
    core_expect(door->core, node);
}

void
decide_explain(struct door *door, const struct event *arrived, struct decision *ret_decision)
{
    door_lock(door);
    core_explain(door->core, clock_now_ns(), arrived, ret_decision);
    door_unlock(door);
}

uint32_t
decide_view_nodes(struct door *door, uint32_t from, struct node_view *ret_views, uint32_t *ret_next)
{
    uint32_t count;

    door_lock(door);
    count = core_view_nodes(door->core, clock_now_ns(), from, ret_views, ret_next);
    door_unlock(door);
    return count;
}

uint32_t
decide_view_placements(struct door *door, uint32_t from, struct placement_view *ret_views,
                       uint32_t *ret_next)
{
    uint32_t count;

    door_lock(door);
    count = core_view_placements(door->core, clock_now_ns(), from, ret_views, ret_next);
    door_unlock(door);
    return count;
}

uint32_t
decide_view_demand(struct door *door, uint32_t from, struct demand_view *ret_views,
                   uint32_t *ret_next)
{
    uint32_t count;

    door_lock(door);
    count = core_view_demand(door->core, clock_now_ns(), from, ret_views, ret_next);
    door_unlock(door);
    return count;
}

uint32_t
decide_view_headroom(struct door *door, uint32_t from, struct headroom_view *ret_views,
                     uint32_t *ret_next)
{
    uint32_t count;

    door_lock(door);
    count = core_view_headroom(door->core, clock_now_ns(), from, ret_views, ret_next);
    door_unlock(door);
    return count;
}

void
decide_view_goals(struct door *door, struct headroom_goals *ret_goals)
{
    door_lock(door);
    core_view_goals(door->core, ret_goals);
    door_unlock(door);
}

void
decide_view_model(struct door *door, uint16_t model, struct model_view *ret_view)
{
    door_lock(door);
    core_view_model(door->core, model, ret_view);
    door_unlock(door);
}

bool
decide_suspects_itself(struct door *door)
{
    bool suspects;

    door_lock(door);
    suspects = core_suspects_itself(door->core);
    door_unlock(door);
    return suspects;
}

void
decide_view_prefix(struct door *door, struct prefix_view *ret_view)
{
    door_lock(door);
    core_view_prefix(door->core, ret_view);
    door_unlock(door);
}

void
decide_view_hedges(struct door *door, struct hedge_view *ret_view)
{
    door_lock(door);
    core_view_hedges(door->core, ret_view);
    door_unlock(door);
}

void
decide_hold(struct door *door, struct decide_hold *ret_hold)
{
    door_lock(door);
    *ret_hold = door->hold;
    door_unlock(door);
}

uint64_t
decide_steps(struct door *door)
{
    uint64_t steps;

    door_lock(door);
    steps = door->steps;
    door_unlock(door);
    return steps;
}

void
decide_fleet_swap(struct door *door, struct fleet *fleet)
{
    struct fleet *old;

    door_lock(door);
    old = door->fleet;
    door->fleet = fleet;
    atomic_fetch_add_explicit(&door->fleet_generation, 1, memory_order_release);
    door_unlock(door);
    fleet_unref(old);
}

struct fleet *
decide_fleet(struct door *door)
{
    struct fleet *fleet;

    door_lock(door);
    fleet = fleet_ref(door->fleet);
    door_unlock(door);
    return fleet;
}

uint64_t
decide_fleet_generation(const struct door *door)
{
    return atomic_load_explicit(&door->fleet_generation, memory_order_acquire);
}
