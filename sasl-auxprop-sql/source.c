/*
 * The plugin's source of answers.
 *
 * Files (postern.ini, its password file, the preset) are read by source_open(). The database is
 * connected at the first question. Programs that fork afterwards are sql.c's business: it leaves an
 * inherited connection alone and opens another.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "sasl-auxprop-sql/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/authenticate.h"
#include "common/log.h"
#include "common/password.h"
#include "common/resolve.h"
#include "common/schema.h"
#include "common/settings.h"
#include "common/sql.h"
#include "sasl-auxprop-sql/ask.h"
#include "sasl-auxprop-sql/stock_query.h"

#define STOCK_CONNECT_TIMEOUT_MS 2000
#define STOCK_QUERY_TIMEOUT_MS   3000
#define STOCK_RETRY_INTERVAL_MS  1000
#define ASK_TIMEOUT_MS           10000

struct source {
	struct options options;
	bool usable;
	struct error fault; /* why not */

	struct settings settings; /* OPTIONS_CONFIG */
	struct schema *schema;
	struct stock_query query; /* OPTIONS_STOCK */

	struct accounts *accounts; /* the handles, NULL until the first question */
	struct sql *sql;
	struct sql_statement *statement;
};

static enum log_level level_named(const char *name)
{
	for (enum log_level level = LOG_LEVEL_ERROR; level < LOG_LEVEL_DEBUG; level++)
		if (strcmp(name, log_level_name(level)) == 0)
			return level;
	return LOG_LEVEL_DEBUG;
}

static enum result config_load(struct source *source, struct error *err)
{
	enum result result = settings_load(source->options.config, &source->settings, NULL, err);

	if (result != RESULT_FOUND)
		return result;
	log_set_level(level_named(source->settings.log.level));
	result = schema_load(source->settings.schema.preset, &source->schema, err);
	if (result != RESULT_FOUND)
		settings_free(&source->settings);
	return result;
}

static enum result source_load(struct source *source, struct error *err)
{
	switch (source->options.kind) {
	case OPTIONS_CONFIG:
		return config_load(source, err);
	case OPTIONS_STOCK:
		return stock_query_parse(source->options.stock.select,
					 strcmp(source->options.stock.driver, "mysql") == 0,
					 &source->query, err);
	default:
		return RESULT_FOUND;
	}
}

enum result source_open(struct options *options, enum result options_result,
			const struct error *options_error, struct source **source_r,
			struct error *err)
{
	struct source *source = calloc(1, sizeof(*source));
	enum result result = options_result;

	*source_r = NULL;
	if (source == NULL) {
		options_free(options);
		return result_error(err, RESULT_TEMP, "out of memory");
	}
	source->options = *options;
	*options = (struct options){.kind = OPTIONS_NONE};
	source->fault = *options_error;
	if (result == RESULT_FOUND)
		result = sql_library_begin(&source->fault);
	if (result == RESULT_FOUND)
		result = source_load(source, &source->fault);
	source->usable = result == RESULT_FOUND;
	*source_r = source;
	return RESULT_FOUND;
}

static void handles_free(struct source *source)
{
	accounts_free(&source->accounts);
	sql_statement_free(&source->statement);
	sql_free(&source->sql);
}

void source_free(struct source **source_p)
{
	struct source *source = *source_p;

	*source_p = NULL;
	if (source == NULL)
		return;
	handles_free(source);
	if (source->usable && source->options.kind == OPTIONS_CONFIG) {
		schema_free(&source->schema);
		settings_free(&source->settings);
	}
	stock_query_free(&source->query);
	options_free(&source->options);
	free(source);
}

enum result source_usable(const struct source *source, struct error *err)
{
	return source->usable ? RESULT_FOUND
			      : result_error(err, RESULT_PERM, "%s", source->fault.text);
}

static enum result stock_connect(struct source *source, struct error *err)
{
	const struct options *options = &source->options;
	const struct sql_config config = {
		.driver = options->stock.driver,
		.path = options->stock.database,
		.hosts = options->stock.hosts,
		.name = options->stock.database,
		.user = options->stock.user,
		.password = options->stock.password,
		.tls = options->stock.tls ? "require" : "off",
		.tls_ca = "",
		.connect_timeout_ms = STOCK_CONNECT_TIMEOUT_MS,
		.query_timeout_ms = STOCK_QUERY_TIMEOUT_MS,
		.retry_interval_ms = STOCK_RETRY_INTERVAL_MS,
		.read_only = true,
	};
	enum result result;

	if (source->sql == NULL) {
		result = sql_open(&config, &source->sql, err);
		if (result != RESULT_FOUND)
			return result;
	}
	return sql_prepare(source->sql, source->query.sql, &source->statement, err);
}

/* Makes the handle that the questions need; the connection itself comes with the first query. */
static enum result source_connect(struct source *source, struct error *err)
{
	enum result result = source_usable(source, err);

	if (result != RESULT_FOUND)
		return result;
	if (source->options.kind == OPTIONS_CONFIG && source->accounts == NULL)
		return accounts_open(&source->settings, source->schema, &source->accounts, err);
	if (source->options.kind == OPTIONS_STOCK && source->statement == NULL)
		return stock_connect(source, err);
	return RESULT_FOUND;
}

static enum result values_add(struct secrets *values, const char *value, struct error *err)
{
	char **bigger = realloc(values->values, (values->count + 1) * sizeof(*bigger));

	if (bigger == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	values->values = bigger;
	bigger[values->count] = strdup(value);
	if (bigger[values->count] == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	values->count++;
	return RESULT_FOUND;
}

/* The first column of every row; NULL and empty ones are no value. NONE: no row at all. */
static enum result stock_fetch(struct source *source, const struct sql_param *params,
			       struct secrets *values_r, struct error *err)
{
	bool any = false;
	enum result result = sql_execute(source->statement, params, source->query.count, err);

	if (result != RESULT_FOUND)
		return result;
	while ((result = sql_step(source->statement, err)) == RESULT_FOUND) {
		const char *text = sql_text(source->statement, 0);

		any = true;
		if (text == NULL || text[0] == '\0' ||
		    strlen(text) != sql_length(source->statement, 0))
			continue;
		result = values_add(values_r, text, err);
		if (result != RESULT_FOUND)
			break;
	}
	sql_finish(source->statement);
	if (result == RESULT_NONE && any)
		return RESULT_FOUND;
	if (result == RESULT_NONE)
		return result_error(err, RESULT_NONE, "sql_select returned no row");
	secrets_free(values_r);
	return result;
}

static enum result stock_values(struct source *source, const struct source_login *login,
				const char *property, struct secrets *values_r, struct error *err)
{
	const char *realm = login->realm != NULL ? login->realm : login->host;
	struct stock_login parts = stock_login_split(login->name, login->len, realm);
	struct buf values[STOCK_QUERY_LITERALS];
	struct sql_param params[STOCK_QUERY_LITERALS];
	char names[STOCK_QUERY_LITERALS][24];
	size_t count = source->query.count;
	bool complete = true;
	enum result result;

	if (!address_key_ok(login->name, login->len))
		return result_error(err, RESULT_NONE, "not a login name");
	parts.property = property;
	for (size_t i = 0; i < count; i++) {
		values[i] = BUF_INIT;
		stock_query_value(&source->query, i, &parts, &values[i]);
		complete = complete && buf_ok(&values[i]);
		snprintf(names[i], sizeof(names[i]), "v%zu", i);
		params[i] = (struct sql_param){names[i], buf_str(&values[i])};
	}
	result = complete ? stock_fetch(source, params, values_r, err)
			  : result_error(err, RESULT_TEMP, "out of memory");
	for (size_t i = 0; i < count; i++)
		buf_free(&values[i]);
	return result;
}

/* As authenticate(): any value may match, and trouble with one never makes the answer "wrong". */
static enum result stock_verify(struct source *source, const struct source_login *login,
				const char *password, const char **reason_r, struct error *err)
{
	struct secrets values = {0};
	struct buf name = BUF_INIT;
	struct error fault = {""};
	enum result result = stock_values(source, login, "userPassword", &values, err);
	enum result answer = RESULT_NONE;

	if (result != RESULT_FOUND) {
		*reason_r = "unknown";
		return result;
	}
	*reason_r = values.count == 0 ? "no-password" : "wrong-password";
	buf_append(&name, login->name, login->len);
	if (!buf_ok(&name))
		answer = result_error(err, RESULT_TEMP, "out of memory");
	for (size_t i = 0; buf_ok(&name) && i < values.count && answer != RESULT_FOUND; i++) {
		result = password_verify(password, values.values[i], buf_str(&name),
					 source->options.password_scheme, NULL, &fault);
		if (result == RESULT_NONE || (result == RESULT_PERM && answer == RESULT_TEMP))
			continue;
		answer = result;
		if (result != RESULT_FOUND)
			error_set(err, "%s", fault.text);
	}
	secrets_free(&values);
	buf_free(&name);
	return answer;
}

enum result source_verify(struct source *source, const struct source_login *login,
			  const char *password, struct buf *account_r, const char **reason_r,
			  struct error *err)
{
	enum result result = source_connect(source, err);

	*reason_r = "";
	if (result != RESULT_FOUND)
		return result;
	if (source->options.saslauthd[0] == '\0' && source->options.kind == OPTIONS_CONFIG)
		return authenticate(source->accounts, &source->settings, login->name, login->len,
				    password, account_r, reason_r, NULL, err);
	if (password[0] == '\0') {
		*reason_r = "empty";
		return result_error(err, RESULT_NONE, "empty password");
	}
	if (source->options.saslauthd[0] != '\0') {
		*reason_r = "saslauthd";
		result = ask_saslauthd(source->options.saslauthd, login, password,
				       deadline_in(ASK_TIMEOUT_MS), err);
	} else {
		result = stock_verify(source, login, password, reason_r, err);
	}
	if (result == RESULT_FOUND)
		buf_append(account_r, login->name, login->len);
	return result;
}

bool source_values_vary(const struct source *source)
{
	return source->query.uses_property;
}

static enum result config_values(struct source *source, const struct source_login *login,
				 struct secrets *values_r, struct error *err)
{
	struct mailbox mailbox = {0};
	char key[ADDRESS_MAX + 1];
	enum result result = resolve_login(source->accounts, &source->settings, login->name,
					   login->len, &mailbox, NULL, err);

	if (result != RESULT_FOUND)
		return result;
	if (!mailbox.may_send)
		result = result_error(err, RESULT_NONE, "barred from sending");
	else if (!address_fold(key, sizeof(key), mailbox.address, strlen(mailbox.address)))
		result = result_error(err, RESULT_PERM, "mailbox name is too long or not UTF-8");
	else
		result = accounts_secrets(source->accounts, key, values_r, err);
	mailbox_free(&mailbox);
	return result;
}

enum result source_values(struct source *source, const struct source_login *login,
			  const char *property, struct secrets *values_r, struct error *err)
{
	enum result result = source_connect(source, err);

	*values_r = (struct secrets){0};
	if (result != RESULT_FOUND)
		return result;
	if (source->options.kind == OPTIONS_CONFIG)
		return config_values(source, login, values_r, err);
	if (source->options.kind == OPTIONS_STOCK)
		return stock_values(source, login, property, values_r, err);
	return result_error(err, RESULT_NONE, "a saslauthd socket gives no values");
}

enum result source_clear_text(const struct source *source, const char *stored, struct buf *clear_r)
{
	const char *scheme = source->options.password_scheme;

	if (source->options.kind == OPTIONS_CONFIG) {
		scheme = source->settings.schema.password_scheme;
		if (scheme[0] == '\0')
			scheme = schema_default(source->schema, "password_scheme", "");
	}
	return password_clear_text(stored, scheme, clear_r);
}
