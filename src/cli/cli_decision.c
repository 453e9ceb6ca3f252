/* cli_decision - from a decision's JSON to words; see cli_decision.h. A loser that was never priced
 * (it does not have the model, say) has its network time and no others. */
#include "cli/cli_decision.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_admin.h"
#include "cli/cli_table.h"

#define CANDIDATES_MAX 64u

struct candidate {
    const char *node, *region, *why;
    bool is_chosen, is_priced;
    double net_ms, ready_ms, queue_ms, prefill_ms, step_ms, first_ms, done_ms;
    double ext_ms, late_ms, kv_ms, fail_ms, stick_ms, word_ms, cost_ms, hit_tokens;
};

struct weighed {
    struct candidate list[CANDIDATES_MAX];
    size_t count;
};

/* ---- Reading. */

static struct candidate
candidate_of(const cJSON *json)
{
    const cJSON *terms = cJSON_GetObjectItemCaseSensitive(json, "terms");
    struct candidate c = {
        .node = cli_json_text(json, "node"),
        .region = cli_json_text(json, "region"),
        .why = cli_json_text(json, "why"),
        .net_ms = cli_json_number(terms, "net_ms"),
        .ready_ms = cli_json_number(terms, "ready_ms"),
        .queue_ms = cli_json_number(terms, "queue_ms"),
        .prefill_ms = cli_json_number(terms, "prefill_ms"),
        .step_ms = cli_json_number(terms, "step_ms"),
        .first_ms = cli_json_number(terms, "first_ms"),
        .done_ms = cli_json_number(terms, "done_ms"),
        .ext_ms = cli_json_number(json, "ext_ms"),
        .late_ms = cli_json_number(json, "late_ms"),
        .kv_ms = cli_json_number(json, "kv_ms"),
        .fail_ms = cli_json_number(json, "fail_ms"),
        .stick_ms = cli_json_number(json, "stick_ms"),
        .word_ms = cli_json_number(json, "word_ms"),
        .hit_tokens = cli_json_number(json, "hit_tokens"),
        .cost_ms = cli_json_number(json, "cost_ms"),
    };

    if (c.node[0] == '\0')
        c.node = "(left)"; /* the network, meanwhile */
    c.is_chosen = strcmp(c.why, "chosen") == 0;
    c.is_priced = c.first_ms > 0.0;
    return c;
}

/* The chosen one, then the others by their cost, those without one last. */
static int
candidate_order(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->is_chosen != y->is_chosen)
        return x->is_chosen ? -1 : 1;
    if (x->is_priced != y->is_priced)
        return x->is_priced ? -1 : 1;
    if (x->cost_ms != y->cost_ms && !isnan(x->cost_ms) && !isnan(y->cost_ms))
        return x->cost_ms < y->cost_ms ? -1 : 1;
    return strcmp(x->node, y->node);
}

static void
weighed_read(const cJSON *decision, struct weighed *w)
{
    const cJSON *candidate;

    w->count = 0;
    cJSON_ArrayForEach(candidate, cJSON_GetObjectItemCaseSensitive(decision, "candidates"))
    {
        if (w->count < CANDIDATES_MAX)
            w->list[w->count++] = candidate_of(candidate);
    }
    qsort(w->list, w->count, sizeof(w->list[0]), candidate_order);
}

static const struct candidate *
chosen_of(const struct weighed *w)
{
    return w->count > 0 && w->list[0].is_chosen ? &w->list[0] : NULL;
}

static const struct candidate *
nearest_of(const struct weighed *w)
{
    const struct candidate *nearest = NULL;

    for (size_t i = 0; i < w->count; i++) {
        if (nearest == NULL || w->list[i].net_ms < nearest->net_ms)
            nearest = &w->list[i];
    }
    return nearest;
}

/* ---- Words. */

/* Why this one lost, in a few words for a table's cell. */
static void
why_words(const struct candidate *c, const struct candidate *chosen, char *text, size_t text_size)
{
    static const struct {
        const char *why, *words;
    } table[] = {
        {"chosen", "chosen"},
        {"tied", "tie: by lot"},
        {"absent", "lacks the model"},
        {"not_ready", "model not ready"},
        {"draining", "is draining"},
        {"failing", "keeps failing"},
        {"full", "is full"},
        {"tried", "failed before"},
        {"rule", "by the rule"},
        {"busier_fits", "kept free"},
        {"stale", "more of ours"},
        {"late", "would be late"},
        {"others_first", "others wait for it"},
        {"together", "would fail with the first attempt's"},
    };
    char more[CLI_NUMBER_BYTES];

    if (strcmp(c->why, "slower") == 0) {
        snprintf(text, text_size, "%s", c->is_priced ? "costs more" : "others had room");
        if (chosen != NULL && c->is_priced && c->cost_ms > chosen->cost_ms) {
            cli_milliseconds(c->cost_ms - chosen->cost_ms, more);
            snprintf(text, text_size, "%s more", more);
        }
        return;
    }
    snprintf(text, text_size, "%s", c->why);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(c->why, table[i].why) == 0)
            snprintf(text, text_size, "%s", table[i].words);
    }
}

static const char *
refusal_words(const char *refusal)
{
    static const struct {
        const char *refusal, *words;
    } table[] = {
        {"no_node", "no node has the model"},
        {"not_ready", "nodes have the model, but none has it ready"},
        {"draining", "the nodes that have it are draining"},
        {"failing", "the nodes that have it keep failing"},
        {"full", "every node is at its limit"},
        {"all_tried", "no node was left to try"},
        {"request", "the engine says that the request itself is wrong"},
        {"started", "it failed after a part of the answer had been passed on"},
        {"shed", "more is asked than the nodes can do, and its class is turned away in part"},
        {"deadline", "no node could begin the answer in time"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(refusal, table[i].refusal) == 0)
            return table[i].words;
    }
    return "no node can take it now";
}

static void
put_where(const struct candidate *c)
{
    cli_print(stdout, c->node);
    fputs(" in ", stdout);
    cli_print(stdout, c->region[0] != '\0' ? c->region : "an unknown region");
}

/* What decided, if not the least cost. */
static const char *
mode_words(const char *mode)
{
    if (strcmp(mode, "goal") == 0)
        return ", the fullest that meets the deadline";
    if (strcmp(mode, "stale") == 0)
        return ", news are old: by our own count";
    if (strcmp(mode, "suspicion") == 0)
        return ", few nodes are heard: by our own count";
    return "";
}

/* "tiny by rule time: 12 nodes have it; 400 tokens of prompt (0 in cache), some 180 of answer". */
static void
print_question(const cJSON *d)
{
    double attempt = cli_json_number(d, "attempt"), nodes = cli_json_number(d, "considered");
    double hit = cli_json_number(d, "hit_tokens");
    char prompt[CLI_NUMBER_BYTES], output[CLI_NUMBER_BYTES], cached[CLI_NUMBER_BYTES];
    char considered[CLI_NUMBER_BYTES];

    if (attempt > 1.0)
        printf("attempt %.0f: ", attempt);
    cli_number(floor(cli_json_number(d, "prompt_tokens") + 0.5), prompt);
    cli_number(floor(cli_json_number(d, "output_tokens") + 0.5), output);
    cli_number(floor(hit + 0.5), cached);
    cli_print(stdout, cli_json_text(d, "model"));
    fputs(", rule ", stdout);
    cli_print(stdout, cli_json_text(d, "rule"));
    fputs(mode_words(cli_json_text(d, "mode")), stdout);
    cli_number(nodes, considered);
    printf(": %s node%s; some %s tokens of prompt", considered, nodes == 1.0 ? "" : "s", prompt);
    if (hit >= 0.5)
        printf(", %s in cache", cached);
    printf(", %s of answer\n", output);
}

/* Beside an attempt that was late? */
static void
print_hedge(const cJSON *d)
{
    double hedge_ms = cli_json_number(d, "hedge_ms");
    char left[CLI_NUMBER_BYTES];

    if (!isfinite(hedge_ms))
        return;
    cli_milliseconds(hedge_ms, left);
    printf("hedge: the attempt before was late, and expected to need %s more\n", left);
}

/* What its key did not let it have? */
static void
print_claims(const cJSON *d)
{
    const char *wishes = cli_json_text(d, "not_granted");

    if (wishes[0] == '\0')
        return;
    fputs("its key did not grant: ", stdout);
    cli_print(stdout, wishes);
    fputs("; class ", stdout);
    cli_print(stdout, cli_json_text(d, "class"));
    putchar('\n');
}

/* Where it went and how that turned out; dry: where it would go. */
static void
print_outcome(const cJSON *d, const struct candidate *chosen, bool is_dry)
{
    const char *refusal = cli_json_text(d, "refusal"), *failure = cli_json_text(d, "failure");
    double actual_first_ms = cli_json_number(d, "actual_first_ms");
    double actual_ms = cli_json_number(d, "actual_ms");
    double hold_ms = cli_json_number(d, "hold_ms"), held_ms = cli_json_number(d, "held_ms");
    const char *admission = cli_json_text(d, "admission");
    char predicted[CLI_NUMBER_BYTES], actual[CLI_NUMBER_BYTES];

    if (chosen == NULL && (isfinite(hold_ms) || strcmp(admission, "held") == 0)) {
        fputs(is_dry ? "would be held here until there is room" : "held here until there was room",
              stdout);
        if (isfinite(hold_ms)) {
            cli_milliseconds(hold_ms, predicted);
            printf(", expected in %s", predicted);
        }
        putchar('\n');
        return;
    }
    if (chosen == NULL) {
        printf("not sent to any node: %s\n", refusal_words(refusal));
        return;
    }
    if (held_ms > 0.0) {
        cli_milliseconds(held_ms, predicted);
        printf("after %s here, ", predicted);
    }
    put_where(chosen);
    cli_milliseconds(chosen->first_ms, predicted);
    if (is_dry) {
        cli_milliseconds(chosen->done_ms, actual);
        printf(": first token in %s, the last in %s\n", predicted, actual);
        return;
    }
    printf(": first token predicted in %s", predicted);
    if (isfinite(actual_first_ms)) {
        cli_milliseconds(actual_first_ms, actual);
        printf(", came in %s", actual);
    }
    if (isfinite(actual_ms)) {
        cli_milliseconds(actual_ms, actual);
        printf("; all in %s", actual);
    }
    if (failure[0] != '\0' && strcmp(failure, "none") != 0) {
        fputs("; it failed: ", stdout);
        cli_print_coloured(CLI_BAD, failure);
    } else if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(d, "overtaken"))) {
        fputs("; given up, the other attempt began first", stdout);
    } else if (!isfinite(actual_ms)) {
        fputs("; not over yet", stdout);
    }
    putchar('\n');
}

/* What the steps after the first token add to the cost: what is left when the rest is taken off. */
static double
writing_ms(const struct candidate *c)
{
    double done_ms = c->cost_ms - c->first_ms - c->ext_ms - c->late_ms - c->kv_ms - c->fail_ms +
                     c->stick_ms - c->word_ms;

    return c->done_ms > 0.0 ? done_ms * (1.0 - c->first_ms / c->done_ms) : 0.0;
}

/* Why not the nearest? The term that costs it most against the chosen one. */
static void
print_nearest(const struct candidate *nearest, const struct candidate *chosen)
{
    const struct {
        const char *words;
        double more_ms;
    } terms[] = {
        {"model not loaded", nearest->ready_ms - chosen->ready_ms},
        {"longer queue", nearest->queue_ms - chosen->queue_ms},
        {"reads the prompt slower", nearest->prefill_ms - chosen->prefill_ms},
        {"writes slower", writing_ms(nearest) - writing_ms(chosen)},
        {"would hold others up", nearest->ext_ms - chosen->ext_ms},
        {"past the deadline", nearest->late_ms - chosen->late_ms},
        {"little KV room", nearest->kv_ms - chosen->kv_ms},
        {"fails more often", nearest->fail_ms - chosen->fail_ms},
        {"its word counts less", nearest->word_ms - chosen->word_ms},
        {"has less of the prompt in its cache", chosen->stick_ms - nearest->stick_ms},
    };
    size_t worst = 0;
    char net[CLI_NUMBER_BYTES], more[CLI_NUMBER_BYTES], words[64];

    cli_milliseconds(nearest->net_ms, net);
    fputs("nearest: ", stdout);
    put_where(nearest);
    printf(", %s away: ", net);
    for (size_t i = 1; i < sizeof(terms) / sizeof(terms[0]); i++)
        worst = terms[i].more_ms > terms[worst].more_ms ? i : worst;
    why_words(nearest, chosen, words, sizeof(words));
    if (nearest->is_priced && strcmp(nearest->why, "slower") == 0 && terms[worst].more_ms > 0.0) {
        cli_milliseconds(terms[worst].more_ms, more);
        printf("%s, %s more\n", terms[worst].words, more);
    } else {
        cli_print(stdout, words);
        putchar('\n');
    }
}

static void
print_table(const struct weighed *w, struct arena *arena)
{
    static const struct cli_column columns[] = {
        {"NODE", "", 24, true, false, 0},     {"REGION", "", 8, true, false, 0},
        {"NET", "ms", 0, false, false, 0},    {"HIT", "tok", 0, false, true, 1},
        {"READY", "ms", 0, false, true, 0},   {"QUEUE", "ms", 0, false, true, 0},
        {"PREFILL", "ms", 0, false, true, 0}, {"STEP", "ms", 0, false, true, 2},
        {"FIRST", "ms", 0, false, true, 0},   {"DONE", "ms", 0, false, true, 3},
        {"EXT", "ms", 0, false, true, 1},     {"LATE", "ms", 0, false, true, 1},
        {"KV", "ms", 0, false, true, 1},      {"FAIL", "ms", 0, false, true, 4},
        {"STICK", "ms", 0, false, true, 2},   {"WORD", "ms", 0, false, true, 2},
        {"COST", "ms", 0, false, true, 0},    {"WHY", "", 0, true, false, 0},
    };
    const struct candidate *chosen = chosen_of(w);
    struct cli_table t;
    char words[64];

    cli_table_init(&t, columns, sizeof(columns) / sizeof(columns[0]), arena);
    for (size_t i = 0; i < w->count; i++) {
        const struct candidate *c = &w->list[i];
        double shown = c->is_priced ? 0.0 : (double)NAN; /* added: NAN where there is no price */

        why_words(c, chosen, words, sizeof(words));
        cli_table_text(&t, CLI_PLAIN, c->node);
        cli_table_text(&t, CLI_PLAIN, c->region);
        cli_table_number(&t, CLI_PLAIN, c->net_ms);
        cli_table_number(&t, CLI_PLAIN, c->hit_tokens + shown);
        cli_table_number(&t, CLI_PLAIN, c->ready_ms + shown);
        cli_table_number(&t, CLI_PLAIN, c->queue_ms + shown);
        cli_table_number(&t, CLI_PLAIN, c->prefill_ms + shown);
        cli_table_number(&t, CLI_PLAIN, c->step_ms + shown);
        cli_table_number(&t, CLI_PLAIN, c->first_ms + shown);
        cli_table_number(&t, CLI_PLAIN, c->done_ms + shown);
        cli_table_number(&t, CLI_PLAIN, c->ext_ms + shown);
        cli_table_number(&t, CLI_PLAIN, c->late_ms + shown);
        cli_table_number(&t, CLI_PLAIN, c->kv_ms + shown);
        cli_table_number(&t, CLI_PLAIN, c->fail_ms + shown);
        cli_table_number(&t, CLI_PLAIN, shown - c->stick_ms);
        cli_table_number(&t, CLI_PLAIN, c->word_ms + shown);
        cli_table_number(&t, CLI_PLAIN, c->cost_ms + shown);
        cli_table_text(&t, c->is_chosen ? CLI_GOOD : CLI_PLAIN, words);
    }
    putchar('\n');
    cli_table_print(&t);
}

void
cli_decision_print(const cJSON *decision, bool is_dry, struct arena *arena)
{
    const struct candidate *chosen, *nearest;
    struct weighed w;

    weighed_read(decision, &w);
    chosen = chosen_of(&w);
    nearest = nearest_of(&w);
    if (w.count > 0)
        print_question(decision);
    print_claims(decision);
    print_hedge(decision);
    print_outcome(decision, chosen, is_dry);
    if (chosen != NULL && nearest != chosen)
        print_nearest(nearest, chosen);
    if (w.count > 0)
        print_table(&w, arena);
}
