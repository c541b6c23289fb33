/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * entry.h: what a fuzzer calls, and what its entries require. */
#ifndef FLAGSTORE_FUZZ_ENTRY_H
#define FLAGSTORE_FUZZ_ENTRY_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A failed requirement is a crash, which is what fuzzers look for. */
#define must(condition) ((condition) ? (void)0 : must_fail(__FILE__, __LINE__, #condition))

/* By its number: an entry may have turned the stream away. */
_Noreturn static inline void must_fail(const char *file, int line, const char *condition)
{
	dprintf(2, "%s:%d: not so: %s\n", file, line, condition);
	abort();
}

#endif
