/*
 * null_server - accepts, and starts a thread for each connection
 *
 * The socket file stays behind.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "bench/null_server.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void (*serve)(int fd);

static void *thread_main(void *argument)
{
	int fd = (int)(intptr_t)argument;

	serve(fd);
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
	umask(0111);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(fd, SOMAXCONN) != 0)
		return -1;
	return fd;
}

static int fail(const char *name, const char *what, int error)
{
	fprintf(stderr, "%s: %s: %s\n", name, what, strerror(error));
	return 1;
}

int null_server_run(const char *name, const char *path, void (*converse)(int fd))
{
	int listener = listen_on(path);

	if (listener < 0)
		return fail(name, path, errno);
	serve = converse;
	/* A client that leaves ends its own thread only. */
	(void)signal(SIGPIPE, SIG_IGN);
	for (;;) {
		pthread_t thread;
		int error, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			return fail(name, "accept", errno);
		error = pthread_create(&thread, NULL, thread_main, (void *)(intptr_t)fd);
		if (error != 0)
			return fail(name, "pthread_create", error);
		pthread_detach(thread);
	}
}
