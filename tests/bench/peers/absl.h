/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * absl.h: absl::flat_hash_map in one process. With a lock of type LOCK around everything; an empty one makes it what no two threads
 * may use at the same time: the bound of what an ordinary table can do. */
#include <absl/base/config.h>
#include <absl/container/flat_hash_map.h>
#include <absl/strings/string_view.h>
#include <string>

#define PEER_PROCESSES 0
#define PEER_RESERVE
#define PEER_MOST 10000000

struct peer {
	absl::flat_hash_map<std::string, bool> map;
	LOCK lock;
};

struct holding {
	explicit holding(struct peer *peer) : lock(peer->lock)
	{
		lock.Lock();
	}
	~holding()
	{
		lock.Unlock();
	}
	LOCK &lock;
};

static struct peer *peer_open(const char *, size_t)
{
	return new struct peer;
}

static bool peer_reserve(struct peer *peer, size_t count)
{
	peer->map.reserve(count);
	return true;
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
	holding held(peer);
	auto found = peer->map.find(absl::string_view(key, length));

	return found != peer->map.end() && found->second;
}

static inline bool peer_set(struct peer *peer, const char *key, size_t length, bool value)
{
	holding held(peer);

	peer->map[absl::string_view(key, length)] = value;
	return true;
}

static inline bool peer_set_if_absent(struct peer *peer, const char *key, size_t length, bool value)
{
	holding held(peer);

	return peer->map.try_emplace(absl::string_view(key, length), value).second;
}

static inline bool peer_toggle(struct peer *peer, const char *key, size_t length)
{
	holding held(peer);
	auto found = peer->map.find(absl::string_view(key, length));

	return found != peer->map.end() && (found->second = !found->second);
}

static inline bool peer_delete(struct peer *peer, const char *key, size_t length)
{
	holding held(peer);

	return peer->map.erase(absl::string_view(key, length)) == 1;
}

static size_t peer_list(struct peer *peer, size_t *trues)
{
	holding held(peer);
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
	static char text[32];

	snprintf(text, sizeof text, "%d", ABSL_LTS_RELEASE_VERSION);
	return text;
}
