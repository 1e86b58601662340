/*
 * test_daemon - options and exit codes, start, reload, stop and privileges of a daemon that
 * answers lines with a number out of its configuration
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/daemon.h"
#include "common/io.h"
#include "common/log.h"
#include "common/owner.h"

#define WAIT_MS 20000

/* The program under test. */

static enum result open_state(const struct settings *settings, void **state_r, struct error *err)
{
	int64_t *number = malloc(sizeof(*number));
	*number = settings->lookup.positive_ttl / 1000;
	*state_r = number;
	if (*number != 66)
		return RESULT_FOUND;
	free(number);
	return result_error(err, RESULT_PERM, "66 is refused");
}

static enum result check_number(void *state, struct error *err)
{
	const int64_t *number = state;
	if (*number == 75)
		return result_error(err, RESULT_TEMP, "75 is away");
	if (*number == 78)
		return result_error(err, RESULT_PERM, "78 lacks a table");
	return RESULT_FOUND;
}

static enum serve_next reply(struct connection *connection, void *state, void *worker)
{
	const int64_t *number = state;
	char text[100];
	struct stat st;
	(void)worker;
	if (memchr(connection->in.data, '\n', connection->in.len) == NULL)
		return SERVE_PARK;
	/* "wait": until the file is gone. */
	while (connection->in.len > 5 && memcmp(connection->in.data, "wait ", 5) == 0) {
		connection->in.data[connection->in.len - 1] = '\0';
		if (stat(connection->in.data + 5, &st) != 0)
			break;
		poll(NULL, 0, 1);
	}
	buf_reset(&connection->in);
	int len = snprintf(text, sizeof(text), "%lld %u:%u:%d %03o\n", (long long)*number, getuid(),
			   getgid(), getgroups(0, NULL), (unsigned)umask(077));
	return io_write(connection->fd, text, (size_t)len, deadline_in(WAIT_MS)) == IO_OK
		       ? SERVE_PARK
		       : SERVE_CLOSE;
}

static const struct service reply_service = {.name = "reply", .handle = reply, .input_max = 1000};

static enum result plan(const struct settings *settings, struct daemon_plan *plan_r,
			struct error *err)
{
	(void)err;
	plan_r->listeners[0] = (struct daemon_listener){
		.endpoints = settings->lookup.listen,
		.mode = {(mode_t)settings->lookup.socket_mode, settings->lookup.socket_group, ""},
		.service = &reply_service,
	};
	plan_r->listeners[1] = (struct daemon_listener){.endpoints = settings->auth.saslauthd,
							.service = &reply_service};
	plan_r->listener_count = 2;
	plan_r->user = settings->lookup.user;
	plan_r->workers = settings->lookup.workers;
	plan_r->max_connections = settings->lookup.max_connections;
	return RESULT_FOUND;
}

static const struct daemon_program program = {
	.name = "test-daemon",
	.synopsis = "",
	.state_open = open_state,
	.state_free = free,
	.state_check = check_number,
	.plan = plan,
};

/* The rig: a folder with a configuration, a socket and a log, and the process. */

static char folder[64], file[80], socket_path[80], log_path[80], notify_path[80], wait_path[80];
static int notify_fd = -1;
static pid_t child = -1;

static void setup(void)
{
	strcpy(folder, "/tmp/test_daemon.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chmod(folder, 0755), 0);
	snprintf(file, sizeof(file), "%s/f.ini", folder);
	snprintf(socket_path, sizeof(socket_path), "%s/s", folder);
	snprintf(log_path, sizeof(log_path), "%s/log", folder);
	snprintf(notify_path, sizeof(notify_path), "%s/n", folder);
	snprintf(wait_path, sizeof(wait_path), "%s/wait", folder);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(address.sun_path, notify_path);
	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(notify_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	chmod(notify_path, 0777);
	setenv("NOTIFY_SOCKET", notify_path, 1);
}

static void teardown(void)
{
	if (child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	close(notify_fd);
	unlink(file);
	unlink(socket_path);
	unlink(log_path);
	unlink(notify_path);
	unlink(wait_path);
	rmdir(folder);
}

/* EXTRA: more lines of section [lookup]. */
static void configure(int number, const char *user_name, const char *extra)
{
	FILE *out = fopen(file, "w");
	ck_assert_ptr_nonnull(out);
	fprintf(out,
		"[lookup]\nlisten = %s\nuser = \"%s\"\nsocket_group = \"\"\nsocket_mode = 0600\n"
		"workers = 3\npositive_ttl = %ds\n%s",
		socket_path, user_name, number, extra);
	ck_assert_int_eq(fclose(out), 0);
	chmod(file, 0644);
}

static void launch(const char *one, const char *two)
{
	char *argv[] = {(char *)"test-daemon", (char *)"-c", file, (char *)one, (char *)two, NULL};
	int argc = one == NULL ? 3 : two == NULL ? 4 : 5;
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int out = open(log_path, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0644);
	dup2(out, 1);
	dup2(out, 2);
	log_set_sink(NULL, NULL);
	exit(daemon_main(&program, argc, argv));
}

static int wait_for_exit(void)
{
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	child = -1;
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int run(const char *one, const char *two)
{
	launch(one, two);
	return wait_for_exit();
}

static const char *log_text(void)
{
	static char text[20000];
	FILE *in = fopen(log_path, "r");
	ck_assert_ptr_nonnull(in);
	size_t len = fread(text, 1, sizeof(text) - 1, in);
	text[len] = '\0';
	fclose(in);
	return text;
}

static void expect_log(const char *wanted)
{
	ck_assert_msg(strstr(log_text(), wanted) != NULL, "\"%s\" is not in:\n%s", wanted,
		      log_text());
}

/* Waits for a message to the service manager that begins with WANTED. */
static void expect_notice(const char *wanted)
{
	struct pollfd poller = {.fd = notify_fd, .events = POLLIN};
	char text[200];
	ck_assert_msg(poll(&poller, 1, WAIT_MS) == 1, "no %s; log:\n%s", wanted, log_text());
	ssize_t len = recv(notify_fd, text, sizeof(text) - 1, 0);
	ck_assert_int_ge(len, 0);
	text[len] = '\0';
	ck_assert_msg(strncmp(text, wanted, strlen(wanted)) == 0, "%s, not %s", text, wanted);
}

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(address.sun_path, socket_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void get_reply(int fd, const char *begins)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	char text[200];
	ck_assert_int_eq(poll(&poller, 1, WAIT_MS), 1);
	ssize_t len = read(fd, text, sizeof(text) - 1);
	ck_assert_int_gt(len, 0);
	text[len] = '\0';
	ck_assert_msg(strncmp(text, begins, strlen(begins)) == 0, "%s, not %s", text, begins);
}

static void ask(int fd, const char *begins)
{
	ck_assert_int_eq(write(fd, "x\n", 2), 2);
	get_reply(fd, begins);
}

START_TEST(test_options)
{
	configure(5, "", "");
	ck_assert_int_eq(run("--help", NULL), 0);
	expect_log("usage: test-daemon");
	ck_assert_int_eq(run("--version", NULL), 0);
	expect_log("test-daemon (Postern)");
	expect_log("sqlite");
	ck_assert_int_eq(run("--no-such-option", NULL), 64);
	ck_assert_int_eq(run("operand", NULL), 64);
	expect_log("operand");
	ck_assert_int_eq(run("--check", NULL), 0);
	ck_assert_int_eq(run("--dump-config", NULL), 0);
	expect_log("positive_ttl = 5s\n");
	ck_assert_int_eq(run("-c", "/nonexistent/postern.ini"), 78);
	expect_log("/nonexistent/postern.ini");
}
END_TEST

START_TEST(test_check)
{
	configure(75, "", "");
	ck_assert_int_eq(run("--check", NULL), 75);
	expect_log("75 is away");
	configure(78, "", "");
	ck_assert_int_eq(run("--check", NULL), 78);
	configure(66, "", "");
	ck_assert_int_eq(run("--check", NULL), 78);
	ck_assert_int_eq(run(NULL, NULL), 78);
	expect_log("66 is refused");
	configure(5, "", "wrokers = 1\nnegative_ttl = x\n");
	ck_assert_int_eq(run(NULL, NULL), 78);
	expect_log("\"workers\"");
	expect_log("negative_ttl");
	configure(5, "no-such-user-here", "");
	ck_assert_int_eq(run("--check", NULL), 71);
	expect_log("no-such-user-here");
	configure(5, "", "[auth]\nsaslauthd = nonsense\n");
	ck_assert_int_eq(run("--check", NULL), 78);
	expect_log("nonsense");
	ck_assert_int_eq(run(NULL, NULL), 78);
	/* Nothing was left behind by any of them. */
	ck_assert_int_ne(access(socket_path, F_OK), 0);
}
END_TEST

START_TEST(test_run)
{
	configure(5, "", "");
	launch(NULL, NULL);
	expect_notice("READY=1");
	struct stat st;
	ck_assert_int_eq(stat(socket_path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	int fd = dial();
	char expected[100];
	snprintf(expected, sizeof(expected), "5 %u:%u:%d 077\n", getuid(), getgid(),
		 getgroups(0, NULL));
	ask(fd, expected);
	/* A second one finds the socket in use, and leaves it alone. */
	pid_t first = child;
	ck_assert_int_eq(run(NULL, NULL), 71);
	expect_log("in use");
	child = first;
	ask(fd, "5 ");
	kill(child, SIGTERM);
	expect_notice("STOPPING=1");
	ck_assert_int_eq(wait_for_exit(), 0);
	char byte;
	ck_assert_int_eq(read(fd, &byte, 1), 0);
	close(fd);
	ck_assert_int_ne(access(socket_path, F_OK), 0);
}
END_TEST

static void reload(void)
{
	kill(child, SIGHUP);
	expect_notice("RELOADING=1\nMONOTONIC_USEC=");
	expect_notice("READY=1");
}

START_TEST(test_reload)
{
	configure(5, "", "");
	launch(NULL, NULL);
	expect_notice("READY=1");
	int fd = dial();
	ask(fd, "5 ");
	configure(6, "", "");
	reload();
	ask(fd, "6 ");
	expect_log("configuration reloaded");
	/* Kept: mistakes, a state that does not open, a database that does not answer. */
	configure(7, "", "workers = 4\nx = 1\n");
	reload();
	ask(fd, "6 ");
	expect_log("[lookup] x: unknown key");
	expect_log("[lookup] workers is already on line");
	configure(66, "", "");
	reload();
	ask(fd, "6 ");
	expect_log("66 is refused");
	configure(75, "", "");
	reload();
	ask(fd, "6 ");
	expect_log("75 is away");
	/* Applied in part; what needs a restart is named. */
	configure(8, "", "max_connections = 7\n[log]\nlevel = debug\n");
	reload();
	ask(fd, "8 ");
	expect_log("option unchanged until a restart option=<[lookup] max_connections>");
	for (int i = 10; i < 60; i++) {
		char expected[20];
		configure(i, "", "");
		reload();
		snprintf(expected, sizeof(expected), "%d ", i);
		ask(fd, expected);
	}
	close(fd);
	kill(child, SIGINT);
	ck_assert_int_eq(wait_for_exit(), 0);
}
END_TEST

/* A reload that waits for a long request holds up neither other requests nor SIGTERM. */
START_TEST(test_reload_and_stop)
{
	char text[100];
	configure(5, "", "");
	close(open(wait_path, O_CREAT | O_WRONLY, 0644));
	launch(NULL, NULL);
	expect_notice("READY=1");
	int slow = dial(), fd = dial();
	snprintf(text, sizeof(text), "wait %s\n", wait_path);
	ask(fd, "5 ");
	ck_assert_int_eq(write(slow, text, strlen(text)), (ssize_t)strlen(text));
	/* Known to be in the handler once reload does not end: the first, if it came so early. */
	configure(6, "", "");
	unsigned reloads = 0;
	struct deadline deadline = deadline_in(WAIT_MS);
	struct pollfd poller = {.fd = notify_fd, .events = POLLIN};
	do {
		kill(child, SIGHUP);
		expect_notice("RELOADING=1");
		reloads++;
		if (poll(&poller, 1, 300) == 1)
			expect_notice("READY=1");
		else
			break;
	} while (!deadline_passed(deadline));
	ask(fd, "6 ");
	/* Another one while the first waits comes after it. */
	configure(7, "", "");
	kill(child, SIGHUP);
	ask(fd, "6 ");
	kill(child, SIGTERM);
	expect_notice("STOPPING=1");
	unlink(wait_path);
	get_reply(slow, reloads == 1 ? "5 " : "6 ");
	ck_assert_int_eq(wait_for_exit(), 0);
	close(slow);
	close(fd);
}
END_TEST

START_TEST(test_owner)
{
	uid_t uid;
	gid_t gid;
	struct error err = {""};
	ck_assert_int_eq(owner_parse("root", &uid, &gid, &err), RESULT_FOUND);
	ck_assert_uint_eq(uid, 0);
	ck_assert_int_eq(owner_parse("54321", &uid, &gid, &err), RESULT_FOUND);
	ck_assert_uint_eq(uid, 54321);
	ck_assert_int_eq(owner_parse("54321:12345", &uid, &gid, &err), RESULT_FOUND);
	ck_assert_uint_eq(gid, 12345);
	static const char *const bad[] = {
		"",      ":", "root:", ":root", "no-such-user-here", "root:no-such-group-here",
		"1:2:3", "-1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(owner_parse(bad[i], &uid, &gid, &err) == RESULT_PERM, "%s", bad[i]);
	ck_assert_int_eq(daemon_drop_privileges("root", &err), RESULT_PERM);
	ck_assert_ptr_nonnull(strstr(err.text, "superuser"));
	char self[20];
	snprintf(self, sizeof(self), "%u", getuid());
	if (getuid() != 0) {
		ck_assert_int_eq(daemon_drop_privileges(self, &err), RESULT_FOUND);
		ck_assert_int_eq(daemon_drop_privileges("54321", &err), RESULT_PERM);
		return;
	}
	/* This test is a process of its own. */
	ck_assert_int_eq(setgroups(2, (gid_t[]){0, 1}), 0);
	ck_assert_msg(daemon_drop_privileges("54321:12345", &err) == RESULT_FOUND, "%s", err.text);
	ck_assert_uint_eq(getuid(), 54321);
	ck_assert_uint_eq(getegid(), 12345);
	gid_t group;
	ck_assert_int_eq(getgroups(1, &group), 1);
	ck_assert_uint_eq(group, 12345);
	ck_assert_int_ne(setuid(0), 0);
	ck_assert_int_eq(daemon_drop_privileges("54321", &err), RESULT_FOUND);
	ck_assert_int_eq(daemon_drop_privileges("54322", &err), RESULT_PERM);
}
END_TEST

/* As root: the daemon runs as the account, and can reload as it. Else: it says what it needs. */
START_TEST(test_privileges)
{
	configure(5, "54321", "");
	if (geteuid() != 0) {
		ck_assert_int_eq(run(NULL, NULL), 71);
		expect_log("start as root");
		return;
	}
	launch(NULL, NULL);
	expect_notice("READY=1");
	int fd = dial();
	ask(fd, "5 54321:54321:1 077\n");
	configure(6, "54321", "");
	reload();
	ask(fd, "6 54321:54321:1 077\n");
	/* Not readable for it any more: said, and nothing is lost. */
	configure(7, "54321", "");
	chmod(file, 0600);
	reload();
	ask(fd, "6 ");
	expect_log("cannot be opened");
	close(fd);
	kill(child, SIGTERM);
	ck_assert_int_eq(wait_for_exit(), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("daemon");
	TCase *tcase = tcase_create("daemon");
	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_options);
	tcase_add_test(tcase, test_check);
	tcase_add_test(tcase, test_run);
	tcase_add_test(tcase, test_reload);
	tcase_add_test(tcase, test_reload_and_stop);
	tcase_add_test(tcase, test_owner);
	tcase_add_test(tcase, test_privileges);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
