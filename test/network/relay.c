/* relay - sites with real distances between them, on one machine: a network namespace for each
 * site, and this process, which carries the packets from one to the other as late as the round
 * trips between their regions say. It does what netem would do where the kernel has none.
 *
 *   relay [--rtt FILE] [--seed N]
 *
 * Driven by lines on standard input, each answered by a line: `ok ...` or `error WHY`.
 *
 *   site NAME REGION ADDRESS...   a new site; ok PATH: its namespace, for nsenter --net=PATH
 *   rtt A B MS                    the round trip between two sites, there and back the same;
 *   jitter A B MS                 up to so much more for each packet, none overtakes another;
 *   loss A B SHARE                lost, 0 to 1 (1: the two are parted); for these three `*` stands
 *                                 for all sites
 *   rate SITE MBIT                what it sends goes out so fast; 0: at once
 *   cut SITE, join SITE           from all others, and back
 *   stats                         ok JSON: counts since the start
 *
 * Ends with its input; the namespaces then have no more than the processes in them. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/list.h"
#include "base/must.h"
#include "io/clock.h"
#include "io/log.h"
#include "io/loop.h"
#include "relay_net.h"
#include "relay_tun.h"

#define LINE_BYTES_MAX   4096u
#define WORDS_MAX        (3u + RELAY_TUN_ADDRESSES_MAX)
#define PACKETS_A_TURN   256u /* of one site; then others have theirs */
#define ARENA_BYTES_MAX  (8u << 20)
#define RTT_BYTES_MAX    (4u << 20)
#define LATE_BUCKETS     1000u /* of LATE_BUCKET_NS */
#define LATE_BUCKET_NS   20000u
#define DELIVERED_A_PASS 4096u

struct relay_site {
    struct loop_watch watch;
    struct relay_tun tun;
    struct relay *relay;
    uint32_t index;
};

struct relay {
    struct loop *loop;
    struct relay_net *net;
    struct loop_watch timer, input;
    struct relay_site sites[RELAY_SITES_MAX];
    uint64_t armed_ns;       /* what the timer is set to; UINT64_MAX: nothing */
    uint64_t dropped_device; /* the kernel did not take them */
    uint64_t late[LATE_BUCKETS], late_count;
    char line[LINE_BYTES_MAX];
    size_t line_bytes;
};

/* ---- Packets. */

static void
arm(struct relay *r)
{
    uint64_t next_ns = relay_net_next_ns(r->net);
    struct itimerspec at = {0};

    if (next_ns == r->armed_ns)
        return;
    r->armed_ns = next_ns;
    if (next_ns != UINT64_MAX) { /* all zero would be: never */
        at.it_value.tv_sec = (time_t)(next_ns / 1000000000u);
        at.it_value.tv_nsec = (long)(next_ns % 1000000000u);
    }
    must(timerfd_settime(r->timer.fd, TFD_TIMER_ABSTIME, &at, NULL) == 0);
}

static void
count_late(struct relay *r, uint64_t late_ns)
{
    uint64_t bucket = late_ns / LATE_BUCKET_NS;

    r->late[bucket < LATE_BUCKETS ? bucket : LATE_BUCKETS - 1]++;
    r->late_count++;
}

static void
deliver(struct relay *r)
{
    const struct relay_packet *p;
    uint64_t now_ns = clock_now_ns();

    for (uint32_t i = 0; i < DELIVERED_A_PASS && (p = relay_net_take(r->net, now_ns)) != NULL;
         i++) {
        count_late(r, now_ns - p->due_ns);
        if (write(r->sites[p->to].tun.tun_fd, p->data, p->bytes) != (ssize_t)p->bytes)
            r->dropped_device++;
    }
    arm(r);
}

static void
on_timer(struct loop_watch *watch, unsigned ready)
{
    struct relay *r = CONTAINER_OF(watch, struct relay, timer);
    uint64_t times;

    (void)ready;
    if (read(r->timer.fd, &times, sizeof(times)) < 0)
        return; /* set anew since it came up */
    r->armed_ns = UINT64_MAX;
    deliver(r);
}

static void
on_packets(struct loop_watch *watch, unsigned ready)
{
    struct relay_site *s = CONTAINER_OF(watch, struct relay_site, watch);
    unsigned char packet[RELAY_PACKET_BYTES_MAX + 1]; /* one more: what is too long shows */

    (void)ready;
    for (uint32_t i = 0; i < PACKETS_A_TURN; i++) {
        ssize_t bytes = read(watch->fd, packet, sizeof(packet));

        if (bytes <= 0)
            break;
        relay_net_put(s->relay->net, s->index, packet, (size_t)bytes, clock_now_ns());
    }
    deliver(s->relay);
}

/* ---- Commands. Each returns what is wrong, or NULL after it answered. */

static const char *
answer_ok(void)
{
    puts("ok");
    return NULL;
}

/* The new site's addresses and its namespace. Returns what is wrong, or NULL. */
static const char *
furnish(struct relay *r, uint32_t index, const uint32_t *addresses, uint32_t count)
{
    struct relay_site *s = &r->sites[index];

    for (uint32_t i = 0; i < count; i++)
        if (relay_net_address(r->net, index, addresses[i]) != ERR_OK)
            return "an address is outside 10.77.0.0/16, or has a site";
    s->relay = r;
    s->index = index;
    if (relay_tun_open(addresses, count, RELAY_NETWORK_MASK, &s->tun) != ERR_OK)
        return "the system refused; see standard error";
    if (loop_add(r->loop, &s->watch, s->tun.tun_fd, LOOP_READ, on_packets) == ERR_OK)
        return NULL;
    relay_tun_close(&s->tun);
    return "no room in the loop";
}

static const char *
do_site(struct relay *r, char **words, uint32_t count)
{
    uint32_t addresses[RELAY_TUN_ADDRESSES_MAX], address_count = 0, index;
    const char *wrong;
    struct in_addr in;

    if (count < 4)
        return "site NAME REGION ADDRESS...";
    for (uint32_t i = 3; i < count; i++) {
        if (inet_pton(AF_INET, words[i], &in) != 1)
            return "no IPv4 address";
        addresses[address_count++] = ntohl(in.s_addr);
    }
    switch (relay_net_site(r->net, span_of(words[1]), span_of(words[2]), &index)) {
    case ERR_OK:
        break;
    case ERR_EXISTS:
        return "there is a site of this name";
    case ERR_NOT_FOUND:
        return "no round trips are known for this region";
    default:
        return "too many sites, or no name";
    }
    wrong = furnish(r, index, addresses, address_count);
    if (wrong != NULL) {
        relay_net_unmake_last(r->net);
        return wrong;
    }
    printf("ok /proc/%ld/fd/%d\n", (long)getpid(), r->sites[index].tun.namespace_fd);
    return NULL;
}

/* A site, or all of them. False: there is none. */
static bool
find_sites(const struct relay *r, const char *word, uint32_t *ret_from, uint32_t *ret_to)
{
    *ret_from = 0;
    *ret_to = relay_net_site_count(r->net);
    if (strcmp(word, "*") == 0)
        return true;
    if (relay_net_find(r->net, span_of(word), ret_from) != ERR_OK)
        return false;
    *ret_to = *ret_from + 1;
    return true;
}

typedef enum err path_fn(struct relay_net *n, uint32_t a, uint32_t b, double value);

static const char *
do_path(struct relay *r, char **words, uint32_t count, path_fn *set)
{
    uint32_t a_from, a_to, b_from, b_to;
    double value;

    if (count != 4 || span_f64(span_of(words[3]), &value) != ERR_OK)
        return "two sites and a number are wanted";
    if (!find_sites(r, words[1], &a_from, &a_to) || !find_sites(r, words[2], &b_from, &b_to))
        return "no such site";
    for (uint32_t a = a_from; a < a_to; a++)
        for (uint32_t b = b_from; b < b_to; b++)
            if (a != b && set(r->net, a, b, value) != ERR_OK)
                return "out of range";
    return answer_ok();
}

static const char *
do_one(struct relay *r, char **words, uint32_t count)
{
    bool rate = strcmp(words[0], "rate") == 0;
    double value = 0.0;
    uint32_t site;

    if (count != (rate ? 3u : 2u) || (rate && span_f64(span_of(words[2]), &value) != ERR_OK))
        return rate ? "rate SITE MBIT" : "one site is wanted";
    if (relay_net_find(r->net, span_of(words[1]), &site) != ERR_OK)
        return "no such site";
    if (!rate)
        relay_net_cut(r->net, site, strcmp(words[0], "cut") == 0);
    else if (relay_net_set_rate(r->net, site, value) != ERR_OK)
        return "out of range";
    return answer_ok();
}

static double
late_p99_ms(const struct relay *r)
{
    uint64_t seen = 0;
    uint32_t i = 0;

    while (i < LATE_BUCKETS && (seen += r->late[i]) * 100 < r->late_count * 99)
        i++;
    return r->late_count > 0 ? (i + 1) * (LATE_BUCKET_NS * 1e-6) : 0.0;
}

static const char *
do_stats(struct relay *r)
{
    const struct relay_counts *c = relay_net_counts(r->net);
    struct rusage use;

    must(getrusage(RUSAGE_SELF, &use) == 0);
    printf("ok {\"forwarded\":%llu,\"forwarded_bytes\":%llu,\"waiting\":%u,\"dropped_full\":%llu,"
           "\"dropped_cut\":%llu,\"dropped_lost\":%llu,\"dropped_stray\":%llu,"
           "\"dropped_device\":%llu,\"late_p99_ms\":%.2f,\"cpu_s\":%.3f}\n",
           (unsigned long long)c->forwarded, (unsigned long long)c->forwarded_bytes,
           relay_net_waiting(r->net), (unsigned long long)c->dropped_full,
           (unsigned long long)c->dropped_cut, (unsigned long long)c->dropped_lost,
           (unsigned long long)c->dropped_stray, (unsigned long long)r->dropped_device,
           late_p99_ms(r),
           (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
               (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6);
    return NULL;
}

static const char *
do_command(struct relay *r, char **words, uint32_t count)
{
    static const struct {
        const char *word;
        path_fn *set;
    } paths[] = {
        {"rtt", relay_net_set_rtt}, {"jitter", relay_net_set_jitter}, {"loss", relay_net_set_loss}};

    if (count == 0)
        return "no command";
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (strcmp(words[0], paths[i].word) == 0)
            return do_path(r, words, count, paths[i].set);
    if (strcmp(words[0], "site") == 0)
        return do_site(r, words, count);
    if (strcmp(words[0], "stats") == 0)
        return do_stats(r);
    if (strcmp(words[0], "rate") == 0 || strcmp(words[0], "cut") == 0 ||
        strcmp(words[0], "join") == 0)
        return do_one(r, words, count);
    return "commands are site, rtt, jitter, loss, rate, cut, join, stats";
}

static void
on_line(struct relay *r, char *line)
{
    char *words[WORDS_MAX], *state = NULL;
    const char *wrong = NULL;
    uint32_t count = 0;

    for (char *word = strtok_r(line, " ", &state); word != NULL && wrong == NULL;
         word = strtok_r(NULL, " ", &state)) {
        if (count < WORDS_MAX)
            words[count++] = word;
        else
            wrong = "too many words";
    }
    if (wrong == NULL)
        wrong = do_command(r, words, count);
    if (wrong != NULL)
        printf("error %s\n", wrong);
    if (fflush(stdout) != 0)
        loop_stop(r->loop); /* nobody listens any more */
}

static void
on_input(struct loop_watch *watch, unsigned ready)
{
    struct relay *r = CONTAINER_OF(watch, struct relay, input);
    ssize_t bytes = read(watch->fd, r->line + r->line_bytes, LINE_BYTES_MAX - 1 - r->line_bytes);
    char *end;

    (void)ready;
    if (bytes <= 0) {
        loop_stop(r->loop);
        return;
    }
    r->line_bytes += (size_t)bytes;
    while ((end = memchr(r->line, '\n', r->line_bytes)) != NULL) {
        size_t used = (size_t)(end - r->line) + 1;

        *end = '\0';
        on_line(r, r->line);
        memmove(r->line, r->line + used, r->line_bytes - used);
        r->line_bytes -= used;
    }
    if (r->line_bytes == LINE_BYTES_MAX - 1) {
        log_error("a line of %u bytes and more", LINE_BYTES_MAX - 1);
        loop_stop(r->loop);
    }
}

/* ---- Life. */

/* ERR_IO, ERR_PARSE: said. */
static enum err
read_rtt(const char *path, struct arena *arena, struct rtt_matrix *ret_rtt)
{
    struct rtt_error problem = {0};
    enum err err = ERR_IO;
    FILE *file = fopen(path, "rbe");
    char *text = arena_take(arena, RTT_BYTES_MAX);

    if (file == NULL || text == NULL) {
        log_error("%s: cannot be read", path);
    } else {
        struct span csv = {text, fread(text, 1, RTT_BYTES_MAX, file)};

        err = rtt_parse(csv, arena, ret_rtt, &problem);
        if (err != ERR_OK)
            log_error("%s:%u: %s", path, problem.line, problem.message);
    }
    if (file != NULL)
        fclose(file);
    return err;
}

static enum err
run(const struct rtt_matrix *rtt, uint64_t seed)
{
    struct relay *r = calloc(1, sizeof(*r)); /* process lifetime */
    int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    enum err err = r == NULL ? ERR_MEMORY : timer_fd < 0 ? ERR_IO : ERR_OK;

    (void)prctl(PR_SET_TIMERSLACK, 1ul); /* the kernel's own would be 50 us */
    if (err == ERR_OK) {
        r->armed_ns = UINT64_MAX;
        for (uint32_t i = 0; i < RELAY_SITES_MAX; i++)
            r->sites[i].tun = (struct relay_tun){-1, -1};
        err = relay_net_open(rtt, seed, &r->net);
    }
    if (err == ERR_OK)
        err = loop_open(&r->loop);
    if (err == ERR_OK)
        err = loop_add(r->loop, &r->timer, timer_fd, LOOP_READ, on_timer);
    if (err == ERR_OK)
        err = loop_add(r->loop, &r->input, STDIN_FILENO, LOOP_READ, on_input);
    if (err == ERR_OK) {
        loop_run(r->loop);
        for (uint32_t i = 0; i < RELAY_SITES_MAX; i++) {
            if (r->sites[i].watch.loop == NULL)
                continue;
            loop_remove(&r->sites[i].watch);
            relay_tun_close(&r->sites[i].tun);
        }
    }
    if (r != NULL) {
        loop_remove(&r->input);
        loop_remove(&r->timer);
        loop_close(r->loop);
        relay_net_close(r->net);
    }
    if (timer_fd >= 0)
        close(timer_fd);
    free(r);
    return err;
}

int
main(int argc, char **argv)
{
    static const struct option known[] = {
        {"rtt", 1, NULL, 'r'}, {"seed", 1, NULL, 's'}, {NULL, 0, NULL, 0}};
    const char *rtt_path = NULL;
    struct rtt_matrix rtt;
    struct arena arena;
    uint64_t seed = 1;
    enum err err;
    int id;

    while ((id = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (id == 'r')
            rtt_path = optarg;
        else if (id != 's' || span_u64(span_of(optarg), &seed) != ERR_OK)
            return 2;
    }
    if (optind != argc)
        return 2;
    arena_init(&arena, ARENA_BYTES_MAX);
    err = rtt_path != NULL ? read_rtt(rtt_path, &arena, &rtt) : rtt_builtin(&arena, &rtt);
    if (err == ERR_OK)
        err = run(&rtt, seed);
    if (err != ERR_OK)
        log_error("relay: %s", err_name(err));
    arena_fini(&arena);
    return err == ERR_OK ? 0 : 1;
}
