/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * crashlive.h: what can be seen while writers are killed. Prints nothing under --json. */
#ifndef CRASHLIVE_H
#define CRASHLIVE_H

#include "crash.h"

/* What will happen. */
void crashlive_begin(const struct crash *crash, uint64_t milliseconds);

/* A worker has been killed. Says so only when there are so few that a person can read it. */
void crashlive_killed(const struct crash *crash, uint32_t post, enum deed deed);

/* How it goes. */
void crashlive_line(const struct crash *crash);

void crashlive_end(void);

#endif
