/* tls_names - a sorted list, looked up twice: the name, and the wildcard it falls under; see
 * tls_names.h. */
#include "io/tls_names.h"

#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 16u

static char
small(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* In small letters and without a dot at the end into text; how many bytes. 0: no host is called so.
 */
static size_t
normal(const char *name, size_t bytes, char text[TLS_NAMES_TEXT_MAX + 1])
{
    if (bytes > 0 && name[bytes - 1] == '.')
        bytes--;
    if (bytes > TLS_NAMES_TEXT_MAX)
        return 0;
    for (size_t i = 0; i < bytes; i++) {
        char c = small(name[i]);
        bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                    (c == '.' && i > 0 && name[i - 1] != '.') ||
                    (c == '*' && i == 0 && bytes > 2 && name[1] == '.');
        if (!good)
            return 0;
        text[i] = c;
    }
    text[bytes] = '\0';
    return bytes;
}

static enum err
add(struct tls_names *names, const char *text, size_t bytes, uint32_t certificate)
{
    char *copy;

    if (names->count == TLS_NAMES_MAX)
        return ERR_FULL;
    if (names->count == names->room) {
        size_t room = names->room == 0 ? ROOM_FIRST : 2 * names->room;
        struct tls_name *list = realloc(names->list, room * sizeof(*list));
        if (list == NULL)
            return ERR_MEMORY;
        names->list = list;
        names->room = room;
    }
    copy = strndup(text, bytes);
    if (copy == NULL)
        return ERR_MEMORY;
    names->list[names->count++] = (struct tls_name){copy, certificate};
    return ERR_OK;
}

enum err
tls_names_add(struct tls_names *names, const X509 *x, uint32_t certificate, uint32_t *ret_added)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    char text[TLS_NAMES_TEXT_MAX + 1];
    enum err err = ERR_OK;

    *ret_added = 0;
    for (int i = 0; err == ERR_OK && i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);
        size_t bytes = 0;

        if (name->type == GEN_DNS)
            bytes = normal((const char *)ASN1_STRING_get0_data(name->d.dNSName),
                           (size_t)ASN1_STRING_length(name->d.dNSName), text);
        if (bytes == 0)
            continue;
        err = add(names, text, bytes, certificate);
        *ret_added += err == ERR_OK;
    }
    GENERAL_NAMES_free(all);
    return err;
}

static int
order(const void *a, const void *b)
{
    const struct tls_name *x = a, *y = b;
    int result = strcmp(x->text, y->text);

    return result != 0 ? result
                       : (x->certificate > y->certificate) - (x->certificate < y->certificate);
}

const struct tls_name *
tls_names_sort(struct tls_names *names)
{
    if (names->count > 1)
        qsort(names->list, names->count, sizeof(names->list[0]), order);
    for (size_t i = 0; i + 1 < names->count; i++) {
        if (strcmp(names->list[i].text, names->list[i + 1].text) == 0 &&
            names->list[i].certificate != names->list[i + 1].certificate)
            return &names->list[i];
    }
    return NULL;
}

bool
tls_names_same(const X509 *a, const X509 *b)
{
    struct tls_names both = {0};
    uint32_t of_a = 0, of_b = 0;
    bool same = tls_names_add(&both, a, 0, &of_a) == ERR_OK &&
                tls_names_add(&both, b, 1, &of_b) == ERR_OK && of_a == of_b && of_a > 0;

    if (same)
        qsort(both.list, both.count, sizeof(both.list[0]), order);
    for (size_t i = 0; same && i < both.count; i += 2) /* each of one, then the same of the other */
        same = both.list[i].certificate != both.list[i + 1].certificate &&
               strcmp(both.list[i].text, both.list[i + 1].text) == 0;
    tls_names_fini(&both);
    return same;
}

static int
compare_text(const void *text, const void *name)
{
    return strcmp(text, ((const struct tls_name *)name)->text);
}

static uint32_t
look_up(const struct tls_names *names, const char *text)
{
    const struct tls_name *found = names->count > 0 ? bsearch(text, names->list, names->count,
                                                              sizeof(*found), compare_text)
                                                    : NULL;

    return found != NULL ? found->certificate : TLS_NAMES_NOBODYS;
}

uint32_t
tls_names_find(const struct tls_names *names, const char *name)
{
    char text[TLS_NAMES_TEXT_MAX + 1], *rest;
    uint32_t found;

    if (normal(name, strlen(name), text) == 0)
        return TLS_NAMES_NOBODYS;
    found = look_up(names, text);
    rest = strchr(text, '.');
    if (found != TLS_NAMES_NOBODYS || rest == NULL || rest == text)
        return found;
    *--rest = '*'; /* over the last letter of the first label */
    return look_up(names, rest);
}

void
tls_names_fini(struct tls_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->list[i].text);
    free(names->list);
    *names = (struct tls_names){0};
}
