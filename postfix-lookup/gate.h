/*
 * The gate to the database. Behind it are at most as many requests as there are handles; further
 * ones are put aside without a worker, in the order they came, until one comes out. A request
 * whose question is already being asked waits for that answer and shares it.
 *
 * One for the process, so that it outlives reloads: a request may wait on the old state and go on
 * with the new one. Thread-safe.
 */
#ifndef POSTERN_GATE_H
#define POSTERN_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/result.h"
#include "common/serve.h"

/* A connection's place at the gate. */
struct waiter;

struct question {
	const void *state; /* equal questions to different states are different */
	const char *text;  /* stays until gate_leave() */
	size_t len;
	uint64_t ticket; /* only questions of the same ticket share an answer */
	bool shares;     /* else the question is asked for itself */
};

enum gate {
	GATE_OPEN,   /* ask, then gate_leave() */
	GATE_SHARED, /* somebody else has asked: RESULT_R, ANSWER and ERR are set */
	GATE_WAIT,   /* the handler shall return SERVE_WAIT, and come back with the same question */
	GATE_LATE,   /* it has waited long enough, and is out of the queue */
};

/* How many may be behind it. */
void gate_configure(size_t slots);
/* Only so many (at least one) for the time being: a further connection was refused. */
void gate_narrow(size_t slots, int64_t ms);

/* NULL: out of memory. CONNECTION must outlive it. */
struct waiter *waiter_new(struct connection *connection);
/* Leaves the gate, too. */
void waiter_free(struct waiter **waiter);

/* Waits for WAIT_MS at most, counted from the first GATE_WAIT on. */
enum gate gate_enter(struct waiter *waiter, const struct question *question, int64_t wait_ms,
		     enum result *result_r, struct buf *answer, struct error *err) MUST_CHECK;
/* Only looks whether the answer waited for is there: then like GATE_SHARED. */
bool gate_collect(struct waiter *waiter, enum result *result_r, struct buf *answer,
		  struct error *err) MUST_CHECK;
/*
 * After GATE_OPEN: whoever waits for this answer gets RESULT, ANSWER and ERR; with AGAIN there is
 * none and they ask for themselves.
 */
void gate_leave(struct waiter *waiter, bool again, enum result result, const struct buf *answer,
		const struct error *err);
/* Gives up the place, whatever it is; harmless without one. */
void gate_withdraw(struct waiter *waiter);
/* Everybody who waits looks again whether it must. */
void gate_wake_all(void);

#endif
