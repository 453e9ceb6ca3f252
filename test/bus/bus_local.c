/* bus_local - whoever publishes puts the message into the queues of those that it is for; see
 * bus_local.h. */
#include "bus_local.h"

#include <stdlib.h>

#include "io/bus_core.h"

/* To how many it went. */
static uint32_t
deliver(struct bus *bus, const struct bus_message *message, bool nobody)
{
    uint32_t count = atomic_load(&bus->subscription_count), to = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (bus_matches(span_of(bus->subscriptions[i].pattern), message->subject)) {
            bus_deliver(bus, i, message, nobody);
            to++;
        }
    }
    return to;
}

static enum err
local_publish(struct bus *bus, const char *subject, const char *reply, struct span body)
{
    struct bus_message message = {span_of(subject), span_of(reply), body};

    if (deliver(bus, &message, false) == 0 && message.reply.bytes > 0) {
        message = (struct bus_message){.subject = message.reply};
        (void)deliver(bus, &message, true);
    }
    bus_wake(bus);
    return ERR_OK;
}

static void
local_nothing(struct bus *bus)
{
    (void)bus; /* publishers look at the subscriptions themselves, and do so on their threads */
}

static void
local_free(struct bus *bus)
{
    free(bus);
}

static const struct bus_kind local = {local_publish, local_nothing, local_nothing, local_free};

enum err
bus_local_open(struct bus **ret_bus)
{
    struct bus *bus = calloc(1, sizeof(*bus));
    enum err err = bus != NULL ? bus_init(bus, &local, SPAN_LIT("local")) : ERR_MEMORY;

    if (err != ERR_OK) {
        free(bus);
        return err;
    }
    bus_set_server(bus, "this process", "");
    bus_set_connected(bus, true);
    err = bus_start(bus);
    if (err != ERR_OK) {
        bus_fini(bus);
        free(bus);
        return err;
    }
    *ret_bus = bus;
    return ERR_OK;
}
