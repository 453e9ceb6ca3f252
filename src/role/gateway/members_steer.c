/* members_steer - which members this gateway steers: those that obey its key, say what fits, and
 * are not another gateway's. Of several gateways that a node obeys, and that are alive, the one in
 * its region steers it; of several there, or when there is none, the one whose key gives the
 * highest hash with the node's name. All of them hear the same, so nobody has to ask: where they do
 * not agree for a moment the node does what it is told once, and tells all of them. */
#include <stdio.h>

#include "role/gateway/inbox.h"
#include "role/gateway/members_state.h"
#include "role/gateway/peers.h"
#include "role/gateway/steer.h"

#define BYTES_A_MIB 1048576.0

struct rival { /* a gateway that is alive */
    uint64_t id;
    bool steers; /* a member that is looked at */
    char region[PEERS_NAME_BYTES];
};

struct round {
    struct members *members;
    const struct fleet *fleet;
    const struct roster_key *key; /* ours; NULL: none */
    uint64_t own_id;
    struct rival rivals[PEERS_MAX]; /* ourselves first */
    uint32_t rival_count;
    uint64_t now_ns;
};

/* ---- What they say. */

static uint64_t
id_of(struct span digits)
{
    unsigned char bytes[(SIGNATURE_SHORT_SIZE - 1) / 2];
    uint64_t id = 0;

    if (message_unhex(digits, bytes, sizeof(bytes)) != ERR_OK)
        return 0;
    for (size_t i = 0; i < sizeof(bytes); i++)
        id = id << 8 | bytes[i];
    return id;
}

void
members_note_steering(struct member *member, const struct report *r)
{
    if (!r->full || (r->page != MESSAGE_UNKNOWN && r->page != 1))
        return;
    member->told_steering = true;
    member->obey_count = 0;
    for (size_t i = 0; i < r->obey_count; i++) {
        uint64_t id = id_of(r->obeys[i]);
        if (id != 0)
            member->obeys[member->obey_count++] = id;
    }
    member->memory_bytes = r->memory_bytes != MESSAGE_UNKNOWN ? r->memory_bytes : 0;
    member->loads_max = r->loads_max != MESSAGE_UNKNOWN ? (uint32_t)r->loads_max : 0;
}

/* ---- Who steers. */

static void
add_rival(const struct peer_look *peer, void *user)
{
    struct round *r = user;
    uint64_t id = id_of(span_of(peer->key_id));

    if (id == 0 || r->rival_count == PEERS_MAX)
        return;
    r->rivals[r->rival_count].id = id;
    memcpy(r->rivals[r->rival_count++].region, peer->region, sizeof(r->rivals[0].region));
}

static bool
obeys(const struct member *member, uint64_t id)
{
    for (uint32_t i = 0; i < member->obey_count; i++) {
        if (member->obeys[i] == id)
            return true;
    }
    return false;
}

static struct rival *
steers(struct round *r, const struct member *member, struct span region)
{
    struct span name = span_of(member->name);
    struct rival *chosen = NULL;
    uint64_t best = 0;
    bool best_in_region = false;

    for (uint32_t i = 0; i < r->rival_count; i++) {
        struct rival *v = &r->rivals[i];
        uint64_t weight = hash_span((struct hash_key){v->id, 0}, name);
        bool in_region = span_eq_text(region, v->region);
        if (!obeys(member, v->id) || (best_in_region && !in_region))
            continue;
        if (chosen == NULL || (in_region && !best_in_region) || weight > best ||
            (weight == best && v->id > chosen->id)) {
            chosen = v;
            best = weight;
            best_in_region = in_region;
        }
    }
    return chosen;
}

/* The first model of it whose size nobody knows; FLEET_MODEL_NONE. */
static uint16_t
model_without_size(const struct fleet *fleet, uint32_t node)
{
    const struct fleet_node_served *served = fleet_served(fleet, node);

    for (uint32_t i = 0; i < served->count; i++) {
        if (fleet->models[served->list[i].model].weights_bytes == 0)
            return served->list[i].model;
    }
    return FLEET_MODEL_NONE;
}

static enum member_steering
judge(struct round *r, struct member *member)
{
    const struct roster_node *n = roster_node(r->fleet->roster, member->index);
    struct rival *by;

    if (r->key == NULL)
        return MEMBER_NO_KEY;
    if (!member->told_steering || n == NULL)
        return MEMBER_UNHEARD;
    if (!obeys(member, r->own_id))
        return MEMBER_NOT_OBEYING;
    if (member->loads_max == 0)
        return MEMBER_NO_LOADS;
    if (member->memory_bytes == 0)
        return MEMBER_NO_MEMORY;
    member->steering_model = model_without_size(r->fleet, member->index);
    if (member->steering_model != FLEET_MODEL_NONE)
        return MEMBER_NO_SIZE;
    by = steers(r, member, r->fleet->roster->regions.list[n->region]);
    member->steering_by = by != NULL ? by->id : 0;
    if (member->steering_by == r->own_id &&
        steer_is_refused(r->members->gateway->steer, span_of(member->name), NULL, 0))
        return MEMBER_REFUSING;
    if (by != NULL)
        by->steers = true;
    return member->steering_by == r->own_id ? MEMBER_STEERED : MEMBER_OTHERS;
}

/* What core is to hear of it. */
static void
tell(struct members *m, struct member *member)
{
    struct event_node *about = &member->about, before = *about;

    about->steered = member->steering == MEMBER_STEERED;
    about->memory_mib = about->steered ? (float)((double)member->memory_bytes / BYTES_A_MIB) : 0.0f;
    about->loads_max = about->steered ? member->loads_max : 0;
    about->fetch_mib_s = 0.0f;                     /* no engine gets weights that it has not */
    about->unproven = members_is_unproven(member); /* a record expires, an operator is trusted */
    if (about->steered != before.steered || about->memory_mib != before.memory_mib ||
        about->loads_max != before.loads_max || about->unproven != before.unproven)
        members_tell_node(m, member);
}

/* Those that do, in our region. */
static struct members_planners
planners_of(const struct round *r)
{
    struct members_planners p = {0, 0};

    for (uint32_t i = 0; i < r->rival_count; i++) {
        const struct rival *v = &r->rivals[i];
        if (!v->steers || !span_eq_text(r->fleet->roster->config.region, v->region))
            continue;
        p.count++;
        p.place += v->id < r->own_id;
    }
    return p;
}

struct members_planners
members_planners(const struct members *m)
{
    return m->planners;
}

void
members_steer(struct members *m, const struct fleet *fleet)
{
    struct round r = {.members = m, .fleet = fleet, .key = fleet->roster->own_key};

    if (r.key != NULL) {
        r.own_id = id_of(span_of(r.key->id));
        r.rivals[0].id = r.own_id;
        span_copy(fleet->roster->config.region, r.rivals[0].region, sizeof(r.rivals[0].region));
        r.rival_count = atomic_load(&m->gateway->draining) ? 0 : 1; /* others take over */
        peers_each_alive(m->gateway->peers, add_rival, &r);
    }
    members_lock(m);
    for (uint32_t i = 0; i < m->table.count; i++) {
        struct member *member = m->table.list[i];
        if (!member->is_in_core)
            continue;
        member->steering = judge(&r, member);
        tell(m, member);
    }
    members_unlock(m);
    m->planners = planners_of(&r);
}

/* ---- For people. */

struct seeker {
    uint64_t id;
    char name[PEERS_NAME_BYTES];
};

static void
seek(const struct peer_look *peer, void *user)
{
    struct seeker *s = user;

    if (id_of(span_of(peer->key_id)) == s->id)
        memcpy(s->name, peer->name, sizeof(s->name));
}

static const char *
plain_words(enum member_steering steering)
{
    static const char *const words[] = {
        [MEMBER_UNHEARD] = "not steered: it has not told yet whom it obeys",
        [MEMBER_STEERED] = "by this gateway",
        [MEMBER_NO_KEY] = "not steered: this gateway has no key (`key: file:PATH`)",
        [MEMBER_NOT_OBEYING] = "not steered: its configuration does not let this gateway load",
        [MEMBER_NO_MEMORY] = "not steered: it does not say how much memory it has for weights "
                             "(`memory` in its configuration)",
        [MEMBER_NO_LOADS] = "not steered: its engines load no models",
        [MEMBER_NO_SIZE] = "not steered: nobody says how large its models are (`models: {NAME: "
                           "{bytes: 16GiB}}` in its configuration)",
        [MEMBER_OTHERS] = "by another gateway",
        [MEMBER_REFUSING] = "not steered for a minute: it refused what this gateway asked",
    };

    return words[steering];
}

void
members_steering_words(struct members *m, const struct member *member,
                       char ret_words[MEMBERS_WORDS_BYTES])
{
    struct seeker seeker = {.id = member->steering_by, .name = "another one"};
    char why[STEER_WORDS_BYTES];
    struct fleet *fleet;
    struct span name;

    snprintf(ret_words, MEMBERS_WORDS_BYTES, "%s", plain_words(member->steering));
    if (member->steering == MEMBER_NO_SIZE) {
        fleet = decide_fleet(m->gateway->door);
        name = fleet_engine_name(fleet, member->index, member->steering_model); /* as it knows it */
        if (name.bytes == 0)
            name = fleet->models[member->steering_model].name;
        snprintf(ret_words, MEMBERS_WORDS_BYTES,
                 "not steered: nobody says how large `%.*s` is (`models: {NAME: {bytes: 16GiB}}` "
                 "in its configuration)",
                 (int)name.bytes, name.data);
        fleet_unref(fleet);
    } else if (member->steering == MEMBER_OTHERS) {
        peers_each_alive(m->gateway->peers, seek, &seeker);
        snprintf(ret_words, MEMBERS_WORDS_BYTES, "by gateway %s", seeker.name);
    } else if (member->steering == MEMBER_REFUSING &&
               steer_is_refused(m->gateway->steer, span_of(member->name), why, sizeof(why))) {
        snprintf(ret_words, MEMBERS_WORDS_BYTES, "not steered for a minute: it refused: %.180s",
                 why);
    }
}

/* What is so of most nodes, and of which one for example. */
static void
why_not(struct members *m, const struct member *example, uint32_t count,
        char ret_why[MEMBERS_WORDS_BYTES])
{
    char words[MEMBERS_WORDS_BYTES], others[32] = "";
    struct span why;

    members_steering_words(m, example, words);
    why = span_of(words);
    if (span_starts(why, SPAN_LIT("not steered: ")))
        why = span_from(why, sizeof("not steered: ") - 1);
    if (count > 1)
        snprintf(others, sizeof(others), " and %u more", count - 1);
    snprintf(ret_why, MEMBERS_WORDS_BYTES, "%s%s: %.140s", example->name, others, why.data);
}

uint32_t
members_steered(struct members *m, char ret_why[MEMBERS_WORDS_BYTES])
{
    uint32_t counts[MEMBER_REFUSING + 1] = {0}, most = MEMBER_UNHEARD;
    const struct member *example[MEMBER_REFUSING + 1] = {NULL};

    members_lock(m);
    for (uint32_t i = 0; i < m->table.count; i++) {
        const struct member *member = m->table.list[i];
        if (!member->is_in_core)
            continue;
        counts[member->steering]++;
        example[member->steering] = member;
    }
    for (uint32_t i = 0; i <= MEMBER_REFUSING; i++) {
        if (counts[i] > counts[most])
            most = i;
    }
    if (counts[MEMBER_STEERED] > 0)
        ret_why[0] = '\0';
    else if (example[most] == NULL)
        snprintf(ret_why, MEMBERS_WORDS_BYTES,
                 "no node agents are there: they come over the bus, or to this gateway over HTTP");
    else
        why_not(m, example[most], counts[most], ret_why);
    members_unlock(m);
    return counts[MEMBER_STEERED];
}
