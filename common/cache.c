/*
 * NAME
 *	cache - answers remembered for a while
 *
 * DESCRIPTION
 *	Sixteen shards, each a hash table with a list in order of age under its own lock. Keys come
 *	from the network, so the hash is SipHash with a random key: nobody can choose keys that
 *	collide.
 *
 *	An entry leaves when somebody asks and even its stale time is over, or when its shard is full
 *	and it is the oldest: one that was asked for since it came to the end of the list gets
 *	another turn instead (second chance). A hit so writes nothing but one flag.
 *
 * LIMITS
 *	An entry larger than a shard (a sixteenth of the whole) is not kept.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* A failed allocation inside uthash leaves the entry out; never exit(). */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "common/deadline.h"
#include "common/secret.h"

#define SHARDS         16
#define ENTRY_OVERHEAD (sizeof(struct entry) + 48) /* malloc's, and a share of the buckets */

struct entry {
	UT_hash_handle hh;
	struct entry *prev, *next; /* in order of age, the latest first */
	int64_t fresh_until_ms, stale_until_ms;
	enum result result;
	bool used; /* asked for in this turn */
	size_t key_len, value_len;
	char bytes[]; /* the key, then the value */
};

struct shard {
	pthread_mutex_t lock;
	struct entry *table;
	struct entry *order;
	size_t bytes;
};

struct cache {
	struct cache_limits limits;
	uint64_t seed[2];
	_Atomic uint64_t flushes; /* begun ever */
	_Atomic uint64_t bytes, entries, evictions;
	struct shard shards[SHARDS];
};

static uint64_t rotate(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 with the byte order of the machine: the value never leaves the process. */
static uint64_t hash_key(const struct cache *cache, const char *key, size_t len)
{
	uint64_t v[4] = {cache->seed[0] ^ 0x736f6d6570736575u, cache->seed[1] ^ 0x646f72616e646f6du,
			 cache->seed[0] ^ 0x6c7967656e657261u,
			 cache->seed[1] ^ 0x7465646279746573u};
	uint64_t word, last = (uint64_t)len << 56;
	size_t tail = len % 8;
	for (size_t at = 0; at < len - tail; at += 8) {
		memcpy(&word, key + at, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	for (size_t i = 0; i < tail; i++)
		last |= (uint64_t)(unsigned char)key[len - tail + i] << 8 * i;
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static size_t entry_bytes(size_t key_len, size_t value_len)
{
	return ENTRY_OVERHEAD + key_len + value_len;
}

/* Answers may be passwords. */
static void entry_free(struct entry *entry)
{
	if (entry == NULL)
		return;
	secret_wipe(entry->bytes, entry->key_len + entry->value_len);
	free(entry);
}

static void shard_remove(struct cache *cache, struct shard *shard, struct entry *entry)
{
	size_t bytes = entry_bytes(entry->key_len, entry->value_len);

	HASH_DEL(shard->table, entry);
	DL_DELETE(shard->order, entry);
	shard->bytes -= bytes;
	cache->bytes -= bytes;
	cache->entries--;
	entry_free(entry);
}

/* Makes room; ends, because each turn that it grants is used up. */
static void shard_evict(struct cache *cache, struct shard *shard)
{
	struct entry *oldest = shard->order->prev;

	if (!oldest->used) {
		shard_remove(cache, shard, oldest);
		cache->evictions++;
		return;
	}
	oldest->used = false;
	DL_DELETE(shard->order, oldest);
	DL_PREPEND(shard->order, oldest);
}

static struct entry *shard_find(struct shard *shard, const void *key, size_t key_len, unsigned hash)
{
	struct entry *entry = NULL;
	HASH_FIND_BYHASHVALUE(hh, shard->table, key, key_len, hash, entry);
	return entry;
}

static size_t shard_flush(struct cache *cache, struct shard *shard, cache_match *match,
			  const void *context)
{
	struct entry *entry, *next;
	size_t count = 0;

	DL_FOREACH_SAFE(shard->order, entry, next)
	{
		if (match != NULL && !match(entry->bytes, entry->key_len, context))
			continue;
		shard_remove(cache, shard, entry);
		count++;
	}
	return count;
}

struct cache *cache_new(const struct cache_limits *limits)
{
	struct cache *cache = calloc(1, sizeof(*cache));
	if (cache == NULL)
		return NULL;
	cache->limits = *limits;
	if (!secret_random(cache->seed, sizeof(cache->seed))) {
		free(cache);
		return NULL;
	}
	for (size_t i = 0; i < SHARDS; i++)
		pthread_mutex_init(&cache->shards[i].lock, NULL);
	return cache;
}

void cache_free(struct cache **cache)
{
	if (*cache == NULL)
		return;
	(void)cache_flush(*cache, NULL, NULL);
	for (size_t i = 0; i < SHARDS; i++)
		pthread_mutex_destroy(&(*cache)->shards[i].lock);
	free(*cache);
	*cache = NULL;
}

enum cache_state cache_get(struct cache *cache, const void *key, size_t key_len,
			   enum result *result_r, struct buf *value_r)
{
	uint64_t hash = hash_key(cache, key, key_len);
	struct shard *shard = &cache->shards[hash >> 32 & (SHARDS - 1)];
	enum cache_state state = CACHE_MISS;
	int64_t now = deadline_now_ms();

	pthread_mutex_lock(&shard->lock);
	struct entry *entry = shard_find(shard, key, key_len, (unsigned)hash);
	if (entry != NULL && now >= entry->fresh_until_ms && now >= entry->stale_until_ms) {
		shard_remove(cache, shard, entry);
		entry = NULL;
	}
	if (entry != NULL) {
		state = now < entry->fresh_until_ms ? CACHE_FRESH : CACHE_STALE;
		*result_r = entry->result;
		if (entry->result == RESULT_FOUND)
			buf_append(value_r, entry->bytes + entry->key_len, entry->value_len);
		if (!entry->used) /* else no write, which other processors would notice */
			entry->used = true;
	}
	pthread_mutex_unlock(&shard->lock);
	return state;
}

static struct entry *entry_new(const struct cache *cache, const void *key, size_t key_len,
			       enum result result, const void *value, size_t value_len,
			       int64_t ttl_ms)
{
	size_t most = (size_t)cache->limits.max_bytes / SHARDS;
	if (ttl_ms <= 0 || cache->limits.max_bytes <= 0 || key_len > most || value_len > most ||
	    entry_bytes(key_len, value_len) > most)
		return NULL;
	struct entry *entry = calloc(1, sizeof(*entry) + key_len + value_len);
	if (entry == NULL)
		return NULL;
	entry->result = result;
	entry->key_len = key_len;
	entry->value_len = value_len;
	entry->fresh_until_ms = deadline_now_ms() + ttl_ms;
	entry->stale_until_ms = entry->fresh_until_ms + cache->limits.stale_ttl_ms;
	memcpy(entry->bytes, key, key_len);
	if (value_len > 0)
		memcpy(entry->bytes + key_len, value, value_len);
	return entry;
}

uint64_t cache_ticket(struct cache *cache)
{
	return cache->flushes;
}

void cache_put(struct cache *cache, uint64_t ticket, const void *key, size_t key_len,
	       enum result result, const void *value, size_t value_len)
{
	cache_put_for(cache, ticket, key, key_len, result, value, value_len,
		      result == RESULT_FOUND ? cache->limits.positive_ttl_ms
					     : cache->limits.negative_ttl_ms);
}

void cache_put_for(struct cache *cache, uint64_t ticket, const void *key, size_t key_len,
		   enum result result, const void *value, size_t value_len, int64_t ttl_ms)
{
	if (result != RESULT_FOUND && result != RESULT_NONE)
		return;
	if (result == RESULT_NONE)
		value_len = 0;
	uint64_t hash = hash_key(cache, key, key_len);
	struct shard *shard = &cache->shards[hash >> 32 & (SHARDS - 1)];
	struct entry *entry = entry_new(cache, key, key_len, result, value, value_len, ttl_ms);
	size_t most = (size_t)cache->limits.max_bytes / SHARDS;

	pthread_mutex_lock(&shard->lock);
	/* A flush counts itself before it takes the lock of any shard. */
	if (ticket != cache->flushes) {
		pthread_mutex_unlock(&shard->lock);
		entry_free(entry);
		return;
	}
	/* The old answer is wrong now, even if the new one cannot be kept. */
	struct entry *old = shard_find(shard, key, key_len, (unsigned)hash);
	if (old != NULL)
		shard_remove(cache, shard, old);
	if (entry != NULL) {
		HASH_ADD_KEYPTR_BYHASHVALUE(hh, shard->table, entry->bytes, key_len, (unsigned)hash,
					    entry);
		if (entry->hh.tbl == NULL) {
			entry_free(entry);
		} else {
			DL_PREPEND(shard->order, entry);
			shard->bytes += entry_bytes(key_len, value_len);
			cache->bytes += entry_bytes(key_len, value_len);
			cache->entries++;
		}
	}
	while (shard->bytes > most && shard->order != NULL)
		shard_evict(cache, shard);
	pthread_mutex_unlock(&shard->lock);
}

size_t cache_flush(struct cache *cache, cache_match *match, const void *context)
{
	size_t count = 0;

	cache->flushes++;
	for (size_t i = 0; i < SHARDS; i++) {
		pthread_mutex_lock(&cache->shards[i].lock);
		count += shard_flush(cache, &cache->shards[i], match, context);
		pthread_mutex_unlock(&cache->shards[i].lock);
	}
	return count;
}

void cache_statistics(struct cache *cache, struct cache_statistics *statistics_r)
{
	*statistics_r = (struct cache_statistics){
		.entries = cache->entries,
		.bytes = cache->bytes,
		.evictions = cache->evictions,
	};
}
