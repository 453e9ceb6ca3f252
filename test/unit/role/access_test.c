/* access_test - keys, their limits, and counters that outlive a reload. */
#include <stdio.h>

#include "base/must.h"
#include "role/gateway/access.h"
#include "tap.h"

#define MINUTE_NS 60000000000u

static struct arena arena;

static void
make(struct access *a, bool open, const struct access *previous)
{
    static struct key_entry list[1];
    struct keys keys = {list, 1};

    list[0] = (struct key_entry){.name = SPAN_LIT("k"),
                                 .concurrency_max = 2,
                                 .tokens_per_minute_max = 100,
                                 .priority = PRIORITY_LOW};
    keys_sha256(SPAN_LIT("sk-1"), list[0].sha256);
    must(access_init(a, &keys, open, previous, &arena) == ERR_OK);
}

static enum access_verdict
enter(const struct access *a, const char *name, const char *value, uint64_t now_ns,
      struct access_grant *grant)
{
    const struct http_header header = {span_of(name), span_of(value)};
    const struct http_request request = {.headers = &header, .header_count = 1};

    return access_enter(a, &request, now_ns, grant);
}

static const struct {
    const char *label, *name, *value;
    enum access_verdict verdict;
} rows[] = {
    {"bearer", "Authorization", "Bearer sk-1", ACCESS_GRANTED},
    {"any case", "authorization", "bearer sk-1", ACCESS_GRANTED},
    {"x-api-key", "X-Api-Key", "sk-1", ACCESS_GRANTED},
    {"none", "accept", "*/*", ACCESS_NO_KEY},
    {"empty bearer", "authorization", "Bearer ", ACCESS_NO_KEY},
    {"another scheme", "authorization", "Basic sk-1", ACCESS_NO_KEY},
    {"wrong", "authorization", "Bearer sk-2", ACCESS_UNKNOWN_KEY},
    {"a prefix", "authorization", "Bearer sk-", ACCESS_UNKNOWN_KEY},
};

int
main(void)
{
    struct access a, next;
    struct access_grant one, two, three;

    arena_init(&arena, 1 << 20);
    make(&a, false, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK(enter(&a, rows[i].name, rows[i].value, 0, &one) == rows[i].verdict, rows[i].label);
        CHECK((one.usage != NULL) == (rows[i].verdict == ACCESS_GRANTED), rows[i].label);
        access_leave(&one, 0, 0);
    }
    CHECK(enter(&a, "x-api-key", "sk-1", 0, &one) == ACCESS_GRANTED, "one");
    CHECK(enter(&a, "x-api-key", "sk-1", 0, &two) == ACCESS_GRANTED, "two at once");
    CHECK(enter(&a, "x-api-key", "sk-1", 0, &three) == ACCESS_CONCURRENCY, "three are too many");
    CHECK(three.limit == 2, "it says how many may");
    CHECK(one.priority == PRIORITY_LOW && one.best == PRIORITY_LOW, "the key's class, no higher");
    make(&next, false, &a); /* a reload meanwhile */
    CHECK(enter(&next, "x-api-key", "sk-1", 0, &three) == ACCESS_CONCURRENCY,
          "who is in counts after a reload");
    access_leave(&one, 60, 1);
    CHECK(enter(&next, "x-api-key", "sk-1", 1, &one) == ACCESS_GRANTED, "one left, one comes");
    access_leave(&two, 40, 2);
    CHECK(enter(&next, "x-api-key", "sk-1", MINUTE_NS / 4, &two) == ACCESS_TOKENS,
          "the tokens of this minute are used up");
    CHECK(two.wait_ns == MINUTE_NS - MINUTE_NS / 4, "it says for how long");
    CHECK(enter(&next, "x-api-key", "sk-1", MINUTE_NS, &two) == ACCESS_GRANTED, "the next minute");
    access_leave(&one, 0, MINUTE_NS);
    access_leave(&two, 0, MINUTE_NS);
    access_fini(&a);
    access_fini(&next);
    make(&a, true, NULL);
    CHECK(enter(&a, "accept", "*/*", 0, &one) == ACCESS_GRANTED && one.usage == NULL,
          "auth: none lets everybody in");
    CHECK(one.priority == PRIORITY_NORMAL && one.best == PRIORITY_HIGH,
          "and say themselves how urgent it is");
    access_fini(&a);
    arena_fini(&arena);
    return tap_done();
}
