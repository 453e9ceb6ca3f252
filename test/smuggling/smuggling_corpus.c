/* smuggling_corpus REQUESTS RESPONSES FOLDER - the cases as a corpus for the fuzz target of http1:
 * a file each, whose first byte is the target's own (0: requests, 1: responses; pieces of a byte).
 */
#include <stdio.h>

#include "base/must.h"
#include "smuggling_case.h"

static void
write_cases(const char *path, const char *folder, char kind)
{
    struct smuggling_list list;

    smuggling_list_read(path, &list);
    for (size_t i = 0; i < list.count; i++) {
        const struct smuggling_case *c = &list.cases[i];
        char name[512];
        FILE *file;

        snprintf(name, sizeof(name), "%s/%d-%.*s", folder, kind, (int)c->id.bytes, c->id.data);
        file = fopen(name, "w");
        must(file != NULL);
        must(fputc(kind, file) != EOF);
        must(fwrite(c->bytes.data, 1, c->bytes.bytes, file) == c->bytes.bytes);
        must(fclose(file) == 0);
    }
    smuggling_list_free(&list);
}

int
main(int argc, char **argv)
{
    must(argc == 4);
    write_cases(argv[1], argv[3], 0);
    write_cases(argv[2], argv[3], 1);
    return 0;
}
