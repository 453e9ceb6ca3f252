/* relay_net_test - delays, order, queues and counts of the network between sites, in made-up time.
 */
#include <string.h>

#include "relay_net.h"
#include "tap.h"

#define MS      1000000u
#define ADDRESS (RELAY_NETWORK | 1u) /* of site 0; site i has i more */
#define BYTES   100u

static struct rtt_matrix rtt;

/* Three sites: two in Dublin, one in Ashburn. */
static struct relay_net *
make(void)
{
    static const char *const names[] = {"here", "near", "far"};
    static const char *const regions[] = {"eu-west", "eu-west", "us-east"};
    struct relay_net *n = NULL;
    uint32_t site;

    if (relay_net_open(&rtt, 1, &n) != ERR_OK)
        abort();
    for (uint32_t i = 0; i < 3; i++)
        if (relay_net_site(n, span_of(names[i]), span_of(regions[i]), &site) != ERR_OK ||
            relay_net_address(n, site, ADDRESS + i) != ERR_OK)
            abort();
    return n;
}

/* A packet to this address, with a number in it. */
static void
put(struct relay_net *n, uint32_t from, uint32_t to, unsigned char number, uint64_t now_ns)
{
    unsigned char p[BYTES] = {0x45};

    for (unsigned i = 0; i < 4; i++)
        p[16 + i] = (unsigned char)(to >> (24 - 8 * i));
    p[BYTES - 1] = number;
    relay_net_put(n, from, p, sizeof(p), now_ns);
}

static void
test_sites(void)
{
    struct relay_net *n = make();
    char name[RELAY_NAME_BYTES_MAX + 2];
    uint32_t site;

    memset(name, 'x', sizeof(name));
    CHECK(relay_net_site(n, SPAN_LIT("far"), SPAN_LIT("eu-west"), &site) == ERR_EXISTS,
          "a name twice");
    CHECK(relay_net_site(n, SPAN_LIT("new"), SPAN_LIT("atlantis"), &site) == ERR_NOT_FOUND,
          "a region that nobody knows");
    CHECK(relay_net_site(n, (struct span){name, sizeof(name)}, SPAN_LIT("eu-west"), &site) ==
              ERR_ARG,
          "a name too long");
    CHECK(relay_net_address(n, 0, ADDRESS + 2) == ERR_EXISTS, "an address twice");
    CHECK(relay_net_address(n, 0, 0x7f000001) == ERR_ARG, "an address from elsewhere");
    CHECK(relay_net_site(n, SPAN_LIT("new"), SPAN_LIT("eu-west"), &site) == ERR_OK && site == 3 &&
              relay_net_address(n, site, ADDRESS + 9) == ERR_OK,
          "one more");
    relay_net_unmake_last(n);
    CHECK(relay_net_find(n, SPAN_LIT("new"), &site) == ERR_NOT_FOUND &&
              relay_net_site_count(n) == 3 && relay_net_address(n, 0, ADDRESS + 9) == ERR_OK,
          "is unmade: its name and its address are free");
    CHECK(relay_net_find(n, SPAN_LIT("far"), &site) == ERR_OK && site == 2, "found by its name");
    CHECK(relay_net_set_rtt(n, 0, 0, 1.0) == ERR_ARG, "no path within a site");
    CHECK(relay_net_set_loss(n, 0, 1, 1.5) == ERR_ARG, "more than all cannot be lost");
    for (uint32_t i = 3; i < RELAY_SITES_MAX; i++) {
        snprintf(name, sizeof(name), "s%u", i);
        if (relay_net_site(n, span_of(name), SPAN_LIT("eu-west"), &site) != ERR_OK)
            abort();
    }
    CHECK(relay_net_site(n, SPAN_LIT("more"), SPAN_LIT("eu-west"), &site) == ERR_FULL,
          "so many sites and no more");
    relay_net_close(n);
}

static void
test_delay(void)
{
    struct relay_net *n = make();
    double far_ms = (double)rtt_ms(&rtt, SPAN_LIT("eu-west"), SPAN_LIT("us-east"));
    uint64_t far_ns = (uint64_t)(far_ms / 2.0 * 1e6);
    const struct relay_packet *p;

    put(n, 0, ADDRESS + 2, 1, 0);
    put(n, 0, ADDRESS + 1, 2, 0);
    CHECK(relay_net_next_ns(n) == MS / 2, "1 ms there and back within a region");
    CHECK(relay_net_take(n, MS / 2 - 1) == NULL, "not a moment early");
    p = relay_net_take(n, MS / 2);
    CHECK(p != NULL && p->data[BYTES - 1] == 2 && p->to == 1 && p->bytes == BYTES,
          "the near one comes first, whole");
    CHECK(relay_net_next_ns(n) == far_ns, "the other takes half the round trip of its regions");
    CHECK(relay_net_take(n, far_ns - 1) == NULL && relay_net_take(n, far_ns) != NULL, "and comes");
    CHECK(relay_net_next_ns(n) == UINT64_MAX && relay_net_waiting(n) == 0, "and that was all");
    CHECK(relay_net_set_rtt(n, 0, 2, 10.0) == ERR_OK, "another round trip");
    put(n, 2, ADDRESS, 3, 0);
    CHECK(relay_net_next_ns(n) == 5 * MS, "holds in both directions");
    CHECK(relay_net_counts(n)->forwarded == 2 && relay_net_counts(n)->forwarded_bytes == 2 * BYTES,
          "counted");
    relay_net_close(n);
}

static void
test_order(void)
{
    struct relay_net *n = make();
    const struct relay_packet *p;
    unsigned swapped = 0, late = 0, count = 0;

    CHECK(relay_net_set_jitter(n, 0, 1, 20.0) == ERR_OK, "jitter");
    for (unsigned i = 0; i < 200; i++)
        put(n, 0, ADDRESS + 1, (unsigned char)i, i * (MS / 10));
    while ((p = relay_net_take(n, 100 * (uint64_t)MS)) != NULL) {
        late += p->due_ns > count * (uint64_t)(MS / 10) + MS;
        swapped += p->data[BYTES - 1] != (unsigned char)count++;
    }
    CHECK(count == 200 && swapped == 0, "jitter swaps no packets");
    CHECK(late > 100, "and delays most");
    relay_net_close(n);
}

static void
test_rate(void)
{
    struct relay_net *n = make();

    CHECK(relay_net_set_rate(n, 0, 0.8) == ERR_OK, "100 bytes a millisecond");
    put(n, 0, ADDRESS + 1, 1, 0);
    put(n, 0, ADDRESS + 1, 2, 0);
    put(n, 1, ADDRESS, 3, 0);
    CHECK(relay_net_next_ns(n) == MS / 2, "another site's line is free");
    CHECK(relay_net_take(n, MS) != NULL && relay_net_take(n, MS) == NULL, "ours is not");
    CHECK(relay_net_next_ns(n) == MS + MS / 2, "one is out after 1 ms");
    CHECK(relay_net_take(n, 3 * MS) != NULL && relay_net_take(n, 2 * MS) == NULL &&
              relay_net_next_ns(n) == 2 * MS + MS / 2,
          "the next after 2");
    relay_net_close(n);
}

static void
test_drops(void)
{
    struct relay_net *n = make();
    const struct relay_counts *c = relay_net_counts(n);
    unsigned char odd[RELAY_PACKET_BYTES_MAX + 1] = {0x45};

    relay_net_put(n, 0, odd, 19, 0);
    relay_net_put(n, 0, odd, sizeof(odd), 0);
    odd[0] = 0x60;
    relay_net_put(n, 0, odd, 40, 0);
    put(n, 0, 0x08080808, 0, 0);
    put(n, 0, RELAY_NETWORK | 0xffffu, 0, 0);
    put(n, 0, ADDRESS, 0, 0);
    CHECK(c->dropped_stray == 6 && relay_net_waiting(n) == 0,
          "too short, too long, no IPv4, to others, to nobody, to oneself");
    put(n, 0, ADDRESS + 1, 0, 0);
    relay_net_cut(n, 1, true);
    put(n, 0, ADDRESS + 1, 0, 0);
    put(n, 1, ADDRESS, 0, 0);
    CHECK(c->dropped_cut == 2, "nothing into a cut site and out of it");
    CHECK(relay_net_take(n, 10 * MS) == NULL && c->dropped_cut == 3, "nor what was under way");
    relay_net_cut(n, 1, false);
    put(n, 0, ADDRESS + 1, 0, 0);
    CHECK(relay_net_take(n, 10 * MS) != NULL, "back again");
    CHECK(relay_net_set_loss(n, 0, 1, 1.0) == ERR_OK, "all is lost");
    put(n, 0, ADDRESS + 1, 0, 0);
    CHECK(c->dropped_lost == 1, "and counted");
    for (unsigned i = 0; i < RELAY_PATH_PACKETS_MAX + 7; i++)
        put(n, 0, ADDRESS + 2, 0, 0);
    CHECK(c->dropped_full == 7 && relay_net_waiting(n) == RELAY_PATH_PACKETS_MAX,
          "a path has so much room and no more");
    put(n, 1, ADDRESS + 2, 0, 0);
    CHECK(c->dropped_full == 7, "another has its own");
    relay_net_close(n);
}

int
main(void)
{
    struct arena arena;

    arena_init(&arena, 1u << 20);
    if (rtt_builtin(&arena, &rtt) != ERR_OK)
        abort();
    test_sites();
    test_delay();
    test_order();
    test_rate();
    test_drops();
    arena_fini(&arena);
    return tap_done();
}
