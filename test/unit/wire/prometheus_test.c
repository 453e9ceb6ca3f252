/* prometheus_test - lines as engines write them, and lines that are none. */
#include "wire/prometheus.h"

#include <math.h>

#include "tap.h"

static const struct {
    const char *line, *name, *labels;
    double value;
    enum err err;
} lines[] = {
    {"up 1", "up", "", 1.0, ERR_OK},
    {"vllm:num_requests_running{engine=\"0\",model_name=\"a/b\"} 3.0\r",
     "vllm:num_requests_running", "engine=\"0\",model_name=\"a/b\"", 3.0, ERR_OK},
    {"a{} 1.5e3 1700000000000", "a", "", 1500.0, ERR_OK},
    {"  a { x = \"}\" } 2", "a", " x = \"}\" ", 2.0, ERR_OK},
    {"a{x=\"q\\\"}\"} +Inf", "a", "x=\"q\\\"}\"", INFINITY, ERR_OK},
    {"a_bucket{le=\"1\"} 7 # {trace=\"x\"} 0.5", "a_bucket", "le=\"1\"", 7.0, ERR_OK},
    {"a_bucket{le=\"1\"} 7 12 # {trace=\"x\"} 0.5", "a_bucket", "le=\"1\"", 7.0, ERR_OK},
    {"# only a comment", NULL, NULL, 0.0, ERR_AGAIN},
    {"", NULL, NULL, 0.0, ERR_AGAIN},
    {"a", NULL, NULL, 0.0, ERR_PARSE},
    {"a one", NULL, NULL, 0.0, ERR_PARSE},
    {"9a 1", NULL, NULL, 0.0, ERR_PARSE},
    {"a{x=\"1\" 1", NULL, NULL, 0.0, ERR_PARSE},
    {"a{x=\"1} 1", NULL, NULL, 0.0, ERR_PARSE},
    {"a{x=\"1\\", NULL, NULL, 0.0, ERR_PARSE},
    {"a-b 1", NULL, NULL, 0.0, ERR_PARSE},
    {"a 1 2 3", NULL, NULL, 0.0, ERR_PARSE},
    {"{\"error\":1}", NULL, NULL, 0.0, ERR_PARSE},
};

static const struct {
    const char *labels, *name, *value; /* value NULL: not there */
} labels[] = {
    {"a=\"1\",b=\"2\"", "a", "1"},
    {"a=\"1\",b=\"2\"", "b", "2"},
    {" a = \"1\" , b = \"2\" ,", "b", "2"},
    {"a=\"x,b=\\\"y\\\"\",b=\"2\"", "b", "2"},
    {"a=\"\"", "a", ""},
    {"ab=\"1\"", "a", NULL},
    {"a=1", "a", NULL},
    {"a=\"1", "a", NULL},
    {"a=\"1\" b=\"2\"", "b", NULL},
    {"", "a", NULL},
};

int
main(void)
{
    const struct span text = SPAN_LIT("# HELP a\n\na 1\nbroken line\nb{x=\"y\"} 2");
    struct prometheus_sample sample;
    size_t at = 0;

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        at = 0;
        CHECK(prometheus_next(span_of(lines[i].line), &at, &sample) == lines[i].err, lines[i].line);
        if (lines[i].err != ERR_OK)
            continue;
        CHECK(span_eq_text(sample.name, lines[i].name), lines[i].line);
        CHECK(span_eq_text(sample.labels, lines[i].labels), lines[i].line);
        CHECK(sample.value == lines[i].value, lines[i].line);
    }
    for (size_t i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
        struct span value = {NULL, 0};
        bool found = prometheus_label(span_of(labels[i].labels), labels[i].name, &value);

        CHECK(found == (labels[i].value != NULL), labels[i].labels);
        CHECK(!found || span_eq_text(value, labels[i].value), labels[i].labels);
    }
    at = 0;
    CHECK(prometheus_next(text, &at, &sample) == ERR_OK && sample.value == 1.0, "the first sample");
    CHECK(prometheus_next(text, &at, &sample) == ERR_PARSE, "a broken line is told");
    CHECK(prometheus_next(text, &at, &sample) == ERR_OK && sample.value == 2.0, "and passed over");
    CHECK(prometheus_next(text, &at, &sample) == ERR_AGAIN && at == text.bytes, "then the end");
    return tap_done();
}
