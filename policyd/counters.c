/*
 * NAME
 *	counters - sliding counters by key, in bounded memory
 *
 * DESCRIPTION
 *	A ring of 25 slots a key: the running one and 24 complete ones. Time is cut into slots
 *	of window / 24 (rounded up), counted from the clock's zero. The hash table keeps its
 *	entries in the order of their last charge, so both expiry and eviction look at the front
 *	only.
 *
 * LIMITS
 *	About 300 bytes a key. A slot and a sum hold at most INT64_MAX; they stay there.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "policyd/counters.h"

#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM        1
#define uthash_nonfatal_oom(elt) ((elt)->lost = true)
#include <uthash.h>

#define RING (COUNTERS_SLOTS + 1)

struct counter {
	int64_t last_slot; /* number of the youngest slot that was written */
	int64_t slots[RING];
	bool lost; /* the hash table had no memory for it */
	UT_hash_handle hh;
	char key[];
};

struct counters {
	struct counter *table;
	int64_t slot_ms;
	size_t max_keys;
	uint64_t evicted;
};

struct counters *counters_new(int64_t window_ms, size_t max_keys)
{
	struct counters *counters = calloc(1, sizeof(*counters));

	if (!counters)
		return NULL;
	counters->slot_ms = (window_ms + COUNTERS_SLOTS - 1) / COUNTERS_SLOTS;
	counters->max_keys = max_keys;
	return counters;
}

static void counter_drop(struct counters *counters, struct counter *counter)
{
	HASH_DEL(counters->table, counter);
	free(counter);
}

void counters_free(struct counters **counters)
{
	if (!*counters)
		return;
	while ((*counters)->table)
		counter_drop(*counters, (*counters)->table);
	free(*counters);
	*counters = NULL;
}

static struct counter *counter_find(const struct counters *counters, const char *key)
{
	struct counter *counter;

	HASH_FIND(hh, counters->table, key, strlen(key), counter);
	return counter;
}

static int64_t add_capped(int64_t a, int64_t b)
{
	return a > INT64_MAX - b ? INT64_MAX : a + b;
}

int64_t counters_usage(const struct counters *counters, const char *key, int64_t now_ms)
{
	const struct counter *counter = counter_find(counters, key);
	const int64_t slot = now_ms / counters->slot_ms;
	int64_t usage = 0;

	if (!counter)
		return 0;
	for (int64_t number = slot - COUNTERS_SLOTS; number <= counter->last_slot; number++)
		if (number > counter->last_slot - RING && number >= 0)
			usage = add_capped(usage, counter->slots[number % RING]);
	return usage;
}

static bool counter_expired(const struct counter *counter, int64_t slot)
{
	return counter->last_slot < slot - COUNTERS_SLOTS;
}

static struct counter *counter_make(struct counters *counters, const char *key, int64_t slot)
{
	const size_t len = strlen(key);
	struct counter *counter = calloc(1, sizeof(*counter) + len + 1);

	if (!counter)
		return NULL;
	memcpy(counter->key, key, len + 1);
	counter->last_slot = slot;
	HASH_ADD_KEYPTR(hh, counters->table, counter->key, len, counter);
	if (counter->lost) {
		free(counter);
		return NULL;
	}
	return counter;
}

/* Empties the slots that the clock passed since the last charge. Threads may come a little late. */
static void counter_advance(struct counter *counter, int64_t slot)
{
	if (slot <= counter->last_slot)
		return;
	if (slot - counter->last_slot >= RING)
		memset(counter->slots, 0, sizeof(counter->slots));
	else
		for (int64_t number = counter->last_slot + 1; number <= slot; number++)
			counter->slots[number % RING] = 0;
	counter->last_slot = slot;
}

bool counters_add(struct counters *counters, const char *key, int64_t amount, int64_t now_ms)
{
	const int64_t slot = now_ms / counters->slot_ms;
	struct counter *counter;
	int64_t *into;

	while (counters->table && counter_expired(counters->table, slot))
		counter_drop(counters, counters->table);
	counter = counter_find(counters, key);
	if (!counter) {
		if (HASH_COUNT(counters->table) >= counters->max_keys) {
			counter_drop(counters, counters->table);
			counters->evicted++;
		}
		counter = counter_make(counters, key, slot);
		if (!counter)
			return false;
	} else {
		HASH_DEL(counters->table, counter);
		HASH_ADD_KEYPTR(hh, counters->table, counter->key, strlen(counter->key), counter);
		if (counter->lost) {
			free(counter);
			return false;
		}
		counter_advance(counter, slot);
	}
	into = &counter->slots[counter->last_slot % RING];
	*into = add_capped(*into, amount);
	return true;
}

size_t counters_keys(const struct counters *counters)
{
	return HASH_COUNT(counters->table);
}

uint64_t counters_evicted(const struct counters *counters)
{
	return counters->evicted;
}
