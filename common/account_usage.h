/*
 * Usage of mailboxes, written into the database for web interfaces and policy services.
 */
#ifndef POSTERN_ACCOUNT_USAGE_H
#define POSTERN_ACCOUNT_USAGE_H

#include "common/accounts.h"

struct account_usage {
	const char *address; /* the account's name as stored */
	struct usage usage;
};

/* PERM, naming the preset: it has no place for usage. */
enum result accounts_usage_place(const struct schema *schema, struct error *err) MUST_CHECK;
/*
 * Whether this database has what the query needs, by a handle of its own, for --check and reloads.
 * PERM: no such table, or not allowed; TEMP.
 */
enum result accounts_usage_try(const struct settings *settings, const struct schema *schema,
			       struct error *err) MUST_CHECK;
/*
 * Writes all of them in one transaction. Rows of accounts that are gone meanwhile are left alone.
 * FOUND; TEMP: none is written; PERM: the same, and one of them, or all, can never be.
 */
enum result accounts_publish_usage(struct accounts *accounts, const struct account_usage *usages,
				   size_t count, struct error *err) MUST_CHECK;

#endif
