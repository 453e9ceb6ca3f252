/* bus_nats_connect - see bus_nats_connect.h.
 *
 * Before libnats connects, a connection of our own reads the server's first line: libnats does not
 * tell the server's version, and for a server that is not there, is no NATS server or wants TLS it
 * has one and the same word. The address that answered it is the one that libnats is given. */
#include "io/bus_nats_connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/must.h"
#include "io/bus_nats_guard.h"
#include "io/clock.h"
#include "io/log.h"
#include "wire/config.h"
#include "wire/signature.h"

#define CONNECT_MS     3000
#define HANDSHAKE_MS   10000 /* nats-server lets go of who needs more than 2 s */
#define PING_MS        10000
#define PINGS_OUT_MAX  2
#define SEED_BYTES_MAX 256u
#define DEFAULT_PORT   "4222"
#define URL_BYTES      (NI_MAXHOST + 32u)
#define NONCES_MAX     4u /* in a row whose signature cannot be sent: never */

static enum err
bad_url(struct span url, const char *why)
{
    log_error("bus: `%.*s`: %s", (int)url.bytes, url.data, why);
    return ERR_ARG;
}

static bool
is_host(struct span host)
{
    for (size_t i = 0; i < host.bytes; i++) {
        if (host.data[i] <= ' ' || host.data[i] > '~' || memchr("/@[]", host.data[i], 4) != NULL)
            return false;
    }
    return host.bytes > 0 && host.bytes <= BUS_NATS_HOST_BYTES_MAX;
}

/* HOST, HOST:PORT, [IPV6], [IPV6]:PORT. */
static enum err
read_address(struct span url, struct span rest, struct bus_nats_server *ret)
{
    struct span host = rest, port = SPAN_LIT(DEFAULT_PORT);
    uint64_t number;

    if (span_starts(rest, SPAN_LIT("["))) {
        host = span_from(rest, 1);
        host.bytes = span_find(host, ']');
        rest = span_from(rest, host.bytes + 2);
    } else {
        host.bytes = span_find(rest, ':');
        rest = span_from(rest, host.bytes);
    }
    if (rest.bytes > 0 && rest.data[0] != ':')
        return bad_url(url, "after the host comes `:PORT`, or nothing");
    if (rest.bytes > 0)
        port = span_from(rest, 1);
    if (!is_host(host))
        return bad_url(url, "there is no host in it");
    if (span_u64(port, &number) != ERR_OK || number == 0 || number > 65535)
        return bad_url(url, "a port is a number from 1 to 65535");
    span_copy(host, ret->host, sizeof(ret->host));
    snprintf(ret->port, sizeof(ret->port), "%u", (unsigned)number);
    return ERR_OK;
}

static enum err
read_url(struct span url, bool has_ca, struct bus_nats_server *ret)
{
    struct span rest;

    if (memchr(url.data, '@', url.bytes) != NULL) {
        log_error("bus: there is an `@` in the URL: user and password have settings of their own, "
                  "so that they stay out of logs and lists of processes");
        return ERR_ARG;
    }
    if (span_starts(url, SPAN_LIT("nats://"))) {
        rest = span_from(url, strlen("nats://"));
    } else if (span_starts(url, SPAN_LIT("tls://"))) {
        rest = span_from(url, strlen("tls://"));
        ret->tls = true;
    } else {
        return bad_url(url, "a bus is nats://HOST:PORT, or tls://HOST:PORT");
    }
    if (ret->tls && !has_ca)
        return bad_url(url, "TLS needs `ca`: the certificate of who signed the server's, or the "
                            "server's own");
    if (!ret->tls && has_ca)
        return bad_url(url, "there is a `ca`, so it must be tls://");
    if (rest.bytes > 0 && rest.data[rest.bytes - 1] == '/')
        rest.bytes--;
    return read_address(url, rest, ret);
}

static enum err
read_urls(struct bus_nats_plan *plan, struct span urls, bool has_ca)
{
    if (urls.bytes == 0 || urls.bytes > BUS_NATS_URL_BYTES_MAX)
        return bad_url(SPAN_LIT(""), "where is the bus? nats://HOST:PORT");
    while (urls.bytes > 0) {
        struct span url = {urls.data, span_find(urls, ',')};
        enum err err;

        urls = span_from(urls, url.bytes + 1);
        if (plan->server_count == BUS_NATS_SERVERS_MAX)
            return bad_url(url, "one server too many");
        url = span_trim(url);
        if (url.bytes == 0)
            return bad_url(url, "an empty URL");
        err = read_url(url, has_ca, &plan->servers[plan->server_count++]);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* The file's text, if only its owner may read it. */
static enum err
read_secret_file(const char *path, char text[SEED_BYTES_MAX], size_t *ret_bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    enum err err = ERR_IO;
    struct stat about;
    ssize_t n;

    if (fd < 0 || fstat(fd, &about) != 0) {
        log_error("bus: %s: %s", path, strerror(errno));
    } else if (!S_ISREG(about.st_mode)) {
        log_error("bus: %s: is no file", path);
    } else if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        log_error("bus: %s: others may read this seed: `chmod 600` it, and have a new one if "
                  "others could have",
                  path);
    } else {
        n = read(fd, text, SEED_BYTES_MAX);
        if (n < 0)
            log_error("bus: %s: %s", path, strerror(errno));
        *ret_bytes = n < 0 ? 0 : (size_t)n;
        err = n < 0 ? ERR_IO : ERR_OK;
    }
    if (fd >= 0)
        close(fd);
    return err;
}

static enum err
read_nkey(struct bus_nats_plan *plan, const char *path)
{
    unsigned char seed[NKEY_BYTES], public[NKEY_BYTES];
    char text[SEED_BYTES_MAX];
    const char *why = NULL;
    size_t bytes = 0;
    enum err err = read_secret_file(path, text, &bytes);

    if (err == ERR_OK) {
        err = nkey_read_seed((struct span){text, bytes}, seed, &why);
        if (err != ERR_OK)
            log_error("bus: %s: this is no nkey seed: %s", path, why);
    }
    if (err == ERR_OK) {
        must(sodium_init() >= 0 &&
             crypto_sign_ed25519_seed_keypair(public, plan->secret, seed) == 0);
        nkey_write_public(public, plan->nkey);
        plan->has_nkey = true;
    }
    signature_forget(text, sizeof(text));
    signature_forget(seed, sizeof(seed));
    return err;
}

static enum err
read_credentials(struct bus_nats_plan *plan, const struct bus_nats_options *o)
{
    if (o->nkey_path != NULL && (o->user.bytes > 0 || o->password.bytes > 0)) {
        log_error("bus: there is an nkey and a user: a server asks for one of them");
        return ERR_ARG;
    }
    if ((o->user.bytes == 0) != (o->password.bytes == 0)) {
        log_error("bus: a user has a password, and a password a user");
        return ERR_ARG;
    }
    if (o->user.bytes > BUS_NATS_CREDENTIAL_BYTES_MAX ||
        o->password.bytes > BUS_NATS_CREDENTIAL_BYTES_MAX) {
        log_error("bus: user and password have at most %u bytes", BUS_NATS_CREDENTIAL_BYTES_MAX);
        return ERR_ARG;
    }
    span_copy(o->user, plan->user, sizeof(plan->user));
    span_copy(o->password, plan->password, sizeof(plan->password));
    return o->nkey_path != NULL ? read_nkey(plan, o->nkey_path) : ERR_OK;
}

enum err
bus_nats_plan(const struct bus_nats_options *o, struct bus_nats_plan *plan)
{
    enum err err;

    if (!config_is_name(o->name)) {
        log_error("bus: `%.*s` is no name: it is made of a-z, 0-9 and -, and has at most %u",
                  (int)o->name.bytes, o->name.data, BUS_NAME_BYTES_MAX);
        return ERR_ARG;
    }
    span_copy(o->name, plan->name, sizeof(plan->name));
    plan->handshake_ms = HANDSHAKE_MS;
    err = read_urls(plan, o->url, o->ca.pem.bytes > 0);
    if (err == ERR_OK)
        err = read_credentials(plan, o);
    if (err == ERR_OK && o->ca.pem.bytes > BUS_NATS_CA_BYTES_MAX) {
        log_error("bus: %.*s: too large", (int)o->ca.name.bytes, o->ca.name.data);
        err = ERR_ARG;
    }
    if (err == ERR_OK && o->ca.pem.bytes > 0) {
        plan->ca = strndup(o->ca.pem.data, o->ca.pem.bytes);
        err = plan->ca != NULL ? ERR_OK : ERR_MEMORY;
    }
    return err;
}

void
bus_nats_plan_fini(struct bus_nats_plan *plan)
{
    free(plan->ca);
    signature_forget(plan, sizeof(*plan));
}

/* --- the first line --- */

/* Wait for fd, until a time, or until wake_fd is readable. False: not ready. */
static bool
wait_ready(int fd, short events, int wake_fd, uint64_t until_ns)
{
    struct pollfd polled[2] = {{.fd = fd, .events = events}, {.fd = wake_fd, .events = POLLIN}};
    uint64_t now_ns = clock_now_ns();
    int n;

    do {
        uint64_t left_ns = until_ns > now_ns ? until_ns - now_ns : 0;

        n = poll(polled, 2, (int)(left_ns / 1000000u) + 1);
        now_ns = clock_now_ns();
    } while (n < 0 && errno == EINTR && now_ns < until_ns);
    return n > 0 && polled[1].revents == 0 && polled[0].revents != 0;
}

/* A connected socket; -1: errno. */
static int
connect_address(const struct addrinfo *a, int wake_fd, uint64_t until_ns)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;
    socklen_t error_bytes = sizeof(error);

    if (fd < 0)
        return -1;
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0)
        error = errno;
    if (error == EINPROGRESS) {
        error = ETIMEDOUT;
        if (wait_ready(fd, POLLOUT, wake_fd, until_ns))
            must(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes) == 0);
    }
    if (error == 0)
        return fd;
    close(fd);
    errno = error;
    return -1;
}

static int
connect_server(const struct bus_nats_server *server, int wake_fd, struct bus_nats_outcome *ret)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int failed = getaddrinfo(server->host, server->port, &hints, &list), fd = -1;

    if (failed != 0) {
        snprintf(ret->words, sizeof(ret->words), "no address: %s", gai_strerror(failed));
        return -1;
    }
    for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next)
        fd = connect_address(a, wake_fd, clock_now_ns() + CONNECT_MS * 1000000ull);
    if (fd < 0)
        snprintf(ret->words, sizeof(ret->words), "no connection: %s", strerror(errno));
    freeaddrinfo(list);
    return fd;
}

/* Up to the line end. False: it did not come. */
static bool
read_line(int fd, int wake_fd, char *text, size_t room, size_t *ret_bytes)
{
    uint64_t until_ns = clock_now_ns() + CONNECT_MS * 1000000ull;
    size_t have = 0;

    while (have < room && wait_ready(fd, POLLIN, wake_fd, until_ns)) {
        ssize_t n = recv(fd, text + have, room - have, 0);

        if (n <= 0)
            return false;
        have += (size_t)n;
        if (memchr(text + have - n, '\n', (size_t)n) != NULL) {
            *ret_bytes = have;
            return true;
        }
    }
    return false;
}

/* False: *ret says why not. *ret_peer: its address, of several the one that answers. */
static bool
ask_server(const struct bus_nats_server *server, int wake_fd, struct bus_nats_outcome *ret,
           struct sockaddr_storage *ret_peer)
{
    char *text = malloc(NATS_INFO_BYTES_MAX);
    int fd = text != NULL ? connect_server(server, wake_fd, ret) : -1;
    socklen_t peer_bytes = sizeof(*ret_peer);
    size_t bytes = 0;
    bool good = false;

    ret->why = fd >= 0 ? BUS_AWAY_BUSY : BUS_AWAY_ABSENT;
    if (text == NULL) {
        snprintf(ret->words, sizeof(ret->words), "no memory");
    } else if (fd >= 0 && !read_line(fd, wake_fd, text, NATS_INFO_BYTES_MAX, &bytes)) {
        snprintf(ret->words, sizeof(ret->words), "something listens there, but says nothing");
    } else if (fd >= 0) {
        good = nats_info_read((struct span){text, span_find((struct span){text, bytes}, '\n')},
                              &ret->info) == ERR_OK;
        if (!good)
            snprintf(ret->words, sizeof(ret->words), "what listens there is no NATS server");
    }
    if (good && ret->info.tls_required && !server->tls) {
        snprintf(ret->words, sizeof(ret->words), "the server wants TLS: tls:// and `ca`");
        ret->why = BUS_AWAY_REFUSED;
        good = false;
    }
    if (good && getpeername(fd, (struct sockaddr *)ret_peer, &peer_bytes) != 0) {
        snprintf(ret->words, sizeof(ret->words), "the connection ended");
        good = false;
    }
    if (fd >= 0)
        close(fd);
    free(text);
    return good;
}

/* --- libnats --- */

struct signer {
    const struct bus_nats_plan *plan;
    char url[URL_BYTES]; /* of the address that answered, and no name: it is looked up once */
    bool is_unsent;      /* libnats would not send the signature */
    bool is_unwanted;    /* the server gave nothing to sign */
};

/* Of a signature whose first byte is 0 libnats sends nothing at all: it asks whether its bytes are
 * an empty string. One in 256 is such, the server refuses it as it would a stranger, and there is
 * no second signature of a nonce. So it is not asked: the next connection has another nonce. */
static natsStatus
sign(char **error, unsigned char **ret_signature, int *ret_bytes, const char *nonce, void *user)
{
    struct signer *signer = user;
    unsigned char *signature;

    (void)error;
    signer->is_unwanted = nonce == NULL || nonce[0] == '\0';
    if (signer->is_unwanted)
        return NATS_ERR;
    signature = malloc(crypto_sign_BYTES); /* libnats frees it */
    if (signature == NULL)
        return NATS_NO_MEMORY;
    must(crypto_sign_detached(signature, NULL, (const unsigned char *)nonce, strlen(nonce),
                              signer->plan->secret) == 0);
    *ret_signature = signature;
    *ret_bytes = crypto_sign_BYTES;
    signer->is_unsent = signature[0] == 0;
    return signer->is_unsent ? NATS_ERR : NATS_OK;
}

/* What it would tell is read from the connection; without this it prints to standard error. */
static void
nothing(natsConnection *nc, natsSubscription *sub, natsStatus status, void *user)
{
    (void)nc;
    (void)sub;
    (void)status;
    (void)user;
}

static natsStatus
set_security(natsOptions *o, struct signer *signer, const struct bus_nats_server *server)
{
    const struct bus_nats_plan *plan = signer->plan;
    natsStatus s = NATS_OK;

    if (plan->user[0] != '\0')
        s = natsOptions_SetUserInfo(o, plan->user, plan->password);
    if (s == NATS_OK && plan->has_nkey)
        s = natsOptions_SetNKey(o, plan->nkey, sign, signer);
    if (s == NATS_OK && server->tls) {
        s = natsOptions_SetSecure(o, true);
        if (s == NATS_OK)
            s = natsOptions_SetCATrustedCertificates(o, plan->ca);
        if (s == NATS_OK)
            s = natsOptions_SetExpectedHostname(o, server->host);
    }
    return s;
}

static natsStatus
set_options(natsOptions *o, struct signer *signer, const struct bus_nats_server *server,
            const struct bus_nats_loop *loop)
{
    natsStatus s;

    s = natsOptions_SetURL(o, signer->url);
    s = s != NATS_OK ? s : natsOptions_SetName(o, signer->plan->name);
    s = s != NATS_OK ? s : natsOptions_SetTimeout(o, CONNECT_MS);
    /* When to come back is ours to say: libnats gives up when credentials are refused twice. */
    s = s != NATS_OK ? s : natsOptions_SetAllowReconnect(o, false);
    s = s != NATS_OK ? s : natsOptions_SetIgnoreDiscoveredServers(o, true);
    s = s != NATS_OK ? s : natsOptions_SetSendAsap(o, true); /* else a flusher thread */
    s = s != NATS_OK ? s : natsOptions_SetPingInterval(o, PING_MS);
    s = s != NATS_OK ? s : natsOptions_SetMaxPingsOut(o, PINGS_OUT_MAX);
    s = s != NATS_OK ? s : natsOptions_SetIOBufSize(o, BUS_NATS_IO_BYTES);
    s = s != NATS_OK ? s : natsOptions_SetErrorHandler(o, nothing, NULL);
    s = s != NATS_OK ? s
                     : natsOptions_SetEventLoop(o, loop->loop, loop->attach, loop->read,
                                                loop->write, loop->detach);
    return s != NATS_OK ? s : set_security(o, signer, server);
}

/* Is this TLS error about the certificate? Else the server ended the handshake, or was too slow.
 * libnats has one status for all of it; of a certificate it tells what OpenSSL found at which depth
 * of the chain. */
static bool
is_of_certificate(natsStatus s, const char *what)
{
    return s == NATS_SSL_ERROR && strstr(what, ":depth=") != NULL;
}

/* A server that was asked too late, is full or is just ending says so: that is no refusal. */
static void
explain(const struct signer *signer, natsStatus s, struct bus_nats_outcome *ret)
{
    const struct bus_nats_plan *plan = signer->plan;
    const char *text = nats_GetLastError(NULL);
    const char *what = text != NULL && text[0] != '\0' ? text : natsStatus_GetText(s);
    const char *where = what[0] == '(' ? strstr(what, "): ") : NULL; /* "(conn.c:733): " */
    bool is_certificate;

    if (where != NULL)
        what = where + strlen("): ");
    is_certificate = is_of_certificate(s, what);
    ret->why = BUS_AWAY_BUSY;
    if (s == NATS_CONNECTION_AUTH_FAILED || is_certificate || signer->is_unwanted)
        ret->why = BUS_AWAY_REFUSED;
    if (signer->is_unwanted)
        snprintf(ret->words, sizeof(ret->words), "the server has no users with an nkey");
    else if (s == NATS_CONNECTION_AUTH_FAILED && plan->has_nkey)
        snprintf(ret->words, sizeof(ret->words), "the server refused our nkey %s", plan->nkey);
    else if (s == NATS_CONNECTION_AUTH_FAILED && plan->user[0] != '\0')
        snprintf(ret->words, sizeof(ret->words), "the server refused user `%.128s` or the password",
                 plan->user);
    else if (s == NATS_CONNECTION_AUTH_FAILED)
        snprintf(ret->words, sizeof(ret->words), "the server wants credentials, and we have none");
    else if (is_certificate)
        snprintf(ret->words, sizeof(ret->words), "the server's certificate is not good: %s", what);
    else if (s == NATS_SSL_ERROR)
        snprintf(ret->words, sizeof(ret->words), "TLS came to nothing: %s", what);
    else if (s == NATS_SECURE_CONNECTION_WANTED)
        snprintf(ret->words, sizeof(ret->words), "the server does not speak TLS");
    else
        snprintf(ret->words, sizeof(ret->words), "%s", what);
}

static natsStatus
connect_library(struct signer *signer, const struct bus_nats_server *server,
                const struct bus_nats_loop *loop, natsConnection **ret_nc)
{
    natsOptions *options = NULL;
    natsStatus s = natsOptions_Create(&options);

    signer->is_unsent = false;
    if (s == NATS_OK)
        s = set_options(options, signer, server, loop);
    if (s == NATS_OK)
        s = natsConnection_Connect(ret_nc, options);
    natsOptions_Destroy(options);
    return s;
}

static bool
write_url(const struct sockaddr_storage *peer, const struct bus_nats_server *server,
          char ret_url[URL_BYTES])
{
    bool is_v6 = peer->ss_family == AF_INET6;
    char host[NI_MAXHOST];

    if (getnameinfo((const struct sockaddr *)peer,
                    is_v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in), host,
                    sizeof(host), NULL, 0, NI_NUMERICHOST) != 0)
        return false;
    snprintf(ret_url, URL_BYTES, "%s://%s%s%s:%s", server->tls ? "tls" : "nats", is_v6 ? "[" : "",
             host, is_v6 ? "]" : "", server->port);
    return true;
}

natsConnection *
bus_nats_connect(const struct bus_nats_plan *plan, const struct bus_nats_server *server,
                 const struct bus_nats_loop *loop, int wake_fd, struct bus_nats_outcome *ret)
{
    struct signer signer = {.plan = plan};
    struct sockaddr_storage peer = {0};
    struct bus_nats_guard *guard;
    natsConnection *nc = NULL;
    natsStatus s;

    *ret = (struct bus_nats_outcome){.words = ""};
    if (!ask_server(server, wake_fd, ret, &peer))
        return NULL;
    guard = write_url(&peer, server, signer.url)
                ? bus_nats_guard_open(&peer, wake_fd, plan->handshake_ms)
                : NULL;
    if (guard == NULL) {
        snprintf(ret->words, sizeof(ret->words), "no memory or no thread to connect with");
        return NULL;
    }
    for (unsigned nonces = 0; nonces < NONCES_MAX; nonces++) {
        s = connect_library(&signer, server, loop, &nc);
        if (!signer.is_unsent)
            break;
    }
    bus_nats_guard_close(guard);
    if (s == NATS_OK)
        return nc;
    explain(&signer, s, ret);
    return NULL;
}
