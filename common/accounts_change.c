/*
 * accounts_change - names, write queries and transactions of a change
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/accounts_change.h"

#include <stdio.h>
#include <string.h>

#include "common/members.h"

enum result change_parse_domain(char *domain_r, const char *text, struct error *err)
{
	if (!address_domain(domain_r, text, strlen(text)))
		return result_error(err, RESULT_PERM, "\"%.200s\" is not a domain name", text);
	return RESULT_FOUND;
}

enum result change_parse_name(struct change_name *name, const char *text, bool catchall_ok,
			      struct error *err)
{
	struct address address;
	struct buf printed = BUF_INIT;
	bool quoted;

	memset(name, 0, sizeof *name);
	if (catchall_ok && text[0] == '@') {
		enum result result = change_parse_domain(name->domain, text + 1, err);
		if (result != RESULT_FOUND)
			return result;
	} else {
		if (!address_parse(&address, text, strlen(text), NULL) ||
		    !address_domain(name->domain, address.domain, strlen(address.domain)))
			return result_error(err, RESULT_PERM, "\"%.200s\" is not an address", text);
		memcpy(name->local, address.local, sizeof name->local);
		address_print(&printed, name->local, strlen(name->local), name->domain);
		quoted = buf_str(&printed)[0] == '"' || strchr(name->local, ',') != NULL;
		buf_free(&printed);
		if (quoted)
			return result_error(err, RESULT_PERM,
					    "\"%.200s\" needs quotes, which the database cannot "
					    "store",
					    text);
	}
	if (strlen(name->local) + 1 + strlen(name->domain) > ADDRESS_MAX)
		return result_error(err, RESULT_PERM, "the address is too long");
	snprintf(name->full, sizeof name->full, "%s@%s", name->local, name->domain);
	snprintf(name->catchall, sizeof name->catchall, "@%s", name->domain);
	const struct member member = {.text = name->full, .len = strlen(name->full)};
	if (member_refused(&member))
		return result_error(err, RESULT_PERM, "\"%.200s\" is a command or a file", text);
	return RESULT_FOUND;
}

enum result change_needs_place(struct accounts *accounts, const char *query, const char *param,
			       struct error *err)
{
	const struct schema *schema = accounts_schema(accounts);
	enum result result;

	if (!schema_has_query(schema, query))
		return RESULT_FOUND; /* change_run() has the words for it */
	result = schema_uses(accounts_session(accounts), query, param, err);
	if (result == RESULT_NONE)
		return result_error(err, RESULT_PERM, "this %s database has no place for it: %s",
				    schema_name(schema), param);
	return result;
}

enum result change_run(struct accounts *accounts, const char *query, const struct sql_param *params,
		       size_t count, int64_t *changes_r, struct error *err)
{
	const struct schema *schema = accounts_schema(accounts);
	char name[64];

	if (!schema_has_query(schema, query))
		return result_error(err, RESULT_PERM,
				    "preset %s is read-only here: it has no query %s",
				    schema_name(schema), query);
	snprintf(name, sizeof name, "%s", query);
	for (unsigned step = 2; schema_has_query(schema, name); step++) {
		struct sql_statement *done;
		enum result result =
			schema_run(accounts_session(accounts), name, params, count, &done, err);
		if (result == RESULT_NONE)
			return result_error(err, RESULT_PERM,
					    "the database cannot store a character of this");
		if (result != RESULT_FOUND)
			return result;
		if (step == 2 && changes_r != NULL)
			*changes_r = sql_changes(done);
		sql_finish(done);
		snprintf(name, sizeof name, "%s.%u", query, step);
	}
	return RESULT_FOUND;
}

enum result change_run_on_name(struct accounts *accounts, const char *query,
			       const struct change_name *name, struct error *err)
{
	const struct sql_param params[] = {
		{"address", name->full},
		{"local", name->local},
		{"domain", name->domain},
		{"catchall", name->catchall},
	};

	return change_run(accounts, query, params, sizeof params / sizeof params[0], NULL, err);
}

struct sql *change_sql(const struct accounts *accounts)
{
	return schema_sql(accounts_session(accounts));
}

enum result change_end(struct accounts *accounts, enum result result, struct error *err)
{
	if (result == RESULT_FOUND)
		return sql_commit(change_sql(accounts), err);
	sql_rollback(change_sql(accounts));
	return result;
}

enum result change_needs_domain(struct accounts *accounts, const char *domain, struct error *err)
{
	struct domain row;
	enum result result = accounts_domain(accounts, domain, &row, err);

	if (result == RESULT_FOUND)
		domain_free(&row);
	if (result == RESULT_NONE)
		return result_error(err, RESULT_PERM, "there is no domain %s; add it first",
				    domain);
	return result;
}
