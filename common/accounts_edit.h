/*
 * Changes to the account database, for the admin command only: each is one transaction of the
 * preset's named write queries. A preset without the query is read-only there: PERM that says so.
 * Names are folded before they are stored. NONE: what should be changed or deleted is absent; PERM:
 * it exists already, is not well-formed, or the schema cannot store it (text says which).
 */
#ifndef POSTERN_ACCOUNTS_EDIT_H
#define POSTERN_ACCOUNTS_EDIT_H

#include "common/accounts.h"

struct domain_edit {
	const char *description; /* NULL: the domain's name */
	const char *transport;   /* NULL: none */
	const char *alias_of;    /* NULL: a domain of its own */
	bool relay;              /* backup MX */
};

/* Creates the empty database of the schema; PERM if tables are there already. */
enum result accounts_create_database(const struct settings *settings, const struct schema *schema,
				     struct error *err) MUST_CHECK;
enum result accounts_domain_add(struct accounts *accounts, const char *domain,
				const struct domain_edit *edit, struct error *err) MUST_CHECK;
/* Removes its mailboxes and aliases too (rows, never mail). PERM while it is an alias target. */
enum result accounts_domain_del(struct accounts *accounts, const char *domain,
				struct error *err) MUST_CHECK;
/* STORED is the hashed password. QUOTA in bytes, 0: unlimited. NAME may be NULL. */
enum result accounts_user_add(struct accounts *accounts, const char *address, const char *stored,
			      int64_t quota, const char *name, struct error *err) MUST_CHECK;
enum result accounts_user_del(struct accounts *accounts, const char *address,
			      struct error *err) MUST_CHECK;
enum result accounts_user_password(struct accounts *accounts, const char *address,
				   const char *stored, struct error *err) MUST_CHECK;
/* Adds TARGET to the alias (created when absent). NONE never. */
enum result accounts_alias_add(struct accounts *accounts, const char *address, const char *target,
			       struct error *err) MUST_CHECK;
/* Removes one TARGET, or the whole alias when NULL (and when its last target goes). */
enum result accounts_alias_del(struct accounts *accounts, const char *address, const char *target,
			       struct error *err) MUST_CHECK;

/*
 * Listings: run a preset's list query; rows are read with sql_step() and sql_text() by column name.
 * WHAT is "domain_list", "user_list" or "alias_list"; DOMAIN limits the last two, NULL: all.
 */
enum result accounts_list(struct accounts *accounts, const char *what, const char *domain,
			  struct sql_statement **rows_r, struct error *err) MUST_CHECK;

#endif
