/* json_simd - validation by simdjson's DOM parser, the interface that checks everything (On-Demand
 * looks only at what is asked for). The DOM itself is thrown away: our own scanner finds byte
 * ranges. */
#include "wire/json_simd.h"

#include <new>
#include <simdjson.h>

struct json_parser {
    simdjson::dom::parser dom;
};

static_assert(simdjson::SIMDJSON_PADDING <= 64, "JSON_PADDING in json.h");

struct json_parser *
json_simd_open(void)
{
    return new (std::nothrow) json_parser;
}

void
json_simd_close(struct json_parser *parser)
{
    delete parser;
}

bool
json_simd_valid(struct json_parser *parser, const char *data, size_t bytes)
{
    return parser->dom.parse(data, bytes, false).error() == simdjson::SUCCESS;
}
