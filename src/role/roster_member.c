/* roster_member - members made, and rosters that have them; see roster_member.h. */
#include "role/roster_member.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "io/log.h"

#define HOST_BYTES_MAX 270u /* with brackets and port */

/* ---- One member. */

/* An address written as such. */
static bool
read_address(struct span host, uint16_t port, struct roster_address *ret_address)
{
    char text[INET6_ADDRSTRLEN];

    *ret_address = (struct roster_address){.bytes = 0};
    if (host.bytes >= sizeof(text))
        return false;
    span_copy(host, text, sizeof(text));
    if (inet_pton(AF_INET, text, &ret_address->v4.sin_addr) == 1) {
        ret_address->v4.sin_family = AF_INET;
        ret_address->v4.sin_port = htons(port);
        ret_address->bytes = sizeof(ret_address->v4);
    } else if (inet_pton(AF_INET6, text, &ret_address->v6.sin6_addr) == 1) {
        ret_address->v6.sin6_family = AF_INET6;
        ret_address->v6.sin6_port = htons(port);
        ret_address->bytes = sizeof(ret_address->v6);
    }
    return ret_address->bytes > 0;
}

/* A copy of text behind what is there; there is room. */
static struct span
keep(char **to, struct span text)
{
    struct span copy = {*to, text.bytes};

    if (text.bytes > 0)
        memcpy(*to, text.data, text.bytes);
    *to += text.bytes;
    return copy;
}

enum err
roster_member_make(const struct roster_member_said *said, struct roster_member **ret_member,
                   const char **ret_why)
{
    const struct adapter *adapter = adapter_by_name(said->engine);
    struct roster_member *m;
    struct span host;
    char host_text[HOST_BYTES_MAX], *to;
    uint16_t port;
    enum err err = config_url(said->url, &host, &port);
    bool tls = err == ERR_UNSUPPORTED;

    if ((err != ERR_OK && !tls) || host.bytes > HOST_BYTES_MAX - 10) {
        *ret_why = "it has no url that requests could be sent to";
        return ERR_ARG;
    }
    if (tls && said->pin == NULL) {
        *ret_why = "its url is https, and its record has no tls_pin";
        return ERR_ARG;
    }
    snprintf(host_text, sizeof(host_text),
             span_find(host, ':') < host.bytes ? "[%.*s]:%u" : "%.*s:%u", (int)host.bytes,
             host.data, port);
    m = calloc(1, sizeof(*m) + said->name.bytes + said->url.bytes + said->region.bytes +
                      said->gpu.bytes + said->site.bytes +
                      said->operator.bytes + strlen(host_text));
    if (m == NULL) {
        *ret_why = "there is no memory";
        return ERR_MEMORY;
    }
    atomic_init(&m->refs, 1);
    to = m->text;
    m->node.name = keep(&to, said->name);
    m->node.url = keep(&to, said->url);
    m->node.host = keep(&to, span_of(host_text));
    m->region = keep(&to, said->region);
    m->gpu = keep(&to, said->gpu);
    m->site = keep(&to, said->site);
    m->operator= keep(&to, said->operator);
    m->node.kind = adapter != NULL ? adapter->kind : ENGINE_OPENAI;
    m->node.rtt_ms = NAN;
    m->proven = said->proven;
    if (tls) {
        memcpy(m->pin, said->pin, sizeof(m->pin));
        m->node.tls = said->tls != NULL ? tls_ref(said->tls) : NULL;
        m->node.tls_pin = m->pin;
        m->node.tls_name = (struct span){m->node.host.data, span_find(m->node.host, ':')};
        m->node.tls_identity = hash_fnv(HASH_FNV_START, m->pin, sizeof(m->pin));
        m->node.tls_identity = hash_fnv(m->node.tls_identity, &m->node.tls,
                                        sizeof(m->node.tls)); /* what we show */
    }
    (void)read_address(host, port, &m->node.address);
    *ret_member = m;
    return ERR_OK;
}

enum err
roster_member_again(const struct roster_member *was, struct roster_member **ret_member)
{
    const struct roster_member_said said = {
        .name = was->node.name,
        .url = was->node.url,
        .region = was->region,
        .gpu = was->gpu,
        .site = was->site,
        .operator= was->operator,
        .pin = was->node.tls != NULL ? was->pin : NULL,
        .tls = was->node.tls,
        .proven = was->proven,
    };
    const char *why;
    enum err err = roster_member_make(&said, ret_member, &why);

    if (err != ERR_OK)
        return err;
    (*ret_member)->node.kind = was->node.kind;
    (*ret_member)->node.address = was->node.address;
    return ERR_OK;
}

struct roster_member *
roster_member_ref(struct roster_member *member)
{
    atomic_fetch_add_explicit(&member->refs, 1, memory_order_relaxed);
    return member;
}

void
roster_member_unref(struct roster_member *member)
{
    if (member != NULL && atomic_fetch_sub_explicit(&member->refs, 1, memory_order_acq_rel) == 1) {
        tls_unref(member->node.tls);
        free(member);
    }
}

bool
roster_member_resolve(struct roster_member *member)
{
    struct span host;
    uint16_t port;
    enum err err = config_url(member->node.url, &host, &port);

    return member->node.address.bytes > 0 ||
           ((err == ERR_OK || err == ERR_UNSUPPORTED) &&
            roster_resolve(host, port, &member->node.address) == ERR_OK);
}

/* ---- A roster with members. */

void
roster_member_drop_all(struct roster *roster)
{
    for (uint32_t i = 0; i < roster->member_count; i++)
        roster_member_unref(roster->members[i]);
}

/* Names, in memory of this roster. */
static enum err
copy_names(struct roster *r, const struct roster_names *from, struct roster_names *ret_names)
{
    ret_names->count = from->count;
    ret_names->room = from->count + 16;
    ret_names->list = arena_take(&r->arena, ret_names->room * sizeof(*ret_names->list));
    if (ret_names->list == NULL)
        return ERR_MEMORY;
    for (uint32_t i = 0; i < from->count; i++) {
        if (arena_copy(&r->arena, from->list[i], &ret_names->list[i]) != ERR_OK)
            return ERR_MEMORY;
    }
    return ERR_OK;
}

/* The index of a name that a member brings; of `other` when there are too many, or it says none;
 * and the first one when there is not even room for that. Names are never forgotten: where some
 * operators are trusted, strangers have half of the room, so that they cannot take all. */
static uint16_t
place_name(struct roster *r, const struct roster_member *m, struct roster_names *names,
           struct span name, uint32_t max, struct span other)
{
    bool has_all = m->proven || r->config.operators.trust_count == 0;
    uint16_t index = 0;
    enum err err = ERR_FULL;

    if (name.bytes > 0)
        err = roster_intern(r, names, name, has_all ? max : max / 2, &index);
    if (err != ERR_OK)
        err = roster_intern(r, names, other, max + 1, &index);
    return err == ERR_OK ? index : 0;
}

/* A region or a kind of gpu too many counts as our own, and as unknown: round trips and speeds are
 * measured anyway. */
static void
place(struct roster *r, struct roster_member *m)
{
    const struct span unknown = SPAN_LIT("unknown");
    struct roster_node *n = &m->node;

    if (m->placed)
        return;
    n->region = place_name(r, m, &r->regions, m->region, CORE_REGIONS_MAX - 1, r->config.region);
    n->class = place_name(r, m, &r->classes, m->gpu, CORE_CLASSES_MAX - 1, unknown);
    n->operator= place_name(r, m, &r->operators, m->operator, ROSTER_MEMBER_NAMES_MAX, unknown);
    n->site = place_name(r, m, &r->sites, m->site, ROSTER_MEMBER_NAMES_MAX,
                         r->regions.list[n->region]);
    n->rtt_ms = rtt_ms(&r->rtt, r->config.region, r->regions.list[n->region]);
    m->placed = true;
}

static enum err
tables_build(struct roster *r, const struct roster *base, uint32_t count)
{
    uint32_t slots = 16;

    while (slots < 2 * (base->node_count + count))
        slots *= 2;
    r->by_name = arena_zeroed(&r->arena, slots * sizeof(*r->by_name));
    r->nodes = arena_zeroed(&r->arena, (r->node_bound + 1) * sizeof(struct roster_node *));
    r->members = arena_zeroed(&r->arena, (count + 1) * sizeof(struct roster_member *));
    if (r->by_name == NULL || r->nodes == NULL || r->members == NULL)
        return ERR_MEMORY;
    r->by_name_mask = slots - 1;
    for (uint32_t i = 0; i < base->node_bound; i++) {
        r->nodes[i] = base->nodes[i];
        if (r->nodes[i] != NULL)
            roster_put_name(r, r->nodes[i]);
    }
    return ERR_OK;
}

enum err
roster_with_members(struct roster *from, struct roster_member *const *members, uint32_t count,
                    struct roster **ret_roster)
{
    struct roster *base = from->base != NULL ? from->base : from, *r = calloc(1, sizeof(*r));
    const size_t shared = offsetof(struct roster, config);
    enum err err;

    if (r == NULL)
        return ERR_MEMORY;
    memcpy((char *)r + shared, (const char *)base + shared, sizeof(*r) - shared);
    atomic_init(&r->refs, 1);
    arena_init(&r->arena, ROSTER_ARENA_BYTES_MAX);
    r->base = roster_ref(base);
    r->member_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (members[i]->node.index >= r->node_bound)
            r->node_bound = members[i]->node.index + 1;
    }
    err = tables_build(r, base, count);
    if (err == ERR_OK)
        err = copy_names(r, &from->regions, &r->regions);
    if (err == ERR_OK)
        err = copy_names(r, &from->classes, &r->classes);
    if (err == ERR_OK)
        err = copy_names(r, &from->sites, &r->sites);
    if (err == ERR_OK)
        err = copy_names(r, &from->operators, &r->operators);
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        struct roster_node *n = &members[i]->node;

        place(r, members[i]);
        r->members[r->member_count++] = roster_member_ref(members[i]);
        r->nodes[n->index] = n;
        roster_put_name(r, n);
    }
    r->node_count = base->node_count + r->member_count;
    if (err != ERR_OK) {
        roster_unref(r);
        return ERR_MEMORY;
    }
    *ret_roster = r;
    return ERR_OK;
}
