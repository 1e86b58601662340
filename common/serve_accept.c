/*
 * serve_accept - the accepting thread of the connection engine
 *
 * Accepts, looks for idle connections and for requests that have waited long enough. At the cap,
 * and when descriptors or memory run out, it leaves connections in the backlog.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utlist.h>

#include "common/log.h"
#include "common/serve_engine.h"

#define LINGER_MS    20
#define PAUSE_MS     100 /* without accepting, when descriptors ran out */
#define WAIT_STEP_MS 20  /* how exactly the end of a wait is met */

static bool client_add(struct serve *serve, int fd, const struct endpoint *endpoint)
{
	bool greets = serve->config.service->greets;
	struct client *client = calloc(1, sizeof(*client));
	if (client == NULL)
		return false;
	client->serve = serve;
	client->connection.fd = fd;
	client->connection.endpoint = endpoint;
	client->connection.in = BUF_SECRET;
	endpoint_peer_name(fd, client->connection.peer, sizeof(client->connection.peer));
	if (!endpoint->is_unix) {
		int one = 1;
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
	/* A worker that lingers blocks in its read. */
	struct timeval linger = {.tv_usec = LINGER_MS * 1000};
	if (!greets && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &linger, sizeof(linger)) != 0) {
		free(client);
		return false;
	}
	client->parked_ms = greets ? SERVE_GREETING : deadline_now_ms();
	pthread_mutex_lock(&serve->lock);
	DL_APPEND(serve->clients, client);
	serve->count++;
	pthread_mutex_unlock(&serve->lock);
	/* A new socket is writable, so the first event comes at once. */
	if (serve_arm(serve, client, EPOLL_CTL_ADD,
		      greets ? EPOLLIN | EPOLLOUT : EPOLLIN | EPOLLRDHUP))
		return true;
	pthread_mutex_lock(&serve->lock);
	DL_DELETE(serve->clients, client);
	serve->count--;
	pthread_mutex_unlock(&serve->lock);
	free(client);
	return false;
}

/* True: there is room; else a connection that ends wakes the accepting thread. */
static bool room_left(struct serve *serve)
{
	pthread_mutex_lock(&serve->lock);
	bool room = serve->count < serve->config.max_connections;
	if (!room)
		serve->room_wanted = true;
	pthread_mutex_unlock(&serve->lock);
	return room;
}

/* Accepts what is there. False: the system has no room for more. */
static bool accept_all(struct serve *serve, const struct endpoint *endpoint)
{
	static struct log_limit limit = {.interval_ms = 10000};
	while (room_left(serve)) {
		int fd = accept4(endpoint->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return true;
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EPROTO))
			continue;
		if (fd >= 0 && client_add(serve, fd, endpoint))
			continue;
		int why = errno;
		if (fd >= 0)
			close(fd);
		log_limited(
			&limit, LOG_LEVEL_ERROR,
			"connection not accepted service=%s endpoint=%s connections=%zu error=<%s>",
			serve->config.service->name, endpoint->name, serve_connections(serve),
			strerror(why));
		return false;
	}
	return true;
}

static void sweep_idle(struct serve *serve)
{
	int64_t now = deadline_now_ms();
	struct client *client;
	pthread_mutex_lock(&serve->lock);
	DL_FOREACH (serve->clients, client) {
		int64_t since = client->parked_ms;
		/* With input it waits for a worker and is not idle. */
		if (since != 0 && now - since >= serve->config.idle_ms && !serve_has_input(client))
			serve_shut_reading(client);
	}
	pthread_mutex_unlock(&serve->lock);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

void *serve_accept_main(void *argument)
{
	struct serve *serve = argument;
	size_t count = serve->config.endpoint_count;
	int64_t step = earlier(serve->config.idle_ms / 4 + 1, 1000);
	int64_t paused_until = 0, sweep_at = deadline_now_ms() + step;
	struct pollfd pollers[count + 1];
	bool paused = false;

	while (!serve->stopping) {
		int64_t now = deadline_now_ms(), wake_at = INT64_MAX;
		paused = paused && now < paused_until;
		bool listening = !paused && room_left(serve);
		if (paused)
			wake_at = paused_until;
		if (serve->waiting > 0)
			wake_at = earlier(wake_at, now + WAIT_STEP_MS);
		if (serve->config.idle_ms > 0)
			wake_at = earlier(wake_at, sweep_at);
		pollers[0] = (struct pollfd){.fd = serve->accept_wake_fd, .events = POLLIN};
		for (size_t i = 0; i < count; i++)
			pollers[i + 1] = (struct pollfd){
				.fd = listening ? serve->config.endpoints[i].fd : -1,
				.events = POLLIN,
			};
		int ready = poll(pollers, count + 1, deadline_left_ms((struct deadline){wake_at}));
		uint64_t ignored;
		if (ready > 0 && (pollers[0].revents & POLLIN)) {
			if (read(serve->accept_wake_fd, &ignored, sizeof(ignored)) > 0)
				paused = false;
		}
		if (serve->waiting > 0)
			serve_wake_due(serve);
		for (size_t i = 0; ready > 0 && i < count && !paused; i++) {
			if (pollers[i + 1].revents == 0)
				continue;
			if (accept_all(serve, &serve->config.endpoints[i]))
				continue;
			paused = true;
			paused_until = deadline_now_ms() + PAUSE_MS;
		}
		if (serve->config.idle_ms > 0 && deadline_now_ms() >= sweep_at) {
			sweep_idle(serve);
			sweep_at = deadline_now_ms() + step;
		}
	}
	/* Who has connected by now may have asked already; not who waits for a greeting. */
	for (size_t i = 0; i < count && !serve->config.service->greets; i++)
		(void)accept_all(serve, &serve->config.endpoints[i]);
	return NULL;
}
