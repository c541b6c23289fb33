/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * model.c: flags for one operation after the other.
 *
 * Versions are opaque: all that is promised is that each change of a flag brings one that the flag has not had before.
 * In the model a change leads to a state whose version is not known; the first look at it binds the version that was
 * seen; every other look must see the same until the next change. A version that was left must not be seen again:
 * therefore a state counts the looks in the history that have seen its version and are still to come, and can't change
 * before they have. The count of changes since the insert is promised exactly, and the model has it.
 */
#include "model.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <flagstore.h>

/* One flag's state. Of the numbers that are known only in a search, a missing flag has none. */
struct flag {
	uint64_t version; /* 0: not seen since the last change */
	uint32_t changes;
	uint32_t looks; /* that have seen the version and are still to come */
	uint32_t exists;
	uint32_t value;
};

static_assert(sizeof(struct flag) == 24, "no padding in what is compared byte by byte");

/* An event in one of the histories that are searched. */
struct part {
	const struct event *event;
	unsigned flag;               /* MODEL_WHOLE: all */
	uint32_t looks[MODEL_FLAGS]; /* by flag: so many looks see the version that this one has seen */
};

/* -------------------------------------------------------------------------------------------- point operations */

enum effect { KEEP, INSERT, CHANGE, REMOVE };

struct outcome {
	int result;
	enum effect effect;
	bool value;  /* after INSERT or CHANGE */
	bool answer; /* as in struct event */
};

static struct outcome refused(int result)
{
	return (struct outcome){.result = result};
}

/* A version that is not known yet differs from any that a process can expect: whoever expects one has seen it before,
 * so it was bound. */
static bool is_as_expected(const struct flag *flag, const struct sight *expected)
{
	return flag->version && flag->version == expected->version && flag->value == expected->value;
}

static struct outcome rule(const struct flag *flag, const struct event *event, unsigned number)
{
	const struct sight *expected = &event->sights[number];
	enum effect write = flag->exists ? CHANGE : INSERT;

	switch (event->act) {
	case ACT_GET:
	case ACT_HANDLE_GET:
	case ACT_GET_MANY:
		return (struct outcome){.answer = flag->exists && flag->value};
	case ACT_SET:
		if (flag->exists && flag->value == event->desired)
			return (struct outcome){.effect = KEEP};
		return (struct outcome){.effect = write, .value = event->desired};
	case ACT_SET_IF_ABSENT:
		if (flag->exists)
			return (struct outcome){.effect = KEEP};
		return (struct outcome){.effect = INSERT, .value = event->desired, .answer = true};
	case ACT_TOGGLE:
		if (!flag->exists)
			return refused(FLAGSTORE_ENOTFOUND);
		return (struct outcome){.effect = CHANGE, .value = !flag->value, .answer = !flag->value};
	case ACT_COMPARE:
		if (!flag->exists)
			return refused(FLAGSTORE_ENOTFOUND);
		if (flag->value != event->expected)
			return refused(FLAGSTORE_ECONFLICT);
		return (struct outcome){.effect = flag->value == event->desired ? KEEP : CHANGE, .value = event->desired};
	case ACT_COMPARE_VERSION:
		if (expected->exists && !flag->exists)
			return refused(FLAGSTORE_ENOTFOUND);
		if (expected->exists ? !is_as_expected(flag, expected) : flag->exists)
			return refused(FLAGSTORE_ECONFLICT);
		return (struct outcome){.effect = write, .value = event->desired};
	case ACT_DELETE:
		if (!flag->exists)
			return refused(FLAGSTORE_ENOTFOUND);
		return (struct outcome){.effect = REMOVE};
	default:
		abort();
	}
}

/* False when the flag can't leave its state yet. */
static bool apply(struct flag *flag, enum effect effect, bool value)
{
	if (effect == KEEP)
		return true;
	if (flag->looks)
		return false;
	if (effect == REMOVE)
		*flag = (struct flag){.exists = false};
	else
		*flag = (struct flag){.exists = true, .value = value, .changes = flag->changes + 1};
	return true;
}

static bool look(struct flag *flag, const struct sight *seen, uint32_t looks)
{
	if (flag->exists != seen->exists)
		return false;
	if (!flag->exists)
		return true;
	if (flag->value != seen->value || flag->changes != seen->changes)
		return false;
	if (!flag->version) {
		flag->version = seen->version;
		flag->looks = looks;
	}
	if (flag->version != seen->version || !flag->looks)
		return false;
	flag->looks--;
	return true;
}

static bool step_point(struct flag *flag, const struct part *part, unsigned number, bool pending)
{
	const struct event *event = part->event;
	struct outcome outcome;

	if (event->act == ACT_LOOKUP || event->act == ACT_SNAPSHOT)
		return look(flag, &event->sights[number], part->looks[number]);
	outcome = rule(flag, event, number);
	if (pending)
		return outcome.effect != KEEP && apply(flag, outcome.effect, outcome.value);
	return outcome.result == event->result && outcome.answer == event->answer &&
	       apply(flag, outcome.effect, outcome.value);
}

/* ------------------------------------------------------------------------------------------ batches, snapshots */

/* What the batch does with the flag, as the point operation that does the same. */
static struct outcome wish_rule(const struct flag *flag, enum wish wish)
{
	struct event same = {.act = ACT_SET, .desired = wish == WISH_TRUE};

	if (wish == WISH_NOTHING)
		return (struct outcome){.effect = KEEP};
	if (wish == WISH_TOGGLE)
		same.act = ACT_TOGGLE;
	else if (wish == WISH_DELETE)
		same.act = ACT_DELETE;
	return rule(flag, &same, 0);
}

static bool step_wish(struct flag *flag, enum wish wish, bool pending)
{
	struct outcome outcome = wish_rule(flag, wish);

	if (outcome.result || (pending && outcome.effect == KEEP))
		return false;
	return apply(flag, outcome.effect, outcome.value);
}

static bool step_batch(struct flag *flags, const struct event *event, bool pending)
{
	struct outcome outcomes[MODEL_FLAGS];
	uint32_t changed = 0;
	int result = FLAGSTORE_OK;

	for (unsigned i = 0; i < MODEL_FLAGS; i++) {
		outcomes[i] = wish_rule(&flags[i], event->wishes[i]);
		changed += outcomes[i].effect != KEEP;
		if (outcomes[i].result)
			result = outcomes[i].result;
	}
	if (pending ? result != FLAGSTORE_OK || !changed : result != event->result)
		return false;
	if (result)
		return true;
	for (unsigned i = 0; i < MODEL_FLAGS; i++)
		if (!apply(&flags[i], outcomes[i].effect, outcomes[i].value))
			return false;
	return pending || changed == event->changed;
}

static bool step_snapshot(struct flag *flags, const struct part *part)
{
	for (unsigned i = 0; i < MODEL_FLAGS; i++)
		if (!look(&flags[i], &part->event->sights[i], part->looks[i]))
			return false;
	return true;
}

static bool step_flag(void *state, const void *what, bool pending)
{
	const struct part *part = what;

	if (part->event->act == ACT_BATCH)
		return step_wish(state, part->event->wishes[part->flag], pending);
	return step_point(state, part, part->flag, pending);
}

static bool step_whole(void *state, const void *what, bool pending)
{
	const struct part *part = what;
	struct flag *flags = state;

	if (part->event->act == ACT_BATCH)
		return step_batch(flags, part->event, pending);
	if (part->event->act == ACT_SNAPSHOT)
		return step_snapshot(flags, part);
	return step_point(&flags[part->event->flag], part, part->event->flag, pending);
}

static const struct linear_model one_flag = {sizeof(struct flag), step_flag};
static const struct linear_model all_flags = {MODEL_FLAGS * sizeof(struct flag), step_whole};

/* ----------------------------------------------------------------------------------------- parts of a history */

static bool only_reads(const struct event *event)
{
	return event->act <= ACT_LOOKUP || event->act == ACT_SNAPSHOT;
}

static bool concerns_flag(const struct event *event, unsigned flag)
{
	if (event->act == ACT_SNAPSHOT)
		return true;
	if (event->act != ACT_BATCH)
		return event->flag == flag;
	/* One that was refused tells only that one of its flags was missing. */
	return event->wishes[flag] != WISH_NOTHING && (!event->ended || event->result == FLAGSTORE_OK);
}

static bool changed_something(const struct event *event)
{
	if (event->act == ACT_SET_IF_ABSENT)
		return event->answer;
	if (event->act == ACT_COMPARE)
		return event->result == FLAGSTORE_OK && event->expected != event->desired;
	return event->result == FLAGSTORE_OK;
}

static bool concerns_whole(const struct event *event)
{
	assert(event->act != ACT_SET);
	if (event->act == ACT_BATCH || event->act == ACT_SNAPSHOT)
		return true;
	return !only_reads(event) && (!event->ended || changed_something(event));
}

static bool concerns(const struct event *event, unsigned flag)
{
	/* A read that nobody heard the answer of says nothing. */
	if (!event->ended && only_reads(event))
		return false;
	return flag == MODEL_WHOLE ? concerns_whole(event) : concerns_flag(event, flag);
}

static bool looks_at(const struct event *event, unsigned flag)
{
	return (event->act == ACT_SNAPSHOT || (event->act == ACT_LOOKUP && event->flag == flag)) &&
	       event->sights[flag].exists;
}

/* One look at a version, and where the count of all looks at it belongs. */
struct glance {
	uint64_t version;
	uint32_t *looks;
	uint32_t one; /* 0: the start, which is not itself a look */
};

static int compare_glances(const void *left, const void *right)
{
	const struct glance *a = left, *b = right;

	return (a->version > b->version) - (a->version < b->version);
}

static void count_looks(const struct history *history, unsigned flag, struct part *parts, size_t count,
                        struct flag *start)
{
	struct glance *glances = calloc(count + 1, sizeof *glances);
	size_t used = 0;

	if (!glances)
		abort();
	if (start->exists)
		glances[used++] = (struct glance){history->start[flag].version, &start->looks, 0};
	for (size_t i = 0; i < count; i++)
		if (looks_at(parts[i].event, flag))
			glances[used++] = (struct glance){parts[i].event->sights[flag].version, &parts[i].looks[flag], 1};
	qsort(glances, used, sizeof *glances, compare_glances);
	for (size_t from = 0, to; from < used; from = to) {
		uint32_t looks = 0;

		for (to = from; to < used && glances[to].version == glances[from].version; to++)
			looks += glances[to].one;
		for (size_t i = from; i < to; i++)
			*glances[i].looks = looks;
	}
	free(glances);
}

/* What is given to the search. */
struct excerpt {
	const struct linear_model *model;
	struct flag start[MODEL_FLAGS]; /* of one flag alone: the first */
	struct part *parts;
	struct linear_operation *operations;
	size_t count;
};

static struct flag flag_of(const struct sight *sight)
{
	return (struct flag){sight->version, sight->changes, 0, sight->exists, sight->value};
}

static void excerpt_take(struct excerpt *excerpt, const struct history *history, unsigned flag)
{
	unsigned first = flag == MODEL_WHOLE ? 0 : flag, last = flag == MODEL_WHOLE ? MODEL_FLAGS - 1 : flag;

	memset(excerpt, 0, sizeof *excerpt);
	excerpt->model = flag == MODEL_WHOLE ? &all_flags : &one_flag;
	excerpt->parts = calloc(history->count + 1, sizeof *excerpt->parts);
	excerpt->operations = calloc(history->count + 1, sizeof *excerpt->operations);
	if (!excerpt->parts || !excerpt->operations)
		abort();
	for (size_t i = 0; i < history->count; i++) {
		const struct event *event = history->events[i];
		struct part *part = &excerpt->parts[excerpt->count];

		if (!concerns(event, flag))
			continue;
		*part = (struct part){.event = event, .flag = flag};
		excerpt->operations[excerpt->count++] =
			(struct linear_operation){event->began, event->ended ? event->ended : LINEAR_NEVER, part};
	}
	for (unsigned i = first; i <= last; i++) {
		excerpt->start[i - first] = flag_of(&history->start[i]);
		count_looks(history, i, excerpt->parts, excerpt->count, &excerpt->start[i - first]);
	}
}

static void excerpt_drop(struct excerpt *excerpt)
{
	free(excerpt->parts);
	free(excerpt->operations);
}

enum linear_verdict model_judge(struct linear_search *search, const struct history *history, unsigned flag)
{
	enum linear_verdict verdict;
	struct excerpt excerpt;

	excerpt_take(&excerpt, history, flag);
	verdict = linear_check(search, excerpt.model, excerpt.start, excerpt.operations, excerpt.count);
	excerpt_drop(&excerpt);
	return verdict;
}

/* --------------------------------------------------------------------------------------------- for a person */

/* Lines that are enough to see why, and no more than fit on a screen. */
enum { LAST_OPERATIONS = 14, PLACE = 256 };

static void append(char place[PLACE], const char *format, ...) __attribute__((format(printf, 2, 3)));

static void append(char place[PLACE], const char *format, ...)
{
	size_t length = strlen(place);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(place + length, PLACE - length, format, arguments);
	va_end(arguments);
}

static const char *word_of(bool value)
{
	return value ? "true" : "false";
}

static void append_sight(char place[PLACE], const struct sight *sight)
{
	if (!sight->exists)
		append(place, "missing");
	else if (sight->version)
		append(place, "%s (change %" PRIu32 ", version %#" PRIx64 ")", word_of(sight->value), sight->changes,
		       sight->version);
	else
		append(place, "%s (change %" PRIu32 ")", word_of(sight->value), sight->changes);
}

static void append_flags(char place[PLACE], const struct flag *flags, unsigned flag)
{
	unsigned last = flag == MODEL_WHOLE ? MODEL_FLAGS - 1 : 0;

	for (unsigned i = 0; i <= last; i++) {
		struct sight sight = {flags[i].version, flags[i].changes, flags[i].exists, flags[i].value};

		if (flag == MODEL_WHOLE)
			append(place, "%s%u: ", i ? ", " : "", i);
		append_sight(place, &sight);
	}
}

static const char *const acts[] = {
#define ACT_TEXT(name, text) text,
	ACTS(ACT_TEXT)
#undef ACT_TEXT
};

static void append_asked(char place[PLACE], const struct event *event)
{
	static const char *const wishes[] = {"nothing", "false", "true", "toggle", "delete"};

	append(place, "%s", acts[event->act]);
	if (event->act < ACT_BATCH)
		append(place, " %u", event->flag);
	if (event->act == ACT_SET || event->act == ACT_SET_IF_ABSENT)
		append(place, " %s", word_of(event->desired));
	if (event->act == ACT_COMPARE)
		append(place, " %s -> %s", word_of(event->expected), word_of(event->desired));
	if (event->act == ACT_COMPARE_VERSION) {
		append(place, " ");
		append_sight(place, &event->sights[event->flag]);
		append(place, " -> %s", word_of(event->desired));
	}
	for (unsigned i = 0; event->act == ACT_BATCH && i < MODEL_FLAGS; i++)
		if (event->wishes[i] != WISH_NOTHING)
			append(place, " %u: %s", i, wishes[event->wishes[i]]);
}

static void append_result(char place[PLACE], const struct event *event, unsigned flag)
{
	if (!event->ended) {
		append(place, "its process was killed");
	} else if (event->act <= ACT_GET_MANY) {
		append(place, "%s", word_of(event->answer));
	} else if (event->act == ACT_LOOKUP) {
		append_sight(place, &event->sights[event->flag]);
	} else if (event->act == ACT_SNAPSHOT) {
		for (unsigned i = 0; i < MODEL_FLAGS; i++) {
			if (flag != MODEL_WHOLE && flag != i)
				continue;
			append(place, "%s%u: ", i && flag == MODEL_WHOLE ? ", " : "", i);
			append_sight(place, &event->sights[i]);
		}
	} else {
		append(place, "%s", flagstore_error_name(event->result));
		if (event->result == FLAGSTORE_OK && event->act == ACT_TOGGLE)
			append(place, ", now %s", word_of(event->answer));
		if (event->result == FLAGSTORE_OK && event->act == ACT_SET_IF_ABSENT)
			append(place, ", %s", event->answer ? "inserted" : "it exists");
		if (event->result == FLAGSTORE_OK && event->act == ACT_BATCH)
			append(place, ", %" PRIu32 " changed", event->changed);
	}
}

static uint64_t earliest(const struct history *history)
{
	uint64_t time = UINT64_MAX;

	for (size_t i = 0; i < history->count; i++)
		if (history->events[i]->began < time)
			time = history->events[i]->began;
	return time;
}

static void print_event(FILE *to, const struct event *event, unsigned flag, uint64_t since)
{
	char asked[PLACE] = "", result[PLACE] = "", ended[32] = "never";

	append_asked(asked, event);
	append_result(result, event, flag);
	if (event->ended)
		snprintf(ended, sizeof ended, "%.3f", (double)(event->ended - since) / 1000);
	fprintf(to, "#   process %u  %10.3f to %10s us  %s: %s\n", event->who, (double)(event->began - since) / 1000, ended,
	        asked, result);
}

/* The order, with what the flag is after each, from the last few on. */
static void print_order(FILE *to, const struct excerpt *excerpt, unsigned flag, const size_t *order, size_t length,
                        uint64_t since)
{
	size_t from = length > LAST_OPERATIONS ? length - LAST_OPERATIONS : 0;
	struct flag flags[MODEL_FLAGS];
	char place[PLACE];

	memcpy(flags, excerpt->start, sizeof flags);
	for (size_t i = 0; i <= length; i++) {
		const struct linear_operation *operation = i ? &excerpt->operations[order[i - 1]] : NULL;

		if (i > from)
			print_event(to, ((const struct part *)operation->what)->event, flag, since);
		if (i)
			excerpt->model->step(flags, operation->what, operation->ended == LINEAR_NEVER);
		if (i < from)
			continue;
		place[0] = 0;
		append_flags(place, flags, flag);
		fprintf(to, "#     %s %s\n", i == 0 ? "at the start:" : i == from ? "by then:" : "->", place);
	}
}

static bool is_in(const size_t *order, size_t length, size_t operation)
{
	for (size_t i = 0; i < length; i++)
		if (order[i] == operation)
			return true;
	return false;
}

void model_explain(FILE *to, const struct linear_search *search, const struct history *history, unsigned flag)
{
	uint64_t since = earliest(history), until;
	struct excerpt excerpt;
	const size_t *order;
	size_t stuck, length = linear_order(search, &order, &stuck);

	excerpt_take(&excerpt, history, flag);
	fprintf(to, "# of %zu operations the first %zu can be put in an order; the last %d of it:\n", excerpt.count, length,
	        LAST_OPERATIONS);
	print_order(to, &excerpt, flag, order, length, since);
	fprintf(to, "# of those that had begun when the first of them ended, none can have come next:\n");
	until = excerpt.count ? excerpt.operations[stuck].ended : 0;
	for (size_t i = 0; i < excerpt.count; i++)
		if (excerpt.operations[i].began <= until && !is_in(order, length, i))
			print_event(to, excerpt.parts[i].event, flag, since);
	excerpt_drop(&excerpt);
}

/* ------------------------------------------------------------------------------------------ making histories */

static void do_effect(struct model_flags *flags, unsigned number, struct outcome outcome)
{
	struct sight *flag = &flags->flags[number];

	if (outcome.effect == REMOVE)
		*flag = (struct sight){.exists = false};
	else if (outcome.effect != KEEP)
		*flag = (struct sight){++flags->last_version, flag->changes + 1, true, outcome.value};
}

static void do_batch(struct model_flags *flags, struct event *event)
{
	event->changed = 0;
	event->result = FLAGSTORE_OK;
	for (unsigned i = 0; i < MODEL_FLAGS; i++) {
		struct flag flag = flag_of(&flags->flags[i]);

		if (wish_rule(&flag, event->wishes[i]).result)
			event->result = FLAGSTORE_ENOTFOUND;
	}
	for (unsigned i = 0; event->result == FLAGSTORE_OK && i < MODEL_FLAGS; i++) {
		struct flag flag = flag_of(&flags->flags[i]);
		struct outcome outcome = wish_rule(&flag, event->wishes[i]);

		event->changed += outcome.effect != KEEP;
		do_effect(flags, i, outcome);
	}
}

void model_do(struct model_flags *flags, struct event *event)
{
	struct flag flag = flag_of(&flags->flags[event->flag]);
	struct outcome outcome;

	if (event->act == ACT_BATCH) {
		do_batch(flags, event);
	} else if (event->act == ACT_SNAPSHOT) {
		memcpy(event->sights, flags->flags, sizeof event->sights);
	} else if (event->act == ACT_LOOKUP) {
		event->sights[event->flag] = flags->flags[event->flag];
	} else {
		outcome = rule(&flag, event, event->flag);
		event->result = (int16_t)outcome.result;
		event->answer = outcome.answer;
		do_effect(flags, event->flag, outcome);
	}
}
