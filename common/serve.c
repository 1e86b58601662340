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
 *	One more thread accepts and looks for idle connections (serve_accept.c).
 *
 *	A connection that waits is armed for nothing. Whoever wakes it puts it into a list, and an
 *	event on an eventfd brings a worker that takes it from there: its socket may well be neither
 *	readable nor writable.
 *
 *	A worker lingers after a reply: it waits up to 20 ms for the next request of the same
 *	connection, as long as another worker is idle. A hot client then costs no wake-up of
 *	another thread; measured, that doubles throughput at four clients and more. Now and then
 *	it moves to the processor of that client (serve_follow.c).
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
#include "common/serve_engine.h"
#include "common/sql.h"

#define READ_BYTES       4096
#define WAIT_STEP_MS     20   /* how exactly a drain meets the end of a wait */
#define FIRST_REQUEST_MS 1000 /* in which whoever has connected speaks */

static _Thread_local struct serve *current;

void serve_raise(int fd)
{
	const uint64_t one = 1;
	/* Fails only when the counter is full, and then it is raised. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

void serve_shut_reading(const struct client *client)
{
	/* ENOTCONN: the peer is gone, which the owner will see as well. */
	(void)shutdown(client->connection.fd, SHUT_RD);
}

bool serve_has_input(const struct client *client)
{
	int bytes = 0;
	return ioctl(client->connection.fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

bool serve_arm(struct serve *serve, struct client *client, int operation, uint32_t events)
{
	struct epoll_event event = {.events = events | EPOLLONESHOT, .data.ptr = client};
	return epoll_ctl(serve->epoll_fd, operation, client->connection.fd, &event) == 0;
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
		serve_raise(serve->accept_wake_fd);
	serve->room_wanted = false;
	if (serve->count == 0)
		pthread_cond_broadcast(&serve->changed);
	pthread_mutex_unlock(&serve->lock);

	buf_free(&client->connection.in);
	free(client);
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
	bool armed = serve_arm(serve, client, EPOLL_CTL_MOD, EPOLLIN | EPOLLRDHUP);
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

/* Of a hot connection the next request is waited for, as long as another worker is idle. */
static enum io_result client_read(struct serve *serve, struct client *client, bool hot)
{
	struct connection *connection = &client->connection;
	if (hot && !serve->config.service->greets && !serve->stopping && serve->idle > 0)
		return io_read_briefly(connection->fd, &connection->in, READ_BYTES);
	return io_read_now(connection->fd, &connection->in, READ_BYTES);
}

/* Requests of CLIENT as long as they come; RESUMED: it has waited with one. */
static enum serve_next client_turn(struct worker *worker, struct client *client, bool resumed)
{
	struct serve *serve = worker->serve;
	bool first = serve->config.service->greets && !client->greeted;
	enum serve_next next = SERVE_PARK;
	worker_refresh(worker);
	if (!client->greeted)
		client->greeted = true;
	if (first || resumed)
		next = call_handler(worker, client);
	if (next != SERVE_PARK)
		return next;
	for (bool hot = resumed;; hot = true) {
		serve_follow(client);
		switch (client_read(serve, client, hot)) {
		case IO_OK:
			worker_refresh(worker);
			next = call_handler(worker, client);
			if (next != SERVE_PARK)
				return next;
			break;
		case IO_AGAIN:
			if (!serve->stopping || client->connection.in.len > 0)
				return SERVE_PARK;
			/* Not to be closed over a request that comes just now. */
			serve_shut_reading(client);
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

static void make_ready(struct serve *serve, struct client *client)
{
	client->ready_next = NULL;
	if (serve->ready == NULL)
		serve->ready = client;
	else
		serve->ready_last->ready_next = client;
	serve->ready_last = client;
	serve_raise(serve->ready_fd);
}

/* NULL: another worker was faster. */
static struct client *take_ready(struct serve *serve)
{
	pthread_mutex_lock(&serve->lock);
	struct client *client = serve->ready;
	if (client != NULL)
		serve->ready = client->ready_next;
	/* Two that came at once may have been one event. */
	if (serve->ready != NULL)
		serve_raise(serve->ready_fd);
	pthread_mutex_unlock(&serve->lock);
	return client;
}

void serve_wake(struct connection *connection)
{
	struct client *client = (struct client *)connection;
	struct serve *serve = client->serve;
	if (atomic_exchange(&client->turn, TURN_WOKEN) != TURN_WAITING)
		return;
	serve->waiting--;
	pthread_mutex_lock(&serve->lock);
	make_ready(serve, client);
	pthread_mutex_unlock(&serve->lock);
}

void serve_wake_due(struct serve *serve)
{
	int64_t now = deadline_now_ms();
	struct client *client;
	pthread_mutex_lock(&serve->lock);
	DL_FOREACH (serve->clients, client) {
		int waits = TURN_WAITING;
		if (client->turn != TURN_WAITING || now < client->wait_until_ms ||
		    !atomic_compare_exchange_strong(&client->turn, &waits, TURN_WOKEN))
			continue;
		serve->waiting--;
		make_ready(serve, client);
	}
	pthread_mutex_unlock(&serve->lock);
}

/* Puts CLIENT aside; false: it was woken meanwhile. */
static bool client_wait(struct serve *serve, struct client *client)
{
	int runs = TURN_RUNNING;
	client->wait_until_ms = client->connection.wait_until.at_ms;
	if (serve->waiting++ == 0)
		serve_raise(serve->accept_wake_fd);
	if (atomic_compare_exchange_strong(&client->turn, &runs, TURN_WAITING))
		return true;
	serve->waiting--;
	return false;
}

/* A worker's time with CLIENT. */
static void client_serve(struct worker *worker, struct client *client, bool resumed)
{
	struct serve *serve = worker->serve;
	for (;;) {
		/* Read as well as written: what the owner before did is then visible. */
		(void)atomic_exchange(&client->turn, TURN_RUNNING);
		switch (client_turn(worker, client, resumed)) {
		case SERVE_CLOSE:
			client_close(serve, client);
			return;
		case SERVE_PARK:
			client_park(serve, client);
			return;
		case SERVE_WAIT:
			break;
		}
		if (client_wait(serve, client))
			return;
		resumed = true;
	}
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
		bool resumed = event.data.ptr == serve;
		struct client *client = resumed ? take_ready(serve) : event.data.ptr;
		if (client == NULL && resumed)
			continue;
		if (client == NULL)
			break;
		/* Read as well as written: what the owner before did is then visible. */
		(void)atomic_exchange(&client->parked_ms, 0);
		worker_set_busy(worker, true);
		client_serve(worker, client, resumed);
		worker_set_busy(worker, false);
	}
	pthread_mutex_lock(&worker->lock);
	worker_close_own(worker);
	pthread_mutex_unlock(&worker->lock);
	sql_library_thread_end();
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
	if (serve->ready_fd >= 0)
		close(serve->ready_fd);
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
	serve->ready_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	serve->workers = calloc(config->workers, sizeof(*serve->workers));
	for (size_t i = 0; serve->workers != NULL && i < config->workers; i++) {
		serve->workers[i].serve = serve;
		serve->workers[i].state = config->state;
		pthread_mutex_init(&serve->workers[i].lock, NULL);
		pthread_cond_init(&serve->workers[i].changed, NULL);
	}
	/* Stays readable for all once raised. */
	struct epoll_event end = {.events = EPOLLIN, .data.ptr = NULL};
	struct epoll_event ready = {.events = EPOLLIN | EPOLLET, .data.ptr = serve};
	if (serve->epoll_fd < 0 || serve->accept_wake_fd < 0 || serve->end_fd < 0 ||
	    serve->ready_fd < 0 || serve->workers == NULL ||
	    epoll_ctl(serve->epoll_fd, EPOLL_CTL_ADD, serve->end_fd, &end) != 0 ||
	    epoll_ctl(serve->epoll_fd, EPOLL_CTL_ADD, serve->ready_fd, &ready) != 0)
		serve_free(&serve);
	return serve;
}

static void end_workers(struct serve *serve)
{
	serve_raise(serve->end_fd);
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
		code = pthread_create(&serve->acceptor, NULL, serve_accept_main, serve);
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

/*
 * Ends those who wait without a request. One that has only just connected is still heard: a client
 * that asks once a connection (saslauthd's) takes the end for an answer and would not ask again.
 */
static void end_parked(struct serve *serve)
{
	bool greets = serve->config.service->greets;
	int64_t now = deadline_now_ms();
	struct client *client;
	pthread_mutex_lock(&serve->lock);
	DL_FOREACH (serve->clients, client) {
		int64_t since = client->parked_ms;
		bool heard = greets || client->greeted || now - since >= FIRST_REQUEST_MS;
		if (since != 0 && heard && !client->partial && !serve_has_input(client))
			serve_shut_reading(client);
	}
	pthread_mutex_unlock(&serve->lock);
}

/* Waits until all connections are gone; false: the deadline passed. */
static bool wait_for_end(struct serve *serve, struct deadline deadline)
{
	bool gone = false;
	for (bool late = false; !gone && !late;) {
		end_parked(serve);
		/* Nobody else looks for those who have waited long enough any more. */
		int64_t step = deadline_min(deadline_in(WAIT_STEP_MS), deadline).at_ms;
		struct timespec at = {.tv_sec = step / 1000, .tv_nsec = step % 1000 * 1000000};
		late = deadline_passed(deadline);
		serve_wake_due(serve);
		pthread_mutex_lock(&serve->lock);
		int code = 0;
		while (serve->count > 0 && code != ETIMEDOUT)
			code = pthread_cond_timedwait(&serve->changed, &serve->lock, &at);
		gone = serve->count == 0;
		pthread_mutex_unlock(&serve->lock);
	}
	return gone;
}

void serve_drain(struct serve *serve, int64_t drain_ms)
{
	struct client *client;
	if (serve->stopping)
		return;
	struct deadline deadline = deadline_in(drain_ms);
	serve->stopping = true;
	serve_raise(serve->accept_wake_fd);
	pthread_join(serve->acceptor, NULL);

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
