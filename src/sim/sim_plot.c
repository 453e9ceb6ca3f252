/* sim_plot - axes with round numbers, a line a rule, names beside them; see sim_plot.h. Colours are
 * those of Okabe and Ito, which people who see red and green alike can tell apart; beyond seven
 * lines they come again, dashed. */
#include "sim/sim_plot.h"

#include <math.h>

#define WIDTH   960.0
#define HEIGHT  420.0 /* of a chart */
#define LEFT    80.0
#define RIGHT   190.0 /* room for names */
#define TOP     44.0
#define BOTTOM  56.0
#define TICKS   6.0
#define COLOURS 7u

static const char *const colours[COLOURS] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                             "#e69f00", "#56b4e9", "#000000"};

struct axis {
    double low, high, step; /* of a logarithm, where it is one */
    bool is_log;
};

static double
scaled(const struct axis *a, double value)
{
    if (!a->is_log)
        return value;
    return value > 0.0 ? log10(value) : NAN;
}

/* The range of all values, and a step of 1, 2 or 5 times a power of ten. */
static struct axis
axis_of(const struct sim_plot *p, bool is_x)
{
    struct axis a = {INFINITY, -INFINITY, 1.0, is_x ? p->x_is_log : p->y_is_log};
    double power, rest;

    for (uint32_t i = 0; i < p->line_count; i++) {
        for (uint32_t k = 0; k < p->lines[i].count; k++) {
            double v = scaled(&a, (double)(is_x ? p->lines[i].x : p->lines[i].y)[k]);
            if (isfinite(v)) {
                a.low = fmin(a.low, v);
                a.high = fmax(a.high, v);
            }
        }
    }
    if (!(a.high >= a.low))
        a.low = a.high = 0.0;
    if (a.high - a.low < 1e-9)
        a.high = a.low + 1.0;
    if (!a.is_log) {
        if (a.low > 0.0 && a.low < 0.5 * a.high)
            a.low = 0.0;
        power = pow(10.0, floor(log10((a.high - a.low) / TICKS)));
        rest = (a.high - a.low) / TICKS / power;
        a.step = power * (rest > 5.0 ? 10.0 : rest > 2.0 ? 5.0 : rest > 1.0 ? 2.0 : 1.0);
        a.high = ceil(a.high / a.step - 1e-9) * a.step;
        a.low = floor(a.low / a.step + 1e-9) * a.step;
    }
    return a;
}

static double
x_at(const struct axis *a, double value)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * (scaled(a, value) - a->low) / (a->high - a->low);
}

static double
y_at(const struct axis *a, double top, double value)
{
    return top + HEIGHT - BOTTOM -
           (HEIGHT - TOP - BOTTOM) * (scaled(a, value) - a->low) / (a->high - a->low);
}

static void
put_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '<' || *text == '&')
            fputs(*text == '<' ? "&lt;" : "&amp;", out);
        else
            fputc(*text, out);
    }
}

static void
tick(FILE *out, const struct axis *a, double value, bool is_x, double top)
{
    double bottom = top + HEIGHT - BOTTOM, at = is_x ? x_at(a, value) : y_at(a, top, value);

    if (is_x)
        fprintf(out,
                "<path class=\"g\" d=\"M%.1f %.1fV%.1f\"/>"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g</text>\n",
                at, top + TOP, bottom, at, bottom + 16.0, value);
    else
        fprintf(out,
                "<path class=\"g\" d=\"M%.1f %.1fH%.1f\"/>"
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
                LEFT, at, WIDTH - RIGHT, LEFT - 6.0, at + 4.0, value);
}

/* Linear: every step. Logarithmic: 1, 2, 5, 10, 20 ... as far as they lie inside. */
static void
ticks(FILE *out, const struct axis *a, bool is_x, double top)
{
    static const double marks[] = {1.0, 2.0, 5.0};

    if (!a->is_log) {
        for (double i = 0.0; a->low + i * a->step <= a->high + 1e-6 * a->step; i += 1.0)
            tick(out, a, a->low + i * a->step, is_x, top);
        return;
    }
    for (double power = floor(a->low); power <= a->high; power += 1.0) {
        for (unsigned i = 0; i < 3; i++) {
            double value = marks[i] * pow(10.0, power);
            if (log10(value) >= a->low && log10(value) <= a->high)
                tick(out, a, value, is_x, top);
        }
    }
}

static void
line(FILE *out, const struct axis *x, const struct axis *y, double top, uint32_t index,
     const struct sim_plot_line *l)
{
    double key = top + TOP + 10.0 + 20.0 * index;
    const char *dash = index < COLOURS ? "" : " stroke-dasharray=\"6 4\"";
    bool is_open = false;

    fprintf(out, "<path class=\"l\" stroke=\"%s\"%s d=\"", colours[index % COLOURS], dash);
    for (uint32_t i = 0; i < l->count; i++) {
        double px = x_at(x, (double)l->x[i]), py = y_at(y, top, (double)l->y[i]);
        if (isfinite(px) && isfinite(py))
            fprintf(out, "%s%.1f %.1f", is_open ? "L" : "M", px, py);
        is_open = isfinite(px) && isfinite(py);
    }
    fprintf(out,
            "\"/><path class=\"l\" stroke=\"%s\"%s d=\"M%.1f %.1fh24\"/>"
            "<text x=\"%.1f\" y=\"%.1f\">",
            colours[index % COLOURS], dash, WIDTH - RIGHT + 14.0, key, WIDTH - RIGHT + 44.0,
            key + 4.0);
    put_text(out, l->name);
    fputs("</text>\n", out);
}

static void
chart(FILE *out, const struct sim_plot *p, double top)
{
    struct axis x = axis_of(p, true), y = axis_of(p, false);
    double middle = top + TOP + (HEIGHT - TOP - BOTTOM) / 2.0;

    fprintf(out, "<text class=\"t\" x=\"%.1f\" y=\"%.1f\">", LEFT, top + 24.0);
    put_text(out, p->title);
    fputs("</text>\n", out);
    ticks(out, &x, true, top);
    ticks(out, &y, false, top);
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
            LEFT + (WIDTH - LEFT - RIGHT) / 2.0, top + HEIGHT - 16.0);
    put_text(out, p->x_name);
    fprintf(out,
            "</text>\n<text transform=\"translate(20 %.1f) rotate(-90)\" text-anchor=\"middle\">",
            middle);
    put_text(out, p->y_name);
    fputs("</text>\n", out);
    for (uint32_t i = 0; i < p->line_count && i < SIM_PLOT_LINES_MAX; i++)
        line(out, &x, &y, top, i, &p->lines[i]);
}

enum err
sim_plot_write(FILE *out, const struct sim_plot *plots, uint32_t count)
{
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
            "font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n"
            "<style>.g{stroke:#ddd;fill:none}.l{stroke-width:1.8;fill:none}"
            ".t{font-size:15px;font-weight:bold}</style>\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            WIDTH, HEIGHT * count);
    for (uint32_t i = 0; i < count; i++)
        chart(out, &plots[i], HEIGHT * i);
    fputs("</svg>\n", out);
    return ferror(out) != 0 ? ERR_IO : ERR_OK;
}
