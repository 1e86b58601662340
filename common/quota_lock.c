/*
 * quota_lock - one change of a mailbox at a time
 *
 * The file holds one line, "BOOT-ID FLAG": the boot of the host on which it was last held, and 1
 * while a change is under way, else 0. Whoever finds 1 knows that the holder died in between;
 * whoever finds another boot knows that lines of maildirsize, which is never synced, may be lost.
 *
 * The lock is one of the open file description (F_OFD_SETLK), so that threads exclude each other as
 * processes do. Its holder only links a file, so waiting is a short sleep and another try: it has
 * an end in time without a signal.
 *
 * Limits: hosts that share Maildirs over the network have boots of their own, so each counts after
 * the other had the mailbox. Nothing is fair among those who wait. Dovecot's oldest versions use the
 * same name for a lock of their own and remove a file of that age; then the next one counts.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/deadline.h"
#include "common/quota_lock.h"

#define FILE_NAME       "maildirsize.lock"
#define BOOT_FILE       "/proc/sys/kernel/random/boot_id"
#define BOOT_LEN        36
#define LINE_LEN        (BOOT_LEN + 3)
#define FIRST_SLEEPS    500 /* short ones: about 50 ms together */
#define SHORT_SLEEP_NS  100000
#define LONGER_SLEEP_NS 2000000

static pthread_once_t boot_once = PTHREAD_ONCE_INIT;
static char boot[BOOT_LEN + 2]; /* "" when the kernel does not tell it */

static void read_boot(void)
{
	int fd = open(BOOT_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return;
	got = read(fd, boot, BOOT_LEN);
	(void)close(fd);
	if (got != BOOT_LEN || strlen(boot) != BOOT_LEN)
		boot[0] = '\0';
}

/* The line that a mailbox has which is CHANGING or not. */
static void print_line(char *line, bool changing)
{
	(void)pthread_once(&boot_once, read_boot);
	(void)snprintf(line, LINE_LEN + 1, "%-*.*s %d\n", BOOT_LEN, BOOT_LEN, boot, changing);
}

/* FOUND: locked. NONE: somebody else has it. */
static enum result try_lock(int fd, struct error *err)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_SETLK, &whole) == 0)
		return RESULT_FOUND;
	if (errno == EAGAIN || errno == EACCES || errno == EINTR)
		return RESULT_NONE;
	return result_error(err, RESULT_TEMP, FILE_NAME ": lock: %s", strerror(errno));
}

static enum result wait_for_lock(int fd, struct deadline deadline, struct error *err)
{
	for (unsigned tries = 0;; tries++) {
		struct timespec pause = {0,
					 tries < FIRST_SLEEPS ? SHORT_SLEEP_NS : LONGER_SLEEP_NS};
		enum result result = try_lock(fd, err);

		if (result != RESULT_NONE)
			return result;
		if (deadline_passed(deadline))
			return result_error(err, RESULT_TEMP,
					    "mailbox is being delivered to by others: " FILE_NAME
					    " is still locked");
		(void)nanosleep(&pause, NULL);
	}
}

/* FOUND: *FD_R is locked. NONE: it is no longer the file of that name. */
static enum result open_locked(int maildir_fd, struct deadline deadline, int *fd_r,
			       struct error *err)
{
	struct stat st;
	enum result result;
	/* O_NONBLOCK: a FIFO of that name must not hold us up. */
	int fd = openat(maildir_fd, FILE_NAME,
			O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

	if (fd < 0)
		return result_error(err, RESULT_TEMP, FILE_NAME ": open: %s", strerror(errno));
	result = wait_for_lock(fd, deadline, err);
	if (result == RESULT_FOUND && fstat(fd, &st) != 0)
		result = result_error(err, RESULT_TEMP, FILE_NAME ": stat: %s", strerror(errno));
	else if (result == RESULT_FOUND && !S_ISREG(st.st_mode))
		result =
			result_error(err, RESULT_TEMP, FILE_NAME ": not a regular file: remove it");
	else if (result == RESULT_FOUND && st.st_nlink == 0)
		result = RESULT_NONE;
	if (result == RESULT_FOUND)
		*fd_r = fd;
	else
		(void)close(fd);
	return result;
}

enum result quota_lock(int maildir_fd, int64_t timeout_ms, int *fd_r, bool *clean_r,
		       struct error *err)
{
	struct deadline deadline = deadline_in(timeout_ms);
	char line[LINE_LEN + 1], expected[LINE_LEN + 1];
	enum result result;
	ssize_t got;

	do {
		result = open_locked(maildir_fd, deadline, fd_r, err);
	} while (result == RESULT_NONE && !deadline_passed(deadline));
	if (result == RESULT_NONE)
		return result_error(err, RESULT_TEMP, FILE_NAME ": removed again and again");
	if (result != RESULT_FOUND)
		return result;
	got = pread(*fd_r, line, sizeof(line), 0);
	if (got < 0) {
		result = result_error(err, RESULT_TEMP, FILE_NAME ": read: %s", strerror(errno));
		(void)close(*fd_r);
		return result;
	}
	print_line(expected, false);
	*clean_r = boot[0] != '\0' && got == LINE_LEN && memcmp(line, expected, LINE_LEN) == 0;
	return RESULT_FOUND;
}

enum result quota_lock_mark(int lock_fd, bool changing, struct error *err)
{
	char line[LINE_LEN + 1];
	ssize_t written;

	print_line(line, changing);
	written = pwrite(lock_fd, line, LINE_LEN, 0);
	if (written == LINE_LEN)
		return RESULT_FOUND;
	if (written >= 0)
		errno = ENOSPC;
	return result_error(err, RESULT_TEMP, FILE_NAME ": write: %s", strerror(errno));
}
