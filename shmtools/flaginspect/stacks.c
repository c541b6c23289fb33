/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * stacks.c: call stacks of threads of other processes, by libdw, which stops a thread by ptrace(2) as long as it walks its frames. Names
 * and lines are looked up when the thread runs again. */
#include "stacks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "process.h"

static void refuse(struct stack *stack, const char *why)
{
	snprintf(stack->error, sizeof stack->error, "%s", why);
}

#ifdef HAVE_LIBDW
#include <elfutils/libdwfl.h>

static struct mappers mappers;

/* The process that was looked into last: threads of one often come one after the other. */
static Dwfl *opened;
static pid_t opened_pid;

void stacks_begin(const struct source *source)
{
	mappers_find(source, &mappers);
}

void stacks_end(void)
{
	if (opened)
		dwfl_end(opened);
	opened = NULL;
	mappers_free(&mappers);
}

/* A damaged segment may name any thread of the system, and none but its own may be stopped. */
static bool is_of_segment(pid_t pid)
{
	for (size_t i = 0; i < mappers.count; i++)
		if (mappers.all[i].pid == pid)
			return true;
	return false;
}

static void tell_failure(struct stack *stack, int error, const char *text)
{
	if (error == EPERM || error == EACCES)
		refuse(stack, "ptrace is not permitted: run flaginspect as root, or as the user of the process with kernel.yama.ptrace_scope 0; in a "
		              "container with CAP_SYS_PTRACE");
	else
		snprintf(stack->error, sizeof stack->error, "the thread can't be looked into: %s", text ? text : "not known why");
}

static bool open_process(pid_t pid, struct stack *stack)
{
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_linux_proc_find_elf,
		.find_debuginfo = dwfl_standard_find_debuginfo,
	};
	int error;

	if (opened && opened_pid == pid)
		return true;
	if (opened)
		dwfl_end(opened);
	opened = dwfl_begin(&callbacks);
	if (!opened) {
		tell_failure(stack, 0, dwfl_errmsg(-1));
		return false;
	}
	error = dwfl_linux_proc_report(opened, pid);
	dwfl_report_end(opened, NULL, NULL);
	if (!error)
		error = dwfl_linux_proc_attach(opened, pid, false);
	if (error) {
		tell_failure(stack, error > 0 ? error : 0, error > 0 ? strerror(error) : dwfl_errmsg(-1));
		dwfl_end(opened);
		opened = NULL;
		return false;
	}
	opened_pid = pid;
	return true;
}

struct addresses {
	Dwarf_Addr all[STACKS_FRAMES];
	size_t count;
};

static int note_frame(Dwfl_Frame *frame, void *argument)
{
	struct addresses *addresses = argument;
	Dwarf_Addr address;
	bool activation;

	if (addresses->count == STACKS_FRAMES || !dwfl_frame_pc(frame, &address, &activation))
		return DWARF_CB_ABORT;
	/* A return address is behind the call. */
	addresses->all[addresses->count++] = address - !activation;
	return DWARF_CB_OK;
}

static void name_frame(Dwarf_Addr address, char *text, size_t size)
{
	Dwfl_Module *module = dwfl_addrmodule(opened, address);
	Dwarf_Addr start = 0;
	const char *path = module ? dwfl_module_info(module, NULL, &start, NULL, NULL, NULL, NULL, NULL) : NULL;
	char place[256];

	lines_place(path ? path : "?", address - start, place, sizeof place);
	if (module)
		lines_describe(module, address, place, text, size);
	else
		snprintf(text, size, "%s", place);
}

void stacks_read(pid_t thread, struct stack *stack)
{
	enum process_state state = process_state_of(thread);
	struct addresses addresses = {.count = 0};
	pid_t pid = process_of_thread(thread);
	const char *text;
	int result;

	stack->count = 0;
	*stack->error = 0;
	/* One that can't be stopped would be waited for without end. */
	if (state != PROCESS_RUNNING && state != PROCESS_SLEEPING && state != PROCESS_STOPPED) {
		snprintf(stack->error, sizeof stack->error, "the thread is %s", process_state_text(state));
		return;
	}
	if (!is_of_segment(pid)) {
		refuse(stack, mappers.hidden ? "it can't be seen whether the thread is one of this segment: run flaginspect as root" :
		                               "the thread's process has not mapped this segment");
		return;
	}
	if (!open_process(pid, stack))
		return;
	errno = 0;
	result = dwfl_getthread_frames(opened, thread, note_frame, &addresses);
	text = result < 0 ? dwfl_errmsg(-1) : NULL;
	for (size_t i = 0; i < addresses.count; i++)
		name_frame(addresses.all[i], stack->frames[i], sizeof stack->frames[i]);
	stack->count = addresses.count;
	/* libdw tells a refusal in words alone. */
	if (result < 0 && !addresses.count)
		tell_failure(stack, text && strcmp(text, strerror(EPERM)) == 0 ? EPERM : 0, text);
	else if (result < 0)
		snprintf(stack->error, sizeof stack->error, "the frames behind these can't be told: %s", text ? text : "not known why");
	else if (result == DWARF_CB_ABORT)
		refuse(stack, "there are more frames behind these");
}
#else
void stacks_begin(const struct source *source)
{
	(void)source;
}

void stacks_end(void)
{
}

void stacks_read(pid_t thread, struct stack *stack)
{
	(void)thread;
	stack->count = 0;
	refuse(stack, "this flaginspect was built without libdw: install libdw-dev and build it again");
}
#endif
