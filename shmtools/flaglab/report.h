/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * report.h: the closing table, as text or JSON. */
#ifndef REPORT_H
#define REPORT_H

#include "lab.h"

void report(const struct lab *lab, const struct verdict *verdict);

#endif
