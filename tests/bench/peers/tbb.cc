/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * tbb.cc: tbb::concurrent_hash_map. Found by string_view, so that no key has to be copied for a read; std::hash. */
#include <string>
#include <string_view>
#include <tbb/concurrent_hash_map.h>
#include <tbb/version.h>

#define PEER_NAME "tbb"
#define PEER_TITLE "tbb::concurrent_hash_map"
#define PEER_MOST 1000000
#define PEER_PROCESSES 0

struct compare {
	using is_transparent = void;
	size_t hash(std::string_view key) const
	{
		return std::hash<std::string_view>()(key);
	}
	bool equal(std::string_view a, std::string_view b) const
	{
		return a == b;
	}
};

using table = tbb::concurrent_hash_map<std::string, bool, compare>;

struct peer {
	table map;
};

static struct peer *peer_open(const char *, size_t)
{
	return new struct peer;
}

static void peer_close(struct peer *peer)
{
	delete peer;
}

static inline struct peer *peer_enter(struct peer *peer)
{
	return peer;
}

static inline void peer_leave(struct peer *)
{
}

static inline bool peer_get(struct peer *peer, const char *key, size_t length)
{
	table::const_accessor found;

	return peer->map.find(found, std::string_view(key, length)) && found->second;
}

static inline bool peer_set(struct peer *peer, const char *key, size_t length, bool value)
{
	table::accessor found;

	if (!peer->map.find(found, std::string_view(key, length)))
		peer->map.insert(found, std::string(key, length));
	found->second = value;
	return true;
}

static bool peer_set_if_absent(struct peer *peer, const char *key, size_t length, bool value)
{
	table::accessor found;

	if (peer->map.find(found, std::string_view(key, length)))
		return false;
	return peer->map.insert(found, std::make_pair(std::string(key, length), value));
}

static bool peer_toggle(struct peer *peer, const char *key, size_t length)
{
	table::accessor found;

	return peer->map.find(found, std::string_view(key, length)) && (found->second = !found->second);
}

static bool peer_delete(struct peer *peer, const char *key, size_t length)
{
	return peer->map.erase(std::string_view(key, length));
}

static size_t peer_list(struct peer *peer, size_t *trues)
{
	size_t count = 0;

	for (const auto &flag : peer->map) {
		count += !flag.first.empty();
		*trues += flag.second;
	}
	return count;
}

static size_t peer_memory(struct peer *)
{
	return 0;
}

static const char *peer_version(void)
{
	return TBB_VERSION_STRING;
}

#include "driver.h"
