/* sim_pool - a stack of idle connections; see sim_pool.h. */
#include "sim/sim_pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"

#define ROOM_FIRST 4u

void
sim_pool_fini(struct sim_pool *p)
{
    free(p->since_ns);
    *p = (struct sim_pool){0};
}

static bool
is_closed(uint64_t since_ns, uint64_t now_ns)
{
    return now_ns - since_ns >= SIM_POOL_IDLE_NS;
}

static void
drop_oldest(struct sim_pool *p, uint32_t count)
{
    if (count == 0)
        return;
    p->count -= count;
    memmove(p->since_ns, p->since_ns + count, p->count * sizeof(*p->since_ns));
}

bool
sim_pool_has(const struct sim_pool *p, uint64_t now_ns)
{
    return p->count > 0 && !is_closed(p->since_ns[p->count - 1], now_ns);
}

bool
sim_pool_take(struct sim_pool *p, uint64_t now_ns)
{
    uint32_t closed = 0;

    while (closed < p->count && is_closed(p->since_ns[closed], now_ns))
        closed++;
    drop_oldest(p, closed);
    if (p->count == 0)
        return false;
    p->count--;
    return true;
}

void
sim_pool_give(struct sim_pool *p, uint64_t now_ns)
{
    if (p->count == SIM_POOL_MAX)
        drop_oldest(p, 1);
    if (p->count == p->room) {
        uint32_t room = p->room == 0 ? ROOM_FIRST : 2 * p->room;
        uint64_t *since_ns = realloc(p->since_ns, room * sizeof(*since_ns));
        must(since_ns != NULL);
        p->since_ns = since_ns;
        p->room = room;
    }
    p->since_ns[p->count++] = now_ns;
}
