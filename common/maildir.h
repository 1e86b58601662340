/*
 * Writing messages into Maildirs, durably: the file is synced under a name in tmp/ (or without a
 * name, O_TMPFILE), then linked under its final unique name into new/, then new/ is synced, with
 * every directory made on the way. Only after that may anybody be told that the message is there.
 *
 * All paths are opened beneath the mail base without following symbolic links (openat2
 * RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS), so a bad row or a planted link cannot lead outside.
 */
#ifndef POSTERN_MAILDIR_H
#define POSTERN_MAILDIR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/buf.h"
#include "common/result.h"

struct maildir_part { /* the message is the parts, in order */
	const void *data;
	size_t len;
};

struct maildir_target {
	const char *base;      /* [mail] base: absolute, must exist */
	const char *directory; /* absolute, below base: the Maildir itself */
	const char *folder; /* "" = INBOX; else an existing Maildir++ folder "A.B" (no dot first) */
};

/*
 * Delivers. FOUND: durable; NAME_R (may be NULL) gets the file's name below the Maildir,
 * "new/NAME" or ".A.B/new/NAME", which tells the folder. TEMP with a text that names
 * path, system call and errno in words (disk full, quota, permission, read-only: what to do).
 * PERM never: nothing that a disk does may bounce mail. *NO_SPACE_R (may be NULL) tells ENOSPC,
 * EDQUOT (452 4.3.1) from the rest (451 4.2.0). SIZE and VIRTUAL_SIZE go into S= and W=.
 * A missing Maildir is made (mode 0700, tmp last); a missing folder falls back to INBOX.
 */
enum result maildir_deliver(const struct maildir_target *target, const struct maildir_part *parts,
			    size_t part_count, uint64_t size, uint64_t virtual_size,
			    struct buf *name_r, bool *no_space_r, struct error *err) MUST_CHECK;

/* Opens BASE-confined DIRECTORY; makes the Maildir when CREATE. FOUND: *FD_R; NONE: absent. */
enum result maildir_open(const struct maildir_target *target, bool create, int *fd_r,
			 struct error *err) MUST_CHECK;

/* Bytes of LEN bytes of message text when every LF not preceded by CR counts as CRLF. */
uint64_t maildir_virtual_size(const void *data, size_t len, bool *last_was_cr);

#endif
