/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * board.c: the memory that the processes of a laboratory run share. */
#include "board.h"

#include <sys/mman.h>

#include "catalog.h"
#include "clock.h"
#include "failure.h"

const char *activity_text(enum activity activity)
{
	static const char *const texts[] = {
#define ACTIVITY_TEXT(name, text) [ACTIVITY_##name] = (text),
		ACTIVITIES(ACTIVITY_TEXT)
#undef ACTIVITY_TEXT
	};

	return texts[activity];
}

/* Takes room for a part, on cache lines of its own, and returns where it begins. */
static size_t take(size_t *size, size_t bytes)
{
	size_t start = *size;

	*size += (bytes + 63) & ~(size_t)63;
	return start;
}

struct board *board_open(uint32_t workers, size_t flipped, size_t flags)
{
	size_t size = 0;
	size_t board_at = take(&size, sizeof(struct board));
	size_t worker_at = take(&size, workers * sizeof(struct board_worker));
	size_t flips_at = take(&size, flipped * sizeof(_Atomic uint32_t));
	size_t suspects_at = take(&size, flags * sizeof(_Atomic uint32_t));
	size_t seen_at = take(&size, workers * flipped * sizeof(_Atomic int64_t));
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct board *board = (void *)(memory + board_at);

	if (memory == MAP_FAILED)
		failure_memory();
	board->size = size;
	board->workers = workers;
	board->flipped = flipped;
	board->worker = (void *)(memory + worker_at);
	board->flips = (void *)(memory + flips_at);
	board->suspects = (void *)(memory + suspects_at);
	board->seen_ns = (void *)(memory + seen_at);
	return board;
}

void board_close(struct board *board)
{
	munmap(board, board->size);
}

void board_suspect(struct board *board, size_t flag)
{
	atomic_fetch_add_explicit(&board->suspects[flag], 1, memory_order_relaxed);
}

void board_assemble(struct board *board)
{
	atomic_fetch_add_explicit(&board->ready, 1, memory_order_release);
	while (board_phase(board) == BOARD_ASSEMBLE)
		clock_sleep_until(clock_now() + MILLISECOND);
}

uint64_t board_reads(const struct board_worker *worker, enum read_kind kind)
{
	return histogram_count(&worker->blocks[kind]) * CATALOG_WINDOW;
}

uint64_t board_all_reads(const struct board_worker *worker)
{
	uint64_t sum = 0;

	for (enum read_kind kind = 0; kind < READ_KIND_COUNT; kind++)
		sum += board_reads(worker, kind);
	return sum;
}
