/* sim_queue - a four-way heap; see sim_queue.h. */
#include "sim/sim_queue.h"

#include <stdlib.h>

#include "base/must.h"

#define CHILDREN   4u
#define ROOM_FIRST 4096u

/* The order counts puts; two that wait at once are never 2^31 puts apart. */
static bool
earlier(const struct sim_event *a, const struct sim_event *b)
{
    if (a->at_ns != b->at_ns)
        return a->at_ns < b->at_ns;
    return (int32_t)(a->order - b->order) < 0;
}

void
sim_queue_fini(struct sim_queue *q)
{
    free(q->heap);
    *q = (struct sim_queue){0};
}

void
sim_queue_put(struct sim_queue *q, uint64_t at_ns, uint32_t kind, uint32_t a, uint32_t b)
{
    struct sim_event e = {.at_ns = at_ns, .order = q->order++, .kind = kind, .a = a, .b = b};
    size_t at = q->count;

    if (q->count == q->room) {
        size_t room = q->room == 0 ? ROOM_FIRST : 2 * q->room;
        struct sim_event *heap = realloc(q->heap, room * sizeof(*heap));
        must(heap != NULL);
        q->heap = heap;
        q->room = room;
    }
    q->count++;
    while (at > 0 && earlier(&e, &q->heap[(at - 1) / CHILDREN])) {
        q->heap[at] = q->heap[(at - 1) / CHILDREN];
        at = (at - 1) / CHILDREN;
    }
    q->heap[at] = e;
}

bool
sim_queue_take(struct sim_queue *q, struct sim_event *ret_event)
{
    struct sim_event last;
    size_t at = 0;

    if (q->count == 0)
        return false;
    *ret_event = q->heap[0];
    last = q->heap[--q->count];
    for (;;) {
        size_t child = at * CHILDREN + 1, end = child + CHILDREN, best;

        if (child >= q->count)
            break;
        if (end > q->count)
            end = q->count;
        for (best = child++; child < end; child++) {
            if (earlier(&q->heap[child], &q->heap[best]))
                best = child;
        }
        if (!earlier(&q->heap[best], &last))
            break;
        q->heap[at] = q->heap[best];
        at = best;
    }
    q->heap[at] = last;
    return true;
}
