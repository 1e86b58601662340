/*
 * NAME
 *	postern - the administrator's command
 *
 * SYNOPSIS
 *	postern [-c FILE] [--json] NOUN VERB ...
 *
 * DESCRIPTION
 *	See postern(1). The table below is all there is to know about the command line: dispatch,
 *	checking and usage text come from it.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/daemon.h"
#include "common/log.h"
#include "common/sql.h"
#include "postern/postern.h"

#define YES                                                                                        \
	{                                                                                          \
		"yes", NULL, "do not ask"                                                          \
	}
#define PASSWORD_OPTIONS                                                                           \
	{"scheme", "SCHEME", "how to store the password (default SHA512-CRYPT)"},                  \
	{                                                                                          \
		"generate", NULL, "make up a password and print it once"                           \
	}
#define SETUP_ONLY                                                                                 \
	{                                                                                          \
		"only", "NAME", "print this one file, without explanations"                        \
	}

static const struct command commands[] = {
	{"db", "init", "", "create the tables (and the SQLite file)", 0, 0, db_init, {{0}}},
	{"domain",
	 "add",
	 "DOMAIN",
	 "add a domain",
	 1,
	 1,
	 domain_add,
	 {{"alias-of", "DOMAIN", "its addresses are those of that domain"},
	  {"transport", "TRANSPORT", "where its mail goes (default: this host)"},
	  {"relay", NULL, "we only relay for it (backup MX)"},
	  {"description", "TEXT", "for people (default: the name)"}}},
	{"domain",
	 "del",
	 "DOMAIN",
	 "delete a domain with its users and aliases, never mail",
	 1,
	 1,
	 domain_del,
	 {YES}},
	{"domain", "list", "", "list the domains", 0, 0, domain_list, {{0}}},
	{"domain", "show", "DOMAIN", "show one domain", 1, 1, domain_show, {{0}}},
	{"user",
	 "add",
	 "ADDRESS",
	 "add a mailbox; the password comes from the prompt or standard input",
	 1,
	 1,
	 user_add,
	 {PASSWORD_OPTIONS,
	  {"quota", "SIZE", "5G, 500M, ... or none (the default)"},
	  {"name", "TEXT", "the person's name"}}},
	{"user", "del", "ADDRESS", "delete a mailbox's row, never mail", 1, 1, user_del, {YES}},
	{"user", "list", "[DOMAIN]", "list mailboxes", 0, 1, user_list, {{0}}},
	{"user", "show", "ADDRESS", "show one mailbox", 1, 1, user_show, {{0}}},
	{"user",
	 "passwd",
	 "ADDRESS",
	 "change a password; from the prompt or standard input",
	 1,
	 1,
	 user_passwd,
	 {PASSWORD_OPTIONS}},
	{"alias",
	 "add",
	 "ADDRESS TARGET...",
	 "add targets to an alias; @DOMAIN is the catch-all",
	 2,
	 -1,
	 alias_add,
	 {{0}}},
	{"alias",
	 "del",
	 "ADDRESS [TARGET...]",
	 "remove targets, or the whole alias",
	 1,
	 -1,
	 alias_del,
	 {YES}},
	{"alias", "list", "[DOMAIN]", "list aliases", 0, 1, alias_list, {{0}}},
	{"alias", "show", "ADDRESS", "show one alias", 1, 1, alias_show, {{0}}},
	{"quota",
	 "show",
	 "[ADDRESS|DOMAIN|all]",
	 "show limits and usage of mailboxes",
	 0,
	 1,
	 quota_show,
	 {{0}}},
	{"quota",
	 "recalc",
	 "[ADDRESS|DOMAIN|all]",
	 "count the messages and write the usage anew",
	 0,
	 1,
	 quota_recalc,
	 {{0}}},
	{"quota",
	 "verify",
	 "[ADDRESS|DOMAIN|all]",
	 "compare the usage with a count",
	 0,
	 1,
	 quota_verify,
	 {{0}}},
	{"lookup", "", "MAP KEY", "ask a map as Postfix does", 2, 2, lookup, {{0}}},
	{"flush",
	 "",
	 "KEY",
	 "forget remembered answers: of an address, a domain, or all",
	 1,
	 1,
	 flush,
	 {{0}}},
	{"explain", "", "ADDRESS", "show how an address is resolved", 1, 1, explain, {{0}}},
	{"auth",
	 "",
	 "ADDRESS",
	 "try a login; the password comes from the prompt or standard input",
	 1,
	 1,
	 auth,
	 {{0}}},
	{"setup",
	 "postfix",
	 "",
	 "print the lines for main.cf and master.cf",
	 0,
	 0,
	 setup_postfix,
	 {SETUP_ONLY, {"queue-directory", "DIR", "Postfix's (default /var/spool/postfix)"}}},
	{"setup",
	 "sasl",
	 "",
	 "print smtpd.conf",
	 0,
	 0,
	 setup_sasl,
	 {SETUP_ONLY, {"queue-directory", "DIR", "Postfix's (default /var/spool/postfix)"}}},
	{"setup",
	 "dovecot",
	 "",
	 "print the drop-ins for Dovecot 2.3 and 2.4",
	 0,
	 0,
	 setup_dovecot,
	 {SETUP_ONLY}},
	{"import-maps",
	 "",
	 "[PARAMETER=][TYPE:]FILE...",
	 "print Postfix's mysql:, pgsql: and sqlite: tables as [map] sections",
	 1,
	 -1,
	 import_maps,
	 {{0}}},
	{"compare",
	 "",
	 "PARAMETER=TYPE:TABLE...",
	 "show what would change against Postfix's present tables",
	 1,
	 -1,
	 compare,
	 {{0}}},
	{"config",
	 "test",
	 "",
	 "check the configuration and the database",
	 0,
	 0,
	 config_test,
	 {{0}}},
	{"config", "show", "", "print the effective configuration", 0, 0, config_show, {{0}}},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(*commands))

static void print_command(FILE *to, const struct command *command)
{
	fprintf(to, "  %s%s%s%s%s\n      %s\n", command->noun, command->verb[0] ? " " : "",
		command->verb, command->words[0] ? " " : "", command->words, command->help);
	for (size_t i = 0; i < OPTIONS_MAX && command->options[i].name; i++) {
		const struct option_spec *option = &command->options[i];

		fprintf(to, "      --%s%s%s: %s\n", option->name, option->metavar ? " " : "",
			option->metavar ? option->metavar : "", option->help);
	}
}

/* All commands, or those of a noun. */
static void print_usage(FILE *to, const char *noun)
{
	fprintf(to, "usage: postern [-c FILE] [--json] NOUN [VERB] [OPTION]... [WORD]...\n"
		    "  -c FILE: the configuration (default " SETTINGS_DEFAULT_FILE ")\n"
		    "  --json: one JSON object a row\n"
		    "  --help, --version\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (!noun || strcmp(noun, commands[i].noun) == 0)
			print_command(to, &commands[i]);
}

static bool is_noun(const char *word)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(word, commands[i].noun) == 0)
			return true;
	return false;
}

/* WORDS are NOUN [VERB] ...; *USED_R of them name the command. */
static const struct command *find_command(char **words, int count, int *used_r)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		const struct command *command = &commands[i];
		const int used = command->verb[0] ? 2 : 1;

		if (count >= used && strcmp(words[0], command->noun) == 0 &&
		    (used == 1 || strcmp(words[1], command->verb) == 0)) {
			*used_r = used;
			return command;
		}
	}
	return NULL;
}

static int wrong_command(char **words, int count)
{
	if (count == 0)
		fprintf(stderr, "postern: what shall I do?\n");
	else if (!is_noun(words[0]))
		fprintf(stderr, "postern: unknown command \"%s\"\n", words[0]);
	else if (count == 1)
		fprintf(stderr, "postern: %s what? These exist:\n", words[0]);
	else
		fprintf(stderr, "postern: unknown command \"%s %s\"; these exist:\n", words[0],
			words[1]);
	print_usage(stderr, count > 0 && is_noun(words[0]) ? words[0] : NULL);
	return EX_USAGE;
}

static int wrong_arguments(const struct command *command, const char *what, const char *word)
{
	fprintf(stderr, "postern: %s%s\nusage: postern", what, word);
	print_command(stderr, command);
	return EX_USAGE;
}

/* -1: not an option of the command. *VALUE_R points behind '=', or is NULL. */
static int find_option(const struct command *command, const char *word, const char **value_r)
{
	const size_t len = strcspn(word, "=");

	*value_r = word[len] == '=' ? word + len + 1 : NULL;
	for (int i = 0; i < OPTIONS_MAX && command->options[i].name; i++)
		if (strlen(command->options[i].name) == len &&
		    strncmp(command->options[i].name, word, len) == 0)
			return i;
	return -1;
}

/*
 * Options and words in any order; "--" ends the options. Words are moved to the front of ARGV,
 * which is ours, and end with NULL. Returns 0 or EX_USAGE, having said why.
 */
static int parse_arguments(struct postern *postern, int argc, char **argv,
			   struct arguments *arguments_r)
{
	const struct command *command = postern->command;
	bool options = true;

	*arguments_r = (struct arguments){.words = argv};
	for (int i = 0; i < argc; i++) {
		const char *word = argv[i], *value;
		int index;

		if (!options || word[0] != '-' || word[1] == '\0') {
			argv[arguments_r->word_count++] = argv[i];
			continue;
		}
		if (strcmp(word, "--") == 0) {
			options = false;
			continue;
		}
		if (strcmp(word, "--json") == 0) {
			postern->output.json = true;
			continue;
		}
		index = word[1] == '-' ? find_option(command, word + 2, &value) : -1;
		if (index < 0)
			return wrong_arguments(command, "unknown option ", word);
		if (!command->options[index].metavar && value)
			return wrong_arguments(command, "this option takes no value: ", word);
		if (!command->options[index].metavar)
			value = "";
		else if (!value && i + 1 < argc)
			value = argv[++i];
		if (!value)
			return wrong_arguments(command, "a value is missing behind ", word);
		arguments_r->options[index] = value;
	}
	if ((int)arguments_r->word_count < command->min_words)
		return wrong_arguments(command, "something is missing", "");
	if (command->max_words >= 0 && (int)arguments_r->word_count > command->max_words)
		return wrong_arguments(command,
				       "too many words, from here on: ", argv[command->max_words]);
	return 0;
}

static int run(struct postern *postern, int argc, char **argv)
{
	struct arguments arguments;
	int used, code;

	postern->command = find_command(argv, argc, &used);
	if (!postern->command)
		return wrong_command(argv, argc);
	code = parse_arguments(postern, argc - used, argv + used, &arguments);
	if (code != 0)
		return code;
	code = postern->command->run(postern, &arguments);
	if (!output_finish(&postern->output) && code == 0)
		code = postern_fail(postern, EX_IOERR,
				    "standard output: not everything was "
				    "written");
	return code;
}

/* The options before the noun. Returns the index of the noun, or -1 with the exit code. */
static int common_options(struct postern *postern, int argc, char **argv, int *code_r)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		*code_r = EX_OK;
		if (strcmp(argv[i], "--json") == 0) {
			postern->output.json = true;
		} else if (strcmp(argv[i], "-c") == 0 && i + 1 < argc) {
			postern->file = argv[++i];
		} else if (strcmp(argv[i], "--version") == 0) {
			daemon_print_version("postern");
			return -1;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			print_usage(stdout, NULL);
			return -1;
		} else {
			fprintf(stderr, "postern: %s \"%s\"\n",
				strcmp(argv[i], "-c") == 0 ? "a file is missing behind"
							   : "unknown option",
				argv[i]);
			print_usage(stderr, NULL);
			*code_r = EX_USAGE;
			return -1;
		}
	}
	return i;
}

int main(int argc, char **argv)
{
	struct postern postern = {.file = SETTINGS_DEFAULT_FILE, .output = OUTPUT_INIT};
	struct error err;
	int code = EX_OK;
	int first = common_options(&postern, argc, argv, &code);

	if (first < 0)
		return code;
	for (int i = first; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0) {
			print_usage(stdout, is_noun(argv[first]) ? argv[first] : NULL);
			return EX_OK;
		}
	/* What the daemons log about one question is told here by the command's own error text. */
	log_set_level(LOG_LEVEL_ERROR);
	if (sql_library_begin(&err) != RESULT_FOUND)
		return postern_fail(&postern, EX_SOFTWARE, "%s", err.text);
	code = run(&postern, argc - first, argv + first);
	postern_close(&postern);
	sql_library_thread_end();
	return code;
}
