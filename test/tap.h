#ifndef TAP_H
#define TAP_H
/* tap - Test Anything Protocol for unit tests: CHECK(condition, label) and tap_done().
 * Only failures print a line of their own while running; a test program is one `ok` a label at most
 * to keep output short: every CHECK counts, and the plan at the end says how many there were. */
#include <stdio.h>
#include <stdlib.h>

static int tap_count, tap_failed;

__attribute__((unused)) static void
tap_check(int good, const char *label, const char *what, const char *file, int line)
{
    tap_count++;
    if (good) {
        printf("ok %d - %s\n", tap_count, label);
        return;
    }
    tap_failed++;
    printf("not ok %d - %s\n# %s:%d: %s\n", tap_count, label, file, line, what);
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
