/*
 * What every change to the account database needs; for accounts_edit*.c and accounts_create.c.
 */
#ifndef POSTERN_ACCOUNTS_CHANGE_H
#define POSTERN_ACCOUNTS_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/accounts.h"
#include "common/address.h"

/* An address or "@domain", checked and folded. */
struct change_name {
	char full[2 * ADDRESS_MAX + 2];
	char local[ADDRESS_MAX + 1]; /* "" for a catch-all */
	char domain[ADDRESS_MAX + 1];
	char catchall[ADDRESS_MAX + 2];
};

/* FOUND, or PERM: not a domain name. DOMAIN_R has ADDRESS_MAX + 1 bytes. */
enum result change_parse_domain(char *domain_r, const char *text, struct error *err) MUST_CHECK;
/*
 * FOUND, or PERM: not an address; its local part needs quotes, which lists in a table cannot hold;
 * or it begins as a command or a file name does. CATCHALL_OK admits "@domain".
 */
enum result change_parse_name(struct change_name *name, const char *text, bool catchall_ok,
			      struct error *err) MUST_CHECK;
/* PERM: there is no such domain. */
enum result change_needs_domain(struct accounts *accounts, const char *domain,
				struct error *err) MUST_CHECK;
/*
 * Runs a write query and its further steps. *CHANGES_R (may be NULL): rows changed by the first.
 * Never NONE.
 */
enum result change_run(struct accounts *accounts, const char *query, const struct sql_param *params,
		       size_t count, int64_t *changes_r, struct error *err) MUST_CHECK;
/* PERM: QUERY is there, and has no place for PARAM in this database. */
enum result change_needs_place(struct accounts *accounts, const char *query, const char *param,
			       struct error *err) MUST_CHECK;
/* As change_run(), with the parameters address, local, domain and catchall. */
enum result change_run_on_name(struct accounts *accounts, const char *query,
			       const struct change_name *name, struct error *err) MUST_CHECK;
/* Commits if RESULT is FOUND, else rolls back; passes the result on. */
enum result change_end(struct accounts *accounts, enum result result, struct error *err) MUST_CHECK;
struct sql *change_sql(const struct accounts *accounts);

#endif
