/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * terminal.c: the terminal, taken and given back. ncurses does it but for one case: a crash, where none of its functions may be called.
 * Then what it would send has been written down before. */
#include "terminal.h"

#include <curses.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>

#include "failure.h"

static SCREEN *screen;
static volatile sig_atomic_t taken; /* what follows is written down, and is to be sent */
static bool colored;

static struct termios before;
static char leave[128]; /* leaves the screen for programs, and shows the cursor */
static size_t leave_length;

static void note_leave(const char *capability)
{
	const char *text = tigetstr(capability);
	size_t length = text && text != (const char *)-1 ? strlen(text) : 0;

	if (leave_length + length > sizeof leave)
		return;
	memcpy(leave + leave_length, text ? text : "", length);
	leave_length += length;
}

static void crash(int number)
{
	ssize_t ignored = taken ? write(STDOUT_FILENO, leave, leave_length) : 0;

	(void)ignored;
	if (taken)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
	/* This time it ends the process. Of SIGBUS the library's handler is the one that is reset, not this one, which it calls. */
	signal(number, SIG_DFL);
	raise(number);
}

void terminal_catch_crashes(void)
{
	static const int signals[] = {SIGSEGV, SIGABRT, SIGILL, SIGFPE, SIGBUS, SIGSYS, SIGTRAP};
	struct sigaction action = {.sa_handler = crash, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};

	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaction(signals[i], &action, NULL);
}

static void begin_colors(void)
{
	const char *unwanted = getenv("NO_COLOR");

	if ((unwanted && *unwanted) || !has_colors() || start_color() == ERR)
		return;
	use_default_colors();
	init_pair(TERMINAL_GREEN, COLOR_GREEN, -1);
	init_pair(TERMINAL_YELLOW, COLOR_YELLOW, -1);
	init_pair(TERMINAL_RED, COLOR_RED, -1);
	colored = true;
}

int terminal_begin(void)
{
	const char *name = getenv("TERM");

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0)
		return failure(STATUS_USAGE, "standard input and output are no terminal: --batch, --once and --json do without one");
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		return failure(STATUS_USAGE, "the terminal type `%s' is not known here: set TERM, or use --batch, which does without",
		               name ? name : "");
	atexit(terminal_end);
	note_leave("rmcup");
	note_leave("cnorm");
	taken = true;
	set_escdelay(25);
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	curs_set(0);
	begin_colors();
	return STATUS_DONE;
}

int terminal_color(enum terminal_color color)
{
	if (colored && color != TERMINAL_PLAIN)
		return (int)COLOR_PAIR(color) | (color == TERMINAL_RED ? (int)A_BOLD : 0);
	return color == TERMINAL_RED ? (int)A_BOLD : 0;
}

int terminal_key(int milliseconds, bool *gone)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	int key;

	/* The keys that are here already come first; a signal, of a new size for instance, ends the wait. */
	key = getch();
	if (key == ERR && poll(&input, 1, milliseconds) >= 0)
		key = getch();
	*gone = key == ERR && (input.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
	return key;
}

void terminal_end(void)
{
	if (!screen)
		return;
	taken = false;
	endwin();
	delscreen(screen);
	screen = NULL;
}
