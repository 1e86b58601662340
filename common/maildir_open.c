/*
 * maildir_open - find or make a Maildir below the mail base
 *
 * A Maildir is made with tmp/ last, and every directory above it is synced before that. So tmp/
 * says "complete and durable", and a second delivery that sees a half-made Maildir makes and syncs
 * it itself instead of relying on the first one, which may not have got to its fsync yet.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/maildir_open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/folder_directory.h"

static const char *advice(int error)
{
	switch (error) {
	case ENOSPC:
		return " (the disk is full: make room)";
	case EDQUOT:
		return " (the file system's quota of the mail owner is used up: raise it)";
	case EACCES:
	case EPERM:
		return " ([mail] owner must own the mail base and all below it)";
	case EROFS:
		return " (the file system is mounted read-only)";
	case ELOOP:
	case ENOTDIR:
		return " (below the mail base only real directories are used, no symbolic links)";
	case EFBIG:
		return " (the process's file size limit is too low: raise it)";
	case EMFILE:
		return " (the process's limit of open files is too low: raise it)";
	default:
		return "";
	}
}

enum result maildir_disk_error(struct error *err, int error, const char *call,
			       const struct maildir_target *target, const char *below)
{
	return result_error(err, RESULT_TEMP, "%s%s%s: %s: %s%s", target->directory,
			    *below ? "/" : "", below, call, strerror(error), advice(error));
}

static bool component_ok(const char *name, size_t len)
{
	return len > 0 && !(len == 1 && name[0] == '.') &&
	       !(len == 2 && name[0] == '.' && name[1] == '.');
}

/* The part of the target's directory below its base; NULL when it is not strictly below. */
static const char *relative_path(const struct maildir_target *target)
{
	size_t base_len = strlen(target->base);
	const char *relative;

	while (base_len > 0 && target->base[base_len - 1] == '/')
		base_len--;
	if (target->base[0] != '/' || strncmp(target->directory, target->base, base_len) != 0 ||
	    target->directory[base_len] != '/')
		return NULL;
	relative = target->directory + base_len + 1;
	for (const char *name = relative;;) {
		size_t len = strcspn(name, "/");

		if (!component_ok(name, len))
			return NULL;
		if (name[len] == '\0')
			return relative;
		name += len + 1;
	}
}

/*
 * Goes down RELATIVE one component at a time, never through a symbolic link. MAKE makes what is
 * missing and syncs every directory passed. The descriptor, or -1 with errno.
 */
static int walk(int base_fd, const char *relative, bool make)
{
	int fd = fcntl(base_fd, F_DUPFD_CLOEXEC, 0);

	for (const char *name = relative; fd >= 0 && *name != '\0';) {
		size_t len = strcspn(name, "/");
		char component[NAME_MAX + 1];
		int child = -1;

		if (len > NAME_MAX) {
			errno = ENAMETOOLONG;
		} else {
			memcpy(component, name, len);
			component[len] = '\0';
			if (!make || folder_directory_make(fd, component) == 0)
				child = folder_directory_open(fd, component);
		}
		if (child >= 0 && make && folder_directory_sync(fd) != 0)
			folder_directory_close(&child);
		folder_directory_close(&fd);
		fd = child;
		name += len + (name[len] == '/');
	}
	return fd;
}

static int open_beneath(int base_fd, const char *relative)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, base_fd, relative, &how, sizeof(how));

	/* Kernels before 5.6 say ENOSYS, old container filters EPERM. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = walk(base_fd, relative, false);
	return fd;
}

enum result maildir_open_root(const struct maildir_target *target, bool make, int *fd_r,
			      int *error_r, struct error *err)
{
	const char *relative = relative_path(target);
	int base_fd, fd;

	*error_r = 0;
	if (!relative)
		return result_error(err, RESULT_TEMP,
				    "mail directory \"%s\" is not below the mail base \"%s\": "
				    "correct the mailbox's path in the database",
				    target->directory, target->base);
	/* A descriptor to sync by must be a real one; to go on from, a cheap one does. */
	base_fd = open(target->base, (make ? O_RDONLY : O_PATH) | O_DIRECTORY | O_CLOEXEC);
	if (base_fd < 0)
		return result_error(err, RESULT_TEMP,
				    "[mail] base %s: open: %s (it must exist and belong to "
				    "[mail] owner)",
				    target->base, strerror(errno));
	fd = make ? walk(base_fd, relative, true) : open_beneath(base_fd, relative);
	if (fd >= 0 && make && folder_directory_complete(fd) != 0)
		folder_directory_close(&fd);
	if (fd < 0)
		*error_r = errno;
	(void)close(base_fd);
	if (fd >= 0) {
		*fd_r = fd;
		return RESULT_FOUND;
	}
	if (!make && *error_r == ENOENT)
		return RESULT_NONE;
	return maildir_disk_error(err, *error_r, make ? "make" : "open", target, "");
}

enum result maildir_open(const struct maildir_target *target, bool create, int *fd_r,
			 struct error *err)
{
	int error;
	enum result result = maildir_open_root(target, false, fd_r, &error, err);

	if (!create || result == RESULT_TEMP)
		return result;
	if (result == RESULT_FOUND) {
		if (folder_directory_has(*fd_r, "tmp") == 1 &&
		    folder_directory_has(*fd_r, "new") == 1 &&
		    folder_directory_has(*fd_r, "cur") == 1)
			return RESULT_FOUND;
		folder_directory_close(fd_r);
	}
	return maildir_open_root(target, true, fd_r, &error, err);
}
