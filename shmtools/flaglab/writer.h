/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * writer.h: the process that changes flags in all ways until it is killed. */
#ifndef WRITER_H
#define WRITER_H

#include "ledger.h"

/* Attaches to segment `name`, settles what the last process at this post left behind, compares the flags that it changed last,
 * and then writes, until it is told to stop. Returns the exit status for the process. */
int writer_work(const char *name, struct ledger *ledger, uint32_t post);

#endif
