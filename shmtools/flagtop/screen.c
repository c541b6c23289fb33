/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * screen.c: the live view: a loop of looks and keys. What it looks like is the business of draw.c. */
#include <curses.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "draw.h"
#include "failure.h"
#include "guard.h"
#include "nanoseconds.h"
#include "options.h"
#include "pace.h"
#include "quantity.h"
#include "terminal.h"

enum {
	FIRST_LOOK_MS = 500, /* nobody wants to look at an empty screen for a long interval */
	MESSAGE_MS = 4000,
};

static const uint64_t intervals[] = {100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000};

struct screen {
	const struct options *options;
	struct picture picture;
	size_t sort[VIEWS];
	bool reverse[VIEWS];
	size_t offset[VIEWS];
	uint64_t interval_ms;
	int guard_wanted;         /* asked for, not yet confirmed; -1: nothing is asked */
	int64_t message_until_ns; /* 0: none */
	int64_t next_look_ns;
	bool quit;
};

static void say(struct screen *screen, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct screen *screen, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(screen->picture.message, sizeof screen->picture.message, format, arguments);
	va_end(arguments);
	screen->message_until_ns = monotonic_now() + MESSAGE_MS * INT64_C(1000000);
}

static void forget_message(struct screen *screen)
{
	screen->picture.message[0] = '\0';
	screen->message_until_ns = 0;
}

static void show_view(struct screen *screen, enum view view)
{
	screen->picture.view = view;
}

static void move_sort(struct screen *screen, size_t by)
{
	enum view view = screen->picture.view;

	screen->sort[view] = (screen->sort[view] + by) % table_column_count(view);
	say(screen, "sorted by %s", table_columns(view)[screen->sort[view]].title);
}

static void change_interval(struct screen *screen, bool longer)
{
	size_t count = sizeof intervals / sizeof *intervals, i = 0;

	if (longer) {
		while (i + 1 < count && intervals[i] <= screen->interval_ms)
			i++;
	} else {
		i = count - 1;
		while (i > 0 && intervals[i] >= screen->interval_ms)
			i--;
	}
	screen->interval_ms = intervals[i];
	screen->next_look_ns = monotonic_now() + (int64_t)screen->interval_ms * 1000000;
	say(screen, "every %s", duration_text(screen->interval_ms * 1000000).text);
}

static void ask_guard(struct screen *screen)
{
	if (!screen->picture.frame)
		return;
	screen->guard_wanted = (screen->picture.frame->guard + 1) % (FLAGSTORE_GUARD_ENFORCE + 1);
	/* An abort ends every worker that meets another: not a thing to be cycled through. */
	if (screen->guard_wanted == FLAGSTORE_GUARD_ABORT)
		screen->guard_wanted = FLAGSTORE_GUARD_ENFORCE;
	say(screen, "guard %s -> %s in all workers? y/n", flagstore_guard_name(screen->picture.frame->guard),
	    flagstore_guard_name(screen->guard_wanted));
	screen->message_until_ns = 0; /* a question waits */
}

static void answer_guard(struct screen *screen, int key)
{
	int wanted = screen->guard_wanted, error;

	screen->guard_wanted = -1;
	if (key != 'y' && key != 'Y') {
		say(screen, "the guard stays as it is");
		return;
	}
	error = guard_set(screen->options->segment, screen->picture.frame->uuid, wanted);
	if (error == FLAGSTORE_ENOSEGMENT)
		say(screen, "the guard stays as it is: the segment that is shown has been unlinked");
	else if (error)
		say(screen, "%s", text_phrase(*flagstore_detail() ? flagstore_detail() : flagstore_strerror(error)).text);
	else
		say(screen, "the guard is set to %s", flagstore_guard_name(wanted));
}

static void scroll_by(struct screen *screen, long rows)
{
	size_t *offset = &screen->offset[screen->picture.view];

	if (rows < 0)
		*offset = *offset > (size_t)-rows ? *offset - (size_t)-rows : 0;
	else
		*offset += (size_t)rows; /* draw.c keeps it within the table */
}

static void take_key(struct screen *screen, int key)
{
	struct picture *picture = &screen->picture;
	long page = LINES > 12 ? LINES - 8 : 4;

	if (screen->guard_wanted >= 0 && key != KEY_RESIZE) {
		answer_guard(screen, key);
		return;
	}
	if (picture->help && key != KEY_RESIZE) {
		picture->help = false;
		return;
	}
	switch (key) {
	case '1': case '2': case '3': case '4': case '5':
		show_view(screen, (enum view)(key - '1'));
		break;
	case '\t':
		show_view(screen, (enum view)((picture->view + 1) % VIEWS));
		break;
	case KEY_BTAB:
		show_view(screen, (enum view)((picture->view + VIEWS - 1) % VIEWS));
		break;
	case 's':
		move_sort(screen, 1);
		break;
	case 'S':
		move_sort(screen, table_column_count(picture->view) - 1);
		break;
	case 'r':
		screen->reverse[picture->view] = !screen->reverse[picture->view];
		break;
	case ' ':
		picture->paused = !picture->paused;
		break;
	case '+': case '=':
		change_interval(screen, true);
		break;
	case '-':
		change_interval(screen, false);
		break;
	case 'g':
		ask_guard(screen);
		break;
	case '?': case 'h':
		picture->help = true;
		break;
	case KEY_UP: case 'k':
		scroll_by(screen, -1);
		break;
	case KEY_DOWN: case 'j':
		scroll_by(screen, 1);
		break;
	case KEY_PPAGE:
		scroll_by(screen, -page);
		break;
	case KEY_NPAGE:
		scroll_by(screen, page);
		break;
	case KEY_HOME:
		screen->offset[picture->view] = 0;
		break;
	case '\f':
		clearok(stdscr, TRUE);
		break;
	case 'q':
		screen->quit = true;
		break;
	default:
		break;
	}
}

static void draw_now(struct screen *screen)
{
	struct picture *picture = &screen->picture;

	picture->sort = screen->sort[picture->view];
	picture->reverse = screen->reverse[picture->view];
	picture->interval_ms = screen->interval_ms;
	draw(picture, &screen->offset[picture->view]);
}

/* Waits for a key until something else is due. Returns whether there is something new to show. */
static bool wait_for_key(struct screen *screen)
{
	bool gone, pressed = false;
	int key = terminal_key(MODEL_POLL_MS, &gone);

	for (; key != ERR; key = terminal_key(0, &gone)) {
		if (screen->guard_wanted < 0)
			forget_message(screen);
		take_key(screen, key);
		pressed = true;
	}
	screen->quit |= gone;
	if (screen->message_until_ns != 0 && monotonic_now() > screen->message_until_ns) {
		forget_message(screen);
		pressed = true;
	}
	return pressed;
}

static int look(struct screen *screen, struct model *model, uint64_t *looks)
{
	int error = model_look(model, &screen->picture.frame);

	if (!error && screen->picture.frame->truncated)
		error = FLAGSTORE_ETRUNCATED;
	screen->next_look_ns = monotonic_now() + (int64_t)screen->interval_ms * 1000000;
	if (++*looks == screen->options->count)
		screen->quit = true;
	return error;
}

static int follow(struct screen *screen, struct model *model)
{
	uint64_t looks = 0;
	int error = FLAGSTORE_OK;

	draw_now(screen);
	while (!error && !screen->quit && !pace_signal()) {
		bool fresh = wait_for_key(screen);

		error = model_poll(model);
		if (!error && !screen->picture.paused && monotonic_now() >= screen->next_look_ns) {
			error = look(screen, model, &looks);
			fresh = true;
		}
		if (fresh && !error)
			draw_now(screen);
	}
	return error;
}

int screen_run(const struct options *options, struct model *model)
{
	static struct screen screen;
	int error, status;

	screen = (struct screen){.options = options, .interval_ms = options->interval_ms, .guard_wanted = -1};
	screen.picture.segment = options->segment;
	screen.picture.view = options->view;
	for (int view = 0; view < VIEWS; view++)
		screen.sort[view] = table_first_sort((enum view)view);
	screen.sort[options->view] = options->sort;
	screen.reverse[options->view] = options->reverse;
	screen.next_look_ns =
		monotonic_now() + (int64_t)(options->interval_ms < FIRST_LOOK_MS ? options->interval_ms : FIRST_LOOK_MS) * 1000000;

	/* Before ncurses looks which signals are free. */
	pace_catch_signals();
	status = terminal_begin();
	if (status)
		return status;
	error = follow(&screen, model);
	terminal_end();
	draw_end();
	if (error)
		return show_failure(options, error);
	return pace_signal() ? 128 + pace_signal() : STATUS_DONE;
}
