/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * sigbus.c: life after the memory behind a mapping has gone away. A file that somebody cuts short leaves pages behind its end that can't
 * be touched: the kernel sends SIGBUS. A program that asks for it gets a handler that puts pages of zeros there, so that the access goes
 * on: a directory word, a slot word and a tag of zero mean that there is nothing.
 *
 * From the page that was touched to the mapping's end, all at once: what lies behind the end of a file that was cut is gone as well, and
 * page by page the mapping would fall into more pieces than the kernel allows. Pages before it stay, with the locks that may be held in
 * them. The two mappings of a store lose their pages one after the other, each when it is touched; the walks and loops of the library
 * are bounded whatever they read, so that they bear it.
 *
 * The handler calls mmap() by its number: a bare system call, which touches no memory of the C library. It takes no lock, and the list
 * that it walks only grows. */
#include "sigbus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "fence.h"

static struct fs_mapping *_Atomic mappings;

/* -------------------------------------------------------------------------------------------- known mappings */

static struct fs_mapping *free_entry(void)
{
	struct fs_mapping *entry = atomic_load_explicit(&mappings, memory_order_acquire);

	for (; entry; entry = entry->next)
		if (!atomic_exchange_explicit(&entry->taken, true, memory_order_acquire))
			return entry;
	entry = calloc(1, sizeof *entry);
	if (!entry)
		return NULL;
	atomic_init(&entry->taken, true);
	entry->next = atomic_load_explicit(&mappings, memory_order_relaxed);
	/* release: the handler sees the entry whole */
	while (!atomic_compare_exchange_weak_explicit(&mappings, &entry->next, entry, memory_order_release, memory_order_relaxed))
		;
	return entry;
}

static void set_places(struct fs_mapping *entry, const void *map, const void *write_map, size_t size)
{
	uint32_t changes = atomic_load_explicit(&entry->changes, memory_order_relaxed);

	atomic_store_explicit(&entry->changes, changes + 1, memory_order_relaxed);
	fs_release_fence();
	atomic_store_explicit(&entry->places[0], (uintptr_t)map, memory_order_relaxed);
	atomic_store_explicit(&entry->places[1], (uintptr_t)write_map, memory_order_relaxed);
	atomic_store_explicit(&entry->size, size, memory_order_relaxed);
	atomic_store_explicit(&entry->lost, false, memory_order_relaxed);
	atomic_store_explicit(&entry->changes, changes + 2, memory_order_release);
}

struct fs_mapping *fs_mapping_add(const void *map, const void *write_map, size_t size, struct fs_entered *entered)
{
	struct fs_mapping *entry = free_entry();

	if (!entry)
		return NULL;
	set_places(entry, map, write_map, size);
	atomic_store_explicit(&entry->leaving, 0, memory_order_relaxed);
	atomic_store_explicit(&entry->entered, entered, memory_order_seq_cst);
	return entry;
}

void fs_mapping_remove(struct fs_mapping *mapping)
{
	if (!mapping)
		return;
	set_places(mapping, NULL, NULL, 0);
	atomic_store_explicit(&mapping->taken, false, memory_order_release);
}

int fs_unless_lost(const flagstore *store, int result)
{
	if (!fs_lost(store))
		return result;
	return fs_fail(FLAGSTORE_ETRUNCATED, "segment %s: its file was cut short, or its memory went away, while it was in use; close it, and attach "
	               "to a sound one", store->path);
}

/* --------------------------------------------------------------------------------------------------- handler */

static struct sigaction previous;

static bool put_zeros(uintptr_t from, uintptr_t to, int protection)
{
	return syscall(SYS_mmap, from, to - from, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == (long)from;
}

/* Both mappings may be one (fence.h); the writable one's protection then. */
static bool revive(uintptr_t address, struct fs_mapping *mapping)
{
	for (int i = 1; i >= 0; i--) {
		uint32_t changes = atomic_load_explicit(&mapping->changes, memory_order_acquire);
		uintptr_t place = atomic_load_explicit(&mapping->places[i], memory_order_relaxed), page = address & ~(uintptr_t)(FS_PAGE - 1);
		size_t size = atomic_load_explicit(&mapping->size, memory_order_relaxed);

		fs_acquire_fence();
		/* An entry that is being changed is not that of the store in use here. */
		if (changes & 1 || atomic_load_explicit(&mapping->changes, memory_order_relaxed) != changes)
			continue;
		if (!place || address < place || address - place >= size)
			continue;
		/* First, so that nobody takes the zeros for the truth once they are there. */
		atomic_store_explicit(&mapping->lost, true, memory_order_seq_cst);
		return put_zeros(page, place + size, i ? PROT_READ | PROT_WRITE : PROT_READ) ||
		       put_zeros(page, page + FS_PAGE, i ? PROT_READ | PROT_WRITE : PROT_READ);
	}
	return false;
}

/* What would have happened without us. */
static void pass_on(int number, siginfo_t *info, void *context)
{
	if (previous.sa_flags & SA_SIGINFO) {
		previous.sa_sigaction(number, info, context);
		return;
	}
	if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
		previous.sa_handler(number);
		return;
	}
	/* One that was sent can be ignored; one that came of an access would come again, for ever. */
	if (previous.sa_handler == SIG_IGN && info->si_code <= 0)
		return;
	/* The access is repeated, and the process ends by it, as it would have, with the place in its core dump. */
	signal(SIGBUS, SIG_DFL);
	if (info->si_code <= 0)
		raise(SIGBUS);
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	struct fs_mapping *mapping = atomic_load_explicit(&mappings, memory_order_acquire);
	int saved = errno;

	/* BUS_ADRERR alone: an alignment fault or a broken memory chip is not ours to hide. */
	for (; mapping && info->si_code == BUS_ADRERR; mapping = mapping->next) {
		if (revive((uintptr_t)info->si_addr, mapping)) {
			errno = saved;
			return;
		}
	}
	errno = saved;
	pass_on(number, info, context);
}

static int caught; /* 0, or what sigaction() said */

static void install(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus};

	/* SA_ONSTACK for programs whose threads have small stacks (Go's have). */
	action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, NULL, &previous) != 0 || sigaction(SIGBUS, &action, NULL) != 0)
		caught = errno;
}

int flagstore_catch_sigbus(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
	errno = caught;
	return caught ? fs_fail_errno(FLAGSTORE_ESYSTEM, "SIGBUS can't be caught") : FLAGSTORE_OK;
}
