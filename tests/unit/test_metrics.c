/*
 * test_metrics - the exposition text, buckets, and the HTTP listener
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "common/metrics.h"

static struct metric found = {.name = "t_requests_total",
			      .labels = "result=\"found\"",
			      .help = "Requests \\ and\nmore.",
			      .type = "counter"};
static struct metric plain = {.name = "t_open", .labels = "", .help = "Open.", .type = "gauge"};
static struct metric none = {.name = "t_requests_total",
			     .labels = "result=\"none\"",
			     .help = "Requests \\ and\nmore.",
			     .type = "counter"};
static struct metric_histogram times = {
	.name = "t_seconds", .labels = "map=\"m\"", .help = "Time."};
static struct metric_histogram bare = {.name = "t_bare_seconds", .labels = "", .help = "Time."};

static int port;

static void find_port(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)level;
	const char *at = strstr(line, "port=");
	if (at != NULL)
		port = atoi(at + 5);
}

START_TEST(test_print)
{
	struct buf out = BUF_INIT;
	metrics_register(&found);
	metrics_register(&plain);
	metrics_register(&none);
	metrics_register(&found);
	metric_add(&found, 3);
	metric_add(&found, 2);
	metric_set(&plain, -1);
	metrics_print(&out);
	ck_assert_str_eq(buf_str(&out), "# HELP t_requests_total Requests \\\\ and\\nmore.\n"
					"# TYPE t_requests_total counter\n"
					"t_requests_total{result=\"found\"} 5\n"
					"t_requests_total{result=\"none\"} 0\n"
					"# HELP t_open Open.\n"
					"# TYPE t_open gauge\n"
					"t_open -1\n");
	buf_free(&out);
}
END_TEST

START_TEST(test_histogram)
{
	struct buf out = BUF_INIT;
	metrics_register_histogram(&times);
	metrics_register_histogram(&bare);
	metric_observe(&times, -5);
	metric_observe(&times, 100);
	metric_observe(&times, 101);
	metric_observe(&times, 10000000);
	metric_observe(&times, 10000001);
	metrics_print(&out);
	const char *text = buf_str(&out);
	ck_assert_ptr_nonnull(strstr(text, "# TYPE t_seconds histogram\n"));
	ck_assert_ptr_nonnull(strstr(text, "t_seconds_bucket{map=\"m\",le=\"0.0001\"} 2\n"));
	ck_assert_ptr_nonnull(strstr(text, "t_seconds_bucket{map=\"m\",le=\"0.00025\"} 3\n"));
	ck_assert_ptr_nonnull(strstr(text, "t_seconds_bucket{map=\"m\",le=\"1\"} 3\n"));
	ck_assert_ptr_nonnull(strstr(text, "t_seconds_bucket{map=\"m\",le=\"10\"} 4\n"));
	ck_assert_ptr_nonnull(strstr(text, "t_seconds_bucket{map=\"m\",le=\"+Inf\"} 5\n"));
	ck_assert_ptr_nonnull(strstr(text, "t_seconds_sum{map=\"m\"} 20.000202\n"));
	ck_assert_ptr_nonnull(strstr(text, "t_seconds_count{map=\"m\"} 5\n"));
	ck_assert_ptr_nonnull(strstr(text, "t_bare_seconds_bucket{le=\"+Inf\"} 0\n"));
	ck_assert_ptr_nonnull(strstr(text, "t_bare_seconds_count 0\n"));
	buf_free(&out);
}
END_TEST

static void *add_many(void *argument)
{
	for (int i = 0; i < 10000; i++) {
		metric_add(argument, 1);
		metric_observe(&times, i);
	}
	return NULL;
}

START_TEST(test_threads)
{
	pthread_t threads[4];
	struct buf out = BUF_INIT;
	metrics_register(&found);
	metrics_register_histogram(&times);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, add_many, &found), 0);
	metrics_print(&out);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	buf_reset(&out);
	metrics_print(&out);
	ck_assert_ptr_nonnull(strstr(buf_str(&out), "{result=\"found\"} 40000\n"));
	ck_assert_ptr_nonnull(strstr(buf_str(&out), "t_seconds_count{map=\"m\"} 40000\n"));
	buf_free(&out);
}
END_TEST

/* Each processor counts in a place of its own; what is printed is the sum. */
START_TEST(test_processors)
{
	cpu_set_t allowed, one;
	int processors = 0;
	char line[64];
	struct buf out = BUF_INIT;
	metrics_register(&found);
	metrics_register_histogram(&times);
	ck_assert_int_eq(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &allowed))
			continue;
		CPU_ZERO(&one);
		CPU_SET(i, &one);
		ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
		ck_assert_uint_eq(metric_stripe(), (size_t)i % METRIC_STRIPES);
		metric_add(&found, 1000);
		metric_observe(&times, 1000000);
		processors++;
	}
	ck_assert_int_eq(sched_setaffinity(0, sizeof(allowed), &allowed), 0);
	metrics_print(&out);
	snprintf(line, sizeof(line), "{result=\"found\"} %d000\n", processors);
	ck_assert_ptr_nonnull(strstr(buf_str(&out), line));
	snprintf(line, sizeof(line), "t_seconds_sum{map=\"m\"} %d.000000\n", processors);
	ck_assert_ptr_nonnull(strstr(buf_str(&out), line));
	snprintf(line, sizeof(line), "t_seconds_count{map=\"m\"} %d\n", processors);
	ck_assert_ptr_nonnull(strstr(buf_str(&out), line));
	buf_free(&out);
}
END_TEST

static void request(const char *text, char *answer, size_t size)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	size_t len = 0;
	ssize_t got;
	while (len + 1 < size && (got = read(fd, answer + len, size - 1 - len)) > 0)
		len += (size_t)got;
	answer[len] = '\0';
	close(fd);
}

START_TEST(test_http)
{
	struct error err = {""};
	char answer[8192];
	log_set_sink(find_port, NULL);
	metrics_register(&found);
	metric_add(&found, 42);
	ck_assert_msg(metrics_start("127.0.0.1:0", &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_int_gt(port, 0);
	request("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", answer,
		sizeof(answer));
	ck_assert_ptr_eq(strstr(answer, "HTTP/1.1 200"), answer);
	ck_assert_ptr_nonnull(strstr(answer, "text/plain; version=0.0.4"));
	ck_assert_ptr_nonnull(strstr(answer, "t_requests_total{result=\"found\"} 42\n"));
	request("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", answer,
		sizeof(answer));
	ck_assert_ptr_nonnull(strstr(answer, "\r\n\r\nok\n"));
	request("GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", answer, sizeof(answer));
	ck_assert_ptr_eq(strstr(answer, "HTTP/1.1 404"), answer);
	request("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
		"Connection: close\r\n\r\nabc",
		answer, sizeof(answer));
	ck_assert_ptr_eq(strstr(answer, "HTTP/1.1 405"), answer);

	metrics_stop();
	metrics_stop();
}
END_TEST

/* Several programs share one list: each takes the first that is free. */
START_TEST(test_shared_list)
{
	struct error err = {""};
	char list[100], answer[1000];
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	log_set_sink(find_port, NULL);
	int busy = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(busy, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(busy, 1), 0);
	ck_assert_int_eq(getsockname(busy, (struct sockaddr *)&address, &len), 0);
	snprintf(list, sizeof(list), "127.0.0.1:%u", ntohs(address.sin_port));
	ck_assert_int_eq(metrics_start(list, &err), RESULT_TEMP);
	ck_assert_ptr_nonnull(strstr(err.text, "in use"));
	strcat(list, " 127.0.0.1:0");
	ck_assert_msg(metrics_start(list, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_int_ne(port, ntohs(address.sin_port));
	request("GET /healthz HTTP/1.0\r\n\r\n", answer, sizeof(answer));
	ck_assert_ptr_nonnull(strstr(answer, "ok\n"));
	metrics_stop();
	close(busy);
	ck_assert_int_eq(metrics_start("", &err), RESULT_FOUND);
	ck_assert_int_eq(metrics_start("nonsense", &err), RESULT_PERM);
	metrics_stop();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("metrics");
	TCase *tcase = tcase_create("metrics");
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, test_print);
	tcase_add_test(tcase, test_histogram);
	tcase_add_test(tcase, test_threads);
	tcase_add_test(tcase, test_processors);
	tcase_add_test(tcase, test_http);
	tcase_add_test(tcase, test_shared_list);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
