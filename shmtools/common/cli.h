/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * cli.h: what a command line looks like, written once.
 *
 * A tool is a table of commands; a command is a file with one row: its name, operands, summary, options and function.
 * From that row come the parsing (getopt_long(3)), the checks of operands and values, --help, and every usage error. So
 * a command's function starts with everything parsed, in range, and stored where its options table says.
 *
 *	static uint64_t workers = 4;
 *	static const struct cli_option options[] = {
 *		CLI_NUMBER('w', "workers", "N", &workers, 1, 64, "how many worker processes read (4)"),
 *		CLI_OPTIONS_END,
 *	};
 *	static int run(int count, char **operands) { ... return STATUS_DONE; }
 *	const struct cli_command command_run = {
 *		.name = "run", .operands = "NAME", .least = 1, .most = 1,
 *		.summary = "run workers on a segment", .options = options, .run = run,
 *	};
 *
 *	int main(int argc, char **argv) { return cli_main(&flaglab, argc, argv); }
 *
 * A tool that does one thing has one row, without a name, and its options come right behind its own name.
 *
 * Every command has --json, --help and --version without naming them. Bad usage ends the process with STATUS_USAGE. */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "failure.h"

enum cli_kind {
	CLI_END,
	CLI_KIND_SWITCH,   /* takes no value */
	CLI_KIND_TEXT,     /* any value */
	CLI_KIND_NUMBER,   /* a whole number */
	CLI_KIND_MODE,     /* permission bits, octal */
	CLI_KIND_SIZE,     /* bytes, with a suffix as expand_number(3) takes it */
	CLI_KIND_DURATION, /* see quantity.h; stored as milliseconds */
	CLI_KIND_VALUE,    /* a flag's value, see value.h; stored as 0 or 1 */
};

struct cli_option {
	enum cli_kind kind;
	char letter; /* 0: the option has a long name alone */
	const char *name;
	const char *argument; /* what --help calls the value */
	const char *summary;
	bool *given;       /* the switch; for other kinds whether the option was given, may be NULL */
	const char **text; /* CLI_KIND_TEXT */
	uint64_t *number;  /* all other kinds */
	uint64_t least, most;
};

#define CLI_SWITCH(letter, name, given, summary) {CLI_KIND_SWITCH, letter, name, NULL, summary, given, NULL, NULL, 0, 0}
#define CLI_TEXT(letter, name, argument, text, summary)                                                                \
	{CLI_KIND_TEXT, letter, name, argument, summary, NULL, text, NULL, 0, 0}
#define CLI_NUMBER(letter, name, argument, number, least, most, summary)                                               \
	{CLI_KIND_NUMBER, letter, name, argument, summary, NULL, NULL, number, least, most}
#define CLI_MODE(letter, name, argument, number, most, summary)                                                        \
	{CLI_KIND_MODE, letter, name, argument, summary, NULL, NULL, number, 0, most}
#define CLI_SIZE(letter, name, argument, number, least, most, summary)                                                 \
	{CLI_KIND_SIZE, letter, name, argument, summary, NULL, NULL, number, least, most}
#define CLI_DURATION(letter, name, argument, given, milliseconds, least, most, summary)                                \
	{CLI_KIND_DURATION, letter, name, argument, summary, given, NULL, milliseconds, least, most}
#define CLI_VALUE(letter, name, given, number, summary)                                                                \
	{CLI_KIND_VALUE, letter, name, "VALUE", summary, given, NULL, number, 0, 1}
#define CLI_OPTIONS_END {CLI_END, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0}

#define CLI_ANY_NUMBER (-1) /* for most: no limit */

struct cli_command {
	const char *name;
	const char *alias;    /* a shorter name; NULL: none */
	const char *operands; /* as --help shows them, "" for none */
	int least, most;      /* how many operands */
	const char *summary;  /* one line, no capital, no full stop */
	const char *details;  /* more lines for --help, each ended by a newline; NULL: none */
	const struct cli_option *options; /* ended by CLI_OPTIONS_END; NULL: none of its own */
	int (*run)(int count, char **operands); /* returns the exit status, enum status */
};

struct cli_program {
	const char *name;
	const char *summary;
	const struct cli_command *const *commands; /* ended by NULL; one without a name is all that the program does */
};

/* --json was given: a command prints JSON (output.h), and failures are JSON too (failure.h). */
extern bool cli_json;

/* Runs the command that argv names, or the only one, and returns the process's exit status, after making sure that everything written to
 * standard output has arrived. Ignores SIGPIPE, so that a closed pipe is a failure like any other. */
int cli_main(const struct cli_program *program, int argc, char **argv);

/* For what the tables can't express: says what is wrong with the usage of the command that runs, and exits. */
_Noreturn void cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
