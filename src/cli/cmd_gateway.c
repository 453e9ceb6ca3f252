/* cmd_gateway - `isochrone gateway`: serve by a configuration file. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "io/notify.h"
#include "role/gateway/gateway.h"
#include "role/gateway/metrics.h"
#include "wire/config.h"

#define ARENA_BYTES_MAX 65536u

const char cmd_gateway_help[] =
    "  isochrone gateway -f gateway.yaml\n"
    "  isochrone gateway -f gateway.yaml --record run.iso  # for isochrone replay\n"
    "  isochrone gateway -f gateway.yaml --rule nearest    # to compare\n"
    "\n"
    "Answers OpenAI requests and sends each to the engine that will answer it first.\n"
    "\n"
    "  -f FILE         the configuration (isochrone check -f FILE shows what is wrong\n"
    "                  with it)\n"
    "  --record FILE   write every decision, so that it can be replayed\n"
    "  --rule RULE     time, nearest, least_request, round_robin or random, whatever\n"
    "                  the file says\n"
    "  --seed N        of the tie-breaks; a random one without\n"
    "  --measure-lock  keep a histogram of how long decisions hold the lock, in\n"
    "                  /metrics\n"
    "\n"
    "What keys used is kept in the directory `state` of the configuration, else\n"
    "$STATE_DIRECTORY.\n"
    "SIGHUP reads FILE again and keeps the old configuration when there is an error\n"
    "in it.\n"
    "SIGTERM stops taking requests, waits at most limits.drain, and ends what is left\n"
    "with an error; a second one does so at once.\n"
    "SIGUSR1 opens the log files anew, after they were moved away.\n"
    "SIGUSR2 starts the program anew, by the same arguments, and hands over to it\n"
    "without a failed request: after an upgrade, or when a key needs a restart. If\n"
    "the new one does not come up the old one goes on. Sockets of systemd are taken\n"
    "when they are named public and admin.\n";

static int
rule_named(const char *name)
{
    const char *names[RULE_COUNT], *nearest;

    for (uint32_t i = 0; i < RULE_COUNT; i++) {
        names[i] = metrics_rule_name(i);
        if (strcmp(names[i], name) == 0)
            return (int)i;
    }
    nearest = config_nearest(span_of(name), names, RULE_COUNT);
    fprintf(stderr, "isochrone gateway: there is no rule `%s`", name);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean `%s`?", nearest);
    fputc('\n', stderr);
    return -1;
}

/* Read the options. False: told what is wrong. */
static bool
read_options(int argc, char **argv, struct gateway_options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--measure-lock") == 0) {
            o->measure_hold = true;
            continue;
        }
        if (value != NULL && strcmp(argv[i], "-f") == 0) {
            o->config_path = value;
        } else if (value != NULL && strcmp(argv[i], "--record") == 0) {
            o->record_path = value;
        } else if (value != NULL && strcmp(argv[i], "--rule") == 0) {
            o->rule = rule_named(value);
            if (o->rule < 0)
                return false;
        } else if (value != NULL && strcmp(argv[i], "--seed") == 0) {
            if (span_u64(span_of(value), &o->seed) != ERR_OK) {
                fprintf(stderr, "isochrone gateway: --seed %s is no number\n", value);
                return false;
            }
        } else {
            fprintf(stderr, "isochrone gateway: %s %s\n",
                    value == NULL ? "a value is missing after" : "there is no option", argv[i]);
            return false;
        }
        i++;
    }
    if (o->config_path == NULL)
        fputs("isochrone gateway: which configuration? -f FILE\n", stderr);
    return o->config_path != NULL;
}

int
cmd_gateway(int argc, char **argv)
{
    struct inherit inherited;
    struct gateway_options options = {
        .rule = -1,
        .signals = true,
        .own_log = true,
        .inherited = &inherited,
        .argv = argv - 1, /* the program's name stands before the command's */
        .notify_path = getenv("NOTIFY_SOCKET"),
        .watchdog_ns = notify_watchdog_ns(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID")),
    };
    struct gateway *gateway;
    struct arena arena;
    int code = CLI_FAILED;

    if (!read_options(argc, argv, &options)) {
        fputs(cmd_gateway_help, stderr);
        return CLI_USAGE;
    }
    if (inherit_read(&inherited) != ERR_OK)
        return CLI_FAILED; /* told by inherit_read */
    arena_init(&arena, ARENA_BYTES_MAX);
    options.state_path = cli_state_path(false, &arena);
    if (roster_load(options.config_path, 0, NULL, &options.roster) == ERR_OK && /* told by both */
        gateway_open(&options, &gateway) == ERR_OK) {
        gateway_run(gateway);
        gateway_close(gateway);
        code = CLI_OK;
    }
    arena_fini(&arena);
    return code;
}
