/* treap_test - against a plain list: the same order whatever is inserted and removed, and no deeper
 * than a tree of so many should be. */
#include "base/treap.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/rng.h"
#include "tap.h"

#define COUNT 2000u

static struct treap_node nodes[COUNT];
static bool in[COUNT];
static uint64_t keys[COUNT], ties[COUNT];

/* What treap_first_from must find. */
static uint32_t
first_from(uint64_t key, uint64_t tie)
{
    uint32_t best = TREAP_NONE;

    for (uint32_t i = 0; i < COUNT; i++) {
        if (!in[i] || keys[i] < key || (keys[i] == key && ties[i] < tie))
            continue;
        if (best == TREAP_NONE || keys[i] < keys[best] ||
            (keys[i] == keys[best] && ties[i] < ties[best]))
            best = i;
    }
    return best;
}

static uint32_t
depth(const struct treap *t, uint32_t index)
{
    uint32_t steps = 0;

    for (; index != TREAP_NONE; index = t->nodes[index].parent)
        steps++;
    return steps;
}

static void
test_against_list(void)
{
    struct treap t;
    struct rng rng;
    bool same = true;

    treap_init(&t, nodes);
    rng_init(&rng, 1);
    CHECK(treap_first_from(&t, 0, 0) == TREAP_NONE, "an empty one has no first");
    for (uint32_t step = 0; step < 20000; step++) {
        uint32_t i = (uint32_t)rng_below(&rng, COUNT);

        if (in[i]) {
            treap_remove(&t, i);
        } else { /* few keys, so that equals are common */
            keys[i] = rng_below(&rng, 7);
            ties[i] = rng_below(&rng, 50);
            treap_insert(&t, i, keys[i], ties[i]);
        }
        in[i] = !in[i];
        if (step % 16 == 0) {
            uint64_t key = rng_below(&rng, 8), tie = rng_below(&rng, 51);
            same = same && treap_first_from(&t, key, tie) == first_from(key, tie);
        }
    }
    CHECK(same, "the first from any place is the one a list would find");
    for (uint32_t i = 0; i < COUNT; i++) {
        if (in[i])
            treap_remove(&t, i);
        in[i] = false;
    }
    CHECK(t.root == TREAP_NONE, "all removed: empty");
}

static void
test_depth(void)
{
    struct treap t;
    uint32_t deepest = 0;

    treap_init(&t, nodes);
    for (uint32_t i = 0; i < COUNT; i++) /* sorted input, the worst of a plain tree */
        treap_insert(&t, i, i, 0);
    for (uint32_t i = 0; i < COUNT; i++)
        deepest = depth(&t, i) > deepest ? depth(&t, i) : deepest;
    CHECK(deepest < 50, "it stays shallow");
}

int
main(void)
{
    test_against_list();
    test_depth();
    return tap_done();
}
