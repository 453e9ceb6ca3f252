/* smuggling_test REQUESTS HTTP2 RESPONSES - the lists of cases against a gateway on real sockets.
 * Every case is run whole, byte by byte and line by line, and is held when all three are. */
#include <stdio.h>

#include "base/must.h"
#include "smuggling_case.h"
#include "tap.h"

bool
smuggling_verdict(const struct smuggling_case *c, const char *const *wrong)
{
    static const char *const cuts[SMUGGLING_CUTS] = {"whole", "byte by byte", "line by line"};
    char label[128];
    bool held = true;

    for (unsigned i = 0; i < SMUGGLING_CUTS; i++) {
        held = held && wrong[i] == NULL;
        if (wrong[i] != NULL)
            printf("# %.*s, %s: %s\n", (int)c->id.bytes, c->id.data, cuts[i], wrong[i]);
    }
    snprintf(label, sizeof(label), "%.*s", (int)c->id.bytes, c->id.data);
    CHECK(held, label);
    return held;
}

int
main(int argc, char **argv)
{
    struct smuggling_list requests, http2, responses;
    size_t count, held;

    must(argc == 4);
    smuggling_list_read(argv[1], &requests);
    smuggling_list_read(argv[2], &http2);
    smuggling_list_read(argv[3], &responses);
    count = requests.count + http2.count + responses.count;
    held = smuggling_run_requests(&requests, &http2);
    held += smuggling_run_responses(&responses);
    printf("# figure smuggling_cases %zu cases\n", count);
    printf("# figure smuggling_cases_held %zu cases\n", held);
    smuggling_list_free(&requests);
    smuggling_list_free(&http2);
    smuggling_list_free(&responses);
    return tap_done();
}
