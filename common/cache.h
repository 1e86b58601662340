/*
 * Answers remembered for a while: positive, negative and stale lifetimes, bounded memory, least
 * recently used entries leave first. Thread-safe (sharded locks). Only FOUND and NONE are kept;
 * TEMP and PERM never are.
 */
#ifndef POSTERN_CACHE_H
#define POSTERN_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/result.h"

struct cache;

struct cache_limits {
	int64_t positive_ttl_ms, negative_ttl_ms; /* 0: that kind is not kept */
	int64_t stale_ttl_ms; /* how long beyond its ttl an entry may serve while the source is away
			       */
	int64_t max_bytes;    /* of keys, values and our own overhead; 0: nothing is kept */
};

enum cache_state { CACHE_MISS, CACHE_FRESH, CACHE_STALE };

/* NULL when out of memory. */
struct cache *cache_new(const struct cache_limits *limits);
void cache_free(struct cache **cache);
/* FRESH or STALE: *RESULT_R is FOUND or NONE, and the value of a FOUND is appended to VALUE_R. */
enum cache_state cache_get(struct cache *cache, const void *key, size_t key_len,
			   enum result *result_r, struct buf *value_r);
/*
 * Take a ticket before asking the source, and put the answer with it: an answer that was asked for
 * before a flush is not kept. Tickets of the same time are equal.
 */
uint64_t cache_ticket(struct cache *cache);
void cache_put(struct cache *cache, uint64_t ticket, const void *key, size_t key_len,
	       enum result result, const void *value, size_t value_len);
/* The same with a lifetime of its own instead of the limits'. */
void cache_put_for(struct cache *cache, uint64_t ticket, const void *key, size_t key_len,
		   enum result result, const void *value, size_t value_len, int64_t ttl_ms);
/*
 * Forgets the entries whose key MATCH finds (NULL: all of them), and returns how many those were.
 * MATCH is called with a lock held.
 */
typedef bool cache_match(const char *key, size_t len, const void *context);
size_t cache_flush(struct cache *cache, cache_match *match, const void *context);
struct cache_statistics {
	uint64_t entries, bytes, evictions;
};
void cache_statistics(struct cache *cache, struct cache_statistics *statistics_r);

#endif
