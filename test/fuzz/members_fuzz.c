/* members_fuzz - whatever comes over the bus, through members and the fleet into core_step: nothing
 * of it may stop a gateway, or keep requests from a node that is as it should be.
 *
 * The input is a list of messages and other happenings, each a letter (do_as_node and do_one have
 * them) and what follows up to a '!'. They come under the name of one of four nodes, which have
 * keys: so messages can be right in all but one thing, and what is crafted in them gets as far as
 * it can. Time passes only when the input says so. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "bus_node.h"
#include "fuzz_clock.h"
#include "fuzz_sockets.h"
#include "io/log.h"
#include "role/gateway/gateway.h"
#include "role/gateway/members_state.h"
#include "role/gateway/peers.h"
#include "role/gateway/steer.h"
#include "wire/message_proof.h"

#define HAPPENINGS_MAX 24u
#define NODES          4u
#define HONEST         9u /* the number of the node that is as it should be */
#define EPOCH          5u /* of all their first lives */
#define PORT           1u
#define FLOOD          300u
#define ROOM           16u
#define REQUESTS_MAX   64u
#define ENDS_MAX       32u
#define NOBODY         "0000000000000000" /* in the input: this gateway */
#define LEFT_MAX       8u
#define TURN_PASSES    3u
#define ASKS_MAX       20u
#define MS             UINT64_C(1000000)
#define SECONDS_MAX    700u /* that pass at once: a node is forgotten after 600 */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* What a node does with a directive. */
enum node { NODE_AWAY, NODE_BEGINS, NODE_DOES, NODE_REFUSES, NODE_STRANGER, NODE_SAYS, NODE_COUNT };

static struct {
    struct gateway *gateway;
    char own_id[SIGNATURE_SHORT_SIZE];
    enum node does;
    struct span says;                           /* NODE_SAYS: this */
    unsigned char nonce[DIRECTIVE_NONCE_BYTES]; /* of the last directive */
    int ends[ENDS_MAX];                         /* of connections to nodes */
    unsigned end_count;
    struct bus_node nodes[NODES], honest;
    struct signature_secret trusted;
    unsigned left; /* requests that nobody ends */
    unsigned way;  /* enum way */
    unsigned now;  /* under whose name messages come */
    enum members_kind last_kind;
    char last[MESSAGE_BYTES_MAX + 1];
    size_t last_bytes;
    uint64_t request, demand_seq;
} f;

/* ---- In place of what is too much, or elsewhere. */

/* Fewer requests: setting up 65536 would be nearly all that a run does. */
enum err __real_decide_open(const struct core_config *, struct recorder *, bool, struct door **);
enum err __wrap_decide_open(const struct core_config *, struct recorder *, bool, struct door **);
uint32_t __wrap_members_room(const struct config *config);
void __wrap_worker_submit(struct worker *worker, struct worker_job *job);

enum err
__wrap_decide_open(const struct core_config *config, struct recorder *recorder, bool measure,
                   struct door **ret_door)
{
    struct core_config small = *config;

    small.models_max = 16;
    small.regions_max = 8;
    small.classes_max = 8;
    small.placements_max = 64;
    small.requests_max = REQUESTS_MAX;
    small.prefix_entries_max = 1024;
    return __real_decide_open(&small, recorder, measure, ret_door);
}

uint32_t
__wrap_members_room(const struct config *config)
{
    (void)config;
    return ROOM;
}

/* At once, so that a run repeats. */
void
__wrap_worker_submit(struct worker *worker, struct worker_job *job)
{
    (void)worker;
    job->run(job);
    job->done(job);
}

/* Addresses are what they are; no name has one but the last. */
int
getaddrinfo(const char *restrict host, const char *restrict port,
            const struct addrinfo *restrict hints, struct addrinfo **restrict ret)
{
    static struct sockaddr_in address;
    static struct addrinfo info = {.ai_family = AF_INET,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_addrlen = sizeof(address),
                                   .ai_addr = (struct sockaddr *)&address};
    uint64_t number = 0;

    (void)hints;
    if (port != NULL && span_u64(span_of(port), &number) != ERR_OK)
        return EAI_SERVICE;
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)number)};
    *ret = &info;
    if (inet_pton(AF_INET, host, &address.sin_addr) == 1)
        return 0;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return strcmp(host, "known.example") == 0 ? 0 : EAI_NONAME;
}

void
freeaddrinfo(struct addrinfo *info)
{
    (void)info;
}

/* Whoever is at any address does as the input says. */
bool
fuzz_peer(int fd)
{
    if (f.does == NODE_AWAY || f.end_count == ENDS_MAX)
        return false;
    f.ends[f.end_count++] = fd;
    return true;
}

/* ---- Nodes, as they are asked something. */

/* The 32 digits behind "nonce": in a directive. False: it is something else. */
static bool
read_directive(struct span in, unsigned char ret_nonce[DIRECTIVE_NONCE_BYTES],
               struct span *ret_node)
{
    static const char nonce[] = "\"nonce\":\"", node[] = "\"node\":\"";
    const char *at = memmem(in.data, in.bytes, nonce, sizeof(nonce) - 1),
               *name = memmem(in.data, in.bytes, node, sizeof(node) - 1);

    if (at == NULL || name == NULL)
        return false;
    *ret_node = span_from(in, (size_t)(name - in.data) + sizeof(node) - 1);
    ret_node->bytes = span_find(*ret_node, '"');
    at += sizeof(nonce) - 1;
    return (size_t)(in.data + in.bytes - at) >= 2 * DIRECTIVE_NONCE_BYTES &&
           message_unhex((struct span){at, 2 * DIRECTIVE_NONCE_BYTES}, ret_nonce,
                         DIRECTIVE_NONCE_BYTES) == ERR_OK;
}

static void
answer(int fd, struct span in)
{
    char head[100], text[MESSAGE_BYTES_MAX];
    struct directive_reply reply = {.v = MESSAGE_VERSION, .epoch = 1, .ready_in_ms = 1000.0};
    struct span body = f.says;
    ssize_t sent = 0;
    int n;

    if (!read_directive(in, reply.nonce, &reply.node))
        return;
    memcpy(f.nonce, reply.nonce, sizeof(f.nonce));
    reply.verdict = f.does == NODE_STRANGER ? DIRECTIVE_UNKNOWN_GATEWAY : DIRECTIVE_GOOD;
    reply.result = f.does == NODE_BEGINS ? DIRECTIVE_BEGUN
                   : f.does == NODE_DOES ? DIRECTIVE_DONE
                                         : DIRECTIVE_REFUSED;
    if (f.does != NODE_SAYS && directive_reply_write(&reply, text, &body.bytes) == ERR_OK)
        body.data = text;
    n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", body.bytes);
    sent += send(fd, head, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
    sent += send(fd, body.data, body.bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent; /* who does not listen any more has his reasons */
}

static void
serve(void)
{
    static char in[65536];

    for (unsigned i = 0; i < f.end_count; i++) {
        ssize_t n = recv(f.ends[i], in, sizeof(in), MSG_DONTWAIT);
        if (n > 0)
            answer(f.ends[i], (struct span){in, (size_t)n});
    }
}

/* ---- Time. */

static uint32_t
step(const struct event *event, struct actions *ret_actions)
{
    inbox_share(f.gateway, decide_step(f.gateway->door, event, ret_actions), ret_actions, 0);
    return ret_actions->count;
}

static void
turn(void)
{
    for (unsigned i = 0; i < TURN_PASSES; i++) {
        loop_pass(f.gateway->lanes[0].loop, 0);
        serve();
    }
}

static void
pass(uint64_t ns)
{
    const struct event event = {.kind = EVENT_TICK};
    struct actions actions;

    turn(); /* posts set timers */
    fuzz_now_ns += ns;
    step(&event, &actions);
    turn();
}

/* ---- Requests. */

static uint16_t
model_of(struct span name)
{
    struct fleet *fleet = decide_fleet(f.gateway->door);
    uint16_t model = 0;

    for (uint32_t i = 0; i < fleet->model_count; i++) {
        if (span_eq(fleet->models[i].name, name))
            model = (uint16_t)i;
    }
    fleet_unref(fleet);
    return model;
}

/* A request, as far as the core goes; it fails wherever it is sent, unless failure is NONE. Left:
 * nobody hears of it any more, and it may be held. False: it was not sent anywhere. */
static bool
ask(struct span model, uint32_t failure, bool is_left)
{
    const struct members *m = f.gateway->members;
    struct event event = {.kind = EVENT_ARRIVED};
    struct actions actions;
    unsigned attempts = 0;

    event.arrived = (struct event_arrived){.request = ++f.request,
                                           .model = model_of(model),
                                           .other_model = MODEL_NONE,
                                           .prompt_bytes = 1000,
                                           .body_bytes = 1200,
                                           .only_node = NODE_ANY};
    while (step(&event, &actions) > 0 && actions.list[0].kind == ACTION_DISPATCH &&
           actions.list[0].dispatch.request == f.request) {
        const struct action_dispatch *d = &actions.list[0].dispatch;
        must(d->node < f.gateway->nodes_max);
        /* the configuration's nodes are asked, too, when no member is behind them */
        must(d->node < f.gateway->members_first ||
             (m->by_index[d->node] != NULL && m->by_index[d->node]->is_in_core));
        must(++attempts <= ATTEMPTS_MAX);
        event = (struct event){.kind = EVENT_FAILED};
        event.failed = (struct event_failed){.request = f.request,
                                             .attempt = d->attempt,
                                             .failure = failure,
                                             .retry_after_ms = 0.0f};
        if (failure == FAILURE_NONE)
            break;
    }
    event = (struct event){.kind = EVENT_CANCELLED, .cancelled = {.request = f.request}};
    if (!is_left)
        step(&event, &actions);
    return attempts > 0;
}

/* ---- Messages. */

/* How it comes: over the bus, or over HTTP, with what shows whose it is, or does not. */
enum way { WAY_BUS, WAY_BARE, WAY_SIGNED, WAY_FORGED, WAY_PIN, WAY_COUNT };

static void
take(struct bus_node *n, enum members_kind kind, struct span body)
{
    static const char *const words[MEMBERS_KIND_COUNT] = {"report", "hello", "gone", "chain"};
    static const unsigned char pin[TLS_PIN_BYTES] = {0x22, 0x22};
    struct members_message message = {.kind = kind,
                                      .name = span_of(n->name),
                                      .body = body,
                                      .is_by_subject = f.way == WAY_BUS,
                                      .is_public = f.way != WAY_BUS};
    char text[MESSAGE_PROOF_TEXT_SIZE];
    struct members_answer answer;
    struct signature signature;

    if (f.way == WAY_SIGNED || f.way == WAY_FORGED) {
        message_proof_write(f.way == WAY_SIGNED ? &n->secret : &f.honest.secret,
                            span_of(words[kind]), body, text);
        must(message_proof_parse(span_of(text), &signature) == ERR_OK);
        message.signature = &signature;
    }
    message.pin = f.way == WAY_PIN ? pin : NULL;
    f.last_kind = kind;
    f.last_bytes = body.bytes < sizeof(f.last) ? body.bytes : sizeof(f.last);
    if (f.last_bytes > 0 && body.data != f.last)
        memcpy(f.last, body.data, f.last_bytes);
    members_take(f.gateway->members, &message, &answer);
    must(answer.verdict < MEMBERS_VERDICT_COUNT && answer.name[0] != '\0');
}

static void
say_hello(struct bus_node *n)
{
    char text[MESSAGE_BYTES_MAX];

    take(n, MEMBERS_HELLO, (struct span){text, bus_node_hello_text(n, text)});
}

static void
begin_life(struct bus_node *n)
{
    if (n->epoch >= MESSAGE_NUMBER_MAX)
        n->epoch = EPOCH;
    bus_node_begin_life(n);
    say_hello(n);
}

static void
report(struct bus_node *n, bool full)
{
    char text[MESSAGE_BYTES_MAX];

    take(n, MEMBERS_REPORT, (struct span){text, bus_node_report_text(n, full, text)});
}

/* What the input says a hello should say, with this node's key and signature. */
static void
craft_hello(struct bus_node *n, struct span json)
{
    char text[MESSAGE_BYTES_MAX];
    struct message_error error;
    struct signature_data data;
    struct report_hello h;
    size_t bytes;

    if (report_hello_parse(json, &h, &error) != ERR_OK)
        return;
    h.identity.node = span_of(n->name);
    if (h.epoch == EPOCH)
        h.epoch = n->epoch < MESSAGE_NUMBER_MAX ? n->epoch + 1 : EPOCH;
    signature_key_of_secret(&n->secret, &h.identity.key);
    if (h.identity.operator.bytes> 0 && identity_sign(&h.identity, &f.trusted) != ERR_OK)
        return;
    report_hello_data(&h, &data);
    if (signature_sign(&n->secret, &data, &h.signature) != ERR_OK ||
        report_hello_write(&h, text, &bytes) != ERR_OK)
        return;
    n->epoch = h.epoch;
    n->seq = 0;
    report_chain_begin(span_of(n->name), n->epoch, n->head);
    take(n, MEMBERS_HELLO, (struct span){text, bytes});
}

/* Likewise of a report: it is the next one of this node's life. */
static void
craft_report(struct bus_node *n, struct span json)
{
    char text[MESSAGE_BYTES_MAX];
    struct message_error error;
    static struct report r;
    size_t bytes;

    if (report_parse(json, &r, &error) != ERR_OK)
        return;
    for (size_t i = 0; i < r.obey_count; i++) {
        if (span_eq_text(r.obeys[i], NOBODY))
            r.obeys[i] = span_of(f.own_id);
    }
    for (size_t i = 0; i < r.outcome_count; i++)
        memcpy(r.outcomes[i].nonce, f.nonce, sizeof(f.nonce));
    r.node = span_of(n->name);
    r.epoch = n->epoch;
    r.seq = ++n->seq;
    if (report_write(&r, text, &bytes) != ERR_OK)
        return;
    report_chain_add(n->head, (struct span){text, bytes});
    take(n, MEMBERS_REPORT, (struct span){text, bytes});
}

static void
piggyback(const struct bus_node *n, struct span json)
{
    const struct member *member = member_find(&f.gateway->members->table, span_of(n->name));

    if (member != NULL && member->index != MEMBER_NO_INDEX)
        members_take_piggyback(f.gateway->members, member->index, json);
}

/* What another gateway says it is asked for: the next of its messages, signed if it has a key. */
static void
craft_demand(unsigned number, bool with_key, struct span json)
{
    char text[MESSAGE_BYTES_MAX], name[] = "gw-0";
    struct message_error error;
    static struct demand_news news;
    size_t bytes;

    if (demand_news_parse(json, &news, &error) != ERR_OK)
        return;
    name[3] = (char)('0' + number);
    news.gateway = span_of(name);
    news.seq = ++f.demand_seq;
    news.issued_s = 1700000000;
    memset(&news.key, 0, sizeof(news.key));
    if (with_key && demand_news_sign(&news, &f.nodes[number].secret) != ERR_OK)
        return;
    if (demand_news_write(&news, text, &bytes) == ERR_OK)
        (void)peers_take(f.gateway->peers, span_of(name), (struct span){text, bytes}, with_key);
}

/* ---- What happens. */

/* What the node does that speaks now. False: no such letter. */
static bool
do_as_node(struct bus_node *n, char letter, struct span body)
{
    struct bus_node other = *n;
    char text[MESSAGE_BYTES_MAX];

    switch (letter) {
    case 'H': /* it starts again */
        begin_life(n);
        return true;
    case 'V': /* now vouched for */
        n->operator_secret = &f.trusted;
        begin_life(n);
        return true;
    case 'B':
        say_hello(n);
        return true;
    case 'K': /* another one of this name */
        other.secret = f.honest.secret;
        begin_life(&other);
        return true;
    case 'S':
        craft_hello(n, body);
        return true;
    case 'R':
        craft_report(n, body);
        return true;
    case 'G':
        take(n, MEMBERS_GONE, (struct span){text, bus_node_gone_text(n, text)});
        return true;
    case 'C':
        if (n->seq > 0) /* else there is nothing to sign */
            take(n, MEMBERS_CHAIN, (struct span){text, bus_node_chain_text(n, text)});
        return true;
    case 'F':
        for (unsigned i = 0; i < FLOOD; i++)
            report(n, i % 16 == 0);
        return true;
    case 'p':
        piggyback(n, body);
        return true;
    default:
        return false;
    }
}

static void
do_one(char letter, struct span body)
{
    struct bus_node *n = &f.nodes[f.now];
    unsigned number = body.bytes > 0 ? (unsigned char)body.data[0] : 0;
    char words[STEER_WORDS_BYTES];
    uint64_t id;

    if (do_as_node(n, letter, body))
        return;
    switch (letter) {
    case 'N': /* from now on it is this node that speaks */
        f.now = number % NODES;
        break;
    case 'X': /* the last message again, from whoever speaks now */
        take(n, f.last_kind, (struct span){f.last, f.last_bytes});
        break;
    case 'P':
        f.way = (enum way)(number % WAY_COUNT);
        break;
    case 'W': /* its clock is off by hours */
        n->clock_s = ((int64_t)number - 128) * 3600;
        break;
    case 'T':
        pass(number * 100 * MS);
        break;
    case 'L':
        pass(SECONDS_MAX * SECOND_NS);
        break;
    case 'A':
    case 'Q':
        (void)ask(span_from(body, 1), number % FAILURE_COUNT, letter == 'Q' && f.left++ < LEFT_MAX);
        break;
    case 'Y': /* what nodes do with directives */
        f.does = (enum node)(number % NODE_COUNT);
        f.says = span_from(body, 1);
        break;
    case 'I': /* somebody asks for something */
        (void)steer_ask(f.gateway->steer, span_of(n->name),
                        (enum directive_action)(number % DIRECTIVE_ACTION_COUNT),
                        span_from(body, 1), &id, words);
        break;
    case 'D':
        craft_demand(f.now, number % 2 == 1, span_from(body, 1));
        break;
    case 'E':
    case 'U':
        must(peers_take(f.gateway->peers, SPAN_LIT("gw-0"), body, letter == 'U') <
             PEERS_VERDICT_COUNT);
        break;
    default:
        take(n, (enum members_kind)((unsigned char)letter % MEMBERS_KIND_COUNT), body);
        break;
    }
}

/* Messages with models that wait to be in a fleet, or for more pages. */
static uint32_t
waiting(const struct members *m)
{
    const struct member_change *c;
    uint32_t count = 0;

    STAILQ_FOREACH(c, &m->changes, link)
    count++;
    for (uint32_t i = 0; i < m->table.count; i++) {
        STAILQ_FOREACH(c, &m->table.list[i]->pages, link)
        count++;
    }
    return count;
}

/* One that is as it should be joins, and is asked. */
static void
check_honest(void)
{
    const struct members *m = f.gateway->members;
    const struct member *member;
    struct members_counts counts;
    struct member_look look;
    unsigned asks = 0;

    f.way = WAY_BUS;
    begin_life(&f.honest);
    report(&f.honest, true);
    pass(SECOND_NS); /* a gathering, and one that waits longer as it was dear */
    pass(SECOND_NS);
    report(&f.honest, true);
    member = member_find(&m->table, span_of(f.honest.name));
    must(member != NULL && member->is_in_core && m->by_index[member->index] == member);
    while (!ask(SPAN_LIT("m"), FAILURE_NONE, false)) {
        must(++asks < ASKS_MAX);
        report(&f.honest, true);
        pass(SECOND_NS);
    }
    for (uint32_t i = 0; i < m->table.count; i++) {
        member = m->table.list[i];
        must(member->index == MEMBER_NO_INDEX || m->by_index[member->index] == member);
        must(!member->is_in_core || member->index != MEMBER_NO_INDEX);
        members_look(f.gateway->members, span_of(member->name), &look);
        must(look.is_member);
    }
    members_count(f.gateway->members, &counts);
    must(counts.known == m->table.count && counts.in_fleet <= counts.known);
}

static void
open_gateway(void)
{
    const unsigned char seed[SIGNATURE_SEED_BYTES] = {0x77}, own[SIGNATURE_SEED_BYTES] = {0x78};
    char config[600], key[SIGNATURE_KEY_TEXT_SIZE];
    struct signature_key trusted;
    struct gateway_options o = {.rule = -1, .seed = 1, .poll_ns = 100000 * SECOND_NS};

    signature_secret_of_seed(seed, &f.trusted);
    signature_key_of_secret(&f.trusted, &trusted);
    signature_key_text(&trusted, key);
    snprintf(config, sizeof(config),
             "listen: {public: \"127.0.0.1:0\"}\nname: gw-fuzz\n"
             "engines: [{name: n3, url: \"http://127.0.0.1:2\", kind: openai}]\n"
             "models: {m: {aliases: [engine-name]}}\n"
             "bus: {http: true, reach: [\"127.0.0.0/8\"]}\n"
             "operators: {trust: [\"%s\"]}\n",
             key);
    log_set_level(LOG_ERROR);
    fuzz_now_ns = 1000 * SECOND_NS;
    fuzz_sockets_real = true;
    o.admin_on_public = true;
    must(roster_read(span_of(config), "fuzz", 0, NULL, &o.roster) == ERR_OK);
    o.roster->is_local = false; /* as one is that others reach */
    o.roster->own_key = arena_zeroed(&o.roster->arena, sizeof(*o.roster->own_key));
    must(o.roster->own_key != NULL);
    signature_secret_of_seed(own, &o.roster->own_key->secret);
    signature_key_of_secret(&o.roster->own_key->secret, &o.roster->own_key->key);
    signature_key_short(&o.roster->own_key->key, o.roster->own_key->id);
    memcpy(f.own_id, o.roster->own_key->id, sizeof(f.own_id));
    must(gateway_open(&o, &f.gateway) == ERR_OK);
    fuzz_sockets_real = false;
    for (unsigned i = 0; i < NODES; i++) {
        bus_node_init(&f.nodes[i], NULL, i, PORT);
        f.nodes[i].model = "m";
        f.nodes[i].epoch = EPOCH - 1;
    }
    bus_node_init(&f.honest, NULL, HONEST, PORT);
    f.honest.model = "m";
    f.now = 0;
    f.last_kind = MEMBERS_REPORT;
    f.last_bytes = 0;
    f.request = f.demand_seq = 0;
    f.left = 0;
    f.way = WAY_BUS;
    f.does = NODE_AWAY;
    begin_life(&f.nodes[0]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct span rest = {(const char *)data, bytes};

    open_gateway();
    for (unsigned i = 0; i < HAPPENINGS_MAX && rest.bytes > 0; i++) {
        size_t end = span_find(rest, '!');
        do_one(rest.data[0], (struct span){rest.data + 1, end > 0 ? end - 1 : 0});
        must(waiting(f.gateway->members) == f.gateway->members->change_count);
        rest = span_from(rest, end + (end < rest.bytes));
        if (i % 4 == 3)
            pass(100 * MS);
    }
    pass(100 * MS);
    check_honest();
    gateway_close(f.gateway);
    while (f.end_count > 0)
        close(f.ends[--f.end_count]);
    return 0;
}
