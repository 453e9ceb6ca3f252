#ifndef IO_TLS_NAMES_H
#define IO_TLS_NAMES_H
/* tls_names - which of several certificates is for which name: what SNI asks for, by what stands in
 * the certificates (the DNS names of subjectAltName; the common name counts for nothing, as with
 * all clients of today). A wildcard is for one label: *.example.org for a.example.org, neither for
 * example.org nor for a.b.example.org; a name that is written out goes before it. */
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TLS_NAMES_MAX      65536u /* of all certificates */
#define TLS_NAMES_TEXT_MAX 253u
#define TLS_NAMES_NOBODYS  UINT32_MAX

struct tls_name {
    char *text; /* small letters, no dot at the end */
    uint32_t certificate;
};

struct tls_names { /* zero it */
    struct tls_name *list;
    size_t count, room;
};

/* Add the names of a certificate, and how many there were; what no host can be called is left out.
 * ERR_MEMORY; ERR_FULL: more than TLS_NAMES_MAX. */
MUST_USE enum err tls_names_add(struct tls_names *names, const X509 *x, uint32_t certificate,
                                uint32_t *ret_added);
/* All are there: sort them. Returns NULL; or, when two certificates have one name, the first of two
 * neighbours, the second of which is of the later certificate. */
const struct tls_name *tls_names_sort(struct tls_names *names);
/* Have both the same names, and any? Who has no memory for that has not. */
bool tls_names_same(const X509 *a, const X509 *b);
/* Whose name it is, in any case of letters; TLS_NAMES_NOBODYS. From any thread. */
uint32_t tls_names_find(const struct tls_names *names, const char *name);
void tls_names_fini(struct tls_names *names);
#endif
