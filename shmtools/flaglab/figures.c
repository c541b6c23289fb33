/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * figures.c: how measured figures are written. */
#include "figures.h"

#include <stdarg.h>
#include <stdio.h>

#include "catalog.h"
#include "clock.h"

double rate_of(uint64_t count, int64_t ns)
{
	return ns > 0 ? (double)count * (double)SECOND / (double)ns : 0;
}

struct quantity rate_text(uint64_t count, int64_t ns)
{
	static const char units[] = {'\0', 'k', 'M', 'G', 'T'};
	struct quantity result = {"-"};
	double rate = rate_of(count, ns);
	size_t unit = 0;

	if (ns <= 0)
		return result;
	for (; rate >= 999.5 && unit + 1 < sizeof units; unit++)
		rate /= 1000;
	if (unit == 0)
		snprintf(result.text, sizeof result.text, "%.0f", rate);
	else
		snprintf(result.text, sizeof result.text, "%.*f %c", rate < 99.95 ? 1 : 0, rate, units[unit]);
	return result;
}

double ns_for_read(const struct board_worker *worker, enum read_kind kind)
{
	return (double)histogram_quantile(&worker->blocks[kind], 0.5) / CATALOG_WINDOW;
}

struct quantity ns_text(double ns)
{
	struct quantity result = {"-"};

	if (ns > 0)
		snprintf(result.text, sizeof result.text, "%.*f", ns < 99.95 ? 1 : 0, ns);
	return result;
}

void figures_line(const char *title, const char *format, ...)
{
	va_list arguments;

	printf("%-14s ", title);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}
