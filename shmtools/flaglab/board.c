/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * board.c: the memory that the processes of a laboratory run share. */
#include "board.h"

#include <sys/mman.h>

#include "catalog.h"
#include "shared.h"

const char *activity_text(enum activity activity)
{
	static const char *const texts[] = {
#define ACTIVITY_TEXT(name, text) [ACTIVITY_##name] = (text),
		ACTIVITIES(ACTIVITY_TEXT)
#undef ACTIVITY_TEXT
	};

	return texts[activity];
}

struct board *board_open(uint32_t workers, size_t flipped, size_t flags)
{
	size_t size = 0;
	size_t board_at = shared_part(&size, sizeof(struct board));
	size_t worker_at = shared_part(&size, workers * sizeof(struct board_worker));
	size_t flips_at = shared_part(&size, flipped * sizeof(_Atomic uint32_t));
	size_t suspects_at = shared_part(&size, flags * sizeof(_Atomic uint32_t));
	size_t seen_at = shared_part(&size, workers * flipped * sizeof(_Atomic int64_t));
	char *memory = shared_memory(size);
	struct board *board = (void *)(memory + board_at);

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
