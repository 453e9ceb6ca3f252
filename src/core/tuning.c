/* tuning - defaults and ranges; see tuning.h. The ranges only keep the arithmetic finite. The
 * weights are what `make tune` found, rounded (doc/experiments-tuning.md); ext, whose trade it
 * found to be even, is what a tenth of the tail pays for. How many candidates
 * there are is bought with time, hedging with work, and old news have a page in doc/decisions. */
#include "core/tuning.h"

#include <stddef.h>

const struct event_tuning tuning_default = {
    .done_part = 0.1f,
    .ext_part = 0.06f,
    .late_factor = 13.0f,
    .soft_first_ms = 660.0f,
    .queue_part = 0.0f, /* it gains nothing: doc/experiments.md, E4 */
    .kv_ms = 2200.0f,
    .kv_from = 0.67f,
    .temperature = 0.14f,
    .stick_ms = 380.0f,
    .hedge_part = 0.02f,
    .hedge_load_max = 0.9f,
    .class_part = 0.8f,
    .class_queue_ms = 10.0f,
    .fresh_ms = 2000.0f,
    .stale_ms = 5000.0f,
    .own_region_max = 4, /* doc/decisions/candidates.md */
    .elsewhere_max = 4,
    .own_region_old_max = 3,
    .elsewhere_old_max = 3,
};

struct range {
    uint16_t offset;
    float max;
};

static const struct range ranges[] = {
    {offsetof(struct event_tuning, done_part), 10.0f},
    {offsetof(struct event_tuning, ext_part), 10.0f},
    {offsetof(struct event_tuning, late_factor), 1000.0f},
    {offsetof(struct event_tuning, soft_first_ms), 1e6f},
    {offsetof(struct event_tuning, queue_part), 100.0f},
    {offsetof(struct event_tuning, kv_ms), 1e6f},
    {offsetof(struct event_tuning, kv_from), 0.99f},
    {offsetof(struct event_tuning, temperature), 100.0f},
    {offsetof(struct event_tuning, stick_ms), 1e6f},
    {offsetof(struct event_tuning, hedge_part), 1.0f},
    {offsetof(struct event_tuning, hedge_load_max), 10.0f},
    {offsetof(struct event_tuning, class_part), 1.0f},
    {offsetof(struct event_tuning, class_queue_ms), 1e6f},
    {offsetof(struct event_tuning, fresh_ms), 1e7f},
    {offsetof(struct event_tuning, stale_ms), 1e7f},
};

static uint16_t
count_settle(uint16_t count, uint16_t other)
{
    return count >= 1 && count <= TUNING_CANDIDATES_MAX ? count : other;
}

void
tuning_settle(const struct event_tuning *from, struct event_tuning *ret_tuning)
{
    struct event_tuning t = *from;

    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        float *value = (float *)(void *)((char *)&t + ranges[i].offset);
        if (!(*value >= 0.0f && *value <= ranges[i].max))
            *value = *(const float *)(const void *)((const char *)&tuning_default +
                                                    ranges[i].offset);
    }
    t.own_region_max = count_settle(t.own_region_max, tuning_default.own_region_max);
    t.elsewhere_max = count_settle(t.elsewhere_max, tuning_default.elsewhere_max);
    t.own_region_old_max = count_settle(t.own_region_old_max, tuning_default.own_region_old_max);
    t.elsewhere_old_max = count_settle(t.elsewhere_old_max, tuning_default.elsewhere_old_max);
    *ret_tuning = t;
}
