/* record_fuzz - a damaged or foreign record: head and entries are read, and what was read, written
 * again, is read the same. */
#include <string.h>

#include "base/must.h"
#include "wire/record.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const unsigned char *data, size_t bytes)
{
    struct span left = {(const char *)data, bytes};
    struct record_head head;
    struct record_entry entry, again;
    unsigned char encoded[RECORD_ENTRY_BYTES_MAX];
    size_t used, used_again;

    if (record_head_decode(left, &head, &used) != ERR_OK)
        return 0;
    for (left = span_from(left, used); record_entry_decode(left, &entry, &used) == ERR_OK;
         left = span_from(left, used)) {
        size_t n = record_entry_encode(&entry, encoded);
        must(n == used);
        must(record_entry_decode((struct span){(char *)encoded, n}, &again, &used_again) == ERR_OK);
        must(used_again == n && again.end == entry.end && again.now_ns == entry.now_ns);
    }
    return 0;
}
