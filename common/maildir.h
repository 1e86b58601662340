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

#define MAILDIR_NAME_MAX 520 /* ".folder/new/name" */

struct folder_rules; /* common/folder.h */

struct maildir_target {
	const char *base;      /* [mail] base: absolute, must exist */
	const char *directory; /* absolute, below base: the Maildir itself */
	const char *folder; /* "" = INBOX; else a folder in UTF-8, levels separated by '.' or '/' */
	const struct folder_rules *rules; /* NULL: existing folders, names as they are on disk */
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

/*
 * The same in steps, so that several copies share their syncs and a quota is judged between them.
 * Zero-initialise, set TARGET and the sizes, and call in this order; a step does nothing for a file
 * whose result is no longer FOUND, and each file fails for itself:
 *   maildir_write()   opens or makes the Maildir and writes the data into a file that nobody sees
 *   maildir_sync()    the data of all is durable
 *   maildir_link()    the message is visible under its final name
 *   maildir_settle()  the names of all are durable; one that is not is taken away again
 *   maildir_close()   always
 */
struct maildir_file {
	struct maildir_target target;
	uint64_t size, virtual_size; /* for S= and W= */

	enum result result; /* FOUND or TEMP */
	bool no_space;      /* ENOSPC or EDQUOT */
	struct error err;
	int root_fd; /* the Maildir itself, from maildir_write() to maildir_close(); else -1 */
	char name[MAILDIR_NAME_MAX]; /* below the Maildir, after maildir_link() */

	int fd, tmp_fd, new_fd; /* private from here */
	bool opened, named, linked, settled;
	dev_t new_device; /* which new/ it is; an inode of 0: not known */
	ino_t new_inode;
	char tmp_name[256];
	char prefix[260]; /* ".A.B/" or "" */
};
void maildir_write(struct maildir_file *file, const struct maildir_part *parts, size_t part_count);
void maildir_sync(struct maildir_file *const files[], size_t count);
void maildir_link(struct maildir_file *file);
void maildir_settle(struct maildir_file *const files[], size_t count);
void maildir_close(struct maildir_file *file);

/* Opens BASE-confined DIRECTORY; makes the Maildir when CREATE. FOUND: *FD_R; NONE: absent. */
enum result maildir_open(const struct maildir_target *target, bool create, int *fd_r,
			 struct error *err) MUST_CHECK;

/* Bytes of LEN bytes of message text when every LF not preceded by CR counts as CRLF. */
uint64_t maildir_virtual_size(const void *data, size_t len, bool *last_was_cr);

#endif
