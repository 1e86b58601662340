/*
 * stuck_clock - LD_PRELOAD: for a program the time of day stands still at STUCK_CLOCK seconds, and
 * every process has the id 77, as after a clock that was set back, or in two containers. Clocks that
 * measure time-outs go on.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t stuck(void)
{
	const char *value = getenv("STUCK_CLOCK");

	return value ? (time_t)strtoll(value, NULL, 10) : 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
		return (int)syscall(SYS_clock_gettime, clock, ts);
	ts->tv_sec = stuck();
	ts->tv_nsec = 123456789;
	return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	(void)zone;
	tv->tv_sec = stuck();
	tv->tv_usec = 123456;
	return 0;
}

time_t time(time_t *out)
{
	if (out)
		*out = stuck();
	return stuck();
}

pid_t getpid(void)
{
	return 77;
}
