/*
 * The plugin's options.
 *
 * Ours are postern_config, postern_saslauthd and postern_password_scheme. Without the first two,
 * but with "postern" among the words of auxprop_plugin, the options of Cyrus SASL's own sql plugin
 * are read (sql_engine, sql_hostnames, sql_user, sql_passwd, sql_database, sql_select or the older
 * sql_statement, sql_usessl), so that an existing smtpd.conf changes by one word. sql_insert and
 * sql_update are ignored: nothing is ever written.
 *
 * Known gap: sql_engine pgsql is refused.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "sasl-auxprop-sql/options.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/conf.h"
#include "common/secret.h"

#define PLUGIN_NAME "postern"

/* libsasl's own string, or NULL when the option is absent or empty. */
static const char *option_get(const sasl_utils_t *utils, const char *name)
{
	const char *value = NULL;

	if (utils->getopt(utils->getopt_context, PLUGIN_NAME, name, &value, NULL) != SASL_OK)
		return NULL;
	return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool option_copy(const sasl_utils_t *utils, const char *name, const char *fallback,
			char **copy_r)
{
	const char *value = option_get(utils, name);

	*copy_r = strdup(value != NULL ? value : fallback);
	return *copy_r != NULL;
}

static bool plugin_is_selected(const sasl_utils_t *utils)
{
	const char *cursor = option_get(utils, "auxprop_plugin");
	char word[64];

	while (cursor != NULL && conf_next_word(&cursor, word, sizeof(word)))
		if (strcasecmp(word, PLUGIN_NAME) == 0)
			return true;
	return false;
}

static enum result stock_driver(const char *engine, char **driver_r, struct error *err)
{
	const char *driver;

	if (strcasecmp(engine, "mysql") == 0)
		driver = "mysql";
	else if (strcasecmp(engine, "sqlite3") == 0 || strcasecmp(engine, "sqlite") == 0)
		driver = "sqlite";
	else
		return result_error(err, RESULT_PERM,
				    "sql_engine: \"%s\" is not supported; use mysql or sqlite3",
				    engine);
	*driver_r = strdup(driver);
	return *driver_r != NULL ? RESULT_FOUND : result_error(err, RESULT_TEMP, "out of memory");
}

static enum result options_read_stock(const sasl_utils_t *utils, struct options *options,
				      struct error *err)
{
	const char *select = option_get(utils, "sql_select");
	const char *engine = option_get(utils, "sql_engine");
	const char *tls = option_get(utils, "sql_usessl");
	enum result result;

	if (select == NULL)
		select = option_get(utils, "sql_statement");
	if (select == NULL)
		return result_error(err, RESULT_PERM,
				    "auxprop_plugin names postern, but there is neither "
				    "postern_config nor sql_select; add postern_config: %s",
				    "/etc/postern/postern.ini");
	result = stock_driver(engine != NULL ? engine : "mysql", &options->stock.driver, err);
	if (result != RESULT_FOUND)
		return result;
	options->stock.select = strdup(select);
	if (options->stock.select == NULL ||
	    !option_copy(utils, "sql_hostnames", "localhost", &options->stock.hosts) ||
	    !option_copy(utils, "sql_user", "", &options->stock.user) ||
	    !option_copy(utils, "sql_passwd", "", &options->stock.password) ||
	    !option_copy(utils, "sql_database", "", &options->stock.database))
		return result_error(err, RESULT_TEMP, "out of memory");
	for (char *c = options->stock.hosts; *c != '\0'; c++)
		if (*c == ',')
			*c = ' ';
	if (options->stock.database[0] == '\0')
		return result_error(err, RESULT_PERM,
				    "sql_database is missing: name the database (or the SQLite "
				    "file)");
	/* The same letters as Cyrus SASL takes for yes. */
	options->stock.tls =
		tls != NULL && (strchr("1yYtT", tls[0]) != NULL || strncasecmp(tls, "on", 2) == 0);
	return RESULT_FOUND;
}

enum result options_read(const sasl_utils_t *utils, struct options *options_r, struct error *err)
{
	*options_r = (struct options){.kind = OPTIONS_NONE};
	if (!option_copy(utils, "postern_config", "", &options_r->config) ||
	    !option_copy(utils, "postern_saslauthd", "", &options_r->saslauthd) ||
	    !option_copy(utils, "postern_password_scheme", "PLAIN", &options_r->password_scheme))
		return result_error(err, RESULT_TEMP, "out of memory");
	if (options_r->config[0] != '\0') {
		options_r->kind = OPTIONS_CONFIG;
		return RESULT_FOUND;
	}
	if (plugin_is_selected(utils) &&
	    (options_r->saslauthd[0] == '\0' || option_get(utils, "sql_select") != NULL)) {
		options_r->kind = OPTIONS_STOCK;
		return options_read_stock(utils, options_r, err);
	}
	if (options_r->saslauthd[0] != '\0') {
		options_r->kind = OPTIONS_DAEMON;
		return RESULT_FOUND;
	}
	options_free(options_r);
	return RESULT_NONE;
}

void options_free(struct options *options)
{
	free(options->config);
	free(options->saslauthd);
	free(options->password_scheme);
	free(options->stock.driver);
	free(options->stock.hosts);
	free(options->stock.user);
	secret_free(&options->stock.password);
	free(options->stock.database);
	free(options->stock.select);
	*options = (struct options){.kind = OPTIONS_NONE};
}
