/*
 * Where a daemon listens: "/path" (a Unix socket), "HOST:PORT", "[IPV6]:PORT"; several, blank
 * separated. Sockets handed down by a service manager (LISTEN_FDS) are matched by their address
 * and used in place of new ones.
 */
#ifndef POSTERN_ENDPOINT_H
#define POSTERN_ENDPOINT_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/result.h"

struct endpoint {
	char *name; /* as configured */
	int fd;     /* listening, non-blocking, close-on-exec; -1 before endpoint_listen() */
	bool is_unix;
	bool inherited;
};

struct endpoint_mode {     /* of Unix sockets */
	mode_t mode;       /* e.g. 0660 */
	const char *group; /* name or number; "" or NULL: leave */
	const char *owner; /* user name or number, "" or NULL: leave */
};

/* Parses only; PERM names the bad word. ENDPOINTS_R is an array of *COUNT_R, freed by _free. */
enum result endpoint_parse(const char *list, struct endpoint **endpoints_r, size_t *count_r,
			   struct error *err) MUST_CHECK;
/*
 * Binds and listens (backlog 4096, or what the kernel allows). A stale Unix socket, to which
 * nobody answers, is replaced; one that answers is TEMP "in use by another process". Missing
 * parent directories are PERM, naming them. TCP port 0 is allowed; endpoint_port() tells.
 */
enum result endpoint_listen(struct endpoint *endpoint, const struct endpoint_mode *mode,
			    struct error *err) MUST_CHECK;
int endpoint_port(const struct endpoint *endpoint);
/* Closes; removes the Unix socket files that endpoint_listen() made when UNLINK. */
void endpoint_free(struct endpoint **endpoints, size_t count, bool unlink_sockets);
/* A connected client's name for logs: "unix", "127.0.0.1:4711". */
void endpoint_peer_name(int fd, char *name_r, size_t size);

#endif
