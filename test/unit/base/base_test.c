/* base_test - every module of base, table by table. */
#include "base/err.h"
#include "tap.h"

int
main(void)
{
    CHECK(err_name(ERR_OK)[0] == 'o', "err_name");
    return tap_done();
}
