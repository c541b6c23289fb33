/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * run: measures flagstore and its peers side by side, with the same keys, the same workloads and a check of every answer.
 *
 * For each size of table all drivers are started, and stay; workload by workload each of them is asked in turn, round by round, so that whatever
 * else the machine does meets all alike. A driver that is not asked sleeps. */
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "keypack.h"
#include "output.h"
#include "quantity.h"
#include "results.h"

enum {
	MISSING_MOST = 1000000, /* keys that no table has */
	MEMORY_KEY = 28,        /* bytes of each key where memory is measured */
	BYTES_A_FLAG = 256,     /* of the most wasteful peers; to see whether all of them fit */
	SLOW_S = 4,             /* whoever takes longer for one round is not asked for another */
};

#define THOUSAND UINT64_C(1000)
#define MILLION UINT64_C(1000000)

static struct results results = {.rounds = 5, .milliseconds = 60};
static bool chosen[WORK_COUNT], workloads_chosen, json, quiet;
static const char *json_path, *svg_path;
static char directory[PATH_MAX], keys_path[PATH_MAX];
static volatile sig_atomic_t stopped_by;
static bool failed;

/* -------------------------------------------------------------------------------------------- the command line */

static void print_help(void)
{
	printf("usage: run [options]\n\n"
	       "Measures flagstore and its peers side by side.\n\n"
	       "  -p, --peers LIST       of these, as far as they are built (all):\n                        ");
	for (int peer = 0; peer < PEER_COUNT; peer++)
		printf(" %s%s", peer_entries[peer].name, peer == PEER_COUNT / 2 ? "\n                        " : "");
	printf("\n  -w, --workloads LIST   of these, at each size (all, each at the sizes where it tells something):\n                        ");
	for (int work = 0; work < WORK_COUNT; work++)
		printf(" %s%s", work_entries[work].name, work == WORK_COUNT / 2 ? "\n                        " : "");
	printf("\n  -s, --sizes LIST       flags in a table (1000,10000,100000,1000000,10000000)\n"
	       "  -r, --rounds N         how often each is measured (5); half as often if a table is filled for it\n"
	       "  -m, --milliseconds N   how long each is measured in a round (60)\n"
	       "  -o, --output FILE      JSON of all rounds goes there too\n"
	       "  -g, --svg FILE         a plot of nanoseconds against flags\n"
	       "  -j, --json             print JSON instead of the table\n"
	       "  -q, --quiet            no progress\n"
	       "  -h, --help             print this help\n"
	       "LISTs are separated by commas.\n");
}

static _Noreturn void usage(const char *option, const char *value)
{
	failure(STATUS_USAGE, "--%s %s is not possible; `run --help' says what is", option, value);
	exit(STATUS_USAGE);
}

static bool choose_peer(const char *word)
{
	for (int peer = 0; peer < PEER_COUNT; peer++) {
		if (strcmp(peer_entries[peer].name, word) == 0)
			return results.driver[peer].wanted = true;
	}
	return false;
}

static bool choose_work(const char *word)
{
	for (int work = 0; work < WORK_COUNT; work++) {
		if (strcmp(work_entries[work].name, word) == 0)
			return workloads_chosen = chosen[work] = true;
	}
	return false;
}

static bool choose_size(const char *word)
{
	char *end;
	unsigned long long flags = strtoull(word, &end, 10);

	if (*end || flags < 100 || flags > 50 * MILLION || results.sizes == SIZES_MAX)
		return false;
	results.flags[results.sizes++] = flags;
	return true;
}

static void choose_all(const char *option, char *list, bool (*choose)(const char *word))
{
	char *word, *rest = list;

	while ((word = strsep(&rest, ",")) != NULL) {
		if (!choose(word))
			usage(option, word);
	}
}

static unsigned parse_number(const char *option, const char *text, unsigned most)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (*end || number < 1 || number > most)
		usage(option, text);
	return (unsigned)number;
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{"peers", required_argument, NULL, 'p'},  {"workloads", required_argument, NULL, 'w'},
		{"sizes", required_argument, NULL, 's'},  {"rounds", required_argument, NULL, 'r'},
		{"milliseconds", required_argument, NULL, 'm'}, {"output", required_argument, NULL, 'o'},
		{"svg", required_argument, NULL, 'g'},    {"json", no_argument, NULL, 'j'},
		{"quiet", no_argument, NULL, 'q'},        {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	bool peers_chosen = false;
	int option;

	while ((option = getopt_long(argc, argv, "p:w:s:r:m:o:g:jqh", longs, NULL)) != -1) {
		switch (option) {
		case 'p':
			choose_all("peers", optarg, choose_peer);
			peers_chosen = true;
			break;
		case 'w':
			choose_all("workload", optarg, choose_work);
			break;
		case 's':
			choose_all("sizes", optarg, choose_size);
			break;
		case 'r':
			results.rounds = parse_number("rounds", optarg, ROUNDS_MAX);
			break;
		case 'm':
			results.milliseconds = parse_number("milliseconds", optarg, 60000);
			break;
		case 'o':
			json_path = optarg;
			break;
		case 'g':
			svg_path = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'q':
			quiet = true;
			break;
		case 'h':
			print_help();
			exit(output_flush());
		default:
			exit(STATUS_USAGE);
		}
	}
	if (optind < argc)
		usage("help", argv[optind]);
	for (int peer = 0; peer < PEER_COUNT && !peers_chosen; peer++)
		results.driver[peer].wanted = true;
	for (uint64_t flags = THOUSAND; flags <= 10 * MILLION && (results.sizes == 0 || results.flags[0] == THOUSAND); flags *= 10) {
		if (results.sizes > 0 && flags == THOUSAND)
			break;
		results.flags[results.sizes++] = flags;
	}
}

/* ------------------------------------------------------------------------------------------ what is done where */

/* The sizes at which a workload tells something that it does not elsewhere. Without bits: those of the plot, all. */
enum {
	AT_1K = 1,
	AT_10K = 2,
	AT_100K = 4,
	AT_1M = 8,
	AT_10M = 16,
	AT_ALL = 31,
};

static const unsigned worthwhile[WORK_COUNT] = {
	[WORK_INSERT] = AT_ALL,
	[WORK_RESERVED] = AT_1M,
	[WORK_LONGEST] = AT_1M,
	[WORK_PAUSE] = AT_1M,
	[WORK_GET] = AT_ALL,
	[WORK_DEPENDENT] = AT_ALL,
	[WORK_MISS] = AT_ALL,
	[WORK_HANDLE] = AT_1K | AT_100K | AT_1M,
	[WORK_HOT] = AT_1K,
	[WORK_MANY16] = AT_ALL,
	[WORK_MANY32] = AT_ALL,
	[WORK_FLIP] = AT_ALL,
	[WORK_SAME] = AT_1K | AT_100K | AT_1M,
	[WORK_ABSENT] = AT_1K | AT_100K | AT_1M,
	[WORK_CHURN] = AT_1K | AT_100K | AT_1M,
	[WORK_MIX] = AT_1K | AT_1M,
	[WORK_TOGGLE] = AT_1K,
	[WORK_DISTURBED] = AT_1K,
	[WORK_SAME_LINE] = AT_1K,
	[WORK_LIST] = AT_1M,
	[WORK_ATTACH] = AT_1M,
	[WORK_EXPERIMENT] = AT_10K,
	[WORK_MEMORY] = AT_1M,
};

static bool is_worthwhile(enum work work, uint64_t flags)
{
	unsigned bit = AT_1K;

	if (workloads_chosen)
		return chosen[work];
	for (uint64_t size = THOUSAND; size < flags; size *= 10)
		bit <<= 1;
	return (worthwhile[work] & bit) != 0;
}

/* ---------------------------------------------------------------------------------------------------- progress */

static int64_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void progress(size_t size, const char *doing, unsigned round, const char *who)
{
	static int64_t begun;

	if (!begun)
		begun = now_s();
	if (quiet || !isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%" PRId64 " s  table %zu of %zu, %s flags: %s", now_s() - begun, size + 1, results.sizes,
	        count_text(results.flags[size]).text, doing);
	if (round)
		fprintf(stderr, ", round %u of %u", round, results.rounds);
	if (who)
		fprintf(stderr, ", %s", who);
}

static void progress_gone(void)
{
	if (!quiet && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
	va_list arguments;

	progress_gone();
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

/* ------------------------------------------------------------------------------------------------------ rounds */

static void ask(size_t size, enum work work, enum peer_number peer, unsigned round)
{
	struct driver *driver = &results.driver[peer];
	int64_t begun = now_s();
	static bool slow[SIZES_MAX][WORK_COUNT][PEER_COUNT];
	uint64_t wrong;
	json_t *answer;

	if (!driver->running || slow[size][work][peer])
		return;
	/* The machine is the same for all. */
	if (work == WORK_PAUSE && peer != PEER_FLAGSTORE)
		return;
	/* It would take as long once more, to find how long one of them takes at most. */
	if (work == WORK_LONGEST && slow[size][WORK_INSERT][peer])
		return;
	progress(size, work_entries[work].title, round, peer_entries[peer].name);
	answer = driver_do(driver, peer, work_entries[work].name, results.milliseconds);
	if (!answer) {
		failed = true;
		return;
	}
	/* What can't be done is not asked for again; what takes long neither. */
	slow[size][work][peer] = now_s() - begun >= SLOW_S || !json_is_true(json_object_get(answer, "possible"));
	wrong = (uint64_t)json_integer_value(json_object_get(answer, "wrong"));
	if (wrong)
		note("run: %s gave %" PRIu64 " wrong answers to %s with %" PRIu64 " flags", peer_entries[peer].name, wrong,
		     work_entries[work].name, results.flags[size]);
	results_add(&results, size, work, peer, answer);
}

static void one_round(size_t size, enum work work, unsigned round)
{
	for (int i = 0; i < PEER_COUNT && !stopped_by; i++)
		/* Another one begins each time. */
		ask(size, work, (enum peer_number)((i + (int)round) % PEER_COUNT), round);
}

/* Works that fill a table anew come first; the experiment, which leaves it otherwise than it was, comes last. */
static bool changes_table(enum work work)
{
	return work == WORK_INSERT || work == WORK_RESERVED || work == WORK_LONGEST || work == WORK_EXPERIMENT;
}

/* A table that is filled anew takes long, and tells more at once. */
static unsigned filling_rounds(void)
{
	return (results.rounds + 1) / 2;
}

static void all_rounds(size_t size)
{
	for (int work = 0; work < WORK_COUNT; work++) {
		for (unsigned round = 1; round <= filling_rounds() && changes_table((enum work)work); round++) {
			if (work != WORK_EXPERIMENT && is_worthwhile((enum work)work, results.flags[size]))
				one_round(size, (enum work)work, round);
		}
	}
	for (unsigned round = 1; round <= results.rounds; round++) {
		for (int work = 0; work < WORK_COUNT; work++) {
			if (!changes_table((enum work)work) && work != WORK_MEMORY && is_worthwhile((enum work)work, results.flags[size]))
				one_round(size, (enum work)work, round);
		}
	}
	for (unsigned round = 1; round <= filling_rounds() && is_worthwhile(WORK_EXPERIMENT, results.flags[size]); round++)
		one_round(size, WORK_EXPERIMENT, round);
}

/* ------------------------------------------------------------------------------------------------------ tables */

static uint64_t memory_free(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	char line[128];
	uint64_t kilobytes = 0;

	while (file && fgets(line, sizeof line, file))
		sscanf(line, "MemAvailable: %" SCNu64, &kilobytes);
	if (file)
		fclose(file);
	return kilobytes * 1024;
}

static bool make_keys(size_t size, size_t length)
{
	uint64_t flags = results.flags[size];
	struct keypack_keys keys;
	bool made;

	progress(size, "making the keys", 0, NULL);
	if (!keypack_invent(&keys, flags, flags < MISSING_MOST ? flags : MISSING_MOST, length)) {
		failure(STATUS_SYSTEM, "there is no memory for %" PRIu64 " keys", flags);
		return false;
	}
	made = keypack_write(keys_path, &keys);
	keypack_free(&keys);
	if (!made)
		failure_errno(STATUS_OUTPUT, "keys can't be written to %s", keys_path);
	return made;
}

static void start_all(size_t size)
{
	uint64_t flags = results.flags[size], most = memory_free() / 2 / (flags * BYTES_A_FLAG + 1), started = 0;

	for (int i = 0; i < PEER_COUNT && !stopped_by; i++) {
		struct driver *driver = &results.driver[i];
		enum peer_number peer = (enum peer_number)i;

		if (!driver->wanted || !driver_built(peer))
			continue;
		if (started >= most) {
			note("run: %s is left out with %" PRIu64 " flags: memory might not be enough for all", peer_entries[i].name, flags);
			continue;
		}
		progress(size, "starting", 0, peer_entries[i].name);
		if (!driver_start(driver, peer, keys_path, directory)) {
			failed = true;
			driver->wanted = false;
			driver_stop(driver, peer, directory);
		} else if ((uint64_t)json_integer_value(json_object_get(driver->introduction, "most")) < flags) {
			driver_stop(driver, peer, directory);
		} else {
			started++;
		}
	}
}

static void stop_all(void)
{
	for (int peer = 0; peer < PEER_COUNT; peer++)
		driver_stop(&results.driver[peer], (enum peer_number)peer, directory);
	unlink(keys_path);
}

static void measure_size(size_t size)
{
	if (!make_keys(size, 0)) {
		failed = true;
		return;
	}
	start_all(size);
	all_rounds(size);
	stop_all();
}

/* In processes that have done nothing else: what a table of their own takes is what they have grown by. */
static void measure_memory(size_t size)
{
	if (!is_worthwhile(WORK_MEMORY, results.flags[size]) || stopped_by)
		return;
	if (!make_keys(size, MEMORY_KEY)) {
		failed = true;
		return;
	}
	start_all(size);
	one_round(size, WORK_MEMORY, 1);
	stop_all();
}

/* ----------------------------------------------------------------------------------------------------- the rest */

static void on_signal(int number)
{
	stopped_by = number;
}

static bool make_directory(void)
{
	const char *parent = getenv("FLAGSTORE_DIR");

	snprintf(directory, sizeof directory - 8, "%s/flagstore-bench.XXXXXX", parent && *parent ? parent : "/dev/shm");
	if (!mkdtemp(directory)) {
		failure_errno(STATUS_CREATE, "directory %s can't be made", directory);
		return false;
	}
	snprintf(keys_path, sizeof keys_path, "%.*s/keys", PATH_MAX - 8, directory);
	return true;
}

static void name_missing(void)
{
	for (int peer = 0; peer < PEER_COUNT; peer++) {
		if (results.driver[peer].wanted && !driver_built((enum peer_number)peer))
			note("run: %s is left out: it has not been built; `./bootstrap bench' installs %s", peer_entries[peer].name,
			     *peer_entries[peer].packages ? peer_entries[peer].packages : "what it needs");
	}
}

static int write_files(void)
{
	json_t *document = results_json(&results);
	int status = STATUS_DONE;

	if (json_path && json_dump_file(document, json_path, JSON_INDENT(1)))
		status = failure_errno(STATUS_OUTPUT, "%s can't be written", json_path);
	if (svg_path && !plot_write(&results, svg_path))
		status = failure_errno(STATUS_OUTPUT, "%s can't be written", svg_path);
	if (json)
		output_json(document);
	else
		json_decref(document);
	return status;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	int status;

	setprogname("run");
	parse(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	if (!make_directory())
		return STATUS_CREATE;
	name_missing();
	for (size_t size = 0; size < results.sizes && !stopped_by; size++) {
		measure_size(size);
		measure_memory(size);
	}
	rmdir(directory);
	progress_gone();
	if (!json)
		table_print(&results);
	status = write_files();
	if (status == STATUS_DONE)
		status = output_flush();
	if (stopped_by)
		return 128 + stopped_by;
	if (status == STATUS_DONE && (failed || results_wrong(&results)))
		return STATUS_NO;
	return status;
}
