/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * watch.c: changes of all flags, one after the other. A watch keeps, for each shard, its flags as they were when it last looked, sorted by
 * key. It wishes to be woken by the next change anywhere, looks again at the shards that have changed, and tells the
 * differences. */
#include <errno.h>
#include <stdlib.h>

#include "cursor.h"
#include "error.h"
#include "fence.h"
#include "futex.h"
#include "key.h"
#include "sigbus.h"
#include "wait.h"

/* How often a read-only attached store, which nobody can wake, looks at everything. */
#define POLL_NS 50000000

/* How often the others do: a writer that was killed between its change and the wake-up has told nobody. */
#define DOUBT_NS 5000000000

struct seen {
	size_t key; /* in the picture's text */
	size_t length;
	struct flagstore_flag flag;
};

/* A shard's flags at some time. */
struct picture {
	struct seen *flags;
	char *text;
	size_t count, room, text_length, text_room;
};

struct flagstore_watch {
	flagstore *store;
	flagstore_cursor *cursor;
	struct picture *pictures; /* by shard */
	uint32_t *changed;        /* by shard: its number of changes when the picture was taken */
	uint64_t doubt_ns;        /* when every shard is looked at, whatever its number says */
	/* the differences being told: between old and pictures[shard] */
	struct picture old;
	uint32_t shard;
	bool doubtful; /* this round looks at every shard */
	size_t next_old, next_new;
};

static void drop(struct picture *picture)
{
	free(picture->flags);
	free(picture->text);
	*picture = (struct picture){0};
}

static bool remember(struct picture *picture, const struct flagstore_entry *entry)
{
	if (picture->count == picture->room) {
		size_t room = picture->room ? picture->room * 2 : 64;
		struct seen *flags = realloc(picture->flags, room * sizeof *flags);

		if (!flags)
			return false;
		picture->flags = flags;
		picture->room = room;
	}
	if (picture->text_room - picture->text_length <= entry->length) {
		size_t room = (picture->text_room + entry->length + 1) * 2;
		char *text = realloc(picture->text, room);

		if (!text)
			return false;
		picture->text = text;
		picture->text_room = room;
	}
	memcpy(picture->text + picture->text_length, entry->key, entry->length + 1);
	picture->flags[picture->count++] = (struct seen){picture->text_length, entry->length, entry->flag};
	picture->text_length += entry->length + 1;
	return true;
}

static int compare_keys(const char *a, size_t a_length, const char *b, size_t b_length)
{
	int order = memcmp(a, b, a_length < b_length ? a_length : b_length);

	return order ? order : a_length < b_length ? -1 : a_length > b_length;
}

static int compare_seen(const void *left, const void *right, void *text)
{
	const struct seen *a = left, *b = right;

	return compare_keys((char *)text + a->key, a->length, (char *)text + b->key, b->length);
}

static int take_picture(flagstore_watch *watch, uint32_t shard, struct picture *picture)
{
	struct flagstore_entry entry;
	int error;

	*picture = (struct picture){0};
	fs_cursor_rewind(watch->cursor, shard, shard);
	while ((error = flagstore_cursor_next(watch->cursor, &entry)) != FLAGSTORE_ENOTFOUND) {
		/* What can't be walked is watched no more than it is listed. */
		if (error == FLAGSTORE_ETRUNCATED)
			break;
		if (error)
			continue;
		if (!remember(picture, &entry)) {
			drop(picture);
			return fs_fail(FLAGSTORE_ENOMEMORY, "there is no memory to watch the flags of shard %u", shard);
		}
	}
	if (picture->count)
		qsort_r(picture->flags, picture->count, sizeof *picture->flags, compare_seen, picture->text);
	return FLAGSTORE_OK;
}

/* Wishes, and says whether the shard may have changed since its picture. Whoever takes the wish away moves the number first or wakes
 * us afterwards, so that nothing is missed when several watch. */
static bool may_have_changed(flagstore_watch *watch, uint32_t shard, bool doubt)
{
	const struct fs_shard *place = &watch->store->shards[shard];
	uint32_t number = atomic_load_explicit(&place->changed, memory_order_acquire);
	bool wished = atomic_load_explicit(&place->wanted, memory_order_relaxed) & FS_WANTED_ANY;

	if (!watch->store->write_map)
		return true;
	if (wished && number == watch->changed[shard] && !doubt)
		return false;
	watch->changed[shard] = number;
	fs_wish(watch->store, shard, FS_WANTED_ANY);
	return true;
}

int flagstore_watch_open(const flagstore *store, flagstore_watch **watch)
{
	flagstore_watch *made = calloc(1, sizeof *made);
	uint32_t shards = store->constants.shards;
	int error = made ? fs_cursor_open(store, 0, 0, &made->cursor) : FLAGSTORE_ENOMEMORY;

	if (error)
		goto failed;
	made->store = (flagstore *)(uintptr_t)store;
	made->pictures = calloc(shards, sizeof *made->pictures);
	made->changed = calloc(shards, sizeof *made->changed);
	made->shard = shards;
	made->doubt_ns = fs_monotonic_ns() + DOUBT_NS;
	error = made->pictures && made->changed ? FLAGSTORE_OK : FLAGSTORE_ENOMEMORY;
	for (uint32_t i = 0; !error && i < shards; i++) {
		may_have_changed(made, i, true);
		error = take_picture(made, i, &made->pictures[i]);
	}
	if (error)
		goto failed;
	*watch = made;
	return FLAGSTORE_OK;
failed:
	flagstore_watch_close(made);
	return fs_fail(error, "segment %s: there is no memory to watch its flags", store->path);
}

void flagstore_watch_close(flagstore_watch *watch)
{
	if (!watch)
		return;
	for (uint32_t i = 0; watch->pictures && i < watch->store->constants.shards; i++)
		drop(&watch->pictures[i]);
	drop(&watch->old);
	flagstore_cursor_close(watch->cursor);
	free(watch->pictures);
	free(watch->changed);
	free(watch);
}

/* The next difference between the old and the new picture of the shard that is being told. */
static bool next_difference(flagstore_watch *watch, struct flagstore_change *change)
{
	const struct picture *old = &watch->old, *new = &watch->pictures[watch->shard];

	while (watch->next_old < old->count || watch->next_new < new->count) {
		const struct seen *before = watch->next_old < old->count ? &old->flags[watch->next_old] : NULL;
		const struct seen *after = watch->next_new < new->count ? &new->flags[watch->next_new] : NULL;
		int order = !before ? 1 : !after ? -1 : compare_keys(old->text + before->key, before->length, new->text + after->key, after->length);

		watch->next_old += order <= 0;
		watch->next_new += order >= 0;
		if (order == 0 && before->flag.version == after->flag.version)
			continue;
		*change = (struct flagstore_change){
			.key = order < 0 ? old->text + before->key : new->text + after->key,
			.length = order < 0 ? before->length : after->length,
		};
		if (order <= 0)
			change->before = before->flag;
		if (order >= 0)
			change->after = after->flag;
		return true;
	}
	return false;
}

static void begin_round(flagstore_watch *watch)
{
	uint64_t now = fs_monotonic_ns();

	watch->shard = 0;
	watch->doubtful = now >= watch->doubt_ns;
	if (watch->doubtful)
		watch->doubt_ns = now + DOUBT_NS;
}

/* Finds the next difference, going on through the shards where the last call stopped. Errors: ENOTFOUND when the round is
 * over, ENOMEMORY (the shard is looked at again in the next round). */
static int tell(flagstore_watch *watch, struct flagstore_change *change)
{
	uint32_t shards = watch->store->constants.shards;

	for (;;) {
		struct picture now;
		int error;

		if (watch->shard < shards && next_difference(watch, change))
			return FLAGSTORE_OK;
		/* From the end of one round, or of a shard, to the next shard that may have changed. */
		do {
			if (watch->shard == shards)
				begin_round(watch);
			else if (++watch->shard == shards)
				return FLAGSTORE_ENOTFOUND;
		} while (!may_have_changed(watch, watch->shard, watch->doubtful));
		error = take_picture(watch, watch->shard, &now);
		if (error) {
			watch->changed[watch->shard]--;
			return error;
		}
		drop(&watch->old);
		watch->old = watch->pictures[watch->shard];
		watch->pictures[watch->shard] = now;
		watch->next_old = watch->next_new = 0;
	}
}

int flagstore_watch_next(flagstore_watch *watch, struct flagstore_change *change, int timeout_ms)
{
	const struct fs_header *header = fs_header(watch->store);
	struct fs_patience patience = fs_patience(timeout_ms);
	struct timespec sleep;

	for (;;) {
		/* Read before the round looks at the shards: a change behind its back moves it. */
		uint32_t seen = atomic_load_explicit(&header->changed, memory_order_acquire);
		bool going_on = watch->shard < watch->store->constants.shards;
		int error = tell(watch, change), slept;

		if (error != FLAGSTORE_ENOTFOUND || fs_lost(watch->store))
			return fs_unless_lost(watch->store, error);
		/* The rest of a round was begun before seen was read; only a whole one says that nothing has changed. */
		if (going_on)
			continue;
		if (!fs_next_sleep(&patience, watch->store->write_map ? DOUBT_NS : POLL_NS, &sleep))
			return fs_fail(FLAGSTORE_ETIMEDOUT, "segment %s: no flag changed within %d ms", watch->store->path, timeout_ms);
		if (watch->store->write_map)
			slept = fs_futex_wait(&header->changed, seen, &sleep);
		else
			slept = nanosleep(&sleep, NULL);
		if (slept != 0 && errno == EINTR)
			return fs_fail(FLAGSTORE_ETIMEDOUT, "segment %s: a signal ended the wait for a change", watch->store->path);
	}
}
