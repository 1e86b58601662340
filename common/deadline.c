/*
 * deadline - points on the monotonic clock
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/deadline.h"

#include <limits.h>
#include <time.h>

int64_t deadline_now_us(void)
{
	struct timespec now;

	/* Cannot fail on Linux: the clock exists and the pointer is good. */
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t deadline_now_ms(void)
{
	return deadline_now_us() / 1000;
}

struct deadline deadline_in(int64_t ms)
{
	int64_t now = deadline_now_ms();

	if (ms < 0)
		ms = 0;
	if (ms > INT64_MAX - now)
		return DEADLINE_NEVER;
	return (struct deadline){now + ms};
}

bool deadline_passed(struct deadline deadline)
{
	return deadline.at_ms != INT64_MAX && deadline_now_ms() >= deadline.at_ms;
}

int deadline_left_ms(struct deadline deadline)
{
	int64_t now;

	if (deadline.at_ms == INT64_MAX)
		return -1;
	now = deadline_now_ms();
	if (deadline.at_ms <= now)
		return 0;
	if (deadline.at_ms - now > INT_MAX)
		return INT_MAX;
	return (int)(deadline.at_ms - now);
}

struct deadline deadline_min(struct deadline a, struct deadline b)
{
	return a.at_ms < b.at_ms ? a : b;
}
