#ifndef WIRE_HTTP1_HEAD_H
#define WIRE_HTTP1_HEAD_H
/* http1_head - for the files of http1 only: what the lines of a collected head, or trailer section,
 * say. Both are whole, end in an empty line, and hold neither a bare CR or LF, nor another control
 * byte but tab, nor a folded line. p->head and p->headers (with room for p->line_count lines)
 * stand. */
#include "wire/http1.h"

/* Read p->head[0, head_bytes) into the fields of p. Not HTTP1_OK: refused. */
enum http1_status http1_head_read(struct http1_parser *p);
/* Read p->head[trailers_at, head_bytes) into the trailers of p. */
enum http1_status http1_trailers_read(struct http1_parser *p);
/* How many bytes a token (a name, a method) has that text begins with; 0: none. In http1_write.c.
 */
size_t http1_token_bytes(const char *text, size_t bytes);
/* How many bytes stand before the first control byte that is no tab; `bytes`: there is none. (In
 * http1_write.c, which checks what goes out.) */
size_t http1_plain_bytes(const char *text, size_t bytes);
#endif
