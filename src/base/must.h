#ifndef BASE_MUST_H
#define BASE_MUST_H
/* must - checks of our own reasoning, on in production too.
 * Stopping costs less than deciding wrongly. Never reachable from bytes of others: what comes from
 * outside gets an enum err. */

/* Print what did not hold to standard error and abort. The only output base has: there is no
 * caller left who could report it. */
__attribute__((noreturn, cold)) void must_failed(const char *what, const char *file, int line);

#define must(condition)                                                                            \
    (__builtin_expect(!!(condition), 1) ? (void)0 : must_failed(#condition, __FILE__, __LINE__))
#endif
