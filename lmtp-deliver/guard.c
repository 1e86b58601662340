/*
 * guard - stored messages without a confirmed reply
 *
 * The list is in order of age, so those that are too old are at its head. Usually it is short: a
 * client that goes on confirms.
 *
 * The content goes into the key by way of a quick sum: a cryptographic hash of a large message
 * costs as much as storing it, and whoever makes two of his own messages look equal only robs
 * himself of the second.
 *
 * Limits: GUARD_MAX entries, the oldest leave first; in memory only, so a restart forgets them.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "lmtp-deliver/guard.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "common/deadline.h"

#define GUARD_MAX 10000

struct entry {
	struct guard_key key;
	uint64_t transaction;
	struct deadline until;
	struct entry *prev, *next;
	UT_hash_handle hh;
};

static struct {
	pthread_mutex_t lock;
	struct entry *table, *order;
	size_t count;
} guard = {.lock = PTHREAD_MUTEX_INITIALIZER};

uint64_t guard_transaction(void)
{
	static _Atomic uint64_t last;

	return ++last;
}

static void add(crypto_generichash_state *state, const void *data, size_t len)
{
	uint64_t size = len;

	/* Lengths keep the parts apart. */
	(void)crypto_generichash_update(state, (const unsigned char *)&size, sizeof(size));
	(void)crypto_generichash_update(state, data, len);
}

void guard_key_make(const struct envelope *envelope, const struct message *message,
		    const struct recipient *recipient, struct guard_key *key_r)
{
	const char *id = envelope->queue_id && *envelope->queue_id ? envelope->queue_id
								   : buf_str(&message->message_id);
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, NULL, 0, sizeof(key_r->bytes));
	add(&state, id, strlen(id));
	add(&state, envelope->sender, strlen(envelope->sender));
	add(&state, buf_str(&recipient->address), recipient->address.len);
	add(&state, &message->size, sizeof(message->size));
	add(&state, message->sum.lanes, sizeof(message->sum.lanes));
	add(&state, message->sum.rest, message->sum.rest_len);
	(void)crypto_generichash_final(&state, key_r->bytes, sizeof(key_r->bytes));
}

static void forget(struct entry *entry)
{
	HASH_DEL(guard.table, entry);
	DL_DELETE(guard.order, entry);
	guard.count--;
	free(entry);
}

static struct entry *find(const struct guard_key *key)
{
	struct entry *entry;

	HASH_FIND(hh, guard.table, key, sizeof(*key), entry);
	return entry;
}

static void forget_old(void)
{
	while (guard.order && (guard.count > GUARD_MAX || deadline_passed(guard.order->until)))
		forget(guard.order);
}

bool guard_holds(const struct guard_key *key, uint64_t transaction)
{
	const struct entry *entry;
	bool holds;

	pthread_mutex_lock(&guard.lock);
	forget_old();
	entry = find(key);
	holds = entry && entry->transaction != transaction;
	pthread_mutex_unlock(&guard.lock);
	return holds;
}

void guard_stored(const struct guard_key *key, uint64_t transaction, int64_t ttl_ms)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return;
	entry->key = *key;
	entry->transaction = transaction;
	entry->until = deadline_in(ttl_ms);
	pthread_mutex_lock(&guard.lock);
	if (!find(key))
		HASH_ADD(hh, guard.table, key, sizeof(entry->key), entry);
	if (entry->hh.tbl) {
		DL_APPEND(guard.order, entry);
		guard.count++;
	} else {
		free(entry);
	}
	forget_old();
	pthread_mutex_unlock(&guard.lock);
}

void guard_confirm(uint64_t transaction)
{
	struct entry *entry, *next;

	pthread_mutex_lock(&guard.lock);
	DL_FOREACH_SAFE(guard.order, entry, next)
	if (entry->transaction == transaction)
		forget(entry);
	pthread_mutex_unlock(&guard.lock);
}

void guard_clear(void)
{
	pthread_mutex_lock(&guard.lock);
	while (guard.order)
		forget(guard.order);
	pthread_mutex_unlock(&guard.lock);
}
