/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * overtaken.c: reads that a writer overtakes. A reader is halted after some machine instruction of its read (stepper.h); meanwhile a writer
 * does one of all kinds of writes (operations.h, and one more), whole or up to one of its points (src/point.h), where it dies; then the
 * reader goes on, with what it had loaded before. Each answer must be what its flag was before the write or is after it. All the ways in which a
 * table may change between two loads of one read are among these, and no luck with the clock is needed to meet them.
 *
 * Instruction, point and keys are drawn. FLAGSTORE_TEST_DRAWS=N: so many for each kind of write.
 */
#include "afterlife.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "point.h"
#include "stepper.h"

enum { DRAWS = 160, KEYS_MOST = 4 };

static uint64_t random_state;

static unsigned draw(unsigned long below)
{
	return (unsigned)(random_next(&random_state) % below);
}

/* ------------------------------------------------------------------------------------------------- the writer */

/* Shared with it. */
static struct {
	unsigned long passed, fatal; /* points; 0: none is fatal */
} *points;

static bool armed; /* in the writer */

void fs_point(const char *name)
{
	(void)name;
	if (armed && ++points->passed == points->fatal)
		raise(SIGKILL);
}

static void write_once(void *argument)
{
	const struct witnesses *witnesses = argument;

	armed = true;
	require_ok(witnesses->scene->operation->run(witnesses->neighbour, witnesses->scene));
}

/* Until that point; 0: whole. Where the file has room from the time before there is a point less, and it may come through. */
static void write_until(const struct witnesses *witnesses, unsigned long fatal)
{
	int status;

	points->passed = 0;
	points->fatal = fatal;
	status = child_status(child(write_once, (void *)(uintptr_t)witnesses), 20000);
	require(status == 0 || (fatal && status == SIGKILL));
}

/* ------------------------------------------------------------------------------------------------- the reader */

enum read { GET, GET_MANY, LOOKUP, HANDLE_GET, READS };

static const char *const read_names[READS] = {"get", "get_many", "lookup", "handle_get"};

struct question {
	const struct witnesses *witnesses;
	enum read read;
	unsigned count;
	char keys[KEYS_MOST][FLAGSTORE_KEY_MAX + 1];
	const struct touched *touched[KEYS_MOST]; /* NULL: a bystander */
	bool bystander[KEYS_MOST];                /* what it is */
	unsigned long instruction, point;
};

/* Shared with the reader. */
static struct answer {
	bool exists[KEYS_MOST], values[KEYS_MOST];
} *answer;

static void ask_lookup(const struct question *question)
{
	struct flagstore_flag flag;
	int error;

	stepper_here();
	error = flagstore_lookup(question->witnesses->reader, question->keys[0], &flag);
	stepper_here();
	require(error == FLAGSTORE_OK || error == FLAGSTORE_ENOTFOUND);
	answer->exists[0] = !error;
	answer->values[0] = flag.value;
}

static void ask_handle(const struct question *question)
{
	flagstore_handle *handle;

	require_ok(flagstore_handle_open(question->witnesses->reader, question->keys[0], &handle));
	stepper_here();
	answer->values[0] = flagstore_handle_get(handle);
	stepper_here();
}

static void ask_get_many(const struct question *question)
{
	const char *keys[KEYS_MOST];

	for (unsigned i = 0; i < question->count; i++)
		keys[i] = question->keys[i];
	stepper_here();
	flagstore_get_many(question->witnesses->reader, keys, NULL, question->count, answer->values);
	stepper_here();
}

static void ask(void *argument)
{
	const struct question *question = argument;

	switch (question->read) {
	case GET:
		stepper_here();
		answer->values[0] = flagstore_get(question->witnesses->reader, question->keys[0]);
		stepper_here();
		break;
	case GET_MANY:
		ask_get_many(question);
		break;
	case LOOKUP:
		ask_lookup(question);
		break;
	default:
		ask_handle(question);
		break;
	}
}

/* ------------------------------------------------------------------------------------------------ what is asked */

static void draw_key(struct question *question, unsigned i)
{
	const struct scene *scene = question->witnesses->scene;
	unsigned number;

	if (scene->bystanders && (draw(3) || !scene->count)) {
		number = draw(scene->bystanders);
		question->touched[i] = NULL;
		question->bystander[i] = number % 2;
		bystander(question->keys[i], number);
		return;
	}
	question->touched[i] = &scene->touched[draw(scene->count)];
	memcpy(question->keys[i], question->touched[i]->key, sizeof question->keys[i]);
}

static bool can_be_asked(const struct question *question)
{
	/* There is no handle of a flag that does not exist. */
	return question->read != HANDLE_GET || !question->touched[0] || question->touched[0]->before != MISSING;
}

static void draw_question(struct question *question)
{
	do {
		question->read = (enum read)draw(READS);
		question->count = question->read == GET_MANY ? 1 + draw(KEYS_MOST) : 1;
		for (unsigned i = 0; i < question->count; i++)
			draw_key(question, i);
	} while (!can_be_asked(question));
}

static bool is_answer(const struct question *question, unsigned i, enum presence presence)
{
	return answer->values[i] == (presence == IS_TRUE) && (question->read != LOOKUP || answer->exists[i] == (presence != MISSING));
}

static void require_right(const struct question *question)
{
	for (unsigned i = 0; i < question->count; i++) {
		const struct touched *touched = question->touched[i];

		if (touched)
			require(is_answer(question, i, touched->before) || is_answer(question, i, touched->after));
		else
			require(is_answer(question, i, question->bystander[i] ? IS_TRUE : IS_FALSE));
	}
}

/* ------------------------------------------------------------------------------------- a slot that is taken over */

/* Not one write, so not one of operations[]: a flag that is false is deleted, and others, all of them true, come into its slot and go,
 * some with its tag. */
static int delete_and_take_over(flagstore *store, const struct scene *scene)
{
	int error = flagstore_delete(store, scene->touched[0].key);
	char key[KEY_ROOM];

	for (unsigned i = 0; i < 40 && !error; i++) {
		error = flagstore_set(store, key_of(key, "heir", i), true);
		if (!error)
			error = flagstore_delete(store, key);
	}
	return error;
}

static void prepare_takeover(flagstore *store, struct scene *scene)
{
	char key[KEY_ROOM];

	/* Not noted as bystanders: nobody is to ask for them. With one more the table would grow. */
	for (unsigned i = 0; i < 13; i++)
		require_ok(flagstore_set(store, bystander(key, i), true));
	scene->count = 1;
	scene->touched[0] = (struct touched){"heritage", IS_FALSE, MISSING};
	require_ok(flagstore_set(store, scene->touched[0].key, false));
}

static const struct operation takeover = {"a delete, and others that come and go in the slot", 1, prepare_takeover, delete_and_take_over};

/* -------------------------------------------------------------------------------------------------------- tests */

static void write_meanwhile(void *argument)
{
	const struct question *question = argument;

	write_until(question->witnesses, question->point);
}

/* About as many instructions as such a read has; it depends on the keys. */
static unsigned long instructions_of(struct question *question)
{
	static unsigned long counts[READS][KEYS_MOST + 1];
	unsigned long *count = &counts[question->read][question->count];

	if (!*count)
		*count = stepper_count(ask, question);
	return *count;
}

/* False when the read had come to its end before. */
static bool overtake_once(struct witnesses *witnesses, unsigned long all)
{
	struct question question = {.witnesses = witnesses};
	bool overtaken;

	draw_question(&question);
	question.instruction = draw(instructions_of(&question) * 5 / 4);
	/* All, or up to one of them. */
	question.point = draw(all + 1);
	note("%s up to point %lu of %lu, after instruction %lu of %s of %u keys, the first is \"%.40s\"", witnesses->scene->operation->name,
	     question.point, all, question.instruction, read_names[question.read], question.count, question.keys[0]);
	memset(answer, 2, sizeof *answer);
	overtaken = stepper_interrupt(question.instruction, ask, &question, write_meanwhile, &question);
	require_right(&question);
	return overtaken;
}

static unsigned long draws_wanted(void)
{
	const char *wanted = getenv("FLAGSTORE_TEST_DRAWS");

	return wanted ? strtoul(wanted, NULL, 10) : DRAWS;
}

static unsigned long overtake(const struct operation *operation, unsigned long draws)
{
	struct witnesses witnesses;
	struct scene scene;
	unsigned long all, overtaken = 0;

	open_scene(operation, &scene);
	call_witnesses(&witnesses, &scene);
	write_until(&witnesses, 0);
	all = points->passed;
	for (unsigned long i = 0; i < draws; i++) {
		rewind_victim(&witnesses);
		overtaken += overtake_once(&witnesses, all);
	}
	printf("# %-55s %lu reads overtaken\n", operation->name, overtaken);
	require(overtaken > draws / 2);
	dismiss_witnesses(&witnesses);
	close_scene(&scene);
	return overtaken;
}

static void a_read_that_is_overtaken_gives_a_right_answer(void **state)
{
	unsigned long overtaken = 0;

	(void)state;
	random_state = (uint64_t)now_us();
	printf("# seed %ju\n", (uintmax_t)random_state);
	for (unsigned i = 0; i < operations_count; i++)
		overtaken += overtake(&operations[i], draws_wanted());
	/* A few instructions of the read and a third of the heirs matter. */
	overtaken += overtake(&takeover, 10 * draws_wanted());
	printf("# %lu reads overtaken\n", overtaken);
}

int main(void)
{
	const struct CMUnitTest overtaken[] = {
		cmocka_unit_test(a_read_that_is_overtaken_gives_a_right_answer),
	};

	points = shared_memory(sizeof *points);
	answer = shared_memory(sizeof *answer);
	return cmocka_run_group_tests(overtaken, segments_setup, segments_teardown);
}
