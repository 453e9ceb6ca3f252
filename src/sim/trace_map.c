/* trace_map - open addressing, at most half full; see trace_map.h. Ids are multiplied before they
 * name a slot, because those of sessions follow one another. */
#include "sim/trace_map.h"

#include <stdlib.h>

#define SIZE_FIRST 1024u
#define SPREAD     0x9E3779B97F4A7C15u

static struct trace_map_slot *
slot_of(const struct trace_map *m, uint64_t id)
{
    size_t at = (size_t)((id * SPREAD) >> 32) & (m->slot_count - 1);

    while (m->slots[at].id != 0 && m->slots[at].id != id)
        at = (at + 1) & (m->slot_count - 1);
    return &m->slots[at];
}

const uint64_t *
trace_map_get(const struct trace_map *m, uint64_t id)
{
    const struct trace_map_slot *slot;

    id += id == 0;
    if (m->slot_count == 0)
        return NULL;
    slot = slot_of(m, id);
    return slot->id == id ? &slot->value : NULL;
}

static enum err
grow(struct trace_map *m)
{
    struct trace_map larger = {.slot_count = m->slot_count == 0 ? SIZE_FIRST : m->slot_count * 2,
                               .count = m->count};

    larger.slots = calloc(larger.slot_count, sizeof(larger.slots[0]));
    if (larger.slots == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < m->slot_count; i++) {
        if (m->slots[i].id != 0)
            *slot_of(&larger, m->slots[i].id) = m->slots[i];
    }
    free(m->slots);
    *m = larger;
    return ERR_OK;
}

enum err
trace_map_put(struct trace_map *m, uint64_t id, uint64_t value, bool *ret_new)
{
    struct trace_map_slot *slot;
    bool is_new;

    if ((m->count + 1) * 2 > m->slot_count) {
        enum err err = grow(m);

        if (err != ERR_OK)
            return err;
    }
    id += id == 0;
    slot = slot_of(m, id);
    is_new = slot->id == 0;
    *slot = (struct trace_map_slot){id, value};
    m->count += is_new;
    if (ret_new != NULL)
        *ret_new = is_new;
    return ERR_OK;
}

void
trace_map_fini(struct trace_map *m)
{
    free(m->slots);
    *m = (struct trace_map){NULL, 0, 0};
}
