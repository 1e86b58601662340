/*
 * NAME
 *	host_metrics - a gauge for each database host
 * LIMITS
 *	HOSTS_MAX hosts, names of up to HOST_MAX bytes; more are not shown.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postfix-lookup/host_metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/metrics.h"

#define HOSTS_MAX 32
#define HOST_MAX  200

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct gauge {
	char host[HOST_MAX + 1];
	char labels[2 * HOST_MAX + 16];
	unsigned users;
	struct metric metric;
} gauges[HOSTS_MAX];

static struct gauge *find(const char *host)
{
	for (size_t i = 0; i < HOSTS_MAX; i++)
		if (gauges[i].users > 0 && strcmp(gauges[i].host, host) == 0)
			return &gauges[i];
	return NULL;
}

static void describe(struct gauge *gauge)
{
	char *to = gauge->labels + sprintf(gauge->labels, "host=\"");

	for (const char *from = gauge->host; *from; from++) {
		if (*from == '"' || *from == '\\')
			*to++ = '\\';
		*to++ = *from;
	}
	strcpy(to, "\"");
	gauge->metric = (struct metric){
		.name = "postern_db_up",
		.labels = gauge->labels,
		.help = "1 while the database host answers, else 0.",
		.type = "gauge",
	};
}

void host_metric_use(const char *host)
{
	struct gauge *gauge;

	pthread_mutex_lock(&lock);
	gauge = find(host);
	for (size_t i = 0; !gauge && strlen(host) <= HOST_MAX && i < HOSTS_MAX; i++) {
		if (gauges[i].users > 0)
			continue;
		gauge = &gauges[i];
		strcpy(gauge->host, host);
		describe(gauge);
	}
	if (gauge)
		gauge->users++;
	pthread_mutex_unlock(&lock);
}

void host_metric_release(const char *host)
{
	struct gauge *gauge;

	pthread_mutex_lock(&lock);
	gauge = find(host);
	if (gauge && --gauge->users == 0)
		metrics_unregister(&gauge->metric);
	pthread_mutex_unlock(&lock);
}

void host_metric_set(const char *host, bool up)
{
	struct gauge *gauge;

	pthread_mutex_lock(&lock);
	gauge = find(host);
	if (gauge) {
		metric_set(&gauge->metric, up);
		metrics_register(&gauge->metric);
	}
	pthread_mutex_unlock(&lock);
}
