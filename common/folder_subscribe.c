/*
 * folder_subscribe - add a folder to the IMAP server's list of subscriptions
 *
 * Dovecot's `subscriptions`: since 2.3 a line "V<TAB>2", an empty line, then one folder a line,
 * levels separated by tabs; before, levels separated by dots and no first line. Names are as on
 * disk. (Tabs, newlines and the like would be escaped; no folder of ours has them.) Courier's
 * `courierimapsubscribed`: one "INBOX.A.B" a line.
 *
 * The new list is written as NAME.lock, synced, and renamed over the old one. That is Dovecot's own
 * way: the lock file, which only one can create, is the next version. So neither loses the other's
 * lines. Our own deliveries wait for each other by flock(2) of the Maildir, so that a lock file
 * which one finds is Dovecot's, or of somebody who died; after a time the latter.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/folder_subscribe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/folder_directory.h"
#include "common/io.h"
#include "common/log.h"

#define LIST_MAX    (1024 * 1024) /* bytes */
#define STALE_S     120           /* a lock file of this age is nobody's; Dovecot takes 30 */
#define LOCK_TRIES  20
#define LOCK_WAIT   (50L * 1000 * 1000) /* nanoseconds between them */
#define NEW_DOVECOT "V\t2\n\n"

/* The whole list; one that is absent is empty. 0, or -1 with errno. */
static int read_list(int maildir_fd, const char *name, struct buf *list_r, struct stat *st_r)
{
	int fd = openat(maildir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t got = 1;

	*st_r = (struct stat){.st_mode = 0600};
	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	if (fstat(fd, st_r) != 0 || !S_ISREG(st_r->st_mode) || st_r->st_size > LIST_MAX) {
		errno = EINVAL;
		got = -1;
	}
	while (got > 0) {
		char *room = buf_reserve(list_r, 4096);

		errno = ENOMEM;
		got = room && list_r->len <= LIST_MAX ? read(fd, room, 4096) : -1;
		if (got > 0)
			buf_added(list_r, (size_t)got);
	}
	folder_directory_close(&fd);
	return got < 0 ? -1 : 0;
}

static bool has_line(const struct buf *list, const char *line)
{
	size_t len = strlen(line);

	for (const char *at = buf_str(list); *at;) {
		size_t here = strcspn(at, "\n");

		if (here == len && memcmp(at, line, len) == 0)
			return true;
		at += here + (at[here] == '\n');
	}
	return false;
}

/* Adds LINE to LIST; false: it is there. */
static bool add_line(struct buf *list, const char *line)
{
	if (has_line(list, line))
		return false;
	if (list->len > 0 && list->data[list->len - 1] != '\n')
		buf_putc(list, '\n');
	buf_puts(list, line);
	buf_putc(list, '\n');
	return true;
}

/* Adds the folder as a list of this kind names it; false: it is there. */
static bool add_folder(struct buf *list, const char *directory, bool dovecot)
{
	struct buf line = BUF_INIT;
	bool added;

	if (dovecot && list->len == 0)
		buf_puts(list, NEW_DOVECOT);
	buf_printf(&line, "%s%s", dovecot ? "" : "INBOX", directory + dovecot);
	if (dovecot && strncmp(buf_str(list), NEW_DOVECOT, strlen(NEW_DOVECOT)) == 0)
		for (char *dot = line.data; dot && (dot = strchr(dot, '.'));)
			*dot = '\t';
	added = add_line(list, buf_str(&line));
	list->failed = list->failed || line.failed;
	buf_free(&line);
	return added;
}

/* Whoever of us comes here has the flock, so it is not one of ours at work. */
static bool is_stale(int maildir_fd, const char *lock)
{
	struct stat st;

	return fstatat(maildir_fd, lock, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_mtime < time(NULL) - STALE_S;
}

static int create_lock(int maildir_fd, const char *lock)
{
	for (int i = 0;; i++) {
		int fd = openat(maildir_fd, lock,
				O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);

		if (fd >= 0 || errno != EEXIST || i == LOCK_TRIES)
			return fd;
		if (is_stale(maildir_fd, lock))
			(void)unlinkat(maildir_fd, lock, 0);
		else
			(void)nanosleep(&(struct timespec){.tv_nsec = LOCK_WAIT}, NULL);
	}
}

/* 0, or -1 with errno. */
static int write_list(int fd, const struct buf *list, const struct stat *old)
{
	if (fchmod(fd, old->st_mode & 0777) != 0 || io_write_file(fd, list->data, list->len) != 0)
		return -1;
	return fdatasync(fd);
}

static void subscribe(int maildir_fd, const char *name, const char *lock, const char *directory,
		      bool dovecot)
{
	struct buf list = BUF_INIT;
	struct stat old;
	int fd = create_lock(maildir_fd, lock), rc = fd;
	bool replaced = false;

	if (rc >= 0)
		rc = read_list(maildir_fd, name, &list, &old);
	if (rc == 0 && add_folder(&list, directory, dovecot)) {
		errno = ENOMEM;
		rc = buf_ok(&list) ? write_list(fd, &list, &old) : -1;
		if (rc == 0)
			rc = renameat(maildir_fd, lock, maildir_fd, name);
		replaced = rc == 0;
	}
	if (rc != 0)
		log_warning("folder %s not subscribed file=%s reason=<%s>", directory, name,
			    strerror(errno));
	if (fd >= 0 && !replaced)
		(void)unlinkat(maildir_fd, lock, 0);
	folder_directory_close(&fd);
	buf_free(&list);
}

void folder_subscribe(int maildir_fd, const char *directory, const struct folder_rules *rules)
{
	int fd;

	if (!rules->subscribe_dovecot && !rules->subscribe_courier)
		return;
	fd = folder_directory_open(maildir_fd, "."); /* a lock of this call alone */
	if (fd < 0 || flock(fd, LOCK_EX) != 0) {
		log_warning("folder %s not subscribed reason=<lock: %s>", directory,
			    strerror(errno));
		folder_directory_close(&fd);
		return;
	}
	if (rules->subscribe_dovecot)
		subscribe(fd, "subscriptions", "subscriptions.lock", directory, true);
	if (rules->subscribe_courier)
		subscribe(fd, "courierimapsubscribed", "courierimapsubscribed.lock", directory,
			  false);
	folder_directory_close(&fd);
}
