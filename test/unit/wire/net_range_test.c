/* net_range_test - addresses in all their forms, ranges, and what kind of place each is. */
#include "wire/net_range.h"

#include <string.h>

#include "tap.h"

static const struct {
    const char *text, *same; /* same: another way to write it; NULL: it is no address */
    enum net_kind kind;
} addresses[] = {
    {"8.8.8.8", "::ffff:8.8.8.8", NET_PUBLIC},
    {"8.8.8.8", "::FFFF:808:808", NET_PUBLIC},
    {"10.0.0.1", "::ffff:10.0.0.1", NET_PRIVATE},
    {"11.0.0.1", "11.0.0.1", NET_PUBLIC},
    {"172.15.255.255", "172.15.255.255", NET_PUBLIC},
    {"172.16.0.0", "172.16.0.0", NET_PRIVATE},
    {"172.31.255.255", "172.31.255.255", NET_PRIVATE},
    {"172.32.0.0", "172.32.0.0", NET_PUBLIC},
    {"192.168.1.1", "0:0:0:0:0:ffff:c0a8:101", NET_PRIVATE},
    {"100.64.0.1", "100.64.0.1", NET_PRIVATE},
    {"100.128.0.1", "100.128.0.1", NET_PUBLIC},
    {"0.0.0.0", "0.0.0.0", NET_SPECIAL},
    {"127.0.0.1", "::ffff:7f00:1", NET_SPECIAL},
    {"127.255.255.254", "127.255.255.254", NET_SPECIAL},
    {"169.254.169.254", "::ffff:a9fe:a9fe", NET_SPECIAL},
    {"224.0.0.1", "224.0.0.1", NET_SPECIAL},
    {"255.255.255.255", "255.255.255.255", NET_SPECIAL},
    {"::", "0:0:0:0:0:0:0:0", NET_SPECIAL},
    {"::1", "0::1", NET_SPECIAL},
    {"::7f00:1", "::127.0.0.1", NET_SPECIAL},
    {"64:ff9b::7f00:1", "64:ff9b::127.0.0.1", NET_SPECIAL},
    {"2002:7f00:1::", "2002:7f00:0001:0:0:0:0:0", NET_SPECIAL},
    {"2001:0:1::1", "2001:0:1:0:0:0:0:1", NET_SPECIAL},
    {"2001:4860::8888", "2001:4860:0:0:0:0:0:8888", NET_PUBLIC},
    {"fd00:ec2::254", "fd00:0ec2::0254", NET_PRIVATE},
    {"fe80::1", "fe80:0::1", NET_SPECIAL},
    {"ff02::1", "ff02:0:0::1", NET_SPECIAL},
    {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0", NET_SPECIAL},
    {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8", NET_SPECIAL},
    {"", NULL, 0},
    {"1", NULL, 0},
    {"1.2.3", NULL, 0},
    {"1.2.3.4.5", NULL, 0},
    {"1.2.3.", NULL, 0},
    {".1.2.3", NULL, 0},
    {"1.2.3.256", NULL, 0},
    {"01.2.3.4", NULL, 0},
    {"0x7f.0.0.1", NULL, 0},
    {"2130706433", NULL, 0},
    {"1.2.3.4 ", NULL, 0},
    {":", NULL, 0},
    {":::", NULL, 0},
    {"1:", NULL, 0},
    {":1", NULL, 0},
    {"1::2::3", NULL, 0},
    {"1:2:3:4:5:6:7", NULL, 0},
    {"1:2:3:4:5:6:7:8:9", NULL, 0},
    {"1:2:3:4:5:6:7:8::", NULL, 0},
    {"1:2:3:4::5:6:7:8", NULL, 0},
    {"12345::", NULL, 0},
    {"g::", NULL, 0},
    {"1.2.3.4::", NULL, 0},
    {"::1.2.3.4:5", NULL, 0},
    {"::1.2.3", NULL, 0},
    {"fe80::1%eth0", NULL, 0},
    {"1:2:3:4:5:6:7:1.2.3.4", NULL, 0},
};

static const struct {
    const char *range, *in, *out; /* in: NULL: it is no range */
} ranges[] = {
    {"10.0.0.0/8", "10.255.0.1", "11.0.0.0"},
    {"10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"},
    {"192.168.4.0/22", "192.168.7.255", "192.168.8.0"},
    {"0.0.0.0/0", "1.2.3.4", "::1"},
    {"::/0", "1.2.3.4", NULL},
    {"127.0.0.1", "127.0.0.1", "127.0.0.2"},
    {"10.77.0.9/32", "10.77.0.9", "10.77.0.8"},
    {"fd00::/8", "fdff::1", "fc00::1"},
    {"2001:db8::1/128", "2001:db8::1", "2001:db8::2"},
    {"10.0.0.1/8", NULL, NULL},
    {"10.0.0.0/33", NULL, NULL},
    {"fd00::/129", NULL, NULL},
    {"10.0.0.0/", NULL, NULL},
    {"10.0.0.0/8/8", NULL, NULL},
    {"/8", NULL, NULL},
    {"ten/8", NULL, NULL},
    {"10.0.0.0/-1", NULL, NULL},
};

static void
check_addresses(void)
{
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct net_address a, b;
        enum err err = net_address_parse(span_of(addresses[i].text), &a);

        if (addresses[i].same == NULL) {
            CHECK(err == ERR_PARSE, addresses[i].text);
            continue;
        }
        CHECK(err == ERR_OK && net_address_parse(span_of(addresses[i].same), &b) == ERR_OK &&
                  memcmp(&a, &b, sizeof(a)) == 0 && net_kind_of(&a) == addresses[i].kind,
              addresses[i].text);
    }
}

static void
check_ranges(void)
{
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        struct net_range range;
        struct net_address a;
        enum err err = net_range_parse(span_of(ranges[i].range), &range);

        if (ranges[i].in == NULL) {
            CHECK(err == ERR_PARSE, ranges[i].range);
            continue;
        }
        CHECK(err == ERR_OK && net_address_parse(span_of(ranges[i].in), &a) == ERR_OK &&
                  net_range_has(&range, &a),
              ranges[i].range);
        if (ranges[i].out != NULL)
            CHECK(net_address_parse(span_of(ranges[i].out), &a) == ERR_OK &&
                      !net_range_has(&range, &a),
                  ranges[i].out);
    }
}

int
main(void)
{
    check_addresses();
    check_ranges();
    return tap_done();
}
