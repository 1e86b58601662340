/*
 * The site's own query as it stands in sql_select, made safe: Cyrus SASL pastes %u, %r and %p into
 * the text, we turn every quoted literal that holds one of them into a bound parameter.
 */
#ifndef POSTERN_STOCK_QUERY_H
#define POSTERN_STOCK_QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/result.h"

#define STOCK_QUERY_LITERALS 16

struct stock_query {
	char *sql;                            /* with :v0, :v1 ... in place of the literals */
	char *literals[STOCK_QUERY_LITERALS]; /* their text, unquoted, %u %r %p still in it */
	size_t count;
	bool uses_property; /* %p occurs: the answer depends on the property */
};

/*
 * BACKSLASH: the database takes '\' in a literal as an escape (MySQL). FOUND, PERM (a %u, %r or %p
 * outside quotes or in an identifier, an open quote, too many literals; the text says where), TEMP
 * (out of memory). QUERY_R is empty unless FOUND.
 */
enum result stock_query_parse(const char *select, bool backslash, struct stock_query *query_r,
			      struct error *err) MUST_CHECK;
void stock_query_free(struct stock_query *query);

struct stock_login {
	const char *user; /* before the first '@' */
	size_t user_len;
	const char *realm; /* after it, or the application's */
	size_t realm_len;
	const char *property;
};
/* Splits NAME at its first '@', as Cyrus SASL does; without one the realm is REALM (may be NULL).
 */
struct stock_login stock_login_split(const char *name, size_t len, const char *realm);
/* The value of literal INDEX for this login, appended to VALUE_R. */
void stock_query_value(const struct stock_query *query, size_t index,
		       const struct stock_login *login, struct buf *value_r);

#endif
