#ifndef TEST_TAP_H
#define TEST_TAP_H
/* tap - Test Anything Protocol for unit tests: CHECK(condition, label) and tap_done().
 * Every CHECK is one line of TAP and counts as one test; the plan stands at the end. A failure also
 * names the file, the line and the condition. In a loop over a large grid keep the worst value and
 * CHECK that once. Each line is flushed: a crash loses none, and what is forked says none again. */
#include <stdio.h>
#include <stdlib.h>

static int tap_count, tap_failed;

__attribute__((unused)) static void
tap_check(int good, const char *label, const char *what, const char *file, int line)
{
    tap_count++;
    if (good) {
        printf("ok %d - %s\n", tap_count, label);
    } else {
        tap_failed++;
        printf("not ok %d - %s\n# %s:%d: %s\n", tap_count, label, file, line, what);
    }
    fflush(stdout);
}

#define CHECK(condition, label) tap_check(!!(condition), (label), #condition, __FILE__, __LINE__)

/* Skip the whole program with a reason. */
__attribute__((unused)) static int
tap_skip(const char *why)
{
    printf("1..0 # SKIP %s\n", why);
    return 0;
}

__attribute__((unused)) static int
tap_done(void)
{
    printf("1..%d\n", tap_count);
    return tap_failed == 0 ? 0 : 1;
}
#endif
