/* fleet - snapshots of who serves what under which name; see fleet.h. */
#include "role/gateway/fleet.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#include "io/log.h"

#define BY_NAME_SLOTS 16384u /* a power of two, twice FLEET_NAMES_MAX */

/* What a node serves, while it is being changed. */
struct draft {
    uint32_t count, brought;
    struct fleet_served list[ADAPTER_MODELS_MAX];
};

static const struct fleet_node_served serves_nothing;

static struct fleet_node_served *
served_ref(struct fleet_node_served *served)
{
    if (served != NULL)
        atomic_fetch_add_explicit(&served->refs, 1, memory_order_relaxed);
    return served;
}

static void
served_unref(struct fleet_node_served *served)
{
    if (served != NULL && atomic_fetch_sub_explicit(&served->refs, 1, memory_order_acq_rel) == 1)
        free(served);
}

const struct fleet_node_served *
fleet_served(const struct fleet *fleet, uint32_t node)
{
    return node < fleet->roster->node_bound && fleet->served[node] != NULL ? fleet->served[node]
                                                                           : &serves_nothing;
}

struct fleet *
fleet_ref(struct fleet *fleet)
{
    if (fleet != NULL)
        atomic_fetch_add_explicit(&fleet->refs, 1, memory_order_relaxed);
    return fleet;
}

void
fleet_unref(struct fleet *fleet)
{
    if (fleet == NULL || atomic_fetch_sub_explicit(&fleet->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; fleet->served != NULL && i < fleet->roster->node_bound; i++)
        served_unref(fleet->served[i]);
    roster_unref(fleet->roster);
    arena_fini(&fleet->arena);
    free(fleet->served);
    free(fleet->names);
    free(fleet->by_name);
    free(fleet);
}

/* An empty fleet over roster, whose reference it takes, also on failure. */
static enum err
fleet_new(struct roster *roster, const struct hash_key *key, struct fleet **ret_fleet)
{
    struct fleet *f = calloc(1, sizeof(*f));

    if (f == NULL) {
        roster_unref(roster);
        return ERR_MEMORY;
    }
    atomic_init(&f->refs, 1);
    arena_init(&f->arena, FLEET_ARENA_BYTES_MAX);
    f->roster = roster;
    if (key != NULL)
        f->key = *key;
    else if (getrandom(&f->key, sizeof(f->key), 0) != (ssize_t)sizeof(f->key))
        f->key = (struct hash_key){(uint64_t)(uintptr_t)f, 0}; /* a very early boot: guessable */
    f->names = calloc(FLEET_NAMES_MAX, sizeof(*f->names));
    f->by_name = calloc(BY_NAME_SLOTS, sizeof(*f->by_name));
    f->served = calloc(roster->node_bound + 1, sizeof(struct fleet_node_served *));
    if (f->names == NULL || f->by_name == NULL || f->served == NULL) {
        fleet_unref(f);
        return ERR_MEMORY;
    }
    *ret_fleet = f;
    return ERR_OK;
}

/* Where name stands in the hash table, or the free slot where it belongs. */
static uint32_t
slot_of(const struct fleet *f, struct span name)
{
    uint32_t at = (uint32_t)hash_span(f->key, name) & (BY_NAME_SLOTS - 1);

    while (f->by_name[at] != 0 && !span_eq(f->names[f->by_name[at] - 1].text, name))
        at = (at + 1) & (BY_NAME_SLOTS - 1);
    return at;
}

uint16_t
fleet_model_find(const struct fleet *fleet, struct span name)
{
    uint32_t slot = slot_of(fleet, name);

    return fleet->by_name[slot] == 0 ? FLEET_MODEL_NONE
                                     : fleet->names[fleet->by_name[slot] - 1].model;
}

static void
tell_full(struct fleet *f, const char *what, unsigned max)
{
    if (!f->full_told)
        log_warn("more than %u %s: the others are ignored", max, what);
    f->full_told = true;
}

/* Enter a name of model; its index in names, or -1 when there is no room. */
static int
name_add(struct fleet *f, struct span text, uint16_t model)
{
    uint32_t slot = slot_of(f, text);
    struct span copy;

    if (f->by_name[slot] != 0)
        return f->by_name[slot] - 1;
    if (f->name_count == FLEET_NAMES_MAX) {
        tell_full(f, "names of models", FLEET_NAMES_MAX);
        return -1;
    }
    if (arena_copy(&f->arena, text, &copy) != ERR_OK) {
        f->incomplete = true;
        return -1;
    }
    f->names[f->name_count] = (struct fleet_name){copy, model};
    f->by_name[slot] = (uint16_t)++f->name_count;
    return (int)f->name_count - 1;
}

/* A model of this canonical name, new or known; FLEET_MODEL_NONE when there is no room. */
static uint16_t
model_add(struct fleet *f, struct span name)
{
    uint16_t model = fleet_model_find(f, name);
    int at;

    if (model != FLEET_MODEL_NONE)
        return model;
    if (f->model_count == CORE_MODELS_USUAL) {
        tell_full(f, "models", CORE_MODELS_USUAL);
        return FLEET_MODEL_NONE;
    }
    at = name_add(f, name, (uint16_t)f->model_count);
    if (at < 0)
        return FLEET_MODEL_NONE;
    f->models[f->model_count].name = f->names[at].text;
    return (uint16_t)f->model_count++;
}

/* The text of a name as this fleet keeps it; empty when it was left out. */
static struct span
name_kept(const struct fleet *f, struct span name)
{
    uint16_t entry = f->by_name[slot_of(f, name)];

    return entry != 0 ? f->names[entry - 1].text : (struct span){NULL, 0};
}

/* Configured names first: an alias that used to be a model of its own becomes an alias. The indices
 * of all former models are kept, used or not, because the core knows them. */
static void
configure(struct fleet *f, const struct fleet *previous)
{
    const struct config *config = &f->roster->config;

    for (uint32_t i = 0; previous != NULL && i < previous->model_count; i++)
        f->models[i] = (struct fleet_model){.name = previous->models[i].name,
                                            .strange = previous->models[i].strange,
                                            .size_proven = previous->models[i].size_proven,
                                            .weights_bytes = previous->models[i].weights_bytes};
    if (previous != NULL)
        f->model_count = previous->model_count;
    for (size_t i = 0; i < config->model_count; i++) {
        const struct config_model *m = &config->models[i];
        uint16_t model = FLEET_MODEL_NONE;

        for (uint16_t k = 0; k < f->model_count && model == FLEET_MODEL_NONE; k++) {
            if (span_eq(f->models[k].name, m->name))
                model = k;
        }
        if (model != FLEET_MODEL_NONE)
            (void)name_add(f, m->name, model);
        else
            model = model_add(f, m->name);
        if (model == FLEET_MODEL_NONE)
            continue;
        f->models[model].configured = true;
        f->models[model].strange = false;
        f->models[model].params_b = m->params_b;
        for (size_t k = 0; k < m->alias_count; k++)
            (void)name_add(f, m->aliases[k], model);
    }
    /* what is left keeps its own name, unless that is another's alias now; and the text moves here
     */
    for (uint32_t i = 0; i < f->model_count; i++) {
        (void)name_add(f, f->models[i].name, (uint16_t)i);
        f->models[i].name = name_kept(f, f->models[i].name);
    }
}

static void
note_size(struct fleet_model *m, const struct fleet_said *said)
{
    if (said->bytes == 0 || (m->weights_bytes != 0 && (m->size_proven || !said->proven)))
        return;
    m->weights_bytes = said->bytes;
    m->size_proven = said->proven;
}

/* Is it a node that the configuration names, or that a trusted operator vouches for? */
static bool
is_known(const struct fleet *f, uint32_t node, const struct fleet_said *said)
{
    return said->proven || node < roster_base(f->roster)->node_bound;
}

/* One that no node had before. FLEET_MODEL_NONE: there is no room for it. */
static uint16_t
model_bring(struct fleet *f, struct draft *d, struct span name, bool is_strange)
{
    uint32_t strange = 0;
    uint16_t model;

    if (d->brought == FLEET_MODELS_A_NODE_MAX) {
        tell_full(f, "models of one node that nobody else has", FLEET_MODELS_A_NODE_MAX);
        return FLEET_MODEL_NONE;
    }
    for (uint32_t i = 0; i < f->model_count; i++)
        strange += f->models[i].strange;
    if (is_strange && strange == FLEET_MODELS_STRANGE_MAX) {
        tell_full(f, "models that only unproven nodes have", FLEET_MODELS_STRANGE_MAX);
        return FLEET_MODEL_NONE;
    }
    model = model_add(f, name);
    if (model != FLEET_MODEL_NONE) {
        f->models[model].strange = is_strange;
        d->brought++;
    }
    return model;
}

static void
serve_one(struct fleet *f, uint32_t node, struct draft *d, struct span engine_name,
          const struct fleet_said *said)
{
    struct fleet_served served = {.state = (uint16_t)said->state,
                                  .pinned = said->pinned,
                                  .ready_in_ms = said->ready_in_ms,
                                  .slots = said->slots};
    uint16_t model = fleet_model_find(f, engine_name);
    int name;

    bool is_strange = !is_known(f, node, said);

    if (model == FLEET_MODEL_NONE)
        model = model_bring(f, d, engine_name, is_strange);
    if (model == FLEET_MODEL_NONE || d->count == ADAPTER_MODELS_MAX)
        return;
    name = name_add(f, engine_name, model);
    if (name < 0)
        return;
    f->models[model].strange = f->models[model].strange && is_strange;
    note_size(&f->models[model], said);
    served.model = model;
    served.name = (uint16_t)name;
    for (uint32_t i = 0; i < d->count; i++) {
        if (d->list[i].model != model)
            continue;
        /* the engine lists a model under two names: the readier one counts */
        if (said->state == MODEL_READY && d->list[i].state != MODEL_READY)
            d->list[i] = served;
        return;
    }
    d->list[d->count++] = served;
}

static uint32_t
ready_of(const struct fleet_node_served *served)
{
    uint32_t count = 0;

    for (uint32_t i = 0; served != NULL && i < served->count; i++)
        count += served->list[i].state == MODEL_READY;
    return count;
}

static void
draft_begin(const struct fleet *f, uint32_t node, struct draft *ret_draft)
{
    const struct fleet_node_served *now = fleet_served(f, node);

    ret_draft->count = now->count;
    ret_draft->brought = now->brought;
    memcpy(ret_draft->list, now->list, now->count * sizeof(now->list[0]));
}

/* The draft is what the node serves. */
static void
draft_end(struct fleet *f, uint32_t node, const struct draft *d)
{
    struct fleet_node_served *served = malloc(sizeof(*served) + d->count * sizeof(d->list[0]));

    if (served == NULL) {
        f->incomplete = true;
        return;
    }
    atomic_init(&served->refs, 1);
    served->count = d->count;
    served->brought = d->brought;
    memcpy(served->list, d->list, d->count * sizeof(d->list[0]));
    f->ready_count += ready_of(served) - ready_of(f->served[node]);
    served_unref(f->served[node]);
    f->served[node] = served;
}

void
fleet_serve(struct fleet *fleet, uint32_t node, const struct adapter_models *models)
{
    struct draft d;

    if (roster_node(fleet->roster, node) == NULL)
        return; /* it left while it was being asked */
    draft_begin(fleet, node, &d);
    d.count = 0;
    for (size_t i = 0; i < models->count; i++) {
        struct span name = span_of(models->list[i].name);
        const struct fleet_said said = {
            .state = models->list[i].state, .ready_in_ms = NAN, .slots = models->list[i].slots};
        if (name.bytes > 0)
            serve_one(fleet, node, &d, name, &said);
    }
    draft_end(fleet, node, &d);
}

void
fleet_change(struct fleet *fleet, uint32_t node, struct span engine_name,
             const struct fleet_said *said)
{
    struct draft d;

    if (roster_node(fleet->roster, node) == NULL)
        return;
    draft_begin(fleet, node, &d);
    for (uint32_t i = 0; i < d.count; i++) {
        if (span_eq(fleet->names[d.list[i].name].text, engine_name))
            d.list[i--] = d.list[--d.count];
    }
    if (said->state != MODEL_ABSENT)
        serve_one(fleet, node, &d, engine_name, said);
    draft_end(fleet, node, &d);
}

void
fleet_clear(struct fleet *fleet, uint32_t node)
{
    struct draft d;

    if (fleet_served(fleet, node)->count == 0)
        return;
    draft_begin(fleet, node, &d);
    d.count = 0;
    draft_end(fleet, node, &d);
}

/* What the node of this index served in the former fleet, if it was the same node: perhaps by
 * another index, when the configuration names a member now, or does no more. NULL: nothing. */
static struct fleet_node_served *
served_before(const struct fleet *f, const struct fleet *previous, uint32_t node)
{
    const struct roster_node *now = roster_node(f->roster, node),
                             *then = roster_node(previous->roster, node);

    if (now == NULL)
        return NULL;
    if (now != then && (then == NULL || !span_eq(now->name, then->name)))
        then = roster_find(previous->roster, now->name);
    return then != NULL && (now == then || span_eq(now->url, then->url))
               ? previous->served[then->index]
               : NULL;
}

/* Carry over what the nodes of the former fleet serve; the names may mean other models now. */
static void
carry_served(struct fleet *f, const struct fleet *previous)
{
    for (uint32_t i = 0; i < f->roster->node_bound; i++) {
        const struct fleet_node_served *then = served_before(f, previous, i);
        struct draft d = {.brought = then != NULL ? then->brought : 0};

        if (then == NULL)
            continue;
        for (uint32_t k = 0; k < then->count; k++) {
            const struct fleet_served *s = &then->list[k];
            const struct fleet_said said = {.state = s->state,
                                            .pinned = s->pinned,
                                            .ready_in_ms = s->ready_in_ms,
                                            .slots = s->slots};
            serve_one(f, i, &d, previous->names[s->name].text, &said);
        }
        draft_end(f, i, &d);
    }
}

enum err
fleet_open(struct roster *roster, const struct fleet *previous, struct fleet **ret_fleet)
{
    struct fleet *f;
    enum err err = fleet_new(roster, previous != NULL ? &previous->key : NULL, &f);

    if (err != ERR_OK)
        return err;
    configure(f, previous);
    if (previous != NULL)
        carry_served(f, previous);
    if (f->incomplete) {
        fleet_unref(f);
        return ERR_MEMORY;
    }
    *ret_fleet = f;
    return ERR_OK;
}

enum err
fleet_copy(const struct fleet *fleet, struct roster *roster, struct fleet **ret_fleet)
{
    struct fleet *f;
    enum err err = fleet_new(roster != NULL ? roster : roster_ref(fleet->roster), &fleet->key, &f);

    if (err != ERR_OK)
        return err;
    f->full_told = fleet->full_told;
    for (uint32_t i = 0; i < fleet->name_count; i++) {
        if (name_add(f, fleet->names[i].text, fleet->names[i].model) < 0) {
            fleet_unref(f);
            return ERR_MEMORY;
        }
    }
    f->model_count = fleet->model_count;
    for (uint32_t i = 0; i < fleet->model_count; i++) {
        f->models[i] = fleet->models[i];
        f->models[i].name = name_kept(f, fleet->models[i].name);
    }
    for (uint32_t i = 0; i < f->roster->node_bound; i++) {
        struct fleet_node_served *then = served_before(f, fleet, i);

        if (then == NULL)
            continue;
        f->served[i] = served_ref(then);
        f->ready_count += ready_of(then);
    }
    *ret_fleet = f;
    return ERR_OK;
}

bool
fleet_key_may_use(const struct fleet *fleet, const struct key_entry *key, uint16_t model)
{
    if (key == NULL || key->model_count == 0)
        return true;
    for (size_t i = 0; i < key->model_count; i++) {
        if (fleet_model_find(fleet, key->models[i]) == model)
            return true;
    }
    return false;
}

struct span
fleet_engine_name(const struct fleet *fleet, uint32_t node, uint16_t model)
{
    const struct fleet_node_served *served = fleet_served(fleet, node);

    for (uint32_t i = 0; i < served->count; i++) {
        if (served->list[i].model == model)
            return fleet->names[served->list[i].name].text;
    }
    return (struct span){NULL, 0};
}
