/* e2e_peers_test - two gateways on one NATS server: each hears the other, and what it is asked for;
 * what is forged is refused; one is killed by SIGKILL under load, and the other one's clients do
 * not notice. The one that dies is a process of its own, forked before there are threads. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e.h"
#include "e2e_page.h"
#include "io/bus_nats.h"
#include "io/clock.h"
#include "nats_server.h"
#include "role/gateway/peers.h"
#include "tap.h"

#define YAML_BYTES_MAX 2048u
#define WAIT_MS        90000 /* a guard */

static struct nats_server server;
static struct e2e_engine *engines[2];
static struct e2e_gateway here;
static struct bus *bus;

/* ---- The other gateway, in a process of its own. */

static struct {
    pid_t pid;
    int yaml_fd, ports_fd;
    struct e2e_gateway gateway; /* its ports, as we know them */
} there;

static void
be_another(int yaml_fd, int ports_fd)
{
    static const struct gateway_options options = {.rule = -1, .seed = 2};
    char yaml[YAML_BYTES_MAX];
    struct e2e_gateway g;
    size_t at = 0;
    ssize_t n;

    must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    while ((n = read(yaml_fd, yaml + at, sizeof(yaml) - 1 - at)) > 0)
        at += (size_t)n;
    yaml[at] = '\0';
    e2e_gateway_start(&g, &options, "%s", yaml);
    must(write(ports_fd, &g, sizeof(g)) == (ssize_t)sizeof(g));
    for (;;)
        pause();
}

static void
fork_another(void)
{
    int yaml[2], ports[2];

    must(pipe2(yaml, O_CLOEXEC) == 0 && pipe2(ports, O_CLOEXEC) == 0);
    there.pid = fork();
    must(there.pid >= 0);
    if (there.pid == 0) {
        close(yaml[1]);
        be_another(yaml[0], ports[1]);
    }
    close(yaml[0]);
    close(ports[1]);
    there.yaml_fd = yaml[1];
    there.ports_fd = ports[0];
}

static void
start_another(const char *yaml)
{
    size_t bytes = strlen(yaml);

    must(write(there.yaml_fd, yaml, bytes) == (ssize_t)bytes);
    close(there.yaml_fd);
    must(read(there.ports_fd, &there.gateway, sizeof(there.gateway)) ==
         (ssize_t)sizeof(there.gateway));
}

/* ---- Setting up. */

static void
write_yaml(const char *name, const char *region, char yaml[YAML_BYTES_MAX])
{
    snprintf(yaml, YAML_BYTES_MAX,
             "name: %s\nregion: %s\nbus: {nats: \"%s\"}\nmodels: {m: {aliases: [engine-name]}}\n"
             "engines:\n"
             "  - {name: e0, url: \"http://127.0.0.1:%u\", region: east, kind: openai}\n"
             "  - {name: e1, url: \"http://127.0.0.1:%u\", region: west, kind: openai}\n",
             name, region, server.url, e2e_engine_port(engines[0]), e2e_engine_port(engines[1]));
}

static void
setup(void)
{
    static const struct gateway_options options = {.rule = -1, .seed = 1};
    struct bus_nats_options o = {.name = SPAN_LIT("liar")};
    char yaml[YAML_BYTES_MAX], text[160];

    nats_server_init(&server);
    snprintf(text, sizeof(text), "listen: \"%s\"\nmax_payload: 8KB\n", server.address);
    must(nats_server_start(&server, text));
    for (unsigned i = 0; i < 2; i++)
        engines[i] = e2e_engine_start("m", e2e_good);
    write_yaml("gw-west", "west", yaml);
    start_another(yaml);
    write_yaml("gw-east", "east", yaml);
    e2e_gateway_start(&here, &options, "%s", yaml);
    o.url = span_of(server.url);
    must(bus_nats_open(&o, &bus) == ERR_OK);
    CHECK(e2e_wait_ready(&here, 2) && e2e_wait_ready(&there.gateway, 2), "both have both nodes");
}

/* ---- Requests, on and on. */

struct load {
    const struct e2e_gateway *gateway;
    pthread_t thread;
    _Atomic bool stop;
    _Atomic unsigned asked, failed;
};

static void *
ask_on(void *argument)
{
    struct load *l = argument;

    while (!atomic_load(&l->stop)) {
        struct e2e_reply reply;
        e2e_ask(l->gateway->port, "POST", "/v1/chat/completions", "", E2E_CHAT, &reply);
        atomic_fetch_add(&l->failed, reply.status != 200);
        atomic_fetch_add(&l->asked, 1);
        e2e_reply_fini(&reply);
        usleep(5000);
    }
    return NULL;
}

static void
load_start(struct load *l, const struct e2e_gateway *gateway)
{
    l->gateway = gateway;
    must(pthread_create(&l->thread, NULL, ask_on, l) == 0);
}

static void
load_stop(struct load *l)
{
    atomic_store(&l->stop, true);
    must(pthread_join(l->thread, NULL) == 0);
}

static void
wait_asked(struct load *l, unsigned more)
{
    unsigned from = atomic_load(&l->asked);

    for (int ms = 0; ms < WAIT_MS && atomic_load(&l->asked) < from + more; ms++)
        usleep(1000);
}

/* ---- Looking. */

/* A number of the row of a region in /network/v1/demand; -1: there is none. */
static double
demand_of(const struct e2e_gateway *g, const char *region, const char *key)
{
    struct e2e_reply reply;
    char text[96];
    const char *row;
    double value;

    e2e_ask(g->admin_port, "GET", "/network/v1/demand", "", "", &reply);
    snprintf(text, sizeof(text), "{\"region\":\"%s\"", region);
    row = strstr(reply.body, text);
    snprintf(text, sizeof(text), "\"%s\":", key);
    value = row != NULL ? e2e_number(row, text) : -1.0;
    e2e_reply_fini(&reply);
    return value;
}

static bool
demand_comes(const struct e2e_gateway *g, const char *region, const char *key, double low,
             double high)
{
    for (int ms = 0; ms < WAIT_MS; ms += 50) {
        double value = demand_of(g, region, key);
        if (value >= low && value <= high)
            return true;
        usleep(50000);
    }
    return false;
}

static void
test_heard(struct load *west)
{
    CHECK(e2e_page_comes(here.admin_port, "/network/v1/bus",
                         "{\"gateway\":\"gw-west\",\"region\":\"west\",\"key\":\"\","
                         "\"state\":\"alive\""),
          "the other one is heard");
    CHECK(e2e_page_comes(there.gateway.admin_port, "/network/v1/bus", "\"gateways\":2"),
          "and hears us, though nobody asks us for anything");
    load_start(west, &there.gateway);
    CHECK(demand_comes(&here, "west", "told_requests_s", 0.1, 1e6),
          "what its clients ask for is told");
    CHECK(e2e_page_has(here.admin_port, "/network/v1/demand", "\"told_by\":[\"gw-west\"]"),
          "by whom");
    CHECK(demand_of(&here, "east", "requests_s") < 0.0, "nobody asked for anything in the east");
    CHECK(demand_of(&there.gateway, "west", "told_requests_s") == 0.0, "it counts that itself");
    CHECK(e2e_metric(&here, "isochrone_gateways 2\n"), "counted");
}

/* ---- Lies, on a server without users. */

static void
say(const char *subject, const char *gateway, uint64_t epoch, uint64_t seq, uint64_t issued_s)
{
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "{\"v\":1,\"gateway\":\"%s\",\"region\":\"west\",\"epoch\":%llu,\"seq\":%llu,"
                     "\"issued_s\":%llu,\"models\":[{\"id\":\"m\",\"requests_s\":49,"
                     "\"prompt_tok_s\":0,\"output_tok_s\":0,\"usual_requests_s\":49,"
                     "\"ahead_requests_s\":49},{\"id\":\"of-nobody\",\"requests_s\":49,"
                     "\"prompt_tok_s\":0,\"output_tok_s\":0,\"usual_requests_s\":49,"
                     "\"ahead_requests_s\":49}]}",
                     gateway, (unsigned long long)epoch, (unsigned long long)seq,
                     (unsigned long long)issued_s);

    must(bus_publish(bus, span_of(subject), (struct span){text, (size_t)n}) == ERR_OK);
}

static bool
is_refused(const char *verdict)
{
    char text[64];

    snprintf(text, sizeof(text), "\"%s\":1", verdict);
    return e2e_page_comes(here.admin_port, "/network/v1/bus", text);
}

static void
wait_connected(void)
{
    struct bus_state state = {.connected = false};

    for (int ms = 0; ms < WAIT_MS && !state.connected; ms += 5) {
        bus_read_state(bus, &state);
        usleep(5000);
    }
    must(state.connected);
}

static void
test_lies(void)
{
    uint64_t now_s = clock_wall_s();

    wait_connected();
    say("iso.demand.west.gw-west", "gw-west", 1, 1, now_s);
    CHECK(is_refused("old_epoch"), "of an earlier life");
    say("iso.demand.west.gw-west", "gw-north", 1, 1, now_s);
    CHECK(is_refused("wrong_name"), "under another name");
    say("iso.demand.west.gw-north", "gw-north", 1, 1, now_s - 3600);
    CHECK(is_refused("clock"), "an hour old");
    say("iso.demand.east.gw-east", "gw-east", 1, 1, now_s);
    CHECK(is_refused("own_name"), "in our own name");
    must(bus_publish(bus, SPAN_LIT("iso.demand.west.gw-west"), SPAN_LIT("{\"v\":")) == ERR_OK);
    CHECK(is_refused("malformed"), "no message at all");
    CHECK(demand_of(&here, "west", "told_requests_s") < 49.0, "nothing of it counts");
    CHECK(e2e_page_has(here.admin_port, "/network/v1/bus", "\"gateways\":2"), "nobody came");
    say("iso.demand.west.gw-north", "gw-north", 1, 1, now_s);
    CHECK(demand_comes(&here, "west", "told_requests_s", 49.0, 1e6), "one who says it well");
    CHECK(!e2e_page_has(here.admin_port, "/network/v1/demand", "of-nobody"),
          "a model that nobody here has is passed over");
}

/* ---- Over HTTP: what nothing vouches for has to be signed. */

static void
post(const struct demand_news *n, uint16_t port, unsigned status, const char *words)
{
    char text[MESSAGE_BYTES_MAX + 1];
    struct e2e_reply reply;
    size_t bytes;

    must(demand_news_write(n, text, &bytes) == ERR_OK);
    text[bytes] = '\0';
    e2e_ask(port, "POST", "/network/v1/bus/demand", "", text, &reply);
    CHECK(reply.status == status && strstr(reply.body, words) != NULL, words);
    e2e_reply_fini(&reply);
}

static void
test_http(void)
{
    static const unsigned char seed[SIGNATURE_SEED_BYTES] = {9};
    struct demand_news n = {.v = MESSAGE_VERSION,
                            .gateway = SPAN_LIT("gw-south"),
                            .region = SPAN_LIT("south"),
                            .epoch = 1,
                            .seq = 1,
                            .issued_s = clock_wall_s()};
    struct signature_secret secret;
    char key[SIGNATURE_KEY_TEXT_SIZE], shown[64];

    post(&n, here.admin_port, 409, "\"unsigned\"");
    signature_secret_of_seed(seed, &secret);
    must(demand_news_sign(&n, &secret) == ERR_OK);
    post(&n, here.port, 404, "unknown_url");
    post(&n, here.admin_port, 200, "\"news\"");
    signature_key_text(&n.key, key);
    snprintf(shown, sizeof(shown), "\"region\":\"south\",\"key\":\"%.16s\"",
             key + strlen(SIGNATURE_KEY_PREFIX));
    CHECK(e2e_page_has(here.admin_port, "/network/v1/bus", shown), "it is heard, by its key");
    n.seq++;
    post(&n, here.admin_port, 409, "\"bad_signature\"");
    n.gone = true;
    must(demand_news_sign(&n, &secret) == ERR_OK);
    post(&n, here.admin_port, 200, "\"news\"");
}

/* ---- Death. */

static void
test_death(struct load *east, struct load *west)
{
    double before;

    load_start(east, &here);
    wait_asked(east, 50);
    CHECK(demand_comes(&there.gateway, "east", "told_requests_s", 0.1, 1e6), "both ways");
    must(kill(there.pid, SIGKILL) == 0);
    must(waitpid(there.pid, NULL, 0) == there.pid);
    load_stop(west);
    before = demand_of(&here, "west", "told_requests_s");
    CHECK(e2e_page_comes(here.admin_port, "/network/v1/bus", "\"gateways\":1"),
          "who is silent is counted no more");
    CHECK(e2e_page_has(here.admin_port, "/network/v1/bus", "\"state\":\"silent\""), "and shown");
    CHECK(demand_comes(&here, "west", "told_requests_s", 0.0, 0.9 * before), "its demand fades");
    wait_asked(east, 50);
    load_stop(east);
    printf("# figure gateway_kill_other_gateways_failed_requests %u requests\n",
           atomic_load(&east->failed));
    CHECK(atomic_load(&east->asked) > 100 && atomic_load(&east->failed) == 0,
          "no request noticed the death of another gateway");
}

int
main(void)
{
    static struct load east, west;

    if (!nats_server_exists()) {
        printf("1..0 # SKIP there is no nats-server\n");
        return 0;
    }
    fork_another();
    setup();
    test_heard(&west);
    test_lies();
    test_http();
    test_death(&east, &west);
    e2e_gateway_stop(&here);
    for (unsigned i = 0; i < 2; i++)
        e2e_engine_stop(engines[i]);
    bus_close(bus);
    nats_server_fini(&server);
    return tap_done();
}
