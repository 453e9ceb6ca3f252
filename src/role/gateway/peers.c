/* peers - what other gateways say, judged and kept; see peers.h. */
#include "role/gateway/peers.h"

#include <stdlib.h>
#include <string.h>

#include "io/bus.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/members.h"
#include "role/gateway/peers_state.h"

/* ---- Words. */

static const struct {
    const char *name, *words;
} refusals[] = {
    [PEERS_MALFORMED - PEERS_MALFORMED] = {"malformed", "it is no message"},
    [PEERS_TABLE_FULL - PEERS_MALFORMED] = {"table_full", "there are too many gateways"},
    [PEERS_OWN_NAME - PEERS_MALFORMED] = {"own_name", "another gateway has our name"},
};

const char *
peers_verdict_name(uint32_t verdict)
{
    if (verdict < DEMAND_VERDICT_COUNT)
        return demand_verdict_name((enum demand_verdict)verdict);
    return verdict < PEERS_VERDICT_COUNT ? refusals[verdict - PEERS_MALFORMED].name : "unknown";
}

const char *
peers_verdict_words(uint32_t verdict)
{
    if (verdict < DEMAND_VERDICT_COUNT)
        return demand_verdict_words((enum demand_verdict)verdict);
    return verdict < PEERS_VERDICT_COUNT ? refusals[verdict - PEERS_MALFORMED].words : "unknown";
}

/* ---- The table. */

static bool
is_alive(const struct peers *p, const struct peer *peer)
{
    return !peer->sender.gone && p->clock_ns - peer->heard_ns <= PEERS_ALIVE_NS;
}

/* Where the name stands, or would. */
static uint32_t
place_of(const struct peers *p, struct span name, bool *ret_is_there)
{
    uint32_t at = 0;

    while (at < p->count) {
        struct span other = span_of(p->list[at]->name);
        size_t bytes = other.bytes < name.bytes ? other.bytes : name.bytes;
        int order = memcmp(other.data, name.data, bytes);
        if (order > 0 || (order == 0 && other.bytes >= name.bytes))
            break;
        at++;
    }
    *ret_is_there = at < p->count && span_eq_text(name, p->list[at]->name);
    return at;
}

static void
remove_at(struct peers *p, uint32_t at)
{
    free(p->list[at]);
    p->count--;
    memmove(&p->list[at], &p->list[at + 1], (p->count - at) * sizeof(p->list[0]));
}

/* NULL: it is full, or there is no memory. */
static struct peer *
add_at(struct peers *p, uint32_t at, struct span name)
{
    struct peer *peer = p->count < PEERS_MAX ? calloc(1, sizeof(*peer)) : NULL;

    if (peer == NULL)
        return NULL;
    span_copy(name, peer->name, sizeof(peer->name));
    memmove(&p->list[at + 1], &p->list[at], (p->count - at) * sizeof(p->list[0]));
    p->list[at] = peer;
    p->count++;
    peer->counted_part = 1.0f;
    return peer;
}

const struct config_gateway *
peers_named(const struct config *config, struct span name)
{
    for (size_t i = 0; i < config->gateway_count; i++) {
        if (span_eq(config->gateways[i].name, name))
            return &config->gateways[i];
    }
    return NULL;
}

/* Not the one that the configuration has in mind by this name? */
static bool
is_another(const struct peer *peer, const struct config *config)
{
    const struct config_gateway *named = peers_named(config, span_of(peer->name));

    return named != NULL && !signature_key_eq(&named->key, &peer->sender.key);
}

/* For one that the configuration names there is a place: of the others who was heard longest ago
 * gives it. */
static void
make_place(struct peers *p, const struct config *config)
{
    uint32_t oldest = PEERS_MAX;

    for (uint32_t i = 0; i < p->count; i++) {
        if (peers_named(config, span_of(p->list[i]->name)) == NULL &&
            (oldest == PEERS_MAX || p->list[i]->heard_ns < p->list[oldest]->heard_ns))
            oldest = i;
    }
    if (p->count == PEERS_MAX && oldest < PEERS_MAX)
        remove_at(p, oldest);
}

static void
count_alive(struct peers *p)
{
    uint32_t alive = 1;

    for (uint32_t i = 0; i < p->count; i++)
        alive += is_alive(p, p->list[i]);
    atomic_store_explicit(&p->alive, alive, memory_order_relaxed);
}

void
peers_sweep(struct peers *p, const struct config *config)
{
    for (uint32_t i = p->count; i-- > 0;) {
        struct peer *peer = p->list[i];
        bool is_old = p->clock_ns - peer->heard_ns >= PEERS_FORGET_NS,
             is_not = is_another(peer, config);
        uint32_t kept = 0;

        if (is_old || is_not) {
            if (is_not || !peer->sender.gone)
                log_warn("gateway %s: forgotten: %s", peer->name,
                         is_not ? "the configuration gives this name another key"
                                : "nothing was heard of it for a minute");
            remove_at(p, i);
            continue;
        }
        for (uint32_t k = 0; k < peer->row_count; k++) {
            if (p->clock_ns - peer->rows[k].heard_ns < PEERS_FORGET_NS)
                peer->rows[kept++] = peer->rows[k];
        }
        peer->row_count = kept;
    }
    count_alive(p);
}

/* ---- A message. */

static void
take_row(struct peers *p, struct peer *peer, uint16_t model, const struct demand_news_model *m)
{
    uint32_t at = 0;

    while (at < peer->row_count && peer->rows[at].model != model)
        at++;
    if (at == PEERS_MODELS_MAX)
        return;
    if (at == peer->row_count)
        peer->row_count++;
    peer->rows[at] = (struct peer_row){.model = model,
                                       .heard_ns = p->clock_ns,
                                       .rates = {(float)m->requests_s, (float)m->prompt_tok_s,
                                                 (float)m->output_tok_s, (float)m->usual_requests_s,
                                                 (float)m->ahead_requests_s}};
}

static void
note_news(struct peers *p, struct peer *peer, const struct demand_news *news,
          const struct fleet *fleet)
{
    bool was_alive = peer->messages > 0 && is_alive(p, peer);

    if (!span_eq_text(news->region, peer->region)) { /* what it said was of another one */
        span_copy(news->region, peer->region, sizeof(peer->region));
        peer->row_count = 0;
    }
    peer->messages++;
    peer->heard_ns = p->clock_ns;
    peer->heard_at_ns = clock_now_ns();
    for (size_t i = 0; i < news->model_count; i++) {
        uint16_t model = fleet_model_find(fleet, news->models[i].id);
        if (model != FLEET_MODEL_NONE)
            take_row(p, peer, model, &news->models[i]);
    }
    if (news->gone) {
        peer->row_count = 0;
        log_info("gateway %s: is gone", peer->name);
    } else if (!was_alive) {
        log_info("gateway %s: is heard, in region %s", peer->name, peer->region);
    }
    count_alive(p);
}

/* The first message of one that is not in the table: it gets a place when it is good. */
static uint32_t
take_stranger(struct peers *p, struct span name, const struct demand_news *news, bool needs_key,
              const struct config *config, struct peer **ret_peer)
{
    struct demand_sender sender = {.epoch = 0};
    enum demand_verdict verdict;
    bool is_known, is_named = peers_named(config, name) != NULL;

    if (p->count == PEERS_MAX && !is_named)
        return PEERS_TABLE_FULL;
    verdict = demand_sender_take(&sender, name, news, needs_key, clock_now_ns(), clock_wall_s());
    if (verdict != DEMAND_NEWS)
        return verdict;
    if (is_named)
        make_place(p, config);
    *ret_peer = add_at(p, place_of(p, name, &is_known), name);
    if (*ret_peer == NULL)
        return PEERS_TABLE_FULL;
    (*ret_peer)->sender = sender;
    return verdict;
}

static uint32_t
take_news(struct peers *p, struct span name, const struct demand_news *news, bool needs_key,
          const struct fleet *fleet, struct peer **ret_peer)
{
    const struct config *config = &roster_base(fleet->roster)->config;
    const struct config_gateway *named = peers_named(config, name);
    bool is_known;
    uint32_t at = place_of(p, name, &is_known), verdict;

    if (named != NULL && !signature_key_eq(&named->key, &news->key))
        return DEMAND_OTHER_KEY;
    if (is_known && is_another(p->list[at], config)) { /* the configuration was read just now */
        remove_at(p, at);
        is_known = false;
    }
    if (!is_known) {
        verdict = take_stranger(p, name, news, needs_key, config, ret_peer);
    } else {
        *ret_peer = p->list[at];
        verdict = demand_sender_take(&(*ret_peer)->sender, name, news, needs_key, clock_now_ns(),
                                     clock_wall_s());
    }
    if (verdict == DEMAND_NEWS)
        note_news(p, *ret_peer, news, fleet);
    return verdict;
}

/* Count it; tell of what is refused, but seldom. */
static void
conclude(struct peers *p, struct span name, uint32_t verdict, const char *words, struct peer *peer)
{
    uint64_t now_ns = clock_now_ns();

    p->verdicts[verdict]++;
    if (verdict == DEMAND_NEWS || verdict == DEMAND_REPEATED)
        return;
    if (peer != NULL)
        peer->refused++;
    if (p->logged_ns[verdict] != 0 && now_ns - p->logged_ns[verdict] < PEERS_LOG_NS)
        return;
    p->logged_ns[verdict] = now_ns;
    log_warn("gateway %.*s: what it says is refused: %s", (int)name.bytes, name.data, words);
}

/* Something came under a name that the bus vouches for: is it to be read? Nobody costs another one
 * what he may say: one in the list has its own, the others have theirs by whether the configuration
 * names them. DEMAND_NEWS: yes. */
static uint32_t
before_reading(struct peers *p, struct span name, const struct config *config,
               struct peer **ret_peer)
{
    uint64_t now_ns = clock_now_ns(), wait_ns;
    bool is_known, is_named;
    uint32_t at;

    if (span_eq_text(name, p->gateway->name))
        return demand_sender_may_be_read(&p->own_name, now_ns) ? DEMAND_NEWS : DEMAND_TOO_OFTEN;
    at = place_of(p, name, &is_known);
    if (is_known) {
        *ret_peer = p->list[at];
        return demand_sender_may_be_read(&p->list[at]->sender, now_ns) ? DEMAND_NEWS
                                                                       : DEMAND_TOO_OFTEN;
    }
    is_named = peers_named(config, name) != NULL;
    if (p->count == PEERS_MAX && !is_named)
        return PEERS_TABLE_FULL;
    return bucket_take(&p->strangers_read[is_named], PEERS_STRANGERS_PER_MINUTE_MAX, 1, now_ns,
                       &wait_ns)
               ? DEMAND_NEWS
               : DEMAND_TOO_OFTEN;
}

/* False: it is not to be read, and that was counted. */
static bool
may_be_read(struct peers *p, struct span name, const struct fleet *fleet, uint32_t *ret_verdict)
{
    struct peer *peer = NULL;

    peers_lock(p);
    *ret_verdict = before_reading(p, name, &roster_base(fleet->roster)->config, &peer);
    if (*ret_verdict != DEMAND_NEWS)
        conclude(p, name, *ret_verdict, peers_verdict_words(*ret_verdict), peer);
    peers_unlock(p);
    return *ret_verdict == DEMAND_NEWS;
}

/* It is to be read. */
static uint32_t
read_news(struct peers *p, struct span name, struct span body, bool needs_key,
          const struct fleet *fleet)
{
    struct message_error error = {.text = ""};
    struct demand_news news;
    struct peer *peer = NULL;
    uint32_t verdict = PEERS_MALFORMED;
    enum err err = demand_news_parse(body, &news, &error);

    if (err == ERR_OK && span_eq_text(name, p->gateway->name)) {
        if (news.epoch == p->epoch)
            return DEMAND_NEWS; /* we hear ourselves */
        verdict = PEERS_OWN_NAME;
    }
    peers_lock(p);
    if (err == ERR_OK && verdict != PEERS_OWN_NAME)
        verdict = take_news(p, name, &news, needs_key, fleet, &peer);
    conclude(p, name, verdict, err != ERR_OK ? error.text : peers_verdict_words(verdict), peer);
    peers_unlock(p);
    return verdict;
}

uint32_t
peers_take(struct peers *p, struct span name, struct span body, bool needs_key)
{
    struct fleet *fleet = decide_fleet(p->gateway->door);
    uint32_t verdict;

    if (needs_key || may_be_read(p, name, fleet, &verdict))
        verdict = read_news(p, name, body, needs_key, fleet);
    fleet_unref(fleet);
    return verdict;
}

static void
on_demand(const struct bus_message *message, void *user)
{
    size_t at = message->subject.bytes;
    struct span name;

    while (at > 0 && message->subject.data[at - 1] != '.')
        at--;
    name = span_from(message->subject, at);
    if (config_is_name(name))
        peers_take(user, name, message->body, false);
}

/* ---- Life. */

enum err
peers_open(struct gateway *gateway, struct peers **ret_peers)
{
    struct peers *p = calloc(1, sizeof(*p));
    enum err err = ERR_OK;

    if (p == NULL)
        return ERR_MEMORY;
    p->gateway = gateway;
    atomic_init(&p->alive, 1);
    must(pthread_mutex_init(&p->lock, NULL) == 0);
    p->epoch = clock_wall_ms();
    p->cells = calloc((size_t)CORE_MODELS_USUAL * CORE_REGIONS_MAX, sizeof(*p->cells));
    p->bus = members_bus_of(gateway->members);
    if (p->cells == NULL)
        err = ERR_MEMORY;
    if (err == ERR_OK)
        peers_beat_open(p);
    if (err == ERR_OK)
        peers_say_open(p);
    if (err == ERR_OK && p->bus != NULL)
        err = bus_subscribe(p->bus, SPAN_LIT("iso.demand.>"), on_demand, p);
    *ret_peers = p; /* callbacks may run already: the caller closes it behind the bus */
    return err;
}

void
peers_stop(struct peers *p)
{
    if (p == NULL)
        return;
    peers_say_close(p);
    peers_beat_close(p);
    p->bus = NULL;
}

void
peers_close(struct peers *p)
{
    if (p == NULL)
        return;
    while (p->count > 0)
        remove_at(p, p->count - 1);
    must(pthread_mutex_destroy(&p->lock) == 0);
    free(p->cells);
    free(p);
}

/* ---- For others. */

uint32_t
peers_count(const struct peers *p)
{
    return atomic_load_explicit(&p->alive, memory_order_relaxed);
}

static void
look(const struct peers *p, const struct peer *peer, struct peer_look *ret)
{
    const struct signature_key *key = &peer->sender.key;

    *ret = (struct peer_look){
        .is_alive = is_alive(p, peer),
        .is_gone = peer->sender.gone,
        .epoch = peer->sender.epoch,
        .messages = peer->messages,
        .refused = peer->refused,
        .heard_ago_ms = (double)(clock_now_ns() - peer->heard_at_ns) / 1e6,
        .models = peer->row_count,
        .counted_part = (double)peer->counted_part,
    };
    memcpy(ret->name, peer->name, sizeof(ret->name));
    memcpy(ret->region, peer->region, sizeof(ret->region));
    if (!message_is_zero(key->bytes, sizeof(key->bytes)))
        message_hex(key->bytes, (PEERS_KEY_ID_BYTES - 1) / 2, ret->key_id);
    for (uint32_t i = 0; i < peer->row_count; i++) {
        float part = peers_part(p->clock_ns - peer->rows[i].heard_ns);
        ret->requests_s += (double)(part * peer->rows[i].rates.requests_s);
        ret->usual_requests_s += (double)(part * peer->rows[i].rates.usual_requests_s);
    }
}

static void
each(struct peers *p, bool only_alive, peers_fn *fn, void *user)
{
    struct peer_look l;

    peers_lock(p);
    for (uint32_t i = 0; i < p->count; i++) {
        if (only_alive && !is_alive(p, p->list[i]))
            continue;
        look(p, p->list[i], &l);
        fn(&l, user);
    }
    peers_unlock(p);
}

void
peers_each_alive(struct peers *p, peers_fn *fn, void *user)
{
    each(p, true, fn, user);
}

void
peers_each(struct peers *p, peers_fn *fn, void *user)
{
    each(p, false, fn, user);
}

void
peers_verdicts(struct peers *p, uint64_t ret_verdicts[PEERS_VERDICT_COUNT])
{
    peers_lock(p);
    memcpy(ret_verdicts, p->verdicts, sizeof(p->verdicts));
    peers_unlock(p);
}

uint32_t
peers_told_by(struct peers *p, uint16_t model, struct span region,
              char (*ret_names)[PEERS_NAME_BYTES], uint32_t max)
{
    uint32_t count = 0;

    peers_lock(p);
    for (uint32_t i = 0; i < p->count; i++) {
        const struct peer *peer = p->list[i];
        uint32_t k = 0;

        if (!span_eq_text(region, peer->region))
            continue;
        while (k < peer->row_count && peer->rows[k].model != model)
            k++;
        if (k == peer->row_count)
            continue;
        if (count < max)
            memcpy(ret_names[count], peer->name, sizeof(peer->name));
        count++;
    }
    peers_unlock(p);
    return count;
}
