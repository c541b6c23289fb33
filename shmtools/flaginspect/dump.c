/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * flaginspect dump: header, shards and slots, in a form that stays; or one slot byte by byte. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "describe.h"
#include "facts.h"
#include "keytext.h"
#include "output.h"
#include "quantity.h"
#include "source.h"

static const char *slot_text;
static uint64_t shard_number = UINT64_MAX;
static bool no_slots;

static uint64_t load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static uint32_t load32(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

/* ----------------------------------------------------------------------------------------------------- header */

static void boot_text(const struct fs_header *header, char text[33])
{
	for (int i = 0; i < 4; i++) {
		uint64_t word = load(&header->boot[i]);

		memcpy(text + 8 * i, &word, 8);
	}
	text[32] = 0;
}

/* What the file says, not what it was taken to say. */
static json_t *header_json(const struct source *source)
{
	const struct fs_header *header = (const void *)source->store->map;
	const struct fs_constants *constants = &header->constants;
	const struct {
		const char *name;
		uint64_t number;
	} numbers[] = {
		{"byte_order", constants->byte_order},
		{"layout", constants->layout},
		{"feature_incompatible", constants->feature_incompatible},
		{"feature_read_only", constants->feature_read_only},
		{"feature_compatible", constants->feature_compatible},
		{"header_size", constants->header_size},
		{"shard_size", constants->shard_size},
		{"worker_size", constants->worker_size},
		{"slot_size", constants->slot_size},
		{"seat_size", constants->seat_size},
		{"conflict_size", constants->conflict_size},
		{"shards", constants->shards},
		{"workers", constants->workers},
		{"lock_wait_ms", constants->lock_wait_ms},
		{"laboratory", constants->laboratory},
		{"seats", constants->seats},
		{"conflicts", constants->conflicts},
		{"shadows", constants->shadows},
		{"max_bytes", constants->max_bytes},
		{"hash_seed", constants->hash_seed},
		{"created_ms", (uint64_t)constants->created_ms},
		{"check", constants->check},
		{"pid_namespace", load(&header->pid_namespace)},
		{"state", load32(&header->state)},
		{"heap_line", load(&header->heap) & UINT32_MAX},
		{"heap_owner", load(&header->heap) >> FS_HEAP_OWNER_SHIFT},
		{"room_lines", load32(&header->room)},
		{"room_seats", load32(&header->seat_room)},
		{"room_conflicts", load32(&header->conflict_room)},
		{"room_shadows", load32(&header->shadow_room)},
		{"guard", load(&header->guard)},
	};
	char magic[8 * 4 + 1], boot[33], uuid[33];
	json_t *document;

	boot_text(header, boot);
	strlcpy(magic, keytext_encode(constants->magic, sizeof constants->magic).text, sizeof magic);
	for (int i = 0; i < 16; i++)
		snprintf(uuid + 2 * i, 3, "%02x", constants->uuid[i]);
	document = json_pack("{s:s, s:s, s:s}", "magic", magic, "uuid", uuid, "boot", keytext_encode(boot, 32).text);
	/* A number of 64 bits may be more than JSON's readers take: it is the same number, as C prints it, with a sign. */
	for (size_t i = 0; document && i < sizeof numbers / sizeof *numbers; i++)
		json_object_set_new(document, numbers[i].name, json_integer((json_int_t)numbers[i].number));
	return document;
}

static void print_fields(const char *title, json_t *fields)
{
	const char *name;
	json_t *field;

	printf("%s\n", title);
	json_object_foreach(fields, name, field) {
		char *text = json_dumps(field, JSON_ENCODE_ANY);

		printf("  %-22s %s\n", name, json_is_string(field) ? json_string_value(field) : text);
		free(text);
	}
	json_decref(fields);
}

/* ----------------------------------------------------------------------------------------------------- shards */

static json_t *shard_json(const flagstore *store, uint32_t index)
{
	const struct fs_shard *shard = &store->shards[index];
	uint64_t directory = load(&shard->directory);
	const struct {
		const char *name;
		uint64_t number;
	} numbers[] = {
		{"offset", (uint64_t)((const char *)shard - store->map)},
		{"directory_offset", fs_dir_offset(directory)},
		{"directory_depth", fs_dir_depth(directory)},
		{"directory_replacements", fs_dir_count(directory)},
		{"wanted", load32(&shard->wanted)},
		{"lock_word", (uint32_t)shard->mutex.__data.__lock},
		{"holder", load(&shard->holder)},
		{"since_ns", load(&shard->since_ns)},
		{"sequence", load(&shard->sequence)},
		{"births", load(&shard->births)},
		{"growths", load(&shard->growths)},
		{"waits", load(&shard->waits)},
		{"redo", load(&shard->redo)},
		{"live", load32(&shard->live)},
		{"recoveries", load32(&shard->recoveries)},
		{"batch", load32(&shard->batch)},
		{"mark", load(&shard->mark)},
		{"left", load(&shard->left)},
		{"epoch", load(&shard->epoch)},
		{"phase", load32(&shard->phase)},
		{"where", load32(&shard->where)},
		{"outgoing", load(&shard->outgoing)},
		{"fresh0", load(&shard->fresh[0])},
		{"fresh1", load(&shard->fresh[1])},
		{"claim", load(&shard->claim)},
	};
	json_t *document = json_pack("{s:I}", "shard", (json_int_t)index);

	for (size_t i = 0; document && i < sizeof numbers / sizeof *numbers; i++)
		json_object_set_new(document, numbers[i].name, json_integer((json_int_t)numbers[i].number));
	return document;
}

struct bucket_head {
	uint64_t offset, replacements;
	uint32_t class, depth, live, occupied;
};

static struct bucket_head head_of(uint64_t word, const struct fs_bucket_view *view)
{
	return (struct bucket_head){
		.offset = fs_dir_offset(word),
		.replacements = fs_dir_count(word),
		.class = fs_dir_class(word),
		.depth = fs_dir_depth(word),
		.live = load32(&view->bucket->live),
		.occupied = load32(&view->bucket->occupied),
	};
}

static void print_slot(const flagstore *store, uint32_t place, const struct facts *facts)
{
	printf("    %3" PRIu32 " %#10" PRIx64 " %-6s %-5s %10" PRIu32 " %10" PRIu64 " %3u %s %s", place, facts->offset, facts_state(facts),
	       fs_word_value(facts->word) ? "true" : "false", fs_word_changes(facts->word),
	       (facts->word & FS_INCARNATION_MASK) >> FS_INCARNATION_SHIFT, facts->tag, facts->sound ? "sound" : "torn ",
	       facts->length ? keytext_encode(facts->key, facts->length).text : "-");
	if (facts->flag.writer)
		printf(" by %s at %s", describe_writer(store, facts->flag.writer).text, moment_text(facts->flag.changed_ms).text);
	putchar('\n');
}

static void print_bucket(const flagstore *store, uint64_t word, const struct fs_bucket_view *view, void *argument)
{
	struct bucket_head head = head_of(word, view);

	(void)argument;
	printf("  bucket %#" PRIx64 " slots %" PRIu32 " depth %" PRIu32 " replacements %" PRIu64 " live %" PRIu32 " occupied %" PRIu32 "\n", head.offset,
	       view->count, head.depth, head.replacements, head.live, head.occupied);
	for (uint32_t i = 0; i < view->count && !no_slots; i++) {
		struct facts facts;

		facts_read(store, &view->slots[i], fs_tag_at(view->bucket, i), &facts);
		if (facts.word || facts.tag)
			print_slot(store, i, &facts);
	}
}

static void add_bucket(const flagstore *store, uint64_t word, const struct fs_bucket_view *view, void *argument)
{
	struct bucket_head head = head_of(word, view);
	json_t *slots = json_array(), *bucket;

	for (uint32_t i = 0; i < view->count && !no_slots; i++) {
		struct facts facts;

		facts_read(store, &view->slots[i], fs_tag_at(view->bucket, i), &facts);
		if (facts.word || facts.tag)
			json_array_append_new(slots, facts_json(store, i, &facts));
	}
	bucket = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "offset", (json_int_t)head.offset, "slots", (json_int_t)view->count, "depth",
	                   (json_int_t)head.depth, "replacements", (json_int_t)head.replacements, "live", (json_int_t)head.live, "occupied",
	                   (json_int_t)head.occupied, "used", slots);
	if (json_array_append_new(argument, bucket) != 0)
		failure_memory();
}

static bool wanted(uint32_t index)
{
	return shard_number == UINT64_MAX || shard_number == index;
}

static void dump_text(const struct source *source)
{
	const flagstore *store = source->store;
	char title[64];

	printf("source %s, %s, %" PRIu64 " bytes\n", store->path, source_text(source), source->file_bytes);
	if (*source->damage)
		printf("damage %s\n", source->damage);
	print_fields("header", header_json(source));
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		if (!wanted(i))
			continue;
		snprintf(title, sizeof title, "shard %" PRIu32, i);
		print_fields(title, shard_json(store, i));
		facts_walk(store, i, print_bucket, NULL);
	}
}

/* A shard at a time: the whole may be too much for the memory. */
static void dump_json(const struct source *source)
{
	const flagstore *store = source->store;
	const char *before = "\n";
	json_t *head = json_pack("{s:o, s:s, s:I, s:o}", "path", output_text(store->path), "kind", source_text(source), "bytes",
	                         (json_int_t)source->file_bytes, "damage", *source->damage ? json_string(source->damage) : json_null());
	json_t *header = header_json(source);

	if (!head || !header)
		failure_memory();
	printf("{\"source\": ");
	json_dumpf(head, stdout, 0);
	printf(",\n\"header\": ");
	json_dumpf(header, stdout, 0);
	json_decref(head);
	json_decref(header);
	printf(",\n\"shards\": [");
	for (uint32_t i = 0; i < store->constants.shards; i++) {
		json_t *shard, *buckets = json_array();

		if (!wanted(i)) {
			json_decref(buckets);
			continue;
		}
		shard = shard_json(store, i);
		facts_walk(store, i, add_bucket, buckets);
		json_object_set_new(shard, "buckets", buckets);
		fputs(before, stdout);
		json_dumpf(shard, stdout, 0);
		json_decref(shard);
		before = ",\n";
	}
	printf("]}\n");
}

/* ------------------------------------------------------------------------------------------------------- slot */

/* The bytes of a field, in hexadecimal, with its name and what it says. */
static void print_bytes(const struct fs_slot *slot, uint64_t offset, size_t from, size_t count, const char *name, const char *meaning)
{
	const unsigned char *bytes = (const unsigned char *)slot;

	for (size_t i = from; i < from + count; i += 8) {
		printf("%#10" PRIx64 " ", offset + i);
		for (size_t j = i; j < i + 8; j++) {
			if (j < from + count)
				printf(" %02x", __atomic_load_n(&bytes[j], __ATOMIC_RELAXED));
			else
				printf("   ");
		}
		printf("  %-8s %s\n", i == from ? name : "", i == from ? meaning : "");
	}
}

static void print_slot_bytes(const flagstore *store, const struct fs_slot *slot, const struct facts *facts)
{
	uint64_t right = facts->length ? fs_identity(fs_hash(store->seed, facts->key, facts->length), facts->word) : 0;
	char text[KEYTEXT_SIZE + 64];

	snprintf(text, sizeof text, "%s, %s, change %" PRIu32 " of life %" PRIu64 "%s", facts_state(facts), fs_word_value(facts->word) ? "true" : "false",
	         fs_word_changes(facts->word), (facts->word & FS_INCARNATION_MASK) >> FS_INCARNATION_SHIFT,
	         facts->word & FS_RESERVED_MASK ? ", reserved bits set" : "");
	print_bytes(slot, facts->offset, 0, 8, "word", text);
	snprintf(text, sizeof text, "worker %" PRIu32 " (%.200s), %s, change %" PRIu64 " (low bits)", (uint32_t)(facts->stamp >> FS_STAMP_VERSION_BITS) &
	         ((1u << FS_STAMP_WORKER_BITS) - 1), describe_writer(store, facts->flag.writer).text,
	         moment_text(facts->stamp ? store->created_ms + (int64_t)(facts->stamp >> FS_STAMP_TIME_SHIFT) : 0).text,
	         facts->stamp & ((1u << FS_STAMP_VERSION_BITS) - 1));
	print_bytes(slot, facts->offset, 8, 8, "stamp", text);
	snprintf(text, sizeof text, "hash %08" PRIx32 "%s", (uint32_t)facts->identity, (uint32_t)facts->identity == (uint32_t)right ? "" :
	         ", which is not the key's");
	print_bytes(slot, facts->offset, 16, 4, "hash", text);
	snprintf(text, sizeof text, "%08" PRIx32 "%s", (uint32_t)(facts->identity >> 32), facts->sound ? ", right" : ", does not belong to key and life");
	print_bytes(slot, facts->offset, 20, 4, "check", text);
	snprintf(text, sizeof text, "%zu bytes", fs_slot_key_length(slot));
	print_bytes(slot, facts->offset, 24, 1, "length", text);
	snprintf(text, sizeof text, "%s%s", facts->length ? keytext_encode(facts->key, facts->length).text : "none",
	         facts->length > FS_KEY_INLINE ? " (in a key cell, whose line is at offset 32 of the slot)" : "");
	print_bytes(slot, facts->offset, 25, 39, "key", text);
}

static json_t *slot_bytes_json(const flagstore *store, const struct fs_slot *slot, const struct facts *facts)
{
	json_t *document = facts_json(store, 0, facts);
	char bytes[2 * FS_LINE + 1], number[24];

	for (size_t i = 0; i < FS_LINE; i++)
		snprintf(bytes + 2 * i, 3, "%02x", __atomic_load_n((const unsigned char *)slot + i, __ATOMIC_RELAXED));
	json_object_del(document, "slot");
	json_object_del(document, "tag");
	json_object_set_new(document, "bytes", json_string(bytes));
	snprintf(number, sizeof number, "%016" PRIx64, facts->word);
	json_object_set_new(document, "word", json_string(number));
	snprintf(number, sizeof number, "%016" PRIx64, facts->stamp);
	json_object_set_new(document, "stamp", json_string(number));
	snprintf(number, sizeof number, "%016" PRIx64, facts->identity);
	json_object_set_new(document, "identity", json_string(number));
	return document;
}

static int dump_slot(const struct source *source)
{
	const flagstore *store = source->store;
	char *end;
	uint64_t offset = strtoull(slot_text, &end, 0);
	const struct fs_slot *slot;
	struct facts facts;

	if (!*slot_text || *end || *slot_text == '-')
		cli_usage("--slot takes an offset in the file, such as 0x5040, not `%s'", slot_text);
	slot = offset % FS_LINE == 0 && offset / FS_LINE <= UINT32_MAX ? fs_at(store, (fs_line)(offset / FS_LINE), 1) : NULL;
	if (!slot)
		return failure(STATUS_MISSING, "there can't be a slot at offset %#" PRIx64 " of %s; `flaginspect dump' lists those that there are", offset,
		               store->path);
	facts_read(store, slot, 0, &facts);
	if (cli_json)
		output_json(slot_bytes_json(store, slot, &facts));
	else
		print_slot_bytes(store, slot, &facts);
	return STATUS_DONE;
}

static int dump(const struct source *source)
{
	if (slot_text)
		return dump_slot(source);
	if (shard_number != UINT64_MAX && shard_number >= source->store->constants.shards)
		return failure(STATUS_MISSING, "%s has %" PRIu32 " shards, from 0 on", source->store->path, source->store->constants.shards);
	if (cli_json)
		dump_json(source);
	else
		dump_text(source);
	return STATUS_DONE;
}

static int run(int count, char **operands)
{
	(void)count;
	return source_show(operands[0], dump);
}

static const struct cli_option options[] = {
	CLI_NUMBER('n', "shard", "N", &shard_number, 0, FLAGSTORE_SHARDS_MAX - 1, "of the shards only this one"),
	CLI_SWITCH('b', "buckets", &no_slots, "buckets without their slots"),
	CLI_TEXT('s', "slot", "OFFSET", &slot_text, "one slot byte by byte, its fields named"),
	CLI_OPTIONS_END,
};

const struct cli_command command_dump = {
	.name = "dump",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.summary = "print header, shards and slots, or one slot byte by byte",
	.options = options,
	.run = run,
};
