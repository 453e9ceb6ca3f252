/* err - names of the error codes; see err.h. */
#include "base/err.h"

#include <stddef.h>

static const char *const names[ERR_COUNT] = {
    [ERR_OK] = "ok",
    [ERR_ARG] = "bad argument",
    [ERR_FULL] = "full",
    [ERR_PARSE] = "malformed",
    [ERR_NOT_FOUND] = "not found",
    [ERR_EXISTS] = "exists already",
    [ERR_IO] = "system error",
    [ERR_AGAIN] = "not now",
    [ERR_CLOSED] = "closed",
    [ERR_TIMEOUT] = "timed out",
    [ERR_MEMORY] = "out of memory",
    [ERR_UNSUPPORTED] = "not supported",
};

const char *
err_name(enum err err)
{
    if ((unsigned)err >= ERR_COUNT)
        return "unknown";
    return names[err];
}
