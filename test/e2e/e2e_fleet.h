#ifndef TEST_E2E_E2E_FLEET_H
#define TEST_E2E_E2E_FLEET_H
/* e2e_fleet - emulated engines (role/emulate) behind a gateway under test: real routes, modelled
 * speed, and faults that a test switches on and off. One fleet of vLLMs at a time, on a thread of
 * its own; a test takes nodes that have the 8B model ready, which its gateway calls `m`. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "e2e.h"

struct e2e_fleet;

/* background: load from elsewhere, as a share of the capacity. */
struct e2e_fleet *e2e_fleet_start(double background);
/* llama.cpp's routers instead, which load and unload models. */
struct e2e_fleet *e2e_fleet_start_routers(void);
/* vLLMs that nobody asks anything, and that can be put to sleep. */
struct e2e_fleet *e2e_fleet_start_sleepers(void);
void e2e_fleet_stop(struct e2e_fleet *f);
void e2e_fleet_url(const struct e2e_fleet *f, uint32_t node, char *text, size_t size);

/* The next node from `from` on that has the model and this GPU; NULL: any. There is one. */
uint32_t e2e_fleet_find(const struct e2e_fleet *f, const char *gpu, uint32_t from);
/* Start a gateway before these nodes, which it calls n0, n1 ...; it waits until they are ready.
 * more: lines of its configuration; slots: of each node, 0: not said. */
void e2e_fleet_gateway(const struct e2e_fleet *f, const uint32_t *nodes, uint32_t count,
                       const struct gateway_options *options, const char *more, unsigned slots,
                       struct e2e_gateway *ret_gateway);

/* {"fault":"slow","factor":20} and the like, see role/emulate/emulate_admin.c. */
void e2e_fleet_fault(const struct e2e_fleet *f, uint32_t node, const char *fault);
/* Wait until so many requests are at the node, running or waiting; false after a long time. */
bool e2e_fleet_has(const struct e2e_fleet *f, uint32_t node, unsigned requests);
/* Ask the engine itself, as somebody does who is none of the gateway's clients. */
int e2e_fleet_open(const struct e2e_fleet *f, uint32_t node, const char *body);
/* A chat of prompt_bytes that gets so many tokens. Equal `word`, equal prompts. Owned by the
 * caller. */
char *e2e_fleet_chat(const char *word, size_t prompt_bytes, unsigned tokens, bool stream);
#endif
