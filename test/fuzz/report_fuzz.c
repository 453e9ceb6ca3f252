/* report_fuzz - any bytes, line by line, as what comes from one sender: report, piggy-back, hello,
 * gone or chain by the first letter. What can be read can be written and says the same; what is
 * judged never takes the receiver's view backwards. */
#include "base/must.h"
#include "wire/report_sender.h"

#define LINES_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static struct report report, again;
static char json[MESSAGE_BYTES_MAX], json_again[MESSAGE_BYTES_MAX];
static struct message_error error;

static void
check_report(struct report_sender *s, struct span text, uint64_t now_ns)
{
    struct report_sender before = *s;
    enum report_verdict verdict;
    size_t size, size_again;

    error.text[0] = '\0';
    if (report_parse(text, &report, &error) != ERR_OK) {
        must(error.text[0] != '\0');
        return;
    }
    if (report_write(&report, json, &size) == ERR_OK) {
        must(report_parse((struct span){json, size}, &again, &error) == ERR_OK);
        must(report_write(&again, json_again, &size_again) == ERR_OK);
        must(size == size_again && memcmp(json, json_again, size) == 0);
    }
    verdict = report_sender_take(s, SPAN_LIT("n1"), &report, text, now_ns);
    must(s->epoch == before.epoch && s->seq >= before.seq && s->at_us >= before.at_us);
    must(!report_verdict_is_taken(verdict) || s->seq == report.seq);
    must(report_verdict_is_taken(verdict) || s->seq == before.seq);
}

static void
check_piggyback(struct report_sender *s, struct span text)
{
    size_t size;

    if (report_parse_piggyback(text, &report, &error) != ERR_OK)
        return;
    (void)report_sender_take_piggyback(s, &report);
    if (report_write_piggyback(&report, json, &size) == ERR_OK)
        must(report_parse_piggyback((struct span){json, size}, &again, &error) == ERR_OK);
}

static void
check_signed(struct report_sender *s, char kind, struct span text, uint64_t now_ns)
{
    static struct report_hello hello;
    struct report_gone gone;
    struct report_chain chain;
    size_t size;

    if (kind == 'h' && report_hello_parse(text, &hello, &error) == ERR_OK) {
        enum identity_verdict identity = identity_verify(
            &hello.identity, SPAN_LIT("n1"), &(struct identity_trust){.count = 0}, 1800000000);

        (void)report_sender_take_hello(s, SPAN_LIT("n1"), &hello, identity, now_ns);
        if (report_hello_write(&hello, json, &size) == ERR_OK)
            must(report_hello_parse((struct span){json, size}, &hello, &error) == ERR_OK);
    } else if (kind == 'g' && report_gone_parse(text, &gone, &error) == ERR_OK) {
        (void)report_sender_take_gone(s, SPAN_LIT("n1"), &gone, now_ns);
        must(report_gone_write(&gone, json, &size) == ERR_OK);
    } else if (kind == 'c' && report_chain_parse(text, &chain, &error) == ERR_OK) {
        (void)report_sender_take_chain(s, SPAN_LIT("n1"), &chain, now_ns);
        must(report_chain_write(&chain, json, &size) == ERR_OK);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct span rest = {(const char *)data, bytes};
    struct report_sender s = {.epoch = 5, .head_known = true}; /* as behind a good hello */
    uint64_t now_ns = 1;

    for (unsigned i = 0; i < LINES_MAX && rest.bytes > 0; i++, now_ns += 1000000) {
        size_t line = span_find(rest, '\n');
        struct span text = span_from((struct span){rest.data, line}, 1);
        char kind = rest.data[0];

        if (kind == 'r')
            check_report(&s, text, now_ns);
        else if (kind == 'p')
            check_piggyback(&s, text);
        else
            check_signed(&s, kind, text, now_ns);
        rest = span_from(rest, line + 1);
    }
    return 0;
}
