/*
 * accounts_routes - copies, relay hosts, and what is said about destinations, out of a preset
 *
 * Only active rows with a value count: others are as if they were not there, as in Postfix's own
 * SQL maps. Two rows that count for one key contradict each other; that is PERM, because either
 * could be the wrong one.
 *
 * Values may be passwords: they pass through the caller's buffer only, and no error quotes them.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdio.h>
#include <string.h>

#include "common/account_columns.h"
#include "common/account_query.h"
#include "common/accounts.h"
#include "common/address.h"

static const char blanks[] = " \t\r\n";

/* Which rows are asked for, and which column of them. */
struct route {
	const char *key_column, *value_column;
	const char *key;
	const char *domain; /* for "@domain": schemas may store it without the '@'; else NULL */
	bool as_stored;     /* passwords may end in a blank; all else is trimmed */
};

static bool route_matches(const struct route *route, const struct sql_statement *rows)
{
	return account_equals(rows, route->key_column, route->key) ||
	       (route->domain != NULL && account_equals(rows, route->key_column, route->domain));
}

static void append_value(const struct route *route, const char *value, struct buf *value_r)
{
	size_t len = strlen(value);

	while (!route->as_stored && len > 0 && strchr(blanks, value[len - 1]) != NULL)
		len--;
	if (!route->as_stored)
		len -= strspn(value, blanks);
	buf_append(value_r, route->as_stored ? value : value + strspn(value, blanks), len);
}

/* The value of the one row that counts, appended to VALUE_R. NONE: there is none. */
static enum result read_route(const struct route *route, struct sql_statement *rows,
			      struct buf *value_r, struct error *err)
{
	enum result result;
	bool found = false;

	while ((result = sql_step(rows, err)) == RESULT_FOUND) {
		const char *value = "";
		bool active = false;

		if (!route_matches(route, rows))
			continue;
		result = account_flag(rows, "active", false, &active, err);
		if (result == RESULT_FOUND && active)
			result = account_text(rows, route->value_column, &value, err);
		if (result != RESULT_FOUND)
			return result;
		if (value[strspn(value, blanks)] == '\0')
			continue;
		if (found)
			return result_error(err, RESULT_PERM,
					    "several active rows, of which one may stay");
		found = true;
		append_value(route, value, value_r);
	}
	if (result != RESULT_NONE || !found)
		return result;
	return buf_ok(value_r) ? RESULT_FOUND : result_error(err, RESULT_TEMP, "out of memory");
}

/* Nothing is left in VALUE_R unless it is the answer. */
static enum result finish_route(const struct route *route, struct sql_statement *rows,
				enum result result, struct buf *value_r, struct error *err)
{
	const size_t before = value_r->len;

	if (result == RESULT_FOUND)
		result = read_route(route, rows, value_r, err);
	if (result != RESULT_FOUND)
		buf_truncate(value_r, before);
	return account_finish(rows, result, route->key, err);
}

static enum result address_route(struct accounts *accounts, const char *query, const char *column,
				 const char *key, struct buf *value_r, struct error *err)
{
	const struct route route = {
		.key_column = "address",
		.value_column = column,
		.key = key,
		.domain = key[0] == '@' ? key + 1 : NULL,
	};
	struct sql_statement *rows;
	enum result result = account_query(accounts, query, key, &rows, err);

	return finish_route(&route, rows, result, value_r, err);
}

enum result accounts_bcc(struct accounts *accounts, enum bcc_side side, const char *key,
			 struct buf *target_r, struct error *err)
{
	return address_route(accounts, side == BCC_RECIPIENT ? "recipient_bcc" : "sender_bcc",
			     "target", key, target_r, err);
}

enum result accounts_relayhost(struct accounts *accounts, const char *key, struct buf *relayhost_r,
			       struct error *err)
{
	return address_route(accounts, "sender_relayhost", "relayhost", key, relayhost_r, err);
}

enum result accounts_destination(struct accounts *accounts, const char *query, const char *key,
				 struct buf *value_r, struct error *err)
{
	const struct sql_param params[] = {{"destination", key}};
	const struct route route = {
		.key_column = "destination",
		.value_column = "value",
		.key = key,
		.as_stored = true,
	};
	struct sql_statement *rows;
	enum result result = schema_run(accounts_session(accounts), query, params, 1, &rows, err);

	return finish_route(&route, rows, result, value_r, err);
}
