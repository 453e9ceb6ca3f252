/* err_test - every code has a name of its own, and what is no code has one too. */
#include "base/err.h"

#include <string.h>

#include "tap.h"

int
main(void)
{
    for (int i = 0; i < ERR_COUNT; i++) {
        CHECK(strlen(err_name((enum err)i)) > 0, "a code has a name");
        for (int j = 0; j < i; j++)
            CHECK(strcmp(err_name((enum err)i), err_name((enum err)j)) != 0, err_name((enum err)i));
    }
    CHECK(strcmp(err_name(ERR_OK), "ok") == 0, "ok");
    CHECK(strcmp(err_name(ERR_NOT_FOUND), "not found") == 0, "not found");
    CHECK(strcmp(err_name(ERR_COUNT), "unknown") == 0, "one past the end");
    CHECK(strcmp(err_name((enum err)(ERR_COUNT + 1000)), "unknown") == 0, "far outside");
    return tap_done();
}
