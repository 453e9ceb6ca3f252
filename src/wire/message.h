#ifndef WIRE_MESSAGE_H
#define WIRE_MESSAGE_H
/* message - the small JSON objects that nodes and gateways send each other, read and written by one
 * table each, so that both sides cannot drift apart. Used by identity, report and directive.
 *
 * What is read is somebody else's: at most MESSAGE_BYTES_MAX, valid JSON to its end; known fields
 * are checked for type, range and length, and may stand once; unknown ones are passed over, because
 * a newer version may have more; null is the same as leaving out. The first mistake ends it, in
 * words that name the field. Texts are printable ASCII without quotes, backslashes and escapes: so
 * a span into the message is the text, and nobody can dress one name up as another.
 *
 * What is written is canonical: the table's order, no spaces, nothing that is not known.
 * Nothing is allocated. Spans point into the bytes that were read and live as long as they. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "wire/json_scan.h"

#define MESSAGE_VERSION              1u /* raised when an old reader would misunderstand */
#define MESSAGE_BYTES_MAX            4096u
#define MESSAGE_NUMBER_MAX           9007199254740991u /* 2^53 - 1: every JSON reader keeps it */
#define MESSAGE_UNKNOWN              UINT64_MAX        /* a number that was not said */
#define MESSAGE_FIELDS_MAX           32u               /* rows of a table */
#define MESSAGE_LABELS_MAX           24u
#define MESSAGE_LABEL_NAME_BYTES_MAX 31u /* [a-z0-9_-] */
#define MESSAGE_LABEL_BYTES_MAX      79u
#define MESSAGE_ERROR_BYTES          160u

struct message_label {
    struct span name, value;
};

struct message_labels {
    struct message_label list[MESSAGE_LABELS_MAX]; /* sorted by name, which stands once */
    size_t count;
};

struct message_counter {
    struct span name; /* [a-z0-9-]{1,63} */
    uint64_t number;
};

struct message_error {
    char text[MESSAGE_ERROR_BYTES]; /* "engine.running: `-1` is not a whole number" */
};

enum message_type {
    MESSAGE_U64,    /* uint64_t, min..max; absent MESSAGE_UNKNOWN */
    MESSAGE_F64,    /* double, 0..max; absent NAN */
    MESSAGE_BOOL,   /* bool; absent false */
    MESSAGE_WORD,   /* uint32_t: the place among words; absent 0 */
    MESSAGE_NAME,   /* struct span: [a-z0-9-]{1,63}; absent empty */
    MESSAGE_TEXT,   /* struct span: 1..max bytes; absent empty */
    MESSAGE_URL,    /* struct span: http(s)://host[:port], at most max bytes; absent empty */
    MESSAGE_HEX,    /* unsigned char[max]: prefix, 2 * max lower-case digits; absent zeros */
    MESSAGE_LABELS, /* struct message_labels: {name: text} */
    MESSAGE_OBJECT, /* by fields, at offset */
    /* so many (size_t at count_offset, at most max), from offset on: */
    MESSAGE_LIST,    /* objects of item_bytes, each by fields: [{...}] */
    MESSAGE_NAMES,   /* struct span: ["a", "b"], names as above */
    MESSAGE_COUNTERS /* struct message_counter: {name: number}, names that stand once */
};

/* A row. The table ends with name == NULL. Numbers are at most MESSAGE_NUMBER_MAX. */
struct message_field {
    const char *name;
    enum message_type type;
    bool required; /* an error when absent, and always written */
    size_t offset; /* in the struct of the table */
    uint64_t min, max;
    const char *const *words;           /* of MESSAGE_WORD: min of them */
    const char *prefix;                 /* of MESSAGE_HEX: "ed25519:" */
    const struct message_field *fields; /* of MESSAGE_OBJECT and MESSAGE_LIST */
    size_t count_offset, item_bytes;    /* of lists */
};

/* Read an object by the table into *base, which is all zeros; items of lists need not be. ERR_FULL:
 * more than MESSAGE_BYTES_MAX; ERR_PARSE: anything else. Both say why. */
MUST_USE enum err message_read(struct span json, const struct message_field *fields, void *base,
                               struct message_error *ret_error);

/* Write *base by the table into text. ERR_FULL: it is longer than text_size; ERR_ARG: it holds what
 * message_read would refuse. */
MUST_USE enum err message_write(const struct message_field *fields, const void *base, char *text,
                                size_t text_size, size_t *ret_bytes);

/* Set what is absent in *base, which is all zeros, for who fills it to write it. */
void message_absent(const struct message_field *fields, void *base);

/* Add a label at its place. ERR_EXISTS: the name stands already; ERR_FULL; ERR_PARSE: the form of
 * name or value. */
MUST_USE enum err message_label_add(struct message_labels *labels, struct span name,
                                    struct span value);
/* 1 to bytes_max of printable ASCII without quotes and backslashes? */
bool message_is_text(struct span text, size_t bytes_max);

/* Lower-case hexadecimal digits, two a byte; text has room for them and a final zero. */
void message_hex(const unsigned char *data, size_t bytes, char *text);
/* The other way round: exactly `bytes` bytes. ERR_PARSE. */
MUST_USE enum err message_unhex(struct span text, unsigned char *ret_data, size_t bytes);
/* All zeros: how a key, a hash or a signature that was not said looks. */
bool message_is_zero(const unsigned char *data, size_t bytes);
#endif
