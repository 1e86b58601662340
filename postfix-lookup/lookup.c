/*
 * NAME
 *	lookup - the socketmap service
 * PROTOCOL
 *	Request: one netstring, the map's name, one space, the key; the key is raw and may hold
 *	spaces. Reply: one netstring, "OK data", "NOTFOUND ", "TEMP text" or "PERM text", at most
 *	100,000 bytes, without a newline behind it. One request is in flight on a connection;
 *	several sent at once are answered in order.
 *
 *	"postern.flush KEY", on a Unix socket only: forget what is remembered of an address, a
 *	domain, or "all"; the answer is how many entries those were.
 * DESCRIPTION
 *	Answers are remembered under the request as it came ("MAP KEY": map names hold no space, so
 *	the first one separates as surely as a NUL would). TEMP and PERM are never remembered.
 *
 *	No worker waits for anything but the database itself, and fewer of them than there are do
 *	that (gate.c, inquiry.c): the others answer from memory in no time, whatever the database
 *	does. What is given while it is away: stale.c; how that is known: database.c.
 *
 *	While an answer is fetched, a flush of any key keeps it from being remembered. Answers may
 *	be passwords, so every buffer that holds one is wiped.
 * LIMITS
 *	A change in the database is seen after the lifetimes of the cache at the latest.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postfix-lookup/lookup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/accounts.h"
#include "common/cache.h"
#include "common/deadline.h"
#include "common/io.h"
#include "common/log.h"
#include "common/maps.h"
#include "common/metrics.h"
#include "common/netstring.h"
#include "common/schema.h"
#include "common/site_map.h"
#include "postfix-lookup/flush.h"
#include "postfix-lookup/gate.h"
#include "postfix-lookup/inquiry.h"

#define REPLY_TEXT_MAX 200 /* of TEMP and PERM; Postfix logs it */
#define WRITE_MS       10000
#define MAPS_MAX       32 /* maps with counters of their own */
#define RESULTS        4
#define FLUSH          "postern.flush"

static struct log_limit perm_limit = {.interval_ms = 1000}, bad_limit = {.interval_ms = 1000};
/* What is wrong with a site's query was said at start. */
static struct log_limit site_limit = {.interval_ms = 60000};

/* Behind the built-in maps: those of the site together, and names that are no maps. */
#define SITE_MAPS    MAPS_MAX
#define FLUSHES      (MAPS_MAX + 1)
#define UNKNOWN_MAPS (MAPS_MAX + 2)

static struct metric requests[UNKNOWN_MAPS + 1][RESULTS];
static char request_labels[UNKNOWN_MAPS + 1][RESULTS][MAP_NAME_MAX + 32];
static struct metric_histogram duration = {
	.name = "postern_lookup_duration_seconds",
	.labels = "",
	.help = "Time from a complete request to its reply.",
};
static void register_requests(size_t index, const char *map)
{
	static const enum result results[RESULTS] = {RESULT_FOUND, RESULT_NONE, RESULT_TEMP,
						     RESULT_PERM};

	for (size_t i = 0; i < RESULTS; i++) {
		enum result result = results[i];
		char *labels = request_labels[index][result];
		struct metric *metric = &requests[index][result];

		snprintf(labels, sizeof(request_labels[index][result]), "map=\"%s\",result=\"%s\"",
			 map, result_name(result));
		metric->name = "postern_lookup_requests_total";
		metric->labels = labels;
		metric->help = "Requests by map and result.";
		metric->type = "counter";
		metrics_register(metric);
	}
}

/* Once a process; a reload keeps the counters. Only the main thread opens states. */
static void register_metrics(void)
{
	static bool done;
	const char *map;

	if (done)
		return;
	done = true;
	for (size_t i = 0; i < MAPS_MAX && (map = maps_name(i)); i++)
		register_requests(i, map);
	register_requests(SITE_MAPS, "site");
	register_requests(FLUSHES, FLUSH);
	register_requests(UNKNOWN_MAPS, "unknown");
	metrics_register_histogram(&duration);
	inquiry_register_metrics();
}

static size_t map_index(const struct lookup *lookup, const char *map)
{
	const char *name;

	if (strcmp(map, FLUSH) == 0)
		return FLUSHES;
	if (site_map_find(lookup->settings, map))
		return SITE_MAPS;
	for (size_t i = 0; i < MAPS_MAX && (name = maps_name(i)); i++)
		if (strcmp(name, map) == 0)
			return i;
	return UNKNOWN_MAPS;
}

static bool is_built_in(const char *map)
{
	const char *name;

	for (size_t i = 0; (name = maps_name(i)) != NULL; i++)
		if (strcmp(name, map) == 0)
			return true;
	return false;
}

/* Half of the workers at most may be kept by the database. */
static size_t slots(const struct settings *settings)
{
	int64_t half = (settings->lookup.workers + 1) / 2;
	int64_t handles = settings->lookup.database_handles;

	return (size_t)(handles < half ? handles : half);
}

/* Whether any answer is to be kept at all. */
static bool remembers(const struct settings *settings)
{
	for (size_t i = 0; i < settings->map_count; i++)
		if (settings->maps[i].positive_ttl_ms > 0 || settings->maps[i].negative_ttl_ms > 0)
			return true;
	return settings->lookup.positive_ttl > 0 || settings->lookup.negative_ttl > 0;
}

enum result lookup_open(const struct settings *settings, void **state_r, struct error *err)
{
	const struct cache_limits limits = {
		.positive_ttl_ms = settings->lookup.positive_ttl,
		.negative_ttl_ms = settings->lookup.negative_ttl,
		.stale_ttl_ms = settings->lookup.stale_ttl,
		.max_bytes = settings->lookup.cache_size,
	};
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	enum result result;

	if (!lookup)
		return result_error(err, RESULT_TEMP, "out of memory");
	lookup->settings = settings;
	result = schema_load(settings->schema.preset, &lookup->schema, err);
	if (result != RESULT_FOUND) {
		lookup_free(lookup);
		return result;
	}
	if (limits.max_bytes > 0 && remembers(settings)) {
		lookup->cache = cache_new(&limits);
		if (!lookup->cache) {
			lookup_free(lookup);
			return result_error(err, RESULT_TEMP, "out of memory");
		}
	}
	result = database_open(settings, lookup->schema, &lookup->database, err);
	if (result != RESULT_FOUND) {
		lookup_free(lookup);
		return result;
	}
	gate_configure(slots(settings));
	register_metrics();
	for (size_t i = 0; i < settings->map_count; i++)
		if (is_built_in(settings->maps[i].name))
			log_info("[map %s] replaces the built-in map of that name",
				 settings->maps[i].name);
	*state_r = lookup;
	return RESULT_FOUND;
}

void lookup_free(void *state)
{
	struct lookup *lookup = state;

	if (!lookup)
		return;
	database_free(&lookup->database);
	cache_free(&lookup->cache);
	schema_free(&lookup->schema);
	free(lookup);
}

/*
 * The site's queries. One that the database refuses is told and stops nothing else: its map
 * answers PERM.
 */
static enum result check_site_maps(const struct lookup *lookup, struct error *err)
{
	struct accounts *accounts = NULL;
	enum result result = accounts_open(lookup->settings, lookup->schema, &accounts, err);

	for (size_t i = 0; result == RESULT_FOUND && i < lookup->settings->map_count; i++) {
		result =
			site_map_check(accounts, lookup->settings, &lookup->settings->maps[i], err);
		if (result != RESULT_PERM)
			continue;
		log_error("map cannot be served, it answers PERM error=%s", err->text);
		result = RESULT_FOUND;
	}
	accounts_free(&accounts);
	return result;
}

enum result lookup_check(void *state, struct error *err)
{
	const struct lookup *lookup = state;
	enum result result = accounts_try(lookup->settings, lookup->schema, err);

	if (result == RESULT_FOUND && lookup->settings->map_count > 0)
		result = check_site_maps(lookup, err);
	return result;
}

/* What a worker has of its own judges keys while the database is away; it never connects. */
static enum result worker_open(void *state, void **worker_r, struct error *err)
{
	const struct lookup *lookup = state;
	struct accounts *accounts = NULL;
	enum result result = database_offline(lookup->settings, lookup->schema, &accounts, err);

	*worker_r = accounts;
	return result;
}

static void worker_close(void *worker)
{
	struct accounts *accounts = worker;

	accounts_free(&accounts);
}

/* False: there is no space, hence no key. */
static bool request_parse(const struct lookup *lookup, struct request *request, const char *payload,
			  size_t len)
{
	const char *space = memchr(payload, ' ', len);
	size_t map_len;

	*request = (struct request){.payload = payload, .len = len, .map_index = UNKNOWN_MAPS};
	if (!space)
		return false;
	map_len = (size_t)(space - payload);
	request->key = space + 1;
	request->key_len = len - map_len - 1;
	if (map_len <= MAP_NAME_MAX && !memchr(payload, '\0', map_len))
		memcpy(request->map, payload, map_len);
	request->map_index = map_index(lookup, request->map);
	return true;
}

static enum result flush(const struct lookup *lookup, const struct connection *connection,
			 const struct request *request, struct buf *answer, struct error *err)
{
	size_t count;
	enum result result;

	if (!connection->endpoint || !connection->endpoint->is_unix)
		return result_error(err, RESULT_PERM, FLUSH " is for Unix sockets only");
	result = flush_answers(lookup->cache, request->key, request->key_len,
			       lookup->settings->address.recipient_delimiter, &count, err);
	if (result != RESULT_FOUND)
		return result;
	if (lookup->cache)
		inquiry_show_cache(lookup);
	log_info("cache flushed key=%.*s entries=%zu", (int)request->key_len, request->key, count);
	buf_printf(answer, "%zu", count);
	return RESULT_FOUND;
}

/* The text of TEMP and PERM: short, one line, ASCII. */
static void put_error(struct buf *out, const char *word, const struct error *err)
{
	struct buf text = BUF_INIT;
	size_t len = strnlen(err->text, REPLY_TEXT_MAX);

	buf_puts(&text, word);
	for (size_t i = 0; i < len; i++)
		buf_putc(&text, err->text[i] >= 0x20 && err->text[i] < 0x7f ? err->text[i] : '?');
	if (buf_ok(&text))
		netstring_append(out, text.data, text.len);
	else
		netstring_append(out, "TEMP out of memory", strlen("TEMP out of memory"));
	buf_free(&text);
}

/* Replies once, whatever happened. */
static void put_reply(struct buf *out, enum result result, const struct buf *answer,
		      const struct error *err)
{
	switch (result) {
	case RESULT_FOUND:
		netstring_begin(out, strlen("OK ") + answer->len);
		buf_puts(out, "OK ");
		buf_append(out, answer->data, answer->len);
		buf_putc(out, ',');
		break;
	case RESULT_NONE:
		netstring_append(out, "NOTFOUND ", strlen("NOTFOUND "));
		break;
	case RESULT_TEMP:
		put_error(out, "TEMP ", err);
		break;
	case RESULT_PERM:
		put_error(out, "PERM ", err);
		break;
	}
}

/* Everything but the reply. False: it must wait. */
static bool decide(struct inquiry *inquiry, struct connection *connection, bool named,
		   enum result *result_r)
{
	const struct request *request = inquiry->request;
	struct lookup *lookup = inquiry->lookup;

	if (!named)
		*result_r =
			result_error(inquiry->err, RESULT_PERM, "a request is MAP, one space, KEY");
	else if (request->map_index == FLUSHES)
		*result_r = flush(lookup, connection, request, inquiry->answer, inquiry->err);
	else if (request->map_index == UNKNOWN_MAPS)
		*result_r = result_error(inquiry->err, RESULT_PERM, "no map is called \"%s\"",
					 request->map);
	else if (!inquiry_answer(inquiry, connection, result_r))
		return false;
	if (*result_r == RESULT_FOUND && !buf_ok(inquiry->answer))
		*result_r = result_error(inquiry->err, RESULT_TEMP, "out of memory");
	return true;
}

static void log_request(const struct lookup *lookup, const struct request *request,
			enum result result, const struct error *err)
{
	int len = (int)request->key_len;
	const char *key = request->key ? request->key : "";

	if (result == RESULT_PERM)
		log_limited(site_map_find(lookup->settings, request->map) ? &site_limit
									  : &perm_limit,
			    LOG_LEVEL_ERROR, "lookup failed map=%s key=%.*s error=%s", request->map,
			    len, key, err->text);
	else
		log_debug("lookup map=%s key=%.*s result=%s", request->map, len, key,
			  result_name(result));
}

/* False: it must wait, and nothing has happened. */
static bool serve_request(struct lookup *lookup, struct accounts *offline,
			  struct connection *connection, const char *payload, size_t len,
			  struct buf *out)
{
	int64_t start = inquiry_begin(connection);
	struct buf answer = BUF_SECRET;
	struct request request;
	struct error err; /* mostly unused: emptied, not cleared */
	bool named = request_parse(lookup, &request, payload, len);
	struct inquiry inquiry = {.lookup = lookup,
				  .offline = offline,
				  .request = &request,
				  .answer = &answer,
				  .err = &err};
	enum result result = RESULT_TEMP;
	bool done;

	err.text[0] = '\0';
	done = decide(&inquiry, connection, named, &result);
	if (done) {
		log_request(lookup, &request, result, &err);
		put_reply(out, result, &answer, &err);
		metric_add(&requests[request.map_index][result], 1);
		metric_observe(&duration, deadline_now_us() - start);
	}
	inquiry_set_waiting(connection, done ? 0 : start);
	buf_free(&answer);
	return done;
}

enum lookup_next lookup_next(void *state, void *worker, struct connection *connection,
			     struct buf *out)
{
	struct buf *in = &connection->in;
	const char *payload;
	size_t len, used;

	switch (netstring_parse(in->data, in->len, LOOKUP_REQUEST_MAX, &payload, &len, &used)) {
	case PARSE_OK:
		break;
	case PARSE_MORE:
		return LOOKUP_MORE;
	case PARSE_BAD:
		return LOOKUP_BAD;
	}
	if (!serve_request(state, worker, connection, payload, len, out))
		return LOOKUP_WAIT;
	buf_consume(in, used);
	return LOOKUP_OK;
}

/* One request: answered and sent, so that a flood of them never piles up replies. */
static enum lookup_next handle_one(struct connection *connection, void *state, void *worker)
{
	struct buf out = BUF_SECRET;
	enum lookup_next next = lookup_next(state, worker, connection, &out);
	enum io_result written;

	if (next == LOOKUP_BAD)
		log_limited(&bad_limit, LOG_LEVEL_WARNING,
			    "not a netstring, closing the connection peer=%s", connection->peer);
	if (next != LOOKUP_OK)
		return next;
	if (!buf_ok(&out)) {
		log_error("out of memory, closing the connection peer=%s", connection->peer);
		buf_free(&out);
		return LOOKUP_BAD;
	}
	written = io_write(connection->fd, out.data, out.len, deadline_in(WRITE_MS));
	buf_free(&out);
	if (written == IO_OK)
		return LOOKUP_OK;
	log_debug("reply not sent peer=%s error=%s", connection->peer, io_result_name(written));
	return LOOKUP_BAD;
}

static enum serve_next handle(struct connection *connection, void *state, void *worker)
{
	enum lookup_next next;

	do
		next = handle_one(connection, state, worker);
	while (next == LOOKUP_OK);
	if (next == LOOKUP_WAIT)
		return SERVE_WAIT;
	return next == LOOKUP_MORE ? SERVE_PARK : SERVE_CLOSE;
}

const struct service lookup_service = {
	.name = "lookup",
	.worker_open = worker_open,
	.worker_close = worker_close,
	.handle = handle,
	.close = inquiry_end,
	/* A request of the largest size with its length and comma, and the start of the next. */
	.input_max = LOOKUP_REQUEST_MAX + 4096,
};
