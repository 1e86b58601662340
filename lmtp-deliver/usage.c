/*
 * usage - a queue of mailboxes whose usage is to be published, and the thread that does it
 *
 * The queue belongs to the process: a reload starts a second thread with new settings, which takes
 * over, and ends the first. An entry stays in the queue until it is written, so that a database
 * that is away costs nothing but time.
 *
 * Limits: QUEUE_MAX mailboxes, then the one that waits longest is dropped; its next delivery brings
 * it back. What one mailbox makes impossible (PERM) is dropped, too.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "common/metrics.h"
#include "lmtp-deliver/usage.h"

/* uthash may fail to grow; the entry is then not added (its handle stays empty). */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define QUEUE_MAX 65536
#define BATCH_MAX 100 /* mailboxes in one transaction */

struct entry {
	UT_hash_handle hh;
	struct usage usage;
	char address[];
};

struct publisher {
	const struct settings *settings;
	struct accounts *accounts; /* the thread's */
	pthread_t thread;
	bool stopping, last;
	bool failing; /* the thread's: it was logged */
	struct publisher *older;
};

struct batch {
	struct account_usage usages[BATCH_MAX]; /* addresses are copies */
	size_t count;
};

/* Guards all that follows and publisher.stopping; never held during a question. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_once_t changed_once = PTHREAD_ONCE_INIT;
static struct entry *queue; /* the one that waits longest first */
static struct publisher *newest;
static bool collecting;

static struct metric published = {
	.name = "postern_lmtp_usage_published_total",
	.labels = "",
	.help = "Mailboxes whose usage was written into the database.",
	.type = "counter",
};
static struct metric dropped = {
	.name = "postern_lmtp_usage_dropped_total",
	.labels = "",
	.help = "Mailboxes whose usage was not written: too many waited, or the database refused.",
	.type = "counter",
};
static struct metric waiting = {
	.name = "postern_lmtp_usage_waiting",
	.labels = "",
	.help = "Mailboxes whose usage waits to be written.",
	.type = "gauge",
};

void usage_metrics(void)
{
	metrics_register(&published);
	metrics_register(&dropped);
	metrics_register(&waiting);
}

static void make_condition(void)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attributes);
	pthread_condattr_destroy(&attributes);
}

static void remove_entry(struct entry *entry)
{
	HASH_DEL(queue, entry);
	free(entry);
}

/* With the lock held. */
static void add_entry(const char *address, const struct usage *usage)
{
	size_t len = strlen(address);
	struct entry *entry;

	HASH_FIND(hh, queue, address, len, entry);
	if (entry) {
		entry->usage = *usage;
		return;
	}
	if (HASH_COUNT(queue) >= QUEUE_MAX) {
		remove_entry(queue);
		metric_add(&dropped, 1);
	}
	entry = calloc(1, sizeof(*entry) + len + 1);
	if (entry) {
		entry->usage = *usage;
		memcpy(entry->address, address, len);
		HASH_ADD_KEYPTR(hh, queue, entry->address, len, entry);
	}
	if (!entry || !entry->hh.tbl) {
		free(entry);
		metric_add(&dropped, 1);
	}
}

void usage_note(const char *address, int64_t bytes, int64_t messages)
{
	const struct usage usage = {.bytes = bytes, .messages = messages};

	pthread_mutex_lock(&lock);
	if (newest || collecting) {
		add_entry(address, &usage);
		metric_set(&waiting, HASH_COUNT(queue));
	}
	pthread_mutex_unlock(&lock);
}

/* Copies up to MAX entries that wait longest. */
static void take_batch(struct batch *batch, size_t max)
{
	batch->count = 0;
	pthread_mutex_lock(&lock);
	for (struct entry *entry = queue; entry && batch->count < max && batch->count < BATCH_MAX;
	     entry = entry->hh.next) {
		char *address = strdup(entry->address);

		if (!address)
			break;
		batch->usages[batch->count++] =
			(struct account_usage){.address = address, .usage = entry->usage};
	}
	pthread_mutex_unlock(&lock);
}

static void free_batch(struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		free((char *)batch->usages[i].address);
	batch->count = 0;
}

/* Those that are done leave the queue, unless their usage is another one by now. */
static void settle(const struct account_usage *usages, size_t count)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count; i++) {
		struct entry *entry;

		HASH_FIND(hh, queue, usages[i].address, strlen(usages[i].address), entry);
		if (entry && entry->usage.bytes == usages[i].usage.bytes &&
		    entry->usage.messages == usages[i].usage.messages)
			remove_entry(entry);
	}
	metric_set(&waiting, HASH_COUNT(queue));
	pthread_mutex_unlock(&lock);
}

/* One mailbox must not keep back others. */
static enum result write_one_by_one(struct publisher *publisher, const struct batch *batch,
				    struct error *err)
{
	static struct log_limit limit = {.interval_ms = 60000};

	for (size_t i = 0; i < batch->count; i++) {
		enum result result =
			accounts_publish_usage(publisher->accounts, &batch->usages[i], 1, err);

		if (result == RESULT_TEMP)
			return result;
		if (result == RESULT_FOUND) {
			metric_add(&published, 1);
		} else {
			metric_add(&dropped, 1);
			log_limited(&limit, LOG_LEVEL_ERROR,
				    "usage not published account=<%s> reason=<%s>",
				    batch->usages[i].address, err->text);
		}
		settle(&batch->usages[i], 1);
	}
	return RESULT_FOUND;
}

static enum result write_batch(struct publisher *publisher, const struct batch *batch,
			       struct error *err)
{
	enum result result =
		accounts_publish_usage(publisher->accounts, batch->usages, batch->count, err);

	if (result == RESULT_FOUND) {
		metric_add(&published, (int64_t)batch->count);
		settle(batch->usages, batch->count);
	} else if (result != RESULT_TEMP) {
		result = write_one_by_one(publisher, batch, err);
	}
	return result;
}

static void log_change(struct publisher *publisher, enum result result, const struct error *err)
{
	bool failing = result != RESULT_FOUND;

	if (failing && !publisher->failing)
		log_warning("usage not published now, the latest values are kept reason=<%s>",
			    err->text);
	else if (!failing && publisher->failing)
		log_info("usage is published again");
	publisher->failing = failing;
}

/* What waits at this moment; what comes in meanwhile is for the next time. */
static void publish(struct publisher *publisher)
{
	struct error err = {0};
	struct batch batch;
	enum result result = RESULT_FOUND;
	size_t left;

	pthread_mutex_lock(&lock);
	left = HASH_COUNT(queue);
	pthread_mutex_unlock(&lock);
	if (left == 0)
		return;
	while (result == RESULT_FOUND && left > 0) {
		take_batch(&batch, left);
		if (batch.count == 0)
			break;
		left -= batch.count;
		result = write_batch(publisher, &batch, &err);
		free_batch(&batch);
	}
	log_change(publisher, result, &err);
}

static struct timespec time_in(int64_t ms)
{
	struct timespec at;

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += ms % 1000 * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

static void *publisher_main(void *argument)
{
	struct publisher *publisher = argument;
	bool stopping = false;

	while (!stopping) {
		struct timespec at = time_in(publisher->settings->quota.publish_interval);
		bool mine;

		pthread_mutex_lock(&lock);
		while (!publisher->stopping &&
		       pthread_cond_timedwait(&changed, &lock, &at) != ETIMEDOUT)
			;
		stopping = publisher->stopping;
		mine = stopping ? publisher->last : publisher == newest;
		pthread_mutex_unlock(&lock);
		if (mine)
			publish(publisher);
	}
	accounts_free(&publisher->accounts);
	sql_library_thread_end();
	return NULL;
}

enum result usage_start(const struct settings *settings, const struct schema *schema,
			struct error *err)
{
	struct publisher *publisher;
	enum result result;
	int code;

	if (!settings->quota.publish)
		return RESULT_FOUND;
	result = accounts_usage_place(schema, err);
	if (result != RESULT_FOUND)
		return result;
	publisher = calloc(1, sizeof(*publisher));
	if (!publisher)
		return result_error(err, RESULT_TEMP, "out of memory");
	publisher->settings = settings;
	result = accounts_open(settings, schema, &publisher->accounts, err);
	if (result != RESULT_FOUND) {
		free(publisher);
		return result;
	}
	(void)pthread_once(&changed_once, make_condition);
	pthread_mutex_lock(&lock);
	publisher->older = newest;
	code = pthread_create(&publisher->thread, NULL, publisher_main, publisher);
	if (code == 0)
		newest = publisher;
	pthread_mutex_unlock(&lock);
	if (code == 0)
		return RESULT_FOUND;
	accounts_free(&publisher->accounts);
	free(publisher);
	return result_error(err, RESULT_TEMP, "cannot start a thread: %s", strerror(code));
}

static void drop_queue(void)
{
	struct entry *entry, *next;
	size_t count = HASH_COUNT(queue);

	HASH_ITER (hh, queue, entry, next) {
		remove_entry(entry);
	}
	if (count > 0)
		log_warning("usage not published, given up accounts=%zu", count);
	metric_add(&dropped, (int64_t)count);
	metric_set(&waiting, 0);
}

void usage_stop(const struct settings *settings)
{
	struct publisher *publisher, **link;

	pthread_mutex_lock(&lock);
	for (publisher = newest; publisher && publisher->settings != settings;)
		publisher = publisher->older;
	if (publisher) {
		publisher->stopping = true;
		publisher->last = publisher == newest && !publisher->older;
		pthread_cond_broadcast(&changed);
	}
	pthread_mutex_unlock(&lock);
	if (!publisher)
		return;
	(void)pthread_join(publisher->thread, NULL);
	pthread_mutex_lock(&lock);
	for (link = &newest; *link != publisher;)
		link = &(*link)->older;
	*link = publisher->older;
	if (!newest)
		drop_queue();
	pthread_mutex_unlock(&lock);
	free(publisher);
}

void usage_collect(void)
{
	pthread_mutex_lock(&lock);
	collecting = true;
	pthread_mutex_unlock(&lock);
}

bool usage_take(struct account_usage *usage_r)
{
	struct batch batch;

	take_batch(&batch, 1);
	if (batch.count == 0)
		return false;
	*usage_r = batch.usages[0];
	settle(usage_r, 1);
	return true;
}
