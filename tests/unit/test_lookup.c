/*
 * test_lookup - the socketmap service, over a socket pair and a real SQLite database
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postfix-lookup/lookup.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/deadline.h"
#include "common/io.h"
#include "common/log.h"
#include "common/metrics.h"
#include "tests/unit/mailhost.h"

static const char rows[] =
	"INSERT INTO t_domain (name) VALUES ('example.com');"
	"INSERT INTO t_mailbox (address, path) VALUES ('alice@example.com', 'a/'),"
	" ('a b@example.com', 'ab/');"
	"INSERT INTO t_alias (address, members) VALUES ('sales@example.com', 'alice@example.com'),"
	" ('cmd@example.com', '|x'),"
	" ('full@example.com', replace(hex(zeroblob(49998)), '0', 'a') || 'a');";

#define NO_CACHE "[lookup]\npositive_ttl = 0\nnegative_ttl = 0\n"

static struct mailhost host;
static void *state, *worker;
static struct connection connection;
static int peer; /* Postfix's end */
static const struct endpoint unix_endpoint = {.is_unix = true}, tcp_endpoint = {.is_unix = false};
static char logged[65536];
static pthread_mutex_t logged_lock = PTHREAD_MUTEX_INITIALIZER; /* the prober logs too */

static void remember(void *context, enum log_level level, const char *line)
{
	size_t len;

	(void)context;
	(void)level;
	pthread_mutex_lock(&logged_lock);
	len = strlen(logged);
	snprintf(logged + len, sizeof(logged) - len, "%s\n", line);
	pthread_mutex_unlock(&logged_lock);
}

static void forget_logged(void)
{
	pthread_mutex_lock(&logged_lock);
	logged[0] = '\0';
	pthread_mutex_unlock(&logged_lock);
}

static unsigned count_logged(const char *text)
{
	unsigned count = 0;

	pthread_mutex_lock(&logged_lock);
	for (const char *p = logged; (p = strstr(p, text)); p++)
		count++;
	pthread_mutex_unlock(&logged_lock);
	return count;
}

static void open_state(const char *ini)
{
	struct error err = {""};

	mailhost_configure(&host, ini);
	ck_assert_msg(lookup_open(&host.settings, &state, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_int_eq(lookup_service.worker_open(state, &worker, &err), RESULT_FOUND);
}

static void close_state(void)
{
	lookup_service.worker_close(worker);
	lookup_free(state);
	worker = state = NULL;
}

static void open_connection(void)
{
	int pair[2];
	int size = 4 << 20;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	connection = (struct connection){.fd = pair[0], .peer = "unix-test"};
	peer = pair[1];
}

static void setup(void)
{
	log_set_sink(remember, NULL);
	mailhost_open(&host, rows, "");
	open_state(NO_CACHE);
	open_connection();
}

static void teardown(void)
{
	lookup_service.close(&connection);
	buf_free(&connection.in);
	close(connection.fd);
	close(peer);
	close_state();
	mailhost_close(&host);
	log_set_sink(NULL, NULL);
}

static enum serve_next feed(const void *data, size_t len)
{
	buf_append(&connection.in, data, len);
	return lookup_service.handle(&connection, state, worker);
}

/* What has come back so far. */
static const char *received(void)
{
	static struct buf reply;
	enum io_result result;

	buf_reset(&reply);
	do
		result = io_read_now(peer, &reply, 65536);
	while (result == IO_OK);
	return buf_str(&reply);
}

/* One request, its reply without the netstring around it. */
static const char *ask(const char *request)
{
	static char text[512];
	struct buf bytes = BUF_INIT;
	const char *reply, *payload;
	size_t len, used;

	netstring_append(&bytes, request, strlen(request));
	ck_assert_int_eq(feed(bytes.data, bytes.len), SERVE_PARK);
	buf_free(&bytes);
	ck_assert_uint_eq(connection.in.len, 0);
	reply = received();
	ck_assert_int_eq(netstring_parse(reply, strlen(reply), 100000, &payload, &len, &used),
			 PARSE_OK);
	ck_assert_msg(reply[used] == '\0', "more than one netstring: %s", reply);
	snprintf(text, sizeof(text), "%.*s", (int)len, payload);
	return text;
}

static void assert_prefix(const char *text, const char *prefix)
{
	ck_assert_msg(strncmp(text, prefix, strlen(prefix)) == 0, "%s is not %s...", text, prefix);
}

START_TEST(answers)
{
	ck_assert_str_eq(ask("virtual_alias_maps sales+x@example.com"), "OK alice+x@example.com");
	ck_assert_str_eq(ask("virtual_alias_maps nobody@example.com"), "NOTFOUND ");
	ck_assert_str_eq(ask("virtual_mailbox_domains example.com"), "OK example.com");
	assert_prefix(ask("virtual_alias_maps cmd@example.com"), "PERM ");
	mailhost_fail(1, RESULT_TEMP);
	assert_prefix(ask("virtual_alias_maps sales@example.com"), "TEMP ");
}
END_TEST

START_TEST(key_may_hold_blanks)
{
	ck_assert_str_eq(ask("virtual_alias_maps a b@example.com"), "OK \"a b\"@example.com");
	ck_assert_str_eq(ask("virtual_alias_maps  alice@example.com"), "NOTFOUND ");
}
END_TEST

START_TEST(requests_that_name_no_map_are_perm)
{
	assert_prefix(ask("virtual_alias_mapz alice@example.com"), "PERM no map is called");
	assert_prefix(ask("virtual_alias_maps"), "PERM ");
	assert_prefix(ask(""), "PERM ");
	assert_prefix(ask(" alice@example.com"), "PERM ");
	assert_prefix(ask("bad\n\033map key"), "PERM no map is called \"bad ?map\"");
	ck_assert_str_eq(ask("virtual_alias_maps "), "NOTFOUND ");
}
END_TEST

START_TEST(byte_by_byte)
{
	static const char request[] = "36:virtual_alias_maps sales@example.com,";

	for (size_t i = 0; i + 1 < sizeof(request) - 1; i++) {
		ck_assert_int_eq(feed(request + i, 1), SERVE_PARK);
		ck_assert_str_eq(received(), "");
	}
	ck_assert_int_eq(feed(",", 1), SERVE_PARK);
	ck_assert_str_eq(received(), "20:OK alice@example.com,");
}
END_TEST

START_TEST(pipelined)
{
	static const char two[] = "36:virtual_alias_maps sales@example.com,"
				  "37:virtual_alias_maps nobody@example.com,"
				  "17:quota alice";

	ck_assert_int_eq(feed(two, sizeof(two) - 1), SERVE_PARK);
	ck_assert_str_eq(received(), "20:OK alice@example.com,9:NOTFOUND ,");
	ck_assert_str_eq(buf_str(&connection.in), "17:quota alice");
	ck_assert_int_eq(feed("@x.tst,", 7), SERVE_PARK);
	ck_assert_str_eq(received(), "9:NOTFOUND ,");
}
END_TEST

static const char *const malformed[] = {
	"abc",
	":,",
	"-1:,",
	" 5:hello,",
	"01:x,",
	"5:hello;",
	"5:hello\n",
	"2147483648:",
	"2147483647:virtual",
	"99999999999999999999:",
	"100001:",
	"GET / HTTP/1.0\r\n\r\n",
	"\r\n",
	"5 hello,",
};

START_TEST(malformed_is_logged_and_closed)
{
	forget_logged();
	ck_assert_int_eq(feed(malformed[_i], strlen(malformed[_i])), SERVE_CLOSE);
	ck_assert_str_eq(received(), "");
	ck_assert_uint_eq(count_logged("peer=unix-test"), 1);
}
END_TEST

START_TEST(malformed_after_a_request)
{
	static const char bytes[] = "36:virtual_alias_maps sales@example.com,junk";

	ck_assert_int_eq(feed(bytes, sizeof(bytes) - 1), SERVE_CLOSE);
	ck_assert_str_eq(received(), "20:OK alice@example.com,");
}
END_TEST

START_TEST(long_keys_are_not_found)
{
	struct buf request = BUF_INIT;

	buf_puts(&request, "100000:virtual_alias_maps ");
	for (size_t i = 0; i < 100000 - strlen("virtual_alias_maps "); i++)
		buf_putc(&request, 'a');
	buf_putc(&request, ',');
	ck_assert_uint_lt(request.len, lookup_service.input_max);
	ck_assert_int_eq(feed(request.data, request.len), SERVE_PARK);
	ck_assert_str_eq(received(), "9:NOTFOUND ,");
	buf_free(&request);
}
END_TEST

START_TEST(reply_of_the_largest_size)
{
	static const char request[] = "35:virtual_alias_maps full@example.com,";
	const char *reply;

	ck_assert_int_eq(feed(request, sizeof(request) - 1), SERVE_PARK);
	reply = received();
	assert_prefix(reply, "100000:OK aaa");
	ck_assert_uint_eq(strlen(reply), strlen("100000:,") + 100000);
}
END_TEST

START_TEST(without_a_worker_state_all_is_temp)
{
	static const char request[] = "36:virtual_alias_maps sales@example.com,";

	buf_append(&connection.in, request, sizeof(request) - 1);
	ck_assert_int_eq(lookup_service.handle(&connection, state, NULL), SERVE_PARK);
	ck_assert_ptr_nonnull(strstr(received(), ":TEMP "));
}
END_TEST

START_TEST(peer_gone)
{
	static const char request[] = "36:virtual_alias_maps sales@example.com,";

	ck_assert_int_eq(shutdown(peer, SHUT_RDWR), 0);
	ck_assert_int_eq(feed(request, sizeof(request) - 1), SERVE_CLOSE);
}
END_TEST

START_TEST(database_away_and_back)
{
	char away[160];
	struct error err;

	ck_assert_str_eq(ask("virtual_mailbox_domains example.com"), "OK example.com");
	snprintf(away, sizeof(away), "%s.away", host.database);
	ck_assert_int_eq(rename(host.database, away), 0);
	close_state();
	open_state(NO_CACHE);
	forget_logged();
	for (int i = 0; i < 5; i++)
		assert_prefix(ask("virtual_mailbox_domains example.com"), "TEMP ");
	/* Judged without the database: no sign that it is back. */
	ck_assert_str_eq(ask("virtual_mailbox_domains *"), "NOTFOUND ");
	ck_assert_uint_eq(count_logged("database away"), 1);
	ck_assert_uint_eq(count_logged("database is back"), 0);
	ck_assert_int_eq(lookup_check(state, &err), RESULT_TEMP);
	ck_assert_int_eq(rename(away, host.database), 0);
	/* The driver asks a dead database again after [database] retry_interval. */
	for (struct deadline end = deadline_in(10000); !deadline_passed(end);)
		if (strcmp(ask("virtual_mailbox_domains example.com"), "OK example.com") == 0)
			break;
	ck_assert_str_eq(ask("virtual_mailbox_domains example.com"), "OK example.com");
	ck_assert_uint_eq(count_logged("database away"), 1);
	ck_assert_uint_eq(count_logged("database is back"), 1);
}
END_TEST

#define CACHED "[lookup]\npositive_ttl = 1h\nnegative_ttl = 1h\n"
#define OLD    "[lookup]\npositive_ttl = 1ms\nnegative_ttl = 1ms\nstale_ttl = 1h\n"

static void change_rows(void)
{
	mailhost_sql(&host,
		     "UPDATE t_alias SET members = 'new@example.com'"
		     " WHERE address = 'sales@example.com';"
		     "INSERT INTO t_mailbox (address, path) VALUES ('new@example.com', 'n/')");
}

static void reopen(const char *ini)
{
	close_state();
	open_state(ini);
}

START_TEST(cache_remembers_found_and_none)
{
	reopen(CACHED);
	ck_assert_str_eq(ask("virtual_alias_maps sales@example.com"), "OK alice@example.com");
	ck_assert_str_eq(ask("virtual_mailbox_maps new@example.com"), "NOTFOUND ");
	change_rows();
	ck_assert_str_eq(ask("virtual_alias_maps sales@example.com"), "OK alice@example.com");
	ck_assert_str_eq(ask("virtual_mailbox_maps new@example.com"), "NOTFOUND ");
	/* As asked: another map, another case or another key is another entry. */
	ck_assert_str_eq(ask("virtual_alias_maps Sales@example.com"), "OK new@example.com");
	ck_assert_str_eq(ask("quota sales@example.com"), "NOTFOUND ");
	/* A reload begins a new one. */
	reopen(CACHED);
	ck_assert_str_eq(ask("virtual_alias_maps sales@example.com"), "OK new@example.com");
	ck_assert_str_eq(ask("virtual_mailbox_maps new@example.com"), "OK n/");
}
END_TEST

START_TEST(cache_off)
{
	ck_assert_str_eq(ask("virtual_alias_maps sales@example.com"), "OK alice@example.com");
	change_rows();
	ck_assert_str_eq(ask("virtual_alias_maps sales@example.com"), "OK new@example.com");
	reopen("[lookup]\ncache_size = 0\n");
	ck_assert_str_eq(ask("virtual_alias_maps sales@example.com"), "OK new@example.com");
}
END_TEST

START_TEST(cache_never_remembers_trouble)
{
	reopen(CACHED);
	mailhost_fail(1, RESULT_TEMP);
	assert_prefix(ask("virtual_alias_maps sales@example.com"), "TEMP ");
	ck_assert_str_eq(ask("virtual_alias_maps sales@example.com"), "OK alice@example.com");
	assert_prefix(ask("virtual_alias_maps cmd@example.com"), "PERM ");
	mailhost_sql(&host, "UPDATE t_alias SET members = 'alice@example.com'"
			    " WHERE address = 'cmd@example.com'");
	ck_assert_str_eq(ask("virtual_alias_maps cmd@example.com"), "OK alice@example.com");
}
END_TEST

/* Lets the lifetimes of OLD pass. */
static void age(void)
{
	struct deadline end = deadline_in(5);

	while (!deadline_passed(end))
		;
}

static void assert_stale(const char *request, const char *fresh, const char *stale)
{
	mailhost_fail(0, RESULT_FOUND);
	ck_assert_str_eq(ask(request), fresh);
	age();
	mailhost_fail(1, RESULT_TEMP);
	assert_prefix(ask(request), stale);
}

START_TEST(cache_serves_old_answers_while_the_database_is_away)
{
	reopen(OLD);
	forget_logged();
	assert_stale("virtual_alias_maps sales@example.com", "OK alice@example.com",
		     "OK alice@example.com");
	assert_stale("virtual_mailbox_domains example.com", "OK example.com", "OK example.com");
	assert_stale("virtual_alias_maps x@remote.test", "NOTFOUND ", "NOTFOUND ");
	assert_stale("transport_maps alice@example.com", "NOTFOUND ", "NOTFOUND ");
	mailhost_fail(1, RESULT_TEMP);
	assert_prefix(ask("virtual_alias_maps never-asked@example.com"), "TEMP ");
	ck_assert_uint_ge(count_logged("serving old answers"), 1);
}
END_TEST

START_TEST(cache_never_refuses_with_an_old_none)
{
	reopen(OLD);
	assert_stale("virtual_mailbox_domains new.test", "NOTFOUND ", "TEMP ");
	assert_stale("virtual_mailbox_maps new@example.com", "NOTFOUND ", "TEMP ");
	assert_stale("relay_domains new.test", "NOTFOUND ", "TEMP ");
	assert_stale("relay_recipient_maps x@new.test", "NOTFOUND ", "TEMP ");
	assert_stale("smtpd_sender_login_maps new@example.com", "NOTFOUND ", "TEMP ");
}
END_TEST

/* Where another answer that we have keeps the mail flowing, an old NONE may be given. */
START_TEST(cache_gives_an_old_none_that_cannot_refuse)
{
	reopen(OLD);
	ask("virtual_mailbox_domains example.com");
	ask("virtual_alias_maps sales@example.com");
	assert_stale("relay_domains example.com", "NOTFOUND ", "NOTFOUND ");
	assert_stale("virtual_mailbox_maps sales@example.com", "NOTFOUND ", "NOTFOUND ");
	assert_stale("virtual_mailbox_maps Sales@example.com", "NOTFOUND ", "TEMP ");
	assert_stale("relay_domains new.test", "NOTFOUND ", "TEMP ");
	/* A domain of ours: an alias may be new, and must not be queued unexpanded. */
	assert_stale("virtual_alias_maps nobody@example.com", "NOTFOUND ", "TEMP ");
	assert_stale("virtual_alias_maps nobody@Example.COM", "NOTFOUND ", "TEMP ");
	assert_stale("virtual_alias_maps x@remote.test", "NOTFOUND ", "NOTFOUND ");
	assert_stale("recipient_bcc_maps x@remote.test", "NOTFOUND ", "NOTFOUND ");
	assert_stale("smtp_tls_policy_maps remote.test", "NOTFOUND ", "TEMP ");
	/* Judged by the key alone, and certain. */
	assert_stale("virtual_alias_maps @example.com", "NOTFOUND ", "NOTFOUND ");
	assert_stale("virtual_mailbox_domains *", "NOTFOUND ", "NOTFOUND ");
}
END_TEST

/* What is remembered of each key, then what is left after a flush. */
static void assert_flushed(const char *key, const char *reply, unsigned left)
{
	static const char *const requests[] = {
		"virtual_alias_maps sales@example.com",
		"virtual_alias_maps Sales@EXAMPLE.com",
		"virtual_alias_maps sales+x@example.com",
		"virtual_alias_maps \"sales\"@example.com",
		"quota sales@example.com",
		"virtual_alias_maps salesman@example.com",
		"virtual_alias_maps sales@other.test",
		"virtual_mailbox_domains example.com",
		"transport_maps example.com",
		"virtual_alias_maps a+b@example.com",
	};
	char request[128];
	unsigned before, calls;

	reopen(CACHED);
	connection.endpoint = &unix_endpoint;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		ask(requests[i]);
	snprintf(request, sizeof(request), "postern.flush %s", key);
	assert_prefix(ask(request), reply);
	calls = 0;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		before = mailhost_calls();
		ask(requests[i]);
		calls += mailhost_calls() == before;
	}
	ck_assert_msg(calls == left, "flush %s left %u", key, calls);
}

START_TEST(flush)
{
	assert_flushed("sales@example.com", "OK 5", 5);
	assert_flushed("\"SALES\"@Example.com", "OK 5", 5);
	assert_flushed("sales+x@example.com", "OK 1", 9);
	assert_flushed("a@example.com", "OK 1", 9);
	assert_flushed("example.com", "OK 9", 1);
	assert_flushed("Example.COM", "OK 9", 1);
	assert_flushed("@example.com", "OK 9", 1);
	assert_flushed("other.test", "OK 1", 9);
	assert_flushed("com", "OK 0", 10);
	assert_flushed("all", "OK 10", 0);
	assert_flushed("nobody@example.com", "OK 0", 10);
	assert_flushed("", "PERM name an address", 10);
	assert_flushed("two words", "PERM name an address", 10);
	connection.endpoint = &tcp_endpoint;
	assert_prefix(ask("postern.flush all"), "PERM ");
	connection.endpoint = NULL;
	assert_prefix(ask("postern.flush all"), "PERM ");
	assert_prefix(ask("postern.flush"), "PERM ");
}
END_TEST

START_TEST(flush_without_a_cache)
{
	connection.endpoint = &unix_endpoint;
	ck_assert_str_eq(ask("postern.flush all"), "OK 0");
}
END_TEST

START_TEST(cache_old_answers_end)
{
	reopen("[lookup]\npositive_ttl = 1ms\nstale_ttl = 1ms\n");
	assert_stale("virtual_alias_maps sales@example.com", "OK alice@example.com", "TEMP ");
}
END_TEST

#define SITE_MAP(name)                                                                             \
	"[map " name "]\nquery = \"SELECT members FROM t_alias WHERE address = :key\"\n"

START_TEST(site_maps_have_lifetimes_of_their_own)
{
	close_state();
	open_state("[lookup]\npositive_ttl = 0\nnegative_ttl = 0\n" SITE_MAP(
		"kept") "positive_ttl = 1h\n" SITE_MAP("fresh"));
	ck_assert_str_eq(ask("kept sales@example.com"), "OK alice@example.com");
	ck_assert_str_eq(ask("fresh sales@example.com"), "OK alice@example.com");
	ck_assert_str_eq(ask("kept new@example.com"), "NOTFOUND ");
	mailhost_sql(&host, "UPDATE t_alias SET members = 'bob@example.com';"
			    "INSERT INTO t_alias (address, members) VALUES ('new@example.com', "
			    "'new')");
	ck_assert_str_eq(ask("kept sales@example.com"), "OK alice@example.com");
	ck_assert_str_eq(ask("fresh sales@example.com"), "OK bob@example.com");
	ck_assert_str_eq(ask("kept new@example.com"), "OK new");
}
END_TEST

START_TEST(site_maps_are_told_at_start)
{
	struct error err = {""};
	struct buf text = BUF_INIT;

	close_state();
	open_state(NO_CACHE SITE_MAP("virtual_alias_maps") "[map bad]\nquery = \"SELEC :key\"\n");
	ck_assert_uint_eq(count_logged("[map virtual_alias_maps] replaces"), 1);
	ck_assert_msg(lookup_check(state, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_uint_eq(count_logged("[map bad] query \"SELEC :key\""), 1);
	ck_assert_uint_eq(count_logged("syntax error"), 1);
	ck_assert_str_eq(ask("virtual_alias_maps alice@example.com"), "NOTFOUND ");
	ck_assert_int_eq(strncmp(ask("bad alice@example.com"), "PERM ", 5), 0);
	metrics_print(&text);
	ck_assert_ptr_nonnull(strstr(buf_str(&text), "map=\"site\",result=\"none\"} 1"));
	ck_assert_ptr_nonnull(strstr(buf_str(&text), "map=\"site\",result=\"perm\"} 1"));
	buf_free(&text);
}
END_TEST

START_TEST(metrics_count)
{
	struct buf text = BUF_INIT;

	ask("virtual_alias_maps sales@example.com");
	ask("virtual_alias_maps nobody@example.com");
	ask("no_such_map x@example.com");
	mailhost_fail(1, RESULT_TEMP);
	ask("quota alice@example.com");
	metrics_print(&text);
	ck_assert_ptr_nonnull(strstr(buf_str(&text),
				     "postern_lookup_requests_total"
				     "{map=\"virtual_alias_maps\",result=\"found\"} 1\n"));
	ck_assert_ptr_nonnull(
		strstr(buf_str(&text), "{map=\"virtual_alias_maps\",result=\"none\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(buf_str(&text), "{map=\"unknown\",result=\"perm\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(buf_str(&text), "{map=\"quota\",result=\"temp\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(buf_str(&text), "postern_lookup_duration_seconds_count 4\n"));
	ck_assert_ptr_nonnull(strstr(buf_str(&text), "postern_db_up{host=\""));
	buf_free(&text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lookup");
	TCase *tests = tcase_create("lookup");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, answers);
	tcase_add_test(tests, key_may_hold_blanks);
	tcase_add_test(tests, requests_that_name_no_map_are_perm);
	tcase_add_test(tests, byte_by_byte);
	tcase_add_test(tests, pipelined);
	tcase_add_loop_test(tests, malformed_is_logged_and_closed, 0,
			    (int)(sizeof(malformed) / sizeof(malformed[0])));
	tcase_add_test(tests, malformed_after_a_request);
	tcase_add_test(tests, long_keys_are_not_found);
	tcase_add_test(tests, reply_of_the_largest_size);
	tcase_add_test(tests, without_a_worker_state_all_is_temp);
	tcase_add_test(tests, peer_gone);
	tcase_add_test(tests, database_away_and_back);
	tcase_add_test(tests, cache_remembers_found_and_none);
	tcase_add_test(tests, cache_off);
	tcase_add_test(tests, cache_never_remembers_trouble);
	tcase_add_test(tests, cache_serves_old_answers_while_the_database_is_away);
	tcase_add_test(tests, cache_never_refuses_with_an_old_none);
	tcase_add_test(tests, cache_gives_an_old_none_that_cannot_refuse);
	tcase_add_test(tests, flush);
	tcase_add_test(tests, flush_without_a_cache);
	tcase_add_test(tests, cache_old_answers_end);
	tcase_add_test(tests, site_maps_have_lifetimes_of_their_own);
	tcase_add_test(tests, site_maps_are_told_at_start);
	tcase_add_test(tests, metrics_count);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
