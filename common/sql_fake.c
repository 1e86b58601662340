/*
 * sql_fake - a database that answers from a script and fails on command, for tests
 *
 * A statement "matches" an answer when its text contains the answer's query part and its first
 * value is the answer's key. Columns are those of the first answer whose query part is in the
 * text. Everything is process-wide and not thread-safe; nothing is announced to users.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>

#include "common/sql_fake.h"

#define OPERATIONS (SQL_FAKE_STEP + 1)

struct fake_row {
	char *query_part, *key;
	size_t count;
	char **names, **values;
	size_t *lengths;
};

struct fake_failure {
	unsigned from, until; /* numbers of calls, the second excluded */
	enum sql_fault fault;
};

static struct fake_row *rows;
static size_t row_count;
static struct fake_failure failures[OPERATIONS];
static unsigned calls[OPERATIONS];

struct fake_statement {
	char *text;
	char *key;
	size_t next; /* the row to look at next */
	const struct fake_row *row;
};

static void *must(void *memory)
{
	if (memory == NULL)
		abort();
	return memory;
}

static void row_free(struct fake_row *row)
{
	for (size_t i = 0; i < row->count; i++) {
		free(row->names[i]);
		free(row->values[i]);
	}
	free(row->query_part);
	free(row->key);
	free(row->names);
	free(row->values);
	free(row->lengths);
}

void sql_fake_reset(void)
{
	for (size_t i = 0; i < row_count; i++)
		row_free(&rows[i]);
	free(rows);
	rows = NULL;
	row_count = 0;
	memset(failures, 0, sizeof failures);
	memset(calls, 0, sizeof calls);
}

static char *copy_value(const char *value, size_t len)
{
	char *copy = must(malloc(len + 1));

	memcpy(copy, value, len);
	copy[len] = '\0';
	return copy;
}

void sql_fake_row(const char *query_part, const char *key, size_t count, const char *const *names,
		  const char *const *values, const size_t *lengths)
{
	struct fake_row row = {0};

	row.query_part = must(strdup(query_part));
	row.key = key != NULL ? must(strdup(key)) : NULL;
	row.count = count;
	row.names = must(calloc(count + 1, sizeof *row.names));
	row.values = must(calloc(count + 1, sizeof *row.values));
	row.lengths = must(calloc(count + 1, sizeof *row.lengths));
	for (size_t i = 0; i < count; i++) {
		row.names[i] = must(strdup(names[i]));
		if (values[i] == NULL)
			continue;
		row.lengths[i] = lengths != NULL ? lengths[i] : strlen(values[i]);
		row.values[i] = copy_value(values[i], row.lengths[i]);
	}
	rows = must(realloc(rows, (row_count + 1) * sizeof *rows));
	rows[row_count++] = row;
}

void sql_fake_fail(enum sql_fake_operation operation, unsigned nth, unsigned times,
		   enum sql_fault fault)
{
	failures[operation].from = calls[operation] + nth;
	failures[operation].until = failures[operation].from + times;
	failures[operation].fault = fault;
}

unsigned sql_fake_calls(enum sql_fake_operation operation)
{
	return calls[operation];
}

static enum sql_fault count_call(enum sql_fake_operation operation, struct error *err)
{
	const struct fake_failure *failure = &failures[operation];
	unsigned number = ++calls[operation];

	if (number < failure->from || number >= failure->until)
		return SQL_FAULT_NONE;
	error_set(err, "fake: failing on command");
	return failure->fault;
}

static enum sql_fault fake_connect(const struct sql_config *config, const char *host,
				   void **connection_r, struct error *err)
{
	enum sql_fault fault = count_call(SQL_FAKE_CONNECT, err);

	(void)config;
	(void)host;
	*connection_r = fault == SQL_FAULT_NONE ? must(malloc(1)) : NULL;
	return fault;
}

static void fake_disconnect(void *connection)
{
	free(connection);
}

static enum sql_fault fake_script(void *connection, const char *text, struct error *err)
{
	(void)connection;
	(void)text;
	return count_call(SQL_FAKE_EXECUTE, err);
}

static enum sql_fault fake_prepare(void *connection, const char *text, void **statement_r,
				   struct error *err)
{
	enum sql_fault fault = count_call(SQL_FAKE_PREPARE, err);
	struct fake_statement *statement;

	(void)connection;
	*statement_r = NULL;
	if (fault != SQL_FAULT_NONE)
		return fault;
	statement = must(calloc(1, sizeof *statement));
	statement->text = must(strdup(text));
	*statement_r = statement;
	return SQL_FAULT_NONE;
}

static void fake_statement_free(void *statement_p)
{
	struct fake_statement *statement = statement_p;

	free(statement->text);
	free(statement->key);
	free(statement);
}

static void fake_finish(void *statement_p)
{
	struct fake_statement *statement = statement_p;

	statement->next = row_count;
	statement->row = NULL;
}

static enum sql_fault fake_execute(void *statement_p, const char *const *values, size_t count,
				   struct error *err)
{
	struct fake_statement *statement = statement_p;
	enum sql_fault fault = count_call(SQL_FAKE_EXECUTE, err);

	free(statement->key);
	statement->key = count > 0 && values[0] != NULL ? must(strdup(values[0])) : NULL;
	statement->next = fault == SQL_FAULT_NONE ? 0 : row_count;
	statement->row = NULL;
	return fault;
}

static bool matches(const struct fake_statement *statement, const struct fake_row *row)
{
	if (strstr(statement->text, row->query_part) == NULL)
		return false;
	return row->key == NULL ||
	       (statement->key != NULL && strcmp(row->key, statement->key) == 0);
}

static enum sql_fault fake_step(void *statement_p, bool *row_r, struct error *err)
{
	struct fake_statement *statement = statement_p;
	enum sql_fault fault = count_call(SQL_FAKE_STEP, err);

	*row_r = false;
	statement->row = NULL;
	if (fault != SQL_FAULT_NONE)
		return fault;
	while (statement->next < row_count) {
		const struct fake_row *row = &rows[statement->next++];
		if (matches(statement, row)) {
			statement->row = row;
			*row_r = true;
			break;
		}
	}
	return SQL_FAULT_NONE;
}

static const struct fake_row *row_of_text(const struct fake_statement *statement)
{
	for (size_t i = 0; i < row_count; i++)
		if (strstr(statement->text, rows[i].query_part) != NULL)
			return &rows[i];
	return NULL;
}

static size_t fake_column_count(const void *statement_p)
{
	const struct fake_row *row = row_of_text(statement_p);

	return row != NULL ? row->count : 0;
}

static const char *fake_column_name(const void *statement_p, size_t index)
{
	const struct fake_row *row = row_of_text(statement_p);

	return row != NULL && index < row->count ? row->names[index] : "";
}

static const char *fake_text(const void *statement_p, size_t index, size_t *len_r)
{
	const struct fake_statement *statement = statement_p;
	const struct fake_row *row = statement->row;

	*len_r = 0;
	if (row == NULL || index >= row->count || row->values[index] == NULL)
		return NULL;
	*len_r = row->lengths[index];
	return row->values[index];
}

static int64_t fake_changes(const void *statement)
{
	(void)statement;
	return 1;
}

static const char *fake_version(void)
{
	return "1";
}

const struct sql_driver sql_driver_fake = {
	.name = "fake",
	.begin = "BEGIN",
	.backslash_escapes = false,
	.host_ok = NULL,
	.connect = fake_connect,
	.disconnect = fake_disconnect,
	.script = fake_script,
	.prepare = fake_prepare,
	.statement_free = fake_statement_free,
	.execute = fake_execute,
	.step = fake_step,
	.finish = fake_finish,
	.column_count = fake_column_count,
	.column_name = fake_column_name,
	.text = fake_text,
	.changes = fake_changes,
	.version = fake_version,
};
