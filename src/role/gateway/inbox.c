/* inbox - a bounded ring, many writers, one reader; see inbox.h.
 *
 * Slot i is free for position p when its turn is p, and full when it is p + 1; the reader sets it
 * to p + size (Vyukov's queue, without the test for full). `asked` is set by whoever put an entry
 * after the entry, and cleared by the reader before it looks, so one of the two sees the other. */
#include "role/gateway/inbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "role/gateway/lane.h"
#include "role/gateway/request.h"
#include "role/gateway/steer.h"

#define SPARE 4096u /* more than the connections of one pass */

enum err
inbox_open(struct inbox *box, uint32_t holds_max)
{
    uint64_t size = 1;

    while (size < (uint64_t)holds_max + SPARE)
        size *= 2;
    box->entries = calloc(size, sizeof(struct inbox_entry));
    if (box->entries == NULL)
        return ERR_MEMORY;
    box->mask = size - 1;
    for (uint64_t i = 0; i < size; i++)
        atomic_init(&box->entries[i].turn, i);
    return ERR_OK;
}

void
inbox_close(struct inbox *box)
{
    struct inbox_entry left;

    if (box->entries == NULL)
        return;
    while (inbox_take(box, &left))
        free(left.decision);
    free(box->entries);
    box->entries = NULL;
}

bool
inbox_take(struct inbox *box, struct inbox_entry *ret_entry)
{
    struct inbox_entry *e = &box->entries[box->head & box->mask];

    if (atomic_load_explicit(&e->turn, memory_order_acquire) != box->head + 1)
        return false;
    ret_entry->now_ns = e->now_ns;
    ret_entry->action = e->action;
    ret_entry->decision = e->decision;
    atomic_store_explicit(&e->turn, box->head + box->mask + 1, memory_order_release);
    box->head++;
    return true;
}

static void
on_post(struct loop_post *post)
{
    struct inbox *box = CONTAINER_OF(post, struct inbox, post);
    struct lane *lane = CONTAINER_OF(box, struct lane, inbox);
    struct inbox_entry entry;

    atomic_exchange(&box->asked, false);
    while (inbox_take(box, &entry)) {
        request_resume(lane, &entry);
        free(entry.decision);
    }
}

static void
put(struct lane *lane, uint64_t now_ns, const struct action *action, struct decision *decision)
{
    struct inbox *box = &lane->inbox;
    uint64_t at = atomic_fetch_add_explicit(&box->tail, 1, memory_order_relaxed);
    struct inbox_entry *e = &box->entries[at & box->mask];

    must(atomic_load_explicit(&e->turn, memory_order_acquire) == at);
    e->now_ns = now_ns;
    e->action = *action;
    e->decision = decision;
    atomic_store_explicit(&e->turn, at + 1, memory_order_release);
    if (!atomic_exchange(&box->asked, true))
        loop_post(lane->loop, &box->post, on_post);
}

/* A copy as long as it needs to be; NULL: no memory, and nobody will be told why. */
static struct decision *
decision_copy(const struct decision *d)
{
    size_t bytes = offsetof(struct decision, candidates) +
                   d->candidate_count * sizeof(d->candidates[0]);
    struct decision *copy = malloc(bytes);

    if (copy != NULL)
        memcpy(copy, d, bytes);
    return copy;
}

/* Every kind of action begins with the request it is about. */
_Static_assert(offsetof(struct action_dispatch, request) == 0 &&
                   offsetof(struct action_refuse, request) == 0 &&
                   offsetof(struct action_hold, request) == 0 &&
                   offsetof(struct action_cancel, request) == 0 &&
                   offsetof(struct action_plan, request) == 0,
               "action.dispatch.request is the request of any action");

void
inbox_share(struct gateway *gateway, uint64_t now_ns, const struct actions *actions, uint64_t own)
{
    for (uint32_t i = 0; i < actions->count; i++) {
        const struct action *a = &actions->list[i];
        uint64_t id = a->dispatch.request;
        bool decided = actions->decision.candidate_count > 0 && actions->decision.request == id;

        if (a->kind == ACTION_LOAD || a->kind == ACTION_UNLOAD) {
            steer_plan(gateway->steer, a);
            continue;
        }
        if (id == own || id == 0)
            continue;
        must(id >> LANE_ID_SHIFT < gateway->lane_count);
        put(&gateway->lanes[id >> LANE_ID_SHIFT], now_ns, a,
            decided ? decision_copy(&actions->decision) : NULL);
    }
}
