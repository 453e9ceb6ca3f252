/* failure - tables from a failed call to the class of its failure, and from that to a word; see
 * failure.h. */
#include "role/failure.h"

enum failure
failure_of_call(enum http_failure why)
{
    static const enum failure classes[] = {
        [HTTP_FAILED_CONNECT] = FAILURE_CONNECT,
        [HTTP_FAILED_CONNECT_TIMEOUT] = FAILURE_CONNECT,
        [HTTP_FAILED_FIRST_BYTE] = FAILURE_FIRST_BYTE,
        [HTTP_FAILED_IDLE] = FAILURE_STALL,
        [HTTP_FAILED_EOF] = FAILURE_EOF,
        [HTTP_FAILED_MALFORMED] = FAILURE_MALFORMED,
        [HTTP_FAILED_LOCAL] = FAILURE_LOCAL,
        [HTTP_FAILED_TLS] = FAILURE_TLS,
    };

    return classes[why];
}

const char *
failure_name(uint32_t failure)
{
    static const char *const names[FAILURE_COUNT] = {
        [FAILURE_NONE] = "none",
        [FAILURE_CONNECT] = "connect",
        [FAILURE_STATUS_5XX] = "5xx",
        [FAILURE_BUSY] = "busy",
        [FAILURE_FIRST_BYTE] = "first_byte",
        [FAILURE_STALL] = "stall",
        [FAILURE_EOF] = "eof",
        [FAILURE_MALFORMED] = "malformed",
        [FAILURE_REQUEST] = "request",
        [FAILURE_LOCAL] = "local",
        [FAILURE_TLS] = "tls",
        [FAILURE_MODEL] = "model",
    };

    return failure < FAILURE_COUNT ? names[failure] : "unknown";
}
