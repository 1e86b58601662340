/*
 * How maildir.c and its like open Maildirs, and how they say that something failed.
 */
#ifndef POSTERN_MAILDIR_OPEN_H
#define POSTERN_MAILDIR_OPEN_H

#include "common/maildir.h"

/*
 * The Maildir's root, beneath the base. MAKE: made, completed and synced with all above it, in any
 * case; else NONE tells that it is absent. *ERROR_R: the errno of a failure, 0 when there is none.
 */
enum result maildir_open_root(const struct maildir_target *target, bool make, int *fd_r,
			      int *error_r, struct error *err) MUST_CHECK;
/* TEMP with a text that names the place, CALL, ERROR in words and what to do. */
enum result maildir_disk_error(struct error *err, int error, const char *call,
			       const struct maildir_target *target, const char *below);
/* Makes the file's result TEMP, and gives back all but root_fd, and its name in tmp/. */
void maildir_fail(struct maildir_file *file, int error, const char *call);

#endif
