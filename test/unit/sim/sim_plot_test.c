/* sim_plot: what is drawn is inside its chart, gaps are gaps, names are escaped. */
#include "sim/sim_plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

static char text[65536];

static void
draw(const struct sim_plot *plots, uint32_t count)
{
    FILE *out = fmemopen(text, sizeof(text), "w");

    CHECK(out != NULL && sim_plot_write(out, plots, count) == ERR_OK && fclose(out) == 0, "drawn");
}

/* How often word stands in the text. */
static unsigned
times(const char *word)
{
    unsigned count = 0;

    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word))
        count++;
    return count;
}

int
main(void)
{
    const float x[] = {1.0f, 10.0f, 100.0f, 1000.0f}, y[] = {0.0f, 50.0f, NAN, 100.0f};
    const float negative[] = {-1.0f, 0.0f, 10.0f, 100.0f};
    const struct sim_plot_line lines[] = {{"a < b & c", x, y, 4}, {"odd", negative, y, 4}};
    struct sim_plot plot = {"two", "ms", "%", true, false, lines, 1};

    draw(&plot, 1);
    CHECK(times("<svg") == 1 && times("</svg>") == 1, "one drawing");
    CHECK(times("a &lt; b &amp; c") == 1 && times("a < b") == 0, "names are text");
    CHECK(strstr(text, "d=\"M80.0 364.0L310.0 204.0M770.0 44.0\"") != NULL,
          "corner to corner, with a gap in it");
    CHECK(times("text-anchor=\"middle\">10</text>") == 1 && times(">200</text>") == 1 &&
              times("text-anchor=\"end\">100</text>") == 1,
          "round numbers at both axes");
    plot.line_count = 2;
    draw(&plot, 1);
    CHECK(times("nan") == 0 && times("inf") == 0, "no logarithm of what has none");
    plot.line_count = 0;
    draw(&plot, 1);
    CHECK(times("nan") == 0 && times("inf") == 0, "nothing to draw");
    return tap_done();
}
