/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * ticker.h: the lines that are printed while a run goes on: on a terminal one line that is drawn again, otherwise a line each
 * time. Whoever prints between begin and end uses printf(3), and leaves it all out under --json. */
#ifndef TICKER_H
#define TICKER_H

#include <stdbool.h>
#include <stdint.h>

/* Before the first line. */
void ticker_start(void);

/* Begins a line with the time that has passed. */
void ticker_begin_line(int64_t since_ns);

/* Ends it. One that stays is not drawn over. */
void ticker_end_line(bool stays);

/* Behind the last line: wipes it, or leaves an empty one. */
void ticker_stop(void);

#endif
