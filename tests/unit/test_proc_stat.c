/*
 * test_proc_stat - fields of a process with an odd name, of one that has ended, of none
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/proc_stat.h"

#define PARENT  4
#define EXITING 0x4 /* PF_EXITING */

START_TEST(test_odd_name)
{
	int64_t value;

	ck_assert_int_eq(prctl(PR_SET_NAME, "a) 7 (b c"), 0);
	ck_assert(proc_stat_field(getpid(), PARENT, &value));
	ck_assert_int_eq(value, getppid());
	ck_assert(proc_stat_field(getpid(), PROC_STAT_FLAGS, &value));
	ck_assert_int_eq(value & EXITING, 0);
	ck_assert(proc_stat_field(getpid(), PROC_STAT_PROCESSOR, &value));
	ck_assert_int_ge(value, 0);
	ck_assert_int_lt(value, sysconf(_SC_NPROCESSORS_CONF));
}
END_TEST

START_TEST(test_ended)
{
	siginfo_t info;
	int64_t value;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	ck_assert(proc_stat_field(pid, PROC_STAT_FLAGS, &value));
	ck_assert_int_ne(value & EXITING, 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert(!proc_stat_field(pid, PROC_STAT_FLAGS, &value));
}
END_TEST

START_TEST(test_no_such_field)
{
	int64_t value;

	ck_assert(!proc_stat_field(getpid(), 1000, &value));
	ck_assert(!proc_stat_field(0, PARENT, &value));
	/* The state is a letter. */
	ck_assert(!proc_stat_field(getpid(), 3, &value));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("proc_stat");
	TCase *tcase = tcase_create("proc_stat");
	SRunner *runner;
	int failed;

	tcase_add_test(tcase, test_odd_name);
	tcase_add_test(tcase, test_ended);
	tcase_add_test(tcase, test_no_such_field);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
