/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * stacks.h: call stacks of threads of other processes, by libdw. */
#ifndef STACKS_H
#define STACKS_H

#include "lines.h"
#include "source.h"

enum {
	STACKS_FRAMES = 64,
};

struct stack {
	size_t count;
	char frames[STACKS_FRAMES][LINES_SIZE]; /* the innermost first, as lines_resolve() writes them */
	char error[256];                        /* why there is none, or no more of it, and what to do; empty: it is whole */
};

/* Finds out which processes have the segment mapped; only those are looked into. */
void stacks_begin(const struct source *source);

/* The thread stands still while its frames are walked. */
void stacks_read(pid_t thread, struct stack *stack);

void stacks_end(void);

#endif
