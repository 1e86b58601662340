/*
 * test_authenticate - logins and passwords, on a real SQLite database
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/authenticate.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "common/password.h"
#include "tests/unit/mailhost.h"

/* "extmail" in MD5-crypt, from the founding documents. */
#define EXTMAIL "$1$phz1mRrj$3ok6BjeaoJYWDBsEPZb5C0"

static const char rows[] =
	"INSERT INTO t_domain (name) VALUES ('example.com'), ('example.net');"
	"INSERT INTO t_domain (name, active) VALUES ('closed.test', 0);"
	"INSERT INTO t_target (name, target) VALUES ('example.net', 'example.com');"
	"INSERT INTO t_mailbox (address, path) VALUES ('alice@example.com', 'a/'),"
	" ('clear@example.com', 'c/'), ('broken@example.com', 'br/'), ('rescued@example.com', "
	"'r/'),"
	" ('unset@example.com', 'u/'), ('locked@example.com', 'l/'), ('costly@example.com', 'co/'),"
	" ('dave@closed.test', 'd/'), ('null@example.com', 'n/'), ('app@example.com', 'ap/');"
	"INSERT INTO t_mailbox (address, path, active) VALUES ('bob@example.com', 'b/', 0);"
	"INSERT INTO t_mailbox (address, path, may_send) VALUES ('carol@example.com', 'ca/', 0);"
	"INSERT INTO t_mailbox (address, path, may_receive) VALUES ('deaf@example.com', 'de/', 0);"
	"INSERT INTO t_alias (address, members) VALUES ('sales@example.com', 'alice@example.com');"
	"INSERT INTO t_secret VALUES ('alice@example.com', '" EXTMAIL "'),"
	" ('bob@example.com', '" EXTMAIL "'), ('carol@example.com', '" EXTMAIL "'),"
	" ('deaf@example.com', '" EXTMAIL "'), ('dave@closed.test', '" EXTMAIL "'),"
	" ('clear@example.com', 'pass word{}'), ('broken@example.com', '{NO-SUCH}x'),"
	" ('rescued@example.com', '{NO-SUCH}x'), ('locked@example.com', '*'),"
	" ('null@example.com', NULL), ('app@example.com', '" EXTMAIL "'),"
	" ('costly@example.com', '$6$rounds=900000$saltsalt$x');"
	"INSERT INTO t_app VALUES ('app@example.com', '{PLAIN}one'), ('app@example.com', "
	"'{PLAIN}two'),"
	" ('rescued@example.com', '{PLAIN}app');";

static struct mailhost host;
static char account[256];
static const char *reason;
static struct error err;

static void setup(void)
{
	mailhost_open(&host, rows, "");
}

static void teardown(void)
{
	mailhost_close(&host);
}

static enum result login(const char *name, const char *password)
{
	struct buf name_r = BUF_INIT;
	enum result result;

	err.text[0] = '\0';
	reason = NULL;
	result = authenticate(host.accounts, &host.settings, name, strlen(name), password, &name_r,
			      &reason, NULL, &err);
	snprintf(account, sizeof(account), "%s", buf_str(&name_r));
	ck_assert_ptr_nonnull(reason);
	if (result != RESULT_FOUND)
		ck_assert_str_eq(account, "");
	buf_free(&name_r);
	return result;
}

static void assert_refused(const char *name, const char *password, const char *why)
{
	ck_assert_int_eq(login(name, password), RESULT_NONE);
	ck_assert_str_eq(reason, why);
}

START_TEST(right_password)
{
	ck_assert_int_eq(login("alice@example.com", "extmail"), RESULT_FOUND);
	ck_assert_str_eq(account, "alice@example.com");
	ck_assert_int_eq(login("ALICE@Example.NET", "extmail"), RESULT_FOUND);
	ck_assert_str_eq(account, "alice@example.com");
	ck_assert_int_eq(login("deaf@example.com", "extmail"), RESULT_FOUND);
}
END_TEST

START_TEST(account_and_reason_may_be_null)
{
	ck_assert_int_eq(authenticate(host.accounts, &host.settings, "alice@example.com", 17,
				      "extmail", NULL, NULL, NULL, NULL),
			 RESULT_FOUND);
	ck_assert_int_eq(authenticate(host.accounts, &host.settings, "alice@example.com", 17,
				      "wrong", NULL, NULL, NULL, NULL),
			 RESULT_NONE);
}
END_TEST

START_TEST(wrong_password)
{
	assert_refused("alice@example.com", "Extmail", "wrong-password");
	assert_refused("alice@example.com", "", "wrong-password");
	assert_refused("locked@example.com", "*", "wrong-password");
}
END_TEST

START_TEST(no_such_account)
{
	assert_refused("nobody@example.com", "extmail", "unknown");
	assert_refused("alice@remote.test", "extmail", "unknown");
	assert_refused("sales@example.com", "extmail", "unknown");
	assert_refused("dave@closed.test", "extmail", "unknown");
	assert_refused("alice+x@example.com", "extmail", "unknown");
	assert_refused("alice", "extmail", "unknown");
	assert_refused("", "extmail", "unknown");
}
END_TEST

START_TEST(inactive_and_barred)
{
	assert_refused("bob@example.com", "extmail", "inactive");
	assert_refused("carol@example.com", "extmail", "barred");
}
END_TEST

START_TEST(account_without_password)
{
	assert_refused("unset@example.com", "", "no-password");
	assert_refused("null@example.com", "", "wrong-password");
}
END_TEST

START_TEST(scheme_of_the_preset_or_the_settings)
{
	ck_assert_int_eq(login("clear@example.com", "pass word{}"), RESULT_FOUND);
	mailhost_configure(&host, "password_scheme = SHA512-CRYPT\n");
	ck_assert_int_ne(login("clear@example.com", "pass word{}"), RESULT_FOUND);
}
END_TEST

START_TEST(every_secret_is_tried)
{
	ck_assert_int_eq(login("app@example.com", "extmail"), RESULT_FOUND);
	ck_assert_int_eq(login("app@example.com", "one"), RESULT_FOUND);
	ck_assert_int_eq(login("app@example.com", "two"), RESULT_FOUND);
	assert_refused("app@example.com", "three", "wrong-password");
}
END_TEST

static char logged[2048];

static void remember(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)level;
	snprintf(logged, sizeof(logged), "%s", line);
}

START_TEST(unusable_secret_is_perm_and_stops_no_other)
{
	log_set_sink(remember, NULL);
	ck_assert_int_eq(login("broken@example.com", "x"), RESULT_PERM);
	ck_assert_str_ne(err.text, "");
	ck_assert_ptr_nonnull(strstr(logged, "broken@example.com"));
	ck_assert_int_eq(login("rescued@example.com", "app"), RESULT_FOUND);
	ck_assert_int_eq(login("rescued@example.com", "wrong"), RESULT_PERM);
	log_set_sink(NULL, NULL);
}
END_TEST

START_TEST(costs_are_capped)
{
	mailhost_configure(&host, "[auth]\nmax_rounds = 10000\n");
	ck_assert_int_eq(login("costly@example.com", "x"), RESULT_PERM);
}
END_TEST

START_TEST(trace_names_no_secret)
{
	struct trace trace = {.text = BUF_INIT};

	ck_assert_int_eq(authenticate(host.accounts, &host.settings, "clear@example.com", 17,
				      "attempt", NULL, NULL, &trace, &err),
			 RESULT_NONE);
	ck_assert_ptr_nonnull(strstr(buf_str(&trace.text), "secret 1 of 1: does not match\n"));
	ck_assert_ptr_null(strstr(buf_str(&trace.text), "attempt"));
	ck_assert_ptr_null(strstr(buf_str(&trace.text), "pass word"));
	buf_free(&trace.text);
}
END_TEST

static double cpu_seconds(const char *name, const char *password)
{
	clock_t start = clock();

	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(login(name, password), RESULT_NONE);
	return (double)(clock() - start) / CLOCKS_PER_SEC;
}

/* CPU time, not wall time: other tests run beside this one. */
START_TEST(unknown_costs_what_a_wrong_password_costs)
{
	struct buf stored = BUF_INIT, sql = BUF_INIT;
	double known, unknown, inactive, barred;

	ck_assert_int_eq(password_make("secret", "SHA512-CRYPT", &stored, &err), RESULT_FOUND);
	buf_printf(&sql, "UPDATE t_secret SET password = '%s'", buf_str(&stored));
	mailhost_sql(&host, buf_str(&sql));
	known = cpu_seconds("alice@example.com", "wrong");
	unknown = cpu_seconds("nobody@example.com", "wrong");
	inactive = cpu_seconds("bob@example.com", "wrong");
	barred = cpu_seconds("carol@example.com", "wrong");
	ck_assert_msg(unknown > known / 3 && inactive > known / 3 && barred > known / 3,
		      "known %f unknown %f inactive %f barred %f", known, unknown, inactive,
		      barred);
	buf_free(&stored);
	buf_free(&sql);
}
END_TEST

START_TEST(temp_at_every_call)
{
	static const struct {
		const char *login, *password;
		enum result result;
	} cases[] = {
		{"alice@example.net", "extmail", RESULT_FOUND},
		{"app@example.com", "two", RESULT_FOUND},
		{"app@example.com", "wrong", RESULT_NONE},
		{"nobody@example.net", "extmail", RESULT_NONE},
		{"bob@example.com", "extmail", RESULT_NONE},
		{"unset@example.com", "extmail", RESULT_NONE},
		{"alice@remote.test", "extmail", RESULT_NONE},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned count;

		mailhost_fail(0, RESULT_FOUND);
		ck_assert_int_eq(login(cases[i].login, cases[i].password), cases[i].result);
		count = mailhost_calls();
		ck_assert_uint_gt(count, 0);
		for (unsigned nth = 1; nth <= count; nth++) {
			mailhost_fail(nth, RESULT_TEMP);
			ck_assert_msg(login(cases[i].login, cases[i].password) == RESULT_TEMP,
				      "%s: call %u of %u", cases[i].login, nth, count);
			ck_assert_str_eq(reason, "temp");
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("authenticate");
	TCase *tests = tcase_create("authenticate");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, right_password);
	tcase_add_test(tests, account_and_reason_may_be_null);
	tcase_add_test(tests, wrong_password);
	tcase_add_test(tests, no_such_account);
	tcase_add_test(tests, inactive_and_barred);
	tcase_add_test(tests, account_without_password);
	tcase_add_test(tests, scheme_of_the_preset_or_the_settings);
	tcase_add_test(tests, every_secret_is_tried);
	tcase_add_test(tests, unusable_secret_is_perm_and_stops_no_other);
	tcase_add_test(tests, costs_are_capped);
	tcase_add_test(tests, trace_names_no_secret);
	tcase_add_test(tests, unknown_costs_what_a_wrong_password_costs);
	tcase_add_test(tests, temp_at_every_call);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
