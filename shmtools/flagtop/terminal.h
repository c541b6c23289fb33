/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * terminal.h: the terminal, taken and given back: on every way out of the process that a process can see. */
#ifndef TERMINAL_H
#define TERMINAL_H

#include <stdbool.h>

enum terminal_color {
	TERMINAL_PLAIN,
	TERMINAL_GREEN,
	TERMINAL_YELLOW,
	TERMINAL_RED,
};

/* Gives it back when the process crashes, too. Called before flagstore_catch_sigbus(), which passes on what is no business of its own. */
void terminal_catch_crashes(void);

/* Takes it. STATUS_DONE, or the exit status after saying why it can't be. */
int terminal_begin(void);

/* The attribute for a colour: none where the terminal has no colours, or the user wants none (NO_COLOR); red is bold then. */
int terminal_color(enum terminal_color color);

/* Waits for a key, at most so long. ERR: none came. *gone: the terminal is no more. */
int terminal_key(int milliseconds, bool *gone);

/* Gives it back; may be called again. */
void terminal_end(void);

#endif
