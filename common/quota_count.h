/*
 * Counting a Maildir, for quota.c and for whoever compares.
 */
#ifndef POSTERN_QUOTA_COUNT_H
#define POSTERN_QUOTA_COUNT_H

#include <stdbool.h>
#include <time.h>

#include "common/quota.h"

/*
 * Sets used_*. SKIP_TRASH leaves out the folder .Trash and messages marked as deleted. *NEWEST_R is
 * the newest time of a directory: another one after a second count tells that messages came or
 * went. 0, or -1 with errno.
 */
int quota_count(int maildir_fd, bool skip_trash, struct quota *quota,
		struct timespec *newest_r) MUST_CHECK;

#endif
