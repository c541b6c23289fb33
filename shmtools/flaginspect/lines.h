/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * lines.h: from an address in a module to function, file and line. */
#ifndef LINES_H
#define LINES_H

#include <flagstore.h>

enum {
	LINES_SIZE = 512,
};

/* "function at file.c:12 (module+0x123)", as much of it as can be told. */
void lines_resolve(const struct flagstore_module *module, uint64_t offset, char *text, size_t size);

/* "module+0x123" */
void lines_place(const char *path, uint64_t offset, char *text, size_t size);

/* The same as lines_resolve() for an address in a module that libdw has open already; not without libdw. */
struct Dwfl_Module;
void lines_describe(struct Dwfl_Module *module, uint64_t address, const char *place, char *text, size_t size);

/* Lets go of what was kept for the next time. */
void lines_end(void);

#endif
