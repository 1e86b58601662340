/*
 * NAME
 *	serve_stdio - one connection on standard input
 *
 * DESCRIPTION
 *	For spawn(8), which puts the connection on descriptors 0 and 1, and for tests. Without
 *	threads; descriptor 0 is used in both directions.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/serve.h"

#include <errno.h>
#include <string.h>

#include "common/io.h"
#include "common/log.h"

/* Until the peer or the handler ends it. */
static enum result serve_alone(const struct service *service, struct connection *connection,
			       void *state, void *worker, struct error *err)
{
	if (service->greets && service->handle(connection, state, worker) == SERVE_CLOSE)
		return RESULT_FOUND;
	for (;;) {
		enum io_result io = io_read(connection->fd, &connection->in, 4096, DEADLINE_NEVER);
		if (io == IO_EOF)
			return RESULT_FOUND;
		if (io != IO_OK)
			return result_error(err, RESULT_TEMP, "standard input: %s",
					    strerror(errno));
		if (service->handle(connection, state, worker) == SERVE_CLOSE)
			return RESULT_FOUND;
		if (service->input_max > 0 && connection->in.len >= service->input_max)
			return result_error(err, RESULT_PERM,
					    "standard input: a request over %zu bytes",
					    service->input_max);
	}
}

enum result serve_stdio(const struct service *service, void *state, struct error *err)
{
	static const struct endpoint endpoint = {.name = (char *)"stdio", .fd = -1};
	struct connection connection = {.fd = 0, .in = BUF_SECRET, .endpoint = &endpoint};
	void *worker = NULL;
	endpoint_peer_name(0, connection.peer, sizeof(connection.peer));
	if (service->worker_open != NULL) {
		struct error why = {""};
		if (service->worker_open(state, &worker, &why) != RESULT_FOUND) {
			log_error("worker not ready service=%s error=<%s>", service->name,
				  why.text);
			worker = NULL;
		}
	}
	enum result result = serve_alone(service, &connection, state, worker, err);
	if (service->close != NULL)
		service->close(&connection);
	if (worker != NULL && service->worker_close != NULL)
		service->worker_close(worker);
	buf_free(&connection.in);
	return result;
}
