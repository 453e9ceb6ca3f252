#ifndef DEMO_LOAD_REPLY_H
#define DEMO_LOAD_REPLY_H
/* load_reply - what a load generator wants of an answer, found in its bytes without a JSON parser:
 * at thousands of tokens a second that would measure the generator. */
#include <stdbool.h>

#include "base/span.h"

/* Does the data of this event carry text of the answer? {"delta":{"content":"..."}} and
 * {"text":"..."}; an empty one does not count. */
bool load_reply_has_content(struct span data);
/* Is it an error in place of an answer? */
bool load_reply_is_error(struct span data);
/* Milliseconds of one metric in a Server-Timing header ("route;dur=0.1, predict;dur=20.5"); NAN:
 * not in it. */
double load_reply_timing_ms(struct span header, const char *metric);
#endif
