#ifndef MESSAGE_TEXTS_H
#define MESSAGE_TEXTS_H
/* message_texts - one row of a test of messages: what comes, and what is said of it. */
#include <stdio.h>
#include <string.h>

#include "tap.h"
#include "wire/message.h"

struct message_text {
    const char *json, *words; /* words of the error; NULL: it is good */
};

static inline void
check_message_text(const struct message_text *t, enum err err, const struct message_error *error)
{
    bool good = t->words == NULL;

    CHECK(err == (good ? ERR_OK : ERR_PARSE), t->json);
    if (!good && strstr(error->text, t->words) == NULL)
        printf("# %s\n", error->text);
    CHECK(good || strstr(error->text, t->words) != NULL, good ? "good" : t->words);
}
#endif
