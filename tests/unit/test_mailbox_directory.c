/*
 * test_mailbox_directory - what the database says never leads out of the mail base
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <string.h>

#include "common/accounts.h"

static struct error err;

START_TEST(test_directory)
{
	char base[] = "/var/mail/postern", sub[] = "", maildir[] = "Maildir/", slash[] = "/v/";
	char address[] = "a@b", longer[5000], part[300];
	const struct {
		char *base, *sub;
		const char *path, *directory; /* NULL: refused */
	} table[] = {
		{base, sub, "example.com/alice/", "/var/mail/postern/example.com/alice"},
		{base, sub, "alice", "/var/mail/postern/alice"},
		{base, maildir, "b/a/", "/var/mail/postern/b/a/Maildir"},
		{base, maildir, "b/a", "/var/mail/postern/b/a/Maildir"},
		{slash, sub, "b/a/", "/v/b/a"},
		{base, sub, "/var/mail/postern/b/a/", "/var/mail/postern/b/a"},
		{slash, maildir, "/v/b/a", "/v/b/a/Maildir"},
		{base, sub, "b/...", "/var/mail/postern/b/..."},
		{base, sub, "b/.a..b", "/var/mail/postern/b/.a..b"},
		{base, sub, "b/\xc3\xa9 x", "/var/mail/postern/b/\xc3\xa9 x"},
		{base, sub, "", NULL},
		{base, sub, "/", NULL},
		{base, sub, "//", NULL},
		{base, sub, ".", NULL},
		{base, sub, "./a", NULL},
		{base, sub, "a/.", NULL},
		{base, sub, "a/./", NULL},
		{base, sub, "..", NULL},
		{base, sub, "../x", NULL},
		{base, sub, "a/../../x", NULL},
		{base, sub, "a/..", NULL},
		{base, sub, "a/../", NULL},
		{base, sub, "a//b", NULL},
		{base, sub, "a//", NULL},
		{base, sub, "/etc/passwd", NULL},
		{base, sub, "/var/mail/postern", NULL},
		{base, sub, "/var/mail/postern/", NULL},
		{base, sub, "/var/mail/postern/../x", NULL},
		{base, sub, "/var/mail/postern//a", NULL},
		{base, sub, "/var/mail/posternx/a", NULL},
		{base, sub, "mdbox:b/a", NULL},
		{base, sub, "mbox:", NULL},
		{base, sub, "b/mdbox:a", "/var/mail/postern/b/mdbox:a"},
		{base, sub, "~/Maildir", NULL},
		{base, sub, "~", NULL},
		{base, sub, "~a/b", "/var/mail/postern/~a/b"},
		{base, sub, "a\nb", NULL},
		{base, sub, "a/\x7f", NULL},
		{base, sub, "a/\x01", NULL},
		{base, sub, longer, NULL},
		{base, sub, part, NULL},
	};

	for (size_t i = 0; i < sizeof longer - 1; i++)
		longer[i] = i % 2 == 0 ? 'a' : '/';
	longer[sizeof longer - 1] = '\0';
	memset(part, 'a', sizeof part - 1);
	part[sizeof part - 1] = '\0';
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct settings s = {.mail = {.base = table[i].base, .subdirectory = table[i].sub}};
		struct mailbox mailbox = {.address = address, .path = (char *)table[i].path};
		struct buf directory = BUF_INIT;
		enum result result = mailbox_directory(&s, &mailbox, &directory, &err);
		ck_assert_msg(result == (table[i].directory ? RESULT_FOUND : RESULT_PERM), "%s",
			      table[i].path);
		ck_assert_str_eq(buf_str(&directory), table[i].directory ? table[i].directory : "");
		if (result == RESULT_PERM)
			ck_assert_ptr_nonnull(strstr(err.text, "a@b"));
		buf_free(&directory);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mailbox_directory");
	TCase *tests = tcase_create("mailbox_directory");
	SRunner *runner;
	int failed;

	tcase_add_test(tests, test_directory);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
