/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * quantity.h: sizes, durations and moments, between people and numbers. Each *_text() returns a struct whose text is
 * good until the end of the full expression: printf("%s\n", size_text(n).text). */
#ifndef QUANTITY_H
#define QUANTITY_H

#include <stdbool.h>
#include <stdint.h>

struct quantity {
	char text[40];
};

/* Bytes: "64K", "1.5 GiB" by expand_number(3) and humanize_number(3), powers of 1024. */
bool size_parse(const char *text, uint64_t *bytes);
struct quantity size_text(uint64_t bytes); /* "1.5 GiB" */

/* A count with its thousands apart: "1 234 567". */
struct quantity count_text(uint64_t count);

/* Durations: a decimal number with ms, s, m or h, seconds without: "500ms", "1.5s", "2m", "10". */
bool duration_parse(const char *text, uint64_t *milliseconds);
struct quantity duration_text(uint64_t nanoseconds); /* "850 ns", "1.20 ms", "3.4 s" */

/* A moment in milliseconds since 1970: "2024-05-31T09:00:00.123Z", "-" for 0 (not known). */
struct quantity moment_text(int64_t milliseconds);

#endif
