/*
 * test_quota_lock - changes under the lock: many at once never pass a limit, and whoever dies in
 * between leaves no wrong usage behind
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/deadline.h"
#include "common/quota_count.h"
#include "tests/unit/quota_rig.h"

#define LOCK      "maildirsize.lock"
#define THREADS   64
#define PROCESSES 8

static struct quota_rules rules(int64_t bytes, int64_t messages)
{
	return (struct quota_rules){
		.limit_bytes = bytes, .limit_messages = messages, .lock_timeout_ms = 60000};
}

static struct quota counted(bool skip_trash)
{
	struct quota quota = {0};
	struct timespec newest;

	ck_assert_int_eq(quota_count(top_fd, skip_trash, &quota, &newest), 0);
	return quota;
}

/* A message as a delivery makes it: nameless (here in tmp/) until its turn, then linked. */
static _Atomic unsigned serial;

static bool make_message(char *name, size_t size, int64_t bytes)
{
	int fd;

	(void)snprintf(name, size, "%ld.%u.host,S=%lld", (long)getpid(),
		       atomic_fetch_add(&serial, 1), (long long)bytes);
	fd = openat(top_fd, "tmp", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return false;
	int file = openat(fd, name, O_CREAT | O_EXCL | O_WRONLY, 0600);
	(void)close(fd);
	if (file < 0 || ftruncate(file, bytes) != 0)
		return false;
	return close(file) == 0;
}

static bool link_message(const char *name)
{
	char from[128], to[128];

	(void)snprintf(from, sizeof(from), "tmp/%s", name);
	(void)snprintf(to, sizeof(to), "new/%s", name);
	return linkat(top_fd, from, top_fd, to, 0) == 0 && unlinkat(top_fd, from, 0) == 0;
}

/* 1: delivered; 0: it does not fit; -1: something is wrong. */
static int deliver(const struct quota_rules *wanted, int64_t bytes)
{
	struct quota_entry entry;
	struct error why;
	char name[96];
	int done = 0;

	if (!make_message(name, sizeof(name), bytes) ||
	    quota_enter(top_fd, wanted, bytes, &entry, &why) != RESULT_FOUND)
		return -1;
	if (quota_fits(&entry.quota, bytes))
		done = link_message(name) ? 1 : -1;
	if (quota_leave(&entry, done == 1 ? bytes : 0, done == 1, &why) != RESULT_FOUND)
		return -1;
	return done;
}

static struct quota_rules load; /* of the threads */
static _Atomic int delivered, failed;

static void *deliver_some(void *argument)
{
	for (int i = 0; i < 5; i++) {
		int done = deliver(&load, 1 + (*(const int *)argument * 7 + i * 3) % 40);

		if (done > 0)
			atomic_fetch_add(&delivered, 1);
		else if (done < 0)
			atomic_fetch_add(&failed, 1);
	}
	return NULL;
}

static void run_threads(void)
{
	pthread_t threads[THREADS];
	int numbers[THREADS];

	for (int i = 0; i < THREADS; i++) {
		numbers[i] = i;
		if (pthread_create(&threads[i], NULL, deliver_some, &numbers[i]) != 0)
			abort();
	}
	for (int i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
}

/* 64 threads in each of 8 processes. */
static void run_processes(void)
{
	pid_t pids[PROCESSES];

	for (size_t i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			run_threads();
			_exit(failed != 0);
		}
	}
	for (size_t i = 0; i < PROCESSES; i++) {
		int status;

		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert_int_eq(status, 0);
	}
}

START_TEST(test_three_messages)
{
	struct quota sum;

	load = rules(0, 3);
	run_threads();
	ck_assert_int_eq(failed, 0);
	ck_assert_int_eq(delivered, 3);
	run_processes();
	sum = counted(false);
	ck_assert_int_eq(sum.used_messages, 3);
}
END_TEST

START_TEST(test_exact_bytes)
{
	struct quota sum, kept = {.limit_bytes = 5000};
	struct quota_entry entry;

	load = rules(5000, 0);
	run_processes();
	sum = counted(false);
	ck_assert_int_le(sum.used_bytes, 5000);
	ck_assert_int_gt(sum.used_bytes, 5000 - 40); /* they were enough to fill it */
	ck_assert_int_eq(quota_peek(top_fd, &kept, &err), RESULT_FOUND);
	ck_assert_int_eq(kept.used_bytes, sum.used_bytes);
	ck_assert_int_eq(kept.used_messages, sum.used_messages);
	ck_assert_int_eq(deliver(&load, 5000 - sum.used_bytes + 1), 0);
	if (sum.used_bytes < 5000)
		ck_assert_int_eq(deliver(&load, 5000 - sum.used_bytes), 1);
	ck_assert_int_eq(counted(false).used_bytes, 5000);
	ck_assert_int_eq(quota_enter(top_fd, &load, 1, &entry, &err), RESULT_FOUND);
	ck_assert_int_eq(entry.quota.used_bytes, 5000);
	ck_assert_int_eq(quota_leave(&entry, 0, 0, &err), RESULT_FOUND);
}
END_TEST

/* A usage that only a count would correct. */
static void lie(void)
{
	put("maildirsize", "100000S\n77 7\n");
}

static int64_t usage_now(const struct quota_rules *wanted)
{
	struct quota_entry entry;

	ck_assert_msg(quota_enter(top_fd, wanted, 1, &entry, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_int_eq(quota_leave(&entry, 0, 0, &err), RESULT_FOUND);
	return entry.quota.used_bytes;
}

START_TEST(test_when_it_counts)
{
	const struct quota_rules wanted = rules(100000, 0);
	struct quota_entry entry;
	struct stat st;
	char line[64];

	put("new/1,S=600", "x");
	lie();
	ck_assert_int_eq(usage_now(&wanted), 600); /* no lock file: nothing is known */
	ck_assert_int_eq(fstatat(top_fd, LOCK, &st, AT_SYMLINK_NOFOLLOW), 0);
	ck_assert_int_eq(st.st_mode, S_IFREG | 0600);
	lie();
	ck_assert_int_eq(usage_now(&wanted), 77); /* all in order: believed */
	ck_assert_int_eq(deliver(&wanted, 23), 1);
	ck_assert_str_eq(get("maildirsize"), "100000S\n77 7\n23 1\n");
	ck_assert_int_eq(usage_now(&wanted), 100);

	(void)snprintf(line, sizeof(line), "%s", get(LOCK));
	ck_assert_uint_eq(strlen(line), 39);
	line[0] = line[0] == 'a' ? 'b' : 'a'; /* another boot */
	put(LOCK, line);
	ck_assert_int_eq(usage_now(&wanted), 623);
	lie();
	put(LOCK, "");
	ck_assert_int_eq(usage_now(&wanted), 623);
	lie();
	put(LOCK, "nonsense, and much more of it than there should ever be in this file\n");
	ck_assert_int_eq(usage_now(&wanted), 623);
	lie();
	ck_assert_int_eq(usage_now(&(struct quota_rules){.limit_bytes = 99, .lock_timeout_ms = 99}),
			 623); /* another limit */
	put("maildirsize", "100000S\n-1 1\n");
	ck_assert_int_eq(usage_now(&wanted), 623);
	put("maildirsize", "100000S\n1 1\n1"); /* torn */
	ck_assert_int_eq(usage_now(&wanted), 623);
	/* Full is believed from a fresh count only. */
	put("maildirsize", "100000S\n50000 1\n50000 1\n");
	ck_assert_int_eq(usage_now(&wanted), 623);

	/* A line that could not be written. */
	ck_assert_int_eq(quota_enter(top_fd, &wanted, 5, &entry, &err), RESULT_FOUND);
	ck_assert_int_eq(unlinkat(top_fd, "maildirsize", 0), 0);
	ck_assert_int_eq(mkdirat(top_fd, "maildirsize", 0700), 0);
	put("new/2,S=5", "x");
	ck_assert_int_eq(quota_leave(&entry, 5, 1, &err), RESULT_TEMP);
	ck_assert_int_eq(unlinkat(top_fd, "maildirsize", AT_REMOVEDIR), 0);
	lie();
	ck_assert_int_eq(usage_now(&wanted), 628);
}
END_TEST

START_TEST(test_no_limit)
{
	struct quota_rules wanted = rules(0, 0);
	struct quota_entry entry;

	ck_assert_int_eq(quota_enter(top_fd, &wanted, 5, &entry, &err), RESULT_FOUND);
	ck_assert_int_eq(entry.lock_fd, -1);
	ck_assert(quota_fits(&entry.quota, 5));
	ck_assert_int_eq(quota_leave(&entry, 5, 1, &err), RESULT_FOUND);
	ck_assert_ptr_null(get("maildirsize"));
	ck_assert_ptr_null(get(LOCK));
	wanted.always = true;
	ck_assert_int_eq(deliver(&wanted, 5), 1);
	ck_assert_int_eq(usage_now(&wanted), 5);
	ck_assert_str_eq(get("maildirsize"), "0S\n           0            0\n5 1\n");
}
END_TEST

START_TEST(test_trash)
{
	struct quota_rules wanted = rules(100000, 0);
	struct quota quota;

	ck_assert_int_eq(mkdirat(top_fd, ".Trash", 0700), 0);
	ck_assert_int_eq(mkdirat(top_fd, ".Trash/cur", 0700), 0);
	ck_assert_int_eq(mkdirat(top_fd, ".Trash.old", 0700), 0);
	ck_assert_int_eq(mkdirat(top_fd, ".Trash.old/new", 0700), 0);
	put(".Trash/cur/1,S=1:2,S", "x");
	put(".Trash.old/new/2,S=10", "x");
	put("cur/3,S=100:2,ST", "x");
	put("cur/4,S=1000:2,S", "x");
	put("cur/T,S=10000:2,", "x");
	ck_assert_int_eq(quota_recount(top_fd, &wanted, &quota, &err), RESULT_FOUND);
	ck_assert_int_eq(quota.used_bytes, 11111);
	ck_assert_int_eq(quota.used_messages, 5);
	wanted.skip_trash = true;
	ck_assert_int_eq(quota_recount(top_fd, &wanted, &quota, &err), RESULT_FOUND);
	ck_assert_int_eq(quota.used_bytes, 11010);
	ck_assert_int_eq(quota.used_messages, 3);
	ck_assert_str_eq(get("maildirsize"), "100000S\n       11010            3\n");
	ck_assert_int_eq(usage_now(&wanted), 11010);
}
END_TEST

/* What is no file of ours is neither followed nor waited for. */
START_TEST(test_planted)
{
	const struct quota_rules wanted = rules(100000, 0);
	struct quota_entry entry;

	put("secret", "x");
	ck_assert_int_eq(symlinkat("secret", top_fd, LOCK), 0);
	ck_assert_int_eq(quota_enter(top_fd, &wanted, 1, &entry, &err), RESULT_TEMP);
	ck_assert_int_eq(entry.lock_fd, -1);
	ck_assert_ptr_nonnull(strstr(err.text, LOCK));
	ck_assert_str_eq(get("secret"), "x");
	ck_assert_int_eq(unlinkat(top_fd, LOCK, 0), 0);
	ck_assert_int_eq(mkfifoat(top_fd, LOCK, 0600), 0);
	ck_assert_int_eq(quota_enter(top_fd, &wanted, 1, &entry, &err), RESULT_TEMP);
	ck_assert_int_eq(unlinkat(top_fd, LOCK, 0), 0);
	ck_assert_int_eq(mkdirat(top_fd, LOCK, 0700), 0);
	ck_assert_int_eq(quota_enter(top_fd, &wanted, 1, &entry, &err), RESULT_TEMP);
	ck_assert_int_eq(unlinkat(top_fd, LOCK, AT_REMOVEDIR), 0);
	ck_assert_int_eq(symlinkat("secret", top_fd, "maildirsize"), 0);
	ck_assert_int_eq(usage_now(&wanted), 0); /* nothing is known, so it is replaced */
	ck_assert_int_eq(unlinkat(top_fd, "maildirsize", 0), 0);
	ck_assert_int_eq(symlinkat("secret", top_fd, "maildirsize"), 0);
	ck_assert_int_eq(quota_enter(top_fd, &wanted, 1, &entry, &err), RESULT_TEMP);
	ck_assert_int_eq(entry.lock_fd, -1);
	ck_assert_int_eq(unlinkat(top_fd, "maildirsize", 0), 0);
	ck_assert_int_eq(usage_now(&wanted), 0); /* the lock was let go */
}
END_TEST

/* A child that enters, links if told so, and then stops or dies. */
static pid_t child(const struct quota_rules *wanted, bool links, int signal_number)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct quota_entry entry;
		char name[96];

		if (make_message(name, sizeof(name), 50) &&
		    quota_enter(top_fd, wanted, 50, &entry, &err) == RESULT_FOUND &&
		    (!links || link_message(name)))
			(void)raise(signal_number);
		_exit(1);
	}
	ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
	if (signal_number == SIGSTOP)
		ck_assert(WIFSTOPPED(status));
	else
		ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == signal_number);
	return pid;
}

START_TEST(test_killed)
{
	const struct quota_rules wanted = rules(100000, 0);

	put("new/1,S=600", "x");
	ck_assert_int_eq(usage_now(&wanted), 600);
	(void)child(&wanted, true, SIGKILL);
	ck_assert_str_eq(get("maildirsize"), "100000S\n         600            1\n");
	ck_assert_int_eq(usage_now(&wanted), 650);
	(void)child(&wanted, false, SIGKILL);
	lie();
	ck_assert_int_eq(usage_now(&wanted), 650);
	lie();
	ck_assert_int_eq(usage_now(&wanted), 77);
}
END_TEST

START_TEST(test_stopped)
{
	struct quota_rules wanted = rules(100000, 0);
	struct quota_entry entry;
	struct quota quota;
	int64_t begin, took;
	pid_t pid = child(&wanted, true, SIGSTOP);
	int status;

	wanted.lock_timeout_ms = 300;
	begin = deadline_now_ms();
	ck_assert_int_eq(quota_enter(top_fd, &wanted, 1, &entry, &err), RESULT_TEMP);
	took = deadline_now_ms() - begin;
	ck_assert_ptr_nonnull(strstr(err.text, "mailbox is being delivered to by others"));
	ck_assert_msg(took >= 300 && took < 5000, "%lld ms", (long long)took);
	ck_assert_int_eq(quota_recount(top_fd, &wanted, &quota, &err), RESULT_TEMP);
	/* Readers do not wait. */
	quota = (struct quota){.limit_bytes = 100000};
	ck_assert_int_eq(quota_peek(top_fd, &quota, &err), RESULT_FOUND);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(usage_now(&wanted), 50);
}
END_TEST

static void *enter_and_leave(void *argument)
{
	*(int64_t *)argument = usage_now(&load);
	return NULL;
}

/* Somebody tidies up while others wait: they meet again at the new file. */
START_TEST(test_lock_removed)
{
	struct quota_entry entry;
	pthread_t waiter;
	int64_t seen = -1;
	struct timespec pause = {0, 50000000};

	load = rules(100000, 0);
	put("new/1,S=600", "x");
	ck_assert_int_eq(quota_enter(top_fd, &load, 1, &entry, &err), RESULT_FOUND);
	ck_assert_int_eq(pthread_create(&waiter, NULL, enter_and_leave, &seen), 0);
	(void)nanosleep(&pause, NULL); /* most likely it waits by now; right either way */
	lie();
	ck_assert_int_eq(unlinkat(top_fd, LOCK, 0), 0);
	ck_assert_int_eq(quota_leave(&entry, 0, 0, &err), RESULT_FOUND);
	(void)pthread_join(waiter, NULL);
	ck_assert_int_eq(seen, 600);
	ck_assert_ptr_nonnull(get(LOCK));
}
END_TEST

/* Killed anywhere, again and again, while others deliver. */
START_TEST(test_killed_under_load)
{
	enum { LIMIT = 3000, CHILDREN = 4, KILLS = 150 };
	const struct quota_rules wanted = rules(LIMIT, 0);
	pid_t pids[CHILDREN];
	unsigned seed = 4711;

	for (int kills = 0; kills < KILLS; kills++) {
		struct timespec pause = {0, 1000 * (long)(rand_r(&seed) % 4000)};
		int status;

		for (size_t i = 0; i < CHILDREN; i++) {
			pids[i] = fork();
			if (pids[i] == 0)
				for (unsigned n = 0;; n++)
					if (deliver(&wanted, 1 + (n + (unsigned)getpid()) % 17) < 0)
						_exit(1);
		}
		(void)nanosleep(&pause, NULL);
		for (size_t i = 0; i < CHILDREN; i++) {
			ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
			ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
			ck_assert(WIFSIGNALED(status));
		}
		struct quota sum = counted(false);
		ck_assert_int_le(sum.used_bytes, LIMIT);
		ck_assert_int_eq(usage_now(&wanted), sum.used_bytes);
		ck_assert_ptr_null(get("tmp/maildirsize.new"));
		if (sum.used_bytes > LIMIT - 100) { /* emptied, as a user does */
			char command[128];

			(void)snprintf(command, sizeof(command), "find %s/new -type f -delete",
				       top);
			ck_assert_int_eq(system(command), 0);
			ck_assert_int_eq(unlinkat(top_fd, "maildirsize", 0), 0);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("quota_lock");
	TCase *tests = tcase_create("quota_lock");
	SRunner *runner;
	int bad;

	tcase_add_checked_fixture(tests, maildir_make, maildir_remove);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, test_three_messages);
	tcase_add_test(tests, test_exact_bytes);
	tcase_add_test(tests, test_when_it_counts);
	tcase_add_test(tests, test_no_limit);
	tcase_add_test(tests, test_trash);
	tcase_add_test(tests, test_planted);
	tcase_add_test(tests, test_killed);
	tcase_add_test(tests, test_stopped);
	tcase_add_test(tests, test_lock_removed);
	tcase_add_test(tests, test_killed_under_load);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	bad = srunner_ntests_failed(runner);
	srunner_free(runner);
	return bad == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
