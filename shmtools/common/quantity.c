/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * quantity.c: sizes, durations and moments, between people and numbers. Decimal points are points: the tools stay in
 * the C locale. */
#include "quantity.h"

#include <ctype.h>
#include <inttypes.h>
#include <libutil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool size_parse(const char *text, uint64_t *bytes)
{
	/* expand_number() would take blanks and signs as well. */
	return isdigit((unsigned char)*text) && expand_number(text, bytes) == 0;
}

struct quantity size_text(uint64_t bytes)
{
	struct quantity result;

	humanize_number(result.text, sizeof "999 MiB", (int64_t)bytes, "B", HN_AUTOSCALE, HN_DECIMAL | HN_IEC_PREFIXES);
	return result;
}

struct quantity count_text(uint64_t count)
{
	struct quantity result;
	char digits[24], *out = result.text;
	int length = snprintf(digits, sizeof digits, "%" PRIu64, count);

	for (int i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			*out++ = ' ';
		*out++ = digits[i];
	}
	*out = '\0';
	return result;
}

bool duration_parse(const char *text, uint64_t *milliseconds)
{
	static const struct {
		const char *unit;
		double milliseconds;
	} units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	size_t digits = strspn(text, "0123456789.");
	char *end;
	double number;

	if (digits == 0 || digits > 15)
		return false;
	number = strtod(text, &end);
	if (end != text + digits)
		return false;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		*milliseconds = (uint64_t)(number * units[i].milliseconds + 0.5);
		return true;
	}
	return false;
}

struct quantity duration_text(uint64_t nanoseconds)
{
	struct quantity result;
	double number = (double)nanoseconds;

	if (nanoseconds < 1000)
		snprintf(result.text, sizeof result.text, "%" PRIu64 " ns", nanoseconds);
	else if (number < 1e6)
		snprintf(result.text, sizeof result.text, "%.3g us", number / 1e3);
	else if (number < 1e9)
		snprintf(result.text, sizeof result.text, "%.3g ms", number / 1e6);
	else
		snprintf(result.text, sizeof result.text, "%.1f s", number / 1e9);
	return result;
}

struct quantity moment_text(int64_t milliseconds)
{
	struct quantity result = {"-"};
	time_t seconds = (time_t)(milliseconds / 1000);
	struct tm parts;
	size_t length;

	if (milliseconds <= 0 || !gmtime_r(&seconds, &parts))
		return result;
	length = strftime(result.text, sizeof result.text, "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(result.text + length, sizeof result.text - length, ".%03dZ", (int)(milliseconds % 1000));
	return result;
}
