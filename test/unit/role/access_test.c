/* access_test - keys, their limits, and counters that outlive a reload. */
#include <pthread.h>
#include <stdio.h>

#include "base/must.h"
#include "role/access.h"
#include "tap.h"

#define MINUTE_NS BUCKET_MINUTE_NS
#define SECOND_NS 1000000000u
#define EXPIRES_S 5000u

static struct arena arena;

/* Keys sk-0 (limits), sk-1 (none of its own), sk-2 (expires). */
static void
make(struct access *a, bool open, uint64_t tokens_max, const struct access *previous)
{
    static const char *const texts[] = {"sk-0", "sk-1", "sk-2"};
    struct keys keys;
    struct config_problems problems;
    char yaml[1024] = "keys:\n";
    struct key_entry entries[] = {
        {.name = SPAN_LIT("limited"),
         .concurrency_max = 2,
         .requests_per_minute_max = 6,
         .tokens_per_minute_max = tokens_max,
         .priority = PRIORITY_LOW,
         .best = PRIORITY_LOW},
        {.name = SPAN_LIT("free"),
         .priority = PRIORITY_NORMAL,
         .best = PRIORITY_HIGH,
         .preferences = KEY_PREFERENCES_ALL},
        {.name = SPAN_LIT("over"),
         .priority = PRIORITY_NORMAL,
         .best = PRIORITY_NORMAL,
         .expires_s = EXPIRES_S},
    };

    for (size_t i = 0; i < 3; i++) {
        struct span line;

        keys_sha256(span_of(texts[i]), entries[i].sha256);
        must(keys_line(&entries[i], &arena, &line) == ERR_OK);
        memcpy(yaml + strlen(yaml), line.data, line.bytes);
    }
    must(keys_parse(span_of(yaml), &arena, &keys, &problems) == ERR_OK);
    must(access_init(a, &keys, open, previous, &arena) == ERR_OK);
}

static enum access_verdict
enter(const struct access *a, const char *name, const char *value, struct access_time time,
      struct access_grant *grant)
{
    const struct http_header header = {span_of(name), span_of(value)};
    const struct http_request request = {.headers = &header, .header_count = 1};

    return access_enter(a, &request, time, grant);
}

static enum access_verdict
come(const struct access *a, const char *key, uint64_t now_ns, struct access_grant *grant)
{
    return enter(a, "x-api-key", key, (struct access_time){now_ns, 0}, grant);
}

static const struct {
    const char *label, *name, *value;
    uint64_t wall_s;
    enum access_verdict verdict;
} rows[] = {
    {"bearer", "Authorization", "Bearer sk-1", 0, ACCESS_GRANTED},
    {"any case", "authorization", "bearer sk-1", 0, ACCESS_GRANTED},
    {"x-api-key", "X-Api-Key", "sk-1", 0, ACCESS_GRANTED},
    {"none", "accept", "*/*", 0, ACCESS_NO_KEY},
    {"empty bearer", "authorization", "Bearer ", 0, ACCESS_NO_KEY},
    {"another scheme", "authorization", "Basic sk-1", 0, ACCESS_NO_KEY},
    {"wrong", "authorization", "Bearer sk-3", 0, ACCESS_UNKNOWN_KEY},
    {"a prefix", "authorization", "Bearer sk-", 0, ACCESS_UNKNOWN_KEY},
    {"not yet over", "x-api-key", "sk-2", EXPIRES_S - 1, ACCESS_GRANTED},
    {"over", "x-api-key", "sk-2", EXPIRES_S, ACCESS_EXPIRED},
};

static void
check_who(const struct access *a)
{
    struct access_grant grant;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK(enter(a, rows[i].name, rows[i].value, (struct access_time){0, rows[i].wall_s},
                    &grant) == rows[i].verdict,
              rows[i].label);
        CHECK((grant.usage != NULL) == (rows[i].verdict == ACCESS_GRANTED), rows[i].label);
        access_leave(&grant, 0, 0, 0);
    }
    CHECK(come(a, "sk-1", 0, &grant) == ACCESS_GRANTED &&
              access_take(&grant, UINT64_MAX, UINT64_MAX, 0) == ACCESS_GRANTED,
          "no limit is no limit");
    CHECK(grant.priority == PRIORITY_NORMAL && grant.best == PRIORITY_HIGH &&
              grant.preferences == KEY_PREFERENCES_ALL,
          "what the key may claim");
    CHECK(access_requests(&grant, 0).left == 0 && access_tokens(&grant, 0).left == 0,
          "and nothing to tell of limits");
    access_leave(&grant, 0, 0, 0);
}

/* Who was admitted by its key need not be hashed again; but it is asked again whether it may. */
static void
check_admitted(const struct access *a)
{
    const struct http_header header = {SPAN_LIT("x-api-key"), SPAN_LIT("sk-2")};
    struct http_request request = {.headers = &header, .header_count = 1};
    struct access none = {.open = false};
    struct access_grant first, again;

    CHECK(access_who(a, &request, 0, &first) == ACCESS_GRANTED, "admitted");
    request.share = access_share(a, &first);
    CHECK(access_enter(a, &request, (struct access_time){0, 0}, &again) == ACCESS_GRANTED &&
              again.key == first.key && again.key_id == first.key_id,
          "it is the same one that enters");
    access_leave(&again, 0, 0, 0);
    CHECK(access_who(a, &request, EXPIRES_S, &again) == ACCESS_EXPIRED, "not when it is over");
    CHECK(access_who(&none, &request, 0, &again) == ACCESS_UNKNOWN_KEY,
          "nor when a reload took the key away");
    request.share->release(request.share);
}

static void
check_at_once(const struct access *a)
{
    struct access_grant one, two, three;
    struct access next;

    CHECK(come(a, "sk-0", 0, &one) == ACCESS_GRANTED, "one");
    CHECK(one.priority == PRIORITY_LOW && one.best == PRIORITY_LOW && one.preferences == 0,
          "the key's class, no higher");
    CHECK(come(a, "sk-0", 0, &two) == ACCESS_GRANTED, "two at once");
    CHECK(come(a, "sk-0", 0, &three) == ACCESS_CONCURRENCY, "three are too many");
    CHECK(three.limit == 2 && three.usage == NULL, "it says how many may");
    CHECK(access_requests(&one, 0).left == 4, "who was refused was not counted");
    make(&next, false, 1000, a); /* a reload meanwhile */
    CHECK(come(&next, "sk-0", 0, &three) == ACCESS_CONCURRENCY, "who is in counts after a reload");
    access_leave(&one, 0, 0, 1);
    CHECK(come(&next, "sk-0", 1, &one) == ACCESS_GRANTED, "one left, one comes");
    CHECK(access_requests(&one, 1).left == 3, "and the minute goes on, too");
    access_leave(&one, 0, 0, 1);
    access_leave(&two, 0, 0, 1);
    access_fini(&next);
}

static void
check_requests(const struct access *a, uint64_t now_ns)
{
    struct access_grant grant;

    for (unsigned i = 0; i < 6; i++) {
        CHECK(come(a, "sk-0", now_ns, &grant) == ACCESS_GRANTED, "six a minute");
        access_leave(&grant, 0, 0, now_ns);
    }
    CHECK(come(a, "sk-0", now_ns, &grant) == ACCESS_REQUESTS, "not seven");
    CHECK(grant.limit == 6 && grant.wait_ns == (uint64_t)10 * SECOND_NS, "it says for how long");
    CHECK(come(a, "sk-0", now_ns + grant.wait_ns, &grant) == ACCESS_GRANTED, "and it is so");
    access_cancel(&grant, now_ns);
    CHECK(come(a, "sk-0", now_ns + (uint64_t)10 * SECOND_NS, &grant) == ACCESS_GRANTED,
          "one that was taken back counts as none");
    access_leave(&grant, 0, 0, now_ns);
}

static void
check_tokens(const struct access *a, uint64_t now_ns)
{
    struct access_grant one, two;
    struct access next;

    CHECK(come(a, "sk-0", now_ns, &one) == ACCESS_GRANTED &&
              access_take(&one, 100, 600, now_ns) == ACCESS_GRANTED,
          "as many as it may need are taken");
    CHECK(access_tokens(&one, now_ns).left == 300, "and are gone at once");
    CHECK(come(a, "sk-0", now_ns, &two) == ACCESS_GRANTED &&
              access_take(&two, 100, 201, now_ns) == ACCESS_TOKENS,
          "more than are left");
    CHECK(two.limit == 1000 && two.wait_ns == SECOND_NS / 1000 * 60, "for how long, again");
    access_cancel(&two, now_ns);
    access_leave(&one, 100, 50, now_ns); /* 850 left */
    CHECK(come(a, "sk-0", now_ns, &one) == ACCESS_GRANTED &&
              access_take(&one, 10, 840, now_ns) == ACCESS_GRANTED,
          "what was not used is there again");
    access_leave(&one, 10, 1840, now_ns); /* an engine that does not stop: 1000 are owed */
    CHECK(come(a, "sk-0", now_ns, &one) == ACCESS_GRANTED &&
              access_take(&one, 1, 1, now_ns) == ACCESS_TOKENS && one.wait_ns > MINUTE_NS &&
              one.wait_ns < MINUTE_NS + SECOND_NS,
          "what was too little is owed");
    access_cancel(&one, now_ns);
    make(&next, false, 2000, a);
    now_ns += (uint64_t)3 * MINUTE_NS / 2;
    CHECK(come(&next, "sk-0", now_ns, &one) == ACCESS_GRANTED &&
              access_take(&one, 500, 500, now_ns) == ACCESS_GRANTED,
          "a reload changes the limit and keeps the count");
    CHECK(access_tokens(&one, now_ns).left <= 1, "half a minute of it had come back");
    access_leave(&one, 0, 0, now_ns);
    access_fini(&next);
}

static void
check_learned(const struct access *a, uint64_t now_ns)
{
    struct access_grant grant;

    for (unsigned i = 0; i < 200; i++, now_ns += MINUTE_NS) {
        must(come(a, "sk-0", now_ns, &grant) == ACCESS_GRANTED);
        must(access_take(&grant, 0, 0, now_ns) == ACCESS_GRANTED);
        access_leave(&grant, 0, 40, now_ns);
    }
    CHECK(come(a, "sk-0", now_ns, &grant) == ACCESS_GRANTED &&
              access_take(&grant, 5, 0, now_ns) == ACCESS_GRANTED && grant.tokens >= 45 &&
              grant.tokens <= 53,
          "without a limit of the client's, as many as answers had");
    access_leave(&grant, 0, 0, now_ns);
}

/* ---- Threads: what they are let in together is what one would be. */

#define THREADS 4

static struct access shared;
static _Atomic uint64_t let_in;

static void *
client(void *argument)
{
    struct access_grant grant;

    (void)argument;
    for (uint64_t now_ns = 0; now_ns <= (uint64_t)5 * MINUTE_NS; now_ns += SECOND_NS / 10) {
        if (come(&shared, "sk-0", now_ns, &grant) != ACCESS_GRANTED)
            continue;
        let_in++;
        access_leave(&grant, 0, 0, now_ns);
    }
    return NULL;
}

static void
check_threads(void)
{
    pthread_t threads[THREADS];

    make(&shared, false, 1000, NULL);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, client, NULL) == 0, "a thread");
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK(let_in > 0 && let_in <= 6 + 5 * 6, "no thread gets a limit of its own");
    access_fini(&shared);
}

int
main(void)
{
    struct access a;
    struct access_grant one;

    arena_init(&arena, 4 << 20);
    make(&a, false, 1000, NULL);
    check_who(&a);
    check_admitted(&a);
    check_at_once(&a);
    check_requests(&a, (uint64_t)2 * MINUTE_NS);
    check_tokens(&a, (uint64_t)5 * MINUTE_NS);
    check_learned(&a, (uint64_t)9 * MINUTE_NS);
    access_fini(&a);
    check_threads();
    make(&a, true, 1000, NULL);
    CHECK(enter(&a, "accept", "*/*", (struct access_time){0, 0}, &one) == ACCESS_GRANTED &&
              one.usage == NULL && one.key == NULL,
          "auth: none lets everybody in");
    CHECK(one.priority == PRIORITY_NORMAL && one.best == PRIORITY_HIGH &&
              one.preferences == KEY_PREFERENCES_ALL,
          "and say themselves how urgent it is");
    access_fini(&a);
    arena_fini(&arena);
    return tap_done();
}
