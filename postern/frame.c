/*
 * NAME
 *	frame - what all commands of postern share
 *
 * DESCRIPTION
 *	Opening settings, preset and database; telling what went wrong, and what to do about it.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/accounts_edit.h"
#include "common/address.h"
#include "postern/postern.h"
#include "postern/prompt.h"

int postern_fail(const struct postern *postern, int code, const char *format, ...)
{
	struct buf line = BUF_INIT;
	char message[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (postern->output.json) {
		buf_puts(&line, "{\"error\": ");
		output_json_string(&line, message);
		buf_printf(&line, ", \"exit\": %d}", code);
		fprintf(stderr, "%s\n", buf_str(&line));
	} else {
		fprintf(stderr, "postern: %s\n", message);
	}
	buf_free(&line);
	return code;
}

int postern_result(const struct postern *postern, enum result result, const char *absent,
		   const struct error *err)
{
	switch (result) {
	case RESULT_FOUND:
		return EX_OK;
	case RESULT_NONE:
		return postern_fail(postern, EXIT_NOT_FOUND, "%s: not found", absent);
	case RESULT_TEMP:
		return postern_fail(postern, EX_TEMPFAIL,
				    "%s (nothing was changed; try again later)", err->text);
	case RESULT_PERM:
		break;
	}
	return postern_fail(postern, EX_DATAERR, "%s", err->text);
}

int postern_settings(struct postern *postern)
{
	struct buf mistakes = BUF_INIT;
	struct error err = {""};
	int code = EX_OK;

	if (postern->settings_loaded)
		return EX_OK;
	if (settings_load(postern->file, &postern->settings, &mistakes, &err) == RESULT_FOUND)
		postern->settings_loaded = true;
	else
		code = postern_fail(postern, EX_CONFIG, "%s; `postern -c %s config test` shows all",
				    err.text, postern->file);
	buf_free(&mistakes);
	return code;
}

int postern_schema(struct postern *postern)
{
	struct error err = {""};
	int code = postern_settings(postern);

	if (code != EX_OK || postern->schema)
		return code;
	if (schema_load(postern->settings.schema.preset, &postern->schema, &err) != RESULT_FOUND)
		return postern_fail(postern, EX_CONFIG, "[schema] preset: %s", err.text);
	return EX_OK;
}

int postern_accounts(struct postern *postern)
{
	struct error err = {""};
	int code = postern_schema(postern);

	if (code != EX_OK || postern->accounts)
		return code;
	if (accounts_open(&postern->settings, postern->schema, &postern->accounts, &err) !=
	    RESULT_FOUND)
		return postern_fail(postern, EX_CONFIG, "%s", err.text);
	return EX_OK;
}

void postern_close(struct postern *postern)
{
	accounts_free(&postern->accounts);
	schema_free(&postern->schema);
	if (postern->settings_loaded)
		settings_free(&postern->settings);
	postern->settings_loaded = false;
}

void postern_done(struct postern *postern, const char *what, const char *name)
{
	struct output *output = &postern->output;

	output_row(output);
	if (output->json)
		output_text(output, "done", what);
	output_text(output, output->json ? "name" : what, name);
	output_end(output);
}

int postern_confirm(const struct postern *postern, const char *yes_option, const char *format, ...)
{
	struct error err = {""};
	char question[1024];
	va_list args;

	if (yes_option)
		return EX_OK;
	va_start(args, format);
	vsnprintf(question, sizeof(question), format, args);
	va_end(args);
	switch (prompt_confirm(question, &err)) {
	case RESULT_FOUND:
		return EX_OK;
	case RESULT_NONE:
		return postern_fail(postern, EX_USAGE, "not deleted");
	case RESULT_TEMP:
	case RESULT_PERM:
		break;
	}
	return postern_fail(postern, EX_USAGE, "%s", err.text);
}

static bool is_one_of(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(name, *names) == 0)
			return true;
	return false;
}

/* What is too large for a number of bytes is as large as can be, as in accounts.c. */
static int64_t quota_bytes(const char *value, int64_t unit)
{
	const int64_t number = strtoll(value, NULL, 10);
	int64_t bytes;

	if (number < 0)
		return 0;
	return __builtin_mul_overflow(number, unit, &bytes) ? INT64_MAX : bytes;
}

/* UNIT: bytes of one unit of the preset's quota columns. */
static void list_field(struct output *output, const char *name, const char *value, int64_t unit)
{
	static const char *const flags[] = {"active", "relay", "may_send", "may_receive", NULL};
	static const char *const lists[] = {"members", NULL};
	static const char *const numbers[] = {"bytes", "messages", "users", "aliases", NULL};

	if (is_one_of(name, flags))
		output_bool(output, name, value && strcmp(value, "0") != 0 && value[0]);
	else if (is_one_of(name, lists))
		output_list(output, name, value ? value : "", ',');
	else if (strcmp(name, "quota") == 0)
		output_quota(output, name, value ? quota_bytes(value, unit) : 0);
	else if (is_one_of(name, numbers) && value)
		output_number(output, name, strtoll(value, NULL, 10));
	else
		output_text(output, name, value);
}

int postern_domain(const struct postern *postern, const char *word, char *name_r)
{
	if (address_domain(name_r, word, strlen(word)))
		return EX_OK;
	return postern_fail(postern, EX_DATAERR, "\"%s\" is not a domain name", word);
}

int postern_address(const struct postern *postern, const char *word, char *name_r)
{
	struct address address;

	if (!address_parse(&address, word, strlen(word), NULL) ||
	    strlen(address.local) + 1 + strlen(address.domain) > ADDRESS_MAX)
		return postern_fail(postern, EX_DATAERR,
				    "\"%s\" is not an address like alice@example.com", word);
	strcpy(name_r, address.local);
	strcat(name_r, "@");
	strcat(name_r, address.domain);
	return EX_OK;
}

int postern_list(struct postern *postern, const char *what, const char *domain)
{
	char name[ADDRESS_MAX + 1];
	struct error err = {""};
	struct sql_statement *rows;
	enum result result;
	int64_t unit = 1;
	int code = domain ? postern_domain(postern, domain, name) : EX_OK;

	if (code == EX_OK)
		code = postern_accounts(postern);

	if (code != EX_OK)
		return code;
	if (!conf_parse_size(schema_default(postern->schema, "quota_unit", "1"), &unit))
		unit = 1;
	postern->output.form = OUTPUT_TABLE;
	result = accounts_list(postern->accounts, what, domain ? name : NULL, &rows, &err);
	if (result == RESULT_NONE)
		return postern_fail(postern, EX_UNAVAILABLE, "the preset %s has no query %s",
				    schema_name(postern->schema), what);
	while (result == RESULT_FOUND) {
		result = sql_step(rows, &err);
		if (result != RESULT_FOUND)
			break;
		output_row(&postern->output);
		for (size_t i = 0; i < sql_column_count(rows); i++)
			list_field(&postern->output, sql_column_name(rows, i),
				   sql_text(rows, (int)i), unit);
		output_end(&postern->output);
	}
	return result == RESULT_NONE ? EX_OK : postern_result(postern, result, what, &err);
}
