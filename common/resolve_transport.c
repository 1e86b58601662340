/*
 * NAME
 *	resolve_transport - transports of addresses that are no mailboxes
 * DESCRIPTION
 *	A mailing list is an alias of itself, so that Postfix takes its mail, and has a transport,
 *	so that a program gets it. The address is looked for as a mailbox is: with its extension,
 *	without, then in the domain that its own is an alias of.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/resolve_transport.h"

#include <stdlib.h>

#include "common/account_columns.h"
#include "common/account_query.h"
#include "common/resolve_search.h"

static enum result transport_at(const struct search *search, const struct candidate *candidate,
				struct buf *transport_r, struct error *err)
{
	struct sql_statement *rows;
	char *transport = NULL;
	enum result result =
		account_query(search->accounts, "transport", candidate->key, &rows, err);
	bool found = false;

	while (result == RESULT_FOUND && !found) {
		bool active = false;
		result = account_next(rows, "address", candidate->key, err);
		if (result == RESULT_FOUND)
			result = account_flag(rows, "active", false, &active, err);
		if (result == RESULT_FOUND && active) {
			free(transport);
			result = account_copy(rows, "transport", &transport, err);
			found = result == RESULT_FOUND && transport[0] != '\0';
		}
	}
	if (result == RESULT_FOUND) {
		trace_add(search->trace, "transport %s: of the address %s", transport,
			  candidate->key);
		buf_puts(transport_r, transport);
		if (!buf_ok(transport_r))
			result = result_error(err, RESULT_TEMP, "out of memory");
	}
	free(transport);
	return account_finish(rows, result, candidate->key, err);
}

enum result resolve_transport(struct accounts *accounts, const struct settings *settings,
			      const char *address, size_t len, struct buf *transport_r,
			      struct trace *trace, struct error *err)
{
	struct search search;
	struct candidate candidate;
	enum result result;

	if (!schema_has_query(accounts_schema(accounts), "transport"))
		return RESULT_NONE;
	result = search_begin(&search, accounts, settings, address, len, trace, err);
	if (result != RESULT_FOUND)
		return result;
	result = RESULT_NONE;
	while (result == RESULT_NONE && search_next(&search, &candidate))
		result = transport_at(&search, &candidate, transport_r, err);
	search_end(&search);
	return result;
}
