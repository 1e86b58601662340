/*
 * The connection engine from inside, for serve.c (workers, waiting, reload, stop),
 * serve_accept.c (the accepting thread) and serve_follow.c (where workers run).
 */
#ifndef POSTERN_SERVE_ENGINE_H
#define POSTERN_SERVE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "common/serve.h"

#define SERVE_GREETING INT64_MAX /* client.parked_ms: waits for its first worker, never idle */

/*
 * Who goes on with a client that asked to wait: whoever changes TURN_WAITING into TURN_WOKEN puts
 * it into serve.ready. TURN_WOKEN while a worker still has it: that worker goes on.
 */
enum turn { TURN_RUNNING, TURN_WAITING, TURN_WOKEN };

struct client {
	struct connection connection; /* first: serve_wake() finds us by it */
	struct serve *serve;
	struct client *prev, *next;    /* serve.clients */
	struct client *ready_next;     /* serve.ready */
	_Atomic int64_t parked_ms;     /* since when; 0: a worker owns it */
	_Atomic bool partial;          /* parked with the beginning of a request */
	_Atomic bool greeted;          /* a worker has had it */
	unsigned turns;                /* since followed_ms */
	int64_t followed_ms;           /* when serve_follow() last looked */
	_Atomic int turn;              /* enum turn */
	_Atomic int64_t wait_until_ms; /* while TURN_WAITING */
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
	int ready_fd;       /* eventfd in the epoll set, edge-triggered: `ready` has one more */
	pthread_t acceptor;
	struct worker *workers;
	size_t started; /* workers */

	_Atomic bool stopping;
	_Atomic size_t idle;    /* workers in epoll_wait() */
	_Atomic size_t waiting; /* clients that are TURN_WAITING */
	_Atomic uint64_t generation;

	pthread_mutex_t lock; /* of all below; inside a worker's lock, never around it */
	pthread_cond_t changed;
	struct client *clients;
	struct client *ready, *ready_last; /* woken, in order, until a worker takes them */
	size_t count;
	bool room_wanted; /* the accepting thread waits for a connection to end */
	void *state;
};

/* Adds one to an eventfd. */
void serve_raise(int fd);
void serve_shut_reading(const struct client *client);
bool serve_has_input(const struct client *client);
/* Gives CLIENT to whoever gets its next event; it must not be touched afterwards. */
bool serve_arm(struct serve *serve, struct client *client, int operation, uint32_t events);
/* Wakes the clients whose time to wait is over. */
void serve_wake_due(struct serve *serve);
/* Moves the calling worker to the processor on which CLIENT's peer runs. */
void serve_follow_now(const struct client *client);
/* The same before each turn, but not more often than pays. */
void serve_follow(struct client *client);
/* The accepting thread; ARGUMENT is the struct serve. */
void *serve_accept_main(void *argument);

#endif
