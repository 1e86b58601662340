/*
 * The engine: idle connections wait in one epoll set; a readable one borrows a worker, which runs
 * plain blocking code and gives it back. One-shot arming gives a connection to exactly one worker.
 * After a reply a worker may linger on a hot connection (at most 20 ms) while another worker is
 * idle. At the connection cap the engine stops accepting instead of closing.
 */
#ifndef POSTERN_SERVE_H
#define POSTERN_SERVE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/deadline.h"
#include "common/endpoint.h"
#include "common/result.h"

struct connection {
	int fd;
	struct buf in;  /* bytes read, not yet consumed */
	void *protocol; /* the program's per-connection state, NULL at first; freed by .close */
	const struct endpoint *endpoint;
	char peer[64];
	struct deadline wait_until; /* set by a handler that returns SERVE_WAIT */
};

enum serve_next {
	SERVE_PARK,  /* wait for more input in the epoll set */
	SERVE_CLOSE, /* done with this connection */
	/*
	 * A request cannot be answered yet, and no worker shall wait for that: handle() is called
	 * again, input or not, after serve_wake() or when connection->wait_until has passed, in any
	 * worker, maybe on a newer state. Now and then it is called for neither reason.
	 */
	SERVE_WAIT,
};

struct service {
	const char *name;
	/*
	 * Per-worker state (database handle, buffers), made in the worker's thread when it gets its
	 * first connection. STATE is serve_config's. TEMP and PERM: logged, the connection is
	 * handled with a NULL worker state: the handler answers its protocol's "temporary".
	 */
	enum result (*worker_open)(void *state, void **worker_r, struct error *err);
	void (*worker_close)(void *worker);
	/*
	 * Called when input is there (it was already read into connection->in), or at once after
	 * accept when `greets`. May block, with deadlines of its own.
	 */
	enum serve_next (*handle)(struct connection *connection, void *state, void *worker);
	/* Frees connection->protocol; may be NULL. */
	void (*close)(struct connection *connection);
	bool greets;      /* the server speaks first (LMTP): handle() is called after accept and
			     keeps its worker until it returns */
	size_t input_max; /* bytes of unconsumed input at which a connection is closed */
};

struct serve_config {
	const struct service *service;
	struct endpoint *endpoints; /* listening; stay the caller's, until after serve_stop() */
	size_t endpoint_count;
	size_t workers;
	size_t max_connections;
	int64_t idle_ms; /* parked connections are closed after this; 0: never */
	void *state;     /* shared, read-only while workers use it */
};

/*
 * From any thread, also before handle() has returned SERVE_WAIT. The caller makes sure that the
 * connection is still there: by a lock that handle() and .close take before they let go of it.
 */
void serve_wake(struct connection *connection);

struct serve;
/* Starts the threads. */
enum result serve_start(const struct serve_config *config, struct serve **serve_r,
			struct error *err) MUST_CHECK;
/*
 * Swaps the state: every worker closes its per-worker state before its next connection and opens
 * a new one on NEW_STATE. Returns when no worker uses the old state any more, so that the caller
 * may free it. worker_close() of an idle worker runs in the calling thread.
 */
void serve_reload(struct serve *serve, void *new_state);
/*
 * The first part of serve_stop(): no connection is left, the threads still are. For a program that
 * must let a serve_reload() of another thread end before it may call serve_stop().
 */
void serve_drain(struct serve *serve, int64_t drain_ms);
/*
 * Stops accepting, lets handlers finish what they are doing (parked connections with no input are
 * closed, new ones after a second without a request), waits at most DRAIN_MS, ends the threads.
 */
void serve_stop(struct serve **serve, int64_t drain_ms);
/* True once serve_stop() has begun: a long-lived handler (an LMTP session) ends at the next
 * command. */
bool serve_stopping(void);
size_t serve_connections(const struct serve *serve);

#endif
