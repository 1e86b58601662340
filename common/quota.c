/*
 * quota - the Maildir++ file `maildirsize`
 *
 * The file is a cache that every writer of the Maildir appends to; whoever cannot trust it counts
 * the files and replaces it. It is never synced: the lock's file tells when lines may be lost.
 *
 * The limit in the first line is printed as Dovecot prints it (a part that is unlimited is left
 * out), because each side recounts when it finds another limit than its own.
 *
 * Known gaps: writers without our lock (an IMAP server, other agents) may publish a message while
 * we count and append to the file after that, so that it counts twice until the next count; and
 * what they append to a file that we are replacing does not count.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

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
#include "common/quota_count.h"
#include "common/quota_lock.h"

#define FILE_NAME      "maildirsize"
#define NEW_NAME       "tmp/" FILE_NAME ".new"
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

static int create_new(int maildir_fd)
{
	return openat(maildir_fd, NEW_NAME, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
		      0600);
}

/*
 * Puts a new file in the old one's place. 0, or -1 with errno. The name is always the same, which
 * the lock allows: what somebody left who died is gone with the next count.
 */
static int write_file(int maildir_fd, const struct quota *quota)
{
	struct buf text = BUF_INIT;
	int fd = create_new(maildir_fd), rc = -1, saved;

	if (fd < 0 && errno == EEXIST && unlinkat(maildir_fd, NEW_NAME, 0) == 0)
		fd = create_new(maildir_fd);
	if (fd < 0)
		return -1;
	print_file(&text, quota);
	errno = ENOMEM;
	if (buf_ok(&text))
		rc = io_write_file(fd, text.data, text.len);
	if (rc == 0)
		rc = renameat(maildir_fd, NEW_NAME, maildir_fd, FILE_NAME);
	saved = errno;
	(void)close(fd);
	if (rc != 0)
		(void)unlinkat(maildir_fd, NEW_NAME, 0);
	buf_free(&text);
	errno = saved;
	return rc;
}

/*
 * Counts and replaces the file. When messages come and go all the time, the last count is taken,
 * but the file is removed, so that the next reader counts again.
 */
static enum result recount(int maildir_fd, bool skip_trash, struct quota *quota, struct error *err)
{
	for (int round = 0; round < RECOUNT_ROUNDS; round++) {
		struct timespec before, after;
		struct quota again = *quota;

		if (quota_count(maildir_fd, skip_trash, quota, &before) != 0)
			return result_error(err, RESULT_TEMP, "count messages for quota: %s",
					    strerror(errno));
		if (write_file(maildir_fd, quota) != 0)
			return result_error(err, RESULT_TEMP, "write " FILE_NAME ": %s",
					    strerror(errno));
		if (quota_count(maildir_fd, skip_trash, &again, &after) != 0)
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

enum result quota_peek(int maildir_fd, struct quota *quota, struct error *err)
{
	bool fresh;

	return read_file(maildir_fd, quota, &fresh, err);
}

/* Adds one line. */
static enum result append(int maildir_fd, int64_t bytes, int64_t messages, struct error *err)
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

/* Marked meanwhile: if we die while counting, the next one counts, and tidies up. */
static enum result recount_marked(int maildir_fd, int lock_fd, const struct quota_rules *rules,
				  struct quota *quota, struct error *err)
{
	enum result result = quota_lock_mark(lock_fd, true, err);

	return result == RESULT_FOUND ? recount(maildir_fd, rules->skip_trash, quota, err) : result;
}

/* Believes the file or counts, as CLEAN and its own state say. */
static enum result read_or_count(int maildir_fd, int lock_fd, const struct quota_rules *rules,
				 int64_t bytes, bool clean, struct quota *quota, struct error *err)
{
	bool fresh = false;
	enum result result = RESULT_NONE;

	if (clean)
		result = read_file(maildir_fd, quota, &fresh, err);
	if (result == RESULT_NONE ||
	    (result == RESULT_FOUND && !fresh && !quota_fits(quota, bytes)))
		return recount_marked(maildir_fd, lock_fd, rules, quota, err);
	return result == RESULT_FOUND ? quota_lock_mark(lock_fd, true, err) : result;
}

enum result quota_enter(int maildir_fd, const struct quota_rules *rules, int64_t bytes,
			struct quota_entry *entry_r, struct error *err)
{
	bool clean = false;
	enum result result;

	*entry_r = (struct quota_entry){.maildir_fd = maildir_fd, .lock_fd = -1};
	if (rules->limit_bytes <= 0 && rules->limit_messages <= 0 && !rules->always)
		return RESULT_FOUND;
	entry_r->quota.limit_bytes = rules->limit_bytes > 0 ? rules->limit_bytes : 0;
	entry_r->quota.limit_messages = rules->limit_messages > 0 ? rules->limit_messages : 0;
	errno = 0;
	result = quota_lock(maildir_fd, rules->lock_timeout_ms, &entry_r->lock_fd, &clean, err);
	if (result == RESULT_FOUND)
		result = read_or_count(maildir_fd, entry_r->lock_fd, rules, bytes, clean,
				       &entry_r->quota, err);
	entry_r->no_space = result == RESULT_TEMP && (errno == ENOSPC || errno == EDQUOT);
	if (result != RESULT_FOUND && entry_r->lock_fd >= 0) {
		(void)close(entry_r->lock_fd);
		entry_r->lock_fd = -1;
	}
	return result;
}

enum result quota_leave(struct quota_entry *entry, int64_t bytes, int64_t messages,
			struct error *err)
{
	enum result result = RESULT_FOUND;

	if (entry->lock_fd < 0)
		return RESULT_FOUND;
	if (bytes != 0 || messages != 0)
		result = append(entry->maildir_fd, bytes, messages, err);
	/* Else the mark stays, and the next one counts. */
	if (result == RESULT_FOUND)
		result = quota_lock_mark(entry->lock_fd, false, err);
	(void)close(entry->lock_fd);
	entry->lock_fd = -1;
	return result;
}

enum result quota_recount(int maildir_fd, const struct quota_rules *rules, struct quota *quota_r,
			  struct error *err)
{
	bool clean;
	int lock_fd;
	enum result result = quota_lock(maildir_fd, rules->lock_timeout_ms, &lock_fd, &clean, err);

	if (result != RESULT_FOUND)
		return result;
	*quota_r = (struct quota){
		.limit_bytes = rules->limit_bytes > 0 ? rules->limit_bytes : 0,
		.limit_messages = rules->limit_messages > 0 ? rules->limit_messages : 0,
	};
	result = recount_marked(maildir_fd, lock_fd, rules, quota_r, err);
	if (result == RESULT_FOUND)
		result = quota_lock_mark(lock_fd, false, err);
	(void)close(lock_fd);
	return result;
}

bool quota_fits(const struct quota *quota, int64_t bytes)
{
	int64_t sum = quota->used_bytes;

	if (quota->limit_bytes > 0 && (!add(&sum, bytes) || sum > quota->limit_bytes))
		return false;
	return quota->limit_messages <= 0 || quota->used_messages < quota->limit_messages;
}
