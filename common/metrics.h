/*
 * Counters and duration histograms in Prometheus text, over HTTP at [metrics] listen, path
 * /metrics (and /healthz). Labels come from closed sets, never from addresses. Updating is one
 * atomic add.
 */
#ifndef POSTERN_METRICS_H
#define POSTERN_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/result.h"

struct metric {             /* static, one for each label set; linked at first registration */
	const char *name;   /* "postern_lookup_requests_total" */
	const char *labels; /* "map=\"transport_maps\",result=\"found\"" or "" */
	const char *help;
	const char *type; /* counter, gauge */
	_Atomic int64_t value;
	struct metric *next;
};
void metrics_register(struct metric *metric);
/* It is not printed any more; it may be registered again, with other labels. */
void metrics_unregister(struct metric *metric);
static inline void metric_add(struct metric *metric, int64_t amount)
{
	atomic_fetch_add_explicit(&metric->value, amount, memory_order_relaxed);
}
static inline void metric_set(struct metric *metric, int64_t value)
{
	atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

#define METRIC_BUCKETS 12
struct metric_histogram { /* seconds; buckets 0.0001 ... 10, +Inf */
	const char *name, *labels, *help;
	_Atomic uint64_t buckets[METRIC_BUCKETS + 1];
	_Atomic uint64_t sum_microseconds;
	struct metric_histogram *next;
};
void metrics_register_histogram(struct metric_histogram *histogram);
void metric_observe(struct metric_histogram *histogram, int64_t microseconds);

/* The exposition text of everything registered. */
void metrics_print(struct buf *out);
/* Starts the HTTP listener (its own thread, libmicrohttpd). LISTEN "": FOUND, nothing started. */
enum result metrics_start(const char *listen, struct error *err) MUST_CHECK;
void metrics_stop(void);

#endif
