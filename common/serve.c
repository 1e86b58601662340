/*
 * NAME
 *	serve - the connection engine
 *
 * DESCRIPTION
 *	All workers wait in epoll_wait(2) for one event on one set. A connection is armed one-shot,
 *	so whoever gets its event owns it until it is armed again: no queue and no lock on a
 *	connection. Arming checks for input that is already there, so no wake-up is lost. Only the
 *	owner closes; everybody else shuts down the reading side, which makes the connection
 *	readable, and its next owner sees the end. A request that arrives at that very moment is
 *	still read and answered.
 *
 *	One more thread accepts and looks for idle connections. At the cap, and when descriptors or
 *	memory run out, it leaves connections in the backlog.
 *
 *	A worker lingers after a reply: it waits up to 20 ms for the next request of the same
 *	connection, as long as another worker is idle. A hot client then costs no wake-up of
 *	another thread; measured, that doubles throughput at four clients and more.
 *
 *	Reload: a worker compares generations before each request. The state of a worker that sits
 *	in epoll_wait(2) is closed by the reloading thread, under the worker's lock.
 *
 * BUGS
 *	Linux only (epoll). A single client alone is slower than without lingering.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/serve.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <utlist.h>

#include "common/io.h"
#include "common/log.h"
#include "common/sql.h"

#define READ_BYTES 4096
#define LINGER_MS  20
#define PAUSE_MS   100       /* without accepting, when descriptors ran out */
#define GREETING   INT64_MAX /* client.parked_ms: waits for its first worker, never idle */

struct client {
	struct connection connection;
	struct client *prev, *next; /* serve.clients */
	_Atomic int64_t parked_ms;  /* since when; 0: a worker owns it */
	_Atomic bool partial;       /* parked with the beginning of a request */
	bool greeted;
};

struct worker {
	struct serve *serve;
	pthread_t thread;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t changed;
	bool busy;           /* may use state */
	uint64_t generation; /* of state */
	void *state;
	void *own; /* worker_open()'s; NULL: not open */
};

struct serve {
	struct serve_config config;
	int epoll_fd;
	int accept_wake_fd; /* eventfd for the accepting thread */
	int end_fd;         /* eventfd in the epoll set: workers end */
	pthread_t acceptor;
	struct worker *workers;
	size_t started; /* workers */

	_Atomic bool stopping;
	_Atomic size_t idle; /* workers in epoll_wait() */
	_Atomic uint64_t generation;

	pthread_mutex_t lock; /* of all below; inside a worker's lock, never around it */
	pthread_cond_t changed;
	struct client *clients;
	size_t count;
	bool room_wanted; /* the accepting thread waits for a connection to end */
	void *state;
};

static _Thread_local struct serve *current;

static void raise_event(int fd)
{
	const uint64_t one = 1;
	/* Fails only when the counter is full, and then it is raised. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

static void shut_reading(const struct client *client)
{
	/* ENOTCONN: the peer is gone, which the owner will see as well. */
	(void)shutdown(client->connection.fd, SHUT_RD);
}

static bool has_input(const struct client *client)
{
	int bytes = 0;
	return ioctl(client->connection.fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

/* Takes CLIENT out of everybody's sight, then frees it. The caller owns it. */
static void client_close(struct serve *serve, struct client *client)
{
	if (serve->config.service->close != NULL)
		serve->config.service->close(&client->connection);

	pthread_mutex_lock(&serve->lock);
	DL_DELETE(serve->clients, client);
	pthread_mutex_unlock(&serve->lock);
	close(client->connection.fd);
	/* Counted last, so that the room and the descriptor are really there. */
	pthread_mutex_lock(&serve->lock);
	serve->count--;
	if (serve->room_wanted)
		raise_event(serve->accept_wake_fd);
	serve->room_wanted = false;
	if (serve->count == 0)
		pthread_cond_broadcast(&serve->changed);
	pthread_mutex_unlock(&serve->lock);

	buf_free(&client->connection.in);
	free(client);
}

/* Gives CLIENT to whoever gets its next event; it must not be touched afterwards. */
static bool client_arm(struct serve *serve, struct client *client, int operation, uint32_t events)
{
	struct epoll_event event = {.events = events | EPOLLONESHOT, .data.ptr = client};
	return epoll_ctl(serve->epoll_fd, operation, client->connection.fd, &event) == 0;
}

static void client_park(struct serve *serve, struct client *client)
{
	struct buf *in = &client->connection.in;
	if (in->len == 0)
		buf_free(in);
	/* Under the lock, which client_close() takes as well: a new owner that closes at once
	   waits until we are done with the connection. */
	pthread_mutex_lock(&serve->lock);
	client->partial = in->len > 0;
	client->parked_ms = deadline_now_ms();
	/* Either we see `stopping` here, or serve_drain() sees us parked. */
	if (serve->stopping && !client->partial)
		shut_reading(client);
	bool armed = client_arm(serve, client, EPOLL_CTL_MOD, EPOLLIN | EPOLLRDHUP);
	int why = errno;
	pthread_mutex_unlock(&serve->lock);
	if (armed)
		return;
	log_error("connection dropped service=%s peer=%s error=<%s>", serve->config.service->name,
		  client->connection.peer, strerror(why));
	client_close(serve, client);
}

static void worker_close_own(struct worker *worker)
{
	if (worker->own != NULL && worker->serve->config.service->worker_close != NULL)
		worker->serve->config.service->worker_close(worker->own);
	worker->own = NULL;
}

/* Before a request: the newest state, and the worker's own on top of it. */
static void worker_refresh(struct worker *worker)
{
	static struct log_limit limit = {.interval_ms = 5000};
	struct serve *serve = worker->serve;
	const struct service *service = serve->config.service;

	if (worker->generation != serve->generation) {
		worker_close_own(worker);
		pthread_mutex_lock(&worker->lock);
		pthread_mutex_lock(&serve->lock);
		worker->state = serve->state;
		worker->generation = serve->generation;
		pthread_mutex_unlock(&serve->lock);
		pthread_cond_broadcast(&worker->changed);
		pthread_mutex_unlock(&worker->lock);
	}
	if (worker->own != NULL || service->worker_open == NULL)
		return;
	struct error err = {""};
	enum result result = service->worker_open(worker->state, &worker->own, &err);
	if (result != RESULT_FOUND) {
		worker->own = NULL;
		log_limited(&limit, LOG_LEVEL_ERROR,
			    "worker not ready service=%s result=%s error=<%s>", service->name,
			    result_name(result), err.text);
	}
}

static enum serve_next call_handler(struct worker *worker, struct client *client)
{
	const struct service *service = worker->serve->config.service;
	struct connection *connection = &client->connection;
	enum serve_next next = service->handle(connection, worker->state, worker->own);
	if (next == SERVE_PARK && service->input_max > 0 &&
	    connection->in.len >= service->input_max) {
		log_warning("connection closed service=%s peer=%s reason=<request over %zu bytes>",
			    service->name, connection->peer, service->input_max);
		return SERVE_CLOSE;
	}
	return next;
}

/* Waits for the next request of a hot connection; false: park it. */
static bool linger(struct serve *serve, const struct client *client)
{
	if (serve->config.service->greets || serve->stopping || serve->idle == 0)
		return false;
	struct pollfd poller = {.fd = client->connection.fd, .events = POLLIN};
	return poll(&poller, 1, LINGER_MS) > 0;
}

/* Requests of CLIENT as long as they come. */
static enum serve_next client_turn(struct worker *worker, struct client *client)
{
	struct serve *serve = worker->serve;
	worker_refresh(worker);
	if (serve->config.service->greets && !client->greeted) {
		client->greeted = true;
		if (call_handler(worker, client) == SERVE_CLOSE)
			return SERVE_CLOSE;
	}
	for (;;) {
		struct buf *in = &client->connection.in;
		switch (io_read_now(client->connection.fd, in, READ_BYTES)) {
		case IO_OK:
			worker_refresh(worker);
			if (call_handler(worker, client) == SERVE_CLOSE)
				return SERVE_CLOSE;
			break;
		case IO_AGAIN:
			if (serve->stopping && in->len == 0)
				return SERVE_CLOSE;
			if (!linger(serve, client))
				return SERVE_PARK;
			break;
		default:
			return SERVE_CLOSE;
		}
	}
}

static void worker_set_busy(struct worker *worker, bool busy)
{
	pthread_mutex_lock(&worker->lock);
	worker->busy = busy;
	if (!busy)
		pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}

static void *worker_main(void *argument)
{
	struct worker *worker = argument;
	struct serve *serve = worker->serve;
	current = serve;
	for (;;) {
		struct epoll_event event;
		serve->idle++;
		int events = epoll_wait(serve->epoll_fd, &event, 1, -1);
		serve->idle--;
		if (events < 0 && errno == EINTR)
			continue;
		if (events < 0) {
			log_error("worker ends service=%s error=<epoll_wait: %s>",
				  serve->config.service->name, strerror(errno));
			break;
		}
		struct client *client = event.data.ptr;
		if (client == NULL)
			break;
		/* Read as well as written: what the owner before did is then visible. */
		(void)atomic_exchange(&client->parked_ms, 0);
		worker_set_busy(worker, true);
		enum serve_next next = client_turn(worker, client);
		if (next == SERVE_CLOSE)
			client_close(serve, client);
		else
			client_park(serve, client);
		worker_set_busy(worker, false);
	}
	pthread_mutex_lock(&worker->lock);
	worker_close_own(worker);
	pthread_mutex_unlock(&worker->lock);
	sql_library_thread_end();
	return NULL;
}

static bool client_add(struct serve *serve, int fd, const struct endpoint *endpoint)
{
	bool greets = serve->config.service->greets;
	struct client *client = calloc(1, sizeof(*client));
	if (client == NULL)
		return false;
	client->connection.fd = fd;
	client->connection.endpoint = endpoint;
	client->connection.in = BUF_SECRET;
	endpoint_peer_name(fd, client->connection.peer, sizeof(client->connection.peer));
	if (!endpoint->is_unix) {
		int one = 1;
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
	client->parked_ms = greets ? GREETING : deadline_now_ms();
	pthread_mutex_lock(&serve->lock);
	DL_APPEND(serve->clients, client);
	serve->count++;
	pthread_mutex_unlock(&serve->lock);
	/* A new socket is writable, so the first event comes at once. */
	if (client_arm(serve, client, EPOLL_CTL_ADD,
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
		int fd = accept4(endpoint->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
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
		if (since != 0 && now - since >= serve->config.idle_ms && !has_input(client))
			shut_reading(client);
	}
	pthread_mutex_unlock(&serve->lock);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void *acceptor_main(void *argument)
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
	return NULL;
}

static void serve_free(struct serve **serve_in)
{
	struct serve *serve = *serve_in;
	for (size_t i = 0; serve->workers != NULL && i < serve->config.workers; i++) {
		pthread_mutex_destroy(&serve->workers[i].lock);
		pthread_cond_destroy(&serve->workers[i].changed);
	}
	free(serve->workers);
	if (serve->epoll_fd >= 0)
		close(serve->epoll_fd);
	if (serve->accept_wake_fd >= 0)
		close(serve->accept_wake_fd);
	if (serve->end_fd >= 0)
		close(serve->end_fd);
	pthread_mutex_destroy(&serve->lock);
	pthread_cond_destroy(&serve->changed);
	free(serve);
	*serve_in = NULL;
}

static struct serve *serve_new(const struct serve_config *config)
{
	struct serve *serve = calloc(1, sizeof(*serve));
	if (serve == NULL)
		return NULL;
	serve->config = *config;
	serve->state = config->state;
	pthread_mutex_init(&serve->lock, NULL);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&serve->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	serve->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	serve->accept_wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	serve->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	serve->workers = calloc(config->workers, sizeof(*serve->workers));
	for (size_t i = 0; serve->workers != NULL && i < config->workers; i++) {
		serve->workers[i].serve = serve;
		serve->workers[i].state = config->state;
		pthread_mutex_init(&serve->workers[i].lock, NULL);
		pthread_cond_init(&serve->workers[i].changed, NULL);
	}
	/* Stays readable for all once raised. */
	struct epoll_event end = {.events = EPOLLIN, .data.ptr = NULL};
	if (serve->epoll_fd < 0 || serve->accept_wake_fd < 0 || serve->end_fd < 0 ||
	    serve->workers == NULL ||
	    epoll_ctl(serve->epoll_fd, EPOLL_CTL_ADD, serve->end_fd, &end) != 0)
		serve_free(&serve);
	return serve;
}

static void end_workers(struct serve *serve)
{
	raise_event(serve->end_fd);
	for (size_t i = 0; i < serve->started; i++)
		pthread_join(serve->workers[i].thread, NULL);
}

enum result serve_start(const struct serve_config *config, struct serve **serve_r,
			struct error *err)
{
	*serve_r = NULL;
	if (config->workers == 0 || config->max_connections == 0)
		return result_error(err, RESULT_PERM, "%s: needs a worker and a connection",
				    config->service->name);
	struct serve *serve = serve_new(config);
	if (serve == NULL)
		return result_error(err, RESULT_TEMP, "%s: cannot start: %s", config->service->name,
				    strerror(errno));
	/* Signals are the main thread's. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int code = 0;
	while (code == 0 && serve->started < config->workers) {
		struct worker *worker = &serve->workers[serve->started];
		code = pthread_create(&worker->thread, NULL, worker_main, worker);
		if (code == 0)
			serve->started++;
	}
	if (code == 0)
		code = pthread_create(&serve->acceptor, NULL, acceptor_main, serve);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code != 0) {
		end_workers(serve);
		serve_free(&serve);
		return result_error(err, RESULT_TEMP, "%s: cannot start a thread: %s",
				    config->service->name, strerror(code));
	}
	*serve_r = serve;
	return RESULT_FOUND;
}

void serve_reload(struct serve *serve, void *new_state)
{
	pthread_mutex_lock(&serve->lock);
	serve->state = new_state;
	uint64_t generation = ++serve->generation;
	pthread_mutex_unlock(&serve->lock);

	for (size_t i = 0; i < serve->started; i++) {
		struct worker *worker = &serve->workers[i];
		pthread_mutex_lock(&worker->lock);
		while (worker->busy && worker->generation < generation)
			pthread_cond_wait(&worker->changed, &worker->lock);
		if (worker->generation < generation) {
			worker_close_own(worker);
			worker->state = new_state;
			worker->generation = generation;
		}
		pthread_mutex_unlock(&worker->lock);
	}
}

/* Waits until all connections are gone; false: the deadline passed. */
static bool wait_for_end(struct serve *serve, struct deadline deadline)
{
	struct timespec at = {.tv_sec = deadline.at_ms / 1000,
			      .tv_nsec = deadline.at_ms % 1000 * 1000000};
	pthread_mutex_lock(&serve->lock);
	int code = 0;
	while (serve->count > 0 && code != ETIMEDOUT)
		code = deadline.at_ms == INT64_MAX
			       ? pthread_cond_wait(&serve->changed, &serve->lock)
			       : pthread_cond_timedwait(&serve->changed, &serve->lock, &at);
	bool gone = serve->count == 0;
	pthread_mutex_unlock(&serve->lock);
	return gone;
}

void serve_drain(struct serve *serve, int64_t drain_ms)
{
	struct client *client;
	if (serve->stopping)
		return;
	struct deadline deadline = deadline_in(drain_ms);
	serve->stopping = true;
	raise_event(serve->accept_wake_fd);
	pthread_join(serve->acceptor, NULL);

	pthread_mutex_lock(&serve->lock);
	DL_FOREACH (serve->clients, client)
		if (client->parked_ms != 0 && !client->partial && !has_input(client))
			shut_reading(client);
	pthread_mutex_unlock(&serve->lock);
	if (wait_for_end(serve, deadline))
		return;
	log_warning("connections cut service=%s connections=%zu", serve->config.service->name,
		    serve_connections(serve));
	pthread_mutex_lock(&serve->lock);
	DL_FOREACH (serve->clients, client)
		(void)shutdown(client->connection.fd, SHUT_RDWR);
	pthread_mutex_unlock(&serve->lock);
	/* Handlers meet the end of their connection, or their own time-outs. */
	(void)wait_for_end(serve, DEADLINE_NEVER);
}

void serve_stop(struct serve **serve, int64_t drain_ms)
{
	if (*serve == NULL)
		return;
	serve_drain(*serve, drain_ms);
	end_workers(*serve);
	serve_free(serve);
}

bool serve_stopping(void)
{
	return current != NULL && current->stopping;
}

size_t serve_connections(const struct serve *serve)
{
	pthread_mutex_t *lock = (pthread_mutex_t *)&serve->lock;
	pthread_mutex_lock(lock);
	size_t count = serve->count;
	pthread_mutex_unlock(lock);
	return count;
}
