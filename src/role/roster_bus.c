/* roster_bus - the bus that a configuration names: files read, then connected; see roster_bus.h. */
#include "role/roster_bus.h"

#include <stdio.h>

#include "io/bus_nats.h"
#include "role/roster_tls.h"

enum err
roster_bus_read(struct roster *r)
{
    const struct config_bus *c = &r->config.bus;
    enum err err = ERR_OK;

    r->bus.nkey_path = "";
    if (c->nkey_file.bytes > 0)
        err = roster_place_file(r, c->nkey_file, &r->bus.nkey_path);
    if (err == ERR_OK && c->password_file.bytes > 0)
        err = roster_read_secret(r, c->password_file, &r->bus.password);
    if (err == ERR_OK && c->ca_file.bytes > 0)
        err = roster_read_file(r, c->ca_file, BUS_NATS_CA_BYTES_MAX, ROSTER_FILE_PLAIN, &r->bus.ca);
    return err;
}

enum err
roster_bus_open(const struct roster *r, struct span name, struct bus **ret_bus)
{
    const struct config_bus *c = &r->config.bus;
    char url[BUS_NATS_URL_BYTES_MAX];
    struct bus_nats_options o = {
        .name = name,
        .nkey_path = r->bus.nkey_path[0] != '\0' ? r->bus.nkey_path : NULL,
        .user = c->user,
        .password = r->bus.password,
        .ca = {.name = c->ca_file, .pem = r->bus.ca},
    };
    size_t at = 0;

    for (size_t i = 0; i < c->nats_count; i++) {
        int n = snprintf(url + at, sizeof(url) - at, "%s%.*s", i > 0 ? "," : "",
                         (int)c->nats[i].bytes, c->nats[i].data);
        if (n < 0 || (size_t)n >= sizeof(url) - at)
            return ERR_ARG;
        at += (size_t)n;
    }
    o.url = (struct span){url, at};
    return bus_nats_open(&o, ret_bus);
}
