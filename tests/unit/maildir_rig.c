/*
 * maildir_rig - a mail base of a test, and a record of the system calls that deliveries make
 *
 * The calls that matter are wrapped here (the program's own definitions win over libc's): each is
 * recorded, may be made to fail, and is otherwise the real one.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "tests/unit/maildir_rig.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The recorder. */

struct event events[RIG_EVENTS];
size_t event_count;

struct fault faults[CALLS];
size_t short_writes;
bool lost_link_reply;

ino_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* Records a call; true: it must fail, errno is set. */
static bool record(enum call call, ino_t at, const char *to)
{
	if (event_count < sizeof(events) / sizeof(events[0])) {
		struct event *event = &events[event_count++];

		*event = (struct event){.call = call, .at = at};
		(void)snprintf(event->to, sizeof(event->to), "%s", to);
	}
	if (faults[call].nth > 1) {
		faults[call].nth--;
	} else if (faults[call].nth == 1 && faults[call].times > 0) {
		faults[call].times--;
		errno = faults[call].error;
		return true;
	}
	return false;
}

void plan_fault(enum call call, unsigned nth, unsigned times, int error)
{
	faults[call].nth = nth;
	faults[call].times = times;
	faults[call].error = error;
}

int fsync(int fd)
{
	return record(CALL_SYNC, inode_of(fd), "") ? -1 : (int)syscall(SYS_fsync, fd);
}

int syncfs(int fd)
{
	return record(CALL_SYNCFS, inode_of(fd), "") ? -1 : (int)syscall(SYS_syncfs, fd);
}

int unlinkat(int at, const char *name, int flags)
{
	return record(CALL_UNLINK, inode_of(at), name)
		       ? -1
		       : (int)syscall(SYS_unlinkat, at, name, flags);
}

int fdatasync(int fd)
{
	return record(CALL_DATASYNC, inode_of(fd), "") ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int mkdirat(int at, const char *name, mode_t mode)
{
	return record(CALL_MKDIR, inode_of(at), name) ? -1
						      : (int)syscall(SYS_mkdirat, at, name, mode);
}

int linkat(int from, const char *name, int to, const char *new_name, int flags)
{
	struct stat st = {0};
	int rc;

	(void)fstatat(from, name, &st, flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW);
	if (record(CALL_LINK, st.st_ino, ""))
		return -1;
	rc = (int)syscall(SYS_linkat, from, name, to, new_name, flags);
	if (rc == 0 && lost_link_reply) {
		errno = EEXIST;
		return -1;
	}
	return rc;
}

int openat(int at, const char *name, int flags, ...)
{
	va_list args;
	mode_t mode = 0;

	va_start(args, flags);
	if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE)
		mode = va_arg(args, mode_t);
	va_end(args);
	if ((flags & O_TMPFILE) == O_TMPFILE && record(CALL_TMPFILE, inode_of(at), ""))
		return -1;
	return (int)syscall(SYS_openat, at, name, flags, mode);
}

/* Only of files: check itself writes to a pipe. */
static bool record_write(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && record(CALL_WRITE, st.st_ino, "");
}

ssize_t write(int fd, const void *data, size_t len)
{
	return record_write(fd) ? -1 : syscall(SYS_write, fd, data, len);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	if (record_write(fd))
		return -1;
	if (short_writes > 0 && count > 0) {
		size_t len = iov[0].iov_len < short_writes ? iov[0].iov_len : short_writes;

		return syscall(SYS_write, fd, iov[0].iov_base, len);
	}
	return syscall(SYS_writev, fd, iov, count);
}

/* The folder of a test. */

char top[64], base[80], outside[80], directory[2000];
struct maildir_target target;
struct error err;

void setup(void)
{
	(void)snprintf(top, sizeof(top), "%s/test_maildir.XXXXXX", "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(top));
	(void)snprintf(base, sizeof(base), "%s/base", top);
	(void)snprintf(outside, sizeof(outside), "%s/outside", top);
	ck_assert_int_eq(mkdir(base, 0700), 0);
	ck_assert_int_eq(mkdir(outside, 0700), 0);
	(void)snprintf(directory, sizeof(directory), "%s/example.com/alice/Maildir", base);
	target = (struct maildir_target){.base = base, .directory = directory, .folder = ""};
	event_count = 0;
	memset(faults, 0, sizeof(faults));
	short_writes = 0;
	lost_link_reply = false;
	err.text[0] = '\0';
}

void teardown(void)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf %s", top);
	ck_assert_int_eq(system(command), 0);
}

void path_below(char *path_r, size_t size, const char *name)
{
	ck_assert_int_lt(snprintf(path_r, size, "%s%s%s", directory, *name ? "/" : "", name),
			 (int)size);
}

int count_files(const char *name)
{
	char path[4096];
	struct dirent *entry;
	int count = 0;
	DIR *dir;

	path_below(path, sizeof(path), name);
	dir = opendir(path);
	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	(void)closedir(dir);
	return count;
}

void make_folder(const char *name)
{
	const char *parts[] = {"", "/cur", "/new", "/tmp"};
	char path[4096];

	for (size_t i = 0; i < 4; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s%s", directory, name, parts[i]);
		ck_assert_int_eq(mkdir(path, 0700), 0);
	}
}

/* The recorder's verdicts. */

bool synced_between(enum call call, ino_t at, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (events[i].call == call && events[i].at == at)
			return true;
	return false;
}

int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		count++;
	(void)closedir(dir);
	return count;
}
