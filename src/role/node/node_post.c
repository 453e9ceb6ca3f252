/* node_post - what the node says of itself, posted to gateways: where the configuration has a `url`
 * of one, it needs no bus (role/poster). Who missed something hears a hello of its own, and then
 * everybody gets a full report. */
#include "io/clock.h"
#include "role/node/node_state.h"
#include "role/poster.h"

#define LAST_NS 1000000000u /* for the last words, when the node ends */

static enum err
on_greet(void *user, char *ret_text, size_t *ret_bytes)
{
    return node_hello_write(user, ret_text, ret_bytes);
}

static void
on_wish(void *user)
{
    node_report_asked(user, false);
}

void
node_post_say(struct node *n, const char *kind, struct span bytes)
{
    if (n->posts != NULL)
        poster_say(n->posts, kind, bytes);
}

static void
put_metric(struct span gateway, uint64_t posted, uint64_t failed, void *user)
{
    fprintf(user,
            "isochrone_node_posts_total{gateway=\"%.*s\",outcome=\"heard\"} %llu\n"
            "isochrone_node_posts_total{gateway=\"%.*s\",outcome=\"failed\"} %llu\n",
            (int)gateway.bytes, gateway.data, (unsigned long long)posted, (int)gateway.bytes,
            gateway.data, (unsigned long long)failed);
}

void
node_post_metrics(const struct node *n, FILE *out)
{
    if (n->posts == NULL)
        return;
    fputs("# HELP isochrone_node_posts_total Messages to gateways over HTTP, by what became of "
          "them.\n# TYPE isochrone_node_posts_total counter\n",
          out);
    poster_each(n->posts, put_metric, out);
}

enum err
node_post_change(struct node *n, const struct roster *roster)
{
    return poster_change(n->posts, roster->gateways, roster->config.gateway_count);
}

enum err
node_post_open(struct node *n)
{
    const struct poster_options options = {.loop = n->loop,
                                           .client = n->client,
                                           .rng = &n->rng,
                                           .secret = &n->secret,
                                           .greet = on_greet,
                                           .wish = on_wish,
                                           .user = n};
    enum err err = poster_open(&options, &n->posts);

    return err == ERR_OK ? node_post_change(n, n->roster) : err;
}

void
node_post_close(struct node *n)
{
    uint64_t until_ns = clock_now_ns() + LAST_NS;

    if (n->posts == NULL)
        return;
    poster_end(n->posts);
    while (!poster_is_over(n->posts) && clock_now_ns() < until_ns)
        loop_pass(n->loop, 10);
    poster_close(n->posts);
    n->posts = NULL;
}
