/*
 * sql_statement - statements of a database handle: prepare, execute, step, columns
 *
 * Turns :name into the drivers' positional '?', outside quotes and comments, and prepares again
 * behind the caller's back after a reconnect.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"
#include "common/sql_handle.h"

/* Copies a parameter's name and moves over it. */
static bool take_name(struct sql_statement *statement, const char **cursor)
{
	size_t len = 0;
	char **grown = realloc(statement->names, (statement->name_count + 1) * sizeof *grown);

	if (grown == NULL)
		return false;
	statement->names = grown;
	while (isalnum((unsigned char)(*cursor)[len]) || (*cursor)[len] == '_')
		len++;
	grown[statement->name_count] = strndup(*cursor, len);
	*cursor += len;
	return grown[statement->name_count++] != NULL;
}

/* Length of what must be copied untouched at TEXT: a quoted string, name or comment; 0 if none. */
static size_t opaque_length(const char *text, bool backslash_escapes)
{
	const char *p = text + 1;

	if (text[0] == '-' && text[1] == '-')
		return strcspn(text, "\n");
	if (text[0] == '/' && text[1] == '*') {
		const char *end = strstr(text + 2, "*/");
		return end != NULL ? (size_t)(end + 2 - text) : strlen(text);
	}
	if (text[0] != '\'' && text[0] != '"' && text[0] != '`')
		return 0;
	while (*p != '\0' && *p != text[0])
		p += backslash_escapes && *p == '\\' && text[0] != '`' && p[1] != '\0' ? 2 : 1;
	return (size_t)(p - text) + (*p != '\0');
}

static enum result parse_text(struct sql_statement *statement, const char *text, struct error *err)
{
	bool escapes = statement->sql->driver->backslash_escapes;
	struct buf out = BUF_INIT;

	statement->reads = strncasecmp(text + strspn(text, " \t\n("), "select", 6) == 0;
	while (*text != '\0') {
		size_t opaque = opaque_length(text, escapes);
		if (opaque > 0) {
			buf_append(&out, text, opaque);
			text += opaque;
		} else if (*text == ':' && (isalpha((unsigned char)text[1]) || text[1] == '_')) {
			text++;
			if (!take_name(statement, &text))
				out.failed = true;
			buf_putc(&out, '?');
		} else if (*text == '?') {
			buf_free(&out);
			return result_error(err, RESULT_PERM,
					    "a bare '?' in a statement; write parameters as :name");
		} else {
			buf_putc(&out, *text++);
		}
	}
	statement->text = buf_take(&out);
	if (statement->text == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	return RESULT_FOUND;
}

static void columns_free(struct sql_statement *statement)
{
	for (size_t i = 0; i < statement->column_count; i++)
		free(statement->columns[i]);
	free(statement->columns);
	statement->columns = NULL;
	statement->column_count = 0;
}

static bool columns_load(struct sql_statement *statement)
{
	const struct sql_driver *driver = statement->sql->driver;
	size_t count = driver->column_count(statement->handle);

	if (statement->columns != NULL && count == statement->column_count)
		return true; /* prepared again: the same text has the same names */
	columns_free(statement);
	statement->columns = calloc(count + 1, sizeof *statement->columns);
	if (statement->columns == NULL)
		return false;
	for (size_t i = 0; i < count; i++) {
		const char *given = driver->column_name(statement->handle, i);
		char *name = strdup(given != NULL ? given : "");
		if (name == NULL)
			return false;
		for (char *p = name; *p != '\0'; p++)
			*p = (char)tolower((unsigned char)*p);
		statement->columns[statement->column_count++] = name;
	}
	return true;
}

/* Prepares on the present connection, if that is not done. */
static enum sql_fault ensure_prepared(struct sql_statement *statement, struct error *err)
{
	struct sql *sql = statement->sql;
	enum sql_fault fault;

	if (statement->handle != NULL)
		return SQL_FAULT_NONE;
	fault = sql->driver->prepare(sql->connection, statement->text, &statement->handle, err);
	if (fault != SQL_FAULT_NONE) {
		statement->handle = NULL;
		/* No value is bound yet, so the statement itself is at fault. */
		return fault == SQL_FAULT_DATA ? SQL_FAULT_STATEMENT : fault;
	}
	if (!columns_load(statement)) {
		error_set(err, "out of memory");
		return SQL_FAULT_BUSY;
	}
	return SQL_FAULT_NONE;
}

static enum result prepare_now(struct sql_statement *statement, struct error *err)
{
	struct sql *sql = statement->sql;
	struct attempts attempts = {0};

	for (;;) {
		enum result result = sql_connect(sql, err);
		if (result != RESULT_FOUND)
			return result;
		enum sql_fault fault = ensure_prepared(statement, err);
		if (!sql_try_again(sql, fault, true, &attempts, err))
			return sql_fault_result(sql, fault);
	}
}

enum result sql_prepare(struct sql *sql, const char *text, struct sql_statement **statement_r,
			struct error *err)
{
	struct error local = {{0}};
	struct sql_statement *statement = calloc(1, sizeof *statement);
	enum result result;

	*statement_r = NULL;
	sql->missing = false;
	if (err == NULL)
		err = &local;
	if (statement == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	statement->sql = sql;
	statement->next = sql->statements;
	sql->statements = statement;
	result = parse_text(statement, text, err);
	if (result == RESULT_FOUND)
		result = prepare_now(statement, err);
	if (result != RESULT_FOUND) {
		sql_statement_free(&statement);
		return result;
	}
	*statement_r = statement;
	return RESULT_FOUND;
}

void sql_statement_free(struct sql_statement **statement_p)
{
	struct sql_statement *statement = *statement_p;
	struct sql_statement **link;

	if (statement == NULL)
		return;
	sql_abandon_after_fork(statement->sql);
	for (link = &statement->sql->statements; *link != statement; link = &(*link)->next)
		;
	*link = statement->next;
	if (statement->handle != NULL)
		statement->sql->driver->statement_free(statement->handle);
	columns_free(statement);
	for (size_t i = 0; i < statement->name_count; i++)
		free(statement->names[i]);
	free(statement->names);
	free(statement->text);
	free(statement);
	*statement_p = NULL;
}

bool sql_missing(const struct sql *sql)
{
	return sql->missing;
}

const char *sql_parameter(const struct sql_statement *statement, size_t index)
{
	return index < statement->name_count ? statement->names[index] : NULL;
}

static enum result collect_values(const struct sql_statement *statement,
				  const struct sql_param *params, size_t count, const char **values,
				  struct error *err)
{
	for (size_t i = 0; i < statement->name_count; i++) {
		size_t k = 0;
		while (k < count && strcmp(params[k].name, statement->names[i]) != 0)
			k++;
		if (k == count)
			return result_error(err, RESULT_PERM,
					    "the statement asks for :%s, which is not given here",
					    statement->names[i]);
		values[i] = params[k].value;
	}
	return RESULT_FOUND;
}

/*
 * Every character set can hold ASCII, so then it is not the values that are at fault: the columns
 * do not go together, for example.
 */
static bool all_ascii(const char *const *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (const char *p = values[i]; p != NULL && *p != '\0'; p++)
			if ((*p & 0x80) != 0)
				return false;
	return true;
}

static enum result execute_values(struct sql_statement *statement, const char *const *values,
				  struct error *err)
{
	struct sql *sql = statement->sql;
	struct attempts attempts = {0};

	for (;;) {
		enum result result = sql_connect(sql, err);
		if (result != RESULT_FOUND)
			return result;
		bool sent = false;
		enum sql_fault fault = ensure_prepared(statement, err);
		if (fault == SQL_FAULT_NONE) {
			sent = true;
			fault = sql->driver->execute(statement->handle, values,
						     statement->name_count, err);
		}
		if (fault == SQL_FAULT_NONE) {
			statement->running = true;
			return RESULT_FOUND;
		}
		if (fault == SQL_FAULT_DATA && all_ascii(values, statement->name_count))
			fault = SQL_FAULT_STATEMENT;
		if (!sql_try_again(sql, fault, !sent || statement->reads, &attempts, err))
			return sql_fault_result(sql, fault);
	}
}

enum result sql_execute(struct sql_statement *statement, const struct sql_param *params,
			size_t count, struct error *err)
{
	struct error local = {{0}};
	const char **values;
	enum result result;

	if (err == NULL)
		err = &local;
	statement->sql->missing = false;
	sql_finish(statement);
	values = calloc(statement->name_count + 1, sizeof *values);
	if (values == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	result = collect_values(statement, params, count, values, err);
	if (result == RESULT_FOUND)
		result = execute_values(statement, values, err);
	free(values);
	return result;
}

enum result sql_step(struct sql_statement *statement, struct error *err)
{
	struct sql *sql = statement->sql;
	struct error local = {{0}};
	bool row = false;
	enum sql_fault fault;

	if (err == NULL)
		err = &local;
	sql_abandon_after_fork(sql);
	if (!statement->running) {
		if (statement->handle == NULL)
			return result_error(err, RESULT_TEMP,
					    "the database connection was lost while reading");
		return RESULT_NONE;
	}
	fault = sql->driver->step(statement->handle, &row, err);
	if (fault == SQL_FAULT_NONE && row)
		return RESULT_FOUND;
	if (fault == SQL_FAULT_NONE) {
		sql_finish(statement);
		return RESULT_NONE;
	}
	sql_finish(statement);
	if (fault == SQL_FAULT_HOST || fault == SQL_FAULT_STALE) {
		sql_leave_host(sql, err);
	}
	/* The key was good enough to run; what breaks now is never "no such row". */
	return fault == SQL_FAULT_DATA ? RESULT_TEMP : sql_fault_result(sql, fault);
}

void sql_finish(struct sql_statement *statement)
{
	if (!statement->running)
		return;
	sql_abandon_after_fork(statement->sql);
	if (statement->handle != NULL)
		statement->sql->driver->finish(statement->handle);
	statement->running = false;
}

size_t sql_column_count(const struct sql_statement *statement)
{
	return statement->column_count;
}

const char *sql_column_name(const struct sql_statement *statement, size_t index)
{
	return index < statement->column_count ? statement->columns[index] : "";
}

int sql_column_index(const struct sql_statement *statement, const char *name)
{
	for (size_t i = 0; i < statement->column_count; i++)
		if (strcasecmp(statement->columns[i], name) == 0)
			return (int)i;
	return -1;
}

static const char *column_value(const struct sql_statement *statement, int index, size_t *len_r)
{
	*len_r = 0;
	if (!statement->running || statement->handle == NULL || index < 0 ||
	    (size_t)index >= statement->column_count)
		return NULL;
	return statement->sql->driver->text(statement->handle, (size_t)index, len_r);
}

const char *sql_text(const struct sql_statement *statement, int index)
{
	size_t len;

	return column_value(statement, index, &len);
}

size_t sql_length(const struct sql_statement *statement, int index)
{
	size_t len;

	(void)column_value(statement, index, &len);
	return len;
}

int64_t sql_changes(const struct sql_statement *statement)
{
	return statement->handle != NULL ? statement->sql->driver->changes(statement->handle) : 0;
}
