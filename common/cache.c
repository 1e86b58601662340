/*
 * NAME
 *	cache - answers remembered for a while
 *
 * DESCRIPTION
 *	Shards, each a hash table under a lock of its own. Keys come from the network, so the hash is
 *	SipHash with a random key: nobody can choose keys that collide.
 *
 *	A table is one array of slots in the order of the hash; who finds its slot taken is in the
 *	next free one (linear probing). A slot has the hash beside the pointer, so that a search
 *	reads no entry but the one it is for, and growing and closing gaps read none at all. A hit
 *	costs the shard's lock, a line of slots and the two lines of a usual entry.
 *
 *	An entry leaves when somebody asks and even its stale time is over, or when its shard is full
 *	and the hand, which goes round the slots, comes to it: one that was asked for since the hand
 *	last came gets another turn instead (second chance). A hit so writes nothing but one flag.
 *
 *	What is counted against the limit: the slots, and an entry as malloc(3) rounds it up. A
 *	table grows only where that pushes nothing out.
 *
 * LIMITS
 *	An entry larger than a shard is not kept: a sixteenth of the whole, or a megabyte or two. While
 *	a table grows there is the old one, too, which is not counted.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/cache.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "common/deadline.h"
#include "common/secret.h"

#define SHARDS_MIN  16
#define SHARDS_MAX  4096
#define SHARD_BYTES ((size_t)2 << 20) /* more only if there are shards enough */
#define SLOTS_MIN   8
#define LINE        64 /* of the processor's cache */

struct entry {
	int64_t fresh_until_ms;
	uint32_t key_len, value_len;
	bool found;
	char bytes[]; /* the key, then the value */
};

struct slot {
	struct entry *entry; /* NULL: free */
	uint32_t hash;
	bool used; /* asked for since the hand came */
};

struct shard {
	/* One line: what a hit needs. */
	alignas(LINE) pthread_mutex_t lock;
	struct slot *slots;
	size_t size;  /* a power of two, or 0 */
	size_t count; /* at most three quarters of that */
	size_t bytes;
	size_t hand;
};

struct cache {
	struct cache_limits limits;
	uint64_t seed[2];
	size_t shard_count;       /* a power of two */
	_Atomic uint64_t flushes; /* begun ever */
	alignas(LINE) _Atomic uint64_t bytes;
	_Atomic uint64_t entries, evictions;
	struct shard shards[];
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

/* Of each shard. */
static size_t shard_limit(const struct cache *cache)
{
	return cache->limits.max_bytes > 0 ? (size_t)cache->limits.max_bytes / cache->shard_count
					   : 0;
}

/* Of an entry with malloc's own word, in malloc's steps. */
static size_t entry_bytes(size_t key_len, size_t value_len)
{
	return (offsetof(struct entry, bytes) + key_len + value_len + sizeof(size_t) + 15) & ~15ul;
}

/* Answers may be passwords. */
static void entry_free(struct entry *entry)
{
	if (entry == NULL)
		return;
	secret_wipe(entry->bytes, (size_t)entry->key_len + entry->value_len);
	free(entry);
}

static void count_bytes(struct cache *cache, struct shard *shard, size_t more, size_t less)
{
	shard->bytes += more - less;
	cache->bytes += more - less;
}

static size_t next_slot(const struct shard *shard, size_t at)
{
	return (at + 1) & (shard->size - 1);
}

/* Where a search begins. */
static size_t home_slot(const struct shard *shard, uint32_t hash)
{
	return (size_t)((uint64_t)hash * shard->size >> 32);
}

static size_t free_slot(const struct shard *shard, uint32_t hash)
{
	size_t at = home_slot(shard, hash);

	while (shard->slots[at].entry != NULL)
		at = next_slot(shard, at);
	return at;
}

static struct slot *shard_find(const struct shard *shard, const void *key, size_t key_len,
			       uint32_t hash)
{
	if (shard->count == 0)
		return NULL;
	for (size_t at = home_slot(shard, hash);; at = next_slot(shard, at)) {
		struct slot *slot = &shard->slots[at];
		const struct entry *entry = slot->entry;

		if (entry == NULL)
			return NULL;
		if (slot->hash != hash)
			continue;
		if (entry->key_len == key_len && memcmp(entry->bytes, key, key_len) == 0)
			return slot;
	}
}

/* False: out of memory, nothing has changed. */
static bool shard_resize(struct cache *cache, struct shard *shard, size_t size)
{
	struct slot *slots = calloc(size, sizeof(*slots)), *old = shard->slots;
	size_t old_size = shard->size;

	if (slots == NULL)
		return false;
	shard->slots = slots;
	shard->size = size;
	for (size_t i = 0; i < old_size; i++)
		if (old[i].entry != NULL)
			slots[free_slot(shard, old[i].hash)] = old[i];
	shard->hand = old_size > 0 ? shard->hand * size / old_size : 0;
	count_bytes(cache, shard, size * sizeof(*slots), old_size * sizeof(*slots));
	free(old);
	return true;
}

/* Gives back what a table is too large by. */
static void shard_shrink(struct cache *cache, struct shard *shard)
{
	size_t size = shard->size;

	while (size > SLOTS_MIN && shard->count < size / 8)
		size /= 2;
	if (size < shard->size)
		(void)shard_resize(cache, shard, size);
}

/* Moves back whoever would not be found behind a gap. */
static void shard_close_gap(struct shard *shard, size_t gap)
{
	struct slot *slots = shard->slots;
	size_t mask = shard->size - 1;

	for (size_t at = next_slot(shard, gap); slots[at].entry != NULL;
	     at = next_slot(shard, at)) {
		size_t home = home_slot(shard, slots[at].hash);

		if (((at - home) & mask) < ((at - gap) & mask))
			continue;
		slots[gap] = slots[at];
		gap = at;
	}
	slots[gap] = (struct slot){0};
}

static void shard_remove(struct cache *cache, struct shard *shard, struct slot *slot)
{
	struct entry *entry = slot->entry;

	count_bytes(cache, shard, 0, entry_bytes(entry->key_len, entry->value_len));
	entry_free(entry);
	cache->entries--;
	shard->count--;
	shard_close_gap(shard, (size_t)(slot - shard->slots));
	if (shard->count > 0)
		return;
	count_bytes(cache, shard, 0, shard->size * sizeof(*slot));
	free(shard->slots);
	shard->slots = NULL;
	shard->size = shard->hand = 0;
}

/* The shard is not empty. Ends, because each turn that it grants is used up. */
static void shard_evict(struct cache *cache, struct shard *shard)
{
	struct slot *slot = &shard->slots[shard->hand];

	while (slot->entry == NULL || slot->used) {
		slot->used = false;
		shard->hand = next_slot(shard, shard->hand);
		slot = &shard->slots[shard->hand];
	}
	shard_remove(cache, shard, slot);
	cache->evictions++;
}

/* A free slot, and so many bytes below the limit. False: out of memory, or they never fit. */
static bool shard_make_room(struct cache *cache, struct shard *shard, size_t bytes)
{
	for (;;) {
		bool full = shard->count >= shard->size / 4 * 3;
		size_t size = shard->size == 0 ? SLOTS_MIN : 2 * shard->size;
		size_t more = full ? (size - shard->size) * sizeof(struct slot) : 0;

		if (shard->bytes + bytes + more <= shard_limit(cache))
			return !full || shard_resize(cache, shard, size);
		if (shard->count == 0)
			return false;
		shard_evict(cache, shard);
		shard_shrink(cache, shard);
	}
}

static void shard_add(struct cache *cache, struct shard *shard, struct entry *entry, uint32_t hash)
{
	size_t bytes = entry_bytes(entry->key_len, entry->value_len);

	if (!shard_make_room(cache, shard, bytes)) {
		entry_free(entry);
		return;
	}
	shard->slots[free_slot(shard, hash)] = (struct slot){.entry = entry, .hash = hash};
	shard->count++;
	cache->entries++;
	count_bytes(cache, shard, bytes, 0);
}

static size_t shard_flush(struct cache *cache, struct shard *shard, cache_match *match,
			  const void *context)
{
	size_t count = 0, at = 0;

	while (at < shard->size) {
		struct slot *slot = &shard->slots[at];
		const struct entry *entry = slot->entry;

		if (entry == NULL || (match && !match(entry->bytes, entry->key_len, context))) {
			at++;
			continue;
		}
		/* The gap may be closed by one that was not looked at yet: not on to the next. */
		shard_remove(cache, shard, slot);
		count++;
	}
	shard_shrink(cache, shard);
	return count;
}

static size_t count_shards(const struct cache_limits *limits)
{
	size_t count = SHARDS_MIN;

	while (count < SHARDS_MAX && limits->max_bytes / (int64_t)count > (int64_t)SHARD_BYTES)
		count *= 2;
	return count;
}

struct cache *cache_new(const struct cache_limits *limits)
{
	size_t count = count_shards(limits);
	size_t size = sizeof(struct cache) + count * sizeof(struct shard);
	struct cache *cache = aligned_alloc(LINE, size);

	if (cache == NULL)
		return NULL;
	memset(cache, 0, size);
	cache->limits = *limits;
	cache->shard_count = count;
	if (!secret_random(cache->seed, sizeof(cache->seed))) {
		free(cache);
		return NULL;
	}
	for (size_t i = 0; i < count; i++)
		pthread_mutex_init(&cache->shards[i].lock, NULL);
	return cache;
}

void cache_free(struct cache **cache)
{
	if (*cache == NULL)
		return;
	(void)cache_flush(*cache, NULL, NULL);
	for (size_t i = 0; i < (*cache)->shard_count; i++)
		pthread_mutex_destroy(&(*cache)->shards[i].lock);
	free(*cache);
	*cache = NULL;
}

/* The slots take the lower half of the hash. */
static struct shard *shard_of(struct cache *cache, uint64_t hash)
{
	return &cache->shards[hash >> 32 & (cache->shard_count - 1)];
}

enum cache_state cache_get(struct cache *cache, const void *key, size_t key_len,
			   enum result *result_r, struct buf *value_r)
{
	uint64_t hash = hash_key(cache, key, key_len);
	struct shard *shard = shard_of(cache, hash);
	enum cache_state state = CACHE_MISS;
	int64_t now = deadline_now_ms();

	pthread_mutex_lock(&shard->lock);
	struct slot *slot = shard_find(shard, key, key_len, (uint32_t)hash);
	if (slot != NULL && now < slot->entry->fresh_until_ms)
		state = CACHE_FRESH;
	else if (slot != NULL && now < slot->entry->fresh_until_ms + cache->limits.stale_ttl_ms)
		state = CACHE_STALE;
	else if (slot != NULL)
		shard_remove(cache, shard, slot);
	if (state != CACHE_MISS) {
		const struct entry *entry = slot->entry;

		*result_r = entry->found ? RESULT_FOUND : RESULT_NONE;
		if (entry->found)
			buf_append(value_r, entry->bytes + key_len, entry->value_len);
		if (!slot->used) /* else no write, which other processors would notice */
			slot->used = true;
	}
	pthread_mutex_unlock(&shard->lock);
	return state;
}

/* NULL: it is not to be kept, or out of memory. */
static struct entry *entry_new(const struct cache *cache, const void *key, size_t key_len,
			       enum result result, const void *value, size_t value_len,
			       int64_t ttl_ms)
{
	size_t most = shard_limit(cache);

	if (ttl_ms <= 0 || key_len > UINT32_MAX || value_len > UINT32_MAX || key_len > most ||
	    value_len > most || entry_bytes(key_len, value_len) > most)
		return NULL;
	struct entry *entry = malloc(offsetof(struct entry, bytes) + key_len + value_len);
	if (entry == NULL)
		return NULL;
	entry->fresh_until_ms = deadline_now_ms() + ttl_ms;
	entry->key_len = (uint32_t)key_len;
	entry->value_len = (uint32_t)value_len;
	entry->found = result == RESULT_FOUND;
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
	struct shard *shard = shard_of(cache, hash);
	struct entry *entry = entry_new(cache, key, key_len, result, value, value_len, ttl_ms);

	pthread_mutex_lock(&shard->lock);
	/* A flush counts itself before it takes the lock of any shard. */
	if (ticket != cache->flushes) {
		pthread_mutex_unlock(&shard->lock);
		entry_free(entry);
		return;
	}
	/* The old answer is wrong now, even if the new one cannot be kept. */
	struct slot *old = shard_find(shard, key, key_len, (uint32_t)hash);
	if (old != NULL)
		shard_remove(cache, shard, old);
	if (entry != NULL)
		shard_add(cache, shard, entry, (uint32_t)hash);
	pthread_mutex_unlock(&shard->lock);
}

size_t cache_flush(struct cache *cache, cache_match *match, const void *context)
{
	size_t count = 0;

	cache->flushes++;
	for (size_t i = 0; i < cache->shard_count; i++) {
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
