/* e2e_watchdog_test - a gateway of two lanes under a service manager: signs of life come as long as
 * both loops turn, and stop when one of them hangs, though the other serves. */
#include <semaphore.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/must.h"
#include "e2e.h"
#include "patience.h"
#include "role/gateway/lane.h"
#include "tap.h"

#define PERIOD_NS  UINT64_C(80000000) /* of the watchdog */
#define PERIODS    10                 /* that it stays silent, watched from outside */
#define SIGNS_MANY 5

static sem_t hanging, let_go;
static struct loop_post hang_post;
static int manager;

static void
hang(struct loop_post *post)
{
    (void)post;
    sem_post(&hanging);
    while (sem_wait(&let_go) != 0)
        ;
}

/* How many signs of life came in this time. */
static int
signs(int milliseconds)
{
    char text[512];
    int count = 0;

    for (int i = 0; i < milliseconds; i++) {
        ssize_t bytes = recv(manager, text, sizeof(text) - 1, MSG_DONTWAIT);
        if (bytes > 0) {
            text[bytes] = '\0';
            count += strcmp(text, "WATCHDOG=1") == 0;
            i--;
        } else {
            usleep(1000);
        }
    }
    return count;
}

/* Wait until some came. */
static bool
signs_come(void)
{
    uint64_t until_s = 0;
    int count = 0;

    while (count < SIGNS_MANY && patience(&until_s))
        count += signs(10);
    return count >= SIGNS_MANY;
}

static void
open_manager(char *path, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t bytes;

    snprintf(path, size, "@isochrone-watchdog-%ld", (long)getpid());
    memcpy(address.sun_path, path, strlen(path));
    address.sun_path[0] = '\0';
    bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    must(manager >= 0 && bind(manager, (struct sockaddr *)&address, bytes) == 0);
}

int
main(void)
{
    struct e2e_gateway g;
    struct e2e_reply reply;
    char path[64], sign[512];
    int ms = (int)(PERIODS * PERIOD_NS / 1000000), count;

    open_manager(path, sizeof(path));
    must(sem_init(&hanging, 0, 0) == 0 && sem_init(&let_go, 0, 0) == 0);
    e2e_gateway_start(
        &g, &(struct gateway_options){.rule = -1, .notify_path = path, .watchdog_ns = PERIOD_NS},
        "threads: 2\nengines: []\n");
    CHECK(signs_come(), "both loops turn: signs of life");
    loop_post(g.gateway->lanes[1].loop, &hang_post, hang);
    while (sem_wait(&hanging) != 0)
        ;
    while (recv(manager, sign, sizeof(sign), MSG_DONTWAIT) > 0)
        ; /* what came before */
    /* One sign may be on its way, of the answer before; with the other loop's alone there would be
     * four in each period. */
    count = signs(ms);
    CHECK(count <= 1, "one hangs: no more signs");
    e2e_ask(g.admin_port, "GET", "/livez", "", "", &reply);
    CHECK(reply.status == 200, "though the other one serves");
    e2e_reply_fini(&reply);
    sem_post(&let_go);
    CHECK(signs_come(), "it goes on, and so do they");
    e2e_gateway_stop(&g);
    close(manager);
    return tap_done();
}
