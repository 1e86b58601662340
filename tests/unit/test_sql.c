/*
 * test_sql - results, failover and retry on the fake driver; real rows and faults on SQLite
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/deadline.h"
#include "common/log.h"
#include "common/sql.h"
#include "common/sql_fake.h"
#include "tests/unit/database.h"

#define QUERY "SELECT name FROM users WHERE id = :id"

static struct error err;

static struct sql *open_fake(const char *hosts)
{
	const struct sql_config config = {
		.driver = "fake", .hosts = hosts, .retry_interval_ms = 60000};
	struct sql *sql;

	ck_assert_int_eq(sql_open(&config, &sql, &err), RESULT_FOUND);
	return sql;
}

static void setup_fake(void)
{
	const char *names[] = {"Name"}, *values[] = {"one"};

	log_set_level(LOG_LEVEL_ERROR);
	err.text[0] = '\0';
	sql_fake_reset();
	sql_fake_row("FROM users", "1", 1, names, values, NULL);
}

static enum result ask(struct sql_statement *statement, const char *id)
{
	const struct sql_param params[] = {{"id", id}};
	enum result result = sql_execute(statement, params, 1, &err);

	return result == RESULT_FOUND ? sql_step(statement, &err) : result;
}

static struct sql_statement *prepared(struct sql *sql)
{
	struct sql_statement *statement;

	ck_assert_int_eq(sql_prepare(sql, QUERY, &statement, &err), RESULT_FOUND);
	return statement;
}

START_TEST(test_rows)
{
	const char *names[] = {"A", "Body", "Gone"};
	const char *values[] = {"x", "two\0parts", NULL};
	const size_t lengths[] = {1, 9, 0};
	struct sql *sql = open_fake("a");
	struct sql_statement *statement;

	ck_assert_str_eq(sql_host(sql), "");
	sql_fake_row("FROM wide", NULL, 3, names, values, lengths);
	ck_assert_int_eq(sql_prepare(sql, "SELECT * FROM wide", &statement, &err), RESULT_FOUND);
	ck_assert_str_eq(sql_host(sql), "a");
	ck_assert_uint_eq(sql_column_count(statement), 3);
	ck_assert_str_eq(sql_column_name(statement, 1), "body");
	ck_assert_str_eq(sql_column_name(statement, 3), "");
	ck_assert_int_eq(sql_column_index(statement, "BODY"), 1);
	ck_assert_int_eq(sql_column_index(statement, "none"), -1);
	ck_assert_ptr_null(sql_text(statement, 0)); /* no row yet */
	ck_assert_int_eq(sql_step(statement, &err), RESULT_NONE);
	ck_assert_int_eq(sql_execute(statement, NULL, 0, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_step(statement, &err), RESULT_FOUND);
	ck_assert_str_eq(sql_text(statement, 0), "x");
	ck_assert_uint_eq(sql_length(statement, 1), 9);
	ck_assert_mem_eq(sql_text(statement, 1), "two\0parts", 10);
	ck_assert_ptr_null(sql_text(statement, 2));
	ck_assert_uint_eq(sql_length(statement, 2), 0);
	ck_assert_ptr_null(sql_text(statement, -1));
	ck_assert_ptr_null(sql_text(statement, 3));
	ck_assert_int_eq(sql_step(statement, &err), RESULT_NONE);
	ck_assert_int_eq(sql_step(statement, &err), RESULT_NONE);
	sql_statement_free(&statement);
	ck_assert_ptr_null(statement);
	sql_free(&sql);
	ck_assert_ptr_null(sql);
}
END_TEST

START_TEST(test_parameters)
{
	const struct {
		const char *text;
		const char *names[4];
	} good[] = {
		{"SELECT ':no', \":no\", `:no` FROM t WHERE a = :a OR b = :b_2 OR c = :a",
		 {"a", "b_2", "a"}},
		{"SELECT 'it''s :no' -- :no\n, 2 /* :no */ FROM t WHERE a=:a", {"a"}},
		{"SELECT 12:30, ':', a := 3", {NULL}},
		{"SELECT 'open :no", {NULL}},
	};
	struct sql *sql = open_fake("a");
	struct sql_statement *statement;
	const struct sql_param params[] = {{"b_2", "2"}, {"a", "1"}};

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		ck_assert_int_eq(sql_prepare(sql, good[i].text, &statement, &err), RESULT_FOUND);
		size_t n = 0;
		for (; good[i].names[n] != NULL; n++)
			ck_assert_str_eq(sql_parameter(statement, n), good[i].names[n]);
		ck_assert_ptr_null(sql_parameter(statement, n));
		sql_statement_free(&statement);
	}
	ck_assert_int_eq(sql_prepare(sql, "SELECT ?", &statement, &err), RESULT_PERM);
	ck_assert_ptr_null(statement);
	ck_assert_int_eq(sql_prepare(sql, "SELECT :a, :c", &statement, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_execute(statement, params, 2, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, ":c"));
	sql_free(&sql); /* frees the statement too */
}
END_TEST

/* Every fault at every place: the four results are made here. */
START_TEST(test_faults)
{
	const struct {
		enum sql_fault fault;
		enum result prepare, execute, step;
		bool missing;
	} table[] = {
		{SQL_FAULT_DATA, RESULT_PERM, RESULT_NONE, RESULT_TEMP, false},
		{SQL_FAULT_STATEMENT, RESULT_PERM, RESULT_PERM, RESULT_PERM, false},
		{SQL_FAULT_MISSING, RESULT_PERM, RESULT_PERM, RESULT_PERM, true},
		{SQL_FAULT_STALE, RESULT_TEMP, RESULT_TEMP, RESULT_TEMP, false},
		{SQL_FAULT_HOST, RESULT_TEMP, RESULT_TEMP, RESULT_TEMP, false},
		{SQL_FAULT_BUSY, RESULT_TEMP, RESULT_TEMP, RESULT_TEMP, false},
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct sql *sql = open_fake("a");
		struct sql_statement *statement;
		sql_fake_fail(SQL_FAKE_PREPARE, 1, 9, table[i].fault);
		ck_assert_int_eq(sql_prepare(sql, QUERY, &statement, &err), table[i].prepare);
		ck_assert_str_ne(err.text, "");
		ck_assert_int_eq(sql_missing(sql), table[i].missing);
		sql_fake_fail(SQL_FAKE_PREPARE, 1, 0, SQL_FAULT_NONE);
		statement = prepared(sql);
		sql_fake_fail(SQL_FAKE_EXECUTE, 1, 9, table[i].fault);
		ck_assert_int_eq(ask(statement, "\xc3\xa9"), table[i].execute);
		/* What every database can represent is never a key's fault. */
		ck_assert_int_eq(ask(statement, "1"),
				 table[i].fault == SQL_FAULT_DATA ? RESULT_PERM : table[i].execute);
		sql_fake_fail(SQL_FAKE_EXECUTE, 1, 0, SQL_FAULT_NONE);
		ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
		sql_fake_fail(SQL_FAKE_STEP, 1, 1, table[i].fault);
		ck_assert_int_eq(ask(statement, "1"), table[i].step);
		ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
		ck_assert_int_eq(ask(statement, "2"), RESULT_NONE);
		sql_free(&sql);
	}
}
END_TEST

START_TEST(test_failover_while_connecting)
{
	struct sql *sql = open_fake("a b c");

	sql_fake_fail(SQL_FAKE_CONNECT, 1, 2, SQL_FAULT_HOST);
	ck_assert_int_eq(sql_connect(sql, &err), RESULT_FOUND);
	ck_assert_str_eq(sql_host(sql), "c");
	ck_assert_uint_eq(sql_fake_calls(SQL_FAKE_CONNECT), 3);
	ck_assert_uint_eq(sql_generation(sql), 1);
	/* Losing c within the retry interval of a and b: c is the only one not passed over. */
	sql_fake_fail(SQL_FAKE_EXECUTE, 1, 1, SQL_FAULT_STALE);
	ck_assert_int_eq(ask(prepared(sql), "1"), RESULT_FOUND);
	ck_assert_str_eq(sql_host(sql), "c");
	ck_assert_uint_eq(sql_fake_calls(SQL_FAKE_CONNECT), 4);
	sql_free(&sql);
}
END_TEST

START_TEST(test_all_down)
{
	struct sql *sql = open_fake("a b");

	sql_fake_fail(SQL_FAKE_CONNECT, 1, 4, SQL_FAULT_HOST);
	ck_assert_int_eq(sql_connect(sql, &err), RESULT_TEMP);
	ck_assert_uint_eq(sql_fake_calls(SQL_FAKE_CONNECT), 2);
	/* When all are down, all are tried again at once. */
	ck_assert_int_eq(sql_connect(sql, &err), RESULT_TEMP);
	ck_assert_uint_eq(sql_fake_calls(SQL_FAKE_CONNECT), 4);
	ck_assert_int_eq(sql_connect(sql, &err), RESULT_FOUND);
	ck_assert_str_eq(sql_host(sql), "a");
	sql_free(&sql);
}
END_TEST

START_TEST(test_access_denied)
{
	struct sql *sql = open_fake("a b");

	sql_fake_fail(SQL_FAKE_CONNECT, 1, 2, SQL_FAULT_ACCESS);
	ck_assert_int_eq(sql_connect(sql, &err), RESULT_PERM);
	sql_free(&sql);
	sql = open_fake("a b");
	sql_fake_fail(SQL_FAKE_CONNECT, 1, 1, SQL_FAULT_ACCESS);
	ck_assert_int_eq(sql_connect(sql, &err), RESULT_FOUND);
	ck_assert_str_eq(sql_host(sql), "b");
	sql_free(&sql);
}
END_TEST

START_TEST(test_stale_is_invisible)
{
	struct sql *sql = open_fake("a");
	struct sql_statement *statement = prepared(sql);

	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	sql_fake_fail(SQL_FAKE_EXECUTE, 1, 1, SQL_FAULT_STALE);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_str_eq(sql_text(statement, 0), "one");
	ck_assert_uint_eq(sql_generation(sql), 2);
	ck_assert_uint_eq(sql_fake_calls(SQL_FAKE_PREPARE), 2);
	sql_free(&sql);
}
END_TEST

START_TEST(test_failover_while_executing)
{
	struct sql *sql = open_fake("a b");
	struct sql_statement *reads = prepared(sql), *writes;

	sql_fake_fail(SQL_FAKE_EXECUTE, 1, 1, SQL_FAULT_HOST);
	ck_assert_int_eq(ask(reads, "1"), RESULT_FOUND);
	ck_assert_str_eq(sql_host(sql), "b");
	/* What writes may have been done: never twice. */
	ck_assert_int_eq(sql_prepare(sql, "UPDATE users SET n = 1", &writes, &err), RESULT_FOUND);
	unsigned before = sql_fake_calls(SQL_FAKE_EXECUTE);
	sql_fake_fail(SQL_FAKE_EXECUTE, 1, 1, SQL_FAULT_HOST);
	ck_assert_int_eq(sql_execute(writes, NULL, 0, &err), RESULT_TEMP);
	ck_assert_uint_eq(sql_fake_calls(SQL_FAKE_EXECUTE), before + 1);
	sql_free(&sql);
}
END_TEST

/* A statement whose connection another one lost has no rows left, and says so. */
START_TEST(test_lost_while_reading)
{
	struct sql *sql = open_fake("a");
	struct sql_statement *one = prepared(sql), *two = prepared(sql);

	ck_assert_int_eq(ask(one, "1"), RESULT_FOUND);
	sql_fake_fail(SQL_FAKE_EXECUTE, 1, 1, SQL_FAULT_HOST);
	ck_assert_int_eq(ask(two, "1"), RESULT_TEMP);
	ck_assert_ptr_null(sql_text(one, 0));
	ck_assert_int_eq(sql_step(one, &err), RESULT_TEMP);
	ck_assert_int_eq(ask(one, "1"), RESULT_FOUND);
	sql_free(&sql);
}
END_TEST

START_TEST(test_transactions)
{
	struct sql *sql = open_fake("a b");
	struct sql_statement *statement = prepared(sql);

	ck_assert_int_eq(sql_commit(sql, &err), RESULT_PERM);
	ck_assert_int_eq(sql_begin(sql, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_begin(sql, &err), RESULT_PERM);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_int_eq(sql_commit(sql, &err), RESULT_FOUND);
	/* Beginning may be repeated on a fresh connection, what follows may not. */
	sql_fake_fail(SQL_FAKE_EXECUTE, 1, 1, SQL_FAULT_STALE);
	ck_assert_int_eq(sql_begin(sql, &err), RESULT_FOUND);
	sql_fake_fail(SQL_FAKE_EXECUTE, 1, 1, SQL_FAULT_STALE);
	ck_assert_int_eq(ask(statement, "1"), RESULT_TEMP);
	ck_assert_int_eq(ask(statement, "1"), RESULT_TEMP);
	ck_assert_int_eq(sql_commit(sql, &err), RESULT_TEMP);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_int_eq(sql_begin(sql, &err), RESULT_FOUND);
	sql_rollback(sql);
	sql_rollback(sql);
	ck_assert_int_eq(sql_begin(sql, &err), RESULT_FOUND);
	sql_free(&sql);
}
END_TEST

/* Runs IN_CHILD in a forked process; its result is the exit status. */
static void in_child(int (*function)(struct sql_statement *), struct sql_statement *statement)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(function(statement));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child: %d", status);
}

static int ask_in_child(struct sql_statement *statement)
{
	return ask(statement, "1") == RESULT_FOUND && sql_fake_calls(SQL_FAKE_CONNECT) == 2 ? 0 : 1;
}

static void assert_host(const struct sql *sql, size_t index, const char *name,
			enum sql_host_state state)
{
	struct sql_host_view view;

	ck_assert(sql_host_at(sql, index, &view));
	ck_assert_str_eq(view.name, name);
	ck_assert_int_eq(view.state, state);
}

START_TEST(test_away)
{
	struct sql *sql = open_fake("a b");
	struct sql_statement *statement;
	struct sql_host_view view;

	ck_assert(!sql_away(sql));
	assert_host(sql, 0, "a", SQL_HOST_UNKNOWN);
	ck_assert(!sql_host_at(sql, 2, &view));
	statement = prepared(sql);
	assert_host(sql, 0, "a", SQL_HOST_UP);
	assert_host(sql, 1, "b", SQL_HOST_UNKNOWN);
	/* Not the hosts' fault. */
	sql_fake_fail(SQL_FAKE_EXECUTE, 1, 1, SQL_FAULT_BUSY);
	ck_assert_int_eq(ask(statement, "1"), RESULT_TEMP);
	ck_assert(!sql_away(sql));
	/* One of two. */
	sql_fake_host("a", SQL_FAULT_HOST);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert(!sql_away(sql));
	assert_host(sql, 0, "a", SQL_HOST_DOWN);
	assert_host(sql, 1, "b", SQL_HOST_UP);
	sql_fake_host("b", SQL_FAULT_HOST);
	ck_assert_int_eq(ask(statement, "1"), RESULT_TEMP);
	ck_assert(sql_away(sql));
	/* That both deny access is no better. */
	sql_fake_host("a", SQL_FAULT_ACCESS);
	sql_fake_host("b", SQL_FAULT_ACCESS);
	ck_assert_int_eq(ask(statement, "1"), RESULT_PERM);
	ck_assert(sql_away(sql));
	sql_fake_host("b", SQL_FAULT_NONE);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert(!sql_away(sql));
	/* A handle that is offline never connects. */
	unsigned before = sql_fake_calls(SQL_FAKE_CONNECT);
	sql_set_offline(sql);
	ck_assert_int_eq(ask(statement, "1"), RESULT_TEMP);
	ck_assert(sql_away(sql));
	ck_assert_uint_eq(sql_fake_calls(SQL_FAKE_CONNECT), before);
	sql_free(&sql);
}
END_TEST

START_TEST(test_fork)
{
	struct sql *sql = open_fake("a");
	struct sql_statement *statement = prepared(sql);

	in_child(ask_in_child, statement);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_uint_eq(sql_fake_calls(SQL_FAKE_CONNECT), 1);
	sql_free(&sql);
}
END_TEST

START_TEST(test_open)
{
	const struct {
		struct sql_config config;
		const char *words;
	} table[] = {
		{{.driver = "oracle"}, "oracle"},
		{{.driver = NULL}, "no driver"},
		{{.driver = "fake", .hosts = "  "}, "hosts"},
		{{.driver = "mysql", .hosts = ""}, "hosts"},
		{{.driver = "mysql", .hosts = "db1 db2:port"}, "db2:port"},
		{{.driver = "mysql", .hosts = "db:0"}, "db:0"},
		{{.driver = "mysql", .hosts = "db:65536"}, "db:65536"},
		{{.driver = "mysql", .hosts = "[::1"}, "[::1"},
		{{.driver = "mysql", .hosts = "[::1]3306"}, "[::1]3306"},
		{{.driver = "mysql", .hosts = "::1"}, "::1"},
		{{.driver = "mysql", .hosts = "a,b"}, "a,b"},
		{{.driver = "sqlite", .path = ""}, "path"},
	};
	const struct sql_config good = {
		.driver = "mysql", .hosts = " db db:3307\t[2001:db8::1] [::1]:3306 /run/x.sock "};
	struct sql *sql;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		ck_assert_int_eq(sql_open(&table[i].config, &sql, &err), RESULT_PERM);
		ck_assert_msg(strstr(err.text, table[i].words) != NULL, "%s", err.text);
		ck_assert_ptr_null(sql);
	}
	ck_assert_int_eq(sql_open(&good, &sql, &err), RESULT_FOUND);
	sql_free(&sql);
	sql_free(&sql);
	ck_assert_ptr_nonnull(strstr(sql_drivers(), "sqlite/3."));
	ck_assert_ptr_nonnull(strstr(sql_drivers(), "mysql/"));
	ck_assert_ptr_null(strstr(sql_drivers(), "fake"));
}
END_TEST

/* SQLite */

static char database[128];

static void setup_sqlite(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	err.text[0] = '\0';
	snprintf(database, sizeof database, "%s/mail.sqlite", test_folder());
	unlink(database);
	sqlite_run(database,
		   "CREATE TABLE users (id TEXT, name, n INTEGER);"
		   "INSERT INTO users VALUES ('1', 'one', 1), ('2', NULL, 2),"
		   " ('3', x'61006200', 3), ('4', CAST(x'ff80c3' AS TEXT), -9223372036854775808),"
		   " ('5', 2.5, 5), ('''; DROP TABLE users; --', 'quote', 6), ('%', 'percent', 7),"
		   " ('a\\b\"c', 'backslash', 8), ('\xc3\xa9', 'accent', 9), ('', 'empty', 10);");
}

static struct sql *open_sqlite(bool create, bool read_only)
{
	const struct sql_config config = {.driver = "sqlite",
					  .path = database,
					  .query_timeout_ms = 200,
					  .create = create,
					  .read_only = read_only};
	struct sql *sql;

	ck_assert_int_eq(sql_open(&config, &sql, &err), RESULT_FOUND);
	return sql;
}

START_TEST(test_sqlite_values)
{
	struct sql *sql = open_sqlite(false, false);
	struct sql_statement *statement = prepared(sql);

	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_str_eq(sql_text(statement, 0), "one");
	ck_assert_int_eq(sql_step(statement, &err), RESULT_NONE);
	ck_assert_int_eq(ask(statement, "2"), RESULT_FOUND);
	ck_assert_ptr_null(sql_text(statement, 0));
	ck_assert_int_eq(ask(statement, "3"), RESULT_FOUND);
	ck_assert_uint_eq(sql_length(statement, 0), 4);
	ck_assert_mem_eq(sql_text(statement, 0), "a\0b\0", 5);
	ck_assert_int_eq(ask(statement, "4"), RESULT_FOUND);
	ck_assert_str_eq(sql_text(statement, 0), "\xff\x80\xc3");
	ck_assert_int_eq(ask(statement, "5"), RESULT_FOUND);
	ck_assert_str_eq(sql_text(statement, 0), "2.5");
	ck_assert_int_eq(ask(statement, NULL), RESULT_NONE);
	ck_assert_int_eq(ask(statement, "nobody"), RESULT_NONE);
	const struct {
		const char *key, *value;
	} keys[] = {{"'; DROP TABLE users; --", "quote"},
		    {"%", "percent"},
		    {"a\\b\"c", "backslash"},
		    {"\xc3\xa9", "accent"},
		    {"", "empty"}};
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		ck_assert_int_eq(ask(statement, keys[i].key), RESULT_FOUND);
		ck_assert_str_eq(sql_text(statement, 0), keys[i].value);
	}
	sql_free(&sql);
}
END_TEST

/* Memory that fails on command: the COUNTDOWNth allocation, once. */
static sqlite3_mem_methods memory;
static long countdown;

static void *failing_malloc(int size)
{
	return countdown > 0 && --countdown == 0 ? NULL : memory.xMalloc(size);
}

static void *failing_realloc(void *data, int size)
{
	return countdown > 0 && --countdown == 0 ? NULL : memory.xRealloc(data, size);
}

/* A value that could not be fetched for want of memory is not SQL NULL: that would be an answer. */
START_TEST(test_sqlite_out_of_memory)
{
	sqlite3_mem_methods failing;
	struct sql *sql;
	struct sql_statement *statement;
	bool done = false;

	ck_assert_int_eq(sqlite3_shutdown(), SQLITE_OK);
	ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory), SQLITE_OK);
	failing = memory;
	failing.xMalloc = failing_malloc;
	failing.xRealloc = failing_realloc;
	ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &failing), SQLITE_OK);
	ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK);
	sql = open_sqlite(false, false);
	ck_assert_int_eq(
		sql_prepare(sql, "SELECT n, name FROM users WHERE id = :id", &statement, &err),
		RESULT_FOUND);
	for (long nth = 1; !done; nth++) {
		enum result result;

		ck_assert_int_lt(nth, 10000);
		countdown = nth;
		result = ask(statement, "1");
		if (result == RESULT_FOUND) {
			const char *text = sql_text(statement, 0);

			ck_assert_msg(text != NULL, "allocation %ld", nth);
			ck_assert_str_eq(text, "1");
			ck_assert_str_eq(sql_text(statement, 1), "one");
			done = countdown > 0;
		} else {
			ck_assert_int_eq(result, RESULT_TEMP);
		}
		countdown = 0;
	}
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	sql_free(&sql);
}
END_TEST

START_TEST(test_sqlite_large)
{
	const size_t size = 1000000;
	char *large = malloc(size + 1);
	struct sql *sql = open_sqlite(false, false);
	struct sql_statement *insert, *statement = prepared(sql);
	const struct sql_param params[] = {{"id", "large"}, {"name", large}};

	memset(large, 'x', size);
	large[size] = '\0';
	ck_assert_int_eq(
		sql_prepare(sql, "INSERT INTO users (id, name) VALUES (:id, :name)", &insert, &err),
		RESULT_FOUND);
	ck_assert_int_eq(sql_execute(insert, params, 2, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_changes(insert), 1);
	ck_assert_int_eq(ask(statement, "large"), RESULT_FOUND);
	ck_assert_uint_eq(sql_length(statement, 0), size);
	ck_assert_mem_eq(sql_text(statement, 0), large, size + 1);
	sql_free(&sql);
	free(large);
}
END_TEST

START_TEST(test_sqlite_statements)
{
	const struct {
		const char *text;
		bool missing;
	} table[] = {
		{"SELEKT 1", false},
		{"", false},
		{"SELECT 1; SELECT 2", false},
		{"SELECT 1 FROM nothere", true},
		{"SELECT nothere FROM users", true},
		{"INSERT INTO users (nothere) VALUES (1)", true},
	};
	struct sql *sql = open_sqlite(false, false);
	struct sql_statement *statement;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		ck_assert_int_eq(sql_prepare(sql, table[i].text, &statement, &err), RESULT_PERM);
		ck_assert_msg(sql_missing(sql) == table[i].missing, "%s", table[i].text);
	}
	ck_assert_int_eq(sql_script(sql, "CREATE UNIQUE INDEX u ON users (id)", &err),
			 RESULT_FOUND);
	ck_assert_int_eq(sql_prepare(sql, "INSERT INTO users (id) VALUES (:id)", &statement, &err),
			 RESULT_FOUND);
	const struct sql_param params[] = {{"id", "1"}};
	ck_assert_int_eq(sql_execute(statement, params, 1, &err), RESULT_PERM);
	ck_assert(!sql_missing(sql));
	sql_free(&sql);
}
END_TEST

START_TEST(test_sqlite_files)
{
	struct sql *sql;
	struct sql_statement *statement;

	unlink(database);
	sql = open_sqlite(false, false);
	ck_assert_int_eq(sql_connect(sql, &err), RESULT_TEMP);
	ck_assert_ptr_nonnull(strstr(err.text, database));
	ck_assert_int_ne(access(database, F_OK), 0);
	sql_free(&sql);
	sql = open_sqlite(true, false);
	ck_assert_int_eq(sql_connect(sql, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_script(sql,
				    "CREATE TABLE users (id, name); INSERT INTO users VALUES "
				    "('1', 'new')",
				    &err),
			 RESULT_FOUND);
	sql_free(&sql);
	sql = open_sqlite(false, true);
	statement = prepared(sql);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_str_eq(sql_text(statement, 0), "new");
	sql_finish(statement);
	ck_assert_int_eq(sql_script(sql, "DELETE FROM users", &err), RESULT_TEMP);
	sql_free(&sql);
	test_write_file(database, "This is no database, but a text that is longer than a header. "
				  "This is no database, but a text that is longer than a header.");
	sql = open_sqlite(false, false);
	ck_assert_int_eq(sql_connect(sql, &err), RESULT_PERM);
	sql_free(&sql);
}
END_TEST

static int read_without_rights(struct sql_statement *unused)
{
	struct sql *sql;
	struct sql_statement *statement;

	(void)unused;
	if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
		return 2;
	sql = open_sqlite(false, false);
	statement = prepared(sql);
	if (ask(statement, "1") != RESULT_FOUND)
		return 3;
	sql_finish(statement);
	return sql_script(sql, "DELETE FROM users", &err) == RESULT_TEMP ? 0 : 4;
}

/* Neither the file nor its folder is ours to write: reading works all the same. */
START_TEST(test_sqlite_no_right_to_write)
{
	ck_assert_int_eq(chmod(database, 0444), 0);
	in_child(read_without_rights, NULL);
}
END_TEST

START_TEST(test_sqlite_locked)
{
	struct sql *sql = open_sqlite(false, false);
	struct sql_statement *statement = prepared(sql);
	sqlite3 *other = NULL;
	int64_t started;

	ck_assert_int_eq(sqlite3_open(database, &other), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	started = deadline_now_ms();
	ck_assert_int_eq(ask(statement, "1"), RESULT_TEMP);
	ck_assert_int_ge(deadline_now_ms() - started, 150);
	ck_assert_int_eq(sql_begin(sql, &err), RESULT_TEMP);
	ck_assert_int_eq(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	sql_finish(statement);
	/* Nothing of ours locks the writer out once a statement is finished. */
	ck_assert_int_eq(sqlite3_exec(other, "DELETE FROM users", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(other);
	ck_assert_int_eq(ask(statement, "1"), RESULT_NONE);
	sql_free(&sql);
}
END_TEST

START_TEST(test_sqlite_replaced)
{
	struct sql *sql = open_sqlite(false, false);
	struct sql_statement *statement = prepared(sql);
	char away[160];

	snprintf(away, sizeof away, "%s.away", database);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	sql_finish(statement);
	ck_assert_int_eq(rename(database, away), 0);
	ck_assert_int_eq(ask(statement, "1"), RESULT_TEMP);
	sqlite_run(database, "CREATE TABLE users (id, name); INSERT INTO users VALUES ('1', 'b')");
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_str_eq(sql_text(statement, 0), "b");
	sql_finish(statement);
	ck_assert_int_eq(rename(away, database), 0);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_str_eq(sql_text(statement, 0), "one");
	sql_free(&sql);
}
END_TEST

START_TEST(test_sqlite_transactions)
{
	struct sql *sql = open_sqlite(false, false);
	struct sql_statement *statement = prepared(sql);

	ck_assert_int_eq(sql_begin(sql, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_script(sql, "DELETE FROM users", &err), RESULT_FOUND);
	ck_assert_int_eq(ask(statement, "1"), RESULT_NONE);
	sql_rollback(sql);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	sql_finish(statement);
	ck_assert_int_eq(sql_begin(sql, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_script(sql, "DELETE FROM users; SELEKT", &err), RESULT_PERM);
	sql_rollback(sql);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	sql_finish(statement);
	ck_assert_int_eq(sql_begin(sql, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_script(sql, "DELETE FROM users", &err), RESULT_FOUND);
	ck_assert_int_eq(sql_commit(sql, &err), RESULT_FOUND);
	ck_assert_int_eq(ask(statement, "1"), RESULT_NONE);
	sql_free(&sql);
}
END_TEST

static int ask_sqlite_in_child(struct sql_statement *statement)
{
	return ask(statement, "1") == RESULT_FOUND && strcmp(sql_text(statement, 0), "one") == 0
		       ? 0
		       : 1;
}

START_TEST(test_sqlite_fork)
{
	struct sql *sql = open_sqlite(false, false);
	struct sql_statement *statement = prepared(sql);

	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	in_child(ask_sqlite_in_child, statement);
	ck_assert_int_eq(ask(statement, "2"), RESULT_FOUND);
	sql_free(&sql);
}
END_TEST

static void make_folder(void)
{
	(void)test_folder();
}

int main(void)
{
	Suite *suite = suite_create("sql");
	TCase *fake = tcase_create("fake"), *sqlite = tcase_create("sqlite");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(fake, setup_fake, sql_fake_reset);
	tcase_add_test(fake, test_rows);
	tcase_add_test(fake, test_parameters);
	tcase_add_test(fake, test_faults);
	tcase_add_test(fake, test_failover_while_connecting);
	tcase_add_test(fake, test_all_down);
	tcase_add_test(fake, test_access_denied);
	tcase_add_test(fake, test_stale_is_invisible);
	tcase_add_test(fake, test_failover_while_executing);
	tcase_add_test(fake, test_lost_while_reading);
	tcase_add_test(fake, test_transactions);
	tcase_add_test(fake, test_away);
	tcase_add_test(fake, test_fork);
	tcase_add_test(fake, test_open);
	suite_add_tcase(suite, fake);
	tcase_add_unchecked_fixture(sqlite, make_folder, test_cleanup);
	tcase_add_checked_fixture(sqlite, setup_sqlite, NULL);
	tcase_set_timeout(sqlite, 60);
	tcase_add_test(sqlite, test_sqlite_values);
	tcase_add_test(sqlite, test_sqlite_out_of_memory);
	tcase_add_test(sqlite, test_sqlite_large);
	tcase_add_test(sqlite, test_sqlite_statements);
	tcase_add_test(sqlite, test_sqlite_files);
	tcase_add_test(sqlite, test_sqlite_no_right_to_write);
	tcase_add_test(sqlite, test_sqlite_locked);
	tcase_add_test(sqlite, test_sqlite_replaced);
	tcase_add_test(sqlite, test_sqlite_transactions);
	tcase_add_test(sqlite, test_sqlite_fork);
	suite_add_tcase(suite, sqlite);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
