/*
 * test_maildir_batch - copies that share their syncs: what is synced when, and whom a fault touches
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/maildir.h"
#include "tests/unit/maildir_rig.h"

#define MAX 50

static struct maildir_file files[MAX], *list[MAX];
static char directories[MAX][128];
static const struct maildir_part parts[] = {{"Header: x\n\n", 11}, {"text\n", 5}};

/* COUNT copies; number I goes to the mailbox I % MAILBOXES. */
static void prepare(size_t count, size_t mailboxes)
{
	memset(files, 0, sizeof(files));
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(directories[i], sizeof(directories[i]), "%s/u%zu/Maildir", base,
			       i % mailboxes);
		files[i].target = (struct maildir_target){
			.base = base, .directory = directories[i], .folder = ""};
		files[i].size = 16;
		files[i].virtual_size = 19;
		list[i] = &files[i];
	}
}

/* Maildirs that are there already, so that the record holds no making. */
static void make_mailboxes(size_t count)
{
	int fd;

	prepare(count, count);
	for (size_t i = 0; i < count; i++) {
		ck_assert_int_eq(maildir_open(&files[i].target, true, &fd, &err), RESULT_FOUND);
		(void)close(fd);
	}
}

static void write_all(size_t count)
{
	event_count = 0;
	for (size_t i = 0; i < count; i++)
		maildir_write(&files[i], parts, 2);
}

static void finish(size_t count)
{
	for (size_t i = 0; i < count; i++)
		maildir_link(&files[i]);
	maildir_settle(list, count);
	for (size_t i = 0; i < count; i++)
		maildir_close(&files[i]);
}

static void deliver_all(size_t count)
{
	write_all(count);
	maildir_sync(list, count);
	finish(count);
}

static int files_in(size_t mailbox, const char *name)
{
	(void)snprintf(directory, sizeof(directory), "%s/u%zu/Maildir", base, mailbox);
	return count_files(name);
}

static size_t calls(enum call call)
{
	size_t count = 0;

	for (size_t i = 0; i < event_count; i++)
		count += events[i].call == call;
	return count;
}

static size_t first_of(enum call call)
{
	size_t i = 0;

	while (i < event_count && events[i].call != call)
		i++;
	return i;
}

static size_t last_of(enum call call)
{
	size_t i = event_count;

	while (i > 0 && events[i - 1].call != call)
		i--;
	return i;
}

static bool any_between(enum call call, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (events[i].call == call)
			return true;
	return false;
}

/* Data before every link, the directory after it, no write in between. */
static void assert_all_durable(size_t count)
{
	size_t link = 0;

	ck_assert_uint_eq(calls(CALL_LINK), count);
	for (size_t i = 0; i < event_count; i++) {
		char path[256];
		struct stat st;
		size_t written = last_of(CALL_WRITE);

		if (events[i].call != CALL_LINK)
			continue;
		(void)snprintf(path, sizeof(path), "%s/new", files[link].target.directory);
		ck_assert_int_eq(stat(path, &st), 0);
		ck_assert_uint_lt(written, i);
		ck_assert(synced_between(CALL_DATASYNC, events[i].at, 0, i) ||
			  any_between(CALL_SYNCFS, written, i));
		ck_assert(synced_between(CALL_SYNC, st.st_ino, i, event_count) ||
			  any_between(CALL_SYNCFS, last_of(CALL_LINK), event_count));
		link++;
	}
}

/* Whether the disk of this test is one where many are synced at once. */
static bool syncs_together(void)
{
	struct statfs fs;

	ck_assert_int_eq(statfs(base, &fs), 0);
	return fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == 0x58465342 ||
	       fs.f_type == BTRFS_SUPER_MAGIC || fs.f_type == TMPFS_MAGIC;
}

START_TEST(test_few)
{
	make_mailboxes(3);
	prepare(3, 3);
	deliver_all(3);
	assert_all_durable(3);
	ck_assert_uint_eq(calls(CALL_DATASYNC), 3);
	ck_assert_uint_eq(calls(CALL_SYNC), 3);
	ck_assert_uint_eq(calls(CALL_SYNCFS), 0);
	ck_assert_uint_lt(last_of(CALL_DATASYNC), first_of(CALL_LINK) + 1);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(files[i].result, RESULT_FOUND);
		ck_assert_int_eq(strncmp(files[i].name, "new/", 4), 0);
		ck_assert_int_eq(files_in(i, "new"), 1);
		ck_assert_int_eq(files_in(i, "tmp"), 0);
	}
}
END_TEST

START_TEST(test_many)
{
	int descriptors = open_descriptors();

	make_mailboxes(MAX);
	prepare(MAX, MAX);
	deliver_all(MAX);
	assert_all_durable(MAX);
	if (syncs_together()) {
		ck_assert_uint_eq(calls(CALL_SYNCFS), 2);
		ck_assert_uint_eq(calls(CALL_DATASYNC) + calls(CALL_SYNC), 0);
	} else {
		ck_assert_uint_eq(calls(CALL_SYNCFS), 0);
	}
	for (size_t i = 0; i < MAX; i++)
		ck_assert_int_eq(files_in(i, "new"), 1);
	ck_assert_int_eq(open_descriptors(), descriptors);
}
END_TEST

/* Maildirs that the batch itself makes. */
START_TEST(test_many_new)
{
	prepare(20, 20);
	deliver_all(20);
	ck_assert_uint_eq(calls(CALL_MKDIR), 20 * 5);
	for (size_t i = 0; i < 20; i++) {
		ck_assert_int_eq(files[i].result, RESULT_FOUND);
		ck_assert_int_eq(files_in(i, "new"), 1);
	}
	for (size_t i = 0; i < event_count; i++)
		if (events[i].call == CALL_MKDIR)
			ck_assert(synced_between(CALL_SYNC, events[i].at, i, event_count));
}
END_TEST

/* The same new/ is synced once, and its fault is everybody's who is in it. */
START_TEST(test_one_mailbox)
{
	make_mailboxes(2);
	prepare(40, 2);
	deliver_all(40);
	assert_all_durable(40);
	ck_assert_uint_eq(calls(CALL_SYNC), 2);
	ck_assert_int_eq(files_in(0, "new"), 20);
	ck_assert_int_eq(files_in(1, "new"), 20);
	prepare(4, 2);
	plan_fault(CALL_SYNC, 2, 1, EIO);
	deliver_all(4);
	for (size_t i = 0; i < 4; i++)
		ck_assert_int_eq(files[i].result, i % 2 ? RESULT_TEMP : RESULT_FOUND);
	ck_assert_int_eq(files_in(0, "new"), 22);
	ck_assert_int_eq(files_in(1, "new"), 20);
	ck_assert_uint_eq(calls(CALL_UNLINK), 2);
}
END_TEST

/* Only BAD is TEMP; it is nowhere, the others are there. */
static void assert_only(size_t bad, size_t count, const char *words)
{
	for (size_t i = 0; i < count; i++) {
		ck_assert_msg(files[i].result == (i == bad ? RESULT_TEMP : RESULT_FOUND), "%zu: %s",
			      i, files[i].err.text);
		ck_assert_int_eq(files_in(i, "new"), i != bad);
		ck_assert_int_eq(files_in(i, "tmp"), 0);
	}
	ck_assert_msg(strstr(files[bad].err.text, words), "%s", files[bad].err.text);
	ck_assert_ptr_nonnull(strstr(files[bad].err.text, directories[bad]));
}

START_TEST(test_one_fails)
{
	static const struct {
		enum call call;
		int error;
		const char *words;
	} rows[] = {{CALL_TMPFILE, ENOSPC, "create a file in tmp"},
		    {CALL_WRITE, EDQUOT, "write"},
		    {CALL_LINK, EIO, "link into new"}};
	int descriptors = open_descriptors();

	make_mailboxes(12);
	prepare(12, 12);
	plan_fault(rows[_i].call, 5, 1, rows[_i].error);
	deliver_all(12);
	assert_only(4, 12, rows[_i].words);
	ck_assert_int_eq(files[4].no_space, rows[_i].error != EIO);
	ck_assert_int_eq(open_descriptors(), descriptors);
}
END_TEST

/* Every file is asked for itself after a failed syncfs, once, and no file is asked again. */
START_TEST(test_syncfs_of_data_fails)
{
	make_mailboxes(12);
	prepare(12, 12);
	plan_fault(CALL_SYNCFS, 1, 1, EIO);
	plan_fault(CALL_DATASYNC, 7, 1, EIO);
	deliver_all(12);
	assert_only(6, 12, "fdatasync: Input/output error");
	ck_assert_uint_eq(calls(CALL_DATASYNC), 12);
	ck_assert_uint_eq(calls(CALL_LINK), 11);
	for (size_t i = 0; i < event_count; i++)
		if (events[i].call == CALL_DATASYNC)
			ck_assert(!synced_between(CALL_DATASYNC, events[i].at, i + 1, event_count));
}
END_TEST

START_TEST(test_syncfs_of_names_fails)
{
	make_mailboxes(12);
	prepare(12, 12);
	plan_fault(CALL_SYNCFS, 2, 1, EIO);
	plan_fault(CALL_SYNC, 3, 1, ENOSPC);
	deliver_all(12);
	assert_only(2, 12, "fsync new");
	ck_assert(files[2].no_space);
	ck_assert_uint_eq(calls(CALL_SYNC), 12);
	ck_assert_uint_eq(calls(CALL_UNLINK), 1);
}
END_TEST

/* The caller refuses one between the steps, as for a quota. */
START_TEST(test_refused)
{
	int descriptors = open_descriptors();

	make_mailboxes(10);
	prepare(10, 10);
	write_all(10);
	files[1].result = RESULT_TEMP;
	maildir_sync(list, 10);
	files[3].result = RESULT_TEMP;
	finish(10);
	for (size_t i = 0; i < 10; i++) {
		ck_assert_int_eq(files_in(i, "new"), i != 1 && i != 3);
		ck_assert_int_eq(files_in(i, "tmp"), 0);
	}
	ck_assert_int_eq(open_descriptors(), descriptors);
}
END_TEST

/* root_fd is the Maildir until the end, also of one that could not be linked. */
START_TEST(test_root_fd)
{
	char path[256];
	struct stat st;

	prepare(2, 2);
	write_all(2);
	(void)snprintf(path, sizeof(path), "%s", directories[1]);
	ck_assert_int_eq(stat(path, &st), 0);
	maildir_sync(list, 2);
	plan_fault(CALL_LINK, 1, 1, EIO);
	maildir_link(&files[1]);
	ck_assert_int_eq(files[1].result, RESULT_TEMP);
	ck_assert_uint_eq(inode_of(files[1].root_fd), st.st_ino);
	finish(2);
	ck_assert_int_eq(files[0].root_fd, -1);
	ck_assert_int_eq(files[0].result, RESULT_FOUND);
}
END_TEST

/* Never written: nothing to do, and no descriptor 0 to close. */
START_TEST(test_never_written)
{
	int copy = dup(0);

	prepare(9, 9);
	event_count = 0;
	maildir_sync(list, 9);
	finish(9);
	ck_assert_uint_eq(event_count, 0);
	ck_assert(copy < 0 || fcntl(0, F_GETFD) >= 0);
	(void)close(copy);
}
END_TEST

/* No descriptors left: those that have theirs are delivered all the same. */
static int few_descriptors(void)
{
	struct rlimit limit = {0};
	size_t found = 0;
	int descriptors = open_descriptors();

	make_mailboxes(MAX);
	prepare(MAX, MAX);
	limit.rlim_cur = limit.rlim_max = (rlim_t)descriptors + 30;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1;
	deliver_all(MAX);
	for (size_t i = 0; i < MAX; i++) {
		bool ok = files[i].result == RESULT_FOUND;

		found += ok;
		if (files_in(i, "new") != ok)
			return 2;
		if (!ok && (files[i].no_space || !strstr(files[i].err.text, "open files")))
			return 3;
	}
	if (found < 5 || found == MAX)
		return 4;
	return open_descriptors() == descriptors ? 0 : 5;
}

static int in_child(int (*steps)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(steps());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(test_few_descriptors)
{
	ck_assert_int_eq(in_child(few_descriptors), 0);
}
END_TEST

/* A mailbox on a disk of its own is not covered by the syncfs of the others. */
static int other_disk(void)
{
	char path[256];
	bool other;

	make_mailboxes(12);
	(void)snprintf(path, sizeof(path), "%s/u5", base);
	other = unshare(CLONE_NEWNS) == 0 && mount("", "/", "", MS_REC | MS_PRIVATE, "") == 0 &&
		mount("tmpfs", path, "tmpfs", 0, "size=1m") == 0;
	make_mailboxes(12);
	prepare(12, 12);
	deliver_all(12);
	for (size_t i = 0; i < 12; i++)
		if (files[i].result != RESULT_FOUND || files_in(i, "new") != 1)
			return 1;
	if (!syncs_together())
		return calls(CALL_SYNCFS) == 0 ? 0 : 2;
	/* Without the right to mount it is an ordinary batch. */
	if (calls(CALL_SYNCFS) != 2)
		return 3;
	return calls(CALL_DATASYNC) == other && calls(CALL_SYNC) == other ? 0 : 4;
}

START_TEST(test_other_disk)
{
	ck_assert_int_eq(in_child(other_disk), 0);
}
END_TEST

/* Files with names in tmp/: removed there, whatever happened to them. */
START_TEST(test_named)
{
	make_mailboxes(10);
	prepare(10, 10);
	plan_fault(CALL_TMPFILE, 1, 10, EOPNOTSUPP);
	write_all(10);
	for (size_t i = 0; i < 10; i++)
		ck_assert_int_eq(files_in(i, "tmp"), 1);
	maildir_sync(list, 10);
	files[2].result = RESULT_TEMP;
	plan_fault(CALL_LINK, 4, 1, EIO);
	finish(10);
	for (size_t i = 0; i < 10; i++) {
		ck_assert_int_eq(files_in(i, "tmp"), 0);
		ck_assert_int_eq(files_in(i, "new"), i != 2 && i != 4);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("maildir_batch");
	TCase *tests = tcase_create("maildir_batch");
	SRunner *runner;
	int failures;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, test_few);
	tcase_add_test(tests, test_many);
	tcase_add_test(tests, test_many_new);
	tcase_add_test(tests, test_one_mailbox);
	tcase_add_loop_test(tests, test_one_fails, 0, 3);
	tcase_add_test(tests, test_syncfs_of_data_fails);
	tcase_add_test(tests, test_syncfs_of_names_fails);
	tcase_add_test(tests, test_refused);
	tcase_add_test(tests, test_root_fd);
	tcase_add_test(tests, test_never_written);
	tcase_add_test(tests, test_few_descriptors);
	tcase_add_test(tests, test_other_disk);
	tcase_add_test(tests, test_named);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failures = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failures == 0 ? 0 : 1;
}
