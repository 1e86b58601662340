/*
 * test_folder - names of folders, the one that is meant, new ones, and their subscriptions
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/folder.h"
#include "common/folder_name.h"
#include "tests/unit/maildir_rig.h"

static int maildir_fd;
static struct folder_rules rules;

static void setup_maildir(void)
{
	setup();
	ck_assert_int_eq(maildir_open(&target, true, &maildir_fd, &err), RESULT_FOUND);
	rules = (struct folder_rules){.max = 100};
	event_count = 0;
}

static void teardown_maildir(void)
{
	(void)close(maildir_fd);
	teardown();
}

/* Names. */

static const struct {
	const char *name, *utf7, *utf8; /* NULL: refused */
} names[] = {
	{"lists", ".lists", ".lists"},
	{"a.b", ".a.b", ".a.b"},
	{"a/b", ".a.b", ".a.b"},
	{"R&D", ".R&-D", ".R&D"},
	{"Entwürfe/été", ".Entw&APw-rfe.&AOk-t&AOk-", ".Entwürfe.été"},
	{"été", ".&AOk-t&AOk-", ".été"},
	{"日本語", ".&ZeVnLIqe-", ".日本語"},
	{"台北/日本語", ".&U,BTFw-.&ZeVnLIqe-", ".台北.日本語"},
	{"a😀b", ".a&2D3eAA-b", ".a😀b"},
	{"é&é", ".&AOk-&-&AOk-", ".é&é"},
	{"with blank", ".with blank", ".with blank"},
	{"a~", ".a~", ".a~"},
	{"inboxes", ".inboxes", ".inboxes"},
	{"a.INBOX", ".a.INBOX", ".a.INBOX"},
	{"", NULL, NULL},
	{".", NULL, NULL},
	{"..", NULL, NULL},
	{"/", NULL, NULL},
	{"../outside", NULL, NULL},
	{"/etc", NULL, NULL},
	{".lists", NULL, NULL},
	{"lists.", NULL, NULL},
	{"a..b", NULL, NULL},
	{"a/./b", NULL, NULL},
	{"~root", NULL, NULL},
	{"inbox", NULL, NULL},
	{"InBox.a", NULL, NULL},
	{"INBOX/a", NULL, NULL},
	{"x\ny", NULL, NULL},
	{"x\ty", NULL, NULL},
	{"x\x7f", NULL, NULL},
	{"x\xc2\x85y", NULL, NULL}, /* a control character of the second set */
	{"\xff", NULL, NULL},
	{"\xc3", NULL, NULL},
	{"\xed\xa0\x80", NULL, NULL}, /* a surrogate */
};

static void check_name(const char *name, const char *wanted, bool utf8)
{
	struct buf encoded = BUF_INIT, decoded = BUF_INIT;
	char dotted[64];

	buf_puts(&encoded, "x");
	ck_assert_msg(folder_name_encode(name, utf8, &encoded) == (wanted != NULL), "%s", name);
	ck_assert_str_eq(buf_str(&encoded) + 1, wanted ? wanted : "");
	if (wanted) {
		(void)snprintf(dotted, sizeof(dotted), "%s", name);
		for (char *slash; (slash = strchr(dotted, '/'));)
			*slash = '.';
		ck_assert(folder_name_decode(wanted, utf8, &decoded));
		ck_assert_str_eq(buf_str(&decoded), dotted);
	}
	buf_free(&encoded);
	buf_free(&decoded);
}

START_TEST(test_names)
{
	check_name(names[_i].name, names[_i].utf7, false);
	check_name(names[_i].name, names[_i].utf8, true);
}
END_TEST

START_TEST(test_long_names)
{
	struct buf name = BUF_INIT;
	char text[1200];

	memset(text, 'x', sizeof(text));
	text[254] = '\0';
	ck_assert(folder_name_encode(text, false, &name));
	ck_assert_uint_eq(name.len, 255);
	text[254] = 'x';
	text[255] = '\0';
	ck_assert(!folder_name_encode(text, false, &name));
	ck_assert(!folder_name_encode(text, true, &name));
	text[255] = 'x';
	text[sizeof(text) - 1] = '\0';
	ck_assert(!folder_name_encode(text, true, &name));
	ck_assert_uint_eq(name.len, 255);
	/* 94 letters of 16 bits make 253 bytes, 95 make 256. */
	text[0] = '\0';
	for (int i = 0; i < 94; i++)
		(void)strcat(text, "語");
	buf_reset(&name);
	ck_assert(folder_name_encode(text, false, &name));
	(void)strcat(text, "語");
	ck_assert(!folder_name_encode(text, false, &name));
	ck_assert(!folder_name_encode(text, true, &name));
	buf_free(&name);
}
END_TEST

START_TEST(test_bad_names_on_disk)
{
	static const char *const bad[] = {
		"",      ".",      "..",        "a",          "..a",         ".a&",   ".a&AOk",
		".a&A-", ".a&AO-", ".a&AO/k-",  ".a&2D0-",    ".a&3gA-",     ".\xc3", ".é",
		".a\n",  ".a\x7f", ".a&AOkA6-", ".a&2D0A6Q-", ".a&AAEAAQAB-"};
	struct buf name = BUF_INIT;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_msg(!folder_name_decode(bad[i], false, &name), "%s", bad[i]);
		ck_assert_uint_eq(name.len, 0);
	}
	ck_assert(!folder_name_decode(".\xff", true, &name));
	ck_assert(!folder_name_decode("..", true, &name));
	buf_free(&name);
}
END_TEST

/* Finding. */

static void assert_find(const char *name, enum result wanted_result, const char *wanted)
{
	struct buf found = BUF_INIT;
	enum result result = folder_find(maildir_fd, name, &rules, &found, &err);

	ck_assert_msg(result == wanted_result, "%s: %s %s", name, result_name(result), err.text);
	ck_assert_str_eq(buf_str(&found), wanted);
	buf_free(&found);
}

static void make_file(const char *name, const char *content, mode_t mode)
{
	int fd = openat(maildir_fd, name, O_CREAT | O_TRUNC | O_WRONLY, mode);
	size_t len = strlen(content);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, content, len), (ssize_t)len);
	(void)close(fd);
}

static void assert_file(const char *name, const char *wanted)
{
	int fd = openat(maildir_fd, name, O_RDONLY | O_NOFOLLOW);
	char got[4096];
	ssize_t len;

	ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
	len = read(fd, got, sizeof(got) - 1);
	ck_assert_int_ge(len, 0);
	got[len] = '\0';
	ck_assert_str_eq(got, wanted);
	(void)close(fd);
}

static bool is_there(const char *name)
{
	struct stat st;

	return fstatat(maildir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

START_TEST(test_find)
{
	char path[4096];

	make_folder(".Lists");
	make_folder(".Entw&APw-rfe");
	make_folder(".Entw&APw-rfe.&AMk-t&AOk-");
	make_folder(".MIXED");
	make_folder(".Mixed");
	make_folder(".a&AOk"); /* no name of a folder */
	make_file(".file", "", 0600);
	path_below(path, sizeof(path), ".link");
	ck_assert_int_eq(symlink(".Lists", path), 0);
	path_below(path, sizeof(path), ".Other");
	ck_assert_int_eq(mkdir(path, 0700), 0);
	assert_find("Lists", RESULT_FOUND, ".Lists");
	assert_find("lists", RESULT_FOUND, ".Lists");
	assert_find("LISTS", RESULT_FOUND, ".Lists");
	assert_find("entwürfe", RESULT_FOUND, ".Entw&APw-rfe");
	assert_find("ENTWÜRFE", RESULT_FOUND, ".Entw&APw-rfe");
	assert_find("entwürfe/été", RESULT_FOUND, ".Entw&APw-rfe.&AMk-t&AOk-");
	assert_find("Mixed", RESULT_FOUND, ".Mixed");
	assert_find("mixed", RESULT_FOUND, ".MIXED");
	assert_find("absent", RESULT_NONE, "");
	assert_find("file", RESULT_NONE, "");
	assert_find("link", RESULT_NONE, "");
	assert_find("Link", RESULT_NONE, "");
	assert_find("other", RESULT_NONE, "");
	assert_find("Other", RESULT_NONE, "");
	assert_find("../outside", RESULT_NONE, "");
	assert_find("INBOX", RESULT_NONE, "");
	for (size_t i = 0; i < event_count; i++) /* nothing was made but by this test */
		ck_assert(events[i].call != CALL_SYNC);
}
END_TEST

START_TEST(test_find_utf8)
{
	rules.utf8 = true;
	make_folder(".Entwürfe");
	make_folder(".R&-D");
	assert_find("Entwürfe", RESULT_FOUND, ".Entwürfe");
	assert_find("entwürfe", RESULT_FOUND, ".Entwürfe");
	assert_find("R&D", RESULT_NONE, "");
	assert_find("r&-d", RESULT_FOUND, ".R&-D");
}
END_TEST

/* Making. */

START_TEST(test_create)
{
	static const char *const parts[] = {"", "/cur", "/new", "/tmp"};
	size_t tmp = 0;
	char path[64];

	rules.create = true;
	assert_find("Entwürfe/été", RESULT_FOUND, ".Entw&APw-rfe.&AOk-t&AOk-");
	for (size_t i = 0; i < event_count; i++) {
		if (events[i].call == CALL_MKDIR && strcmp(events[i].to, "tmp") == 0)
			tmp = i;
		if (events[i].call == CALL_MKDIR)
			ck_assert(synced_between(CALL_SYNC, events[i].at, i, event_count));
	}
	for (size_t i = 0; i < tmp; i++)
		if (events[i].call == CALL_MKDIR)
			ck_assert(synced_between(CALL_SYNC, events[i].at, i, tmp));
	ck_assert_uint_gt(tmp, 0);
	for (size_t i = 0; i < 4; i++) {
		struct stat st;

		(void)snprintf(path, sizeof(path), ".Entw&APw-rfe.&AOk-t&AOk-%s", parts[i]);
		ck_assert_int_eq(fstatat(maildir_fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
		ck_assert_int_eq(st.st_mode, S_IFDIR | 0700);
	}
	assert_file(".Entw&APw-rfe.&AOk-t&AOk-/maildirfolder", "");
	ck_assert(!is_there(".Entw&APw-rfe")); /* only the leaf */
	ck_assert(!is_there("subscriptions") && !is_there("courierimapsubscribed"));
	event_count = 0;
	assert_find("ENTWÜRFE.été", RESULT_FOUND, ".Entw&APw-rfe.&AOk-t&AOk-");
	ck_assert_uint_eq(event_count, 0);
}
END_TEST

START_TEST(test_limit)
{
	rules.create = true;
	rules.max = 3;
	make_folder(".a");
	assert_find("b", RESULT_FOUND, ".b");
	assert_find("c", RESULT_FOUND, ".c");
	assert_find("d", RESULT_NONE, "");
	assert_find("C", RESULT_FOUND, ".c");
	ck_assert(!is_there(".d"));
	rules.max = 4;
	assert_find("d", RESULT_FOUND, ".d");
}
END_TEST

/* What a crash leaves is completed, what is somebody else's is not touched. */
START_TEST(test_remains)
{
	rules.create = true;
	ck_assert_int_eq(mkdirat(maildir_fd, ".empty", 0700), 0);
	ck_assert_int_eq(mkdirat(maildir_fd, ".marked", 0700), 0);
	make_file(".marked/maildirfolder", "", 0600);
	ck_assert_int_eq(mkdirat(maildir_fd, ".marked/new", 0700), 0);
	ck_assert_int_eq(mkdirat(maildir_fd, ".ssh", 0700), 0);
	make_file(".ssh/id", "", 0600);
	make_file(".forward", "", 0600);
	rules.max = 1;
	assert_find("empty", RESULT_FOUND, ".empty");
	assert_find("marked", RESULT_FOUND, ".marked");
	rules.max = 100;
	assert_find("ssh", RESULT_NONE, "");
	assert_find("forward", RESULT_NONE, "");
	assert_find("dovecot.sieve", RESULT_NONE, "");
	assert_find("Dovecot", RESULT_NONE, "");
	assert_find("dovecots", RESULT_FOUND, ".dovecots");
	ck_assert(is_there(".marked/tmp") && is_there(".empty/tmp") && is_there(".empty/cur"));
	ck_assert(!is_there(".ssh/cur"));
	rules.create = false;
	ck_assert_int_eq(mkdirat(maildir_fd, ".idle", 0700), 0);
	assert_find("idle", RESULT_NONE, "");
}
END_TEST

/* A fault is TEMP, never the INBOX, and the next delivery makes the folder. */
START_TEST(test_faults)
{
	static const struct {
		enum call call;
		unsigned nth;
		int error;
	} rows[] = {{CALL_MKDIR, 1, ENOSPC}, {CALL_SYNC, 1, EIO},     {CALL_MKDIR, 2, EIO},
		    {CALL_MKDIR, 3, EDQUOT}, {CALL_MKDIR, 4, ENOSPC}, {CALL_SYNC, 3, EIO}};
	struct maildir_part part = {"x", 1};
	int descriptors = open_descriptors();
	struct buf name = BUF_INIT;
	bool no_space;

	rules.create = true;
	target.rules = &rules;
	target.folder = "new/folder";
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char path[4096];

		plan_fault(rows[i].call, rows[i].nth, 1, rows[i].error);
		ck_assert_int_eq(maildir_deliver(&target, &part, 1, 1, 1, NULL, &no_space, &err),
				 RESULT_TEMP);
		ck_assert_uint_eq(faults[rows[i].call].times, 0);
		ck_assert_int_eq(no_space, rows[i].error != EIO);
		ck_assert_msg(strstr(err.text, "new.folder"), "%s", err.text);
		ck_assert_msg(strstr(err.text, directory), "%s", err.text);
		ck_assert_int_eq(count_files("new"), 0);
		path_below(path, sizeof(path), ".new.folder");
		if (i == 0)
			ck_assert(!is_there(".new.folder"));
		if (i + 1 < sizeof(rows) / sizeof(rows[0])) {
			char command[4200];

			(void)snprintf(command, sizeof(command), "rm -rf %s", path);
			ck_assert_int_eq(system(command), 0);
		}
	}
	ck_assert_int_eq(maildir_deliver(&target, &part, 1, 1, 1, &name, NULL, &err), RESULT_FOUND);
	ck_assert_int_eq(strncmp(buf_str(&name), ".new.folder/new/", 16), 0);
	ck_assert_int_eq(count_files(".new.folder/new"), 1);
	ck_assert_int_eq(open_descriptors(), descriptors);
	buf_free(&name);
}
END_TEST

START_TEST(test_delivery)
{
	static const struct {
		const char *folder, *prefix;
	} rows[] = {{"lists", ".Lists/new/"},     {"absent", "new/"}, {"../../outside", "new/"},
		    {"été", ".&AOk-t&AOk-/new/"}, {"INBOX", "new/"},  {"nofolder", "new/"}};
	struct maildir_part part = {"x", 1};

	target.rules = &rules;
	make_folder(".Lists");
	make_folder(".&AOk-t&AOk-");
	ck_assert_int_eq(mkdirat(maildir_fd, ".nofolder", 0700), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf name = BUF_INIT;

		target.folder = rows[i].folder;
		ck_assert_int_eq(maildir_deliver(&target, &part, 1, 1, 1, &name, NULL, &err),
				 RESULT_FOUND);
		ck_assert_msg(strncmp(buf_str(&name), rows[i].prefix, strlen(rows[i].prefix)) == 0,
			      "%s: %s", rows[i].folder, buf_str(&name));
		buf_free(&name);
	}
	/* The list of folders cannot be read. */
	if (geteuid() != 0) {
		ck_assert_int_eq(fchmod(maildir_fd, 0300), 0);
		target.folder = "absent";
		ck_assert_int_eq(maildir_deliver(&target, &part, 1, 1, 1, NULL, NULL, &err),
				 RESULT_TEMP);
		ck_assert_int_eq(fchmod(maildir_fd, 0700), 0);
	}
}
END_TEST

/* Subscriptions. */

static void want_subscriptions(void)
{
	rules.create = rules.subscribe_dovecot = rules.subscribe_courier = true;
}

START_TEST(test_subscribe)
{
	want_subscriptions();
	assert_find("a/é", RESULT_FOUND, ".a.&AOk-");
	assert_file("subscriptions", "V\t2\n\na\t&AOk-\n");
	assert_file("courierimapsubscribed", "INBOX.a.&AOk-\n");
	assert_find("b", RESULT_FOUND, ".b");
	assert_file("subscriptions", "V\t2\n\na\t&AOk-\nb\n");
	assert_file("courierimapsubscribed", "INBOX.a.&AOk-\nINBOX.b\n");
	ck_assert_int_eq(count_files("tmp"), 0);
	ck_assert(!is_there("subscriptions.lock") && !is_there("courierimapsubscribed.lock"));
	rules.subscribe_dovecot = false;
	assert_find("c", RESULT_FOUND, ".c");
	assert_file("subscriptions", "V\t2\n\na\t&AOk-\nb\n");
	assert_file("courierimapsubscribed", "INBOX.a.&AOk-\nINBOX.b\nINBOX.c\n");
}
END_TEST

/* Lists that are there: each in its own format, with its mode, lines kept, none twice. */
START_TEST(test_old_lists)
{
	struct stat st;

	want_subscriptions();
	make_file("subscriptions", "Trash\nx.y", 0640);
	make_file("courierimapsubscribed", "INBOX.Trash\nINBOX.a.b\n", 0600);
	assert_find("a/b", RESULT_FOUND, ".a.b");
	assert_file("subscriptions", "Trash\nx.y\na.b\n");
	assert_file("courierimapsubscribed", "INBOX.Trash\nINBOX.a.b\n");
	ck_assert_int_eq(fstatat(maildir_fd, "subscriptions", &st, 0), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0640);
	make_file("subscriptions", "V\t2\n\nTrash\nc\td\n", 0600);
	assert_find("c/d", RESULT_FOUND, ".c.d");
	assert_file("subscriptions", "V\t2\n\nTrash\nc\td\n");
}
END_TEST

/* The data of the new list is synced before it takes the place of the old one. */
START_TEST(test_lists_are_synced)
{
	struct stat st;

	rules.create = rules.subscribe_dovecot = true;
	assert_find("a", RESULT_FOUND, ".a");
	ck_assert_int_eq(fstatat(maildir_fd, "subscriptions", &st, 0), 0);
	ck_assert(synced_between(CALL_DATASYNC, st.st_ino, 0, event_count));
	/* A fault on the way: the old list stays, the folder is there. */
	plan_fault(CALL_DATASYNC, 1, 1, EIO);
	assert_find("b", RESULT_FOUND, ".b");
	assert_file("subscriptions", "V\t2\n\na\n");
	plan_fault(CALL_WRITE, 1, 1, ENOSPC);
	assert_find("c", RESULT_FOUND, ".c");
	assert_file("subscriptions", "V\t2\n\na\n");
	ck_assert(!is_there("subscriptions.lock"));
}
END_TEST

/* What cannot be replaced is left alone, and the folder is made all the same. */
START_TEST(test_strange_lists)
{
	char path[4096], content[64];

	want_subscriptions();
	(void)snprintf(path, sizeof(path), "%s/list", outside);
	ck_assert_int_eq(symlinkat(path, maildir_fd, "subscriptions"), 0);
	ck_assert_int_eq(mkdirat(maildir_fd, "courierimapsubscribed", 0700), 0);
	assert_find("a", RESULT_FOUND, ".a");
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_gt(readlinkat(maildir_fd, "subscriptions", content, sizeof(content)), 0);
	ck_assert(!is_there("subscriptions.lock") && !is_there("courierimapsubscribed.lock"));
}
END_TEST

/* Dovecot at work is respected; the lock of somebody dead is not. */
START_TEST(test_locked_list)
{
	struct timespec old[2] = {{.tv_sec = time(NULL) - 600}, {.tv_sec = time(NULL) - 600}};

	rules.create = rules.subscribe_dovecot = true;
	make_file("subscriptions", "V\t2\n\nx\n", 0600);
	make_file("subscriptions.lock", "V\t2\n\nx\ny\n", 0600);
	assert_find("a", RESULT_FOUND, ".a");
	assert_file("subscriptions", "V\t2\n\nx\n");
	assert_file("subscriptions.lock", "V\t2\n\nx\ny\n");
	ck_assert_int_eq(utimensat(maildir_fd, "subscriptions.lock", old, 0), 0);
	assert_find("b", RESULT_FOUND, ".b");
	assert_file("subscriptions", "V\t2\n\nx\nb\n");
	ck_assert(!is_there("subscriptions.lock"));
}
END_TEST

/* Many at once: nobody's line is lost, and a folder that several make is there once. */
START_TEST(test_at_once)
{
	pid_t pids[8];
	char line[32], list[4096];
	int fd;
	ssize_t len;

	rules.create = rules.subscribe_dovecot = true;
	for (int i = 0; i < 8; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			struct maildir_part part = {"x", 1};
			char folder[16];
			bool ok = true;

			target.rules = &rules;
			target.folder = folder;
			for (int j = 0; j < 5; j++) {
				(void)snprintf(folder, sizeof(folder), j ? "own%d.%d" : "common", i,
					       j);
				ok = maildir_deliver(&target, &part, 1, 1, 1, NULL, NULL, &err) ==
					     RESULT_FOUND &&
				     ok;
			}
			_exit(!ok);
		}
	}
	for (int i = 0; i < 8; i++) {
		int status;

		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert_int_eq(status, 0);
	}
	ck_assert_int_eq(count_files("new"), 0);
	ck_assert_int_eq(count_files(".common/new"), 8);
	fd = openat(maildir_fd, "subscriptions", O_RDONLY);
	len = read(fd, list, sizeof(list) - 1);
	ck_assert_int_gt(len, 0);
	list[len] = '\0';
	(void)close(fd);
	for (int i = 0; i < 8; i++)
		for (int j = 1; j < 5; j++) {
			(void)snprintf(line, sizeof(line), "\nown%d\t%d\n", i, j);
			ck_assert_msg(strstr(list, line), "%s in %s", line, list);
		}
	ck_assert_ptr_nonnull(strstr(list, "\ncommon\n"));
	ck_assert_ptr_null(strstr(strstr(list, "\ncommon\n") + 1, "\ncommon\n"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("folder");
	TCase *tests = tcase_create("folder");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup_maildir, teardown_maildir);
	tcase_set_timeout(tests, 60);
	tcase_add_loop_test(tests, test_names, 0, (int)(sizeof(names) / sizeof(names[0])));
	tcase_add_test(tests, test_long_names);
	tcase_add_test(tests, test_bad_names_on_disk);
	tcase_add_test(tests, test_find);
	tcase_add_test(tests, test_find_utf8);
	tcase_add_test(tests, test_create);
	tcase_add_test(tests, test_limit);
	tcase_add_test(tests, test_remains);
	tcase_add_test(tests, test_faults);
	tcase_add_test(tests, test_delivery);
	tcase_add_test(tests, test_subscribe);
	tcase_add_test(tests, test_old_lists);
	tcase_add_test(tests, test_lists_are_synced);
	tcase_add_test(tests, test_strange_lists);
	tcase_add_test(tests, test_locked_list);
	tcase_add_test(tests, test_at_once);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
