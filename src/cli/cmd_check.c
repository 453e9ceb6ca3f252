/* cmd_check - read a configuration as a gateway would, and the key file, the round trips and all
 * certificates that it names, and show every problem as file:line:column. Nothing is started and no
 * engine is asked. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/hash.h"
#include "cli/cli.h"
#include "io/log.h"
#include "io/tls.h"
#include "wire/config.h"
#include "wire/config_node.h"
#include "wire/identity.h"
#include "wire/keys.h"
#include "wire/rtt.h"

#define CHECK_MEMORY_BYTES_MAX ((size_t)1 << 30)
#define RTT_BYTES_MAX          16777216u
#define PEM_BYTES_MAX          1048576u
#define OLLAMA_PORT            11434u
#define CALLED_MAX             1024u /* different sets of files, as many as a gateway takes */

const char cmd_check_help[] =
    "Read a configuration and show every problem in it, without starting anything.\n"
    "\n"
    "  isochrone check -f gateway.yaml\n"
    "  isochrone check -f gateway.yaml --dump  # what is in effect, without secrets\n"
    "  isochrone check -f gateway.yaml --json\n"
    "  isochrone check -f node.yaml            # a node's, as its keys tell\n"
    "\n"
    "  -f, --file FILE   the configuration; /dev/stdin is one too\n"
    "      --dump        print the effective configuration; problems go to standard\n"
    "                    error (of a gateway's)\n"
    "      --json        print the problems as JSON\n"
    "\n"
    "The keys, the round trips and the certificates that it names are read too.\n"
    "Exit status: 0 no error (there may be warnings), 1 errors, 2 wrong use.\n";

struct check {
    const char *path;
    bool dump, json;
    FILE *out;   /* where problems go; NULL with --json */
    cJSON *list; /* where they go then */
    size_t errors, warnings;
    struct arena arena;
    bool is_node; /* else a gateway */
    struct config config;
    struct config_node node;     /* its base is in config */
    uint64_t called[CALLED_MAX]; /* what check_called has read: many engines name the same files */
    size_t called_count;
};

/* ---- Problems, of any file. line 0: the file as a whole. */

static void
show(struct check *c, const char *file, uint32_t line, uint32_t column, bool warning,
     const char *text)
{
    const char *severity = warning ? "warning" : "error";

    c->errors += !warning;
    c->warnings += warning;
    if (c->list != NULL) {
        cJSON *p = cJSON_CreateObject();

        cJSON_AddStringToObject(p, "file", file);
        cJSON_AddNumberToObject(p, "line", line);
        cJSON_AddNumberToObject(p, "column", column);
        cJSON_AddStringToObject(p, "severity", severity);
        cJSON_AddStringToObject(p, "text", text);
        cJSON_AddItemToArray(c->list, p);
        return;
    }
    if (line > 0 && column > 0)
        fprintf(c->out, "%s:%" PRIu32 ":%" PRIu32 ": %s: %s\n", file, line, column, severity, text);
    else if (line > 0)
        fprintf(c->out, "%s:%" PRIu32 ": %s: %s\n", file, line, severity, text);
    else
        fprintf(c->out, "%s: %s: %s\n", file, severity, text);
}

static void
show_all(struct check *c, const char *file, const struct config_problems *problems)
{
    size_t shown = 0;
    char text[64];

    for (size_t i = 0; i < problems->count; i++) {
        const struct config_problem *p = &problems->list[i];

        shown += !p->warning;
        show(c, file, p->line, p->column, p->warning, p->text);
    }
    if (problems->errors > shown) {
        snprintf(text, sizeof(text), "and %zu errors more", problems->errors - shown);
        show(c, file, 0, 0, false, text);
        c->errors += problems->errors - shown - 1;
    }
}

/* As a gateway would: a relative path begins where the configuration is. */
static void
full_path(const struct check *c, struct span path, char *name, size_t name_size)
{
    const char *slash = strcmp(c->path, "/dev/stdin") != 0 ? strrchr(c->path, '/') : NULL;
    int before = slash != NULL && path.data[0] != '/' ? (int)(slash + 1 - c->path) : 0;

    snprintf(name, name_size, "%.*s%.*s", before, c->path, (int)path.bytes, path.data);
}

/* A file that the configuration names. Where it cannot be read that may be as it should be: secrets
 * are often only on the machine that uses them. */
static bool
read_named(struct check *c, struct span path, size_t bytes_max, char *name, size_t name_size,
           struct span *ret_text)
{
    char text[160];
    enum err err;

    if (path.bytes == 0)
        return false;
    full_path(c, path, name, name_size);
    err = cli_read_file(name, bytes_max, &c->arena, ret_text);
    if (err == ERR_OK)
        return true;
    snprintf(text, sizeof(text), "not checked, cannot be read here: %s", cli_read_words(err));
    show(c, name, 0, 0, true, text);
    return false;
}

/* A region that the table does not have may be a mistyped one. */
static void
check_region(struct check *c, const struct rtt_matrix *matrix, struct span region)
{
    const char *names[RTT_REGIONS_MAX], *nearest;
    char text[400], copies[RTT_REGIONS_MAX][64];

    for (uint32_t i = 0; i < matrix->count; i++) {
        if (span_eq(matrix->names[i], region))
            return;
        span_copy(matrix->names[i], copies[i], sizeof(copies[i]));
        names[i] = copies[i];
    }
    nearest = config_nearest(region, names, matrix->count);
    snprintf(text, sizeof(text),
             "region: no round trips are known for `%.*s`: how far it is shows with the first "
             "answers%s%s%s",
             (int)region.bytes, region.data, nearest != NULL ? "; did you mean `" : "",
             nearest != NULL ? nearest : "", nearest != NULL ? "`?" : "");
    show(c, c->path, 0, 0, true, text);
}

/* Where there is but one region nothing is far. */
static void
check_regions(struct check *c, const struct rtt_matrix *matrix)
{
    const struct config *config = &c->config;
    const struct span own = config->region;
    bool several = c->is_node || config->bus.http || config->bus.nats_count > 0;

    for (size_t i = 0; i < config->engine_count; i++)
        several = several ||
                  (config->engines[i].region.bytes > 0 && !span_eq(config->engines[i].region, own));
    if (several && !span_eq(own, SPAN_LIT("local")))
        check_region(c, matrix, own);
    for (size_t i = 0; i < config->engine_count; i++) {
        struct span region = config->engines[i].region;
        bool is_told = region.bytes == 0 || span_eq(region, own);

        for (size_t k = 0; k < i && !is_told; k++)
            is_told = span_eq(config->engines[k].region, region);
        if (!is_told)
            check_region(c, matrix, region);
    }
}

static void
check_named(struct check *c)
{
    char name[4096];
    struct config_problems problems;
    struct rtt_error error = {0, ""};
    struct rtt_matrix matrix;
    struct keys keys;
    struct span text;
    enum err err;

    if (read_named(c, c->config.keys_file, CONFIG_BYTES_MAX, name, sizeof(name), &text)) {
        if (keys_parse(text, &c->arena, &keys, &problems) == ERR_OK && keys.count == 0)
            show(c, name, 0, 0, true, "no key in it: nobody can use this gateway");
        show_all(c, name, &problems);
    }
    if (c->config.rtt_file.bytes == 0) {
        err = rtt_builtin(&c->arena, &matrix);
    } else {
        if (!read_named(c, c->config.rtt_file, RTT_BYTES_MAX, name, sizeof(name), &text))
            return;
        err = rtt_parse(text, &c->arena, &matrix, &error);
        if (err != ERR_OK)
            show(c, name, error.line, 0, false, error.message);
    }
    if (err == ERR_OK)
        check_regions(c, &matrix);
}

/* A file that a gateway will write, or its directory. The user may be another one here. */
static void
check_writable(struct check *c, struct span path)
{
    char name[4096], text[160], *slash;

    if (path.bytes == 0)
        return;
    full_path(c, path, name, sizeof(name));
    if (access(name, W_OK) == 0)
        return;
    if (errno == ENOENT) {
        slash = strrchr(name, '/');
        if (slash != NULL)
            *slash = '\0';
        if (access(slash == NULL ? "." : slash == name ? "/" : name, W_OK | X_OK) == 0)
            return;
        if (slash != NULL)
            *slash = '/';
    }
    snprintf(text, sizeof(text), "cannot be written here: %s", strerror(errno));
    show(c, name, 0, 0, true, text);
}

/* What io/tls logs about files is what there is to show. It begins with where the configuration
 * names the file. */
static void
on_log(enum log_level level, const char *text, void *user)
{
    struct check *c = user;
    size_t bytes = strlen(c->path);
    uint32_t line = 0, column = 0;
    int used = 0;

    if (strncmp(text, c->path, bytes) == 0 &&
        sscanf(text + bytes, ":%" SCNu32 ":%" SCNu32 ": %n", &line, &column, &used) == 2 &&
        used > 0)
        text += bytes + (size_t)used;
    show(c, c->path, line, column, level != LOG_ERROR, text);
}

/* False: told. */
static bool
read_listed(struct check *c, const struct config_file *f, struct tls_file *ret_file)
{
    char name[4096];

    ret_file->name = f->path;
    if (f->path.bytes == 0)
        return true;
    if (arena_printf(&c->arena, &ret_file->place, "%s:%" PRIu32 ":%" PRIu32 ": ", c->path, f->line,
                     f->column) != ERR_OK ||
        !read_named(c, f->path, PEM_BYTES_MAX, name, sizeof(name), &ret_file->pem))
        return false;
    if (ret_file->pem.bytes == 0)
        show(c, name, 0, 0, false, "the file is empty");
    return ret_file->pem.bytes > 0;
}

static void
check_tls(struct check *c, const struct config_tls *tls)
{
    struct tls_certificate *list = arena_zeroed(&c->arena, tls->certificate_count * sizeof(*list));
    struct tls_server_options o = {.client_cert_required = !tls->client_optional};
    struct tls_context *context;

    if (tls->certificate_count == 0 || list == NULL)
        return;
    for (size_t i = 0; i < tls->certificate_count; i++) {
        if (!read_listed(c, &tls->certificates[i].cert, &list[i].cert) ||
            !read_listed(c, &tls->certificates[i].key, &list[i].key))
            return;
    }
    if (!read_listed(c, &tls->client_ca, &o.client_ca))
        return;
    o.cert = list[0].cert;
    o.key = list[0].key;
    o.more = list + 1;
    o.more_count = tls->certificate_count - 1;
    log_tap(on_log, c);
    if (tls_server_open(&o, &context) == ERR_OK)
        tls_unref(context);
    log_tap(NULL, NULL);
}

/* The certificates for those that we call: who vouches for them, and what we show. line: where the
 * configuration has them; 0: not known. */
static void
check_called(struct check *c, struct span ca, struct span cert, struct span key, uint32_t line)
{
    const struct config_file files[] = {
        {.path = ca, .line = line}, {.path = cert, .line = line}, {.path = key, .line = line}};
    struct tls_client_options o = {.pinned = ca.bytes == 0}; /* the system's need not be here */
    struct tls_context *context;
    uint64_t hash = HASH_FNV_START;

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        hash = hash_fnv(hash, &files[i].path.bytes, sizeof(files[i].path.bytes));
        hash = hash_fnv(hash, files[i].path.data, files[i].path.bytes);
    }
    for (size_t i = 0; i < c->called_count; i++) {
        if (c->called[i] == hash)
            return;
    }
    if (ca.bytes + cert.bytes == 0 || c->called_count == CALLED_MAX)
        return;
    c->called[c->called_count++] = hash;
    if (!read_listed(c, &files[0], &o.ca) || !read_listed(c, &files[1], &o.cert) ||
        !read_listed(c, &files[2], &o.key))
        return;
    log_tap(on_log, c);
    if (tls_client_open(&o, &context) == ERR_OK)
        tls_unref(context);
    log_tap(NULL, NULL);
}

static void
check_all_called(struct check *c)
{
    const struct span none = {NULL, 0};

    for (size_t i = 0; i < c->config.engine_count + c->config.gateway_count; i++) {
        const struct config_engine *e = i < c->config.engine_count
                                            ? &c->config.engines[i]
                                            : &c->config.gateways[i - c->config.engine_count].at;
        check_called(c, e->ca_file, e->client_cert_file, e->client_key_file, e->line);
    }
    check_called(c, c->config.bus.ca_file, none, none, 0);
}

/* An Ollama by its kind, or by the port that it has if nobody says otherwise. */
static bool
is_ollama(const struct config_engine *e)
{
    return e->kind.bytes > 0 ? span_eq_text(e->kind, "ollama") : e->port == OLLAMA_PORT;
}

/* What no engine tells and nobody said is taken to be as it is by itself. */
static void
check_slots(struct check *c)
{
    for (size_t i = 0; i < c->config.engine_count; i++) {
        const struct config_engine *e = &c->config.engines[i];

        if (e->slots == 0 && is_ollama(e))
            show(c, c->path, e->line, 0, true,
                 "`slots` is not said, and an Ollama does not tell: one request of each model at "
                 "once, as it is where OLLAMA_NUM_PARALLEL is not set");
    }
}

/* ---- Its own key, and what an operator signed of it. */

/* The file of a key, whose bytes are wiped. False: it is none. */
static bool
parse_key(struct span text, struct signature_file *ret_file)
{
    enum err err = signature_file_parse(text, ret_file);

    signature_forget((char *)(uintptr_t)text.data, text.bytes); /* the arena's: not const */
    return err == ERR_OK;
}

/* Is this file its key, and may it be? False: not, and why was said. */
static bool
check_own_key(struct check *c, struct span path, struct span own_name,
              struct signature_file *ret_file)
{
    const char *role = c->is_node ? "node" : "gateway";
    enum signature_owner owner = c->is_node ? SIGNATURE_OWNER_NODE : SIGNATURE_OWNER_GATEWAY;
    char name[4096], text[200] = "";
    bool is_other = false;
    struct span key;
    struct stat s;

    *ret_file = (struct signature_file){.owner = SIGNATURE_OWNER_NONE};
    if (!read_named(c, path, SIGNATURE_FILE_BYTES_MAX, name, sizeof(name), &key))
        return false;
    if (!parse_key(key, ret_file) || !ret_file->is_secret ||
        (ret_file->owner != owner && ret_file->owner != SIGNATURE_OWNER_NONE))
        snprintf(text, sizeof(text), "it is no %s's secret key (`isochrone key %s` makes one)",
                 role, role);
    else if (stat(name, &s) == 0 && (s.st_mode & 077) != 0)
        snprintf(text, sizeof(text), "others can read it (mode %04o): chmod 600 it",
                 s.st_mode & 07777);
    else if (own_name.bytes > 0 && ret_file->name[0] != '\0' &&
             !span_eq_text(own_name, ret_file->name)) {
        snprintf(text, sizeof(text), "it is the key of %s, and the %s's name is %.*s",
                 ret_file->name, role, (int)own_name.bytes, own_name.data);
        is_other = true;
    }
    if (text[0] != '\0')
        show(c, name, 0, 0, is_other && !c->is_node, text); /* a gateway does with another's name */
    return text[0] == '\0';
}

static bool
check_node_key(struct check *c, struct signature_key *ret_key)
{
    struct signature_file file;
    bool is_good = check_own_key(c, c->node.key_file, c->node.name, &file);

    if (is_good && c->node.name.bytes == 0 && file.name[0] == '\0') {
        show(c, c->path, 0, 0, false, "the key does not say whose it is: set `name`");
        is_good = false;
    } else if (is_good && c->node.name.bytes == 0 &&
               arena_copy(&c->arena, span_of(file.name), &c->node.name) != ERR_OK) {
        show(c, c->path, 0, 0, false, "out of memory");
        is_good = false;
    }
    *ret_key = file.key;
    signature_file_forget(&file);
    return is_good;
}

static void
check_gateway_key(struct check *c)
{
    struct signature_file file;

    if (c->config.key_file.bytes > 0 && check_own_key(c, c->config.key_file, c->config.name, &file))
        signature_file_forget(&file);
}

/* The record: is it good for whoever trusts its operator, and does it have this key? */
static void
check_node(struct check *c)
{
    char name[4096], words[IDENTITY_WORDS_BYTES];
    uint64_t now_s = (uint64_t)time(NULL);
    struct message_error error;
    struct signature_key key;
    struct identity record;
    struct span text;
    enum identity_verdict verdict;
    bool has_key = check_node_key(c, &key);

    if (!read_named(c, c->node.identity_file, IDENTITY_BYTES_MAX, name, sizeof(name), &text))
        return;
    if (identity_parse(text, &record, &error) != ERR_OK) {
        show(c, name, 0, 0, false, error.text);
        return;
    }
    verdict = identity_verify(
        &record, c->node.name,
        &(struct identity_trust){.operators = &record.operator_key, .count = 1}, now_s);
    identity_words(verdict, &record, now_s, words);
    if (verdict != IDENTITY_PROVEN)
        show(c, name, 0, 0, identity_is_unproven(verdict), words);
    else if (has_key && !signature_key_eq(&key, &record.key))
        show(c, name, 0, 0, false, "the operator signed another key than this node has");
    else if (identity_ends(&record, now_s, words))
        show(c, name, 0, 0, true, words);
}

/* ---- The command. */

static const char *
environment(const char *name, void *user)
{
    (void)user;
    return getenv(name);
}

static const char *
plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static void
print_result(struct check *c)
{
    size_t others = c->is_node ? c->node.base.gateway_count : c->config.model_count;
    const char *verdict = "ok";
    cJSON *root;
    char *text;

    if (c->errors > 0)
        verdict = "not usable";
    else if (c->config.unbuilt)
        verdict = "well-formed, but it names parts that are not built yet";
    if (!c->json) {
        fprintf(c->out, "%s: %s%s; %zu error%s, %zu warning%s, %zu engine%s, %zu %s%s\n", c->path,
                verdict, c->is_node ? ", for `isochrone node`" : "", c->errors, plural(c->errors),
                c->warnings, plural(c->warnings), c->config.engine_count,
                plural(c->config.engine_count), others, c->is_node ? "gateway" : "model",
                plural(others));
        return;
    }
    root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "file", c->path);
    cJSON_AddStringToObject(root, "of", c->is_node ? "node" : "gateway");
    cJSON_AddBoolToObject(root, "ok", c->errors == 0);
    cJSON_AddBoolToObject(root, "starts", c->errors == 0 && !c->config.unbuilt);
    cJSON_AddNumberToObject(root, "errors", (double)c->errors);
    cJSON_AddNumberToObject(root, "warnings", (double)c->warnings);
    cJSON_AddNumberToObject(root, "engines", (double)c->config.engine_count);
    cJSON_AddNumberToObject(root, c->is_node ? "gateways" : "models", (double)others);
    cJSON_AddItemToObject(root, "problems", c->list);
    text = cJSON_Print(root);
    if (text != NULL)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
}

/* Where its keys are those that both have, whose is the key that it names? */
static bool
has_key_of_node(struct check *c, struct span yaml)
{
    struct config_problems problems;
    struct signature_file file = {.owner = SIGNATURE_OWNER_NONE};
    char name[4096];
    struct span text;
    bool is_nodes = false;

    if (config_node_parse(yaml, environment, NULL, &c->arena, &c->node, &problems) != ERR_OK ||
        c->node.key_file.bytes == 0)
        return false;
    full_path(c, c->node.key_file, name, sizeof(name));
    if (cli_read_file(name, SIGNATURE_FILE_BYTES_MAX, &c->arena, &text) == ERR_OK)
        is_nodes = parse_key(text, &file) && file.owner == SIGNATURE_OWNER_NODE;
    signature_file_forget(&file);
    return is_nodes;
}

static int
check_run(struct check *c)
{
    struct config_problems problems;
    struct span yaml, dump;
    enum err err = cli_read_file(c->path, CONFIG_BYTES_MAX, &c->arena, &yaml);

    if (err != ERR_OK) {
        fprintf(stderr, "check: %s: %s\n", c->path, cli_read_words(err));
        return CLI_FAILED;
    }
    c->is_node = config_node_is(yaml, &c->arena) || has_key_of_node(c, yaml);
    if (c->is_node && c->dump) {
        fprintf(stderr, "check: %s: --dump is for gateways' configurations, this is a node's\n",
                c->path);
        return CLI_USAGE;
    }
    c->out = c->dump ? stderr : stdout;
    c->list = c->json ? cJSON_CreateArray() : NULL;
    if (c->is_node) {
        err = config_node_parse(yaml, environment, NULL, &c->arena, &c->node, &problems);
        c->config = c->node.base;
    } else {
        err = config_parse(yaml, environment, NULL, &c->arena, &c->config, &problems);
    }
    show_all(c, c->path, &problems);
    if (err == ERR_OK) {
        check_named(c);
        if (c->is_node)
            check_node(c);
        else
            check_gateway_key(c);
        check_tls(c, &c->config.tls);
        check_tls(c, &c->config.admin_tls);
        check_all_called(c);
        check_slots(c);
        check_writable(c, c->config.access_log_file);
        check_writable(c, c->config.log_file);
    }
    if (c->dump && err == ERR_OK) {
        if (config_dump(&c->config, &c->arena, &dump) != ERR_OK) {
            fprintf(stderr, "check: %s: too large to print\n", c->path);
            return CLI_FAILED;
        }
        fwrite(dump.data, 1, dump.bytes, stdout);
    } else {
        print_result(c);
    }
    return c->errors == 0 ? CLI_OK : CLI_FAILED;
}

int
cmd_check(int argc, char **argv)
{
    static const struct option options[] = {
        {"file", required_argument, NULL, 'f'},
        {"dump", no_argument, NULL, 'd'},
        {"json", no_argument, NULL, 'j'},
        {NULL, 0, NULL, 0},
    };
    struct check c = {.path = NULL};
    int option, result;

    while ((option = getopt_long(argc, argv, "f:", options, NULL)) != -1) {
        switch (option) {
        case 'f':
            c.path = optarg;
            break;
        case 'd':
            c.dump = true;
            break;
        case 'j':
            c.json = true;
            break;
        default:
            return CLI_USAGE; /* getopt has said why */
        }
    }
    if (c.path == NULL || optind < argc || (c.dump && c.json)) {
        fputs(cmd_check_help, stderr);
        return CLI_USAGE;
    }
    arena_init(&c.arena, CHECK_MEMORY_BYTES_MAX);
    result = check_run(&c);
    arena_fini(&c.arena);
    return result;
}
