/* fair - three ordered sets and an account per tenant; see fair.h.
 *
 * A flow is in `order` under the tokens of its account, so whoever changes an account moves the
 * flow; which flow that is, the first of its holds tells. */
#include "core/fair.h"

#include "base/must.h"

static uint32_t
holds_max(const struct core_config *c)
{
    return c->holds_max > 0 ? c->holds_max : FAIR_HOLDS_DEFAULT;
}

struct parts {
    size_t expiry, by_flow, order, tokens, classes, holds, flows, bytes;
};

/* The 8-byte aligned ones first, so that nothing needs padding. */
static struct parts
parts_of(const struct core_config *c)
{
    size_t max = holds_max(c), classes = (size_t)c->models_max * PRIORITIES_MAX;
    struct parts p = {0};

    p.by_flow = p.expiry + max * sizeof(struct treap_node);
    p.order = p.by_flow + max * sizeof(struct treap_node);
    p.tokens = p.order + max * sizeof(struct treap_node);
    p.classes = p.tokens + classes * TENANTS_MAX * sizeof(uint64_t);
    p.holds = p.classes + classes * sizeof(struct fair_class);
    p.flows = p.holds + max * sizeof(struct fair_hold);
    p.bytes = p.flows + max * sizeof(struct fair_flow);
    return p;
}

size_t
fair_bytes(const struct core_config *c)
{
    return parts_of(c).bytes;
}

void
fair_init(struct fair *f, const struct core_config *c, void *memory)
{
    struct parts p = parts_of(c);
    char *base = memory;

    f->holds_max = holds_max(c);
    treap_init(&f->by_expiry, (struct treap_node *)(void *)(base + p.expiry));
    treap_init(&f->by_flow, (struct treap_node *)(void *)(base + p.by_flow));
    treap_init(&f->order, (struct treap_node *)(void *)(base + p.order));
    f->tokens = (uint64_t *)(void *)(base + p.tokens);
    f->classes = (struct fair_class *)(void *)(base + p.classes);
    f->holds = (struct fair_hold *)(void *)(base + p.holds);
    f->flows = (struct fair_flow *)(void *)(base + p.flows);
    for (uint32_t i = 0; i < f->holds_max; i++) {
        f->holds[i].flow = i + 1 < f->holds_max ? i + 1 : FAIR_NONE;
        f->flows[i].count = i + 1 < f->holds_max ? i + 1 : FAIR_NONE;
    }
}

/* ---- Keys. */

static size_t
class_index(uint32_t model, uint32_t class)
{
    return (size_t)model * PRIORITIES_MAX + class;
}

static uint64_t
flow_key(struct fair_who who)
{
    return (uint64_t)class_index(who.model, who.class) << 16 | who.tenant;
}

static uint64_t *
account(const struct fair *f, struct fair_who who)
{
    return &f->tokens[class_index(who.model, who.class) * TENANTS_MAX + who.tenant];
}

static struct fair_who
flow_who(const struct fair_flow *flow)
{
    return (struct fair_who){flow->model, flow->class, flow->tenant};
}

/* The flow of these, or FAIR_NONE when none of theirs is held. */
static uint32_t
flow_find(const struct fair *f, struct fair_who who)
{
    uint32_t hold = treap_first_from(&f->by_flow, flow_key(who), 0);

    if (hold == TREAP_NONE || f->by_flow.nodes[hold].key != flow_key(who))
        return FAIR_NONE;
    return f->holds[hold].flow;
}

/* ---- In and out. */

static uint32_t
flow_open(struct fair *f, struct fair_who who)
{
    uint32_t i = f->flow_free;
    uint64_t *tokens = account(f, who), clock = f->classes[class_index(who.model, who.class)].clock;

    must(i != FAIR_NONE); /* there are as many as holds */
    f->flow_free = f->flows[i].count;
    f->flows[i] = (struct fair_flow){
        .model = who.model, .tenant = who.tenant, .class = (uint8_t)who.class};
    if (*tokens < clock)
        *tokens = clock;
    treap_insert(&f->order, i, class_index(who.model, who.class), *tokens);
    return i;
}

uint32_t
fair_put(struct fair *f, uint32_t request, struct fair_who who, uint64_t expiry_ns)
{
    struct fair_class *class = &f->classes[class_index(who.model, who.class)];
    uint32_t hold = f->hold_free, flow = flow_find(f, who);

    must(f->held < f->holds_max && hold != FAIR_NONE);
    f->hold_free = f->holds[hold].flow;
    if (flow == FAIR_NONE)
        flow = flow_open(f, who);
    f->holds[hold] = (struct fair_hold){request, flow};
    f->flows[flow].count++;
    treap_insert(&f->by_expiry, hold, expiry_ns, 0);
    treap_insert(&f->by_flow, hold, flow_key(who), expiry_ns);
    if (class->held++ == 0)
        class->passed = 0;
    f->held++;
    f->models[who.model / 64] |= UINT64_C(1) << who.model % 64;
    return hold;
}

void
fair_take(struct fair *f, uint32_t hold)
{
    uint32_t flow = f->holds[hold].flow;
    struct fair_who who = flow_who(&f->flows[flow]);

    treap_remove(&f->by_expiry, hold);
    treap_remove(&f->by_flow, hold);
    f->holds[hold].flow = f->hold_free;
    f->hold_free = hold;
    f->held--;
    f->classes[class_index(who.model, who.class)].held--;
    if (fair_ahead(f, who.model, PRIORITIES_MAX - 1) == 0)
        f->models[who.model / 64] &= ~(UINT64_C(1) << who.model % 64);
    if (--f->flows[flow].count > 0)
        return;
    treap_remove(&f->order, flow);
    f->flows[flow].count = f->flow_free;
    f->flow_free = flow;
}

/* ---- Whose turn. */

bool
fair_is_due(const struct fair *f, uint32_t model, uint32_t class)
{
    const struct fair_class *c = &f->classes[class_index(model, class)];

    return c->held > 0 && c->passed >= FAIR_PASSED_MAX;
}

bool
fair_waits(const struct fair *f, uint32_t model, uint32_t class)
{
    if (f->held == 0)
        return false;
    if (fair_ahead(f, model, class) > 0)
        return true;
    while (++class < PRIORITIES_MAX) {
        if (fair_is_due(f, model, class))
            return true;
    }
    return false;
}

uint32_t
fair_next(const struct fair *f, uint32_t model)
{
    uint32_t turn = FAIR_NONE, flow;
    struct fair_who who;

    for (uint32_t class = PRIORITIES_MAX; class -- > 0;) {
        bool held = f->classes[class_index(model, class)].held > 0;
        if (held && (turn == FAIR_NONE || !fair_is_due(f, model, turn)))
            turn = class;
    }
    if (turn == FAIR_NONE)
        return FAIR_NONE;
    flow = treap_first_from(&f->order, class_index(model, turn), 0);
    must(flow != TREAP_NONE && f->flows[flow].model == model && f->flows[flow].class == turn);
    who = flow_who(&f->flows[flow]);
    return treap_first_from(&f->by_flow, flow_key(who), 0);
}

uint32_t
fair_earliest(const struct fair *f)
{
    return treap_first_from(&f->by_expiry, 0, 0);
}

uint64_t
fair_expiry_ns(const struct fair *f, uint32_t hold)
{
    return f->by_expiry.nodes[hold].key;
}

uint32_t
fair_ahead(const struct fair *f, uint32_t model, uint32_t class)
{
    uint32_t ahead = 0;

    for (uint32_t i = 0; i <= class; i++)
        ahead += f->classes[class_index(model, i)].held;
    return ahead;
}

uint32_t
fair_model_from(const struct fair *f, uint32_t model)
{
    const uint32_t words = sizeof(f->models) / sizeof(f->models[0]);

    if (f->held == 0)
        return FAIR_NONE;
    for (uint32_t i = 0; i <= words; i++) { /* the first word again, for what is before `model` */
        uint32_t word = (model / 64 + i) % words;
        uint64_t set = f->models[word];
        if (i == 0)
            set &= ~UINT64_C(0) << model % 64;
        if (set != 0)
            return word * 64 + (uint32_t)__builtin_ctzll(set);
    }
    return FAIR_NONE;
}

/* ---- Accounts. */

static void
charge(struct fair *f, struct fair_who who, uint64_t tokens)
{
    uint32_t flow = f->held > 0 ? flow_find(f, who) : FAIR_NONE;

    *account(f, who) += tokens;
    if (flow == FAIR_NONE)
        return;
    treap_remove(&f->order, flow);
    treap_insert(&f->order, flow, class_index(who.model, who.class), *account(f, who));
}

void
fair_admitted(struct fair *f, struct fair_who who, uint64_t prompt_tokens)
{
    struct fair_class *class = &f->classes[class_index(who.model, who.class)];
    uint64_t *tokens = account(f, who);

    if (*tokens < class->clock && flow_find(f, who) == FAIR_NONE)
        *tokens = class->clock; /* who is held was lifted as it came */
    if (*tokens > class->clock)
        class->clock = *tokens;
    charge(f, who, prompt_tokens);
    if (f->held == 0)
        return;
    class->passed = 0;
    for (uint32_t lower = who.class + 1u; lower < PRIORITIES_MAX; lower++)
        f->classes[class_index(who.model, lower)].passed +=
            f->classes[class_index(who.model, lower)].held > 0;
}

void
fair_ended(struct fair *f, struct fair_who who, uint64_t output_tokens)
{
    charge(f, who, FAIR_OUTPUT_PRICE * output_tokens);
}
