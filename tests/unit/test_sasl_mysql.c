/*
 * postern.so in the real libsasl2 before a real MariaDB: the stock plugin's options as sites have
 * them, hostile names under MySQL's quoting, a server that stops or hangs, and a fork with an open
 * connection.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <sasl/sasl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/deadline.h"
#include "tests/unit/database.h"
#include "tests/unit/sasl_harness.h"

#define ALICE "alice@example.test"

static struct host host;

static int plain(const char *login, const char *password)
{
	return host_login("PLAIN", login, NULL, password, NULL, 0);
}

static void setup(void)
{
	host_make(&host);
	server_run("CREATE OR REPLACE DATABASE sasl CHARACTER SET utf8mb4", NULL);
	server_run("CREATE TABLE mailbox (username VARCHAR(255) PRIMARY KEY, password VARCHAR(255),"
		   " active TINYINT NOT NULL DEFAULT 1)",
		   "sasl");
	server_run("INSERT INTO mailbox (username, password) VALUES"
		   " ('" ALICE "', 'test'), ('o''brien@example.test', 'test'),"
		   " ('null@example.test', NULL), ('empty@example.test', ''),"
		   " ('hash@example.test', '{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=')",
		   "sasl");
	server_run("INSERT INTO mailbox VALUES ('off@example.test', 'test', 0)", "sasl");
}

static void teardown(void)
{
	host_free(&host);
}

static void start(const char *select)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "pwcheck_method: auxprop\nauxprop_plugin: postern\nsql_hostnames: 127.0.0.1:%u\n"
		 "sql_user: %s\nsql_passwd: %s\nsql_database: sasl\nsql_select: %s\n",
		 server_port(), server_user(), server_password(), select);
	host_write_conf(&host, "smtpd", text);
	host_start(&host, "smtpd");
}

static void start_usual(void)
{
	start("SELECT password FROM mailbox WHERE username='%u@%r' AND active='1'");
}

START_TEST(the_usual_query)
{
	start_usual();
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
	ck_assert_int_eq(plain(ALICE, "wrong"), SASL_BADAUTH);
	ck_assert_int_eq(plain("o'brien@example.test", "test"), SASL_OK);
	ck_assert_int_eq(plain("off@example.test", "test"), SASL_BADAUTH);
	ck_assert_int_eq(plain("null@example.test", "NULL"), SASL_BADAUTH);
	ck_assert_int_eq(plain("hash@example.test", "test"), SASL_OK);
	ck_assert_int_eq(host_login_raw("empty@example.test", 18, "", 0), SASL_BADAUTH);
	ck_assert_int_eq(host_login("CRAM-MD5", ALICE, NULL, "test", NULL, 0), SASL_OK);
	ck_assert_int_eq(host_login("DIGEST-MD5", ALICE, NULL, "test", NULL, 0), SASL_OK);
	ck_assert_int_eq(host_login("SCRAM-SHA-256", ALICE, NULL, "test", NULL, 0), SASL_OK);
	ck_assert_msg(!host_logged("cannot"), "%s", host_log());
}
END_TEST

static const char *const injections[] = {
	"\\' OR 1=1 -- @example.test",
	"' OR '1'='1",
	"\xbf\x27 OR 1=1 -- @example.test",
	"x' UNION SELECT 'test' -- @example.test",
	"\\@example.test",
	"%u@%r",
};

START_TEST(injected_names_are_refused)
{
	start_usual();
	ck_assert_int_eq(plain(injections[_i], "test"), SASL_BADAUTH);
	ck_assert_int_eq(host_login_raw(injections[_i], strlen(injections[_i]), "test", 4),
			 SASL_BADAUTH);
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
}
END_TEST

START_TEST(a_failing_query_is_unavailable)
{
	start("SELECT password FROM absent WHERE username='%u@%r'");
	ck_assert_int_eq(plain(ALICE, "test"), SASL_UNAVAIL);
	ck_assert_int_eq(host_login("CRAM-MD5", ALICE, NULL, "test", NULL, 0), SASL_UNAVAIL);
	ck_assert_msg(host_logged("absent"), "%s", host_log());
	ck_assert(!host_logged(server_password()));
}
END_TEST

START_TEST(a_server_that_stops_is_unavailable_until_it_is_back)
{
	start_usual();
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
	server_do("stop");
	ck_assert_int_eq(plain(ALICE, "test"), SASL_UNAVAIL);
	ck_assert_int_eq(plain(ALICE, "wrong"), SASL_UNAVAIL);
	server_do("start");
	ck_assert_int_eq(host_login_when_back(ALICE, "test"), SASL_OK);
	ck_assert_int_eq(plain(ALICE, "wrong"), SASL_BADAUTH);
}
END_TEST

START_TEST(a_server_that_hangs_is_unavailable_in_time)
{
	int64_t begin;

	start_usual();
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
	server_do("pause");
	begin = deadline_now_ms();
	ck_assert_int_eq(plain(ALICE, "test"), SASL_UNAVAIL);
	/* Postfix would wait; a client would not. */
	ck_assert_int_lt(deadline_now_ms() - begin, 15000);
	server_do("resume");
}
END_TEST

/* The "password" tells whether the query ran on the connection that is written down in parent. */
START_TEST(a_forked_child_leaves_the_parents_connection_alone)
{
	char sql[256];
	int status;
	pid_t child;

	server_run("CREATE TABLE parent (id BIGINT UNSIGNED)", "sasl");
	start("SELECT IF(CONNECTION_ID() IN (SELECT id FROM parent), 'same', 'other')"
	      " FROM mailbox WHERE username='%u@%r'");
	ck_assert_int_eq(plain(ALICE, "other"), SASL_OK);
	snprintf(sql, sizeof(sql),
		 "INSERT INTO parent SELECT id FROM information_schema.processlist"
		 " WHERE user = '%s'",
		 server_user());
	server_run(sql, "sasl");
	ck_assert_int_eq(plain(ALICE, "same"), SASL_OK);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		bool well = plain(ALICE, "other") == SASL_OK && plain(ALICE, "no") == SASL_BADAUTH;

		/* As a child does that ends in good order. */
		host_stop();
		_exit(!well);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert_int_eq(plain(ALICE, "same"), SASL_OK);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sasl_mysql");
	TCase *tcase = tcase_create("mysql");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_unchecked_fixture(tcase, server_start, server_stop);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 240);
	tcase_add_test(tcase, the_usual_query);
	tcase_add_loop_test(tcase, injected_names_are_refused, 0,
			    sizeof(injections) / sizeof(injections[0]));
	tcase_add_test(tcase, a_failing_query_is_unavailable);
	tcase_add_test(tcase, a_server_that_stops_is_unavailable_until_it_is_back);
	tcase_add_test(tcase, a_server_that_hangs_is_unavailable_in_time);
	tcase_add_test(tcase, a_forked_child_leaves_the_parents_connection_alone);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	test_cleanup();
	return failed > 0;
}
