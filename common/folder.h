/*
 * Maildir++ folders: names (RFC 3501 modified UTF-7 or UTF-8 on disk), the one that an address
 * means, new ones with their file `maildirfolder`, and subscriptions.
 */
#ifndef POSTERN_FOLDER_H
#define POSTERN_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/result.h"

struct folder_rules {
	bool create; /* one that does not exist */
	int64_t max; /* folders at which none is created any more */
	bool utf8;   /* names on disk are UTF-8, else modified UTF-7 */
	bool subscribe_dovecot, subscribe_courier; /* a new one */
};

/*
 * NAME, UTF-8 with levels separated by '.' or '/', as a directory name ".A.B" appended to NAME_R.
 * False: nothing addressable (empty levels, "..", control characters, '~' first, "INBOX" alone or
 * first, bad UTF-8, over 254 bytes).
 */
bool folder_name_encode(const char *name, bool utf8, struct buf *name_r) MUST_CHECK;
/*
 * The directory name of the folder that NAME means: an exact match, else the one that matches
 * without regard to case. FOUND; NONE: take the INBOX; TEMP. With RULES->create a new one is made
 * and synced, tmp/ last, and subscribed. After TEMP errno tells the failure as well.
 */
enum result folder_find(int maildir_fd, const char *name, const struct folder_rules *rules,
			struct buf *name_r, struct error *err) MUST_CHECK;

#endif
