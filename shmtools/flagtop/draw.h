/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * draw.h: a frame on a terminal of any size; made for 80 by 24, and good down to 40 by 10. */
#ifndef DRAW_H
#define DRAW_H

#include "phrase.h"
#include "table.h"

struct picture {
	const char *segment;
	const struct frame *frame; /* NULL: no look has been taken yet */
	enum view view;
	size_t sort;
	bool reverse, paused, help;
	uint64_t interval_ms;
	char message[256];         /* empty: the keys are shown instead; printable ASCII */
};

/* Draws it. *offset is the first row that is wanted; it is kept within the table. */
void draw(const struct picture *picture, size_t *offset);

/* Frees what draw() keeps. */
void draw_end(void);

#endif
