/*
 * The socketmap service: "MAP KEY" in a netstring in, OK, NOTFOUND, TEMP or PERM in a netstring
 * out. The state and a worker's state are opaque to the engine, so they travel as `void *`.
 */
#ifndef POSTERN_LOOKUP_H
#define POSTERN_LOOKUP_H

#include "common/netstring.h"
#include "common/serve.h"
#include "common/settings.h"

/*
 * A request's payload. Postfix 3.7 sends keys of any length; those over ADDRESS_MAX are answered
 * NOTFOUND, and beyond this limit a request is an attack: log and close.
 */
#define LOOKUP_REQUEST_MAX 100000

extern const struct service lookup_service;

/*
 * The shared state: preset and cache. SETTINGS must outlive it. FOUND or PERM; the database is not
 * asked.
 */
enum result lookup_open(const struct settings *settings, void **state_r,
			struct error *err) MUST_CHECK;
void lookup_free(void *state);
/* A round trip to the database and a check of the preset against it. */
enum result lookup_check(void *state, struct error *err) MUST_CHECK;

enum lookup_next {
	LOOKUP_OK,   /* the first request in connection->in is answered: its reply is behind OUT */
	LOOKUP_MORE, /* there is no complete one (yet) */
	LOOKUP_WAIT, /* it cannot be answered yet, see SERVE_WAIT; call again */
	LOOKUP_BAD,  /* this can never become a netstring: close */
};
/* WORKER may be NULL (out of memory): then the answer is TEMP. */
enum lookup_next lookup_next(void *state, void *worker, struct connection *connection,
			     struct buf *out) MUST_CHECK;

#endif
