/* bench_identity - what it costs to believe a node: `make bench-identity`. Signatures of records,
 * hellos and chains, and one report read, hashed into its chain and judged. CPU time of one thread,
 * the best of a few rounds. 10,000 nodes that sign every 60 s and report every second are 167
 * signatures and 10,000 reports a second: that share of a core is printed, too. */
#include <stdio.h>

#include "base/must.h"
#include "host.h"
#include "io/clock.h"
#include "wire/report_sender.h"

#define ROUNDS    5u
#define VERIFIES  2000u
#define REPORTS   50000u
#define NODES     10000.0
#define CHAIN_S   60.0
#define TEXT_SIZE 512u

static const unsigned char seed[SIGNATURE_SEED_BYTES] = {1};
static struct signature_secret secret;
static struct identity record;

static void
verify(void)
{
    struct identity_trust trust = {.operators = &record.operator_key, .count = 1};

    for (unsigned i = 0; i < VERIFIES; i++)
        must(identity_verify(&record, record.node, &trust, record.issued_s) == IDENTITY_PROVEN);
}

static void
sign(void)
{
    for (unsigned i = 0; i < VERIFIES; i++)
        must(identity_sign(&record, &secret) == ERR_OK);
}

/* A usual delta: the engine's state, a model, two acks. */
static struct span
report_text(unsigned seq, char text[TEXT_SIZE])
{
    int bytes = snprintf(
        text, TEXT_SIZE,
        "{\"v\":1,\"node\":\"ams1-gpu0\",\"epoch\":5,\"seq\":%u,\"at_us\":%u,\"state\":\"ready\","
        "\"engine\":{\"kind\":\"vllm\",\"slots\":256,\"running\":31,\"waiting\":2,"
        "\"prefill_tokens_in_flight\":5210,\"kv_tokens_used\":81234,\"kv_tokens_cap\":427000,"
        "\"accepted_total\":123456789,\"prefill_tok_s\":9321.5,\"decode_tok_s\":58.25},"
        "\"models\":[{\"id\":\"llama-3.1-8b\",\"state\":\"ready\"}],"
        "\"ack\":{\"gw1\":4123,\"gw2\":77}}",
        seq, seq);

    return (struct span){text, (size_t)bytes};
}

static void
reports(void)
{
    static struct report report;
    static char text[TEXT_SIZE];
    struct report_sender s = {.epoch = 5, .head_known = true};
    struct message_error error;
    uint64_t now_ns = 1;

    for (unsigned seq = 1; seq <= REPORTS; seq++, now_ns += 1000000000) {
        struct span bytes = report_text(seq, text);

        must(report_parse(bytes, &report, &error) == ERR_OK);
        must(report_sender_take(&s, record.node, &report, bytes, now_ns) == REPORT_NEWS);
    }
}

/* Writing the text is the node's work, so it is taken off. */
static void
report_texts(void)
{
    static char text[TEXT_SIZE];

    for (unsigned seq = 1; seq <= REPORTS; seq++)
        must(report_text(seq, text).bytes > 0);
}

/* Microseconds for one of `count`. */
static double
best_us(void (*fn)(void), unsigned count)
{
    double best = 0;

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t began_ns = clock_thread_cpu_ns();
        double us;

        fn();
        us = (double)(clock_thread_cpu_ns() - began_ns) * 1e-3 / count;
        best = round == 0 || us < best ? us : best;
    }
    return best;
}

int
main(void)
{
    struct host_use before, after;
    double verify_us, report_us;

    signature_secret_of_seed(seed, &secret);
    record = (struct identity){.node = SPAN_LIT("ams1-gpu0"),
                               .operator= SPAN_LIT("acme"),
                               .url = SPAN_LIT("https://10.0.0.5:8443"),
                               .issued_s = 1800000000,
                               .expires_s = 1800086400};
    must(message_label_add(&record.labels, SPAN_LIT("region"), SPAN_LIT("eu-west")) == ERR_OK);
    must(message_label_add(&record.labels, SPAN_LIT("site"), SPAN_LIT("ams1")) == ERR_OK);
    host_use_read(&before);
    printf("figure identity_sign_us %.1f us\n", best_us(sign, VERIFIES));
    verify_us = best_us(verify, VERIFIES);
    printf("figure identity_verify_us %.1f us\n", verify_us);
    report_us = best_us(reports, REPORTS) - best_us(report_texts, REPORTS);
    printf("figure report_take_us %.2f us\n", report_us);
    printf("figure identity_chains_percent_of_core %.2f %%\n", NODES / CHAIN_S * verify_us * 1e-4);
    printf("figure report_percent_of_core %.2f %%\n", NODES * report_us * 1e-4);
    host_use_read(&after);
    host_use_print_cpu(&before, &after);
    return 0;
}
