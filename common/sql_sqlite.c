/*
 * sql_sqlite - the SQLite driver
 *
 * Opens the file for reading and writing, which SQLite turns into reading when the file's mode
 * says so; only `create` makes a new file. Waits query_timeout for another writer's lock. Works
 * with the rollback journal, so a reader needs no right to write into the folder.
 *
 * A file that was removed or replaced under its name (a restored backup) is noticed before each
 * statement: the connection then counts as stale. So a chrooted process needs the file inside.
 *
 * Limits: a query that is merely slow is not interrupted; only waiting is bounded.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "common/sql_driver.h"

struct sqlite_connection {
	sqlite3 *db;
	char *path;
	dev_t device;
	ino_t inode;
};

struct sqlite_statement {
	struct sqlite_connection *connection;
	sqlite3_stmt *handle;
	bool row_waits; /* execute() has fetched the first row already */
	bool done;
};

static enum sql_fault fault_of(sqlite3 *db, int code, struct error *err)
{
	const char *text = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code);

	error_set(err, "sqlite: %s (%d)", text, code);
	switch (code & 0xff) {
	case SQLITE_SCHEMA:
		return SQL_FAULT_STALE;
	case SQLITE_CANTOPEN:
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_NOMEM:
	case SQLITE_READONLY:
	case SQLITE_INTERRUPT:
	case SQLITE_IOERR:
	case SQLITE_FULL:
	case SQLITE_PROTOCOL:
		return SQL_FAULT_BUSY;
	case SQLITE_TOOBIG:
		return SQL_FAULT_DATA;
	case SQLITE_ERROR:
		if (strstr(text, "no such table") != NULL ||
		    strstr(text, "no such column") != NULL ||
		    strstr(text, "has no column named") != NULL)
			return SQL_FAULT_MISSING;
		return SQL_FAULT_STATEMENT;
	default:
		return SQL_FAULT_STATEMENT;
	}
}

static void sqlite_disconnect(void *connection_p)
{
	struct sqlite_connection *connection = connection_p;

	sqlite3_close_v2(connection->db);
	free(connection->path);
	free(connection);
}

static int busy_ms(const struct sql_config *config)
{
	return config->query_timeout_ms > INT_MAX ? INT_MAX : (int)config->query_timeout_ms;
}

static enum sql_fault sqlite_connect(const struct sql_config *config, const char *host,
				     void **connection_r, struct error *err)
{
	struct sqlite_connection *connection = calloc(1, sizeof *connection);
	int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	struct stat st;
	int code;

	*connection_r = NULL;
	if (config->read_only)
		flags |= SQLITE_OPEN_READONLY;
	else
		flags |= SQLITE_OPEN_READWRITE | (config->create ? SQLITE_OPEN_CREATE : 0);
	if (connection == NULL || (connection->path = strdup(host)) == NULL) {
		free(connection);
		error_set(err, "out of memory");
		return SQL_FAULT_BUSY;
	}
	code = sqlite3_open_v2(host, &connection->db, flags, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_busy_timeout(connection->db, busy_ms(config));
	if (code == SQLITE_OK) /* opening is lazy: read the header now */
		code = sqlite3_exec(connection->db, "SELECT 1 FROM sqlite_master LIMIT 1", NULL,
				    NULL, NULL);
	if (code != SQLITE_OK) {
		enum sql_fault fault = fault_of(connection->db, code, err);
		sqlite_disconnect(connection);
		return fault;
	}
	if (stat(host, &st) == 0) {
		connection->device = st.st_dev;
		connection->inode = st.st_ino;
	}
	*connection_r = connection;
	return SQL_FAULT_NONE;
}

static bool file_is_ours(const struct sqlite_connection *connection, struct error *err)
{
	struct stat st;

	if (stat(connection->path, &st) == 0 && st.st_dev == connection->device &&
	    st.st_ino == connection->inode)
		return true;
	error_set(err, "sqlite: the file was removed or replaced");
	return false;
}

static enum sql_fault sqlite_script(void *connection_p, const char *text, struct error *err)
{
	struct sqlite_connection *connection = connection_p;
	int code;

	if (!file_is_ours(connection, err))
		return SQL_FAULT_STALE;
	code = sqlite3_exec(connection->db, text, NULL, NULL, NULL);
	return code == SQLITE_OK ? SQL_FAULT_NONE : fault_of(connection->db, code, err);
}

static enum sql_fault sqlite_prepare(void *connection_p, const char *text, void **statement_r,
				     struct error *err)
{
	struct sqlite_connection *connection = connection_p;
	struct sqlite_statement *statement = calloc(1, sizeof *statement);
	const char *tail = NULL;
	int code;

	*statement_r = NULL;
	if (statement == NULL) {
		error_set(err, "out of memory");
		return SQL_FAULT_BUSY;
	}
	statement->connection = connection;
	code = sqlite3_prepare_v3(connection->db, text, -1, SQLITE_PREPARE_PERSISTENT,
				  &statement->handle, &tail);
	if (code != SQLITE_OK) {
		free(statement);
		return fault_of(connection->db, code, err);
	}
	if (statement->handle == NULL || tail[strspn(tail, " \t\r\n;")] != '\0') {
		sqlite3_finalize(statement->handle);
		free(statement);
		error_set(err, "sqlite: not exactly one statement");
		return SQL_FAULT_STATEMENT;
	}
	*statement_r = statement;
	return SQL_FAULT_NONE;
}

static void sqlite_statement_free(void *statement_p)
{
	struct sqlite_statement *statement = statement_p;

	sqlite3_finalize(statement->handle);
	free(statement);
}

static void sqlite_finish(void *statement_p)
{
	struct sqlite_statement *statement = statement_p;

	/* Both only repeat an error that the step has reported. */
	(void)sqlite3_reset(statement->handle);
	(void)sqlite3_clear_bindings(statement->handle);
	statement->row_waits = false;
	statement->done = true;
}

/*
 * Turns the row's values into text now: later there is no way to tell SQL NULL from a want of
 * memory.
 */
static int convert_row(const struct sqlite_statement *statement)
{
	int count = sqlite3_column_count(statement->handle);

	for (int i = 0; i < count; i++)
		if (sqlite3_column_type(statement->handle, i) != SQLITE_NULL &&
		    sqlite3_column_text(statement->handle, i) == NULL &&
		    sqlite3_errcode(statement->connection->db) == SQLITE_NOMEM)
			return SQLITE_NOMEM;
	return SQLITE_ROW;
}

static enum sql_fault fetch(struct sqlite_statement *statement, struct error *err)
{
	int code = sqlite3_step(statement->handle);

	if (code == SQLITE_ROW)
		code = convert_row(statement);
	statement->row_waits = code == SQLITE_ROW;
	statement->done = code != SQLITE_ROW;
	if (code == SQLITE_ROW || code == SQLITE_DONE)
		return SQL_FAULT_NONE;
	return fault_of(statement->connection->db, code, err);
}

static enum sql_fault sqlite_execute(void *statement_p, const char *const *values, size_t count,
				     struct error *err)
{
	struct sqlite_statement *statement = statement_p;
	enum sql_fault fault;

	sqlite_finish(statement);
	if (!file_is_ours(statement->connection, err))
		return SQL_FAULT_STALE;
	for (size_t i = 0; i < count; i++) {
		int code = sqlite3_bind_text(statement->handle, (int)i + 1, values[i], -1,
					     SQLITE_TRANSIENT);
		if (code != SQLITE_OK)
			return fault_of(statement->connection->db, code, err);
	}
	fault = fetch(statement, err);
	if (fault != SQL_FAULT_NONE)
		sqlite_finish(statement);
	return fault;
}

static enum sql_fault sqlite_step(void *statement_p, bool *row_r, struct error *err)
{
	struct sqlite_statement *statement = statement_p;
	enum sql_fault fault = SQL_FAULT_NONE;

	if (!statement->row_waits && !statement->done)
		fault = fetch(statement, err);
	*row_r = statement->row_waits;
	statement->row_waits = false;
	return fault;
}

static size_t sqlite_column_count(const void *statement_p)
{
	const struct sqlite_statement *statement = statement_p;

	return (size_t)sqlite3_column_count(statement->handle);
}

static const char *sqlite_column_name(const void *statement_p, size_t index)
{
	const struct sqlite_statement *statement = statement_p;

	return sqlite3_column_name(statement->handle, (int)index);
}

/* A blob, or text that is not UTF-8, comes through as its bytes; SQLite adds the NUL. */
static const char *sqlite_text(const void *statement_p, size_t index, size_t *len_r)
{
	const struct sqlite_statement *statement = statement_p;
	const unsigned char *text = sqlite3_column_text(statement->handle, (int)index);

	*len_r = text != NULL ? (size_t)sqlite3_column_bytes(statement->handle, (int)index) : 0;
	return (const char *)text;
}

static int64_t sqlite_changes(const void *statement_p)
{
	const struct sqlite_statement *statement = statement_p;

	return sqlite3_changes(statement->connection->db);
}

static const char *sqlite_version(void)
{
	return sqlite3_libversion();
}

const struct sql_driver sql_driver_sqlite = {
	.name = "sqlite",
	.begin = "BEGIN IMMEDIATE",
	.backslash_escapes = false,
	.host_ok = NULL,
	.connect = sqlite_connect,
	.disconnect = sqlite_disconnect,
	.script = sqlite_script,
	.prepare = sqlite_prepare,
	.statement_free = sqlite_statement_free,
	.execute = sqlite_execute,
	.step = sqlite_step,
	.finish = sqlite_finish,
	.column_count = sqlite_column_count,
	.column_name = sqlite_column_name,
	.text = sqlite_text,
	.changes = sqlite_changes,
	.version = sqlite_version,
};
