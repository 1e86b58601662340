/*
 * Sliding counters by key: how much was charged to this key in the last window?
 *
 * A window is 24 slots; the usage is the running slot plus the 24 before it, so no interval of
 * window length can hold more than a limit that is enforced against it (a key may stay blocked
 * for at most 1/24 of the window longer than strictly needed). Not thread-safe: the caller locks.
 * Times are milliseconds of any monotonic clock; a call that comes a little late counts as the
 * latest one.
 */
#ifndef POSTERN_POLICYD_COUNTERS_H
#define POSTERN_POLICYD_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/result.h"

#define COUNTERS_SLOTS 24

struct counters;

/* WINDOW_MS > 0. At most MAX_KEYS > 0 keys are kept. NULL when out of memory. */
struct counters *counters_new(int64_t window_ms, size_t max_keys) MUST_CHECK;
void counters_free(struct counters **counters);
/* 0 for a key never charged, or not within the window. Never makes an entry. */
int64_t counters_usage(const struct counters *counters, const char *key, int64_t now_ms);
/*
 * Charges AMOUNT >= 0. Keys whose window has passed are forgotten on the way. At MAX_KEYS the key
 * that was charged longest ago makes room (counters_evicted() tells). False: out of memory,
 * nothing was charged.
 */
bool counters_add(struct counters *counters, const char *key, int64_t amount,
		  int64_t now_ms) MUST_CHECK;
size_t counters_keys(const struct counters *counters);
/* How many keys left before their time since the start. */
uint64_t counters_evicted(const struct counters *counters);

#endif
