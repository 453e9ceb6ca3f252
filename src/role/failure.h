#ifndef ROLE_FAILURE_H
#define ROLE_FAILURE_H
/* failure - core's classes of failure: which a failed call to an engine is of, and their words. */
#include <stdint.h>

#include "core/event.h"
#include "io/http_client.h"

enum failure failure_of_call(enum http_failure why);
const char *failure_name(uint32_t failure); /* of an enum failure; "unknown": there is none such */
#endif
