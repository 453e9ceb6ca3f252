/* fleet_test - names, indices and what is served, over discoveries and reloads. */
#include <stdio.h>
#include <string.h>

#include "base/must.h"
#include "io/log.h"
#include "role/gateway/fleet.h"
#include "role/roster_member.h"
#include "tap.h"

static struct fleet *
load(const char *yaml, const struct fleet *previous)
{
    struct roster *roster;
    struct fleet *fleet;

    must(roster_read(span_of(yaml), "test", 8, previous != NULL ? previous->roster : NULL,
                     &roster) == ERR_OK);
    must(fleet_open(roster, previous, &fleet) == ERR_OK);
    return fleet;
}

static void
serve(struct fleet *fleet, uint32_t node, const char *first, const char *second)
{
    struct adapter_models models = {0};

    snprintf(models.list[0].name, sizeof(models.list[0].name), "%s", first);
    models.list[0].state = MODEL_READY;
    models.count = 1;
    if (second != NULL) {
        snprintf(models.list[1].name, sizeof(models.list[1].name), "%s", second);
        models.list[1].state = MODEL_ON_DISK;
        models.count = 2;
    }
    fleet_serve(fleet, node, &models);
}

static bool
calls_it(const struct fleet *fleet, uint32_t node, const char *model, const char *engine_name)
{
    return span_eq_text(fleet_engine_name(fleet, node, fleet_model_find(fleet, span_of(model))),
                        engine_name);
}

#define ENGINE(name, port)                                                                         \
    "  - {name: " name ", url: \"http://127.0.0.1:" port "\", kind: openai}\n"

/* Where nobody says how many there may be, few that are left of many keep their indices. */
static void
test_few_of_many(void)
{
    struct roster *many, *few;
    char yaml[4096] = "engines:\n";
    size_t at = strlen(yaml);

    for (unsigned i = 0; i < 40; i++)
        at += (size_t)snprintf(yaml + at, sizeof(yaml) - at,
                               "  - {name: n%u, url: \"http://127.0.0.1:%u\"}\n", i, i + 1);
    must(roster_read(span_of(yaml), "test", 0, NULL, &many) == ERR_OK);
    must(roster_read(SPAN_LIT("engines:\n" ENGINE("n39", "40") ENGINE("new", "41")), "test", 0,
                     many, &few) == ERR_OK);
    CHECK(few->node_count == 2 && roster_node(few, 39) != NULL &&
              roster_find(few, SPAN_LIT("n39")) == roster_node(few, 39) &&
              roster_find(few, SPAN_LIT("new"))->index < 39,
          "the last one of many, and another one");
    roster_unref(few);
    roster_unref(many);
}

static void
test_names(void)
{
    struct fleet *f = load("models: {llama: {aliases: [\"llama:8b\", \"meta/Llama\"]}}\n"
                           "engines:\n" ENGINE("a", "1") ENGINE("b", "2"),
                           NULL);
    struct fleet *copy;

    CHECK(fleet_model_find(f, SPAN_LIT("llama")) == 0, "the configured model");
    CHECK(fleet_model_find(f, SPAN_LIT("meta/Llama")) == 0, "by alias");
    CHECK(fleet_model_find(f, SPAN_LIT("other")) == FLEET_MODEL_NONE, "unknown");
    must(fleet_copy(f, NULL, &copy) == ERR_OK);
    serve(copy, 0, "llama:8b", "other");
    serve(copy, 1, "meta/Llama", NULL);
    CHECK(calls_it(copy, 0, "llama", "llama:8b") && calls_it(copy, 1, "llama", "meta/Llama"),
          "each engine has its own name for it");
    CHECK(fleet_model_find(copy, SPAN_LIT("other")) == 1, "what nobody configured is its own");
    CHECK(fleet_model_find(f, SPAN_LIT("other")) == FLEET_MODEL_NONE, "in the copy only");
    CHECK(copy->ready_count == 2 && f->ready_count == 0, "what is ready is counted");
    serve(copy, 0, "other", NULL);
    CHECK(copy->ready_count == 2, "and not twice");
    CHECK(fleet_engine_name(copy, 0, 0).bytes == 0, "no longer served");
    fleet_unref(copy);
    fleet_unref(f);
}

static void
test_reload(void)
{
    struct fleet *one = load("engines:\n" ENGINE("a", "1") ENGINE("b", "2"), NULL);
    struct fleet *two, *three;

    serve(one, 0, "x", NULL);
    serve(one, 1, "y", NULL);
    two = load("models: {z: {}, y: {aliases: [x]}}\nengines:\n" ENGINE("c", "3") ENGINE("b", "2"),
               one);
    CHECK(roster_find(two->roster, SPAN_LIT("b"))->index == 1, "who stays keeps the index");
    CHECK(roster_find(two->roster, SPAN_LIT("c"))->index == 2, "who is new gets a fresh one");
    CHECK(roster_find(two->roster, SPAN_LIT("a")) == NULL && roster_node(two->roster, 0) == NULL,
          "who left leaves a hole");
    CHECK(fleet_model_find(two, SPAN_LIT("y")) == 1, "a model keeps its index");
    CHECK(fleet_model_find(two, SPAN_LIT("x")) == 1, "what was its own model is an alias now");
    CHECK(calls_it(two, 1, "x", "y"), "what is served is carried over");
    CHECK(two->ready_count == 1, "and counted");
    CHECK(fleet_model_find(two, SPAN_LIT("z")) == 2, "a new model gets a new index");
    three = load("engines:\n" ENGINE("b", "9"), two);
    CHECK(fleet_engine_name(three, 1, 1).bytes == 0, "another address is another engine");
    fleet_unref(three);
    fleet_unref(two);
    fleet_unref(one);
}

static void
test_full(void)
{
    struct fleet *f = load("engines:\n" ENGINE("a", "1") ENGINE("b", "2") ENGINE("c", "3")
                               ENGINE("d", "4") ENGINE("e", "5"),
                           NULL),
                 *next;
    struct roster *roster;
    char name[32];

    for (unsigned i = 0; i < CORE_MODELS_USUAL + 5; i++) {
        snprintf(name, sizeof(name), "model-%u", i);
        serve(f, 0, name, NULL);
    }
    CHECK(f->model_count == FLEET_MODELS_A_NODE_MAX, "one node does not bring all of them");
    serve(f, 1, "of-another", NULL);
    CHECK(calls_it(f, 1, "of-another", "of-another"), "there is room for others'");
    serve(f, 0, "of-another", "model-3");
    CHECK(fleet_served(f, 0)->count == 2, "what is known may be served");
    next = load("engines:\n" ENGINE("a", "1") ENGINE("b", "2") ENGINE("c", "3") ENGINE("d", "4")
                    ENGINE("e", "5"),
                f);
    serve(next, 0, "after-a-reload", NULL);
    CHECK(fleet_model_find(next, SPAN_LIT("after-a-reload")) == FLEET_MODEL_NONE,
          "a reload does not forget it");
    fleet_unref(next);
    for (unsigned i = 0; i < CORE_MODELS_USUAL + 5; i++) {
        snprintf(name, sizeof(name), "more-%u", i);
        serve(f, 1 + i % 4, name, NULL);
    }
    CHECK(f->model_count == CORE_MODELS_USUAL, "models have a limit");
    CHECK(fleet_served(f, 4)->count == 0, "what is over it is not served");
    fleet_unref(f);
    CHECK(roster_read(SPAN_LIT("engines:\n" ENGINE("a", "1") ENGINE("b", "2") ENGINE("c", "3")),
                      "test", 2, NULL, &roster) == ERR_FULL,
          "nodes have one");
}

/* Nodes of which nothing is known bring as many models as they like. */
static void
test_strange(void)
{
    struct fleet *f = load("engines:\n" ENGINE("a", "1"), NULL), *next;
    struct roster_member_said said = {.url = SPAN_LIT("http://127.0.0.1:9")};
    struct fleet_said model = {.state = MODEL_READY};
    struct roster_member *members[4];
    struct roster *roster;
    const char *why;
    char name[32];

    for (uint32_t i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "stranger-%u", i);
        said.name = span_of(name);
        must(roster_member_make(&said, &members[i], &why) == ERR_OK);
        members[i]->node.index = 1 + i;
    }
    must(roster_with_members(f->roster, members, 4, &roster) == ERR_OK);
    must(fleet_copy(f, roster, &next) == ERR_OK);
    fleet_unref(f);
    for (unsigned i = 0; i < 2 * FLEET_MODELS_STRANGE_MAX; i++) {
        snprintf(name, sizeof(name), "model-%u", i);
        fleet_change(next, 1 + i % 4, span_of(name), &model);
    }
    CHECK(next->model_count == FLEET_MODELS_STRANGE_MAX, "strangers get half of the room");
    fleet_change(next, 1, SPAN_LIT("model-0"), &(struct fleet_said){.state = MODEL_ABSENT});
    serve(next, 0, "own", NULL);
    CHECK(calls_it(next, 0, "own", "own"), "what the configuration's nodes have finds some");
    model.proven = true;
    fleet_clear(next, 2);
    fleet_change(next, 2, SPAN_LIT("vouched"), &model);
    CHECK(calls_it(next, 2, "vouched", "vouched"), "and what proven ones have");
    fleet_change(next, 2, SPAN_LIT("model-0"), &model);
    model.proven = false;
    fleet_change(next, 2, SPAN_LIT("one-more"), &model);
    CHECK(calls_it(next, 2, "one-more", "one-more"),
          "what one of them has too is a stranger's no more");
    fleet_unref(next);
    for (uint32_t i = 0; i < 4; i++)
        roster_member_unref(members[i]);
}

static const struct {
    const char *label, *yaml;
} refused[] = {
    {"off loopback without keys", "listen: {public: \"0.0.0.0:1\"}\nengines: []\n"},
    {"admin off loopback without a token", "listen: {admin: \"0.0.0.0:1\"}\nengines: []\n"},
    {"a key file that is not there",
     "engines: [{url: \"http://127.0.0.1:1\", key: \"file:/nonexistent/key\"}]\n"},
    {"parts not built", "models: {m: {accept: {digest: x}}}\nengines: []\n"},
    {"unknown key", "regoin: x\n"},
};

int
main(void)
{
    struct roster *roster;

    log_set_level(LOG_ERROR);
    test_names();
    test_few_of_many();
    test_reload();
    test_full();
    test_strange();
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        CHECK(roster_read(span_of(refused[i].yaml), "test", 0, NULL, &roster) != ERR_OK,
              refused[i].label);
    return tap_done();
}
