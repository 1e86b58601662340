/*
 * test_secret - wiping, comparing, random bytes, password files
 */
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

#include "common/secret.h"

static char folder[] = "/tmp/test_secret.XXXXXX";
static char path[64];

static void setup(void)
{
	strcpy(folder, "/tmp/test_secret.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/password", folder);
}

static void teardown(void)
{
	/* Some tests put a folder or nothing there. */
	if (unlink(path) < 0)
		rmdir(path);
	ck_assert_int_eq(rmdir(folder), 0);
}

static void put(const void *data, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

START_TEST(test_wipe)
{
	char bytes[] = "secret";
	char *str = strdup("secret");

	secret_wipe(bytes, 3);
	ck_assert_mem_eq(bytes, "\0\0\0ret", 7);
	secret_wipe(NULL, 0);
	secret_free(&str);
	ck_assert_ptr_null(str);
	secret_free(&str);
}
END_TEST

START_TEST(test_equal)
{
	ck_assert(secret_equal("abc", 3, "abc", 3));
	ck_assert(secret_equal("a\0c", 3, "a\0c", 3));
	ck_assert(!secret_equal("a\0c", 3, "a\0d", 3));
	ck_assert(!secret_equal("abc", 3, "abd", 3));
	ck_assert(!secret_equal("xbc", 3, "abc", 3));
	ck_assert(!secret_equal("abc", 3, "abc", 4));
	ck_assert(!secret_equal("", 0, "a", 1));
	ck_assert(secret_equal("", 0, "", 0));
	ck_assert(secret_equal(NULL, 0, NULL, 0));
}
END_TEST

START_TEST(test_random)
{
	unsigned char a[600] = {0}, b[600] = {0};

	ck_assert(secret_random(a, sizeof(a)));
	ck_assert(secret_random(b, sizeof(b)));
	ck_assert_mem_ne(a, b, sizeof(a));
	ck_assert_mem_ne(a + 584, (unsigned char[16]){0}, 16);
	ck_assert(secret_random(a, 0));
}
END_TEST

START_TEST(test_file)
{
	static const struct {
		const char *contents, *secret;
	} cases[] = {
		{"pass word\n", "pass word"}, {"no newline", "no newline"},
		{"first\nsecond\n", "first"}, {"dos\r\n", "dos"},
		{" blanks \n", " blanks "},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf secret = BUF_SECRET;
		struct error err = {""};

		put(cases[i].contents, strlen(cases[i].contents), 0640);
		ck_assert_msg(secret_read_file(path, &secret, &err) == RESULT_FOUND, "%s",
			      err.text);
		ck_assert_str_eq(buf_str(&secret), cases[i].secret);
		buf_free(&secret);
	}
}
END_TEST

static void refuse(const char *says)
{
	struct buf secret = BUF_SECRET;
	struct error err = {""};

	ck_assert_int_eq(secret_read_file(path, &secret, &err), RESULT_PERM);
	ck_assert_msg(strstr(err.text, path) != NULL, "%s", err.text);
	ck_assert_msg(strstr(err.text, says) != NULL, "%s", err.text);
	ck_assert_uint_eq(secret.len, 0);
	buf_free(&secret);
}

START_TEST(test_file_refused)
{
	static char large[8192];

	refuse("cannot open");
	put("", 0, 0600);
	refuse("empty");
	put("\nsecond\n", 8, 0600);
	refuse("empty");
	put("a\0b\n", 4, 0600);
	refuse("NUL");
	put("secret\n", 7, 0604);
	refuse("others");
	memset(large, 'a', sizeof(large));
	put(large, sizeof(large), 0600);
	refuse("longer");
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	refuse("not a regular file");
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	refuse("not a regular file");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("secret");
	TCase *tests = tcase_create("secret");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, test_wipe);
	tcase_add_test(tests, test_equal);
	tcase_add_test(tests, test_random);
	tcase_add_test(tests, test_file);
	tcase_add_test(tests, test_file_refused);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
