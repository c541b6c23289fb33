/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * contents.h: a file read whole, before anything is done with it. */
#ifndef CONTENTS_H
#define CONTENTS_H

#include "format.h"

/* Reads the file, standard input for "-". Returns STATUS_DONE, or after printing a failure the exit status. */
int contents_read(const char *file, struct contents *contents);

void contents_free(struct contents *contents);

#endif
