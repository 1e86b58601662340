/*
 * maildir - write one message into a Maildir so that it survives a power cut
 *
 * Order of a delivery: data into a file without a name (O_TMPFILE in tmp/), fdatasync, linkat into
 * new/ through /proc/self/fd, fsync of new/. Where the file system has no nameless files, or /proc
 * is absent, the file gets a unique name in tmp/, is linked and then removed from tmp/.
 *
 * A Maildir is made with tmp/ last, and every directory above it is synced before that. So tmp/
 * says "complete and durable", and a second delivery that sees a half-made Maildir makes and syncs
 * it itself instead of relying on the first one, which may not have got to its fsync yet.
 *
 * After a failed fsync the file is thrown away; asking again would report success for pages that
 * the kernel has already dropped.
 *
 * Known gaps: folder names are compared as bytes (a folder that Dovecot stores in modified UTF-7
 * is not found by its UTF-8 name). File systems without hard links (vfat) are refused.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/io.h"
#include "common/maildir.h"
#include "common/secret.h"

#define HOST_BYTES    64 /* of the host name inside a file name */
#define FILE_NAME_MAX 255

struct place { /* an open folder that takes the message */
	const struct maildir_target *target;
	char prefix[FILE_NAME_MAX + 3]; /* ".A.B/", or "" for the INBOX: for names and texts */
	int tmp_fd, new_fd;
};

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
	default:
		return "";
	}
}

static enum result disk_error(struct error *err, int error, const char *call,
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

static int open_directory(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int sync_directory(int fd)
{
	if (fsync(fd) == 0 || errno == EINVAL) /* EINVAL: this file system syncs by itself */
		return 0;
	return -1;
}

/* mkdir that does not mind an existing directory (or whatever is there: opening it will tell). */
static int make_directory(int at, const char *name)
{
	return mkdirat(at, name, 0700) == 0 || errno == EEXIST ? 0 : -1;
}

/* Closes FD and keeps errno. */
static void close_keeping_errno(int fd)
{
	int saved = errno;

	if (fd >= 0)
		(void)close(fd);
	errno = saved;
}

/*
 * Goes down RELATIVE one component at a time, never through a symbolic link. CREATE makes what is
 * missing and syncs every directory passed. The descriptor, or -1 with errno.
 */
static int walk(int base_fd, const char *relative, bool create)
{
	int fd = fcntl(base_fd, F_DUPFD_CLOEXEC, 0);

	for (const char *name = relative; fd >= 0 && *name != '\0';) {
		size_t len = strcspn(name, "/");
		char component[FILE_NAME_MAX + 1];
		int child = -1;

		if (len > FILE_NAME_MAX) {
			errno = ENAMETOOLONG;
		} else {
			memcpy(component, name, len);
			component[len] = '\0';
			if (!create || make_directory(fd, component) == 0)
				child = open_directory(fd, component);
		}
		if (child >= 0 && create && sync_directory(fd) != 0) {
			close_keeping_errno(child);
			child = -1;
		}
		close_keeping_errno(fd);
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

/* Makes what is missing of new/ and cur/, syncs, and only then tmp/. 0, or -1 with errno. */
static int make_subdirectories(int fd)
{
	if (make_directory(fd, "new") != 0 || make_directory(fd, "cur") != 0 ||
	    sync_directory(fd) != 0 || make_directory(fd, "tmp") != 0)
		return -1;
	return sync_directory(fd);
}

static bool has_directory(int fd, const char *name)
{
	struct stat st;

	return fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static bool is_complete(int fd)
{
	return has_directory(fd, "tmp") && has_directory(fd, "new") && has_directory(fd, "cur");
}

/* maildir_open(), which also gives the errno of a failure (0: none) for telling "no space". */
static enum result open_root(const struct maildir_target *target, bool create, int *fd_r,
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
	base_fd = open(target->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base_fd < 0)
		return result_error(err, RESULT_TEMP,
				    "[mail] base %s: open: %s (it must exist and belong to "
				    "[mail] owner)",
				    target->base, strerror(errno));
	fd = open_beneath(base_fd, relative);
	if (fd < 0)
		*error_r = errno;
	if (create && (*error_r == ENOENT || (fd >= 0 && !is_complete(fd)))) {
		close_keeping_errno(fd);
		fd = walk(base_fd, relative, true);
		if (fd >= 0 && make_subdirectories(fd) != 0) {
			close_keeping_errno(fd);
			fd = -1;
		}
		*error_r = fd < 0 ? errno : 0;
	}
	(void)close(base_fd);
	if (fd >= 0) {
		*fd_r = fd;
		return RESULT_FOUND;
	}
	if (!create && *error_r == ENOENT)
		return RESULT_NONE;
	return disk_error(err, *error_r, create ? "make" : "open", target, "");
}

enum result maildir_open(const struct maildir_target *target, bool create, int *fd_r,
			 struct error *err)
{
	int error;

	return open_root(target, create, fd_r, &error, err);
}

static bool folder_name_ok(const char *folder)
{
	size_t len = strlen(folder);

	if (len == 0 || len > FILE_NAME_MAX - 1 || folder[0] == '.' || folder[len - 1] == '.' ||
	    strstr(folder, "..") || strchr(folder, '/'))
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)folder[i] < 0x20 || folder[i] == 0x7f)
			return false;
	return true;
}

/*
 * The folder's descriptor, or -1 with errno; ENOENT: no such folder, take the INBOX. Not every
 * ".name" is a folder (".dovecot.sieve"): one that no reader would list must not be turned into
 * one by an address, hence the look at cur/.
 */
static int open_folder(int root_fd, const char *folder)
{
	char name[FILE_NAME_MAX + 2];
	int fd;

	if (!folder_name_ok(folder)) {
		errno = ENOENT;
		return -1;
	}
	(void)snprintf(name, sizeof(name), ".%s", folder);
	fd = open_directory(root_fd, name);
	if (fd < 0) {
		if (errno == ENOTDIR || errno == ELOOP || errno == ENAMETOOLONG)
			errno = ENOENT;
		return -1;
	}
	if (!has_directory(fd, "cur")) {
		(void)close(fd);
		errno = ENOENT;
		return -1;
	}
	if (!is_complete(fd) && make_subdirectories(fd) != 0) {
		close_keeping_errno(fd);
		return -1;
	}
	return fd;
}

/* Opens tmp/ and new/ of the folder, or of the INBOX when there is no such folder. */
static enum result place_open(struct place *place, const struct maildir_target *target,
			      int *error_r, struct error *err)
{
	int root_fd, fd = -1;
	enum result result = open_root(target, true, &root_fd, error_r, err);

	*place = (struct place){.target = target, .tmp_fd = -1, .new_fd = -1};
	if (result != RESULT_FOUND)
		return result;
	if (*target->folder) {
		fd = open_folder(root_fd, target->folder);
		if (fd >= 0) {
			(void)snprintf(place->prefix, sizeof(place->prefix), ".%s/",
				       target->folder);
		} else if (errno != ENOENT) {
			*error_r = errno;
			close_keeping_errno(root_fd);
			return disk_error(err, *error_r, "open folder", target, target->folder);
		}
	}
	if (fd < 0)
		fd = root_fd;
	else
		close_keeping_errno(root_fd);
	place->tmp_fd = open_directory(fd, "tmp");
	if (place->tmp_fd >= 0)
		place->new_fd = open_directory(fd, "new");
	*error_r = errno;
	close_keeping_errno(fd);
	if (place->new_fd >= 0)
		return RESULT_FOUND;
	close_keeping_errno(place->tmp_fd);
	return disk_error(err, *error_r, "open tmp and new", target, place->prefix);
}

static void place_close(struct place *place)
{
	close_keeping_errno(place->tmp_fd);
	close_keeping_errno(place->new_fd);
}

/* The host name for file names: what Maildir readers or shells might trip over as \ooo. */
static void encode_host(char *host_r, size_t size)
{
	char host[HOST_NAME_MAX + 1];
	size_t used = 0;

	if (gethostname(host, sizeof(host)) != 0)
		memcpy(host, "localhost", sizeof("localhost"));
	host[sizeof(host) - 1] = '\0';
	host_r[0] = '\0';
	for (const char *c = host; *c && used + 5 < size; c++) {
		bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			     (*c >= '0' && *c <= '9') || *c == '.' || *c == '-' || *c == '_';

		used += (size_t)snprintf(host_r + used, size - used, plain ? "%c" : "\\%03o",
					 (unsigned char)*c);
	}
}

/*
 * Dovecot takes the part before ':' for the message's identity, so it must never come twice, also
 * after the clock was set back and with the same process number in another container: hence the
 * device, the inode and random bits.
 */
static int unique_name(char name_r[FILE_NAME_MAX + 1], const struct stat *st)
{
	struct timespec now;
	uint64_t bits;
	char host[HOST_BYTES];

	if (clock_gettime(CLOCK_REALTIME, &now) != 0 || !secret_random(&bits, sizeof(bits)))
		return -1;
	encode_host(host, sizeof(host));
	(void)snprintf(name_r, FILE_NAME_MAX + 1, "%lld.M%06ldP%ldV%llxI%llxR%016llx.%s",
		       (long long)now.tv_sec, now.tv_nsec / 1000, (long)getpid(),
		       st ? (unsigned long long)st->st_dev : 0ULL,
		       st ? (unsigned long long)st->st_ino : 0ULL, (unsigned long long)bits, host);
	return 0;
}

/* TMP_NAME NULL: the file has no name. 0, or -1 with errno. */
static int link_into_new(const struct place *place, int fd, const struct stat *st,
			 const char *tmp_name, const char *name)
{
	char proc_name[64];
	struct stat there;
	int rc;

	(void)snprintf(proc_name, sizeof(proc_name), "/proc/self/fd/%d", fd);
	if (tmp_name)
		rc = linkat(place->tmp_fd, tmp_name, place->new_fd, name, 0);
	else
		rc = linkat(AT_FDCWD, proc_name, place->new_fd, name, AT_SYMLINK_FOLLOW);
	if (rc == 0 || errno != EEXIST)
		return rc;
	/* On NFS the reply to a link that succeeded may be lost and the repetition says EEXIST. */
	if (fstatat(place->new_fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    there.st_dev == st->st_dev && there.st_ino == st->st_ino)
		return 0;
	errno = EEXIST;
	return -1;
}

static int write_synced(int fd, const struct maildir_part *parts, size_t part_count,
			const char **call_r)
{
	*call_r = "write";
	for (size_t i = 0; i < part_count; i++)
		if (io_write_file(fd, parts[i].data, parts[i].len) != 0)
			return -1;
	*call_r = "fdatasync";
	return fdatasync(fd);
}

struct file { /* the message on its way from nothing to new/ */
	bool named;
	char tmp_name[FILE_NAME_MAX + 1]; /* when named */
	char name[FILE_NAME_MAX + 1];     /* in new/ */
	const char *call;                 /* what failed */
};

static int file_create(const struct place *place, struct file *file)
{
	file->call = "create a file in tmp";
	if (!file->named)
		return openat(place->tmp_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (unique_name(file->tmp_name, NULL) != 0)
		return -1;
	return openat(place->tmp_fd, file->tmp_name,
		      O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* Up to the link, without the last sync. 0, or -1 with errno and file->call. */
static int file_publish(const struct place *place, struct file *file,
			const struct maildir_part *parts, size_t part_count, uint64_t size,
			uint64_t virtual_size)
{
	struct stat st;
	int fd = file_create(place, file), rc;
	size_t len;

	if (fd < 0)
		return -1;
	rc = write_synced(fd, parts, part_count, &file->call);
	if (rc == 0) {
		file->call = "name the file";
		rc = fstat(fd, &st) == 0 && unique_name(file->name, &st) == 0 ? 0 : -1;
	}
	if (rc == 0) {
		len = strlen(file->name);
		(void)snprintf(file->name + len, sizeof(file->name) - len, ",S=%llu,W=%llu",
			       (unsigned long long)size, (unsigned long long)virtual_size);
		file->call = "link into new";
		rc = link_into_new(place, fd, &st, file->named ? file->tmp_name : NULL, file->name);
	}
	if (file->named) { /* a left-over in tmp/ harms nobody: readers remove it after 36 hours */
		int saved = errno;

		(void)unlinkat(place->tmp_fd, file->tmp_name, 0);
		errno = saved;
	}
	close_keeping_errno(fd);
	return rc;
}

/* Errors that say "no nameless files here" or "no /proc to link them from". */
static bool needs_name(const struct file *file, int error)
{
	if (file->named)
		return false;
	if (strcmp(file->call, "link into new") == 0)
		return error == ENOENT || error == EACCES || error == EPERM || error == EXDEV ||
		       error == EOPNOTSUPP;
	return strcmp(file->call, "create a file in tmp") == 0 &&
	       (error == EOPNOTSUPP || error == EISDIR || error == EINVAL || error == ENOSYS);
}

enum result maildir_deliver(const struct maildir_target *target, const struct maildir_part *parts,
			    size_t part_count, uint64_t size, uint64_t virtual_size,
			    struct buf *name_r, bool *no_space_r, struct error *err)
{
	struct place place;
	struct file file = {.call = ""};
	int error = 0;
	enum result result;

	result = place_open(&place, target, &error, err);
	if (result == RESULT_FOUND) {
		int rc = file_publish(&place, &file, parts, part_count, size, virtual_size);

		if (rc != 0 && needs_name(&file, errno)) {
			file.named = true;
			rc = file_publish(&place, &file, parts, part_count, size, virtual_size);
		}
		if (rc == 0) {
			file.call = "fsync new";
			rc = sync_directory(place.new_fd);
			error = errno;
			/* Nobody was told of it; without this each retry would add a copy. */
			if (rc != 0)
				(void)unlinkat(place.new_fd, file.name, 0);
		} else {
			error = errno;
		}
		if (rc != 0)
			result = disk_error(err, error, file.call, target, place.prefix);
		else if (name_r)
			buf_printf(name_r, "%snew/%s", place.prefix, file.name);
		place_close(&place);
	}
	if (no_space_r)
		*no_space_r = result != RESULT_FOUND && (error == ENOSPC || error == EDQUOT);
	return result;
}

uint64_t maildir_virtual_size(const void *data, size_t len, bool *last_was_cr)
{
	const char *bytes = data, *at = data;
	uint64_t size = len;

	if (len == 0)
		return 0;
	while ((at = memchr(at, '\n', len - (size_t)(at - bytes)))) {
		bool after_cr = at == bytes ? *last_was_cr : at[-1] == '\r';

		size += !after_cr;
		at++;
	}
	*last_was_cr = bytes[len - 1] == '\r';
	return size;
}
