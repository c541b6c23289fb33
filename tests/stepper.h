/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * stepper.h: what a child executes, machine instruction by machine instruction, and how to kill or halt it behind any of them.
 *
 *     static void work(void *argument)             in the child: what stands between the two calls is looked at
 *     {
 *         ... stepper_here(); ... stepper_here(); ...
 *     }
 *     trace = stepper_trace(work, argument, path); runs it once, whole; path is the segment's file
 *     exact = stepper_kill(&trace, k, work, argument);  runs it again, and kills it after k instructions
 *     stepper_drop(&trace);
 */
#ifndef FLAGSTORE_TESTS_STEPPER_H
#define FLAGSTORE_TESTS_STEPPER_H

#include "residue.h"

/* pc[i] is the instruction that comes after i others, passes[i] how often it has come up by then, itself included; fresh[i]: a death after
 * i instructions leaves something else than one after i - 1. */
struct trace {
	unsigned long *pc;
	unsigned *passes;
	bool *fresh;
	unsigned long count;
};

/* In the child: the work begins, or ends. */
void stepper_here(void);

/* The child runs to its end and must succeed. */
struct trace stepper_trace(body *run, void *argument, const char *path);
void stepper_drop(struct trace *trace);

/* Kills a child by SIGKILL when it has done k instructions of its work; k is at most trace->count. False when the child took another way
 * than the one that was traced (a clock, another process): then it was killed at some other instruction of its work. */
bool stepper_kill(const struct trace *trace, unsigned long k, body *run, void *argument);

/* Instructions of a child's work, which must succeed; for works of a few thousand, without all that a trace tells. */
unsigned long stepper_count(body *run, void *argument);

/* Halts a child that has done k instructions of its work while the caller does something else; then it goes on to its end, and must
 * succeed. False when the work has not so many; the caller does nothing else then. */
bool stepper_interrupt(unsigned long k, body *run, void *argument, body *meanwhile, void *with);

#endif
