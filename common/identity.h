/*
 * Becoming the owner of a mailbox for a few system calls: the file-system ids of the calling thread
 * alone change (setfsuid(2), setfsgid(2); other threads keep theirs). Needs CAP_SETUID and
 * CAP_SETGID; without them only the ids that the process has already.
 */
#ifndef POSTERN_IDENTITY_H
#define POSTERN_IDENTITY_H

#include <sys/types.h>

#include "common/result.h"

struct identity {
	uid_t uid;
	gid_t gid;
};

/* FOUND: the thread acts as WANTED; BEFORE_R is for identity_leave(). TEMP: not allowed. */
enum result identity_enter(const struct identity *wanted, struct identity *before_r,
			   struct error *err) MUST_CHECK;
/* Aborts the process if the ids cannot be given back: nothing may go on as somebody else. */
void identity_leave(const struct identity *before);
/*
 * For a daemon that began as root: goes on as OWNER's ids, but keeps the two capabilities, and
 * nothing else of root.
 */
enum result identity_keep(uid_t uid, gid_t gid, struct error *err) MUST_CHECK;

#endif
