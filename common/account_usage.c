/*
 * account_usage - the query usage_set of a preset
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/account_usage.h"

#include <stdio.h>

#include "common/accounts_change.h"

enum result accounts_usage_place(const struct schema *schema, struct error *err)
{
	if (schema_has_query(schema, "usage_set"))
		return RESULT_FOUND;
	return result_error(err, RESULT_PERM,
			    "preset %s has no place for usage (query usage_set): set [quota] "
			    "publish = no",
			    schema_name(schema));
}

enum result accounts_usage_try(const struct settings *settings, const struct schema *schema,
			       struct error *err)
{
	struct accounts *accounts = NULL;
	enum result result = accounts_usage_place(schema, err);

	if (result == RESULT_FOUND)
		result = accounts_open(settings, schema, &accounts, err);
	/* To know its parameters, the statement is prepared. */
	if (result == RESULT_FOUND)
		result = schema_uses(accounts_session(accounts), "usage_set", "bytes", err);
	accounts_free(&accounts);
	return result == RESULT_NONE ? RESULT_FOUND : result;
}

enum result accounts_publish_usage(struct accounts *accounts, const struct account_usage *usages,
				   size_t count, struct error *err)
{
	enum result result = accounts_usage_place(accounts_schema(accounts), err);

	if (result == RESULT_FOUND)
		result = sql_begin(change_sql(accounts), err);
	if (result != RESULT_FOUND)
		return result;
	for (size_t i = 0; result == RESULT_FOUND && i < count; i++) {
		char bytes[24], messages[24];
		const struct sql_param params[] = {
			{"address", usages[i].address},
			{"bytes", bytes},
			{"messages", messages},
		};

		(void)snprintf(bytes, sizeof bytes, "%lld", (long long)usages[i].usage.bytes);
		(void)snprintf(messages, sizeof messages, "%lld",
			       (long long)usages[i].usage.messages);
		result = change_run(accounts, "usage_set", params, sizeof params / sizeof params[0],
				    NULL, err);
		if (result != RESULT_FOUND)
			error_prefix(err, "%s", usages[i].address);
	}
	return change_end(accounts, result, err);
}
