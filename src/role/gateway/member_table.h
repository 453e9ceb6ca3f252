#ifndef ROLE_GATEWAY_MEMBER_TABLE_H
#define ROLE_GATEWAY_MEMBER_TABLE_H
/* member_table - the nodes that were heard on the bus, by name: what is known of each, and who may
 * have an index. Shared by members.c (what they say) and members_join.c (how they become nodes of
 * the fleet). Whoever uses it holds its owner's lock. */
#include "base/hash.h"
#include "base/list.h"
#include "role/roster_member.h"
#include "wire/report_sender.h"

#define MEMBER_NAME_BYTES_MAX 63u
#define MEMBER_TABLE_SLOTS    32768u /* a power of two, twice MEMBERS_MAX */
#define MEMBERS_MAX           16384u
#define MEMBER_NO_INDEX       UINT32_MAX

struct member_change { /* models that a member told of, until they are in a fleet */
    STAILQ_ENTRY(member_change) link;
    char member[MEMBER_NAME_BYTES_MAX + 1];
    bool all;       /* these are all it has, so far */
    bool proven;    /* its operator is trusted */
    bool is_page;   /* it waits for others, and counts as such */
    uint32_t bytes; /* all of it */
    uint32_t count;
    const char *text; /* of the names, behind the models */
    struct member_change_model {
        uint16_t at, bytes; /* of its name, in text */
        uint16_t state;
        bool pinned;
        float ready_in_ms;
        uint32_t slots;         /* of its own; 0: none, or not said */
        uint64_t weights_bytes; /* 0: not said */
    } models[];
};
STAILQ_HEAD(member_changes, member_change);

/* Does this gateway say which models it loads? */
enum member_steering {
    MEMBER_UNHEARD = 0, /* it has not told yet what it takes */
    MEMBER_STEERED,
    MEMBER_NO_KEY,      /* we have none */
    MEMBER_NOT_OBEYING, /* it does not obey us */
    MEMBER_NO_MEMORY,   /* it does not say how much room it has */
    MEMBER_NO_LOADS,    /* its engines load nothing */
    MEMBER_NO_SIZE,     /* nobody says how large a model of it is */
    MEMBER_OTHERS,      /* it obeys several, and another one steers it */
    MEMBER_REFUSING     /* it refused what we asked, a moment ago */
};

struct member {
    char name[MEMBER_NAME_BYTES_MAX + 1];
    struct report_sender sender;
    struct roster_member *node;  /* of its last hello; a reference */
    struct roster_member *next;  /* the same, not looked up yet, or not published; NULL */
    uint32_t index;              /* in the roster; MEMBER_NO_INDEX: none yet */
    uint32_t life;               /* its epochs so far: the one that the core hears */
    struct member_changes pages; /* of a full report that is coming in */
    uint32_t page_count;
    uint64_t pages_ns;          /* when its first one came */
    struct event_node about;    /* as the core knows it, when it is there */
    uint32_t state, state_told; /* enum node_state: as it says, and as the core heard */
    bool is_configured; /* the configuration names it too: its index and URL are from there */
    bool is_in_core;    /* published, so that what it says may be told */
    bool is_resolving;  /* its name is being looked up: it may not be freed */
    bool by_public;     /* nothing but its key says who it is: it came over HTTP from anybody */
    bool is_over;       /* to be taken out of the fleet: it said that it is gone, or was
                           forgotten */
    bool wants_hello;   /* its operator is trusted now: its record is to be judged again */
    enum identity_verdict identity;
    unsigned char record[IDENTITY_HASH_BYTES]; /* by which that is called back */
    unsigned char pin[IDENTITY_PIN_BYTES];     /* of its record; zeros: none */
    uint64_t expires_s;
    char operator_name[MEMBER_NAME_BYTES_MAX + 1];
    enum engine_kind engine; /* as it said last; of several kinds: ENGINE_UNKNOWN */
    uint64_t reports;        /* taken */
    uint64_t heard_ns;       /* when the last one came; 0: none did */
    uint64_t greeted_ns;     /* when it last said hello */
    uint64_t over_ns;        /* when it said gone */
    uint64_t asked_ns;       /* when it was last asked for something */
    uint64_t rival_ns;       /* when another one with this name was refused last; 0: never */
    uint64_t refused;        /* of what came under its name */
    /* Of its last full report: */
    bool told_steering;
    uint32_t obey_count, loads_max;
    uint64_t obeys[REPORT_OBEYS_MAX]; /* ids of keys, as numbers */
    uint64_t memory_bytes;            /* 0: not known */
    /* What follows: */
    enum member_steering steering;
    uint16_t steering_model; /* of NO_SIZE */
    uint64_t steering_by;    /* of OTHERS: the id of its key */
};

struct member_table {
    struct hash_key key;
    uint32_t slots[MEMBER_TABLE_SLOTS]; /* places in list + 1; 0: free */
    struct member *list[MEMBERS_MAX];   /* [0..count) */
    uint32_t count;
};

struct member *member_find(const struct member_table *t, struct span name); /* NULL: none */
/* Soon somebody will ask for it: it is fetched into the cache, where it is not among thousands. */
void member_expect(const struct member_table *t, struct span name);
/* One that is not there yet. NULL: the table is full, or there is no memory. */
struct member *member_add(struct member_table *t, struct span name);
void member_drop_changes(struct member_changes *changes);
void member_remove(struct member_table *t, struct member *member); /* and freed */
void member_table_clear(struct member_table *t);
#endif
