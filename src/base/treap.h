#ifndef BASE_TREAP_H
#define BASE_TREAP_H
/* treap - an ordered set of small indices in an array that the caller owns: insert, remove and "the
 * first from here on" in O(log n), nothing allocated.
 *
 * A search tree by (key, tie, index) that is at the same time a heap by a hash of the index, which
 * keeps it balanced. The hash is fixed: the same calls give the same tree everywhere, and nobody
 * outside chooses indices. One array of nodes serves one treap; an index is in it once at most. */
#include <stdint.h>

#define TREAP_NONE UINT32_MAX

struct treap_node {
    uint64_t key, tie;
    uint32_t left, right, parent;
};

struct treap {
    struct treap_node *nodes;
    uint32_t root; /* TREAP_NONE: empty */
};

void treap_init(struct treap *t, struct treap_node *nodes);
/* index is not in *t. */
void treap_insert(struct treap *t, uint32_t index, uint64_t key, uint64_t tie);
/* index is in *t. */
void treap_remove(struct treap *t, uint32_t index);
/* The least index, by order, at or after (key, tie); TREAP_NONE: there is none. */
uint32_t treap_first_from(const struct treap *t, uint64_t key, uint64_t tie);
#endif
