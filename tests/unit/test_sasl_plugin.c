/*
 * postern.so in the real libsasl2: PLAIN and LOGIN over every kind of stored password, the
 * challenge mechanisms over clear text and verifiers, hostile names, and a database in trouble,
 * which must never read as a wrong password.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <pthread.h>
#include <sasl/sasl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/sasl_harness.h"

#define ALICE "alice@example.test"

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

static const struct {
	const char *stored, *password;
} hashes[] = {
	{"{PLAIN}test", "test"},
	{"{MD5-CRYPT}$1$GgvxyNz8$OjZhLh4P.gF1lxYEbLZ3e/", "test"},
	{"$1$AIjpWveQ$2s3eEAbZiqkJhMYUIVR240", "test123"},
	{"$5$VhqhhsXJtPFeBX9e$kz3/CMIEu80bKdtDAcISIrDfdwtc.ilR68Vb3hNhu/7", "hello"},
	{"$6$ijF8bgunALqnEHTo$LHVa6XQBpM5Gt16RMFQuXqrGAS0y0ymaLS8pnkeVUTSx3t2DrGqWwRj6q4ef3V3SWYkb5"
	 "xkuN9bv7joxNd8kA1",
	 "foo"},
	{"$2y$10$4gbwQMAoJPcg.mWnENYNg.syH9mZNsbQu6KN7skK92g3tlPnvvBDW", "test123"},
	{"$y$j75$LdJMENpBABJJ3hIHjB1Bi.$aN8IREm4mVoXwP2ZkEbfFinwVjML6Krr5zkB50rSJX3", "abc"},
	{"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	 "password"},
	{"{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", "test"},
	{"{SSHA512}f/lFQskkl7PdMsTGJxHZq8LDt/l+UqRMm6/pj4pV7/xZkcOaKCgvQqp+KCeXc/"
	 "Vd4RY6vEHWn4y0DnFcQ6wgyv9fyxk=",
	 "password"},
};

START_TEST(every_kind_of_hash_logs_in)
{
	const char *stored = hashes[_i].stored, *password = hashes[_i].password;
	char wrong[64];

	host_mailbox(&host, ALICE, stored);
	host_start_configured(&host, "");
	snprintf(wrong, sizeof(wrong), "%sx", password);
	ck_assert_int_eq(plain(ALICE, password), SASL_OK);
	ck_assert_int_eq(login(ALICE, password), SASL_OK);
	ck_assert_int_eq(plain(ALICE, wrong), SASL_BADAUTH);
	ck_assert_int_eq(login(ALICE, wrong), SASL_BADAUTH);
	ck_assert_int_eq(plain(ALICE, stored), SASL_BADAUTH);
	ck_assert_int_eq(login(ALICE, stored), SASL_BADAUTH);
	ck_assert_int_eq(login(ALICE, ""), SASL_BADAUTH);
	ck_assert(!host_logged("cannot"));
}
END_TEST

START_TEST(clear_text_without_a_prefix_needs_the_default_scheme)
{
	host_mailbox(&host, ALICE, "test");
	host_write_ini(&host, "[schema]\npassword_scheme = PLAIN\n");
	host_start_configured(&host, "");
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
	ck_assert_int_eq(login(ALICE, "test"), SASL_OK);
	ck_assert_int_eq(plain(ALICE, "Test"), SASL_BADAUTH);
	ck_assert_int_eq(host_login("CRAM-MD5", ALICE, NULL, "test", NULL, 0), SASL_OK);
}
END_TEST

static const char *const nothing[] = {"", "*", "!", "!!", "x", "*0", "{PLAIN}"};

START_TEST(what_is_no_secret_never_logs_in)
{
	host_mailbox(&host, ALICE, nothing[_i]);
	host_write_ini(&host, _i == 4 ? "" : "[schema]\npassword_scheme = PLAIN\n");
	host_start_configured(&host, "");
	ck_assert_int_ne(plain(ALICE, nothing[_i]), SASL_OK);
	ck_assert_int_ne(login(ALICE, nothing[_i]), SASL_OK);
	ck_assert_int_ne(login(ALICE, ""), SASL_OK);
	ck_assert_int_ne(plain(ALICE, "NULL"), SASL_OK);
	ck_assert_int_ne(host_login("CRAM-MD5", ALICE, NULL, nothing[_i], NULL, 0), SASL_OK);
	ck_assert_int_ne(host_login("CRAM-MD5", ALICE, NULL, "", NULL, 0), SASL_OK);
}
END_TEST

static const char *const hostile[] = {
	"o'brien@example.test",     "\"quoted\"@example.test", "%u%r%p@example.test",
	"back\\slash@example.test", "--@example.test",         "m\xc3\xbcller@example.test",
};

START_TEST(odd_names_log_in_as_themselves)
{
	char user[128] = "";

	host_mailbox(&host, hostile[_i], "{PLAIN}test");
	host_mailbox(&host, ALICE, "{PLAIN}other");
	host_start_configured(&host, "");
	/* A quoted local part is unquoted before it is looked up. */
	if (hostile[_i][0] == '"')
		host_mailbox(&host, "quoted@example.test", "{PLAIN}test");
	ck_assert_int_eq(host_login("PLAIN", hostile[_i], NULL, "test", user, sizeof(user)),
			 SASL_OK);
	ck_assert_int_eq(plain(hostile[_i], "other"), SASL_BADAUTH);
	ck_assert_int_eq(login(hostile[_i], "test"), SASL_OK);
	if (hostile[_i][0] != '"')
		ck_assert_str_eq(user, hostile[_i]);
}
END_TEST

static const char *const injections[] = {
	"' OR '1'='1",
	"' OR 1=1 -- @example.test",
	"x' UNION SELECT 'test' -- @example.test",
	"\\' OR 1=1 -- @example.test",
	"alice@example.test' --",
	"alice@example.test\x01",
	"alice@example.test\xff",
	"@example.test",
	"@",
	"*",
	"nobody@example.test",
	"alice@other.test",
};

START_TEST(injected_names_are_refused)
{
	host_mailbox(&host, ALICE, "{PLAIN}test");
	host_start_configured(&host, "");
	ck_assert_int_eq(login(injections[_i], "test"), SASL_BADAUTH);
	ck_assert_int_eq(plain(injections[_i], "test"), SASL_BADAUTH);
	ck_assert_int_ne(host_login("CRAM-MD5", injections[_i], NULL, "test", NULL, 0), SASL_OK);
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
	ck_assert(!host_logged("cannot"));
}
END_TEST

static const char *const bars[] = {
	"UPDATE mailbox SET active = 0",
	"UPDATE domain SET active = 0",
	"UPDATE mailbox SET smtp_active = 0",
	"DELETE FROM domain WHERE domain = 'example.test'",
};

START_TEST(inactive_accounts_are_refused)
{
	host_mailbox(&host, ALICE, "{PLAIN}test");
	host_sql(&host, "%s", bars[_i]);
	host_start_configured(&host, "");
	ck_assert_int_eq(plain(ALICE, "test"), SASL_BADAUTH);
	ck_assert_int_eq(login(ALICE, "test"), SASL_BADAUTH);
	ck_assert_int_ne(host_login("CRAM-MD5", ALICE, NULL, "test", NULL, 0), SASL_OK);
	ck_assert_int_ne(host_login("SCRAM-SHA-256", ALICE, NULL, "test", NULL, 0), SASL_OK);
}
END_TEST

START_TEST(the_user_name_is_the_accounts)
{
	char user[128] = "";

	host_mailbox(&host, ALICE, "{PLAIN}test");
	host_domain(&host, "alias.test");
	host_sql(&host, "INSERT INTO alias_domain (alias_domain, target_domain, active)"
			" VALUES ('alias.test', 'example.test', 1)");
	host_write_ini(&host, "[address]\ndefault_domain = example.test\n");
	host_start_configured(&host, "");
	ck_assert_int_eq(host_login("PLAIN", "alice", NULL, "test", user, sizeof(user)), SASL_OK);
	ck_assert_str_eq(user, ALICE);
	ck_assert_int_eq(
		host_login("PLAIN", "Alice@Example.TEST", NULL, "test", user, sizeof(user)),
		SASL_OK);
	ck_assert_str_eq(user, ALICE);
	ck_assert_int_eq(host_login("LOGIN", "alice@alias.test", NULL, "test", user, sizeof(user)),
			 SASL_OK);
	ck_assert_str_eq(user, ALICE);
	ck_assert_int_eq(plain("bob", "test"), SASL_BADAUTH);
}
END_TEST

START_TEST(authorisation_identities)
{
	char user[128] = "";

	host_mailbox(&host, ALICE, "$1$AIjpWveQ$2s3eEAbZiqkJhMYUIVR240");
	host_mailbox(&host, "bob@example.test", "$1$AIjpWveQ$2s3eEAbZiqkJhMYUIVR240");
	host_start_configured(&host, "");
	ck_assert_int_eq(host_login("PLAIN", ALICE, ALICE, "test123", user, sizeof(user)), SASL_OK);
	ck_assert_str_eq(user, ALICE);
	ck_assert_int_eq(host_login("PLAIN", ALICE, "bob@example.test", "test123", NULL, 0),
			 SASL_BADAUTH);
	ck_assert_int_eq(host_login("PLAIN", ALICE, "bob@example.test", "wrong", NULL, 0),
			 SASL_BADAUTH);
}
END_TEST

#define BYTES(text) text, sizeof(text) - 1

START_TEST(malformed_messages)
{
	static char big[4096];

	host_mailbox(&host, ALICE, "{PLAIN}test");
	host_start_configured(&host, "");
	memset(big, 'a', sizeof(big));
	ck_assert_int_eq(host_plain(BYTES("\0" ALICE "\0test")), SASL_OK);
	ck_assert_int_eq(host_plain(BYTES(ALICE "\0" ALICE "\0test")), SASL_OK);
	ck_assert_int_eq(host_plain(BYTES("")), SASL_BADPROT);
	ck_assert_int_eq(host_plain(BYTES(ALICE)), SASL_BADPROT);
	ck_assert_int_eq(host_plain(BYTES("\0" ALICE)), SASL_BADPROT);
	ck_assert_int_eq(host_plain(BYTES("\0" ALICE "\0test\0")), SASL_BADPROT);
	ck_assert_int_eq(host_plain(BYTES("\0" ALICE "\0te\0st")), SASL_BADPROT);
	ck_assert_int_eq(host_plain(BYTES("\0" ALICE "\0")), SASL_BADAUTH);
	ck_assert_int_eq(host_plain(BYTES("\0\0test")), SASL_BADAUTH);
	ck_assert_int_eq(host_plain(BYTES("\0  \0test")), SASL_BADAUTH);
	ck_assert_int_eq(login("", "test"), SASL_BADAUTH);
	ck_assert_int_eq(host_login_raw(BYTES(ALICE "\0"), BYTES("test")), SASL_BADPROT);
	ck_assert_int_eq(host_login_raw(BYTES(ALICE), BYTES("test\0")), SASL_BADPROT);
	ck_assert_int_eq(host_login_raw(big, 1025, BYTES("test")), SASL_BADPROT);
	ck_assert_int_eq(host_login_raw(BYTES(ALICE), big, 1025), SASL_BADPROT);
	ck_assert_int_ne(host_login_raw(big, 1024, BYTES("test")), SASL_OK);
	ck_assert_int_eq(host_login_raw(BYTES(ALICE), big, 1024), SASL_BADAUTH);
}
END_TEST

static const char *const challenges[] = {"CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256",
					 "SCRAM-SHA-512"};

START_TEST(challenges_over_clear_text)
{
	host_mailbox(&host, ALICE, "{PLAIN}pencil");
	host_mailbox(&host, "hash@example.test", "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=");
	host_start_configured(&host, "");
	ck_assert_int_eq(host_login(challenges[_i], ALICE, NULL, "pencil", NULL, 0), SASL_OK);
	ck_assert_int_ne(host_login(challenges[_i], ALICE, NULL, "pencils", NULL, 0), SASL_OK);
	/* A hash is never handed out as a clear text. */
	ck_assert_int_ne(host_login(challenges[_i], "hash@example.test", NULL,
				    "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", NULL, 0),
			 SASL_OK);
	ck_assert_int_ne(host_login(challenges[_i], "hash@example.test", NULL, "test", NULL, 0),
			 SASL_OK);
}
END_TEST

START_TEST(scram_over_a_verifier_only)
{
	host_mailbox(&host, ALICE,
		     "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
		     "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
		     "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
	host_mailbox(&host, "dovecot@example.test",
		     "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,"
		     "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
		     "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
	host_start_configured(&host, "");
	ck_assert_int_eq(host_login("SCRAM-SHA-256", ALICE, NULL, "pencil", NULL, 0), SASL_OK);
	ck_assert_int_ne(host_login("SCRAM-SHA-256", ALICE, NULL, "pencils", NULL, 0), SASL_OK);
	ck_assert_int_eq(
		host_login("SCRAM-SHA-256", "dovecot@example.test", NULL, "pencil", NULL, 0),
		SASL_OK);
	ck_assert_int_eq(plain(ALICE, "pencil"), SASL_OK);
	ck_assert_int_eq(plain(ALICE, "pencils"), SASL_BADAUTH);
	ck_assert_int_ne(host_login("CRAM-MD5", ALICE, NULL, "pencil", NULL, 0), SASL_OK);
}
END_TEST

START_TEST(unconfigured_the_plugin_is_silent)
{
	host_mailbox(&host, ALICE, "{PLAIN}test");
	host_write_conf(&host, "smtpd", "pwcheck_method: auxprop\nlog_level: 7\n");
	host_start(&host, "smtpd");
	host_statements();
	ck_assert_int_ne(plain(ALICE, "test"), SASL_OK);
	ck_assert_int_eq(host_statements(), 0);
	ck_assert_msg(!host_logged("postern"), "%s", host_log());
	/* libsasl's own mechanisms once each, none of ours. */
	ck_assert_ptr_nonnull(strstr(host_mechanisms(), " PLAIN "));
	ck_assert_ptr_null(strstr(strstr(host_mechanisms(), " PLAIN ") + 1, " PLAIN "));
}
END_TEST

START_TEST(configured_the_mechanisms_are_offered_once_with_mech_list)
{
	host_start_configured(&host, "mech_list: PLAIN LOGIN\n");
	ck_assert_ptr_nonnull(strstr(host_mechanisms(), " PLAIN "));
	ck_assert_ptr_nonnull(strstr(host_mechanisms(), " LOGIN "));
	ck_assert_ptr_null(strstr(strstr(host_mechanisms(), " PLAIN ") + 1, " PLAIN "));
	ck_assert_ptr_null(strstr(host_mechanisms(), "CRAM-MD5"));
}
END_TEST

/* Only ours verify a hash; libsasl takes the first of two mechanisms with one name. */
START_TEST(our_mechanisms_come_first_in_any_order_of_loading)
{
	host_mailbox(&host, ALICE, "{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=");
	host_load_order(_i == 1);
	host_start_configured(&host, "");
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
	ck_assert_int_eq(login(ALICE, "test"), SASL_OK);
}
END_TEST

START_TEST(one_login_asks_the_database_once)
{
	unsigned one;

	host_mailbox(&host, ALICE, "{PLAIN}test");
	host_start_configured(&host, "");
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
	host_statements();
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
	one = host_statements();
	/* One resolution (domain, alias, mailbox) and the secrets, whatever libsasl looks up. */
	ck_assert_uint_ge(one, 2);
	ck_assert_uint_le(one, 6);
	ck_assert_int_eq(login(ALICE, "wrong"), SASL_BADAUTH);
	ck_assert_uint_eq(host_statements(), one);
}
END_TEST

START_TEST(another_verifier_decides_without_our_database)
{
	host_mailbox(&host, ALICE, "{PLAIN}test");
	host_start_configured(&host, "pwcheck_method: saslauthd\nsaslauthd_path: /nonexistent\n");
	host_statements();
	/* libsasl looks the user up, asking for no property, and then asks saslauthd. */
	ck_assert_int_eq(host_checkpass(ALICE, "test"), SASL_FAIL);
	ck_assert(host_logged("saslauthd"));
	ck_assert_uint_eq(host_statements(), 0);
}
END_TEST

START_TEST(stock_plain_verifies_clear_text_by_our_properties)
{
	host_mailbox(&host, ALICE, "{PLAIN}test");
	host_start_configured(&host, "pwcheck_method: auxprop\n");
	ck_assert_int_eq(host_checkpass(ALICE, "test"), SASL_OK);
	ck_assert_int_eq(host_checkpass(ALICE, "wrong"), SASL_BADAUTH);
}
END_TEST

START_TEST(two_applications_in_one_process)
{
	struct host other;
	char text[512];

	host_mailbox(&host, ALICE, "{PLAIN}test");
	host_start_configured(&host, "");
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
	host_stop();

	/* The second one has options of its own, and the first's must be forgotten. */
	host_write_conf(&host, "imapd", "pwcheck_method: auxprop\n");
	host_start(&host, "imapd");
	ck_assert_int_ne(plain(ALICE, "test"), SASL_OK);
	host_stop();

	host_make(&other);
	host_mailbox(&other, ALICE, "{PLAIN}second");
	snprintf(text, sizeof(text), "postern_config: %s\n", other.ini);
	host_write_conf(&other, "imapd", text);
	host_start(&other, "imapd");
	ck_assert_int_eq(plain(ALICE, "second"), SASL_OK);
	ck_assert_int_eq(plain(ALICE, "test"), SASL_BADAUTH);
	host_free(&other);
}
END_TEST

START_TEST(a_forked_child_opens_a_connection_of_its_own)
{
	int status;
	pid_t child;

	host_mailbox(&host, ALICE, "{PLAIN}test");
	host_start_configured(&host, "");
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0)
		_exit(plain(ALICE, "test") != SASL_OK || plain(ALICE, "no") != SASL_BADAUTH);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert_int_eq(plain(ALICE, "test"), SASL_OK);
}
END_TEST

static void *mutex_new(void)
{
	pthread_mutex_t *mutex = malloc(sizeof(*mutex));

	if (mutex != NULL)
		pthread_mutex_init(mutex, NULL);
	return mutex;
}

static int mutex_lock(void *mutex)
{
	return pthread_mutex_lock(mutex) == 0 ? SASL_OK : SASL_FAIL;
}

static int mutex_unlock(void *mutex)
{
	return pthread_mutex_unlock(mutex) == 0 ? SASL_OK : SASL_FAIL;
}

static void mutex_free(void *mutex)
{
	pthread_mutex_destroy(mutex);
	free(mutex);
}

static void *log_in_often(void *failures)
{
	for (int i = 0; i < 25; i++) {
		if (host_plain(BYTES("\0" ALICE "\0test")) != SASL_OK)
			++*(int *)failures;
		if (host_plain(BYTES("\0" ALICE "\0wrong")) != SASL_BADAUTH)
			++*(int *)failures;
	}
	return NULL;
}

START_TEST(several_threads_log_in)
{
	pthread_t threads[4];
	int failures[4] = {0};

	sasl_set_mutex(mutex_new, mutex_lock, mutex_unlock, mutex_free);
	host_mailbox(&host, ALICE, "{PLAIN}test");
	host_write_ini(&host, "[log]\nlevel = error\n");
	host_start_configured(&host, "");
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, log_in_often, &failures[i]), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(failures[i], 0);
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

static void add_logins(TCase *tcase)
{
	tcase_add_loop_test(tcase, every_kind_of_hash_logs_in, 0, COUNT(hashes));
	tcase_add_test(tcase, clear_text_without_a_prefix_needs_the_default_scheme);
	tcase_add_loop_test(tcase, what_is_no_secret_never_logs_in, 0, COUNT(nothing));
	tcase_add_loop_test(tcase, odd_names_log_in_as_themselves, 0, COUNT(hostile));
	tcase_add_loop_test(tcase, injected_names_are_refused, 0, COUNT(injections));
	tcase_add_loop_test(tcase, inactive_accounts_are_refused, 0, COUNT(bars));
	tcase_add_test(tcase, the_user_name_is_the_accounts);
	tcase_add_test(tcase, authorisation_identities);
	tcase_add_test(tcase, malformed_messages);
	tcase_add_loop_test(tcase, challenges_over_clear_text, 0, COUNT(challenges));
	tcase_add_test(tcase, scram_over_a_verifier_only);
}

static void add_hosting(TCase *tcase)
{
	tcase_add_test(tcase, unconfigured_the_plugin_is_silent);
	tcase_add_test(tcase, configured_the_mechanisms_are_offered_once_with_mech_list);
	tcase_add_loop_test(tcase, our_mechanisms_come_first_in_any_order_of_loading, 0, 2);
	tcase_add_test(tcase, one_login_asks_the_database_once);
	tcase_add_test(tcase, another_verifier_decides_without_our_database);
	tcase_add_test(tcase, stock_plain_verifies_clear_text_by_our_properties);
	tcase_add_test(tcase, two_applications_in_one_process);
	tcase_add_test(tcase, a_forked_child_opens_a_connection_of_its_own);
	tcase_add_test(tcase, several_threads_log_in);
}

int main(void)
{
	Suite *suite = suite_create("sasl_plugin");
	SRunner *runner;
	int failed;

	add_logins(case_new(suite, "logins"));
	add_hosting(case_new(suite, "hosting"));
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
