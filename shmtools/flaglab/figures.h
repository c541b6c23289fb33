/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * figures.h: how measured figures are written. */
#ifndef FIGURES_H
#define FIGURES_H

#include <stdint.h>

#include "board.h"
#include "quantity.h"

/* How many a second: "12.3 M"; "-" when no time has passed. */
struct quantity rate_text(uint64_t count, int64_t ns);
double rate_of(uint64_t count, int64_t ns);

/* How long one read of a kind took a worker, in nanoseconds: the median of its blocks, so that it does not count when the
 * scheduler took the processor away in the middle of some. 0 when there was none. */
double ns_for_read(const struct board_worker *worker, enum read_kind kind);

/* The same as text: "18.2", or "-". */
struct quantity ns_text(double ns);

/* A line of a report: the title, and behind it what is printed by the format. */
void figures_line(const char *title, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
