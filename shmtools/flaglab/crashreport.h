/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * crashreport.h: the closing tables, as text or JSON. */
#ifndef CRASHREPORT_H
#define CRASHREPORT_H

#include "crash.h"

void crashreport(const struct crash *crash, const struct crash_verdict *verdict);

#endif
