/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * guard.c: the guard's mode. */
#include "guard.h"

#include <flagstore.h>
#include <string.h>

int guard_set(const char *segment, const char *uuid, int mode)
{
	struct flagstore_info info;
	flagstore *store;
	int error = flagstore_attach(segment, NULL, &store);

	if (error)
		return error;
	error = flagstore_info(store, &info);
	if (!error && strcmp(info.uuid, uuid) != 0)
		error = FLAGSTORE_ENOSEGMENT;
	if (!error)
		error = flagstore_set_guard(store, (enum flagstore_guard)mode, 0);
	flagstore_close(store);
	return error;
}
