/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * progress.h: how far a long thing has come: one line on standard error, drawn again some times a second, only when
 * that is a terminal (and not under --json), and wiped away at the end. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdint.h>

/* Starts a line: "importing 4096 of 200000 flags (2 %)". The texts must live until the end. */
void progress_begin(const char *what, const char *things, uint64_t total);

/* So many are done. May be called as often as one likes. */
void progress_update(uint64_t done);

void progress_end(void);

#endif
