/*
 * The tables that Postfix asks today, asked by postmap(1), with the order of keys in which Postfix
 * asks them: postmap asks for one key only.
 */
#ifndef POSTERN_POSTERN_OLD_TABLE_H
#define POSTERN_POSTERN_OLD_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/result.h"
#include "postern/parameter.h"

#define OLD_TABLES_MAX 8

struct old_tables { /* of one parameter, in main.cf's order */
	const struct parameter *parameter;
	char *names[OLD_TABLES_MAX];   /* "mysql:/path" */
	bool patterns[OLD_TABLES_MAX]; /* Postfix derives no keys for this type */
	size_t count;
};

struct old_answer {
	const char *key;    /* an address in its unquoted form, or whatever is asked */
	enum result result; /* FOUND, NONE, or TEMP: the table could not be asked for this key */
	char *value;        /* of FOUND: as the table has it */
	unsigned hit;       /* FOUND: the index of the key that was found */
	bool stripped;      /* ... it was without its extension */
	bool catchall;      /* ... it was "@domain" */
};

/* FOUND, or PERM: no table, or too many. */
enum result old_tables_add(struct old_tables *tables, const char *name,
			   struct error *err) MUST_CHECK;
void old_tables_free(struct old_tables *tables);

/*
 * Fills the answers to all keys. DELIMITERS: those of extensions. FOUND; TEMP or PERM: postmap
 * cannot be run, or cannot ask at all (the text holds its words).
 */
enum result old_tables_ask(const struct old_tables *tables, const char *delimiters,
			   struct old_answer *answers, size_t count, struct error *err) MUST_CHECK;
void old_answers_free(struct old_answer *answers, size_t count);

#endif
