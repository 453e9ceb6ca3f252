/* demand - sums of a bucket into rates; see demand.h. */
#include "core/demand.h"

#include "base/fmath.h"

#define FAST_TAU_S      30.0f
#define SLOW_TAU_S      600.0f
#define BUCKET_S        10.0f
#define MINUTE_MS       60000.0f
#define LEVEL_PART      0.3f
#define TREND_PART      0.1f
#define TREND_DAMP      0.9f
#define BUCKETS_MAX     64u /* empty ones that are walked: after so many the trend is gone anyway */
#define AGE_LEAST_S     30.0f /* a rate is not reckoned over less: one request is no trend */
#define DEMAND_RATE_MAX 1e6f
#define TOKENS_S_MAX    1e9f

static struct demand *
cell_of(const struct core *core, uint32_t model, uint32_t region)
{
    return &core->demands[(size_t)model * core->config.regions_max + region];
}

static float
fade(float seconds, float tau_s)
{
    return (float)fmath_exp((double)(-seconds / tau_s));
}

static float
seconds_between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (float)((double)(to_ns - from_ns) * 1e-9) : 0.0f;
}

/* One bucket with so many requests ends: Holt's level and trend, the trend damped. */
static void
holt(struct demand *d, float count)
{
    float rate = count / BUCKET_S, expected = d->level + TREND_DAMP * d->trend, level;

    level = expected + LEVEL_PART * (rate - expected);
    d->trend = TREND_DAMP * d->trend + TREND_PART * (level - d->level - TREND_DAMP * d->trend);
    d->level = max_f(0.0f, level);
}

/* A rate after so many seconds, in the first of which, as far as the bucket reaches, `sum` came
 * evenly: a mean that fades with tau. */
static float
rate_after(float rate, float sum, float seconds, float tau_s)
{
    float in_bucket_s = min_f(seconds, BUCKET_S), kept = fade(in_bucket_s, tau_s);
    float each = in_bucket_s > 0.01f ? (1.0f - kept) / in_bucket_s : 1.0f / tau_s;

    rate = kept * rate + each * sum;
    return seconds > BUCKET_S ? rate * fade(seconds - BUCKET_S, tau_s) : rate;
}

/* The bucket under way ended, and perhaps others after it in which nothing came. */
static void
cell_settle(struct core *core, struct demand *d)
{
    uint64_t buckets = (core->now_ns - d->bucket_ns) / DEMAND_BUCKET_NS;
    float seconds = (float)buckets * BUCKET_S;

    if (buckets == 0)
        return;
    holt(d, d->sums[DEMAND_REQUESTS]);
    for (uint64_t i = 1; i < buckets && i <= BUCKETS_MAX; i++)
        holt(d, 0.0f);
    if ((core->tuning.without & WITHOUT_TREND) != 0)
        d->trend = 0.0f;
    for (uint32_t k = 0; k < DEMAND_KINDS; k++) {
        d->fast[k] = rate_after(d->fast[k], d->sums[k], seconds, FAST_TAU_S);
        d->slow[k] = rate_after(d->slow[k], d->sums[k], seconds, SLOW_TAU_S);
        d->sums[k] = 0.0f;
    }
    d->bucket_ns += buckets * DEMAND_BUCKET_NS;
}

static struct demand *
own_cell(struct core *core, uint32_t model)
{
    struct demand *d = cell_of(core, model, core->config.own_region);

    if (d->begun_ns == 0) {
        d->begun_ns = d->bucket_ns = core->now_ns;
        core->models[model].demand_mask |= UINT64_C(1) << core->config.own_region;
    }
    cell_settle(core, d);
    return d;
}

void
demand_arrived(struct core *core, uint32_t model, float prompt_tokens)
{
    struct demand *d = own_cell(core, model);

    d->sums[DEMAND_REQUESTS] += 1.0f;
    d->sums[DEMAND_PROMPT] += prompt_tokens;
}

void
demand_ended(struct core *core, uint32_t model, float output_tokens)
{
    own_cell(core, model)->sums[DEMAND_OUTPUT] += output_tokens;
}

static float
told_rate(float x, float max)
{
    return x > 0.0f ? min_f(x, max) : 0.0f; /* NAN too */
}

void
demand_told(struct core *core, const struct event_demand *e)
{
    const struct demand_rates rates = {
        .requests_s = told_rate(e->requests_s, DEMAND_RATE_MAX),
        .prompt_tok_s = told_rate(e->prompt_tok_s, TOKENS_S_MAX),
        .output_tok_s = told_rate(e->output_tok_s, TOKENS_S_MAX),
        .usual_requests_s = told_rate(e->usual_requests_s, DEMAND_RATE_MAX),
        .ahead_requests_s = told_rate(e->ahead_requests_s, DEMAND_RATE_MAX),
    };

    if (e->model >= core->config.models_max || e->region >= core->config.regions_max)
        return;
    if (e->region == core->config.own_region) {
        core->models[e->model].told = (struct demand_told){core->now_ns, rates};
    } else {
        struct demand *d = cell_of(core, e->model, e->region);
        d->begun_ns = d->bucket_ns = core->now_ns;
        d->fast[DEMAND_REQUESTS] = rates.requests_s;
        d->fast[DEMAND_PROMPT] = rates.prompt_tok_s;
        d->fast[DEMAND_OUTPUT] = rates.output_tok_s;
        d->slow[DEMAND_REQUESTS] = rates.usual_requests_s;
        d->level = rates.ahead_requests_s;
        d->trend = 0.0f;
    }
    core->models[e->model].demand_mask |= UINT64_C(1) << e->region;
}

/* The part of a rate that a cell as young as this one can have seen. */
static float
seen_part(const struct demand *d, uint64_t now_ns, float tau_s)
{
    float age_s = max_f(AGE_LEAST_S, seconds_between(d->begun_ns, now_ns));

    return age_s > 8.0f * tau_s ? 1.0f : 1.0f - fade(age_s, tau_s);
}

/* As counted here. */
static float
own_rate(const struct demand *d, uint64_t now_ns, uint32_t kind, bool slow)
{
    float tau_s = slow ? SLOW_TAU_S : FAST_TAU_S, rate = slow ? d->slow[kind] : d->fast[kind];
    float seconds = seconds_between(d->bucket_ns, now_ns);

    if (d->begun_ns == 0)
        return 0.0f;
    return rate_after(rate, d->sums[kind], seconds, tau_s) / seen_part(d, now_ns, tau_s);
}

/* What was told: it fades when nobody repeats it. */
static struct demand_rates
told_rates(const struct core *core, uint64_t now_ns, uint32_t model, uint32_t region)
{
    bool is_own = region == core->config.own_region;
    const struct demand *d = cell_of(core, model, region);
    struct demand_rates r = core->models[model].told.rates;
    uint64_t told_ns = is_own ? core->models[model].told.told_ns : d->begun_ns;
    float part;

    if (told_ns == 0)
        return (struct demand_rates){.requests_s = 0.0f};
    if (!is_own)
        r = (struct demand_rates){d->fast[DEMAND_REQUESTS], d->fast[DEMAND_PROMPT],
                                  d->fast[DEMAND_OUTPUT], d->slow[DEMAND_REQUESTS], d->level};
    part = fade(seconds_between(told_ns, now_ns), SLOW_TAU_S);
    r.requests_s *= part;
    r.prompt_tok_s *= part;
    r.output_tok_s *= part;
    r.usual_requests_s *= part;
    r.ahead_requests_s *= part;
    return r;
}

static float
region_rate(const struct core *core, uint64_t now_ns, uint32_t model, uint32_t region, bool slow)
{
    const struct demand_rates told = told_rates(core, now_ns, model, region);
    float sum = slow ? told.usual_requests_s : told.requests_s;

    if (region == core->config.own_region)
        sum += own_rate(cell_of(core, model, region), now_ns, DEMAND_REQUESTS, slow);
    return sum;
}

float
demand_fast(const struct core *core, uint64_t now_ns, uint32_t model, uint32_t region)
{
    return region_rate(core, now_ns, model, region, false);
}

float
demand_slow(const struct core *core, uint64_t now_ns, uint32_t model, uint32_t region)
{
    return region_rate(core, now_ns, model, region, true);
}

float
demand_own_part(const struct core *core, uint32_t model)
{
    uint32_t region = core->config.own_region;
    float own, told;

    if (core->models[model].told.told_ns == 0)
        return 1.0f;
    own = own_rate(cell_of(core, model, region), core->now_ns, DEMAND_REQUESTS, true);
    told = told_rates(core, core->now_ns, model, region).usual_requests_s;
    return own > 0.0f ? own / (own + told) : 1.0f;
}

/* What the damped trend adds in `ahead_s`: a sum of powers. */
static float
trend_ahead(const struct demand *d, float ahead_s)
{
    float buckets = ahead_s / BUCKET_S, power = TREND_DAMP, sum = 0.0f;

    for (; buckets > 0.0f && power > 0.01f; buckets -= 1.0f, power *= TREND_DAMP)
        sum += min_f(buckets, 1.0f) * power;
    return d->trend * sum;
}

static float
own_ahead(const struct demand *d, uint64_t now_ns, float ahead_ms)
{
    float now = max_f(own_rate(d, now_ns, DEMAND_REQUESTS, false),
                      own_rate(d, now_ns, DEMAND_REQUESTS, true));

    if (!(d->trend > 0.0f) || seconds_between(d->bucket_ns, now_ns) >= 2.0f * BUCKET_S)
        return now;
    return max_f(now, d->level + trend_ahead(d, ahead_ms * 1e-3f));
}

/* On the way from now to what is expected in a minute. */
static float
told_ahead(const struct demand_rates *told, float ahead_ms)
{
    float now = max_f(told->requests_s, told->usual_requests_s);
    float more = max_f(0.0f, told->ahead_requests_s - now);

    return now + more * min_f(1.0f, ahead_ms / MINUTE_MS);
}

float
demand_ahead(const struct core *core, uint64_t now_ns, uint32_t model, uint32_t region,
             float ahead_ms)
{
    const struct demand_rates told = told_rates(core, now_ns, model, region);
    float sum = told_ahead(&told, ahead_ms);

    if (region == core->config.own_region)
        sum += own_ahead(cell_of(core, model, region), now_ns, ahead_ms);
    return sum;
}

/* ---- What people may read. */

static void
view_cell(const struct core *core, uint64_t now_ns, uint32_t model, uint32_t region,
          struct demand_view *v)
{
    const struct demand *d = cell_of(core, model, region);
    const struct demand_rates told = told_rates(core, now_ns, model, region);

    *v = (struct demand_view){.model = (uint16_t)model,
                              .region = (uint16_t)region,
                              .told = told,
                              .all = told,
                              .trend_requests_s_min = told_ahead(&told, MINUTE_MS) -
                                                      told_ahead(&told, 0.0f)};
    v->all.ahead_requests_s = demand_ahead(core, now_ns, model, region, MINUTE_MS);
    if (region != core->config.own_region)
        return;
    v->all.requests_s += own_rate(d, now_ns, DEMAND_REQUESTS, false);
    v->all.prompt_tok_s += own_rate(d, now_ns, DEMAND_PROMPT, false);
    v->all.output_tok_s += own_rate(d, now_ns, DEMAND_OUTPUT, false);
    v->all.usual_requests_s += own_rate(d, now_ns, DEMAND_REQUESTS, true);
    v->usual_prompt_tok_s = own_rate(d, now_ns, DEMAND_PROMPT, true);
    v->usual_output_tok_s = own_rate(d, now_ns, DEMAND_OUTPUT, true);
    v->trend_requests_s_min += d->trend * MINUTE_MS * 1e-3f / BUCKET_S;
}

uint32_t
core_view_demand(const struct core *core, uint64_t now_ns, uint32_t from,
                 struct demand_view *ret_views, uint32_t *ret_next)
{
    uint32_t count = 0, model = from;

    if (now_ns < core->now_ns)
        now_ns = core->now_ns;
    for (; model < core->config.models_max; model++) {
        uint64_t regions = core->models[model].demand_mask;

        if (count + region_count(regions) > CORE_VIEW_MAX)
            break; /* a model is given whole: at most one row a region, and those all fit */
        for (; regions != 0; regions &= regions - 1)
            view_cell(core, now_ns, model, (uint32_t)__builtin_ctzll(regions), &ret_views[count++]);
    }
    *ret_next = model < core->config.models_max ? model : UINT32_MAX;
    return count;
}
