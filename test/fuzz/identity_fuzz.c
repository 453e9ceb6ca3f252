/* identity_fuzz - any bytes as an identity record and as a key file: what can be read can be
 * written, and says the same; nothing is proven that nobody signed. */
#include "base/must.h"
#include "wire/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void
check_record(struct span text)
{
    static struct identity identity, again;
    static char json[IDENTITY_BYTES_MAX], json_again[IDENTITY_BYTES_MAX], words[200];
    struct message_error error = {""};
    size_t size, size_again;
    enum identity_verdict verdict;

    if (identity_parse(text, &identity, &error) != ERR_OK) {
        must(error.text[0] != '\0');
        return;
    }
    if (identity_write(&identity, json, &size) == ERR_OK) { /* shorter, but for numbers as 1.0 */
        must(identity_parse((struct span){json, size}, &again, &error) == ERR_OK);
        must(identity_write(&again, json_again, &size_again) == ERR_OK);
        must(size == size_again && memcmp(json, json_again, size) == 0);
    }
    /* the operator is believed, whoever it is: so all but the signature must be right */
    verdict = identity_verify(
        &identity, SPAN_LIT(""),
        &(struct identity_trust){.operators = &identity.operator_key, .count = 1}, 1800000000);
    must(verdict < IDENTITY_VERDICT_COUNT);
    identity_words(verdict, &identity, 1800000000, words);
    must(words[0] != '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct span text = {(const char *)data, bytes};
    static struct signature_file file, file_again;
    static char line[SIGNATURE_FILE_BYTES_MAX];

    check_record(text);
    if (signature_file_parse(text, &file) == ERR_OK) {
        size_t size = signature_file_text(&file, file.is_secret, line);

        must(signature_file_parse((struct span){line, size}, &file_again) == ERR_OK);
        must(signature_key_eq(&file.key, &file_again.key) && file.owner == file_again.owner);
    }
    return 0;
}
