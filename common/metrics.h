/*
 * Counters and duration histograms in Prometheus text, over HTTP at [metrics] listen, path
 * /metrics (and /healthz). Labels come from closed sets, never from addresses. Updating is one
 * atomic add, by each processor in a place of its own, lest they wait for each other.
 */
#ifndef POSTERN_METRICS_H
#define POSTERN_METRICS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/result.h"

#define METRIC_STRIPES 8  /* processors beyond that share */
#define METRIC_LINE    64 /* of the processor's cache */

struct metric_stripe {
	_Atomic int64_t value;
	char rest[METRIC_LINE - sizeof(int64_t)];
};

struct metric {             /* static, one for each label set; linked at first registration */
	const char *name;   /* "postern_lookup_requests_total" */
	const char *labels; /* "map=\"transport_maps\",result=\"found\"" or "" */
	const char *help;
	const char *type;      /* counter, gauge */
	_Atomic int64_t value; /* set; what was added is counted from there */
	struct metric *next;
	struct metric_stripe added[METRIC_STRIPES];
};
void metrics_register(struct metric *metric);
/* It is not printed any more; it may be registered again, with other labels. */
void metrics_unregister(struct metric *metric);
/* The place of the processor that we are on. */
size_t metric_stripe(void);
static inline void metric_add(struct metric *metric, int64_t amount)
{
	atomic_fetch_add_explicit(&metric->added[metric_stripe()].value, amount,
				  memory_order_relaxed);
}
/* Not of a metric that is added to. */
static inline void metric_set(struct metric *metric, int64_t value)
{
	atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

#define METRIC_BUCKETS 12
struct metric_histogram_stripe {
	/* The short times, which are most, are in one line with the sum. */
	alignas(METRIC_LINE) _Atomic uint64_t sum_microseconds;
	_Atomic uint64_t buckets[METRIC_BUCKETS + 1];
};
struct metric_histogram { /* static; seconds; buckets 0.0001 ... 10, +Inf */
	const char *name, *labels, *help;
	struct metric_histogram *next;
	struct metric_histogram_stripe stripes[METRIC_STRIPES];
};
void metrics_register_histogram(struct metric_histogram *histogram);
void metric_observe(struct metric_histogram *histogram, int64_t microseconds);

/* The exposition text of everything registered. */
void metrics_print(struct buf *out);
/* Starts the HTTP listener (its own thread, libmicrohttpd). LISTEN "": FOUND, nothing started. */
enum result metrics_start(const char *listen, struct error *err) MUST_CHECK;
void metrics_stop(void);

#endif
