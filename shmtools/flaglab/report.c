/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * report.c: the closing table. Only reads what the run has left. */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>

#include "cli.h"
#include "clock.h"
#include "columns.h"
#include "figures.h"
#include "output.h"
#include "quantity.h"

struct text {
	char text[80];
};

static const struct {
	const char *name;
	double share;
} delay_quantiles[] = {{"p50", 0.50}, {"p99", 0.99}};

static int64_t worked_ns(const struct board_worker *worker)
{
	int64_t begun = atomic_load(&worker->begun_ns), noted = atomic_load(&worker->noted_ns);

	return noted > begun ? noted - begun : 0;
}

static double end_seconds(const struct lab *lab, const struct crew_member *member)
{
	return lab->begun_ns ? (double)(member->ended_ns - lab->begun_ns) / (double)SECOND : 0;
}

static const char *state_name(const struct crew_member *member)
{
	switch (member->state) {
	case CREW_KILLED:
		return "killed";
	case CREW_DIED:
		return "died";
	default:
		return "ended";
	}
}

static enum activity last_activity(const struct lab *lab, uint32_t worker)
{
	return (enum activity)atomic_load(&lab->board->worker[worker].activity);
}

static struct text death_text(const struct lab *lab, const struct crew_member *member)
{
	struct text result;
	int status = member->wait_status;

	if (WIFSIGNALED(status))
		snprintf(result.text, sizeof result.text, "died at %.1f s by signal %d", end_seconds(lab, member), WTERMSIG(status));
	else
		snprintf(result.text, sizeof result.text, "died at %.1f s with status %d", end_seconds(lab, member),
		         WEXITSTATUS(status));
	return result;
}

static struct text state_text(const struct lab *lab, uint32_t worker)
{
	const struct crew_member *member = &lab->members[worker];
	struct text result = {"ran to the end"};

	if (member->state == CREW_DIED)
		return death_text(lab, member);
	if (member->state == CREW_KILLED)
		snprintf(result.text, sizeof result.text, "killed at %.1f s, %s", end_seconds(lab, member),
		         activity_text(last_activity(lab, worker)));
	return result;
}

/* ---------------------------------------------------------------------------------------------------- text */

static void add_row(struct columns *table, const struct lab *lab, uint32_t number)
{
	const struct board_worker *worker = &lab->board->worker[number];
	int64_t ns = worked_ns(worker);
	struct quantity read_ns[READ_KIND_COUNT];
	char title[16], pid[16];

	for (enum read_kind kind = 0; kind < READ_KIND_COUNT; kind++)
		read_ns[kind] = ns_text(ns_for_read(worker, kind));
	snprintf(title, sizeof title, "%" PRIu32, number + 1);
	snprintf(pid, sizeof pid, "%d", (int)lab->members[number].pid);
	columns_row(table, title, pid, rate_text(board_all_reads(worker), ns).text, read_ns[READ_POINT].text,
	            read_ns[READ_HANDLE].text, read_ns[READ_BATCH].text, read_ns[READ_LOOKUP].text,
	            rate_text(atomic_load(&worker->writes), ns).text, count_text(atomic_load(&worker->seen)).text,
	            state_text(lab, number).text);
}

static void print_table(const struct lab *lab)
{
	static const struct column layout[] = {
		{"WORKER", COLUMN_RIGHT},
		{"PID", COLUMN_RIGHT},
		{"READS/S", COLUMN_RIGHT},
#define KIND_COLUMN(name, text, title) {title, COLUMN_RIGHT},
		READ_KINDS(KIND_COLUMN)
#undef KIND_COLUMN
		{"WRITES/S", COLUMN_RIGHT},
		{"FLIPS", COLUMN_RIGHT},
		{"STATE", COLUMN_LEFT},
	};
	struct columns *table = columns_open(layout, sizeof layout / sizeof *layout);

	for (uint32_t i = 0; i < lab->workers; i++)
		add_row(table, lab, i);
	columns_print(table, stdout);
	columns_close(table);
	printf("POINT to LOOKUP: nanoseconds for one read of that kind; FLIPS: flips seen\n\n");
}

static void print_flips(const struct lab *lab, const struct verdict *verdict)
{
	const struct histogram *delays = &lab->board->delays;

	figures_line("flips", "%s in %.1f s by process %d", count_text(verdict->flips).text,
	           (double)(lab->ended_ns - lab->begun_ns) / (double)SECOND, (int)lab_flipper(lab)->pid);
	if (lab_flipper(lab)->state == CREW_DIED)
		figures_line("flipper", "%s", death_text(lab, lab_flipper(lab)).text);
	if (histogram_count(delays))
		figures_line("seen by all", "p50 %s, p99 %s, max %s after the flip",
		           duration_text(histogram_quantile(delays, 0.50)).text,
		           duration_text(histogram_quantile(delays, 0.99)).text, duration_text(histogram_most(delays)).text);
	if (verdict->unseen)
		figures_line("never seen", "%s flips, by a worker that ran to the end", count_text(verdict->unseen).text);
}

static void print_text(const struct lab *lab, const struct verdict *verdict)
{
	print_table(lab);
	print_flips(lab, verdict);
	figures_line("wrong answers", "%s", count_text(verdict->wrong).text);
	if (verdict->refused)
		figures_line("refused", "%s writes, for lack of room or of a lock in time", count_text(verdict->refused).text);
	if (verdict->disturbed)
		figures_line("disturbed", "%s flags, changed by somebody else; they are left so", count_text(verdict->disturbed).text);
	figures_line("recoveries", "%s, of what killed writers left behind", count_text(verdict->recoveries).text);
	figures_line("flags", "%s", verdict->restored ? "set back to what they were" : "left as the last flips made them");
	figures_line("check", "%s findings in the whole segment", count_text(verdict->findings).text);
	printf("\n%s\n", verdict->healthy ? "healthy" : "unhealthy");
}

/* ---------------------------------------------------------------------------------------------------- JSON */

static json_t *ns_json(double ns)
{
	return ns > 0 ? json_real(ns) : json_null();
}

static json_t *read_ns_json(const struct board_worker *worker)
{
	static const char *const names[] = {
#define KIND_NAME(name, text, title) [READ_##name] = (text),
		READ_KINDS(KIND_NAME)
#undef KIND_NAME
	};
	json_t *object = json_object();

	for (enum read_kind kind = 0; kind < READ_KIND_COUNT; kind++)
		json_object_set_new(object, names[kind], ns_json(ns_for_read(worker, kind)));
	return object;
}

static json_t *worker_json(const struct lab *lab, uint32_t number)
{
	const struct board_worker *worker = &lab->board->worker[number];
	const struct crew_member *member = &lab->members[number];
	uint64_t reads = board_all_reads(worker), writes = atomic_load(&worker->writes);
	int64_t ns = worked_ns(worker);
	json_t *object = json_pack("{s:I, s:i, s:I, s:f, s:o, s:I, s:f, s:I, s:s, s:f}", "worker", (json_int_t)number + 1, "pid",
	                           (int)member->pid, "reads", (json_int_t)reads, "reads_per_second", rate_of(reads, ns),
	                           "ns_per_read", read_ns_json(worker), "writes", (json_int_t)writes, "writes_per_second",
	                           rate_of(writes, ns), "flips_seen", (json_int_t)atomic_load(&worker->seen), "state",
	                           state_name(member), "ended_after_s", end_seconds(lab, member));

	if (object && member->state != CREW_ENDED)
		json_object_set_new(object, "while", json_string(activity_text(last_activity(lab, number))));
	return object;
}

static json_t *delays_json(const struct histogram *delays)
{
	json_t *object = json_object();

	if (!histogram_count(delays)) {
		json_decref(object);
		return json_null();
	}
	for (size_t i = 0; i < sizeof delay_quantiles / sizeof *delay_quantiles; i++)
		json_object_set_new(object, delay_quantiles[i].name,
		                    json_integer((json_int_t)histogram_quantile(delays, delay_quantiles[i].share)));
	json_object_set_new(object, "max", json_integer((json_int_t)histogram_most(delays)));
	return object;
}

static void print_json(const struct lab *lab, const struct verdict *verdict)
{
	json_t *workers = json_array();

	for (uint32_t i = 0; i < lab->workers; i++)
		json_array_append_new(workers, worker_json(lab, i));
	output_json(json_pack(
		"{s:s, s:I, s:f, s:o, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:b, s:I, s:b}", "segment", lab->name, "flags",
		(json_int_t)lab->catalog.count, "seconds", (double)(lab->ended_ns - lab->begun_ns) / (double)SECOND, "workers", workers,
		"flips", (json_int_t)verdict->flips, "flips_unseen", (json_int_t)verdict->unseen, "flip_seen_by_all_ns",
		delays_json(&lab->board->delays), "wrong_answers", (json_int_t)verdict->wrong, "refused_writes",
		(json_int_t)verdict->refused, "changed_by_others", (json_int_t)verdict->disturbed, "recoveries",
		(json_int_t)verdict->recoveries, "restored", (int)verdict->restored, "findings", (json_int_t)verdict->findings,
		"healthy", (int)verdict->healthy));
}

void report(const struct lab *lab, const struct verdict *verdict)
{
	if (cli_json)
		print_json(lab, verdict);
	else
		print_text(lab, verdict);
}
