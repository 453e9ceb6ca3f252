/* roster - from the configuration's bytes to addresses, indices and credentials; see roster.h. */
#include "role/roster.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "core/core.h"
#include "io/log.h"
#include "role/roster_bus.h"
#include "role/roster_member.h"
#include "role/roster_tls.h"
#include "wire/identity.h"
#include "wire/json.h"
#include "wire/rtt.h"

#define PATH_BYTES_MAX 4096u

/* Names are the operator's own: an unkeyed table does. */
static const struct hash_key names_key = {1, 2};

struct roster *
roster_ref(struct roster *roster)
{
    atomic_fetch_add_explicit(&roster->refs, 1, memory_order_relaxed);
    return roster;
}

void
roster_unref(struct roster *roster)
{
    if (roster == NULL || atomic_fetch_sub_explicit(&roster->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (roster->base != NULL) { /* all else is the other one's */
        roster_member_drop_all(roster);
        roster_unref(roster->base);
    } else {
        if (roster->own_key != NULL)
            signature_forget(roster->own_key, sizeof(*roster->own_key));
        access_fini(&roster->access);
        roster_tls_fini(roster);
    }
    arena_fini(&roster->arena);
    free(roster);
}

static struct roster *
roster_new(void)
{
    struct roster *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return NULL;
    atomic_init(&r->refs, 1);
    arena_init(&r->arena, ROSTER_ARENA_BYTES_MAX);
    return r;
}

const struct roster_node *
roster_node(const struct roster *roster, uint32_t index)
{
    return index < roster->node_bound ? roster->nodes[index] : NULL;
}

uint32_t
roster_node_identity(const struct roster_node *n)
{
    return (uint32_t)(hash_fnv(HASH_FNV_START, n->host.data, n->host.bytes) >> 32) | 1;
}

const struct roster_node *
roster_find(const struct roster *roster, struct span name)
{
    uint32_t at = (uint32_t)hash_span(names_key, name);

    if (roster->by_name == NULL)
        return NULL;
    for (;; at++) {
        uint32_t entry = roster->by_name[at & roster->by_name_mask];
        if (entry == 0)
            return NULL;
        if (span_eq(roster->nodes[entry - 1]->name, name))
            return roster->nodes[entry - 1];
    }
}

/* ---- Files. */

/* A relative path begins where the configuration is. */
static void
full_path(const struct roster *r, struct span path, char name[PATH_BYTES_MAX])
{
    if (path.bytes > 0 && path.data[0] != '/' && r->directory.bytes > 0)
        snprintf(name, PATH_BYTES_MAX, "%.*s/%.*s", (int)r->directory.bytes, r->directory.data,
                 (int)path.bytes, path.data);
    else
        span_copy(path, name, PATH_BYTES_MAX);
}

enum err
roster_place_file(struct roster *r, struct span path, const char **ret_name)
{
    char name[PATH_BYTES_MAX];
    struct span copy;
    enum err err;

    full_path(r, path, name);
    err = arena_copy(&r->arena, span_of(name), &copy);
    if (err == ERR_OK)
        *ret_name = copy.data;
    return err;
}

static enum err
place_state(struct roster *r)
{
    char name[PATH_BYTES_MAX];

    if (r->config.state_dir.bytes == 0)
        return ERR_OK;
    full_path(r, r->config.state_dir, name);
    return arena_printf(&r->arena, &r->state_dir, "%s", name);
}

enum err
roster_read_file(struct roster *r, struct span path, size_t bytes_max, enum roster_file kind,
                 struct span *ret_text)
{
    struct arena *arena = &r->arena;
    char name[PATH_BYTES_MAX];
    enum err err = ERR_IO;
    struct stat about;
    char *text = NULL;
    size_t have = 0;
    int fd;

    full_path(r, path, name);
    fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0) {
        log_error("%s: %s", name, strerror(errno));
        goto out;
    }
    if (!S_ISREG(about.st_mode) || (size_t)about.st_size > bytes_max) {
        log_error("%s: no regular file of at most %zu bytes", name, bytes_max);
        goto out;
    }
    if (kind == ROSTER_FILE_SECRET && (about.st_mode & S_IRWXO) != 0)
        log_warn("%s: everybody on this machine may read it: chmod o= on it", name);
    text = arena_zeroed(arena, (size_t)about.st_size + JSON_PADDING);
    if (text == NULL) {
        log_error("%s: out of memory", name);
        goto out;
    }
    while (have < (size_t)about.st_size) {
        ssize_t n = read(fd, text + have, (size_t)about.st_size - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            log_error("%s: %s", name, strerror(errno));
            goto out;
        }
        if (n == 0)
            break; /* it shrank meanwhile: what is there counts */
        have += (size_t)n;
    }
    *ret_text = (struct span){text, have};
    err = ERR_OK;
out:
    if (fd >= 0)
        close(fd);
    return err;
}

/* A secret: the file without the line end behind it. Control bytes would break a header. */
enum err
roster_read_secret(struct roster *r, struct span path, struct span *ret_secret)
{
    struct span text;
    enum err err = roster_read_file(r, path, ROSTER_SECRET_BYTES_MAX, ROSTER_FILE_SECRET, &text);

    if (err != ERR_OK)
        return err;
    while (text.bytes > 0 &&
           (text.data[text.bytes - 1] == '\n' || text.data[text.bytes - 1] == '\r'))
        text.bytes--;
    for (size_t i = 0; i < text.bytes; i++) {
        if ((unsigned char)text.data[i] < 0x21 || text.data[i] == 0x7f) {
            log_error("%.*s: a key has no spaces and no control characters", (int)path.bytes,
                      path.data);
            return ERR_PARSE;
        }
    }
    if (text.bytes == 0) {
        log_error("%.*s: the file is empty", (int)path.bytes, path.data);
        return ERR_PARSE;
    }
    *ret_secret = text;
    return ERR_OK;
}

static enum err
read_prefix_secret(struct roster *r)
{
    unsigned char sum[KEY_SHA256_BYTES];
    struct span text;
    enum err err = roster_read_secret(r, r->config.prefix_secret_file, &text);

    if (err != ERR_OK)
        return err;
    keys_sha256(text, sum);
    memcpy(&r->prefix_secret, sum, sizeof(r->prefix_secret));
    r->has_prefix_secret = true;
    return ERR_OK;
}

/* The gateway's key. Its file's bytes are wiped: nobody else needs them. */
static enum err
read_own_key(struct roster *r)
{
    struct span path = r->config.key_file, text;
    struct signature_file file;
    enum err err = roster_read_file(r, path, SIGNATURE_FILE_BYTES_MAX, ROSTER_FILE_SECRET, &text);

    if (err != ERR_OK)
        return err;
    r->own_key = arena_zeroed(&r->arena, sizeof(*r->own_key));
    if (r->own_key == NULL)
        return ERR_FULL;
    err = signature_file_parse(text, &file);
    signature_forget((void *)(uintptr_t)text.data, text.bytes); /* the arena's: not const */
    if (err != ERR_OK || !file.is_secret ||
        (file.owner != SIGNATURE_OWNER_GATEWAY && file.owner != SIGNATURE_OWNER_NONE)) {
        log_error("%.*s: no secret key of a gateway: `isochrone key gateway --name NAME -o FILE` "
                  "makes one",
                  (int)path.bytes, path.data);
        err = ERR_PARSE;
    } else {
        r->own_key->secret = file.secret;
        r->own_key->key = file.key;
        signature_key_short(&file.key, r->own_key->id);
    }
    signature_forget(&file, sizeof(file));
    return err;
}

/* ---- Addresses. */

bool
roster_is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
        return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && v6->sin6_addr.s6_addr[12] == 127);
    }
    return false;
}

enum err
roster_resolve(struct span host, uint16_t port, struct roster_address *ret_address)
{
    char name[256], service[8];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int code;

    span_copy(host, name, sizeof(name));
    snprintf(service, sizeof(service), "%u", port);
    hints.ai_flags = AI_NUMERICSERV;
    code = getaddrinfo(name, service, &hints, &found);
    if (code != 0 || found == NULL || found->ai_addrlen > sizeof(ret_address->v6)) {
        log_warn("%s: %s", name, code != 0 ? gai_strerror(code) : "no address");
        if (found != NULL)
            freeaddrinfo(found);
        return ERR_NOT_FOUND;
    }
    *ret_address = (struct roster_address){.bytes = found->ai_addrlen};
    memcpy(&ret_address->v6, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return ERR_OK;
}

enum err
roster_listen_address(struct span listen, struct roster_address *ret_address)
{
    struct span host;
    uint16_t port;

    if (config_host_port(listen, &host, &port) != ERR_OK) {
        log_error("listen %.*s: is no host:port", (int)listen.bytes, listen.data);
        return ERR_ARG;
    }
    return roster_resolve(host, port, ret_address);
}

/* ---- Names. */

enum err
roster_intern(struct roster *r, struct roster_names *names, struct span name, uint32_t max,
              uint16_t *ret_index)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (span_eq(names->list[i], name)) {
            *ret_index = (uint16_t)i;
            return ERR_OK;
        }
    }
    if (names->count >= max)
        return ERR_FULL;
    if (names->count == names->room) {
        uint32_t room = names->room == 0 ? 16 : names->room * 2;
        struct span *list = arena_take(&r->arena, room * sizeof(*list));
        if (list == NULL)
            return ERR_FULL;
        if (names->count > 0)
            memcpy(list, names->list, names->count * sizeof(*list));
        names->list = list;
        names->room = room;
    }
    if (arena_copy(&r->arena, name, &names->list[names->count]) != ERR_OK)
        return ERR_FULL;
    *ret_index = (uint16_t)names->count++;
    return ERR_OK;
}

static enum err
intern_all(struct roster *r, struct roster_names *names, const struct roster_names *former)
{
    uint16_t index;

    for (uint32_t i = 0; i < former->count; i++) {
        if (roster_intern(r, names, former->list[i], UINT16_MAX, &index) != ERR_OK)
            return ERR_FULL;
    }
    return ERR_OK;
}

/* ---- Nodes. */

static enum err
node_names(struct roster *r, const struct config_engine *engine, struct roster_node *node)
{
    const struct span unknown = SPAN_LIT("unknown");
    struct span region = engine->region.bytes > 0 ? engine->region : r->config.region;
    struct span gpu = engine->gpu.bytes > 0 ? engine->gpu : unknown;
    struct span operator= engine->operator.bytes> 0 ? engine->operator: unknown;
    struct span site = engine->site.bytes > 0 ? engine->site : region;

    if (roster_intern(r, &r->regions, region, CORE_REGIONS_MAX, &node->region) != ERR_OK) {
        log_error("engine %.*s: more than %u regions", (int)engine->name.bytes, engine->name.data,
                  CORE_REGIONS_MAX);
        return ERR_FULL;
    }
    if (roster_intern(r, &r->classes, gpu, CORE_CLASSES_MAX, &node->class) != ERR_OK) {
        log_error("engine %.*s: more than %u kinds of gpu", (int)engine->name.bytes,
                  engine->name.data, CORE_CLASSES_MAX);
        return ERR_FULL;
    }
    if (roster_intern(r, &r->operators, operator, ROSTER_NAMES_MAX, &node->operator) != ERR_OK ||
        roster_intern(r, &r->sites, site, ROSTER_NAMES_MAX, &node->site) != ERR_OK) {
        log_error("more than %u operators or sites", ROSTER_NAMES_MAX);
        return ERR_FULL;
    }
    return ERR_OK;
}

/* Where it is, and how to speak with it. */
static enum err
node_reach(struct roster *r, const struct config_engine *engine, const struct roster *previous,
           struct roster_node *node)
{
    bool v6 = span_find(engine->host, ':') < engine->host.bytes;
    enum err err;

    node->name = engine->name;
    node->url = engine->url;
    if (arena_printf(&r->arena, &node->host, v6 ? "[%.*s]:%u" : "%.*s:%u", (int)engine->host.bytes,
                     engine->host.data, engine->port) != ERR_OK)
        return ERR_FULL;
    if (engine->tls) {
        err = roster_tls_engine(r, engine, previous, node);
        if (err != ERR_OK)
            return err;
    }
    /* an engine without an address is a failing node, not a reason to refuse all others */
    if (roster_resolve(engine->host, engine->port, &node->address) != ERR_OK)
        node->address.bytes = 0;
    return ERR_OK;
}

static enum err
node_build(struct roster *r, const struct config_engine *engine, const struct roster *previous,
           struct roster_node *node)
{
    struct span key = engine->key;
    const struct adapter *adapter = adapter_by_name(engine->kind);
    enum err err = node_names(r, engine, node);

    if (err != ERR_OK)
        return err;
    node->slots = engine->slots;
    node->kind = adapter != NULL ? adapter->kind : ENGINE_UNKNOWN;
    if (engine->key_file.bytes > 0) {
        err = roster_read_secret(r, engine->key_file, &key);
        if (err != ERR_OK)
            return err;
    }
    if (key.bytes > 0 && arena_printf(&r->arena, &node->authorization, "Bearer %.*s",
                                      (int)key.bytes, key.data) != ERR_OK)
        return ERR_FULL;
    return node_reach(r, engine, previous, node);
}

/* The gateways that a node agent, or another gateway, speaks to. */
static enum err
gateways_build(struct roster *r, const struct roster *previous)
{
    enum err err = ERR_OK;
    size_t count = r->config.gateway_count;

    r->gateways = arena_zeroed(&r->arena, (count + 1) * sizeof(*r->gateways));
    if (r->gateways == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        if (r->config.gateways[i].at.url.bytes > 0)
            err = node_reach(r, &r->config.gateways[i].at, previous, &r->gateways[i]);
    }
    return err;
}

void
roster_put_name(struct roster *r, const struct roster_node *node)
{
    uint32_t at = (uint32_t)hash_span(names_key, node->name);

    while (r->by_name[at & r->by_name_mask] != 0)
        at++;
    r->by_name[at & r->by_name_mask] = node->index + 1;
}

/* Give every node an index: the one it had, else one that was never used, else a free one. A fresh
 * one first, because late news of a node that left may still be on its way. What a member had is
 * not the configuration's to give. */
static enum err
nodes_place(struct roster *r, struct roster_node *list, uint32_t nodes_max,
            const struct roster *previous)
{
    const struct roster *base = previous != NULL ? roster_base(previous) : NULL;
    uint32_t fresh = base != NULL ? base->node_bound : 0;
    uint32_t hole = 0;

    for (size_t i = 0; i < r->config.engine_count; i++) {
        const struct roster_node *before = base != NULL ? roster_find(base, list[i].name) : NULL;
        list[i].index = before != NULL ? before->index : UINT32_MAX;
        if (before != NULL)
            r->nodes[before->index] = &list[i];
    }
    for (size_t i = 0; i < r->config.engine_count; i++) {
        if (list[i].index == UINT32_MAX) {
            if (fresh < nodes_max) {
                list[i].index = fresh++;
            } else {
                while (hole < nodes_max && r->nodes[hole] != NULL)
                    hole++;
                if (hole == nodes_max) {
                    log_error("more than %u engines: a restart makes room for more", nodes_max);
                    return ERR_FULL;
                }
                list[i].index = hole;
            }
            r->nodes[list[i].index] = &list[i];
        }
        if (list[i].index >= r->node_bound)
            r->node_bound = list[i].index + 1;
        roster_put_name(r, &list[i]);
    }
    return ERR_OK;
}

static enum err
nodes_build(struct roster *r, uint32_t nodes_max, const struct roster *previous)
{
    size_t count = r->config.engine_count;
    struct roster_node *list = arena_zeroed(&r->arena, (count + 1) * sizeof(*list));
    uint32_t slots = 16;
    enum err err;

    if (nodes_max == 0) /* those that stay keep their index, however few they are */
        nodes_max = previous != NULL && roster_base(previous)->node_bound > count
                        ? roster_base(previous)->node_bound
                        : (uint32_t)count;
    if (count > nodes_max) {
        log_error("%zu engines, room for %u: a restart makes room for more", count, nodes_max);
        return ERR_FULL;
    }
    while (slots < 2 * count)
        slots *= 2;
    r->by_name = arena_zeroed(&r->arena, slots * sizeof(*r->by_name));
    r->nodes = arena_zeroed(&r->arena, (nodes_max + 1) * sizeof(struct roster_node *));
    if (list == NULL || r->by_name == NULL || r->nodes == NULL)
        return ERR_MEMORY;
    r->by_name_mask = slots - 1;
    r->node_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        err = node_build(r, &r->config.engines[i], previous, &list[i]);
        if (err != ERR_OK)
            return err;
    }
    return nodes_place(r, list, nodes_max, previous);
}

/* First guesses of the round trips from our region to each other one. */
static enum err
rtt_build(struct roster *r)
{
    struct rtt_error problem;
    struct span csv;
    float ms[CORE_REGIONS_MAX];
    enum err err;

    if (r->config.rtt_file.bytes > 0) {
        err = roster_read_file(r, r->config.rtt_file, ROSTER_FILE_BYTES_MAX, ROSTER_FILE_PLAIN,
                               &csv);
        if (err != ERR_OK)
            return err;
        err = rtt_parse(csv, &r->arena, &r->rtt, &problem);
        if (err != ERR_OK) {
            log_error("%.*s:%u: %s", (int)r->config.rtt_file.bytes, r->config.rtt_file.data,
                      problem.line, problem.message);
            return err;
        }
    } else {
        err = rtt_builtin(&r->arena, &r->rtt);
        if (err != ERR_OK)
            return err;
    }
    for (uint32_t i = 0; i < r->regions.count; i++)
        ms[i] = rtt_ms(&r->rtt, r->config.region, r->regions.list[i]);
    for (uint32_t i = 0; i < r->node_bound; i++) {
        if (r->nodes[i] != NULL)
            r->nodes[i]->rtt_ms = ms[r->nodes[i]->region];
    }
    return ERR_OK;
}

/* ---- Keys and listeners. */

static void
log_problems(const struct config_problems *problems, struct span name)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct config_problem *p = &problems->list[i];
        log_line(p->warning ? LOG_WARN : LOG_ERROR, "%.*s:%u:%u: %s", (int)name.bytes, name.data,
                 p->line, p->column, p->text);
    }
    if (problems->errors > problems->count)
        log_error("%.*s: and more errors, %zu in all", (int)name.bytes, name.data,
                  problems->errors);
}

static enum err
access_build(struct roster *r, const struct roster *previous)
{
    struct keys keys = {0};
    struct span text;
    bool open = r->config.auth_none || r->config.keys_file.bytes == 0;
    enum err err;

    if (r->config.keys_file.bytes > 0) {
        struct config_problems problems = {0};
        err = roster_read_file(r, r->config.keys_file, ROSTER_FILE_BYTES_MAX, ROSTER_FILE_PLAIN,
                               &text);
        if (err != ERR_OK)
            return err;
        err = keys_parse(text, &r->arena, &keys, &problems);
        log_problems(&problems, r->config.keys_file);
        if (err != ERR_OK)
            return err;
    }
    return access_init(&r->access, &keys, open, previous != NULL ? &previous->access : NULL,
                       &r->arena);
}

/* Callers of a node agent may be known by their certificates. */
static bool
knows_callers(const struct roster *r)
{
    return r->node != NULL && config_node_knows_callers(r->node);
}

/* Off loopback nobody may come in by omission. */
static enum err
listeners_check(struct roster *r)
{
    struct roster_address public_address, admin_address;
    enum err err = roster_listen_address(r->config.public_listen, &public_address);

    if (err != ERR_OK)
        return err;
    r->is_local = roster_is_loopback(&public_address.any);
    if (!r->is_local && r->config.keys_file.bytes == 0 && !r->config.auth_none &&
        !knows_callers(r)) {
        log_error("listen.public %.*s is not a loopback address: set `keys: FILE`, or say `auth: "
                  "none` to let everybody in",
                  (int)r->config.public_listen.bytes, r->config.public_listen.data);
        return ERR_ARG;
    }
    if (r->config.admin_listen.bytes == 0)
        return ERR_OK;
    err = roster_listen_address(r->config.admin_listen, &admin_address);
    if (err != ERR_OK)
        return err;
    if (!roster_is_loopback(&admin_address.any) && r->admin_token.bytes == 0) {
        log_error("listen.admin %.*s is not a loopback address: set `admin_token: file:...`",
                  (int)r->config.admin_listen.bytes, r->config.admin_listen.data);
        return ERR_ARG;
    }
    if (!roster_is_loopback(&admin_address.any) && r->config.admin_tls.certificate_count == 0 &&
        !r->config.admin_tls.none) {
        log_error("listen.admin %.*s is not a loopback address, and its token would go in clear: "
                  "set `admin_tls: {cert: file:..., key: file:...}`, or `admin_tls: none`",
                  (int)r->config.admin_listen.bytes, r->config.admin_listen.data);
        return ERR_ARG;
    }
    return ERR_OK;
}

/* ---- The whole. */

/* Everything that follows from r->config. */
static enum err
build(struct roster *r, uint32_t nodes_max, const struct roster *previous)
{
    enum err err = ERR_OK;

    if (roster_place_file(r, r->config.access_log_file, &r->access_log) != ERR_OK ||
        roster_place_file(r, r->config.log_file, &r->log) != ERR_OK)
        return ERR_FULL;
    if (previous != NULL && (intern_all(r, &r->regions, &previous->regions) != ERR_OK ||
                             intern_all(r, &r->classes, &previous->classes) != ERR_OK ||
                             intern_all(r, &r->operators, &previous->operators) != ERR_OK ||
                             intern_all(r, &r->sites, &previous->sites) != ERR_OK))
        return ERR_FULL;
    if (roster_intern(r, &r->regions, r->config.region, CORE_REGIONS_MAX, &r->own_region) != ERR_OK)
        return ERR_FULL;
    if (r->config.admin_token_file.bytes > 0)
        err = roster_read_secret(r, r->config.admin_token_file, &r->admin_token);
    if (err == ERR_OK && r->config.prefix_secret_file.bytes > 0)
        err = read_prefix_secret(r);
    if (err == ERR_OK && r->node == NULL && r->config.key_file.bytes > 0)
        err = read_own_key(r);
    if (err == ERR_OK)
        err = place_state(r);
    if (err == ERR_OK)
        err = roster_bus_read(r);
    if (err == ERR_OK && r->config.upstream_bind.bytes > 0)
        err = roster_resolve(r->config.upstream_bind, 0, &r->bind);
    if (err == ERR_OK)
        err = listeners_check(r);
    if (err == ERR_OK)
        err = roster_tls_listen(r, previous);
    if (err == ERR_OK)
        err = access_build(r, previous);
    if (err == ERR_OK)
        err = nodes_build(r, nodes_max, previous);
    if (err == ERR_OK)
        err = gateways_build(r, previous);
    if (err == ERR_OK)
        err = rtt_build(r);
    return err;
}

static const char *
environment(const char *name, void *user)
{
    (void)user;
    return getenv(name);
}

/* The directory of the file at path, after the file itself was read. */
static void
set_directory(struct roster *r, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (slash != NULL)
        r->directory = (struct span){path, (size_t)(slash - path)};
}

/* The files that only a node agent has. */
static enum err
read_node(struct roster *r)
{
    enum err err = roster_read_file(r, r->node->key_file, SIGNATURE_FILE_BYTES_MAX,
                                    ROSTER_FILE_SECRET, &r->node_key);

    if (err == ERR_OK && r->node->identity_file.bytes > 0)
        err = roster_read_file(r, r->node->identity_file, IDENTITY_BYTES_MAX + 1, ROSTER_FILE_PLAIN,
                               &r->node_identity);
    while (r->node_identity.bytes > 0 && r->node_identity.data[r->node_identity.bytes - 1] == '\n')
        r->node_identity.bytes--;
    return err;
}

static enum err
parse(struct roster *r, bool is_node, struct config_problems *ret_problems)
{
    struct config_node *node;
    enum err err;

    if (!is_node)
        return config_parse(r->config_text, environment, NULL, &r->arena, &r->config, ret_problems);
    node = arena_zeroed(&r->arena, sizeof(*node));
    if (node == NULL)
        return ERR_MEMORY;
    err = config_node_parse(r->config_text, environment, NULL, &r->arena, node, ret_problems);
    r->config = node->base;
    r->node = node;
    return err;
}

static enum err
read_into(struct roster *r, const char *name, bool is_node, uint32_t nodes_max,
          const struct roster *previous)
{
    struct config_problems problems = {0};
    enum err err = parse(r, is_node, &problems);

    r->name = span_of(name);
    log_problems(&problems, r->name);
    if (err != ERR_OK)
        return err;
    if (r->config.unbuilt) {
        log_error("%s: the keys named above belong to parts that are not built yet: take them out",
                  name);
        return ERR_UNSUPPORTED;
    }
    if (is_node)
        err = read_node(r);
    return err == ERR_OK ? build(r, nodes_max, previous) : err;
}

/* From the file at path, or from yaml, which name stands for in messages. */
static enum err
load(const char *path, struct span yaml, const char *name, bool is_node, uint32_t nodes_max,
     const struct roster *previous, struct roster **ret_roster)
{
    struct roster *r = roster_new();
    enum err err;

    if (r == NULL)
        return ERR_MEMORY;
    if (path != NULL) {
        err = roster_read_file(r, span_of(path), CONFIG_BYTES_MAX, ROSTER_FILE_PLAIN,
                               &r->config_text);
        set_directory(r, path);
    } else {
        err = arena_copy(&r->arena, yaml, &r->config_text);
    }
    if (err == ERR_OK)
        err = read_into(r, name, is_node, nodes_max, previous);
    r->directory = r->name = (struct span){NULL, 0}; /* the path is the caller's */
    if (err == ERR_OK) {
        *ret_roster = r;
        r = NULL;
    }
    roster_unref(r);
    return err;
}

enum err
roster_load(const char *path, uint32_t nodes_max, const struct roster *previous,
            struct roster **ret_roster)
{
    return load(path, (struct span){NULL, 0}, path, false, nodes_max, previous, ret_roster);
}

enum err
roster_read(struct span yaml, const char *name, uint32_t nodes_max, const struct roster *previous,
            struct roster **ret_roster)
{
    return load(NULL, yaml, name, false, nodes_max, previous, ret_roster);
}

enum err
roster_load_node(const char *path, struct span yaml, const struct roster *previous,
                 struct roster **ret_roster)
{
    return load(path, yaml, path != NULL ? path : "options", true, 0, previous, ret_roster);
}

enum err
roster_make(const struct config *config, struct roster **ret_roster)
{
    struct roster *r = roster_new();
    enum err err;

    if (r == NULL)
        return ERR_MEMORY;
    r->config = *config;
    err = build(r, 0, NULL);
    if (err == ERR_OK) {
        *ret_roster = r;
        r = NULL;
    }
    roster_unref(r);
    return err;
}
