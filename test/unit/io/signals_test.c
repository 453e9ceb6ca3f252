/* signals_test - signals come as events of the loop, those asked for and no others. */
#include "io/signals.h"

#include <signal.h>
#include <unistd.h>

#include "base/must.h"
#include "tap.h"

struct seen {
    int count[65];
    struct signals *close; /* at the first one */
};

static void
on_signal(int number, void *user)
{
    struct seen *seen = user;

    seen->count[number]++;
    if (seen->close != NULL)
        signals_close(seen->close);
}

int
main(void)
{
    static const int numbers[] = {SIGHUP, SIGUSR1, SIGUSR2, 0};
    struct signals signals = {.fn = NULL}, other = {.fn = NULL};
    struct seen seen = {.close = NULL}, second = {.close = &other};
    struct loop *loop;

    must(loop_open(&loop) == ERR_OK);
    signals_close(&signals);
    CHECK(signals_open(&signals, loop, numbers, on_signal, &seen) == ERR_OK, "they are watched");
    must(raise(SIGHUP) == 0 && raise(SIGUSR1) == 0);
    CHECK(seen.count[SIGHUP] == 0, "nothing happens at once");
    loop_pass(loop, 0);
    CHECK(seen.count[SIGHUP] == 1 && seen.count[SIGUSR1] == 1 && seen.count[SIGUSR2] == 0,
          "each comes in the loop's next pass");
    loop_pass(loop, 0);
    CHECK(seen.count[SIGHUP] == 1, "once");
    signals_close(&signals);
    must(raise(SIGHUP) == 0);
    loop_pass(loop, 0);
    CHECK(seen.count[SIGHUP] == 1, "none after the end, and it kills nobody");

    CHECK(signals_open(&other, loop, numbers, on_signal, &second) == ERR_OK, "watched again");
    must(raise(SIGUSR2) == 0);
    loop_pass(loop, 0);
    CHECK(second.count[SIGHUP] == 1 && second.count[SIGUSR2] == 0,
          "who closes it within an event hears of no other");
    loop_close(loop);
    return tap_done();
}
