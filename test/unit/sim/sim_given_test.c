/* sim_given_test - a world out of two tables, rows that are odd, and that it is played as written.
 */
#include "sim/sim_given.h"

#include <math.h>

#include "sim/sim_world.h"
#include "tap.h"

#define FLEET "kind,name,region,model,params_b,gpu,speed,seed\n"
#define GATES "gateway,g0,us-east,,,,,5\ngateway,g1,eu-west,,,,,6\n"
#define NODE0 "vllm,a,us-east,small,8.03,h100,1.2,77\n"
#define NODE1 "vllm,b,ap-northeast,big,70.55,h100x4,0.8,78\n"
#define PLAN  "at_ms,gateway,model,prompt_tokens,prompt_bytes,output_tokens,max_tokens\n"
#define ROW0  "2000,g0,small,700,2940,16,16\n"
#define ROW1  "2500.5,g1,big,1000,4200,8,\n"

static enum err
read_text(const char *fleet, const char *plan, struct data_error *error, struct sim_given *ret)
{
    struct data_file *f = NULL, *p = NULL;
    enum err err = data_file_open_memory("fleet", span_of(fleet), error, &f);

    if (err == ERR_OK)
        err = data_file_open_memory("plan", span_of(plan), error, &p);
    if (err == ERR_OK)
        err = sim_given_read(f, p, ret);
    data_file_close(f);
    data_file_close(p);
    return err;
}

static void
read_whole(struct sim_given *ret)
{
    struct data_error error;
    const struct sim_given_node *n;

    CHECK(read_text(FLEET GATES NODE0 NODE1, PLAN ROW0 ROW1, &error, ret) == ERR_OK, "a world");
    CHECK(ret->gateway_count == 2 && ret->node_count == 2 && ret->region_count == 3 &&
              ret->class_count == 2 && ret->model_count == 2,
          "with all that is in it");
    n = &ret->nodes[1];
    CHECK(strcmp(ret->regions[n->region], "ap-northeast") == 0 &&
              strcmp(ret->gpus[n->class], "h100x4") == 0 &&
              strcmp(ret->models[n->model].name, "big") == 0 && n->speed == 0.8 && n->seed == 78,
          "a node as it was written");
    CHECK(ret->gateways[1].region == 1 && ret->gateways[1].seed == 6, "a gateway too");
    CHECK(ret->trace.count == 2 && ret->trace.requests[1].at_ms == 2500.5 &&
              ret->trace.requests[1].prompt_tokens == 1000 &&
              ret->trace.requests[1].output_tokens == 8 && ret->requests[1].gateway == 1 &&
              ret->requests[1].model == 1 && ret->requests[1].prompt_bytes == 4200 &&
              ret->requests[1].max_tokens == 0 && ret->requests[0].max_tokens == 16,
          "and the requests");
}

static const struct {
    const char *label, *fleet, *plan, *words;
    enum err err;
} bad[] = {
    {"nothing", "", PLAN ROW0 ROW1, "fleet: the file is empty", ERR_PARSE},
    {"a column is missing", "kind,name\n", PLAN ROW0 ROW1, "fleet:1: the column region is missing",
     ERR_PARSE},
    {"no gateway", FLEET NODE0, PLAN ROW0 ROW1, "fleet:2: a fleet needs a gateway and a node",
     ERR_PARSE},
    {"no node", FLEET GATES, PLAN ROW0 ROW1, "fleet:3: a fleet needs a gateway and a node",
     ERR_PARSE},
    {"another engine", FLEET GATES "llama-server,c,us-east,small,8,h100,1,1\n", PLAN ROW0 ROW1,
     "fleet:4: kind: `llama-server` is neither gateway nor vllm", ERR_PARSE},
    {"a gateway twice", FLEET GATES "gateway,g0,us-west,,,,,1\n", PLAN ROW0 ROW1,
     "fleet:4: name: there is a gateway `g0` already", ERR_PARSE},
    {"a node nowhere", FLEET GATES "vllm,a,,small,8.03,h100,1,1\n", PLAN ROW0 ROW1,
     "fleet:4: region: the cell is empty", ERR_PARSE},
    {"hardware that nobody knows", FLEET GATES "vllm,a,us-east,small,8.03,abacus,1,1\n",
     PLAN ROW0 ROW1, "fleet:4: gpu: nothing is known of a model of 8.03 B on abacus", ERR_PARSE},
    {"a node that stands still", FLEET GATES "vllm,a,us-east,small,8.03,h100,0,1\n", PLAN ROW0 ROW1,
     "fleet:4: speed: `0` is no number from 0.01 to 100", ERR_PARSE},
    {"no seed", FLEET GATES "vllm,a,us-east,small,8.03,h100,1,\n", PLAN ROW0 ROW1,
     "fleet:4: seed: no whole number", ERR_PARSE},
    {"a model of two sizes", FLEET GATES NODE0 "vllm,c,us-east,small,9,h100,1,1\n", PLAN ROW0 ROW1,
     "fleet:5: params_b: small had 8.03 before", ERR_PARSE},
    {"too many models",
     FLEET GATES NODE0 NODE1 "vllm,c,us-east,third,8,h100,1,1\nvllm,d,us-east,fourth,8,h100,1,1\n",
     PLAN ROW0 ROW1, "fleet:7: model: more than 3 different ones", ERR_FULL},
    {"a gateway that is not there", FLEET GATES NODE0 NODE1, PLAN ROW0 "3000,g2,small,1,1,1,1\n",
     "plan:3: gateway: the fleet has no `g2`", ERR_PARSE},
    {"a model that is not there", FLEET GATES NODE0 NODE1, PLAN ROW0 "3000,g1,huge,1,1,1,1\n",
     "plan:3: model: the fleet has no `huge`", ERR_PARSE},
    {"back in time", FLEET GATES NODE0 NODE1, PLAN ROW1 ROW0,
     "plan:3: at_ms: earlier than the row before", ERR_PARSE},
    {"no time", FLEET GATES NODE0 NODE1, PLAN "nan,g0,small,1,1,1,1\n",
     "plan:2: at_ms: `nan` is no number from 0 to 604800000", ERR_PARSE},
    {"no prompt", FLEET GATES NODE0 NODE1, PLAN "1,g0,small,0,1,1,1\n",
     "plan:2: prompt_tokens: `0` is no whole number from 1 to 10000000", ERR_PARSE},
    {"one moment", FLEET GATES NODE0 NODE1, PLAN ROW0 ROW0,
     "plan:3: a plan needs two requests at different times", ERR_PARSE},
    {"a short row", FLEET GATES NODE0 NODE1, PLAN "1,g0\n",
     "plan:2: 2 cells, but the header names 7", ERR_PARSE},
};

static void
odd_rows(void)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct data_error error = {""};
        struct sim_given given;

        CHECK(read_text(bad[i].fleet, bad[i].plan, &error, &given) == bad[i].err, bad[i].label);
        CHECK(strcmp(error.text, bad[i].words) == 0, bad[i].words);
    }
}

/* What came of the plan's requests; *ret_round_trip_ms: from the second gateway to its only node.
 */
static struct sim_stats *
play(const struct sim_given *given, struct sim_world **ret_world, const struct rtt_data *rtt)
{
    struct sim_options o;
    struct sim_error error;

    sim_options_init(&o);
    sim_given_use(given, &o);
    o.warmup_ms = 0.0;
    o.polls = true;
    o.jitter = o.jitter_ms = o.bytes_per_ms = o.step_noise = 0.0;
    if (sim_world_open(&o, NULL, rtt, ret_world, &error) != ERR_OK) {
        CHECK(false, error.message);
        return NULL;
    }
    while (sim_world_run(*ret_world, SIM_DURATION_MS_MAX))
        continue;
    sim_world_finish(*ret_world);
    return sim_world_stats(*ret_world);
}

static void
played(const struct sim_given *given)
{
    struct data_error error;
    struct rtt_data rtt;
    struct sim_world *w;
    const struct sim_stats *s;
    double prefill_ms, rtt_far_ms;

    CHECK(rtt_data_builtin(&error, &rtt) == ERR_OK, "distances");
    rtt_far_ms = (double)rtt_ms(&rtt.rtt, SPAN_LIT("eu-west"), SPAN_LIT("ap-northeast"));
    s = play(given, &w, &rtt);
    if (s == NULL)
        return;
    CHECK(s->count == 2 && s->violations == 0, "both requests are answered");
    CHECK(s->samples[0].sent_ms == 2000.0f && s->samples[0].node == 0 &&
              s->samples[0].prompt_tokens == 700.0f && s->samples[0].output_tokens == 16.0f &&
              s->samples[1].sent_ms == 2500.5f && s->samples[1].node == 1,
          "each as it was written, where its model is");
    prefill_ms = (double)s->samples[1].first_ms - rtt_far_ms;
    CHECK(prefill_ms > 0.0 && prefill_ms < rtt_far_ms,
          "nothing between client and gateway, and a poll has kept a connection");
    sim_world_close(w);
    rtt_data_close(&rtt);
}

static void
unknown_region(void)
{
    struct data_error error;
    struct sim_given given;
    struct sim_options o;
    struct sim_error why;
    struct sim_world *w;
    struct rtt_data rtt;

    CHECK(rtt_data_builtin(&error, &rtt) == ERR_OK, "distances");
    CHECK(read_text(FLEET GATES NODE0 "vllm,c,atlantis,small,8.03,h100,1,1\n",
                    PLAN ROW0 "3000,g1,small,1,1,1,1\n", &error, &given) == ERR_OK,
          "a region may have any name");
    sim_options_init(&o);
    sim_given_use(&given, &o);
    o.warmup_ms = 0.0;
    CHECK(sim_world_open(&o, NULL, &rtt, &w, &why) == ERR_NOT_FOUND &&
              strstr(why.message, "atlantis") != NULL,
          "but its distance to the others must be known");
    sim_given_close(&given);
    rtt_data_close(&rtt);
}

int
main(void)
{
    struct sim_given given;

    read_whole(&given);
    played(&given);
    sim_given_close(&given);
    odd_rows();
    unknown_region();
    return tap_done();
}
