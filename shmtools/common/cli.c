/* SPDX-License-Identifier: BSD-2-Clause
 * Copyright (c) The flagstore authors
 *
 * cli.c: parses a command line by the tables of cli.h. Touches what the options tables point to, and nothing else. */
#include "cli.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <flagstore.h>
#include <libutil.h>

#include "output.h"
#include "quantity.h"
#include "value.h"

enum {
	CLI_OPTIONS_MAX = 24, /* options of one command, the common ones included */
	CLI_LONG = 256,       /* getopt_long(3) answers CLI_LONG + index for an option, also when it has a letter */
};

bool cli_json;

static bool help, version;
static const struct cli_program *program;
static const struct cli_command *command;

static const struct cli_option common_options[] = {
	CLI_SWITCH('j', "json", &cli_json, "print JSON, errors too"),
	CLI_SWITCH('h', "help", &help, "print this help"),
	CLI_SWITCH('V', "version", &version, "print the version"),
	CLI_OPTIONS_END,
};

/* A program that is one command. */
static bool is_single(void)
{
	return program->commands[0]->name == NULL;
}

static void print_usage_line(FILE *file)
{
	if (is_single())
		fprintf(file, "usage: %s [options] %s\n", program->name, program->commands[0]->operands);
	else if (!command)
		fprintf(file, "usage: %s COMMAND [options] [operands]\n", program->name);
	else
		fprintf(file, "usage: %s %s [options]%s%s\n", program->name, command->name, *command->operands ? " " : "",
		        command->operands);
}

void cli_usage(const char *format, ...)
{
	char reason[2048];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof reason, format, arguments);
	va_end(arguments);
	if (command && command->name)
		failure(STATUS_USAGE, "%s: %s", command->name, reason);
	else
		failure(STATUS_USAGE, "%s", reason);
	if (!cli_json) {
		print_usage_line(stderr);
		fprintf(stderr, "`%s%s%s --help' says more\n", program->name, command && command->name ? " " : "",
		        command && command->name ? command->name : "");
	}
	exit(STATUS_USAGE);
}

static void print_option(const struct cli_option *option)
{
	char letter[] = {'-', option->letter, ',', '\0'}, name[64];

	snprintf(name, sizeof name, "--%s%s%s", option->name, option->argument ? " " : "",
	         option->argument ? option->argument : "");
	printf("  %3s %-22s %s\n", option->letter ? letter : "", name, option->summary);
}

static void print_options(const struct cli_option *options)
{
	for (; options && options->kind != CLI_END; options++)
		print_option(options);
}

static void print_statuses(void)
{
	printf("\nexit status:\n");
#define STATUS_LINE(name, number, meaning) printf("  %2d  %s\n", number, meaning);
	STATUSES(STATUS_LINE)
#undef STATUS_LINE
}

static void print_command_help(void)
{
	print_usage_line(stdout);
	printf("\n%s\n", is_single() ? program->summary : command->summary);
	if (command->alias)
		printf("Alias: %s\n", command->alias);
	if (command->details)
		printf("\n%s", command->details);
	printf("\n");
	print_options(command->options);
	print_options(common_options);
	if (is_single())
		print_statuses();
}

static void print_program_help(void)
{
	print_usage_line(stdout);
	printf("\n%s\n\ncommands:\n", program->summary);
	for (size_t i = 0; program->commands[i]; i++)
		printf("  %-12s %s\n", program->commands[i]->name, program->commands[i]->summary);
	printf("\n`%s COMMAND --help' describes a command, %s(1) all of them.\n", program->name, program->name);
	print_statuses();
}

static int print_version(void)
{
	printf("%s (flagstore) %s\n", program->name, flagstore_version());
	return output_flush();
}

static const struct cli_command *find_command(const char *name)
{
	for (size_t i = 0; program->commands[i]; i++) {
		const struct cli_command *candidate = program->commands[i];

		if (strcmp(name, candidate->name) == 0 || (candidate->alias && strcmp(name, candidate->alias) == 0))
			return candidate;
	}
	cli_usage("there is no command `%s'", name);
}

static bool parse_mode(const char *text, uint64_t *mode)
{
	char *end;

	if (strspn(text, "01234567") == 0)
		return false;
	*mode = strtoul(text, &end, 8);
	return *end == '\0';
}

static bool parse_number(const char *text, uint64_t *number)
{
	const char *error;

	*number = (uint64_t)strtonum(text, 0, INT64_MAX, &error);
	return error == NULL;
}

static bool parse_value(const char *text, uint64_t *number)
{
	bool value;

	if (!value_parse(text, strlen(text), &value))
		return false;
	*number = value;
	return true;
}

/* What a kind of option takes: how it is parsed, and what to tell a user who gave something else. */
static const struct {
	bool (*parse)(const char *text, uint64_t *number);
	struct quantity (*show)(uint64_t number);
	const char *expected;
} kinds[] = {
	[CLI_KIND_NUMBER] = {parse_number, NULL, "a whole number"},
	[CLI_KIND_MODE] = {parse_mode, NULL, "permission bits in octal, such as 0660"},
	[CLI_KIND_SIZE] = {size_parse, size_text, "a size, such as 64M"},
	[CLI_KIND_DURATION] = {duration_parse, NULL, "a duration, such as 500ms, 10s or 2m"},
	[CLI_KIND_VALUE] = {parse_value, NULL, VALUE_FORMS},
};

static void refuse_range(const struct cli_option *option, const char *text)
{
	switch (option->kind) {
	case CLI_KIND_SIZE:
		cli_usage("--%s %s: it must be from %s to %s", option->name, text, size_text(option->least).text,
		          size_text(option->most).text);
	case CLI_KIND_DURATION:
		cli_usage("--%s %s: it must be from %ju to %ju ms", option->name, text, (uintmax_t)option->least,
		          (uintmax_t)option->most);
	case CLI_KIND_MODE:
		cli_usage("--%s %s: no bits but those of 0%jo are possible", option->name, text, (uintmax_t)option->most);
	default:
		cli_usage("--%s %s: it must be from %ju to %ju", option->name, text, (uintmax_t)option->least,
		          (uintmax_t)option->most);
	}
}

static bool in_range(const struct cli_option *option, uint64_t number)
{
	if (option->kind == CLI_KIND_MODE)
		return (number & ~option->most) == 0;
	return number >= option->least && number <= option->most;
}

static void take_option(const struct cli_option *option, const char *text)
{
	uint64_t number;

	if (option->given)
		*option->given = true;
	if (option->kind == CLI_KIND_SWITCH)
		return;
	if (option->kind == CLI_KIND_TEXT) {
		*option->text = text;
		return;
	}
	if (!kinds[option->kind].parse(text, &number))
		cli_usage("--%s takes %s, not `%s'", option->name, kinds[option->kind].expected, text);
	if (!in_range(option, number))
		refuse_range(option, text);
	*option->number = number;
}

/* The command's options and the common ones, as getopt_long(3) wants them. */
struct getopt_tables {
	const struct cli_option *options[CLI_OPTIONS_MAX];
	struct option longs[CLI_OPTIONS_MAX + 1];
	char letters[2 * CLI_OPTIONS_MAX + 2];
	int count;
};

static void add_options(struct getopt_tables *tables, const struct cli_option *options)
{
	size_t length = strlen(tables->letters);

	for (; options && options->kind != CLI_END; options++) {
		bool takes_value = options->kind != CLI_KIND_SWITCH;
		int index = tables->count++;

		if (index == CLI_OPTIONS_MAX)
			abort();
		tables->options[index] = options;
		tables->longs[index] = (struct option){options->name, takes_value ? required_argument : no_argument, NULL,
		                                       CLI_LONG + index};
		if (!options->letter)
			continue;
		tables->letters[length++] = options->letter;
		if (takes_value)
			tables->letters[length++] = ':';
	}
}

static const struct cli_option *option_of(const struct getopt_tables *tables, int answer)
{
	if (answer >= CLI_LONG)
		return tables->options[answer - CLI_LONG];
	for (int i = 0; i < tables->count; i++) {
		if (tables->options[i]->letter == answer)
			return tables->options[i];
	}
	abort();
}

/* Returns the index of the first operand in argv, which getopt_long(3) has sorted: options first. */
static int parse_options(int argc, char **argv)
{
	struct getopt_tables tables = {.letters = ":"};
	int answer;

	add_options(&tables, command->options);
	add_options(&tables, common_options);
	optind = 1;
	opterr = 0;
	while ((answer = getopt_long(argc, argv, tables.letters, tables.longs, NULL)) != -1) {
		if (answer == ':')
			cli_usage("option `%s' needs a value", argv[optind - 1]);
		if (answer == '?' && optopt > 0 && optopt < CLI_LONG)
			cli_usage("there is no option `-%c'", optopt);
		if (answer == '?')
			cli_usage("option `%s' is unknown, ambiguous or takes no value", argv[optind - 1]);
		take_option(option_of(&tables, answer), optarg);
	}
	return optind;
}

static void check_operands(int count)
{
	if (count < command->least)
		cli_usage(command->least == 1 ? "an operand is missing" : "operands are missing");
	if (command->most != CLI_ANY_NUMBER && count > command->most)
		cli_usage("there are too many operands");
}

static int run_command(int argc, char **argv)
{
	int first = parse_options(argc, argv);
	int status, flushed;

	if (version)
		return print_version();
	if (help) {
		print_command_help();
		return output_flush();
	}
	check_operands(argc - first);
	status = command->run(argc - first, argv + first);
	flushed = output_flush();
	return flushed ? flushed : status;
}

static bool is_one_of(const char *argument, const char *letter, const char *name)
{
	return strcmp(argument, letter) == 0 || strcmp(argument, name) == 0;
}

/* A segment opened as descriptor 1 would take what is printed for its header. A closed one is given back as one that
 * fails: not writable for output, not readable for input. */
static void occupy_standard_descriptors(void)
{
	for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; descriptor++) {
		if (fcntl(descriptor, F_GETFD) < 0 && open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
			exit(STATUS_SYSTEM);
	}
}

int cli_main(const struct cli_program *the_program, int argc, char **argv)
{
	occupy_standard_descriptors();
	program = the_program;
	setprogname(program->name);
	signal(SIGPIPE, SIG_IGN);

	if (is_single()) {
		command = program->commands[0];
		return run_command(argc, argv);
	}
	if (argc < 2)
		cli_usage("a command is missing");
	if (is_one_of(argv[1], "-V", "--version"))
		return print_version();
	if (is_one_of(argv[1], "-h", "--help") || strcmp(argv[1], "help") == 0) {
		if (argc == 2) {
			print_program_help();
			return output_flush();
		}
		command = find_command(argv[2]);
		print_command_help();
		return output_flush();
	}
	if (argv[1][0] == '-')
		cli_usage("`%s' stands before the command; options come after it", argv[1]);
	command = find_command(argv[1]);
	return run_command(argc - 1, argv + 1);
}
