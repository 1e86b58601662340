/*
 * test_lookup_load - the socketmap service in its engine, with a database that stands still, goes
 * away and comes back
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "common/metrics.h"
#include "common/netstring.h"
#include "common/sql_fake.h"
#include "postfix-lookup/lookup.h"
#include "tests/fuzz/fake_host.h"

#define WAIT_MS 30000
#define INI                                                                                        \
	"[database]\ndriver = mysql\nhosts = x\nname = x\nuser = x\nquery_timeout = 400ms\n"       \
	"retry_interval = 50ms\n[lookup]\nworkers = 16\ndatabase_handles = 8\n"
#define CACHED   INI "positive_ttl = 1h\nnegative_ttl = 1h\n"
#define OLD      INI "positive_ttl = 1ms\nnegative_ttl = 1ms\nstale_ttl = 1h\n"
#define UNCACHED INI "positive_ttl = 0\nnegative_ttl = 0\n"
#define HURRIED  INI "positive_ttl = 2ms\nnegative_ttl = 2ms\nstale_ttl = 0\n"
#define CROWD    30
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define P99_US 50000
#else
#define P99_US 5000
#endif

static struct settings *settings; /* in use; a state points to its own */
static void *state;
static char folder[64];
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static struct endpoint *endpoints;
static size_t endpoint_count;
static struct serve *serve;
static _Atomic unsigned said_away, said_back, said_stale;

static void listen_to(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)level;
	said_away += strstr(line, "database away, answering TEMP") != NULL;
	said_back += strstr(line, "database is back") != NULL;
	said_stale += strstr(line, "serving old answers") != NULL;
}

static void fill_database(void)
{
	char address_text[32];

	sql_fake_reset();
	fake_host_row("SELECT domain", "a.test", "name", "transport", "smtp:x");
	fake_host_row("SELECT target", "c.test", "name", "target", "a.test");
	fake_host_row("SELECT mailbox", "m@a.test", "address", "path", "m/");
	fake_host_row("SELECT secrets", "m@a.test", "address", "password", "x");
	fake_host_row("SELECT grants", "m@a.test", "address", "login", "m@a.test");
	fake_host_row("SELECT usage", "m@a.test", "address", "bytes", "1");
	fake_host_row("SELECT alias", "x@a.test", "address", "members", "y@b.test");
	for (int i = 0; i < CROWD; i++) {
		snprintf(address_text, sizeof(address_text), "u%d@a.test", i);
		fake_host_row("SELECT alias", address_text, "address", "members", "y@b.test");
	}
}

static struct settings *open_state(const char *ini, const char *hosts, void **state_r)
{
	struct settings *made = calloc(1, sizeof(*made));
	struct error err = {""};

	ck_assert_ptr_nonnull(made);
	fake_host_begin(made, ini);
	log_set_sink(listen_to, NULL);
	free(made->database.hosts);
	made->database.hosts = strdup(hosts);
	ck_assert_msg(lookup_open(made, state_r, &err) == RESULT_FOUND, "%s", err.text);
	fake_host_end();
	return made;
}

static void close_state(struct settings **made, void **made_state)
{
	lookup_free(*made_state);
	settings_free(*made);
	free(*made);
	*made_state = *made = NULL;
}

static void start(const char *ini, const char *hosts)
{
	const struct endpoint_mode mode = {.mode = 0600};
	struct error err = {""};
	struct serve_config config = {
		.service = &lookup_service, .workers = 16, .max_connections = 200};

	fill_database();
	settings = open_state(ini, hosts, &state);
	strcpy(folder, "/tmp/test_lookup_load.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", folder);
	ck_assert_int_eq(endpoint_parse(address.sun_path, &endpoints, &endpoint_count, &err),
			 RESULT_FOUND);
	ck_assert_int_eq(endpoint_listen(&endpoints[0], &mode, &err), RESULT_FOUND);
	config.endpoints = endpoints;
	config.endpoint_count = endpoint_count;
	config.state = state;
	ck_assert_int_eq(serve_start(&config, &serve, &err), RESULT_FOUND);
}

static void stop(void)
{
	serve_stop(&serve, 0);
	endpoint_free(&endpoints, endpoint_count, true);
	ck_assert_int_eq(rmdir(folder), 0);
	close_state(&settings, &state);
	sql_fake_reset();
}

static int dial(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void put(int fd, const char *request)
{
	struct buf bytes = BUF_INIT;

	netstring_append(&bytes, request, strlen(request));
	ck_assert_int_eq(send(fd, bytes.data, bytes.len, MSG_NOSIGNAL), (ssize_t)bytes.len);
	buf_free(&bytes);
}

/* A reply without its netstring; "" when none came. */
static const char *get(int fd)
{
	static _Thread_local char bytes[600];
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	const char *payload;
	size_t len = 0, payload_len, used;

	while (len + 1 < sizeof(bytes) && poll(&poller, 1, WAIT_MS) == 1) {
		ssize_t got = read(fd, bytes + len, sizeof(bytes) - 1 - len);

		if (got <= 0)
			break;
		len += (size_t)got;
		if (netstring_parse(bytes, len, 500, &payload, &payload_len, &used) == PARSE_OK) {
			memmove(bytes, payload, payload_len);
			bytes[payload_len] = '\0';
			return bytes;
		}
	}
	return "";
}

static const char *ask(const char *request)
{
	int fd = dial();
	const char *reply;

	put(fd, request);
	reply = get(fd);
	close(fd);
	return reply;
}

static void assert_prefix(const char *text, const char *prefix)
{
	ck_assert_msg(strncmp(text, prefix, strlen(prefix)) == 0, "%s is not %s...", text, prefix);
}

static void wait_held(unsigned count)
{
	struct deadline end = deadline_in(WAIT_MS);

	while (sql_fake_held() != count && !deadline_passed(end))
		poll(NULL, 0, 1);
	ck_assert_uint_eq(sql_fake_held(), count);
}

/* The number behind NAME in the metrics; -1: it is not there. */
static long long metric_value(const char *name)
{
	struct buf text = BUF_INIT;
	const char *line;
	long long value = -1;

	metrics_print(&text);
	for (line = buf_str(&text); line && value < 0; line = strchr(line, '\n')) {
		line += line[0] == '\n';
		if (strncmp(line, name, strlen(name)) == 0)
			value = atoll(line + strlen(name));
	}
	buf_free(&text);
	return value;
}

static void wait_metric(const char *name, long long value)
{
	struct deadline end = deadline_in(WAIT_MS);

	while (metric_value(name) != value && !deadline_passed(end))
		poll(NULL, 0, 2);
	ck_assert_msg(metric_value(name) == value, "%s is %lld", name, metric_value(name));
}

static void age(void)
{
	poll(NULL, 0, 5);
}

START_TEST(equal_questions_are_asked_once)
{
	int fds[CROWD];

	start(CACHED, "one");
	ask("virtual_mailbox_domains a.test");
	sql_fake_hold(true);
	fds[0] = dial();
	put(fds[0], "virtual_alias_maps x@a.test");
	wait_held(1);
	for (int i = 1; i < CROWD; i++) {
		fds[i] = dial();
		put(fds[i], "virtual_alias_maps x@a.test");
	}
	/* The others keep no worker: this is served while they wait. */
	ck_assert_str_eq(ask("virtual_mailbox_domains a.test"), "OK a.test");
	wait_held(1);
	unsigned before = sql_fake_calls(SQL_FAKE_EXECUTE);
	sql_fake_hold(false);
	for (int i = 0; i < CROWD; i++) {
		ck_assert_str_eq(get(fds[i]), "OK y@b.test");
		close(fds[i]);
	}
	/* domain and alias of one question, with room for the one under way */
	ck_assert_uint_le(sql_fake_calls(SQL_FAKE_EXECUTE) - before, 3);
	ck_assert_int_ge(metric_value("postern_lookup_coalesced_total "), 1);
	stop();
}
END_TEST

static int compare(const void *a, const void *b)
{
	const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return left < right ? -1 : left > right;
}

/* Time in microseconds below which 99 of 100 cached answers come. */
static int64_t cached_p99(void)
{
	enum { COUNT = 2000 };
	static int64_t times[COUNT];
	int fd = dial();

	for (int i = 0; i < COUNT; i++) {
		int64_t began = deadline_now_us();

		put(fd, "virtual_alias_maps x@a.test");
		ck_assert_str_eq(get(fd), "OK y@b.test");
		times[i] = deadline_now_us() - began;
	}
	close(fd);
	qsort(times, COUNT, sizeof(times[0]), compare);
	return times[COUNT * 99 / 100];
}

START_TEST(cached_answers_come_while_all_handles_are_stuck)
{
	int fds[CROWD];
	char request[64];

	start(CACHED, "one");
	ck_assert_str_eq(ask("virtual_alias_maps x@a.test"), "OK y@b.test");
	sql_fake_hold(true);
	for (int i = 0; i < CROWD; i++) {
		fds[i] = dial();
		snprintf(request, sizeof(request), "virtual_alias_maps u%d@a.test", i);
		put(fds[i], request);
	}
	wait_held(8);
	ck_assert_int_lt(cached_p99(), P99_US);
	wait_held(8);
	/* Keys that need no database do not wait for it. */
	ck_assert_str_eq(ask("virtual_alias_maps @a.test"), "NOTFOUND ");
	/* Those without a handle are told after the query's time, the others when it is back. */
	int told = 0;
	for (struct deadline end = deadline_in(5000); !deadline_passed(end) && told < CROWD - 8;) {
		told = 0;
		for (int i = 0; i < CROWD; i++) {
			struct pollfd poller = {.fd = fds[i], .events = POLLIN};
			told += poll(&poller, 1, 0) == 1;
		}
		poll(NULL, 0, 10);
	}
	ck_assert_int_eq(told, CROWD - 8);
	sql_fake_hold(false);
	int good = 0;
	for (int i = 0; i < CROWD; i++) {
		const char *reply = get(fds[i]);

		good += strcmp(reply, "OK y@b.test") == 0;
		if (strcmp(reply, "OK y@b.test") != 0)
			assert_prefix(reply, "TEMP the database is too slow");
		close(fds[i]);
	}
	ck_assert_int_eq(good, 8);
	stop();
}
END_TEST

START_TEST(a_queue_is_served_in_time)
{
	int fds[CROWD];
	char request[64];

	start(UNCACHED, "one");
	sql_fake_hold(true);
	for (int i = 0; i < CROWD; i++) {
		fds[i] = dial();
		snprintf(request, sizeof(request), "virtual_alias_maps u%d@a.test", i);
		put(fds[i], request);
	}
	wait_held(8);
	sql_fake_hold(false);
	for (int i = 0; i < CROWD; i++) {
		ck_assert_str_eq(get(fds[i]), "OK y@b.test");
		close(fds[i]);
	}
	stop();
}
END_TEST

START_TEST(who_waits_in_vain_gets_an_old_answer)
{
	int fds[CROWD];
	char request[64];

	start(OLD, "one");
	ck_assert_str_eq(ask("virtual_alias_maps x@a.test"), "OK y@b.test");
	age();
	sql_fake_hold(true);
	for (int i = 0; i < 8; i++) {
		fds[i] = dial();
		snprintf(request, sizeof(request), "virtual_alias_maps u%d@a.test", i);
		put(fds[i], request);
	}
	wait_held(8);
	int64_t began = deadline_now_ms();
	ck_assert_str_eq(ask("virtual_alias_maps x@a.test"), "OK y@b.test");
	ck_assert_int_ge(deadline_now_ms() - began, 390);
	ck_assert_int_eq(metric_value("postern_lookup_cache_stale_total "), 1);
	sql_fake_hold(false);
	for (int i = 0; i < 8; i++) {
		ck_assert_str_eq(get(fds[i]), "OK y@b.test");
		close(fds[i]);
	}
	stop();
}
END_TEST

START_TEST(away_and_back)
{
	struct deadline end;

	start(OLD, "one");
	ck_assert_str_eq(ask("virtual_alias_maps x@a.test"), "OK y@b.test");
	ck_assert_str_eq(ask("virtual_mailbox_domains a.test"), "OK a.test");
	ck_assert_int_eq(metric_value("postern_db_up{host=\"one\"} "), 1);
	age();
	sql_fake_host("one", SQL_FAULT_HOST);
	ck_assert_str_eq(ask("virtual_alias_maps x@a.test"), "OK y@b.test");
	ck_assert_uint_eq(said_away, 1);
	/* Now nobody but the probe asks any more. */
	int64_t began = deadline_now_ms();
	unsigned before = sql_fake_calls(SQL_FAKE_CONNECT);
	for (int i = 0; i < 500; i++) {
		assert_prefix(ask("virtual_alias_maps unknown@a.test"), "TEMP ");
		ck_assert_str_eq(ask("virtual_alias_maps x@a.test"), "OK y@b.test");
		ck_assert_str_eq(ask("virtual_alias_maps @a.test"), "NOTFOUND ");
	}
	ck_assert_int_le(sql_fake_calls(SQL_FAKE_CONNECT) - before,
			 3 + (deadline_now_ms() - began) / 50);
	ck_assert_uint_eq(said_away, 1);
	ck_assert_uint_eq(said_stale, 1);
	ck_assert_uint_eq(said_back, 0);
	ck_assert_int_eq(metric_value("postern_db_up{host=\"one\"} "), 0);
	ck_assert_int_eq(metric_value("postern_lookup_cache_stale_total "), 501);
	sql_fake_host("one", SQL_FAULT_NONE);
	for (end = deadline_in(WAIT_MS); said_back == 0 && !deadline_passed(end);)
		poll(NULL, 0, 2);
	ck_assert_uint_eq(said_back, 1);
	ck_assert_str_eq(ask("virtual_alias_maps unknown@a.test"), "NOTFOUND ");
	ck_assert_int_eq(metric_value("postern_db_up{host=\"one\"} "), 1);
	stop();
}
END_TEST

START_TEST(access_denied_is_away)
{
	start(OLD, "one");
	ck_assert_str_eq(ask("virtual_alias_maps x@a.test"), "OK y@b.test");
	age();
	sql_fake_fail(SQL_FAKE_EXECUTE, 1, 1, SQL_FAULT_HOST);
	sql_fake_fail(SQL_FAKE_CONNECT, 1, 1000000, SQL_FAULT_ACCESS);
	ck_assert_str_eq(ask("virtual_alias_maps x@a.test"), "OK y@b.test");
	for (int i = 0; i < 20; i++) {
		ck_assert_str_eq(ask("virtual_alias_maps x@a.test"), "OK y@b.test");
		const char *reply = ask("virtual_alias_maps unknown@a.test");
		ck_assert_msg(strncmp(reply, "TEMP ", 5) == 0 || strncmp(reply, "PERM ", 5) == 0,
			      "%s", reply);
	}
	sql_fake_fail(SQL_FAKE_CONNECT, 1, 0, SQL_FAULT_NONE);
	wait_metric("postern_db_up{host=\"one\"} ", 1);
	ck_assert_str_eq(ask("virtual_alias_maps unknown@a.test"), "NOTFOUND ");
	stop();
}
END_TEST

/* A connection refused (the server has too many) beside one that stands. */
START_TEST(one_connection_is_enough)
{
	int fds[CROWD];
	char request[64];

	start(UNCACHED, "one");
	ck_assert_str_eq(ask("virtual_alias_maps x@a.test"), "OK y@b.test");
	sql_fake_fail(SQL_FAKE_CONNECT, 1, 1000000, SQL_FAULT_HOST);
	for (int i = 0; i < CROWD; i++) {
		fds[i] = dial();
		snprintf(request, sizeof(request), "virtual_alias_maps u%d@a.test", i);
		put(fds[i], request);
	}
	for (int i = 0; i < CROWD; i++) {
		ck_assert_str_eq(get(fds[i]), "OK y@b.test");
		close(fds[i]);
	}
	ck_assert_uint_eq(said_away, 0);
	stop();
}
END_TEST

START_TEST(one_of_two_hosts_down)
{
	start(OLD, "one two");
	/* As a Galera node without quorum (1047) is: it takes connections. */
	sql_fake_host("one", SQL_FAULT_HOST);
	for (int i = 0; i < 20; i++) {
		ck_assert_str_eq(ask("virtual_alias_maps x@a.test"), "OK y@b.test");
		age();
	}
	ck_assert_uint_eq(said_away, 0);
	wait_metric("postern_db_up{host=\"one\"} ", 0);
	wait_metric("postern_db_up{host=\"two\"} ", 1);
	ck_assert_int_eq(metric_value("postern_lookup_cache_stale_total "), 0);
	/* It is looked after, though nobody needs it. */
	sql_fake_host("one", SQL_FAULT_NONE);
	wait_metric("postern_db_up{host=\"one\"} ", 1);
	/* And used when the other one goes. */
	sql_fake_host("two", SQL_FAULT_HOST);
	ck_assert_str_eq(ask("virtual_alias_maps u1@a.test"), "OK y@b.test");
	ck_assert_uint_eq(said_away, 0);
	sql_fake_host("one", SQL_FAULT_HOST);
	assert_prefix(ask("virtual_alias_maps u2@a.test"), "TEMP ");
	ck_assert_uint_eq(said_away, 1);
	sql_fake_host("two", SQL_FAULT_NONE);
	wait_metric("postern_db_up{host=\"two\"} ", 1);
	ck_assert_str_eq(ask("virtual_alias_maps u2@a.test"), "OK y@b.test");
	stop();
}
END_TEST

START_TEST(flush_reaches_what_is_being_fetched)
{
	int early, late;

	start(CACHED, "one");
	ck_assert_str_eq(ask("postern.flush all"), "OK 0");
	sql_fake_hold(true);
	early = dial();
	put(early, "virtual_alias_maps x@a.test");
	wait_held(1);
	ck_assert_str_eq(ask("postern.flush x@a.test"), "OK 0");
	/* Asked after the flush, this must not get the answer of the one before. */
	late = dial();
	put(late, "virtual_alias_maps x@a.test");
	wait_held(2);
	sql_fake_hold(false);
	ck_assert_str_eq(get(early), "OK y@b.test");
	ck_assert_str_eq(get(late), "OK y@b.test");
	wait_metric("postern_lookup_cache_entries ", 1);
	ck_assert_int_eq(metric_value("postern_lookup_coalesced_total "), 0);
	ck_assert_str_eq(ask("postern.flush x@a.test"), "OK 1");
	wait_metric("postern_lookup_cache_entries ", 0);
	/* Alone, the early one leaves nothing. */
	sql_fake_hold(true);
	put(early, "virtual_alias_maps x@a.test");
	wait_held(1);
	ck_assert_str_eq(ask("postern.flush a.test"), "OK 0");
	sql_fake_hold(false);
	ck_assert_str_eq(get(early), "OK y@b.test");
	wait_metric("postern_lookup_cache_entries ", 0);
	close(early);
	close(late);
	stop();
}
END_TEST

static _Atomic bool over;
static _Atomic int wrong;

static void *client_main(void *argument)
{
	unsigned seed = *(unsigned *)argument;
	char request[64];
	int fd = dial();

	while (!over) {
		snprintf(request, sizeof(request), "virtual_alias_maps u%d@a.test",
			 rand_r(&seed) % CROWD);
		put(fd, request);
		if (strcmp(get(fd), "OK y@b.test") != 0)
			wrong++;
	}
	close(fd);
	return NULL;
}

/* Reloads, flushes, and more clients than handles, all at once: every request is answered. */
START_TEST(reload_and_flush_under_load)
{
	enum { CLIENTS = 24, RELOADS = 30 };
	pthread_t clients[CLIENTS];
	unsigned seeds[CLIENTS];

	start(HURRIED, "one");
	for (unsigned i = 0; i < CLIENTS; i++) {
		seeds[i] = i;
		ck_assert_int_eq(pthread_create(&clients[i], NULL, client_main, &seeds[i]), 0);
	}
	for (int i = 0; i < RELOADS; i++) {
		struct settings *before = settings;
		void *state_before = state;

		if (i % 3 == 0)
			sql_fake_hold(true);
		poll(NULL, 0, 10);
		sql_fake_hold(false);
		ck_assert_str_ne(ask("postern.flush a.test"), "");
		settings = open_state(HURRIED, "one", &state);
		serve_reload(serve, state);
		close_state(&before, &state_before);
	}
	over = true;
	for (unsigned i = 0; i < CLIENTS; i++)
		pthread_join(clients[i], NULL);
	ck_assert_int_eq(wrong, 0);
	stop();
}
END_TEST

static void *reload_main(void *argument)
{
	serve_reload(serve, argument);
	return NULL;
}

/* What a request has waited for, on a map that is no more, is no answer to the next one. */
START_TEST(a_map_ends_while_its_answer_is_awaited)
{
	static const char *const names[] = {"value"}, *const values[] = {"secret"};
	struct deadline end = deadline_in(WAIT_MS);
	struct settings *before;
	void *state_before;
	pthread_t reload;
	int first, second;

	start(CACHED "[map extra]\nquery = \"SELECT extra :key\"\n", "one");
	sql_fake_row("SELECT extra", "x", 1, names, values, NULL);
	sql_fake_hold(true);
	first = dial();
	put(first, "extra x");
	wait_held(1);
	second = dial();
	put(second, "extra x");
	age(); /* it has joined the first */
	before = settings;
	state_before = state;
	settings = open_state(CACHED, "one", &state);
	ck_assert_int_eq(pthread_create(&reload, NULL, reload_main, state), 0);
	while (strncmp(ask("extra x"), "PERM ", 5) != 0 && !deadline_passed(end))
		;
	sql_fake_hold(false);
	ck_assert_str_eq(get(first), "OK secret");
	assert_prefix(get(second), "PERM ");
	put(second, "virtual_alias_maps x@a.test");
	ck_assert_str_eq(get(second), "OK y@b.test");
	pthread_join(reload, NULL);
	close_state(&before, &state_before);
	close(first);
	close(second);
	stop();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lookup_load");
	TCase *tests = tcase_create("lookup_load");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, equal_questions_are_asked_once);
	tcase_add_test(tests, cached_answers_come_while_all_handles_are_stuck);
	tcase_add_test(tests, a_queue_is_served_in_time);
	tcase_add_test(tests, who_waits_in_vain_gets_an_old_answer);
	tcase_add_test(tests, away_and_back);
	tcase_add_test(tests, access_denied_is_away);
	tcase_add_test(tests, one_connection_is_enough);
	tcase_add_test(tests, one_of_two_hosts_down);
	tcase_add_test(tests, flush_reaches_what_is_being_fetched);
	tcase_add_test(tests, reload_and_flush_under_load);
	tcase_add_test(tests, a_map_ends_while_its_answer_is_awaited);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
