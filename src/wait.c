/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * wait.c: sleeping until one flag changes. A waiter sets a bit in the shard; the next writer takes all bits away and wakes. So nobody is
 * counted, and a waiter that dies leaves nothing that would have to be cleaned up. */
#include "wait.h"

#include "error.h"
#include "futex.h"
#include "sigbus.h"
#include "table.h"

/* How often a read-only attached store, which nobody can wake, looks at the flag. */
#define POLL_NS 5000000

/* How often the others do: a writer that was killed between its change and the wake-up has woken nobody. */
#define DOUBT_NS 500000000

void fs_wish(flagstore *store, uint32_t shard, uint32_t bit)
{
	/* seq_cst, and the fence: the look at the flag that follows stays behind the wish. Pairs with fs_wake(). */
	atomic_fetch_or_explicit(&fs_shard_writable(store, shard)->wanted, bit, memory_order_seq_cst);
	fs_full_fence();
}

bool fs_next_sleep(const struct fs_patience *patience, uint64_t limit_ns, struct timespec *sleep)
{
	uint64_t now = fs_monotonic_ns(), ns = limit_ns;

	if (!patience->forever && patience->end_ns <= now)
		return false;
	if (!patience->forever && patience->end_ns - now < ns)
		ns = patience->end_ns - now;
	*sleep = (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
	return true;
}

struct fs_patience fs_patience(int timeout_ms)
{
	return (struct fs_patience){
		.forever = timeout_ms < 0,
		.end_ns = timeout_ms < 0 ? 0 : fs_monotonic_ns() + (uint64_t)timeout_ms * 1000000,
	};
}

static bool has_changed(const flagstore *store, const struct fs_key *key, struct flagstore_flag *flag)
{
	struct flagstore_flag now;

	flagstore_lookup_n(store, key->bytes, key->length, &now);
	if (now.exists == flag->exists && now.version == flag->version)
		return false;
	if (fs_lost(store))
		return false;
	*flag = now;
	return true;
}

int flagstore_wait_n(const flagstore *store, const char *key, size_t length, struct flagstore_flag *flag, int timeout_ms)
{
	struct fs_patience patience = fs_patience(timeout_ms);
	struct fs_key sought;
	uint32_t shard;

	if (!fs_key_make(store, key, length, &sought))
		return fs_fail(FLAGSTORE_EKEY, "there can't be a flag with a key of %zu bytes to wait for", length);
	shard = fs_hash_shard(sought.hash, store->shard_mask);
	for (;;) {
		uint32_t seen = atomic_load_explicit(&store->shards[shard].changed, memory_order_acquire);
		struct timespec sleep;

		if (store->write_map)
			fs_wish((flagstore *)(uintptr_t)store, shard, FS_WANTED_SHARD);
		if (has_changed(store, &sought, flag))
			return FLAGSTORE_OK;
		if (fs_lost(store))
			return fs_unless_lost(store, FLAGSTORE_OK);
		if (!fs_next_sleep(&patience, store->write_map ? DOUBT_NS : POLL_NS, &sleep))
			return fs_fail(FLAGSTORE_ETIMEDOUT, "segment %s: the flag did not change within %d ms", store->path, timeout_ms);
		if (store->write_map)
			fs_futex_wait(&store->shards[shard].changed, seen, &sleep);
		else
			nanosleep(&sleep, NULL);
	}
}

int flagstore_wait(const flagstore *store, const char *key, struct flagstore_flag *flag, int timeout_ms)
{
	return flagstore_wait_n(store, key, strlen(key), flag, timeout_ms);
}
