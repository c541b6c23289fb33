/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * error.h: result codes and the calling thread's detail sentence. */
#ifndef FS_ERROR_H
#define FS_ERROR_H

#include "flagstore.h"

/* Notes the detail sentence of a failure in the calling thread and returns error. Not async-signal-safe. */
int fs_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same with ": " and the sentence of errno behind it. */
int fs_fail_errno(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Untrusted bytes as text for a detail sentence: what could do harm on a terminal becomes '?', and what is long is cut. */
#define FS_PRINTABLE_SIZE 68
const char *fs_printable(const char *bytes, size_t length, char text[FS_PRINTABLE_SIZE]);

#endif
