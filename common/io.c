/*
 * io - reads and writes with a deadline
 *
 * Sockets are never made to block: each call asks the kernel not to wait and poll(2) does the
 * waiting, io_read_briefly() alone excepted. Other descriptors (the pipe of a delivery agent) are
 * polled before each call. A deadline that has passed ends a read even if bytes are there, so that a
 * peer who trickles cannot stretch it. A peer that resets the connection counts as one that closed.
 *
 * SIGPIPE is prevented for sockets; writing to a pipe without readers raises it as usual.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/io.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#define IO_STEP 65536

/* Waits for EVENTS; FAILED sets errno. Errors of the descriptor count as ready. */
static enum io_result wait_for(int fd, short events, struct deadline deadline)
{
	struct pollfd poller = {.fd = fd, .events = events};

	for (;;) {
		int ready = poll(&poller, 1, deadline_left_ms(deadline));

		if (ready > 0) {
			if ((poller.revents & POLLNVAL) == 0)
				return IO_OK;
			errno = EBADF;
			return IO_FAILED;
		}
		if (ready < 0 && errno != EINTR)
			return IO_FAILED;
		if (ready == 0 && deadline_passed(deadline))
			return IO_TIMEOUT;
	}
}

/* True if a call on a descriptor that is no socket would not wait; else errno is set. */
static bool ready_now(int fd, short events)
{
	enum io_result result = wait_for(fd, events, deadline_in(0));

	if (result == IO_TIMEOUT)
		errno = EAGAIN;
	return result == IO_OK;
}

static ssize_t receive(int fd, void *data, size_t len, int flags)
{
	ssize_t got = recv(fd, data, len, flags);

	if (got >= 0 || errno != ENOTSOCK)
		return got;
	return ready_now(fd, POLLIN) ? read(fd, data, len) : -1;
}

static ssize_t transmit(int fd, const void *data, size_t len)
{
	ssize_t put = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (put >= 0 || errno != ENOTSOCK)
		return put;
	/* A writable pipe has room for this much, so that write(2) does not wait. */
	if (len > PIPE_BUF)
		len = PIPE_BUF;
	return ready_now(fd, POLLOUT) ? write(fd, data, len) : -1;
}

static bool would_wait(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK;
}

static enum io_result read_some(int fd, struct buf *buf, size_t max, int flags)
{
	size_t len = max < IO_STEP ? max : IO_STEP;
	char *room;
	ssize_t got;

	if (len == 0) {
		errno = EINVAL;
		return IO_FAILED;
	}
	room = buf_reserve(buf, len);
	if (room == NULL) {
		errno = ENOMEM;
		return IO_FAILED;
	}
	do
		got = receive(fd, room, len, flags);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		buf_added(buf, (size_t)got);
		return IO_OK;
	}
	if (got == 0 || errno == ECONNRESET)
		return IO_EOF;
	return would_wait() ? IO_AGAIN : IO_FAILED;
}

enum io_result io_read_now(int fd, struct buf *buf, size_t max)
{
	return read_some(fd, buf, max, MSG_DONTWAIT);
}

enum io_result io_read_briefly(int fd, struct buf *buf, size_t max)
{
	return read_some(fd, buf, max, 0);
}

enum io_result io_read(int fd, struct buf *buf, size_t max, struct deadline deadline)
{
	for (;;) {
		enum io_result result;

		if (deadline_passed(deadline))
			return IO_TIMEOUT;
		result = io_read_now(fd, buf, max);
		if (result != IO_AGAIN)
			return result;
		result = wait_for(fd, POLLIN, deadline);
		if (result != IO_OK)
			return result;
	}
}

enum io_result io_write(int fd, const void *data, size_t len, struct deadline deadline)
{
	const char *at = data;

	while (len > 0) {
		ssize_t put;

		if (deadline_passed(deadline))
			return IO_TIMEOUT;
		put = transmit(fd, at, len);
		if (put >= 0) {
			at += put;
			len -= (size_t)put;
		} else if (would_wait()) {
			enum io_result result = wait_for(fd, POLLOUT, deadline);

			if (result != IO_OK)
				return result;
		} else if (errno == EPIPE || errno == ECONNRESET) {
			return IO_EOF;
		} else if (errno != EINTR) {
			return IO_FAILED;
		}
	}
	return IO_OK;
}

const char *io_result_name(enum io_result result)
{
	switch (result) {
	case IO_OK:
		return "ok";
	case IO_EOF:
		return "closed by the peer";
	case IO_TIMEOUT:
		return "timed out";
	case IO_AGAIN:
		return "nothing to read";
	case IO_FAILED:
		break;
	}
	return "failed";
}

int io_write_file(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t put = write(fd, at, len);

		if (put > 0) {
			at += put;
			len -= (size_t)put;
		} else if (put == 0) {
			errno = EIO;
			return -1;
		} else if (would_wait()) {
			if (wait_for(fd, POLLOUT, DEADLINE_NEVER) != IO_OK)
				return -1;
		} else if (errno != EINTR) {
			return -1;
		}
	}
	return 0;
}
