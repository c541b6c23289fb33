/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * outfile.h: a file that is either replaced whole or left as it is: written beside the old one, then renamed over it.
 * What is no regular file (a pipe, a terminal) is written directly. */
#ifndef OUTFILE_H
#define OUTFILE_H

#include <limits.h>
#include <stdio.h>

struct outfile {
	FILE *stream;
	char target[PATH_MAX];
	char temporary[PATH_MAX]; /* empty: the target is written directly */
};

/* Each returns STATUS_DONE, or after printing a failure the exit status; then nothing is left behind. */
int outfile_open(struct outfile *file, const char *path);
int outfile_commit(struct outfile *file);

void outfile_abort(struct outfile *file);

#endif
