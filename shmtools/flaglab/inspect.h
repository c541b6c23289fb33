/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * inspect.h: the check of the whole segment at the end of a run. */
#ifndef INSPECT_H
#define INSPECT_H

#include <flagstore.h>

/* Prints the findings as warnings, at most ten, and adds their number to *findings. The check takes every lock, so it restores
 * what nobody has come across since its writer was killed: a count of recoveries is complete only behind it. Returns a result of
 * the library. */
int inspect_segment(flagstore *store, const char *name, uint64_t *findings);

#endif
