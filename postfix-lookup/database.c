/*
 * NAME
 *	database - handles for all workers, and a breaker
 * DESCRIPTION
 *	A handle is borrowed for one question. The one returned last is taken first, so that there
 *	are no more connections than questions at the same time, and the gate bounds those.
 *
 *	The breaker opens when a question failed on every host and no other has been answered since
 *	it began: one handle whose connection was refused (the server has too many), or one query
 *	that took too long, must not turn everybody away. It closes when a probe gets a host to
 *	answer; probes are no clients' requests, which would otherwise wait for a server that hangs.
 *	The same thread looks after single hosts that are down while others answer.
 *
 *	A refused new connection beside others that stand is left alone for a retry interval, and
 *	its question waits for one of those.
 * LIMITS
 *	The probes of several hosts run one after the other.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postfix-lookup/database.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/deadline.h"
#include "common/log.h"
#include "common/maps.h"
#include "common/sql.h"
#include "postfix-lookup/gate.h"
#include "postfix-lookup/host_metrics.h"

struct handle {
	struct accounts *accounts;
	struct handle *next; /* database.idle */
	int processor;       /* where it was used last */
	uint64_t events[];   /* of each host, as told before */
};

struct host {
	char *name;
	bool down;
	struct settings alone;  /* with this host only, for its probe */
	struct accounts *probe; /* the prober's; kept, so that it limits what it logs */
};

struct database {
	const struct settings *settings;
	const struct schema *schema;
	struct host *hosts;
	size_t host_count;
	_Atomic bool away;
	_Atomic int64_t found_us; /* the last answer of the database */
	_Atomic bool stale_noted;

	pthread_mutex_t lock; /* of all below, and of hosts[].down */
	pthread_cond_t changed;
	struct handle *idle;
	size_t open; /* handles, idle or not */
	enum result away_result;
	struct error away_err;
	bool probing, ending; /* there is a thread; it shall end */
	pthread_t prober;
};

static struct log_limit away_limit = {.interval_ms = 5000}, back_limit = {.interval_ms = 5000};

static struct sql *handle_sql(const struct accounts *accounts)
{
	return schema_sql(accounts_session(accounts));
}

enum result database_offline(const struct settings *settings, const struct schema *schema,
			     struct accounts **offline_r, struct error *err)
{
	enum result result = accounts_open(settings, schema, offline_r, err);

	if (result == RESULT_FOUND)
		sql_set_offline(handle_sql(*offline_r));
	return result;
}

static bool list_hosts(struct database *database, const struct sql *sql)
{
	struct sql_host_view view;
	size_t count = 0;

	while (sql_host_at(sql, count, &view))
		count++;
	database->hosts = calloc(count + 1, sizeof(*database->hosts));
	for (size_t i = 0; database->hosts && i < count && sql_host_at(sql, i, &view); i++) {
		database->hosts[i].name = strdup(view.name);
		if (!database->hosts[i].name)
			return false;
		database->hosts[i].alone = *database->settings;
		database->hosts[i].alone.database.hosts = database->hosts[i].name;
		host_metric_use(view.name);
		database->host_count++;
	}
	return database->hosts != NULL;
}

enum result database_open(const struct settings *settings, const struct schema *schema,
			  struct database **database_r, struct error *err)
{
	struct database *database = calloc(1, sizeof(*database));
	struct accounts *offline = NULL;
	pthread_condattr_t monotonic;
	enum result result;

	*database_r = NULL;
	if (!database)
		return result_error(err, RESULT_TEMP, "out of memory");
	database->settings = settings;
	database->schema = schema;
	pthread_mutex_init(&database->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&database->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	result = database_offline(settings, schema, &offline, err);
	if (result == RESULT_FOUND && !list_hosts(database, handle_sql(offline)))
		result = result_error(err, RESULT_TEMP, "out of memory");
	accounts_free(&offline);
	if (result != RESULT_FOUND) {
		database_free(&database);
		return result;
	}
	*database_r = database;
	return RESULT_FOUND;
}

static void handle_free(struct database *database, struct handle *handle)
{
	pthread_mutex_lock(&database->lock);
	database->open--;
	pthread_mutex_unlock(&database->lock);
	accounts_free(&handle->accounts);
	free(handle);
}

void database_free(struct database **database_in)
{
	struct database *database = *database_in;

	if (!database)
		return;
	if (database->probing) {
		pthread_mutex_lock(&database->lock);
		database->ending = true;
		pthread_cond_broadcast(&database->changed);
		pthread_mutex_unlock(&database->lock);
		pthread_join(database->prober, NULL);
	}
	while (database->idle) {
		struct handle *handle = database->idle;

		database->idle = handle->next;
		handle_free(database, handle);
	}
	for (size_t i = 0; i < database->host_count; i++) {
		accounts_free(&database->hosts[i].probe);
		host_metric_release(database->hosts[i].name);
		free(database->hosts[i].name);
	}
	free(database->hosts);
	pthread_cond_destroy(&database->changed);
	pthread_mutex_destroy(&database->lock);
	free(database);
	*database_in = NULL;
}

bool database_away(const struct database *database)
{
	return database->away;
}

bool database_note_stale(struct database *database)
{
	return atomic_exchange(&database->stale_noted, true);
}

/* The probes */

static void note_host(struct database *database, size_t index, bool up)
{
	pthread_mutex_lock(&database->lock);
	database->hosts[index].down = !up;
	host_metric_set(database->hosts[index].name, up);
	if (!up)
		pthread_cond_broadcast(&database->changed);
	pthread_mutex_unlock(&database->lock);
}

static void come_back(struct database *database)
{
	if (!atomic_exchange(&database->away, false))
		return;
	database->stale_noted = false;
	log_limited(&back_limit, LOG_LEVEL_INFO, "database is back");
}

/* Whether a host can be asked; what it answers does not matter. */
static bool probe(const struct database *database, struct host *host)
{
	struct error err = {""};
	bool up;

	if (!host->probe &&
	    accounts_open(&host->alone, database->schema, &host->probe, &err) != RESULT_FOUND)
		return false;
	up = accounts_check(host->probe, &err) == RESULT_FOUND ||
	     !sql_away(handle_sql(host->probe));
	if (up)
		accounts_free(&host->probe);
	return up;
}

static bool wants_probe(struct database *database, size_t index)
{
	pthread_mutex_lock(&database->lock);
	bool wanted = !database->ending && (database->away || database->hosts[index].down);
	pthread_mutex_unlock(&database->lock);
	return wanted;
}

static void probe_all(struct database *database)
{
	for (size_t i = 0; i < database->host_count; i++) {
		if (!wants_probe(database, i))
			continue;
		bool up = probe(database, &database->hosts[i]);

		note_host(database, i, up);
		if (up)
			come_back(database);
	}
}

static bool probes_needed(const struct database *database)
{
	for (size_t i = 0; i < database->host_count; i++)
		if (database->hosts[i].down)
			return true;
	return database->away;
}

static void *prober_main(void *argument)
{
	struct database *database = argument;

	pthread_mutex_lock(&database->lock);
	while (!database->ending) {
		if (!probes_needed(database)) {
			pthread_cond_wait(&database->changed, &database->lock);
			continue;
		}
		pthread_mutex_unlock(&database->lock);
		probe_all(database);
		struct deadline next = deadline_in(database->settings->database.retry_interval);
		struct timespec at = {.tv_sec = next.at_ms / 1000,
				      .tv_nsec = next.at_ms % 1000 * 1000000};
		pthread_mutex_lock(&database->lock);
		while (!database->ending && !deadline_passed(next))
			(void)pthread_cond_timedwait(&database->changed, &database->lock, &at);
	}
	pthread_mutex_unlock(&database->lock);
	sql_library_thread_end();
	return NULL;
}

/* Under the lock. False: the breaker must not open, because nobody would close it. */
static bool start_prober(struct database *database)
{
	sigset_t all, before;

	if (database->probing)
		return true;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	database->probing = pthread_create(&database->prober, NULL, prober_main, database) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return database->probing;
}

static void go_away(struct database *database, enum result result, const struct error *err)
{
	bool opened = false;

	pthread_mutex_lock(&database->lock);
	database->away_result = result;
	database->away_err = *err;
	if (start_prober(database))
		opened = !atomic_exchange(&database->away, true);
	pthread_cond_broadcast(&database->changed);
	pthread_mutex_unlock(&database->lock);
	if (!opened)
		return;
	log_limited(&away_limit, LOG_LEVEL_ERROR, "database away, answering TEMP error=%s",
		    err->text);
	gate_wake_all();
}

/* Asking */

/* Under the lock: the one used last, best on this processor. NULL: none is idle. */
static struct handle *idle_take(struct database *database)
{
	int here = sched_getcpu();
	struct handle **link = &database->idle, *handle;

	while (*link && (*link)->processor != here)
		link = &(*link)->next;
	if (!*link)
		link = &database->idle;
	handle = *link;
	if (handle)
		*link = handle->next;
	return handle;
}

static struct handle *handle_take(struct database *database, struct error *err)
{
	struct handle *handle;

	pthread_mutex_lock(&database->lock);
	handle = idle_take(database);
	if (!handle)
		database->open++;
	pthread_mutex_unlock(&database->lock);
	if (handle)
		return handle;
	handle = calloc(1, sizeof(*handle) + database->host_count * sizeof(handle->events[0]));
	if (!handle)
		error_set(err, "out of memory");
	else if (accounts_open(database->settings, database->schema, &handle->accounts, err) ==
		 RESULT_FOUND)
		return handle;
	pthread_mutex_lock(&database->lock);
	database->open--;
	pthread_mutex_unlock(&database->lock);
	free(handle);
	return NULL;
}

static void handle_return(struct database *database, struct handle *handle)
{
	pthread_mutex_lock(&database->lock);
	handle->processor = sched_getcpu();
	handle->next = database->idle;
	database->idle = handle;
	pthread_mutex_unlock(&database->lock);
}

/* Tells what this question has found out about hosts. */
static void note_hosts(struct database *database, struct handle *handle)
{
	const struct sql *sql = handle_sql(handle->accounts);
	struct sql_host_view view;

	for (size_t i = 0; i < database->host_count && sql_host_at(sql, i, &view); i++) {
		if (view.events == handle->events[i])
			continue;
		handle->events[i] = view.events;
		note_host(database, i, view.state == SQL_HOST_UP);
		if (view.state != SQL_HOST_DOWN)
			continue;
		pthread_mutex_lock(&database->lock);
		(void)start_prober(database);
		pthread_mutex_unlock(&database->lock);
	}
}

/* Other handles than the one that has just failed. */
static size_t count_others(struct database *database)
{
	pthread_mutex_lock(&database->lock);
	size_t others = database->open - 1;
	pthread_mutex_unlock(&database->lock);
	return others;
}

/* Its first connection, and no long wait for it, which would be that of a server that hangs. */
static bool was_refused(const struct database *database, const struct handle *handle,
			int64_t started_us)
{
	int64_t took_ms = (deadline_now_us() - started_us) / 1000;

	return sql_generation(handle_sql(handle->accounts)) == 0 &&
	       took_ms < database->settings->database.connect_timeout / 2;
}

enum result database_ask(struct database *database, const char *map, const char *key, size_t len,
			 struct buf *answer, bool *again_r, bool *away_r, struct error *err)
{
	int64_t started = deadline_now_us();
	struct handle *handle = handle_take(database, err);
	enum result result;
	bool refused;
	size_t others;

	*again_r = *away_r = false;
	if (!handle)
		return RESULT_TEMP;
	result =
		maps_lookup(handle->accounts, database->settings, map, key, len, answer, NULL, err);
	note_hosts(database, handle);
	*away_r = (result == RESULT_TEMP || result == RESULT_PERM) &&
		  sql_away(handle_sql(handle->accounts));
	if (result == RESULT_FOUND)
		database->found_us = deadline_now_us();
	if (!*away_r) {
		handle_return(database, handle);
		return result;
	}
	refused = was_refused(database, handle, started);
	others = count_others(database);
	handle_free(database, handle);
	if (refused && others > 0 && !database->away) {
		*again_r = true;
		gate_narrow(others, database->settings->database.retry_interval);
	} else if (database->found_us < started) {
		go_away(database, result, err);
	}
	return result;
}

enum result database_judge(struct database *database, struct accounts *offline, const char *map,
			   const char *key, size_t len, struct buf *answer, bool *away_r,
			   struct error *err)
{
	enum result result =
		maps_lookup(offline, database->settings, map, key, len, answer, NULL, err);

	*away_r = (result == RESULT_TEMP || result == RESULT_PERM) && sql_away(handle_sql(offline));
	if (!*away_r)
		return result;
	pthread_mutex_lock(&database->lock);
	if (database->away) {
		result = database->away_result;
		*err = database->away_err;
	}
	pthread_mutex_unlock(&database->lock);
	return result;
}
