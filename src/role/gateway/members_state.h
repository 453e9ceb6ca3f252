#ifndef ROLE_GATEWAY_MEMBERS_STATE_H
#define ROLE_GATEWAY_MEMBERS_STATE_H
/* members_state - what the files of members share, and nobody else includes:
 *   members.c       what members say, judged
 *   members_join.c  how they become nodes of the fleet, and leave it
 *   members_trust.c where they may be, and who of them is not believed any more
 *   members_steer.c which of them this gateway steers
 *   members_look.c  what is thought of messages: counted, told, kept for people */
#include <pthread.h>

#include "base/must.h"
#include "io/worker.h"
#include "role/gateway/lane.h"
#include "role/gateway/members.h"

#define MEMBERS_RESOLVE_MAX 256u        /* names that one job looks up */
#define MEMBERS_RESOLVE_NS  2000000000u /* and no more after it */
/* Models that wait to be in a fleet, with their names. Pages of full reports wait until all are
 * here, as long as their sender likes: so those of unproven members have a room of their own, a
 * member has few, and not for long. No node needs more: of all it has ADAPTER_MODELS_MAX count. */
#define MEMBERS_CHANGE_BYTES_MAX 67108864u
#define MEMBERS_PAGE_BYTES_MAX   (MEMBERS_CHANGE_BYTES_MAX / 4)
#define MEMBERS_PAGES_MAX        16u
#define MEMBERS_PAGES_NS         30000000000u
/* Hellos over the bus of who is not known by this key: looked at in a minute, of all together. All
 * that there may be can come at once. */
#define MEMBERS_STRANGERS_PER_MINUTE_MAX (2 * MEMBERS_MAX)
#define MEMBERS_TELL_NS                  60000000000u /* to one name, why it is refused */
#define MEMBERS_TELLS_PER_MINUTE_MAX     600u         /* to all */

struct member_stranger { /* a name that was asked for a hello, or told that it is refused */
    uint64_t hash, asked_ns, told_ns;
};

struct members_refused_row { /* who was refused lately */
    struct members_refused about;
    uint64_t last_ns; /* 0: the row is free */
};

struct members {
    struct gateway *gateway;
    struct bus *bus; /* NULL: the configuration has none */
    pthread_mutex_t lock;
    /* under it: */
    struct member_table table;
    struct member **by_index; /* [nodes_max]: of those in the core */
    uint64_t *acked_before;   /* [nodes_max]: of us, when it was first heard; 0: it was not yet */
    struct member_changes changes;
    uint32_t change_count, change_bytes; /* with the pages of members */
    uint32_t page_bytes;                 /* of those, the pages of unproven members */
    struct bucket strangers_heard, told;
    bool is_asked;   /* the first lane knows that there is something to gather */
    bool is_changed; /* who is there is not who is in the roster */
    struct members_counts counts;
    uint64_t logged_ns[MEMBERS_VERDICT_COUNT];
    struct members_refused_row refused[MEMBERS_REFUSED_MAX];
    struct member_stranger *strangers; /* [MEMBER_TABLE_SLOTS], by hash of the name */
    struct tls_context *pinned;        /* for members with a pin; NULL: nobody needed it */
    /* of the first lane: */
    struct loop_post post;
    struct members_planners planners;
    struct loop_timer gather_timer, sweep_timer;
    uint64_t gather_ns; /* of the last gathering, in time */
    struct worker_job job;
    bool is_resolving; /* the job is under way */
    struct roster_member *resolving[MEMBERS_RESOLVE_MAX];
    bool resolved[MEMBERS_RESOLVE_MAX];
    uint32_t resolving_count, resolving_proven, looked_up_count; /* the proven ones come first */
    uint32_t index_fresh; /* indices that were never used begin here */
};

static inline void
members_lock(struct members *m)
{
    must(pthread_mutex_lock(&m->lock) == 0);
}

static inline void
members_unlock(struct members *m)
{
    must(pthread_mutex_unlock(&m->lock) == 0);
}

/* Nobody vouches for it: neither the configuration nor an operator that it trusts. */
static inline bool
members_is_unproven(const struct member *member)
{
    return !member->sender.proven && !member->is_configured;
}

/* Have the first lane look soon. Under the lock. */
void members_gather_soon(struct members *m);
/* Tell the core of the member's state as it is now. Under the lock; it is in the core. */
void members_tell_node(struct members *m, struct member *member);
/* What its report says of that; in words for people. Under the lock. */
void members_note_steering(struct member *member, const struct report *r);
void members_steering_words(struct members *m, const struct member *member,
                            char ret_words[MEMBERS_WORDS_BYTES]);
/* For one more whose operator is trusted: where there is none left, the unproven one that reported
 * longest ago is no member any more. Under the lock. */
void members_make_room(struct members *m);
void members_gather_open(struct members *m);
void members_gather_close(struct members *m);
/* Forget what waits. Under the lock, or when nobody else is there. */
void members_drop_changes(struct members *m);
/* Some of what waits, in a list of its own, is not waited for any more. Under the lock. */
void members_drop_some(struct members *m, struct member_changes *some);
/* Forget the pages of a full report that did not come whole. Under the lock. */
void members_drop_pages(struct members *m, struct member *member);
/* Ask it, over the bus, for what is missing ("hello", "full"), not too often; the answer to a
 * message over HTTP says the same. Under the lock. */
void members_ask(struct members *m, struct span name, uint64_t *asked_ns, const char *want,
                 uint64_t now_ns);

/* What it said over the bus was refused: tell it why, not too often, for nobody answers there.
 * Under the lock. */
void members_tell(struct members *m, struct span name, const struct members_answer *answer);

/* ---- members_trust.c. Under the lock. */
/* May a node be there? Else *ret_words says why not. */
bool members_may_reach(const struct roster *roster, bool proven,
                       const struct roster_address *address, char ret_words[MEMBERS_WORDS_BYTES]);
/* How nodes with a pin are reached: where the public side has a certificate it is shown to those
 * that ask for one. The roster's, or *m's; NULL: nobody needed it yet. */
struct tls_context *members_tls(const struct members *m, const struct roster *roster);
/* It is no member any more, until another hello. */
void members_end(struct members *m, struct member *member, uint32_t verdict, const char *words);
/* Only proven ones may be there, and it is not? */
bool members_must_leave(const struct member *member, const struct roster *roster);
/* By this configuration: who is revoked leaves, who was proven by whom is not trusted any more is
 * unproven, and who was shown another certificate than ours is asked for its hello. */
void members_judge_again(struct members *m, const struct roster *roster);

/* ---- members_look.c. Under the lock. */
const char *members_verdict_words(uint32_t verdict);
extern const char *const members_kind_names[MEMBERS_KIND_COUNT];
/* Count it, tell of it seldom, and ask for what is missing. member: whose name it is; NULL:
 * nobody's. words: NULL: the verdict's. */
void members_conclude(struct members *m, enum members_kind kind, struct span name,
                      struct member *member, uint32_t verdict, const char *words,
                      struct members_answer *ret_answer);
/* Keep for people that it was refused, and why. */
void members_note_refused(struct members *m, struct span name, uint32_t verdict, const char *words);
#endif
