/* peers_say - every few seconds: what we are asked for, to all other gateways; see peers.h. On the
 * bus, and posted to those of the configuration that have a `url`. On the first lane. */
#include <math.h>
#include <stdio.h>

#include "io/bus.h"
#include "io/clock.h"
#include "io/log.h"
#include "role/gateway/peers_state.h"

#define SAY_LEAST_S 1e-4f /* requests: less is no demand */

static struct loop *
loop_of(const struct peers *p)
{
    return p->gateway->lanes[0].loop;
}

/* Those that the configuration names now, if it is another one. */
static void
post_to(struct peers *p, struct roster *roster)
{
    struct lane *lane = &p->gateway->lanes[0];
    struct roster *base = roster->base != NULL ? roster->base : roster;
    const struct roster_key *key = base->own_key;
    struct poster *poster = NULL;
    struct poster_options options = {.loop = lane->loop, .client = lane->client, .rng = &p->rng};

    if (base == p->posted)
        return;
    if (key != NULL && base->config.gateway_count > 0) {
        options.secret = &key->secret;
        if (poster_open(&options, &poster) != ERR_OK ||
            poster_change(poster, base->gateways, base->config.gateway_count) != ERR_OK) {
            poster_close(poster);
            log_error("the gateways of the configuration are not told what we are asked for: no "
                      "memory, or no connection can be had");
            return; /* again, when there is something to say */
        }
    }
    poster_close(p->poster);
    roster_unref(p->posted);
    p->poster = poster;
    p->posted = roster_ref(base);
}

static void
publish(struct peers *p, const struct roster_key *key, struct demand_news *news)
{
    char subject[BUS_SUBJECT_BYTES_MAX], text[MESSAGE_BYTES_MAX];
    size_t bytes;
    enum err err;

    news->seq = ++p->seq;
    err = key != NULL ? demand_news_sign(news, &key->secret) : ERR_OK;
    if (err == ERR_OK)
        err = demand_news_write(news, text, &bytes);
    if (err == ERR_OK && p->poster != NULL && key != NULL && poster_count(p->poster) > 0)
        poster_say(p->poster, "demand", (struct span){text, bytes});
    if (err == ERR_OK && p->bus != NULL) {
        snprintf(subject, sizeof(subject), "iso.demand.%.*s.%s", (int)news->region.bytes,
                 news->region.data, p->gateway->name);
        err = bus_publish(p->bus, span_of(subject), (struct span){text, bytes});
    }
    if (err != ERR_OK) /* said again soon */
        log_debug("the other gateways were not told what we are asked for: %s", err_name(err));
    news->model_count = 0;
}

/* What we count ourselves of a model, if it is worth saying. *own_s: and what we are asked for in
 * all. */
static bool
row_of(const struct fleet *fleet, const struct demand_view *v, struct demand_news_model *ret,
       float *own_s)
{
    const struct demand_rates *all = &v->all, *told = &v->told;

    if (v->region != fleet->roster->own_region || v->model >= fleet->model_count)
        return false;
    *ret = (struct demand_news_model){
        .id = fleet->models[v->model].name,
        .requests_s = (double)fmaxf(0.0f, all->requests_s - told->requests_s),
        .prompt_tok_s = (double)fmaxf(0.0f, all->prompt_tok_s - told->prompt_tok_s),
        .output_tok_s = (double)fmaxf(0.0f, all->output_tok_s - told->output_tok_s),
        .usual_requests_s = (double)fmaxf(0.0f, all->usual_requests_s - told->usual_requests_s),
        .ahead_requests_s = (double)fmaxf(0.0f, all->ahead_requests_s - told->ahead_requests_s),
    };
    *own_s += fmaxf((float)ret->requests_s, (float)ret->usual_requests_s);
    return (float)ret->requests_s > SAY_LEAST_S || (float)ret->usual_requests_s > SAY_LEAST_S;
}

/* All our models, a message full at a time; one without any when there is nothing. */
static void
say_all(struct peers *p, const struct fleet *fleet, struct demand_news *news)
{
    struct demand_view views[CORE_VIEW_MAX];
    size_t room = 0;
    bool said = false;
    uint32_t from = 0;
    float own_s = 0.0f;

    while (from != UINT32_MAX) {
        uint32_t count = decide_view_demand(p->gateway->door, from, views, &from);
        for (uint32_t i = 0; i < count; i++) {
            struct demand_news_model row;
            size_t bytes;

            if (!row_of(fleet, &views[i], &row, &own_s))
                continue;
            bytes = demand_news_row_bytes(row.id);
            if (news->model_count > 0 && bytes > room) {
                publish(p, fleet->roster->own_key, news);
                said = true;
            }
            if (news->model_count == 0)
                room = MESSAGE_BYTES_MAX - DEMAND_NEWS_HEAD_BYTES;
            room -= bytes;
            news->models[news->model_count++] = row;
        }
    }
    p->own_requests_s = own_s;
    if (news->model_count > 0 || !said)
        publish(p, fleet->roster->own_key, news);
}

static void
say(struct peers *p, bool gone)
{
    struct fleet *fleet = decide_fleet(p->gateway->door);
    struct demand_news news = {
        .v = MESSAGE_VERSION,
        .gateway = span_of(p->gateway->name),
        .region = fleet->roster->config.region,
        .epoch = p->epoch,
        .issued_s = clock_wall_s(),
        .gone = gone,
    };

    post_to(p, fleet->roster);
    if (p->bus == NULL && p->poster == NULL)
        gone = false; /* there is nobody */
    else if (gone)
        publish(p, fleet->roster->own_key, &news);
    else
        say_all(p, fleet, &news);
    p->is_over = gone;
    fleet_unref(fleet);
}

static void
on_say(struct loop_timer *timer)
{
    struct peers *p = CONTAINER_OF(timer, struct peers, say_timer);
    uint64_t wait_ns = PEERS_SAY_NS - PEERS_SAY_NS / 5 + rng_below(&p->rng, 2 * PEERS_SAY_NS / 5);

    if (atomic_load(&p->gateway->draining)) { /* nothing new comes here */
        say(p, true);
        return;
    }
    say(p, false);
    loop_timer_set(loop_of(p), timer, loop_now_ns(loop_of(p)) + wait_ns, on_say);
}

void
peers_say_open(struct peers *p)
{
    rng_init(&p->rng, p->gateway->own_secret.k0);
    loop_timer_set(loop_of(p), &p->say_timer, loop_now_ns(loop_of(p)) + 1, on_say);
}

void
peers_say_close(struct peers *p)
{
    loop_timer_stop(&p->say_timer);
    if (p->bus != NULL && p->seq > 0 && !p->is_over)
        say(p, true);
    poster_close(p->poster);
    roster_unref(p->posted);
    p->poster = NULL;
    p->posted = NULL;
}
