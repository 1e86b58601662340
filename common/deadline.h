/*
 * Time-outs as points on the monotonic clock, so that a loop of partial reads cannot stretch one
 * and a stepped wall clock cannot break one.
 */
#ifndef POSTERN_DEADLINE_H
#define POSTERN_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

struct deadline {
	int64_t at_ms; /* INT64_MAX: never */
};

#define DEADLINE_NEVER ((struct deadline){INT64_MAX})

/* Milliseconds, microseconds on CLOCK_MONOTONIC. */
int64_t deadline_now_ms(void);
int64_t deadline_now_us(void);
/* MS from now; negative counts as 0. */
struct deadline deadline_in(int64_t ms);
bool deadline_passed(struct deadline deadline);
/* For poll(2): milliseconds left, 0 when passed, -1 when never, at most INT_MAX. */
int deadline_left_ms(struct deadline deadline);
/* The earlier of two. */
struct deadline deadline_min(struct deadline a, struct deadline b);

#endif
