/* must - the end of a process that found itself wrong; see must.h. */
#include "base/must.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
put(const char *text)
{
    /* Nothing can be done when this write fails: abort() follows either way. */
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return;
}

void
must_failed(const char *what, const char *file, int line)
{
    char digits[12];
    size_t at = sizeof(digits) - 1;
    unsigned left = line > 0 ? (unsigned)line : 0;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    put("isochrone: this must hold and does not: ");
    put(what);
    put(" at ");
    put(file);
    put(":");
    put(digits + at);
    put("\n");
    abort();
}
