/*
 * test_deadline - points in time, at their edges
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <limits.h>

#include "common/deadline.h"

START_TEST(test_never)
{
	ck_assert(!deadline_passed(DEADLINE_NEVER));
	ck_assert_int_eq(deadline_left_ms(DEADLINE_NEVER), -1);
	ck_assert_int_eq(deadline_in(INT64_MAX).at_ms, INT64_MAX);
}
END_TEST

START_TEST(test_now)
{
	ck_assert(deadline_passed(deadline_in(0)));
	ck_assert(deadline_passed(deadline_in(-5)));
	ck_assert(deadline_passed(deadline_in(INT64_MIN)));
	ck_assert_int_eq(deadline_left_ms(deadline_in(0)), 0);
}
END_TEST

START_TEST(test_later)
{
	int64_t before = deadline_now_ms();
	struct deadline deadline = deadline_in(600000);
	int left = deadline_left_ms(deadline);

	ck_assert_int_ge(deadline.at_ms, before + 600000);
	ck_assert(!deadline_passed(deadline));
	ck_assert_int_le(left, 600000);
	ck_assert_int_gt(left, 500000);
	ck_assert_int_eq(deadline_left_ms(deadline_in((int64_t)INT_MAX * 4)), INT_MAX);
}
END_TEST

START_TEST(test_min)
{
	struct deadline early = {10}, late = {20};

	ck_assert_int_eq(deadline_min(early, late).at_ms, 10);
	ck_assert_int_eq(deadline_min(late, early).at_ms, 10);
	ck_assert_int_eq(deadline_min(DEADLINE_NEVER, late).at_ms, 20);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("deadline");
	TCase *tests = tcase_create("deadline");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tests, test_never);
	tcase_add_test(tests, test_now);
	tcase_add_test(tests, test_later);
	tcase_add_test(tests, test_min);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
