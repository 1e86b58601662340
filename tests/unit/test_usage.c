/*
 * test_usage - usage written into quota tables, on SQLite and MariaDB; the thread that does it
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/account_usage.h"
#include "common/deadline.h"
#include "common/log.h"
#include "common/metrics.h"
#include "lmtp-deliver/usage.h"
#include "tests/unit/database.h"

static const struct {
	const char *preset, *driver, *layout, *table;
} databases[] = {
	{"postfixadmin", "sqlite", "3.3", "quota2"},
	{"postfixadmin", "sqlite", "4.x", "quota2"},
	{"postfixadmin", "sqlite", "default", "quota2"},
	{"postfixadmin", "mysql", "3.3", "quota2"},
	{"postfixadmin", "mysql", "4.x", "quota2"},
	{"iredmail", "sqlite", "0.9.6", "used_quota"},
	{"iredmail", "sqlite", "1.8", "used_quota"},
	{"iredmail", "mysql", "0.9.6", "used_quota"},
	{"iredmail", "mysql", "1.8", "used_quota"},
};
#define DATABASES (int)(sizeof databases / sizeof databases[0])
#define SQLITE    2
#define MYSQL     4

static struct settings settings;
static struct schema *schema;
static struct accounts *accounts;
static struct error err;

static void open_database(const char *preset, const char *driver, const char *layout)
{
	err.text[0] = '\0';
	fixture_open_preset(&settings, preset, driver, layout, true);
	ck_assert_int_eq(schema_load(settings.schema.preset, &schema, &err), RESULT_FOUND);
	ck_assert_int_eq(accounts_open(&settings, schema, &accounts, &err), RESULT_FOUND);
	settings.quota.publish = true;
	settings.quota.publish_interval = 20;
}

static void open_at(int index)
{
	open_database(databases[index].preset, databases[index].driver, databases[index].layout);
}

static void close_all(void)
{
	accounts_free(&accounts);
	schema_free(&schema);
	settings_free(&settings);
}

/* "BYTES MESSAGES", or the name of the result. */
static const char *published(const char *address)
{
	static char text[64];
	struct usage usage;
	enum result result = accounts_usage(accounts, address, &usage, &err);

	if (result != RESULT_FOUND)
		return result_name(result);
	(void)snprintf(text, sizeof(text), "%lld %lld", (long long)usage.bytes,
		       (long long)usage.messages);
	return text;
}

static void wait_for(const char *address, const char *text)
{
	struct deadline deadline = deadline_in(20000);
	struct timespec pause = {0, 5000000};

	while (strcmp(published(address), text) != 0) {
		ck_assert_msg(!deadline_passed(deadline), "%s: %s instead of %s", address,
			      published(address), text);
		(void)nanosleep(&pause, NULL);
	}
}

static int64_t metric_now(const char *name)
{
	struct buf text = BUF_INIT;
	char line[128];
	const char *at;
	int64_t value = -1;

	metrics_print(&text);
	(void)snprintf(line, sizeof(line), "\n%s ", name);
	at = strstr(buf_str(&text), line);
	if (at)
		value = strtoll(at + strlen(line), NULL, 10);
	buf_free(&text);
	return value;
}

static _Atomic int lines_away, lines_again, lines_refused;

static void sink(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)level;
	if (strstr(line, "the latest values are kept"))
		atomic_fetch_add(&lines_away, 1);
	else if (strstr(line, "usage is published again"))
		atomic_fetch_add(&lines_again, 1);
	else if (strstr(line, "usage not published account="))
		atomic_fetch_add(&lines_refused, 1);
	else
		(void)fprintf(stderr, "%s\n", line);
}

START_TEST(test_publish)
{
	const struct account_usage usages[] = {
		{"alice@example.com", {111, 11}},
		{"heidi@example.com", {0, 0}},
		{"carol@example.com", {INT64_C(1) << 40, 2000000000}},
		{"gone@example.com", {5, 5}},
	};
	char sql[512];

	open_at(_i);
	/* A column of the site's own, in a row that is there. */
	(void)snprintf(sql, sizeof(sql),
		       "DELETE FROM %s; INSERT INTO %s (username, bytes, messages) VALUES "
		       "('alice@example.com', 1, 1), ('dave@closed.test', 7, 7)",
		       databases[_i].table, databases[_i].table);
	fixture_run(sql);
	(void)snprintf(sql, sizeof(sql), "ALTER TABLE %s ADD COLUMN own VARCHAR(20) DEFAULT 'kept'",
		       databases[_i].table);
	fixture_run(sql);
	ck_assert_int_eq(accounts_usage_place(schema, &err), RESULT_FOUND);
	ck_assert_int_eq(accounts_usage_try(&settings, schema, &err), RESULT_FOUND);
	for (int round = 0; round < 2; round++) {
		ck_assert_msg(accounts_publish_usage(accounts, usages, 4, &err) == RESULT_FOUND,
			      "%s", err.text);
		ck_assert_str_eq(published("alice@example.com"), "111 11");
		ck_assert_str_eq(published("heidi@example.com"), "0 0");
		ck_assert_str_eq(published("carol@example.com"), "1099511627776 2000000000");
		ck_assert_str_eq(published("gone@example.com"), "none");
		ck_assert_str_eq(published("dave@closed.test"), "7 7");
	}
	ck_assert_int_eq(accounts_publish_usage(accounts, NULL, 0, &err), RESULT_FOUND);
	/* Its own column, and in iRedMail's the domain, are as they should be; one row each. */
	(void)snprintf(sql, sizeof(sql), "DELETE FROM %s WHERE own <> 'kept'%s",
		       databases[_i].table,
		       strcmp(databases[_i].preset, "iredmail") == 0
			       ? " OR (username = 'heidi@example.com' AND domain <> 'example.com')"
			       : "");
	fixture_run(sql);
	ck_assert_str_eq(published("alice@example.com"), "111 11");
	ck_assert_str_eq(published("heidi@example.com"), "0 0");
	close_all();
}
END_TEST

/* Presets and layouts without a place. */
START_TEST(test_no_place)
{
	const struct account_usage usage = {"alice@example.com", {1, 1}};

	open_database("ispmail", "sqlite", "trixie");
	ck_assert_int_eq(accounts_publish_usage(accounts, &usage, 1, &err), RESULT_PERM);
	ck_assert_int_eq(usage_start(&settings, schema, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "preset ispmail"));
	ck_assert_ptr_nonnull(strstr(err.text, "[quota] publish"));
	settings.quota.publish = false;
	ck_assert_int_eq(usage_start(&settings, schema, &err), RESULT_FOUND);
	usage_note("alice@example.com", 1, 1);
	usage_stop(&settings);
	close_all();
	open_database("postfixadmin", _i == 0 ? "sqlite" : "mysql", "2.1");
	ck_assert_int_eq(accounts_usage_try(&settings, schema, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "quota2"));
	ck_assert_int_eq(accounts_publish_usage(accounts, &usage, 1, &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "quota2"));
	close_all();
}
END_TEST

/* A user that may read only, as the other programs have it. */
START_TEST(test_no_rights)
{
	const struct account_usage usage = {"alice@example.com", {1, 1}};
	bool may_insert = _i == 1;

	open_at(MYSQL);
	server_run("DROP USER IF EXISTS reader@localhost;"
		   "CREATE USER reader@localhost IDENTIFIED BY 'reader';"
		   "GRANT SELECT ON mail.* TO reader@localhost;",
		   "mail");
	if (may_insert)
		server_run("GRANT INSERT, UPDATE ON mail.quota2 TO reader@localhost;", "mail");
	free(settings.database.user);
	free(settings.database.password);
	settings.database.user = strdup("reader");
	settings.database.password = strdup("reader");
	accounts_free(&accounts);
	ck_assert_int_eq(accounts_open(&settings, schema, &accounts, &err), RESULT_FOUND);
	ck_assert_int_eq(accounts_usage_try(&settings, schema, &err),
			 may_insert ? RESULT_FOUND : RESULT_PERM);
	ck_assert_int_eq(accounts_publish_usage(accounts, &usage, 1, &err),
			 may_insert ? RESULT_FOUND : RESULT_PERM);
	if (!may_insert)
		ck_assert_ptr_nonnull(strstr(err.text, "denied"));
	close_all();
}
END_TEST

START_TEST(test_thread)
{
	open_at(_i);
	usage_note("alice@example.com", 1, 1); /* nobody publishes: forgotten */
	ck_assert_int_eq(usage_start(&settings, schema, &err), RESULT_FOUND);
	usage_note("alice@example.com", 5, 2);
	usage_note("alice@example.com", 6, 3);
	usage_note("heidi@example.com", 7, 4);
	wait_for("alice@example.com", "6 3");
	wait_for("heidi@example.com", "7 4");
	usage_note("alice@example.com", 8, 5);
	wait_for("alice@example.com", "8 5");
	usage_note("heidi@example.com", 9, 6);
	usage_stop(&settings); /* writes what is left */
	ck_assert_str_eq(published("heidi@example.com"), "9 6");
	ck_assert_int_eq(metric_now("postern_lmtp_usage_waiting"), 0);
	ck_assert_int_ge(metric_now("postern_lmtp_usage_published_total"), 4);
	ck_assert_int_eq(metric_now("postern_lmtp_usage_dropped_total"), 0);
	usage_stop(&settings); /* harmless */
	close_all();
}
END_TEST

/* Nothing is lost, nobody waits, and it is told once. */
START_TEST(test_database_away)
{
	struct timespec pause = {0, 400000000};
	int64_t begin;

	open_at(MYSQL);
	settings.database.connect_timeout = 100;
	settings.database.retry_interval = 10;
	ck_assert_int_eq(usage_start(&settings, schema, &err), RESULT_FOUND);
	usage_note("alice@example.com", 5, 2);
	wait_for("alice@example.com", "5 2");
	server_do("stop");
	begin = deadline_now_ms();
	for (int i = 0; i < 1000; i++)
		usage_note("alice@example.com", i, 3);
	usage_note("heidi@example.com", 7, 4);
	ck_assert_int_lt(deadline_now_ms() - begin, 5000);
	(void)nanosleep(&pause, NULL); /* some twenty tries */
	ck_assert_int_eq(lines_away, 1);
	ck_assert_int_eq(lines_again, 0);
	ck_assert_int_eq(metric_now("postern_lmtp_usage_waiting"), 2);
	usage_note("alice@example.com", 9, 5);
	server_do("start");
	wait_for("heidi@example.com", "7 4");
	wait_for("alice@example.com", "9 5");
	usage_stop(&settings);
	ck_assert_int_eq(lines_away, 1);
	ck_assert_int_eq(lines_again, 1);
	close_all();
}
END_TEST

/* What the database refuses for one keeps back no other. */
START_TEST(test_one_refused)
{
	open_at(MYSQL);
	fixture_run("ALTER TABLE quota2 ADD CONSTRAINT c CHECK (bytes <> 13)");
	ck_assert_int_eq(usage_start(&settings, schema, &err), RESULT_FOUND);
	usage_note("alice@example.com", 5, 2);
	usage_note("carol@example.com", 13, 13);
	usage_note("heidi@example.com", 7, 4);
	wait_for("alice@example.com", "5 2");
	wait_for("heidi@example.com", "7 4");
	usage_stop(&settings);
	ck_assert_int_eq(metric_now("postern_lmtp_usage_dropped_total"), 1);
	ck_assert_int_eq(lines_refused, 1);
	close_all();
}
END_TEST

/* A reload takes over what waits; one that is given up hands it back. */
START_TEST(test_reload)
{
	struct settings fresh;

	open_at(SQLITE);
	settings.quota.publish_interval = 3600000;
	ck_assert_int_eq(usage_start(&settings, schema, &err), RESULT_FOUND);
	usage_note("alice@example.com", 5, 2);
	fresh = settings;
	ck_assert_int_eq(usage_start(&fresh, schema, &err), RESULT_FOUND);
	usage_note("heidi@example.com", 7, 4);
	usage_stop(&fresh);
	ck_assert_str_ne(published("heidi@example.com"), "7 4");
	fresh.quota.publish_interval = 20;
	ck_assert_int_eq(usage_start(&fresh, schema, &err), RESULT_FOUND);
	wait_for("alice@example.com", "5 2");
	wait_for("heidi@example.com", "7 4");
	usage_note("carol@example.com", 9, 9);
	usage_stop(&settings);
	wait_for("carol@example.com", "9 9");
	usage_stop(&fresh);
	close_all();
}
END_TEST

START_TEST(test_too_many)
{
	open_at(SQLITE);
	settings.quota.publish_interval = 3600000;
	ck_assert_int_eq(usage_start(&settings, schema, &err), RESULT_FOUND);
	usage_note("alice@example.com", 5, 5);
	usage_note("heidi@example.com", 6, 6);
	for (int i = 0; i < 65535; i++) {
		char address[64];

		(void)snprintf(address, sizeof(address), "u%d@example.com", i);
		usage_note(address, i, 1);
	}
	ck_assert_int_eq(metric_now("postern_lmtp_usage_waiting"), 65536);
	ck_assert_int_eq(metric_now("postern_lmtp_usage_dropped_total"), 1);
	usage_stop(&settings);
	ck_assert_str_ne(published("alice@example.com"), "5 5");
	ck_assert_str_eq(published("heidi@example.com"), "6 6");
	ck_assert_int_eq(metric_now("postern_lmtp_usage_waiting"), 0);
	close_all();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("usage");
	TCase *tests = tcase_create("usage");
	SRunner *runner;
	int failed;

	log_set_sink(sink, NULL);
	usage_metrics();
	tcase_add_unchecked_fixture(tests, server_start, server_stop);
	tcase_set_timeout(tests, 120);
	tcase_add_loop_test(tests, test_publish, 0, DATABASES);
	tcase_add_loop_test(tests, test_no_place, 0, 2);
	tcase_add_loop_test(tests, test_no_rights, 0, 2);
	tcase_add_loop_test(tests, test_thread, SQLITE, SQLITE + 1);
	tcase_add_loop_test(tests, test_thread, MYSQL, MYSQL + 1);
	tcase_add_test(tests, test_database_away);
	tcase_add_test(tests, test_one_refused);
	tcase_add_test(tests, test_reload);
	tcase_add_test(tests, test_too_many);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
