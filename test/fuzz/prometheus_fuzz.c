/* prometheus_fuzz - any bytes as a metrics document: every sample lies inside it, and it ends. */
#include "base/must.h"
#include "wire/prometheus.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void
must_lie_inside(struct span part, struct span whole)
{
    must(part.bytes == 0 ||
         (part.data >= whole.data && part.data + part.bytes <= whole.data + whole.bytes));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct span text = {(const char *)data, bytes}, value;
    struct prometheus_sample sample;
    size_t at = 0, before = 0;
    enum err err;

    while ((err = prometheus_next(text, &at, &sample)) != ERR_AGAIN) {
        must(at > before && at <= bytes);
        before = at;
        if (err != ERR_OK)
            continue;
        must_lie_inside(sample.name, text);
        must_lie_inside(sample.labels, text);
        if (prometheus_label(sample.labels, "engine", &value))
            must_lie_inside(value, sample.labels);
    }
    return 0;
}
