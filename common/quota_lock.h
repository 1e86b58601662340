/*
 * The lock of a mailbox, the file `maildirsize.lock` in it, which also tells whether maildirsize
 * can be believed. Threads and processes alike exclude each other; the lock of a process that dies
 * is free.
 */
#ifndef POSTERN_QUOTA_LOCK_H
#define POSTERN_QUOTA_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/result.h"

/*
 * Waits for the lock. FOUND: *FD_R is to be closed, which unlocks. *CLEAN_R: the last holder went
 * in order, on this boot of the host. TEMP: it took too long, or the file cannot be used.
 */
enum result quota_lock(int maildir_fd, int64_t timeout_ms, int *fd_r, bool *clean_r,
		       struct error *err) MUST_CHECK;
/* Writes down whether a change is under way. */
enum result quota_lock_mark(int lock_fd, bool changing, struct error *err) MUST_CHECK;

#endif
