/* Full mailboxes against a real SQLite database, and a fake one that fails. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/sql.h"
#include "policyd/mailbox_quota.h"
#include "tests/unit/database.h"

#define MIB (1024 * 1024)

static char database[128];
static struct settings settings;
static struct schema *schema;
static struct accounts *accounts;

static void make_folder(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", test_folder(), name);
	ck_assert_int_eq(mkdir(path, 0700), 0);
}

static const char rows[] =
	"INSERT INTO domain (domain, description, transport) VALUES ('example.com', '', ''), "
	"('example.org', '', ''), ('closed.test', '', '');"
	"UPDATE domain SET active = 0 WHERE domain = 'closed.test';"
	"INSERT INTO alias_domain (alias_domain, target_domain) VALUES ('example.net', "
	"'example.com');"
	"INSERT INTO mailbox (username, password, name, maildir, quota, local_part, domain) VALUES "
	"('alice@example.com', 'x', '', 'example.com/alice/', 1048576, 'alice', 'example.com'), "
	"('heidi@example.com', 'x', '', 'example.com/heidi/', 0, 'heidi', 'example.com'), "
	"('mail@example.com', 'x', '', 'example.com/mail/', 1000, 'mail', 'example.com'), "
	"('off@example.com', 'x', '', 'example.com/off/', 1000, 'off', 'example.com'), "
	"('dave@closed.test', 'x', '', 'closed.test/dave/', 1000, 'dave', 'closed.test');"
	"UPDATE mailbox SET active = 0 WHERE username = 'off@example.com';"
	"INSERT INTO alias (address, goto, domain) VALUES "
	"('alice@example.com', 'alice@example.com', 'example.com'), "
	"('sales@example.com', 'alice@example.com', 'example.com'), "
	"('c1@example.com', 'c2@example.com', 'example.com'), "
	"('c2@example.com', 'Alice+Deep@example.com', 'example.com'), "
	"('both@example.com', 'alice@example.com, heidi@example.com', 'example.com'), "
	"('loop1@example.com', 'loop2@example.com', 'example.com'), "
	"('loop2@example.com', 'loop1@example.com', 'example.com'), "
	"('ext@example.com', 'someone@remote.test', 'example.com'), "
	"('root@example.com', 'root', 'example.com'), "
	"('cmd@example.com', '|/bin/true', 'example.com'), "
	"('@example.org', 'alice@example.com', 'example.org');"
	"INSERT INTO quota2 (username, bytes, messages) VALUES ('alice@example.com', 1048576, 3), "
	"('heidi@example.com', 99999999, 3), ('off@example.com', 99999, 1), "
	"('dave@closed.test', 99999, 1);";

static void open_accounts(const char *extra)
{
	char path[256], text[1024];
	struct error err = {""};

	snprintf(text, sizeof(text),
		 "[database]\npath = %s\n[mail]\nbase = %s/mail\n[policy]\n%s\n", database,
		 test_folder(), extra);
	snprintf(path, sizeof(path), "%s/postern.ini", test_folder());
	test_write_file(path, text);
	ck_assert_msg(settings_load(path, &settings, NULL, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_msg(schema_load("postfixadmin", &schema, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_msg(accounts_open(&settings, schema, &accounts, &err) == RESULT_FOUND, "%s",
		      err.text);
}

static void setup(void)
{
	snprintf(database, sizeof(database), "%s/mail.sqlite", test_folder());
	sqlite_make(database);
	sqlite_run(database, rows);
	make_folder("mail");
	open_accounts("");
}

static void teardown(void)
{
	accounts_free(&accounts);
	schema_free(&schema);
	settings_free(&settings);
	test_cleanup();
}

static enum result check(const char *recipient, int64_t size)
{
	struct mailbox_quota quota;
	struct error err = {""};

	return mailbox_quota_check(accounts, &settings, recipient, strlen(recipient), size, &quota,
				   &err);
}

START_TEST(full_by_every_way)
{
	ck_assert_int_eq(check("alice@example.com", 0), RESULT_FOUND);
	ck_assert_int_eq(check("Alice+Tag@EXAMPLE.com", 0), RESULT_FOUND);
	ck_assert_int_eq(check("alice@example.net", 1), RESULT_FOUND);
	ck_assert_int_eq(check("sales@example.com", 1), RESULT_FOUND);
	ck_assert_int_eq(check("c1+x@example.com", 1), RESULT_FOUND);
	ck_assert_int_eq(check("anybody@example.org", 1), RESULT_FOUND);
}
END_TEST

START_TEST(not_ours_to_refuse)
{
	static const char *const recipients[] = {
		"heidi@example.com",  "both@example.com",
		"loop1@example.com",  "ext@example.com",
		"root@example.com",   "nobody@example.com",
		"someone@other.test", "off@example.com",
		"dave@closed.test",   "alice",
		"@example.com",       "",
		"a b@example.com",    "\xff@example.com",
	};

	for (size_t i = 0; i < sizeof(recipients) / sizeof(*recipients); i++)
		ck_assert_msg(check(recipients[i], 1000000000) == RESULT_NONE, "%s", recipients[i]);
	/* A row that nobody should follow is somebody's business, but no reason to refuse. */
	ck_assert_int_eq(check("cmd@example.com", 1), RESULT_PERM);
}
END_TEST

START_TEST(boundary_and_numbers)
{
	struct mailbox_quota quota;
	struct error err = {""};

	sqlite_run(database,
		   "UPDATE quota2 SET bytes = 1048000 WHERE username = 'alice@example.com'");
	ck_assert_int_eq(check("alice@example.com", 576), RESULT_NONE);
	ck_assert_int_eq(mailbox_quota_check(accounts, &settings, "sales@example.com", 17, 577,
					     &quota, &err),
			 RESULT_FOUND);
	ck_assert_str_eq(quota.mailbox, "alice@example.com");
	ck_assert_int_eq(quota.used.bytes, 1048000);
	ck_assert_int_eq(quota.limit_bytes, MIB);
	ck_assert_int_eq(check("alice@example.com", INT64_MAX), RESULT_FOUND);
	sqlite_run(database,
		   "UPDATE quota2 SET bytes = 1048576 WHERE username = 'alice@example.com'");
	ck_assert_int_eq(check("alice@example.com", 0), RESULT_FOUND);
}
END_TEST

START_TEST(grace)
{
	accounts_free(&accounts);
	schema_free(&schema);
	settings_free(&settings);
	open_accounts("quota_grace = 1K");
	ck_assert_int_eq(check("alice@example.com", 1024), RESULT_NONE);
	ck_assert_int_eq(check("alice@example.com", 1025), RESULT_FOUND);
}
END_TEST

START_TEST(usage_from_the_maildir)
{
	char path[256];

	/* Not published in the database, no Maildir: unknown. */
	ck_assert_int_eq(check("mail@example.com", 100000), RESULT_NONE);
	make_folder("mail/example.com");
	make_folder("mail/example.com/mail");
	make_folder("mail/example.com/mail/tmp");
	make_folder("mail/example.com/mail/new");
	make_folder("mail/example.com/mail/cur");
	snprintf(path, sizeof(path), "%s/mail/example.com/mail/maildirsize", test_folder());
	test_write_file(path, "1000S\n900 1\n");
	ck_assert_int_eq(check("mail@example.com", 100), RESULT_NONE);
	ck_assert_int_eq(check("mail@example.com", 101), RESULT_FOUND);
	/* Nobody wrote it for long: delivery must come through and count anew. */
	ck_assert_int_eq(utimensat(AT_FDCWD, path, (struct timespec[2]){{1000, 0}, {1000, 0}}, 0),
			 0);
	ck_assert_int_eq(check("mail@example.com", 101), RESULT_NONE);
	test_write_file(path, "rubbish\n");
	ck_assert_int_eq(check("mail@example.com", 100000), RESULT_NONE);
}
END_TEST

START_TEST(database_away)
{
	accounts_free(&accounts);
	ck_assert_int_eq(unlink(database), 0);
	{
		struct error err;
		ck_assert_int_eq(accounts_open(&settings, schema, &accounts, &err), RESULT_FOUND);
	}
	ck_assert_int_eq(check("alice@example.com", 1), RESULT_TEMP);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mailbox_quota");
	TCase *tests = tcase_create("mailbox_quota");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, full_by_every_way);
	tcase_add_test(tests, not_ours_to_refuse);
	tcase_add_test(tests, boundary_and_numbers);
	tcase_add_test(tests, grace);
	tcase_add_test(tests, usage_from_the_maildir);
	tcase_add_test(tests, database_away);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
