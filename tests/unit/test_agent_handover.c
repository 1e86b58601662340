/*
 * test_agent_handover - who delivers an agent's message, what the server's replies become, and a
 * server that goes away
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/agent_rig.h"
/* Who delivers: the server what LMTP can say, the agent the rest. */
START_TEST(test_who_delivers)
{
	static const struct {
		const char *arguments[8];
		const char *input;
		bool by_server;
	} table[] = {
		{{"-f", "a@b", "-d", "alice@example.com", NULL}, "x\n", true},
		{{"-f", "", "-d", "alice@example.com", NULL}, "x\n", true},
		{{"-f", "a b@c", "-d", "a b@example.com", NULL}, "x\n", true},
		{{"-f", "a@b", "-d", "alice@example.com", "-a", "x+y=z@example.com", NULL},
		 "x\n",
		 true},
		{{"-w", "90", "-d", "alice@example.com", "word", NULL}, "x\n", true},
		{{"-d", "alice@example.com", NULL}, "Return-Path: <a@b>\nX: y\n", true},
		{{"-d", "alice@example.com", NULL}, "From a@b Mon\nX: y\n", true},
		{{"-e", "-r", "a@b", "alice@example.com", NULL}, "x\n", true},
		{{"-r", "a@b", "-m", "INBOX", "alice@example.com", NULL}, "x\n", true},
		{{"-r", "a@b", "-m", "x", "alice@example.com", NULL}, "x\n", false},
		{{"-r", "a@b", "alice@example.com", "alice@example.com", NULL}, "x\n", false},
		{{"-f", "no address@", "-d", "alice@example.com", NULL}, "x\n", false},
		{{"-d", "alice@example.com", NULL}, "Return-Path: <a@b>\n", false},
		{{"-d", "alice@example.com", NULL}, "Return-Path:\n <a@b>\nX: y\n", false},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int before = agent_server_said(" delivered "), status;

		status = agent_run(table[i].arguments, table[i].input, strlen(table[i].input));
		ck_assert_msg(status == 0, "row %zu: %d %s", i, status, agent_output);
		ck_assert_msg((agent_server_said(" delivered ") > before) == table[i].by_server,
			      "row %zu", i);
		ck_assert_msg((strstr(agent_output, "delivered ") == NULL) == table[i].by_server,
			      "row %zu: %s", i, agent_output);
	}
	agent_configure("[lmtp]\nreceived = yes\n");
	agent_deliver("alice@example.com", 0, "info: delivered ");
}
END_TEST

/* Several blocks, with line ends of all kinds on their borders: the same file both ways. */
START_TEST(test_blocks)
{
	static const char top[] = "Return-Path: <a@b>\nDelivered-To: alice@example.com\n";
	static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 131071, 131072, 131073, 2500000};
	static char message[2500000], stored[sizeof(top) + sizeof(message)];
	unsigned long seed = 4711;

	for (size_t i = 0; i < sizeof(message); i++) {
		seed = seed * 6364136223846793005UL + 1442695040888963407UL;
		message[i] = "\r\r\n\n.x\0\xe4"[seed >> 61];
	}
	message[0] = 'A'; /* not a line end, which would be a header's end */
	memcpy(message + 65535, "\r\n", 2);
	memcpy(message + 131070, "\r\r\n", 3);
	memcpy(stored, top, sizeof(top) - 1);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ck_assert_int_eq(agent_run((const char *const[]){"-f", "a@b", "-d",
								 "alice@example.com", NULL},
					   message, sizes[i]),
				 0);
		memcpy(stored + sizeof(top) - 1, message, sizes[i]);
		agent_assert_stored("alice/new", stored, sizeof(top) - 1 + sizes[i]);
	}
	if (agent_serving)
		ck_assert_int_ge(agent_server_said(" delivered "),
				 (int)(sizeof(sizes) / sizeof(sizes[0])));
}
END_TEST

/* It goes away in the middle: deferred, whoever delivers, and all of the input was read. */
START_TEST(test_server_killed)
{
	static char half[500000];
	int in, out, status;
	char said[64] = "";
	pid_t pid = agent_start(&in, &out);

	memset(half, 'x', sizeof(half));
	ck_assert_int_eq(write(in, half, sizeof(half)), sizeof(half));
	ck_assert_int_eq(kill(agent_server, SIGKILL), 0);
	ck_assert_int_eq(waitpid(agent_server, &status, 0), agent_server);
	agent_server = 0;
	ck_assert_int_eq(write(in, half, sizeof(half)), sizeof(half));
	(void)close(in);
	ck_assert_int_gt(read(out, said, sizeof(said) - 1), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 75, "%x", status);
	ck_assert_int_eq(strncmp(said, "4.3.0 ", 6), 0);
	(void)close(out);
	ck_assert_int_eq(agent_count_files("alice/new"), 0);
	/* Its socket is there still, and nobody behind it. */
	agent_deliver("alice@example.com", 0, "info: delivered ");
	agent_server_start();
	/* The same message once more is one more: the server knows that its reply has come. */
	for (int i = 0; i < 10; i++)
		agent_deliver("alice@example.com", 0, "");
	ck_assert_int_eq(agent_count_files("alice/new"), 11);
}
END_TEST

/* One session of a server that says only this; what it says stops at "!", after the message. */
static pid_t puppet(const char *greeting, const char *replies)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	(void)unlink(agent_listener);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", agent_listener);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(chmod(agent_listener, 0666), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	pid = fork();
	if (pid == 0) {
		char bytes[8192] = "";
		size_t len = 0;
		ssize_t got = 1;
		int client = accept(fd, NULL, NULL);

		(void)signal(SIGPIPE, SIG_IGN);
		if (write(client, greeting, strlen(greeting)) < 0)
			_exit(1);
		while (got > 0 && !strstr(bytes, " LAST\r\n")) {
			got = read(client, bytes + len, sizeof(bytes) - 1 - len);
			len += got > 0 ? (size_t)got : 0;
		}
		if (write(client, replies, strcspn(replies, "!")) < 0)
			_exit(1);
		while (!strchr(replies, '!') && read(client, bytes, sizeof(bytes)) > 0)
			;
		_exit(0);
	}
	ck_assert_int_gt(pid, 0);
	(void)close(fd);
	return pid;
}

START_TEST(test_replies)
{
#define GOOD "250-x\r\n250 y\r\n250 2.1.0 ok\r\n"
#define SAID GOOD "250 2.1.5 ok\r\n"
	static const struct {
		const char *greeting, *replies;
		int status;
		const char *words;
		bool by_itself;
	} table[] = {
		{"220 x\r\n", SAID "250 2.0.0 stored\r\n", 0, "", false},
		{"220 x\r\n", SAID "452 4.2.2 <alice@example.com> full\r\n", 75, "4.2.2 full\n",
		 false},
		{"220 x\r\n", SAID "552 5.2.2 full\r\n", 77, "5.2.2 full\n", false},
		{"220 x\r\n", SAID "554 5.4.6 loop\r\n", 77, "5.4.6 loop\n", false},
		{"220 x\r\n", GOOD "550 5.1.1 none\r\n", 67, "5.1.1 none\n", false},
		{"220 x\r\n", GOOD "550 5.2.1 no\r\n", 77, "5.2.1 no\n", false},
		{"220 x\r\n", GOOD "451 4.3.0 no\r\n", 75, "4.3.0 no\n", false},
		/* Not about the recipient or the message. */
		{"220 x\r\n", GOOD "501 5.5.4 no\r\n", 75, "4.3.0 ", false},
		{"220 x\r\n", GOOD "555 5.5.4 no\r\n", 75, "4.3.0 ", false},
		{"220 x\r\n", SAID "503 5.5.1 no\r\n", 75, "4.3.0 ", false},
		{"220 x\r\n", "250 y\r\n550 5.7.1 no\r\n", 75, "4.3.0 ", false},
		{"220 x\r\n", "554 5.7.1 no\r\n", 75, "4.3.0 ", false},
		/* No reply, or none that can be understood. */
		{"220 x\r\n", SAID "!", 75, "4.3.0 ", false},
		{"220 x\r\n", SAID "250!", 75, "4.3.0 ", false},
		{"220 x\r\n", SAID "250 2.0.0 cut!", 75, "4.3.0 ", false},
		{"220 x\r\n", GOOD "!", 75, "4.3.0 ", false},
		{"220 x\r\n", SAID "221 2.0.0 bye\r\n", 75, "4.3.0 ", false},
		{"220 x\r\n", SAID "354 go\r\n", 75, "4.3.0 ", false},
		{"220 x\r\n", SAID "552 4.2.2 odd\r\n", 75, "4.3.0 ", false},
		{"220 x\r\n", SAID "552 full\r\n", 75, "4.3.0 ", false},
		{"220 x\r\n", SAID "99 nonsense\r\n", 75, "4.3.0 ", false},
		{"220 x\r\n", SAID "421 4.3.2 stopping\r\n", 75, "4.3.2 stopping\n", false},
		/* Nobody at home: nothing was sent. */
		{"421 4.3.2 busy\r\n", "", 0, "info: delivered ", true},
		{"554 no\r\n", "", 0, "info: delivered ", true},
		{"nonsense\r\n", "", 0, "info: delivered ", true},
		{"", "", 0, "info: delivered ", true}, /* silence */
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		pid_t pid = puppet(table[i].greeting, table[i].replies);
		int status;

		agent_deliver("alice@example.com", table[i].status, table[i].words);
		ck_assert_msg(agent_count_files("alice/new") == table[i].by_itself, "row %zu", i);
		if (table[i].by_itself)
			agent_assert_stored("alice/new",
					    "Return-Path: <a@b>\nDelivered-To: alice@example.com\n"
					    "Subject: x\n\nbody\n",
					    68);
		(void)kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	}
	(void)unlink(agent_listener);
}
END_TEST

/* A caller that starts the agent, gives it half a message and dies while it waits for the server. */
static void die_halfway(int agent_is_there)
{
	const char *argv[AGENT_ARGUMENTS_MAX + 4];
	int in[2];

	agent_command_line(argv,
			   (const char *const[]){"-f", "a@b", "-d", "alice@example.com", NULL});
	if (pipe2(in, O_CLOEXEC) != 0)
		_exit(1);
	if (fork() == 0) {
		int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

		(void)dup2(in[0], STDIN_FILENO);
		(void)dup2(nowhere, STDOUT_FILENO);
		(void)dup2(agent_is_there, STDERR_FILENO);
		(void)execv(agent_program, (char *const *)argv);
		_exit(127);
	}
	if (write(in[1], "Subject: half", 13) != 13)
		_exit(1);
	(void)poll(NULL, 0, 500);
	_exit(0);
}

START_TEST(test_caller_dies_before_the_greeting)
{
	pid_t server = puppet("", ""), caller;
	int ends[2], status;
	char byte;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	caller = fork();
	if (caller == 0)
		die_halfway(ends[1]);
	(void)close(ends[1]);
	ck_assert_int_eq(waitpid(caller, &status, 0), caller);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	while (read(ends[0], &byte, 1) > 0)
		;
	(void)close(ends[0]);
	ck_assert_int_eq(agent_count_files("alice/new"), 0);
	(void)kill(server, SIGKILL);
	ck_assert_int_eq(waitpid(server, &status, 0), server);
	(void)unlink(agent_listener);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("agent_handover");
	TCase *alone = tcase_create("alone"), *served = tcase_create("handed over");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(alone, agent_setup, agent_teardown);
	tcase_set_timeout(alone, 120);
	tcase_add_test(alone, test_blocks);
	tcase_add_test(alone, test_replies);
	tcase_add_test(alone, test_caller_dies_before_the_greeting);
	suite_add_tcase(suite, alone);
	tcase_add_checked_fixture(served, agent_setup_serving, agent_teardown);
	tcase_set_timeout(served, 120);
	tcase_add_test(served, test_blocks);
	tcase_add_test(served, test_who_delivers);
	tcase_add_test(served, test_server_killed);
	suite_add_tcase(suite, served);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
