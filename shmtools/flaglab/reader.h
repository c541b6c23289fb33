/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * reader.h: the process that measures each single read while writers are killed. */
#ifndef READER_H
#define READER_H

#include "ledger.h"

/* Attaches read-only to segment `name`, reads the flags that stay, and the groups in between, until it is told to stop. Returns the
 * exit status for the process. */
int reader_work(const char *name, struct ledger *ledger, uint32_t number);

#endif
