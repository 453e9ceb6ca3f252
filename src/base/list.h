#ifndef BASE_LIST_H
#define BASE_LIST_H
/* list - lists that link through their elements: nothing to allocate, nothing to fail.
 * The macros are those of <sys/queue.h>; glibc's copy lacks the loops that allow the current
 * element to be taken out, so they stand here. */
#include <sys/queue.h>

#ifndef TAILQ_FOREACH_SAFE
#define TAILQ_FOREACH_SAFE(var, head, field, next_var)                                             \
    for ((var) = TAILQ_FIRST(head); (var) != NULL && ((next_var) = TAILQ_NEXT(var, field), 1);     \
         (var) = (next_var))
#endif
#ifndef LIST_FOREACH_SAFE
#define LIST_FOREACH_SAFE(var, head, field, next_var)                                              \
    for ((var) = LIST_FIRST(head); (var) != NULL && ((next_var) = LIST_NEXT(var, field), 1);       \
         (var) = (next_var))
#endif

/* The struct of type `type` whose member `member` is at `pointer`. */
#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#endif
