/*
 * test_log - levels, printable lines whatever comes in, repeat suppression
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

static char seen[4096];
static enum log_level seen_level;
static _Atomic unsigned seen_count;

static void sink(void *context, enum log_level level, const char *line)
{
	ck_assert_ptr_eq(context, seen);
	seen_level = level;
	ck_assert_uint_lt(strlen(line), 2048);
	snprintf(seen, sizeof(seen), "%s", line);
	seen_count++;
	errno = EIO;
}

static void setup(void)
{
	seen[0] = '\0';
	seen_count = 0;
	log_set_level(LOG_LEVEL_INFO);
	log_set_sink(sink, seen);
}

START_TEST(test_levels)
{
	ck_assert(log_enabled(LOG_LEVEL_INFO));
	ck_assert(!log_enabled(LOG_LEVEL_DEBUG));
	log_debug("no");
	ck_assert_uint_eq(seen_count, 0);
	log_info("n=%d", 1);
	ck_assert_str_eq(seen, "n=1");
	ck_assert_int_eq(seen_level, LOG_LEVEL_INFO);
	log_set_level(LOG_LEVEL_ERROR);
	log_warning("no");
	ck_assert_uint_eq(seen_count, 1);
	log_error("yes");
	ck_assert_uint_eq(seen_count, 2);
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("yes");
	ck_assert_int_eq(seen_level, LOG_LEVEL_DEBUG);
	ck_assert_str_eq(log_level_name(LOG_LEVEL_ERROR), "error");
	ck_assert_str_eq(log_level_name(LOG_LEVEL_WARNING), "warning");
	ck_assert_str_eq(log_level_name(LOG_LEVEL_INFO), "info");
	ck_assert_str_eq(log_level_name(LOG_LEVEL_DEBUG), "debug");
}
END_TEST

START_TEST(test_printable)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"plain <text>", "plain <text>"},
		{"a\nb\r\tc\x1b[1m\x7f", "a?b??c?[1m?"},
		{"m\xc3\xbcller \xe6\x97\xa5 \xf0\x9f\x93\xa7",
		 "m\xc3\xbcller \xe6\x97\xa5 \xf0\x9f\x93\xa7"},
		{"\xff\xfe", "??"},
		{"cut \xe6\x97", "cut ??"},
		{"c1 \xc2\x85 sep \xe2\x80\xa8", "c1 ? sep ?"},
		{"overlong \xc0\xaf surrogate \xed\xa0\x80", "overlong ?? surrogate ???"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		log_info("%s", cases[i].in);
		ck_assert_str_eq(seen, cases[i].out);
	}
}
END_TEST

START_TEST(test_long)
{
	static char text[10000];

	memset(text, 'a', sizeof(text) - 1);
	log_info("%s", text);
	ck_assert_uint_eq(strlen(seen), 2047);
}
END_TEST

START_TEST(test_errno)
{
	errno = ENOENT;
	log_info("x");
	ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(test_limited)
{
	struct log_limit limit = {.interval_ms = 3600000};
	static char text[10000];

	for (int i = 0; i < 5; i++)
		log_limited(&limit, LOG_LEVEL_WARNING, "down %d", i);
	ck_assert_uint_eq(seen_count, 1);
	ck_assert_str_eq(seen, "down 0");
	limit.next_ms = 1; /* an hour later */
	memset(text, 'a', sizeof(text) - 1);
	log_limited(&limit, LOG_LEVEL_WARNING, "%s", text);
	ck_assert_uint_eq(seen_count, 2);
	ck_assert_str_eq(seen + strlen(seen) - 13, " suppressed=4");
	limit.next_ms = 1;
	log_limited(&limit, LOG_LEVEL_WARNING, "up");
	ck_assert_str_eq(seen, "up");
	log_limited(&limit, LOG_LEVEL_DEBUG, "not counted");
	ck_assert_uint_eq(limit.suppressed, 0);
}
END_TEST

static void count_only(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)level;
	(void)line;
	seen_count++;
}

static void *repeat(void *context)
{
	for (int i = 0; i < 1000; i++)
		log_limited(context, LOG_LEVEL_ERROR, "x");
	return NULL;
}

START_TEST(test_limited_threads)
{
	struct log_limit limit = {.interval_ms = 3600000};
	pthread_t threads[4];

	log_set_sink(count_only, NULL);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, repeat, &limit), 0);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(seen_count, 1);
	/* A loser of the first race may have been counted before the winner took the number. */
	ck_assert_uint_ge(limit.suppressed, 3996);
}
END_TEST

START_TEST(test_stderr)
{
	char text[64] = "";
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO);

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(saved, 0);
	log_set_sink(NULL, NULL);
	ck_assert_int_ge(dup2(fileno(file), STDERR_FILENO), 0);
	log_error("to %s", "stderr");
	ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
	close(saved);
	rewind(file);
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
	ck_assert_str_eq(text, "error: to stderr\n");
	fclose(file);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");
	TCase *tests = tcase_create("log");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, test_levels);
	tcase_add_test(tests, test_printable);
	tcase_add_test(tests, test_long);
	tcase_add_test(tests, test_errno);
	tcase_add_test(tests, test_limited);
	tcase_add_test(tests, test_limited_threads);
	tcase_add_test(tests, test_stderr);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
