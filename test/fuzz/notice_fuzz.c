/* notice_fuzz - any bytes as a notice: what can be read can be written, and says the same. */
#include <string.h>

#include "base/must.h"
#include "wire/json.h"
#include "wire/notice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static char json[2 * MESSAGE_BYTES_MAX + JSON_PADDING], text[MESSAGE_BYTES_MAX + JSON_PADDING];
    struct notice notice, again;
    struct message_error error = {""};
    size_t size;

    if (bytes > 2 * MESSAGE_BYTES_MAX)
        return 0;
    memset(json, 0, sizeof(json));
    memcpy(json, data, bytes);
    if (notice_read((struct span){json, bytes}, &notice, &error) != ERR_OK) {
        must(error.text[0] != '\0');
        return 0;
    }
    memset(text, 0, sizeof(text));
    must(notice_write(&notice, text, &size) == ERR_OK);
    must(notice_read((struct span){text, size}, &again, &error) == ERR_OK);
    must(again.want == notice.want && span_eq(again.verdict, notice.verdict) &&
         span_eq(again.words, notice.words) && span_eq(again.gateway, notice.gateway));
    return 0;
}
