/* report_sender - one sender as a receiver sees it; see report_sender.h. The order of the checks is
 * from cheap to dear: names and numbers, then allowances, then signatures. */
#include "wire/report_sender.h"

#define SEEN_BITS 64u

/* Of the life that is known? */
static enum report_verdict
check_epoch(const struct report_sender *s, uint64_t epoch)
{
    if (s->epoch == 0 || epoch > s->epoch)
        return REPORT_UNANNOUNCED;
    if (epoch < s->epoch)
        return REPORT_OLD_EPOCH;
    return s->gone ? REPORT_IS_GONE : REPORT_NEWS;
}

/* May so much a minute come? */
static bool
allows(struct bucket *b, uint64_t per_minute, uint64_t now_ns)
{
    uint64_t wait_ns;

    return bucket_take(b, per_minute, 1, now_ns, &wait_ns);
}

bool
report_sender_may_be_read(struct report_sender *s, uint64_t now_ns)
{
    return allows(&s->read, REPORT_READ_PER_MINUTE_MAX, now_ns);
}

/* ---- Reports. */

static enum report_verdict
check_seq(const struct report_sender *s, uint64_t seq)
{
    if (seq > s->seq)
        return REPORT_NEWS;
    if (s->seq - seq < SEEN_BITS && (s->seen >> (s->seq - seq) & 1) != 0)
        return REPORT_REPEATED;
    return REPORT_STALE;
}

/* seq is the highest now. */
static void
count_seq(struct report_sender *s, uint64_t seq)
{
    uint64_t ahead = seq - s->seq;

    s->seen = (ahead < SEEN_BITS ? s->seen << ahead : 0) | 1;
    s->seq = seq;
}

/* The page of a full report, or a delta: pages are only good in a row. */
static void
count_page(struct report_sender *s, const struct report *report, bool in_row)
{
    uint32_t page = report->page == MESSAGE_UNKNOWN ? 1 : (uint32_t)report->page;
    uint32_t pages = report->pages == MESSAGE_UNKNOWN ? 1 : (uint32_t)report->pages;
    bool goes_on = page == 1 || (in_row && s->pages == pages && s->page + 1 == page);

    s->whole = report->full && goes_on && page == pages;
    if (s->whole || !report->full || !goes_on) {
        s->wants_full = !s->whole && (s->wants_full || s->pages > 0 || report->full);
        s->page = s->pages = 0;
    } else {
        s->page = page;
        s->pages = pages;
    }
}

static void
count_age(struct report_sender *s, uint64_t at_us)
{
    s->late = at_us < s->at_us;
    if (!s->late)
        s->at_us = at_us;
}

static bool
has_other_key(const struct report_sender *s, const struct report *report)
{
    return !message_is_zero(report->key.bytes, sizeof(report->key.bytes)) &&
           !signature_key_eq(&report->key, &s->key);
}

enum report_verdict
report_sender_take(struct report_sender *s, struct span name, const struct report *report,
                   struct span bytes, uint64_t now_ns)
{
    enum report_verdict verdict;
    bool in_row;

    if (!span_eq(name, report->node))
        return REPORT_WRONG_NAME;
    verdict = check_epoch(s, report->epoch);
    if (verdict == REPORT_NEWS && has_other_key(s, report))
        verdict = REPORT_OTHER_KEY;
    if (verdict == REPORT_NEWS)
        verdict = check_seq(s, report->seq);
    if (verdict != REPORT_NEWS)
        return verdict;
    if (!allows(&s->reports, REPORT_PER_MINUTE_MAX, now_ns))
        return REPORT_TOO_OFTEN;
    in_row = report->seq == s->seq + 1;
    if (in_row && s->head_known)
        report_chain_add(s->head, bytes);
    else
        s->head_known = false;
    s->wants_full = s->wants_full || !in_row;
    count_seq(s, report->seq);
    count_page(s, report, in_row);
    count_age(s, report->at_us);
    return in_row ? REPORT_NEWS : REPORT_GAP;
}

enum report_verdict
report_sender_take_piggyback(struct report_sender *s, const struct report *report)
{
    enum report_verdict verdict = check_epoch(s, report->epoch);

    if (verdict == REPORT_NEWS && report->at_us <= s->at_us)
        verdict = REPORT_STALE;
    if (verdict == REPORT_NEWS)
        s->at_us = report->at_us;
    return verdict;
}

/* ---- Hello and gone. */

/* May this key have the name? */
static bool
may_have_name(const struct report_sender *s, const struct identity *record, bool proven)
{
    if (s->epoch == 0 || signature_key_eq(&s->key, &record->key))
        return true;
    if (!proven || !s->proven)
        return proven;
    return signature_key_eq(&s->operator_key, &record->operator_key) &&
           record->issued_s > s->record_issued_s;
}

/* A new life. */
static void
begin_epoch(struct report_sender *s, struct span name, uint64_t epoch)
{
    s->epoch = epoch;
    s->seq = s->seen = s->at_us = s->signed_seq = 0;
    s->page = s->pages = 0;
    s->gone = s->whole = s->late = false;
    s->wants_full = false; /* its first report is full; when that is missed there is a gap */
    s->head_known = true;
    report_chain_begin(name, epoch, s->head);
}

enum report_verdict
report_sender_take_hello(struct report_sender *s, struct span name,
                         const struct report_hello *hello, enum identity_verdict identity,
                         uint64_t now_ns)
{
    const struct identity *record = &hello->identity;
    bool proven = identity == IDENTITY_PROVEN, is_known;
    struct signature_data data;

    if (!span_eq(name, record->node))
        return REPORT_WRONG_NAME;
    if (!proven && !identity_is_unproven(identity))
        return REPORT_BAD_IDENTITY;
    if (!may_have_name(s, record, proven))
        return REPORT_OTHER_KEY;
    if (signature_key_eq(&s->key, &record->key)) { /* another key's epochs are its own */
        if (hello->epoch < s->epoch)
            return REPORT_OLD_EPOCH;
        if (hello->epoch == s->epoch && s->gone)
            return REPORT_IS_GONE;
        if (hello->epoch == s->epoch && hello->issued_s < s->hello_issued_s)
            return REPORT_STALE;
    }
    if (!allows(&s->signed_checks, REPORT_SIGNED_PER_MINUTE_MAX, now_ns))
        return REPORT_TOO_OFTEN;
    report_hello_data(hello, &data);
    if (!signature_is_good(&record->key, &data, &hello->signature))
        return REPORT_BAD_SIGNATURE;
    is_known = hello->epoch == s->epoch && signature_key_eq(&s->key, &record->key);
    if (!is_known && !allows(&s->lives, REPORT_LIVES_PER_MINUTE_MAX, now_ns))
        return REPORT_TOO_OFTEN;
    if (!is_known)
        begin_epoch(s, name, hello->epoch);
    s->key = record->key;
    s->operator_key = record->operator_key;
    s->proven = proven;
    s->hello_issued_s = hello->issued_s;
    s->hello_signature = hello->signature;
    s->record_issued_s = record->issued_s;
    return is_known ? REPORT_REPEATED : REPORT_NEWS;
}

bool
report_sender_has_heard(const struct report_sender *s, const struct report_hello *hello)
{
    return s->epoch != 0 && hello->epoch == s->epoch && !s->gone &&
           hello->issued_s == s->hello_issued_s &&
           memcmp(&hello->signature, &s->hello_signature, sizeof(s->hello_signature)) == 0;
}

enum report_verdict
report_sender_take_gone(struct report_sender *s, struct span name, const struct report_gone *gone,
                        uint64_t now_ns)
{
    struct signature_data data;
    enum report_verdict verdict;

    if (!span_eq(name, gone->node))
        return REPORT_WRONG_NAME;
    verdict = check_epoch(s, gone->epoch);
    if (verdict != REPORT_NEWS)
        return verdict;
    if (!allows(&s->signed_checks, REPORT_SIGNED_PER_MINUTE_MAX, now_ns))
        return REPORT_TOO_OFTEN;
    report_gone_data(gone, &data);
    if (!signature_is_good(&s->key, &data, &gone->signature))
        return REPORT_BAD_SIGNATURE;
    s->gone = true;
    return REPORT_NEWS;
}

/* ---- The chain. */

/* It is well signed: what does it say of what was heard? */
static enum report_verdict
compare_chain(struct report_sender *s, const struct report_chain *chain)
{
    bool same = memcmp(s->head, chain->head, sizeof(s->head)) == 0;
    bool was_known = s->head_known && chain->seq == s->seq;

    if (chain->seq > s->seq) { /* reports before it were missed */
        s->wants_full = true;
        count_seq(s, chain->seq);
        s->seen &= ~(uint64_t)1; /* named, not heard */
    }
    memcpy(s->head, chain->head, sizeof(s->head));
    s->head_known = true;
    if (!was_known)
        return REPORT_GAP;
    if (!same)
        return REPORT_BROKEN_CHAIN;
    s->signed_seq = chain->seq;
    return REPORT_NEWS;
}

enum report_verdict
report_sender_take_chain(struct report_sender *s, struct span name,
                         const struct report_chain *chain, uint64_t now_ns)
{
    struct signature_data data;
    enum report_verdict verdict;

    if (!span_eq(name, chain->node))
        return REPORT_WRONG_NAME;
    verdict = check_epoch(s, chain->epoch);
    if (verdict == REPORT_NEWS && chain->seq < s->seq)
        verdict = REPORT_STALE;
    if (verdict == REPORT_NEWS && chain->seq == s->signed_seq)
        verdict = REPORT_REPEATED;
    if (verdict != REPORT_NEWS)
        return verdict;
    if (!allows(&s->signed_checks, REPORT_SIGNED_PER_MINUTE_MAX, now_ns))
        return REPORT_TOO_OFTEN;
    report_chain_data(chain, &data);
    if (!signature_is_good(&s->key, &data, &chain->signature))
        return REPORT_BAD_SIGNATURE;
    return compare_chain(s, chain);
}

/* ---- Words. */

static const struct {
    const char *name, *words;
} verdicts[REPORT_VERDICT_COUNT] = {
    [REPORT_NEWS] = {"news", "taken"},
    [REPORT_GAP] = {"gap", "taken, but reports before it were missed: a full one is wanted"},
    [REPORT_REPEATED] = {"repeated", "this was heard before"},
    [REPORT_STALE] = {"stale", "newer was heard before"},
    [REPORT_OLD_EPOCH] =
        {"old_epoch", "of an earlier life; or its clock was set back, or its key is used twice"},
    [REPORT_UNANNOUNCED] = {"unannounced", "of a life that no hello began: a hello is wanted"},
    [REPORT_IS_GONE] = {"is_gone", "of a life that this node ended"},
    [REPORT_WRONG_NAME] = {"wrong_name", "it came under another name than it says"},
    [REPORT_OTHER_KEY] = {"other_key", "two nodes have this name: the key is not the known one"},
    [REPORT_BAD_SIGNATURE] = {"bad_signature", "the node's signature does not fit"},
    [REPORT_BAD_IDENTITY] = {"bad_identity", "its identity record is refused"},
    [REPORT_TOO_OFTEN] = {"too_often", "more than one sender may say"},
    [REPORT_BROKEN_CHAIN] =
        {"broken_chain", "what was heard is not what the node signed: somebody changes messages"},
};

const char *
report_verdict_name(enum report_verdict verdict)
{
    return verdict < REPORT_VERDICT_COUNT ? verdicts[verdict].name : "unknown";
}

const char *
report_verdict_words(enum report_verdict verdict)
{
    return verdict < REPORT_VERDICT_COUNT ? verdicts[verdict].words : "unknown";
}
