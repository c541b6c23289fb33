/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * incidentplay.h: what the steps of flaglab incident are made of: commands that are run and told about, and waiting for the workers. What
 * returns int returns STATUS_DONE, or, with all said, the exit status with which the story ends. */
#ifndef INCIDENTPLAY_H
#define INCIDENTPLAY_H

#include <jansson.h>
#include <limits.h>

#include "crew.h"
#include "incident.h"
#include "tool.h"

enum {
	PLAY_PATIENCE_S = 20, /* how long anything that must come may take */
	PLAY_LINE_SIZE = 1024,
};

struct incident {
	char name[64];                       /* of the segment */
	char directory[PATH_MAX - 64];       /* of the files */
	char table[PATH_MAX], quarantine[PATH_MAX], evidence[PATH_MAX];
	char flagctl[PATH_MAX], flaginspect[PATH_MAX];
	bool created;
	uint64_t workers;
	flagstore *store;                    /* to read it */
	struct catalog flags;
	bool *readable;                      /* of the flags: before the repair */
	struct incident_board *board;
	size_t board_size;
	struct crew_member members[INCIDENT_WORKERS_MAX];
	int stopped_by;

	const char *step;                    /* being played */
	struct tool_run run;                 /* the last command */
	json_t *steps, *item;                /* all commands; the last one */
	uint32_t commands;
	double tools_ms;
	int64_t begun_ns;
	bool failed;

	/* what came out */
	uint32_t running;
	uint64_t conflicts, writes, compared, wrong;
	size_t brought_back, named_keys;
	json_t *lost;                        /* flags that can't be read at the end, */
	size_t silent;                       /* and of them those that could be read before, and were not named */
	json_t *named;                       /* texts of keys that the repair names */
};

/* A step begins. */
void play_step(struct incident *incident, const char *step, const char *what);

/* A line below the last command. */
void play_tell(struct incident *incident, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says which step did not hold; the story ends. The second adds what the last command said. */
int play_broken(struct incident *incident, const char *format, ...) __attribute__((format(printf, 2, 3)));
int play_broken_by_command(struct incident *incident, const char *what);

/* The exit status after a signal to stop. */
int play_stopped(const struct incident *incident);

/* Waits until the moment has come. Ends the story when a worker is gone, or somebody wants us to stop. */
int play_rest(struct incident *incident, int64_t until);

/* Writes that the workers have ended, all together. */
uint64_t play_writes(const struct incident *incident);

/* Waits until each worker has ended so many writes from now on, and for so long. What was under way at the beginning has ended with the
 * first of them. */
int play_await_writes(struct incident *incident, uint64_t count, int64_t least_ms);

void play_order(struct incident *incident, enum incident_order order);

/* Runs a command as somebody would type it, whatever its own status is. */
int play_run(struct incident *incident, const char *const *arguments);

/* One that must succeed, or there is no story: its status is ours. */
int play_run_well(struct incident *incident, const char *const *arguments);

/* Runs one again and again until it ends with the status that must come. Where it must say that all is well, damage is no reason to look
 * again. */
int play_run_until(struct incident *incident, int wanted, const char *what, const char *const *arguments);

#define RUN(incident, ...) play_run(incident, (const char *const[]){__VA_ARGS__, NULL})
#define RUN_OR_END(incident, ...) play_run_well(incident, (const char *const[]){__VA_ARGS__, NULL})
#define RUN_UNTIL(incident, wanted, what, ...) play_run_until(incident, wanted, what, (const char *const[]){__VA_ARGS__, NULL})

/* Prints the last command, and the first line of what it said that fits, as in tool_line(). */
void play_tell_run(struct incident *incident);
void play_tell_line(struct incident *incident, char where, const char *text);

/* How many conflicts the guard has counted. */
int play_conflicts(struct incident *incident, uint64_t *conflicts);

#endif
