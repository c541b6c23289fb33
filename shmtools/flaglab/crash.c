/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaglab crash: writers are killed at any moment, and others take their places. What they had been told to be done must be there,
 * what they were doing must be done or not, and readers must not notice.
 *
 * The parent kills, buries and replaces. The successor itself compares what was changed last at its post with the
 * ledger. Once a second all writers stand still, and the parent compares everything. */
#include "crash.h"

#include <stdlib.h>

#include "auditor.h"
#include "clock.h"
#include "commands.h"
#include "crashlive.h"
#include "crashreport.h"
#include "inspect.h"
#include "reader.h"
#include "writer.h"

enum {
	QUIET_MS = 200,    /* readers are alone for so long before a run, for comparison; not so long before a short one */
	PAUSE_LIMIT_S = 3, /* how long writers may take to stand still; one may be waiting for a lock */
	SALVO_ONE_IN = 8,  /* kills that hit several at once */
	AGAIN_ONE_IN = 4,  /* replacements that are killed at once too, */
	AGAIN_WITHIN_US = 3000, /* at any moment from their start on, also while they recover what was left */
};

static uint64_t workers = 4, readers = 1, milliseconds = 10000, rate = 50, flags = 24000;

static const struct cli_option options[] = {
	CLI_NUMBER('w', "workers", "N", &workers, 1, LEDGER_POSTS_MAX, "how many processes write, and are killed (4)"),
	CLI_NUMBER(0, "readers", "N", &readers, 1, LEDGER_POSTS_MAX, "how many processes read (1)"),
	CLI_DURATION('s', "seconds", "TIME", NULL, &milliseconds, 100, 86400000, "how long (10)"),
	CLI_NUMBER('k', "kills", "N", &rate, 0, 1000, "how many are killed a second (50)"),
	CLI_NUMBER('f', "flags", "N", &flags, 100, 1000000, "how many flags each worker inserts and deletes (24000)"),
	CLI_OPTIONS_END,
};

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---------------------------------------------------------------------------------------------- processes */

static int be_writer(void *argument, uint32_t number)
{
	const struct crash *crash = argument;

	flagstore_close(crash->store);
	return writer_work(crash->name, crash->ledger, number);
}

static int be_reader(void *argument, uint32_t number)
{
	const struct crash *crash = argument;

	flagstore_close(crash->store);
	return reader_work(crash->name, crash->ledger, number);
}

static int start_writer(struct crash *crash, uint32_t number)
{
	struct ledger_post *post = &crash->ledger->post[number];

	atomic_store_explicit(&post->doing, DEED_ATTACHING, memory_order_relaxed);
	atomic_store_explicit(&post->parked, 0, memory_order_relaxed);
	atomic_store_explicit(&post->warm, 0, memory_order_relaxed);
	return crew_start(&crash->members[number], "flaglab-writer", be_writer, crash, number);
}

static int start_readers(struct crash *crash)
{
	int status = STATUS_DONE;

	for (uint32_t i = 0; i < crash->ledger->readers && !status; i++)
		status = crew_start(&crash_readers(crash)[i], "flaglab-reader", be_reader, crash, i);
	return status;
}

static size_t working(const struct crew_member *members, size_t count)
{
	size_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += members[i].state == CREW_WORKING;
	return sum;
}

static bool all_readers_work(const struct crash *crash)
{
	return working(crash_readers(crash), crash->ledger->readers) == crash->ledger->readers;
}

/* --------------------------------------------------------------------------------------- deaths and successors */

static enum deed last_deed(const struct ledger_post *post)
{
	enum deed deed = (enum deed)atomic_load_explicit(&post->doing, memory_order_relaxed);

	if (deed == DEED_BETWEEN && atomic_load_explicit(&post->plan.stage, memory_order_relaxed) == LEDGER_PLANNED)
		return post->plan.deed;
	return deed;
}

/* Only those who were killed as planned are replaced. */
static int bury(struct crash *crash, uint32_t number)
{
	struct crew_member *member = &crash->members[number];
	enum deed deed;

	if (member->state != CREW_KILLED)
		return STATUS_DONE;
	deed = last_deed(&crash->ledger->post[number]);
	crash->kills[deed]++;
	crashlive_killed(crash, number, deed);
	member->state = CREW_ABSENT;
	return start_writer(crash, number);
}

static int look_after(struct crash *crash)
{
	int status = STATUS_DONE;

	crew_reap(crash->members, crash_members(crash));
	for (uint32_t i = 0; i < crash->ledger->posts && !status; i++)
		status = bury(crash, i);
	return status;
}

/* Sleeps until the moment, or until somebody has ended; notes when the run is to be stopped. */
static int wait_and_look(struct crash *crash, int64_t until_ns)
{
	int number = crew_sleep_until(until_ns);

	if (number && !crash->stopped_by)
		crash->stopped_by = number;
	return look_after(crash);
}

/* ----------------------------------------------------------------------------------------------------- kills */

struct schedule {
	int64_t end, next_line, next_kill;
	int64_t again[LEDGER_POSTS_MAX]; /* when a replacement is killed too; INT64_MAX: not so soon */
	pid_t seen[LEDGER_POSTS_MAX];    /* the process at each post for which that has been decided */
};

static double chance(void)
{
	return ((double)arc4random() + 0.5) / 4294967296.0;
}

/* From a kill to the next: anything up to twice the mean, so that no rhythm of the writers is met again and again. */
static int64_t next_distance(void)
{
	return rate ? (int64_t)(2 * chance() * (double)SECOND / (double)rate) : INT64_MAX / 4;
}

static bool strike(struct crash *crash, uint32_t number)
{
	struct ledger_post *post = &crash->ledger->post[number];

	if (crash->members[number].state != CREW_WORKING || crash->members[number].killed)
		return false;
	if (!atomic_load_explicit(&post->killed_ns, memory_order_relaxed))
		atomic_store_explicit(&post->killed_ns, clock_now(), memory_order_relaxed);
	atomic_fetch_or_explicit(&crash->ledger->away, UINT64_C(1) << number, memory_order_relaxed);
	crew_kill(&crash->members[number]);
	return true;
}

static bool is_warm(const struct crash *crash, uint32_t number)
{
	return atomic_load_explicit(&crash->ledger->post[number].warm, memory_order_relaxed) >= LEDGER_WARM;
}

/* Kills one that is in full swing, now and then several at once. When none is there is no hurry: on a busy machine most kills
 * would meet nothing but processes that wait for a processor to begin. */
static void strike_some(struct crash *crash, struct schedule *schedule)
{
	uint32_t posts = crash->ledger->posts, first = arc4random_uniform(posts), wanted = 1, killed = 0;

	if (posts > 1 && arc4random_uniform(SALVO_ONE_IN) == 0)
		wanted = 2 + arc4random_uniform(posts - 1);
	for (uint32_t i = 0; i < posts && killed < wanted; i++)
		killed += is_warm(crash, (first + i) % posts) && strike(crash, (first + i) % posts);
	crash->salvos += killed > 1;
	for (uint32_t i = 0; i < killed; i++)
		schedule->next_kill += next_distance();
	if (killed == 0)
		schedule->next_kill = clock_now() + MILLISECOND / 2;
}

static void decide_again(const struct crash *crash, struct schedule *schedule, uint32_t number)
{
	const struct crew_member *member = &crash->members[number];
	bool first = schedule->seen[number] == 0;

	if (member->pid == schedule->seen[number])
		return;
	schedule->seen[number] = member->pid;
	schedule->again[number] = INT64_MAX;
	if (rate && !first && arc4random_uniform(AGAIN_ONE_IN) == 0)
		schedule->again[number] = clock_now() + 1000 * (int64_t)arc4random_uniform(AGAIN_WITHIN_US);
}

/* The next moment at which there is something to do. */
static int64_t plan_next(const struct crash *crash, struct schedule *schedule)
{
	int64_t next = earlier(schedule->end, earlier(schedule->next_line, schedule->next_kill));

	for (uint32_t i = 0; i < crash->ledger->posts; i++) {
		decide_again(crash, schedule, i);
		next = earlier(next, schedule->again[i]);
	}
	return next;
}

static void strike_due(struct crash *crash, struct schedule *schedule)
{
	int64_t now = clock_now();

	for (uint32_t i = 0; i < crash->ledger->posts; i++) {
		if (now < schedule->again[i])
			continue;
		schedule->again[i] = INT64_MAX;
		if (strike(crash, i)) {
			crash->again++;
			schedule->next_kill += next_distance();
		}
	}
	if (now >= schedule->next_kill)
		strike_some(crash, schedule);
	/* What could not be killed in time is not made up for. */
	if (schedule->next_kill < now)
		schedule->next_kill = now;
}

/* --------------------------------------------------------------------------------------------------- audits */

/* Posts whose process ended in a way nobody had planned are settled too. */
static int settle_left_posts(struct crash *crash)
{
	int error = FLAGSTORE_OK;

	for (uint32_t i = 0; i < crash->ledger->posts && !error; i++) {
		if (crash->members[i].state != CREW_WORKING)
			error = auditor_settle(crash->ledger, i, crash->store, &crash->ledger->finds);
	}
	return error;
}

/* While nobody writes. */
static int compare_all(struct crash *crash)
{
	int error = settle_left_posts(crash);

	for (uint32_t i = 0; i < crash->ledger->posts && !error; i++)
		auditor_compare(crash->ledger, i, crash->store, &crash->ledger->finds);
	return error ? error : auditor_compare_shared(crash->ledger, crash->store);
}

static bool all_stand_still(const struct crash *crash)
{
	const struct ledger *ledger = crash->ledger;
	uint32_t pause = atomic_load_explicit(&ledger->pause, memory_order_relaxed);

	for (uint32_t i = 0; i < ledger->posts; i++) {
		/* acquire: pairs with the release of a writer that stands still; what it has noted is seen */
		if (crash->members[i].state == CREW_WORKING &&
		    atomic_load_explicit(&ledger->post[i].parked, memory_order_acquire) != pause)
			return false;
	}
	return true;
}

static int pause_and_compare(struct crash *crash)
{
	struct ledger *ledger = crash->ledger;
	int64_t limit = clock_now() + PAUSE_LIMIT_S * SECOND;
	int status = STATUS_DONE, error = FLAGSTORE_OK;

	atomic_fetch_add_explicit(&ledger->pause, 1, memory_order_relaxed);
	muster_set(&ledger->muster, PHASE_PAUSE);
	while (!status && !all_stand_still(crash) && clock_now() < limit)
		status = wait_and_look(crash, clock_now() + MILLISECOND / 2);
	if (!status && all_stand_still(crash)) {
		crash->pauses++;
		error = compare_all(crash);
	} else {
		crash->missed_pauses++;
	}
	muster_set(&ledger->muster, PHASE_RUN);
	return error ? failure_of_library(error) : status;
}

/* ------------------------------------------------------------------------------------------------ the run */

/* Nothing can be killed any more without writers, and nothing seen without readers. */
static bool goes_on(const struct crash *crash)
{
	return !crash->stopped_by && working(crash->members, crash->ledger->posts) > 0 && all_readers_work(crash);
}

static int conduct(struct crash *crash)
{
	struct schedule schedule = {
		.end = crash->begun_ns + (int64_t)milliseconds * MILLISECOND,
		.next_line = crash->begun_ns + SECOND,
		.next_kill = crash->begun_ns + next_distance(),
	};
	int status = STATUS_DONE;

	muster_set(&crash->ledger->muster, PHASE_RUN);
	for (uint32_t i = 0; i < crash->ledger->posts && !status; i++)
		status = start_writer(crash, i);
	while (!status && clock_now() < schedule.end && goes_on(crash)) {
		status = wait_and_look(crash, plan_next(crash, &schedule));
		if (status)
			break;
		strike_due(crash, &schedule);
		if (clock_now() >= schedule.next_line) {
			status = pause_and_compare(crash);
			crashlive_line(crash);
			schedule.next_line += SECOND;
		}
	}
	return status;
}

/* Readers attach, and then read alone for a while. Returns whether all do. */
static bool begin_quietly(struct crash *crash)
{
	int64_t end;

	while (muster_ready(&crash->ledger->muster) < crash->ledger->readers) {
		wait_and_look(crash, clock_now() + MILLISECOND);
		if (!all_readers_work(crash) || crash->stopped_by)
			return false;
	}
	muster_set(&crash->ledger->muster, PHASE_QUIET);
	end = clock_now() + earlier(QUIET_MS, (int64_t)milliseconds / 5) * MILLISECOND;
	while (clock_now() < end && all_readers_work(crash) && !crash->stopped_by)
		wait_and_look(crash, end);
	return all_readers_work(crash) && !crash->stopped_by;
}

/* Lets all end in order. Those that have not died yet of the last kills do so now; they are not replaced. */
static void dismiss(struct crash *crash)
{
	int number;

	muster_set(&crash->ledger->muster, PHASE_STOP);
	number = crew_dismiss(crash->members, crash_members(crash));
	if (number && !crash->stopped_by)
		crash->stopped_by = number;
	for (uint32_t i = 0; i < crash->ledger->posts; i++) {
		if (crash->members[i].state == CREW_KILLED)
			crash->kills[last_deed(&crash->ledger->post[i])]++;
	}
	for (size_t i = 0; i < crash_members(crash); i++)
		crash->died += crash->members[i].state == CREW_DIED;
}

/* ------------------------------------------------------------------------------------------------- the verdict */

/* Nobody of the laboratory has touched the segment's own flags. One with another version has been changed by somebody else. */
static void judge_flags(const struct crash *crash, struct crash_verdict *verdict)
{
	const struct catalog *catalog = &crash->catalog;

	for (size_t i = 0; i < catalog->count; i++) {
		const struct flagstore_flag *before = &catalog->flags[i];
		struct flagstore_flag now;

		flagstore_lookup_n(crash->store, catalog->keys[i], catalog->lengths[i], &now);
		if (!now.exists || now.version != before->version)
			verdict->disturbed++;
		else if (now.value != before->value)
			verdict->damaged++;
	}
}

/* The check comes before the flags are deleted, while there is most to be checked, and once more behind that. */
static int judge(struct crash *crash, struct crash_verdict *verdict)
{
	struct flagstore_info info;
	int error = compare_all(crash);

	*verdict = (struct crash_verdict){0};
	if (!error)
		error = inspect_segment(crash->store, crash->name, &verdict->findings);
	if (!error)
		error = auditor_clean(crash->ledger, crash->store);
	if (!error && verdict->findings == 0)
		error = inspect_segment(crash->store, crash->name, &verdict->findings);
	if (!error)
		error = flagstore_info(crash->store, &info);
	if (error)
		return failure_of_library(error);
	judge_flags(crash, verdict);
	verdict->total = ledger_total(crash->ledger);
	verdict->recoveries = info.recoveries - crash->recoveries_before;
	verdict->growths = info.growths - crash->growths_before;
	verdict->healthy = verdict->total.lost == 0 && verdict->total.half == 0 && verdict->total.wrong == 0 &&
	                   verdict->damaged == 0 && crash->died == 0 && verdict->findings == 0;
	return STATUS_DONE;
}

static int perform(struct crash *crash)
{
	int status = start_readers(crash);

	if (!status && begin_quietly(crash)) {
		crash->begun_ns = clock_now();
		crashlive_begin(crash, milliseconds);
		status = conduct(crash);
		crash->ended_ns = clock_now();
		crashlive_end();
	}
	dismiss(crash);
	return status;
}

static int experiment(struct crash *crash)
{
	struct crash_verdict verdict;
	int error, status;

	crew_prepare();
	error = auditor_prepare(crash->ledger, crash->store);
	status = error ? failure_of_library(error) : perform(crash);
	if (!status)
		status = judge(crash, &verdict);
	if (status) {
		auditor_clean(crash->ledger, crash->store);
		return status;
	}
	crashreport(crash, &verdict);
	if (crash->stopped_by)
		return 128 + crash->stopped_by;
	return verdict.healthy ? STATUS_DONE : STATUS_NO;
}

static int set_up(struct crash *crash)
{
	struct flagstore_info info;
	int error, status = catalog_open(&crash->catalog, crash->store);

	if (status)
		return status;
	error = flagstore_info(crash->store, &info);
	if (error)
		return failure_of_library(error);
	crash->recoveries_before = info.recoveries;
	crash->growths_before = info.growths;
	crash->ledger = ledger_open((uint32_t)workers, (uint32_t)readers, (uint32_t)flags);
	crash->members = calloc(crash_members(crash), sizeof *crash->members);
	if (!crash->members)
		failure_memory();
	return STATUS_DONE;
}

static int run(int count, char **operands)
{
	struct crash crash = {.name = operands[0], .rate = rate};
	int error, status;

	(void)count;
	error = flagstore_attach(crash.name, NULL, &crash.store);
	if (error)
		return failure_of_library(error);
	status = set_up(&crash);
	if (status == STATUS_DONE)
		status = experiment(&crash);
	free(crash.members);
	if (crash.ledger)
		ledger_close(crash.ledger);
	catalog_close(&crash.catalog);
	flagstore_close(crash.store);
	return status;
}

const struct cli_command command_crash = {
	.name = "crash",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "kill worker processes in the middle of writes, and see that nothing is lost",
	.options = options,
	.run = run,
};
