/*
 * NAME
 *	gate - how many ask the database at a time, and who waits for whom
 * DESCRIPTION
 *	A slot that becomes free goes to the first in the queue, by name: it is never free while
 *	somebody waits, so nobody overtakes. Waiters are woken with the lock held, and take the lock
 *	before they go away, so that nobody wakes a connection that is gone.
 * LIMITS
 *	Running questions are searched one by one; there are at most as many as handles.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postfix-lookup/gate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

enum phase {
	PHASE_OUT,      /* nothing to do with the gate */
	PHASE_QUEUED,   /* waits for a slot, in gate.queue */
	PHASE_GRANTED,  /* has a slot, but has not come for it yet */
	PHASE_RUNNING,  /* asks, in gate.running */
	PHASE_JOINED,   /* waits for the answer of `leader`, in its `joined` */
	PHASE_ANSWERED, /* has not come for `shared` yet */
};

/* An answer for several. */
struct shared {
	size_t users;
	enum result result;
	struct buf answer;
	struct error err;
};

struct waiter {
	struct connection *connection;
	enum phase phase;
	struct waiter *prev, *next;
	struct question question; /* RUNNING */
	struct waiter *joined;    /* RUNNING */
	struct waiter *leader;    /* JOINED */
	struct shared *shared;    /* ANSWERED */
	bool timed;               /* `until` counts */
	struct deadline until;
};

static struct {
	pthread_mutex_t lock;
	size_t slots, used; /* used: GRANTED and RUNNING */
	size_t narrow;      /* in place of `slots` before narrow_until */
	struct deadline narrow_until;
	struct waiter *queue, *running;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .slots = 1};

static bool has_room(void)
{
	return gate.used < (deadline_passed(gate.narrow_until) ? gate.slots : gate.narrow);
}

static void grant(void)
{
	while (gate.queue && has_room()) {
		struct waiter *first = gate.queue;

		DL_DELETE(gate.queue, first);
		first->phase = PHASE_GRANTED;
		gate.used++;
		serve_wake(first->connection);
	}
}

void gate_configure(size_t slots)
{
	pthread_mutex_lock(&gate.lock);
	gate.slots = slots > 0 ? slots : 1;
	grant();
	pthread_mutex_unlock(&gate.lock);
}

void gate_narrow(size_t slots, int64_t ms)
{
	pthread_mutex_lock(&gate.lock);
	gate.narrow = slots > 0 ? slots : 1;
	gate.narrow_until = deadline_in(ms);
	pthread_mutex_unlock(&gate.lock);
}

struct waiter *waiter_new(struct connection *connection)
{
	struct waiter *waiter = calloc(1, sizeof(*waiter));

	if (waiter)
		waiter->connection = connection;
	return waiter;
}

static void drop_shared(struct waiter *waiter)
{
	struct shared *shared = waiter->shared;

	waiter->shared = NULL;
	if (--shared->users > 0)
		return;
	buf_free(&shared->answer);
	free(shared);
}

/* Out of every list, with everything returned. */
static void step_out(struct waiter *waiter)
{
	switch (waiter->phase) {
	case PHASE_OUT:
		break;
	case PHASE_QUEUED:
		DL_DELETE(gate.queue, waiter);
		break;
	case PHASE_RUNNING:
		DL_DELETE(gate.running, waiter);
		gate.used--;
		break;
	case PHASE_GRANTED:
		gate.used--;
		break;
	case PHASE_JOINED:
		DL_DELETE(waiter->leader->joined, waiter);
		break;
	case PHASE_ANSWERED:
		drop_shared(waiter);
		break;
	}
	waiter->phase = PHASE_OUT;
	grant();
}

void gate_withdraw(struct waiter *waiter)
{
	pthread_mutex_lock(&gate.lock);
	step_out(waiter);
	waiter->timed = false;
	pthread_mutex_unlock(&gate.lock);
}

void waiter_free(struct waiter **waiter)
{
	if (!*waiter)
		return;
	gate_withdraw(*waiter);
	free(*waiter);
	*waiter = NULL;
}

static struct waiter *find_running(const struct question *question)
{
	struct waiter *running;

	DL_FOREACH (gate.running, running) {
		const struct question *other = &running->question;

		if (question->shares && other->shares && other->state == question->state &&
		    other->ticket == question->ticket && other->len == question->len &&
		    memcmp(other->text, question->text, question->len) == 0)
			return running;
	}
	return NULL;
}

static enum gate take_shared(struct waiter *waiter, enum result *result_r, struct buf *answer,
			     struct error *err)
{
	const struct shared *shared = waiter->shared;

	*result_r = shared->result;
	*err = shared->err;
	buf_append(answer, shared->answer.data, shared->answer.len);
	return GATE_SHARED;
}

static enum gate wait(struct waiter *waiter, int64_t wait_ms)
{
	if (!waiter->timed)
		waiter->until = deadline_in(wait_ms);
	waiter->timed = true;
	waiter->connection->wait_until = waiter->until;
	return GATE_WAIT;
}

static enum gate enter(struct waiter *waiter, const struct question *question, int64_t wait_ms,
		       enum result *result_r, struct buf *answer, struct error *err)
{
	struct waiter *leader;

	if (waiter->phase == PHASE_ANSWERED)
		return take_shared(waiter, result_r, answer, err);
	if (waiter->phase != PHASE_GRANTED && waiter->timed && deadline_passed(waiter->until))
		return GATE_LATE;
	if (waiter->phase == PHASE_QUEUED || waiter->phase == PHASE_JOINED)
		return wait(waiter, wait_ms);
	leader = find_running(question);
	if (leader) {
		step_out(waiter);
		waiter->phase = PHASE_JOINED;
		waiter->leader = leader;
		DL_APPEND(leader->joined, waiter);
		return wait(waiter, wait_ms);
	}
	if (waiter->phase == PHASE_OUT && (gate.queue || !has_room())) {
		waiter->phase = PHASE_QUEUED;
		DL_APPEND(gate.queue, waiter);
		grant(); /* the time of a narrow gate may be over */
		return wait(waiter, wait_ms);
	}
	if (waiter->phase == PHASE_OUT)
		gate.used++;
	waiter->phase = PHASE_RUNNING;
	waiter->question = *question;
	DL_APPEND(gate.running, waiter);
	return GATE_OPEN;
}

enum gate gate_enter(struct waiter *waiter, const struct question *question, int64_t wait_ms,
		     enum result *result_r, struct buf *answer, struct error *err)
{
	enum gate entered;

	pthread_mutex_lock(&gate.lock);
	entered = enter(waiter, question, wait_ms, result_r, answer, err);
	if (entered == GATE_SHARED || entered == GATE_LATE)
		step_out(waiter);
	if (entered != GATE_WAIT && entered != GATE_OPEN)
		waiter->timed = false;
	pthread_mutex_unlock(&gate.lock);
	return entered;
}

bool gate_collect(struct waiter *waiter, enum result *result_r, struct buf *answer,
		  struct error *err)
{
	bool there;

	pthread_mutex_lock(&gate.lock);
	there = waiter->phase == PHASE_ANSWERED;
	if (there) {
		(void)take_shared(waiter, result_r, answer, err);
		step_out(waiter);
		waiter->timed = false;
	}
	pthread_mutex_unlock(&gate.lock);
	return there;
}

/* NULL: out of memory, or nobody waits for it. */
static struct shared *share(const struct waiter *leader, enum result result,
			    const struct buf *answer, const struct error *err)
{
	struct shared *shared = leader->joined ? calloc(1, sizeof(*shared)) : NULL;

	if (!shared)
		return NULL;
	shared->result = result;
	shared->err = *err;
	shared->answer = BUF_SECRET;
	buf_append(&shared->answer, answer->data, answer->len);
	if (buf_ok(&shared->answer))
		return shared;
	buf_free(&shared->answer);
	free(shared);
	return NULL;
}

void gate_leave(struct waiter *waiter, bool again, enum result result, const struct buf *answer,
		const struct error *err)
{
	struct shared *shared;
	struct waiter *joined, *next;

	pthread_mutex_lock(&gate.lock);
	shared = again ? NULL : share(waiter, result, answer, err);
	DL_FOREACH_SAFE(waiter->joined, joined, next)
	{
		DL_DELETE(waiter->joined, joined);
		joined->phase = shared ? PHASE_ANSWERED : PHASE_OUT;
		joined->shared = shared;
		if (shared)
			shared->users++;
		serve_wake(joined->connection);
	}
	step_out(waiter);
	if (!again)
		waiter->timed = false;
	pthread_mutex_unlock(&gate.lock);
}

void gate_wake_all(void)
{
	struct waiter *waiter, *joined;

	pthread_mutex_lock(&gate.lock);
	DL_FOREACH (gate.queue, waiter)
		serve_wake(waiter->connection);
	DL_FOREACH (gate.running, waiter)
		DL_FOREACH (waiter->joined, joined)
			serve_wake(joined->connection);
	pthread_mutex_unlock(&gate.lock);
}
