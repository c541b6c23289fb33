/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flagctl doctor: the traps of the surroundings, one by one: what was found, why it matters, what to do. Changes nothing. */
#include <dirent.h>
#include <errno.h>
#include <flagstore.h>
#include <gnu/libc-version.h>
#include <inttypes.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands.h"
#include "keytext.h"
#include "output.h"
#include "quantity.h"

enum verdict { FINE, BEWARE, BAD };

struct report {
	json_t *list;
	unsigned count[3];
};

static void say(struct report *report, const char *what, enum verdict verdict, const char *found, const char *why, const char *advice)
{
	static const char *const words[] = {"ok", "beware", "bad"};

	report->count[verdict]++;
	if (cli_json) {
		json_array_append_new(report->list, json_pack("{s:s, s:s, s:o, s:s, s:o}", "what", what, "verdict", words[verdict], "found", output_text(found),
		                                              "why", why, "advice", verdict == FINE ? json_null() : output_text(advice)));
		return;
	}
	printf("%-6s %s: %s\n", words[verdict], what, found);
	if (verdict != FINE)
		printf("       why it matters: %s\n       what to do: %s\n", why, advice);
}

static bool read_line(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	bool read = file && fgets(text, (int)size, file);

	if (file)
		fclose(file);
	if (read)
		text[strcspn(text, "\n")] = 0;
	return read;
}

/* -------------------------------------------------------------------------------------------------------- traps */

/* Some sandboxes accept set_robust_list(2) and ignore it: only a death tells. */
static void check_robust(struct report *report)
{
	pthread_mutex_t *mutex = mmap(NULL, sizeof *mutex, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_t attributes;
	struct timespec limit;
	pid_t child;
	int result = ENOMEM;

	if (mutex != MAP_FAILED) {
		pthread_mutexattr_init(&attributes);
		pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
		pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
		pthread_mutex_init(mutex, &attributes);
		pthread_mutexattr_destroy(&attributes);
		child = fork();
		if (child == 0) {
			pthread_mutex_lock(mutex);
			_exit(0);
		}
		if (child > 0)
			waitpid(child, NULL, 0);
		clock_gettime(CLOCK_MONOTONIC, &limit);
		limit.tv_sec += 2;
		result = child < 0 ? EAGAIN : pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &limit);
		munmap(mutex, sizeof *mutex);
	}
	say(report, "robust locks", result == EOWNERDEAD ? FINE : BAD,
	    result == EOWNERDEAD ? "a process died holding a lock, and the next one was told" : strerror(result),
	    "when a writer dies, the others must learn it from its lock, or they wait for ever",
	    "do not run writers in this sandbox or kernel; readers work");
}

static const char *directory(void)
{
	const char *set = getenv("FLAGSTORE_DIR");

	return set && *set ? set : "/dev/shm";
}

static void check_room(struct report *report)
{
	struct statvfs system;
	uint64_t size, left;
	char found[256];

	if (statvfs(directory(), &system) != 0) {
		say(report, "segment directory", BAD, strerror(errno), "segments can't be created there", "mount a tmpfs there, or set FLAGSTORE_DIR");
		return;
	}
	size = (uint64_t)system.f_blocks * system.f_frsize;
	left = (uint64_t)system.f_bavail * system.f_frsize;
	snprintf(found, sizeof found, "%s of %s", size_text(left).text, size_text(size).text);
	snprintf(found + strlen(found), sizeof found - strlen(found), " are free in %.100s", directory());
	say(report, "segment directory", left < UINT64_C(16) << 20 ? BAD : size <= UINT64_C(64) << 20 ? BEWARE : FINE, found,
	    "when it is full, inserts fail, and so does whatever else uses it; containers have 64 MiB by default",
	    "give it more: mount -o remount,size=1G /dev/shm, or docker run --shm-size=1g; or remove leftovers, below");
}

static void check_namespace(struct report *report)
{
	struct stat own;
	char found[128];
	bool first;

	if (stat("/proc/self/ns/pid", &own) != 0) {
		say(report, "PID namespace", BAD, "there is no /proc", "writers can't enter a segment without it", "mount /proc");
		return;
	}
	first = own.st_ino == 4026531836;
	snprintf(found, sizeof found, "%ju%s", (uintmax_t)own.st_ino, first ? ", the host's" : ", not the host's: a container");
	say(report, "PID namespace", first ? FINE : BEWARE, found,
	    "the death of a writer is noticed only by writers of its own PID namespace; a segment takes writers of one alone",
	    "let all writers of a segment share one (docker run --pid=container:NAME, shareProcessNamespace); readers may be anywhere");
}

static void check_remove_ipc(struct report *report)
{
	static const char *const files[] = {"/etc/systemd/logind.conf", "/run/systemd/logind.conf", "/usr/lib/systemd/logind.conf"};
	char line[256], *value;
	bool off = false, there = access("/run/systemd/system", F_OK) == 0;

	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		FILE *file = fopen(files[i], "re");

		while (file && fgets(line, sizeof line, file)) {
			value = strncmp(line, "RemoveIPC=", 10) == 0 ? line + 10 : NULL;
			off |= value && (strncmp(value, "no", 2) == 0 || strncmp(value, "0", 1) == 0 || strncmp(value, "false", 5) == 0);
		}
		if (file)
			fclose(file);
	}
	say(report, "RemoveIPC", !there || off || getuid() == 0 ? FINE : BEWARE,
	    !there ? "systemd does not run here" : off ? "off" : getuid() == 0 ? "not for root and system users" : "on, for ordinary users",
	    "systemd-logind deletes the files in /dev/shm of a user who has logged out", "run workers as a system user, or set RemoveIPC=no in logind.conf");
}

/* Writers of another namespace are refused, also when nobody is attached. */
static void check_segment_namespace(struct report *report, const char *name, uint64_t noted)
{
	char found[600];
	struct stat own;

	if (stat("/proc/self/ns/pid", &own) != 0 || noted == own.st_ino)
		return;
	snprintf(found, sizeof found, "%.400s takes writers of PID namespace %" PRIu64 ", and this one is %ju",
	         keytext_encode(name, strlen(name)).text, noted, (uintmax_t)own.st_ino);
	say(report, "segment's PID namespace", BEWARE, found, "a writer from here is refused, and numbers of processes mean others here; readers work",
	    "write to it from its own namespace: docker run --pid=container:NAME, nsenter --pid, or flagctl in a container of its writers");
}

static void check_segment(struct report *report, const char *name)
{
	struct flagstore_options options = FLAGSTORE_OPTIONS_INIT;
	char found[600], advice[400];
	struct flagstore_info info;
	flagstore *store = NULL;
	int error;

	options.flags = FLAGSTORE_READ_ONLY;
	options.lock_wait_ms = 100;
	error = flagstore_attach(name, &options, &store);
	if (!error)
		error = flagstore_info(store, &info);
	if (error) {
		snprintf(found, sizeof found, "%.100s: %.400s", keytext_encode(name, strlen(name)).text, flagstore_detail());
		snprintf(advice, sizeof advice, "look at it: flaginspect check %.100s", name);
		say(report, "segment", error == FLAGSTORE_EPERMISSION ? FINE : BEWARE, found, "nobody can attach to it", advice);
	} else {
		snprintf(found, sizeof found, "%.100s: %" PRIu32 " workers", keytext_encode(name, strlen(name)).text, info.workers);
		snprintf(found + strlen(found), sizeof found - strlen(found), ", %s flags, %s", count_text(info.flags).text, size_text(info.file_bytes).text);
		snprintf(advice, sizeof advice, "if nobody needs its flags: flagctl unlink %.100s", name);
		check_segment_namespace(report, name, info.pid_namespace);
		say(report, "segment", info.workers ? FINE : BEWARE, found, "no writer is attached; it keeps its room until somebody unlinks it", advice);
	}
	flagstore_close(store);
}

/* Never removes anything: what looks left may be wanted. */
static void check_leftovers(struct report *report)
{
	DIR *files = opendir(directory());
	const struct dirent *entry;

	while (files && (entry = readdir(files)))
		if (strncmp(entry->d_name, "flagstore.", 10) == 0 && entry->d_name[10])
			check_segment(report, entry->d_name + 10);
	if (files)
		closedir(files);
}

static void check_libc(struct report *report)
{
	const char *version = gnu_get_libc_version();
	int major = 0, minor = 0;
	bool new_enough = sscanf(version, "%d.%d", &major, &minor) == 2 && (major > 2 || minor >= 34);

	say(report, "glibc", new_enough ? FINE : BAD, version, "locks are waited for with pthread_mutex_clocklock(), which came with 2.34",
	    "use a newer system, and the same C library for all processes of a segment");
}

static void check_lmdb(struct report *report)
{
	int major = 0, minor = 0, patch = 0;
	char found[64];

	mdb_version(&major, &minor, &patch);
	snprintf(found, sizeof found, "%d.%d.%d", major, minor, patch);
	say(report, "LMDB", major == 0 && minor == 9 && patch >= 26 && patch <= 31 ? BAD : FINE, found,
	    "0.9.26 to 0.9.31 destroy the shared mutexes of an environment when one process closes it; flagstore leaves it open with these, other "
	    "programs may not", "use 0.9.24 or 0.9.25, or 0.9.32 and later, in all programs that use a directory in which a segment persists");
}

static void check_core(struct report *report)
{
	struct rlimit limit = {0, 0};
	char pattern[256] = "", found[400];
	bool piped, cores;

	(void)getrlimit(RLIMIT_CORE, &limit);
	(void)read_line("/proc/sys/kernel/core_pattern", pattern, sizeof pattern);
	piped = *pattern == '|';
	cores = piped || limit.rlim_cur > 0;
	snprintf(found, sizeof found, "%s, core_pattern %.200s", cores ? "cores are written" : "no cores are written", pattern);
	say(report, "core dumps", cores ? BEWARE : FINE, found, "a lock of a process that crashes is freed only when its core has been written",
	    "keep cores small (coredump_filter in core(5)), or expect inserts to wait that long; reads and flips do not");
}

static void check_ptrace(struct report *report)
{
	char scope[16] = "";
	bool there = read_line("/proc/sys/kernel/yama/ptrace_scope", scope, sizeof scope);

	say(report, "ptrace scope", there && *scope >= '2' ? BEWARE : FINE, there ? scope : "not restricted",
	    "flaginspect reads what other processes wait for, and their mappings, from /proc", "run flaginspect as root");
}

static bool there_is_swap(void)
{
	FILE *file = fopen("/proc/swaps", "re");
	char line[512];
	int lines = 0;

	while (file && fgets(line, sizeof line, file))
		lines++;
	if (file)
		fclose(file);
	return lines > 1; /* the first one has the titles */
}

/* What all segments take of memory. */
static uint64_t segment_bytes(void)
{
	DIR *files = opendir(directory());
	const struct dirent *entry;
	struct stat file;
	uint64_t bytes = 0;

	while (files && (entry = readdir(files)))
		if (strncmp(entry->d_name, "flagstore.", 10) == 0 && fstatat(dirfd(files), entry->d_name, &file, 0) == 0)
			bytes += (uint64_t)file.st_blocks * 512;
	if (files)
		closedir(files);
	return bytes;
}

/* Segments are never locked by the library: where there is swap, and a read must not wait for it, somebody has to, who may lock so much. */
static void check_memory_lock(struct report *report)
{
	uint64_t needed = segment_bytes();
	struct rlimit limit = {0, 0};
	bool swap = there_is_swap(), enough;
	char found[256];

	(void)getrlimit(RLIMIT_MEMLOCK, &limit);
	enough = limit.rlim_cur == RLIM_INFINITY || geteuid() == 0 || limit.rlim_cur >= needed;
	snprintf(found, sizeof found, "%s", limit.rlim_cur == RLIM_INFINITY ? "unlimited" : size_text(limit.rlim_cur).text);
	snprintf(found + strlen(found), sizeof found - strlen(found), "%s, %s taken by segments, and there is %sswap",
	         geteuid() == 0 ? " (not for root)" : "", size_text(needed).text, swap ? "" : "no ");
	say(report, "memory lock limit", enough || !swap ? FINE : BEWARE, found,
	    "segments on tmpfs can be swapped out, and a read waits for the disk then; a process that keeps them in memory by mlock(2) must be allowed to",
	    "raise it (ulimit -l, LimitMEMLOCK=), or keep the workers out of the swap (memory.swap.max=0)");
}

static void check_limits(struct report *report)
{
	char enabled[128] = "";

	check_memory_lock(report);
	if (!read_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled", enabled, sizeof enabled))
		snprintf(enabled, sizeof enabled, "not known");
	say(report, "huge pages", strstr(enabled, "[always]") || strstr(enabled, "[force]") ? BEWARE : FINE, enabled,
	    "with huge pages on tmpfs an insert that needs room can take 10 ms, and reads gain little",
	    "echo never > /sys/kernel/mm/transparent_hugepage/shmem_enabled");
}

static int run(int count, char **operands)
{
	struct report report = {json_array(), {0, 0, 0}};

	(void)count;
	(void)operands;
	check_robust(&report);
	check_room(&report);
	check_namespace(&report);
	check_remove_ipc(&report);
	check_libc(&report);
	check_lmdb(&report);
	check_core(&report);
	check_ptrace(&report);
	check_limits(&report);
	check_leftovers(&report);
	if (cli_json)
		output_json(json_pack("{s:O, s:i, s:i, s:i}", "checks", report.list, "ok", (int)report.count[FINE], "beware", (int)report.count[BEWARE], "bad",
		                      (int)report.count[BAD]));
	else
		printf("%u ok, %u to beware of, %u bad\n", report.count[FINE], report.count[BEWARE], report.count[BAD]);
	json_decref(report.list);
	return report.count[BAD] ? STATUS_NO : STATUS_DONE;
}

const struct cli_command command_doctor = {
	.name = "doctor",
	.operands = "",
	.least = 0,
	.most = 0,
	.summary = "look for what in the surroundings will hurt, and say what to do",
	.run = run,
};
