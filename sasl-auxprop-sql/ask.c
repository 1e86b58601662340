/*
 * A client of the saslauthd protocol, for postern_saslauthd.
 *
 * Protocol: one request a connection: user, password, service, realm, each as a 16-bit big-endian
 * length and bytes; the login is split at its last '@'. The reply is a length and a text that
 * begins with OK, or something else for no; sasl-authd answers length 0 when it does not know.
 * Whatever is not a whole reply is "do not know" as well.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "sasl-auxprop-sql/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/io.h"

#define REPLY_MAX 1024

static void append_string(struct buf *request, const char *text, size_t len)
{
	buf_putc(request, (char)(len >> 8 & 0xff));
	buf_putc(request, (char)(len & 0xff));
	buf_append(request, text, len);
}

static enum result request_make(const struct source_login *login, const char *password,
				struct buf *request, struct error *err)
{
	const char *at = memrchr(login->name, '@', login->len);
	size_t user_len = at != NULL ? (size_t)(at - login->name) : login->len;
	const char *realm = at != NULL ? at + 1 : login->realm != NULL ? login->realm : "";
	size_t realm_len = at != NULL ? login->len - user_len - 1 : strlen(realm);

	if (user_len > UINT16_MAX || realm_len > UINT16_MAX || strlen(password) > UINT16_MAX)
		return result_error(err, RESULT_NONE, "login or password too long");
	append_string(request, login->name, user_len);
	append_string(request, password, strlen(password));
	append_string(request, login->service, strlen(login->service));
	append_string(request, realm, realm_len);
	return buf_ok(request) ? RESULT_FOUND : result_error(err, RESULT_TEMP, "out of memory");
}

/* A connected socket, or -1 with errno. A full queue of the daemon is waited for. */
static int connect_unix(const char *path, struct deadline deadline)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || deadline_passed(deadline)) {
			int saved = errno;

			close(fd);
			errno = saved;
			return -1;
		}
		/* Linux has no event for "the listen queue has room again". */
		(void)poll(NULL, 0, 20);
	}
	return fd;
}

static enum result reply_read(int fd, struct deadline deadline, struct error *err)
{
	struct buf reply = BUF_INIT;
	enum io_result io = IO_OK;
	enum result result;
	size_t need = 2;

	while (io == IO_OK && reply.len < need) {
		io = io_read(fd, &reply, REPLY_MAX, deadline);
		if (reply.len >= 2)
			need = 2 + ((size_t)(unsigned char)reply.data[0] << 8 |
				    (unsigned char)reply.data[1]);
	}
	if (reply.len < need)
		result = result_error(err, RESULT_TEMP, "no whole reply: %s", io_result_name(io));
	else if (need == 2)
		result = result_error(err, RESULT_TEMP, "it answers: try again later");
	else if (need >= 4 && memcmp(reply.data + 2, "OK", 2) == 0)
		result = RESULT_FOUND;
	else
		result = result_error(err, RESULT_NONE, "refused");
	buf_free(&reply);
	return result;
}

enum result ask_saslauthd(const char *path, const struct source_login *login, const char *password,
			  struct deadline deadline, struct error *err)
{
	struct buf request = BUF_SECRET;
	enum result result = request_make(login, password, &request, err);
	enum io_result io;
	int fd;

	if (result != RESULT_FOUND) {
		buf_free(&request);
		return result;
	}
	fd = connect_unix(path, deadline);
	if (fd < 0) {
		buf_free(&request);
		return result_error(err, RESULT_TEMP, "%s: cannot connect: %s", path,
				    strerror(errno));
	}
	io = io_write(fd, request.data, request.len, deadline);
	buf_free(&request);
	if (io == IO_OK)
		result = reply_read(fd, deadline, err);
	else
		result = result_error(err, RESULT_TEMP, "cannot write: %s", io_result_name(io));
	if (result == RESULT_TEMP)
		error_prefix(err, "%s", path);
	close(fd);
	return result;
}
