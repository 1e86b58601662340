/*
 * NAME
 *	endpoint - where a daemon listens
 *
 * DESCRIPTION
 *	A Unix socket gets its owner, group and mode between bind(2) and listen(2), so that nobody
 *	can connect before they hold. A socket file that is left over from a crash is found by
 *	connecting to it, and replaced.
 *
 *	Sockets of a service manager (LISTEN_PID, LISTEN_FDS: descriptors from 3 on) are recognised
 *	by their address; their owner and mode are the manager's affair.
 *
 * BUGS
 *	A host name with several addresses listens on the first one that works.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/owner.h"

#define BACKLOG        4096
#define INHERITED_BASE 3
#define HOST_BYTES     256

union address {
	struct sockaddr any;
	struct sockaddr_un path;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_storage storage;
};

/* Splits "HOST:PORT" or "[IPV6]:PORT"; false when NAME is neither. */
static bool split_host(const char *name, char *host_r, size_t size, const char **port_r)
{
	const char *colon = strrchr(name, ':');
	int64_t port;
	if (colon == NULL || colon == name || colon[1] == '-' ||
	    !conf_parse_integer(colon + 1, &port) || port > 65535)
		return false;
	const char *host = name;
	size_t len = (size_t)(colon - name);
	if (host[0] == '[') {
		if (len < 3 || host[len - 1] != ']')
			return false;
		host++;
		len -= 2;
	} else if (memchr(host, ':', len) != NULL) {
		return false;
	}
	if (len >= size)
		return false;
	memcpy(host_r, host, len);
	host_r[len] = '\0';
	*port_r = colon + 1;
	return true;
}

static enum result check_name(const char *name, struct error *err)
{
	char host[HOST_BYTES];
	const char *port;
	if (name[0] == '/') {
		size_t most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
		if (strlen(name) > most)
			return result_error(err, RESULT_PERM,
					    "\"%s\": the path of a socket has at most %zu bytes",
					    name, most);
		return RESULT_FOUND;
	}
	if (!split_host(name, host, sizeof(host), &port))
		return result_error(err, RESULT_PERM,
				    "\"%s\" is neither /path, HOST:PORT nor [IPV6]:PORT", name);
	return RESULT_FOUND;
}

static enum result add_endpoint(struct endpoint **endpoints, size_t *count, const char *name,
				struct error *err)
{
	for (size_t i = 0; i < *count; i++)
		if (strcmp((*endpoints)[i].name, name) == 0)
			return result_error(err, RESULT_PERM, "\"%s\" is given twice", name);
	struct endpoint *grown = realloc(*endpoints, (*count + 1) * sizeof(*grown));
	if (grown == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	*endpoints = grown;
	char *copy = strdup(name);
	if (copy == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	grown[(*count)++] = (struct endpoint){.name = copy, .fd = -1, .is_unix = name[0] == '/'};
	return RESULT_FOUND;
}

enum result endpoint_parse(const char *list, struct endpoint **endpoints_r, size_t *count_r,
			   struct error *err)
{
	const char *cursor = list;
	char word[512];
	*endpoints_r = NULL;
	*count_r = 0;
	while (conf_next_word(&cursor, word, sizeof(word))) {
		enum result result = check_name(word, err);
		if (result == RESULT_FOUND)
			result = add_endpoint(endpoints_r, count_r, word, err);
		if (result != RESULT_FOUND) {
			endpoint_free(endpoints_r, *count_r, false);
			*count_r = 0;
			return result;
		}
	}
	if (cursor == NULL) {
		endpoint_free(endpoints_r, *count_r, false);
		*count_r = 0;
		return result_error(err, RESULT_PERM, "an endpoint has at most %zu bytes",
				    sizeof(word) - 1);
	}
	return RESULT_FOUND;
}

static void unix_address(const char *path, union address *address_r, socklen_t *len_r)
{
	memset(address_r, 0, sizeof(*address_r));
	address_r->path.sun_family = AF_UNIX;
	memcpy(address_r->path.sun_path, path, strlen(path) + 1);
	*len_r = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
}

static bool same_address(const union address *a, const union address *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	switch (a->any.sa_family) {
	case AF_UNIX:
		return strcmp(a->path.sun_path, b->path.sun_path) == 0;
	case AF_INET:
		return a->v4.sin_port == b->v4.sin_port &&
		       a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	case AF_INET6:
		return a->v6.sin6_port == b->v6.sin6_port &&
		       memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
	default:
		return false;
	}
}

/* How many descriptors the service manager handed to this process. */
static int inherited_count(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	int64_t process, count;
	if (pid == NULL || fds == NULL || !conf_parse_integer(pid, &process) ||
	    !conf_parse_integer(fds, &count) || process != getpid() || count < 0 || count > 1024)
		return 0;
	return (int)count;
}

static bool is_listening_stream(int fd)
{
	int value = 0;
	socklen_t len = sizeof(value);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len) != 0 || value != SOCK_STREAM)
		return false;
	len = sizeof(value);
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value != 0;
}

static bool prepare_inherited(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
	       fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static bool take_inherited(struct endpoint *endpoint, const union address *wanted)
{
	int count = inherited_count();
	for (int fd = INHERITED_BASE; fd < INHERITED_BASE + count; fd++) {
		union address address;
		socklen_t len = sizeof(address);
		memset(&address, 0, sizeof(address));
		if (getsockname(fd, &address.any, &len) != 0 || !same_address(&address, wanted) ||
		    !is_listening_stream(fd) || !prepare_inherited(fd))
			continue;
		endpoint->fd = fd;
		endpoint->inherited = true;
		return true;
	}
	return false;
}

/* FOUND: the file was left over and is gone. */
static enum result remove_stale(const char *path, const union address *address, socklen_t len,
				struct error *err)
{
	struct stat st;
	if (lstat(path, &st) != 0)
		return errno == ENOENT
			       ? RESULT_FOUND
			       : result_error(err, RESULT_TEMP, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return result_error(err, RESULT_PERM, "%s: is there and is not a socket; remove it",
				    path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return result_error(err, RESULT_TEMP, "%s: %s", path, strerror(errno));
	int failed = connect(fd, &address->any, len);
	int why = errno;
	close(fd);
	if (failed == 0 || why == EAGAIN)
		return result_error(err, RESULT_TEMP, "%s: in use by another process", path);
	if (why != ECONNREFUSED && why != ENOENT)
		return result_error(err, RESULT_TEMP, "%s: cannot tell whether it is in use: %s",
				    path, strerror(why));
	if (unlink(path) != 0 && errno != ENOENT)
		return result_error(err, RESULT_PERM, "%s: cannot be replaced: %s", path,
				    strerror(errno));
	return RESULT_FOUND;
}

static enum result check_parent(const char *path, struct error *err)
{
	char parent[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct stat st;
	size_t len = (size_t)(strrchr(path, '/') - path);
	if (len == 0)
		return RESULT_FOUND;
	memcpy(parent, path, len);
	parent[len] = '\0';
	if (stat(parent, &st) != 0)
		return result_error(err, RESULT_PERM, "%s: the folder %s cannot be used: %s", path,
				    parent, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return result_error(err, RESULT_PERM, "%s: %s is not a folder", path, parent);
	return RESULT_FOUND;
}

static enum result apply_mode(const char *path, const struct endpoint_mode *mode, struct error *err)
{
	uid_t uid = (uid_t)-1;
	gid_t gid = (gid_t)-1, unused;
	enum result result = RESULT_FOUND;
	if (mode->owner != NULL && mode->owner[0] != '\0')
		result = owner_user(mode->owner, &uid, &unused, err);
	if (result == RESULT_FOUND && mode->group != NULL && mode->group[0] != '\0')
		result = owner_group(mode->group, &gid, err);
	if (result != RESULT_FOUND) {
		error_prefix(err, "%s", path);
		return result;
	}
	if ((uid != (uid_t)-1 || gid != (gid_t)-1) && chown(path, uid, gid) != 0)
		return result_error(err, RESULT_PERM,
				    "%s: cannot be given to user \"%s\" and group \"%s\": %s", path,
				    mode->owner ? mode->owner : "", mode->group ? mode->group : "",
				    strerror(errno));
	if (chmod(path, mode->mode) != 0)
		return result_error(err, RESULT_PERM, "%s: chmod: %s", path, strerror(errno));
	return RESULT_FOUND;
}

static enum result listen_unix(struct endpoint *endpoint, const struct endpoint_mode *mode,
			       struct error *err)
{
	union address address;
	socklen_t len;
	unix_address(endpoint->name, &address, &len);
	if (take_inherited(endpoint, &address))
		return RESULT_FOUND;
	enum result result = check_parent(endpoint->name, err);
	if (result == RESULT_FOUND)
		result = remove_stale(endpoint->name, &address, len, err);
	if (result != RESULT_FOUND)
		return result;

	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return result_error(err, RESULT_TEMP, "%s: %s", endpoint->name, strerror(errno));
	if (bind(fd, &address.any, len) != 0) {
		result = errno == EADDRINUSE ? RESULT_TEMP : RESULT_PERM;
		error_set(err, "%s: cannot listen: %s", endpoint->name, strerror(errno));
		close(fd);
		return result;
	}
	result = apply_mode(endpoint->name, mode, err);
	if (result == RESULT_FOUND && listen(fd, BACKLOG) != 0)
		result = result_error(err, RESULT_TEMP, "%s: %s", endpoint->name, strerror(errno));
	if (result != RESULT_FOUND) {
		unlink(endpoint->name);
		close(fd);
		return result;
	}
	endpoint->fd = fd;
	return RESULT_FOUND;
}

/* The descriptor, or -1 with errno. */
static int bind_tcp(const struct addrinfo *info)
{
	int one = 1;
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0;
	if (ok && info->ai_family == AF_INET6)
		ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) == 0;
	if (ok && bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int why = errno;
	close(fd);
	errno = why;
	return -1;
}

static enum result listen_tcp(struct endpoint *endpoint, struct error *err)
{
	char host[HOST_BYTES];
	const char *port;
	if (!split_host(endpoint->name, host, sizeof(host), &port))
		return result_error(err, RESULT_PERM, "\"%s\" is not HOST:PORT", endpoint->name);
	const struct addrinfo hints = {.ai_family = AF_UNSPEC,
				       .ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *list;
	int code = getaddrinfo(host, port, &hints, &list);
	if (code != 0)
		return result_error(err, code == EAI_AGAIN ? RESULT_TEMP : RESULT_PERM, "%s: %s",
				    endpoint->name, gai_strerror(code));
	int why = 0;
	for (const struct addrinfo *info = list; info && endpoint->fd < 0; info = info->ai_next) {
		union address wanted;
		memset(&wanted, 0, sizeof(wanted));
		memcpy(&wanted, info->ai_addr, info->ai_addrlen);
		if (take_inherited(endpoint, &wanted))
			break;
		endpoint->fd = bind_tcp(info);
		if (endpoint->fd < 0 && why != EADDRINUSE)
			why = errno;
	}
	freeaddrinfo(list);
	if (endpoint->fd >= 0)
		return RESULT_FOUND;
	if (why == EADDRINUSE)
		return result_error(err, RESULT_TEMP, "%s: in use by another process",
				    endpoint->name);
	return result_error(err, RESULT_PERM, "%s: cannot listen: %s", endpoint->name,
			    strerror(why));
}

enum result endpoint_listen(struct endpoint *endpoint, const struct endpoint_mode *mode,
			    struct error *err)
{
	return endpoint->is_unix ? listen_unix(endpoint, mode, err) : listen_tcp(endpoint, err);
}

int endpoint_port(const struct endpoint *endpoint)
{
	union address address;
	socklen_t len = sizeof(address);
	if (getsockname(endpoint->fd, &address.any, &len) != 0)
		return -1;
	if (address.any.sa_family == AF_INET)
		return ntohs(address.v4.sin_port);
	if (address.any.sa_family == AF_INET6)
		return ntohs(address.v6.sin6_port);
	return -1;
}

void endpoint_free(struct endpoint **endpoints, size_t count, bool unlink_sockets)
{
	for (size_t i = 0; i < count; i++) {
		struct endpoint *endpoint = &(*endpoints)[i];
		/* Unlinked before it is closed: nobody can have replaced the file while we
		   answered. Without the right to do so, the next start replaces it. */
		if (unlink_sockets && endpoint->is_unix && !endpoint->inherited &&
		    endpoint->fd >= 0)
			unlink(endpoint->name);
		if (endpoint->fd >= 0)
			close(endpoint->fd);
		free(endpoint->name);
	}
	free(*endpoints);
	*endpoints = NULL;
}

void endpoint_peer_name(int fd, char *name_r, size_t size)
{
	union address address;
	socklen_t len = sizeof(address);
	char host[INET6_ADDRSTRLEN];
	if (getpeername(fd, &address.any, &len) != 0)
		snprintf(name_r, size, "unknown");
	else if (address.any.sa_family == AF_UNIX)
		snprintf(name_r, size, "unix");
	else if (address.any.sa_family == AF_INET &&
		 inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof(host)))
		snprintf(name_r, size, "%s:%u", host, ntohs(address.v4.sin_port));
	else if (address.any.sa_family == AF_INET6 &&
		 inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof(host)))
		snprintf(name_r, size, "[%s]:%u", host, ntohs(address.v6.sin6_port));
	else
		snprintf(name_r, size, "unknown");
}
