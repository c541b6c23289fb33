/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * shared.h: memory that the parent shares with all it forks. It begins as zeroes. First all parts are laid out, then the whole is
 * taken. */
#ifndef SHARED_H
#define SHARED_H

#include <stddef.h>

/* Lays out a part of so many bytes, on cache lines of its own, and returns where it begins. */
size_t shared_part(size_t *size, size_t bytes);

/* Never fails: without memory the process ends. To be given back by munmap(2). */
char *shared_memory(size_t size);

#endif
