/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * crashlive.h: what can be seen while writers are killed. Prints nothing under --json. */
#ifndef CRASHLIVE_H
#define CRASHLIVE_H

#include "crash.h"

/* What will happen. */
void crashlive_begin(const struct crash *crash, uint64_t milliseconds);

/* How it goes. */
void crashlive_line(const struct crash *crash);

void crashlive_end(void);

#endif
