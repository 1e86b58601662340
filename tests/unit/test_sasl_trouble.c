/*
 * postern.so when something is wrong (a database or a configuration in trouble must never read as
 * a wrong password), and behind the options of libsasl's own sql plugin.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <sasl/sasl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/sasl_harness.h"

#define ALICE "alice@example.test"
#define SHA512_CRYPT_FOO                                                                           \
	"$6$ijF8bgunALqnEHTo$LHVa6XQBpM5Gt16RMFQuXqrGAS0y0ymaLS8pnkeVUTSx3t2DrGqWwRj6q4ef3V3SWYkb" \
	"5xkuN9bv7joxNd8kA1"

static struct host host;

static void setup(void)
{
	host_make(&host);
}

static void teardown(void)
{
	host_free(&host);
}

static int plain(const char *login, const char *password)
{
	return host_login("PLAIN", login, NULL, password, NULL, 0);
}

static int login(const char *name, const char *password)
{
	return host_login_raw(name, strlen(name), password, strlen(password));
}

static void start_stock(const char *select, const char *extra)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "pwcheck_method: auxprop\nauxprop_plugin: postern\nsql_engine: sqlite3\n"
		 "sql_hostnames: localhost\nsql_user: postfix\nsql_passwd: secret\n"
		 "sql_database: %s\nsql_select: %s\n%s",
		 host.database, select, extra);
	host_write_conf(&host, "smtpd", text);
	host_start(&host, "smtpd");
}

static void expect_unavailable(const char *name)
{
	static const char *const mechanisms[] = {"PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5",
						 "SCRAM-SHA-256"};

	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++) {
		int code = host_login(mechanisms[i], name, NULL, "test", NULL, 0);

		ck_assert_msg(code == SASL_UNAVAIL || code == SASL_FAIL, "%s: %d", mechanisms[i],
			      code);
	}
	ck_assert(host_logged("postern:"));
}

START_TEST(a_missing_database_is_unavailable)
{
	host_mailbox(&host, ALICE, "{PLAIN}test");
	ck_assert_int_eq(unlink(host.database), 0);
	host_start_configured(&host, "");
	expect_unavailable(ALICE);
	ck_assert_int_ne(access(host.database, F_OK), 0);
}
END_TEST

START_TEST(a_locked_database_is_unavailable_and_comes_back)
{
	sqlite3 *db = NULL;

	host_mailbox(&host, ALICE, "{PLAIN}test");
	host_start_configured(&host, "");
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
	ck_assert_int_eq(sqlite3_open(host.database, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	expect_unavailable(ALICE);
	ck_assert_int_eq(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	ck_assert_int_eq(host_login_when_back(ALICE, "test"), SASL_OK);
	ck_assert_int_eq(plain(ALICE, "wrong"), SASL_BADAUTH);
}
END_TEST

START_TEST(a_missing_table_is_unavailable)
{
	host_mailbox(&host, ALICE, "{PLAIN}test");
	host_sql(&host, "DROP TABLE mailbox");
	host_start_configured(&host, "");
	expect_unavailable(ALICE);
}
END_TEST

START_TEST(an_unusable_stored_password_is_unavailable)
{
	host_mailbox(&host, ALICE, "{UNKNOWN}abc");
	host_start_configured(&host, "");
	ck_assert_int_eq(plain(ALICE, "abc"), SASL_UNAVAIL);
	ck_assert(host_logged("UNKNOWN"));
	ck_assert(!host_logged("abc"));
}
END_TEST

static const char *const broken[] = {
	"postern_config: /nonexistent/postern.ini\n",
	"auxprop_plugin: postern\n",
	("auxprop_plugin: postern\nsql_select: SELECT 'test' WHERE %u = 1\n"
	 "sql_engine: sqlite3\nsql_database: /nonexistent\n"),
	"auxprop_plugin: postern\nsql_select: SELECT 'test'\nsql_engine: pgsql\nsql_database: x\n",
	"auxprop_plugin: postern\nsql_select: SELECT 'test'\nsql_engine: sqlite3\n",
};
static const char *const broken_says[] = {"/nonexistent/postern.ini", "postern_config",
					  "outside quotes", "pgsql", "sql_database"};

START_TEST(a_broken_configuration_is_unavailable_and_says_why)
{
	host_write_conf(&host, "smtpd", broken[_i]);
	host_start(&host, "smtpd");
	ck_assert_int_eq(plain(ALICE, "test"), SASL_UNAVAIL);
	ck_assert_int_eq(login(ALICE, "test"), SASL_UNAVAIL);
	ck_assert_int_ne(host_login("CRAM-MD5", ALICE, NULL, "test", NULL, 0), SASL_OK);
	ck_assert_msg(host_logged(broken_says[_i]), "%s", host_log());
}
END_TEST

START_TEST(a_verifying_daemon_that_is_away_is_unavailable)
{
	char text[256];

	host_mailbox(&host, ALICE, "{PLAIN}test");
	snprintf(text, sizeof(text), "postern_saslauthd: %s/absent\n", host.folder);
	host_write_conf(&host, "smtpd", text);
	host_start(&host, "smtpd");
	ck_assert_int_eq(plain(ALICE, "test"), SASL_UNAVAIL);
	ck_assert_int_eq(login(ALICE, "test"), SASL_UNAVAIL);
	ck_assert(host_logged("absent"));
}
END_TEST

/* The schema forbids NULL there; a site's own table may not. */
START_TEST(a_null_column_never_logs_in)
{
	host_sql(&host, "CREATE TABLE people (name TEXT, secret TEXT);"
			"INSERT INTO people VALUES ('" ALICE "', NULL)");
	start_stock("SELECT secret FROM people WHERE name='%u@%r'", "");
	ck_assert_int_eq(plain(ALICE, "NULL"), SASL_BADAUTH);
	ck_assert_int_eq(login(ALICE, ""), SASL_BADAUTH);
	ck_assert_int_ne(host_login("CRAM-MD5", ALICE, NULL, "NULL", NULL, 0), SASL_OK);
	ck_assert_int_ne(host_login("CRAM-MD5", ALICE, NULL, "", NULL, 0), SASL_OK);
}
END_TEST

START_TEST(the_stock_plugins_options)
{
	host_mailbox(&host, ALICE, "test");
	host_mailbox(&host, "hash@example.test", SHA512_CRYPT_FOO);
	host_mailbox(&host, "o'brien@example.test", "test");
	host_mailbox(&host, "star@example.test", "*");
	start_stock("SELECT password FROM mailbox WHERE username='%u@%r' AND active='1'", "");
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
	ck_assert_int_eq(login(ALICE, "test"), SASL_OK);
	ck_assert_int_eq(plain(ALICE, "wrong"), SASL_BADAUTH);
	ck_assert_int_eq(login(ALICE, ""), SASL_BADAUTH);
	ck_assert_int_eq(plain("hash@example.test", "foo"), SASL_OK);
	ck_assert_int_eq(plain("hash@example.test", SHA512_CRYPT_FOO), SASL_BADAUTH);
	ck_assert_int_eq(plain("o'brien@example.test", "test"), SASL_OK);
	ck_assert_int_eq(plain("star@example.test", "*"), SASL_BADAUTH);
	ck_assert_int_eq(plain("x' OR '1'='1@example.test", "test"), SASL_BADAUTH);
	ck_assert_int_eq(plain("\\' OR 1=1 --@example.test", "test"), SASL_BADAUTH);
	ck_assert_int_eq(host_login("CRAM-MD5", ALICE, NULL, "test", NULL, 0), SASL_OK);
	ck_assert_int_eq(host_login("DIGEST-MD5", ALICE, NULL, "test", NULL, 0), SASL_OK);
	ck_assert_int_eq(host_login("SCRAM-SHA-256", ALICE, NULL, "test", NULL, 0), SASL_OK);
	ck_assert_int_ne(
		host_login("CRAM-MD5", "hash@example.test", NULL, SHA512_CRYPT_FOO, NULL, 0),
		SASL_OK);
	ck_assert(!host_logged("cannot"));
	ck_assert(!host_logged("secret\n"));
}
END_TEST

START_TEST(the_stock_options_with_a_default_scheme_and_a_realm)
{
	host_mailbox(&host, "alice@mail.example.test", "VXAXutUnpVYg6");
	start_stock("SELECT password FROM mailbox WHERE username='%u@%r'",
		    "postern_password_scheme: CRYPT\n");
	/* A name without a realm gets the server's name, as the stock plugin does it. */
	ck_assert_int_eq(plain("alice", "test123"), SASL_OK);
	ck_assert_int_eq(plain("alice", "VXAXutUnpVYg6"), SASL_BADAUTH);
}
END_TEST

START_TEST(the_stock_options_with_a_property_table)
{
	host_sql(&host, "CREATE TABLE props (name TEXT, prop TEXT, value TEXT);"
			"INSERT INTO props VALUES ('" ALICE "', 'userPassword', 'test');"
			"INSERT INTO props VALUES ('bob@example.test', 'authPassword',"
			" 'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
			"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
			"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=')");
	start_stock("SELECT value FROM props WHERE name='%u@%r' AND prop='%p';", "");
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
	ck_assert_int_eq(host_login("CRAM-MD5", ALICE, NULL, "test", NULL, 0), SASL_OK);
	ck_assert_int_eq(host_login("SCRAM-SHA-256", "bob@example.test", NULL, "pencil", NULL, 0),
			 SASL_OK);
	ck_assert_int_ne(host_login("SCRAM-SHA-256", "bob@example.test", NULL, "pen", NULL, 0),
			 SASL_OK);
}
END_TEST

START_TEST(the_stock_options_with_a_failing_query)
{
	host_mailbox(&host, ALICE, "test");
	start_stock("SELECT password FROM absent WHERE username='%u@%r'", "");
	expect_unavailable(ALICE);
	ck_assert(host_logged("absent"));
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static TCase *case_new(Suite *suite, const char *name)
{
	TCase *tcase = tcase_create(name);

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 120);
	suite_add_tcase(suite, tcase);
	return tcase;
}

static void add_trouble(TCase *tcase)
{
	tcase_add_test(tcase, a_missing_database_is_unavailable);
	tcase_add_test(tcase, a_locked_database_is_unavailable_and_comes_back);
	tcase_add_test(tcase, a_missing_table_is_unavailable);
	tcase_add_test(tcase, an_unusable_stored_password_is_unavailable);
	tcase_add_loop_test(tcase, a_broken_configuration_is_unavailable_and_says_why, 0,
			    COUNT(broken));
	tcase_add_test(tcase, a_verifying_daemon_that_is_away_is_unavailable);
}

static void add_stock(TCase *tcase)
{
	tcase_add_test(tcase, a_null_column_never_logs_in);
	tcase_add_test(tcase, the_stock_plugins_options);
	tcase_add_test(tcase, the_stock_options_with_a_default_scheme_and_a_realm);
	tcase_add_test(tcase, the_stock_options_with_a_property_table);
	tcase_add_test(tcase, the_stock_options_with_a_failing_query);
}

int main(void)
{
	Suite *suite = suite_create("sasl_trouble");
	SRunner *runner;
	int failed;

	add_trouble(case_new(suite, "trouble"));
	add_stock(case_new(suite, "stock options"));
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
