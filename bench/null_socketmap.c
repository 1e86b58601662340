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

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/null_server.h"

#define REQUEST_MAX 4096
#define REPLY_MAX   1000

static char reply[REPLY_MAX + 16];
static size_t reply_len;

static void converse(int fd)
{
	char request[REQUEST_MAX];

	while (read(fd, request, sizeof(request)) > 0)
		if (write(fd, reply, reply_len) != (ssize_t)reply_len)
			return;
}

int main(int argc, char **argv)
{
	if (argc != 3 || strlen(argv[2]) > REPLY_MAX) {
		fprintf(stderr, "usage: null_socketmap SOCKET REPLY (at most %d bytes)\n",
			REPLY_MAX);
		return 64;
	}
	reply_len = (size_t)snprintf(reply, sizeof(reply), "%zu:%s,", strlen(argv[2]), argv[2]);
	return null_server_run("null_socketmap", argv[1], converse);
}
