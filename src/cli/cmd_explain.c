/* cmd_explain - why a request went where it went, or where it would go: the options, and which of
 * the two questions to ask. cli_decision.c puts the answer into words. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cli_admin.h"
#include "cli/cli_decision.h"
#include "cli/cli_options.h"
#include "cli/cli_table.h"

#define EXPLAIN_BODY_BYTES_MAX   67108864u
#define EXPLAIN_PROMPT_BYTES     1000u /* where none is told */
#define EXPLAIN_PROMPT_BYTES_MAX 33554432u
#define EXPLAIN_TOKENS_MAX       1000000000u
#define EXPLAIN_PATH             "/network/v1/explain"

const char cmd_explain_help[] =
    "Why a request went to its node and not to another; or where one would go.\n"
    "\n"
    "  isochrone explain 00000000000001a7      # the x-request-id of an answer\n"
    "  isochrone explain --model llama-3.1-8b  # where would it go now?\n"
    "  isochrone explain --model llama-3.1-8b --prompt-bytes 400000\n"
    "  isochrone explain -f request.json       # the same for an OpenAI request\n"
    "\n"
    "      --model M          ask for this model, with a prompt of\n"
    "      --prompt-bytes N   so many bytes (1000), and\n"
    "      --max-tokens N     this limit on the answer (none)\n"
    "  -f, --file FILE        or ask for this request: its body\n" CLI_ADMIN_HELP "\n"
    "Nothing is sent to a node. Milliseconds: NET to the node and back, READY until\n"
    "the model is loaded, QUEUE behind others, PREFILL to read the prompt, STEP to\n"
    "write one token; FIRST is their sum, DONE the time to the end. COST, of which\n"
    "the least wins, is FIRST, a tenth of DONE, and a price, in milliseconds too, on\n"
    "holding others up (EXT), a late first token (LATE), little KV room (KV) and what\n"
    "a failure would cost (FAIL); less what leaving a node that has the beginning of\n"
    "the prompt in its cache (HIT, in tokens) would cost later (STICK).\n"
    "A gateway keeps its last few hundred requests.\n"
    "Exit status: 0 done, 1 no answer or no such request, 2 wrong use.\n";

struct explain {
    struct cli_admin admin;
    const char *id, *model, *file, *prompt_bytes_text, *max_tokens_text;
    uint64_t prompt_bytes, max_tokens;
};

/* ---- The dry run's body. */

static bool
no_memory(void)
{
    fputs("isochrone explain: no memory for this request\n", stderr);
    return false;
}

static bool
body_make(struct explain *e, struct span *ret_body)
{
    cJSON *json = cJSON_CreateObject(), *message;
    size_t prompt_bytes = (size_t)e->prompt_bytes;
    char *prompt = arena_take(&e->admin.arena, prompt_bytes + 1), *text;
    enum err err = ERR_MEMORY;

    if (prompt != NULL) {
        for (size_t i = 0; i < prompt_bytes; i++)
            prompt[i] = i % 6 == 5 ? ' ' : 'a'; /* five letters and a space: plain prose */
        prompt[prompt_bytes] = '\0';
        cJSON_AddStringToObject(json, "model", e->model);
        message = cJSON_CreateObject();
        cJSON_AddStringToObject(message, "role", "user");
        cJSON_AddStringToObject(message, "content", prompt);
        cJSON_AddItemToArray(cJSON_AddArrayToObject(json, "messages"), message);
        if (e->max_tokens > 0)
            cJSON_AddNumberToObject(json, "max_tokens", (double)e->max_tokens);
        text = cJSON_PrintUnformatted(json);
        if (text != NULL)
            err = arena_copy(&e->admin.arena, span_of(text), ret_body);
        cJSON_free(text);
    }
    cJSON_Delete(json);
    return err == ERR_OK || no_memory();
}

static bool
body_read(struct explain *e, struct span *ret_body)
{
    enum err err = cli_read_file(e->file, EXPLAIN_BODY_BYTES_MAX, &e->admin.arena, ret_body);

    if (err == ERR_OK)
        return true;
    fprintf(stderr, "isochrone explain: %s: %s\n", e->file, cli_read_words(err));
    return false;
}

/* ---- The two questions. */

static bool
ask(struct explain *e, cJSON **ret_json, struct span *ret_text)
{
    struct span body = {NULL, 0};
    char path[CLI_ADMIN_PATH_BYTES_MAX];

    snprintf(path, sizeof(path), EXPLAIN_PATH);
    if (e->id != NULL)
        snprintf(path, sizeof(path), EXPLAIN_PATH "/%s", e->id);
    else if (!(e->file != NULL ? body_read(e, &body) : body_make(e, &body)))
        return false;
    e->admin.wanted = e->model;
    *ret_json = cli_admin_json(&e->admin, path, body, ret_text);
    return *ret_json != NULL;
}

static int
explain_run(struct explain *e)
{
    const cJSON *attempt;
    struct span text;
    cJSON *json;
    bool first = true;

    if (!ask(e, &json, &text))
        return CLI_FAILED;
    if (e->admin.json) {
        printf("%.*s\n", (int)text.bytes, text.data);
    } else if (e->id == NULL) {
        cli_decision_print(cJSON_GetObjectItemCaseSensitive(json, "decision"), true,
                           &e->admin.arena);
    } else {
        cJSON_ArrayForEach(attempt, cJSON_GetObjectItemCaseSensitive(json, "attempts"))
        {
            if (!first)
                putchar('\n');
            first = false;
            cli_decision_print(attempt, false, &e->admin.arena);
        }
    }
    cJSON_Delete(json);
    return CLI_OK;
}

/* ---- Options. */

static bool
complain(const char *text)
{
    fprintf(stderr, "isochrone explain: %s\n", text);
    return false;
}

static bool
id_good(const char *id)
{
    return strlen(id) == 16 && strspn(id, "0123456789abcdef") == 16;
}

/* Do they make one question? */
static bool
options_good(struct explain *e)
{
    int questions = (e->id != NULL) + (e->model != NULL) + (e->file != NULL);

    e->prompt_bytes = EXPLAIN_PROMPT_BYTES;
    if (questions == 0)
        return complain("which request? Give the x-request-id of an answer, or --model M or -f "
                        "FILE to ask where one would go");
    if (questions > 1)
        return complain("one question at a time: an id, --model or -f");
    if (e->id != NULL && !id_good(e->id))
        return complain("a request id is 16 hexadecimal digits: the x-request-id of an answer");
    if (e->model == NULL && (e->prompt_bytes_text != NULL || e->max_tokens_text != NULL))
        return complain("--prompt-bytes and --max-tokens go with --model");
    if (e->prompt_bytes_text != NULL &&
        (span_u64(span_of(e->prompt_bytes_text), &e->prompt_bytes) != ERR_OK ||
         e->prompt_bytes > EXPLAIN_PROMPT_BYTES_MAX))
        return complain("--prompt-bytes is a whole number up to 33554432");
    if (e->max_tokens_text != NULL &&
        (span_u64(span_of(e->max_tokens_text), &e->max_tokens) != ERR_OK || e->max_tokens == 0 ||
         e->max_tokens > EXPLAIN_TOKENS_MAX))
        return complain("--max-tokens is a whole number above 0");
    return true;
}

int
cmd_explain(int argc, char **argv)
{
    struct explain e = {.admin = {.command = "explain"}};
    const struct cli_option options[] = {
        {"model", 'm', NULL, &e.model},
        {"prompt-bytes", 0, NULL, &e.prompt_bytes_text},
        {"max-tokens", 0, NULL, &e.max_tokens_text},
        {"file", 'f', NULL, &e.file},
        CLI_ADMIN_OPTIONS(e.admin),
    };
    int result;

    if (!cli_options(argc, argv, options, sizeof(options) / sizeof(options[0]), &e.id) ||
        !options_good(&e))
        return CLI_USAGE;
    result = cli_admin_open(&e.admin);
    if (result == CLI_OK)
        result = explain_run(&e);
    cli_admin_close(&e.admin);
    return result;
}
