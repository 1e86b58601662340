/*
 * test_maildir - layout, confinement, names, the order of syncs, and every fault on the way
 *
 * The calls that matter are recorded, and made to fail, by maildir_rig.c.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/maildir.h"
#include "tests/unit/maildir_rig.h"

static enum result deliver_text(const char *text, struct buf *name_r, bool *no_space_r)
{
	struct maildir_part parts[] = {{"Header: x\n\n", 11}, {"", 0}, {text, strlen(text)}};
	bool last_was_cr = false;

	event_count = 0;
	return maildir_deliver(&target, parts, 3, 11 + strlen(text),
			       13 + maildir_virtual_size(text, strlen(text), &last_was_cr), name_r,
			       no_space_r, &err);
}

static void assert_mode(const char *name, mode_t mode)
{
	char path[4096];
	struct stat st;

	path_below(path, sizeof(path), name);
	ck_assert_msg(lstat(path, &st) == 0, "%s: %s", path, strerror(errno));
	ck_assert_msg(st.st_mode == mode, "%s has mode %o", path, st.st_mode);
}

/* Whatever was made is synced before it is relied upon. */
static void assert_durable(void)
{
	size_t links = 0;
	char path[4096];
	struct stat st;

	path_below(path, sizeof(path), "new");
	ck_assert_int_eq(stat(path, &st), 0);
	for (size_t i = 0; i < event_count; i++) {
		const struct event *event = &events[i];

		if (event->call == CALL_LINK) {
			links++;
			ck_assert_msg(synced_between(CALL_DATASYNC, event->at, 0, i),
				      "data before link");
			ck_assert_msg(synced_between(CALL_SYNC, st.st_ino, i, event_count),
				      "new after link");
		} else if (event->call == CALL_MKDIR) {
			ck_assert_msg(synced_between(CALL_SYNC, event->at, i, event_count),
				      "the folder that holds %s", event->to);
		} else if (event->call == CALL_WRITE) {
			ck_assert_msg(synced_between(CALL_DATASYNC, event->at, i, event_count),
				      "data after each write");
			ck_assert_msg(!synced_between(CALL_LINK, event->at, 0, i),
				      "no write after the link");
		}
	}
	ck_assert_uint_eq(links, 1);
}

START_TEST(test_first_delivery)
{
	struct buf name = BUF_INIT;
	bool no_space = true;
	char path[4096], content[64] = "";
	unsigned long long size, wire;
	FILE *file;

	ck_assert_msg(deliver_text("one\ntwo\r\nthree", &name, &no_space) == RESULT_FOUND, "%s",
		      err.text);
	ck_assert(!no_space);
	assert_durable();
	assert_mode("", S_IFDIR | 0700);
	assert_mode("new", S_IFDIR | 0700);
	assert_mode("cur", S_IFDIR | 0700);
	assert_mode("tmp", S_IFDIR | 0700);
	assert_mode(buf_str(&name), S_IFREG | 0600);
	ck_assert_int_eq(count_files("new"), 1);
	ck_assert_int_eq(count_files("tmp"), 0);
	ck_assert_str_eq(events[event_count - 1].to, "");
	ck_assert_int_eq(sscanf(strstr(buf_str(&name), ",S="), ",S=%llu,W=%llu", &size, &wire), 2);
	ck_assert_uint_eq(size, 11 + 14);
	ck_assert_uint_eq(wire, 11 + 14 + 3);
	path_below(path, sizeof(path), buf_str(&name));
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fread(content, 1, sizeof(content), file), size);
	ck_assert_int_eq(memcmp(content, "Header: x\n\none\ntwo\r\nthree", size), 0);
	(void)fclose(file);
	buf_free(&name);
}
END_TEST

/* tmp/ says "complete and synced", so it is made after the sync of all the rest. */
START_TEST(test_tmp_is_made_last)
{
	size_t tmp = 0;

	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
	for (size_t i = 0; i < event_count; i++)
		if (events[i].call == CALL_MKDIR && strcmp(events[i].to, "tmp") == 0)
			tmp = i;
	ck_assert_uint_gt(tmp, 0);
	for (size_t i = 0; i < event_count; i++) {
		if (events[i].call != CALL_MKDIR || i == tmp)
			continue;
		ck_assert_uint_lt(i, tmp);
		ck_assert_msg(synced_between(CALL_SYNC, events[i].at, i, tmp), "%s", events[i].to);
	}
}
END_TEST

/* Somebody else's half-made Maildir is completed and synced by us, not trusted. */
START_TEST(test_half_made)
{
	char path[4096];
	size_t syncs = 0;

	path_below(path, sizeof(path), "");
	*strrchr(path, '/') = '\0';
	*strrchr(path, '/') = '\0';
	ck_assert_int_eq(mkdir(path, 0700), 0);
	(void)strcat(path, "/alice");
	ck_assert_int_eq(mkdir(path, 0700), 0);
	(void)strcat(path, "/Maildir");
	ck_assert_int_eq(mkdir(path, 0700), 0);
	(void)strcat(path, "/new");
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
	assert_durable();
	for (size_t i = 0; i < event_count; i++)
		syncs += events[i].call == CALL_SYNC;
	ck_assert_uint_ge(syncs, 6); /* base, example.com, alice, Maildir twice, new */
	ck_assert_int_eq(count_files("cur"), 0);
}
END_TEST

START_TEST(test_second_delivery_makes_nothing)
{
	struct buf one = BUF_INIT, two = BUF_INIT;

	ck_assert_int_eq(deliver_text("x", &one, NULL), RESULT_FOUND);
	ck_assert_int_eq(deliver_text("x", &two, NULL), RESULT_FOUND);
	assert_durable();
	for (size_t i = 0; i < event_count; i++)
		ck_assert_int_ne(events[i].call, CALL_MKDIR);
	ck_assert_str_ne(buf_str(&one), buf_str(&two));
	ck_assert_int_eq(count_files("new"), 2);
	buf_free(&one);
	buf_free(&two);
}
END_TEST

START_TEST(test_names)
{
	struct buf name = BUF_INIT;

	ck_assert_int_eq(deliver_text("x", &name, NULL), RESULT_FOUND);
	ck_assert_int_eq(strncmp(buf_str(&name), "new/1", 5), 0);
	ck_assert_ptr_null(strchr(buf_str(&name), ':'));
	ck_assert_ptr_null(strchr(buf_str(&name) + 4, '/'));
	ck_assert_uint_le(name.len - 4, 255);
	for (const char *part = "MPVIR"; *part; part++)
		ck_assert_ptr_nonnull(strchr(buf_str(&name), *part));
	buf_free(&name);
}
END_TEST

START_TEST(test_folders)
{
	static const struct {
		const char *folder, *prefix;
	} rows[] = {
		{"lists", ".lists/new/"},
		{"a.b", ".a.b/new/"},
		{"Lists", "new/"},    /* exact */
		{"absent", "new/"},   /* the INBOX */
		{"file", "new/"},     /* ".file" is a file */
		{"link", "new/"},     /* ".link" leads outside */
		{"nofolder", "new/"}, /* a directory, but no folder */
		{".", "new/"},
		{"..", "new/"},
		{"./../outside", "new/"},
		{"/etc", "new/"},
		{"a/b", "new/"},
		{".lists", "new/"},
		{"lists.", "new/"},
		{"a..b", "new/"},
		{"x\ny", "new/"},
	};
	char path[4096], huge[600];
	int fd;

	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
	make_folder(".lists");
	make_folder(".a.b");
	make_folder(".a..b");
	make_folder(".lists.");
	path_below(path, sizeof(path), ".file");
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_ge(fd, 0);
	(void)close(fd);
	path_below(path, sizeof(path), ".link");
	ck_assert_int_eq(symlink(outside, path), 0);
	path_below(path, sizeof(path), ".nofolder");
	ck_assert_int_eq(mkdir(path, 0700), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf name = BUF_INIT;

		target.folder = rows[i].folder;
		ck_assert_int_eq(deliver_text("x", &name, NULL), RESULT_FOUND);
		ck_assert_msg(strncmp(buf_str(&name), rows[i].prefix, strlen(rows[i].prefix)) == 0,
			      "%s: %s", rows[i].folder, buf_str(&name));
		buf_free(&name);
	}
	memset(huge, 'x', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	target.folder = huge;
	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
	ck_assert_int_eq(count_files(".lists/new"), 1);
	ck_assert_int_eq(count_files("new"), 16);
	ck_assert_int_eq(rmdir(outside), 0); /* still empty */
}
END_TEST

/* A folder that lost new/ and tmp/ gets them again. */
START_TEST(test_folder_completed)
{
	char path[4096];
	struct buf name = BUF_INIT;

	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
	make_folder(".lists");
	path_below(path, sizeof(path), ".lists/new");
	ck_assert_int_eq(rmdir(path), 0);
	path_below(path, sizeof(path), ".lists/tmp");
	ck_assert_int_eq(rmdir(path), 0);
	target.folder = "lists";
	ck_assert_int_eq(deliver_text("x", &name, NULL), RESULT_FOUND);
	ck_assert_int_eq(strncmp(buf_str(&name), ".lists/new/", 11), 0);
	buf_free(&name);

	/* And the Maildir itself, which somebody may be making just now: usage is kept there. */
	path_below(path, sizeof(path), "tmp");
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

/* openat2 answers ENOSYS from now on. */
static void forbid_openat2(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = 4, .filter = filter};

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
	ck_assert_int_eq((int)syscall(SYS_openat2, -1, "", NULL, 0), -1);
	ck_assert_int_eq(errno, ENOSYS);
}

static void assert_refused(const char *path, const char *words)
{
	(void)snprintf(directory, sizeof(directory), "%s", path);
	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_TEMP);
	ck_assert_msg(strstr(err.text, words), "%s: %s", path, err.text);
}

static void check_confinement(void)
{
	static const char *const bad[] = {"%s/../outside",
					  "%s/a/../../outside",
					  "%s/./a",
					  "%s//a",
					  "%s/a/",
					  "%s/a//b",
					  "%s/..",
					  "%s",
					  "%s/",
					  "%s-other/a",
					  "/etc",
					  "a/b",
					  ""};
	char path[4096], link_path[4096];
	const char *names[] = {"new", "cur", "tmp"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *rest = strncmp(bad[i], "%s", 2) == 0 ? bad[i] + 2 : NULL;

		(void)snprintf(path, sizeof(path), "%s%s", rest ? base : bad[i], rest ? rest : "");
		assert_refused(path, "not below the mail base");
	}
	/* Outside there is all that a delivery needs. */
	(void)snprintf(directory, sizeof(directory), "%s", outside);
	make_folder("alice");
	(void)snprintf(link_path, sizeof(link_path), "%s/link", base);
	ck_assert_int_eq(symlink(outside, link_path), 0);
	(void)snprintf(path, sizeof(path), "%s/link", base);
	assert_refused(path, "symbolic link");
	(void)snprintf(path, sizeof(path), "%s/link/alice", base);
	assert_refused(path, "symbolic link");
	/* Also where it stays inside, and in the Maildir itself. */
	for (size_t i = 0; i < 3; i++) {
		(void)snprintf(directory, sizeof(directory), "%s/user%zu", base, i);
		ck_assert_int_eq(mkdir(directory, 0700), 0);
		for (size_t j = 0; j < 3; j++) {
			path_below(path, sizeof(path), names[j]);
			if (i == j)
				ck_assert_int_eq(symlink(outside, path), 0);
			else
				ck_assert_int_eq(mkdir(path, 0700), 0);
		}
		if (i == 1)
			continue; /* cur is not written to */
		(void)snprintf(path, sizeof(path), "%s", directory);
		assert_refused(path, "symbolic link");
	}
	(void)snprintf(directory, sizeof(directory), "%s/alice", outside);
	ck_assert_int_eq(count_files("new"), 0);
	ck_assert_int_eq(count_files("tmp"), 0);
	(void)snprintf(directory, sizeof(directory), "%s", outside);
	ck_assert_int_eq(count_files(""), 1);
}

START_TEST(test_confinement)
{
	check_confinement();
}
END_TEST

START_TEST(test_confinement_without_openat2)
{
	forbid_openat2();
	check_confinement();
}
END_TEST

START_TEST(test_delivery_without_openat2)
{
	forbid_openat2();
	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
	assert_durable();
	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
	assert_durable();
}
END_TEST

/* The base itself is the administrator's and may be reached through links. */
START_TEST(test_base)
{
	char link_path[96];

	(void)snprintf(link_path, sizeof(link_path), "%s/link", top);
	ck_assert_int_eq(symlink("base", link_path), 0);
	(void)snprintf(directory, sizeof(directory), "%s/a", link_path);
	target.base = link_path;
	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
	ck_assert_int_eq(count_files("new"), 1);
	(void)snprintf(link_path, sizeof(link_path), "%s/base/", top);
	(void)snprintf(directory, sizeof(directory), "%s/base/a", top);
	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
	(void)snprintf(link_path, sizeof(link_path), "%s/absent", top);
	(void)snprintf(directory, sizeof(directory), "%s/absent/a", top);
	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_TEMP);
	ck_assert_ptr_nonnull(strstr(err.text, "absent"));
	ck_assert_ptr_nonnull(strstr(err.text, "must exist"));
}
END_TEST

START_TEST(test_open)
{
	int fd = -1;

	ck_assert_int_eq(maildir_open(&target, false, &fd, &err), RESULT_NONE);
	ck_assert_int_eq(maildir_open(&target, true, &fd, &err), RESULT_FOUND);
	(void)close(fd);
	assert_mode("tmp", S_IFDIR | 0700);
	ck_assert_int_eq(maildir_open(&target, false, &fd, &err), RESULT_FOUND);
	ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
	(void)close(fd);
	(void)snprintf(directory, sizeof(directory), "%s/../outside", base);
	ck_assert_int_eq(maildir_open(&target, false, &fd, &err), RESULT_TEMP);
}
END_TEST

/* Each call that can fail: TEMP, a text with its name, nothing left behind, no descriptor lost. */
START_TEST(test_faults)
{
	static const struct {
		enum call call;
		int error;
		bool no_space;
		const char *words;
	} rows[] = {
		{CALL_WRITE, EIO, false, "write: Input/output error"},
		{CALL_WRITE, ENOSPC, true, "the disk is full"},
		{CALL_WRITE, EDQUOT, true, "quota"},
		{CALL_DATASYNC, EIO, false, "fdatasync: Input/output error"},
		{CALL_DATASYNC, ENOSPC, true, "fdatasync"},
		{CALL_LINK, EIO, false, "link into new"},
		{CALL_LINK, EEXIST, false, "link into new"},
		{CALL_LINK, EDQUOT, true, "link into new"},
		{CALL_SYNC, EIO, false, "fsync new"},
		{CALL_TMPFILE, EROFS, false, "read-only"},
		{CALL_TMPFILE, EACCES, false, "[mail] owner"},
		{CALL_TMPFILE, ENOSPC, true, "disk is full"},
		{CALL_TMPFILE, EMFILE, false, "Too many open files"},
	};
	int descriptors;

	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
	descriptors = open_descriptors();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool no_space = !rows[i].no_space;

		plan_fault(rows[i].call, 1, 1, rows[i].error);
		ck_assert_int_eq(deliver_text("x", NULL, &no_space), RESULT_TEMP);
		ck_assert_msg(strstr(err.text, rows[i].words), "row %zu: %s", i, err.text);
		ck_assert_msg(strstr(err.text, directory), "row %zu: %s", i, err.text);
		ck_assert_int_eq(no_space, rows[i].no_space);
		ck_assert_uint_eq(faults[rows[i].call].times, 0);
		ck_assert_int_eq(count_files("new"), 1);
		ck_assert_int_eq(count_files("tmp"), 0);
	}
	ck_assert_int_eq(open_descriptors(), descriptors);
	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
}
END_TEST

START_TEST(test_faults_while_making)
{
	int descriptors = open_descriptors();

	/* Three directories, new, cur, tmp; each sync behind them. */
	for (unsigned nth = 1; nth <= 6; nth++) {
		bool no_space = false;

		plan_fault(CALL_MKDIR, nth, 1, ENOSPC);
		ck_assert_int_eq(deliver_text("x", NULL, &no_space), RESULT_TEMP);
		ck_assert(no_space);
		ck_assert_int_le(count_files("new"), 0);
	}
	for (unsigned nth = 1; nth <= 5; nth++) {
		plan_fault(CALL_SYNC, nth, 1, EIO);
		ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_TEMP);
		ck_assert_int_le(count_files("new"), 0);
		if (nth < 5)
			ck_assert_int_eq(count_files("tmp"), -1);
	}
	ck_assert_int_eq(open_descriptors(), descriptors);
	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
}
END_TEST

/* Without nameless files, or without /proc: a name in tmp/, gone afterwards. */
START_TEST(test_named_files)
{
	static const struct {
		enum call call;
		int error;
	} rows[] = {{CALL_TMPFILE, EOPNOTSUPP},
		    {CALL_TMPFILE, EISDIR},
		    {CALL_TMPFILE, EINVAL},
		    {CALL_LINK, ENOENT},
		    {CALL_LINK, EXDEV}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf name = BUF_INIT;

		plan_fault(rows[i].call, 1, 1, rows[i].error);
		ck_assert_msg(deliver_text("x", &name, NULL) == RESULT_FOUND, "%s", err.text);
		if (rows[i].call == CALL_TMPFILE)
			assert_durable();
		assert_mode(buf_str(&name), S_IFREG | 0600);
		ck_assert_int_eq(count_files("tmp"), 0);
		ck_assert_int_eq(count_files("new"), (int)i + 1);
		buf_free(&name);
	}
	/* And a fault there. */
	plan_fault(CALL_TMPFILE, 1, 1, EOPNOTSUPP);
	plan_fault(CALL_DATASYNC, 1, 1, EIO);
	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_TEMP);
	ck_assert_int_eq(count_files("tmp"), 0);
}
END_TEST

START_TEST(test_lost_reply_of_link)
{
	plan_fault(CALL_TMPFILE, 1, 1, EOPNOTSUPP);
	lost_link_reply = true;
	ck_assert_int_eq(deliver_text("x", NULL, NULL), RESULT_FOUND);
	lost_link_reply = false;
	ck_assert_int_eq(count_files("new"), 1);
	ck_assert_int_eq(count_files("tmp"), 0);
}
END_TEST

/* More parts than one writev(2) takes, empty ones among them, a few bytes at a time. */
START_TEST(test_many_parts)
{
	static const size_t limits[] = {0, 1, 7, 100};
	struct maildir_part parts[50];
	char wanted[500] = "", got[500], path[4096];

	for (size_t i = 0; i < 50; i++) {
		parts[i] =
			(struct maildir_part){&"0123456789"[i % 10], i % 3 == 1 ? 0 : 10 - i % 10};
		(void)strncat(wanted, parts[i].data, parts[i].len);
	}
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct buf name = BUF_INIT;
		FILE *file;

		short_writes = limits[i];
		ck_assert_int_eq(maildir_deliver(&target, parts, 50, 1, 1, &name, NULL, &err),
				 RESULT_FOUND);
		path_below(path, sizeof(path), buf_str(&name));
		file = fopen(path, "r");
		ck_assert_ptr_nonnull(file);
		ck_assert_uint_eq(fread(got, 1, sizeof(got), file), strlen(wanted));
		ck_assert_int_eq(memcmp(got, wanted, strlen(wanted)), 0);
		(void)fclose(file);
		buf_free(&name);
	}
	ck_assert_int_eq(maildir_deliver(&target, parts, 0, 0, 0, NULL, NULL, &err), RESULT_FOUND);
}
END_TEST

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && syscall(SYS_write, fd, text, strlen(text)) == (long)strlen(text);

	if (fd >= 0)
		(void)close(fd);
	return ok;
}

/* A mount namespace of our own, as root or as a user who becomes root in it. */
static bool own_mounts(void)
{
	char uids[64], gids[64];

	(void)snprintf(uids, sizeof(uids), "0 %u 1\n", (unsigned)getuid());
	(void)snprintf(gids, sizeof(gids), "0 %u 1\n", (unsigned)getgid());
	if (unshare(CLONE_NEWNS) != 0 &&
	    (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !write_text("/proc/self/uid_map", uids) ||
	     !write_text("/proc/self/setgroups", "deny") ||
	     !write_text("/proc/self/gid_map", gids)))
		return false;
	return mount("", "/", "", MS_REC | MS_PRIVATE, "") == 0;
}

/* A real disk that gets full, in a process of its own because of the mount. */
static int full_disk(void)
{
	static char big[100 * 1024];
	struct maildir_part part = {big, sizeof(big)};
	bool no_space = false;

	if (!own_mounts() || mount("tmpfs", base, "tmpfs", 0, "size=128k") != 0) {
		/* No right to mount: a file size limit is the nearest thing. */
		struct rlimit limit = {50 * 1024, 50 * 1024};

		(void)signal(SIGXFSZ, SIG_IGN);
		if (setrlimit(RLIMIT_FSIZE, &limit) != 0 ||
		    maildir_deliver(&target, &part, 1, sizeof(big), sizeof(big), NULL, &no_space,
				    &err) != RESULT_TEMP ||
		    no_space || !strstr(err.text, "file size limit"))
			return 1;
		return count_files("new") == 0 && count_files("tmp") == 0 ? 0 : 2;
	}
	if (maildir_deliver(&target, &part, 1, sizeof(big), sizeof(big), NULL, &no_space, &err) !=
		    RESULT_FOUND ||
	    maildir_deliver(&target, &part, 1, sizeof(big), sizeof(big), NULL, &no_space, &err) !=
		    RESULT_TEMP ||
	    !no_space || !strstr(err.text, "the disk is full"))
		return 3;
	if (count_files("new") != 1 || count_files("tmp") != 0)
		return 4;
	if (mount("", base, "", MS_REMOUNT | MS_RDONLY, "") != 0)
		return 5;
	if (deliver_text("x", NULL, &no_space) != RESULT_TEMP || no_space ||
	    !strstr(err.text, "read-only"))
		return 6;
	(void)snprintf(directory, sizeof(directory), "%s/other", base);
	if (deliver_text("x", NULL, &no_space) != RESULT_TEMP || !strstr(err.text, "read-only"))
		return 7;
	return 0;
}

START_TEST(test_full_and_read_only_disk)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(full_disk());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "step %d",
		      WEXITSTATUS(status));
}
END_TEST

START_TEST(test_long_paths)
{
	char path[1900];
	size_t len = (size_t)snprintf(path, sizeof(path), "%s/", base);

	memset(path + len, 'y', 300);
	path[len + 300] = '\0';
	assert_refused(path, "too long");
	for (size_t i = 0; i < 700; i++)
		memcpy(path + len + 2 * i, "x/", 2);
	path[len + 1399] = '\0';
	(void)snprintf(directory, sizeof(directory), "%s", path);
	ck_assert_msg(deliver_text("x", NULL, NULL) == RESULT_FOUND, "%s", err.text);
}
END_TEST

START_TEST(test_virtual_size)
{
	static const struct {
		const char *text;
		uint64_t size;
	} rows[] = {{"", 0},       {"a", 1},      {"\n", 2}, {"a\nb\n", 6},     {"\r\n", 2},
		    {"\r\r\n", 3}, {"\n\n\n", 6}, {"\r", 1}, {"a\r\nb\n\r", 7}, {"\n\r\n", 4}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = strlen(rows[i].text);

		for (size_t cut = 0; cut <= len; cut++) {
			bool last_was_cr = false;
			uint64_t size = maildir_virtual_size(rows[i].text, cut, &last_was_cr);

			size += maildir_virtual_size(rows[i].text + cut, len - cut, &last_was_cr);
			ck_assert_msg(size == rows[i].size, "row %zu cut at %zu: %llu", i, cut,
				      (unsigned long long)size);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("maildir");
	TCase *tests = tcase_create("maildir");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, test_first_delivery);
	tcase_add_test(tests, test_tmp_is_made_last);
	tcase_add_test(tests, test_half_made);
	tcase_add_test(tests, test_second_delivery_makes_nothing);
	tcase_add_test(tests, test_names);
	tcase_add_test(tests, test_folders);
	tcase_add_test(tests, test_folder_completed);
	tcase_add_test(tests, test_confinement);
	tcase_add_test(tests, test_confinement_without_openat2);
	tcase_add_test(tests, test_delivery_without_openat2);
	tcase_add_test(tests, test_base);
	tcase_add_test(tests, test_open);
	tcase_add_test(tests, test_faults);
	tcase_add_test(tests, test_faults_while_making);
	tcase_add_test(tests, test_named_files);
	tcase_add_test(tests, test_lost_reply_of_link);
	tcase_add_test(tests, test_many_parts);
	tcase_add_test(tests, test_full_and_read_only_disk);
	tcase_add_test(tests, test_long_paths);
	tcase_add_test(tests, test_virtual_size);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
