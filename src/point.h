/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * point.h: named places in the write paths where a test may kill the process. Nothing in a normal build; a test that
 * links the library built with -DFLAGSTORE_POINTS defines fs_point(). */
#ifndef FS_POINT_H
#define FS_POINT_H

#ifdef FLAGSTORE_POINTS
void fs_point(const char *name);
#define FS_POINT(name) fs_point(name)
#else
#define FS_POINT(name) ((void)0)
#endif

#endif
