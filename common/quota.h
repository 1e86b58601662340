/*
 * Maildir++ quota: the file `maildirsize` as Courier and Dovecot read it. First line: the limit,
 * "<bytes>S,<count>C"; then lines "bytes count", signed. Over 5,120 bytes, or missing, or for
 * another limit: recounted from the files' S= or sizes (T-flagged files and .Trash do count, as in
 * Dovecot's default).
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
 * MAILDIR_FD is the Maildir's directory. Sets used_*; rewrites the file when it must recount. A
 * file that says "full" for one more message of BYTES is believed only when it was recounted within
 * 15 minutes and not appended to since; else the files are counted first.
 */
enum result quota_check(int maildir_fd, struct quota *quota, int64_t bytes,
			struct error *err) MUST_CHECK;
/*
 * Parses only, never writes: for readers without write permission (policyd). NONE: no such file or
 * not trustworthy.
 */
enum result quota_peek(int maildir_fd, struct quota *quota, struct error *err) MUST_CHECK;
/* Appends one line for a message that was added; MESSAGES may be negative. */
enum result quota_add(int maildir_fd, int64_t bytes, int64_t messages,
		      struct error *err) MUST_CHECK;
/* Whether BYTES in one more message fit. */
bool quota_fits(const struct quota *quota, int64_t bytes);

#endif
