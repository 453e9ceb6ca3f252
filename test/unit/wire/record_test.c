/* record_test - every kind of event survives its bytes; a file is read back as written; what is cut
 * or foreign is refused; and a recorded run replayed gives the same actions. */
#include "wire/record.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "base/rng.h"
#include "tap.h"

static void
test_events(void)
{
    unsigned char bytes[RECORD_EVENT_BYTES_MAX], again[RECORD_EVENT_BYTES_MAX];
    struct rng rng;

    rng_init(&rng, 5);
    for (uint32_t kind = 0; kind < EVENT_KIND_COUNT; kind++) {
        struct event event, decoded;
        size_t n, used = 0;
        unsigned char noise[sizeof(event)];
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = (unsigned char)rng_below(&rng, 120); /* no NAN among the floats */
        memcpy(&event, noise, sizeof(event));
        event.kind = kind;
        n = record_event_encode(&event, bytes);
        CHECK(n >= 1 && n <= RECORD_EVENT_BYTES_MAX, "an event fits its limit");
        CHECK(record_event_decode((struct span){(char *)bytes, n}, &decoded, &used) == ERR_OK &&
                  used == n,
              "its bytes are read back");
        CHECK(record_event_encode(&decoded, again) == n && memcmp(bytes, again, n) == 0,
              "and written again are the same");
        for (size_t cut = 0; cut < n; cut++)
            CHECK(record_event_decode((struct span){(char *)bytes, cut}, &decoded, &used) ==
                      ERR_AGAIN,
                  "a cut event wants more");
    }
    bytes[0] = EVENT_KIND_COUNT;
    CHECK(record_event_decode((struct span){(char *)bytes, 60}, &(struct event){0}, &(size_t){0}) ==
              ERR_PARSE,
          "an unknown kind is refused");
}

static void
test_nan(void)
{
    struct event event = {.kind = EVENT_RTT, .rtt = {.node = 1}};
    unsigned char one[RECORD_EVENT_BYTES_MAX], two[RECORD_EVENT_BYTES_MAX];
    uint32_t odd = 0xffc12345u;
    size_t n;

    event.rtt.rtt_ms = NAN;
    n = record_event_encode(&event, one);
    memcpy(&event.rtt.rtt_ms, &odd, 4);
    CHECK(record_event_encode(&event, two) == n && memcmp(one, two, n) == 0, "one NAN only");
}

static const struct record_head head = {
    .config = {.seed = 3,
               .nodes_max = 8,
               .models_max = 2,
               .regions_max = 4,
               .classes_max = 2,
               .placements_max = 16,
               .requests_max = 64},
    .build = {"test", 4},
    .config_text = {"region: here\n", 13},
};

static void
test_head(void)
{
    unsigned char bytes[RECORD_HEAD_FIXED_BYTES + 64];
    struct record_head read;
    size_t n = record_head_encode(&head, bytes), used = 0;
    struct span whole = {(char *)bytes, n};

    CHECK(n <= RECORD_HEAD_FIXED_BYTES + 17, "the head fits its limit");
    CHECK(record_head_decode(whole, &read, &used) == ERR_OK && used == n, "the head is read");
    CHECK(memcmp(&read.config, &head.config, sizeof(read.config)) == 0 &&
              span_eq(read.config_text, head.config_text),
          "as it was");
    CHECK(record_head_decode((struct span){whole.data, n - 1}, &read, &used) == ERR_AGAIN,
          "a cut head wants more");
    bytes[8]++;
    CHECK(record_head_decode(whole, &read, &used) == ERR_UNSUPPORTED, "another format");
    bytes[0] = 'X';
    CHECK(record_head_decode(whole, &read, &used) == ERR_PARSE, "no record at all");
}

static void
test_entry(void)
{
    unsigned char bytes[RECORD_ENTRY_BYTES_MAX];
    struct record_entry entry = {.now_ns = 42,
                                 .event = {.kind = EVENT_STARTED,
                                           .started = {.request = 9, .attempt = 2}},
                                 .actions = {"\0\0", 2}},
                        read;
    size_t n = record_entry_encode(&entry, bytes), used = 0;

    CHECK(record_entry_decode((struct span){(char *)bytes, n}, &read, &used) == ERR_OK &&
              used == n && read.now_ns == 42 && read.event.started.request == 9 &&
              span_eq(read.actions, entry.actions) && read.end == RECORD_END_NONE,
          "an entry is read as written");
    CHECK(record_entry_decode((struct span){(char *)bytes, n - 1}, &read, &used) == ERR_AGAIN,
          "a cut entry wants more");
    entry = (struct record_entry){.end = RECORD_END_RING_FULL};
    n = record_entry_encode(&entry, bytes);
    CHECK(record_entry_decode((struct span){(char *)bytes, n}, &read, &used) == ERR_OK &&
              read.end == RECORD_END_RING_FULL,
          "an end says why");
    bytes[12] = 77;
    CHECK(record_entry_decode((struct span){(char *)bytes, n}, &read, &used) == ERR_PARSE,
          "an unknown end is refused");
}

/* Random events through two cores of the same seed: the same bytes come out. */
static void
test_same_actions(void)
{
    size_t memory_bytes = core_bytes(&head.config);
    void *memory[2];
    struct core *core[2];
    struct rng rng;
    int different = 0, dispatched = 0;

    rng_init(&rng, 17);
    for (int k = 0; k < 2; k++) {
        memory[k] = aligned_alloc(64, memory_bytes);
        must(memory[k] != NULL);
        memset(memory[k], 0, memory_bytes);
        must(core_init(memory[k], memory_bytes, &head.config, &core[k]) == ERR_OK);
    }
    for (uint64_t i = 1; i < 4000; i++) {
        struct event event = {.kind = 1 + (uint32_t)rng_below(&rng, EVENT_KIND_COUNT - 1)};
        unsigned char out[2][RECORD_ACTIONS_BYTES_MAX];
        size_t n[2];
        event.arrived.request = i; /* also the node of the news, by its low half */
        if (event.kind == EVENT_NODE || event.kind == EVENT_MODEL || event.kind == EVENT_RTT)
            event.node.node = (uint32_t)rng_below(&rng, 8);
        if (event.kind == EVENT_NODE)
            event.node.epoch = 1, event.node.rtt_ms = 5.0f;
        if (event.kind == EVENT_MODEL)
            event.model.model = 0, event.model.state = MODEL_READY;
        if (event.kind == EVENT_ARRIVED)
            event.arrived.prompt_bytes = 900, event.arrived.only_node = NODE_ANY;
        if (event.kind >= EVENT_DISPATCHED && event.kind <= EVENT_FAILED)
            event.started.request = i - rng_below(&rng, 6), event.started.attempt = 1;
        for (int k = 0; k < 2; k++) {
            struct actions actions;
            memset(&actions, k == 0 ? 0x00 : 0xff, sizeof(actions)); /* old bytes must not show */
            core_step(core[k], i * 1000000u, &event, &actions);
            dispatched += actions.count > 0 && actions.list[0].kind == ACTION_DISPATCH;
            n[k] = record_actions_encode(&actions, out[k]);
        }
        different += n[0] != n[1] || memcmp(out[0], out[1], n[0]) != 0;
    }
    CHECK(dispatched > 100, "the run decides something");
    CHECK(different == 0, "the same events give the same bytes");
    free(memory[0]);
    free(memory[1]);
}

int
main(void)
{
    test_events();
    test_nan();
    test_head();
    test_entry();
    test_same_actions();
    return tap_done();
}
