/*
 * The admin command's frame: one table of commands (main.c), each a function over what the frame
 * opens for it: settings, preset, database, output. A command returns the exit code:
 * 0, 1 (not found, or a login refused), else sysexits: 64 usage, 65 data (exists already,
 * malformed), 69 the preset cannot do it, 74 output not written, 75 database away, 78
 * configuration.
 */
#ifndef POSTERN_POSTERN_POSTERN_H
#define POSTERN_POSTERN_POSTERN_H

#include <sysexits.h>

#include "common/accounts.h"
#include "common/settings.h"
#include "postern/output.h"

#define EXIT_NOT_FOUND 1
#define OPTIONS_MAX    6

struct option_spec {
	const char *name;    /* without "--" */
	const char *metavar; /* of its value; NULL: a switch */
	const char *help;
};

struct arguments {
	const char *options[OPTIONS_MAX]; /* in the table's order; NULL: not given; "" a switch */
	char **words;                     /* ends with NULL */
	size_t word_count;
};

struct postern;

struct command {
	const char *noun;
	const char *verb;  /* "" when the noun says all */
	const char *words; /* for the usage text */
	const char *help;
	int min_words, max_words; /* -1: any number */
	int (*run)(struct postern *postern, const struct arguments *arguments);
	struct option_spec options[OPTIONS_MAX];
};

struct postern {
	const char *file; /* of the configuration */
	const struct command *command;
	struct output output;
	struct settings settings;
	bool settings_loaded;
	struct schema *schema;
	struct accounts *accounts;
};

/* These print what is wrong and return the exit code; 0 when all is well. */
int postern_settings(struct postern *postern) MUST_CHECK;
int postern_schema(struct postern *postern) MUST_CHECK;
int postern_accounts(struct postern *postern) MUST_CHECK;
void postern_close(struct postern *postern);

/* Prints "postern: TEXT" on standard error (with --json an object) and returns CODE. */
int postern_fail(const struct postern *postern, int code, const char *format, ...)
	PRINTF_LIKE(3, 4);
/*
 * The exit code of RESULT, after printing ERR for all but FOUND. NONE has no text of its own: the
 * message is "ABSENT: not found".
 */
int postern_result(const struct postern *postern, enum result result, const char *absent,
		   const struct error *err) MUST_CHECK;
/* One row that says what was done: "VERB NAME" for people, an object with --json. */
void postern_done(struct postern *postern, const char *what, const char *name);
/* Asks unless --yes was given. 0: go on. */
int postern_confirm(const struct postern *postern, const char *yes_option, const char *format, ...)
	PRINTF_LIKE(3, 4) MUST_CHECK;
/* A domain, or an address, from the command line as the database has it: folded, unquoted. NAME_R
 * has ADDRESS_MAX + 1 bytes. 0, or EX_DATAERR, told. */
int postern_domain(const struct postern *postern, const char *word, char *name_r) MUST_CHECK;
int postern_address(const struct postern *postern, const char *word, char *name_r) MUST_CHECK;
/* A listing of accounts_list(): every column is a field. DOMAIN (a word typed) may be NULL: all. */
int postern_list(struct postern *postern, const char *what, const char *domain) MUST_CHECK;

int db_init(struct postern *postern, const struct arguments *arguments);
int domain_add(struct postern *postern, const struct arguments *arguments);
int domain_del(struct postern *postern, const struct arguments *arguments);
int domain_list(struct postern *postern, const struct arguments *arguments);
int domain_show(struct postern *postern, const struct arguments *arguments);
int user_add(struct postern *postern, const struct arguments *arguments);
int user_del(struct postern *postern, const struct arguments *arguments);
int user_list(struct postern *postern, const struct arguments *arguments);
int user_show(struct postern *postern, const struct arguments *arguments);
int user_passwd(struct postern *postern, const struct arguments *arguments);
int alias_add(struct postern *postern, const struct arguments *arguments);
int alias_del(struct postern *postern, const struct arguments *arguments);
int alias_list(struct postern *postern, const struct arguments *arguments);
int alias_show(struct postern *postern, const struct arguments *arguments);
int quota_show(struct postern *postern, const struct arguments *arguments);
int quota_recalc(struct postern *postern, const struct arguments *arguments);
int quota_verify(struct postern *postern, const struct arguments *arguments);
int lookup(struct postern *postern, const struct arguments *arguments);
int flush(struct postern *postern, const struct arguments *arguments);
int explain(struct postern *postern, const struct arguments *arguments);
int auth(struct postern *postern, const struct arguments *arguments);
int setup_postfix(struct postern *postern, const struct arguments *arguments);
int setup_sasl(struct postern *postern, const struct arguments *arguments);
int setup_dovecot(struct postern *postern, const struct arguments *arguments);
int compare(struct postern *postern, const struct arguments *arguments);
int import_maps(struct postern *postern, const struct arguments *arguments);
int config_test(struct postern *postern, const struct arguments *arguments);
int config_show(struct postern *postern, const struct arguments *arguments);

#endif
