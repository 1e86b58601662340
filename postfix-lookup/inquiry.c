/*
 * NAME
 *	inquiry - a request from memory, from the database, or from another request
 * DESCRIPTION
 *	A request that must wait is not remembered half-way: it is called again and begins anew,
 *	with its place at the gate.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postfix-lookup/inquiry.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/metrics.h"
#include "common/site_map.h"
#include "postfix-lookup/gate.h"
#include "postfix-lookup/stale.h"

/* Whoever is inside may wait for one that hangs and then ask the next host. */
#define WAIT_QUERIES 2

/* A connection's, from its first request that is not answered from memory on. */
struct pending {
	struct waiter *waiter;
	int64_t start_us; /* of a request that has begun to wait; else 0 */
};

static struct metric cache_hits = {
	.name = "postern_lookup_cache_hits_total",
	.labels = "",
	.help = "Requests answered from the cache.",
	.type = "counter",
};
static struct metric cache_misses = {
	.name = "postern_lookup_cache_misses_total",
	.labels = "",
	.help = "Requests that had no fresh answer in the cache.",
	.type = "counter",
};
static struct metric cache_stale = {
	.name = "postern_lookup_cache_stale_total",
	.labels = "",
	.help = "Requests answered with an old answer because the database was away.",
	.type = "counter",
};
static struct metric coalesced = {
	.name = "postern_lookup_coalesced_total",
	.labels = "",
	.help = "Requests answered with the answer that another one was waiting for.",
	.type = "counter",
};
static struct metric cache_entries = {
	.name = "postern_lookup_cache_entries",
	.labels = "",
	.help = "Answers in the cache.",
	.type = "gauge",
};
static struct metric cache_bytes = {
	.name = "postern_lookup_cache_bytes",
	.labels = "",
	.help = "Memory of the answers in the cache.",
	.type = "gauge",
};
static struct metric cache_evictions = {
	.name = "postern_lookup_cache_evictions_total",
	.labels = "",
	.help = "Answers dropped because the cache was full.",
	.type = "counter",
};

void inquiry_register_metrics(void)
{
	metrics_register(&cache_hits);
	metrics_register(&cache_misses);
	metrics_register(&cache_stale);
	metrics_register(&coalesced);
	metrics_register(&cache_entries);
	metrics_register(&cache_bytes);
	metrics_register(&cache_evictions);
}

void inquiry_show_cache(const struct lookup *lookup)
{
	struct cache_statistics statistics;

	cache_statistics(lookup->cache, &statistics);
	metric_set(&cache_entries, (int64_t)statistics.entries);
	metric_set(&cache_bytes, (int64_t)statistics.bytes);
	metric_set(&cache_evictions, (int64_t)statistics.evictions);
}

static void remember(struct inquiry *inquiry, uint64_t ticket, enum result result)
{
	const struct request *request = inquiry->request;
	struct lookup *lookup = inquiry->lookup;
	const struct settings_map *site = site_map_find(lookup->settings, request->map);
	const struct buf *answer = inquiry->answer;

	if (site)
		cache_put_for(lookup->cache, ticket, request->payload, request->len, result,
			      answer->data, answer->len,
			      result == RESULT_FOUND ? site->positive_ttl_ms
						     : site->negative_ttl_ms);
	else
		cache_put(lookup->cache, ticket, request->payload, request->len, result,
			  answer->data, answer->len);
	inquiry_show_cache(lookup);
}

/* Asks the database, behind the gate. False: ask again. */
static bool ask(struct inquiry *inquiry, struct waiter *waiter, uint64_t ticket,
		enum result *result_r)
{
	const struct request *request = inquiry->request;
	struct lookup *lookup = inquiry->lookup;
	bool again;

	*result_r = database_ask(lookup->database, request->map, request->key, request->key_len,
				 inquiry->answer, &again, &inquiry->away, inquiry->err);
	/* Remembered first: who comes behind the gate now need not ask. */
	if (lookup->cache && (*result_r == RESULT_FOUND || *result_r == RESULT_NONE))
		remember(inquiry, ticket, *result_r);
	gate_leave(waiter, again, *result_r, inquiry->answer, inquiry->err);
	return !again;
}

static enum result judge(struct inquiry *inquiry)
{
	const struct request *request = inquiry->request;

	return database_judge(inquiry->lookup->database, inquiry->offline, request->map,
			      request->key, request->key_len, inquiry->answer, &inquiry->away,
			      inquiry->err);
}

/* Without memory. False: it must wait. */
static bool inquire(struct inquiry *inquiry, struct waiter *waiter, enum result *result_r)
{
	struct lookup *lookup = inquiry->lookup;
	const struct question question = {
		.state = lookup,
		.text = inquiry->request->payload,
		.len = inquiry->request->len,
		.ticket = lookup->cache ? cache_ticket(lookup->cache) : 0,
		.shares = lookup->cache != NULL,
	};
	int64_t query_ms = lookup->settings->database.query_timeout;

	while (!database_away(lookup->database)) {
		switch (gate_enter(waiter, &question, WAIT_QUERIES * query_ms, result_r,
				   inquiry->answer, inquiry->err)) {
		case GATE_OPEN:
			if (ask(inquiry, waiter, question.ticket, result_r))
				return true;
			break;
		case GATE_SHARED:
			metric_add(&coalesced, 1);
			inquiry->away = database_away(lookup->database);
			return true;
		case GATE_WAIT:
			/* Many keys need no database. */
			*result_r = judge(inquiry);
			if (inquiry->away)
				return false;
			gate_withdraw(waiter);
			return true;
		case GATE_LATE:
			*result_r = result_error(inquiry->err, RESULT_TEMP,
						 "the database is too slow for all who ask");
			return true;
		}
	}
	gate_withdraw(waiter);
	*result_r = judge(inquiry);
	return true;
}

static struct waiter *waiter_of(struct connection *connection)
{
	struct pending *pending = connection->protocol;

	if (!pending) {
		pending = calloc(1, sizeof(*pending));
		connection->protocol = pending;
	}
	if (pending && !pending->waiter)
		pending->waiter = waiter_new(connection);
	return pending ? pending->waiter : NULL;
}

/* Whether the old answer may be given now that there is no new one. */
static bool serve_stale(struct inquiry *inquiry, enum result result, enum result old)
{
	const struct request *request = inquiry->request;

	if (result != RESULT_TEMP && !(result == RESULT_PERM && inquiry->away))
		return false;
	if (old == RESULT_NONE && site_map_find(inquiry->lookup->settings, request->map))
		return false;
	if (!stale_serves(inquiry->lookup->cache, request->map, request->key, request->key_len,
			  old))
		return false;
	metric_add(&cache_stale, 1);
	if (!database_note_stale(inquiry->lookup->database))
		log_warning("database away, serving old answers from the cache");
	return true;
}

/* The answer that this request has waited for. */
static bool collect(struct inquiry *inquiry, const struct pending *pending, enum result *result_r)
{
	if (!pending || pending->start_us == 0 ||
	    !gate_collect(pending->waiter, result_r, inquiry->answer, inquiry->err))
		return false;
	metric_add(&coalesced, 1);
	inquiry->away = database_away(inquiry->lookup->database);
	return true;
}

/* Not from memory. False: it must wait. */
static bool fetch(struct inquiry *inquiry, struct connection *connection, enum result *result_r)
{
	struct waiter *waiter = waiter_of(connection);

	if (inquiry->offline && waiter)
		return inquire(inquiry, waiter, result_r);
	*result_r = result_error(inquiry->err, RESULT_TEMP, "out of memory");
	return true;
}

bool inquiry_answer(struct inquiry *inquiry, struct connection *connection, enum result *result_r)
{
	const struct request *request = inquiry->request;
	struct cache *cache = inquiry->lookup->cache;
	const struct pending *pending = connection->protocol;
	bool collected = collect(inquiry, pending, result_r);
	enum cache_state state = CACHE_MISS;
	enum result old_result = RESULT_NONE;
	struct buf old = BUF_SECRET;
	bool use_old;

	if (cache)
		state = cache_get(cache, request->payload, request->len, &old_result, &old);
	use_old = !collected && state == CACHE_FRESH && buf_ok(&old);
	if (use_old) {
		metric_add(&cache_hits, 1);
	} else {
		if (!collected && !fetch(inquiry, connection, result_r)) {
			buf_free(&old);
			return false;
		}
		if (cache)
			metric_add(&cache_misses, 1);
		use_old = state != CACHE_MISS && buf_ok(&old) &&
			  serve_stale(inquiry, *result_r, old_result);
	}
	if (use_old) {
		*result_r = old_result;
		buf_free(inquiry->answer);
		*inquiry->answer = old;
		return true;
	}
	buf_free(&old);
	return true;
}

int64_t inquiry_begin(struct connection *connection)
{
	const struct pending *pending = connection->protocol;

	return pending && pending->start_us > 0 ? pending->start_us : deadline_now_us();
}

void inquiry_set_waiting(struct connection *connection, int64_t start_us)
{
	struct pending *pending = connection->protocol;

	if (!pending)
		return;
	/* Whatever has answered it, its place is not the next one's. */
	if (start_us == 0 && pending->start_us > 0)
		gate_withdraw(pending->waiter);
	pending->start_us = start_us;
}

void inquiry_end(struct connection *connection)
{
	struct pending *pending = connection->protocol;

	if (!pending)
		return;
	waiter_free(&pending->waiter);
	free(pending);
	connection->protocol = NULL;
}
