/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * residue.h: what a process would leave behind if it died now. Others see the bytes of the segment's file; the kernel, which frees the
 * robust mutexes of the dead, also sees the thread's robust list, whose head is in the process's own memory. Whatever else outlives or
 * ends with a process (files, their locks and their room) changes by system calls alone. So between two system calls, instructions
 * that change neither those bytes nor that head leave the same, and whoever comes after a death can't tell them apart.
 *
 *     residue = residue_of(path);                  of a file that may not be there yet
 *     if (residue_changed(residue, pid, call)) ... since the last look; pid is stopped under ptrace, and call says whether its last
 *                                                  instruction was a system call, which counts as a change of its own
 *     residue_drop(residue);
 */
#ifndef FLAGSTORE_TESTS_RESIDUE_H
#define FLAGSTORE_TESTS_RESIDUE_H

#include "support.h"

struct residue;

struct residue *residue_of(const char *path);
bool residue_changed(struct residue *residue, pid_t pid, bool call);
void residue_drop(struct residue *residue);

#endif
