/*
 * test_result - names, and texts that are one line whatever goes in
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <string.h>

#include "common/result.h"

START_TEST(test_names)
{
	ck_assert_str_eq(result_name(RESULT_FOUND), "found");
	ck_assert_str_eq(result_name(RESULT_NONE), "none");
	ck_assert_str_eq(result_name(RESULT_TEMP), "temp");
	ck_assert_str_eq(result_name(RESULT_PERM), "perm");
}
END_TEST

START_TEST(test_set)
{
	struct error err;

	error_set(&err, "%s: %d", "host", 7);
	ck_assert_str_eq(err.text, "host: 7");
	error_set(&err, "again: %s", err.text);
	ck_assert_str_eq(err.text, "again: host: 7");
	error_set(&err, "%s", "two\nlines\r\n");
	ck_assert_str_eq(err.text, "two lines  ");
	error_set(NULL, "%d", 1);
}
END_TEST

START_TEST(test_prefix)
{
	struct error err;

	error_set(&err, "no such column");
	error_prefix(&err, "%s", "mail.sqlite");
	error_prefix(&err, "section [%s]", "database");
	ck_assert_str_eq(err.text, "section [database]: mail.sqlite: no such column");
	error_prefix(NULL, "%d", 1);
}
END_TEST

START_TEST(test_result_error)
{
	struct error err;

	ck_assert_int_eq(result_error(&err, RESULT_TEMP, "%s", "gone"), RESULT_TEMP);
	ck_assert_str_eq(err.text, "gone");
	ck_assert_int_eq(result_error(NULL, RESULT_PERM, "x"), RESULT_PERM);
}
END_TEST

START_TEST(test_long)
{
	char text[4096];
	struct error err;

	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	error_set(&err, "%s", text);
	ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
	error_prefix(&err, "%s", text);
	ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
	error_set(&err, "b");
	error_prefix(&err, "%s", text);
	ck_assert_uint_eq(strlen(err.text), sizeof(err.text) - 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("result");
	TCase *tests = tcase_create("result");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tests, test_names);
	tcase_add_test(tests, test_set);
	tcase_add_test(tests, test_prefix);
	tcase_add_test(tests, test_result_error);
	tcase_add_test(tests, test_long);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
