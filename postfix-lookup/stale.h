/*
 * Which old answers may be given while the database is away. The rule and its reasons are in
 * stale.c.
 */
#ifndef POSTERN_STALE_H
#define POSTERN_STALE_H

#include "common/cache.h"

/* RESULT is the old answer (FOUND or NONE) to KEY in MAP. */
bool stale_serves(struct cache *cache, const char *map, const char *key, size_t len,
		  enum result result) MUST_CHECK;

#endif
