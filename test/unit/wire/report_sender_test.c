/* report_sender_test - one receiver hears a node, its ghosts, its doubles and strangers. */
#include "wire/report_sender.h"

#include "base/rng.h"
#include "tap.h"

#define SECOND_NS 1000000000u

static struct signature_secret node_secret, double_secret, operator_secret, other_operator;
static struct report_sender s;
static uint64_t now_ns;

static void
prepare(void)
{
    static const unsigned char a[32] = {1}, b[32] = {2}, c[32] = {3}, d[32] = {4};

    signature_secret_of_seed(a, &node_secret);
    signature_secret_of_seed(b, &double_secret);
    signature_secret_of_seed(c, &operator_secret);
    signature_secret_of_seed(d, &other_operator);
    s = (struct report_sender){.epoch = 0};
    now_ns = SECOND_NS;
}

/* ---- What is said. */

static enum report_verdict
say_hello_as(const struct signature_secret *secret, const struct signature_secret *operator_,
             const char *name, uint64_t epoch, uint64_t issued_s, enum identity_verdict identity)
{
    struct report_hello hello = {.v = 1, .epoch = epoch, .issued_s = issued_s};
    struct signature_data data;

    hello.identity.node = span_of(name);
    hello.identity.issued_s = issued_s;
    signature_key_of_secret(secret, &hello.identity.key);
    signature_key_of_secret(operator_, &hello.identity.operator_key);
    report_hello_data(&hello, &data);
    CHECK(signature_sign(secret, &data, &hello.signature) == ERR_OK, "a hello is signed");
    return report_sender_take_hello(&s, SPAN_LIT("n1"), &hello, identity, now_ns);
}

static enum report_verdict
say_hello(uint64_t epoch)
{
    return say_hello_as(&node_secret, &operator_secret, "n1", epoch, epoch, IDENTITY_UNSIGNED);
}

static struct report
report_of(uint64_t epoch, uint64_t seq)
{
    struct report r;

    report_init(&r);
    r.node = SPAN_LIT("n1");
    r.epoch = epoch;
    r.seq = seq;
    r.at_us = seq * 1000;
    r.full = seq == 1;
    return r;
}

static enum report_verdict
say(uint64_t epoch, uint64_t seq)
{
    struct report r = report_of(epoch, seq);

    return report_sender_take(&s, SPAN_LIT("n1"), &r, SPAN_LIT("bytes"), now_ns);
}

static enum report_verdict
say_page(uint64_t seq, uint64_t page, uint64_t pages)
{
    struct report r = report_of(5, seq);

    r.full = true;
    r.page = page;
    r.pages = pages;
    return report_sender_take(&s, SPAN_LIT("n1"), &r, SPAN_LIT("bytes"), now_ns);
}

static enum report_verdict
say_gone(const struct signature_secret *secret, uint64_t epoch)
{
    struct report_gone gone = {.v = 1, .node = SPAN_LIT("n1"), .epoch = epoch};
    struct signature_data data;

    report_gone_data(&gone, &data);
    CHECK(signature_sign(secret, &data, &gone.signature) == ERR_OK, "a gone is signed");
    return report_sender_take_gone(&s, SPAN_LIT("n1"), &gone, now_ns);
}

/* The chain over so many reports whose bytes are these. */
static enum report_verdict
say_chain(const struct signature_secret *secret, uint64_t seq, struct span bytes)
{
    struct report_chain chain = {.v = 1, .node = SPAN_LIT("n1"), .epoch = 5, .seq = seq};
    struct signature_data data;

    report_chain_begin(chain.node, chain.epoch, chain.head);
    for (uint64_t i = 0; i < seq; i++)
        report_chain_add(chain.head, bytes);
    report_chain_data(&chain, &data);
    CHECK(signature_sign(secret, &data, &chain.signature) == ERR_OK, "a chain is signed");
    return report_sender_take_chain(&s, SPAN_LIT("n1"), &chain, now_ns);
}

/* ---- What is thought of it. */

static void
check_order(void)
{
    struct report r;

    prepare();
    CHECK(say(5, 1) == REPORT_UNANNOUNCED, "nothing before a hello");
    CHECK(say_hello(5) == REPORT_NEWS, "a hello");
    CHECK(say(5, 1) == REPORT_NEWS && s.whole && !s.wants_full, "the first report is full");
    CHECK(say(5, 1) == REPORT_REPEATED, "once");
    CHECK(say(5, 2) == REPORT_NEWS && !s.whole, "the next");
    CHECK(say(5, 5) == REPORT_GAP && s.wants_full, "two were missed");
    CHECK(say(5, 3) == REPORT_STALE, "they come too late");
    CHECK(say(5, 2) == REPORT_REPEATED, "one is replayed");
    CHECK(say(5, 500) == REPORT_GAP && say(5, 430) == REPORT_STALE, "far behind");
    r = report_of(5, 501);
    CHECK(report_sender_take(&s, SPAN_LIT("n2"), &r, SPAN_LIT("x"), now_ns) == REPORT_WRONG_NAME,
          "under another name");
    signature_key_of_secret(&double_secret, &r.key);
    CHECK(report_sender_take(&s, SPAN_LIT("n1"), &r, SPAN_LIT("x"), now_ns) == REPORT_OTHER_KEY,
          "with another key");
    CHECK(say(4, 900) == REPORT_OLD_EPOCH, "a ghost");
    CHECK(say(6, 1) == REPORT_UNANNOUNCED, "a life that nobody announced");
    CHECK(say(5, 501) == REPORT_NEWS, "none of which did harm");
}

static void
check_pages(void)
{
    prepare();
    CHECK(say_hello(5) == REPORT_NEWS, "a hello");
    CHECK(say_page(1, 1, 3) == REPORT_NEWS && !s.whole, "the first page");
    CHECK(say_page(2, 2, 3) == REPORT_NEWS && !s.whole, "the second");
    CHECK(say_page(3, 3, 3) == REPORT_NEWS && s.whole && !s.wants_full, "the last: whole");
    CHECK(say_page(4, 1, 3) == REPORT_NEWS && say_page(6, 3, 3) == REPORT_GAP && !s.whole,
          "a page was missed: not whole");
    CHECK(s.wants_full, "and wanted");
    CHECK(say_page(7, 2, 2) == REPORT_NEWS && !s.whole && s.wants_full, "a page from nowhere");
    CHECK(say_page(8, 1, 2) == REPORT_NEWS && say(5, 9) == REPORT_NEWS && s.wants_full,
          "a delta between pages");
    CHECK(say_page(10, 1, 1) == REPORT_NEWS && s.whole && !s.wants_full, "a full one at once");
}

static void
check_piggyback(void)
{
    struct report r;

    prepare();
    r = report_of(5, 1);
    CHECK(report_sender_take_piggyback(&s, &r) == REPORT_UNANNOUNCED, "of whom?");
    CHECK(say_hello(5) == REPORT_NEWS && say(5, 1) == REPORT_NEWS && !s.late, "known");
    r.at_us = 2500;
    CHECK(report_sender_take_piggyback(&s, &r) == REPORT_NEWS, "newer than the bus");
    CHECK(report_sender_take_piggyback(&s, &r) == REPORT_STALE, "once");
    CHECK(say(5, 2) == REPORT_NEWS && s.late, "the bus is behind it: its engine is old news");
    CHECK(say(5, 3) == REPORT_NEWS && !s.late, "now it is newer");
    r.epoch = 4;
    CHECK(report_sender_take_piggyback(&s, &r) == REPORT_OLD_EPOCH, "a ghost");
}

static void
check_lives(void)
{
    prepare();
    CHECK(say_hello(5) == REPORT_NEWS, "a life");
    CHECK(say_hello(5) == REPORT_REPEATED, "said again");
    CHECK(say_hello_as(&node_secret, &operator_secret, "n1", 5, 4, IDENTITY_UNSIGNED) ==
              REPORT_STALE,
          "an older hello of it");
    CHECK(say_hello(4) == REPORT_OLD_EPOCH, "a replay of an earlier one");
    CHECK(say_gone(&double_secret, 5) == REPORT_BAD_SIGNATURE, "a stranger cannot end it");
    CHECK(say_gone(&node_secret, 4) == REPORT_OLD_EPOCH, "nor an earlier end");
    CHECK(say(5, 1) == REPORT_NEWS && say_gone(&node_secret, 5) == REPORT_NEWS, "it ends");
    CHECK(say(5, 2) == REPORT_IS_GONE && say_hello(5) == REPORT_IS_GONE, "and stays so");
    CHECK(say_gone(&node_secret, 5) == REPORT_IS_GONE, "once");
    CHECK(say_hello(6) == REPORT_NEWS && say(6, 1) == REPORT_NEWS, "a quick rejoin");
    CHECK(say(5, 3) == REPORT_OLD_EPOCH && say_gone(&node_secret, 5) == REPORT_OLD_EPOCH,
          "no ghost disturbs");
}

static void
check_names(void)
{
    prepare();
    CHECK(say_hello_as(&node_secret, &operator_secret, "n2", 5, 5, IDENTITY_PROVEN) ==
              REPORT_WRONG_NAME,
          "a record of another name");
    CHECK(say_hello_as(&node_secret, &operator_secret, "n1", 5, 5, IDENTITY_EXPIRED) ==
              REPORT_BAD_IDENTITY,
          "an expired record");
    CHECK(say_hello(5) == REPORT_NEWS, "unproven, first");
    CHECK(say_hello_as(&double_secret, &operator_secret, "n1", 9, 9, IDENTITY_UNSIGNED) ==
              REPORT_OTHER_KEY,
          "two nodes with one name: the second is refused");
    CHECK(say_hello_as(&double_secret, &operator_secret, "n1", 3, 9, IDENTITY_PROVEN) ==
                  REPORT_NEWS &&
              s.proven && s.epoch == 3,
          "unless it is proven, whatever its epoch");
    CHECK(say_hello(20) == REPORT_OTHER_KEY, "the unproven one does not get it back");
    CHECK(say_hello_as(&node_secret, &other_operator, "n1", 20, 20, IDENTITY_PROVEN) ==
              REPORT_OTHER_KEY,
          "nor does another operator's");
    CHECK(say_hello_as(&node_secret, &operator_secret, "n1", 20, 8, IDENTITY_PROVEN) ==
              REPORT_OTHER_KEY,
          "nor an older record of the same");
    CHECK(say_hello_as(&node_secret, &operator_secret, "n1", 20, 20, IDENTITY_PROVEN) ==
              REPORT_NEWS,
          "a new key of the same operator does");
}

static void
check_floods(void)
{
    uint32_t taken = 0;

    prepare();
    CHECK(say_hello(5) == REPORT_NEWS, "a hello");
    for (uint64_t seq = 1; seq <= 2 * REPORT_PER_MINUTE_MAX; seq++)
        taken += report_verdict_is_taken(say(5, seq));
    CHECK(taken == REPORT_PER_MINUTE_MAX, "a minute's worth, not more");
    CHECK(say(5, 9999) == REPORT_TOO_OFTEN, "then it is too often");
    now_ns += SECOND_NS;
    CHECK(say(5, 10000) == REPORT_GAP && s.wants_full, "a second later it may speak again");
    prepare();
    taken = 0;
    for (uint64_t epoch = 1; epoch <= 20; epoch++)
        taken += say_hello(epoch) == REPORT_NEWS;
    CHECK(taken == REPORT_LIVES_PER_MINUTE_MAX, "a node that flaps");
    prepare();
    CHECK(say_hello(5) == REPORT_NEWS, "a hello");
    taken = 0;
    for (uint64_t i = 0; i < 200; i++)
        taken += say_gone(&double_secret, 5) == REPORT_BAD_SIGNATURE;
    CHECK(taken == REPORT_SIGNED_PER_MINUTE_MAX - 1, "forgeries cost so many checks, not more");
    CHECK(say(5, 1) == REPORT_NEWS, "and the reports go on");
    taken = 0;
    for (uint32_t i = 0; i < 2 * REPORT_READ_PER_MINUTE_MAX; i++)
        taken += report_sender_may_be_read(&s, now_ns);
    CHECK(taken == REPORT_READ_PER_MINUTE_MAX, "no more than that is read, whatever it is");
    CHECK(taken >= REPORT_PER_MINUTE_MAX + REPORT_SIGNED_PER_MINUTE_MAX, "all that may be said is");
    now_ns += SECOND_NS;
    CHECK(report_sender_may_be_read(&s, now_ns), "a second later it is again");
}

static void
check_chain(void)
{
    prepare();
    CHECK(say_hello(5) == REPORT_NEWS && say(5, 1) == REPORT_NEWS && say(5, 2) == REPORT_NEWS,
          "two reports");
    CHECK(say_chain(&double_secret, 2, SPAN_LIT("bytes")) == REPORT_BAD_SIGNATURE, "forged");
    CHECK(say_chain(&node_secret, 2, SPAN_LIT("bytes")) == REPORT_NEWS && s.signed_seq == 2,
          "what was heard is what was signed");
    CHECK(say_chain(&node_secret, 2, SPAN_LIT("bytes")) == REPORT_REPEATED, "once");
    CHECK(say_chain(&node_secret, 1, SPAN_LIT("bytes")) == REPORT_STALE, "an earlier one");
    CHECK(say(5, 3) == REPORT_NEWS &&
              say_chain(&node_secret, 3, SPAN_LIT("other")) == REPORT_BROKEN_CHAIN,
          "somebody changed a report");
    CHECK(s.signed_seq == 2, "which is not covered");
    CHECK(say(5, 5) == REPORT_GAP && !s.head_known, "one is missed: the chain is unknown");
    CHECK(say_chain(&node_secret, 5, SPAN_LIT("bytes")) == REPORT_GAP && s.head_known,
          "until the next signature");
    CHECK(say(5, 6) == REPORT_NEWS && say_chain(&node_secret, 6, SPAN_LIT("bytes")) == REPORT_NEWS,
          "from there on it holds");
    CHECK(say_chain(&node_secret, 8, SPAN_LIT("bytes")) == REPORT_GAP && s.wants_full,
          "it names reports that never came");
    CHECK(say(5, 8) == REPORT_STALE && say(5, 9) == REPORT_NEWS, "which are covered by a fetch");
}

/* ---- A bad network: what is said is lost, doubled, late and, now and then, changed. Whatever
 * comes, a receiver never goes back, never calls an honest chain broken, and never a changed one
 * good. */

#define SAID_MAX  400u
#define LATE_MAX  6u
#define STORIES   200u
#define CHAIN_PER 7u /* reports */

struct said {
    bool is_chain, changed;
    uint64_t epoch, seq;
    struct report_chain chain;
    char bytes[40];
};

struct story {
    struct rng rng;
    struct said said[SAID_MAX];
    uint32_t count;
    bool tampers;
};

/* What an honest node says in three lives. */
static void
tell_story(struct story *t)
{
    unsigned char head[REPORT_HASH_BYTES];
    uint64_t seq = 0, epoch = 5;
    struct signature_data data;

    t->count = 0;
    report_chain_begin(SPAN_LIT("n1"), epoch, head);
    while (t->count + 2 < SAID_MAX / 4) {
        struct said *r = &t->said[t->count++], *c;

        *r = (struct said){.epoch = epoch, .seq = ++seq};
        snprintf(r->bytes, sizeof(r->bytes), "report %u of %u", (unsigned)seq, (unsigned)epoch);
        report_chain_add(head, span_of(r->bytes));
        if (seq % CHAIN_PER == 0) {
            c = &t->said[t->count++];
            *c = (struct said){.is_chain = true, .epoch = epoch, .seq = seq};
            c->chain = (struct report_chain){
                .v = 1, .node = SPAN_LIT("n1"), .epoch = epoch, .seq = seq};
            memcpy(c->chain.head, head, sizeof(head));
            report_chain_data(&c->chain, &data);
            if (signature_sign(&node_secret, &data, &c->chain.signature) != ERR_OK)
                c->seq = 0;
        }
        if (seq == 30 && epoch < 7) {
            seq = 0;
            report_chain_begin(SPAN_LIT("n1"), ++epoch, head);
        }
    }
}

/* What the network makes of it. */
static void
spoil(struct story *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        uint32_t k = i + (uint32_t)rng_below(&t->rng, LATE_MAX);
        uint32_t luck = (uint32_t)rng_below(&t->rng, 20);
        struct said swap = t->said[i];

        if (luck == 0 && k < t->count) { /* late */
            t->said[i] = t->said[k];
            t->said[k] = swap;
        } else if (luck == 1) { /* lost */
            t->count--;
            memmove(&t->said[i], &t->said[i + 1], (t->count - i) * sizeof(t->said[0]));
        } else if (luck == 2 && t->count < SAID_MAX) { /* doubled */
            memmove(&t->said[i + 1], &t->said[i], (t->count - i) * sizeof(t->said[0]));
            t->count++;
        } else if (luck == 3 && t->tampers && !swap.is_chain) {
            t->said[i].bytes[0] = 'R';
            t->said[i].changed = true;
        }
    }
}

/* Hear it. False: something above does not hold. */
static bool
hear(const struct story *t, uint32_t *ret_covered)
{
    bool touched = false; /* since the chain was known last, something that was taken was changed */

    for (uint32_t i = 0; i < t->count; i++) {
        const struct said *m = &t->said[i];
        struct report_sender before = s;
        struct report r = report_of(m->epoch, m->seq);
        enum report_verdict verdict;

        if (m->epoch > s.epoch) {
            if (say_hello(m->epoch) != REPORT_NEWS)
                return false;
            touched = false;
            before = s;
        }
        now_ns += SECOND_NS * 20;
        if (m->is_chain) {
            verdict = report_sender_take_chain(&s, SPAN_LIT("n1"), &m->chain, now_ns);
            if ((verdict == REPORT_NEWS && touched) || (verdict == REPORT_BROKEN_CHAIN && !touched))
                return false;
            *ret_covered += verdict == REPORT_NEWS;
        } else {
            verdict = report_sender_take(&s, SPAN_LIT("n1"), &r, span_of(m->bytes), now_ns);
            if (report_verdict_is_taken(verdict) && s.head_known)
                touched = touched || m->changed;
        }
        if (m->is_chain ? verdict <= REPORT_GAP || verdict == REPORT_BROKEN_CHAIN : !s.head_known)
            touched = false; /* known from here on, or not known */
        if (s.epoch != before.epoch || s.seq < before.seq ||
            (report_verdict_is_taken(verdict) && !m->is_chain && s.seq <= before.seq))
            return false;
    }
    return true;
}

static void
check_stories(void)
{
    static struct story t;
    uint32_t covered = 0, bad = 0;

    for (uint32_t seed = 1; seed <= STORIES; seed++) {
        prepare();
        rng_init(&t.rng, seed);
        t.tampers = seed % 2 == 0;
        tell_story(&t);
        spoil(&t);
        if (!hear(&t, &covered)) {
            printf("# seed %u\n", seed);
            bad++;
        }
    }
    CHECK(bad == 0, "nothing goes back, no honest chain is broken, no changed one good");
    CHECK(covered > STORIES, "and many reports are covered by signatures");
}

int
main(void)
{
    check_order();
    check_pages();
    check_piggyback();
    check_lives();
    check_names();
    check_floods();
    check_chain();
    check_stories();
    for (uint32_t i = 0; i < REPORT_VERDICT_COUNT; i++)
        CHECK(report_verdict_words((enum report_verdict)i)[0] != '\0',
              report_verdict_name((enum report_verdict)i));
    return tap_done();
}
