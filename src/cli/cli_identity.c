/* cli_identity - see cli_identity.h. A secret goes into a file that only its owner reads, is never
 * written over without --force, never printed, and not taken from a file that others can read. */
#include "cli/cli_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "cli/cli.h"
#include "cli/cli_edit.h"
#include "cli/cli_options.h"
#include "io/tls.h"
#include "wire/config.h"
#include "wire/identity.h"
#include "wire/keys.h"

#define DAY_S            86400u
#define EXPIRES_DEFAULT  "90d"
#define FILE_BYTES_MAX   65536u
#define MEMORY_BYTES_MAX 4194304u

const char cli_identity_help[] =
    "Keys of nodes, operators and gateways, and what an operator signs of a node.\n"
    "\n"
    "  isochrone key operator --name acme -o operator.key\n"
    "  isochrone key node --name ams1-gpu0 -o node.key\n"
    "  isochrone key gateway --name ams-gw -o gateway.key\n"
    "  isochrone key sign --operator operator.key --node node.pub \\\n"
    "      --label region=eu-west --label site=ams1 --url https://10.0.0.5:8443 \\\n"
    "      --pin node.crt -o node.identity\n"
    "  isochrone key show node.identity --operator operator.pub\n"
    "  isochrone key show node.crt     # the pin of a certificate\n"
    "\n"
    "      --name NAME        whose key it is\n"
    "  -o, --out FILE         where the secret key goes, for its owner only; the\n"
    "                         public one goes beside it (node.key: node.pub), and to\n"
    "                         standard output\n"
    "      --force            write over a key that is there\n"
    "      --json             of show: as JSON\n"
    "What an operator signs of a node (without -o to standard output):\n"
    "      --operator FILE    the operator's key; of show: whose signature it has to\n"
    "                         be\n"
    "      --node FILE        the node's public key\n"
    "      --label NAME=TEXT  again and again: region, site, gpu ...\n"
    "      --url URL          where gateways reach it; with https also\n"
    "      --pin FILE         the certificate that it shows there, or its sha256:...\n"
    "      --expires TIME     so many days (90d), or 2027-01-31, or\n"
    "                         2027-01-31T18:00:00Z, in UTC\n"
    "\n"
    "The public half of a gateway's key goes into nodes' configurations, that of an\n"
    "operator's into `operators.trust` of gateways (doc/identity.md).\n"
    "Exit status: 0 done, 1 not done, 2 wrong use.\n";

struct identity_command {
    const char *verb, *path, *name, *out, *operator, * node, *url, *pin, *expires;
    bool json, force;
    struct message_labels labels;
    struct arena arena;
};

bool
cli_identity_wrong(const char *format, ...)
{
    va_list args;

    fputs("key: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return false;
}

/* ---- Files. */

/* A file with what is or may be a secret: not when others can read it. */
static bool
read_key_file(struct identity_command *k, const char *path, bool secret, struct signature_file *ret)
{
    struct span text = {NULL, 0};
    struct stat s;
    enum err err = ERR_IO;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && fstat(fd, &s) == 0)
        err = cli_read_fd(fd, FILE_BYTES_MAX, &k->arena, &text);
    if (err != ERR_OK)
        cli_identity_wrong("%s: %s", path, cli_read_words(err));
    if (fd >= 0)
        close(fd);
    if (err != ERR_OK)
        return false;
    err = signature_file_parse(text, ret);
    signature_forget((char *)(uintptr_t)text.data, text.bytes);
    if (err != ERR_OK)
        return cli_identity_wrong(
            "%s is no key file: one line, `ed25519:` or `ed25519-secret:` and 64 "
            "digits of 0-9a-f, then for example `node ams1-gpu0`",
            path);
    if (ret->is_secret && S_ISREG(s.st_mode) && (s.st_mode & 077) != 0) {
        signature_file_forget(ret);
        return cli_identity_wrong(
            "%s holds a secret that others can read (mode %04o): chmod 600 it, or make "
            "a new one if it is too late",
            path, s.st_mode & 07777);
    }
    if (secret && !ret->is_secret)
        return cli_identity_wrong("%s holds a public key; here the secret one is needed", path);
    return true;
}

/* May what stands there be replaced without being asked to? */
static bool
is_record(struct span text)
{
    struct identity identity;
    struct message_error error;

    return identity_parse(text, &identity, &error) == ERR_OK;
}

/* Write a file as a whole. */
static bool
write_file(struct identity_command *k, const char *path, struct span text, mode_t mode)
{
    struct cli_edit edit;
    enum err err = cli_edit_open(&edit, path, FILE_BYTES_MAX, &k->arena);
    bool good = true;

    if (err == ERR_OK && edit.text.bytes > 0 && !k->force && !is_record(edit.text)) {
        good = cli_identity_wrong(
            "%s is there already, and what is lost cannot be made again; take another "
            "name, or --force",
            path);
    } else if (err == ERR_OK) {
        edit.mode = mode;
        err = cli_edit_replace(&edit, text, &k->arena);
    }
    if (err != ERR_OK)
        good = cli_identity_wrong("%s: %s", path, cli_read_words(err));
    cli_edit_close(&edit);
    return good;
}

/* ---- Making keys. */

/* node.key -> node.pub */
static const char *
public_path(struct identity_command *k)
{
    struct span path = span_of(k->out), text;

    if (path.bytes > 4 && span_eq_text(span_from(path, path.bytes - 4), ".key"))
        path.bytes -= 4;
    return arena_printf(&k->arena, &text, "%.*s.pub", (int)path.bytes, path.data) == ERR_OK
               ? text.data
               : NULL;
}

static bool
write_pair(struct identity_command *k, const struct signature_file *file, const char *public)
{
    char text[SIGNATURE_FILE_BYTES_MAX];
    size_t bytes = signature_file_text(file, true, text);
    bool good = write_file(k, k->out, (struct span){text, bytes}, 0600);

    signature_forget(text, sizeof(text));
    if (!good)
        return false;
    bytes = signature_file_text(file, false, text);
    k->force = true; /* it belongs to the secret, which is new */
    return write_file(k, public, (struct span){text, bytes}, 0644);
}

static int
key_make(struct identity_command *k, enum signature_owner owner)
{
    struct signature_file file = {.owner = owner, .is_secret = true};
    unsigned char seed[SIGNATURE_SEED_BYTES];
    char key[SIGNATURE_KEY_TEXT_SIZE];
    const char *public = public_path(k);
    bool good;

    if (public == NULL)
        return CLI_FAILED;
    if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        cli_identity_wrong("no random bytes: %s", strerror(errno));
        return CLI_FAILED;
    }
    span_copy(span_of(k->name), file.name, sizeof(file.name));
    signature_secret_of_seed(seed, &file.secret);
    signature_forget(seed, sizeof(seed));
    signature_key_of_secret(&file.secret, &file.key);
    good = write_pair(k, &file, public);
    signature_file_forget(&file);
    if (!good)
        return CLI_FAILED;
    signature_key_text(&file.key, key);
    if (k->json) {
        cJSON *json = cJSON_CreateObject();
        char *text;

        cJSON_AddStringToObject(json, "owner", k->verb);
        cJSON_AddStringToObject(json, "name", k->name);
        cJSON_AddStringToObject(json, "key", key);
        cJSON_AddStringToObject(json, "secret_file", k->out);
        cJSON_AddStringToObject(json, "public_file", public);
        text = cJSON_PrintUnformatted(json);
        cJSON_Delete(json);
        puts(text != NULL ? text : "");
        cJSON_free(text);
    } else {
        printf("%s\n", key);
        fprintf(stderr, "The secret key is in %s: keep it there. %s may be shown.\n", k->out,
                public);
    }
    return CLI_OK;
}

/* ---- Signing. */

/* "90d" from now, or a time as in key files. */
static bool
expires_parse(const char *text, uint64_t now_s, uint64_t *ret_s)
{
    struct span s = span_of(text);
    uint64_t days;

    if (s.bytes > 1 && s.data[s.bytes - 1] == 'd' &&
        span_u64((struct span){s.data, s.bytes - 1}, &days) == ERR_OK && days > 0 &&
        days <= IDENTITY_LIFETIME_S_MAX / DAY_S) {
        *ret_s = now_s + days * DAY_S;
        return true;
    }
    if (keys_time(s, ret_s) == ERR_OK && *ret_s > now_s &&
        *ret_s - now_s <= IDENTITY_LIFETIME_S_MAX)
        return true;
    return cli_identity_wrong(
        "--expires is so many days (90d) or a time to come (2027-01-31), within ten "
        "years");
}

/* The hash of a certificate's key. False: there is none in the file. */
static bool
pin_of_pem(const char *path, struct span pem, unsigned char ret_pin[TLS_PIN_BYTES])
{
    const struct tls_file file = {.name = span_of(path), .pem = pem};

    return pem.bytes > 0 && tls_file_pin(&file, ret_pin) == ERR_OK;
}

static bool
pin_of_file(struct identity_command *k, const char *path, unsigned char ret_pin[TLS_PIN_BYTES])
{
    struct span pem;
    enum err err = cli_read_file(path, FILE_BYTES_MAX, &k->arena, &pem);

    if (err != ERR_OK)
        return cli_identity_wrong("%s: %s", path, cli_read_words(err));
    return pin_of_pem(path, pem, ret_pin);
}

/* The record without its signature. */
static bool
record_fill(struct identity_command *k, const struct signature_file *operator_,
            const struct signature_file *node, struct identity *record)
{
    struct span host;
    uint16_t port;
    enum err err;

    if (operator_->name[0] == '\0' || operator_->owner != SIGNATURE_OWNER_OPERATOR)
        return cli_identity_wrong(
            "%s is not an operator's key (`isochrone key operator` makes one)", k->operator);
    if (node->name[0] == '\0' || node->owner == SIGNATURE_OWNER_OPERATOR)
        return cli_identity_wrong("%s is not a node's key (`isochrone key node` makes one)",
                                  k->node);
    *record = (struct identity){.node = span_of(node->name),
                                .key = node->key,
                                .operator= span_of(operator_->name),
                                .labels = k->labels,
                                .issued_s = (uint64_t)time(NULL)};
    if (k->url != NULL) {
        record->url = span_of(k->url);
        err = config_url(record->url, &host, &port);
        if ((err != ERR_OK && err != ERR_UNSUPPORTED) || record->url.bytes > IDENTITY_URL_BYTES_MAX)
            return cli_identity_wrong("--url is http:// or https://, a host and a port");
    }
    if (k->pin != NULL && !span_starts(span_of(k->pin), SPAN_LIT("sha256:"))) {
        if (!pin_of_file(k, k->pin, record->tls_pin))
            return false;
    } else if (k->pin != NULL && config_pin(span_of(k->pin), record->tls_pin) != ERR_OK)
        return cli_identity_wrong("--pin is sha256: and 44 characters of base64 or 64 hexadecimal "
                                  "digits, or a file with the node's certificate");
    if (k->pin == NULL && span_starts(record->url, SPAN_LIT("https:")))
        return cli_identity_wrong("with an https url gateways know the node by its certificate: "
                                  "--pin FILE, or sha256:...");
    return expires_parse(k->expires != NULL ? k->expires : EXPIRES_DEFAULT, record->issued_s,
                         &record->expires_s);
}

static int
record_write(struct identity_command *k, struct identity *record,
             const struct signature_secret *operator_secret)
{
    char json[IDENTITY_BYTES_MAX + 1], until[KEYS_TIME_BYTES];
    size_t bytes;

    if (identity_sign(record, operator_secret) != ERR_OK ||
        identity_write(record, json, &bytes) != ERR_OK) {
        cli_identity_wrong("this is more than a record can hold");
        return CLI_FAILED;
    }
    json[bytes++] = '\n';
    if (k->out == NULL) {
        fwrite(json, 1, bytes, stdout);
        return CLI_OK;
    }
    if (!write_file(k, k->out, (struct span){json, bytes}, 0644))
        return CLI_FAILED;
    keys_time_text(record->expires_s, until);
    fprintf(stderr, "%s: %.*s of %.*s, until %s\n", k->out, (int)record->node.bytes,
            record->node.data, (int)record->operator.bytes, record->operator.data, until);
    return CLI_OK;
}

static int
key_sign(struct identity_command *k)
{
    struct signature_file operator_ = {.owner = SIGNATURE_OWNER_NONE}, node = operator_;
    struct identity record;
    int code = CLI_FAILED;

    if (read_key_file(k, k->operator, true, &operator_) &&
        read_key_file(k, k->node, false, &node) && record_fill(k, &operator_, &node, &record))
        code = record_write(k, &record, &operator_.secret);
    signature_file_forget(&operator_);
    signature_file_forget(&node);
    return code;
}

/* ---- Showing. */

/* Lines for people, or fields of JSON. */
static void
tell(cJSON *json, const char *name, struct span value)
{
    char text[IDENTITY_WORDS_BYTES + IDENTITY_URL_BYTES_MAX];

    if (value.bytes == 0)
        return;
    span_copy(value, text, sizeof(text));
    if (json != NULL)
        cJSON_AddStringToObject(json, name, text);
    else
        printf("%-10s %s\n", name, text);
}

static void
tell_pin(cJSON *json, const unsigned char pin[TLS_PIN_BYTES])
{
    char text[TLS_PIN_TEXT_BYTES];

    if (message_is_zero(pin, TLS_PIN_BYTES))
        return;
    tls_pin_text(pin, text);
    tell(json, "pin", span_of(text));
}

static void
tell_time(cJSON *json, const char *name, uint64_t s)
{
    char text[KEYS_TIME_BYTES];

    if (s == MESSAGE_UNKNOWN)
        return;
    keys_time_text(s, text);
    tell(json, name, span_of(text));
}

static void
tell_end(cJSON *json)
{
    char *text = json != NULL ? cJSON_PrintUnformatted(json) : NULL;

    cJSON_Delete(json);
    if (text != NULL)
        puts(text);
    cJSON_free(text);
}

/* What a record says; with an operator's key, whether it holds. */
static int
show_record(struct identity_command *k, const struct identity *r)
{
    struct signature_file operator_ = {.owner = SIGNATURE_OWNER_NONE};
    char key[SIGNATURE_KEY_TEXT_SIZE], words[IDENTITY_WORDS_BYTES];
    char text[8 + 2 * IDENTITY_HASH_BYTES];
    unsigned char hash[IDENTITY_HASH_BYTES];
    uint64_t now_s = (uint64_t)time(NULL);
    enum identity_verdict verdict;
    cJSON *json, *labels = NULL;

    if (k->operator!= NULL && !read_key_file(k, k->operator, false, &operator_))
        return CLI_FAILED;
    signature_file_forget(&operator_);
    json = k->json ? cJSON_CreateObject() : NULL;
    tell(json, "node", r->node);
    signature_key_text(&r->key, key);
    tell(json, "key", span_of(key));
    tell(json, "operator", r->operator);
    signature_key_text(&r->operator_key, key);
    tell(json, "signed by", span_of(r->operator.bytes> 0 ? key : ""));
    tell(json, "url", r->url);
    tell_pin(json, r->tls_pin);
    if (json != NULL)
        labels = cJSON_AddObjectToObject(json, "labels");
    for (size_t i = 0; i < r->labels.count; i++) {
        char name[MESSAGE_LABEL_NAME_BYTES_MAX + 1];

        span_copy(r->labels.list[i].name, name, sizeof(name));
        tell(labels, name, r->labels.list[i].value);
    }
    identity_hash(r, hash);
    memcpy(text, "sha256:", 7);
    message_hex(hash, sizeof(hash), text + 7);
    tell(json, "record", span_of(text));
    tell_time(json, "issued", r->issued_s);
    tell_time(json, "expires", r->expires_s);
    /* without an operator's key to compare with: is it at least what its own signer says? */
    verdict = identity_verify(
        r, SPAN_LIT(""),
        &(struct identity_trust){
            .operators = k->operator!= NULL ? &operator_.key : & r->operator_key, .count = 1},
        now_s);
    identity_words(verdict, r, now_s, words);
    if (verdict == IDENTITY_PROVEN && k->operator== NULL) {
        tell(json, "verdict",
             SPAN_LIT("well signed; whether by the right operator, --operator "
                      "FILE says"));
    } else {
        tell(json, "verdict", span_of(words));
    }
    tell_end(json);
    return verdict == IDENTITY_PROVEN ? CLI_OK : CLI_FAILED;
}

static int
show_certificate(struct identity_command *k, struct span pem)
{
    unsigned char pin[TLS_PIN_BYTES];
    cJSON *json;

    if (!pin_of_pem(k->path, pem, pin))
        return CLI_FAILED; /* told */
    json = k->json ? cJSON_CreateObject() : NULL;
    tell_pin(json, pin);
    tell_end(json);
    return CLI_OK;
}

static int
key_show(struct identity_command *k)
{
    struct signature_file file = {.owner = SIGNATURE_OWNER_NONE};
    char key[SIGNATURE_KEY_TEXT_SIZE];
    struct message_error error;
    struct identity record;
    struct span text;
    enum err err = cli_read_file(k->path, FILE_BYTES_MAX, &k->arena, &text);
    cJSON *json;

    if (err != ERR_OK) {
        cli_identity_wrong("%s: %s", k->path, cli_read_words(err));
        return CLI_FAILED;
    }
    if (span_starts(text, SPAN_LIT("{"))) {
        if (identity_parse(text, &record, &error) == ERR_OK)
            return show_record(k, &record);
        cli_identity_wrong("%s is no identity record: %s", k->path, error.text);
        return CLI_FAILED;
    }
    if (memmem(text.data, text.bytes, "-----BEGIN", 10) != NULL)
        return show_certificate(k, text);
    signature_forget((char *)(uintptr_t)text.data, text.bytes);
    if (!read_key_file(k, k->path, false, &file))
        return CLI_FAILED;
    signature_key_text(&file.key, key);
    json = k->json ? cJSON_CreateObject() : NULL;
    tell(json, "owner", span_of(signature_owner_name(file.owner)));
    tell(json, "name", span_of(file.name));
    tell(json, "key", span_of(key));
    tell(json, "holds", span_of(file.is_secret ? "the secret key" : "the public key"));
    tell_end(json);
    signature_file_forget(&file);
    return CLI_OK;
}

/* ---- Options. */

static bool
label_take(struct identity_command *k, const char *text)
{
    struct span word = span_of(text), name = {word.data, span_find(word, '=')};
    enum err err = message_label_add(&k->labels, name, span_from(word, name.bytes + 1));

    if (err == ERR_EXISTS)
        return cli_identity_wrong("--label %s: %.*s is there twice", text, (int)name.bytes,
                                  name.data);
    return err == ERR_OK ||
           cli_identity_wrong(
               "--label is name=text, up to %u of them: a name of up to %u of a-z, 0-9, _ and "
               "-, a text of up to %u characters without quotes",
               MESSAGE_LABELS_MAX, MESSAGE_LABEL_NAME_BYTES_MAX, MESSAGE_LABEL_BYTES_MAX);
}

/* Take out the labels, the one option that may be given several times. */
static bool
labels_take(struct identity_command *k, int *argc, char **argv)
{
    int kept = 1;

    for (int i = 1; i < *argc; i++) {
        struct span word = span_of(argv[i]), begin = SPAN_LIT("--label=");
        bool is_apart = span_eq_text(word, "--label") && i + 1 < *argc;

        if (!is_apart && !span_starts(word, begin))
            argv[kept++] = argv[i];
        else if (!label_take(k, is_apart ? argv[++i] : word.data + begin.bytes))
            return false;
    }
    *argc = kept;
    return true;
}

/* What every word needs. False: wrong use, and why was said. */
static bool
options_check(const struct identity_command *k)
{
    if (strcmp(k->verb, "show") == 0)
        return k->path != NULL || cli_identity_wrong("which file? isochrone key show FILE");
    if (k->path != NULL)
        return cli_identity_wrong("`%s`: one word too many", k->path);
    if (strcmp(k->verb, "sign") == 0)
        return (k->operator!= NULL && k->node != NULL) ||
               cli_identity_wrong(
                   "whom for whom? isochrone key sign --operator operator.key --node node.pub");
    if (k->labels.count > 0)
        return cli_identity_wrong("labels are signed, not made: isochrone key sign --label ...");
    if (k->name == NULL || !config_is_name(span_of(k->name)))
        return cli_identity_wrong("whose key? --name NAME, 1 to 63 of a-z, 0-9 and -");
    return k->out != NULL ||
           cli_identity_wrong("where does it go? -o FILE, for example -o %s.key", k->verb);
}

static bool
options_parse(int argc, char **argv, struct identity_command *k)
{
    const struct cli_option options[] = {{"name", 0, NULL, &k->name}, {"out", 'o', NULL, &k->out},
                                         {
                                             "operator",
                                             0,
                                             NULL,
                                             &k->operator},
                                             {"node", 0, NULL, &k->node},
                                             {"url", 0, NULL, &k->url},
                                             {"pin", 0, NULL, &k->pin},
                                             {"expires", 0, NULL, &k->expires},
                                             {"json", 0, &k->json, NULL},
                                             {"force", 0, &k->force, NULL},
    };
    static char command[] = "key";

    k->verb = argv[0];
    argv[0] = command; /* for complaints */
    return labels_take(k, &argc, argv) &&
           cli_options(argc, argv, options, sizeof(options) / sizeof(options[0]), &k->path) &&
           options_check(k);
}

static const char *const verbs[] = {"node", "operator", "gateway", "sign", "show"};

bool
cli_identity_has(const char *verb)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verb, verbs[i]) == 0)
            return true;
    }
    return false;
}

int
cli_identity(int argc, char **argv)
{
    struct identity_command k = {.verb = NULL};
    int code = CLI_USAGE;

    arena_init(&k.arena, MEMORY_BYTES_MAX);
    if (options_parse(argc, argv, &k)) {
        if (strcmp(k.verb, "sign") == 0)
            code = key_sign(&k);
        else if (strcmp(k.verb, "show") == 0)
            code = key_show(&k);
        else if (strcmp(k.verb, "node") == 0)
            code = key_make(&k, SIGNATURE_OWNER_NODE);
        else
            code = key_make(&k, strcmp(k.verb, "gateway") == 0 ? SIGNATURE_OWNER_GATEWAY
                                                               : SIGNATURE_OWNER_OPERATOR);
    }
    arena_fini(&k.arena);
    return code;
}
