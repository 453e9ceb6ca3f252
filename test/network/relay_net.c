/* relay_net - see relay_net.h. A heap by time of arrival over slots of one pool; the free list
 * hands out the slot that was used last, so that only as much memory is touched as was ever under
 * way. */
#include "relay_net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "base/rng.h"

#define ADDRESSES      65536u /* of RELAY_NETWORK */
#define NO_SITE        0xffu
#define IPV4_BYTES_MIN 20u
#define IPV4_TO_AT     16u /* where the header has the destination */

struct path {
    uint64_t one_way_ns, jitter_ns;
    double loss;
    uint64_t last_due_ns;
    uint32_t waiting;
};

struct site {
    char name[RELAY_NAME_BYTES_MAX + 1];
    uint32_t region; /* in the matrix */
    double ns_per_byte;
    uint64_t free_ns; /* its line is busy until then */
    bool cut;
};

struct due { /* an entry of the heap */
    uint64_t due_ns, order;
    uint32_t slot;
};

struct relay_net {
    const struct rtt_matrix *rtt;
    struct rng rng;
    struct site sites[RELAY_SITES_MAX];
    struct path paths[RELAY_SITES_MAX][RELAY_SITES_MAX];
    uint32_t site_count;
    uint8_t site_of[ADDRESSES];
    struct relay_packet *pool;
    struct due *heap;
    uint32_t *free_slots;
    uint32_t heap_count, free_count;
    uint32_t taken; /* the slot that take gave out; free with the next call */
    uint64_t order;
    struct relay_counts counts;
};

#define NONE_TAKEN UINT32_MAX

enum err
relay_net_open(const struct rtt_matrix *rtt, uint64_t seed, struct relay_net **ret_net)
{
    struct relay_net *n = calloc(1, sizeof(*n));

    if (n == NULL)
        return ERR_MEMORY;
    n->rtt = rtt;
    n->taken = NONE_TAKEN;
    rng_init(&n->rng, seed);
    memset(n->site_of, NO_SITE, sizeof(n->site_of));
    n->pool = malloc(RELAY_PACKETS_MAX * sizeof(*n->pool));
    n->heap = malloc(RELAY_PACKETS_MAX * sizeof(*n->heap));
    n->free_slots = malloc(RELAY_PACKETS_MAX * sizeof(*n->free_slots));
    if (n->pool == NULL || n->heap == NULL || n->free_slots == NULL) {
        relay_net_close(n);
        return ERR_MEMORY;
    }
    for (uint32_t i = 0; i < RELAY_PACKETS_MAX; i++)
        n->free_slots[n->free_count++] = RELAY_PACKETS_MAX - 1 - i;
    *ret_net = n;
    return ERR_OK;
}

void
relay_net_close(struct relay_net *n)
{
    if (n == NULL)
        return;
    free(n->pool);
    free(n->heap);
    free(n->free_slots);
    free(n);
}

/* ---- Sites and paths. */

static uint64_t
ns_of(double ms)
{
    return (uint64_t)(ms * 1e6);
}

static enum err
set_region(struct relay_net *n, struct site *s, struct span region)
{
    s->region = 0;
    while (s->region < n->rtt->count && !span_eq(n->rtt->names[s->region], region))
        s->region++;
    return s->region < n->rtt->count ? ERR_OK : ERR_NOT_FOUND;
}

enum err
relay_net_site(struct relay_net *n, struct span name, struct span region, uint32_t *ret_site)
{
    struct site *s = &n->sites[n->site_count];
    uint32_t index = n->site_count, found;

    if (n->site_count == RELAY_SITES_MAX)
        return ERR_FULL;
    if (name.bytes == 0 || name.bytes > RELAY_NAME_BYTES_MAX)
        return ERR_ARG;
    if (relay_net_find(n, name, &found) == ERR_OK)
        return ERR_EXISTS;
    *s = (struct site){0};
    span_copy(name, s->name, sizeof(s->name));
    if (set_region(n, s, region) != ERR_OK)
        return ERR_NOT_FOUND;
    for (uint32_t i = 0; i < index; i++) {
        float ms = rtt_ms(n->rtt, region, n->rtt->names[n->sites[i].region]);

        if (!(ms >= 0.0f))
            return ERR_NOT_FOUND;
        n->paths[i][index] = n->paths[index][i] = (struct path){
            .one_way_ns = ns_of((double)ms / 2.0)};
    }
    n->site_count++;
    *ret_site = index;
    return ERR_OK;
}

enum err
relay_net_address(struct relay_net *n, uint32_t site, uint32_t address)
{
    uint8_t *owner = &n->site_of[address & ~RELAY_NETWORK_MASK];

    if (site >= n->site_count || (address & RELAY_NETWORK_MASK) != RELAY_NETWORK)
        return ERR_ARG;
    if (*owner != NO_SITE)
        return ERR_EXISTS;
    *owner = (uint8_t)site;
    return ERR_OK;
}

void
relay_net_unmake_last(struct relay_net *n)
{
    must(n->site_count > 0);
    n->site_count--;
    for (uint32_t i = 0; i < ADDRESSES; i++)
        if (n->site_of[i] == n->site_count)
            n->site_of[i] = NO_SITE;
}

uint32_t
relay_net_site_count(const struct relay_net *n)
{
    return n->site_count;
}

enum err
relay_net_find(const struct relay_net *n, struct span name, uint32_t *ret_site)
{
    for (uint32_t i = 0; i < n->site_count; i++)
        if (span_eq_text(name, n->sites[i].name)) {
            *ret_site = i;
            return ERR_OK;
        }
    return ERR_NOT_FOUND;
}

static bool
is_path(const struct relay_net *n, uint32_t a, uint32_t b)
{
    return a < n->site_count && b < n->site_count && a != b;
}

enum err
relay_net_set_rtt(struct relay_net *n, uint32_t a, uint32_t b, double rtt_ms)
{
    if (!is_path(n, a, b) || !(rtt_ms >= 0.0 && rtt_ms <= RELAY_RTT_MS_MAX))
        return ERR_ARG;
    n->paths[a][b].one_way_ns = n->paths[b][a].one_way_ns = ns_of(rtt_ms / 2.0);
    return ERR_OK;
}

enum err
relay_net_set_jitter(struct relay_net *n, uint32_t a, uint32_t b, double ms)
{
    if (!is_path(n, a, b) || !(ms >= 0.0 && ms <= RELAY_RTT_MS_MAX))
        return ERR_ARG;
    n->paths[a][b].jitter_ns = n->paths[b][a].jitter_ns = ns_of(ms);
    return ERR_OK;
}

enum err
relay_net_set_loss(struct relay_net *n, uint32_t a, uint32_t b, double share)
{
    if (!is_path(n, a, b) || !(share >= 0.0 && share <= 1.0))
        return ERR_ARG;
    n->paths[a][b].loss = n->paths[b][a].loss = share;
    return ERR_OK;
}

enum err
relay_net_set_rate(struct relay_net *n, uint32_t site, double mbit_s)
{
    if (site >= n->site_count || !(mbit_s >= 0.0 && mbit_s <= RELAY_MBIT_MAX) ||
        (mbit_s > 0.0 && mbit_s < 0.001))
        return ERR_ARG;
    n->sites[site].ns_per_byte = mbit_s > 0.0 ? 8000.0 / mbit_s : 0.0;
    return ERR_OK;
}

void
relay_net_cut(struct relay_net *n, uint32_t site, bool cut)
{
    if (site < n->site_count)
        n->sites[site].cut = cut;
}

/* ---- Packets. */

static bool
before(const struct due *a, const struct due *b)
{
    return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->order < b->order);
}

static void
push(struct relay_net *n, struct due entry)
{
    uint32_t at = n->heap_count++;

    while (at > 0 && before(&entry, &n->heap[(at - 1) / 2])) {
        n->heap[at] = n->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    n->heap[at] = entry;
}

static struct due
pop(struct relay_net *n)
{
    struct due first = n->heap[0], last = n->heap[--n->heap_count];
    uint32_t at = 0, child;

    while ((child = 2 * at + 1) < n->heap_count) {
        if (child + 1 < n->heap_count && before(&n->heap[child + 1], &n->heap[child]))
            child++;
        if (!before(&n->heap[child], &last))
            break;
        n->heap[at] = n->heap[child];
        at = child;
    }
    n->heap[at] = last;
    return first;
}

/* The site that has the packet's destination; NO_SITE: none, or no such packet passes here. */
static uint32_t
destination(const struct relay_net *n, const unsigned char *packet, size_t bytes)
{
    const unsigned char *to = packet + IPV4_TO_AT;

    if (bytes < IPV4_BYTES_MIN || bytes > RELAY_PACKET_BYTES_MAX || packet[0] >> 4 != 4 ||
        ((uint32_t)to[0] << 24 | (uint32_t)to[1] << 16) != RELAY_NETWORK)
        return NO_SITE;
    return n->site_of[(uint32_t)to[2] << 8 | to[3]];
}

/* When a packet that leaves now arrives; the line and the path are taken until then. */
static uint64_t
arrival_ns(struct relay_net *n, struct site *s, struct path *p, size_t bytes, uint64_t now_ns)
{
    uint64_t due_ns = now_ns;

    if (s->ns_per_byte > 0.0) {
        s->free_ns = (s->free_ns > now_ns ? s->free_ns : now_ns) +
                     (uint64_t)(s->ns_per_byte * (double)bytes);
        due_ns = s->free_ns;
    }
    due_ns += p->one_way_ns;
    if (p->jitter_ns > 0)
        due_ns += rng_below(&n->rng, p->jitter_ns + 1);
    if (due_ns < p->last_due_ns)
        due_ns = p->last_due_ns;
    p->last_due_ns = due_ns;
    return due_ns;
}

void
relay_net_put(struct relay_net *n, uint32_t from, const void *packet, size_t bytes, uint64_t now_ns)
{
    uint32_t to = destination(n, packet, bytes), slot;
    struct relay_packet *held;
    struct path *path;

    if (to == NO_SITE || to == from) {
        n->counts.dropped_stray++;
        return;
    }
    path = &n->paths[from][to];
    if (n->sites[from].cut || n->sites[to].cut) {
        n->counts.dropped_cut++;
        return;
    }
    if (path->loss > 0.0 && rng_unit(&n->rng) < path->loss) {
        n->counts.dropped_lost++;
        return;
    }
    if (n->free_count == 0 || path->waiting == RELAY_PATH_PACKETS_MAX) {
        n->counts.dropped_full++;
        return;
    }
    slot = n->free_slots[--n->free_count];
    held = &n->pool[slot];
    held->from = from;
    held->to = to;
    held->bytes = (uint32_t)bytes;
    held->due_ns = arrival_ns(n, &n->sites[from], path, bytes, now_ns);
    memcpy(held->data, packet, bytes);
    path->waiting++;
    push(n, (struct due){held->due_ns, n->order++, slot});
}

const struct relay_packet *
relay_net_take(struct relay_net *n, uint64_t now_ns)
{
    if (n->taken != NONE_TAKEN)
        n->free_slots[n->free_count++] = n->taken;
    n->taken = NONE_TAKEN;
    while (n->heap_count > 0 && n->heap[0].due_ns <= now_ns) {
        uint32_t slot = pop(n).slot;
        const struct relay_packet *p = &n->pool[slot];

        n->paths[p->from][p->to].waiting--;
        if (n->sites[p->from].cut || n->sites[p->to].cut) {
            n->counts.dropped_cut++;
            n->free_slots[n->free_count++] = slot;
            continue;
        }
        n->counts.forwarded++;
        n->counts.forwarded_bytes += p->bytes;
        n->taken = slot;
        return p;
    }
    return NULL;
}

uint64_t
relay_net_next_ns(const struct relay_net *n)
{
    return n->heap_count > 0 ? n->heap[0].due_ns : UINT64_MAX;
}

uint32_t
relay_net_waiting(const struct relay_net *n)
{
    return n->heap_count;
}

const struct relay_counts *
relay_net_counts(const struct relay_net *n)
{
    return &n->counts;
}
