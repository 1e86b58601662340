/*
 * Does a message still fit into the mailbox that an address leads to? Asked at RCPT, so that an
 * over-full mailbox is refused while the sending host still has the message.
 */
#ifndef POSTERN_POLICYD_MAILBOX_QUOTA_H
#define POSTERN_POLICYD_MAILBOX_QUOTA_H

#include <stdint.h>

#include "common/accounts.h"
#include "common/result.h"

struct mailbox_quota {
	char mailbox[256]; /* its address, for the log */
	struct usage used;
	int64_t limit_bytes, limit_messages; /* 0: unlimited */
};

/*
 * FOUND: it does not fit (QUOTA_R tells). NONE: it fits, or that cannot be said: not an address of
 * ours, more than one destination, no limit, usage unknown. TEMP, PERM: the database or a row is in
 * trouble. SIZE is what the client claims, 0 if nothing; one byte is taken at least.
 */
enum result mailbox_quota_check(struct accounts *accounts, const struct settings *settings,
				const char *recipient, size_t len, int64_t size,
				struct mailbox_quota *quota_r, struct error *err) MUST_CHECK;

#endif
