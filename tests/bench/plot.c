/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * plot.c: a picture (SVG) of nanoseconds an operation against the number of flags, both on logarithmic scales: a panel for each workload, a
 * line for each peer. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "results.h"

enum {
	PANEL_WIDTH = 560,
	PANEL_HEIGHT = 400,
	LEFT = 76, /* margins within a panel */
	TOP = 36,
	BOTTOM = 44,
	LEGEND = 110, /* at the right of each */
	ACROSS = 2,
};

static const enum work plotted[] = {WORK_GET, WORK_DEPENDENT, WORK_MISS, WORK_MANY32, WORK_FLIP, WORK_INSERT};

static const char *const colours[PEER_COUNT] = {"#d62728", "#1f77b4", "#6baed6", "#2ca02c", "#98df8a", "#ff7f0e", "#9467bd",
                                                "#c5b0d5", "#8c564b", "#e377c2", "#7f7f7f", "#17becf", "#bcbd22", "#444444"};

/* The powers of ten around all values of a workload. */
struct scale {
	double low_x, high_x, low_y, high_y; /* exponents */
};

static bool find_scale(const struct results *results, enum work work, struct scale *scale)
{
	bool any = false;

	*scale = (struct scale){INFINITY, -INFINITY, INFINITY, -INFINITY};
	for (size_t size = 0; size < results->sizes; size++) {
		for (int peer = 0; peer < PEER_COUNT; peer++) {
			double value = results_median(results, size, work, (enum peer_number)peer);

			if (value <= 0)
				continue;
			any = true;
			scale->low_x = fmin(scale->low_x, log10((double)results->flags[size]));
			scale->high_x = fmax(scale->high_x, log10((double)results->flags[size]));
			scale->low_y = fmin(scale->low_y, floor(log10(value)));
			scale->high_y = fmax(scale->high_y, ceil(log10(value)));
		}
	}
	/* One size alone still wants some width. */
	if (scale->high_x <= scale->low_x)
		scale->high_x = scale->low_x + 1;
	if (scale->high_y <= scale->low_y)
		scale->high_y = scale->low_y + 1;
	return any;
}

static double place_x(const struct scale *scale, double flags)
{
	return LEFT + (log10(flags) - scale->low_x) / (scale->high_x - scale->low_x) * (PANEL_WIDTH - LEFT - LEGEND);
}

static double place_y(const struct scale *scale, double value)
{
	return TOP + (scale->high_y - log10(value)) / (scale->high_y - scale->low_y) * (PANEL_HEIGHT - TOP - BOTTOM);
}

static void draw_axes(FILE *file, const struct results *results, const struct scale *scale, const char *title)
{
	fprintf(file, "<text x=\"%d\" y=\"20\" font-size=\"15\" font-weight=\"bold\">%s</text>\n", LEFT, title);
	for (double exponent = scale->low_y; exponent <= scale->high_y; exponent++) {
		double y = place_y(scale, pow(10, exponent));

		fprintf(file, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>\n", LEFT, PANEL_WIDTH - LEGEND, y, y);
		fprintf(file, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.10g ns</text>\n", LEFT - 6, y + 4, pow(10, exponent));
	}
	for (size_t size = 0; size < results->sizes; size++) {
		double x = place_x(scale, (double)results->flags[size]);

		if (x < LEFT || x > PANEL_WIDTH - LEGEND)
			continue;
		fprintf(file, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" stroke=\"#eee\"/>\n", x, x, TOP, PANEL_HEIGHT - BOTTOM);
		fprintf(file, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%ju</text>\n", x, PANEL_HEIGHT - BOTTOM + 18,
		        (uintmax_t)results->flags[size]);
	}
	fprintf(file, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">flags</text>\n", (LEFT + PANEL_WIDTH - LEGEND) / 2,
	        PANEL_HEIGHT - 8);
}

static void draw_line(FILE *file, const struct results *results, const struct scale *scale, enum work work, enum peer_number peer,
                      unsigned *shown)
{
	const char *weight = peer == PEER_FLAGSTORE ? "3" : "1.5";
	bool begun = false;

	for (size_t size = 0; size < results->sizes; size++) {
		double value = results_median(results, size, work, peer);

		if (value <= 0)
			continue;
		if (!begun)
			fprintf(file, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" marker-start=\"url(#p%d)\" marker-mid=\"url(#p%d)\" "
			              "marker-end=\"url(#p%d)\" points=\"",
			        colours[peer], weight, (int)peer, (int)peer, (int)peer);
		begun = true;
		fprintf(file, "%.1f,%.1f ", place_x(scale, (double)results->flags[size]), place_y(scale, value));
	}
	if (!begun)
		return;
	fprintf(file, "\"/>\n<text x=\"%d\" y=\"%u\" fill=\"%s\"%s>%s</text>\n", PANEL_WIDTH - LEGEND + 14, TOP + 8 + 18 * *shown,
	        colours[peer], peer == PEER_FLAGSTORE ? " font-weight=\"bold\"" : "", peer_entries[peer].name);
	++*shown;
}

static void draw_panel(FILE *file, const struct results *results, enum work work, unsigned place)
{
	struct scale scale;
	unsigned shown = 0;

	if (!find_scale(results, work, &scale))
		return;
	fprintf(file, "<g transform=\"translate(%u,%u)\">\n", place % ACROSS * PANEL_WIDTH, place / ACROSS * PANEL_HEIGHT);
	draw_axes(file, results, &scale, work_entries[work].title);
	for (int peer = PEER_COUNT - 1; peer >= 0; peer--)
		draw_line(file, results, &scale, work, (enum peer_number)peer, &shown);
	fputs("</g>\n", file);
}

bool plot_write(const struct results *results, const char *path)
{
	unsigned panels = sizeof plotted / sizeof *plotted, rows = (panels + ACROSS - 1) / ACROSS;
	FILE *file = fopen(path, "we");
	bool good;

	if (!file)
		return false;
	fprintf(file,
	        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %u %u\" width=\"%u\" height=\"%u\" font-family=\"sans-serif\" "
	        "font-size=\"12\">\n<title>Nanoseconds an operation against the number of flags</title>\n"
	        "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n<defs>\n",
	        ACROSS * PANEL_WIDTH, rows * PANEL_HEIGHT, ACROSS * PANEL_WIDTH, rows * PANEL_HEIGHT);
	for (int peer = 0; peer < PEER_COUNT; peer++)
		fprintf(file,
		        "<marker id=\"p%d\" viewBox=\"0 0 8 8\" refX=\"4\" refY=\"4\" markerWidth=\"6\" markerHeight=\"6\" "
		        "markerUnits=\"userSpaceOnUse\"><circle cx=\"4\" cy=\"4\" r=\"4\" fill=\"%s\"/></marker>\n",
		        peer, colours[peer]);
	fputs("</defs>\n", file);
	for (unsigned i = 0; i < panels; i++)
		draw_panel(file, results, plotted[i], i);
	fputs("</svg>\n", file);
	good = !ferror(file);
	return fclose(file) == 0 && good;
}
