#ifndef ROLE_ROSTER_MEMBER_H
#define ROLE_ROSTER_MEMBER_H
/* roster_member - nodes that no configuration names, as part of a roster: those that said hello on
 * the bus (members).
 *
 * A roster with members shares everything with the one that was read, and has tables of nodes and
 * names of its own. A member is made once, when it says hello, and from then on shared by all
 * rosters that have it: so a roster with ten thousand of them costs their pointers, and a thousand
 * that join together cost one. */
#include "role/roster.h"

#define ROSTER_MEMBER_NAMES_MAX 4096u /* sites, and operators, that members may bring */

struct roster_member { /* fields of node but index and names are set by who makes it */
    _Atomic uint32_t refs;
    bool placed; /* index and names are set: they do not change any more */
    bool proven; /* a trusted operator vouches for it */
    struct roster_node node;
    struct span region, gpu, site, operator; /* as it said; empty: not said */
    unsigned char pin[TLS_PIN_BYTES];
    char text[]; /* what the spans point into */
};

struct roster_member_said { /* all spans are copied */
    struct span name, url;
    struct span region, gpu, site, operator, engine;
    const unsigned char *pin; /* NULL: none */
    struct tls_context *tls;  /* for pins; referenced */
    bool proven;
};

/* Of what it said; without an address when the host in url is a name (roster_member_host). ERR_ARG:
 * the url is none, or https without a pin: *ret_why says so. ERR_MEMORY. Any thread. */
MUST_USE enum err roster_member_make(const struct roster_member_said *said,
                                     struct roster_member **ret_member, const char **ret_why);
/* The same with nothing placed, for another index. ERR_MEMORY. Any thread. */
MUST_USE enum err roster_member_again(const struct roster_member *was,
                                      struct roster_member **ret_member);
struct roster_member *roster_member_ref(struct roster_member *member);
void roster_member_unref(struct roster_member *member); /* NULL: does nothing */
/* Look its host up, unless it is an address. Blocks. False: it has none; logged. */
bool roster_member_resolve(struct roster_member *member);

/* The roster with these members and no others; it references them. from: the last one, with or
 * without members, whose names keep their indices. Each member that was not `placed` has its
 * node.index set, to one that no node of from->base has. ERR_MEMORY: nothing was built. First lane
 * only. */
MUST_USE enum err roster_with_members(struct roster *from, struct roster_member *const *members,
                                      uint32_t count, struct roster **ret_roster);

/* For roster.c. */
void roster_member_drop_all(struct roster *roster);
#endif
