/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * residue.c: compares the pages of a file that the file system has given with a copy of them, and the robust list's head.
 */
#include "residue.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096 };

struct residue {
	char path[PATH_MAX];
	/* The file, mapped; none while it is not there. */
	ino_t inode;
	size_t pages;
	const char *bytes;
	unsigned char *given; /* by page, in the lowest bit: there is one */
	char *copy;
	struct robust_list_head *robust; /* in the process; the same address in every child of the caller */
	long robust_next, robust_pending;
};

static void *anonymous(size_t bytes)
{
	void *place = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	require(place != MAP_FAILED);
	return place;
}

static void unmap(struct residue *residue)
{
	if (!residue->pages)
		return;
	munmap((void *)(uintptr_t)residue->bytes, residue->pages * PAGE);
	munmap(residue->copy, residue->pages * PAGE);
	munmap(residue->given, residue->pages);
	residue->pages = 0;
	residue->inode = 0;
}

static void map(struct residue *residue, int file, const struct stat *status)
{
	void *bytes;

	residue->pages = (size_t)(status->st_size + PAGE - 1) / PAGE;
	residue->inode = status->st_ino;
	if (!residue->pages)
		return;
	bytes = mmap(NULL, residue->pages * PAGE, PROT_READ, MAP_SHARED, file, 0);
	require(bytes != MAP_FAILED);
	residue->bytes = bytes;
	residue->copy = anonymous(residue->pages * PAGE);
	residue->given = anonymous(residue->pages);
}

/* Maps the file that is there now, if it is another one or of another size. */
static void follow(struct residue *residue)
{
	int file = open(residue->path, O_RDONLY | O_CLOEXEC);
	struct stat status = {.st_ino = 0};

	if (file >= 0)
		require(fstat(file, &status) == 0);
	if (status.st_ino != residue->inode || (size_t)(status.st_size + PAGE - 1) / PAGE != residue->pages) {
		unmap(residue);
		if (file >= 0)
			map(residue, file, &status);
	}
	if (file >= 0)
		close(file);
	/* Room is given by system calls alone, before it is touched. */
	if (residue->pages)
		require(mincore((void *)(uintptr_t)residue->bytes, residue->pages * PAGE, residue->given) == 0);
}

/* Only the pages that are there: a look at a hole would take room for it. */
static bool compare_pages(struct residue *residue)
{
	bool changed = false;

	for (size_t page = 0; page < residue->pages; page++) {
		if (!(residue->given[page] & 1) || memcmp(residue->bytes + page * PAGE, residue->copy + page * PAGE, PAGE) == 0)
			continue;
		memcpy(residue->copy + page * PAGE, residue->bytes + page * PAGE, PAGE);
		changed = true;
	}
	return changed;
}

static bool compare_robust_list(struct residue *residue, pid_t pid)
{
	long next = ptrace(PTRACE_PEEKDATA, pid, &residue->robust->list.next, NULL);
	long pending = ptrace(PTRACE_PEEKDATA, pid, &residue->robust->list_op_pending, NULL);
	bool changed = next != residue->robust_next || pending != residue->robust_pending;

	residue->robust_next = next;
	residue->robust_pending = pending;
	return changed;
}

struct residue *residue_of(const char *path)
{
	/* Not from the heap: it would be another one for the children that come after. */
	struct residue *residue = anonymous(sizeof *residue);
	size_t size;

	snprintf(residue->path, sizeof residue->path, "%s", path);
	require(syscall(SYS_get_robust_list, 0, &residue->robust, &size) == 0 && size == sizeof *residue->robust);
	follow(residue);
	return residue;
}

bool residue_changed(struct residue *residue, pid_t pid, bool call)
{
	bool bytes, robust;

	if (call)
		follow(residue);
	bytes = compare_pages(residue);
	robust = compare_robust_list(residue, pid);
	return call || bytes || robust;
}

void residue_drop(struct residue *residue)
{
	unmap(residue);
	munmap(residue, sizeof *residue);
}
