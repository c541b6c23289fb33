/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * driver.h: the rest of a driver: the program that does a peer's work. A peer's file defines what workload.h wants, and
 *
 *	#define PEER_NAME     as --peers has it
 *	#define PEER_TITLE    what a reader knows it as
 *	#define PEER_MOST     the largest table that it is asked to have
 *	static const char *peer_version(void);
 *
 * and includes this. The program is called with a file of keys and a directory for its own; it says who it is in one line of JSON, and
 * then answers each line "WORK MILLISECONDS" on standard input by one line of JSON, until there are no more. */
#ifndef DRIVER_H
#define DRIVER_H

#include "workload.h"

static bool find_work(const char *word, enum work *work)
{
	static const char *const words[] = {
#define WORK_WORD(name, word, title) word,
		WORKLOADS(WORK_WORD)
#undef WORK_WORD
	};

	for (int i = 0; i < WORK_COUNT; i++) {
		if (strcmp(words[i], word) == 0) {
			*work = (enum work)i;
			return true;
		}
	}
	return false;
}

static void answer(const char *word, const struct outcome *outcome)
{
	printf("{\"work\": \"%s\", \"possible\": %s, \"value\": %.9g, \"operations\": %llu, \"wrong\": %llu", word,
	       outcome->possible ? "true" : "false", outcome->value, (unsigned long long)outcome->operations,
	       (unsigned long long)outcome->wrong);
	for (size_t i = 0; i < WORKLOAD_MORE && outcome->more[i].name; i++)
		printf(", \"%s\": %.9g", outcome->more[i].name, outcome->more[i].value);
	printf("}\n");
	fflush(stdout);
}

static bool hear(char word[32], long *milliseconds)
{
	int read;

	PEER_SLEEPS();
	read = scanf("%31s %ld", word, milliseconds);
	PEER_WAKES();
	return read == 2;
}

int main(int argc, char **argv)
{
	struct workload workload;
	char word[32];
	long milliseconds;

	if (argc != 3) {
		fprintf(stderr, "usage: %s KEYS DIRECTORY; to be called by tests/bench/run\n", argv[0]);
		return 2;
	}
	memset(&workload, 0, sizeof workload);
	workload.directory = argv[2];
	workload.pack = keypack_map(argv[1]);
	if (!workload.pack) {
		fprintf(stderr, "%s: no file of keys\n", argv[1]);
		return 1;
	}
	printf("{\"peer\": \"%s\", \"title\": \"%s\", \"version\": \"%s\", \"processes\": %s, \"most\": %ld}\n", PEER_NAME, PEER_TITLE,
	       peer_version(), PEER_PROCESSES ? "true" : "false", (long)PEER_MOST);
	fflush(stdout);
	while (hear(word, &milliseconds)) {
		struct outcome outcome;
		enum work work;

		if (!find_work(word, &work)) {
			fprintf(stderr, "%s: no such work\n", word);
			return 1;
		}
		workload.budget_ns = milliseconds * 1000000;
		workload_do(&workload, work, &outcome);
		answer(word, &outcome);
	}
	if (workload.peer)
		peer_close(workload.peer);
	keypack_unmap(workload.pack);
	return 0;
}

#endif
