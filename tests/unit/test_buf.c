/*
 * test_buf - growing, cutting, the sticky failure, and the wiping of secrets
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

START_TEST(test_append)
{
	struct buf buf = BUF_INIT;

	ck_assert_str_eq(buf_str(&buf), "");
	ck_assert_ptr_null(buf.data);
	buf_append(&buf, "ab\0c", 4);
	buf_puts(&buf, "de");
	buf_putc(&buf, 'f');
	buf_append(&buf, NULL, 0);
	buf_printf(&buf, "%s=%d", "g", 12);
	ck_assert(buf_ok(&buf));
	ck_assert_uint_eq(buf.len, 11);
	ck_assert_mem_eq(buf.data, "ab\0cdefg=12", 12);
	buf_free(&buf);
	ck_assert_ptr_null(buf.data);
	ck_assert_uint_eq(buf.len, 0);
}
END_TEST

/* Byte by byte across every growth, against a plain array. */
START_TEST(test_grow)
{
	struct buf buf = _i == 0 ? BUF_INIT : BUF_SECRET;
	static char expected[5000];

	for (size_t i = 0; i < sizeof(expected); i++) {
		expected[i] = (char)(i * 7);
		buf_putc(&buf, expected[i]);
		ck_assert_uint_eq(buf.len, i + 1);
		ck_assert_int_eq(buf.data[buf.len], '\0');
	}
	ck_assert_mem_eq(buf.data, expected, sizeof(expected));
	buf_free(&buf);
}
END_TEST

START_TEST(test_reserve)
{
	struct buf buf = BUF_INIT;
	char *room = buf_reserve(&buf, 1000);

	ck_assert_ptr_nonnull(room);
	ck_assert_uint_eq(buf.len, 0);
	memset(room, 'x', 1000);
	buf_added(&buf, 3);
	ck_assert_str_eq(buf_str(&buf), "xxx");
	buf_added(&buf, 0);
	ck_assert_uint_eq(buf.len, 3);
	buf_free(&buf);
}
END_TEST

START_TEST(test_cut)
{
	struct buf buf = BUF_INIT;

	buf_consume(&buf, 5);
	buf_truncate(&buf, 0);
	buf_puts(&buf, "0123456789");
	buf_consume(&buf, 3);
	ck_assert_str_eq(buf_str(&buf), "3456789");
	buf_truncate(&buf, 99);
	ck_assert_str_eq(buf_str(&buf), "3456789");
	buf_truncate(&buf, 2);
	ck_assert_str_eq(buf_str(&buf), "34");
	buf_consume(&buf, 99);
	ck_assert_str_eq(buf_str(&buf), "");
	ck_assert_uint_eq(buf.len, 0);
	buf_free(&buf);
}
END_TEST

START_TEST(test_failure_sticks)
{
	struct buf buf = BUF_INIT;

	buf_puts(&buf, "kept");
	ck_assert_ptr_null(buf_reserve(&buf, (size_t)1 << 30));
	ck_assert(!buf_ok(&buf));
	buf_puts(&buf, "ignored");
	buf_printf(&buf, "%d", 1);
	ck_assert_str_eq(buf_str(&buf), "kept");
	ck_assert_ptr_null(buf_take(&buf));
	buf_reset(&buf);
	ck_assert(buf_ok(&buf));
	buf_puts(&buf, "new");
	ck_assert_str_eq(buf_str(&buf), "new");
	ck_assert_ptr_null(buf_reserve(&buf, SIZE_MAX));
	ck_assert(!buf_ok(&buf));
	buf_free(&buf);
	ck_assert(buf_ok(&buf));
}
END_TEST

START_TEST(test_take)
{
	struct buf buf = BUF_INIT;
	char *taken;

	buf_puts(&buf, "mine");
	taken = buf_take(&buf);
	ck_assert_str_eq(taken, "mine");
	free(taken);
	ck_assert_uint_eq(buf.len, 0);
	taken = buf_take(&buf);
	ck_assert_str_eq(taken, "");
	free(taken);
	buf_free(&buf);
}
END_TEST

/* The memory stays ours after a reset, so that it can be looked at. */
START_TEST(test_wipe)
{
	struct buf buf = BUF_SECRET;

	buf_puts(&buf, "a long secret");
	buf_truncate(&buf, 1);
	buf_reset(&buf);
	for (size_t i = 0; i < buf.size; i++)
		ck_assert_int_eq(buf.data[i], 0);
	buf_free(&buf);
	ck_assert(buf.wipe);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("buf");
	TCase *tests = tcase_create("buf");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tests, test_append);
	tcase_add_loop_test(tests, test_grow, 0, 2);
	tcase_add_test(tests, test_reserve);
	tcase_add_test(tests, test_cut);
	tcase_add_test(tests, test_failure_sticks);
	tcase_add_test(tests, test_take);
	tcase_add_test(tests, test_wipe);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
