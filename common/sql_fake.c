/*
 * sql_fake - a database that answers from a script and fails on command, for tests
 *
 * A statement "matches" an answer when its text contains the answer's query part and its first
 * value is the answer's key. Columns are those of the first answer whose query part is in the
 * text. Everything is process-wide; rows must not change while other threads ask. Nothing is
 * announced to users.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <pthread.h>
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

#define HOSTS_MAX 4
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct fake_failure failures[OPERATIONS];
static unsigned calls[OPERATIONS];
static struct {
	char name[32];
	enum sql_fault fault;
} hosts[HOSTS_MAX];
static bool hold;
static unsigned held;

struct fake_connection {
	char host[32];
};

struct fake_statement {
	const struct fake_connection *connection;
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
	memset(hosts, 0, sizeof hosts);
	sql_fake_hold(false);
}

void sql_fake_host(const char *host, enum sql_fault fault)
{
	size_t i = 0;

	pthread_mutex_lock(&lock);
	while (i < HOSTS_MAX && hosts[i].name[0] != '\0' && strcmp(hosts[i].name, host) != 0)
		i++;
	if (i == HOSTS_MAX)
		abort();
	strncpy(hosts[i].name, host, sizeof hosts[i].name - 1);
	hosts[i].fault = fault;
	pthread_mutex_unlock(&lock);
}

void sql_fake_hold(bool on)
{
	pthread_mutex_lock(&lock);
	hold = on;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

unsigned sql_fake_held(void)
{
	unsigned count;

	pthread_mutex_lock(&lock);
	count = held;
	pthread_mutex_unlock(&lock);
	return count;
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
	pthread_mutex_lock(&lock);
	failures[operation].from = calls[operation] + nth;
	failures[operation].until = failures[operation].from + times;
	failures[operation].fault = fault;
	pthread_mutex_unlock(&lock);
}

unsigned sql_fake_calls(enum sql_fake_operation operation)
{
	unsigned count;

	pthread_mutex_lock(&lock);
	count = calls[operation];
	pthread_mutex_unlock(&lock);
	return count;
}

/* Under the lock. */
static enum sql_fault fault_of_host(const char *host)
{
	for (size_t i = 0; i < HOSTS_MAX; i++)
		if (strcmp(hosts[i].name, host) == 0)
			return hosts[i].fault;
	return SQL_FAULT_NONE;
}

static enum sql_fault count_call(enum sql_fake_operation operation, const char *host,
				 struct error *err)
{
	const struct fake_failure *failure = &failures[operation];
	enum sql_fault fault;
	unsigned number;

	pthread_mutex_lock(&lock);
	number = ++calls[operation];
	held++;
	while (hold)
		pthread_cond_wait(&changed, &lock);
	held--;
	fault = fault_of_host(host);
	if (number >= failure->from && number < failure->until)
		fault = failure->fault;
	pthread_mutex_unlock(&lock);
	if (fault != SQL_FAULT_NONE)
		error_set(err, "fake: failing on command");
	return fault;
}

static enum sql_fault fake_connect(const struct sql_config *config, const char *host,
				   void **connection_r, struct error *err)
{
	enum sql_fault fault = count_call(SQL_FAKE_CONNECT, host, err);
	struct fake_connection *connection;

	(void)config;
	*connection_r = NULL;
	if (fault != SQL_FAULT_NONE)
		return fault;
	connection = must(calloc(1, sizeof *connection));
	strncpy(connection->host, host, sizeof connection->host - 1);
	*connection_r = connection;
	return fault;
}

static void fake_disconnect(void *connection)
{
	free(connection);
}

static enum sql_fault fake_script(void *connection_p, const char *text, struct error *err)
{
	const struct fake_connection *connection = connection_p;

	(void)text;
	return count_call(SQL_FAKE_EXECUTE, connection->host, err);
}

static enum sql_fault fake_prepare(void *connection_p, const char *text, void **statement_r,
				   struct error *err)
{
	const struct fake_connection *connection = connection_p;
	enum sql_fault fault = count_call(SQL_FAKE_PREPARE, connection->host, err);
	struct fake_statement *statement;

	*statement_r = NULL;
	if (fault != SQL_FAULT_NONE)
		return fault;
	statement = must(calloc(1, sizeof *statement));
	statement->connection = connection;
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
	enum sql_fault fault = count_call(SQL_FAKE_EXECUTE, statement->connection->host, err);

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
	enum sql_fault fault = count_call(SQL_FAKE_STEP, statement->connection->host, err);

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
