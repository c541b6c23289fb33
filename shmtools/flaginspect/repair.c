/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect repair: the only command that writes to the segment.
 *
 * All locks are taken. Then the repair is tried in a private copy: what stands in slots that can't be believed goes into a file before
 * anything is touched. Then it is done in the segment, the locks are given back, and the segment is checked. Writers without the lock may
 * break slots between the two, or change them again: what is given up then and is not yet in the file is written there first. A dry run is
 * the trial alone, without the locks: beside workers, what is in the middle of a change looks damaged to it. */
#include "repair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "commands.h"
#include "keytext.h"
#include "output.h"
#include "source.h"

static bool dry_run;
static const char *quarantine_file;

enum {
	KINDS = FS_REPAIR_NO_ROOM + 1,
};

static const char *const kinds[KINDS] = {"fixed", "sealed", "moved", "dropped", "quarantined", "no-room"};

/* The file for what is given up. It is made when the first of it comes. */
struct quarantine {
	const struct source *source;
	json_t *kept; /* what is in it, or will be before anything is touched, by place, bytes and key */
	FILE *stream;
	char path[PATH_MAX];
	bool repairing;
	int status;
};

/* What was done, or would be. Collected, since the locks are held meanwhile. */
struct doings {
	json_t *list;
	json_t *lost_keys, *lost_slots;
	uint64_t count[KINDS];
	struct quarantine *quarantine;
};

/* -------------------------------------------------------------------------------------------------- quarantine */

static bool fail_quarantine(struct quarantine *quarantine, enum status status)
{
	quarantine->status = failure_errno(status, "%s can't be %s for what can't be believed; %s", quarantine->path,
	                                   status == STATUS_CREATE ? "created" : "written",
	                                   quarantine->repairing ? "that stays where it is" : "the table is as it was");
	return false;
}

/* Evidence is never overwritten: the name gets a number. */
static bool open_quarantine(struct quarantine *quarantine)
{
	const char *slash = strrchr(quarantine->source->store->path, '/'), *name = slash ? slash + 1 : quarantine->source->store->path;
	int file;

	if (quarantine_file)
		snprintf(quarantine->path, sizeof quarantine->path, "%s", quarantine_file);
	else
		snprintf(quarantine->path, sizeof quarantine->path, "%.255s.quarantine", name);
	file = open(quarantine->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	for (int i = 1; file < 0 && errno == EEXIST && !quarantine_file && i < 10000; i++) {
		snprintf(quarantine->path, sizeof quarantine->path, "%.255s.quarantine.%d", name, i);
		file = open(quarantine->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	}
	quarantine->stream = file < 0 ? NULL : fdopen(file, "w");
	return quarantine->stream || fail_quarantine(quarantine, STATUS_CREATE);
}

static bool write_line(struct quarantine *quarantine, json_t *item)
{
	if (!quarantine->stream && !open_quarantine(quarantine))
		return false;
	json_dumpf(item, quarantine->stream, JSON_COMPACT);
	fputc('\n', quarantine->stream);
	return true;
}

/* Writers wait meanwhile, so the disk is not waited for: what the kernel has survives us. */
static bool flush_quarantine(struct quarantine *quarantine)
{
	return !quarantine->stream || (fflush(quarantine->stream) == 0 && !ferror(quarantine->stream)) || fail_quarantine(quarantine, STATUS_OUTPUT);
}

static bool write_all(struct quarantine *quarantine)
{
	const char *name;
	json_t *item;

	json_object_foreach(quarantine->kept, name, item)
		if (!write_line(quarantine, item))
			return false;
	return flush_quarantine(quarantine);
}

/* The trial only collects. The real run must not go on before what is new is safe. */
static bool keep(struct quarantine *quarantine, json_t *item)
{
	const char *key = json_string_value(json_object_get(item, "key"));
	char name[sizeof(struct keytext) + 2 * FS_LINE + 32];

	snprintf(name, sizeof name, "%" JSON_INTEGER_FORMAT " %s %s", json_integer_value(json_object_get(item, "offset")),
	         json_string_value(json_object_get(item, "bytes")), key ? key : "");
	if (json_object_get(quarantine->kept, name))
		return true;
	if (quarantine->repairing && (quarantine->status || !write_line(quarantine, item) || !flush_quarantine(quarantine)))
		return false;
	if (json_object_set(quarantine->kept, name, item) != 0)
		failure_memory();
	return true;
}

static int close_quarantine(struct quarantine *quarantine)
{
	int status = STATUS_DONE;

	json_decref(quarantine->kept);
	if (!quarantine->stream)
		return STATUS_DONE;
	if (fsync(fileno(quarantine->stream)) != 0 && errno != EINVAL)
		status = failure_errno(STATUS_OUTPUT, "%s can't be written to its end", quarantine->path);
	fclose(quarantine->stream);
	return status;
}

/* ------------------------------------------------------------------------------------------------------- noting */

static void begin(struct doings *doings, struct quarantine *quarantine)
{
	*doings = (struct doings){.list = json_array(), .lost_keys = json_array(), .lost_slots = json_array(), .quarantine = quarantine};
	if (!doings->list || !doings->lost_keys || !doings->lost_slots || !quarantine->kept)
		failure_memory();
}

static void end(struct doings *doings)
{
	json_decref(doings->list);
	json_decref(doings->lost_keys);
	json_decref(doings->lost_slots);
}

static bool gives_up(enum fs_repair_kind kind)
{
	return kind == FS_REPAIR_QUARANTINE || kind == FS_REPAIR_DROPPED || kind == FS_REPAIR_NO_ROOM;
}

static bool note(const struct fs_repair_done *done, void *argument)
{
	struct doings *doings = argument;
	json_t *item = json_pack("{s:s, s:o, s:I, s:s, s:o, s:o}", "what", kinds[done->kind], "shard",
	                         done->shard == UINT32_MAX ? json_null() : json_integer(done->shard), "offset", (json_int_t)done->offset, "text",
	                         done->text, "key", done->key ? json_string(keytext_encode(done->key, done->length).text) : json_null(), "value",
	                         done->key ? json_boolean(done->value) : json_null());
	char bytes[2 * FS_LINE + 1];
	json_t *evidence;
	bool kept = true;

	if (!item)
		failure_memory();
	if (done->bytes && gives_up(done->kind)) {
		for (size_t i = 0; i < FS_LINE; i++)
			snprintf(bytes + 2 * i, 3, "%02x", done->bytes[i]);
		evidence = json_copy(item);
		if (!evidence || json_object_set_new(evidence, "bytes", json_string(bytes)) != 0)
			failure_memory();
		kept = keep(doings->quarantine, evidence);
		json_decref(evidence);
	}
	/* What could not be kept was not done. */
	if (kept) {
		doings->count[done->kind]++;
		if (json_array_append(doings->list, item) != 0)
			failure_memory();
	}
	json_decref(item);
	return kept;
}

/* ------------------------------------------------------------------------------------------------------ report */

static void print_doing(json_t *item)
{
	const char *key = json_string_value(json_object_get(item, "key"));
	json_t *shard = json_object_get(item, "shard");

	printf("%s:", json_string_value(json_object_get(item, "what")));
	if (!json_is_null(shard))
		printf(" shard %" JSON_INTEGER_FORMAT ",", json_integer_value(shard));
	printf(" offset %#" PRIx64 ": %s", (uint64_t)json_integer_value(json_object_get(item, "offset")),
	       json_string_value(json_object_get(item, "text")));
	if (key)
		printf("; key %s, %s", key, json_is_true(json_object_get(item, "value")) ? "true" : "false");
	putchar('\n');
}

static void print_losses(const struct doings *doings)
{
	json_t *item;
	size_t i;

	json_array_foreach(doings->lost_keys, i, item)
		printf("lost key: %s\n", json_string_value(item));
	json_array_foreach(doings->lost_slots, i, item)
		printf("lost slot: offset %#" PRIx64 ", no key is readable in it\n", (uint64_t)json_integer_value(item));
}

static void print_result(const struct doings *doings, const char *path, uint64_t findings)
{
	json_t *totals, *item;
	size_t i;

	if (cli_json) {
		totals = json_object();
		for (i = 0; i < KINDS; i++)
			json_object_set_new(totals, kinds[i], json_integer((json_int_t)doings->count[i]));
		output_json(json_pack("{s:b, s:O, s:o, s:O, s:O, s:o, s:I}", "dry_run", (int)dry_run, "done", doings->list, "by_kind", totals, "lost_keys",
		                      doings->lost_keys, "lost_slots", doings->lost_slots, "quarantine", *path ? output_text(path) : json_null(),
		                      "findings_left", (json_int_t)findings));
		return;
	}
	json_array_foreach(doings->list, i, item)
		print_doing(item);
	print_losses(doings);
	for (i = 0; i < KINDS; i++)
		printf("%s%" PRIu64 " %s", i ? ", " : dry_run ? "would be: " : "", doings->count[i], kinds[i]);
	printf("; lost: %zu keys, %zu slots without a readable key; %" PRIu64 " findings %s\n", json_array_size(doings->lost_keys),
	       json_array_size(doings->lost_slots), findings, dry_run ? "would be left" : "left");
	if (*path)
		printf("what was in slots that are given up is in %s\n", path);
}

/* -------------------------------------------------------------------------------------------------------- work */

/* Puts the constants right in the file, so that one can attach. Workers that are attached have their own copy of them. */
static int mend_constants(const struct source *source)
{
	int file = open(source->store->path, O_WRONLY | O_CLOEXEC);
	ssize_t written = file < 0 ? -1 : pwrite(file, &source->store->constants, sizeof source->store->constants, 0);

	if (file >= 0)
		close(file);
	if (written != (ssize_t)sizeof source->store->constants)
		return failure_errno(STATUS_DENIED, "the header of %s can't be written", source->store->path);
	return STATUS_DONE;
}

/* The segment's state is the one thing besides the constants that keeps a writer from attaching. */
static int mend_state(const struct source *source)
{
	const struct fs_header *header = (const void *)source->store->map;
	uint32_t state = atomic_load_explicit(&header->state, memory_order_relaxed), ready = FS_READY;
	int file, status = STATUS_DONE;

	if (state <= FS_RETIRED && state != FS_CREATING)
		return STATUS_DONE;
	file = open(source->store->path, O_WRONLY | O_CLOEXEC);
	if (file < 0 || pwrite(file, &ready, sizeof ready, offsetof(struct fs_header, state)) != sizeof ready)
		status = failure_errno(STATUS_DENIED, "the header of %s can't be written", source->store->path);
	if (file >= 0)
		close(file);
	return status;
}

/* Of what was given up: keys that nobody will find any more, and slots of which nobody can tell whose they were. The key of a slot that
 * can't be believed is what stands there, right or wrong; if a flag of that key exists, it is that flag that readers found, and nothing is lost. */
static void note_losses(const flagstore *store, struct doings *doings)
{
	json_t *item;
	size_t i;

	json_array_foreach(doings->list, i, item) {
		const char *what = json_string_value(json_object_get(item, "what"));
		json_t *text = json_object_get(item, "key");
		struct flagstore_flag flag;
		struct key key;

		if (strcmp(what, kinds[FS_REPAIR_QUARANTINE]) != 0 && strcmp(what, kinds[FS_REPAIR_NO_ROOM]) != 0)
			continue;
		if (!json_is_string(text) || keytext_decode(json_string_value(text), json_string_length(text), &key))
			json_array_append(doings->lost_slots, json_object_get(item, "offset"));
		else if (flagstore_lookup_n(store, key.bytes, key.length, &flag) == FLAGSTORE_ENOTFOUND)
			json_array_append(doings->lost_keys, text);
	}
}

static int attach_writer(const struct source *source, flagstore **store)
{
	char *path = realpath(source->store->path, NULL);
	int error, status = source->mended ? mend_constants(source) : STATUS_DONE;

	if (!path)
		failure_memory();
	if (!status)
		status = mend_state(source);
	if (!status) {
		error = flagstore_attach(path, NULL, store);
		status = error ? failure_of_library(error) : STATUS_DONE;
	}
	free(path);
	return status;
}

/* With all locks: what the trial gives up, and what was broken since, is kept before it is given up in the segment. */
static int repair_locked(struct source *source, flagstore *store, struct doings *doings)
{
	struct quarantine *quarantine = doings->quarantine;
	struct doings trial;
	int error = source_make_private(source), status = STATUS_DONE;

	begin(&trial, quarantine);
	if (!error)
		error = fs_repair(source->store, note, &trial);
	if (error)
		status = failure_of_library(error);
	else if (!write_all(quarantine))
		status = quarantine->status;
	end(&trial);
	if (status)
		return status;
	quarantine->repairing = true;
	error = fs_repair(store, note, doings);
	note_losses(store, doings);
	return quarantine->status ? quarantine->status : error ? failure_of_library(error) : STATUS_DONE;
}

static int repair_segment(struct source *source, struct doings *doings, uint64_t *findings)
{
	flagstore *store;
	int error, check_error, status = attach_writer(source, &store);

	if (status)
		return status;
	error = fs_repair_begin(store);
	if (error) {
		status = failure_of_library(error);
	} else {
		status = repair_locked(source, store, doings);
		fs_repair_end(store);
	}
	if (!status || doings->quarantine->repairing) {
		check_error = flagstore_check(store, NULL, NULL, findings, NULL);
		if (!status && check_error)
			status = failure_of_library(check_error);
	}
	flagstore_close(store);
	return status;
}

static int repair_copy(struct source *source, struct doings *doings, uint64_t *findings)
{
	const struct fs_checking how = {.still = true};
	int error = source_make_private(source);

	if (!error) {
		fs_repair_recover(source->store);
		error = fs_repair(source->store, note, doings);
		note_losses(source->store, doings);
	}
	/* As if nobody could write to it: a check that takes no lock. */
	source->store->write_map = NULL;
	if (!error)
		error = fs_check(source->store, &how, NULL, NULL, findings, NULL);
	return error ? failure_of_library(error) : STATUS_DONE;
}

static int repair(struct source *source)
{
	struct quarantine quarantine = {.source = source, .kept = json_object()};
	struct doings doings;
	uint64_t findings = 0;
	int status, closed;

	if (!source->table || (*source->damage && !source->mended))
		return failure(STATUS_UNUSABLE, "%s can't be repaired: %s. Save what can be read: `flaginspect dump %s'", source->store->path, source->damage,
		               source->store->path);
	begin(&doings, &quarantine);
	status = dry_run ? repair_copy(source, &doings, &findings) : repair_segment(source, &doings, &findings);
	closed = close_quarantine(&quarantine);
	if (!status || quarantine.repairing)
		print_result(&doings, quarantine.path, findings);
	if (!status)
		status = closed;
	if (!status && (findings || doings.count[FS_REPAIR_NO_ROOM] || doings.count[FS_REPAIR_QUARANTINE]))
		status = STATUS_NO;
	end(&doings);
	return status;
}

static int run(int count, char **operands)
{
	struct source source;
	int status = source_open(operands[0], &source);

	(void)count;
	if (status)
		return status;
	if (source.table && (!*source.damage || source.mended))
		status = repair(&source);
	else
		status = failure(STATUS_UNUSABLE, "%s can't be repaired: %s. Save what can be read: `flaginspect dump %s'", source.store->path,
		                 source.damage, source.store->path);
	source_close(&source);
	return status;
}

static const struct cli_option options[] = {
	CLI_SWITCH('n', "dry-run", &dry_run, "change nothing, print what would be done"),
	CLI_TEXT('q', "quarantine", "FILE", &quarantine_file, "where what can't be believed is kept (./flagstore.NAME.quarantine)"),
	CLI_OPTIONS_END,
};

const struct cli_command command_repair = {
	.name = "repair",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "make a damaged segment sound again while workers go on",
	.options = options,
	.run = run,
};
