/* node_self - who this node is: its key, the record that its operator signed, and its epoch, which
 * grows with each start even when the clock was set back, as long as there is a place for it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/log.h"
#include "role/node/node_state.h"

#define PATH_BYTES_MAX  4096u
#define EPOCH_TEXT_SIZE 32u
#define END_TOLD_S      86400u /* between two times that the end of the record is told */

static enum err
take_key(struct node *n)
{
    struct span text = n->roster->node_key;
    struct signature_file file = {.owner = SIGNATURE_OWNER_NONE};
    enum err err = signature_file_parse(text, &file);
    struct span path = n->config->key_file;

    if (err == ERR_OK && (!file.is_secret || (file.owner != SIGNATURE_OWNER_NODE &&
                                              file.owner != SIGNATURE_OWNER_NONE)))
        err = ERR_PARSE;
    if (err != ERR_OK) {
        log_error("%.*s: no secret key of a node: `isochrone key node --name NAME -o FILE` makes "
                  "one",
                  (int)path.bytes, path.data);
    } else if (n->config->name.bytes > 0 && file.name[0] != '\0' &&
               !span_eq_text(n->config->name, file.name)) {
        log_error("%.*s: the key of `%s`, and the configuration's name is `%.*s`", (int)path.bytes,
                  path.data, file.name, (int)n->config->name.bytes, n->config->name.data);
        err = ERR_ARG;
    } else if (n->config->name.bytes > 0) {
        n->name = n->config->name;
    } else if (file.name[0] == '\0') {
        log_error("the node needs a name: set `name: NAME`, its key has none");
        err = ERR_ARG;
    } else {
        err = arena_copy(&n->roster->arena, span_of(file.name), &n->name);
    }
    if (err == ERR_OK)
        n->secret = file.secret;
    signature_file_forget(&file);
    explicit_bzero((void *)(uintptr_t)text.data, text.bytes); /* the arena's, which is not const */
    return err;
}

/* Where it is reached, for gateways that hear of it: as it listens, unless that is everywhere; its
 * operator's record knows better. ERR_FULL. */
static enum err
set_url(const struct node *n, struct roster *r, struct span *ret_url)
{
    struct sockaddr_storage at;
    char host[INET6_ADDRSTRLEN] = "";
    const char *scheme = r->tls.context != NULL ? "https" : "http";

    http_server_address(n->public_server, &at);
    if (at.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&at;

        if (v4->sin_addr.s_addr == htonl(INADDR_ANY) ||
            inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host)) == NULL)
            return ERR_OK;
        return arena_printf(&r->arena, ret_url, "%s://%s:%u", scheme, host, ntohs(v4->sin_port));
    }
    if (at.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&at;

        if (IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) ||
            inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host)) == NULL)
            return ERR_OK;
        return arena_printf(&r->arena, ret_url, "%s://[%s]:%u", scheme, host, ntohs(v6->sin6_port));
    }
    return ERR_OK;
}

/* Nobody vouches for it: only what is its own. */
static enum err
make_unsigned(const struct node *n, struct roster *r, struct identity *ret)
{
    memset(ret, 0, sizeof(*ret));
    message_absent(identity_fields, ret);
    ret->node = n->name;
    signature_key_of_secret(&n->secret, &ret->key);
    ret->labels = r->node->labels;
    if (r->tls.context != NULL)
        memcpy(ret->tls_pin, r->tls.pin, sizeof(ret->tls_pin));
    if (message_label_add(&ret->labels, SPAN_LIT("region"), n->first->config.region) != ERR_OK)
        log_debug("the region is among the labels already");
    return set_url(n, r, &ret->url);
}

static enum err
take_record(const struct node *n, const struct roster *r, struct identity *ret)
{
    struct span path = r->node->identity_file;
    char words[IDENTITY_WORDS_BYTES];
    struct message_error error;
    enum identity_verdict verdict;
    struct signature_key key;

    signature_key_of_secret(&n->secret, &key);
    if (identity_parse(r->node_identity, ret, &error) != ERR_OK) {
        log_error("%.*s: %s", (int)path.bytes, path.data, error.text);
        return ERR_PARSE;
    }
    if (!signature_key_eq(&ret->key, &key) || !span_eq(ret->node, n->name)) {
        log_error("%.*s: the record of another node, or of another key of this one",
                  (int)path.bytes, path.data);
        return ERR_ARG;
    }
    /* Whom to trust is the gateways' to say; whether it is good in itself shows here already. */
    verdict = identity_verify(ret, n->name,
                              &(struct identity_trust){.operators = &ret->operator_key, .count = 1},
                              clock_wall_s());
    if (verdict != IDENTITY_PROVEN && !identity_is_unproven(verdict)) {
        identity_words(verdict, ret, clock_wall_s(), words);
        log_error("%.*s: gateways will refuse this record: %s", (int)path.bytes, path.data, words);
        return ERR_ARG;
    }
    return ERR_OK;
}

enum err
node_self_identity(const struct node *n, struct roster *r, struct identity *ret_identity)
{
    return r->node_identity.bytes > 0 ? take_record(n, r, ret_identity)
                                      : make_unsigned(n, r, ret_identity);
}

void
node_self_tell_end(struct node *n)
{
    struct span path = n->config->identity_file;
    uint64_t now_s = clock_wall_s();
    char words[IDENTITY_WORDS_BYTES];
    bool ended = n->end_told_s < n->identity.expires_s && n->identity.expires_s <= now_s;

    if (!identity_ends(&n->identity, now_s, words) ||
        (!ended && n->end_told_s != 0 && now_s - n->end_told_s < END_TOLD_S))
        return;
    n->end_told_s = now_s;
    log_warn("%.*s: %s", (int)path.bytes, path.data, words);
}

struct span
node_self_region(const struct node *n)
{
    const struct message_labels *labels = &n->identity.labels;

    for (size_t i = 0; i < labels->count; i++) {
        if (span_eq(labels->list[i].name, SPAN_LIT("region")) &&
            config_is_name(labels->list[i].value))
            return labels->list[i].value;
    }
    return n->first->config.region;
}

bool
node_self_has_key(const struct node *n, const struct roster *r)
{
    struct signature_file file = {.owner = SIGNATURE_OWNER_NONE};
    struct span text = r->node_key;
    struct signature_key own;
    bool good = signature_file_parse(text, &file) == ERR_OK && file.is_secret;

    signature_key_of_secret(&n->secret, &own);
    good = good && signature_key_eq(&file.key, &own);
    signature_file_forget(&file);
    explicit_bzero((void *)(uintptr_t)text.data, text.bytes); /* the arena's, which is not const */
    return good;
}

/* ---- The epoch. */

static uint64_t
epoch_read(const char *path)
{
    char text[EPOCH_TEXT_SIZE];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes = fd >= 0 ? read(fd, text, sizeof(text)) : -1;
    uint64_t epoch = 0;

    if (fd >= 0)
        close(fd);
    if (bytes > 0 && text[bytes - 1] == '\n')
        bytes--;
    if (bytes > 0 && span_u64((struct span){text, (size_t)bytes}, &epoch) != ERR_OK) {
        log_warn("%s: no epoch; the clock's is taken", path);
        epoch = 0;
    }
    return epoch < MESSAGE_NUMBER_MAX ? epoch : 0;
}

/* The old number or the new one, never something between. ERR_FULL: the disk takes nothing now. */
static enum err
epoch_write(const char *path, uint64_t epoch)
{
    char text[EPOCH_TEXT_SIZE], new_path[PATH_BYTES_MAX];
    int bytes = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)epoch);
    bool good, is_full;
    int fd;

    if (snprintf(new_path, sizeof(new_path), "%s.new", path) >= (int)sizeof(new_path))
        return ERR_ARG;
    fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    good = fd >= 0 && write(fd, text, (size_t)bytes) == bytes && fsync(fd) == 0;
    if (fd >= 0 && close(fd) != 0)
        good = false;
    if (good && rename(new_path, path) == 0)
        return ERR_OK;
    is_full = errno == ENOSPC || errno == EDQUOT || errno == EROFS;
    log_error("%s: %s", new_path, strerror(errno));
    return is_full ? ERR_FULL : ERR_IO;
}

static enum err
begin_epoch(struct node *n, const char *state_path)
{
    char path[PATH_BYTES_MAX];
    bool by_clock;
    uint64_t last;
    enum err err;

    n->epoch = clock_wall_ms();
    n->epoch_ns = clock_now_ns();
    if (n->roster->state_dir.bytes > 0)
        state_path = n->roster->state_dir.data;
    if (state_path == NULL) {
        log_warn("no place for the epoch (`state: DIRECTORY`): if the clock is set back, gateways "
                 "take this node for an old one after a restart");
        return ERR_OK;
    }
    if (snprintf(path, sizeof(path), "%s/%.*s.epoch", state_path, (int)n->name.bytes,
                 n->name.data) >= (int)sizeof(path))
        return ERR_ARG;
    last = epoch_read(path);
    by_clock = last < n->epoch;
    if (!by_clock)
        n->epoch = last + 1;
    err = epoch_write(path, n->epoch);
    if (err != ERR_FULL || !by_clock) /* else the next life would have this number, too */
        return err;
    log_warn("the epoch is not kept: if the clock is set back, gateways take this node for an old "
             "one after a restart");
    return ERR_OK;
}

enum err
node_self_open(struct node *n, const char *state_path)
{
    enum err err = take_key(n);

    if (err == ERR_OK)
        err = begin_epoch(n, state_path);
    if (err == ERR_OK)
        report_chain_begin(n->name, n->epoch, n->head);
    return err;
}

void
node_self_close(struct node *n)
{
    signature_forget(&n->secret, sizeof(n->secret));
}
