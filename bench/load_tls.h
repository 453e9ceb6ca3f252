#ifndef BENCH_LOAD_TLS_H
#define BENCH_LOAD_TLS_H
/* load_tls - load over TLS: HTTP/2 by h2load, which is everybody's measure of it, and handshakes
 * one after the other. Certificates are not looked at. */
#include "load.h"

/* One request over HTTP/1.1 on a connection of its own: its status, 0 for none. */
unsigned load_tls_once(const struct load_plan *plan);
/* plan->connections connections with so many streams each, for plan->measured_s. Any answer but
 * 2xx, and a run of h2load that is not whole, counts as an error. Latencies are not measured. */
void load_tls_h2(const struct load_plan *plan, uint32_t streams, int core, const char *directory,
                 struct load_result *ret_result);
/* So many full handshakes (no ticket is used), one connection at a time; a request each would be
 * measured elsewhere. result->requests are the handshakes. */
void load_tls_handshakes(const struct load_plan *plan, uint32_t count,
                         struct load_result *ret_result);
#endif
