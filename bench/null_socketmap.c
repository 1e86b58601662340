/*
 * NAME
 *	null_socketmap - the least that a socketmap server can do
 * SYNOPSIS
 *	null_socketmap SOCKET REPLY
 * DESCRIPTION
 *	The yardstick of scripts/bench: a thread for each connection, blocking reads, and REPLY, always
 *	the same bytes, for whatever came. What a server that looks something up loses against it is
 *	the server's own.
 *
 *	It ends by a signal; the socket file stays behind.
 * BUGS
 *	A request is what one read(2) returns: right for Postfix, which sends one at a time.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MAX 4096
#define REPLY_MAX   1000

static char reply[REPLY_MAX + 16];
static size_t reply_len;

static void *serve(void *argument)
{
	int fd = (int)(intptr_t)argument;
	char request[REQUEST_MAX];

	while (read(fd, request, sizeof(request)) > 0)
		if (write(fd, reply, reply_len) != (ssize_t)reply_len)
			break;
	close(fd);
	return NULL;
}

static int listen_on(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(fd, SOMAXCONN) != 0)
		return -1;
	return fd;
}

static int fail(const char *what, int error)
{
	fprintf(stderr, "null_socketmap: %s: %s\n", what, strerror(error));
	return 1;
}

int main(int argc, char **argv)
{
	int listener;

	if (argc != 3 || strlen(argv[2]) > REPLY_MAX) {
		fprintf(stderr, "usage: null_socketmap SOCKET REPLY (at most %d bytes)\n",
			REPLY_MAX);
		return 64;
	}
	reply_len = (size_t)snprintf(reply, sizeof(reply), "%zu:%s,", strlen(argv[2]), argv[2]);
	/* A client that leaves ends its own thread only. */
	signal(SIGPIPE, SIG_IGN);
	listener = listen_on(argv[1]);
	if (listener < 0)
		return fail(argv[1], errno);
	for (;;) {
		pthread_t thread;
		int error, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			return fail("accept", errno);
		error = pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
		if (error != 0)
			return fail("pthread_create", error);
		pthread_detach(thread);
	}
}
