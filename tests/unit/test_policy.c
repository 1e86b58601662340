/* policyd's service: the real engine on a Unix socket, real SQLite, clients that misbehave. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/deadline.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/sql.h"
#include "policyd/policy.h"
#include "tests/unit/database.h"

#define FULL "552 5.2.2 Mailbox is full"

static char database[128], socket_path[100];
static struct settings settings;
static struct policy *policy;
static struct endpoint *endpoints;
static size_t endpoint_count;
static struct serve *serve;

static struct {
	pthread_mutex_t lock;
	char text[65536];
	size_t len;
} logged = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void sink(void *context, enum log_level level, const char *line)
{
	(void)context;
	(void)level;
	pthread_mutex_lock(&logged.lock);
	if (logged.len + strlen(line) + 2 < sizeof(logged.text))
		logged.len += (size_t)sprintf(logged.text + logged.len, "%s\n", line);
	pthread_mutex_unlock(&logged.lock);
}

static bool was_logged(const char *part)
{
	bool found;

	pthread_mutex_lock(&logged.lock);
	found = strstr(logged.text, part) != NULL;
	pthread_mutex_unlock(&logged.lock);
	return found;
}

static void make_database(void)
{
	snprintf(database, sizeof(database), "%s/mail.sqlite", test_folder());
	sqlite_make(database);
	sqlite_run(database,
		   "INSERT INTO domain (domain, description, transport) "
		   "VALUES ('example.com', '', '');"
		   "INSERT INTO mailbox (username, password, name, maildir, quota, local_part, "
		   "domain) VALUES ('alice@example.com', 'x', '', 'example.com/alice/', 1000, "
		   "'alice', 'example.com');"
		   "INSERT INTO quota2 (username, bytes, messages) "
		   "VALUES ('alice@example.com', 900, 3);");
}

static void load(const char *text)
{
	char path[128], ini[2048];
	struct error err = {""};

	snprintf(path, sizeof(path), "%s/postern.ini", test_folder());
	snprintf(ini, sizeof(ini), "[database]\npath = %s\n[mail]\nbase = %s\n%s", database,
		 test_folder(), text);
	test_write_file(path, ini);
	ck_assert_msg(settings_load(path, &settings, NULL, &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_msg(policy_open(&settings, &policy, &err) == RESULT_FOUND, "%s", err.text);
}

static void start(const char *text)
{
	struct endpoint_mode mode = {.mode = 0600};
	struct serve_config config = {
		.service = &policy_service, .workers = 3, .max_connections = 100};
	struct error err = {""};

	load(text);
	snprintf(socket_path, sizeof(socket_path), "%s/policy", test_folder());
	ck_assert_int_eq(endpoint_parse(socket_path, &endpoints, &endpoint_count, &err),
			 RESULT_FOUND);
	ck_assert_msg(endpoint_listen(&endpoints[0], &mode, &err) == RESULT_FOUND, "%s", err.text);
	config.endpoints = endpoints;
	config.endpoint_count = endpoint_count;
	config.state = policy;
	ck_assert_msg(serve_start(&config, &serve, &err) == RESULT_FOUND, "%s", err.text);
}

static void setup(void)
{
	struct error err;

	make_database();
	log_set_sink(sink, NULL);
	ck_assert_int_eq(sql_library_begin(&err), RESULT_FOUND);
}

static void teardown(void)
{
	if (serve)
		serve_stop(&serve, 1000);
	if (endpoints)
		endpoint_free(&endpoints, endpoint_count, true);
	policy_free(&policy);
	settings_free(&settings);
	test_cleanup();
}

static int client(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, socket_path);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void send_text(int fd, const char *text, size_t len)
{
	ck_assert_int_eq(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* The action; "" when the server closed instead. */
static const char *receive(int fd)
{
	static char reply[1024];
	size_t len = 0;

	while (len < 2 || memcmp(reply + len - 2, "\n\n", 2) != 0) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		ssize_t got;

		ck_assert_msg(poll(&ready, 1, 20000) == 1, "no reply within 20 s");
		got = read(fd, reply + len, sizeof(reply) - 1 - len);
		if (got <= 0 && len == 0)
			return "";
		ck_assert_int_gt(got, 0);
		len += (size_t)got;
	}
	reply[len - 2] = '\0';
	ck_assert_msg(strncmp(reply, "action=", 7) == 0, "%s", reply);
	ck_assert_ptr_null(strchr(reply, '\n'));
	return reply + 7;
}

static const char *ask(int fd, const char *request)
{
	send_text(fd, request, strlen(request));
	return receive(fd);
}

/* A request as Postfix 3.7 sends it. */
static const char *request(const char *state, const char *recipient, const char *instance,
			   int recipients, const char *login, const char *size)
{
	static char text[4096];

	snprintf(text, sizeof(text),
		 "request=smtpd_access_policy\nprotocol_state=%s\nprotocol_name=ESMTP\n"
		 "client_address=192.0.2.1\nclient_name=client.example.test\nclient_port=4711\n"
		 "reverse_client_name=client.example.test\nserver_address=192.0.2.2\n"
		 "server_port=25\nhelo_name=client.example.test\nsender=alice@example.com\n"
		 "recipient=%s\nrecipient_count=%d\nqueue_id=4F2C\ninstance=%s\nsize=%s\n"
		 "etrn_domain=\nstress=\nsasl_method=PLAIN\nsasl_username=%s\nsasl_sender=\n"
		 "ccert_subject=\nccert_issuer=\nccert_fingerprint=\n"
		 "ccert_pubkey_fingerprint=\nencryption_protocol=\nencryption_cipher=\n"
		 "encryption_keysize=0\npolicy_context=\n\n",
		 state, recipient, recipients, instance, size, login);
	return text;
}

static const char limit_of_ten[] = "[limit outbound]\nkey = sasl_user\nmax = 10\nwindow = 1h\n";
#define OVER "450 4.7.1 Limit of 10 recipients in 1h exceeded, try again later"

START_TEST(every_state_is_answered)
{
	static const char *const states[] = {"CONNECT", "EHLO", "HELO", "MAIL",
					     "RCPT",    "DATA", "VRFY", "END-OF-MESSAGE",
					     "ETRN",    "BDAT", ""};
	int fd;

	start(limit_of_ten);
	fd = client();
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		ck_assert_str_eq(ask(fd, request(states[i], "", "", 0, "", "")), "DUNNO");
	ck_assert_str_eq(ask(fd, "\n"), "DUNNO");
	ck_assert_str_eq(ask(fd, "request=junk\n\n"), "DUNNO");
	ck_assert_str_eq(ask(fd, "tls_sni=new\nfoo=bar=baz\nprotocol_state=RCPT\n\n"), "DUNNO");
	close(fd);
}
END_TEST

START_TEST(byte_by_byte)
{
	const char *text;
	int fd;

	start(limit_of_ten);
	fd = client();
	text = request("DATA", "", "a.1", 11, "alice@example.com", "");
	for (; *text; text++) {
		int unread;

		send_text(fd, text, 1);
		do /* until it is read */
			ck_assert_int_eq(ioctl(fd, TIOCOUTQ, &unread), 0);
		while (unread > 0 && sched_yield() == 0);
	}
	ck_assert_str_eq(receive(fd), OVER);
	close(fd);
}
END_TEST

START_TEST(eleven_refused_then_ten)
{
	int fd;

	start(limit_of_ten);
	fd = client();
	ck_assert_str_eq(ask(fd, request("DATA", "", "a.1", 11, "Alice@example.com", "")), OVER);
	ck_assert_str_eq(ask(fd, request("DATA", "", "a.2", 10, "alice@example.com", "")), "DUNNO");
	ck_assert_str_eq(ask(fd, request("DATA", "x@y", "a.3", 1, "alice@example.com", "")), OVER);
	ck_assert_str_eq(ask(fd, request("RCPT", "x@y", "a.3", 0, "alice@example.com", "")), OVER);
	ck_assert_str_eq(ask(fd, request("DATA", "", "a.4", 10, "bob@example.com", "")), "DUNNO");
	ck_assert_str_eq(ask(fd, request("DATA", "", "a.5", 100, "", "")), "DUNNO");
	ck_assert(was_logged("rule=outbound action=defer key=<alice@example.com> level=11/10 "
			     "count=recipients state=DATA queue_id=4F2C instance=a.1"));
	close(fd);
}
END_TEST

START_TEST(retry_and_end_of_message_are_charged_once)
{
	int fd;

	start(limit_of_ten);
	fd = client();
	ck_assert_str_eq(ask(fd, request("DATA", "", "a.1", 10, "alice@example.com", "")), "DUNNO");
	close(fd);
	fd = client(); /* as Postfix does after a lost reply */
	ck_assert_str_eq(ask(fd, request("DATA", "", "a.1", 10, "alice@example.com", "")), "DUNNO");
	ck_assert_str_eq(
		ask(fd, request("END-OF-MESSAGE", "", "a.1", 10, "alice@example.com", "99")),
		"DUNNO");
	ck_assert_str_eq(ask(fd, request("DATA", "", "a.2", 1, "alice@example.com", "")), OVER);
	/* Hooked at the end only. */
	ck_assert_str_eq(ask(fd, request("END-OF-MESSAGE", "", "b.1", 11, "bob@example.com", "99")),
			 OVER);
	ck_assert_str_eq(ask(fd, request("END-OF-MESSAGE", "", "b.2", 10, "bob@example.com", "99")),
			 "DUNNO");
	close(fd);
}
END_TEST

START_TEST(odd_recipient_counts_count_as_one)
{
	static const char *const counts[] = {"", "0", "-5", "x", "1x", "99999999999999999999"};
	char text[256];
	int fd;

	start(limit_of_ten);
	fd = client();
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		snprintf(text, sizeof(text),
			 "protocol_state=DATA\nsasl_username=a\nrecipient_count=%s\n\n", counts[i]);
		ck_assert_msg(strcmp(ask(fd, text), "DUNNO") == 0, "%s", counts[i]);
	}
	ck_assert_str_eq(ask(fd, "protocol_state=DATA\nsasl_username=a\nrecipient_count=5\n\n"),
			 OVER);
	ck_assert_str_eq(ask(fd, "protocol_state=DATA\nsasl_username=a\nrecipient_count=4\n\n"),
			 "DUNNO");
	close(fd);
}
END_TEST

/* More clients than workers, each in the middle of a request. */
START_TEST(interleaved_clients)
{
	enum { CLIENTS = 12 };
	char texts[CLIENTS][4096];
	int fds[CLIENTS], passed = 0;

	start(limit_of_ten);
	for (int i = 0; i < CLIENTS; i++) {
		char instance[16];

		fds[i] = client();
		snprintf(instance, sizeof(instance), "c.%d", i);
		strcpy(texts[i], request("DATA", "", instance, 2, "alice@example.com", ""));
		send_text(fds[i], texts[i], 100);
	}
	for (int i = CLIENTS - 1; i >= 0; i--)
		send_text(fds[i], texts[i] + 100, 100);
	for (int i = 0; i < CLIENTS; i++)
		send_text(fds[i], texts[i] + 200, strlen(texts[i]) - 200);
	for (int i = 0; i < CLIENTS; i++) {
		passed += strcmp(receive(fds[i]), "DUNNO") == 0;
		close(fds[i]);
	}
	ck_assert_int_eq(passed, 5);
}
END_TEST

START_TEST(two_requests_in_one_write)
{
	char text[8192];
	int fd;

	start(limit_of_ten);
	fd = client();
	strcpy(text, request("DATA", "", "a.1", 10, "alice@example.com", ""));
	strcat(text, "protocol_state=VRFY\n\n");
	send_text(fd, text, strlen(text));
	for (int replies = 0; replies < 2;) {
		char reply[256];
		const ssize_t got = recv(fd, reply, sizeof(reply) - 1, 0);

		ck_assert_int_gt(got, 0);
		reply[got] = '\0';
		for (const char *at = reply; (at = strstr(at, "action=DUNNO\n\n")); at++)
			replies++;
	}
	close(fd);
}
END_TEST

START_TEST(rubbish_gets_no_reply)
{
	static char endless[POLICY_REQUEST_MAX + 100];
	int fd;

	start(limit_of_ten);
	fd = client();
	ck_assert_str_eq(ask(fd, "GET / HTTP/1.0\r\n\r\n"), "");
	close(fd);
	ck_assert(was_logged("not a policy request"));
	fd = client();
	send_text(fd, "a=b\0c\n\n", 7);
	ck_assert_str_eq(receive(fd), "");
	close(fd);
	fd = client();
	memset(endless, 'x', sizeof(endless));
	(void)!send(fd, endless, sizeof(endless), MSG_NOSIGNAL);
	{
		char byte;
		const ssize_t got = recv(fd, &byte, 1, 0);

		ck_assert(got == 0 || (got < 0 && errno == ECONNRESET));
	}
	close(fd);
	/* The others are served. */
	fd = client();
	ck_assert_str_eq(ask(fd, "protocol_state=RCPT\n\n"), "DUNNO");
	close(fd);
}
END_TEST

START_TEST(mailbox_quota)
{
	int fd;

	start("[policy]\nmailbox_quota = yes\n");
	fd = client();
	ck_assert_str_eq(ask(fd, request("RCPT", "alice@example.com", "q.1", 0, "", "100")),
			 "DUNNO");
	ck_assert_str_eq(ask(fd, request("RCPT", "Alice+x@example.com", "q.1", 0, "", "101")),
			 FULL);
	ck_assert_str_eq(ask(fd, request("RCPT", "alice@example.com", "q.1", 0, "", "")), "DUNNO");
	ck_assert_str_eq(ask(fd, request("RCPT", "bob@example.com", "q.1", 0, "", "999999")),
			 "DUNNO");
	ck_assert_str_eq(ask(fd, request("RCPT", "x@remote.test", "q.1", 0, "", "999999")),
			 "DUNNO");
	ck_assert_str_eq(ask(fd, request("DATA", "alice@example.com", "q.1", 1, "", "999999")),
			 "DUNNO");
	ck_assert(was_logged("rule=mailbox_quota action=reject key=<alice@example.com> "
			     "level=900/1000"));
	close(fd);
}
END_TEST

START_TEST(mailbox_quota_off)
{
	int fd;

	start("[policy]\nmailbox_quota = no\n");
	fd = client();
	ck_assert_str_eq(ask(fd, request("RCPT", "alice@example.com", "q.1", 0, "", "9999")),
			 "DUNNO");
	close(fd);
}
END_TEST

/* The database goes: mail passes, limits go on, it is logged; it comes back: quotas count again. */
START_TEST(database_away_and_back)
{
	char away[160];
	int fd;

	start(limit_of_ten);
	snprintf(away, sizeof(away), "%s.away", database);
	ck_assert_int_eq(rename(database, away), 0);
	fd = client();
	ck_assert_str_eq(ask(fd, request("RCPT", "alice@example.com", "q.1", 0, "", "9999")),
			 "DUNNO");
	ck_assert(was_logged("quota not checked"));
	ck_assert_str_eq(ask(fd, request("DATA", "", "q.2", 11, "alice@example.com", "")), OVER);
	ck_assert_int_eq(rename(away, database), 0);
	/* The handle may wait a little before it tries again. */
	for (const struct deadline end = deadline_in(30000); !deadline_passed(end);) {
		if (strcmp(ask(fd, request("RCPT", "alice@example.com", "q.3", 0, "", "9999")),
			   FULL) == 0)
			break;
		usleep(10000);
	}
	ck_assert_str_eq(ask(fd, request("RCPT", "alice@example.com", "q.3", 0, "", "9999")), FULL);
	close(fd);
}
END_TEST

START_TEST(without_a_worker)
{
	struct policy_request parsed;
	struct buf action = BUF_INIT;
	const char *text = request("RCPT", "alice@example.com", "q.1", 0, "", "9999");
	size_t used;

	load(limit_of_ten);
	ck_assert_int_eq(policy_request_parse(text, strlen(text), &parsed, &used), PARSE_OK);
	policy_decide(policy, NULL, &parsed, "unix", 0, &action);
	ck_assert_str_eq(buf_str(&action), "DUNNO");
	buf_free(&action);
}
END_TEST

START_TEST(metrics_tell)
{
	struct buf out = BUF_INIT;
	int fd;

	start(limit_of_ten);
	fd = client();
	ck_assert_str_eq(ask(fd, request("DATA", "", "a.1", 11, "alice@example.com", "")), OVER);
	metrics_print(&out);
	ck_assert_ptr_nonnull(
		strstr(buf_str(&out), "postern_policy_requests_total{state=\"data\"} 1\n"));
	ck_assert_ptr_nonnull(
		strstr(buf_str(&out),
		       "postern_policy_decisions_total{rule=\"outbound\",action=\"defer\"} 1\n"));
	buf_free(&out);
	close(fd);
}
END_TEST

START_TEST(check_needs_the_database)
{
	struct error err;

	load(limit_of_ten);
	ck_assert_int_eq(policy_check(policy, &err), RESULT_FOUND);
	ck_assert_int_eq(unlink(database), 0);
	ck_assert_int_ne(policy_check(policy, &err), RESULT_FOUND);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("policy");
	TCase *tests = tcase_create("policy");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, every_state_is_answered);
	tcase_add_test(tests, byte_by_byte);
	tcase_add_test(tests, eleven_refused_then_ten);
	tcase_add_test(tests, retry_and_end_of_message_are_charged_once);
	tcase_add_test(tests, odd_recipient_counts_count_as_one);
	tcase_add_test(tests, interleaved_clients);
	tcase_add_test(tests, two_requests_in_one_write);
	tcase_add_test(tests, rubbish_gets_no_reply);
	tcase_add_test(tests, mailbox_quota);
	tcase_add_test(tests, mailbox_quota_off);
	tcase_add_test(tests, database_away_and_back);
	tcase_add_test(tests, without_a_worker);
	tcase_add_test(tests, metrics_tell);
	tcase_add_test(tests, check_needs_the_database);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
