/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * shared.c: memory that the parent shares with all it forks. */
#include "shared.h"

#include <sys/mman.h>

#include "failure.h"

size_t shared_part(size_t *size, size_t bytes)
{
	size_t start = *size;

	*size += (bytes + 63) & ~(size_t)63;
	return start;
}

char *shared_memory(size_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		failure_memory();
	return memory;
}
