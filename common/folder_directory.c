/*
 * folder_directory - directories of Maildirs
 *
 * A folder is made with tmp/ last, after a sync of all the rest: tmp/ says "complete and durable".
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/folder_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int folder_directory_open(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int folder_directory_make(int at, const char *name)
{
	return mkdirat(at, name, 0700) == 0 || errno == EEXIST ? 0 : -1;
}

int folder_directory_sync(int fd)
{
	if (fsync(fd) == 0 || errno == EINVAL) /* EINVAL: this file system syncs by itself */
		return 0;
	return -1;
}

int folder_directory_complete(int fd)
{
	if (folder_directory_make(fd, "new") != 0 || folder_directory_make(fd, "cur") != 0 ||
	    folder_directory_sync(fd) != 0 || folder_directory_make(fd, "tmp") != 0)
		return -1;
	return folder_directory_sync(fd);
}

int folder_directory_has(int fd, const char *name)
{
	struct stat st;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return S_ISDIR(st.st_mode);
	return errno == ENOENT ? 0 : -1;
}

void folder_directory_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	errno = saved;
}
