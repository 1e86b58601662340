/*
 * quota - the Maildir++ file `maildirsize`
 *
 * The file is a cache that every writer of the Maildir appends to; whoever cannot trust it counts
 * the files and replaces it. It is never synced: after a crash a lost line is a few bytes too few
 * until the next recount.
 *
 * The limit in the first line is printed as Dovecot prints it (a part that is unlimited is left
 * out), because each side recounts when it finds another limit than its own.
 *
 * Known gaps: check and append are two steps, so deliveries at the same moment may together pass
 * the limit. A message that another process published but did not yet append is counted twice by a
 * recount at that moment, and one appended to the file that a recount replaces is not counted. All
 * mend at the next recount.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/io.h"
#include "common/quota.h"
#include "common/secret.h"

#define FILE_NAME      "maildirsize"
#define FILE_MAX       5120      /* at this size the file is replaced, by convention */
#define FRESH_SECONDS  (15 * 60) /* a recount that is believed when it says "full" */
#define RECOUNT_ROUNDS 5

static bool add(int64_t *sum, int64_t value)
{
	return !__builtin_add_overflow(*sum, value, sum);
}

/* "1000S,10C" in any order, either part, unknown letters ignored. */
static bool parse_limits(const char *line, int64_t *bytes_r, int64_t *messages_r)
{
	*bytes_r = 0;
	*messages_r = 0;
	for (;;) {
		char *end;
		long long value;

		errno = 0;
		value = strtoll(line, &end, 10);
		if (end == line || errno != 0 || value < 0 || *end == '\0')
			return false;
		if (*end == 'S')
			*bytes_r = value;
		else if (*end == 'C')
			*messages_r = value;
		line = end + 1;
		if (*line == '\0')
			return true;
		if (*line++ != ',')
			return false;
	}
}

static bool parse_change(const char *line, struct quota *quota)
{
	char *end, *last;
	long long bytes, messages;

	errno = 0;
	bytes = strtoll(line, &end, 10);
	if (end == line || *end != ' ')
		return false;
	messages = strtoll(end, &last, 10);
	if (last == end || errno != 0)
		return false;
	last += strspn(last, " \r");
	return *last == '\0' && add(&quota->used_bytes, bytes) &&
	       add(&quota->used_messages, messages);
}

/*
 * Sums up TEXT. False when it cannot be trusted: another limit, a torn or odd line, a sum below
 * zero. *LINES_R counts the lines after the first.
 */
static bool parse_file(char *text, size_t len, struct quota *quota, size_t *lines_r)
{
	int64_t limit_bytes, limit_messages;
	char *line = text, *end;

	quota->used_bytes = 0;
	quota->used_messages = 0;
	*lines_r = 0;
	if (len == 0 || text[len - 1] != '\n' || strlen(text) != len)
		return false;
	end = strchr(line, '\n');
	*end = '\0';
	if (!parse_limits(line, &limit_bytes, &limit_messages) ||
	    limit_bytes != quota->limit_bytes || limit_messages != quota->limit_messages)
		return false;
	for (line = end + 1; *line; line = end + 1) {
		end = strchr(line, '\n');
		*end = '\0';
		if (!parse_change(line, quota))
			return false;
		(*lines_r)++;
	}
	return quota->used_bytes >= 0 && quota->used_messages >= 0;
}

/* FOUND: trustworthy; NONE: not there, or to be replaced; TEMP. *FRESH_R: just recounted. */
static enum result read_file(int maildir_fd, struct quota *quota, bool *fresh_r, struct error *err)
{
	char text[FILE_MAX + 1];
	size_t len = 0, lines = 0;
	struct stat st;
	ssize_t got = 1;
	/* O_NONBLOCK: a FIFO of that name must not hold us up. */
	int fd = openat(maildir_fd, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	*fresh_r = false;
	if (fd < 0 && errno == ENOENT)
		return RESULT_NONE;
	if (fd < 0 || fstat(fd, &st) != 0) {
		int saved = errno;

		if (fd >= 0)
			(void)close(fd);
		return result_error(err, RESULT_TEMP, FILE_NAME ": open: %s", strerror(saved));
	}
	if (!S_ISREG(st.st_mode)) {
		(void)close(fd);
		return result_error(err, RESULT_TEMP, FILE_NAME ": not a regular file: remove it");
	}
	while (got > 0 && len < FILE_MAX) {
		got = read(fd, text + len, FILE_MAX - len);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			len += (size_t)got;
	}
	(void)close(fd);
	if (got < 0)
		return result_error(err, RESULT_TEMP, FILE_NAME ": read: %s", strerror(errno));
	text[len] = '\0';
	if (len >= FILE_MAX || !parse_file(text, len, quota, &lines))
		return RESULT_NONE;
	*fresh_r = lines == 1 && time(NULL) - st.st_mtime < FRESH_SECONDS;
	return RESULT_FOUND;
}

/* The size in the file name's last ",S=" before ':', or the file's own. -1: gone meanwhile. */
static int64_t file_bytes(int fd, const char *name)
{
	const char *end = name + strcspn(name, ":"), *size = NULL;
	struct stat st;

	for (const char *at = name; (at = strstr(at, ",S=")) && at < end; at += 3)
		size = at + 3;
	if (size && *size >= '0' && *size <= '9') {
		char *rest;
		long long value;

		errno = 0;
		value = strtoll(size, &rest, 10);
		if (errno == 0 && (*rest == '\0' || *rest == ',' || *rest == ':'))
			return value;
	}
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
		return -1;
	return st.st_size;
}

/* Adds the files of new/ or cur/, and folds the directory's time into *NEWEST. -1 with errno. */
static int count_directory(int folder_fd, const char *name, struct quota *quota,
			   struct timespec *newest)
{
	int fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
	if (fstat(fd, &st) != 0 || !(dir = fdopendir(fd))) {
		(void)close(fd);
		return -1;
	}
	if (st.st_mtim.tv_sec > newest->tv_sec ||
	    (st.st_mtim.tv_sec == newest->tv_sec && st.st_mtim.tv_nsec > newest->tv_nsec))
		*newest = st.st_mtim;
	while (errno = 0, (entry = readdir(dir))) {
		int64_t bytes = entry->d_name[0] == '.' ? -1 : file_bytes(fd, entry->d_name);

		if (bytes < 0)
			continue;
		if (!add(&quota->used_bytes, bytes))
			quota->used_bytes = INT64_MAX;
		quota->used_messages++;
	}
	if (errno != 0) {
		int saved = errno;

		(void)closedir(dir);
		errno = saved;
		return -1;
	}
	return closedir(dir);
}

static int count_folder(int fd, struct quota *quota, struct timespec *newest)
{
	if (count_directory(fd, "new", quota, newest) != 0)
		return -1;
	return count_directory(fd, "cur", quota, newest);
}

/* Counts the INBOX and every ".folder". -1 with errno. */
static int count_all(int maildir_fd, struct quota *quota, struct timespec *newest)
{
	int fd = openat(maildir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	struct dirent *entry;
	DIR *dir;

	quota->used_bytes = 0;
	quota->used_messages = 0;
	*newest = (struct timespec){0};
	if (fd < 0)
		return -1;
	dir = fdopendir(fd);
	if (!dir) {
		(void)close(fd);
		return -1;
	}
	rc = count_folder(fd, quota, newest);
	while (rc == 0 && (errno = 0, (entry = readdir(dir)))) {
		int folder_fd;

		if (entry->d_name[0] != '.' || entry->d_name[1] == '\0' || entry->d_name[1] == '.')
			continue;
		folder_fd =
			openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (folder_fd >= 0) {
			rc = count_folder(folder_fd, quota, newest);
			(void)close(folder_fd);
		} else if (errno != ENOTDIR && errno != ELOOP && errno != ENOENT) {
			rc = -1;
		}
	}
	if (rc == 0 && errno != 0)
		rc = -1;
	if (rc != 0) {
		int saved = errno;

		(void)closedir(dir);
		errno = saved;
		return -1;
	}
	return closedir(dir);
}

static void print_file(struct buf *out, const struct quota *quota)
{
	if (quota->limit_bytes > 0 || quota->limit_messages <= 0)
		buf_printf(out, "%lldS", (long long)quota->limit_bytes);
	if (quota->limit_messages > 0)
		buf_printf(out, "%s%lldC", quota->limit_bytes > 0 ? "," : "",
			   (long long)quota->limit_messages);
	buf_printf(out, "\n%12lld %12lld\n", (long long)quota->used_bytes,
		   (long long)quota->used_messages);
}

/* Puts a new file in the old one's place. 0, or -1 with errno. */
static int write_file(int maildir_fd, const struct quota *quota)
{
	struct buf text = BUF_INIT;
	char name[64];
	uint64_t bits = 0;
	int fd, rc = -1, saved;

	if (!secret_random(&bits, sizeof(bits)))
		return -1;
	(void)snprintf(name, sizeof(name), "tmp/" FILE_NAME ".%ld.%016llx", (long)getpid(),
		       (unsigned long long)bits);
	print_file(&text, quota);
	fd = openat(maildir_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0 && buf_ok(&text)) {
		rc = io_write_file(fd, text.data, text.len);
		if (rc == 0)
			rc = renameat(maildir_fd, name, maildir_fd, FILE_NAME);
	}
	saved = errno;
	if (fd >= 0) {
		(void)close(fd);
		if (rc != 0)
			(void)unlinkat(maildir_fd, name, 0);
	}
	buf_free(&text);
	errno = saved;
	return rc;
}

/*
 * Counts and replaces the file. When messages come and go all the time, the last count is taken,
 * but the file is removed, so that the next reader counts again.
 */
static enum result recount(int maildir_fd, struct quota *quota, struct error *err)
{
	for (int round = 0; round < RECOUNT_ROUNDS; round++) {
		struct timespec before, after;
		struct quota again = *quota;

		if (count_all(maildir_fd, quota, &before) != 0)
			return result_error(err, RESULT_TEMP, "count messages for quota: %s",
					    strerror(errno));
		if (write_file(maildir_fd, quota) != 0)
			return result_error(err, RESULT_TEMP, "write " FILE_NAME ": %s",
					    strerror(errno));
		if (count_all(maildir_fd, &again, &after) != 0)
			return result_error(err, RESULT_TEMP, "count messages for quota: %s",
					    strerror(errno));
		if (before.tv_sec == after.tv_sec && before.tv_nsec == after.tv_nsec &&
		    again.used_messages == quota->used_messages)
			return RESULT_FOUND;
	}
	if (unlinkat(maildir_fd, FILE_NAME, 0) != 0 && errno != ENOENT)
		return result_error(err, RESULT_TEMP, "remove " FILE_NAME ": %s", strerror(errno));
	return RESULT_FOUND;
}

enum result quota_check(int maildir_fd, struct quota *quota, int64_t bytes, struct error *err)
{
	bool fresh;
	enum result result = read_file(maildir_fd, quota, &fresh, err);

	if (result == RESULT_NONE ||
	    (result == RESULT_FOUND && !fresh && !quota_fits(quota, bytes)))
		return recount(maildir_fd, quota, err);
	return result;
}

enum result quota_peek(int maildir_fd, struct quota *quota, struct error *err)
{
	bool fresh;

	return read_file(maildir_fd, quota, &fresh, err);
}

enum result quota_add(int maildir_fd, int64_t bytes, int64_t messages, struct error *err)
{
	char line[64];
	struct stat st;
	int len, fd, rc = -1, saved;

	fd = openat(maildir_fd, FILE_NAME,
		    O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return RESULT_FOUND; /* the next reader counts */
	if (fd < 0)
		return result_error(err, RESULT_TEMP, FILE_NAME ": open: %s", strerror(errno));
	len = snprintf(line, sizeof(line), "%lld %lld\n", (long long)bytes, (long long)messages);
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		ssize_t written = write(fd, line, (size_t)len);

		if (written == len)
			rc = 0;
		else if (written >= 0)
			errno = ENOSPC; /* a torn line: the next reader recounts */
	}
	saved = errno;
	if (close(fd) != 0 && rc == 0) {
		rc = -1;
		saved = errno;
	}
	if (rc != 0)
		return result_error(err, RESULT_TEMP, FILE_NAME ": append: %s", strerror(saved));
	return RESULT_FOUND;
}

bool quota_fits(const struct quota *quota, int64_t bytes)
{
	int64_t sum = quota->used_bytes;

	if (quota->limit_bytes > 0 && (!add(&sum, bytes) || sum > quota->limit_bytes))
		return false;
	return quota->limit_messages <= 0 || quota->used_messages < quota->limit_messages;
}
