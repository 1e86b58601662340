/*
 * Maildir++ quota: the file `maildirsize` as Courier and Dovecot read it. First line: the limit,
 * "<bytes>S,<count>C"; then lines "bytes count", signed. Over 5,120 bytes, or missing, or for
 * another limit: recounted from the files' S= or sizes (T-flagged files and .Trash do count, as in
 * Dovecot's default, unless the rules skip them).
 */
#ifndef POSTERN_QUOTA_H
#define POSTERN_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/result.h"

struct quota {
	int64_t limit_bytes, limit_messages; /* 0: unlimited */
	int64_t used_bytes, used_messages;
};

/*
 * MAILDIR_FD is the Maildir's directory. Parses only, never writes or waits: for readers without
 * write permission (policyd). NONE: no such file or not trustworthy.
 */
enum result quota_peek(int maildir_fd, struct quota *quota, struct error *err) MUST_CHECK;
/*
 * A change under the mailbox's lock, which all our deliveries take (daemon and agents), so that
 * together they never pass the limit. quota_enter() waits for it, counts if need be, and tells
 * usage and limits; between it and quota_leave() one message is linked, which takes no time.
 * quota_leave() writes down what has come in (0, 0: nothing) and lets others in. Whoever finds that
 * the last holder died in between, or that the host was booted since, counts first. So does one
 * whose message of BYTES would not fit, unless the file was recounted within 15 minutes and not
 * appended to since.
 */
struct quota_rules {
	int64_t limit_bytes, limit_messages; /* 0: unlimited */
	bool skip_trash;
	bool always; /* keep the file even if there is no limit */
	int64_t lock_timeout_ms;
};
struct quota_entry {
	struct quota quota; /* before the change */
	int maildir_fd;     /* the caller's */
	int lock_fd;        /* -1: nothing is kept of this mailbox */
	bool no_space;      /* after TEMP: ENOSPC or EDQUOT */
};
/* FOUND or TEMP. *ENTRY_R is to be left after FOUND only. */
enum result quota_enter(int maildir_fd, const struct quota_rules *rules, int64_t bytes,
			struct quota_entry *entry_r, struct error *err) MUST_CHECK;
/* TEMP: the message is there all the same; the next one counts. */
enum result quota_leave(struct quota_entry *entry, int64_t bytes, int64_t messages,
			struct error *err) MUST_CHECK;
/* Counts the files and writes maildirsize anew, under the lock. */
enum result quota_recount(int maildir_fd, const struct quota_rules *rules, struct quota *quota_r,
			  struct error *err) MUST_CHECK;

/* Whether BYTES in one more message fit. */
bool quota_fits(const struct quota *quota, int64_t bytes);

#endif
