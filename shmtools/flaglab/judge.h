/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * judge.h: what a run has shown, found out when all its processes have ended. */
#ifndef JUDGE_H
#define JUDGE_H

#include "lab.h"

/* Judges the answers that did not fit, sets the flipped flags back to what they were (unless keep), deletes the workers' own
 * flags, and checks the whole segment; prints the findings as warnings. Returns STATUS_DONE, or the exit status after
 * printing a failure. */
int judge(const struct lab *lab, bool keep, struct verdict *verdict);

#endif
