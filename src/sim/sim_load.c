/* sim_load - clients: the trace, played by many streams.
 *
 * A trace is one service's traffic, a fleet has the traffic of many. So the load is so many copies
 * of the trace that each runs at nearly its own pace: every stream starts at another place of it,
 * wraps around at its end, asks for one model from one region, and has conversations of its own (a
 * copy never shares a prompt's beginning with another copy). Bursts stay as sharp as they were
 * measured. A region's streams run faster in its day than in its night. */
#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/must.h"
#include "core/prefix.h"
#include "sim/sim_state.h"

#define STREAMS_MAX 65536u
#define TWO_PI      6.283185307179586
#define PACE_MS     1000.0 /* for so long a stream goes on at one pace */
#define DAY_STEP_MS 50.0
#define MIX         UINT64_C(0x9e3779b97f4a7c15)

/* Of a model's clients at the start. */
static double
load_of(const struct sim_world *w, uint32_t model)
{
    return model > 0 && w->options.others_load > 0.0 ? w->options.others_load : w->options.load;
}

static double
load_now(const struct sim_world *w, uint32_t model)
{
    double load = load_of(w, model);

    if (model > 0 && w->options.others_load > 0.0)
        return load;

    for (uint32_t i = 0; i < w->options.load_step_count; i++) {
        if (sim_now_ms(w) >= w->options.load_steps[i].at_ms)
            load = w->options.load_steps[i].load;
    }
    return load;
}

/* How fast a region's clients ask, by its hour; 1 on average over a day. */
static double
daylight(const struct sim_world *w, uint32_t region)
{
    double longitude = w->rtt->longitude_deg[w->region_place[region]];

    if (isnan(longitude))
        return 1.0;
    return 1.0 + w->options.day_amplitude *
                     sin(TWO_PI * (sim_now_ms(w) / w->options.day_ms + longitude / 360.0));
}

/* The sun moves load from region to region, it does not make more of it: all streams of a model
 * together are as fast as they would be without a day. */
static void
days_look(struct sim_world *w)
{
    struct sim_days *d = &w->days;
    double light[SIM_REGIONS_MAX];

    if (w->now_ns < d->until_ns)
        return;
    d->until_ns = w->now_ns + (uint64_t)(DAY_STEP_MS * 1e6);
    for (uint32_t r = 0; r < w->options.regions; r++)
        light[r] = daylight(w, r);
    for (uint32_t m = 0; m < w->options.models; m++) {
        double sum = 0.0, count = 0.0;
        for (uint32_t r = 0; r < w->options.regions; r++) {
            sum += light[r] * d->streams[m][r];
            count += d->streams[m][r];
        }
        for (uint32_t r = 0; r < w->options.regions; r++)
            d->pace[m][r] = light[r] * count / sum;
    }
}

static double
pace(struct sim_world *w, const struct sim_stream *s)
{
    double load = s->speed * (load_now(w, s->model) / load_of(w, s->model));

    if (!(w->options.day_amplitude > 0.0))
        return load;
    days_look(w);
    return load * w->days.pace[s->model][s->region];
}

/* Go on towards the stream's next request, at today's pace: never further than that holds. */
static void
go_on(struct sim_world *w, uint32_t index)
{
    struct sim_stream *s = &w->streams[index];
    double speed = pace(w, s);
    double gap_ms = s->left_ms / speed;

    if (gap_ms > PACE_MS) {
        gap_ms = PACE_MS;
        s->left_ms -= PACE_MS * speed;
    } else {
        s->left_ms = 0.0;
    }
    if (sim_now_ms(w) + gap_ms < w->options.duration_ms)
        sim_put(w, gap_ms, SIM_CLIENT, index, 0);
}

/* The next row of the trace is the stream's next request. */
static void
schedule(struct sim_world *w, uint32_t index)
{
    struct sim_stream *s = &w->streams[index];
    const struct trace *t = w->trace;

    if (++s->row == t->count) {
        s->row = 0;
        s->round++;
        s->left_ms = t->span_ms / (double)t->count;
    } else {
        s->left_ms = t->requests[s->row].at_ms - t->requests[s->row - 1].at_ms;
    }
    go_on(w, index);
}

/* Of those that stand in the nearest place, one stream after the other. */
static uint32_t
nearest_gateway(const struct sim_world *w, uint32_t region, uint32_t stream)
{
    const struct sim_gateway *gateways = w->gateways;
    uint32_t best = 0, there = 0, nth;

    for (uint32_t g = 1; g < w->options.gateways; g++) {
        if (w->net.rtt_ms[region][gateways[g].region] <
            w->net.rtt_ms[region][gateways[best].region])
            best = g;
    }
    for (uint32_t g = 0; g < w->options.gateways; g++)
        there += gateways[g].region == gateways[best].region;
    nth = stream % there;
    for (uint32_t g = best + 1; nth > 0; g++) {
        if (gateways[g].region == gateways[best].region && --nth == 0)
            return g;
    }
    return best;
}

/* The first request at or after this time of the trace. */
static uint32_t
row_from(const struct trace *t, double at_ms)
{
    size_t low = 0, high = t->count - 1; /* the last one is a request at span_ms, or before it */

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (t->requests[middle].at_ms < at_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint32_t)low;
}

/* Where in the trace its first request is comes later: stream_start. */
static void
stream_init(struct sim_world *w, uint32_t index, uint32_t model, const double *shares, double speed)
{
    struct sim_stream *s = &w->streams[index];
    double x = rng_unit(&w->rng);
    uint32_t region = 0;

    while (region + 1 < w->options.regions && x >= shares[region])
        x -= shares[region++];
    s->region = (uint16_t)region;
    s->gateway = (uint16_t)nearest_gateway(w, region, index);
    s->model = (uint16_t)model;
    s->speed = speed;
    rng_init(&s->rng, rng_u64(&w->rng));
    w->days.streams[model][region] += 1.0;
}

/* At a time of the trace, not at one of its requests: those crowd where it is busy. */
static void
stream_start(struct sim_world *w, uint32_t index, double at_ms)
{
    struct sim_stream *s = &w->streams[index];

    s->row = row_from(w->trace, at_ms);
    s->left_ms = fmax(0.0, w->trace->requests[s->row].at_ms - at_ms);
    go_on(w, index);
}

/* The streams of a model start at times that lie evenly over the trace, so that what they are
 * together is the trace's own rate from the beginning on; which of them where is drawn. */
static void
streams_start(struct sim_world *w, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        w->streams[first + i].row = i;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = (uint32_t)rng_below(&w->rng, i), row = w->streams[first + i - 1].row;
        w->streams[first + i - 1].row = w->streams[first + other].row;
        w->streams[first + other].row = row;
    }
    for (uint32_t i = 0; i < count; i++)
        stream_start(w, first + i,
                     (w->streams[first + i].row + rng_unit(&w->rng)) / count * w->trace->span_ms);
}

static enum err
streams_open(struct sim_world *w)
{
    double shares[SIM_REGIONS_MAX], total = 0.0;
    double trace_rate = (double)w->trace->count / w->trace->span_ms; /* a millisecond */
    uint32_t counts[SIM_MODELS_MAX] = {0};

    for (uint32_t r = 0; r < w->options.regions; r++)
        total += shares[r] = 0.5 + rng_unit(&w->rng);
    for (uint32_t r = 0; r < w->options.regions; r++)
        shares[r] /= total;
    for (uint32_t m = 0; m < w->options.models; m++) {
        double rate = load_of(w, m) * w->capacity[m] / 1000.0;
        double streams = ceil(rate / trace_rate);
        if (!(streams >= 1.0) || streams > STREAMS_MAX)
            return ERR_ARG;
        counts[m] = (uint32_t)streams;
        w->stream_count += counts[m];
    }
    w->streams = calloc(w->stream_count, sizeof(*w->streams));
    if (w->streams == NULL)
        return ERR_MEMORY;
    for (uint32_t m = 0, at = 0; m < w->options.models; m++) {
        double rate = load_of(w, m) * w->capacity[m] / 1000.0;
        for (uint32_t i = 0; i < counts[m]; i++)
            stream_init(w, at++, m, shares, rate / (trace_rate * counts[m]));
    }
    for (uint32_t m = 0, at = 0; m < w->options.models; at += counts[m++])
        streams_start(w, at, counts[m]);
    return ERR_OK;
}

enum err
sim_load_open(struct sim_world *w)
{
    if (w->options.given == NULL)
        return streams_open(w);
    sim_put(w, w->trace->requests[0].at_ms, SIM_CLIENT, 0, 0);
    return ERR_OK;
}

void
sim_load_close(struct sim_world *w)
{
    free(w->streams);
    free(w->blocks);
    free(w->requests);
}

static uint32_t
request_take(struct sim_world *w)
{
    uint32_t slot = w->request_free;

    if (slot != SIM_NONE) {
        w->request_free = w->requests[slot].next_free;
        return slot;
    }
    if (w->request_count == w->request_room) {
        uint32_t room = w->request_room == 0 ? 4096 : 2 * w->request_room;
        struct sim_request *requests = realloc(w->requests, room * sizeof(*requests));
        must(requests != NULL && room <= SIM_REQUESTS_MAX);
        w->requests = requests;
        w->request_room = room;
    }
    return w->request_count++;
}

void
sim_load_forget(struct sim_world *w, uint32_t slot)
{
    w->in_flight--;
    w->requests[slot].serial = 0;
    w->requests[slot].next_free = w->request_free;
    w->request_free = slot;
}

static uint32_t
tokens_within(double tokens, double max)
{
    if (max > 0.0 && tokens > max)
        tokens = max;
    return tokens < 1.0 ? 1u : (uint32_t)tokens;
}

static enum priority
priority_draw(struct sim_world *w, struct rng *rng)
{
    double x = rng_unit(rng);

    if (x < w->options.priority_high)
        return PRIORITY_HIGH;
    return x < w->options.priority_high + w->options.priority_low ? PRIORITY_LOW : PRIORITY_NORMAL;
}

double
sim_load_hop_ms(struct sim_world *w, const struct sim_request *r)
{
    if (w->options.given != NULL) /* a plan says when requests reach their gateways */
        return 0.0;
    return sim_net_one_way_ms(&w->net, &w->net_rng, r->region, w->gateways[r->gateway].region);
}

/* The request that was made, on its way to its gateway. */
static void
send(struct sim_world *w, const struct sim_request *made)
{
    uint32_t slot = request_take(w), gateway_region = w->gateways[made->gateway].region;
    struct sim_request *r = &w->requests[slot];
    double ms;

    *r = *made;
    r->serial = ++w->serial;
    r->sent_ns = w->now_ns;
    r->answering = SIM_NONE;
    r->counted = sim_now_ms(w) >= w->options.warmup_ms;
    for (uint32_t i = 0; i < ATTEMPTS_MAX; i++)
        r->attempts[i].node = r->attempts[i].news = SIM_NONE;
    w->stats.requests++;
    w->in_flight++;
    if (r->counted) {
        w->stats.arrived++;
        w->stats.arrived_class[r->priority]++;
    }
    ms = sim_load_hop_ms(w, r);
    if (w->options.given == NULL)
        ms += sim_net_body_ms(&w->net, r->region, gateway_region, r->prompt_bytes, false);
    sim_put(w, ms, SIM_ARRIVE, slot, r->serial);
}

/* A stream's request. */
static void
ask(struct sim_world *w, uint32_t stream)
{
    struct sim_stream *s = &w->streams[stream];
    const struct trace_request *t = &w->trace->requests[s->row];
    const struct sim_options *o = &w->options;
    struct sim_request r = {
        .row = s->row,
        .stream = stream,
        .round = s->round,
        .region = s->region,
        .gateway = s->gateway,
        .model = s->model,
        .priority = (uint16_t)priority_draw(w, &s->rng),
        .prompt_tokens = tokens_within(t->prompt_tokens, o->prompt_tokens_max),
        .output_tokens = tokens_within(t->output_tokens * o->output_factor, 1e6),
        .deadline_ms = NAN,
    };

    /* Text is not written at one rate: each prompt has its own. */
    r.prompt_bytes = (uint32_t)(r.prompt_tokens * o->bytes_per_token *
                                (0.9 + 0.2 * rng_unit(&s->rng)));
    if (rng_unit(&s->rng) < o->deadline_share)
        r.deadline_ms = (float)(o->deadline_ms + o->deadline_per_token_ms * r.prompt_tokens);
    send(w, &r);
}

static void
next_of_stream(struct sim_world *w, uint32_t stream)
{
    if (w->streams[stream].left_ms > 0.0) {
        go_on(w, stream);
        return;
    }
    ask(w, stream);
    schedule(w, stream);
}

/* The plan's next request: it is due now, and the one behind it will be. */
static void
next_of_plan(struct sim_world *w, uint32_t row)
{
    const struct sim_given *given = w->options.given;
    const struct trace_request *t = &w->trace->requests[row];
    const struct sim_given_request *more = &given->requests[row];
    struct sim_request r = {
        .row = row,
        .region = given->gateways[more->gateway].region,
        .gateway = more->gateway,
        .model = more->model,
        .priority = PRIORITY_NORMAL,
        .prompt_tokens = t->prompt_tokens,
        .output_tokens = t->output_tokens,
        .prompt_bytes = more->prompt_bytes,
        .max_tokens = more->max_tokens,
        .deadline_ms = NAN,
    };

    send(w, &r);
    if (row + 1 < w->trace->count)
        sim_put(w, w->trace->requests[row + 1].at_ms - sim_now_ms(w), SIM_CLIENT, row + 1, 0);
}

void
sim_load_next(struct sim_world *w, uint32_t stream)
{
    if (w->options.given != NULL)
        next_of_plan(w, stream);
    else
        next_of_stream(w, stream);
}

/* Whose conversations these are: a copy's, in this round through the trace. */
static uint64_t
own_hash(const struct sim_request *r, uint64_t hash)
{
    uint64_t x = (hash ^ ((uint64_t)r->stream << 32 | r->round)) * MIX;

    x ^= x >> 29;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    return (x ^ x >> 32) | 1;
}

uint32_t
sim_load_blocks(struct sim_world *w, const struct sim_request *r)
{
    const struct trace_request *t = &w->trace->requests[r->row];
    uint32_t count = t->block_count, most;

    if (w->trace->block_tokens == 0)
        return 0;
    most = r->prompt_tokens / w->trace->block_tokens;
    if (count > most)
        count = most;
    if (count > w->block_room) {
        uint64_t *blocks = realloc(w->blocks, 2 * count * sizeof(*blocks));
        must(blocks != NULL);
        w->blocks = blocks;
        w->block_room = 2 * count;
    }
    for (uint32_t i = 0; i < count; i++)
        w->blocks[i] = own_hash(r, w->trace->blocks[t->block_first + i]);
    return count;
}

/* Borders lie at bytes, blocks at tokens: two prompts are known to agree up to a border when they
 * agree in every block that begins before it. */
void
sim_load_prefix(struct sim_world *w, const struct sim_request *r, struct prefix_chain *ret_chain)
{
    const struct trace_request *t = &w->trace->requests[r->row];
    double bytes_per_block = w->options.bytes_per_token * w->trace->block_tokens;

    ret_chain->count = 0;
    if (w->trace->block_tokens == 0)
        return;
    for (uint32_t i = 0; i < PREFIX_BORDERS_MAX; i++) {
        uint32_t bytes = prefix_border_bytes(i);
        uint32_t block = (uint32_t)((double)(bytes - 1) / bytes_per_block);
        if (bytes > r->prompt_bytes || block >= t->block_count)
            return;
        ret_chain->hashes[i] = own_hash(r, w->trace->blocks[t->block_first + block] + i * MIX);
        ret_chain->count = i + 1;
    }
}
