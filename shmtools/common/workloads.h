/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * workloads.h: what is measured: each workload's constant, its name on command lines and in JSON, and what a table calls it. What exactly is
 * done stands in workload.h, at the function that does it. */
#ifndef WORKLOADS_H
#define WORKLOADS_H

#define WORKLOADS(X)                                                                                                   \
	X(INSERT, "insert", "insert, from empty")                                                                          \
	X(RESERVED, "reserved", "insert, room reserved")                                                                   \
	X(LONGEST, "longest", "longest single insert")                                                                     \
	X(PAUSE, "pause", "longest pause meanwhile")                                                                       \
	X(GET, "get", "get hit")                                                                                           \
	X(DEPENDENT, "dependent", "dependent get hit")                                                                     \
	X(MISS, "miss", "get miss")                                                                                        \
	X(HANDLE, "handle", "handle read, all flags")                                                                      \
	X(HOT, "hot", "handle read, one flag")                                                                             \
	X(MANY16, "many16", "get_many, 16 a call")                                                                         \
	X(MANY32, "many32", "get_many, 32 a call")                                                                         \
	X(FLIP, "flip", "flip")                                                                                            \
	X(SAME, "same", "set to the same value")                                                                           \
	X(ABSENT, "absent", "set_if_absent, half new")                                                                     \
	X(CHURN, "churn", "delete and insert")                                                                             \
	X(MIX, "mix", "99 % get, 1 % flip, 2 workers")                                                                     \
	X(TOGGLE, "toggle", "toggle one flag, 2 workers")                                                                  \
	X(DISTURBED, "disturbed", "get while one is flipped")                                                              \
	X(SAME_LINE, "same-line", "get of the flipped flag")                                                               \
	X(LIST, "list", "list of all")                                                                                     \
	X(ATTACH, "attach", "attach, get, close")                                                                          \
	X(EXPERIMENT, "experiment", "64 workers set and get")                                                              \
	X(MEMORY, "memory", "memory a flag")

enum work {
#define WORK_NUMBER(name, word, title) WORK_##name,
	WORKLOADS(WORK_NUMBER)
#undef WORK_NUMBER
	WORK_COUNT,
};

#endif
