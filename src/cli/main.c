/* main - the table of subcommands, and what is the same for all of them: --help, --version, and the
 * nearest word when one is mistyped. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "cli/cli.h"
#include "cli/cli_identity.h"
#include "wire/config.h"

static const struct command {
    const char *group; /* of the help text; those of one group stand together */
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;  /* examples first */
    const char *brief; /* one line */
} commands[] = {
    {"run", "up", cmd_up, cmd_up_help, "a gateway in front of the engines of this machine"},
    {"run", "gateway", cmd_gateway, cmd_gateway_help,
     "answer requests in front of the engines of a file"},
    {"run", "node", cmd_node, cmd_node_help, "the agent beside an engine, for gateways"},
    {"run", "emulate", cmd_emulate, cmd_emulate_help,
     "engines with modelled speed, to try things on"},
    {"run", "replay", cmd_replay, cmd_replay_help, "play a recorded run again, byte for byte"},
    {"run", "sim", cmd_sim, cmd_sim_help,
     "the decision in a simulated network, beside other rules"},
    {"look", "status", cmd_status, cmd_status_help, "is all well? one line, and one a model"},
    {"look", "nodes", cmd_nodes, cmd_nodes_help, "who is there, and what each can take"},
    {"look", "capacity", cmd_capacity, cmd_capacity_help, "what is free, by model and region"},
    {"look", "readiness", cmd_readiness, cmd_readiness_help,
     "which model is where, and in which state"},
    {"look", "demand", cmd_demand, cmd_demand_help,
     "how much is asked for, by model and region, and who says so"},
    {"look", "explain", cmd_explain, cmd_explain_help,
     "why a request went where it went, or where it would"},
    {"look", "usage", cmd_usage, cmd_usage_help, "what each key used of each model"},
    {"look", "plan", cmd_plan, cmd_plan_help,
     "which models nodes were asked to load, why, and what came of it"},
    {"act", "check", cmd_check, cmd_check_help,
     "read a configuration and show every problem in it"},
    {"act", "bus", cmd_bus, cmd_bus_help, "the bus of nodes and gateways: listen, try, set up"},
    {"act", "reload", cmd_reload, cmd_reload_help, "have a gateway read its configuration again"},
    {"act", "key", cmd_key, cmd_key_help, "keys of clients, nodes, operators and gateways"},
    {"act", "load", cmd_load, cmd_load_help, "have an engine or a node take a model into memory"},
    {"act", "unload", cmd_unload, cmd_unload_help, "and out of it"},
    {"act", "sleep", cmd_sleep, cmd_sleep_help,
     "have an engine or a node give its GPU's memory back"},
    {"act", "wake", cmd_wake, cmd_wake_help, "and take it again"},
    {"act", "pin", cmd_pin, cmd_pin_help, "have a node keep a model, whatever plan thinks"},
    {"act", "unpin", cmd_unpin, cmd_unpin_help, "and let it go again"},
    {"act", "drain", cmd_drain, cmd_drain_help, "have a node take nothing new"},
    {"act", "ready", cmd_ready, cmd_ready_help, "and take requests again"},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void
print_help(FILE *out)
{
    fputs("isochrone sends each AI request to the node that will answer it first.\n"
          "\n"
          "  isochrone up                       # in front of what runs on this machine\n"
          "  isochrone gateway -f gateway.yaml  # a gateway in front of many\n"
          "  isochrone nodes                    # who is there, and what each can take\n"
          "  isochrone explain ID               # why this node answered, and no other\n"
          "\n",
          out);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (i == 0 || strcmp(commands[i].group, commands[i - 1].group) != 0)
            fprintf(out, "%s%s\n", i > 0 ? "\n" : "", commands[i].group);
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].brief);
    }
    fputs("\n`isochrone COMMAND --help` shows examples and options.\n", out);
}

static int
unknown_command(const char *word)
{
    const char *names[COMMAND_COUNT], *nearest;

    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i].name;
    nearest = strcmp(word, "models") == 0 ? "readiness" /* what other programs call it */
                                          : config_nearest(span_of(word), names, COMMAND_COUNT);
    fprintf(stderr, "isochrone: there is no command `%s`", word);
    if (nearest != NULL)
        fprintf(stderr, "; did you mean `%s`?", nearest);
    fputs("\nRun `isochrone --help` for the list.\n", stderr);
    return CLI_USAGE;
}

static int
run_command(const struct command *command, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            bool is_identity = command->run == cmd_key && cli_identity_has(argv[1]);
            fputs(is_identity ? cli_identity_help : command->help, stdout);
            return CLI_OK;
        }
    }
    return command->run(argc, argv);
}

/* A stream needs two descriptors, and the usual soft limit of 1,024 is for programs that use
 * select(). Where it cannot be raised it stays: what is above it is refused, and told. */
static void
raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int
main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a write to a closed socket is an error code, not a death */
    raise_descriptors();
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("isochrone " ISOCHRONE_VERSION);
        return CLI_OK;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return run_command(&commands[i], argc - 1, argv + 1);
    }
    return unknown_command(argv[1]);
}
