/* rtt_data_test - what a simulator reads beside the matrix itself (rtt_test reads that):
 * deviations, places, bandwidths, half-measured pairs, and a folder with all of it. */
#include "sim/rtt_data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data_fixture.h"
#include "tap.h"

#define LIST                                                                                       \
    "src_region,dst_region,min_rtt,avg_rtt,max_rtt,mdev_rtt\naws:a,aws:b,9,10,11,0.5\n"            \
    "aws:b,aws:a,12,13,14,\naws:a,gcp:c-b,19,20,21,1.5\n"

typedef enum err adder(struct rtt_data *d, struct data_file *f);

static enum err
read_text(const char *text, struct data_error *error, struct rtt_data *ret)
{
    struct data_file *f = NULL;
    enum err err = data_file_open_memory("m", span_of(text), error, &f);

    if (err == ERR_OK)
        err = rtt_data_read(f, error, ret);
    data_file_close(f);
    return err;
}

static enum err
add_text(struct rtt_data *d, const char *text, struct data_error *error, adder *add)
{
    struct data_file *f = NULL;
    enum err err = data_file_open_memory("m", span_of(text), error, &f);

    if (err == ERR_OK)
        err = add(d, f);
    data_file_close(f);
    return err;
}

static void
check_list(void)
{
    struct span pair[2] = {span_of("aws-b"), span_of("gcp:c-b")}, none[1] = {span_of("mars")};
    struct data_error error = {""};
    struct rtt_data d = {.name = ""};
    uint32_t indices[2] = {9, 9};

    CHECK(read_text(LIST, &error, &d) == ERR_OK && d.rtt.count == 3 && !d.builtin, "a list");
    CHECK(d.rtt.ms[1] == 10.0f && d.rtt.ms[3] == 13.0f && d.rtt.ms[0] == 1.0f, "its means");
    CHECK(d.rtt.ms[2] == 20.0f && d.rtt.ms[6] == 20.0f, "the other direction for a missing one");
    CHECK(d.deviation_ms[1] == 0.5f && d.deviation_ms[2] == 1.5f && d.deviation_ms[3] == 0.0f,
          "deviations, 0 where there is none");
    CHECK(isnan(d.longitude_deg[0]) && isnan(d.bits_per_s[1]), "nothing else is known");

    CHECK(rtt_data_pick(&d, pair, 1, &error, indices) == ERR_OK && indices[0] == 1, "a region");
    CHECK(rtt_data_pick(&d, pair, 2, &error, indices) == ERR_NOT_FOUND, "a pair nobody measured");
    CHECK(strcmp(error.text, "m: nothing is known between `aws-b` and `gcp:c-b`") == 0, error.text);
    CHECK(rtt_data_pick(&d, none, 1, &error, indices) == ERR_NOT_FOUND, "no such region");
    CHECK(strcmp(error.text, "m: no region `mars`; there are aws-a aws-b gcp-c-b") == 0,
          error.text);

    CHECK(add_text(
              &d, "cloud,region,place,lat,lon\naws,a,\"X, Y\",10,-120.5\ngcp,c,Z,-5,30\nz,z,,0,0\n",
              &error, rtt_data_places) == ERR_OK,
          "places");
    CHECK(d.longitude_deg[0] == -120.5 && d.latitude_deg[0] == 10.0 && d.longitude_deg[2] == 30.0,
          "with the letter of a zone or without");
    CHECK(isnan(d.longitude_deg[1]), "one without a place");
    CHECK(add_text(&d,
                   "src_region,dst_region,throughput_sent,throughput_recieved\n"
                   "aws:a,aws:b,2,5000000\naws:b,gcp:c-a,1,4e6\nx,y,1,1\naws:b,aws:a,3,\n",
                   &error, rtt_data_bandwidths) == ERR_OK,
          "bandwidths");
    CHECK(d.bits_per_s[1] == 5e6f && isnan(d.bits_per_s[3]), "each direction its own");
    CHECK(d.bits_per_s[5] == 4e6f, "another zone of the region");
    rtt_data_close(&d);
    CHECK(d.rtt.count == 0, "closed");
}

static const struct {
    const char *label, *text, *words;
    adder *add; /* NULL: the matrix itself */
} bad[] = {
    {"empty", "", "m:0: the file is empty", NULL},
    {"an odd row", "from,to,ms\na,b,fast\n", "m:2: `fast`", NULL},
    {"a negative deviation", "from,to,ms,mdev\na,b,5,-1\n", "m:2: mdev: `-1`", NULL},
    {"text for a deviation", "from,to,ms,jitter_ms\na,b,5,x\n", "m:2: jitter_ms: `x`", NULL},
    {"a cell too many", "from,to,ms,mdev\na,b,5,1,1\n", "m:2: 5 cells", NULL},
    {"no latitude", "cloud,region,lat\n", "m:1: the column lon is missing", rtt_data_places},
    {"beyond the pole", "cloud,region,lat,lon\nx,y,91,0\n", "m:2: lat: `91`", rtt_data_places},
    {"a bandwidth of text", "src_region,dst_region,throughput_recieved\na,b,much\n",
     "m:2: throughput_recieved: `much`", rtt_data_bandwidths},
    {"a negative bandwidth", "src_region,dst_region,throughput_recieved\na,b,-1\n",
     "m:2: throughput_recieved: `-1`", rtt_data_bandwidths},
};

static void
check_bad(size_t i)
{
    struct data_error error = {""};
    struct rtt_data d = {.name = ""};
    enum err err = bad[i].add != NULL ? rtt_data_builtin(&error, &d) : ERR_OK;

    if (err == ERR_OK)
        err = bad[i].add != NULL ? add_text(&d, bad[i].text, &error, bad[i].add)
                                 : read_text(bad[i].text, &error, &d);
    CHECK(err == ERR_PARSE, bad[i].label);
    CHECK(strncmp(error.text, bad[i].words, strlen(bad[i].words)) == 0, error.text);
    rtt_data_close(&d);
}

static void
check_builtin(void)
{
    struct data_error error = {""};
    struct rtt_data d = {.name = ""};
    bool whole = true;

    CHECK(rtt_data_builtin(&error, &d) == ERR_OK && d.builtin && d.rtt.count >= 24, "built in");
    for (uint32_t i = 0; i < d.rtt.count; i++)
        whole = whole && d.longitude_deg[i] >= -180.0 && d.longitude_deg[i] <= 180.0;
    CHECK(whole && d.deviation_ms[1] == 0.0f, "all places are known");
    rtt_data_close(&d);
}

static void
check_folder(void)
{
    static const char *const files[] = {"network/rtt_b_2.csv", "network/rtt_a_1.csv",
                                        "network/throughput_x.csv", "network/other.csv",
                                        "geo/cloud_regions.csv"};
    char folder[] = "/tmp/isochrone-rtt-data-XXXXXX", path[256];
    struct data_error error = {""};
    struct rtt_data d = {.name = ""};

    CHECK(mkdtemp(folder) != NULL, "a folder");
    CHECK(rtt_data_find(folder, NULL, &error, &d) == ERR_NOT_FOUND, "no network in it");
    snprintf(path, sizeof(path), "%s/network", folder);
    CHECK(mkdir(path, 0700) == 0, path);
    CHECK(rtt_data_find(folder, NULL, &error, &d) == ERR_NOT_FOUND, "no file in it");
    put_file(folder, files[0], "from,to,ms\nq,r,7\n");
    put_file(folder, files[1], LIST);
    CHECK(rtt_data_find(folder, NULL, &error, &d) == ERR_OK && strcmp(d.name, "rtt_a_1") == 0 &&
              isnan(d.bits_per_s[1]),
          "the first one, nothing beside it");
    rtt_data_close(&d);
    snprintf(path, sizeof(path), "%s/geo", folder);
    CHECK(mkdir(path, 0700) == 0, path);
    put_file(folder, files[2], "src_region,dst_region,throughput_recieved\naws:a,aws:b,5000000\n");
    put_file(folder, files[3], "what,ever\n");
    put_file(folder, files[4], "cloud,region,lat,lon\naws,a,10,-120.5\n");
    CHECK(rtt_data_find(folder, "rtt_a", &error, &d) == ERR_OK && d.longitude_deg[0] == -120.5 &&
              d.bits_per_s[1] == 5e6f,
          "with places and bandwidths");
    rtt_data_close(&d);
    CHECK(rtt_data_find(folder, "rtt_b_2", &error, &d) == ERR_OK && d.rtt.count == 2,
          "by its stem");
    rtt_data_close(&d);
    snprintf(path, sizeof(path), "%s/%s", folder, files[0]);
    CHECK(rtt_data_find(folder, path, &error, &d) == ERR_OK && d.rtt.count == 2, "by its path");
    rtt_data_close(&d);
    CHECK(rtt_data_find(folder, "rtt_c", &error, &d) == ERR_NOT_FOUND &&
              strstr(error.text, "/network: no file rtt_* is called rtt_c") != NULL,
          error.text);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        drop(folder, files[i]);
    drop(folder, "network");
    drop(folder, "geo");
    drop(folder, "");
}

int
main(void)
{
    check_list();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check_bad(i);
    check_builtin();
    check_folder();
    return tap_done();
}
