/* notice - what is wanted, and what was thought; see notice.h. */
#include "wire/notice.h"

#include <stdio.h>

static const char *const want_words[NOTICE_WANTS] = {"", "hello", "full"};

/* The words stand first, so that what holds without them is the rest of the table. */
static const struct message_field fields[] = {
    {.name = "words",
     .type = MESSAGE_TEXT,
     .offset = offsetof(struct notice, words),
     .max = NOTICE_WORDS_BYTES_MAX},
    {.name = "v",
     .type = MESSAGE_U64,
     .offset = offsetof(struct notice, v),
     .min = MESSAGE_VERSION,
     .max = MESSAGE_NUMBER_MAX},
    {.name = "want",
     .type = MESSAGE_WORD,
     .offset = offsetof(struct notice, want),
     .min = NOTICE_WANTS,
     .words = want_words},
    {.name = "gateway", .type = MESSAGE_NAME, .offset = offsetof(struct notice, gateway)},
    {.name = "verdict",
     .type = MESSAGE_TEXT,
     .offset = offsetof(struct notice, verdict),
     .max = NOTICE_VERDICT_BYTES_MAX},
    {.name = NULL},
};

enum err
notice_read(struct span json, struct notice *ret_notice, struct message_error *ret_error)
{
    struct message_error unread;
    struct notice worded = {0};
    enum err err;

    *ret_notice = (struct notice){0};
    err = message_read(json, fields + 1, ret_notice, ret_error);
    if (err != ERR_OK)
        return err;
    if (ret_notice->want == NOTICE_NOTHING && ret_notice->verdict.bytes == 0) {
        (void)snprintf(ret_error->text, sizeof(ret_error->text),
                       "it wants nothing and says nothing");
        return ERR_PARSE;
    }
    if (message_read(json, fields, &worded, &unread) == ERR_OK)
        ret_notice->words = worded.words;
    return ERR_OK;
}

enum err
notice_write(const struct notice *notice, char text[MESSAGE_BYTES_MAX], size_t *ret_bytes)
{
    bool is_worded = message_is_text(notice->words, NOTICE_WORDS_BYTES_MAX);

    return message_write(is_worded ? fields : fields + 1, notice, text, MESSAGE_BYTES_MAX,
                         ret_bytes);
}
