/* treap - put in as a leaf and rotated up, rotated down and taken out as a leaf; see treap.h. */
#include "base/treap.h"

#include <stdbool.h>

void
treap_init(struct treap *t, struct treap_node *nodes)
{
    t->nodes = nodes;
    t->root = TREAP_NONE;
}

static uint32_t
rank(uint32_t index)
{
    uint64_t x = (index + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(x >> 32);
}

static bool
before(const struct treap *t, uint32_t a, uint32_t b)
{
    const struct treap_node *x = &t->nodes[a], *y = &t->nodes[b];

    if (x->key != y->key)
        return x->key < y->key;
    if (x->tie != y->tie)
        return x->tie < y->tie;
    return a < b;
}

/* Where the parent points at `index`, or the root. */
static uint32_t *
link_of(struct treap *t, uint32_t index)
{
    uint32_t parent = t->nodes[index].parent;

    if (parent == TREAP_NONE)
        return &t->root;
    return t->nodes[parent].left == index ? &t->nodes[parent].left : &t->nodes[parent].right;
}

/* Put index in the place of its parent, which becomes its child. */
static void
rotate_up(struct treap *t, uint32_t index)
{
    struct treap_node *n = &t->nodes[index];
    uint32_t above = n->parent, moved;
    struct treap_node *p = &t->nodes[above];

    *link_of(t, above) = index;
    n->parent = p->parent;
    if (p->left == index) {
        moved = p->left = n->right;
        n->right = above;
    } else {
        moved = p->right = n->left;
        n->left = above;
    }
    if (moved != TREAP_NONE)
        t->nodes[moved].parent = above;
    p->parent = index;
}

void
treap_insert(struct treap *t, uint32_t index, uint64_t key, uint64_t tie)
{
    uint32_t *link = &t->root, parent = TREAP_NONE;

    t->nodes[index] = (struct treap_node){key, tie, TREAP_NONE, TREAP_NONE, TREAP_NONE};
    while (*link != TREAP_NONE) {
        parent = *link;
        link = before(t, index, parent) ? &t->nodes[parent].left : &t->nodes[parent].right;
    }
    *link = index;
    t->nodes[index].parent = parent;
    while (t->nodes[index].parent != TREAP_NONE && rank(t->nodes[index].parent) < rank(index))
        rotate_up(t, index);
}

void
treap_remove(struct treap *t, uint32_t index)
{
    const struct treap_node *n = &t->nodes[index];
    uint32_t child;

    while (n->left != TREAP_NONE && n->right != TREAP_NONE)
        rotate_up(t, rank(n->left) > rank(n->right) ? n->left : n->right);
    child = n->left != TREAP_NONE ? n->left : n->right;
    *link_of(t, index) = child;
    if (child != TREAP_NONE)
        t->nodes[child].parent = n->parent;
}

uint32_t
treap_first_from(const struct treap *t, uint64_t key, uint64_t tie)
{
    uint32_t at = t->root, found = TREAP_NONE;

    while (at != TREAP_NONE) {
        const struct treap_node *n = &t->nodes[at];

        if (n->key < key || (n->key == key && n->tie < tie)) {
            at = n->right;
        } else {
            found = at;
            at = n->left;
        }
    }
    return found;
}
