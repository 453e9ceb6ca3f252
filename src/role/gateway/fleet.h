#ifndef ROLE_GATEWAY_FLEET_H
#define ROLE_GATEWAY_FLEET_H
/* fleet - names and indices: the roster, and beside it what the engines say they serve.
 *
 * A snapshot: filled by one thread, then given to decide_fleet_swap and from then on immutable,
 * shared by all loops, reference-counted. News (a reload, an engine with a new model) make a copy
 * that replaces it. Indices of models live as long as the gateway.
 *
 * Model identity: the configured name, its aliases, and the name under which an engine serves it
 * are one model to clients. What an engine serves and no configuration names is a model of its own
 * name. */
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/hash.h"
#include "core/core.h"
#include "role/roster.h"
#include "wire/adapter.h"

/* Models are never forgotten, as the core knows them by index: so no node may bring all of them. */
#define FLEET_MODELS_A_NODE_MAX 64u
/* Nor may strangers: so many that only nodes have of which nothing is known. */
#define FLEET_MODELS_STRANGE_MAX (CORE_MODELS_USUAL / 2)
#define FLEET_NAMES_MAX          8192u /* canonical names, aliases and engines' names together */
#define FLEET_ARENA_BYTES_MAX    67108864u
#define FLEET_MODEL_NONE         UINT16_MAX

struct fleet_model {
    struct span name; /* canonical */
    double params_b;  /* as configured; 0 unknown */
    bool configured;
    bool strange;           /* only nodes have it that nobody named and nobody vouches for */
    bool size_proven;       /* weights_bytes is of a node whose operator is trusted */
    uint64_t weights_bytes; /* as nodes said; 0 unknown */
};

struct fleet_name { /* any name of a model */
    struct span text;
    uint16_t model;
};

struct fleet_served {            /* one model on one node */
    uint16_t model, name, state; /* name: how the engine calls it; state: enum model_state */
    bool pinned;
    float ready_in_ms; /* when loading, from when it was said on; NAN unknown */
    uint32_t slots;    /* requests of it at once; 0: it shares the node's */
};

struct fleet_said { /* of a model, by its node */
    uint32_t state; /* enum model_state; MODEL_ABSENT: it has it no more */
    float ready_in_ms;
    bool pinned;
    bool proven;    /* the node's operator is trusted */
    uint32_t slots; /* as in fleet_served */
    uint64_t bytes; /* of its weights; 0: not said */
};

struct fleet_node_served { /* never changes; shared by snapshots, so a copy costs a pointer a node
                            */
    _Atomic uint32_t refs;
    uint32_t count;
    uint32_t brought; /* models that nobody had heard of before, ever */
    struct fleet_served list[];
};

struct fleet {
    _Atomic uint32_t refs;
    struct roster *roster;
    struct arena arena; /* of the names */
    struct hash_key key;
    struct fleet_model models[CORE_MODELS_USUAL];
    uint32_t model_count;
    struct fleet_name *names;
    uint32_t name_count;
    uint16_t *by_name; /* hash table of names + 1 */
    struct fleet_node_served *
        *served;          /* by node index, roster->node_bound of them; NULL: nothing */
    uint32_t ready_count; /* of what they serve: models that are ready */
    bool full_told;       /* that models or names are over the limit was logged */
    bool incomplete;      /* there was no memory for a name: not to be published */
};

/* Over this roster (its reference is taken over, also on failure). previous: NULL, or the fleet
 * whose model indices and served models are kept where node and name are still there. */
MUST_USE enum err fleet_open(struct roster *roster, const struct fleet *previous,
                             struct fleet **ret_fleet);
/* A copy that may still be changed. roster: NULL, or another one over the same configuration, with
 * other members (its reference is taken over, also on failure). */
MUST_USE enum err fleet_copy(const struct fleet *fleet, struct roster *roster,
                             struct fleet **ret_fleet);
/* This node serves these models now, and no others. Before publication only; look at `incomplete`
 * then. */
void fleet_serve(struct fleet *fleet, uint32_t node, const struct adapter_models *models);
/* The same for one model, by the name that the engine has for it, among those it serves. How large
 * a model is the first one says, unless one says so of whom more is known: so that nobody can
 * change it for the others over and over. */
void fleet_change(struct fleet *fleet, uint32_t node, struct span engine_name,
                  const struct fleet_said *said);
/* It serves nothing any more. */
void fleet_clear(struct fleet *fleet, uint32_t node);
/* What a node serves: count 0 when it is not there. */
const struct fleet_node_served *fleet_served(const struct fleet *fleet, uint32_t node);

struct fleet *fleet_ref(struct fleet *fleet); /* NULL: NULL */
void fleet_unref(struct fleet *fleet);        /* NULL: does nothing */

/* By name or alias; FLEET_MODEL_NONE. */
uint16_t fleet_model_find(const struct fleet *fleet, struct span name);
/* May this key (NULL: none is needed) use the model? */
bool fleet_key_may_use(const struct fleet *fleet, const struct key_entry *key, uint16_t model);
/* How this node calls that model; empty when it does not serve it. */
struct span fleet_engine_name(const struct fleet *fleet, uint32_t node, uint16_t model);
#endif
