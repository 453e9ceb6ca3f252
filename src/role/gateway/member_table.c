/* member_table - see member_table.h. Open addressing over a dense list: the list is walked when
 * membership changes, the slots are probed for each message. */
#include "role/gateway/member_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/prefetch.h"

#define MASK (MEMBER_TABLE_SLOTS - 1)

static uint32_t
home_of(const struct member_table *t, struct span name)
{
    return (uint32_t)hash_span(t->key, name) & MASK;
}

/* The slot of this name, or the free one where it belongs. */
static uint32_t
slot_of(const struct member_table *t, struct span name)
{
    uint32_t at = home_of(t, name);

    while (t->slots[at] != 0 && !span_eq_text(name, t->list[t->slots[at] - 1]->name))
        at = (at + 1) & MASK;
    return at;
}

struct member *
member_find(const struct member_table *t, struct span name)
{
    uint32_t entry = t->slots[slot_of(t, name)];

    return entry != 0 ? t->list[entry - 1] : NULL;
}

void
member_expect(const struct member_table *t, struct span name)
{
    uint32_t entry = t->slots[home_of(t, name)]; /* mostly it; else nothing is lost */

    if (entry != 0)
        prefetch(t->list[entry - 1], sizeof(struct member));
}

struct member *
member_add(struct member_table *t, struct span name)
{
    struct member *m = t->count < MEMBERS_MAX ? calloc(1, sizeof(*m)) : NULL;

    if (m == NULL)
        return NULL;
    span_copy(name, m->name, sizeof(m->name));
    m->index = MEMBER_NO_INDEX;
    STAILQ_INIT(&m->pages);
    t->slots[slot_of(t, name)] = t->count + 1;
    t->list[t->count++] = m;
    return m;
}

void
member_drop_changes(struct member_changes *changes)
{
    struct member_change *c;

    while ((c = STAILQ_FIRST(changes)) != NULL) {
        STAILQ_REMOVE_HEAD(changes, link);
        free(c);
    }
}

static void
member_free(struct member *m)
{
    roster_member_unref(m->node);
    roster_member_unref(m->next);
    member_drop_changes(&m->pages);
    free(m);
}

/* Take out a slot, and let those behind it that wanted to be nearer to their home move up. */
static void
slot_remove(struct member_table *t, uint32_t hole)
{
    for (uint32_t at = (hole + 1) & MASK; t->slots[at] != 0; at = (at + 1) & MASK) {
        uint32_t home = home_of(t, span_of(t->list[t->slots[at] - 1]->name));
        if (((at - home) & MASK) >= ((at - hole) & MASK)) {
            t->slots[hole] = t->slots[at];
            hole = at;
        }
    }
    t->slots[hole] = 0;
}

void
member_remove(struct member_table *t, struct member *member)
{
    uint32_t slot = slot_of(t, span_of(member->name)), place = t->slots[slot] - 1;
    struct member *last = t->list[t->count - 1];

    slot_remove(t, slot);
    if (last != member) { /* it takes the place in the list */
        t->slots[slot_of(t, span_of(last->name))] = place + 1;
        t->list[place] = last;
    }
    t->count--;
    member_free(member);
}

void
member_table_clear(struct member_table *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        member_free(t->list[i]);
    t->count = 0;
    memset(t->slots, 0, sizeof(t->slots));
}
