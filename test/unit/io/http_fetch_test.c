/* http_fetch_test - small answers, gathered: whole, cut, too long, broken off, cancelled. */
#include "io/http_fetch.h"

#include "base/must.h"
#include "http_script.h"
#include "tap.h"

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static unsigned overs;
static bool was_whole;
static enum http_failure was_why;

static void
on_over(struct http_fetch *f, bool is_whole, enum http_failure why)
{
    CHECK(f->call == NULL, "it is over when that is told");
    overs++;
    was_whole = is_whole;
    was_why = why;
}

/* One call that meets this answer. limit: of the answer's bytes; 0: none. */
static void
fetch(struct http_fetch *f, const char *text, enum after after, uint64_t limit)
{
    const struct step step = {text, after};
    const struct http_call_limits limits = {.body_bytes_max = limit};
    uint64_t until_s = 0;

    begin(&step, 1);
    overs = 0;
    must(http_fetch_start(f, target, &plain, &limits) == ERR_OK);
    while (overs == 0 && patience(&until_s))
        pass();
    finish();
}

int
main(void)
{
    char data[8];
    struct http_fetch f = {.data = data, .room = sizeof(data), .over = on_over};

    must(loop_open(&loop) == ERR_OK);
    fetch(&f, OK, STAY, 0);
    CHECK(overs == 1 && was_whole && f.status == 200 && f.bytes == 5 &&
              memcmp(data, "hello", 5) == 0,
          "an answer");
    f.room = 3;
    fetch(&f, "HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\nhello", STAY, 5);
    CHECK(overs == 1 && was_whole && f.status == 404 && f.bytes == 3,
          "one that is cut to its room");
    fetch(&f, OK, STAY, 4);
    CHECK(overs == 1 && !was_whole && was_why == HTTP_FAILED_MALFORMED && f.bytes <= 3,
          "one that is too long");
    fetch(&f, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", CLOSE, 0);
    CHECK(overs == 1 && !was_whole && was_why == HTTP_FAILED_EOF, "one that breaks off");
    http_fetch_cancel(&f);
    overs = 0;
    begin(&(const struct step){OK, STAY}, 1);
    must(http_fetch_start(&f, target, &plain, &no_limits) == ERR_OK);
    http_fetch_cancel(&f);
    for (unsigned i = 0; i < 20; i++)
        pass();
    CHECK(overs == 0 && f.call == NULL, "who cancels hears nothing more");
    finish();
    loop_close(loop);
    return tap_done();
}
