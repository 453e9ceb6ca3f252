#ifndef DEMO_LOAD_RUN_H
#define DEMO_LOAD_RUN_H
/* load_run - sends a plan's requests when they are due and takes down what came of each: one
 * thread, one loop, thousands of streams. For the demo and for benchmarks.
 *
 * Time to first token runs from the moment the request is handed to the client until the first
 * event with text is read. A request that is still open at the end keeps the time it has waited so
 * far: a lower bound, so a rule that floods a node is flattered and never slandered. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/http_client.h"
#include "load_plan.h"

#define LOAD_RUN_NAME_BYTES 96u
#define LOAD_RUN_OPEN_MAX   16384u /* requests in progress; more are not sent, and counted */

enum load_end {
    LOAD_END_UNSENT = 0, /* its time had not come, or LOAD_RUN_OPEN_MAX */
    LOAD_END_OPEN,       /* not over when the run was */
    LOAD_END_OK,
    LOAD_END_STATUS, /* not 200 */
    LOAD_END_ERROR,  /* an error event in the stream, or no [DONE] */
    LOAD_END_FAILED  /* the connection */
};

struct load_result {
    enum load_end end;
    unsigned status, attempts, tokens;
    bool second;                          /* the target's second gateway had it */
    double sent_ms;                       /* since the start of the run */
    double late_ms;                       /* sent after it was due */
    double predicted_ms, ttft_ms, e2e_ms; /* NAN unknown; end OPEN: waited so far */
    char id[LOAD_RUN_NAME_BYTES];         /* x-request-id of the answer */
    char node[LOAD_RUN_NAME_BYTES], region[LOAD_RUN_NAME_BYTES]; /* which node answered */
};

struct load_target {
    const char *name;
    struct sockaddr_in public_address, admin_address; /* sin_port 0: no admin port */
    /* As a client with two base URLs: who gets no answer from the first, or 503, asks here.
     * sin_port 0: there is one only. */
    struct sockaddr_in second_address;
};

struct load_run;
struct load_options {
    struct load_target targets[LOAD_PLAN_TARGETS_MAX];
    const char *models[LOAD_PLAN_MODELS_MAX];
    uint32_t target_count, model_count;
    uint32_t max_tokens;
    double drain_seconds; /* how long requests may take after the last was sent */
    /* The request at `index` is over. NULL: nobody wants to know. */
    void (*over)(size_t index, const struct load_result *result, void *user);
    void *user;
};

/* Send the items and wait. *ret_results, one an item, is the caller's to free. The client's loop
 * must not be running. ERR_MEMORY, ERR_ARG. */
MUST_USE enum err load_run(struct loop *loop, struct http_client *client,
                           const struct load_options *options, const struct load_item *items,
                           size_t item_count, struct load_result **ret_results);

/* For the table of a call's callbacks: that it was sent is no news. */
void load_run_on_sent(struct http_call *c, bool fresh, void *user);
const char *load_run_end_name(enum load_end end);
#endif
