#ifndef ROLE_ROSTER_TLS_H
#define ROLE_ROSTER_TLS_H
/* roster_tls - the certificates of a roster, for roster.c: the listeners', and whom to trust
 * as an engine. What did not change since the previous roster is taken over from it, so a reload
 * leaves connections and sessions as they are. (The system's CAs are read once.) */
#include "role/roster.h"

#define ROSTER_TLS_CONTEXTS_MAX 1024u /* different ones of engines */
#define ROSTER_PEM_BYTES_MAX    1048576u

struct roster_tls_context {
    uint64_t files;   /* a hash of the paths */
    uint64_t content; /* and of what is in them */
    struct tls_context *tls;
};

/* Of the listeners; nothing to do for one without. previous may be NULL. */
MUST_USE enum err roster_tls_listen(struct roster *r, const struct roster *previous);
/* Of an engine with https, into node. ERR_IO, ERR_PARSE, ERR_FULL, ERR_MEMORY: logged. */
MUST_USE enum err roster_tls_engine(struct roster *r, const struct config_engine *engine,
                                    const struct roster *previous, struct roster_node *node);
void roster_tls_fini(struct roster *r);

/* ---- roster.c */
enum roster_file { ROSTER_FILE_PLAIN, ROSTER_FILE_SECRET /* whose rights are looked at */ };
/* The whole file at path, into the arena, with JSON_PADDING zeros behind it. A relative path begins
 * where the configuration is. ERR_IO: logged. */
MUST_USE enum err roster_read_file(struct roster *r, struct span path, size_t bytes_max,
                                   enum roster_file kind, struct span *ret_text);
/* What is in it without the line end behind it; of visible characters. ERR_IO, ERR_PARSE: logged.
 */
MUST_USE enum err roster_read_secret(struct roster *r, struct span path, struct span *ret_secret);
/* The path, with a zero behind it, as it is from where the process is. ERR_FULL. */
MUST_USE enum err roster_place_file(struct roster *r, struct span path, const char **ret_name);
#endif
