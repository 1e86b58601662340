/*
 * sasl-authd: both parsers byte by byte, both services over a socket pair, and the daemon itself
 * with testsaslauthd and with libsasl2 as its clients.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <sasl/sasl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/settings.h"
#include "sasl-auxprop-sql/authdaemond.h"
#include "sasl-auxprop-sql/saslauthd.h"
#include "sasl-auxprop-sql/verdict.h"
#include "tests/unit/sasl_harness.h"

#define ALICE "alice@example.test"
#define SHA512_CRYPT_FOO                                                                           \
	"$6$ijF8bgunALqnEHTo$LHVa6XQBpM5Gt16RMFQuXqrGAS0y0ymaLS8pnkeVUTSx3t2DrGqWwRj6q4ef3V3SWYkb" \
	"5xkuN9bv7joxNd8kA1"
#define BYTES(text) text, sizeof(text) - 1
#define READY_MS    20000

static struct host host;

/* --- parsers ------------------------------------------------------------------------------- */

/* From a copy of exactly LEN bytes, so that a sanitizer sees a read behind the end. */
static enum parse saslauthd_exact(const char *data, size_t len, struct saslauthd_request *request,
				  size_t *used)
{
	char *copy = malloc(len > 0 ? len : 1);
	enum parse parse;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, data, len);
	parse = saslauthd_parse(copy, len, request, used);
	if (parse == PARSE_OK) {
		ck_assert(request->realm.data + request->realm.len <= copy + len);
		ck_assert_uint_le(*used, len);
	}
	free(copy);
	return parse;
}

#define FOUR "\0\5alice\0\4test\0\4smtp\0\14example.test"

START_TEST(saslauthd_byte_by_byte)
{
	static const char four[] = FOUR, five[] = FOUR "\0\13"
						       "127.0.0.1;1";
	size_t four_len = sizeof(four) - 1, five_len = sizeof(five) - 1, used;
	struct saslauthd_request request;

	for (size_t len = 0; len < four_len; len++)
		ck_assert_int_eq(saslauthd_exact(four, len, &request, &used), PARSE_MORE);
	for (size_t len = four_len; len <= five_len; len++) {
		ck_assert_int_eq(saslauthd_exact(five, len, &request, &used), PARSE_OK);
		ck_assert_uint_eq(used, len == five_len ? five_len : four_len);
		ck_assert(len == five_len || request.client.data == NULL);
	}
	ck_assert_int_eq(saslauthd_parse(five, five_len, &request, &used), PARSE_OK);
	ck_assert_uint_eq(request.user.len, 5);
	ck_assert_mem_eq(request.user.data, "alice", 5);
	ck_assert_mem_eq(request.password.data, "test", 4);
	ck_assert_mem_eq(request.service.data, "smtp", 4);
	ck_assert_uint_eq(request.realm.len, 12);
	ck_assert_uint_eq(request.client.len, 11);
	ck_assert_mem_eq(request.client.data, "127.0.0.1;1", 11);
}
END_TEST

START_TEST(saslauthd_limits)
{
	struct saslauthd_request request;
	size_t used;

	ck_assert_int_eq(saslauthd_exact(BYTES("\4"), &request, &used), PARSE_MORE);
	ck_assert_int_eq(saslauthd_exact(BYTES("\4\0"), &request, &used), PARSE_MORE);
	ck_assert_int_eq(saslauthd_exact(BYTES("\4\1"), &request, &used), PARSE_BAD);
	ck_assert_int_eq(saslauthd_exact(BYTES("\377\377"), &request, &used), PARSE_BAD);
	ck_assert_int_eq(saslauthd_exact(BYTES("\0\0\0\0\0\0\0\0"), &request, &used), PARSE_OK);
	ck_assert_uint_eq(used, 8);
	/* A fifth string of any length does not spoil the four. */
	ck_assert_int_eq(saslauthd_exact(BYTES("\0\0\0\0\0\0\0\0\377\377x"), &request, &used),
			 PARSE_OK);
	ck_assert_uint_eq(used, 8);
}
END_TEST

static enum parse authdaemond_exact(const char *data, size_t len,
				    struct authdaemond_request *request, size_t *used)
{
	char *copy = malloc(len > 0 ? len : 1);
	enum parse parse;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, data, len);
	parse = authdaemond_parse(copy, len, request, used);
	ck_assert_uint_le(*used, len);
	free(copy);
	return parse;
}

#define LINES "smtp\nlogin\n" ALICE "\ntest\n"

START_TEST(authdaemond_byte_by_byte)
{
	static const char plain[] = "AUTH 35\n" LINES "\n";
	static const char remote[] = "TCPREMOTEIP=192.0.2.1\nAUTH 35\n" LINES;
	struct authdaemond_request request;
	size_t used;

	ck_assert_uint_eq(sizeof(LINES) - 1, 35);
	/* One newline behind the counted bytes is libsasl's habit. */
	for (size_t len = 0; len < sizeof(plain) - 2; len++)
		ck_assert_int_eq(authdaemond_exact(plain, len, &request, &used), PARSE_MORE);
	ck_assert_int_eq(authdaemond_exact(BYTES(plain), &request, &used), PARSE_OK);
	ck_assert_uint_eq(used, sizeof(plain) - 2);
	for (size_t len = 0; len < sizeof(remote) - 1; len++)
		ck_assert_int_eq(authdaemond_exact(remote, len, &request, &used), PARSE_MORE);
	ck_assert_int_eq(authdaemond_parse(BYTES(remote), &request, &used), PARSE_OK);
	ck_assert(request.is_login);
	ck_assert_uint_eq(request.user_len, strlen(ALICE));
	ck_assert_mem_eq(request.user, ALICE, strlen(ALICE));
	ck_assert_mem_eq(request.password, "test", 4);
	ck_assert_mem_eq(request.service, "smtp", 4);
	ck_assert_uint_eq(request.client_len, 9);
	ck_assert_mem_eq(request.client, "192.0.2.1", 9);
}
END_TEST

static const char *const malformed[] = {
	"AUTH \n",
	"AUTH x\n",
	"AUTH 0\n",
	"AUTH -5\n",
	"AUTH +5\n",
	"AUTH 12345\n",
	"AUTH 9000\n",
	"AUTH 35 \n",
	"AUTH 34\n" LINES,       /* the last line is not ended */
	"AUTH 36\n" LINES "x",   /* bytes behind the fourth */
	"AUTH 37\n" LINES "x\n", /* a fifth line: a newline in a field */
	"AUTH 4\na\nb\n",        /* two lines only */
	"TCPREMOTEIP=1\nAUTH x\n",
};

START_TEST(authdaemond_malformed)
{
	struct authdaemond_request request;
	size_t used;

	ck_assert_int_eq(authdaemond_exact(malformed[_i], strlen(malformed[_i]), &request, &used),
			 PARSE_BAD);
}
END_TEST

START_TEST(authdaemond_other_commands)
{
	static char line[AUTHDAEMOND_LINE_MAX + 2];
	struct authdaemond_request request;
	size_t used;

	ck_assert_int_eq(authdaemond_exact(BYTES("PRE . smtp alice\n"), &request, &used), PARSE_OK);
	ck_assert(!request.is_login);
	ck_assert_int_eq(authdaemond_exact(BYTES("AUTH 13\na\ncram\nu\npwd\n"), &request, &used),
			 PARSE_OK);
	ck_assert(!request.is_login);
	memset(line, 'x', sizeof(line));
	ck_assert_int_eq(authdaemond_exact(line, AUTHDAEMOND_LINE_MAX, &request, &used),
			 PARSE_MORE);
	ck_assert_int_eq(authdaemond_exact(line, AUTHDAEMOND_LINE_MAX + 1, &request, &used),
			 PARSE_BAD);
}
END_TEST

/* --- services over a socket pair ------------------------------------------------------------ */

static struct settings settings;
static struct authd authd;
static void *worker;

static void service_setup(void)
{
	struct error err = {""};

	host_make(&host);
	host_mailbox(&host, ALICE, "{PLAIN}test");
	log_set_level(LOG_LEVEL_ERROR);
	ck_assert_msg(settings_load(host.ini, &settings, NULL, &err) == RESULT_FOUND, "%s",
		      err.text);
	authd.settings = &settings;
	ck_assert_msg(schema_load("postfixadmin", &authd.schema, &err) == RESULT_FOUND, "%s",
		      err.text);
	ck_assert_int_eq(saslauthd_service.worker_open(&authd, &worker, &err), RESULT_FOUND);
}

static void service_teardown(void)
{
	saslauthd_service.worker_close(worker);
	schema_free(&authd.schema);
	settings_free(&settings);
	host_free(&host);
}

/* What the service replies to DATA, given to it in pieces of STEP bytes. */
static const char *reply_to(const struct service *service, void *with, const char *data, size_t len,
			    size_t step, size_t *len_r)
{
	static char reply[512];
	struct connection connection = {.in = BUF_INIT};
	enum serve_next next = SERVE_PARK;
	int pair[2];
	ssize_t got;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	connection.fd = pair[0];
	for (size_t at = 0; at < len && next == SERVE_PARK; at += step) {
		buf_append(&connection.in, data + at, len - at < step ? len - at : step);
		next = service->handle(&connection, &authd, with);
	}
	ck_assert_int_eq(next, SERVE_CLOSE);
	/* The password does not stay in the connection's memory. */
	ck_assert(connection.in.wipe);
	ck_assert_ptr_null(memmem(connection.in.data, connection.in.len, "test", 4));
	close(pair[0]);
	got = read(pair[1], reply, sizeof(reply) - 1);
	ck_assert_int_ge(got, 0);
	reply[got] = '\0';
	*len_r = (size_t)got;
	close(pair[1]);
	buf_free(&connection.in);
	return reply;
}

static void expect_saslauthd(const char *data, size_t len, const char *reply, size_t reply_len)
{
	const size_t steps[] = {len, 1};

	for (int i = 0; i < 2; i++) {
		size_t got;
		const char *text = reply_to(&saslauthd_service, worker, data, len, steps[i], &got);

		ck_assert_uint_eq(got, reply_len);
		ck_assert_mem_eq(text, reply, reply_len);
	}
}

START_TEST(saslauthd_replies)
{
	expect_saslauthd(BYTES(FOUR), BYTES("\0\2OK"));
	expect_saslauthd(BYTES("\0\22" ALICE "\0\4test\0\4smtp\0\0"), BYTES("\0\2OK"));
	expect_saslauthd(BYTES("\0\5alice\0\5wrong\0\4smtp\0\14example.test"), BYTES("\0\2NO"));
	expect_saslauthd(BYTES("\0\3bob\0\4test\0\4smtp\0\14example.test"), BYTES("\0\2NO"));
	expect_saslauthd(BYTES("\0\5alice\0\0\0\4smtp\0\14example.test"), BYTES("\0\2NO"));
	expect_saslauthd(BYTES("\0\0\0\4test\0\4smtp\0\14example.test"), BYTES("\0\2NO"));
	expect_saslauthd(BYTES("\0\0\0\0\0\0\0\0"), BYTES("\0\2NO"));
	/* A NUL in the password must not shorten it, nor one in the name. */
	expect_saslauthd(BYTES("\0\5alice\0\5test\0\0\4smtp\0\14example.test"), BYTES("\0\2NO"));
	expect_saslauthd(BYTES("\0\23" ALICE "\0\0\4test\0\4smtp\0\0"), BYTES("\0\2NO"));
	expect_saslauthd(BYTES("\4\1too long"), BYTES("\0\2NO"));
	/* The realm is part of the name. */
	expect_saslauthd(BYTES("\0\22" ALICE "\0\4test\0\4smtp\0\4more"), BYTES("\0\2NO"));
}
END_TEST

START_TEST(saslauthd_replies_nothing_known)
{
	size_t len;
	const char *reply;

	reply = reply_to(&saslauthd_service, NULL, BYTES(FOUR), sizeof(FOUR), &len);
	ck_assert_uint_eq(len, 2);
	ck_assert_mem_eq(reply, "\0\0", 2);
	host_sql(&host, "DROP TABLE mailbox");
	expect_saslauthd(BYTES(FOUR), BYTES("\0\0"));
}
END_TEST

START_TEST(an_unusable_stored_password_is_not_a_wrong_one)
{
	size_t len;

	host_sql(&host, "UPDATE mailbox SET password = '{UNKNOWN}abc'");
	expect_saslauthd(BYTES(FOUR), BYTES("\0\0"));
	reply_to(&authdaemond_service, worker, BYTES("AUTH 35\n" LINES "\n"), 1, &len);
	ck_assert_uint_eq(len, 0);
}
END_TEST

static void expect_authdaemond(const char *data, const char *reply)
{
	const size_t steps[] = {strlen(data), 1};

	for (int i = 0; i < 2; i++) {
		size_t len;

		ck_assert_str_eq(
			reply_to(&authdaemond_service, worker, data, strlen(data), steps[i], &len),
			reply);
	}
}

START_TEST(authdaemond_replies)
{
	expect_authdaemond("AUTH 35\n" LINES "\n", "ADDRESS=" ALICE "\n.\n");
	expect_authdaemond("TCPREMOTEIP=192.0.2.1\nAUTH 35\n" LINES, "ADDRESS=" ALICE "\n.\n");
	expect_authdaemond("AUTH 36\nsmtp\nlogin\n" ALICE "\nwrong\n", "FAIL\n");
	expect_authdaemond("AUTH 31\nsmtp\nlogin\n" ALICE "\n\n", "FAIL\n");
	expect_authdaemond("AUTH 17\nsmtp\nlogin\n\ntest\n", "FAIL\n");
	expect_authdaemond("AUTH 37\nsmtp\nlogin\n" ALICE "\ntest\nx\n", "FAIL\n");
	expect_authdaemond("AUTH 38\nsmtp\ncram-md5\n" ALICE "\ntest\n", "FAIL\n");
	expect_authdaemond("PRE . smtp " ALICE "\n", "FAIL\n");
	expect_authdaemond("PASSWD smtp\t" ALICE "\tx\ty\n", "FAIL\n");
	expect_authdaemond("ENUMERATE\n", "FAIL\n");
	expect_authdaemond("nonsense\n", "FAIL\n");
}
END_TEST

START_TEST(authdaemond_replies_nothing_when_not_known)
{
	size_t len;

	reply_to(&authdaemond_service, NULL, BYTES("AUTH 35\n" LINES "\n"), 1, &len);
	ck_assert_uint_eq(len, 0);
	host_sql(&host, "DROP TABLE mailbox");
	expect_authdaemond("AUTH 35\n" LINES "\n", "");
}
END_TEST

/* --- the daemon ----------------------------------------------------------------------------- */

static pid_t daemon_pid;
static char saslauthd_path[128], authdaemond_path[128];

/* Binds the datagram socket that the daemon reports to. */
static int notify_listen(char *path, size_t size)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", host.folder);
	snprintf(path, size, "%s", address.sun_path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void notify_wait(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char text[512];

	for (;;) {
		ssize_t len;

		ck_assert_msg(poll(&ready, 1, READY_MS) == 1, "sasl-authd never became ready");
		len = recv(fd, text, sizeof(text) - 1, 0);
		ck_assert_int_gt(len, 0);
		text[len] = '\0';
		if (strstr(text, "READY=1") != NULL)
			return;
	}
}

static void daemon_setup(void)
{
	char program[1024], notify[128], ini[512], variable[256];
	char *arguments[] = {program, (char *)"-c", host.ini, NULL};
	const char *schemas = getenv("POSTERN_SCHEMAS");
	char schemas_variable[1024];
	char *environment[] = {variable, schemas_variable, NULL};
	int fd;

	host_make(&host);
	host_mailbox(&host, ALICE, SHA512_CRYPT_FOO);
	snprintf(saslauthd_path, sizeof(saslauthd_path), "%s/mux", host.folder);
	snprintf(authdaemond_path, sizeof(authdaemond_path), "%s/courier", host.folder);
	snprintf(ini, sizeof(ini),
		 "[auth]\nsaslauthd = %s\nauthdaemond = %s\nuser =\nsocket_group =\nworkers = 2\n"
		 "[log]\nlevel = error\n",
		 saslauthd_path, authdaemond_path);
	host_write_ini(&host, ini);
	host_built("sasl-auxprop-sql/sasl-authd", program, sizeof(program));
	fd = notify_listen(notify, sizeof(notify));
	snprintf(variable, sizeof(variable), "NOTIFY_SOCKET=%s", notify);
	snprintf(schemas_variable, sizeof(schemas_variable), "POSTERN_SCHEMAS=%s",
		 schemas != NULL ? schemas : "");
	ck_assert_int_eq(posix_spawn(&daemon_pid, program, NULL, NULL, arguments, environment), 0);
	notify_wait(fd);
	close(fd);
}

static void daemon_teardown(void)
{
	int status;

	ck_assert_int_eq(kill(daemon_pid, SIGTERM), 0);
	ck_assert_int_eq(waitpid(daemon_pid, &status, 0), daemon_pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "sasl-authd ended with %d",
		      status);
	host_free(&host);
}

/* Exit status of testsaslauthd. */
static int testsaslauthd(const char *user, const char *realm, const char *password)
{
	const char *program = access("/usr/sbin/testsaslauthd", X_OK) == 0
				      ? "/usr/sbin/testsaslauthd"
				      : "testsaslauthd";
	char *arguments[] = {(char *)"testsaslauthd",
			     (char *)"-f",
			     saslauthd_path,
			     (char *)"-u",
			     (char *)user,
			     (char *)"-p",
			     (char *)password,
			     (char *)"-s",
			     (char *)"smtp",
			     (char *)"-r",
			     (char *)realm,
			     NULL};
	char *environment[] = {NULL};
	int status;
	pid_t pid;

	ck_assert_msg(posix_spawnp(&pid, program, NULL, NULL, arguments, environment) == 0,
		      "%s: install sasl2-bin", program);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(the_real_client_of_saslauthd)
{
	ck_assert_int_eq(testsaslauthd("alice", "example.test", "foo"), 0);
	ck_assert_int_eq(testsaslauthd(ALICE, "", "foo"), 0);
	ck_assert_int_ne(testsaslauthd("alice", "example.test", "wrong"), 0);
	ck_assert_int_ne(testsaslauthd("alice", "example.test", SHA512_CRYPT_FOO), 0);
	ck_assert_int_ne(testsaslauthd("bob", "example.test", "foo"), 0);
}
END_TEST

static void start_with(const char *format, const char *path)
{
	char text[512];

	snprintf(text, sizeof(text), "mech_list: PLAIN LOGIN\n");
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s: %s\n", format, path);
	if (strcmp(format, "postern_saslauthd") != 0)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "pwcheck_method: %.*s\n",
			 (int)(strlen(format) - strlen("_path")), format);
	host_write_conf(&host, "smtpd", text);
	host_start(&host, "smtpd");
}

/* How libsasl reaches the daemon: by its own mechanisms (two protocols), and by ours. */
static const char *const ways[] = {"saslauthd_path", "authdaemond_path", "postern_saslauthd"};

static const char *way_path(int way)
{
	return way == 1 ? authdaemond_path : saslauthd_path;
}

START_TEST(libsasl_asks_the_daemon)
{
	char user[128] = "";

	start_with(ways[_i], way_path(_i));
	host_statements();
	ck_assert_int_eq(host_login("PLAIN", ALICE, NULL, "foo", user, sizeof(user)), SASL_OK);
	ck_assert_str_eq(user, ALICE);
	ck_assert_int_eq(host_login("LOGIN", ALICE, NULL, "foo", NULL, 0), SASL_OK);
	ck_assert_int_eq(host_login("PLAIN", ALICE, NULL, "wrong", NULL, 0), SASL_BADAUTH);
	ck_assert_int_eq(host_login("LOGIN", ALICE, NULL, "wrong", NULL, 0), SASL_BADAUTH);
	ck_assert_int_eq(host_login("PLAIN", "bob@example.test", NULL, "foo", NULL, 0),
			 SASL_BADAUTH);
	ck_assert_int_eq(host_login("PLAIN", "x' OR '1'='1@example.test", NULL, "foo", NULL, 0),
			 SASL_BADAUTH);
	/* This process never opened the database. */
	ck_assert_uint_eq(host_statements(), 0);
}
END_TEST

START_TEST(libsasl_hears_that_the_database_is_away)
{
	char away[128];
	int code;

	snprintf(away, sizeof(away), "%s.away", host.database);
	ck_assert_int_eq(rename(host.database, away), 0);
	start_with(ways[_i], way_path(_i));
	code = host_login("PLAIN", ALICE, NULL, "foo", NULL, 0);
	ck_assert_msg(code == SASL_FAIL || code == SASL_UNAVAIL, "%d", code);
	code = host_login("LOGIN", ALICE, NULL, "wrong", NULL, 0);
	ck_assert_msg(code == SASL_FAIL || code == SASL_UNAVAIL, "%d", code);
	ck_assert_int_eq(rename(away, host.database), 0);
	ck_assert_int_eq(host_login_when_back(ALICE, "foo"), SASL_OK);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void add_parsers(Suite *suite)
{
	TCase *tcase = tcase_create("parsers");

	tcase_add_test(tcase, saslauthd_byte_by_byte);
	tcase_add_test(tcase, saslauthd_limits);
	tcase_add_test(tcase, authdaemond_byte_by_byte);
	tcase_add_loop_test(tcase, authdaemond_malformed, 0, COUNT(malformed));
	tcase_add_test(tcase, authdaemond_other_commands);
	suite_add_tcase(suite, tcase);
}

static void add_services(Suite *suite)
{
	TCase *tcase = tcase_create("services");

	tcase_add_checked_fixture(tcase, service_setup, service_teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, saslauthd_replies);
	tcase_add_test(tcase, saslauthd_replies_nothing_known);
	tcase_add_test(tcase, an_unusable_stored_password_is_not_a_wrong_one);
	tcase_add_test(tcase, authdaemond_replies);
	tcase_add_test(tcase, authdaemond_replies_nothing_when_not_known);
	suite_add_tcase(suite, tcase);
}

static void add_daemon(Suite *suite)
{
	TCase *tcase = tcase_create("daemon");

	tcase_add_checked_fixture(tcase, daemon_setup, daemon_teardown);
	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, the_real_client_of_saslauthd);
	tcase_add_loop_test(tcase, libsasl_asks_the_daemon, 0, COUNT(ways));
	tcase_add_loop_test(tcase, libsasl_hears_that_the_database_is_away, 0, COUNT(ways));
	suite_add_tcase(suite, tcase);
}

int main(void)
{
	Suite *suite = suite_create("sasl_authd");
	SRunner *runner;
	int failed;

	add_parsers(suite);
	add_services(suite);
	add_daemon(suite);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
