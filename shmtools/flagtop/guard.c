/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * guard.c: the guard's mode. */
#include "guard.h"

#include <flagstore.h>

int guard_set(const char *segment, int mode)
{
	flagstore *store;
	int error = flagstore_attach(segment, NULL, &store);

	if (error)
		return error;
	error = flagstore_set_guard(store, (enum flagstore_guard)mode, 0);
	flagstore_close(store);
	return error;
}
