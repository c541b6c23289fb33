/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * replay.c: gives a fuzzer's entry the inputs in files, and in the files of directories, without any fuzzer. Says how many there were. */
#include <fts.h>
#include <sys/stat.h>

#include "entry.h"

static void replay(const char *name, size_t size)
{
	/* Of its very size: who reads behind the end reads wrong memory. */
	uint8_t *data = malloc(size ? size : 1);
	FILE *stream = fopen(name, "re");

	if (!data || !stream || fread(data, 1, size, stream) != size) {
		printf("%s can't be read\n", name);
		exit(1);
	}
	fclose(stream);
	/* The last name stands there when it crashes. */
	printf("%s\n", name);
	fflush(stdout);
	(void)LLVMFuzzerTestOneInput(data, size);
	free(data);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	const char *left = (*a)->fts_name, *right = (*b)->fts_name;

	while (*left && *left == *right)
		left++, right++;
	return *left - *right;
}

int main(int argc, char **argv)
{
	unsigned count = 0;
	FTSENT *entry;
	FTS *tree;

	if (argc < 2) {
		printf("usage: %s FILE|DIRECTORY...\n", argv[0]);
		return 2;
	}
	tree = fts_open(argv + 1, FTS_LOGICAL | FTS_NOCHDIR, by_name);
	while (tree && (entry = fts_read(tree))) {
		if (entry->fts_info == FTS_F) {
			replay(entry->fts_accpath, (size_t)entry->fts_statp->st_size);
			count++;
		}
	}
	if (tree)
		fts_close(tree);
	printf("%u inputs\n", count);
	return count ? 0 : 1;
}
