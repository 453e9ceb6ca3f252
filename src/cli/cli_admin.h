#ifndef CLI_CLI_ADMIN_H
#define CLI_CLI_ADMIN_H
/* cli_admin - a gateway's admin port, asked by the commands that look: one connection on a loop of
 * its own, limits on time and size, and one clear sentence when there is no answer. What a gateway
 * tells is outside data: names go through cli_table or cli_print before they reach a terminal. */
#include <cjson/cJSON.h>
#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "io/tls.h"

#define CLI_ADMIN_URL              "http://127.0.0.1:4142" /* of a gateway that says nothing else */
#define CLI_ADMIN_UP_PORT          "4141" /* tried next: `isochrone up` has one port for both */
#define CLI_ADMIN_ANSWER_BYTES_MAX 16777216u
#define CLI_ADMIN_MEMORY_MAX       ((size_t)1 << 30)
#define CLI_ADMIN_CONNECT_NS       3000000000u
#define CLI_ADMIN_SILENCE_NS       15000000000u
#define CLI_ADMIN_PATH_BYTES_MAX   1024u
#define CLI_ADMIN_PAGE_NODES       1000u
#define CLI_ADMIN_PEM_BYTES_MAX    1048576u
#define CLI_ADMIN_WHY_BYTES        320u
#define CLI_ADMIN_PAGES_MAX        1024u

/* The lines of a help text about the options that all these commands have. */
#define CLI_ADMIN_HELP                                                                             \
    "      --json             what the gateway said, as it said it\n" CLI_ADMIN_HELP_WHERE
#define CLI_ADMIN_HELP_WHERE                                                                       \
    "      --admin URL        its admin side (ISOCHRONE_ADMIN; " CLI_ADMIN_URL ",\n"               \
    "                         then the port of `isochrone up`)\n"                                  \
    "      --token file:PATH  its admin token, if it has one (ISOCHRONE_ADMIN_TOKEN)\n"            \
    "      --ca file:PATH     with https://: who vouches for it\n"                                 \
    "                         (ISOCHRONE_ADMIN_CA; the system's CAs)\n"                            \
    "      --pin sha256:...   or: its public key, no other (ISOCHRONE_ADMIN_PIN)\n"                \
    "      --client-cert file:PATH, --client-key file:PATH\n"                                      \
    "                         what to show when it asks\n"

/* Their rows of an option table; a is a struct cli_admin. */
#define CLI_ADMIN_OPTIONS(a)                                                                       \
    {"json", 0, &(a).json, NULL}, {"admin", 0, NULL, &(a).url_text},                               \
        {"token", 0, NULL, &(a).token_text}, {"ca", 0, NULL, &(a).ca_text},                        \
        {"pin", 0, NULL, &(a).pin_text}, {"client-cert", 0, NULL, &(a).client_cert_text},          \
    {                                                                                              \
        "client-key", 0, NULL, &(a).client_key_text                                                \
    }

struct cli_admin { /* zero it, read the options, open it */
    const char *command;
    bool json;
    const char *url_text, *token_text; /* NULL: from the environment, else the default */
    const char *ca_text, *pin_text;    /* likewise */
    const char *client_cert_text, *client_key_text;
    const char *wanted;  /* the node or model that is asked about: if there is none, the nearest is
                            told; NULL: nothing by name */
    bool is_default;     /* nobody said where */
    struct arena arena;  /* for the command's own use, too: until close */
    char host[256];      /* without brackets */
    char host_port[300]; /* as people write it; the Host header */
    uint16_t port;
    struct span authorization; /* empty: none */
    bool has_tls, has_pin;
    struct tls_context *tls;
    unsigned char pin[TLS_PIN_BYTES];
    char why_text[CLI_ADMIN_WHY_BYTES]; /* what went wrong with TLS */
    struct addrinfo *addresses;
    struct loop *loop;
    struct http_client *client;
    struct http_target *target; /* the address that answered */
    unsigned status;            /* of the last answer */
    char *body;                 /* of it */
    size_t body_bytes, body_room;
    bool failed;
    enum http_failure why;
};

/* Look at URL and token, find the address. CLI_OK; or CLI_USAGE, CLI_FAILED: told on standard
 * error. Close it either way. */
int cli_admin_open(struct cli_admin *a);
void cli_admin_close(struct cli_admin *a);

/* GET the path, or POST body when its data is not NULL. *ret_text lives until the next ask. False:
 * told on standard error. An answer of any status is one: a->status. */
bool cli_admin_ask(struct cli_admin *a, const char *path, struct span body, struct span *ret_text);
/* The same, and its JSON object, for cJSON_Delete; ret_text may be NULL. An error is told in the
 * gateway's words; 503 with another object (readyz) is an answer, as is 422 (reload). NULL: told.
 */
cJSON *cli_admin_json(struct cli_admin *a, const char *path, struct span body,
                      struct span *ret_text);

/* Every node the gateway knows, page by page, in its order. fn: false ends it. False: told. */
typedef bool cli_node_fn(const cJSON *node, void *user);
bool cli_admin_nodes(struct cli_admin *a, cli_node_fn *fn, void *user);

/* ---- Reading JSON of others: every kind but the expected one counts as not there. */
const char *cli_json_text(const cJSON *object, const char *key); /* "" */
double cli_json_number(const cJSON *object, const char *key);    /* NAN */
bool cli_json_true(const cJSON *object, const char *key);
#endif
