/*
 * test_quota - maildirsize: reading, trusting, recounting, appending
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/quota_rig.h"

static struct quota_rules rules; /* of the last check() */

/* As a delivery of BYTES does, which then adds nothing. */
static enum result check(struct quota *quota, int64_t bytes)
{
	struct quota_entry entry;
	enum result result;

	rules = (struct quota_rules){.limit_bytes = quota->limit_bytes,
				     .limit_messages = quota->limit_messages,
				     .lock_timeout_ms = 60000};
	result = quota_enter(top_fd, &rules, bytes, &entry, &err);
	if (result != RESULT_FOUND)
		return result;
	*quota = entry.quota;
	return quota_leave(&entry, 0, 0, &err);
}

static enum result change(int64_t bytes, int64_t messages)
{
	struct quota_entry entry;
	enum result result = quota_enter(top_fd, &rules, 0, &entry, &err);

	return result == RESULT_FOUND ? quota_leave(&entry, bytes, messages, &err) : result;
}

/* Leaves a lock file that says that all is in order. */
static void setup(void)
{
	struct quota quota = {.limit_bytes = 1};

	maildir_make();
	ck_assert_int_eq(check(&quota, 0), RESULT_FOUND);
	ck_assert_int_eq(unlinkat(top_fd, "maildirsize", 0), 0);
	err.text[0] = '\0';
}

/* Makes maildirsize look recounted that many seconds ago. */
static void age(const char *name, int seconds)
{
	struct timespec times[2] = {{time(NULL) - seconds, 0}, {time(NULL) - seconds, 0}};

	ck_assert_int_eq(utimensat(top_fd, name, times, 0), 0);
}

static struct quota limits(int64_t bytes, int64_t messages)
{
	return (struct quota){.limit_bytes = bytes, .limit_messages = messages};
}

/* Every kind of file a Maildir holds: 1000 + 200 + 30 + 4 bytes, five messages. */
static void fill(void)
{
	ck_assert_int_eq(mkdirat(top_fd, ".lists.a", 0700), 0);
	ck_assert_int_eq(mkdirat(top_fd, ".lists.a/cur", 0700), 0);
	ck_assert_int_eq(mkdirat(top_fd, ".Trash", 0700), 0);
	ck_assert_int_eq(mkdirat(top_fd, ".Trash/new", 0700), 0);
	ck_assert_int_eq(mkdirat(top_fd, ".nofolder", 0700), 0);
	ck_assert_int_eq(mkdirat(top_fd, "other", 0700), 0);
	ck_assert_int_eq(mkdirat(top_fd, "other/new", 0700), 0);
	put("new/1.a.host,S=1000,W=1020", "x");
	put("cur/2.b.host,S=200:2,ST", "x");
	put("cur/3.c.host,S=7:2,S", "x");                            /* its S= says 7 */
	put("cur/5.e,S=junk:2,", "yyyyyyy");                         /* no number: the file's 7 */
	put(".lists.a/cur/4.d.host:2,S=9", "123456789012345678901"); /* flags are no S=: 21 */
	put(".Trash/new/6.f.host", "1234");
	put("new/.hidden", "xxxxxxxxxx");
	put("tmp/7.g,S=5000", "x");
	put("other/new/8.h,S=5000", "x");
	put(".dovecot.sieve", "keep;");
}

#define FILL_BYTES    (1000 + 200 + 7 + 7 + 21 + 4)
#define FILL_MESSAGES 6

START_TEST(test_recount_when_missing)
{
	struct quota quota = limits(100000, 50);

	fill();
	ck_assert_int_eq(quota_peek(top_fd, &quota, &err), RESULT_NONE);
	ck_assert_ptr_null(get("maildirsize"));
	put("tmp/maildirsize.new", "left by somebody who died");
	ck_assert_msg(check(&quota, 0) == RESULT_FOUND, "%s", err.text);
	ck_assert_int_eq(quota.used_bytes, FILL_BYTES);
	ck_assert_int_eq(quota.used_messages, FILL_MESSAGES);
	ck_assert_str_eq(get("maildirsize"), "100000S,50C\n        1239            6\n");
	quota.used_bytes = 0;
	ck_assert_int_eq(quota_peek(top_fd, &quota, &err), RESULT_FOUND);
	ck_assert_int_eq(quota.used_bytes, FILL_BYTES);
	ck_assert_int_eq(unlinkat(top_fd, "tmp/7.g,S=5000", 0), 0);
	ck_assert_int_eq(unlinkat(top_fd, "tmp", AT_REMOVEDIR), 0); /* nothing of ours is left */
}
END_TEST

START_TEST(test_header)
{
	static const struct {
		int64_t bytes, messages;
		const char *line;
	} rows[] = {{1000, 0, "1000S\n"}, {0, 7, "7C\n"}, {1000, 7, "1000S,7C\n"}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct quota quota = limits(rows[i].bytes, rows[i].messages);

		ck_assert_int_eq(check(&quota, 0), RESULT_FOUND);
		ck_assert_int_eq(strncmp(get("maildirsize"), rows[i].line, strlen(rows[i].line)),
				 0);
	}
}
END_TEST

/* Files that are believed as they stand. */
START_TEST(test_trusted)
{
	static const struct {
		const char *text;
		int64_t bytes, messages;
	} rows[] = {
		{"1000S,7C\n", 0, 0},
		{"7C,1000S\n10 1\n", 10, 1},
		{"1000S,7C,5X\n10 1\n", 10, 1},
		{"1000S,7C\n          10            1\n20 1\n-5 -1\n", 25, 1},
		{"1000S,7C\n10 1 \n20 1\r\n", 30, 2},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct quota quota = limits(1000, 7);

		put("maildirsize", rows[i].text);
		ck_assert_int_eq(check(&quota, 0), RESULT_FOUND);
		ck_assert_msg(quota.used_bytes == rows[i].bytes &&
				      quota.used_messages == rows[i].messages,
			      "row %zu: %lld %lld", i, (long long)quota.used_bytes,
			      (long long)quota.used_messages);
		ck_assert_str_eq(get("maildirsize"), rows[i].text);
	}
}
END_TEST

/* Files that are not: peek says NONE and leaves them, read recounts. */
START_TEST(test_not_trusted)
{
	static const char *const rows[] = {
		"",
		"\n",
		"1000S,7C",
		"1000S,8C\n10 1\n",
		"1000S\n10 1\n",
		"1001S,7C\n10 1\n",
		"junk\n10 1\n",
		"1000S,,7C\n10 1\n",
		"-1000S,7C\n10 1\n",
		"99999999999999999999S,7C\n10 1\n",
		"1000S,7C\n10\n",
		"1000S,7C\n10 1\n20 1", /* torn */
		"1000S,7C\n10 1\n20 130 1\nx\n",
		"1000S,7C\n10 1 2\n",
		"1000S,7C\n10 -1\n",
		"1000S,7C\n-10 1\n",
		"1000S,7C\n9223372036854775807 1\n1 1\n",
		"1000S,7C\n99999999999999999999 1\n",
		"1000S,7C\n\n10 1\n",
	};
	char big[6000] = "1000S,7C\n00010 1\n00000 0\n"; /* and then just 5,120 bytes */

	fill();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) + 1; i++) {
		const char *text = i < sizeof(rows) / sizeof(rows[0]) ? rows[i] : big;
		struct quota quota = limits(1000, 7);

		while (text == big && strlen(big) < 5120)
			(void)strcat(big, "0 00\n");
		put("maildirsize", text);
		ck_assert_msg(quota_peek(top_fd, &quota, &err) == RESULT_NONE, "row %zu", i);
		ck_assert_str_eq(get("maildirsize"), text);
		ck_assert_int_eq(check(&quota, 0), RESULT_FOUND);
		ck_assert_msg(quota.used_bytes == FILL_BYTES &&
				      quota.used_messages == FILL_MESSAGES,
			      "row %zu: %lld", i, (long long)quota.used_bytes);
		ck_assert_int_eq(quota_peek(top_fd, &quota, &err), RESULT_FOUND);
	}
	/* A NUL in the middle. */
	put("maildirsize", "1000S,7C\n10 1\nX10 1\n");
	{
		int fd = openat(top_fd, "maildirsize", O_WRONLY);
		struct quota quota = limits(1000, 7);

		ck_assert_int_eq(pwrite(fd, "", 1, 14), 1);
		(void)close(fd);
		ck_assert_int_eq(quota_peek(top_fd, &quota, &err), RESULT_NONE);
	}
}
END_TEST

START_TEST(test_add)
{
	struct quota quota = limits(1000, 0);
	struct quota_entry entry;

	ck_assert_int_eq(check(&quota, 0), RESULT_FOUND);
	ck_assert_int_eq(quota_enter(top_fd, &rules, 5, &entry, &err), RESULT_FOUND);
	ck_assert_int_eq(unlinkat(top_fd, "maildirsize", 0), 0);
	ck_assert_int_eq(quota_leave(&entry, 5, 1, &err), RESULT_FOUND);
	ck_assert_ptr_null(get("maildirsize")); /* not made: it would claim an empty Maildir */
	ck_assert_int_eq(check(&quota, 0), RESULT_FOUND);
	ck_assert_int_eq(change(123, 1), RESULT_FOUND);
	ck_assert_int_eq(change(-23, -1), RESULT_FOUND);
	ck_assert_str_eq(get("maildirsize"), "1000S\n           0            0\n123 1\n-23 -1\n");
	ck_assert_int_eq(check(&quota, 0), RESULT_FOUND);
	ck_assert_int_eq(quota.used_bytes, 100);
	ck_assert_int_eq(quota.used_messages, 0);
}
END_TEST

/* "Full" is believed from a fresh recount only. */
START_TEST(test_check)
{
	struct quota quota = limits(1000, 0);

	put("new/1,S=600", "x");
	put("maildirsize", "1000S\n900 1\n");
	ck_assert_int_eq(check(&quota, 50), RESULT_FOUND);
	ck_assert_int_eq(quota.used_bytes, 900); /* fits: no recount */
	ck_assert_int_eq(check(&quota, 200), RESULT_FOUND);
	ck_assert_int_eq(quota.used_bytes, 900); /* does not fit, but is fresh */
	age("maildirsize", 20 * 60);
	ck_assert_int_eq(check(&quota, 50), RESULT_FOUND);
	ck_assert_int_eq(quota.used_bytes, 900);
	ck_assert_int_eq(check(&quota, 200), RESULT_FOUND);
	ck_assert_int_eq(quota.used_bytes, 600);
	put("maildirsize", "1000S\n400 1\n500 1\n");
	ck_assert_int_eq(check(&quota, 200), RESULT_FOUND);
	ck_assert_int_eq(quota.used_bytes, 600); /* appended to since: counted */
	ck_assert_int_eq(check(&quota, 500), RESULT_FOUND);
	ck_assert_int_eq(quota.used_bytes, 600);
	ck_assert(!quota_fits(&quota, 500));
}
END_TEST

START_TEST(test_fits)
{
	static const struct {
		struct quota quota;
		int64_t bytes;
		bool fits;
	} rows[] = {
		{{1000, 0, 900, 5}, 100, true},
		{{1000, 0, 900, 5}, 101, false},
		{{1000, 0, 1000, 5}, 0, true},
		{{0, 0, 1LL << 60, 1LL << 60}, 1, true},
		{{0, 3, 999, 2}, 999, true},
		{{0, 3, 0, 3}, 0, false},
		{{1000, 3, 0, 3}, 0, false},
		{{1000, 3, 2000, 0}, 1, false},
		{{INT64_MAX, 0, INT64_MAX, 0}, 1, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_msg(quota_fits(&rows[i].quota, rows[i].bytes) == rows[i].fits, "row %zu",
			      i);
}
END_TEST

/* What lies in the file's place is never followed, waited for or overwritten. */
START_TEST(test_planted)
{
	struct quota quota = limits(1000, 0);

	put("secret", "1000S\n10 1\n");
	ck_assert_int_eq(symlinkat("secret", top_fd, "maildirsize"), 0);
	ck_assert_int_eq(check(&quota, 0), RESULT_TEMP);
	ck_assert_int_eq(quota_peek(top_fd, &quota, &err), RESULT_TEMP);
	ck_assert_int_eq(change(1, 1), RESULT_TEMP);
	ck_assert_ptr_nonnull(strstr(err.text, "maildirsize"));
	ck_assert_str_eq(get("secret"), "1000S\n10 1\n");
	ck_assert_int_eq(unlinkat(top_fd, "maildirsize", 0), 0);
	ck_assert_int_eq(mkfifoat(top_fd, "maildirsize", 0600), 0);
	ck_assert_int_eq(check(&quota, 0), RESULT_TEMP);
	ck_assert_ptr_nonnull(strstr(err.text, "not a regular file"));
	ck_assert_int_eq(change(1, 1), RESULT_TEMP);
	ck_assert_int_eq(unlinkat(top_fd, "maildirsize", 0), 0);
	/* A folder that leads outside does not count. */
	put("new/1,S=10", "x");
	ck_assert_int_eq(symlinkat(".", top_fd, ".again"), 0);
	ck_assert_int_eq(check(&quota, 0), RESULT_FOUND);
	ck_assert_int_eq(quota.used_bytes, 10);
}
END_TEST

START_TEST(test_cannot_write)
{
	struct quota quota = limits(1000, 0);

	ck_assert_int_eq(unlinkat(top_fd, "tmp", AT_REMOVEDIR), 0);
	ck_assert_int_eq(check(&quota, 0), RESULT_TEMP);
	ck_assert_ptr_nonnull(strstr(err.text, "No such file"));
}
END_TEST

/* Appends are single writes: many at once lose nothing. */
START_TEST(test_parallel_adds)
{
	struct quota quota = limits(1000000, 0);
	pid_t pids[8];

	ck_assert_int_eq(check(&quota, 0), RESULT_FOUND);
	for (size_t i = 0; i < 8; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			for (int n = 0; n < 50; n++)
				if (change(100 + n, 1) != RESULT_FOUND)
					_exit(1);
			_exit(0);
		}
	}
	for (size_t i = 0; i < 8; i++) {
		int status;

		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert_int_eq(status, 0);
	}
	ck_assert_int_eq(quota_peek(top_fd, &quota, &err), RESULT_FOUND);
	ck_assert_int_eq(quota.used_messages, 400);
	ck_assert_int_eq(quota.used_bytes, 8 * (50 * 100 + 49 * 50 / 2));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("quota");
	TCase *tests = tcase_create("quota");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, maildir_remove);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, test_recount_when_missing);
	tcase_add_test(tests, test_header);
	tcase_add_test(tests, test_trusted);
	tcase_add_test(tests, test_not_trusted);
	tcase_add_test(tests, test_add);
	tcase_add_test(tests, test_check);
	tcase_add_test(tests, test_fits);
	tcase_add_test(tests, test_planted);
	tcase_add_test(tests, test_cannot_write);
	tcase_add_test(tests, test_parallel_adds);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
