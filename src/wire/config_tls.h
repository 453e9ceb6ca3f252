#ifndef WIRE_CONFIG_TLS_H
#define WIRE_CONFIG_TLS_H
/* config_tls - the keys of TLS, for config.c: of listeners and of engines. The files that
 * they name are read by the gateway (io/tls judges what is in them). */
#include "wire/schema.h"

extern const struct schema_key config_tls_listener_keys[]; /* for: */
schema_read_fn config_tls_read_listener;                   /* struct config_tls */
schema_read_fn config_tls_read_admin;                      /* the same, or `none` */
schema_read_fn config_tls_read_pin;                        /* struct config_engine */

/* Do the keys of an engine, or of whoever else has a url, go together? pin_key: what its pin is
 * called. */
void config_tls_check_engine(struct schema_reader *r, const struct config_engine *engine,
                             const char *pin_key, const struct yaml_tree_node *node);
#endif
