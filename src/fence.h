/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * fence.h: the stand-alone fences of the protocols. ThreadSanitizer does not model them (and gcc warns), but all that they
 * order are atomics, so it has nothing to complain about; they are in its builds too. */
#ifndef FS_FENCE_H
#define FS_FENCE_H

#include <stdatomic.h>

#if defined __SANITIZE_THREAD__
#define FS_THREAD_SANITIZER 1
#elif defined __has_feature
#if __has_feature(thread_sanitizer)
#define FS_THREAD_SANITIZER 1
#endif
#endif

#if defined __SANITIZE_THREAD__ && !defined __clang__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif

/* Loads before it stay before the loads after it. */
static inline void fs_acquire_fence(void)
{
	atomic_thread_fence(memory_order_acquire);
}

/* Stores before it are seen by whoever sees a store after it (and has an acquire fence). */
static inline void fs_release_fence(void)
{
	atomic_thread_fence(memory_order_release);
}

/* Nothing crosses it, in the one order that all full fences and seq_cst accesses have. */
static inline void fs_full_fence(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}

#if defined __SANITIZE_THREAD__ && !defined __clang__
#pragma GCC diagnostic pop
#endif

/* A store that a death must find in program order: what stands before it has been done when it is seen by a recoverer, what stands
 * after it has not been done unless it is. On x86 the fences bind the compiler only. */
#define FS_NOTE(object, value)                                                                                         \
	do {                                                                                                               \
		fs_release_fence();                                                                                            \
		atomic_store_explicit(object, value, memory_order_relaxed);                                                    \
		fs_release_fence();                                                                                            \
	} while (0)

#endif
