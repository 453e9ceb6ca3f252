/* notice_test - what a gateway wants and thinks: written and read, and what is none. */
#include "wire/notice.h"

#include <string.h>

#include "tap.h"
#include "wire/json.h"

static struct message_error error;

static enum err
read_text(const char *json, struct notice *ret_notice)
{
    static char text[MESSAGE_BYTES_MAX + JSON_PADDING];
    size_t bytes = strlen(json);

    memset(text, 0, sizeof(text));
    memcpy(text, json, bytes);
    error.text[0] = '\0';
    return notice_read((struct span){text, bytes}, ret_notice, &error);
}

static void
test_both_ways(void)
{
    const struct notice expired = {.v = MESSAGE_VERSION,
                                   .want = NOTICE_HELLO,
                                   .gateway = SPAN_LIT("gw1"),
                                   .verdict = SPAN_LIT("expired"),
                                   .words = SPAN_LIT("its record has expired")};
    const struct notice quoted = {
        .v = MESSAGE_VERSION, .verdict = SPAN_LIT("no"), .words = SPAN_LIT("say \"who\"")};
    char text[MESSAGE_BYTES_MAX];
    struct notice n;
    size_t bytes;

    CHECK(notice_write(&expired, text, &bytes) == ERR_OK && text[bytes] == '\0', "written");
    CHECK(read_text(text, &n) == ERR_OK && n.want == NOTICE_HELLO &&
              span_eq_text(n.gateway, "gw1") && span_eq_text(n.verdict, "expired") &&
              span_eq_text(n.words, "its record has expired"),
          "and read");
    CHECK(notice_write(&quoted, text, &bytes) == ERR_OK && read_text(text, &n) == ERR_OK &&
              span_eq_text(n.verdict, "no") && n.words.bytes == 0,
          "words that cannot be written are left out");
    n = expired;
    n.verdict = SPAN_LIT("a \"b\"");
    CHECK(notice_write(&n, text, &bytes) == ERR_ARG, "a verdict that cannot be is not written");
}

static void
test_read(void)
{
    static const struct {
        const char *json;
        bool good;
    } rows[] = {
        {"{\"v\":1,\"want\":\"full\"}", true},
        {"{\"verdict\":\"stale\"}", true},
        {"{\"verdict\":\"odd\",\"words\":\"\\u00e4\"}", true},
        {"{\"verdict\":\"odd\",\"words\":7}", true},
        {"{\"v\":1}", false},
        {"{\"v\":1,\"node\":\"n1\",\"action\":\"load\"}", false},
        {"{\"v\":1,\"want\":\"money\"}", false},
        {"{\"v\":1,\"want\":\"full\",\"gateway\":\"G W\"}", false},
        {"{\"v\":0,\"want\":\"full\"}", false},
        {"[]", false},
    };
    struct notice n;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum err err = read_text(rows[i].json, &n);
        CHECK((err == ERR_OK) == rows[i].good && (error.text[0] != '\0') == !rows[i].good,
              rows[i].json);
        if (rows[i].good)
            CHECK(n.want != NOTICE_NOTHING || n.verdict.bytes > 0, "it says something");
    }
}

int
main(void)
{
    test_both_ways();
    test_read();
    return tap_done();
}
