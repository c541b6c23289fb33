/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * boost.cc: boost::unordered_map in a managed mapped file of boost::interprocess, behind an interprocess_sharable_mutex: what its
 * documentation shows for shared tables. A key is a string of the file's own allocator. For a lookup such a string must be made; a
 * transparent comparison spares that. */
#include <boost/functional/hash.hpp>
#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/containers/string.hpp>
#include <boost/interprocess/managed_mapped_file.hpp>
#include <boost/interprocess/sync/interprocess_sharable_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <boost/interprocess/sync/sharable_lock.hpp>
#include <boost/unordered_map.hpp>
#include <boost/version.hpp>
#include <string>
#include <string_view>
#include <unistd.h>

#define PEER_NAME "boost"
#define PEER_TITLE "boost::interprocess unordered_map, sharable mutex"
#define PEER_MOST 1000000
#define PEER_PROCESSES 1
#define PEER_ATTACH

namespace bip = boost::interprocess;

using file = bip::managed_mapped_file;
using text = bip::basic_string<char, std::char_traits<char>, bip::allocator<char, file::segment_manager>>;

struct hasher {
	using is_transparent = void;
	size_t operator()(std::string_view key) const
	{
		return boost::hash_range(key.begin(), key.end());
	}
	size_t operator()(const text &key) const
	{
		return (*this)(std::string_view(key.data(), key.size()));
	}
};

struct equal {
	using is_transparent = void;
	bool operator()(const text &a, const text &b) const
	{
		return a == b;
	}
	bool operator()(std::string_view a, const text &b) const
	{
		return a == std::string_view(b.data(), b.size());
	}
	bool operator()(const text &a, std::string_view b) const
	{
		return (*this)(b, a);
	}
};

using node = std::pair<const text, bool>;
using table = boost::unordered_map<text, bool, hasher, equal, bip::allocator<node, file::segment_manager>>;
using mutex = bip::interprocess_sharable_mutex;

struct peer {
	std::string path;
	file mapped;
	table *map;
	mutex *lock;
};

static struct peer *peer_open(const char *directory, size_t expected)
{
	struct peer *peer = new struct peer;

	peer->path = std::string(directory) + "/file";
	peer->mapped = file(bip::create_only, peer->path.c_str(), expected * 512 + (size_t(64) << 20));
	peer->lock = peer->mapped.construct<mutex>("lock")();
	peer->map = peer->mapped.construct<table>("table")(64, hasher(), equal(), peer->mapped.get_segment_manager());
	return peer;
}

static void peer_close(struct peer *peer)
{
	unlink(peer->path.c_str());
	delete peer;
}

static inline struct peer *peer_enter(struct peer *peer)
{
	return peer;
}

static inline void peer_leave(struct peer *)
{
}

static inline table::iterator look(struct peer *peer, const char *key, size_t length)
{
	return peer->map->find(std::string_view(key, length), peer->map->hash_function(), peer->map->key_eq());
}

static inline bool peer_get(struct peer *peer, const char *key, size_t length)
{
	bip::sharable_lock<mutex> held(*peer->lock);
	auto found = look(peer, key, length);

	return found != peer->map->end() && found->second;
}

static bool insert(struct peer *peer, const char *key, size_t length, bool value)
{
	peer->map->emplace(text(key, length, peer->mapped.get_segment_manager()), value);
	return true;
}

static inline bool peer_set(struct peer *peer, const char *key, size_t length, bool value)
{
	bip::scoped_lock<mutex> held(*peer->lock);
	auto found = look(peer, key, length);

	if (found == peer->map->end())
		return insert(peer, key, length, value);
	found->second = value;
	return true;
}

static bool peer_set_if_absent(struct peer *peer, const char *key, size_t length, bool value)
{
	bip::scoped_lock<mutex> held(*peer->lock);

	return look(peer, key, length) == peer->map->end() && insert(peer, key, length, value);
}

static bool peer_toggle(struct peer *peer, const char *key, size_t length)
{
	bip::scoped_lock<mutex> held(*peer->lock);
	auto found = look(peer, key, length);

	return found != peer->map->end() && (found->second = !found->second);
}

static bool peer_delete(struct peer *peer, const char *key, size_t length)
{
	bip::scoped_lock<mutex> held(*peer->lock);
	auto found = look(peer, key, length);

	if (found == peer->map->end())
		return false;
	peer->map->erase(found);
	return true;
}

static size_t peer_list(struct peer *peer, size_t *trues)
{
	bip::sharable_lock<mutex> held(*peer->lock);
	size_t count = 0;

	for (const auto &flag : *peer->map) {
		count += !flag.first.empty();
		*trues += flag.second;
	}
	return count;
}

/* What is handed out: the file itself has been made large enough beforehand. */
static size_t peer_memory(struct peer *peer)
{
	return peer->mapped.get_size() - peer->mapped.get_free_memory();
}

static bool peer_attach(const char *directory, const char *key, size_t length, bool value)
{
	struct peer peer;

	peer.mapped = file(bip::open_only, (std::string(directory) + "/file").c_str());
	peer.lock = peer.mapped.find<mutex>("lock").first;
	peer.map = peer.mapped.find<table>("table").first;
	return peer.lock && peer.map && peer_get(&peer, key, length) == value;
}

static const char *peer_version(void)
{
	return BOOST_LIB_VERSION;
}

#include "driver.h"
