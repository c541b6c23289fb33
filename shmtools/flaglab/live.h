/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * live.h: what can be seen while a run goes on: on a terminal one line that is drawn again, otherwise a line each time. Prints
 * nothing under --json. */
#ifndef LIVE_H
#define LIVE_H

#include "lab.h"

/* What will happen. */
void live_begin(const struct lab *lab, uint64_t milliseconds);

/* How it goes, since the last call. */
void live_line(const struct lab *lab);

/* A worker has been killed. */
void live_killed(const struct lab *lab, uint32_t worker);

void live_end(void);

#endif
