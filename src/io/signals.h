#ifndef IO_SIGNALS_H
#define IO_SIGNALS_H
/* signals - signals as events of a loop. They are blocked in the thread that opens this and in all
 * that it starts from then on, and read from a descriptor: so open it before there are others. */
#include <stdbool.h>

#include "io/loop.h"

#define SIGNALS_MAX 8u /* different ones */

typedef void signals_fn(int number, void *user); /* on the loop's thread */

struct signals { /* embed it, all zeros */
    struct loop_watch watch;
    signals_fn *fn;
    void *user;
};

/* numbers: of the signals, 0 behind the last. ERR_IO, ERR_MEMORY: logged; nothing is watched,
 * though the signals may be blocked. */
MUST_USE enum err signals_open(struct signals *s, struct loop *loop, const int *numbers,
                               signals_fn *fn, void *user);
/* They stay blocked. Not open: does nothing. */
void signals_close(struct signals *s);
#endif
