/* e2e_node - a node on a thread of its own, and what it says; see e2e_node.h. */
#include "e2e_node.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e_page.h"
#include "io/clock.h"

static void *
run(void *argument)
{
    node_run(argument);
    return NULL;
}

void
e2e_node_seed(unsigned char first, unsigned char ret_seed[SIGNATURE_SEED_BYTES])
{
    memset(ret_seed, 0, SIGNATURE_SEED_BYTES);
    ret_seed[0] = first;
}

void
e2e_node_key(unsigned char first, struct signature_secret *ret_secret,
             char ret_text[SIGNATURE_KEY_TEXT_SIZE])
{
    unsigned char seed[SIGNATURE_SEED_BYTES];
    struct signature_key key;

    e2e_node_seed(first, seed);
    signature_secret_of_seed(seed, ret_secret);
    signature_key_of_secret(ret_secret, &key);
    signature_key_text(&key, ret_text);
}

void
e2e_node_write_key(const char *path)
{
    struct signature_file file = {.owner = SIGNATURE_OWNER_NODE, .name = "n1", .is_secret = true};
    char line[SIGNATURE_FILE_BYTES_MAX], text[SIGNATURE_KEY_TEXT_SIZE];

    e2e_node_key(5, &file.secret, text);
    signature_key_of_secret(&file.secret, &file.key);
    signature_file_text(&file, true, line);
    e2e_write_file(path, "%s", line);
}

static uint16_t
port_of(const struct sockaddr_storage *address)
{
    return ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
}

/* The configuration, with what every test has, into text. */
static void PRINTF_LIKE(3, 0) complete(char *text, size_t size, const char *yaml, va_list args)
{
    char path[256], rest[4096];

    e2e_path("node.key", path, sizeof(path));
    if (access(path, R_OK) != 0) /* else somebody may be reading it */
        e2e_node_write_key(path);
    vsnprintf(rest, sizeof(rest), yaml, args);
    snprintf(text, size,
             "listen: {public: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\nkey: "
             "file:%s\nstate: %.*s\n%s%s",
             path, (int)(strrchr(path, '/') - path), path,
             strstr(rest, "limits:") == NULL ? "limits: {drain: 2s}\n" : "", rest);
}

static void
start(struct e2e_node *n, struct node_options *o)
{
    struct sockaddr_storage public_address, admin_address;

    o->ask_ns = 20000000;
    o->report_ns = 100000000;
    must(node_open(o, &n->node) == ERR_OK);
    node_addresses(n->node, &public_address, &admin_address);
    n->port = port_of(&public_address);
    n->admin_port = port_of(&admin_address);
    must(pthread_create(&n->thread, NULL, run, n->node) == 0);
    must(e2e_page_comes(n->admin_port, "/readyz", "\"ready\":true") ||
         e2e_page_has(n->admin_port, "/readyz", "no engine answers"));
}

void
e2e_node_start(struct e2e_node *n, const char *yaml, ...)
{
    struct node_options o = {.signals = false};
    char text[8192];
    va_list args;

    va_start(args, yaml);
    complete(text, sizeof(text), yaml, args);
    va_end(args);
    must(roster_load_node(NULL, span_of(text), NULL, &o.roster) == ERR_OK);
    start(n, &o);
}

void
e2e_node_load(struct e2e_node *n, const char *path)
{
    struct node_options o = {.signals = true, .config_path = path};

    must(roster_load_node(path, (struct span){NULL, 0}, NULL, &o.roster) == ERR_OK);
    start(n, &o);
}

void
e2e_node_write(const char *path, const char *yaml, ...)
{
    char text[8192];
    va_list args;

    va_start(args, yaml);
    complete(text, sizeof(text), yaml, args);
    va_end(args);
    e2e_write_file(path, "%s", text);
}

void
e2e_node_stop(struct e2e_node *n)
{
    node_stop(n->node);
    must(pthread_join(n->thread, NULL) == 0);
    node_close(n->node);
}

const struct report *
e2e_node_report(const struct e2e_node *n)
{
    static struct report report; /* tests have one thread that asks */
    static char text[MESSAGE_BYTES_MAX];
    struct message_error error;
    struct e2e_reply reply;

    e2e_ask(n->admin_port, "GET", "/network/v1/report", "", "", &reply);
    must(reply.status == 200 && reply.body_bytes < sizeof(text));
    memcpy(text, reply.body, reply.body_bytes);
    must(report_parse((struct span){text, reply.body_bytes}, &report, &error) == ERR_OK);
    e2e_reply_fini(&reply);
    return &report;
}

bool
e2e_node_direct(const struct e2e_node *n, unsigned char gateway, enum directive_action action,
                const char *model, unsigned char nonce, const char *result)
{
    struct directive d = {.v = MESSAGE_VERSION,
                          .node = SPAN_LIT("n1"),
                          .epoch = e2e_node_report(n)->epoch,
                          .nonce = {nonce},
                          .issued_s = clock_wall_s(),
                          .expires_s = clock_wall_s() + 60,
                          .action = action,
                          .model = span_of(model)};
    char text[MESSAGE_BYTES_MAX + 1], key[SIGNATURE_KEY_TEXT_SIZE], wanted[64];
    struct signature_secret secret;
    struct e2e_reply reply;
    size_t bytes;
    bool good;

    e2e_node_key(gateway, &secret, key);
    must(directive_sign(&d, &secret) == ERR_OK && directive_write(&d, text, &bytes) == ERR_OK);
    text[bytes] = '\0';
    snprintf(wanted, sizeof(wanted), "\"result\":\"%s\"", result);
    e2e_ask(n->port, "POST", "/network/v1/directive", "", text, &reply);
    good = strstr(reply.body, wanted) != NULL;
    e2e_reply_fini(&reply);
    return good;
}
