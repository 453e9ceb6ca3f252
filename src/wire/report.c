/* report - the tables of the messages, and what is signed of them; see report.h. */
#include "wire/report.h"

#include <stdio.h>

#include "base/must.h"
#include "wire/config.h"
#include "wire/keys.h"

_Static_assert(REPORT_HASH_BYTES == KEY_SHA256_BYTES, "SHA-256");

#define VERSION .name = "v", .type = MESSAGE_U64, .required = true, .min = 1, .max = MESSAGE_VERSION
#define KEY     .type = MESSAGE_HEX, .prefix = SIGNATURE_KEY_PREFIX, .max = SIGNATURE_KEY_BYTES
#define PIN     .type = MESSAGE_HEX, .prefix = "sha256:", .max = IDENTITY_PIN_BYTES
#define SIGNED  .name = "signature", .type = MESSAGE_HEX, .max = SIGNATURE_BYTES
#define COUNTER .type = MESSAGE_U64, .max = MESSAGE_NUMBER_MAX
#define ROLE    .name = "role", .type = MESSAGE_WORD, .words = roles, .min = REPORT_ROLE_COUNT

static const char *const roles[REPORT_ROLE_COUNT] = {"node", "gateway", "full", "data"};
static const char *const node_states[NODE_STATE_COUNT] = {"ready", "drain", "maint"};
static const char *const model_states[MODEL_STATE_COUNT] = {
    "absent", "downloading", "on_disk", "loading", "sleeping", "ready", "failed", "dormant"};
static const char *const tiers[REPORT_TIER_COUNT] = {"unknown", "gpu", "dram",
                                                     "disk",    "lan", "wan"};

/* ---- Report. */

#define AT(member_) .offset = offsetof(struct report_engine, member_)

static const struct message_field engine_fields[] = {
    {.name = "kind", .type = MESSAGE_TEXT, AT(kind), .max = REPORT_TEXT_BYTES_MAX},
    {.name = "slots", .type = MESSAGE_U64, AT(slots), .max = REPORT_REQUESTS_MAX},
    {.name = "running", .type = MESSAGE_U64, AT(running), .max = REPORT_REQUESTS_MAX},
    {.name = "waiting", .type = MESSAGE_U64, AT(waiting), .max = REPORT_REQUESTS_MAX},
    {.name = "prefill_tokens_in_flight", COUNTER, AT(prefill_tokens_in_flight)},
    {.name = "kv_tokens_used", COUNTER, AT(kv_tokens_used)},
    {.name = "kv_tokens_cap", COUNTER, AT(kv_tokens_cap)},
    {.name = "accepted_total", COUNTER, AT(accepted_total)},
    {.name = "prefill_tok_s",
     .type = MESSAGE_F64,
     AT(prefill_tok_s),
     .max = REPORT_TOKENS_PER_S_MAX},
    {.name = "decode_tok_s", .type = MESSAGE_F64, AT(decode_tok_s), .max = REPORT_TOKENS_PER_S_MAX},
    {.name = NULL},
};

#undef AT
#define AT(member_) .offset = offsetof(struct report_model, member_)

static const struct message_field model_fields[] = {
    {.name = "id",
     .type = MESSAGE_TEXT,
     .required = true,
     AT(id),
     .max = CONFIG_MODEL_NAME_BYTES_MAX},
    {.name = "digest", .type = MESSAGE_TEXT, AT(digest), .max = REPORT_DIGEST_BYTES_MAX},
    {.name = "state",
     .type = MESSAGE_WORD,
     .required = true,
     AT(state),
     .words = model_states,
     .min = MODEL_STATE_COUNT},
    {.name = "ready_in_ms", .type = MESSAGE_F64, AT(ready_in_ms), .max = REPORT_READY_IN_MS_MAX},
    {.name = "tier", .type = MESSAGE_WORD, AT(tier), .words = tiers, .min = REPORT_TIER_COUNT},
    {.name = "bytes", COUNTER, AT(bytes)},
    {.name = "slots", .type = MESSAGE_U64, AT(slots), .max = REPORT_REQUESTS_MAX},
    {.name = "pinned", .type = MESSAGE_BOOL, AT(pinned)},
    {.name = NULL},
};

#undef AT
#define AT(member_) .offset = offsetof(struct report_requests, member_)

static const struct message_field requests_fields[] = {
    {.name = "id",
     .type = MESSAGE_TEXT,
     .required = true,
     AT(id),
     .max = CONFIG_MODEL_NAME_BYTES_MAX},
    {.name = "running", .type = MESSAGE_U64, AT(running), .max = REPORT_REQUESTS_MAX},
    {.name = "waiting", .type = MESSAGE_U64, AT(waiting), .max = REPORT_REQUESTS_MAX},
    {.name = NULL},
};

#undef AT
#define AT(member_) .offset = offsetof(struct report_outcome, member_)

static const struct message_field outcome_fields[] = {
    {.name = "nonce",
     .type = MESSAGE_HEX,
     .required = true,
     AT(nonce),
     .max = DIRECTIVE_NONCE_BYTES},
    {.name = "result",
     .type = MESSAGE_WORD,
     .required = true,
     AT(result),
     .words = directive_results,
     .min = DIRECTIVE_RESULT_COUNT},
    {.name = "took_ms", .type = MESSAGE_F64, AT(took_ms), .max = REPORT_READY_IN_MS_MAX},
    {.name = "words", .type = MESSAGE_TEXT, AT(words), .max = REPORT_OUTCOME_BYTES_MAX},
    {.name = NULL},
};

#undef AT
#define AT(member_) .offset = offsetof(struct report_dataset, member_)

static const struct message_field dataset_fields[] = {
    {.name = "id", .type = MESSAGE_NAME, .required = true, AT(id)},
    {.name = "root", .type = MESSAGE_TEXT, AT(root), .max = REPORT_TEXT_BYTES_MAX},
    {.name = "bytes", COUNTER, AT(bytes)},
    {.name = NULL},
};

#undef AT
#define AT(member_) .offset = offsetof(struct report, member_)
#define LIST(type_, member_, count_)                                                               \
    .type = (type_), AT(member_),                                                                  \
    .max = sizeof(((struct report *)NULL)->member_) / sizeof(((struct report *)NULL)->member_[0]), \
    .item_bytes = sizeof(((struct report *)NULL)->member_[0]),                                     \
    .count_offset = offsetof(struct report, count_)

static const struct message_field report_fields[] = {
    {VERSION, AT(v)},
    {.name = "node", .type = MESSAGE_NAME, .required = true, AT(node)},
    {.name = "epoch", COUNTER, .required = true, .min = 1, AT(epoch)},
    {.name = "seq", COUNTER, .required = true, .min = 1, AT(seq)},
    {.name = "at_us", COUNTER, .required = true, AT(at_us)},
    {.name = "full", .type = MESSAGE_BOOL, AT(full)},
    {.name = "page", .type = MESSAGE_U64, AT(page), .min = 1, .max = REPORT_PAGES_MAX},
    {.name = "pages", .type = MESSAGE_U64, AT(pages), .min = 1, .max = REPORT_PAGES_MAX},
    {ROLE, AT(role)},
    {.name = "state",
     .type = MESSAGE_WORD,
     .required = true,
     AT(state),
     .words = node_states,
     .min = NODE_STATE_COUNT},
    {.name = "url", .type = MESSAGE_URL, AT(url), .max = IDENTITY_URL_BYTES_MAX},
    {.name = "tls_pin", PIN, AT(tls_pin)},
    {.name = "key", KEY, AT(key)},
    {.name = "labels", .type = MESSAGE_LABELS, AT(labels)},
    {.name = "engine", .type = MESSAGE_OBJECT, AT(engine), .fields = engine_fields},
    {.name = "models", LIST(MESSAGE_LIST, models, model_count), .fields = model_fields},
    {.name = "datasets", LIST(MESSAGE_LIST, datasets, dataset_count), .fields = dataset_fields},
    {.name = "proofs", LIST(MESSAGE_NAMES, proofs, proof_count)},
    {.name = "requests", LIST(MESSAGE_LIST, requests, request_count), .fields = requests_fields},
    {.name = "ack", LIST(MESSAGE_COUNTERS, acks, ack_count)},
    {.name = "obeys", LIST(MESSAGE_NAMES, obeys, obey_count)},
    {.name = "memory_bytes", COUNTER, AT(memory_bytes)},
    {.name = "loads_max", .type = MESSAGE_U64, AT(loads_max), .max = REPORT_REQUESTS_MAX},
    {.name = "outcomes", LIST(MESSAGE_LIST, outcomes, outcome_count), .fields = outcome_fields},
    {.name = NULL},
};

static const struct message_field piggyback_fields[] = {
    {.name = "epoch", COUNTER, .required = true, .min = 1, AT(epoch)},
    {.name = "at_us", COUNTER, .required = true, AT(at_us)},
    {.name = "state",
     .type = MESSAGE_WORD,
     AT(state),
     .words = node_states,
     .min = NODE_STATE_COUNT},
    {.name = "engine", .type = MESSAGE_OBJECT, AT(engine), .fields = engine_fields},
    {.name = "requests", LIST(MESSAGE_LIST, requests, request_count), .fields = requests_fields},
    {.name = "ack", LIST(MESSAGE_COUNTERS, acks, ack_count)},
    {.name = NULL},
};

void
report_init(struct report *ret_report)
{
    memset(ret_report, 0, sizeof(*ret_report));
    message_absent(report_fields, ret_report);
    ret_report->v = MESSAGE_VERSION;
}

/* Does the place of the page make sense? */
static bool
has_good_pages(const struct report *r)
{
    bool paged = r->page != MESSAGE_UNKNOWN || r->pages != MESSAGE_UNKNOWN;

    return !paged || (r->full && r->page != MESSAGE_UNKNOWN && r->pages != MESSAGE_UNKNOWN &&
                      r->page <= r->pages);
}

enum err
report_parse(struct span json, struct report *ret_report, struct message_error *ret_error)
{
    enum err err;

    memset(ret_report, 0, offsetof(struct report, models));
    err = message_read(json, report_fields, ret_report, ret_error);
    if (err == ERR_OK && !has_good_pages(ret_report)) {
        snprintf(ret_error->text, sizeof(ret_error->text),
                 "page: page and pages belong together, to a full report, page at most pages");
        err = ERR_PARSE;
    }
    return err;
}

enum err
report_write(const struct report *report, char ret_text[MESSAGE_BYTES_MAX], size_t *ret_bytes)
{
    return has_good_pages(report)
               ? message_write(report_fields, report, ret_text, MESSAGE_BYTES_MAX, ret_bytes)
               : ERR_ARG;
}

enum err
report_parse_piggyback(struct span json, struct report *ret_report, struct message_error *ret_error)
{
    report_init(ret_report);
    return message_read(json, piggyback_fields, ret_report, ret_error);
}

enum err
report_write_piggyback(const struct report *report, char ret_text[MESSAGE_BYTES_MAX],
                       size_t *ret_bytes)
{
    return message_write(piggyback_fields, report, ret_text, MESSAGE_BYTES_MAX, ret_bytes);
}

/* ---- Hello. */

#undef AT
#define AT(member_) .offset = offsetof(struct report_hello, member_)

static const struct message_field hello_fields[] = {
    {VERSION, AT(v)},
    {.name = "epoch", COUNTER, .required = true, .min = 1, AT(epoch)},
    {.name = "issued_s", COUNTER, .required = true, AT(issued_s)},
    {ROLE, AT(role)},
    {.name = "version", .type = MESSAGE_TEXT, AT(version), .max = REPORT_TEXT_BYTES_MAX},
    {.name = "identity",
     .type = MESSAGE_OBJECT,
     .required = true,
     AT(identity),
     .fields = identity_fields},
    {SIGNED, .required = true, AT(signature)},
    {.name = NULL},
};

enum err
report_hello_parse(struct span json, struct report_hello *ret_hello,
                   struct message_error *ret_error)
{
    *ret_hello = (struct report_hello){.v = 0};
    return message_read(json, hello_fields, ret_hello, ret_error);
}

enum err
report_hello_write(const struct report_hello *hello, char ret_text[MESSAGE_BYTES_MAX],
                   size_t *ret_bytes)
{
    return message_write(hello_fields, hello, ret_text, MESSAGE_BYTES_MAX, ret_bytes);
}

void
report_hello_data(const struct report_hello *hello, struct signature_data *ret_data)
{
    unsigned char record[REPORT_HASH_BYTES];

    identity_data(&hello->identity, ret_data);
    keys_sha256((struct span){(const char *)ret_data->data, ret_data->bytes}, record);
    signature_data_begin(ret_data, REPORT_HELLO_DOMAIN);
    signature_data_add_span(ret_data, hello->identity.node);
    signature_data_add_u64(ret_data, hello->epoch);
    signature_data_add_u64(ret_data, hello->issued_s);
    signature_data_add_span(ret_data, span_of(roles[hello->role % REPORT_ROLE_COUNT]));
    signature_data_add_span(ret_data, hello->version);
    signature_data_add(ret_data, record, sizeof(record));
    signature_data_add(ret_data, hello->identity.signature.bytes, SIGNATURE_BYTES);
}

/* ---- Gone. */

#undef AT
#define AT(member_) .offset = offsetof(struct report_gone, member_)

static const struct message_field gone_fields[] = {
    {VERSION, AT(v)},
    {.name = "node", .type = MESSAGE_NAME, .required = true, AT(node)},
    {.name = "epoch", COUNTER, .required = true, .min = 1, AT(epoch)},
    {.name = "reason", .type = MESSAGE_TEXT, AT(reason), .max = REPORT_TEXT_BYTES_MAX},
    {SIGNED, .required = true, AT(signature)},
    {.name = NULL},
};

enum err
report_gone_parse(struct span json, struct report_gone *ret_gone, struct message_error *ret_error)
{
    *ret_gone = (struct report_gone){.v = 0};
    return message_read(json, gone_fields, ret_gone, ret_error);
}

enum err
report_gone_write(const struct report_gone *gone, char ret_text[MESSAGE_BYTES_MAX],
                  size_t *ret_bytes)
{
    return message_write(gone_fields, gone, ret_text, MESSAGE_BYTES_MAX, ret_bytes);
}

void
report_gone_data(const struct report_gone *gone, struct signature_data *ret_data)
{
    signature_data_begin(ret_data, REPORT_GONE_DOMAIN);
    signature_data_add_span(ret_data, gone->node);
    signature_data_add_u64(ret_data, gone->epoch);
    signature_data_add_span(ret_data, gone->reason);
}

/* ---- Chain. */

#undef AT
#define AT(member_) .offset = offsetof(struct report_chain, member_)

static const struct message_field chain_fields[] = {
    {VERSION, AT(v)},
    {.name = "node", .type = MESSAGE_NAME, .required = true, AT(node)},
    {.name = "epoch", COUNTER, .required = true, .min = 1, AT(epoch)},
    {.name = "seq", COUNTER, .required = true, .min = 1, AT(seq)},
    {.name = "head", .type = MESSAGE_HEX, .required = true, AT(head), .max = REPORT_HASH_BYTES},
    {SIGNED, .required = true, AT(signature)},
    {.name = NULL},
};

enum err
report_chain_parse(struct span json, struct report_chain *ret_chain,
                   struct message_error *ret_error)
{
    *ret_chain = (struct report_chain){.v = 0};
    return message_read(json, chain_fields, ret_chain, ret_error);
}

enum err
report_chain_write(const struct report_chain *chain, char ret_text[MESSAGE_BYTES_MAX],
                   size_t *ret_bytes)
{
    return message_write(chain_fields, chain, ret_text, MESSAGE_BYTES_MAX, ret_bytes);
}

/* The bytes that name an epoch: the beginning of its chain, and of what is signed of it. */
static void
epoch_data(struct span node, uint64_t epoch, struct signature_data *ret_data)
{
    signature_data_begin(ret_data, REPORT_CHAIN_DOMAIN);
    signature_data_add_span(ret_data, node);
    signature_data_add_u64(ret_data, epoch);
}

void
report_chain_data(const struct report_chain *chain, struct signature_data *ret_data)
{
    epoch_data(chain->node, chain->epoch, ret_data);
    signature_data_add_u64(ret_data, chain->seq);
    signature_data_add(ret_data, chain->head, sizeof(chain->head));
}

void
report_chain_begin(struct span node, uint64_t epoch, unsigned char ret_head[REPORT_HASH_BYTES])
{
    struct signature_data data;

    epoch_data(node, epoch, &data);
    keys_sha256((struct span){(const char *)data.data, data.bytes}, ret_head);
}

void
report_chain_add(unsigned char head[REPORT_HASH_BYTES], struct span report_bytes)
{
    char both[REPORT_HASH_BYTES + MESSAGE_BYTES_MAX];

    must(report_bytes.bytes <= MESSAGE_BYTES_MAX);
    memcpy(both, head, REPORT_HASH_BYTES);
    if (report_bytes.bytes > 0)
        memcpy(both + REPORT_HASH_BYTES, report_bytes.data, report_bytes.bytes);
    keys_sha256((struct span){both, REPORT_HASH_BYTES + report_bytes.bytes}, head);
}
