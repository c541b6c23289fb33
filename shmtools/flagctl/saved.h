/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * saved.h: flags on disk: backups, and directories that segments persist in. */
#ifndef SAVED_H
#define SAVED_H

#include "flaglist.h"

/* Adds all of them. Returns STATUS_DONE, or after printing a failure the exit status. */
int saved_read(const char *path, struct flaglist *list);

#endif
