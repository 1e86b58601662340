/*
 * Questions about one key, for accounts.c and accounts_routes.c.
 */
#ifndef POSTERN_ACCOUNT_QUERY_H
#define POSTERN_ACCOUNT_QUERY_H

#include "common/accounts.h"

/*
 * Runs a query about one address, "@domain" or domain; results as of schema_run(). FOUND: *ROWS_R
 * belongs to the session and is ended by account_finish().
 */
enum result account_query(struct accounts *accounts, const char *query, const char *key,
			  struct sql_statement **rows_r, struct error *err) MUST_CHECK;
/* Moves to the next row whose column NAME is KEY. */
enum result account_next(struct sql_statement *rows, const char *name, const char *key,
			 struct error *err) MUST_CHECK;
/*
 * Ends a query, ROWS may be NULL: the rest of the rows is dropped, and a bad result says where it
 * comes from. Returns RESULT.
 */
enum result account_finish(struct sql_statement *rows, enum result result, const char *key,
			   struct error *err) MUST_CHECK;

#endif
