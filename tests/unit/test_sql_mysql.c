/*
 * test_sql_mysql - the MySQL driver on a real, private MariaDB, with the faults of real life
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/deadline.h"
#include "common/log.h"
#include "common/sql.h"
#include "tests/unit/database.h"

#define QUERY "SELECT name FROM users WHERE id = :id"

static struct error err;

static struct sql_config config_of(const char *hosts)
{
	return (struct sql_config){.driver = "mysql",
				   .hosts = hosts,
				   .name = "mail",
				   .user = server_user(),
				   .password = server_password(),
				   .tls = "prefer",
				   .connect_timeout_ms = 1000,
				   .query_timeout_ms = 1000,
				   .retry_interval_ms = 200};
}

static struct sql *open_with(const struct sql_config *config)
{
	struct sql *sql;

	ck_assert_int_eq(sql_open(config, &sql, &err), RESULT_FOUND);
	return sql;
}

static struct sql *open_hosts(const char *hosts)
{
	const struct sql_config config = config_of(hosts);

	return open_with(&config);
}

static struct sql_statement *prepared(struct sql *sql, const char *text)
{
	struct sql_statement *statement;
	enum result result = sql_prepare(sql, text, &statement, &err);

	ck_assert_msg(result == RESULT_FOUND, "%s", err.text);
	return statement;
}

static enum result ask(struct sql_statement *statement, const char *id)
{
	const struct sql_param params[] = {{"id", id}};
	enum result result = sql_execute(statement, params, 1, &err);

	return result == RESULT_FOUND ? sql_step(statement, &err) : result;
}

static void setup(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	err.text[0] = '\0';
	server_do("start"); /* a test that failed may have left it stopped or paused */
	server_run("DROP TABLE IF EXISTS users;"
		   "CREATE TABLE users (id VARCHAR(64) PRIMARY KEY, name VARCHAR(64))"
		   " CHARACTER SET utf8mb4;"
		   "INSERT INTO users VALUES ('1', 'one'), ('2', NULL), ('3', ''),"
		   " ('''; DROP TABLE users; --', 'quote'), ('%', 'percent'),"
		   " ('a\\\\b\"c', 'backslash'), ('\xc3\xa9', 'accent');",
		   "mail");
}

START_TEST(test_values)
{
	const struct {
		const char *key, *value;
	} keys[] = {{"1", "one"},
		    {"3", ""},
		    {"'; DROP TABLE users; --", "quote"},
		    {"%", "percent"},
		    {"a\\b\"c", "backslash"},
		    {"\xc3\xa9", "accent"}};
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *statement = prepared(sql, QUERY);

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		ck_assert_int_eq(ask(statement, keys[i].key), RESULT_FOUND);
		ck_assert_str_eq(sql_text(statement, 0), keys[i].value);
		ck_assert_uint_eq(sql_length(statement, 0), strlen(keys[i].value));
		ck_assert_int_eq(sql_step(statement, &err), RESULT_NONE);
	}
	ck_assert_int_eq(ask(statement, "2"), RESULT_FOUND);
	ck_assert_ptr_null(sql_text(statement, 0));
	ck_assert_int_eq(ask(statement, NULL), RESULT_NONE);
	ck_assert_int_eq(ask(statement, "nobody"), RESULT_NONE);
	ck_assert_int_eq(ask(statement, "_"), RESULT_NONE);
	sql_free(&sql);
}
END_TEST

/* Whatever the column's type, its value comes as text. */
START_TEST(test_types)
{
	const char *expected[] = {"-128",       "18446744073709551615", "1.5", "12.340", "a\x01z",
				  "0000-00-00", "2026-01-31 12:00:00",  "two", "\x01",   NULL,
				  "00042",      "-9223372036854775808"};
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *statement;

	server_run("SET sql_mode = ''; DROP TABLE IF EXISTS types;"
		   "CREATE TABLE types (a TINYINT, b BIGINT UNSIGNED, c DOUBLE, d DECIMAL(8,3),"
		   " e VARBINARY(8), f DATE, g DATETIME, h ENUM('one','two'), i BIT(1), j INT,"
		   " k INT(5) ZEROFILL, l BIGINT);"
		   "INSERT INTO types VALUES (-128, 18446744073709551615, 1.5, 12.34, 'a\x01z',"
		   " '0000-00-00', '2026-01-31 12:00:00', 'two', 1, NULL, 42,"
		   " -9223372036854775808);",
		   "mail");
	statement = prepared(sql, "SELECT * FROM types");
	ck_assert_int_eq(sql_execute(statement, NULL, 0, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_step(statement, &err), RESULT_FOUND);
	ck_assert_uint_eq(sql_column_count(statement), sizeof expected / sizeof expected[0]);
	for (int i = 0; i < (int)(sizeof expected / sizeof expected[0]); i++) {
		if (expected[i] == NULL)
			ck_assert_ptr_null(sql_text(statement, i));
		else
			ck_assert_str_eq(sql_text(statement, i), expected[i]);
	}
	sql_free(&sql);
}
END_TEST

START_TEST(test_blobs_and_bad_utf8)
{
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *statement;

	server_run("DROP TABLE IF EXISTS blobs; CREATE TABLE blobs (id INT, name BLOB);"
		   "INSERT INTO blobs VALUES (1, x'61006200'), (2, x'ff80c3'), (3, '');",
		   "mail");
	statement = prepared(sql, "SELECT name FROM blobs WHERE id = :id");
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_uint_eq(sql_length(statement, 0), 4);
	ck_assert_mem_eq(sql_text(statement, 0), "a\0b\0", 5);
	ck_assert_int_eq(ask(statement, "2"), RESULT_FOUND);
	ck_assert_str_eq(sql_text(statement, 0), "\xff\x80\xc3");
	ck_assert_int_eq(ask(statement, "3"), RESULT_FOUND);
	ck_assert_str_eq(sql_text(statement, 0), "");
	sql_free(&sql);
}
END_TEST

/* Columns of any length, also when short and long rows alternate. */
START_TEST(test_lengths)
{
	const size_t sizes[] = {255, 256, 257, 1000000, 3, 5000, 1000001};
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *statement;
	char *big = malloc(1000002);

	server_run("DROP TABLE IF EXISTS big; CREATE TABLE big (id INT, size INT, name LONGTEXT,"
		   " after VARCHAR(10)) CHARACTER SET latin1;"
		   "INSERT INTO big VALUES (1, 255, REPEAT('x', 255), 'end'),"
		   " (2, 256, REPEAT('x', 256), 'end'), (3, 257, REPEAT('x', 257), 'end'),"
		   " (4, 1000000, REPEAT('x', 1000000), 'end'), (5, 3, 'xxx', NULL),"
		   " (6, 5000, REPEAT('x', 5000), 'end'), (7, 1000001, REPEAT('x', 1000001), 'e');",
		   "mail");
	memset(big, 'x', 1000002);
	statement = prepared(sql, "SELECT name, after, size FROM big ORDER BY id");
	for (int pass = 0; pass < 2; pass++) {
		ck_assert_int_eq(sql_execute(statement, NULL, 0, &err), RESULT_FOUND);
		for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
			ck_assert_int_eq(sql_step(statement, &err), RESULT_FOUND);
			ck_assert_uint_eq(sql_length(statement, 0), sizes[i]);
			ck_assert_uint_eq(strlen(sql_text(statement, 0)), sizes[i]);
			ck_assert_mem_eq(sql_text(statement, 0), big, sizes[i]);
			if (sizes[i] == 3)
				ck_assert_ptr_null(sql_text(statement, 1));
			else
				ck_assert_int_eq(sql_text(statement, 1)[0], 'e');
			ck_assert_uint_eq(strtoul(sql_text(statement, 2), NULL, 10), sizes[i]);
		}
		ck_assert_int_eq(sql_step(statement, &err), RESULT_NONE);
	}
	free(big);
	sql_free(&sql);
}
END_TEST

/* A key that the column's character set cannot hold is absent, and harms no other key. */
START_TEST(test_key_outside_the_character_set)
{
	const char *keys[] = {"josé@example.com", "用户@example.com",
			      "\xf0\x9f\x93\xa7@example.com"};
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *statement;

	server_run("DROP TABLE IF EXISTS old; CREATE TABLE old (id VARCHAR(64), name VARCHAR(9))"
		   " CHARACTER SET latin1 COLLATE latin1_swedish_ci;"
		   "INSERT INTO old VALUES ('plain@example.com', 'plain');",
		   "mail");
	statement = prepared(sql, "SELECT name FROM old WHERE id = :id");
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		ck_assert_int_eq(ask(statement, keys[i]), RESULT_NONE);
		ck_assert_int_eq(strstr(err.text, "mix of collations") != NULL, i > 0);
		ck_assert_int_eq(ask(statement, "plain@example.com"), RESULT_FOUND);
	}
	ck_assert_uint_eq(sql_generation(sql), 1);
	statement = prepared(sql, "INSERT INTO old VALUES (:id, 'x')");
	ck_assert_int_eq(ask(statement, keys[1]), RESULT_NONE);
	ck_assert_msg(strstr(err.text, "Incorrect string") != NULL, "%s", err.text);
	/* Mixed columns are the statement's fault, not a key's. */
	server_run("DROP TABLE IF EXISTS other; CREATE TABLE other (id VARCHAR(64))"
		   " CHARACTER SET latin1 COLLATE latin1_general_ci;",
		   "mail");
	ck_assert_int_eq(sql_prepare(sql, "SELECT old.id FROM old JOIN other ON old.id = other.id",
				     &statement, &err),
			 RESULT_PERM);
	ck_assert_msg(strstr(err.text, "mix of collations") != NULL, "%s", err.text);
	sql_free(&sql);
}
END_TEST

/* Collations that begin to differ while the statement is prepared are no key's fault either. */
START_TEST(test_collations_change)
{
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *statement;

	server_run("DROP TABLE IF EXISTS left_side, right_side;"
		   "CREATE TABLE left_side (id VARCHAR(64))"
		   " CHARACTER SET latin1 COLLATE latin1_swedish_ci;"
		   "CREATE TABLE right_side LIKE left_side;"
		   "INSERT INTO left_side VALUES ('a'); INSERT INTO right_side VALUES ('a');",
		   "mail");
	statement = prepared(sql, "SELECT left_side.id FROM left_side JOIN right_side"
				  " ON left_side.id = right_side.id WHERE left_side.id = :id");
	ck_assert_int_eq(ask(statement, "a"), RESULT_FOUND);
	sql_finish(statement);
	server_run("ALTER TABLE right_side CONVERT TO CHARACTER SET latin1"
		   " COLLATE latin1_general_ci;",
		   "mail");
	ck_assert_msg(ask(statement, "a") == RESULT_PERM, "%s", err.text);
	ck_assert_msg(strstr(err.text, "mix of collations") != NULL, "%s", err.text);
	sql_free(&sql);
}
END_TEST

START_TEST(test_statements)
{
	const struct {
		const char *text;
		bool missing;
	} table[] = {
		{"SELEKT 1", false},
		{"SELECT 1 FROM nothere", true},
		{"SELECT nothere FROM users", true},
		{"INSERT INTO users (nothere) VALUES (1)", true},
		{"SELECT 1; SELECT 2", false},
	};
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *statement;

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		ck_assert_int_eq(sql_prepare(sql, table[i].text, &statement, &err), RESULT_PERM);
		ck_assert_msg(sql_missing(sql) == table[i].missing, "%s: %s", table[i].text,
			      err.text);
	}
	ck_assert_uint_eq(sql_generation(sql), 1);
	statement = prepared(sql, "INSERT INTO users (id, name) VALUES (:id, 'x')");
	ck_assert_int_eq(ask(statement, "1"), RESULT_PERM); /* duplicate */
	ck_assert_int_eq(ask(statement, "new"), RESULT_NONE);
	ck_assert_int_eq(sql_changes(statement), 1);
	char longer[80];
	memset(longer, 'x', 70);
	longer[70] = '\0';
	ck_assert_int_eq(ask(statement, longer), RESULT_PERM); /* never cut */
	statement = prepared(sql, "UPDATE users SET name = 'x' WHERE id = :id");
	ck_assert_int_eq(ask(statement, "new"), RESULT_NONE);
	ck_assert_int_eq(sql_changes(statement), 1); /* found, though nothing changes */
	ck_assert_int_eq(ask(statement, "nobody"), RESULT_NONE);
	ck_assert_int_eq(sql_changes(statement), 0);
	sql_free(&sql);
}
END_TEST

/* The table is dropped under a prepared statement, then comes back. */
START_TEST(test_table_dropped)
{
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *statement = prepared(sql, QUERY);

	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	server_run("DROP TABLE users", "mail");
	ck_assert_int_eq(ask(statement, "1"), RESULT_PERM);
	ck_assert(sql_missing(sql));
	setup();
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	sql_free(&sql);
}
END_TEST

START_TEST(test_scripts_and_transactions)
{
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *statement = prepared(sql, QUERY);

	ck_assert_int_eq(sql_script(sql,
				    "DROP TABLE IF EXISTS s; CREATE TABLE s (a INT);"
				    "INSERT INTO s VALUES (1), (2); SELECT * FROM s;",
				    &err),
			 RESULT_FOUND);
	ck_assert_int_eq(
		sql_script(sql, "INSERT INTO s VALUES (3); SELEKT; DROP TABLE users", &err),
		RESULT_PERM);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_int_eq(sql_begin(sql, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_script(sql, "DELETE FROM users", &err), RESULT_FOUND);
	ck_assert_int_eq(ask(statement, "1"), RESULT_NONE);
	sql_rollback(sql);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_int_eq(sql_begin(sql, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_script(sql, "DELETE FROM users", &err), RESULT_FOUND);
	ck_assert_int_eq(sql_commit(sql, &err), RESULT_FOUND);
	ck_assert_int_eq(ask(statement, "1"), RESULT_NONE);
	ck_assert_int_eq(sql_prepare(sql, "SELECT 1; SELECT 2", &statement, &err), RESULT_PERM);
	sql_free(&sql);
}
END_TEST

START_TEST(test_access)
{
	struct sql_config config = config_of(server_socket());
	char hosts[256];
	struct sql *sql;
	struct sql_statement *statement;

	config.password = "wrong";
	sql = open_with(&config);
	ck_assert_int_eq(sql_connect(sql, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "denied"));
	ck_assert_ptr_null(strstr(err.text, "wrong"));
	sql_free(&sql);
	config.password = server_password();
	config.name = "nothere";
	sql = open_with(&config);
	ck_assert_int_eq(sql_connect(sql, &err), RESULT_PERM);
	sql_free(&sql);
	/* One host denies, the other is away: it may work later. */
	snprintf(hosts, sizeof hosts, "%s %s/nothere", server_socket(), test_folder());
	config.hosts = hosts;
	sql = open_with(&config);
	ck_assert_int_eq(sql_connect(sql, &err), RESULT_TEMP);
	sql_free(&sql);
	/* A missing right is not a missing table. */
	server_run("CREATE USER IF NOT EXISTS few@localhost IDENTIFIED BY 'few';"
		   "GRANT SELECT (id) ON mail.users TO few@localhost;",
		   "mail");
	config = config_of(server_socket());
	config.user = config.password = "few";
	sql = open_with(&config);
	ck_assert_int_eq(sql_prepare(sql, QUERY, &statement, &err), RESULT_PERM);
	ck_assert(!sql_missing(sql));
	ck_assert_int_eq(sql_prepare(sql, "SELECT * FROM nothere", &statement, &err), RESULT_PERM);
	ck_assert(!sql_missing(sql));
	sql_free(&sql);
}
END_TEST

/* The first host is dead: one request is enough to reach the second. */
START_TEST(test_failover)
{
	struct sql_config config;
	char hosts[256];
	struct sql *sql;
	int64_t started = deadline_now_ms();

	snprintf(hosts, sizeof hosts, "%s/nothere 127.0.0.1:1 127.0.0.1:%u", test_folder(),
		 server_port());
	config = config_of(hosts);
	config.connect_timeout_ms = 60000; /* nothing of it is needed */
	sql = open_with(&config);
	ck_assert_int_eq(ask(prepared(sql, QUERY), "1"), RESULT_FOUND);
	ck_assert_ptr_nonnull(strstr(hosts, sql_host(sql)));
	ck_assert_str_eq(strrchr(hosts, ' ') + 1, sql_host(sql));
	ck_assert_int_lt(deadline_now_ms() - started, 15000);
	sql_free(&sql);
}
END_TEST

/* A listener that never says a word, as a hung or filtered host does. */
static int silent_listener(unsigned *port_r)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*port_r = ntohs(address.sin_port);
	return fd;
}

START_TEST(test_failover_from_a_silent_host)
{
	char hosts[256];
	struct sql *sql;
	unsigned port;
	int fd = silent_listener(&port);
	int64_t started = deadline_now_ms();

	snprintf(hosts, sizeof hosts, "127.0.0.1:%u 127.0.0.1:%u", port, server_port());
	sql = open_hosts(hosts);
	ck_assert_int_eq(ask(prepared(sql, QUERY), "1"), RESULT_FOUND);
	ck_assert_int_lt(deadline_now_ms() - started, 15000);
	sql_free(&sql);
	close(fd);
}
END_TEST

START_TEST(test_stopped_and_back)
{
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *statement = prepared(sql, QUERY);
	int64_t started;

	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	server_do("stop");
	started = deadline_now_ms();
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(ask(statement, "1"), RESULT_TEMP);
	ck_assert_int_lt(deadline_now_ms() - started, 3900); /* less than a pause each */
	ck_assert_ptr_nonnull(strstr(err.text, server_socket()));
	server_do("start");
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_str_eq(sql_text(statement, 0), "one");
	sql_free(&sql);
}
END_TEST

/* Killed and started between two queries: over the socket and over TCP nobody notices. */
START_TEST(test_killed_between_queries)
{
	char tcp[64];

	snprintf(tcp, sizeof tcp, "127.0.0.1:%u", server_port());
	const char *hosts[] = {server_socket(), tcp};
	for (size_t i = 0; i < 2; i++) {
		struct sql *sql = open_hosts(hosts[i]);
		struct sql_statement *statement = prepared(sql, QUERY);
		ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
		server_do("kill");
		server_do("start");
		ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
		ck_assert_str_eq(sql_text(statement, 0), "one");
		ck_assert_uint_eq(sql_generation(sql), 2);
		sql_free(&sql);
	}
}
END_TEST

/* The server has no such connection any more. */
static void wait_ended(const char *connection)
{
	const struct deadline end = deadline_in(30000);
	const struct timespec pause = {0, 20000000};
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *there =
		prepared(sql, "SELECT id FROM information_schema.processlist WHERE id = :id");

	while (ask(there, connection) == RESULT_FOUND) {
		ck_assert_msg(!deadline_passed(end), "it does not end");
		(void)nanosleep(&pause, NULL);
	}
	sql_free(&sql);
}

/* The administrator kills the connection, or the server ends an idle one. */
START_TEST(test_connection_killed)
{
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *statement = prepared(sql, QUERY);
	struct sql_statement *id = prepared(sql, "SELECT CONNECTION_ID()");
	char kill_text[64], connection[32];

	ck_assert_int_eq(sql_execute(id, NULL, 0, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_step(id, &err), RESULT_FOUND);
	snprintf(kill_text, sizeof kill_text, "KILL %s", sql_text(id, 0));
	server_run(kill_text, NULL);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_int_eq(sql_execute(id, NULL, 0, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_step(id, &err), RESULT_FOUND);
	snprintf(connection, sizeof connection, "%s", sql_text(id, 0));
	ck_assert_int_eq(sql_script(sql, "SET SESSION wait_timeout = 1", &err), RESULT_FOUND);
	wait_ended(connection);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_uint_eq(sql_generation(sql), 3);
	/* In a transaction it is TEMP, and nothing of it is done. */
	struct sql_statement *insert = prepared(sql, "INSERT INTO users VALUES (:id, 'lost')");
	ck_assert_int_eq(sql_begin(sql, &err), RESULT_FOUND);
	ck_assert_int_eq(ask(insert, "lost"), RESULT_NONE);
	ck_assert_int_eq(sql_execute(id, NULL, 0, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_step(id, &err), RESULT_FOUND);
	snprintf(kill_text, sizeof kill_text, "KILL %s", sql_text(id, 0));
	server_run(kill_text, NULL);
	ck_assert_int_eq(ask(insert, "lost2"), RESULT_TEMP);
	ck_assert_int_eq(sql_commit(sql, &err), RESULT_TEMP);
	ck_assert_int_eq(ask(statement, "lost"), RESULT_NONE);
	ck_assert_int_eq(ask(statement, "lost2"), RESULT_NONE);
	sql_free(&sql);
}
END_TEST

START_TEST(test_hung)
{
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *statement = prepared(sql, QUERY);
	int64_t started, first, second;

	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	server_do("pause");
	started = deadline_now_ms();
	enum result one = ask(statement, "1");
	first = deadline_now_ms() - started;
	started = deadline_now_ms();
	enum result two = ask(statement, "1");
	second = deadline_now_ms() - started;
	server_do("resume");
	ck_assert_int_eq(one, RESULT_TEMP);
	ck_assert_int_ge(first, 900);
	ck_assert_int_lt(first, 2900); /* not three times the time-out */
	ck_assert_int_eq(two, RESULT_TEMP);
	ck_assert_int_lt(second, 2900);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	sql_free(&sql);
}
END_TEST

START_TEST(test_locked_row)
{
	struct sql *one = open_hosts(server_socket()), *two = open_hosts(server_socket());
	struct sql_statement *update = prepared(two, "UPDATE users SET name = 'x' WHERE id = :id");

	ck_assert_int_eq(sql_script(two, "SET SESSION innodb_lock_wait_timeout = 0", &err),
			 RESULT_FOUND);
	ck_assert_int_eq(sql_begin(one, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_script(one, "UPDATE users SET name = 'y' WHERE id = '1'", &err),
			 RESULT_FOUND);
	ck_assert_int_eq(ask(update, "1"), RESULT_TEMP);
	ck_assert_uint_eq(sql_generation(two), 1);
	sql_rollback(one);
	ck_assert_int_eq(ask(update, "1"), RESULT_NONE);
	ck_assert_int_eq(sql_changes(update), 1);
	sql_free(&one);
	sql_free(&two);
}
END_TEST

/* "Read-only" on a write is TEMP: a cluster that is failing over says so. */
START_TEST(test_read_only_server)
{
	struct sql_config config = config_of(server_socket());
	struct sql *sql;
	struct sql_statement *insert;

	server_run("CREATE USER IF NOT EXISTS plain@localhost IDENTIFIED BY 'plain';"
		   "GRANT SELECT, INSERT ON mail.* TO plain@localhost; SET GLOBAL read_only = 1;",
		   NULL);
	config.user = config.password = "plain";
	sql = open_with(&config);
	insert = prepared(sql, "INSERT INTO users VALUES (:id, 'x')");
	enum result result = ask(insert, "new");
	server_run("SET GLOBAL read_only = 0;", NULL);
	ck_assert_int_eq(result, RESULT_TEMP);
	ck_assert_int_eq(ask(insert, "new"), RESULT_NONE);
	sql_free(&sql);
}
END_TEST

START_TEST(test_too_many_connections)
{
	struct sql_config config = config_of(server_socket());
	struct sql *one, *two;

	server_run("CREATE USER IF NOT EXISTS single@localhost IDENTIFIED BY 'single';"
		   "GRANT SELECT ON mail.* TO single@localhost WITH MAX_USER_CONNECTIONS 1;",
		   NULL);
	config.user = config.password = "single";
	one = open_with(&config);
	two = open_with(&config);
	ck_assert_int_eq(ask(prepared(one, QUERY), "1"), RESULT_FOUND);
	ck_assert_int_eq(sql_connect(two, &err), RESULT_TEMP);
	sql_free(&one);
	sql_free(&two);
}
END_TEST

START_TEST(test_fork)
{
	struct sql *sql = open_hosts(server_socket());
	struct sql_statement *statement = prepared(sql, QUERY);
	int status;
	pid_t pid;

	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		bool good = ask(statement, "3") == RESULT_FOUND && sql_generation(sql) == 2;
		sql_free(&sql);
		_exit(good ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(ask(statement, "1"), RESULT_FOUND);
	ck_assert_uint_eq(sql_generation(sql), 1);
	sql_free(&sql);
}
END_TEST

static bool speaks_tls(struct sql *sql)
{
	struct sql_statement *statement =
		prepared(sql, "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS "
			      "WHERE VARIABLE_NAME = 'Ssl_cipher'");

	ck_assert_int_eq(sql_execute(statement, NULL, 0, &err), RESULT_FOUND);
	ck_assert_int_eq(sql_step(statement, &err), RESULT_FOUND);
	return sql_text(statement, 0)[0] != '\0';
}

static enum result connect_tls(const char *tls, const char *ca, const char *host, bool *tls_r)
{
	struct sql_config config;
	char hosts[128];
	struct sql *sql;
	enum result result;

	snprintf(hosts, sizeof hosts, "%s:%u", host, server_port());
	config = config_of(hosts);
	config.tls = tls;
	config.tls_ca = ca;
	sql = open_with(&config);
	result = sql_connect(sql, &err);
	*tls_r = result == RESULT_FOUND && speaks_tls(sql);
	sql_free(&sql);
	return result;
}

/* First without TLS on the server, then with a certificate for "localhost" of a CA of our own. */
START_TEST(test_tls)
{
	char command[2048], ca[128], other[128];
	bool tls;

	ck_assert_int_eq(connect_tls("off", NULL, "127.0.0.1", &tls), RESULT_FOUND);
	ck_assert(!tls);
	ck_assert_int_eq(connect_tls("prefer", NULL, "127.0.0.1", &tls), RESULT_FOUND);
	ck_assert(!tls);
	ck_assert_int_eq(connect_tls("require", NULL, "127.0.0.1", &tls), RESULT_TEMP);
	ck_assert_msg(strstr(err.text, "TLS") != NULL || strstr(err.text, "SSL") != NULL, "%s",
		      err.text);
	ck_assert_int_eq(connect_tls("verify", NULL, "127.0.0.1", &tls), RESULT_TEMP);

	snprintf(command, sizeof command,
		 "cd '%s' && exec 2>/dev/null && "
		 "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key "
		 "-out ca.pem && "
		 "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other -keyout "
		 "other.key -out other.pem && "
		 "openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout db.key -out "
		 "db.csr && "
		 "openssl x509 -req -in db.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "
		 "-out db.pem && chmod 644 db.key",
		 test_folder());
	ck_assert_int_eq(system(command), 0);
	snprintf(ca, sizeof ca, "%s/ca.pem", test_folder());
	snprintf(other, sizeof other, "%s/other.pem", test_folder());
	server_do("stop");
	server_start_with("ssl-cert=../../db.pem ssl-key=../../db.key ssl-ca=../../ca.pem");

	ck_assert_int_eq(connect_tls("off", NULL, "127.0.0.1", &tls), RESULT_FOUND);
	ck_assert(!tls);
	ck_assert_int_eq(connect_tls("prefer", NULL, "127.0.0.1", &tls), RESULT_FOUND);
	ck_assert(tls);
	ck_assert_int_eq(connect_tls("require", NULL, "127.0.0.1", &tls), RESULT_FOUND);
	ck_assert(tls);
	enum result named = connect_tls("verify", ca, "localhost", &tls);
	ck_assert_msg(named == RESULT_FOUND, "%s", err.text);
	ck_assert(tls);
	/* Another name, or another CA: not the server that we want. */
	ck_assert_int_eq(connect_tls("verify", ca, "127.0.0.1", &tls), RESULT_TEMP);
	ck_assert_int_eq(connect_tls("verify", other, "localhost", &tls), RESULT_TEMP);
	server_do("stop");
	server_do("start");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sql_mysql");
	TCase *tests = tcase_create("mariadb");
	SRunner *runner;
	int failed;

	tcase_add_unchecked_fixture(tests, server_start, server_stop);
	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, test_values);
	tcase_add_test(tests, test_types);
	tcase_add_test(tests, test_blobs_and_bad_utf8);
	tcase_add_test(tests, test_lengths);
	tcase_add_test(tests, test_key_outside_the_character_set);
	tcase_add_test(tests, test_collations_change);
	tcase_add_test(tests, test_statements);
	tcase_add_test(tests, test_table_dropped);
	tcase_add_test(tests, test_scripts_and_transactions);
	tcase_add_test(tests, test_access);
	tcase_add_test(tests, test_failover);
	tcase_add_test(tests, test_failover_from_a_silent_host);
	tcase_add_test(tests, test_stopped_and_back);
	tcase_add_test(tests, test_killed_between_queries);
	tcase_add_test(tests, test_connection_killed);
	tcase_add_test(tests, test_hung);
	tcase_add_test(tests, test_locked_row);
	tcase_add_test(tests, test_read_only_server);
	tcase_add_test(tests, test_too_many_connections);
	tcase_add_test(tests, test_fork);
	tcase_add_test(tests, test_tls);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
