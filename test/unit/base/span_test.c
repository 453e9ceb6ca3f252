/* span_test - comparing, cutting, and numbers: what is one, what is not, and how exact. */
#include "base/span.h"

#include <math.h>

#include "base/rng.h"
#include "tap.h"

#define F64_ERROR_MAX                                                                              \
    2e-15 /* relative, for what a sender prints in at most 17 digits; measured 1.1e-15 */

static void
check_compare(void)
{
    const struct span none = {NULL, 0};

    CHECK(span_eq(none, SPAN_LIT("")), "empty spans are equal, whatever their address");
    CHECK(!span_eq(SPAN_LIT("a"), SPAN_LIT("b")), "a is not b");
    CHECK(!span_eq(SPAN_LIT("a"), SPAN_LIT("ab")), "a prefix is not equal");
    CHECK(span_eq(SPAN_LIT("a\0b"), SPAN_LIT("a\0b")), "a zero is a byte like others");
    CHECK(!span_eq(SPAN_LIT("a\0b"), SPAN_LIT("a\0c")), "also for what follows it");
    CHECK(span_eq_nocase(SPAN_LIT("Content-LENGTH"), SPAN_LIT("content-length")), "no case");
    CHECK(!span_eq_nocase(SPAN_LIT("k"), SPAN_LIT("\x4b\xaa")), "lengths differ");
    CHECK(!span_eq_nocase(SPAN_LIT("@[`{"), SPAN_LIT("`{@[")), "only letters have case");
    CHECK(!span_eq_nocase(SPAN_LIT("\xc4"), SPAN_LIT("\xe4")), "only ASCII letters");
    CHECK(span_starts(SPAN_LIT("data: x"), SPAN_LIT("data:")), "starts");
    CHECK(span_starts(SPAN_LIT("x"), none), "everything starts with nothing");
    CHECK(!span_starts(SPAN_LIT("da"), SPAN_LIT("data")), "too short to start so");
}

/* Every pair of bytes, at every place of names of every length. */
static void
check_no_case(void)
{
    char a[20], b[20];
    bool right = true;

    for (size_t bytes = 1; bytes <= sizeof(a); bytes++) {
        for (size_t at = 0; at < bytes; at++) {
            memset(a, 'n', sizeof(a));
            memset(b, 'N', sizeof(b));
            for (unsigned pair = 0; pair < 65536; pair += bytes == 9 || bytes == 3 ? 1 : 37) {
                unsigned char x = pair & 0xff, y = (unsigned char)(pair >> 8);
                bool letter = (x >= 'A' && x <= 'Z') || (x >= 'a' && x <= 'z');
                a[at] = (char)x;
                b[at] = (char)y;
                right = right && span_eq_nocase((struct span){a, bytes}, (struct span){b, bytes}) ==
                                     (x == y || (letter && (x ^ 0x20) == y));
            }
        }
    }
    CHECK(right, "no case, byte by byte");
}

static void
check_cut(void)
{
    char text[4];
    const struct span none = {NULL, 0};

    CHECK(span_eq_text(span_trim(SPAN_LIT(" \t a b \t")), "a b"), "trim");
    CHECK(span_trim(SPAN_LIT(" \t ")).bytes == 0 && span_trim(none).bytes == 0, "trim to nothing");
    CHECK(span_eq_text(span_trim(SPAN_LIT("\na\r")), "\na\r"), "line ends are not blanks");
    CHECK(span_eq_text(span_from(SPAN_LIT("abc"), 1), "bc"), "from");
    CHECK(span_from(SPAN_LIT("abc"), 3).bytes == 0, "from the end");
    CHECK(span_from(SPAN_LIT("abc"), SIZE_MAX).bytes == 0, "from beyond the end");
    CHECK(span_find(SPAN_LIT("abca"), 'a') == 0 && span_find(SPAN_LIT("abc"), 'c') == 2, "find");
    CHECK(span_find(SPAN_LIT("abc"), 'x') == 3 && span_find(none, 'x') == 0, "find nothing");
    span_copy(SPAN_LIT("abcdef"), text, sizeof(text));
    CHECK(span_eq_text(span_of(text), "abc"), "copy cuts");
    span_copy(none, text, sizeof(text));
    CHECK(text[0] == '\0', "copy of nothing");
    span_copy(SPAN_LIT("abc"), text, 1);
    CHECK(text[0] == '\0', "room for the zero only");
}

static const struct {
    const char *text;
    enum err err;
    uint64_t value;
} whole[] = {
    {"0", ERR_OK, 0},
    {"00042", ERR_OK, 42},
    {"18446744073709551615", ERR_OK, UINT64_MAX},
    {"0000000000000000000000000000000000001", ERR_OK, 1},
    {"18446744073709551616", ERR_PARSE, 0},
    {"99999999999999999999999", ERR_PARSE, 0},
    {"", ERR_PARSE, 0},
    {"-1", ERR_PARSE, 0},
    {"+1", ERR_PARSE, 0},
    {" 1", ERR_PARSE, 0},
    {"1 ", ERR_PARSE, 0},
    {"1.0", ERR_PARSE, 0},
    {"0x10", ERR_PARSE, 0},
    {"1e3", ERR_PARSE, 0},
    {"\xd9\xa1", ERR_PARSE, 0}, /* a digit, but an Arabic one */
};

static void
check_u64(void)
{
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
        uint64_t value = 77;
        CHECK(span_u64(span_of(whole[i].text), &value) == whole[i].err, whole[i].text);
        CHECK(value == (whole[i].err == ERR_OK ? whole[i].value : 77), whole[i].text);
    }
}

#define F64_INF ((double)INFINITY)

static const struct {
    const char *text;
    enum err err;
    double value; /* exactly */
} decimals[] = {
    {"0", ERR_OK, 0.0},
    {"-0", ERR_OK, -0.0},
    {"1", ERR_OK, 1.0},
    {"+1.5", ERR_OK, 1.5},
    {"-1.5", ERR_OK, -1.5},
    {".5", ERR_OK, 0.5},
    {"5.", ERR_OK, 5.0},
    {"1e3", ERR_OK, 1000.0},
    {"1E+3", ERR_OK, 1000.0},
    {"125e-3", ERR_OK, 0.125},
    {"9007199254740992", ERR_OK, 0x1p53},
    {"0.000000000000000000000000000000e5", ERR_OK, 0.0},
    {"0e999999999999999999999", ERR_OK, 0.0},
    {"1e400", ERR_OK, F64_INF},
    {"-1e400", ERR_OK, -F64_INF},
    {"1e-400", ERR_OK, 0.0},
    {"1e99999999999999999999", ERR_OK, F64_INF},
    {"1e-99999999999999999999", ERR_OK, 0.0},
    {"+Inf", ERR_OK, F64_INF},
    {"Inf", ERR_OK, F64_INF},
    {"-Inf", ERR_OK, -F64_INF},
    {"", ERR_PARSE, 0},
    {"+", ERR_PARSE, 0},
    {".", ERR_PARSE, 0},
    {"-.", ERR_PARSE, 0},
    {"e5", ERR_PARSE, 0},
    {".e5", ERR_PARSE, 0},
    {"1e", ERR_PARSE, 0},
    {"1e+", ERR_PARSE, 0},
    {"1e5.0", ERR_PARSE, 0},
    {"1.2.3", ERR_PARSE, 0},
    {"1,5", ERR_PARSE, 0},
    {"--1", ERR_PARSE, 0},
    {" 1", ERR_PARSE, 0},
    {"1 ", ERR_PARSE, 0},
    {"0x1p3", ERR_PARSE, 0},
    {"nan", ERR_PARSE, 0},
    {"inf", ERR_PARSE, 0},
    {"infinity", ERR_PARSE, 0},
    {"NaNo", ERR_PARSE, 0},
};

static void
check_f64(void)
{
    double value = 0.0;

    for (size_t i = 0; i < sizeof(decimals) / sizeof(decimals[0]); i++) {
        value = 77.0;
        CHECK(span_f64(span_of(decimals[i].text), &value) == decimals[i].err, decimals[i].text);
        if (decimals[i].err == ERR_OK)
            CHECK(memcmp(&value, &decimals[i].value, sizeof(value)) == 0, decimals[i].text);
        else
            CHECK(value == 77.0, decimals[i].text);
    }
    CHECK(span_f64(SPAN_LIT("NaN"), &value) == ERR_OK && isnan(value), "NaN");
    CHECK(span_f64(SPAN_LIT("1\0"), &value) == ERR_PARSE, "a zero byte is no digit");
}

static double
worst_over(bool general, double from, double to)
{
    double worst = 0.0;
    struct rng r;

    rng_init(&r, 1);
    for (double x = from; x < to; x *= 1.003) {
        char text[400];
        double value = NAN, want = x * (1.0 + rng_unit(&r));
        if (general)
            snprintf(text, sizeof(text), "%.17g", want);
        else
            snprintf(text, sizeof(text), "%.6f", want);
        want = strtod(text, NULL);
        if (span_f64(span_of(text), &value) != ERR_OK)
            return INFINITY;
        worst = fmax(worst, fabs(value - want) / want);
    }
    return worst;
}

/* As exact as a metric or a configuration needs, over the whole range: strtod is the measure. */
static void
check_f64_error(void)
{
    double general = worst_over(true, 1e-300, 1e307);
    double plain = worst_over(false, 1e-2, 1e15);
    double largest = 0.0, smallest = 0.0, long_fraction = 0.0, long_whole = 0.0;
    char zeros[400];

    printf("# span_f64: relative error %.3g with %%.17g, %.3g with %%.6f\n", general, plain);
    CHECK(general <= F64_ERROR_MAX, "%.17g over the whole range");
    CHECK(plain <= F64_ERROR_MAX, "%.6f as metrics print it");
    CHECK(span_f64(SPAN_LIT("1.7976931348e308"), &largest) == ERR_OK, "near the largest");
    CHECK(fabs(largest / 1.7976931348e308 - 1.0) < F64_ERROR_MAX, "near the largest");
    CHECK(span_f64(SPAN_LIT("2.5e-310"), &smallest) == ERR_OK, "a subnormal");
    CHECK(fabs(smallest - 2.5e-310) < 1e-323, "a subnormal");
    memset(zeros, '0', sizeof(zeros));
    zeros[1] = '.';
    memcpy(zeros + 394, "15e394", 6); /* 0.00..015e394: 392 zeros after the point */
    CHECK(span_f64((struct span){zeros, 400}, &long_fraction) == ERR_OK, "a long fraction");
    CHECK(fabs(long_fraction / 15.0 - 1.0) < F64_ERROR_MAX, "a long fraction");
    memset(zeros, '9', sizeof(zeros));
    memcpy(zeros + 395, "e-395", 5);
    CHECK(span_f64((struct span){zeros, 400}, &long_whole) == ERR_OK, "395 nines e-395");
    CHECK(fabs(long_whole - 1.0) < F64_ERROR_MAX, "395 nines e-395");
}

int
main(void)
{
    check_compare();
    check_no_case();
    check_cut();
    check_u64();
    check_f64();
    check_f64_error();
    return tap_done();
}
