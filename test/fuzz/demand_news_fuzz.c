/* demand_news_fuzz - any bytes, line by line, as what comes from one gateway: what can be read can
 * be written and says the same; what is refused changes nothing; time never goes back. */
#include "base/must.h"
#include "wire/demand_news.h"

#define LINES_MAX 64u
#define NOW_S     1800000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void
check(struct demand_sender *s, struct span line, uint64_t now_ns)
{
    static char json[MESSAGE_BYTES_MAX], json_again[MESSAGE_BYTES_MAX];
    static struct demand_news news, again;
    struct demand_sender before = *s;
    struct message_error error = {""};
    enum demand_verdict verdict;
    size_t size, size_again;

    if (demand_news_parse(line, &news, &error) != ERR_OK) {
        must(error.text[0] != '\0');
        return;
    }
    if (demand_news_write(&news, json, &size) == ERR_OK) { /* else it is longer than it was */
        must(demand_news_parse((struct span){json, size}, &again, &error) == ERR_OK);
        must(demand_news_write(&again, json_again, &size_again) == ERR_OK);
        must(size == size_again && memcmp(json, json_again, size) == 0);
    }
    verdict = demand_sender_take(s, SPAN_LIT("gw1"), &news, false, now_ns, NOW_S);
    if (verdict == DEMAND_NEWS)
        must(s->epoch > before.epoch || (s->epoch == before.epoch && s->seq > before.seq));
    else
        must(s->epoch == before.epoch && s->seq == before.seq && s->gone == before.gone);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct span rest = {(const char *)data, bytes};
    struct demand_sender s = {.epoch = 0};

    for (unsigned i = 0; i < LINES_MAX && rest.bytes > 0; i++) {
        size_t line = span_find(rest, '\n');
        check(&s, (struct span){rest.data, line}, 1 + i * UINT64_C(1000000));
        rest = span_from(rest, line + 1);
    }
    return 0;
}
