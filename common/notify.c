/*
 * NAME
 *	notify - messages to the service manager
 *
 * DESCRIPTION
 *	One datagram to the Unix socket in NOTIFY_SOCKET; a name that begins with '@' is in the
 *	abstract space.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/deadline.h"
#include "common/log.h"

static void complain(const char *path, const char *why)
{
	static _Atomic bool said;
	if (!said)
		log_warning("service manager not told NOTIFY_SOCKET=<%s> error=<%s>", path, why);
	said = true;
}

void notify_send(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	if (path == NULL || path[0] == '\0')
		return;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = strlen(path);
	if ((path[0] != '/' && path[0] != '@') || len >= sizeof(address.sun_path)) {
		complain(path, "not a socket path");
		return;
	}
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	socklen_t address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);

	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		complain(path, strerror(errno));
		return;
	}
	ssize_t sent;
	do {
		sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL,
			      (const struct sockaddr *)&address, address_len);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		complain(path, strerror(errno));
	close(fd);
}

void notify_reloading(void)
{
	char text[80];
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
		 (long long)deadline_now_us());
	notify_send(text);
}
