/*
 * secret - bytes that must not leak
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_FILE_MAX 4096

void secret_wipe(void *data, size_t len)
{
	if (data != NULL)
		explicit_bzero(data, len);
}

void secret_free(char **str)
{
	if (*str == NULL)
		return;
	explicit_bzero(*str, strlen(*str));
	free(*str);
	*str = NULL;
}

bool secret_equal(const void *a, size_t a_len, const void *b, size_t b_len)
{
	const volatile unsigned char *left = a, *right = b;
	unsigned char difference = 0;

	if (a_len != b_len)
		return false;
	for (size_t i = 0; i < a_len; i++)
		difference |= left[i] ^ right[i];
	return difference == 0;
}

bool secret_random(void *data, size_t len)
{
	unsigned char *at = data;

	while (len > 0) {
		ssize_t got = getrandom(at, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		at += got;
		len -= (size_t)got;
	}
	return true;
}

/* Appends at most SECRET_FILE_MAX + 1 bytes. 0, or -1 with errno. */
static int read_some(int fd, struct buf *secret)
{
	while (secret->len <= SECRET_FILE_MAX) {
		size_t want = SECRET_FILE_MAX + 1 - secret->len;
		char *room = buf_reserve(secret, want);
		ssize_t got;

		if (room == NULL) {
			errno = ENOMEM;
			return -1;
		}
		got = read(fd, room, want);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return (int)got;
		buf_added(secret, (size_t)got);
	}
	return 0;
}

static enum result read_line(int fd, const char *path, struct buf *secret, struct error *err)
{
	struct stat info;
	size_t len;

	if (fstat(fd, &info) < 0)
		return result_error(err, RESULT_PERM, "%s: cannot stat: %s", path, strerror(errno));
	if (!S_ISREG(info.st_mode))
		return result_error(err, RESULT_PERM, "%s: not a regular file", path);
	if ((info.st_mode & S_IRWXO) != 0)
		return result_error(err, RESULT_PERM,
				    "%s: others may read or change this password file; chmod o= it",
				    path);
	if (read_some(fd, secret) < 0)
		return result_error(err, RESULT_PERM, "%s: cannot read: %s", path, strerror(errno));
	len = strcspn(buf_str(secret), "\n");
	if (len < secret->len && secret->data[len] == '\0')
		return result_error(err, RESULT_PERM, "%s: the first line holds a NUL byte", path);
	if (len > 0 && secret->data[len - 1] == '\r')
		len--;
	if (len == 0)
		return result_error(err, RESULT_PERM, "%s: the first line is empty", path);
	if (len > SECRET_FILE_MAX)
		return result_error(err, RESULT_PERM, "%s: the first line is longer than %d bytes",
				    path, SECRET_FILE_MAX);
	buf_truncate(secret, len);
	return RESULT_FOUND;
}

enum result secret_read_file(const char *path, struct buf *secret_r, struct error *err)
{
	/* Without O_NONBLOCK opening a FIFO would wait for a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	enum result result;

	if (fd < 0)
		return result_error(err, RESULT_PERM, "%s: cannot open the password file: %s", path,
				    strerror(errno));
	buf_reset(secret_r);
	result = read_line(fd, path, secret_r, err);
	if (result != RESULT_FOUND)
		buf_reset(secret_r);
	close(fd);
	return result;
}
