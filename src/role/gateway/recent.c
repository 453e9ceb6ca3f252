/* recent - a ring of decisions; see recent.h. */
#include "role/gateway/recent.h"

#include <math.h>
#include <string.h>

uint32_t
recent_add(struct recent *r, uint64_t request, uint64_t key_id, uint64_t now_ns,
           const struct decision *decision)
{
    uint32_t place = r->next;
    struct recent_entry *e = &r->list[place];

    r->next = (r->next + 1) % RECENT_MAX;
    e->request = request;
    e->key_id = key_id;
    e->at_ns = now_ns;
    e->attempt = decision->candidate_count > 0 ? decision->attempt : 0;
    e->refusal = REFUSAL_NONE;
    e->failure = FAILURE_NONE;
    e->overtaken = false;
    e->hold_ms = e->predicted_first_ms = e->actual_first_ms = e->actual_ms = NAN;
    memcpy(&e->decision, decision,
           offsetof(struct decision, candidates) +
               decision->candidate_count * sizeof(decision->candidates[0]));
    return place;
}

struct recent_entry *
recent_at(struct recent *r, uint32_t place, uint64_t request)
{
    return place < RECENT_MAX && r->list[place].request == request ? &r->list[place] : NULL;
}

size_t
recent_all(const struct recent *r, uint64_t request, struct recent_entry *ret_entries)
{
    size_t count = 0;

    for (uint32_t i = 0; i < RECENT_MAX && count < RECENT_EACH_MAX; i++) {
        const struct recent_entry *e = &r->list[(r->next + i) % RECENT_MAX];
        if (e->request == request)
            ret_entries[count++] = *e;
    }
    return count;
}
