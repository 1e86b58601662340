/* Which remembered answers an administrator's `postern flush KEY` is about. */
#ifndef POSTERN_FLUSH_H
#define POSTERN_FLUSH_H

#include "common/cache.h"

/*
 * Forgets, in every map, the answers to an ADDRESS (as typed, quoted or not, in any case, with any
 * extension), to a DOMAIN and all addresses in it, or to "all". FOUND: *COUNT_R is how many; PERM:
 * KEY is none of these. CACHE may be NULL: 0.
 */
enum result flush_answers(struct cache *cache, const char *key, size_t len, const char *delimiters,
			  size_t *count_r, struct error *err) MUST_CHECK;

#endif
