#ifndef BASE_ERR_H
#define BASE_ERR_H
/* err - what can go wrong, as one small set of codes.
 * A function that can fail returns one of these and is declared MUST_USE; the reason in words is
 * logged, or put into the caller's error struct, once, where the fact is known. */

#define MUST_USE                           __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt_index, args_index) __attribute__((format(printf, fmt_index, args_index)))

enum err {
    ERR_OK = 0,
    ERR_ARG,         /* an argument is outside the range the header states */
    ERR_FULL,        /* a named limit is reached */
    ERR_PARSE,       /* bytes from outside do not have the form they should have */
    ERR_NOT_FOUND,   /* no such thing */
    ERR_EXISTS,      /* there is one already */
    ERR_IO,          /* the system refused: errno was logged */
    ERR_AGAIN,       /* nothing now, ask again later */
    ERR_CLOSED,      /* the other side ended it */
    ERR_TIMEOUT,     /* a limit on time passed */
    ERR_MEMORY,      /* no memory */
    ERR_UNSUPPORTED, /* understood, but not something we do */
    ERR_COUNT
};

/* The code as a short lower-case word ("not found"). Never NULL. */
const char *err_name(enum err err);
#endif
