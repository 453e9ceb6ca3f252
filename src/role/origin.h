#ifndef ROLE_ORIGIN_H
#define ROLE_ORIGIN_H
/* origin - may whoever asks be let in at all: guards against other sites in a browser, by Host and
 * Origin, and the admin token. For gateways and node agents alike. */
#include "role/roster.h"

struct origin_refusal {
    unsigned status;
    const char *code, *message; /* static */
};

/* The admin side: the Host must be an address, localhost or a configured name (a name that somebody
 * rebinds to us is none of these), an Origin must be the Host; and, where there is a token, it must
 * be sent. False: *ret_refusal says why. */
bool origin_admin(const struct roster *roster, const struct http_request *r,
                  struct origin_refusal *ret_refusal);
/* The token alone; true where there is none. */
bool origin_has_token(const struct roster *roster, const struct http_request *r);
/* The public side. On loopback without keys whoever gets there is let in; a page that somebody on
 * this machine looks at is not, neither under its own name nor under one that it binds to us.
 * Whoever says `auth: none` means everybody. */
bool origin_public(const struct roster *roster, const struct http_request *r,
                   struct origin_refusal *ret_refusal);
#endif
