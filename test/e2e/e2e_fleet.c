/* e2e_fleet - emulated engines behind a gateway under test; see e2e_fleet.h. */
#include "e2e_fleet.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e_page.h"
#include "patience.h"
#include "role/emulate/emulate.h"
#include "role/emulate/emulate_fleet.h"

#define NODES        60u
#define MODEL        0u /* of emulate_fleet_models: the 8B */
#define YAML_BYTES   8192u
#define FRAME_BYTES  512u /* of a body, around its prompt */
#define NODE_ADDRESS "127.%u.%u.%u"
#define ADDRESS_OF(n)                                                                              \
    (n)->address >> 16 & 255, (n)->address >> 8 & 255, (n)->address & 255 /* emulate.h: base */

struct e2e_fleet {
    struct emulate_options options;
    struct emulate_fleet plan; /* the same nodes: made from the same seed */
    struct loop *loop;
    pthread_t thread;
    sem_t listening;
    uint16_t port;
};

static void *
run(void *argument)
{
    struct e2e_fleet *f = argument;
    struct emulate *e;

    must(emulate_open(f->loop, &f->options, &e) == ERR_OK);
    f->port = emulate_port(e);
    must(sem_post(&f->listening) == 0);
    loop_run(f->loop);
    emulate_close(e);
    return NULL;
}

static struct e2e_fleet *
start(const struct emulate_options *options)
{
    struct e2e_fleet *f = calloc(1, sizeof(*f));

    must(f != NULL);
    f->options = *options;
    f->options.seed = 7;
    f->options.nodes = NODES;
    f->options.regions = 1;
    f->options.port = 0;
    must(emulate_fleet_init(&f->plan, &f->options) == ERR_OK);
    must(loop_open(&f->loop) == ERR_OK);
    must(sem_init(&f->listening, 0, 0) == 0);
    must(pthread_create(&f->thread, NULL, run, f) == 0);
    while (sem_wait(&f->listening) != 0)
        ;
    return f;
}

struct e2e_fleet *
e2e_fleet_start(double background)
{
    struct emulate_options options;

    emulate_options_init(&options);
    options.background = background;
    options.only_vllm = true;
    return start(&options);
}

struct e2e_fleet *
e2e_fleet_start_routers(void)
{
    struct emulate_options options;

    emulate_options_init(&options);
    options.background = 0;
    options.engines[0] = EMULATE_FLEET_LLAMA_ROUTER;
    options.engine_count = 1;
    return start(&options);
}

struct e2e_fleet *
e2e_fleet_start_sleepers(void)
{
    struct emulate_options options;

    emulate_options_init(&options);
    options.background = 0;
    options.only_vllm = options.dev_mode = true;
    return start(&options);
}

void
e2e_fleet_url(const struct e2e_fleet *f, uint32_t node, char *text, size_t size)
{
    snprintf(text, size, "http://" NODE_ADDRESS ":%u", ADDRESS_OF(&f->plan.nodes[node]), f->port);
}

void
e2e_fleet_stop(struct e2e_fleet *f)
{
    loop_stop(f->loop);
    must(pthread_join(f->thread, NULL) == 0);
    loop_close(f->loop);
    sem_destroy(&f->listening);
    emulate_fleet_fini(&f->plan);
    free(f);
}

uint32_t
e2e_fleet_find(const struct e2e_fleet *f, const char *gpu, uint32_t from)
{
    for (uint32_t i = from; i < f->plan.node_count; i++) {
        const struct emulate_fleet_node *n = &f->plan.nodes[i];
        if (n->held[0].model == MODEL && n->held[0].state == ENGINE_MODEL_READY &&
            (gpu == NULL || strcmp(n->gpu, gpu) == 0))
            return i;
    }
    must(false);
}

void
e2e_fleet_gateway(const struct e2e_fleet *f, const uint32_t *nodes, uint32_t count,
                  const struct gateway_options *options, const char *more, unsigned slots,
                  struct e2e_gateway *ret_gateway)
{
    char yaml[YAML_BYTES], said[32] = "";
    size_t at;

    if (slots > 0)
        snprintf(said, sizeof(said), ", slots: %u", slots);
    at = (size_t)snprintf(yaml, sizeof(yaml), "%smodels: {m: {aliases: [\"%s\"]}}\nengines:\n",
                          more, emulate_fleet_models[MODEL].vllm_id);
    for (uint32_t i = 0; i < count && at < sizeof(yaml); i++) {
        const struct emulate_fleet_node *n = &f->plan.nodes[nodes[i]];
        at += (size_t)snprintf(yaml + at, sizeof(yaml) - at,
                               "  - {name: n%u, url: \"http://" NODE_ADDRESS ":%u\", kind: vllm, "
                               "gpu: %s%s}\n",
                               i, ADDRESS_OF(n), f->port, n->gpu, said);
    }
    must(at < sizeof(yaml));
    e2e_gateway_start(ret_gateway, options, "%s", yaml);
    must(e2e_wait_ready(ret_gateway, count));
}

void
e2e_fleet_fault(const struct e2e_fleet *f, uint32_t node, const char *fault)
{
    struct e2e_reply reply;
    char path[64];

    snprintf(path, sizeof(path), "/emulate/nodes/%u/fault", node);
    e2e_ask(f->port, "POST", path, "", fault, &reply);
    must(reply.status == 200);
    e2e_reply_fini(&reply);
}

bool
e2e_fleet_has(const struct e2e_fleet *f, uint32_t node, unsigned requests)
{
    uint64_t until_s = 0;
    char name[160];

    snprintf(name, sizeof(name), "\"name\":\"%s\"", f->plan.nodes[node].name);
    while (patience(&until_s)) {
        struct e2e_reply reply;
        const char *at;
        double there;

        e2e_ask(f->port, "GET", "/emulate/nodes", "", "", &reply);
        at = strstr(reply.body, name);
        must(at != NULL);
        there = e2e_number(at, "\"running\":") + e2e_number(at, "\"waiting\":");
        e2e_reply_fini(&reply);
        if (there == requests)
            return true;
        usleep(20000);
    }
    return false;
}

int
e2e_fleet_open(const struct e2e_fleet *f, uint32_t node, const char *body)
{
    char head[FRAME_BYTES];
    int fd = e2e_connect_to(f->plan.nodes[node].address, f->port);

    snprintf(head, sizeof(head),
             "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %zu\r\n\r\n",
             strlen(body));
    e2e_write(fd, head);
    e2e_write(fd, body);
    return fd;
}

char *
e2e_fleet_chat(const char *word, size_t prompt_bytes, unsigned tokens, bool stream)
{
    size_t size = prompt_bytes + FRAME_BYTES, at, end;
    char *body = malloc(size);

    must(body != NULL);
    /* vLLM's own name of the model: an engine that is asked past the gateway knows no other */
    at = (size_t)snprintf(body, size,
                          "{\"model\":\"%s\",\"stream\":%s,\"max_tokens\":%u,\"ignore_eos\":true,"
                          "\"stream_options\":{\"include_usage\":true},\"messages\":[{\"role\":"
                          "\"user\",\"content\":\"",
                          emulate_fleet_models[MODEL].vllm_id, stream ? "true" : "false", tokens);
    for (end = at + prompt_bytes; at < end;)
        at += (size_t)snprintf(body + at, end - at + 1, "%s ", word);
    snprintf(body + end, size - end, "\"}]}");
    return body;
}
