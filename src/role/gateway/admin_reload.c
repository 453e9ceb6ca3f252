/* admin_reload - POST /network/v1/reload: read the configuration again, and tell whoever asked what
 * the log is told. The answer waits for the worker; a client that leaves does not stop it. */
#include <stdlib.h>

#include "io/log.h"
#include "role/gateway/admin.h"
#include "role/gateway/reload.h"

struct ask {
    struct owner owner; /* first: see http_exchange_user */
    struct reload_waiter waiter;
    struct reload *reload;
    struct http_exchange *exchange;
};

static void
on_gone(struct owner *owner)
{
    struct ask *ask = CONTAINER_OF(owner, struct ask, owner);

    reload_forget(ask->reload, &ask->waiter);
    http_exchange_set_user(ask->exchange, NULL);
    free(ask);
}

static void
on_done(struct reload_waiter *waiter, bool good, struct span lines)
{
    static const char *const levels[] = {
        [LOG_ERROR] = "error", [LOG_WARN] = "warning", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};
    struct ask *ask = CONTAINER_OF(waiter, struct ask, waiter);
    struct http_exchange *x = ask->exchange;
    cJSON *json = cJSON_CreateObject(), *list;

    free(ask);
    http_exchange_set_user(x, NULL);
    cJSON_AddBoolToObject(json, "reloaded", good);
    list = cJSON_AddArrayToObject(json, "messages");
    while (lines.bytes > 0) {
        size_t bytes = span_find(lines, '\n');
        cJSON *message = cJSON_CreateObject();

        cJSON_AddStringToObject(message, "level", levels[(lines.data[0] - '0') & 3]);
        admin_put_span(message, "text", (struct span){lines.data + 1, bytes - 1});
        admin_append(list, message);
        lines = span_from(lines, bytes + 1);
    }
    admin_send(x, good ? 200 : 422, json);
}

void
admin_reload(struct admin_call *call)
{
    struct reload *reload = call->lane->gateway->reload;
    struct ask *ask;

    if (reload == NULL || call->lane->index != 0) {
        admin_send_error(call->exchange, 409, "no_configuration_file",
                         "there is no configuration file to read again");
        return;
    }
    ask = calloc(1, sizeof(*ask)); /* lives as long as the reload, or its client */
    if (ask == NULL) {
        admin_send(call->exchange, 500, NULL);
        return;
    }
    *ask = (struct ask){.owner.gone = on_gone,
                        .waiter.done = on_done,
                        .reload = reload,
                        .exchange = call->exchange};
    http_exchange_set_user(call->exchange, &ask->owner);
    reload_start(reload, &ask->waiter);
}
