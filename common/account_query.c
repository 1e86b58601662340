/*
 * account_query - runs a preset's question about one key and picks the rows that answer it
 *
 * Every form of the key is bound, so that a statement needs no concatenation, which databases write
 * differently.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/account_query.h"

#include <string.h>

#include "common/account_columns.h"

enum result account_query(struct accounts *accounts, const char *query, const char *key,
			  struct sql_statement **rows_r, struct error *err)
{
	const char *at = strrchr(key, '@');
	const char *domain = at != NULL ? at + 1 : key;
	struct buf local = BUF_INIT, catchall = BUF_INIT, path = BUF_INIT;
	enum result result;

	*rows_r = NULL;
	if (at != NULL)
		buf_append(&local, key, (size_t)(at - key));
	buf_printf(&catchall, "@%s", domain);
	buf_printf(&path, "%s/%s/", domain, buf_str(&local));
	const struct sql_param params[] = {
		{"address", key},         {"local", buf_str(&local)},
		{"domain", domain},       {"catchall", buf_str(&catchall)},
		{"path", buf_str(&path)},
	};
	if (buf_ok(&local) && buf_ok(&catchall) && buf_ok(&path))
		result = schema_run(accounts_session(accounts), query, params,
				    sizeof params / sizeof params[0], rows_r, err);
	else
		result = result_error(err, RESULT_TEMP, "out of memory");
	buf_free(&local);
	buf_free(&catchall);
	buf_free(&path);
	return result;
}

enum result account_next(struct sql_statement *rows, const char *name, const char *key,
			 struct error *err)
{
	enum result result;

	do {
		result = sql_step(rows, err);
	} while (result == RESULT_FOUND && !account_equals(rows, name, key));
	return result;
}

enum result account_finish(struct sql_statement *rows, enum result result, const char *key,
			   struct error *err)
{
	if (rows != NULL)
		sql_finish(rows);
	if (result == RESULT_PERM)
		error_prefix(err, "%s", key);
	return result;
}
