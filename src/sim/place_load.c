/* place_load - the requests of a run, drawn before it.
 *
 * Popularity is Zipf's, each region likes models in its own way, neighbours in rank change places
 * as time goes on, and bursts multiply what one model is asked for everywhere. Lengths are those of
 * a trace, drawn row by row. */
#include <math.h>
#include <stdlib.h>

#include "base/fmath.h"
#include "base/must.h"
#include "sim/place_state.h"

#define BURSTS_MAX   256u   /* at once */
#define RAMP_STEP_MS 5000.0 /* how often one that rises does so */
#define TOKENS_MAX   32000u

struct burst {
    uint32_t model;
    double from_ms, until_ms;
};

struct drawing {
    struct place_world *w;
    struct rng rng;
    double *weights; /* by model: popularity now, without bursts */
    uint32_t *ranks; /* model of each rank */
    double *sums;    /* of weights with bursts, running */
    double *tastes;  /* [model * regions + region], running sums */
    double base;     /* sum of weights without bursts */
    struct burst bursts[BURSTS_MAX];
    uint32_t burst_count;
    double drift_ms, burst_ms, ramp_ms; /* when the next one is */
    uint32_t room;
};

/* Ranks from 0 on; the first ones as often as all between any two powers. */
static uint32_t
draw_rank(struct drawing *d)
{
    uint32_t asked = d->w->options.models - d->w->options.unasked;
    double top = fmath_log((double)asked);
    uint32_t rank = (uint32_t)fmath_exp(rng_unit(&d->rng) * top) - 1;

    return rank < asked ? rank : asked - 1;
}

static uint32_t
draw_burst(struct drawing *d)
{
    const struct place_options *o = &d->w->options;

    return d->ranks[o->has_even_bursts ? (uint32_t)rng_below(&d->rng, o->models - o->unasked)
                                       : draw_rank(d)];
}

/* What a model's demand is multiplied with in this burst. */
static double
burst_factor(const struct place_options *o, const struct burst *b, double now_ms)
{
    double part = o->ramp_ms > 0.0 ? fmin(1.0, (now_ms - b->from_ms) / o->ramp_ms) : 1.0;

    return 1.0 + part * (o->burst_factor - 1.0);
}

static void
sums_make(struct drawing *d, double now_ms)
{
    double sum = 0.0;

    for (uint32_t m = 0; m < d->w->options.models; m++) {
        double factor = 1.0;
        for (uint32_t i = 0; i < d->burst_count; i++)
            factor = d->bursts[i].model == m ? burst_factor(&d->w->options, &d->bursts[i], now_ms)
                                             : factor;
        d->sums[m] = sum += d->weights[m] * factor;
    }
}

static bool
drawing_open(struct drawing *d, struct place_world *w)
{
    const struct place_options *o = &w->options;

    d->w = w;
    rng_init(&d->rng, o->seed * 7919u + 17u);
    d->weights = calloc(o->models, sizeof(*d->weights));
    d->ranks = calloc(o->models, sizeof(*d->ranks));
    d->sums = calloc(o->models, sizeof(*d->sums));
    d->tastes = calloc((size_t)o->models * o->regions, sizeof(*d->tastes));
    if (d->weights == NULL || d->ranks == NULL || d->sums == NULL || d->tastes == NULL)
        return false;
    for (uint32_t i = 0; i < o->models; i++)
        d->ranks[i] = i;
    for (uint32_t i = o->models; i > 1; i--) {
        uint32_t other = (uint32_t)rng_below(&d->rng, i), rank = d->ranks[i - 1];
        d->ranks[i - 1] = d->ranks[other];
        d->ranks[other] = rank;
    }
    for (uint32_t i = 0; i < o->models - o->unasked; i++) {
        d->weights[d->ranks[i]] = fmath_exp(-o->zipf * fmath_log(1.0 + i));
        d->base += d->weights[d->ranks[i]];
    }
    for (uint32_t m = 0; m < o->models; m++) {
        double sum = 0.0;
        for (uint32_t r = 0; r < o->regions; r++) {
            sum += fmath_exp(o->taste * rng_normal(&d->rng));
            d->tastes[(size_t)m * o->regions + r] = sum;
        }
    }
    d->drift_ms = o->drift_every_ms * rng_exponential(&d->rng);
    d->burst_ms = o->burst_every_ms * rng_exponential(&d->rng);
    d->ramp_ms = o->ramp_ms > 0.0 ? RAMP_STEP_MS : INFINITY;
    sums_make(d, 0.0);
    return true;
}

static void
drawing_close(struct drawing *d)
{
    free(d->weights);
    free(d->ranks);
    free(d->sums);
    free(d->tastes);
}

/* Two neighbours in rank change places: what is asked for changes by half at most. */
static void
drift(struct drawing *d)
{
    uint32_t models = d->w->options.models - d->w->options.unasked, a = draw_rank(d), b, model;
    double weight;

    b = a + 1 + (uint32_t)(rng_unit(&d->rng) * 0.5 * a);
    if (b >= models)
        return;
    model = d->ranks[a];
    weight = d->weights[model];
    d->weights[model] = d->weights[d->ranks[b]];
    d->weights[d->ranks[b]] = weight;
    d->ranks[a] = d->ranks[b];
    d->ranks[b] = model;
}

/* What changes next, and when; the sums follow. Returns its time. */
static double
change_next_ms(const struct drawing *d)
{
    double next_ms = fmin(d->ramp_ms, fmin(d->drift_ms, d->burst_ms));

    for (uint32_t i = 0; i < d->burst_count; i++)
        next_ms = fmin(next_ms, d->bursts[i].until_ms);
    return next_ms;
}

static void
change(struct drawing *d, double now_ms)
{
    const struct place_options *o = &d->w->options;

    for (uint32_t i = 0; i < d->burst_count;) {
        if (d->bursts[i].until_ms <= now_ms)
            d->bursts[i] = d->bursts[--d->burst_count];
        else
            i++;
    }
    if (d->drift_ms <= now_ms) {
        drift(d);
        d->drift_ms = now_ms + o->drift_every_ms * rng_exponential(&d->rng);
    }
    if (d->burst_ms <= now_ms) {
        if (d->burst_count < BURSTS_MAX) {
            d->bursts[d->burst_count++] = (struct burst){draw_burst(d), now_ms,
                                                         now_ms + o->burst_ms};
            d->w->stats.bursts += now_ms >= o->warmup_ms;
        }
        d->burst_ms = now_ms + o->burst_every_ms * rng_exponential(&d->rng);
    }
    if (d->ramp_ms <= now_ms)
        d->ramp_ms = now_ms + RAMP_STEP_MS;
    sums_make(d, now_ms);
}

/* The first of sums[count] above x. */
static uint32_t
find_sum(const double *sums, uint32_t count, double x)
{
    uint32_t low = 0, high = count - 1;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (sums[middle] > x)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static uint16_t
tokens_of(uint32_t tokens)
{
    return (uint16_t)(tokens < 1 ? 1 : tokens > TOKENS_MAX ? TOKENS_MAX : tokens);
}

/* Of a prompt and its answer. */
static struct trace_request
lengths_draw(struct drawing *d)
{
    const struct place_options *o = &d->w->options;
    double tokens;

    if (!(o->prompt_median > 0.0))
        return d->w->trace->requests[rng_below(&d->rng, d->w->trace->count)];
    tokens = o->prompt_median * fmath_exp(o->prompt_sigma * rng_normal(&d->rng));
    return (struct trace_request){.prompt_tokens = (uint32_t)fmin(tokens, TOKENS_MAX),
                                  .output_tokens = o->output_tokens};
}

static bool
request_draw(struct drawing *d, double at_ms)
{
    struct place_world *w = d->w;
    const struct place_options *o = &w->options;
    const struct trace_request t = lengths_draw(d);
    uint32_t model = find_sum(d->sums, o->models, rng_unit(&d->rng) * d->sums[o->models - 1]);
    const double *tastes = d->tastes + (size_t)model * o->regions;
    struct place_request *r;

    if (w->request_count == d->room) {
        uint32_t room = d->room == 0 ? 65536 : 2 * d->room;
        struct place_request *requests = realloc(w->requests, room * sizeof(*requests));
        if (requests == NULL || room > 2 * PLACE_REQUESTS_MAX)
            return false;
        w->requests = requests;
        d->room = room;
    }
    r = &w->requests[w->request_count++];
    *r = (struct place_request){
        .at_ns = place_ns(at_ms),
        .model = (uint16_t)model,
        .region = (uint16_t)find_sum(tastes, o->regions,
                                     rng_unit(&d->rng) * tastes[o->regions - 1]),
        .prompt_tokens = tokens_of(t.prompt_tokens),
        .output_tokens = tokens_of(t.output_tokens),
        .node = PLACE_NONE,
        .next = PLACE_NONE,
    };
    for (uint32_t i = 0; i < d->burst_count; i++)
        r->in_burst = r->in_burst || d->bursts[i].model == model;
    w->counts[(size_t)model * o->regions + r->region] += 1.0f;
    return true;
}

enum err
place_load_open(struct place_world *w)
{
    const struct place_options *o = &w->options;
    struct drawing d = {0};
    double now_ms = 0.0;
    enum err err = ERR_MEMORY;

    w->counts = calloc((size_t)o->models * o->regions, sizeof(*w->counts));
    if (w->counts == NULL || !drawing_open(&d, w))
        goto out;
    while (now_ms < o->duration_ms) {
        double rate = o->rate_s / 1000.0 * d.sums[o->models - 1] / d.base;
        double next_ms = now_ms + rng_exponential(&d.rng) / rate, change_ms = change_next_ms(&d);
        if (next_ms >= change_ms) { /* it may be drawn anew: arrivals remember nothing */
            now_ms = change_ms;
            change(&d, now_ms);
            continue;
        }
        now_ms = next_ms;
        if (now_ms < o->duration_ms && !request_draw(&d, now_ms))
            goto out;
    }
    err = ERR_OK;
out:
    drawing_close(&d);
    return err;
}
