#ifndef WIRE_CONFIG_TLS_H
#define WIRE_CONFIG_TLS_H
/* config_tls - the keys of TLS, for config.c: of the public listener and of engines. The files that
 * they name are read by the gateway (io/tls judges what is in them). */
#include "wire/schema.h"

extern const struct schema_key config_tls_listen_keys[]; /* into a struct config */
schema_read_fn config_tls_read_pin;                      /* struct config_engine */

/* Do the keys of listen.tls go together? tls: NULL: there are none. */
void config_tls_check_listen(struct schema_reader *r, const struct config *config,
                             const struct yaml_tree_node *tls);
/* And those of an engine? */
void config_tls_check_engine(struct schema_reader *r, const struct config_engine *engine,
                             const struct yaml_tree_node *node);
#endif
