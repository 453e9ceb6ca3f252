#ifndef ROLE_GATEWAY_VIA_H
#define ROLE_GATEWAY_VIA_H
/* via - which gateways a request came through, in the header `Isochrone-Via`: marks of processes,
 * 16 hexadecimal digits each. Nodes and engines are at URLs that others chose, or that somebody
 * mistyped: one of them may lead back here, at once or by way of others, and one request would go
 * round until nothing is left. */
#include <stdbool.h>
#include <stdint.h>

#include "io/http_server.h"

#define VIA_HEADER      "isochrone-via"
#define VIA_MARKS_MAX   8u /* gateways behind each other */
#define VIA_MARK_DIGITS 16u
#define VIA_BYTES_MAX   (VIA_MARKS_MAX * (VIA_MARK_DIGITS + 1u)) /* with commas */

/* Was it here before, or in too many places? mark: of this process. Any thread, as the other. */
bool via_goes_round(uint64_t mark, const struct http_request *request);
/* What it says further on: where it was, and here. In text; via_goes_round was false. */
struct span via_write(uint64_t mark, const struct http_request *request, char text[VIA_BYTES_MAX]);
#endif
