/*
 * maildir - write messages into Maildirs so that they survive a power cut
 *
 * Order of a delivery: data into a file without a name (O_TMPFILE in tmp/), fdatasync, linkat into
 * new/ through /proc/self/fd, fsync of new/. Where the file system has no nameless files, or /proc
 * is absent, the file gets a unique name in tmp/, is linked and then removed from tmp/.
 *
 * The usual delivery opens the Maildir, a file in its tmp/, and its new/, and looks at nothing
 * else: tmp/ is made last, so whoever can open a file in it has a complete Maildir
 * (maildir_open.c). How several share their syncs: maildir_batch.c.
 *
 * After a failed fsync the file is thrown away; asking again would report success for pages that
 * the kernel has already dropped.
 *
 * Known gap: file systems without hard links (vfat) are refused.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "common/folder.h"
#include "common/folder_directory.h"
#include "common/io.h"
#include "common/maildir_open.h"
#include "common/secret.h"

#define HOST_BYTES 64 /* of the host name inside a file name */
#define NAME_BYTES (NAME_MAX + 1)

static char host_name[HOST_BYTES];
static pthread_once_t host_once = PTHREAD_ONCE_INIT;

/* The host name for file names: what Maildir readers or shells might trip over as \ooo. */
static void encode_host(void)
{
	char host[HOST_NAME_MAX + 1];
	size_t used = 0;

	if (gethostname(host, sizeof(host)) != 0)
		memcpy(host, "localhost", sizeof("localhost"));
	host[sizeof(host) - 1] = '\0';
	for (const char *c = host; *c && used + 5 < sizeof(host_name); c++) {
		bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			     (*c >= '0' && *c <= '9') || *c == '.' || *c == '-' || *c == '_';

		used += (size_t)snprintf(host_name + used, sizeof(host_name) - used,
					 plain ? "%c" : "\\%03o", (unsigned char)*c);
	}
}

/*
 * Dovecot takes the part before ':' for the message's identity, so it must never come twice, also
 * after the clock was set back and with the same process number in another container: hence the
 * device, the inode and random bits.
 */
static int unique_name(char name_r[NAME_BYTES], const struct stat *st)
{
	struct timespec now;
	uint64_t bits;

	if (clock_gettime(CLOCK_REALTIME, &now) != 0 || !secret_random(&bits, sizeof(bits)))
		return -1;
	(void)pthread_once(&host_once, encode_host);
	(void)snprintf(
		name_r, NAME_BYTES, "%lld.M%06ldP%ldV%llxI%llxR%016llx.%s", (long long)now.tv_sec,
		now.tv_nsec / 1000, (long)getpid(), st ? (unsigned long long)st->st_dev : 0ULL,
		st ? (unsigned long long)st->st_ino : 0ULL, (unsigned long long)bits, host_name);
	return 0;
}

static void remove_tmp_name(struct maildir_file *file)
{
	int saved = errno;

	/* A left-over in tmp/ harms nobody: readers remove it after 36 hours. */
	if (file->named && file->tmp_fd >= 0)
		(void)unlinkat(file->tmp_fd, file->tmp_name, 0);
	errno = saved;
	file->named = false;
	folder_directory_close(&file->tmp_fd);
}

void maildir_fail(struct maildir_file *file, int error, const char *call)
{
	remove_tmp_name(file);
	folder_directory_close(&file->fd);
	folder_directory_close(&file->new_fd);
	file->no_space = error == ENOSPC || error == EDQUOT;
	file->result = maildir_disk_error(&file->err, error, call, &file->target, file->prefix);
}

static bool is_going_on(const struct maildir_file *file)
{
	return file->opened && file->result == RESULT_FOUND;
}

static bool plain_folder_name_ok(const char *folder)
{
	size_t len = strlen(folder);

	if (len == 0 || len > NAME_MAX - 1 || folder[0] == '.' || folder[len - 1] == '.' ||
	    strstr(folder, "..") || strchr(folder, '/'))
		return false;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)folder[i] < 0x20 || folder[i] == 0x7f)
			return false;
	return true;
}

/* The folder's directory name; NONE: the INBOX. */
static enum result find_folder(struct maildir_file *file, struct buf *name_r)
{
	const struct maildir_target *target = &file->target;
	enum result result;

	if (target->rules) {
		result = folder_find(file->root_fd, target->folder, target->rules, name_r,
				     &file->err);
		if (result == RESULT_TEMP) {
			file->no_space = errno == ENOSPC || errno == EDQUOT;
			error_prefix(&file->err, "%s", target->directory);
			file->result = RESULT_TEMP;
		}
		return result;
	}
	if (!plain_folder_name_ok(target->folder))
		return RESULT_NONE;
	buf_putc(name_r, '.');
	buf_puts(name_r, target->folder);
	return RESULT_FOUND;
}

/*
 * Opens the folder meant, when there is such a one; else *FD_R is -1. Not every ".name" is a folder
 * (".dovecot.sieve"): one that no reader would list must not be turned into one by an address,
 * hence the look at cur/.
 */
static enum result open_folder(struct maildir_file *file, int *fd_r)
{
	struct buf name = BUF_INIT;
	enum result result = find_folder(file, &name);
	int fd, has_cur;

	*fd_r = -1;
	if (result == RESULT_FOUND && (!buf_ok(&name) || name.len + 2 > sizeof(file->prefix))) {
		maildir_fail(file, ENOMEM, "open folder");
		result = RESULT_TEMP;
	}
	if (result != RESULT_FOUND) {
		buf_free(&name);
		return result == RESULT_NONE ? RESULT_FOUND : result;
	}
	fd = folder_directory_open(file->root_fd, buf_str(&name));
	has_cur = fd < 0 ? -1 : folder_directory_has(fd, "cur");
	if (has_cur > 0) {
		(void)snprintf(file->prefix, sizeof(file->prefix), "%s/", buf_str(&name));
		*fd_r = fd;
		fd = -1;
	} else if (has_cur < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP &&
		   errno != ENAMETOOLONG) {
		maildir_fail(file, errno, "open folder");
	}
	folder_directory_close(&fd);
	buf_free(&name);
	return file->result;
}

/* A file in the tmp/ of the folder FD, with a name when there is no other way. 0, or -1. */
static int create_file(struct maildir_file *file, int fd)
{
	file->fd = openat(fd, "tmp", O_TMPFILE | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (file->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOSYS)
		return -1;
	file->tmp_fd = folder_directory_open(fd, "tmp");
	if (file->tmp_fd < 0 || unique_name(file->tmp_name, NULL) != 0)
		return -1;
	file->fd = openat(file->tmp_fd, file->tmp_name,
			  O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	file->named = file->fd >= 0;
	return file->named ? 0 : -1;
}

/* Opens what the message needs of the folder FD. 0, or -1 with errno and *CALL_R. */
static int take_folder(struct maildir_file *file, int fd, const char **call_r)
{
	*call_r = "open new";
	if (file->new_fd < 0)
		file->new_fd = folder_directory_open(fd, "new");
	if (file->new_fd < 0)
		return -1;
	*call_r = "create a file in tmp";
	return create_file(file, fd);
}

/* The same for one that has lost or not yet got its parts. */
static int take_incomplete_folder(struct maildir_file *file, int *fd, const char **call_r)
{
	int error;

	*call_r = "make";
	if (*fd != file->root_fd) {
		if (folder_directory_sync(file->root_fd) != 0 ||
		    folder_directory_complete(*fd) != 0)
			return -1;
		return take_folder(file, *fd, call_r);
	}
	folder_directory_close(&file->root_fd);
	*fd = -1;
	if (maildir_open_root(&file->target, true, &file->root_fd, &error, NULL) != RESULT_FOUND) {
		errno = error ? error : EIO; /* 0: the mail base itself is gone */
		return -1;
	}
	*fd = file->root_fd;
	return take_folder(file, *fd, call_r);
}

static void open_place(struct maildir_file *file)
{
	const char *call = "";
	int fd = -1, error = 0;

	file->result = maildir_open_root(&file->target, false, &file->root_fd, &error, &file->err);
	/* Behind a folder, too, the Maildir must be whole: its usage is written by way of tmp/. */
	if (file->result == RESULT_FOUND && *file->target.folder &&
	    folder_directory_has(file->root_fd, "tmp") != 1) {
		folder_directory_close(&file->root_fd);
		file->result = RESULT_NONE;
	}
	if (file->result == RESULT_NONE)
		file->result =
			maildir_open_root(&file->target, true, &file->root_fd, &error, &file->err);
	if (file->result != RESULT_FOUND) {
		file->no_space = error == ENOSPC || error == EDQUOT;
		return;
	}
	if (*file->target.folder && open_folder(file, &fd) != RESULT_FOUND)
		return;
	if (fd < 0)
		fd = file->root_fd;
	if (take_folder(file, fd, &call) != 0 &&
	    (errno != ENOENT || take_incomplete_folder(file, &fd, &call) != 0))
		maildir_fail(file, errno, call);
	if (fd != file->root_fd)
		folder_directory_close(&fd);
}

/* All parts, at the file's end. 0, or -1 with errno. */
static int write_parts(int fd, const struct maildir_part *parts, size_t part_count)
{
	struct iovec iov[16];
	size_t next = 0, done = 0; /* part, and bytes of it, to go on with */

	for (;;) {
		size_t count = 0;
		ssize_t put;

		while (next < part_count && done == parts[next].len) {
			next++;
			done = 0;
		}
		for (size_t i = next; i < part_count && count < 16; i++) {
			size_t skip = i == next ? done : 0;

			if (parts[i].len > skip)
				iov[count++] = (struct iovec){
					.iov_base = (char *)(uintptr_t)parts[i].data + skip,
					.iov_len = parts[i].len - skip};
		}
		if (count == 0)
			return 0;
		put = writev(fd, iov, (int)count);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0) {
			errno = put == 0 ? EIO : errno;
			return -1;
		}
		for (size_t left = (size_t)put; left > 0;) {
			size_t here = parts[next].len - done;

			if (left < here) {
				done += left;
				break;
			}
			left -= here;
			next++;
			done = 0;
		}
	}
}

void maildir_write(struct maildir_file *file, const struct maildir_part *parts, size_t part_count)
{
	file->root_fd = file->fd = file->tmp_fd = file->new_fd = -1;
	file->result = RESULT_FOUND;
	file->opened = true;
	file->named = file->linked = file->settled = file->no_space = false;
	file->prefix[0] = file->name[0] = '\0';
	open_place(file);
	if (file->result == RESULT_FOUND && write_parts(file->fd, parts, part_count) != 0)
		maildir_fail(file, errno, "write");
	if (file->result != RESULT_FOUND)
		folder_directory_close(&file->root_fd);
}

/* 0, or -1 with errno. */
static int link_into_new(const struct maildir_file *file, const char *name, const struct stat *st)
{
	char proc_name[64];
	struct stat there;
	int rc;

	(void)snprintf(proc_name, sizeof(proc_name), "/proc/self/fd/%d", file->fd);
	if (file->named)
		rc = linkat(file->tmp_fd, file->tmp_name, file->new_fd, name, 0);
	else
		rc = linkat(AT_FDCWD, proc_name, file->new_fd, name, AT_SYMLINK_FOLLOW);
	if (rc == 0 || errno != EEXIST)
		return rc;
	/* On NFS the reply to a link that succeeded may be lost and the repetition says EEXIST. */
	if (fstatat(file->new_fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    there.st_dev == st->st_dev && there.st_ino == st->st_ino)
		return 0;
	errno = EEXIST;
	return -1;
}

static int copy_file(int from, int to)
{
	char bytes[16384];
	ssize_t got;

	if (lseek(from, 0, SEEK_SET) != 0)
		return -1;
	while ((got = read(from, bytes, sizeof(bytes))) != 0) {
		if (got < 0 && errno != EINTR)
			return -1;
		if (got > 0 && io_write_file(to, bytes, (size_t)got) != 0)
			return -1;
	}
	return fdatasync(to);
}

/* A nameless file that cannot be linked (no /proc) becomes one with a name in tmp/. 0, or -1. */
static int give_tmp_name(struct maildir_file *file)
{
	int folder_fd = file->root_fd, nameless = file->fd, rc;

	if (*file->prefix) {
		char folder[sizeof(file->prefix)];

		memcpy(folder, file->prefix, sizeof(folder));
		folder[strlen(folder) - 1] = '\0';
		folder_fd = folder_directory_open(file->root_fd, folder);
		if (folder_fd < 0)
			return -1;
	}
	file->tmp_fd = folder_directory_open(folder_fd, "tmp");
	if (folder_fd != file->root_fd)
		folder_directory_close(&folder_fd);
	if (file->tmp_fd < 0 || unique_name(file->tmp_name, NULL) != 0)
		return -1;
	file->fd = openat(file->tmp_fd, file->tmp_name,
			  O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	file->named = file->fd >= 0;
	rc = file->named ? copy_file(nameless, file->fd) : -1;
	folder_directory_close(&nameless);
	return rc;
}

/* Names and links the file as it stands. 0, or -1 with errno and *CALL_R. */
static int name_and_link(struct maildir_file *file, const char **call_r)
{
	char name[NAME_BYTES];
	struct stat st;
	size_t len;

	*call_r = "name the file";
	if (fstat(file->fd, &st) != 0 || unique_name(name, &st) != 0)
		return -1;
	len = strlen(name);
	(void)snprintf(name + len, sizeof(name) - len, ",S=%llu,W=%llu",
		       (unsigned long long)file->size, (unsigned long long)file->virtual_size);
	(void)snprintf(file->name, sizeof(file->name), "%snew/%s", file->prefix, name);
	*call_r = "link into new";
	return link_into_new(file, name, &st);
}

/* Errors that say "no /proc to link them from". */
static bool cannot_link_nameless(int error)
{
	return error == ENOENT || error == EACCES || error == EPERM || error == EXDEV ||
	       error == EOPNOTSUPP;
}

void maildir_link(struct maildir_file *file)
{
	const char *call;
	int rc;

	if (!is_going_on(file) || file->fd < 0)
		return;
	rc = name_and_link(file, &call);
	if (rc != 0 && !file->named && strcmp(call, "link into new") == 0 &&
	    cannot_link_nameless(errno)) {
		rc = give_tmp_name(file);
		if (rc == 0)
			rc = name_and_link(file, &call);
	}
	if (rc != 0) {
		maildir_fail(file, errno, call);
		return;
	}
	file->linked = true;
	remove_tmp_name(file);
	folder_directory_close(&file->fd);
}

void maildir_close(struct maildir_file *file)
{
	if (!file->opened)
		return;
	remove_tmp_name(file);
	folder_directory_close(&file->fd);
	folder_directory_close(&file->new_fd);
	folder_directory_close(&file->root_fd);
	file->opened = false;
}

enum result maildir_deliver(const struct maildir_target *target, const struct maildir_part *parts,
			    size_t part_count, uint64_t size, uint64_t virtual_size,
			    struct buf *name_r, bool *no_space_r, struct error *err)
{
	struct maildir_file file = {.target = *target, .size = size, .virtual_size = virtual_size};
	struct maildir_file *files[] = {&file};

	maildir_write(&file, parts, part_count);
	maildir_sync(files, 1);
	maildir_link(&file);
	maildir_settle(files, 1);
	maildir_close(&file);
	if (no_space_r)
		*no_space_r = file.no_space;
	if (file.result != RESULT_FOUND)
		return result_error(err, file.result, "%s", file.err.text);
	if (name_r)
		buf_puts(name_r, file.name);
	return RESULT_FOUND;
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
