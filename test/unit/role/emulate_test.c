/* emulate_test - the emulated fleet from outside, over real sockets on one loop, and the fleet's
 * own making. Nothing here looks at a clock: what must hold is told by the answers, by their order,
 * and by the log, whose times are the world's. */
#include "role/emulate/emulate.h"

#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "role/emulate/emulate_fleet.h"
#include "role/emulate/emulate_world.h"
#include "tap.h"
#include "wire/config.h"

#define TEXT_BYTES_MAX 65536u
#define PASSES_MAX     20000      /* then something hangs, and the check fails */
#define GATEWAY        0x7f00000b /* 127.0.0.11 */
#define STRANGER       0x7f000001

static struct loop *loop;
static struct emulate *world;
static char dir[] = "/tmp/emulate_test_XXXXXX", log_path[64];

static uint32_t
find_node(enum emulate_fleet_kind kind, enum engine_model_state state)
{
    for (uint32_t i = 0; i < world->fleet.node_count; i++) {
        const struct emulate_fleet_node *n = &world->fleet.nodes[i];

        if (n->kind == kind && n->held[0].state == state)
            return i;
    }
    CHECK(false, "the fleet has a node of every kind");
    return 0;
}

static const char *
model_of(uint32_t node)
{
    return emulate_fleet_model_id(&world->fleet.nodes[node],
                                  world->fleet.nodes[node].held[0].model);
}

/* ---- A raw client. */

static int
dial(uint32_t node, uint32_t source)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), flags;
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};

    from.sin_addr.s_addr = htonl(source);
    to.sin_addr.s_addr = htonl(world->options.base + node);
    to.sin_port = htons(emulate_port(world));
    if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        CHECK(false, "connect"); /* the backlog takes it: nobody accepts before the loop runs */
        exit(tap_done());
    }
    flags = fcntl(fd, F_GETFL);
    (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    return fd;
}

static void
send_request(int fd, const char *method, const char *path, const char *headers, const char *body)
{
    char text[TEXT_BYTES_MAX];
    int bytes = snprintf(text, sizeof(text),
                         "%s %s HTTP/1.1\r\nhost: a\r\n%scontent-length: %zu\r\n\r\n%s", method,
                         path, headers, strlen(body), body);

    CHECK(write(fd, text, (size_t)bytes) == bytes, "the request is sent");
}

/* Read until the other side closes, or until `until` stands in the text (NULL: until closed). True:
 * so it came. */
static bool
receive(int fd, char *text, const char *until)
{
    size_t at = 0;

    text[0] = '\0';
    for (int i = 0; i < PASSES_MAX; i++) {
        ssize_t n = read(fd, text + at, TEXT_BYTES_MAX - 1 - at);

        if (n > 0) {
            at += (size_t)n;
            text[at] = '\0';
        }
        if (until != NULL && strstr(text, until) != NULL)
            return true;
        if (n == 0 || (n < 0 && errno != EAGAIN))
            return until == NULL;
        if (n < 0)
            loop_pass(loop, 1000000);
    }
    return false;
}

/* One request on a connection of its own; the whole answer, read to the end. */
static const char *
ask(uint32_t node, uint32_t source, const char *method, const char *path, const char *headers,
    const char *body)
{
    static char text[TEXT_BYTES_MAX];
    char all[512];
    int fd = dial(node, source);

    (void)snprintf(all, sizeof(all), "connection: close\r\n%s", headers);
    send_request(fd, method, path, all, body);
    CHECK(receive(fd, text, NULL), path);
    close(fd);
    return text;
}

static const char *
get(uint32_t node, const char *path)
{
    return ask(node, STRANGER, "GET", path, "", "");
}

static char *
chat_body(const char *model, bool stream, unsigned max_tokens)
{
    static char body[512];

    (void)snprintf(body, sizeof(body),
                   "{\"model\":\"%s\",\"stream\":%s,\"max_tokens\":%u,\"ignore_eos\":true,"
                   "\"stream_options\":{\"include_usage\":true},"
                   "\"messages\":[{\"role\":\"user\",\"content\":\"what is the time\"}]}",
                   model, stream ? "true" : "false", max_tokens);
    return body;
}

static const char *
chat(uint32_t node, const char *headers, bool stream, unsigned max_tokens)
{
    return ask(node, STRANGER, "POST", "/v1/chat/completions", headers,
               chat_body(model_of(node), stream, max_tokens));
}

static bool
has(const char *text, const char *part)
{
    bool found = strstr(text, part) != NULL;

    if (!found)
        printf("# no `%s` in: %.600s\n", part, text);
    return found;
}

static size_t
count(const char *text, const char *part)
{
    size_t n = 0;

    while ((text = strstr(text, part)) != NULL) {
        n++;
        text += strlen(part);
    }
    return n;
}

static void
set_fault(uint32_t node, const char *fault)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/emulate/nodes/%u/fault", node);
    CHECK(has(ask(0, STRANGER, "POST", path, "", fault), "200 OK"), fault);
}

/* The line of the log with this request id, parsed; *ret_at is its place. Owned by the caller. */
static cJSON *
log_line(const char *id, long *ret_at)
{
    char line[4096], needle[128];
    FILE *file = fopen(log_path, "r");
    cJSON *found = NULL;
    long at = 0;

    (void)snprintf(needle, sizeof(needle), "\"id\":\"%s\"", id);
    while (file != NULL && found == NULL && fgets(line, sizeof(line), file) != NULL) {
        at++;
        if (strstr(line, needle) != NULL)
            found = cJSON_Parse(line);
    }
    if (file != NULL)
        fclose(file);
    if (ret_at != NULL)
        *ret_at = at;
    CHECK(found != NULL, id);
    return found;
}

static double
field(const cJSON *line, const char *name)
{
    const cJSON *truth = cJSON_GetObjectItem(line, "truth");
    const cJSON *item = cJSON_GetObjectItem(line, name);

    if (item == NULL)
        item = cJSON_GetObjectItem(truth, name);
    return cJSON_IsNumber(item)  ? item->valuedouble
           : cJSON_IsTrue(item)  ? 1
           : cJSON_IsFalse(item) ? 0
                                 : (double)NAN;
}

static bool
ended(const cJSON *line, const char *how)
{
    const cJSON *end = cJSON_GetObjectItem(line, "end");

    return cJSON_IsString(end) && strcmp(end->valuestring, how) == 0;
}

/* ---- Cases. */

static void
test_vllm(void)
{
    uint32_t node = find_node(EMULATE_FLEET_VLLM, ENGINE_MODEL_READY);
    const char *t = get(node, "/metrics");

    CHECK(has(t, "\nvllm:num_requests_running{engine=\"0\",model_name=\""), "running");
    CHECK(has(t, "\nvllm:num_requests_waiting{"), "waiting");
    CHECK(has(t, "\nvllm:kv_cache_usage_perc{"), "KV use");
    CHECK(has(t, "\nvllm:cache_config_info{block_size=\"16\","), "block size");
    CHECK(strstr(t, "speed") == NULL, "the hidden speed stays hidden");
    CHECK(has(get(node, "/version"), "{\"version\":"), "version");
    CHECK(has(get(node, "/health"), "200 OK"), "health");
    CHECK(has(get(node, "/v1/models"), model_of(node)), "models");
    CHECK(has(get(node, "/props"), "404"), "no llama-server");
    t = chat(node, "endpoint-load-metrics-format: JSON\r\n", true, 3);
    CHECK(has(t, "content-type: text/event-stream"), "a stream");
    CHECK(has(t, "endpoint-load-metrics: JSON {\"named_metrics\":{\"kv_cache_usage_perc\":"),
          "ORCA");
    CHECK(count(t, "\"delta\":{\"content\":") == 3, "a chunk a token");
    CHECK(has(t, "\"finish_reason\":\"length\""), "a reason");
    CHECK(has(t, "\"completion_tokens\":3"), "usage");
    CHECK(has(t, "\"cached_tokens\":0"), "cached tokens");
    CHECK(has(t, "data: [DONE]\n\n"), "done");
    t = chat(node, "endpoint-load-metrics-format: TEXT\r\n", false, 2);
    CHECK(has(t, "\"object\":\"chat.completion\""), "a document");
    CHECK(has(t, "endpoint-load-metrics: TEXT named_metrics."), "ORCA as text");
    CHECK(has(t, "\"total_tokens\":"), "usage");
    CHECK(strstr(t, "timings") == NULL, "vLLM has no timings");
    t = ask(node, STRANGER, "POST", "/v1/completions", "",
            "{\"prompt\":\"once upon\",\"max_tokens\":2}");
    CHECK(has(t, "\"object\":\"text_completion\""), "completions");
    t = ask(node, STRANGER, "POST", "/v1/chat/completions", "", chat_body("nobody", true, 1));
    CHECK(has(t, "404 Not Found"), "wrong model");
    CHECK(has(t, "The model `nobody` does not exist."), "said so");
    t = ask(node, STRANGER, "POST", "/v1/chat/completions", "", "{\"messages\":");
    CHECK(has(t, "400 Bad Request"), "malformed");
}

static void
test_llama(void)
{
    uint32_t node = find_node(EMULATE_FLEET_LLAMA, ENGINE_MODEL_READY);
    char text[TEXT_BYTES_MAX];
    int fd;
    const char *t = get(node, "/props");

    CHECK(has(t, "\"default_generation_settings\""), "props");
    CHECK(has(t, "\"total_slots\":16"), "slots");
    CHECK(count(get(node, "/slots"), "\"is_processing\":false") == 16, "all are free");
    CHECK(has(get(node, "/metrics"), "\nllamacpp:requests_processing 0\n"), "metrics");
    CHECK(has(get(node, "/version"), "404"), "no vLLM");
    t = ask(node, STRANGER, "POST", "/v1/chat/completions", "", "{\"messages\":");
    CHECK(has(t, "500 Internal Server Error"), "malformed JSON is its own fault");
    fd = dial(node, STRANGER); /* no `connection: close` from us */
    send_request(fd, "POST", "/v1/chat/completions", "", chat_body("any name", true, 2));
    CHECK(receive(fd, text, NULL), "it closes after a stream");
    close(fd);
    CHECK(strstr(text, "connection: close") == NULL, "though it did not say so");
    CHECK(has(text, "data: [DONE]\n\n"), "the model's name does not matter");
    CHECK(has(text, "\"delta\":{\"role\":\"assistant\",\"content\":null}"), "role first");
    CHECK(has(text, "\"delta\":{},\"finish_reason\":\"length\""), "the reason apart");
    CHECK(has(text, "\"timings\":{\"cache_n\":0,\"prompt_n\":"), "timings");
}

static void
test_router(void)
{
    uint32_t node = 0;
    const char *t, *other;
    int fd;

    for (uint32_t i = 0; i < world->fleet.node_count; i++)
        if (world->fleet.nodes[i].kind == EMULATE_FLEET_LLAMA_ROUTER)
            node = i;
    t = get(node, "/models");
    CHECK(count(t, "\"status\":{\"value\":\"loaded\",") == 1, "one model is loaded");
    CHECK(has(t, "\"status\":{\"value\":\"unloaded\","), "another is on disk");
    CHECK(has(get(node, "/metrics"), "400"), "no metrics of its own");
    CHECK(has(get(node, "/slots?model=qwen3-32b"), "is_processing"), "a model's slots");
    t = ask(node, STRANGER, "POST", "/v1/chat/completions", "", chat_body("nobody", true, 1));
    CHECK(has(t, "model 'nobody' not found"), "wrong model");
    for (uint32_t i = 0; i < world->fleet.nodes[node].held_count; i++) {
        const struct emulate_fleet_held *h = &world->fleet.nodes[node].held[i];

        if (h->state != ENGINE_MODEL_ON_DISK)
            continue;
        other = emulate_fleet_model_id(&world->fleet.nodes[node], h->model);
        fd = dial(node, STRANGER);
        send_request(fd, "POST", "/v1/chat/completions", "", chat_body(other, true, 1));
        CHECK(has(get(node, "/models"), "\"status\":{\"value\":\"loading\","),
              "a request makes it load");
        close(fd);
        return;
    }
    CHECK(false, "a router has a model on disk");
}

static void
test_loading_refuses(void)
{
    uint32_t node = find_node(EMULATE_FLEET_VLLM, ENGINE_MODEL_LOADING);

    CHECK(get(node, "/health")[0] == '\0', "closed without a byte while it loads");
}

/* The ready vLLM nodes nearest to the gateway and farthest from it, and their round trips. */
struct ends {
    uint32_t near, far;
    float near_ms, far_ms;
};

static struct ends
find_ends(void)
{
    struct span home = span_of(world->options.gateways[0].region);
    struct ends ends = {.near_ms = INFINITY};

    for (uint32_t i = 0; i < world->fleet.node_count; i++) {
        const struct emulate_fleet_node *p = &world->fleet.nodes[i];
        float ms = rtt_ms(&world->fleet.rtt, home, world->fleet.rtt.names[p->region]);

        if (p->kind != EMULATE_FLEET_VLLM || p->held[0].state != ENGINE_MODEL_READY)
            continue;
        if (ms < ends.near_ms) {
            ends.near_ms = ms;
            ends.near = i;
        }
        if (ms > ends.far_ms) {
            ends.far_ms = ms;
            ends.far = i;
        }
    }
    return ends;
}

static void
test_distance(void)
{
    struct ends ends = find_ends();
    long near_at, far_at;
    int fds[2];
    char text[TEXT_BYTES_MAX];
    cJSON *n, *f;

    fds[0] = dial(ends.far, GATEWAY);
    fds[1] = dial(ends.near, GATEWAY);
    send_request(fds[0], "POST", "/v1/chat/completions",
                 "connection: close\r\nx-request-id: far\r\n",
                 chat_body(model_of(ends.far), false, 1));
    send_request(fds[1], "POST", "/v1/chat/completions",
                 "connection: close\r\nx-request-id: near\r\n",
                 chat_body(model_of(ends.near), false, 1));
    CHECK(receive(fds[0], text, NULL) && receive(fds[1], text, NULL), "both answer");
    close(fds[0]);
    close(fds[1]);
    n = log_line("near", &near_at);
    f = log_line("far", &far_at);
    CHECK(near_at < far_at, "the near one first, though asked last");
    CHECK(fabs(field(n, "rtt_ms") - (double)ends.near_ms) < 1e-3, "near");
    CHECK(fabs(field(f, "rtt_ms") - (double)ends.far_ms) < 1e-3, "far");
    /* Both were read in one pass; each reached its node one and a half round trips later. */
    CHECK(field(f, "at_ms") - field(n, "at_ms") > 0, "and later at its engine");
    cJSON_Delete(n);
    cJSON_Delete(f);
}

/* A small and a large body, one after the other, each on a connection of its own. */
static void
test_slow_start(void)
{
    uint32_t node = find_ends().far;
    char body[TEXT_BYTES_MAX - 512] = "{\"max_tokens\":1,\"prompt\":\"", text[TEXT_BYTES_MAX];
    size_t at = strlen(body);
    long small_at, large_at;
    cJSON *small, *large;
    int fds[2];

    memset(body + at, 'y', 50000 - at - 2);
    (void)snprintf(body + 50000 - 2, 3, "\"}");
    fds[0] = dial(node, GATEWAY);
    send_request(fds[0], "POST", "/v1/chat/completions",
                 "connection: close\r\nx-request-id: small\r\n",
                 chat_body(model_of(node), false, 1));
    CHECK(receive(fds[0], text, NULL), "the small one is answered");
    fds[1] = dial(node, GATEWAY);
    send_request(fds[1], "POST", "/v1/completions", "connection: close\r\nx-request-id: large\r\n",
                 body);
    CHECK(receive(fds[1], text, NULL), "the large one is answered");
    close(fds[0]);
    close(fds[1]);
    small = log_line("small", &small_at);
    large = log_line("large", &large_at);
    CHECK(field(large, "body_bytes") == 50000, "what was sent is in the log");
    /* Half a round trip for the small one's answer, one for the new connection, half a one for the
     * way: without slow start it would be two, and what the engine took for one token. */
    CHECK(field(large, "at_ms") - field(small, "first_ms") - field(small, "at_ms") >=
              4 * field(large, "rtt_ms"),
          "two windows are waited for");
    cJSON_Delete(small);
    cJSON_Delete(large);
}

static void
test_kept_connection(void)
{
    uint32_t node = find_node(EMULATE_FLEET_VLLM, ENGINE_MODEL_READY);
    int fd = dial(node, GATEWAY);
    char text[TEXT_BYTES_MAX];
    cJSON *first, *second;

    send_request(fd, "POST", "/v1/chat/completions", "x-request-id: kept1\r\n",
                 chat_body(model_of(node), true, 1));
    CHECK(receive(fd, text, "[DONE]\n\n\r\n0\r\n\r\n"), "first");
    send_request(fd, "POST", "/v1/chat/completions", "x-request-id: kept2\r\n",
                 chat_body(model_of(node), true, 1));
    CHECK(receive(fd, text, "[DONE]\n\n\r\n0\r\n\r\n"), "second on the same connection");
    close(fd);
    for (int i = 0; i < 20; i++)
        loop_pass(loop, 1000000);
    first = log_line("kept1", NULL);
    second = log_line("kept2", NULL);
    CHECK(field(first, "fresh_connection") == 1, "a new connection costs a round trip");
    CHECK(field(second, "fresh_connection") == 0, "a kept one does not");
    CHECK(field(second, "tokens") == 1 && ended(second, "done"), "what came of it");
    CHECK(field(second, "first_ms") > 0, "first token after the arrival");
    CHECK(field(second, "kv_tokens_cap") > 0 && field(second, "running") == 0, "the truth");
    CHECK(fabs(field(second, "speed") - world->fleet.nodes[node].hidden_speed) < 1e-9,
          "the hidden speed is in the log alone");
    cJSON_Delete(first);
    cJSON_Delete(second);
}

static void
test_prefix_hits(void)
{
    uint32_t node = find_node(EMULATE_FLEET_VLLM, ENGINE_MODEL_READY);
    char body[4096] = "{\"max_tokens\":1,\"prompt\":\"";
    size_t at = strlen(body);
    const char *t;

    memset(body + at, 'x', 2000);
    (void)snprintf(body + at + 2000, sizeof(body) - at - 2000, "\"}");
    t = ask(node, STRANGER, "POST", "/v1/completions", "", body);
    CHECK(has(t, "\"prompt_tokens\":477,"), "4.2 bytes a token");
    CHECK(has(t, "\"cached_tokens\":0"), "cold");
    t = ask(node, STRANGER, "POST", "/v1/completions", "", body);
    CHECK(has(t, "\"cached_tokens\":464"), "the same prompt again: whole blocks");
}

static void
test_cancel(void)
{
    uint32_t node = find_node(EMULATE_FLEET_VLLM, ENGINE_MODEL_READY);
    int fd = dial(node, STRANGER);
    char text[TEXT_BYTES_MAX];
    struct engine_truth truth = {.running = 1};
    cJSON *line;

    send_request(fd, "POST", "/v1/chat/completions", "x-request-id: left\r\n",
                 chat_body(model_of(node), true, 100000));
    CHECK(receive(fd, text, "\"delta\":{\"content\":"), "it streams");
    close(fd);
    for (int i = 0; i < PASSES_MAX && truth.running > 0; i++) {
        loop_pass(loop, 1000000);
        engine_truth(world->nodes[node].engine, 0, 0, &truth);
    }
    CHECK(truth.running == 0, "the engine is told that the client left");
    line = log_line("left", NULL);
    CHECK(ended(line, "cancelled"), "and the log says so");
    cJSON_Delete(line);
}

static void
test_faults(void)
{
    uint32_t node = find_node(EMULATE_FLEET_VLLM, ENGINE_MODEL_READY);
    char text[TEXT_BYTES_MAX], before[TEXT_BYTES_MAX];
    const char *t;
    cJSON *line;
    int fd;

    set_fault(node, "{\"fault\":\"cut\",\"chunks\":2}");
    t = chat(node, "", true, 10);
    CHECK(count(t, "\"delta\":{\"content\":") == 2, "cut after two chunks");
    CHECK(strstr(t, "[DONE]") == NULL && strstr(t, "\r\n0\r\n") == NULL, "in the middle");
    set_fault(node, "{\"fault\":\"500\"}");
    CHECK(has(chat(node, "", true, 1), "500 Internal"), "500");
    CHECK(has(get(node, "/metrics"), "200 OK"), "of inference alone");
    set_fault(node, "{\"fault\":\"garbage\"}");
    t = chat(node, "", false, 1);
    CHECK(has(t, "200 OK") && has(t, "<html>"), "garbage");
    set_fault(node, "{\"fault\":\"refuse\"}");
    CHECK(get(node, "/metrics")[0] == '\0', "refused");
    set_fault(node, "{\"fault\":\"slow\",\"factor\":4}");
    t = chat(node, "x-request-id: slow\r\n", true, 2);
    CHECK(has(t, "[DONE]"), "slow");
    line = log_line("slow", NULL);
    CHECK(fabs(field(line, "speed") - world->fleet.nodes[node].hidden_speed / 4) < 1e-9,
          "a quarter of its speed");
    cJSON_Delete(line);
    set_fault(node, "{\"fault\":\"stale\"}");
    (void)snprintf(before, sizeof(before), "%s", strstr(get(node, "/metrics"), "vllm:prompt"));
    CHECK(has(chat(node, "", true, 2), "[DONE]"), "it works on");
    t = strstr(get(node, "/metrics"), "vllm:prompt");
    CHECK(strncmp(before, t, strcspn(t, "#")) == 0, "and its metrics stand still");
    set_fault(node, "{\"fault\":\"mute\"}");
    CHECK(has(get(node, "/metrics"), "404"), "it does not say how busy it is");
    t = chat(node, "endpoint-load-metrics-format: JSON\r\n", true, 2);
    CHECK(has(t, "[DONE]") && count(t, "endpoint-load-metrics") == 0, "nor on its answers");
    set_fault(node, "{\"fault\":\"hang\"}");
    fd = dial(node, STRANGER);
    send_request(fd, "GET", "/health", "", "");
    for (int i = 0; i < 50; i++)
        loop_pass(loop, 1000000);
    CHECK(read(fd, text, sizeof(text)) < 0 && errno == EAGAIN, "it hangs");
    close(fd);
    set_fault(node, "{\"fault\":\"none\"}");
    CHECK(has(chat(node, "", true, 1), "[DONE]"), "well again");
    t = ask(0, STRANGER, "POST", "/emulate/nodes/0/fault", "", "{\"fault\":\"slow\"}");
    CHECK(has(t, "400") && has(t, "`factor`"), "a bad knob is told");
    CHECK(has(ask(0, STRANGER, "POST", "/emulate/nodes/60/fault", "", "{}"), "404"),
          "no such node");
    CHECK(has(get(0, "/emulate/late"), "emulate_late_p99_ms"), "late");
    CHECK(count(get(0, "/emulate/nodes"), "\"hidden_speed\":") == 60, "the truth of all nodes");
    CHECK(has(get(4000, "/health"), "404"), "an address without a node");
}

static void
test_fleet(void)
{
    struct emulate_options o;
    struct emulate_fleet a, b, c;
    uint32_t differ = 0, ready[EMULATE_FLEET_MODELS] = {0}, regions = 0;
    bool seen[RTT_REGIONS_MAX] = {false}, in_range = true, same = true;

    emulate_options_init(&o);
    o.seed = 7;
    CHECK(emulate_fleet_init(&a, &o) == ERR_OK && emulate_fleet_init(&b, &o) == ERR_OK, "fleet");
    o.seed = 8;
    CHECK(emulate_fleet_init(&c, &o) == ERR_OK, "another");
    for (uint32_t i = 0; i < a.node_count; i++) {
        const struct emulate_fleet_node *n = &a.nodes[i];

        same = same && strcmp(n->name, b.nodes[i].name) == 0 &&
               n->hidden_speed == b.nodes[i].hidden_speed && n->seed == b.nodes[i].seed;
        differ += strcmp(n->name, c.nodes[i].name) != 0;
        in_range = in_range && n->hidden_speed >= 0.7 && n->hidden_speed < 1.3;
        regions += !seen[n->region];
        seen[n->region] = true;
        for (uint32_t k = 0; k < n->held_count; k++)
            ready[n->held[k].model] += n->held[k].state == ENGINE_MODEL_READY;
    }
    CHECK(a.node_count == 60 && regions == 12, "60 nodes in 12 regions");
    CHECK(same, "the same seed makes the same fleet");
    CHECK(differ > 30, "another seed another");
    CHECK(in_range, "hidden speeds from 0.7 to 1.3");
    CHECK(ready[0] > ready[1] && ready[2] >= 2, "models are unevenly ready, none is missing");
    emulate_fleet_fini(&a);
    emulate_fleet_fini(&b);
    emulate_fleet_fini(&c);
    o.regions = 37;
    CHECK(emulate_fleet_init(&a, &o) == ERR_ARG, "more regions than there are");
    emulate_fleet_fini(&a);
}

/* Many models on routers that have memory for two. */
static void
test_many_models(void)
{
    struct emulate_options o;
    struct emulate_fleet f;
    uint32_t on_disk[EMULATE_FLEET_MODELS_MAX] = {0}, ready[EMULATE_FLEET_MODELS_MAX] = {0};
    bool good = true;

    emulate_options_init(&o);
    o.nodes = 10;
    o.regions = 2;
    o.models = 40;
    o.models_max = 4;
    CHECK(emulate_engines_parse("llama-router", &o) == ERR_OK, "routers");
    CHECK(emulate_fleet_init(&f, &o) == ERR_OK, "a fleet of them");
    for (uint32_t i = 0; i < f.node_count; i++) {
        const struct emulate_fleet_node *n = &f.nodes[i];
        struct engine *engine;

        good = good && n->held_count == EMULATE_FLEET_MODELS_DISK &&
               n->held[3].state == ENGINE_MODEL_READY && n->held[4].state == ENGINE_MODEL_ON_DISK;
        for (uint32_t k = 0; k < n->held_count; k++) {
            on_disk[n->held[k].model]++;
            ready[n->held[k].model] += n->held[k].state == ENGINE_MODEL_READY;
        }
        CHECK(emulate_fleet_engine(n, &engine) == ERR_OK, "an engine with all of them");
        engine_close(engine);
    }
    CHECK(good, "each has a disk full, and four of them in memory");
    for (uint32_t m = 0; m < o.models; m++)
        CHECK(on_disk[m] == 6 && ready[m] == 1, "each model is on as many disks, and ready once");
    CHECK(strcmp(emulate_fleet_models[63].name, "own-63") == 0, "they have names");
    emulate_fleet_fini(&f);
    o.models = EMULATE_FLEET_MODELS_MAX + 1;
    CHECK(emulate_fleet_init(&f, &o) == ERR_ARG, "more than there are");
    emulate_fleet_fini(&f);
}

/* What is written is what the gateway reads. */
static void
test_configs(void)
{
    struct config_problems problems = {0};
    struct emulate_options o = world->options;
    struct config config;
    struct arena arena;
    char path[128], text[TEXT_BYTES_MAX];
    size_t bytes;
    FILE *file;

    o.port = 9000;
    o.constants_scale = 1.3;
    CHECK(emulate_write_configs(&o, dir) == ERR_OK, "written");
    (void)snprintf(path, sizeof(path), "%s/gateway-us-east.yaml", dir);
    file = fopen(path, "r");
    CHECK(file != NULL, path);
    bytes = file != NULL ? fread(text, 1, sizeof(text), file) : 0;
    if (file != NULL)
        fclose(file);
    (void)unlink(path);
    arena_init(&arena, 16u << 20);
    CHECK(config_parse((struct span){text, bytes}, NULL, NULL, &arena, &config, &problems) ==
              ERR_OK,
          problems.list[0].text);
    CHECK(problems.count == 0, "without a warning");
    CHECK(config.engine_count == 60 && config.model_count == EMULATE_FLEET_MODELS, "all of it");
    CHECK(span_eq_text(config.upstream_bind, "127.0.0.11"), "the address it calls from");
    CHECK(config.constants_scale == 1.3, "priors that are off");
    CHECK(span_eq_text(config.engines[59].host, "127.1.0.60"), "the last node");
    arena_fini(&arena);
}

/* ---- Orders about models, in a world of every kind. */

static const char *
post(uint32_t node, const char *path, const char *body)
{
    return ask(node, STRANGER, "POST", path, "", body);
}

static void
order_router(uint32_t node)
{
    char text[TEXT_BYTES_MAX];
    int fd = dial(node, STRANGER);

    set_fault(node, "{\"fault\":\"slow\",\"factor\":1000}");
    send_request(fd, "POST", "/v1/chat/completions", "", chat_body(model_of(node), true, 100));
    while (count(get(node, "/slots?model=llama-3.1-8b-instruct"), "\"is_processing\":true") == 0)
        ;
    CHECK(has(post(node, "/models/load", "{\"model\":\"qwen3-32b\"}"), "model limit reached"),
          "no room while the one is busy");
    CHECK(has(post(node, "/models/unload", "{\"model\":\"qwen3-32b\"}"), "model is not running"),
          "what is not loaded is not unloaded");
    CHECK(has(post(node, "/models/unload", "{\"model\":\"llama-3.1-8b-instruct\"}"), "true"),
          "unload the busy one");
    CHECK(receive(fd, text, NULL) && count(text, "data:") == 0, "its client is cut off");
    close(fd);
    CHECK(has(post(node, "/models/load", "{\"model\":7}"), "404"), "no such model");
    CHECK(has(post(node, "/models/load", "{\"model\":\"qwen3-32b\"}"), "\"success\":true"), "load");
    CHECK(has(post(node, "/models/load", "{\"model\":\"qwen3-32b\"}"), "already running"), "twice");
    CHECK(has(get(node, "/models"), "\"value\":\"loading\""), "it is under way");
    CHECK(has(post(node, "/models/unload", "{\"model\":\"qwen3-32b\"}"), "true"), "and given up");
    CHECK(count(get(node, "/models"), "\"value\":\"loading\"") == 0, "at once");
}

static void
order_ollama(uint32_t node)
{
    char text[TEXT_BYTES_MAX];
    int fd = dial(node, STRANGER);

    CHECK(count(get(node, "/api/tags"), "\"size\"") == 3 &&
              count(get(node, "/api/ps"), "\"size\"") == 1,
          "three on disk, one in memory");
    CHECK(has(post(node, "/api/generate", "{\"model\":\"x\"}"), "model 'x' not found"), "a third");
    CHECK(has(post(node, "/api/generate", "{\"model\":\"llama3.1:8b\",\"keep_alive\":-1}"),
              "\"done_reason\":\"load\""),
          "what is in memory is loaded at once");
    set_fault(node, "{\"fault\":\"slow\",\"factor\":1000}");
    send_request(fd, "POST", "/api/generate", "", "{\"model\":\"qwen3:32b\"}");
    while (count(get(node, "/api/ps"), "\"size\"") > 0) /* the other gives way */
        ;
    CHECK(has(post(node, "/api/generate", "{\"model\":\"qwen3:32b\",\"keep_alive\":0}"), "unload"),
          "a load is given up");
    CHECK(receive(fd, text, "given up"), "and who waited is told");
    close(fd);
    set_fault(node, "{\"fault\":\"slow\",\"factor\":0.01}");
    CHECK(has(post(node, "/api/generate", "{\"model\":\"qwen3:32b\"}"), "\"done\":true") &&
              has(get(node, "/api/ps"), "qwen3:32b"),
          "load answers when it is done");
}

/* vLLM and SGLang: the routes differ, the states do not. */
static void
order_one(uint32_t node, const char *sleep, const char *wake, const char *adapter)
{
    char text[TEXT_BYTES_MAX];
    int fd;

    set_fault(node, "{\"fault\":\"slow\",\"factor\":0.01}");
    CHECK(has(post(node, sleep, "{}"), "200 OK"), sleep);
    fd = dial(node, STRANGER);
    send_request(fd, "POST", "/v1/chat/completions", "", chat_body(model_of(node), false, 1));
    CHECK(has(post(node, wake, "{}"), "200 OK"), wake);
    CHECK(has(chat(node, "", false, 1), "choices"), "awake it answers");
    CHECK(read(fd, text, 1) < 0 && errno == EAGAIN, "who asked before waits in vain");
    close(fd);
    for (uint32_t i = 0; i <= EMULATE_ADAPTERS_MAX; i++) {
        (void)snprintf(text, sizeof(text), "{\"lora_name\":\"a%u\",\"lora_path\":\"/a\"}", i);
        CHECK(has(post(node, adapter, text), i < EMULATE_ADAPTERS_MAX ? "200 OK" : "no room"),
              text);
    }
    CHECK(has(post(node, adapter, "{\"lora_name\":\"a1\",\"lora_path\":\"/a\"}"), "loaded"),
          "twice");
    CHECK(has(post(node, adapter, "{}"), "must be provided"), "no name");
    CHECK(count(get(node, "/v1/models"), "\"parent\":\"") == EMULATE_ADAPTERS_MAX, "listed");
}

static void
test_orders(struct emulate_options *o)
{
    o->log_file = NULL;
    CHECK(emulate_engines_parse("vllm,nothing", o) == ERR_PARSE &&
              emulate_engines_parse("", o) == ERR_PARSE,
          "kinds that are none");
    CHECK(emulate_engines_parse("vllm,sglang,llama-router,ollama", o) == ERR_OK, "kinds");
    o->models_max = 1;
    o->dev_mode = true;
    world = NULL;
    CHECK(emulate_open(loop, o, &world) == ERR_OK, "a world of them");
    if (world == NULL)
        return;
    order_one(0, "/sleep?level=1", "/wake_up", "/v1/load_lora_adapter");
    order_one(1, "/release_memory_occupation", "/resume_memory_occupation", "/load_lora_adapter");
    order_router(2);
    order_ollama(3);
    emulate_close(world);
}

int
main(void)
{
    struct emulate_options o;

    if (mkdtemp(dir) == NULL)
        return tap_skip("no temporary directory");
    (void)snprintf(log_path, sizeof(log_path), "%s/log", dir);
    emulate_options_init(&o);
    o.seed = 7;
    o.port = 0;
    o.background = 0;
    o.log_file = log_path;
    o.gateway_count = 1;
    o.gateways[0] = (struct emulate_gateway){.region = "us-east",
                                             .source = GATEWAY,
                                             .public_listen = "127.0.0.1:4141",
                                             .admin_listen = "127.0.0.1:4142"};
    CHECK(loop_open(&loop) == ERR_OK, "loop");
    CHECK(emulate_open(loop, &o, &world) == ERR_OK, "open");
    if (world == NULL)
        return tap_done();
    test_loading_refuses();
    test_fleet();
    test_many_models();
    test_configs();
    test_vllm();
    test_llama();
    test_router();
    test_distance();
    test_slow_start();
    test_kept_connection();
    test_prefix_hits();
    test_cancel();
    test_faults();
    CHECK(emulate_late_p99_ms(world) > 0, "lateness was counted");
    emulate_close(world);
    test_orders(&o);
    loop_close(loop);
    (void)unlink(log_path);
    (void)rmdir(dir);
    return tap_done();
}
