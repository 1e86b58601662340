/*
 * NAME
 *	metrics - counters and histograms in Prometheus text, over HTTP
 *
 * PROTOCOL
 *	GET or HEAD of /metrics (text format 0.0.4) and /healthz ("ok": the process lives; whether
 *	the database answers is told by a counter). Anything else is 404 or 405.
 *
 * LIMITS
 *	64 connections, ten seconds of silence each.
 *
 * BUGS
 *	A scrape is no snapshot: counters may move while it is printed.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/metrics.h"

#include <microhttpd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#include "common/endpoint.h"
#include "common/log.h"

static const int64_t bounds_us[METRIC_BUCKETS] = {
	100, 250, 500, 1000, 2500, 5000, 10000, 50000, 100000, 500000, 1000000, 10000000,
};
static const char *const bounds_text[METRIC_BUCKETS + 1] = {
	"0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01",
	"0.05",   "0.1",     "0.5",    "1",     "10",     "+Inf",
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the two lists */
static struct metric *metrics;
static struct metric_histogram *histograms;

static struct MHD_Daemon *server;
static struct endpoint *server_endpoints;
static size_t server_endpoint_count;

void metrics_register(struct metric *metric)
{
	pthread_mutex_lock(&lock);
	struct metric **last = &metrics;
	while (*last != NULL && *last != metric)
		last = &(*last)->next;
	if (*last == NULL) {
		metric->next = NULL;
		*last = metric;
	}
	pthread_mutex_unlock(&lock);
}

void metrics_unregister(struct metric *metric)
{
	pthread_mutex_lock(&lock);
	struct metric **link = &metrics;
	while (*link != NULL && *link != metric)
		link = &(*link)->next;
	if (*link != NULL)
		*link = metric->next;
	pthread_mutex_unlock(&lock);
}

void metrics_register_histogram(struct metric_histogram *histogram)
{
	pthread_mutex_lock(&lock);
	struct metric_histogram **last = &histograms;
	while (*last != NULL && *last != histogram)
		last = &(*last)->next;
	if (*last == NULL) {
		histogram->next = NULL;
		*last = histogram;
	}
	pthread_mutex_unlock(&lock);
}

size_t metric_stripe(void)
{
	/* -1, if the kernel does not know, is a place as well. */
	return (unsigned)sched_getcpu() % METRIC_STRIPES;
}

void metric_observe(struct metric_histogram *histogram, int64_t microseconds)
{
	struct metric_histogram_stripe *stripe = &histogram->stripes[metric_stripe()];
	size_t bucket = 0;
	if (microseconds < 0)
		microseconds = 0;
	while (bucket < METRIC_BUCKETS && microseconds > bounds_us[bucket])
		bucket++;
	atomic_fetch_add_explicit(&stripe->buckets[bucket], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&stripe->sum_microseconds, (uint64_t)microseconds,
				  memory_order_relaxed);
}

static void print_head(struct buf *out, const char *name, const char *help, const char *type)
{
	buf_printf(out, "# HELP %s ", name);
	for (const char *c = help; *c != '\0'; c++) {
		if (*c == '\\')
			buf_puts(out, "\\\\");
		else if (*c == '\n')
			buf_puts(out, "\\n");
		else
			buf_putc(out, *c);
	}
	buf_printf(out, "\n# TYPE %s %s\n", name, type);
}

static void print_metric(struct buf *out, struct metric *metric)
{
	long long value = atomic_load_explicit(&metric->value, memory_order_relaxed);
	for (size_t i = 0; i < METRIC_STRIPES; i++)
		value += atomic_load_explicit(&metric->added[i].value, memory_order_relaxed);
	if (metric->labels != NULL && metric->labels[0] != '\0')
		buf_printf(out, "%s{%s} %lld\n", metric->name, metric->labels, value);
	else
		buf_printf(out, "%s %lld\n", metric->name, value);
}

static uint64_t count_bucket(const struct metric_histogram *histogram, size_t bucket)
{
	uint64_t count = 0;
	for (size_t i = 0; i < METRIC_STRIPES; i++)
		count += atomic_load_explicit(&histogram->stripes[i].buckets[bucket],
					      memory_order_relaxed);
	return count;
}

static uint64_t sum_microseconds(const struct metric_histogram *histogram)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < METRIC_STRIPES; i++)
		sum += atomic_load_explicit(&histogram->stripes[i].sum_microseconds,
					    memory_order_relaxed);
	return sum;
}

static void print_histogram(struct buf *out, struct metric_histogram *histogram)
{
	const char *labels = histogram->labels ? histogram->labels : "";
	const char *comma = labels[0] != '\0' ? "," : "";
	const char *open = labels[0] != '\0' ? "{" : "", *shut = labels[0] != '\0' ? "}" : "";
	uint64_t count = 0;
	for (size_t i = 0; i <= METRIC_BUCKETS; i++) {
		count += count_bucket(histogram, i);
		buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %llu\n", histogram->name, labels, comma,
			   bounds_text[i], (unsigned long long)count);
	}
	uint64_t sum = sum_microseconds(histogram);
	buf_printf(out, "%s_sum%s%s%s %llu.%06llu\n", histogram->name, open, labels, shut,
		   (unsigned long long)(sum / 1000000), (unsigned long long)(sum % 1000000));
	buf_printf(out, "%s_count%s%s%s %llu\n", histogram->name, open, labels, shut,
		   (unsigned long long)count);
}

/* Lines of one name must stand together, whatever the order of registration. */
static void print_metrics(struct buf *out)
{
	for (struct metric *first = metrics; first != NULL; first = first->next) {
		struct metric *earlier = metrics;
		while (earlier != first && strcmp(earlier->name, first->name) != 0)
			earlier = earlier->next;
		if (earlier != first)
			continue;
		print_head(out, first->name, first->help, first->type);
		for (struct metric *metric = first; metric != NULL; metric = metric->next)
			if (strcmp(metric->name, first->name) == 0)
				print_metric(out, metric);
	}
}

static void print_histograms(struct buf *out)
{
	for (struct metric_histogram *first = histograms; first != NULL; first = first->next) {
		struct metric_histogram *earlier = histograms;
		while (earlier != first && strcmp(earlier->name, first->name) != 0)
			earlier = earlier->next;
		if (earlier != first)
			continue;
		print_head(out, first->name, first->help, "histogram");
		for (struct metric_histogram *one = first; one != NULL; one = one->next)
			if (strcmp(one->name, first->name) == 0)
				print_histogram(out, one);
	}
}

void metrics_print(struct buf *out)
{
	pthread_mutex_lock(&lock);
	print_metrics(out);
	print_histograms(out);
	pthread_mutex_unlock(&lock);
}

static enum MHD_Result reply(struct MHD_Connection *connection, unsigned status, const char *text,
			     size_t len)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(len, (void *)text, MHD_RESPMEM_MUST_COPY);
	if (response == NULL)
		return MHD_NO;
	enum MHD_Result result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
							 "text/plain; version=0.0.4");
	if (result == MHD_YES)
		result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer(void *context, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **request)
{
	static char seen;
	(void)context;
	(void)version;
	(void)upload;
	/* Called first for the headers; a reply before the body was read would close the
	   connection. */
	if (*request == NULL) {
		*request = &seen;
		return MHD_YES;
	}
	if (*upload_size > 0) {
		*upload_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return reply(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n", 9);
	if (strcmp(url, "/healthz") == 0)
		return reply(connection, MHD_HTTP_OK, "ok\n", 3);
	if (strcmp(url, "/metrics") != 0)
		return reply(connection, MHD_HTTP_NOT_FOUND, "see /metrics and /healthz\n", 26);

	struct buf text = BUF_INIT;
	metrics_print(&text);
	enum MHD_Result result = MHD_NO;
	if (buf_ok(&text))
		result = reply(connection, MHD_HTTP_OK, buf_str(&text), text.len);
	buf_free(&text);
	return result;
}

/* The first endpoint that is free: several programs read the same file. */
static enum result listen_first(struct endpoint **endpoint_r, struct error *err)
{
	static const struct endpoint_mode mode = {.mode = 0666};
	enum result result = RESULT_PERM;
	for (size_t i = 0; i < server_endpoint_count; i++) {
		*endpoint_r = &server_endpoints[i];
		result = endpoint_listen(*endpoint_r, &mode, err);
		if (result != RESULT_TEMP)
			return result;
	}
	return result;
}

static enum result start_server(const struct endpoint *endpoint, struct error *err)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	server = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC, 0,
				  NULL, NULL, answer, NULL, MHD_OPTION_LISTEN_SOCKET, endpoint->fd,
				  MHD_OPTION_CONNECTION_LIMIT, 64u, MHD_OPTION_CONNECTION_TIMEOUT,
				  10u, MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (server == NULL)
		return result_error(err, RESULT_TEMP, "%s: the HTTP server does not start",
				    endpoint->name);
	return RESULT_FOUND;
}

enum result metrics_start(const char *listen, struct error *err)
{
	struct endpoint *endpoint = NULL;
	enum result result = endpoint_parse(listen, &server_endpoints, &server_endpoint_count, err);
	if (result != RESULT_FOUND || server_endpoint_count == 0)
		return result;
	result = listen_first(&endpoint, err);
	if (result == RESULT_FOUND)
		result = start_server(endpoint, err);
	if (result == RESULT_FOUND)
		log_info("metrics served on=%s port=%d", endpoint->name, endpoint_port(endpoint));
	else
		metrics_stop();
	return result;
}

void metrics_stop(void)
{
	/* Else libmicrohttpd closes the socket, whose number may then be another's when
	   endpoint_free() closes it. */
	if (server != NULL) {
		MHD_quiesce_daemon(server);
		MHD_stop_daemon(server);
	}
	server = NULL;
	endpoint_free(&server_endpoints, server_endpoint_count, true);
	server_endpoint_count = 0;
}
