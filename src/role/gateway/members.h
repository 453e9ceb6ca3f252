#ifndef ROLE_GATEWAY_MEMBERS_H
#define ROLE_GATEWAY_MEMBERS_H
/* members - nodes that come over the bus: who they are, whether what comes under their name is
 * theirs, and what of it the core hears.
 *
 * A member says hello, signed, and is a node of the fleet some hundredths of a second later,
 * without a reload; each report goes into the core as it comes; it leaves when it says so. Silence
 * is no death: news gets old, the gateway asks the node itself (poll), and only who has been silent
 * for MEMBERS_FORGET_NS and does not answer either is forgotten. The bus may be lost: then nobody
 * can say anything, and nobody is forgotten.
 *
 * Messages come on the bus's thread, or on a lane's when they come over HTTP; each is judged by
 * wire/report_sender. What is refused is counted by reason, and told in the log once in
 * MEMBERS_LOG_NS. A node that the configuration names too is one node: with the URL of the
 * configuration, and the news of the bus. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/bus.h"
#include "role/gateway/member_table.h"

#define MEMBERS_GATHER_NS   20000000u     /* who joins within it joins together */
#define MEMBERS_FRESH_MS    3000u         /* who reported within it is not asked */
#define MEMBERS_ASK_NS      2000000000u   /* between two questions for a hello, or for all */
#define MEMBERS_GONE_NS     60000000000u  /* that a name is kept for who left: no ghost has it */
#define MEMBERS_FORGET_NS   600000000000u /* of silence, when it does not answer either */
#define MEMBERS_LOG_NS      10000000000u
#define MEMBERS_WORDS_BYTES 240u
#define MEMBERS_REFUSED_MAX 64u /* names that are kept for people */

struct gateway;
struct members;
struct report;
struct fleet;

enum members_kind {
    MEMBERS_REPORT = 0,
    MEMBERS_HELLO,
    MEMBERS_GONE,
    MEMBERS_CHAIN,
    MEMBERS_KIND_COUNT,
    MEMBERS_DEMAND = MEMBERS_KIND_COUNT /* of a gateway: only ever refused here */
};

/* Why a message was not taken, beyond what report_sender says. */
enum members_refusal {
    MEMBERS_MALFORMED = REPORT_VERDICT_COUNT,
    MEMBERS_OVERSIZED,
    MEMBERS_TABLE_FULL,
    MEMBERS_NO_NODE,   /* of a gateway or another role, which is no node */
    MEMBERS_NO_URL,    /* nowhere to send requests to */
    MEMBERS_UNPROVEN,  /* over HTTP from anybody, and nothing shows that it is the node's */
    MEMBERS_BAD_PLACE, /* its URL leads to where nodes may not be */
    MEMBERS_REVOKED, /* its key, its operator's or its record was called back while it was there */
    MEMBERS_BUSY_ADDRESS, /* more than one client address may send over HTTP */
    MEMBERS_CLOCK,        /* a hello over HTTP that is old, or whose clock is off */
    MEMBERS_TAKEN_NAME,   /* a stranger shows the name of a node of the configuration */
    MEMBERS_UNTRUSTED,    /* operators.only, and none of them vouches for it */
    MEMBERS_VERDICT_COUNT
};

struct members_message {
    enum members_kind kind;
    struct span name; /* under which it came */
    struct span body;
    bool is_by_subject; /* the bus says so; else it is the message's own word */
    /* It came over HTTP from anybody: a report, which is not signed itself, is taken only with one
     * of these two. */
    bool is_public;
    const struct signature *signature; /* Isochrone-Signature; NULL: none */
    const unsigned char *pin;          /* of the client's certificate, which was good; NULL: none */
    struct bucket *strangers; /* of its client address: unknown names that nobody vouches for; NULL:
                                 not asked */
};
/* As many nodes as an address can have, by the messages that may come from it, in a minute. */
#define MEMBERS_ADDRESS_STRANGERS_MAX 240u

struct members_answer {
    uint32_t verdict; /* enum report_verdict, or enum members_refusal */
    const char *name; /* of the verdict, as one word */
    const char *want; /* "hello", "full", or "": nothing */
    char words[MEMBERS_WORDS_BYTES];
};

struct members_counts {
    uint64_t taken[MEMBERS_KIND_COUNT];
    uint64_t verdicts[MEMBERS_VERDICT_COUNT]; /* of all kinds */
    uint64_t piggybacks;
    uint32_t known, in_fleet, proven, silent; /* members now */
};

struct members_refused { /* a name under which something was refused */
    char name[MEMBER_NAME_BYTES_MAX + 1];
    uint32_t verdict; /* of the last time */
    char words[MEMBERS_WORDS_BYTES];
    uint64_t count; /* since it was heard of */
    double ago_ms;
};

struct member_look { /* one member, for people */
    bool is_member, is_configured, proven, gone;
    char operator_name[MEMBER_NAME_BYTES_MAX + 1];
    char why[IDENTITY_WORDS_BYTES]; /* proven, or why not */
    enum engine_kind engine;        /* behind its agent */
    uint64_t epoch, seq, signed_seq, reports, refused;
    double report_age_ms; /* NAN: none came */
    double rival_ago_ms;  /* another node with this name was refused; NAN: never */
    bool is_steered;
    char steering[MEMBERS_WORDS_BYTES]; /* by whom, or why not */
};

/* Set up, and connect to the bus of the configuration, if there is one. After the lanes were
 * opened; the gateway's first lane does not run yet. ERR_MEMORY, ERR_IO, ERR_PARSE: logged. */
MUST_USE enum err members_open(struct gateway *gateway, struct members **ret_members);
/* No message comes over the bus any more: while the loops still take posts. NULL: does nothing. */
void members_stop(struct members *members);
/* After the worker was closed, before the lanes are. NULL: does nothing. */
void members_close(struct members *members);
/* Index 0..members_first are the configuration's; members have those behind. */
uint32_t members_room(const struct config *config);

/* A message that came. Any thread. */
void members_take(struct members *members, const struct members_message *message,
                  struct members_answer *ret_answer);
/* One that is refused before it is looked at (name: may be empty): counted and told all the same.
 * words: NULL: the verdict's. Any thread. */
void members_refuse(struct members *members, enum members_kind kind, struct span name,
                    uint32_t verdict, const char *words, struct members_answer *ret_answer);
/* What rode on an answer of this node: told to the core when it is news. Any thread. */
void members_take_piggyback(struct members *members, uint32_t node, struct span json);
/* "report" "hello" "gone" "chain"; ERR_NOT_FOUND. */
MUST_USE enum err members_kind_parse(struct span word, enum members_kind *ret_kind);

/* The configuration was read anew: its roster with the members there are (its reference is taken
 * over, also on failure). First lane. */
MUST_USE enum err members_add_to(struct members *members, struct roster *read,
                                 struct roster **ret_roster);

/* Which of them does this gateway steer, and who of them is proven? The core hears what changed.
 * First lane, now and then. */
void members_steer(struct members *members, const struct fleet *fleet);
/* The gateways of our region that steer some of those that we may steer, and how many of them come
 * before us: by the ids of their keys, so that all of them know the same order. First lane. */
struct members_planners {
    uint32_t count, place;
};
struct members_planners members_planners(const struct members *members);
/* How many, and, when there are none, why most of them are not. Any thread. */
uint32_t members_steered(struct members *members, char ret_why[MEMBERS_WORDS_BYTES]);

/* For people. Any thread. */
void members_count(struct members *members, struct members_counts *ret_counts);
void members_look(struct members *members, struct span name, struct member_look *ret_look);
const char *members_verdict_name(uint32_t verdict);
/* Its bus, for others that speak on it until members_stop; NULL: there is none. */
struct bus *members_bus_of(struct members *members);
/* The names that were refused last, the newest first; how many. */
uint32_t members_refused(struct members *members,
                         struct members_refused ret_list[MEMBERS_REFUSED_MAX]);
/* False: there is no bus. */
bool members_bus(struct members *members, struct bus_state *ret_state);
/* Did this node report lately? Any thread. */
bool members_is_reporting(const struct gateway *gateway, uint32_t node, uint64_t now_ns);
#endif
