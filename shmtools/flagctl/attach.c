/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * attach.c: attaching to the segment that the first operand names. */
#include "attach.h"

#include "failure.h"

static int attach(const char *name, uint32_t flags, flagstore **store)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;

	options.flags = flags;
	return flagstore_attach(name, &options, store);
}

int attach_to_read(const char *name, flagstore **store)
{
	int error = attach(name, FLAGSTORE_READ_ONLY, store);

	return error ? failure_of_library(error) : STATUS_DONE;
}

int attach_to_write(const char *name, flagstore **store)
{
	int error = attach(name, 0, store);

	return error ? failure_of_library(error) : STATUS_DONE;
}

int attach_to_follow(const char *name, flagstore **store)
{
	int error = attach(name, 0, store);

	if (error == FLAGSTORE_EPERMISSION || error == FLAGSTORE_ENAMESPACE || error == FLAGSTORE_EREADONLY)
		return attach_to_read(name, store);
	return error ? failure_of_library(error) : STATUS_DONE;
}

int attach_still_there(const char *name, const flagstore *store)
{
	struct flagstore_info info;
	int error = flagstore_info(store, &info);

	if (error)
		return failure_of_library(error);
	if (info.truncated)
		return failure_of(FLAGSTORE_ETRUNCATED, "segment %s has been cut short meanwhile", name);
	if (info.retired)
		return failure_of(FLAGSTORE_ENOSEGMENT, "segment %s has been unlinked meanwhile", name);
	return STATUS_DONE;
}
