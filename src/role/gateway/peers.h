#ifndef ROLE_GATEWAY_PEERS_H
#define ROLE_GATEWAY_PEERS_H
/* peers - the other gateways, as they are heard: who is there, and what their clients ask for.
 *
 * Each gateway says every few seconds that it is there and how much it is asked for, by model
 * (wire/demand_news). What others say is kept by gateway and model; once a second the sums by model
 * and region go into the core, where they differ from what it heard last, and how many gateways
 * there are. Of our own region the sum is of the others there: what we count ourselves the core
 * knows.
 *
 * Who has been silent for PEERS_ALIVE_NS is no longer counted; what it said fades and is dropped
 * when it is PEERS_FORGET_NS old, as is a model that it names no more. A gateway that ends says so.
 * When our own bus is down nobody can be heard: then all stays as it was, and the core lets it fade
 * slowly.
 *
 * Messages come on the bus's thread, or on a lane's when they come over HTTP. Models are told by
 * the network's names; one that is not known here is passed over: nobody could load it here, and
 * when somebody can, it is soon told again. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "wire/demand_news.h"

#define PEERS_MAX 256u
/* Messages over the bus of who is not in the table, read in a minute: of all together that the
 * configuration does not name, and as many of all that it names. */
#define PEERS_STRANGERS_PER_MINUTE_MAX (2 * PEERS_MAX)
/* So many requests a second a gateway may say that it is asked for, or a multiple of what we are
 * asked for; more only when the configuration says so. */
#define PEERS_REQUESTS_S      100.0f
#define PEERS_REQUESTS_FACTOR 4.0f
#define PEERS_PROMPT_TOKENS   32768.0f /* of a request, on average */
#define PEERS_OUTPUT_TOKENS   8192.0f
#define PEERS_MODELS_MAX      256u        /* of one gateway */
#define PEERS_SAY_NS          3000000000u /* between two messages, give or take a fifth */
#define PEERS_BEAT_NS         1000000000u
#define PEERS_ALIVE_NS        10000000000u
#define PEERS_FORGET_NS       60000000000u
#define PEERS_LOG_NS          10000000000u
#define PEERS_KEY_ID_BYTES    17u /* the first 16 hexadecimal digits of a public key, and a zero */
#define PEERS_NAME_BYTES      64u

struct gateway;
struct peers;
struct config;
struct config_gateway;

/* Why a message was not taken, beyond what demand_sender says. */
enum peers_refusal {
    PEERS_MALFORMED = DEMAND_VERDICT_COUNT,
    PEERS_TABLE_FULL,
    PEERS_OWN_NAME, /* another gateway has our name */
    PEERS_VERDICT_COUNT
};

struct peer_look { /* one gateway */
    char name[PEERS_NAME_BYTES], region[PEERS_NAME_BYTES];
    char key_id[PEERS_KEY_ID_BYTES]; /* "": it has no key */
    bool is_alive;                   /* heard lately, and it did not say that it goes */
    bool is_gone;                    /* it said so */
    uint64_t epoch, messages, refused;
    double heard_ago_ms;
    uint32_t models;
    double requests_s, usual_requests_s; /* of all models, as it says */
    double counted_part;                 /* of that; less than 1: it says more than it may */
};

/* After members_open: on its bus, where there is one. ERR_MEMORY, ERR_FULL. */
MUST_USE enum err peers_open(struct gateway *gateway, struct peers **ret_peers);
/* Say that we go, and nothing more. Before members_stop; on the first lane's thread, or when it has
 * ended. NULL: does nothing. */
void peers_stop(struct peers *peers);
/* After members_stop. NULL: does nothing. */
void peers_close(struct peers *peers);

/* Gateways there are, this one counted: at least 1. Any thread; takes no lock. */
uint32_t peers_count(const struct peers *peers);
/* All others that are alive, in the order of their names; under a lock: fn calls nothing of this
 * module. Any thread. */
typedef void peers_fn(const struct peer_look *peer, void *user);
void peers_each_alive(struct peers *peers, peers_fn *fn, void *user);
/* The same with those that are not, until they are forgotten. */
void peers_each(struct peers *peers, peers_fn *fn, void *user);

/* A message that came under this name. needs_key: nothing on its way vouches for the name. Any
 * thread. */
uint32_t peers_take(struct peers *peers, struct span name, struct span body, bool needs_key);
/* What the configuration says of the gateway of this name: its key is the only one that is it, on
 * the bus, too. NULL: it names none. */
const struct config_gateway *peers_named(const struct config *config, struct span name);
const char *peers_verdict_name(uint32_t verdict);
const char *peers_verdict_words(uint32_t verdict);
/* Messages so far, by verdict. */
void peers_verdicts(struct peers *peers, uint64_t ret_verdicts[PEERS_VERDICT_COUNT]);
/* Those that told of this model in this region, in the order of their names; returns how many there
 * are, of which the first `max` names are written. */
uint32_t peers_told_by(struct peers *peers, uint16_t model, struct span region,
                       char (*ret_names)[PEERS_NAME_BYTES], uint32_t max);
#endif
