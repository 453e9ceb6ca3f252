/* message_test - a table of every type, read and written; what is absent, what does not fit, and
 * what a writer refuses to say. */
#include "wire/message.h"

#include <math.h>

#include "message_texts.h"

struct inner {
    uint64_t number;
    struct span name;
};

struct outer {
    uint64_t number;
    double real;
    bool flag;
    uint32_t word;
    struct span name, text, url;
    unsigned char hex[2];
    struct message_labels labels;
    struct inner inner, list[2];
    size_t list_count;
    struct span names[2];
    size_t name_count;
    struct message_counter counters[2];
    size_t counter_count;
};

static const char *const words[] = {"none", "some", "all"};

#define IN(member_)  .offset = offsetof(struct inner, member_)
#define OUT(member_) .offset = offsetof(struct outer, member_)

static const struct message_field inner_fields[] = {
    {.name = "number", .type = MESSAGE_U64, .required = true, IN(number), .min = 1, .max = 9},
    {.name = "name", .type = MESSAGE_NAME, IN(name)},
    {.name = NULL},
};

static const struct message_field fields[] = {
    {.name = "number", .type = MESSAGE_U64, OUT(number), .max = MESSAGE_NUMBER_MAX},
    {.name = "real", .type = MESSAGE_F64, OUT(real), .max = 1000},
    {.name = "flag", .type = MESSAGE_BOOL, OUT(flag)},
    {.name = "word", .type = MESSAGE_WORD, OUT(word), .words = words, .min = 3},
    {.name = "name", .type = MESSAGE_NAME, OUT(name)},
    {.name = "text", .type = MESSAGE_TEXT, OUT(text), .max = 5},
    {.name = "url", .type = MESSAGE_URL, OUT(url), .max = 20},
    {.name = "hex", .type = MESSAGE_HEX, OUT(hex), .prefix = "x:", .max = 2},
    {.name = "labels", .type = MESSAGE_LABELS, OUT(labels)},
    {.name = "inner", .type = MESSAGE_OBJECT, OUT(inner), .fields = inner_fields},
    {.name = "list",
     .type = MESSAGE_LIST,
     OUT(list),
     .max = 2,
     .fields = inner_fields,
     .item_bytes = sizeof(struct inner),
     .count_offset = offsetof(struct outer, list_count)},
    {.name = "names",
     .type = MESSAGE_NAMES,
     OUT(names),
     .max = 2,
     .count_offset = offsetof(struct outer, name_count)},
    {.name = "counters",
     .type = MESSAGE_COUNTERS,
     OUT(counters),
     .max = 2,
     .count_offset = offsetof(struct outer, counter_count)},
    {.name = NULL},
};

static struct outer outer;
static struct message_error error;

static enum err
read(const char *json)
{
    memset(&outer, 0, sizeof(outer));
    error.text[0] = '\0';
    return message_read(span_of(json), fields, &outer, &error);
}

static const char whole[] =
    "{\"number\":9007199254740991,\"real\":0.125,\"flag\":true,\"word\":\"all\",\"name\":\"a-1\","
    "\"text\":\"a b/c\",\"url\":\"https://h:1\",\"hex\":\"x:00ff\",\"labels\":{\"a\":\"1\",\"b_c\":"
    "\"2\"},\"inner\":{\"number\":1,\"name\":\"n\"},\"list\":[{\"number\":2},{\"number\":9}],"
    "\"names\":[\"x\",\"y\"],\"counters\":{\"g\":0,\"h\":7}}";

static void
check_whole(void)
{
    char text[MESSAGE_BYTES_MAX];
    size_t bytes = 0, least = sizeof(whole) - 1;

    CHECK(read(whole) == ERR_OK, "every type");
    CHECK(outer.number == MESSAGE_NUMBER_MAX && outer.real == 0.125 && outer.flag &&
              outer.word == 2 && outer.hex[1] == 0xff && outer.labels.count == 2 &&
              outer.inner.number == 1 && outer.list_count == 2 && outer.list[1].number == 9 &&
              span_eq_text(outer.names[1], "y") && outer.counters[1].number == 7,
          "has its value");
    CHECK(message_write(fields, &outer, text, sizeof(text), &bytes) == ERR_OK &&
              span_eq_text((struct span){text, bytes}, whole),
          "and is written as it was read");
    for (size_t size = 1; size <= least; size++) {
        if (message_write(fields, &outer, text, size, &bytes) != ERR_FULL)
            least = 0;
    }
    CHECK(least > 0, "in too little room it is not");
    CHECK(message_write(fields, &outer, text, least + 1, &bytes) == ERR_OK, "in just enough it is");
    CHECK(read(" { \"labels\" : {\"b\":\"2\" , \"a\":\"1\"} , \"later\" : [ {} ] } ") == ERR_OK &&
              span_eq_text(outer.labels.list[0].name, "a"),
          "spaces, unknown fields, labels in any order");
}

static void
check_absent(void)
{
    char text[64];
    size_t bytes = 0;

    CHECK(read("{}") == ERR_OK && outer.number == MESSAGE_UNKNOWN && isnan(outer.real) &&
              outer.inner.number == MESSAGE_UNKNOWN,
          "absent is unknown, inside, too");
    CHECK(message_write(fields, &outer, text, sizeof(text), &bytes) == ERR_OK &&
              span_eq_text((struct span){text, bytes}, "{}"),
          "and is not written");
    CHECK(read("{\"number\":null,\"list\":null,\"hex\":null,\"labels\":null}") == ERR_OK &&
              outer.number == MESSAGE_UNKNOWN,
          "null is the same");
}

static const struct message_text bad[] = {
    {"{\"number\":9007199254740992}", "number: it is not from 0 to 9007199254740991"},
    {"{\"number\":1,\"number\":1}", "number: it stands twice"},
    {"{\"number\":true}", "number: `true` is not a whole number"},
    {"{\"real\":1001}", "real: it is not from 0 to 1000"},
    {"{\"real\":\"1\"}", "is not a number"},
    {"{\"word\":\"many\"}", "word: `\"many\"` is not one of none, some, all"},
    {"{\"text\":\"abcdef\"}", "text: `\"abcdef\"` is not a text of 1 to 5"},
    {"{\"text\":\"a\\/b\"}", "text: `\"a\\/b\"` is not a text"},
    {"{\"url\":\"h:1\"}", "url: `\"h:1\"` is not http(s)://host:port"},
    {"{\"hex\":\"x:00FF\"}", "hex: `\"x:00FF\"` is not x: and 4 digits"},
    {"{\"hex\":\"00ff\"}", "is not x: and 4 digits"},
    {"{\"inner\":{}}", "inner.number: it is missing"},
    {"{\"inner\":{\"number\":0}}", "inner.number: it is not from 1 to 9"},
    {"{\"list\":[{\"number\":1},{\"number\":1,\"name\":\"A\"}]}",
     "list[1].name: `\"A\"` is not a name"},
    {"{\"list\":[{\"number\":1},{\"number\":1},{\"number\":1}]}", "list: more than 2"},
    {"{\"names\":[\"a\",7]}", "names[1]: `7` is not a name"},
    {"{\"counters\":{\"a\":1,\"b\":2,\"c\":3}}", "counters: more than 2"},
    {"{\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
     "name: `\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...` is not a name"},
    {"{\"name\":\"\x1b[2J\"}", "no JSON at byte"},
    {"{\"name\":\"\xc3\xa4\"}", "name: this is not a name"},
    {"{\"number\":1", "no JSON at byte 11"},
    {"{\"number\":1} x", "no JSON at byte 13"},
    {"{\"number\":}", "no JSON at byte 10"},
    {"[1]", "it must be an object"},
};

static void
check_bad(void)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check_message_text(&bad[i], read(bad[i].json), &error);
}

/* What could not be read is not written. */
static void
check_write(void)
{
    char text[MESSAGE_BYTES_MAX];
    size_t bytes;

    CHECK(read(whole) == ERR_OK, "good");
    outer.number = MESSAGE_NUMBER_MAX + 1;
    CHECK(message_write(fields, &outer, text, sizeof(text), &bytes) == ERR_ARG, "a large number");
    CHECK(read(whole) == ERR_OK, "good");
    outer.text = SPAN_LIT("a\"b");
    CHECK(message_write(fields, &outer, text, sizeof(text), &bytes) == ERR_ARG, "a quote");
    CHECK(read(whole) == ERR_OK, "good");
    outer.list_count = 3;
    CHECK(message_write(fields, &outer, text, sizeof(text), &bytes) == ERR_ARG, "a long list");
    CHECK(read(whole) == ERR_OK, "good");
    outer.counters[0].name = SPAN_LIT("G");
    CHECK(message_write(fields, &outer, text, sizeof(text), &bytes) == ERR_ARG, "a bad name");
    CHECK(read(whole) == ERR_OK, "good");
    outer.labels.list[1].name = outer.labels.list[0].name;
    CHECK(message_write(fields, &outer, text, sizeof(text), &bytes) == ERR_ARG, "a label twice");
}

static void
check_size(void)
{
    static char json[MESSAGE_BYTES_MAX + 1];

    memset(json, ' ', sizeof(json));
    memcpy(json, "{}", 2);
    memset(&outer, 0, sizeof(outer));
    CHECK(message_read((struct span){json, MESSAGE_BYTES_MAX}, fields, &outer, &error) == ERR_OK,
          "as large as may be");
    CHECK(message_read((struct span){json, MESSAGE_BYTES_MAX + 1}, fields, &outer, &error) ==
              ERR_FULL,
          "a byte more");
}

int
main(void)
{
    check_whole();
    check_absent();
    check_bad();
    check_write();
    check_size();
    return tap_done();
}
