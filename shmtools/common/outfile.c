/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * outfile.c: a file that is either replaced whole or left as it is. */
#include "outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failure.h"

static int open_directly(struct outfile *file)
{
	file->stream = fopen(file->target, "we");
	return file->stream ? STATUS_DONE : failure_errno(STATUS_CREATE, "%s can't be opened for writing", file->target);
}

/* The new file's permissions: the old one's, or those that any new file gets. */
static mode_t wanted_mode(const struct stat *old)
{
	mode_t mask;

	if (old)
		return old->st_mode & 07777;
	mask = umask(0);
	umask(mask);
	return 0666 & ~mask;
}

static int open_beside(struct outfile *file, const struct stat *old)
{
	const char *slash = strrchr(file->target, '/');
	int folder = slash ? (int)(slash - file->target) + 1 : 0;
	int descriptor = -1;

	if (snprintf(file->temporary, sizeof file->temporary, "%.*s.%s.XXXXXX", folder, file->target,
	             file->target + folder) >= (int)sizeof file->temporary)
		errno = ENAMETOOLONG;
	else
		descriptor = mkostemp(file->temporary, O_CLOEXEC);
	if (descriptor < 0)
		return failure_errno(STATUS_CREATE, "a temporary file beside %s can't be created", file->target);

	file->stream = fdopen(descriptor, "w");
	if (file->stream && fchmod(descriptor, wanted_mode(old)) == 0)
		return STATUS_DONE;
	(void)failure_errno(STATUS_CREATE, "%s can't be prepared", file->temporary);
	if (!file->stream)
		close(descriptor);
	outfile_abort(file);
	return STATUS_CREATE;
}

int outfile_open(struct outfile *file, const char *path)
{
	struct stat old;
	bool exists = stat(path, &old) == 0;

	*file = (struct outfile){0};
	/* A symbolic link stays one: it is the file behind it that is replaced. */
	if (exists && !realpath(path, file->target))
		return failure_errno(STATUS_CREATE, "%s can't be resolved", path);
	if (!exists && strlcpy(file->target, path, sizeof file->target) >= sizeof file->target) {
		errno = ENAMETOOLONG;
		return failure_errno(STATUS_CREATE, "%s can't be created", path);
	}
	if (exists && !S_ISREG(old.st_mode))
		return open_directly(file);
	return open_beside(file, exists ? &old : NULL);
}

int outfile_commit(struct outfile *file)
{
	bool written = fflush(file->stream) == 0 && !ferror(file->stream);

	if (written && *file->temporary)
		written = fsync(fileno(file->stream)) == 0;
	if (written && *file->temporary)
		written = rename(file->temporary, file->target) == 0;
	if (!written) {
		(void)failure_errno(STATUS_OUTPUT, "%s can't be written", file->target);
		outfile_abort(file);
		return STATUS_OUTPUT;
	}
	fclose(file->stream);
	return STATUS_DONE;
}

void outfile_abort(struct outfile *file)
{
	if (file->stream)
		fclose(file->stream);
	if (*file->temporary)
		unlink(file->temporary);
}
