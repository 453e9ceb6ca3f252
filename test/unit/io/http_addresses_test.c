/* http_addresses_test - whose connections count together, and how many there may be. */
#include "io/http_addresses.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/must.h"
#include "tap.h"

static struct sockaddr_storage
address(const char *text)
{
    struct sockaddr_storage s = {0};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        memcpy(&s, &v4, sizeof(v4));
    } else {
        must(inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
        memcpy(&s, &v6, sizeof(v6));
    }
    return s;
}

int
main(void)
{
    static const struct {
        const char *label, *first, *second;
        bool together;
    } rows[] = {
        {"the same IPv4", "192.0.2.1", "192.0.2.1", true},
        {"another IPv4", "192.0.2.1", "192.0.2.2", false},
        {"one /64", "2001:db8::1", "2001:db8::ffff:1", true},
        {"another /64", "2001:db8::1", "2001:db8:0:1::1", false},
        {"IPv4 written as IPv6", "192.0.2.1", "::ffff:192.0.2.1", true},
        {"two of these", "::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sockaddr_storage a = address(rows[i].first), b = address(rows[i].second);
        struct http_addresses *addresses;

        must(http_addresses_open((struct hash_key){1, 2}, &addresses) == ERR_OK);
        CHECK(http_addresses_enter(addresses, (struct sockaddr *)&a, 2) == ERR_OK, rows[i].label);
        CHECK(http_addresses_enter(addresses, (struct sockaddr *)&a, 2) == ERR_OK, rows[i].label);
        CHECK((http_addresses_enter(addresses, (struct sockaddr *)&b, 2) == ERR_FULL) ==
                  rows[i].together,
              rows[i].label);
        CHECK(addresses->refused == rows[i].together, rows[i].label);
        http_addresses_leave(addresses, (struct sockaddr *)&a);
        CHECK(http_addresses_enter(addresses, (struct sockaddr *)&a, 2) == ERR_OK, rows[i].label);
        http_addresses_close(addresses);
    }
    return tap_done();
}
