/* trace_synthetic - the built-in load; see trace_synthetic.h.
 *
 * Arrivals are Poisson with one of two rates, calm and burst, which take turns. A request begins a
 * conversation or goes on with one of the last ones, unless that one's answer can hardly have been
 * read yet. A prompt is the tenant's system prompt, all that was said, and new text; its blocks are
 * named by tenant or conversation and their number in it, which gives the chain of ids that a real
 * trace would have. */
#include "sim/trace_synthetic.h"

#include <math.h>
#include <stdlib.h>

#include "base/fmath.h"
#include "base/rng.h"
#include "sim/trace_builder.h"

#define BLOCK_TOKENS       256u
#define CONTEXT_TOKENS_MAX 32768u /* a conversation of more is over */
#define OUTPUT_TOKENS_MAX  4096u
#define TALKS              2048u   /* conversations that may go on */
#define THINK_MS           15000.0 /* between two turns, at least */
#define LATER_TURN_SHARE   0.25
#define MS_PER_S           1000.0

struct talk {
    double at_ms; /* of its last turn */
    uint64_t session;
    uint32_t tenant, said_tokens; /* prompt and answer of its last turn */
};

struct maker {
    const struct trace_synthetic *s;
    struct trace_builder builder;
    struct data_file *file; /* only to tell errors by */
    struct rng rng;
    double *weights;          /* of tenants, summed up */
    uint32_t *system_tokens;  /* of tenants */
    struct talk talks[TALKS]; /* a ring */
    uint64_t talk_count;
    double now_ms, turn_over_ms; /* when the rate changes next */
    bool in_burst;
};

struct trace_synthetic
trace_synthetic_default(uint64_t seed)
{
    return (struct trace_synthetic){
        .seed = seed,
        .count = 20000,
        .tenants = 40,
        .rate_rps = 10.0,
        .burst_factor = 3.0,
        .burst_share = 0.1,
        .burst_s = 10.0,
        .turn_share = 0.5,
        .prompt_median_tokens = 600.0,
        .prompt_sigma = 1.0,
        .output_median_tokens = 160.0,
        .output_sigma = 0.9,
        .system_median_tokens = 700.0,
        .system_sigma = 0.8,
    };
}

static bool
in_range(const struct trace_synthetic *s)
{
    return s->count >= 1 && s->count <= TRACE_REQUESTS_MAX && s->tenants >= 1 &&
           s->tenants <= TRACE_SYNTHETIC_TENANTS_MAX && s->rate_rps > 0.0 && s->rate_rps <= 1e6 &&
           s->burst_factor >= 1.0 && s->burst_share >= 0.0 &&
           s->burst_factor * s->burst_share < 1.0 && s->burst_s > 0.0 && s->burst_s <= 1e6 &&
           s->turn_share >= 0.0 && s->turn_share <= 1.0 && s->prompt_median_tokens >= 1.0 &&
           s->prompt_median_tokens <= TRACE_TOKENS_MAX && s->output_median_tokens >= 1.0 &&
           s->output_median_tokens <= TRACE_TOKENS_MAX && s->system_median_tokens >= 1.0 &&
           s->system_median_tokens <= TRACE_TOKENS_MAX && s->prompt_sigma >= 0.0 &&
           s->prompt_sigma <= 5.0 && s->output_sigma >= 0.0 && s->output_sigma <= 5.0 &&
           s->system_sigma >= 0.0 && s->system_sigma <= 5.0;
}

static uint32_t
log_normal(struct rng *rng, double median, double sigma, uint32_t max)
{
    double value = median * fmath_exp(sigma * rng_normal(rng));

    return value < 1.0 ? 1 : value > max ? max : (uint32_t)value;
}

/* The next arrival: what is left of an exponential gap is walked through calm and burst. */
static void
advance(struct maker *m)
{
    const struct trace_synthetic *s = m->s;
    double left = rng_exponential(&m->rng);

    for (;;) {
        double calm = (1.0 - s->burst_share * s->burst_factor) / (1.0 - s->burst_share);
        double per_ms = s->rate_rps * (m->in_burst ? s->burst_factor : calm) / MS_PER_S;
        double mean_s;

        if (s->burst_share <= 0.0 || m->now_ms + left / per_ms <= m->turn_over_ms) {
            m->now_ms += left / per_ms;
            return;
        }
        left -= (m->turn_over_ms - m->now_ms) * per_ms;
        m->now_ms = m->turn_over_ms;
        m->in_burst = !m->in_burst;
        mean_s = m->in_burst ? s->burst_s : s->burst_s * (1.0 - s->burst_share) / s->burst_share;
        m->turn_over_ms += mean_s * MS_PER_S * rng_exponential(&m->rng);
    }
}

static uint32_t
draw_tenant(struct maker *m)
{
    double at = rng_unit(&m->rng) * m->weights[m->s->tenants - 1];
    uint32_t low = 0, high = m->s->tenants - 1;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (m->weights[middle] <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The conversation that this request belongs to: an old one, or a new one in the oldest one's
 * place. */
static struct talk *
draw_talk(struct maker *m)
{
    uint64_t there = m->talk_count < TALKS ? m->talk_count : TALKS;
    struct talk *talk;

    if (there > 0 && rng_unit(&m->rng) < m->s->turn_share) {
        talk = &m->talks[rng_below(&m->rng, there)];
        if (talk->at_ms + THINK_MS <= m->now_ms && talk->said_tokens < CONTEXT_TOKENS_MAX)
            return talk;
    }
    talk = &m->talks[m->talk_count++ % TALKS];
    *talk = (struct talk){.session = m->talk_count, .tenant = draw_tenant(m)};
    return talk;
}

static enum err
make_request(struct maker *m)
{
    const struct trace_synthetic *s = m->s;
    struct trace *t = &m->builder.trace;
    struct talk *talk;
    uint32_t system, prompt, output;
    enum err err;

    advance(m);
    talk = draw_talk(m);
    system = m->system_tokens[talk->tenant] / BLOCK_TOKENS;
    prompt = talk->said_tokens > 0
                 ? talk->said_tokens + log_normal(&m->rng,
                                                  s->prompt_median_tokens * LATER_TURN_SHARE,
                                                  s->prompt_sigma, CONTEXT_TOKENS_MAX)
                 : m->system_tokens[talk->tenant] + log_normal(&m->rng, s->prompt_median_tokens,
                                                               s->prompt_sigma, CONTEXT_TOKENS_MAX);
    output = log_normal(&m->rng, s->output_median_tokens, s->output_sigma, OUTPUT_TOKENS_MAX);
    err = trace_builder_request(&m->builder, m->file, m->now_ms, prompt, output);
    if (err != ERR_OK)
        return err;
    t->requests[t->count - 1].tenant = talk->tenant;
    t->requests[t->count - 1].session = talk->session;
    for (uint32_t i = 0; i < prompt / BLOCK_TOKENS && err == ERR_OK; i++) {
        uint64_t whose = i < system ? talk->tenant : s->tenants + talk->session;

        err = trace_builder_block(&m->builder, m->file, trace_builder_chain(whose, i));
    }
    talk->at_ms = m->now_ms;
    talk->said_tokens = prompt + output;
    return err;
}

static enum err
make_tenants(struct maker *m)
{
    uint32_t count = m->s->tenants;

    m->weights = malloc(count * sizeof(m->weights[0]));
    m->system_tokens = malloc(count * sizeof(m->system_tokens[0]));
    if (m->weights == NULL || m->system_tokens == NULL)
        return data_file_fail(m->file, ERR_MEMORY, "no memory for %u tenants", count);
    for (uint32_t i = 0; i < count; i++) {
        m->weights[i] = 1.0 / (i + 1) + (i > 0 ? m->weights[i - 1] : 0.0);
        m->system_tokens[i] = log_normal(&m->rng, m->s->system_median_tokens, m->s->system_sigma,
                                         CONTEXT_TOKENS_MAX / 4);
    }
    return ERR_OK;
}

enum err
trace_synthetic_open(const struct trace_synthetic *s, struct data_error *error,
                     struct trace *ret_trace)
{
    struct maker *m = calloc(1, sizeof(*m));
    struct trace *t;
    enum err err;

    if (m == NULL)
        return data_error_say(error, ERR_MEMORY, "synthetic: no memory");
    t = &m->builder.trace;
    m->s = s;
    rng_init(&m->rng, s->seed);
    err = data_file_open_memory("synthetic", SPAN_LIT(""), error, &m->file);
    if (err == ERR_OK && !in_range(s))
        err = data_file_fail(m->file, ERR_ARG, "a number out of its range");
    if (err == ERR_OK)
        err = make_tenants(m);
    for (uint32_t i = 0; i < s->count && err == ERR_OK; i++)
        err = make_request(m);
    if (err == ERR_OK)
        err = trace_builder_sort(&m->builder);
    if (err == ERR_OK) {
        t->block_tokens = BLOCK_TOKENS;
        t->tenant_count = s->tenants;
        t->span_ms = t->requests[t->count - 1].at_ms;
        t->synthetic = true;
        span_copy(SPAN_LIT("synthetic"), t->name, sizeof(t->name));
        *ret_trace = *t;
    } else {
        trace_close(t);
    }
    data_file_close(m->file);
    free(m->weights);
    free(m->system_tokens);
    free(m);
    return err;
}
