/*
 * NAME
 *	lookup - the socketmap service
 * PROTOCOL
 *	Request: one netstring, the map's name, one space, the key; the key is raw and may hold
 *	spaces. Reply: one netstring, "OK data", "NOTFOUND ", "TEMP text" or "PERM text", at most
 *	100,000 bytes, without a newline behind it. One request is in flight on a connection;
 *	several sent at once are answered in order.
 * DESCRIPTION
 *	Answers are remembered under the request as it came ("MAP KEY": map names hold no space, so
 *	the first one separates as surely as a NUL would). While the database is away, an old answer
 *	is served with two exceptions. TEMP is never remembered. And an old NOTFOUND is not served
 *	for maps in which it refuses mail or a sender: what is new since then would bounce.
 *	Answers may be passwords, so every buffer that holds one is wiped.
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

#define MAP_NAME_MAX   64  /* longer names are unknown */
#define REPLY_TEXT_MAX 200 /* of TEMP and PERM; Postfix logs it */
#define WRITE_MS       10000
#define MAPS_MAX       32 /* maps with counters of their own */
#define RESULTS        4

enum database_state { DATABASE_UNKNOWN, DATABASE_UP, DATABASE_AWAY };

struct lookup {
	const struct settings *settings;
	struct schema *schema;
	struct cache *cache; /* NULL: off */
	_Atomic int database;
	_Atomic bool stale_said;
};

static struct log_limit away_limit = {.interval_ms = 5000}, back_limit = {.interval_ms = 5000};
static struct log_limit perm_limit = {.interval_ms = 1000}, bad_limit = {.interval_ms = 1000};
/* What is wrong with a site's query was said at start. */
static struct log_limit site_limit = {.interval_ms = 60000};

/* Behind the built-in maps: those of the site together, and names that are no maps. */
#define SITE_MAPS    MAPS_MAX
#define UNKNOWN_MAPS (MAPS_MAX + 1)

static struct metric requests[UNKNOWN_MAPS + 1][RESULTS];
static char request_labels[UNKNOWN_MAPS + 1][RESULTS][MAP_NAME_MAX + 32];
static struct metric_histogram duration = {
	.name = "postern_lookup_duration_seconds",
	.labels = "",
	.help = "Time from a complete request to its reply.",
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
static struct metric database_up = {
	.name = "postern_db_up",
	.labels = "",
	.help = "1 while the database answers, else 0.",
	.type = "gauge",
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
	register_requests(UNKNOWN_MAPS, "unknown");
	metrics_register_histogram(&duration);
	metrics_register(&cache_hits);
	metrics_register(&cache_misses);
	metrics_register(&cache_stale);
	metrics_register(&database_up);
}

static size_t map_index(const struct lookup *lookup, const char *map)
{
	const char *name;

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
	if (limits.max_bytes > 0 && (limits.positive_ttl_ms > 0 || limits.negative_ttl_ms > 0)) {
		lookup->cache = cache_new(&limits);
		if (!lookup->cache) {
			lookup_free(lookup);
			return result_error(err, RESULT_TEMP, "out of memory");
		}
	}
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

	if (result == RESULT_FOUND)
		metric_set(&database_up, 1);
	return result;
}

static enum result worker_open(void *state, void **worker_r, struct error *err)
{
	const struct lookup *lookup = state;
	struct accounts *accounts = NULL;
	enum result result = accounts_open(lookup->settings, lookup->schema, &accounts, err);

	*worker_r = accounts;
	return result;
}

static void worker_close(void *worker)
{
	struct accounts *accounts = worker;

	accounts_free(&accounts);
}

/*
 * What a result tells about the database. NONE tells nothing: many keys are judged without it.
 */
static void note_database(struct lookup *lookup, enum result result, const struct error *err)
{
	int before;

	if (result == RESULT_TEMP) {
		before = atomic_exchange(&lookup->database, DATABASE_AWAY);
		metric_set(&database_up, 0);
		if (before != DATABASE_AWAY)
			log_limited(&away_limit, LOG_LEVEL_ERROR,
				    "database away, answering TEMP error=%s", err->text);
	} else if (result == RESULT_FOUND && atomic_load(&lookup->database) != DATABASE_UP) {
		before = atomic_exchange(&lookup->database, DATABASE_UP);
		metric_set(&database_up, 1);
		if (before == DATABASE_AWAY) {
			atomic_store(&lookup->stale_said, false);
			log_limited(&back_limit, LOG_LEVEL_INFO, "database is back");
		}
	}
}

/* Maps in which NOTFOUND refuses a recipient, a relay or a sender, or a site's, which may do so. */
static bool none_refuses(const struct lookup *lookup, const char *map)
{
	static const char *const names[] = {
		"virtual_mailbox_domains", "virtual_mailbox_maps",    "relay_domains",
		"relay_recipient_maps",    "smtpd_sender_login_maps",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], map) == 0)
			return true;
	return site_map_find(lookup->settings, map) != NULL;
}

static bool may_serve_stale(struct lookup *lookup, const char *map, enum result result)
{
	if (result == RESULT_NONE && none_refuses(lookup, map))
		return false;
	metric_add(&cache_stale, 1);
	if (!atomic_exchange(&lookup->stale_said, true))
		log_warning("database away, serving old answers from the cache");
	return true;
}

struct request {
	char map[MAP_NAME_MAX + 1]; /* "" if it cannot be a map's name */
	const char *key;
	size_t key_len;
	const char *payload;
	size_t len;
};

/* False: there is no space, hence no key. */
static bool request_parse(struct request *request, const char *payload, size_t len)
{
	const char *space = memchr(payload, ' ', len);
	size_t map_len;

	*request = (struct request){.payload = payload, .len = len};
	if (!space)
		return false;
	map_len = (size_t)(space - payload);
	request->key = space + 1;
	request->key_len = len - map_len - 1;
	if (map_len <= MAP_NAME_MAX && !memchr(payload, '\0', map_len))
		memcpy(request->map, payload, map_len);
	return true;
}

static enum result ask(struct lookup *lookup, struct accounts *accounts,
		       const struct request *request, struct buf *answer, struct error *err)
{
	enum result result;

	if (!accounts)
		return result_error(err, RESULT_TEMP, "no database handle");
	result = maps_lookup(accounts, lookup->settings, request->map, request->key,
			     request->key_len, answer, NULL, err);
	note_database(lookup, result, err);
	return result;
}

/* From the cache, or asked. */
static enum result find(struct lookup *lookup, struct accounts *accounts,
			const struct request *request, struct buf *answer, struct error *err)
{
	struct buf old = BUF_SECRET;
	enum cache_state state;
	enum result old_result = RESULT_NONE, result;

	if (!lookup->cache)
		return ask(lookup, accounts, request, answer, err);
	state = cache_get(lookup->cache, request->payload, request->len, &old_result, &old);
	if (state == CACHE_FRESH && buf_ok(&old)) {
		metric_add(&cache_hits, 1);
		result = old_result;
	} else {
		metric_add(&cache_misses, 1);
		result = ask(lookup, accounts, request, answer, err);
		if (result == RESULT_FOUND || result == RESULT_NONE) {
			cache_put(lookup->cache, request->payload, request->len, result,
				  answer->data, answer->len);
			buf_free(&old);
			return result;
		}
		if (result != RESULT_TEMP || state != CACHE_STALE || !buf_ok(&old) ||
		    !may_serve_stale(lookup, request->map, old_result)) {
			buf_free(&old);
			return result;
		}
		result = old_result;
	}
	buf_append(answer, old.data, old.len);
	buf_free(&old);
	return result;
}

/* The text of TEMP and PERM: short, one line, ASCII. */
static void put_text(struct buf *reply, const char *text)
{
	size_t len = strnlen(text, REPLY_TEXT_MAX);

	for (size_t i = 0; i < len; i++)
		buf_putc(reply, text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?');
}

/* Replies once, whatever happened. */
static void put_reply(struct buf *out, enum result result, const struct buf *answer,
		      const struct error *err)
{
	struct buf reply = BUF_SECRET;

	switch (result) {
	case RESULT_FOUND:
		buf_puts(&reply, "OK ");
		buf_append(&reply, answer->data, answer->len);
		break;
	case RESULT_NONE:
		buf_puts(&reply, "NOTFOUND ");
		break;
	case RESULT_TEMP:
		buf_puts(&reply, "TEMP ");
		put_text(&reply, err->text);
		break;
	case RESULT_PERM:
		buf_puts(&reply, "PERM ");
		put_text(&reply, err->text);
		break;
	}
	if (buf_ok(&reply))
		netstring_append(out, reply.data, reply.len);
	else
		netstring_append(out, "TEMP out of memory", strlen("TEMP out of memory"));
	buf_free(&reply);
}

static void serve_request(struct lookup *lookup, struct accounts *accounts, const char *payload,
			  size_t len, struct buf *out)
{
	int64_t start = deadline_now_us();
	struct buf answer = BUF_SECRET;
	struct request request;
	struct error err = {""};
	enum result result;

	if (!request_parse(&request, payload, len))
		result = result_error(&err, RESULT_PERM, "a request is MAP, one space, KEY");
	else if (map_index(lookup, request.map) == UNKNOWN_MAPS)
		result = result_error(&err, RESULT_PERM, "no map is called \"%s\"", request.map);
	else
		result = find(lookup, accounts, &request, &answer, &err);
	if (result == RESULT_FOUND && !buf_ok(&answer))
		result = result_error(&err, RESULT_TEMP, "out of memory");
	if (result == RESULT_PERM)
		log_limited(site_map_find(lookup->settings, request.map) ? &site_limit
									 : &perm_limit,
			    LOG_LEVEL_ERROR, "lookup failed map=%s key=%.*s error=%s", request.map,
			    (int)request.key_len, request.key ? request.key : "", err.text);
	else
		log_debug("lookup map=%s key=%.*s result=%s", request.map, (int)request.key_len,
			  request.key, result_name(result));
	put_reply(out, result, &answer, &err);
	buf_free(&answer);
	metric_add(&requests[map_index(lookup, request.map)][result], 1);
	metric_observe(&duration, deadline_now_us() - start);
}

enum parse lookup_next(void *state, void *worker, struct buf *in, struct buf *out)
{
	const char *payload;
	size_t len, used;
	enum parse parse =
		netstring_parse(in->data, in->len, LOOKUP_REQUEST_MAX, &payload, &len, &used);

	if (parse != PARSE_OK)
		return parse;
	serve_request(state, worker, payload, len, out);
	buf_consume(in, used);
	return PARSE_OK;
}

/* One request: answered and sent, so that a flood of them never piles up replies. */
static enum parse handle_one(struct connection *connection, void *state, void *worker)
{
	struct buf out = BUF_SECRET;
	enum parse parse = lookup_next(state, worker, &connection->in, &out);
	enum io_result written;

	if (parse == PARSE_BAD)
		log_limited(&bad_limit, LOG_LEVEL_WARNING,
			    "not a netstring, closing the connection peer=%s", connection->peer);
	if (parse != PARSE_OK)
		return parse;
	if (!buf_ok(&out)) {
		log_error("out of memory, closing the connection peer=%s", connection->peer);
		buf_free(&out);
		return PARSE_BAD;
	}
	written = io_write(connection->fd, out.data, out.len, deadline_in(WRITE_MS));
	buf_free(&out);
	if (written == IO_OK)
		return PARSE_OK;
	log_debug("reply not sent peer=%s error=%s", connection->peer, io_result_name(written));
	return PARSE_BAD;
}

static enum serve_next handle(struct connection *connection, void *state, void *worker)
{
	enum parse parse;

	do
		parse = handle_one(connection, state, worker);
	while (parse == PARSE_OK);
	return parse == PARSE_MORE ? SERVE_PARK : SERVE_CLOSE;
}

const struct service lookup_service = {
	.name = "lookup",
	.worker_open = worker_open,
	.worker_close = worker_close,
	.handle = handle,
	/* A request of the largest size with its length and comma, and the start of the next. */
	.input_max = LOOKUP_REQUEST_MAX + 4096,
};
