/* http_call_test - what callbacks may do, back-pressure, and the pool of kept connections. */
#include "http_script.h"
#include "tap.h"

/* ---- What callbacks may do. */

static void
test_from_callbacks(void)
{
    static const struct {
        const char *label;
        enum where where;
        enum what what;
    } rows[] = {
        {"cancel at sent", AT_SENT, CANCEL},
        {"cancel at head", AT_HEAD, CANCEL},
        {"cancel at data", AT_DATA, CANCEL},
        {"close target at sent", AT_SENT, CLOSE_TARGET},
        {"close target at head", AT_HEAD, CLOSE_TARGET},
        {"close target at data", AT_DATA, CLOSE_TARGET},
        {"close target at end", AT_END, CLOSE_TARGET},
        {"close target at failed", AT_FAILED, CLOSE_TARGET},
        {"close client at sent", AT_SENT, CLOSE_CLIENT},
        {"close client at head", AT_HEAD, CLOSE_CLIENT},
        {"close client at data", AT_DATA, CLOSE_CLIENT},
        {"close client at end", AT_END, CLOSE_CLIENT},
        {"close client at failed", AT_FAILED, CLOSE_CLIENT},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct probe p = {.where = rows[i].where, .what = rows[i].what}, other = {0};
        bool fails = rows[i].where == AT_FAILED;
        unsigned before;
        begin(&(struct step){fails ? "nonsense\r\n\r\n" : CHUNKED, STAY}, 1);
        start(&p, &plain, &no_limits);
        start(&other, &plain, &no_limits); /* answered by nobody */
        wait_for(&p);
        before = p.sent + p.heads + p.ended + p.failed + (unsigned)p.body_bytes;
        settle();
        CHECK(p.cancelled &&
                  before == p.sent + p.heads + p.ended + p.failed + (unsigned)p.body_bytes,
              rows[i].label);
        CHECK(!other.done, "the other call hears nothing");
        finish();
    }
}

static void
test_start_from_callbacks(void)
{
    static const enum where wheres[] = {AT_SENT, AT_DATA, AT_END};

    for (size_t i = 0; i < sizeof(wheres) / sizeof(wheres[0]); i++) {
        struct probe b = {0}, a = {.where = wheres[i], .what = START_ANOTHER, .another = &b};
        begin((struct step[]){{OK_TEXT, STAY}, {OK_TEXT, STAY}}, 2);
        probe_call(&a);
        wait_for(&b);
        CHECK(a.ended && b.ended && a.call != b.call, "a call starts another");
        CHECK(server.connections == (wheres[i] == AT_SENT ? 2u : 1u),
              "over the kept one, if it is");
        finish();
    }
}

static void
test_cancel_before_begin(void)
{
    struct probe p = {0};

    begin(&(struct step){OK_TEXT, STAY}, 1);
    start(&p, &plain, &no_limits);
    http_call_cancel(p.call);
    settle();
    CHECK(server.connections == 0 && !p.done && p.sent == 0, "cancelled before its turn");
    start(&p, &plain, &no_limits);
    loop_pass(loop, 0); /* connecting now */
    http_call_cancel(p.call);
    settle();
    CHECK(!p.done && p.sent == 0, "cancelled while connecting");
    finish();
}

/* ---- Back-pressure. */

/* Paused at the first data for longer than the idle limit; the rest comes after. */
static void
test_pause(void)
{
    static char text[200 + BODY_BYTES];
    const struct http_call_limits limits = {.idle_ns = 20 * MS};
    struct probe p = {.where = AT_DATA, .what = PAUSE};
    struct step step = {"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n", STAY};
    int head;

    begin(&step, 1);
    memset(text, 'z', sizeof(text) - 1);
    head = snprintf(text, sizeof(text), "%s", step.text);
    text[head] = 'z';
    text[head + 300000] = '\0';
    server.steps[0].text = text;
    start(&p, &plain, &limits);
    wait_for(&p);
    CHECK(p.ended && p.resumed && p.body_bytes == 300000, "paused, resumed, all came");
    CHECK(p.most_while_paused <= 65536, "while paused no more than one buffer comes");
    CHECK(http_target_idle(target) == 1, "and the connection is kept");
    finish();
}

/* The peer breaks off while the call is paused: not heard before it is resumed, and the loop does
 * not turn around it either. */
static void
test_pause_broken(void)
{
    struct probe p = {.where = AT_HEAD, .what = PAUSE};
    unsigned passes = 0;

    begin(&(struct step){"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", STAY}, 1);
    start(&p, &plain, &no_limits);
    while (p.heads == 0)
        pass();
    peer_close(&server.peers[0], true);
    for (; passes < 100000 && !p.resumed; passes++) {
        loop_pass(loop, 10 * MS);
        CHECK(p.resumed || !p.done, "nothing is heard while paused");
    }
    CHECK(passes < 1000, "and nothing turns");
    wait_for(&p);
    CHECK(p.failed && p.why == HTTP_FAILED_EOF, "resumed: it is found broken");
    finish();
}

/* ---- The pool. */

static void
test_pool_limit(void)
{
    static struct probe probes[HTTP_POOL_IDLE_MAX + 6];
    size_t count = sizeof(probes) / sizeof(probes[0]), ended = 0;

    memset(probes, 0, sizeof(probes));
    begin(&(struct step){OK_TEXT, STAY}, 1);
    for (size_t i = 0; i < STEPS_MAX; i++)
        server.steps[i].text = OK_TEXT;
    for (size_t i = 0; i < count; i++)
        start(&probes[i], &plain, &no_limits);
    for (size_t i = 0; i < count; i++) {
        wait_for(&probes[i]);
        ended += probes[i].ended;
    }
    CHECK(ended == count && server.connections == count, "many at once");
    CHECK(http_target_idle(target) == HTTP_POOL_IDLE_MAX, "kept up to the limit");
    finish();
}

static void
test_pool_expiry(void)
{
    struct probe p = {0};
    uint64_t until_s = 0;

    begin(&(struct step){OK_TEXT, STAY}, 1);
    probe_call(&p);
    CHECK(http_target_idle(target) == 1, "kept");
    while (http_target_idle(target) != 0 && patience(&until_s))
        loop_pass(loop, 10 * MS);
    CHECK(http_target_idle(target) == 0, "and closed when it is old");
    finish();
}

int
main(void)
{
    if (loop_open(&loop) != ERR_OK)
        return 1;
    test_from_callbacks();
    test_start_from_callbacks();
    test_cancel_before_begin();
    test_pause();
    test_pause_broken();
    test_pool_limit();
    test_pool_expiry();
    loop_close(loop);
    return tap_done();
}
