/* rtt_test - both shapes of a measured matrix, files that are wrong, and the built-in globe against
 * round trips that are well known. */
#include "wire/rtt.h"

#include <math.h>

#include "tap.h"

#define ARENA_BYTES (8u << 20)

/* One row: a file, and one look-up in it. */
static const struct {
    const char *label, *csv, *from, *to;
    double ms; /* below 0: unknown */
} good[] = {
    {"a list", "from,to,ms\na,b,10.5\n", "a", "b", 10.5},
    {"the other direction is taken", "from,to,ms\na,b,10.5\n", "b", "a", 10.5},
    {"each direction its own", "from,to,ms\na,b,10.5\nb,a,12\n", "b", "a", 12},
    {"the diagonal is 1 ms", "from,to,ms\na,b,10.5\n", "b", "b", 1},
    {"the diagonal as measured", "from,to,ms\na,a,0.4\n", "a", "a", 0.4},
    {"a colon becomes a dash", "src,dst,rtt\naws:eu-west-1,gcp:x-a,7\n", "aws-eu-west-1", "gcp-x-a",
     7},
    {"of several columns the first known",
     "src_region,dst_region,min_rtt,avg_rtt,max_rtt\na,b,1,2,3\n", "a", "b", 2},
    {"columns in any order and case", "RTT_ms,n,To,From\n7,1,b,a\n", "a", "b", 7},
    {"quotes, spaces, CR and comments", "# x\r\nfrom,to,ms\r\n\r\n \"a\" , b , 3 \r\n", "a", "b",
     3},
    {"no line end", "from,to,ms\na,b,3", "a", "b", 3},
    {"of a pair given twice the last", "from,to,ms\na,b,3\na,b,4\n", "a", "b", 4},
    {"unknown cells", "from,to,ms\na,b,\na,c,NaN\nb,c,-\n", "a", "b", -1},
    {"an unknown region", "from,to,ms\na,b,3\n", "a", "z", -1},
    {"a square", ",a,b\na,0,5\nb,6,0\n", "b", "a", 6},
    {"a square's diagonal", ",a,b\na,,5\nb,6,\n", "b", "b", 1},
    {"a square with empty cells at the end", ",a,b\na,0,\nb,6,0\n", "a", "b", 6},
    {"rows in another order", "x,a,b\nb,6,0\na,0,5\n", "a", "b", 5},
    {"half a square", ",a,b,c\na,0,5,9\n", "c", "a", 9},
};

static const struct {
    const char *label, *csv;
    uint32_t line;
    const char *words; /* somewhere in the message */
} bad[] = {
    {"nothing", "", 0, "empty"},
    {"only comments", "# a\n\n", 2, "empty"},
    {"no number", "from,to,ms\na,b,1\na,b,fast\n", 3, "`fast`"},
    {"below zero", "from,to,ms\na,b,-1\n", 2, "`-1`"},
    {"too large", "from,to,ms\na,b,1e9\n", 2, "`1e9`"},
    {"a name of other characters", "from,to,ms\nEU West,b,1\n", 2, "`EU West`"},
    {"no name", "from,to,ms\n,b,1\n", 2, "1 to 63"},
    {"too few cells", ",a,b\na,1\n", 2, "1 cells"},
    {"too many cells", ",a,b\na,1,2,3\n", 2, "more than the 2"},
    {"a region twice", ",a,a\na,1,2\n", 1, "two columns"},
    {"one column", "hello\n", 1, "from, to"},
    {"only a head", "from,to,ms\n", 1, "no region"},
};

/* Great circles against what people measure, wide bounds. */
static const struct {
    const char *from, *to;
    float low_ms, high_ms;
} known[] = {
    {"us-east", "us-west", 55.0f, 75.0f},        {"us-east", "uk-south", 70.0f, 100.0f},
    {"eu-west", "eu-central", 15.0f, 30.0f},     {"us-west", "ap-northeast", 100.0f, 140.0f},
    {"sa-east", "ap-northeast", 240.0f, 300.0f}, {"eu-central", "ap-southeast", 140.0f, 180.0f},
    {"eu-west", "eu-west", 1.0f, 1.0f},
};

static void
check_good(size_t i)
{
    struct arena arena;
    struct rtt_matrix m;
    struct rtt_error error;
    float ms;

    arena_init(&arena, ARENA_BYTES);
    CHECK(rtt_parse(span_of(good[i].csv), &arena, &m, &error) == ERR_OK, good[i].label);
    ms = rtt_ms(&m, span_of(good[i].from), span_of(good[i].to));
    CHECK(good[i].ms < 0.0 ? isnan(ms) : ms == (float)good[i].ms, good[i].label);
    arena_fini(&arena);
}

static void
check_bad(size_t i)
{
    struct arena arena;
    struct rtt_matrix m = {NULL, 7, NULL};
    struct rtt_error error = {99, ""};

    arena_init(&arena, ARENA_BYTES);
    CHECK(rtt_parse(span_of(bad[i].csv), &arena, &m, &error) == ERR_PARSE, bad[i].label);
    CHECK(error.line == bad[i].line, bad[i].label);
    CHECK(strstr(error.message, bad[i].words) != NULL, bad[i].label);
    CHECK(m.count == 7, "an error leaves the matrix alone");
    arena_fini(&arena);
}

static void
check_builtin(void)
{
    struct arena arena;
    struct rtt_matrix m;
    uint32_t wrong = 0;

    arena_init(&arena, ARENA_BYTES);
    CHECK(rtt_builtin(&arena, &m) == ERR_OK && m.count >= 24, "the built-in regions");
    CHECK(rtt_place_at(m.count - 1) != NULL && rtt_place_at(m.count) == NULL, "one by one");
    for (uint32_t from = 0; from < m.count; from++) {
        for (uint32_t to = 0; to < m.count; to++) {
            float ms = m.ms[from * m.count + to];

            wrong += !(ms >= 1.0f && ms <= 310.0f) || ms != m.ms[to * m.count + from];
            wrong += from != to && span_eq(m.names[from], m.names[to]);
        }
    }
    CHECK(wrong == 0, "all pairs are symmetric, in range, and no name stands twice");
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        float ms = rtt_ms(&m, span_of(known[i].from), span_of(known[i].to));

        CHECK(ms >= known[i].low_ms && ms <= known[i].high_ms, known[i].to);
    }
    arena_fini(&arena);
}

static void
check_limits(void)
{
    static char csv[RTT_REGIONS_MAX * 8 + 64];
    struct arena arena;
    struct rtt_matrix m;
    struct rtt_error error;
    size_t bytes = (size_t)snprintf(csv, sizeof(csv), "corner");

    for (uint32_t i = 0; i <= RTT_REGIONS_MAX; i++) {
        arena_init(&arena, ARENA_BYTES);
        if (i == RTT_REGIONS_MAX)
            CHECK(rtt_parse((struct span){csv, bytes}, &arena, &m, &error) == ERR_OK &&
                      m.count == RTT_REGIONS_MAX,
                  "as many regions as allowed");
        bytes += (size_t)snprintf(csv + bytes, sizeof(csv) - bytes, ",r%u", i);
        arena_fini(&arena);
    }
    arena_init(&arena, ARENA_BYTES);
    CHECK(rtt_parse((struct span){csv, bytes}, &arena, &m, &error) == ERR_FULL, "and one more");
    arena_fini(&arena);
    arena_init(&arena, 12000);
    CHECK(rtt_parse(SPAN_LIT("from,to,ms\na,b,1\n"), &arena, &m, &error) == ERR_OK,
          "a small arena");
    CHECK(rtt_builtin(&arena, &m) == ERR_FULL, "is full in the end");
    arena_fini(&arena);
}

int
main(void)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        check_good(i);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check_bad(i);
    check_builtin();
    check_limits();
    return tap_done();
}
