/* cli_nats - see cli_nats.h. What is generated is written anew at each start; what was made by
 * chance, the keys, only when it is not there. */
#include "cli/cli_nats.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "cli/cli.h"
#include "cli/cli_edit.h"
#include "cli/cli_keep.h"
#include "cli/cli_options.h"
#include "wire/nats_config.h"
#include "wire/signature.h"

#define PROGRAM         "nats-server"
#define COMMAND         "up"
#define FILE_BYTES_MAX  4194304u
#define LISTEN_BYTES    32u
#define WAIT_MS         5000 /* for it to listen */
#define LOG_BYTES_SHOWN 600u

#define COMPLAIN(...) cli_complain(CLI_FAILED, COMMAND, __VA_ARGS__)

/* ---- Keys. */

static void
public_of(const unsigned char seed[NKEY_BYTES], char ret_public[NKEY_PUBLIC_TEXT_BYTES + 1])
{
    unsigned char secret[crypto_sign_SECRETKEYBYTES], public[NKEY_BYTES];

    must(crypto_sign_ed25519_seed_keypair(public, secret, seed) == 0);
    nkey_write_public(public, ret_public);
    signature_forget(secret, sizeof(secret));
}

int
cli_nats_make_nkey(const char *command, const char *path,
                   char ret_public[NKEY_PUBLIC_TEXT_BYTES + 1])
{
    unsigned char seed[NKEY_BYTES];
    char text[NKEY_SEED_TEXT_BYTES + 2];
    int result;

    must(sodium_init() >= 0);
    randombytes_buf(seed, sizeof(seed));
    nkey_write_seed(seed, text);
    text[NKEY_SEED_TEXT_BYTES] = '\n';
    text[NKEY_SEED_TEXT_BYTES + 1] = '\0';
    public_of(seed, ret_public);
    result = cli_keep_secret(command, path, text);
    signature_forget(seed, sizeof(seed));
    signature_forget(text, sizeof(text));
    return result;
}

/* The public half of the key in this file; of a new one when there is no file. */
static int
keep_nkey(const char *path, struct arena *arena, char ret_public[NKEY_PUBLIC_TEXT_BYTES + 1])
{
    unsigned char seed[NKEY_BYTES];
    struct span text;
    const char *why = "";
    enum err err;

    if (access(path, F_OK) != 0)
        return cli_nats_make_nkey(COMMAND, path, ret_public);
    err = cli_read_file(path, FILE_BYTES_MAX, arena, &text);
    if (err != ERR_OK)
        return COMPLAIN("%s: %s", path, cli_read_words(err));
    err = nkey_read_seed(text, seed, &why);
    signature_forget((char *)(uintptr_t)text.data, text.bytes);
    if (err != ERR_OK)
        return COMPLAIN("%s: %s", path, why);
    public_of(seed, ret_public);
    signature_forget(seed, sizeof(seed));
    return CLI_OK;
}

/* ---- Its configuration. */

/* A path in its folder. NULL: no memory, told. */
static const char *
path_of(const struct cli_nats *n, const char *name, struct arena *arena)
{
    struct span path;

    if (arena_printf(arena, &path, "%s/%s", n->folder, name) == ERR_OK)
        return path.data;
    COMPLAIN("no memory");
    return NULL;
}

static int
make_folder(const char *state_path, struct arena *arena, struct cli_nats *n)
{
    struct span folder;

    if (state_path == NULL)
        return COMPLAIN("there is no place for the keys of the bus: set HOME, or XDG_STATE_HOME");
    if (arena_printf(arena, &folder, "%s/bus", state_path) != ERR_OK)
        return COMPLAIN("no memory");
    n->folder = folder.data;
    return cli_keep_folder(COMMAND, n->folder, arena);
}

static int
make_keys(struct cli_nats *n, struct arena *arena, char ret_gateway[NKEY_PUBLIC_TEXT_BYTES + 1],
          char ret_node[NKEY_PUBLIC_TEXT_BYTES + 1])
{
    char key[SIGNATURE_KEY_TEXT_SIZE];
    int result;

    n->gateway_nkey = path_of(n, CLI_NATS_GATEWAY ".nkey", arena);
    n->node_nkey = path_of(n, CLI_NATS_NODE ".nkey", arena);
    n->node_key = path_of(n, CLI_NATS_NODE ".key", arena);
    if (n->gateway_nkey == NULL || n->node_nkey == NULL || n->node_key == NULL)
        return CLI_FAILED;
    result = keep_nkey(n->gateway_nkey, arena, ret_gateway);
    if (result == CLI_OK)
        result = keep_nkey(n->node_nkey, arena, ret_node);
    if (result == CLI_OK)
        result = cli_keep_key(COMMAND, n->node_key, SIGNATURE_OWNER_NODE, CLI_NATS_NODE, arena,
                              key);
    return result;
}

/* Ours and those of users.txt, if there is one. */
static int
write_config(const struct cli_nats *n, const char *listen, const char *gateway, const char *node,
             struct arena *arena, const char **ret_path)
{
    const char *users_path = path_of(n, CLI_NATS_USERS_FILE, arena);
    char why[NATS_CONFIG_WHY_BYTES_MAX];
    struct span more = {"", 0}, text;
    struct nats_user *users;
    struct cli_edit edit;
    size_t count;
    enum err err;

    *ret_path = path_of(n, "nats.conf", arena);
    if (users_path == NULL || *ret_path == NULL)
        return CLI_FAILED;
    err = access(users_path, F_OK) == 0 ? cli_read_file(users_path, FILE_BYTES_MAX, arena, &more)
                                        : ERR_OK;
    if (err != ERR_OK)
        return COMPLAIN("%s: %s", users_path, cli_read_words(err));
    if (arena_printf(arena, &text,
                     "%.*s\ngateway " CLI_NATS_GATEWAY " %s\nnode " CLI_NATS_NODE " %s\n",
                     (int)more.bytes, more.data, gateway, node) != ERR_OK)
        return COMPLAIN("no memory");
    if (nats_config_read_users(text, arena, &users, &count, why) != ERR_OK)
        return COMPLAIN("%s: %s", users_path, why);
    if (nats_config_write(listen, users, count, arena, &text) != ERR_OK)
        return COMPLAIN("no memory");
    err = cli_edit_open(&edit, *ret_path, FILE_BYTES_MAX, arena);
    if (err == ERR_OK)
        err = cli_edit_replace(&edit, text, arena);
    cli_edit_close(&edit);
    return err == ERR_OK ? CLI_OK : COMPLAIN("%s: %s", *ret_path, cli_read_words(err));
}

/* ---- The process. */

static const char *
find_program(struct arena *arena)
{
    const char *path = getenv("PATH");
    struct span rest = span_of(path != NULL ? path : ""), one;
    static const char *const more[] = {"/usr/sbin/" PROGRAM, "/usr/local/bin/" PROGRAM};

    while (rest.bytes > 0) {
        size_t end = span_find(rest, ':');

        if (end > 0 && arena_printf(arena, &one, "%.*s/" PROGRAM, (int)end, rest.data) == ERR_OK &&
            access(one.data, X_OK) == 0)
            return one.data;
        rest = span_from(rest, end + 1);
    }
    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
        if (access(more[i], X_OK) == 0)
            return more[i];
    }
    COMPLAIN("there is no " PROGRAM ": install it (Debian, Ubuntu: apt install nats-server; else "
             "https://github.com/nats-io/nats-server/releases), or name a bus: --nats URL");
    return NULL;
}

static struct sockaddr_in
address(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static bool
try_port(uint16_t port, bool is_there)
{
    struct sockaddr_in a = address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && (is_there ? connect(fd, (struct sockaddr *)&a, sizeof(a))
                                     : bind(fd, (struct sockaddr *)&a, sizeof(a))) == 0;

    if (fd >= 0)
        close(fd);
    return good;
}

/* 0: all are taken. */
static uint16_t
find_port(void)
{
    for (uint16_t port = CLI_NATS_PORT; port < CLI_NATS_PORT + CLI_NATS_PORTS; port++) {
        if (try_port(port, false))
            return port;
    }
    COMPLAIN("%u ports from %u on are taken", CLI_NATS_PORTS, CLI_NATS_PORT);
    return 0;
}

/* In the child. A Ctrl-C of the terminal is for its parent, which ends it last. */
static void
become(const char *program, const char *config, const char *log)
{
    (void)setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    execl(program, PROGRAM, "-c", config, "-l", log, (char *)NULL);
    _exit(127);
}

/* It ended: the end of what it said. */
static int
complain_of(const char *log, struct arena *arena)
{
    struct span text = {"", 0};

    if (cli_read_file(log, FILE_BYTES_MAX, arena, &text) == ERR_OK && text.bytes > LOG_BYTES_SHOWN)
        text = span_from(text, text.bytes - LOG_BYTES_SHOWN);
    return COMPLAIN(PROGRAM " ended at once (%s):\n%.*s", log, (int)text.bytes, text.data);
}

static int
run(struct cli_nats *n, const char *program, const char *config, uint16_t port, struct arena *arena)
{
    const struct timespec nap = {.tv_nsec = 10000000};
    const char *log = path_of(n, "nats-server.log", arena);

    if (log == NULL)
        return CLI_FAILED;
    unlink(log); /* of an earlier run */
    n->pid = fork();
    if (n->pid == 0)
        become(program, config, log);
    if (n->pid < 0) {
        n->pid = 0;
        return COMPLAIN("fork: %s", strerror(errno));
    }
    for (int ms = 0; ms < WAIT_MS; ms += 10) {
        if (waitpid(n->pid, NULL, WNOHANG) == n->pid) {
            n->pid = 0;
            return complain_of(log, arena);
        }
        if (try_port(port, true))
            return CLI_OK;
        nanosleep(&nap, NULL);
    }
    cli_nats_stop(n);
    return COMPLAIN(PROGRAM " does not listen after %d s; see %s", WAIT_MS / 1000, log);
}

int
cli_nats_start(const char *state_path, struct arena *arena, struct cli_nats *n)
{
    char gateway[NKEY_PUBLIC_TEXT_BYTES + 1], node[NKEY_PUBLIC_TEXT_BYTES + 1];
    char listen[LISTEN_BYTES];
    const char *program = find_program(arena), *config;
    uint16_t port;
    int result;

    *n = (struct cli_nats){.pid = 0};
    port = program != NULL ? find_port() : 0;
    if (port == 0)
        return CLI_FAILED;
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", port);
    snprintf(n->url, sizeof(n->url), "nats://%s", listen);
    result = make_folder(state_path, arena, n);
    if (result == CLI_OK)
        result = make_keys(n, arena, gateway, node);
    if (result == CLI_OK)
        result = write_config(n, listen, gateway, node, arena, &config);
    return result == CLI_OK ? run(n, program, config, port, arena) : result;
}

void
cli_nats_stop(struct cli_nats *n)
{
    if (n->pid == 0)
        return;
    kill(n->pid, SIGTERM);
    while (waitpid(n->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    n->pid = 0;
}
