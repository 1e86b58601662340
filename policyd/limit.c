/*
 * NAME
 *	limit - how much may one key send in a window
 *
 * DESCRIPTION
 *	Every limit has its counters (counters.h) in a registry of the process, shared by name,
 *	key, count and window, so that a reload keeps them. One mutex guards the registry, the
 *	counters and the messages under way: deciding is a few hash lookups, and "check all, then
 *	charge all or none" needs them together.
 *
 *	Keys are folded and without extension. A bare login gets [address] default_domain, so that
 *	it shares the counter of the full one.
 *
 * LIMITS
 *	100,000 keys a limit, 65,536 messages under way; the least recently used leave first.
 *
 * BUGS
 *	Counters are lost at a restart, and each host counts for itself.
 *	A login of an alias domain has a counter of its own: limits never ask the database.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "policyd/limit.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "policyd/counters.h"
#include "policyd/messages.h"

#define KEYS_MAX     100000
#define MESSAGES_MAX 65536

/* Shared by all keys that are no text we could fold, so that rubbish is no way around a limit. */
#define MALFORMED "(malformed)"

enum limit_key { BY_SASL_USER, BY_SENDER, BY_SENDER_DOMAIN, BY_CLIENT_IP, BY_RECIPIENT, BY_ALL };

/* In the registry: counters that may outlive the configuration that made them. */
struct shared_counters {
	char *name, *key, *count;
	int64_t window;
	struct counters *counters;
	unsigned users;
	struct shared_counters *next;
};

struct limit {
	const struct settings_limit *settings;
	enum limit_key key;
	enum limit_action verdict;
	bool messages; /* counts messages, not recipients */
	struct shared_counters *shared;
};

struct limits {
	const struct settings *settings;
	struct limit *list;
	size_t count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct shared_counters *registry;
static struct messages *messages;
static size_t open_count; /* of struct limits: the last one frees the messages */

static const char *const key_names[] = {
	[BY_SASL_USER] = "sasl_user",         [BY_SENDER] = "sender",
	[BY_SENDER_DOMAIN] = "sender_domain", [BY_CLIENT_IP] = "client_ip",
	[BY_RECIPIENT] = "recipient",         [BY_ALL] = "global",
};
static const char *const action_names[] = {
	[LIMIT_PASS] = "pass",
	[LIMIT_WARN] = "warn",
	[LIMIT_DEFER] = "defer",
	[LIMIT_REJECT] = "reject",
};

static struct log_limit memory_log = {.interval_ms = 60000};

const char *limit_action_name(enum limit_action action)
{
	return action_names[action];
}

/* -1 when NAME is none of the COUNT names. */
static int name_index(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -1;
}

static void shared_free(struct shared_counters *shared)
{
	counters_free(&shared->counters);
	free(shared->name);
	free(shared->key);
	free(shared->count);
	free(shared);
}

static struct shared_counters *shared_make(const struct settings_limit *settings)
{
	struct shared_counters *shared = calloc(1, sizeof(*shared));

	if (!shared)
		return NULL;
	shared->name = strdup(settings->name);
	shared->key = strdup(settings->key);
	shared->count = strdup(settings->count);
	shared->window = settings->window;
	shared->counters = counters_new(settings->window, KEYS_MAX);
	if (shared->name && shared->key && shared->count && shared->counters)
		return shared;
	shared_free(shared);
	return NULL;
}

/* The lock is held. NULL: out of memory. */
static struct shared_counters *shared_acquire(const struct settings_limit *settings)
{
	struct shared_counters *shared;

	for (shared = registry; shared; shared = shared->next)
		if (shared->window == settings->window &&
		    strcmp(shared->name, settings->name) == 0 &&
		    strcmp(shared->key, settings->key) == 0 &&
		    strcmp(shared->count, settings->count) == 0)
			break;
	if (!shared) {
		shared = shared_make(settings);
		if (!shared)
			return NULL;
		shared->next = registry;
		registry = shared;
	}
	shared->users++;
	return shared;
}

/* The lock is held. */
static void shared_release(struct shared_counters *shared)
{
	struct shared_counters **link = &registry;

	if (--shared->users > 0)
		return;
	while (*link != shared)
		link = &(*link)->next;
	*link = shared->next;
	shared_free(shared);
}

/* The lock is held. */
static enum result limit_open(const struct settings_limit *settings, struct limit *limit_r,
			      struct error *err)
{
	const int key =
		name_index(key_names, sizeof(key_names) / sizeof(*key_names), settings->key);
	const int verdict = name_index(action_names, sizeof(action_names) / sizeof(*action_names),
				       settings->verdict);

	if (key < 0 || verdict <= LIMIT_PASS)
		return result_error(err, RESULT_PERM, "[limit %s]: unknown key or verdict",
				    settings->name);
	if (settings->max < 0 || settings->window <= 0)
		return result_error(err, RESULT_PERM,
				    "[limit %s]: set max, and a window longer than 0",
				    settings->name);
	limit_r->settings = settings;
	limit_r->key = (enum limit_key)key;
	limit_r->verdict = (enum limit_action)verdict;
	limit_r->messages = strcmp(settings->count, "messages") == 0;
	limit_r->shared = shared_acquire(settings);
	if (!limit_r->shared)
		return result_error(err, RESULT_TEMP, "[limit %s]: out of memory", settings->name);
	return RESULT_FOUND;
}

/* The lock is held. */
static enum result limits_fill(struct limits *limits, struct error *err)
{
	const struct settings *settings = limits->settings;

	if (!messages)
		messages = messages_new(MESSAGES_MAX);
	limits->list = calloc(settings->limit_count + 1, sizeof(*limits->list));
	if (!messages || !limits->list)
		return result_error(err, RESULT_TEMP, "limits: out of memory");
	for (size_t i = 0; i < settings->limit_count; i++) {
		enum result result = limit_open(&settings->limits[i], &limits->list[i], err);

		if (result != RESULT_FOUND)
			return result;
		limits->count++;
	}
	return RESULT_FOUND;
}

enum result limits_open(const struct settings *settings, struct limits **limits_r,
			struct error *err)
{
	struct limits *limits = calloc(1, sizeof(*limits));
	enum result result;

	*limits_r = NULL;
	if (!limits)
		return result_error(err, RESULT_TEMP, "limits: out of memory");
	limits->settings = settings;
	pthread_mutex_lock(&lock);
	open_count++;
	result = limits_fill(limits, err);
	pthread_mutex_unlock(&lock);
	if (result != RESULT_FOUND) {
		limits_free(&limits);
		return result;
	}
	*limits_r = limits;
	return RESULT_FOUND;
}

void limits_free(struct limits **limits)
{
	if (!*limits)
		return;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < (*limits)->count; i++)
		shared_release((*limits)->list[i].shared);
	if (--open_count == 0)
		messages_free(&messages);
	pthread_mutex_unlock(&lock);
	free((*limits)->list);
	free(*limits);
	*limits = NULL;
}

/* KEY_R: ADDRESS_MAX + 1 bytes. */
static void key_fold(char *key_r, const char *text, size_t len)
{
	if (!address_key_ok(text, len) || !address_fold(key_r, ADDRESS_MAX + 1, text, len))
		memcpy(key_r, MALFORMED, sizeof(MALFORMED));
}

/* Folded, without extension; the domain alone when DOMAIN_ONLY. "" when there is none. */
static void key_address(const struct settings *settings, char *key_r, struct slice text,
			bool domain_only)
{
	struct address address;
	size_t len;

	if (!address_parse(&address, text.data, text.len, settings->address.recipient_delimiter)) {
		key_fold(key_r, text.data, text.len);
		return;
	}
	len = strlen(address.domain);
	if (domain_only) {
		memcpy(key_r, address.domain, len + 1);
	} else if (address.base_len + 1 + len > ADDRESS_MAX) {
		memcpy(key_r, MALFORMED, sizeof(MALFORMED));
	} else {
		memcpy(key_r, address.local, address.base_len);
		key_r[address.base_len] = '@';
		memcpy(key_r + address.base_len + 1, address.domain, len + 1);
	}
}

static void key_login(const struct settings *settings, char *key_r, struct slice login)
{
	const char *domain = settings->address.default_domain;
	struct buf full = BUF_INIT;

	if (memchr(login.data, '@', login.len) || !domain[0]) {
		key_fold(key_r, login.data, login.len);
		return;
	}
	buf_append(&full, login.data, login.len);
	buf_printf(&full, "@%s", domain);
	key_fold(key_r, buf_str(&full), full.len);
	buf_free(&full);
}

/* False: this limit has nothing to say about the request. Not for BY_RECIPIENT at a charge. */
static bool limit_key(const struct limits *limits, const struct limit *limit,
		      const struct limit_request *request, char *key_r)
{
	const struct settings *settings = limits->settings;
	struct slice part = {"", 0};

	switch (limit->key) {
	case BY_SASL_USER:
		part = request->sasl_username;
		if (part.len > 0)
			key_login(settings, key_r, part);
		break;
	case BY_SENDER:
	case BY_SENDER_DOMAIN:
		part = request->sender;
		if (part.len > 0)
			key_address(settings, key_r, part, limit->key == BY_SENDER_DOMAIN);
		break;
	case BY_RECIPIENT:
		part = request->recipient;
		if (part.len > 0)
			key_address(settings, key_r, part, false);
		break;
	case BY_CLIENT_IP:
		part = request->client_address;
		if (part.len > 0)
			key_fold(key_r, part.data, part.len);
		break;
	case BY_ALL:
		memcpy(key_r, "*", 2);
		return true;
	}
	return part.len > 0;
}

/* One (limit, key, amount); the lock is held. Returns whether it stops the message. */
static bool check_one(const struct limits *limits, const struct limit *limit, const char *key,
		      int64_t amount, int64_t now_ms, struct limit_hit *hit)
{
	const int64_t usage = counters_usage(limit->shared->counters, key, now_ms);
	const struct settings_limit *settings = limit->settings;

	if (usage <= settings->max && amount <= settings->max - usage)
		return false;
	if (limit->verdict == LIMIT_WARN && hit->action != LIMIT_PASS)
		return false;
	hit->action = limit->verdict;
	hit->index = (size_t)(limit - limits->list);
	hit->level = usage > INT64_MAX - amount ? INT64_MAX : usage + amount;
	hit->max = settings->max;
	hit->window = settings->window;
	hit->name = settings->name;
	hit->counting = settings->count;
	strcpy(hit->key, key); /* same size */
	return limit->verdict != LIMIT_WARN;
}

static void charge_one(const struct limit *limit, const char *key, int64_t amount, int64_t now_ms)
{
	if (!counters_add(limit->shared->counters, key, amount, now_ms))
		log_limited(&memory_log, LOG_LEVEL_ERROR,
			    "out of memory: not counted rule=%s key=<%s>", limit->settings->name,
			    key);
}

/* What one walk over all limits and keys does. */
enum walk { WALK_CHECK, WALK_CHARGE };

/* True: some limit stops the message (WALK_CHECK only). */
static bool walk_one(const struct limits *limits, const struct limit *limit, const char *key,
		     int64_t amount, enum walk walk, int64_t now_ms, struct limit_hit *hit)
{
	if (walk == WALK_CHECK)
		return check_one(limits, limit, key, amount, now_ms, hit);
	charge_one(limit, key, amount, now_ms);
	return false;
}

/* A message to several: its recipients were collected at RCPT. */
static bool walk_recipients(const struct limits *limits, const struct limit *limit,
			    const struct message *message, enum walk walk, int64_t now_ms,
			    struct limit_hit *hit)
{
	char key[ADDRESS_MAX + 1];
	const char *line = message ? buf_str(&message->recipients) : "";

	while (*line) {
		const char *end = strchr(line, '\n');

		memcpy(key, line, (size_t)(end - line));
		key[end - line] = '\0';
		if (walk_one(limits, limit, key, 1, walk, now_ms, hit))
			return true;
		line = end + 1;
	}
	return false;
}

static bool walk(const struct limits *limits, const struct limit_request *request,
		 const struct message *message, enum walk walk_kind, int64_t now_ms,
		 struct limit_hit *hit)
{
	char key[ADDRESS_MAX + 1];

	for (size_t i = 0; i < limits->count; i++) {
		const struct limit *limit = &limits->list[i];
		int64_t amount = 1;

		if (limit->key == BY_RECIPIENT && request->recipient.len == 0) {
			if (walk_recipients(limits, limit, message, walk_kind, now_ms, hit))
				return true;
			continue;
		}
		if (!limit_key(limits, limit, request, key))
			continue;
		if (request->stage == LIMIT_CHARGE && !limit->messages &&
		    limit->key != BY_RECIPIENT)
			amount = request->recipients;
		if (walk_one(limits, limit, key, amount, walk_kind, now_ms, hit))
			return true;
	}
	return false;
}

static bool limits_by_recipient(const struct limits *limits)
{
	for (size_t i = 0; i < limits->count; i++)
		if (limits->list[i].key == BY_RECIPIENT)
			return true;
	return false;
}

/* The lock is held. */
static enum limit_action decide_peek(struct limits *limits, const struct limit_request *request,
				     int64_t now_ms, struct limit_hit *hit)
{
	struct message *message;
	char key[ADDRESS_MAX + 1];

	if (walk(limits, request, NULL, WALK_CHECK, now_ms, hit))
		return hit->action;
	if (request->recipient.len > 0 && limits_by_recipient(limits)) {
		message = messages_get(messages, request->host, request->instance.data,
				       request->instance.len, true, now_ms);
		key_address(limits->settings, key, request->recipient, false);
		if (message)
			message_add_recipient(message, key);
	}
	/* A warning is told once a message, when it is charged. */
	return LIMIT_PASS;
}

/* The lock is held. */
static enum limit_action decide_charge(struct limits *limits, const struct limit_request *request,
				       int64_t now_ms, struct limit_hit *hit)
{
	struct message *message = messages_get(messages, request->host, request->instance.data,
					       request->instance.len, true, now_ms);

	if (message && message->charged && message->charged_recipients == request->recipients)
		return LIMIT_PASS;
	if (walk(limits, request, message, WALK_CHECK, now_ms, hit))
		return hit->action;
	walk(limits, request, message, WALK_CHARGE, now_ms, hit);
	if (message) {
		message->charged = true;
		message->charged_recipients = request->recipients;
	}
	return hit->action;
}

enum limit_action limits_decide(struct limits *limits, const struct limit_request *request,
				int64_t now_ms, struct limit_hit *hit_r)
{
	enum limit_action action;

	*hit_r = (struct limit_hit){.action = LIMIT_PASS};
	if (limits->count == 0)
		return LIMIT_PASS;
	pthread_mutex_lock(&lock);
	if (request->stage == LIMIT_PEEK)
		action = decide_peek(limits, request, now_ms, hit_r);
	else
		action = decide_charge(limits, request, now_ms, hit_r);
	pthread_mutex_unlock(&lock);
	return action;
}

static void print_window(struct buf *out, int64_t ms)
{
	static const struct {
		int64_t ms;
		const char *unit;
	} units[] = {{604800000, "w"}, {86400000, "d"}, {3600000, "h"},
		     {60000, "m"},     {1000, "s"},     {1, "ms"}};
	size_t i = 0;

	while (ms % units[i].ms != 0)
		i++;
	buf_printf(out, "%" PRId64 "%s", ms / units[i].ms, units[i].unit);
}

void limit_hit_reply(const struct limit_hit *hit, struct buf *action)
{
	const bool reject = hit->action == LIMIT_REJECT;

	buf_printf(action, "%s Limit of %" PRId64 " %s in ", reject ? "554 5.7.1" : "450 4.7.1",
		   hit->max, hit->counting);
	print_window(action, hit->window);
	buf_printf(action, " exceeded%s", reject ? "" : ", try again later");
}
