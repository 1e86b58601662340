/*
 * quota_count - counts the messages of a Maildir and their bytes
 *
 * Every file in new/ and cur/ of the INBOX and of each ".folder" is a message of the size that its
 * name says after S=, else of its own. What is in tmp/ or has no name yet is none.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/quota_count.h"

#define TRASH ".Trash"

static void add(int64_t *sum, int64_t value)
{
	if (__builtin_add_overflow(*sum, value, sum))
		*sum = INT64_MAX;
}

/* Flag T in ":2,FLAGS". */
static bool is_deleted(const char *name)
{
	const char *info = strstr(name, ":2,");

	return info && strchr(info + 3, 'T');
}

/* The size in the file name's last ",S=" before ':', or the file's own. -1: gone meanwhile. */
static int64_t file_bytes(int fd, const char *name)
{
	const char *end = name + strcspn(name, ":"), *size = NULL;
	struct stat st;

	for (const char *at = name; (at = strstr(at, ",S=")) && at < end; at += 3)
		size = at + 3;
	if (size && *size >= '0' && *size <= '9') {
		char *rest;
		long long value;

		errno = 0;
		value = strtoll(size, &rest, 10);
		if (errno == 0 && (*rest == '\0' || *rest == ',' || *rest == ':'))
			return value;
	}
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
		return -1;
	return st.st_size;
}

/* Adds the files of new/ or cur/, and folds the directory's time into *NEWEST. -1 with errno. */
static int count_directory(int folder_fd, const char *name, bool skip_trash, struct quota *quota,
			   struct timespec *newest)
{
	int fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
	if (fstat(fd, &st) != 0 || !(dir = fdopendir(fd))) {
		(void)close(fd);
		return -1;
	}
	if (st.st_mtim.tv_sec > newest->tv_sec ||
	    (st.st_mtim.tv_sec == newest->tv_sec && st.st_mtim.tv_nsec > newest->tv_nsec))
		*newest = st.st_mtim;
	while (errno = 0, (entry = readdir(dir))) {
		int64_t bytes;

		if (entry->d_name[0] == '.' || (skip_trash && is_deleted(entry->d_name)))
			continue;
		bytes = file_bytes(fd, entry->d_name);
		if (bytes < 0)
			continue;
		add(&quota->used_bytes, bytes);
		quota->used_messages++;
	}
	if (errno != 0) {
		int saved = errno;

		(void)closedir(dir);
		errno = saved;
		return -1;
	}
	return closedir(dir);
}

static int count_folder(int fd, bool skip_trash, struct quota *quota, struct timespec *newest)
{
	if (count_directory(fd, "new", skip_trash, quota, newest) != 0)
		return -1;
	return count_directory(fd, "cur", skip_trash, quota, newest);
}

int quota_count(int maildir_fd, bool skip_trash, struct quota *quota, struct timespec *newest_r)
{
	int fd = openat(maildir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	struct dirent *entry;
	DIR *dir;

	quota->used_bytes = 0;
	quota->used_messages = 0;
	*newest_r = (struct timespec){0};
	if (fd < 0)
		return -1;
	dir = fdopendir(fd);
	if (!dir) {
		(void)close(fd);
		return -1;
	}
	rc = count_folder(fd, skip_trash, quota, newest_r);
	while (rc == 0 && (errno = 0, (entry = readdir(dir)))) {
		int folder_fd;

		if (entry->d_name[0] != '.' || entry->d_name[1] == '\0' || entry->d_name[1] == '.')
			continue;
		if (skip_trash && strcmp(entry->d_name, TRASH) == 0)
			continue;
		folder_fd =
			openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (folder_fd >= 0) {
			rc = count_folder(folder_fd, skip_trash, quota, newest_r);
			(void)close(folder_fd);
		} else if (errno != ENOTDIR && errno != ELOOP && errno != ENOENT) {
			rc = -1;
		}
	}
	if (rc == 0 && errno != 0)
		rc = -1;
	if (rc != 0) {
		int saved = errno;

		(void)closedir(dir);
		errno = saved;
		return -1;
	}
	return closedir(dir);
}
