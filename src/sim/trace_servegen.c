/* trace_servegen - load that was measured client by client and kept as laws, not as requests. In
 * NAME_rates each client has a rate and a law of the times between arrivals for each step (10
 * minutes); in NAME_lengths it has quantiles of prompt and output tokens for each longer step.
 * Requests are drawn.
 *
 * A step gets as many arrivals as its rate says, to the fraction of one: so many gaps are drawn
 * from the law's shape and stretched to fill the step. That keeps rate and burstiness where a law
 * of its own scale would not (in a fifth of the public rows the law's mean is not one over the
 * rate, and heavy tails do not come to their mean within a step). Every (client, step) has its own
 * stream of the seed, so a window draws the same whatever else is drawn. Lengths lie on straight
 * lines of log(tokens) between the quantiles; the two of a request are drawn apart, as the source
 * does not tie them. A client without lengths has those of another one. Clients become tenants. */
#include <math.h>
#include <stdlib.h>

#include "base/fmath.h"
#include "base/hash.h"
#include "base/rng.h"
#include "sim/data_table.h"
#include "sim/trace_builder.h"

#define ROWS_MAX       10000000u
#define CLIENT_MAX     100000000u
#define START_S_MAX    1e9
#define RATE_RPS_MAX   1e6
#define SHAPE_MIN      1e-3
#define SHAPE_MAX      1e6
#define STEP_S_DEFAULT 600.0
#define GAPS_MAX       TRACE_REQUESTS_MAX /* arrivals of one client in one step */
#define GAP_LARGEST    1e290              /* heavy tails: GAPS_MAX of them are still a number */
#define MS_PER_S       1000.0

enum law { LAW_GAMMA, LAW_WEIBULL };

struct rate {
    uint32_t client;
    enum law law;
    double start_s, rps, shape;
};

enum { PROMPT, OUTPUT, LENGTH_KINDS };

#define QUANTILES 13u
/* The shares that the columns p1..max stand for, and before them nothing: below p1 all is p1. */
static const double shares[QUANTILES] = {0.01, 0.05, 0.10, 0.25, 0.40,  0.50, 0.60,
                                         0.75, 0.90, 0.95, 0.99, 0.999, 1.0};

struct lengths {
    uint32_t client;
    bool there[LENGTH_KINDS];
    double start_s;
    float log_tokens[LENGTH_KINDS][QUANTILES];
};

struct model {
    struct rate *rates;
    struct lengths *lengths; /* sorted by client, then start */
    uint32_t *owners;        /* clients that have lengths, sorted */
    double *gaps;
    size_t rate_count, rate_room, length_count, length_room, owner_count, gap_room;
    double from_s, to_s, step_s; /* the whole span of the rates; how long a row holds */
};

/* ---- The two files. */

enum { R_CLIENT, R_START, R_RATE, R_LAW, R_SHAPE, R_COUNT };
static const struct data_column rate_columns[R_COUNT] = {
    [R_CLIENT] = {"client_id", false}, [R_START] = {"t_start_s", false},
    [R_RATE] = {"rate_rps", false},    [R_LAW] = {"pattern", false},
    [R_SHAPE] = {"arg1", false},
};

static enum err
take_law(struct data_table *t, struct rate *r)
{
    struct span law = data_table_text(t, R_LAW);

    r->shape = 1.0;
    if (span_eq_text(law, "Exponential"))
        return ERR_OK;
    r->law = span_eq_text(law, "Gamma") ? LAW_GAMMA : LAW_WEIBULL;
    if (r->law == LAW_WEIBULL && !span_eq_text(law, "Weibull"))
        return data_file_fail(t->file, ERR_PARSE,
                              "pattern: `%.*s` is none of Gamma, Weibull, Exponential",
                              law.bytes < 40 ? (int)law.bytes : 40, law.bytes > 0 ? law.data : "");
    return data_table_f64(t, R_SHAPE, SHAPE_MIN, SHAPE_MAX, &r->shape);
}

static enum err
read_rates(struct model *m, struct data_file *f)
{
    struct data_table t;
    enum err err = data_table_open(&t, f, rate_columns, R_COUNT);

    while (err == ERR_OK) {
        struct rate r = {0};

        err = data_table_next(&t);
        if (err == ERR_NOT_FOUND)
            break;
        if (err == ERR_OK)
            err = data_table_u32(&t, R_CLIENT, 0, CLIENT_MAX, &r.client);
        if (err == ERR_OK)
            err = data_table_f64(&t, R_START, 0.0, START_S_MAX, &r.start_s);
        if (err == ERR_OK)
            err = data_table_f64(&t, R_RATE, 0.0, RATE_RPS_MAX, &r.rps);
        if (err == ERR_OK)
            err = take_law(&t, &r);
        if (err != ERR_OK)
            return err;
        err = data_room(&m->rates, &m->rate_room, m->rate_count, ROWS_MAX, sizeof(m->rates[0]));
        if (err != ERR_OK)
            return data_file_fail(f, err, "no room for more rows");
        m->rates[m->rate_count++] = r;
    }
    if (err == ERR_NOT_FOUND)
        err = m->rate_count > 0 ? ERR_OK : data_file_fail(f, ERR_PARSE, "a header and no rows");
    return err;
}

enum { L_CLIENT, L_START, L_FIELD, L_P1, L_COUNT = L_P1 + QUANTILES };
static const struct data_column length_columns[L_COUNT] = {
    [L_CLIENT] = {"client_id", false}, [L_START] = {"t_start_s", false},
    [L_FIELD] = {"field", false},      [L_P1] = {"p1", false},
    [L_P1 + 1] = {"p5", false},        [L_P1 + 2] = {"p10", false},
    [L_P1 + 3] = {"p25", false},       [L_P1 + 4] = {"p40", false},
    [L_P1 + 5] = {"p50", false},       [L_P1 + 6] = {"p60", false},
    [L_P1 + 7] = {"p75", false},       [L_P1 + 8] = {"p90", false},
    [L_P1 + 9] = {"p95", false},       [L_P1 + 10] = {"p99", false},
    [L_P1 + 11] = {"p99.9", false},    [L_P1 + 12] = {"max", false},
};

static enum err
take_quantiles(struct data_table *t, float log_tokens[QUANTILES])
{
    double before = 0.0;

    for (uint32_t i = 0; i < QUANTILES; i++) {
        double tokens;
        enum err err = data_table_f64(t, L_P1 + i, 0.0, TRACE_TOKENS_MAX, &tokens);

        if (err != ERR_OK)
            return err;
        if (tokens < before)
            return data_file_fail(t->file, ERR_PARSE, "%s is less than %s",
                                  length_columns[L_P1 + i].name, length_columns[L_P1 + i - 1].name);
        before = tokens;
        log_tokens[i] = (float)fmath_log(tokens < 1.0 ? 1.0 : tokens);
    }
    return ERR_OK;
}

/* One line is one of the two lengths of a (client, step); the lines of a pair follow one another.
 */
static enum err
take_lengths(struct model *m, struct data_table *t)
{
    struct span field = data_table_text(t, L_FIELD);
    struct lengths *l = m->length_count > 0 ? &m->lengths[m->length_count - 1] : NULL;
    uint32_t client, kind = span_eq_text(field, "input_tokens") ? PROMPT : OUTPUT;
    double start_s;
    enum err err;

    if (kind == OUTPUT && !span_eq_text(field, "output_tokens"))
        return ERR_OK; /* others are of no use here: reason_ratio is a share of the output */
    err = data_table_u32(t, L_CLIENT, 0, CLIENT_MAX, &client);
    if (err == ERR_OK)
        err = data_table_f64(t, L_START, 0.0, START_S_MAX, &start_s);
    if (err != ERR_OK)
        return err;
    if (l == NULL || l->client != client || l->start_s != start_s) {
        if (l != NULL && !(l->there[PROMPT] && l->there[OUTPUT]))
            return data_file_fail(t->file, ERR_PARSE,
                                  "before this line client %u has only one of input_tokens and "
                                  "output_tokens",
                                  l->client);
        err = data_room(&m->lengths, &m->length_room, m->length_count, ROWS_MAX,
                        sizeof(m->lengths[0]));
        if (err != ERR_OK)
            return data_file_fail(t->file, err, "no room for more rows");
        l = &m->lengths[m->length_count++];
        *l = (struct lengths){.client = client, .start_s = start_s};
    }
    l->there[kind] = true;
    return take_quantiles(t, l->log_tokens[kind]);
}

static int
by_client(const void *a, const void *b)
{
    const struct lengths *x = a, *y = b;

    if (x->client != y->client)
        return x->client < y->client ? -1 : 1;
    return x->start_s < y->start_s ? -1 : x->start_s > y->start_s;
}

static enum err
read_lengths(struct model *m, struct data_file *f)
{
    struct data_table t;
    const struct lengths *last;
    enum err err = data_table_open(&t, f, length_columns, L_COUNT);

    while (err == ERR_OK) {
        err = data_table_next(&t);
        if (err == ERR_OK)
            err = take_lengths(m, &t);
    }
    if (err != ERR_NOT_FOUND)
        return err;
    if (m->length_count == 0)
        return data_file_fail(f, ERR_PARSE, "no input_tokens and output_tokens");
    last = &m->lengths[m->length_count - 1];
    if (!last->there[PROMPT] || !last->there[OUTPUT])
        return data_file_fail(
            f, ERR_PARSE, "client %u has only one of input_tokens and output_tokens", last->client);
    qsort(m->lengths, m->length_count, sizeof(m->lengths[0]), by_client);
    m->owners = malloc(m->length_count * sizeof(m->owners[0]));
    if (m->owners == NULL)
        return data_file_fail(f, ERR_MEMORY, "no memory for its clients");
    for (size_t i = 0; i < m->length_count; i++) {
        if (i == 0 || m->lengths[i].client != m->lengths[i - 1].client)
            m->owners[m->owner_count++] = m->lengths[i].client;
    }
    return ERR_OK;
}

/* ---- Drawing. */

/* The lengths of a client at a time: its last row that is not later, else its first one. */
static const struct lengths *
lengths_at(const struct model *m, uint32_t client, double start_s)
{
    size_t low = 0, high = m->length_count;

    while (low < high) { /* the first row behind (client, start_s) */
        size_t middle = low + (high - low) / 2;
        const struct lengths *l = &m->lengths[middle];

        if (l->client < client || (l->client == client && l->start_s <= start_s))
            low = middle + 1;
        else
            high = middle;
    }
    if (low > 0 && m->lengths[low - 1].client == client)
        return &m->lengths[low - 1];
    if (low < m->length_count && m->lengths[low].client == client)
        return &m->lengths[low];
    return lengths_at(m, m->owners[client % m->owner_count], start_s);
}

static uint32_t
draw_tokens(const float log_tokens[QUANTILES], struct rng *rng)
{
    double share = rng_unit(rng), low, tokens;
    unsigned i = 0;

    while (i < QUANTILES - 1 && share > shares[i])
        i++;
    low = i == 0 ? log_tokens[0]
                 : log_tokens[i - 1] + (log_tokens[i] - log_tokens[i - 1]) *
                                           (share - shares[i - 1]) / (shares[i] - shares[i - 1]);
    tokens = floor(fmath_exp(low) + 0.5);
    return tokens < 1.0 ? 1 : tokens > TRACE_TOKENS_MAX ? TRACE_TOKENS_MAX : (uint32_t)tokens;
}

/* Gamma with this shape and scale 1 (Marsaglia and Tsang 2000). Below shape 1 by the one above, in
 * logarithms, because u^(1/shape) leaves the range of doubles. */
static double
draw_gamma(double shape, struct rng *rng)
{
    double d = (shape < 1.0 ? shape + 1.0 : shape) - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d), v, x, u;

    do {
        x = rng_normal(rng);
        v = 1.0 + c * x;
        v = v * v * v;
        u = 1.0 - rng_unit(rng);
    } while (v <= 0.0 || fmath_log(u) >= 0.5 * x * x + d - d * v + d * fmath_log(v));
    if (shape >= 1.0)
        return d * v;
    return fmath_exp(fmath_log(d * v) + fmath_log(1.0 - rng_unit(rng)) / shape);
}

static double
draw_gap(const struct rate *r, struct rng *rng)
{
    if (r->law == LAW_GAMMA)
        return draw_gamma(r->shape, rng);
    return fmath_exp(fmath_log(rng_exponential(rng)) / r->shape);
}

/* Arrivals of one row, those within [from_s, to_s), as requests of tenant `tenant`. */
static enum err
draw_step(struct trace_builder *b, struct data_file *f, struct model *m, const struct rate *r,
          double share, double from_s, double to_s, uint32_t tenant)
{
    const struct lengths *l = lengths_at(m, r->client, r->start_s);
    uint64_t stream[3] = {b->options->seed, r->client, (uint64_t)r->start_s};
    double expected = r->rps * m->step_s * share, sum = 0.0, at = 0.0;
    struct rng rng;
    size_t n;

    rng_init(&rng, hash_fnv(HASH_FNV_START, stream, sizeof(stream)));
    n = (size_t)expected + (rng_unit(&rng) < expected - floor(expected));
    if (n >= GAPS_MAX)
        return data_file_fail(f, ERR_FULL, "more than %u requests of one client in one step",
                              GAPS_MAX);
    for (size_t i = 0; i <= n; i++) {
        enum err err = data_room(&m->gaps, &m->gap_room, i, GAPS_MAX, sizeof(m->gaps[0]));

        if (err != ERR_OK)
            return data_file_fail(f, err, "no memory for %zu requests", n);
        m->gaps[i] = fmin(draw_gap(r, &rng), GAP_LARGEST);
        sum += m->gaps[i];
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t prompt = draw_tokens(l->log_tokens[PROMPT], &rng);
        uint32_t output = draw_tokens(l->log_tokens[OUTPUT], &rng);
        double at_s;
        enum err err;

        at += sum > 0.0 ? m->gaps[i] / sum : 1.0 / (double)(n + 1);
        at_s = fmin(r->start_s + at * m->step_s, nextafter(r->start_s + m->step_s, 0.0));
        if (at_s < from_s || at_s >= to_s)
            continue;
        err = trace_builder_request(b, f, (at_s - from_s) * MS_PER_S, prompt, output);
        if (err != ERR_OK)
            return err;
        b->trace.requests[b->trace.count - 1].tenant = tenant;
    }
    return ERR_OK;
}

static int
by_f64(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static int
by_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* From when to when the rates go, and how long a row holds: the least distance of two starts. */
static enum err
measure_span(struct model *m, struct data_file *f)
{
    double *starts = malloc(m->rate_count * sizeof(starts[0]));

    if (starts == NULL)
        return data_file_fail(f, ERR_MEMORY, "no memory for its steps");
    for (size_t i = 0; i < m->rate_count; i++)
        starts[i] = m->rates[i].start_s;
    qsort(starts, m->rate_count, sizeof(starts[0]), by_f64);
    m->step_s = 0.0;
    for (size_t i = 1; i < m->rate_count; i++) {
        double step_s = starts[i] - starts[i - 1];

        if (step_s > 0.0 && (m->step_s <= 0.0 || step_s < m->step_s))
            m->step_s = step_s;
    }
    if (m->step_s <= 0.0)
        m->step_s = STEP_S_DEFAULT;
    m->from_s = starts[0];
    m->to_s = starts[m->rate_count - 1] + m->step_s;
    free(starts);
    return ERR_OK;
}

/* The clients, sorted, each once, into *ret_clients (the caller frees them): tenants are their
 * indices. */
static enum err
list_clients(const struct model *m, struct data_file *f, uint32_t **ret_clients, size_t *ret_count)
{
    uint32_t *clients = malloc(m->rate_count * sizeof(clients[0]));
    size_t count = 0;

    if (clients == NULL)
        return data_file_fail(f, ERR_MEMORY, "no memory for its clients");
    for (size_t i = 0; i < m->rate_count; i++)
        clients[i] = m->rates[i].client;
    qsort(clients, m->rate_count, sizeof(clients[0]), by_u32);
    for (size_t i = 0; i < m->rate_count; i++) {
        if (i == 0 || clients[i] != clients[count - 1])
            clients[count++] = clients[i];
    }
    *ret_clients = clients;
    *ret_count = count;
    return ERR_OK;
}

static enum err
draw(struct trace_builder *b, struct data_file *f, struct model *m)
{
    const struct trace_options *o = b->options;
    double span_s = m->to_s - m->from_s, wanted = o->drawn_count, expected = 0.0, share;
    double from_s = m->from_s + o->from_share * span_s, to_s = m->from_s + o->to_share * span_s;
    uint32_t *clients = NULL;
    size_t client_count = 0;
    enum err err = list_clients(m, f, &clients, &client_count);

    for (size_t i = 0; i < m->rate_count; i++) {
        double begin = fmax(m->rates[i].start_s, from_s);
        double end = fmin(m->rates[i].start_s + m->step_s, to_s);

        expected += end > begin ? m->rates[i].rps * (end - begin) : 0.0;
    }
    share = expected > wanted ? wanted / expected : 1.0;
    for (size_t i = 0; i < m->rate_count && err == ERR_OK; i++) {
        const struct rate *r = &m->rates[i];
        const uint32_t *tenant;

        if (r->start_s >= to_s || r->start_s + m->step_s <= from_s)
            continue;
        tenant = bsearch(&r->client, clients, client_count, sizeof(clients[0]), by_u32);
        err = draw_step(b, f, m, r, share, from_s, to_s, (uint32_t)(tenant - clients));
    }
    free(clients);
    b->trace.tenant_count = (uint32_t)client_count;
    b->trace.span_ms = (to_s - from_s) * MS_PER_S;
    b->trace.drawn = true;
    return err;
}

enum err
trace_servegen_read(struct trace_builder *b, struct data_file *rates, struct data_file *lengths)
{
    struct model m = {0};
    enum err err = read_rates(&m, rates);

    if (err == ERR_OK)
        err = read_lengths(&m, lengths);
    if (err == ERR_OK)
        err = measure_span(&m, rates);
    if (err == ERR_OK)
        err = draw(b, rates, &m);
    free(m.rates);
    free(m.lengths);
    free(m.owners);
    free(m.gaps);
    return err;
}
