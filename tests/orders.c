/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * orders.c: the judges judged: the search for an order (linearize.h) against one that tries them all, and the model of
 * flags (model.h) on histories written by hand, right ones and wrong ones. No segment is touched.
 */
#include "model.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

static struct linear_search *search;

/* ------------------------------------------------------------------------------------- the search, on a number */

/* Stores a number and gives the one that was there; or gives it only. */
struct swap {
	bool stores;
	uint64_t stored, given;
};

static bool step_number(void *state, const void *what, bool pending)
{
	const struct swap *swap = what;
	uint64_t *number = state;

	if (pending ? !swap->stores || *number == swap->stored : *number != swap->given)
		return false;
	if (swap->stores)
		*number = swap->stored;
	return true;
}

static const struct linear_model number_model = {sizeof(uint64_t), step_number};

enum { FEW = 6 };

/* Every order of every choice of the pending ones, the plain way. */
static bool some_order_fits(const struct linear_operation *operations, size_t count, unsigned placed, uint64_t number)
{
	bool all = true;

	for (size_t i = 0; i < count; i++) {
		bool pending = operations[i].ended == LINEAR_NEVER, first = true;
		uint64_t next = number;

		if (placed >> i & 1)
			continue;
		all = all && pending;
		for (size_t j = 0; j < count; j++)
			if (!(placed >> j & 1) && operations[j].ended < operations[i].began)
				first = false;
		if (first && step_number(&next, operations[i].what, pending) &&
		    some_order_fits(operations, count, placed | 1u << i, next))
			return true;
	}
	return all;
}

static void the_search_says_what_trying_all_orders_says(void **state)
{
	enum { HISTORIES = 200000 };
	uint64_t random = 1, start = 0;
	unsigned fit = 0, pending = 0;

	(void)state;
	for (unsigned i = 0; i < HISTORIES; i++) {
		struct linear_operation operations[FEW];
		struct swap swaps[FEW];
		size_t count = 1 + random_next(&random) % FEW;
		bool fits;

		for (size_t j = 0; j < count; j++) {
			uint64_t began = random_next(&random) % 12, length = random_next(&random) % 6;

			swaps[j] = (struct swap){random_next(&random) % 2, random_next(&random) % 3, random_next(&random) % 3};
			operations[j] = (struct linear_operation){began, began + length, &swaps[j]};
			if (random_next(&random) % 6 == 0)
				operations[j].ended = LINEAR_NEVER;
			pending += operations[j].ended == LINEAR_NEVER;
		}
		note("history %u", i);
		fits = some_order_fits(operations, count, 0, start);
		fit += fits;
		require_int(fits ? LINEAR_YES : LINEAR_NO, linear_check(search, &number_model, &start, operations, count));
	}
	note("%u of %u fit", fit, HISTORIES);
	require(fit > HISTORIES / 20 && fit < HISTORIES - HISTORIES / 20 && pending);
	printf("# %u histories, %u of them linearizable\n", HISTORIES, fit);
}

/* What is found must really be an order. */
static void the_order_that_is_found_keeps_to_the_time(void **state)
{
	const struct swap swaps[] = {{true, 1, 0}, {true, 2, 1}, {false, 0, 2}, {false, 0, 1}};
	const struct linear_operation operations[] = {
		{0, 9, &swaps[0]}, {1, LINEAR_NEVER, &swaps[1]}, {6, 7, &swaps[2]}, {2, 5, &swaps[3]}};
	const size_t expected[] = {0, 3, 1, 2}, *order;
	uint64_t start = 0;
	size_t stuck;

	(void)state;
	require_int(LINEAR_YES, linear_check(search, &number_model, &start, operations, 4));
	require_int(4, linear_order(search, &order, &stuck));
	require(memcmp(order, expected, sizeof expected) == 0);
}

static void a_history_of_nothing_is_linearizable(void **state)
{
	const struct swap swap = {true, 1, 0};
	const struct linear_operation pending = {0, LINEAR_NEVER, &swap};
	uint64_t start = 0;

	(void)state;
	require_int(LINEAR_YES, linear_check(search, &number_model, &start, &pending, 0));
	require_int(LINEAR_YES, linear_check(search, &number_model, &start, &pending, 1));
}

/* They can have happened in far more orders than there are sets of them with one that was the last. */
static void many_pending_operations_are_searched_once_each(void **state)
{
	enum { PENDING = 12 };
	struct linear_operation operations[PENDING + 1];
	struct swap swaps[PENDING + 1];
	uint64_t start = 0;

	(void)state;
	for (unsigned i = 0; i < PENDING; i++) {
		swaps[i] = (struct swap){true, 1 + i, 0};
		operations[i] = (struct linear_operation){i, LINEAR_NEVER, &swaps[i]};
	}
	swaps[PENDING] = (struct swap){false, 0, 1000};
	operations[PENDING] = (struct linear_operation){100, 101, &swaps[PENDING]};
	require_int(LINEAR_NO, linear_check(search, &number_model, &start, operations, PENDING + 1));
	require(linear_seen(search) <= (size_t)PENDING << PENDING);
}

/* -------------------------------------------------------------------------------------------- flags, by hand */

static struct event events[16];
static struct history history;
static const struct event *places[16];

/* Flag 0 exists and is false, with change 1 and version 10; the others are missing. */
static void begin_history(void)
{
	memset(&history, 0, sizeof history);
	history.start[0] = (struct sight){10, 1, true, false};
	history.events = places;
}

/* Ended 0: never. */
static void did(uint64_t began, uint64_t ended, struct event event)
{
	struct event *place = &events[history.count];

	*place = event;
	place->began = began;
	place->ended = ended;
	place->who = (uint8_t)history.count;
	places[history.count++] = place;
}

static void require_verdict(int line, enum linear_verdict expected, unsigned flag)
{
	note("orders.c:%d", line);
	require_int(expected, model_judge(search, &history, flag));
}

#define require_yes(flag) require_verdict(__LINE__, LINEAR_YES, flag)
#define require_no(flag) require_verdict(__LINE__, LINEAR_NO, flag)

#define got(value) ((struct event){.act = ACT_GET, .answer = (value)})
#define set_to(value) ((struct event){.act = ACT_SET, .desired = (value)})
#define toggled(value) ((struct event){.act = ACT_TOGGLE, .answer = (value)})
#define deleted(how) ((struct event){.act = ACT_DELETE, .result = (how)})
#define inserted(value, first) ((struct event){.act = ACT_SET_IF_ABSENT, .desired = (value), .answer = (first)})
#define compared(from, to, how)                                                                                        \
	((struct event){.act = ACT_COMPARE, .expected = (from), .desired = (to), .result = (how)})
#define seen(what, number, count)                                                                                      \
	{                                                                                                                  \
		.version = (number), .changes = (count), .exists = (number) != 0, .value = (what)                              \
	}
#define looked(...) ((struct event){.act = ACT_LOOKUP, .sights = {__VA_ARGS__}})
#define compared_version(to, how, ...)                                                                                 \
	((struct event){.act = ACT_COMPARE_VERSION, .desired = (to), .result = (how), .sights = {__VA_ARGS__}})
#define batch(count, how, ...)                                                                                         \
	((struct event){.act = ACT_BATCH, .changed = (count), .result = (how), .wishes = {__VA_ARGS__}})
#define snapshot(...) ((struct event){.act = ACT_SNAPSHOT, .sights = {__VA_ARGS__}})
#define NONE seen(false, 0, 0)

static void a_read_sees_the_last_write_that_ended(void **state)
{
	(void)state;
	begin_history();
	did(1, 2, set_to(true));
	did(3, 4, got(true));
	require_yes(0);
	did(5, 6, got(false));
	require_no(0);
}

static void a_read_beside_a_write_sees_either(void **state)
{
	(void)state;
	begin_history();
	did(1, 9, set_to(true));
	did(2, 3, got(false));
	did(4, 5, got(true));
	require_yes(0);
	/* But nobody goes back. */
	did(6, 7, got(false));
	require_no(0);
}

static void what_has_the_same_time_has_overlapped(void **state)
{
	(void)state;
	begin_history();
	did(1, 2, set_to(true));
	did(2, 3, got(false));
	require_yes(0);
}

static void a_write_of_the_killed_happens_once_or_never(void **state)
{
	(void)state;
	begin_history();
	did(5, 0, set_to(true));
	did(6, 7, got(false));
	require_yes(0);
	did(8, 9, got(true));
	require_yes(0);
	did(10, 11, got(false));
	require_no(0);
	begin_history();
	did(1, 2, got(true));
	did(3, 0, set_to(true));
	require_no(0);
}

static void no_update_is_lost(void **state)
{
	(void)state;
	begin_history();
	did(1, 5, toggled(true));
	did(2, 6, toggled(false));
	require_yes(0);
	begin_history();
	did(1, 5, toggled(true));
	did(2, 6, toggled(true));
	require_no(0);
}

static void one_alone_inserts(void **state)
{
	(void)state;
	begin_history();
	did(1, 2, deleted(FLAGSTORE_OK));
	did(3, 6, inserted(true, true));
	did(3, 6, inserted(false, false));
	did(7, 8, got(true));
	require_yes(0);
	events[2].answer = true;
	require_no(0);
}

static void every_result_is_looked_at(void **state)
{
	(void)state;
	begin_history();
	did(1, 2, compared(true, false, FLAGSTORE_ECONFLICT));
	did(3, 4, compared(false, true, FLAGSTORE_OK));
	did(5, 6, compared(false, true, FLAGSTORE_ECONFLICT));
	did(7, 8, deleted(FLAGSTORE_OK));
	did(9, 10, deleted(FLAGSTORE_ENOTFOUND));
	did(11, 12, compared(true, false, FLAGSTORE_ENOTFOUND));
	require_yes(0);
	for (size_t i = 0; i < history.count; i++) {
		int16_t right = events[i].result;

		events[i].result = right == FLAGSTORE_OK ? FLAGSTORE_ENOTFOUND : FLAGSTORE_OK;
		require_no(0);
		events[i].result = right;
	}
}

static void a_change_brings_another_version(void **state)
{
	(void)state;
	begin_history();
	did(1, 2, looked(seen(false, 10, 1)));
	did(3, 4, set_to(true));
	did(5, 6, looked(seen(true, 11, 2)));
	did(7, 8, looked(seen(true, 11, 2)));
	did(9, 10, set_to(true));
	did(11, 12, looked(seen(true, 11, 2)));
	require_yes(0);
	/* One that was left does not come back, whatever it was. */
	events[2].sights[0].version = events[3].sights[0].version = events[5].sights[0].version = 10;
	require_no(0);
	events[2].sights[0].version = events[3].sights[0].version = 11;
	events[5].sights[0].version = 12;
	require_no(0);
}

static void a_flag_that_is_inserted_again_has_another_version(void **state)
{
	(void)state;
	begin_history();
	did(1, 2, deleted(FLAGSTORE_OK));
	did(3, 4, looked(NONE));
	did(5, 6, set_to(false));
	did(7, 8, looked(seen(false, 11, 1)));
	require_yes(0);
	did(9, 10, compared_version(true, FLAGSTORE_ECONFLICT, seen(false, 10, 1)));
	require_yes(0);
	events[3].sights[0].version = 10;
	require_no(0);
}

static void changes_are_counted(void **state)
{
	(void)state;
	begin_history();
	did(1, 2, toggled(true));
	did(3, 4, toggled(false));
	did(5, 6, looked(seen(false, 12, 3)));
	require_yes(0);
	events[2].sights[0].changes = 2;
	require_no(0);
}

static void a_version_that_was_left_is_never_as_expected(void **state)
{
	(void)state;
	begin_history();
	did(1, 2, compared_version(false, FLAGSTORE_OK, seen(false, 10, 1)));
	did(3, 4, compared_version(false, FLAGSTORE_ECONFLICT, seen(false, 10, 1)));
	did(5, 6, compared_version(true, FLAGSTORE_ECONFLICT, NONE));
	did(7, 8, looked(seen(false, 11, 2)));
	did(9, 10, compared_version(true, FLAGSTORE_OK, seen(false, 11, 2)));
	require_yes(0);
	events[1].result = FLAGSTORE_OK;
	require_no(0);
	events[1].result = FLAGSTORE_ECONFLICT;
	events[4].result = FLAGSTORE_ECONFLICT;
	require_no(0);
}

static void a_snapshot_sees_a_batch_whole(void **state)
{
	(void)state;
	begin_history();
	did(1, 9, batch(2, FLAGSTORE_OK, WISH_TRUE, WISH_TRUE));
	did(2, 3, snapshot(seen(false, 10, 1), NONE));
	did(4, 5, snapshot(seen(true, 11, 2), seen(true, 12, 1)));
	require_yes(MODEL_WHOLE);
	/* Each flag alone may be as it is in a half of the batch. */
	events[2].sights[1] = (struct sight)NONE;
	require_no(MODEL_WHOLE);
	require_yes(0);
	require_yes(1);
}

static void reads_may_see_a_batch_in_parts(void **state)
{
	struct event second = got(false);

	(void)state;
	second.flag = 1;
	begin_history();
	did(1, 9, batch(2, FLAGSTORE_OK, WISH_TRUE, WISH_TRUE));
	did(2, 3, got(true));
	did(4, 5, second);
	require_yes(MODEL_WHOLE);
	require_yes(0);
	require_yes(1);
}

static void the_batch_of_the_killed_happens_whole_or_not_at_all(void **state)
{
	(void)state;
	begin_history();
	did(1, 0, batch(0, FLAGSTORE_OK, WISH_TOGGLE, WISH_TRUE));
	did(2, 3, snapshot(seen(false, 10, 1), NONE));
	did(4, 5, snapshot(seen(true, 11, 2), seen(true, 12, 1)));
	require_yes(MODEL_WHOLE);
	history.count = 2;
	did(4, 5, snapshot(seen(true, 11, 2), NONE));
	require_no(MODEL_WHOLE);
}

static void a_batch_that_was_refused_has_changed_nothing(void **state)
{
	(void)state;
	begin_history();
	did(1, 2, batch(0, FLAGSTORE_ENOTFOUND, WISH_TRUE, WISH_DELETE));
	did(3, 4, snapshot(seen(false, 10, 1), NONE));
	require_yes(MODEL_WHOLE);
	events[0].result = FLAGSTORE_OK;
	require_no(MODEL_WHOLE);
	events[0].result = FLAGSTORE_ENOTFOUND;
	events[1].sights[0] = (struct sight)seen(true, 11, 2);
	require_no(MODEL_WHOLE);
}

static void a_batch_tells_how_many_flags_it_changed(void **state)
{
	(void)state;
	begin_history();
	did(1, 2, batch(1, FLAGSTORE_OK, WISH_FALSE, WISH_FALSE));
	require_yes(MODEL_WHOLE);
	events[0].changed = 2;
	require_no(MODEL_WHOLE);
}

/* ------------------------------------------------------------------------------------------- flags, by chance */

static struct event any_event(uint64_t *random, const struct sight seen[MODEL_FLAGS])
{
	struct event event = {.act = (uint8_t)(random_next(random) % ACTS_COUNT),
	                      .flag = (uint8_t)(random_next(random) % MODEL_FLAGS)};

	if (event.act == ACT_SET)
		event.act = ACT_TOGGLE;
	event.desired = random_next(random) % 2;
	event.expected = random_next(random) % 2;
	if (event.act == ACT_COMPARE_VERSION && random_next(random) % 2)
		event.sights[event.flag] = seen[event.flag];
	for (unsigned i = 0; event.act == ACT_BATCH && i < MODEL_FLAGS; i++)
		event.wishes[i] = (uint8_t)(random_next(random) % (WISH_DELETE + 1));
	return event;
}

/* Changes what the event says came of it. */
static void falsify(struct event *event)
{
	if (event->act <= ACT_GET_MANY)
		event->answer = !event->answer;
	else if (event->act == ACT_LOOKUP)
		event->sights[event->flag].exists = !event->sights[event->flag].exists;
	else if (event->act == ACT_SNAPSHOT)
		event->sights[0].exists = !event->sights[0].exists;
	else
		event->result = event->result ? FLAGSTORE_OK : FLAGSTORE_ENOTFOUND;
}

static bool all_linearizable(void)
{
	bool all = model_judge(search, &history, MODEL_WHOLE) == LINEAR_YES;

	for (unsigned i = 0; i < MODEL_FLAGS; i++)
		all = model_judge(search, &history, i) == LINEAR_YES && all;
	return all;
}

/* Each operation happens at one moment, and begins a little before and ends a little after it; or its process dies
 * after that moment. */
static void histories_of_the_model_are_linearizable_until_they_are_falsified(void **state)
{
	enum { HISTORIES = 2000, OPERATIONS = 200 };
	static struct event many[OPERATIONS];
	static const struct event *all[OPERATIONS];
	uint64_t random = 2;
	unsigned found = 0;

	(void)state;
	for (unsigned i = 0; i < HISTORIES; i++) {
		struct model_flags flags = {.last_version = 0};
		struct sight seen[MODEL_FLAGS] = {{.exists = false}};
		size_t wrong = random_next(&random) % OPERATIONS;

		history = (struct history){.events = all, .count = OPERATIONS};
		for (size_t j = 0; j < OPERATIONS; j++) {
			many[j] = any_event(&random, seen);
			model_do(&flags, &many[j]);
			many[j].began = 1000 + j * 10 - random_next(&random) % 60;
			many[j].ended = random_next(&random) % 40 ? 1000 + j * 10 + random_next(&random) % 60 : 0;
			all[j] = &many[j];
			if (many[j].act == ACT_SNAPSHOT && many[j].ended)
				memcpy(seen, many[j].sights, sizeof seen);
		}
		note("history %u", i);
		require(all_linearizable());
		falsify(&many[wrong]);
		found += !all_linearizable();
	}
	/* Pending ones may have any result, and so may a read beside a write. */
	printf("# %u histories, with one wrong result each: %u found\n", HISTORIES, found);
	require(found > HISTORIES / 2);
}

static void a_person_is_told_what_does_not_fit(void **state)
{
	char text[4096] = "";
	FILE *to = fmemopen(text, sizeof text, "w");

	(void)state;
	begin_history();
	did(1000, 2000, set_to(true));
	did(3000, 4000, toggled(false));
	did(5000, 6000, got(true));
	require_no(0);
	require(to != NULL);
	model_explain(to, search, &history, 0);
	fclose(to);
	require(strstr(text, "of 3 operations the first 2 can be put in an order"));
	require(strstr(text, "process 1       2.000 to      3.000 us  toggle 0: OK, now false"));
	require(strstr(text, "-> false (change 3)"));
	require(strstr(text, "process 2       4.000 to      5.000 us  get 0: true"));
}

static int start_search(void **state)
{
	search = linear_search_new();
	return segments_setup(state);
}

static int end_search(void **state)
{
	linear_search_free(search);
	return segments_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_search_says_what_trying_all_orders_says),
		cmocka_unit_test(the_order_that_is_found_keeps_to_the_time),
		cmocka_unit_test(a_history_of_nothing_is_linearizable),
		cmocka_unit_test(many_pending_operations_are_searched_once_each),
		cmocka_unit_test(a_read_sees_the_last_write_that_ended),
		cmocka_unit_test(a_read_beside_a_write_sees_either),
		cmocka_unit_test(what_has_the_same_time_has_overlapped),
		cmocka_unit_test(a_write_of_the_killed_happens_once_or_never),
		cmocka_unit_test(no_update_is_lost),
		cmocka_unit_test(one_alone_inserts),
		cmocka_unit_test(every_result_is_looked_at),
		cmocka_unit_test(a_change_brings_another_version),
		cmocka_unit_test(a_flag_that_is_inserted_again_has_another_version),
		cmocka_unit_test(changes_are_counted),
		cmocka_unit_test(a_version_that_was_left_is_never_as_expected),
		cmocka_unit_test(a_snapshot_sees_a_batch_whole),
		cmocka_unit_test(reads_may_see_a_batch_in_parts),
		cmocka_unit_test(the_batch_of_the_killed_happens_whole_or_not_at_all),
		cmocka_unit_test(a_batch_that_was_refused_has_changed_nothing),
		cmocka_unit_test(a_batch_tells_how_many_flags_it_changed),
		cmocka_unit_test(histories_of_the_model_are_linearizable_until_they_are_falsified),
		cmocka_unit_test(a_person_is_told_what_does_not_fit),
	};

	return cmocka_run_group_tests(tests, start_search, end_search);
}
