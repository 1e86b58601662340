/*
 * test_agent - lmtp-deliver as a pipe(8) agent: the real program, its exit codes and its words, alone
 * and handing over to a server
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lmtp-deliver/agent.h"
#include "lmtp-deliver/agent_options.h"
#include "tests/unit/agent_rig.h"
START_TEST(test_exit_codes)
{
	agent_deliver("alice@example.com", 0, agent_serving ? "" : "info: delivered ");
	agent_deliver("nobody@example.com", 67, "5.1.1 ");
	agent_deliver("alice@elsewhere.test", 67, "5.1.1 ");
	agent_deliver("sales@example.com", 67, "5.1.1 ");
	agent_deliver("mute@example.com", 77, "5.2.1 ");
	agent_deliver("full@example.com", 75, "4.2.2 ");
	agent_deliver("out@example.com", 75, "4.3.5 ");
	agent_deliver("", 75, "4.3.5 ");
	agent_deliver("alice@", 75, "4.3.5 ");
	agent_deliver("alice", 75, "4.3.5 "); /* no default_domain */
	agent_deliver("-odd@example.com", 0, "");
	agent_configure("[lmtp]\nquota_full = reject\nmax_size = 1024\n");
	agent_deliver("full@example.com", 77, "5.2.2 ");
	ck_assert_int_eq(agent_count_files("full/new"), 0);
	ck_assert_int_eq(agent_count_files("odd/new"), 1);
	agent_assert_stored("alice/new",
			    "Return-Path: <a@b>\nDelivered-To: alice@example.com\n"
			    "Subject: x\n\nbody\n",
			    68);
}
END_TEST

/* All of it is read, whatever the answer: pipe(8) does not look at a broken pipe. */
START_TEST(test_all_is_read)
{
	static char big[3000000];

	memset(big, 'x', sizeof(big));
	ck_assert_int_eq(
		agent_run((const char *const[]){"-f", "", "-d", "nobody@example.com", NULL}, big,
			  sizeof(big)),
		67);
	agent_configure("[lmtp]\nmax_size = 2M\n");
	ck_assert_int_eq(agent_run((const char *const[]){"-f", "", "-d", "alice@example.com", NULL},
				   big, sizeof(big)),
			 77);
	ck_assert_int_eq(strncmp(agent_output, "5.3.4 ", 6), 0);
	ck_assert_int_eq(agent_count_files("alice/new"), 0);
}
END_TEST

/* Nothing is our sender's fault that is ours: always 75. */
START_TEST(test_trouble)
{
	static const char *const wrong[][6] = {
		{"-f", "a@b", NULL},
		{"-f", "a@b", "-d", NULL},
		{"-r", "a@b", "-d", "alice@example.com", NULL},
		{"-w", "90", "alice@example.com", NULL},
		{"-d", "alice@example.com", "-d", "ab@example.com", NULL},
		{"-e", "-r", "a@b", "", NULL},
		{"-d", "alice@example.com", "-p", "/nonexistent", NULL},
		{"-f", "a@b", "-d", "alice@example.com", "another@example.com", NULL},
		{"-f", "a@b", "-d", "alice@example.com", "-x", NULL},
		{"-f", "a\nb@c", "-d", "alice@example.com", NULL},
		{"-c", "/nonexistent", "-f", "a@b", "-dalice@example.com", NULL},
	};
	char away[160];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		int status = agent_run(wrong[i], agent_text, strlen(agent_text));

		ck_assert_msg(status == 75 && strncmp(agent_output, "4.3.5 ", 6) == 0,
			      "row %zu: %d %s", i, status, agent_output);
	}
	agent_configure("[lmtp]\nexpand_aliases = yes\n");
	agent_deliver("alice@example.com", 75, "4.3.5 ");
	agent_configure("");
	(void)snprintf(away, sizeof(away), "%s.away", agent_base);
	ck_assert_int_eq(rename(agent_base, away), 0);
	agent_deliver("alice@example.com", 75, "4.2.0 ");
	ck_assert_ptr_nonnull(strstr(agent_output, agent_base)); /* the log line says where */
	ck_assert_int_eq(rename(away, agent_base), 0);
	(void)snprintf(away, sizeof(away), "%s.away", agent_host.database);
	ck_assert_int_eq(rename(agent_host.database, away), 0);
	agent_deliver("alice@example.com", 75, "4.3.0 ");
	ck_assert_int_eq(rename(away, agent_host.database), 0);
	ck_assert_int_eq(chmod(agent_host.file, 0), 0);
	if (geteuid() != 0)
		agent_deliver("alice@example.com", 75, "4.3.5 ");
	ck_assert_int_eq(chmod(agent_host.file, 0600), 0);
	ck_assert_int_eq(truncate(agent_host.file, 20), 0);
	agent_deliver("alice@example.com", 75, "4.3.5 ");
	ck_assert_int_eq(agent_count_files("alice/new"), 0);
	agent_configure("");
	agent_deliver("alice@example.com", 0, "");
}
END_TEST

START_TEST(test_descriptors_and_limits)
{
	static const char *const arguments[] = {"-f", "a@b", "-d", "alice@example.com", NULL};
	const char *argv[AGENT_ARGUMENTS_MAX + 4];

	agent_command_line(argv, arguments);
	for (int step = 0; step < 4; step++) {
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			struct rlimit limit = {40, 40};
			int null = open(step == 2 ? "/" : "/dev/null", O_RDONLY);

			(void)dup2(null, STDIN_FILENO);
			(void)close(STDOUT_FILENO);
			(void)close(STDERR_FILENO);
			if (step == 1)
				(void)close(STDIN_FILENO);
			if (step == 3) /* the disk, as far as this process sees it, is full */
				(void)setrlimit(RLIMIT_FSIZE, &limit);
			(void)execv(agent_program, (char *const *)argv);
			_exit(127);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == (step == 0 ? 0 : 75),
			      "step %d: %x", step, status);
	}
	ck_assert_int_eq(agent_count_files("alice/new"), 1);
	ck_assert_int_eq(agent_count_files("alice/tmp"), 0);
}
END_TEST

START_TEST(test_header_lines)
{
	static const struct {
		const char *arguments[7], *stored;
	} table[] = {
		{{"-f", "", "-d", "alice@example.com", NULL},
		 "Return-Path: <>\nDelivered-To: alice@example.com\n"},
		{{"-f", "<>", "-d", "alice@example.com", NULL},
		 "Return-Path: <>\nDelivered-To: alice@example.com\n"},
		{{"-f", "MAILER-DAEMON", "-d", "alice@example.com", NULL},
		 "Return-Path: <>\nDelivered-To: alice@example.com\n"},
		{{"-f", "c d@Remote.test", "-d", "Alice@example.com", NULL},
		 "Return-Path: <\"c d\"@Remote.test>\nDelivered-To: Alice@example.com\n"},
		{{"-f", "\"c d\"@x", "-d", "alice@example.com", NULL},
		 "Return-Path: <\"c d\"@x>\nDelivered-To: alice@example.com\n"},
		{{"-f", "a@b", "-d", "alice@example.com", "-a", "info@example.com", NULL},
		 "Return-Path: <a@b>\nX-Original-To: info@example.com\n"
		 "Delivered-To: alice@example.com\n"},
		{{"-a", "", "-f", "a@b", "-d", "alice@example.com", NULL},
		 "Return-Path: <a@b>\nDelivered-To: alice@example.com\n"},
		{{"-a", "x@y\nBcc: z", "-f", "a@b", "-d", "alice@example.com", NULL},
		 "Return-Path: <a@b>\nDelivered-To: alice@example.com\n"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int status = agent_run(table[i].arguments, "", 0);

		ck_assert_msg(status == 0, "row %zu: %s", i, agent_output);
		agent_assert_stored("alice/new", table[i].stored, strlen(table[i].stored));
	}
	ck_assert_int_eq(
		agent_run((const char *const[]){"-f", "a@b", "-d", "a b@example.com", NULL}, "", 0),
		0);
	agent_assert_stored("ab/new", "Return-Path: <a@b>\nDelivered-To: a b@example.com\n", 49);
}
END_TEST

/* Bytes are kept as they are. */
START_TEST(test_bytes)
{
	static const char message[] =
		"Return-Path: <forged>\n folded\nA: b\r\n\r\n.\n.\r\n..\n\0\xff"
		"\rFrom x\nno end";
	static const char stored[] = "Return-Path: <a@b>\nDelivered-To: alice@example.com\n"
				     "A: b\r\n\r\n.\n.\r\n..\n\0\xff"
				     "\rFrom x\nno end";

	ck_assert_int_eq(
		agent_run((const char *const[]){"-f", "a@b", "-d", "alice@example.com", NULL},
			  message, sizeof(message) - 1),
		0);
	agent_assert_stored("alice/new", stored, sizeof(stored) - 1);
}
END_TEST

/*
 * pipe(8) is killed in the middle of a message: the agent sees the end of its input, and stores
 * nothing. Every process of this test holds `alive`; its end of file says that all are gone.
 */
START_TEST(test_parent_killed)
{
	static char half[500000];
	const char *argv[AGENT_ARGUMENTS_MAX + 4];
	int alive[2], ready[2], status;
	char byte;
	pid_t parent;
	struct pollfd poller;

	memset(half, 'x', sizeof(half));
	agent_command_line(argv,
			   (const char *const[]){"-f", "a@b", "-d", "alice@example.com", NULL});
	ck_assert_int_eq(pipe(alive), 0);
	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	parent = fork();
	if (parent == 0) {
		int in[2];

		(void)close(alive[0]);
		if (pipe2(in, O_CLOEXEC) != 0)
			_exit(1);
		if (fork() == 0) {
			(void)dup2(in[0], STDIN_FILENO);
			(void)execv(agent_program, (char *const *)argv);
			_exit(127);
		}
		(void)close(in[0]);
		/* More than a pipe holds: when all is written, the agent is reading. */
		if (write(in[1], half, sizeof(half)) != sizeof(half) || write(ready[1], "", 1) != 1)
			_exit(1);
		(void)pause();
		_exit(1);
	}
	(void)close(alive[1]);
	(void)close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	ck_assert_int_eq(kill(parent, SIGKILL), 0);
	ck_assert_int_eq(waitpid(parent, &status, 0), parent);
	poller = (struct pollfd){.fd = alive[0], .events = POLLIN};
	ck_assert_int_eq(poll(&poller, 1, 20000), 1);
	ck_assert_int_eq(read(alive[0], &byte, 1), 0);
	(void)close(alive[0]);
	ck_assert_int_eq(agent_count_files("alice/new"), 0);
	ck_assert_int_eq(agent_count_files("alice/tmp"), 0);
	agent_deliver("alice@example.com", 0, "");
	ck_assert_int_eq(agent_count_files("alice/new"), 1);
}
END_TEST

/* The founding how-tos' lines and others, after the program's name. */
START_TEST(test_options)
{
	static const struct {
		const char *argv[12];
		const char *file, *sender, *original, *folder, *message;
		const char *recipients[3]; /* none: an error */
	} table[] = {
		{{"-f", "a@b", "-d", "u@x", NULL}, .sender = "a@b", .recipients = {"u@x"}},
		{{"-fa@b", "-du@x", "-co", NULL}, "o", "a@b", .recipients = {"u@x"}},
		{{"-f", "", "-d", "u@x", "-a", "o@x", NULL},
		 .sender = "",
		 .original = "o@x",
		 .recipients = {"u@x"}},
		{{"-d", "u+e@x", NULL}, .recipients = {"u+e@x"}},
		{{"deliver", "-d", "u@x", NULL}, .recipients = {"u@x"}},
		{{"-f", "s", "-d", "u", "-a", "o", "-m", "Spam", "-e", "-k", "-pfile", NULL},
		 .sender = "s",
		 .original = "o",
		 .folder = "Spam",
		 .message = "file",
		 .recipients = {"u"}},
		{{"-d", "u@x", "-f", "s", "-r", "final@x", NULL},
		 .sender = "s",
		 .recipients = {"u@x"}},
		{{"-e", "-r", "s@y", "-m", "", "u", NULL}, .sender = "s@y", .recipients = {"u"}},
		{{"-e", "-r", "s@y", "-m", "lists", "u@x", NULL},
		 .sender = "s@y",
		 .folder = "lists",
		 .recipients = {"u@x"}},
		{{"-e", "-m", "lists", "u", NULL}, .folder = "lists", .recipients = {"u"}},
		{{"-q", "-a", "login", "-f", "s", "u", "v", "w", NULL},
		 .sender = "s",
		 .recipients = {"u", "v", "w"}},
		{{"deliver", "-m", "inbox.a.b", "u", NULL}, .folder = "a.b", .recipients = {"u"}},
		{{"-m", "INBOX/x", "u", NULL}, .folder = "x", .recipients = {"u"}},
		{{"-m", "Inbox", "u", NULL}, .recipients = {"u"}},
		{{"-m", "inboxes", "u", NULL}, .folder = "inboxes", .recipients = {"u"}},
		{{"deliver", NULL}, .recipients = {NULL}},
		{{"-c", "o", "deliver", "-d", "u", NULL}, "o", .recipients = {"u"}},
		{{"-e", "deliver", NULL}, .recipients = {"deliver"}},
		{{"user", NULL}, .recipients = {"user"}},
		{{"-w", "90", "-d", "u@x", "u+e@x", "u", "e", "{nexthop}", NULL},
		 .recipients = {"u@x"}},
		{{"-w", "90", "-d", "u@x", "u@x", "u", "", "-x", NULL}, .recipients = {"u@x"}},
		{{"-w", "90", "-f", "s", "-d", "u@x", NULL}, .sender = "s", .recipients = {"u@x"}},
		{{"-w", "90", "u@x", NULL}, .recipients = {NULL}},
		{{"-d", "u@x", "v@x", NULL}, .recipients = {NULL}},
		{{"-d", "u@x", "-d", "v@x", NULL}, .recipients = {NULL}},
		{{"-d", "u@x", "-r", "s", NULL}, .recipients = {NULL}},
		{{"-f", "s", NULL}, .recipients = {NULL}},
		{{"-d", NULL}, .recipients = {NULL}},
		{{"-xe", "-d", "u@x", NULL}, .recipients = {NULL}},
		{{"-o", "a=b", "-d", "u@x", NULL}, .recipients = {NULL}},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char *argv[14] = {(char *)"lmtp-deliver"};
		struct agent_options options;
		struct error err = {0};
		const char *folder = table[i].folder ? table[i].folder : "";
		int argc = 1;
		size_t count = 0;
		bool good;

		for (; table[i].argv[argc - 1]; argc++)
			argv[argc] = (char *)table[i].argv[argc - 1];
		while (count < 3 && table[i].recipients[count])
			count++;
		good = agent_options_parse(argc, argv, &options, &err);
		ck_assert_msg(good == (count > 0), "row %zu: %s", i, err.text);
		ck_assert_msg(good == (err.text[0] == '\0'), "row %zu", i);
		if (!good)
			continue;
		ck_assert_msg(options.count == count, "row %zu: %zu", i, options.count);
		for (size_t n = 0; n < count; n++)
			ck_assert_str_eq(agent_options_recipient(&options, n),
					 table[i].recipients[n]);
		ck_assert_str_eq(options.file,
				 table[i].file ? table[i].file : SETTINGS_DEFAULT_FILE);
		ck_assert_pstr_eq(options.sender, table[i].sender);
		ck_assert_pstr_eq(options.original, table[i].original);
		ck_assert_pstr_eq(options.message, table[i].message);
		ck_assert_str_eq(options.folder, folder);
	}
}
END_TEST

static void make_folder(const char *name)
{
	static const char *const below[] = {"", "/cur", "/new", "/tmp"};
	char path[200];

	for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s%s", agent_base, name, below[i]);
		ck_assert_msg(mkdir(path, 0700) == 0 || errno == EEXIST, "%s", path);
		ck_assert_int_eq(chown(path, agent_owner_uid, (gid_t)-1), 0);
	}
}

#define HEADER "Return-Path: <a@b>\nDelivered-To: alice@example.com\n"

/* Each agent's line stores the message in the right folder. */
START_TEST(test_forms)
{
	static const struct {
		const char *arguments[11], *folder;
	} table[] = {
		{{"-e", "-r", "a@b", "-m", "lists", "alice", NULL}, "alice/.lists/new"},
		{{"-e", "-r", "a@b", "-m", "", "alice@example.com", NULL}, "alice/new"},
		{{"-q", "-f", "a@b", "-a", "cyrus", "-m", "Lists", "alice", NULL},
		 "alice/.lists/new"},
		{{"-w", "90", "-f", "a@b", "-d", "alice@example.com", "alice+x@example.com",
		  "alice", "x", NULL},
		 "alice/new"},
		{{"-f", "a@b", "-d", "alice@example.com", "-m", "INBOX.lists", "-e", "-k", NULL},
		 "alice/.lists/new"},
		{{"-f", "a@b", "-d", "alice@example.com", "-m", "../../out", NULL}, "alice/new"},
		{{"-f", "a@b", "-d", "alice", NULL}, "alice/new"},
	};

	agent_configure("[address]\ndefault_domain = example.com\n");
	make_folder("alice");
	make_folder("alice/.lists");
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int status = agent_run(table[i].arguments, agent_text, strlen(agent_text));

		ck_assert_msg(status == 0, "row %zu: exit %d: %s", i, status, agent_output);
		ck_assert_msg(agent_count_files(table[i].folder) == 1, "row %zu", i);
		agent_assert_stored(table[i].folder, HEADER "Subject: x\n\nbody\n",
				    sizeof(HEADER "Subject: x\n\nbody\n") - 1);
	}
}
END_TEST

/* What pipe(8) or others put in front tells the sender, and is not there twice. */
START_TEST(test_top_of_message)
{
	static const struct {
		const char *sender, *original, *message, *stored;
	} table[] = {
		{NULL, NULL, "Return-Path: <a@b>\nSubject: x\n\nb\n", HEADER "Subject: x\n\nb\n"},
		{NULL, NULL, "Return-Path:\n <a@b>\nSubject: x\n\nb\n", HEADER "Subject: x\n\nb\n"},
		{NULL, NULL, "Return-Path: a@b \r\nSubject: x\n\nb\n", HEADER "Subject: x\n\nb\n"},
		{NULL, NULL, "Return-Path: <\"c>d\"@b>\nA: b\n",
		 "Return-Path: <\"c>d\"@b>\nDelivered-To: alice@example.com\nA: b\n"},
		{"a@b", NULL, "Return-Path: <c@d>\nSubject: x\n\nb\n", HEADER "Subject: x\n\nb\n"},
		{NULL, NULL, "Return-Path: <>\nSubject: x\n",
		 "Return-Path: <>\nDelivered-To: alice@example.com\nSubject: x\n"},
		{NULL, NULL, "Subject: x\nReturn-Path: <c@d>\n",
		 "Return-Path: <>\nDelivered-To: alice@example.com\n"
		 "Subject: x\nReturn-Path: <c@d>\n"},
		{NULL, NULL, "From a@b Sat Nov 21 18:00:00 2026\nSubject: x\n\n>From me\n",
		 HEADER "Subject: x\n\n>From me\n"},
		{NULL, NULL, "From c@d  Sat Nov 21\nReturn-Path: <a@b>\nA: b\n", HEADER "A: b\n"},
		{"a@b", NULL, "From c@d\nA: b\n", HEADER "A: b\n"},
		{"a@b", NULL, "From: c@d\nA: b\n", HEADER "From: c@d\nA: b\n"},
		{"a@b", NULL, "From nowhere to the end", HEADER "From nowhere to the end"},
		{"a@b", NULL, "Return-Path: <a@b>\nDelivered-To: Alice@example.com\nA: b\n",
		 "Return-Path: <a@b>\nDelivered-To: Alice@example.com\nA: b\n"},
		{"a@b", "o@c",
		 "Return-Path: <a@b>\nX-Original-To: o@c\nDelivered-To: alice@example.com\nA: b\n",
		 "Return-Path: <a@b>\nX-Original-To: o@c\nDelivered-To: alice@example.com\nA: b\n"},
		{"a@b", NULL, "X-Original-To: o@c\nDelivered-To: alice@example.com\nA: b\n",
		 "Return-Path: <a@b>\nX-Original-To: o@c\nDelivered-To: alice@example.com\nA: b\n"},
		{"a@b", NULL, "Delivered-To: alice@example.com\n folded\nA: b\n",
		 HEADER "Delivered-To: alice@example.com\n folded\nA: b\n"},
		{"a@b", NULL, "Delivered-To: bob@example.com\nA: b\n",
		 HEADER "Delivered-To: bob@example.com\nA: b\n"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *arguments[8] = {"-d", "alice@example.com"};
		size_t count = 2;
		int status;

		if (table[i].sender) {
			arguments[count++] = "-f";
			arguments[count++] = table[i].sender;
		}
		if (table[i].original) {
			arguments[count++] = "-a";
			arguments[count++] = table[i].original;
		}
		status = agent_run(arguments, table[i].message, strlen(table[i].message));
		ck_assert_msg(status == 0, "row %zu: exit %d: %s", i, status, agent_output);
		agent_assert_stored("alice/new", table[i].stored, strlen(table[i].stored));
	}
}
END_TEST

/* One status for all: nothing is stored if one of them cannot be found. */
START_TEST(test_several_recipients)
{
	static const struct {
		const char *users[4];
		int status;
		const char *words;
		int alice, odd;
	} table[] = {
		{{"alice@example.com", "a b@example.com", NULL}, 0, "", 1, 1},
		{{"alice@example.com", "nobody@example.com", NULL}, 75, "4.3.5 ", 0, 0},
		{{"nobody@example.com", "alice@example.com", NULL}, 75, "4.3.5 ", 0, 0},
		{{"alice@example.com", "out@example.com", NULL}, 75, "4.3.5 ", 0, 0},
		{{"nobody@example.com", "sales@example.com", NULL}, 67, "5.1.1 ", 0, 0},
		{{"mute@example.com", "nobody@example.com", NULL}, 77, "5.2.1 ", 0, 0},
		{{"alice@example.com", "full@example.com", NULL}, 75, "4.2.2 ", 1, 0},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *arguments[7] = {"-r", "a@b", table[i].users[0], table[i].users[1]};
		int status = agent_run(arguments, agent_text, strlen(agent_text));
		char command[256];

		ck_assert_msg(status == table[i].status, "row %zu: exit %d: %s", i, status,
			      agent_output);
		ck_assert_msg(strncmp(agent_output, table[i].words, strlen(table[i].words)) == 0,
			      "row %zu: %s", i, agent_output);
		ck_assert_int_eq(agent_count_files("alice/new"), table[i].alice);
		ck_assert_int_eq(agent_count_files("ab/new"), table[i].odd);
		(void)snprintf(command, sizeof(command), "rm -rf %s/alice %s/ab", agent_base,
			       agent_base);
		ck_assert_int_eq(system(command), 0);
	}
}
END_TEST

START_TEST(test_message_file)
{
	char path[160];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/message", agent_host.folder);
	fd = open(path, O_WRONLY | O_CREAT, 0644);
	ck_assert_int_eq(write(fd, agent_text, strlen(agent_text)), (ssize_t)strlen(agent_text));
	(void)close(fd);
	ck_assert_int_eq(agent_run((const char *const[]){"-f", "a@b", "-d", "alice@example.com",
							 "-p", path, NULL},
				   "", 0),
			 0);
	(void)unlink(path);
	agent_assert_stored("alice/new", HEADER "Subject: x\n\nbody\n",
			    sizeof(HEADER "Subject: x\n\nbody\n") - 1);
}
END_TEST

START_TEST(test_signals)
{
	static const int signals[] = {SIGTERM, SIGHUP, SIGINT};
	static char half[500000];

	memset(half, 'x', sizeof(half));
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		int in, out, status;
		pid_t pid = agent_start(&in, &out);
		char said[64] = "";

		/* More than a pipe holds: when all is written, the agent is reading. */
		ck_assert_int_eq(write(in, half, sizeof(half)), sizeof(half));
		ck_assert_int_eq(kill(pid, signals[i]), 0);
		ck_assert_int_gt(read(out, said, sizeof(said) - 1), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 75, "%x", status);
		ck_assert_int_eq(strncmp(said, "4.3.2 ", 6), 0);
		(void)close(in);
		(void)close(out);
	}
	ck_assert_int_eq(agent_count_files("alice/new"), 0);
	ck_assert_int_eq(agent_count_files("alice/tmp"), 0);
}
END_TEST

/* A caller that dies closes both pipes before anybody is told that it died. */
START_TEST(test_nobody_listens)
{
	static char half[500000];

	memset(half, 'x', sizeof(half));
	for (int begun = 0; begun < 2; begun++) {
		/* More than a pipe holds: when all is written, the agent is reading. */
		size_t len = begun ? sizeof(half) : 10;
		int in, out, status;
		pid_t pid = agent_start(&in, &out);

		ck_assert_int_eq(write(in, half, len), (ssize_t)len);
		(void)close(out);
		(void)close(in);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 75, "%x", status);
		ck_assert_int_eq(agent_count_files("alice/new"), 0);
	}
}
END_TEST

START_TEST(test_agent_or_daemon)
{
	static const struct {
		const char *argv[8];
		bool agent;
	} table[] = {
		{{"p", NULL}, false},
		{{"p", "-c", "file", NULL}, false},
		{{"p", "--check", NULL}, false},
		{{"p", "-c", "file", "--dump-config", NULL}, false},
		{{"p", "-c", "-d", "--check", NULL}, false},
		{{"p", "-c", NULL}, false},
		{{"p", "-c", "file", "-f", "x", "-d", "y", NULL}, true},
		{{"p", "-dx", NULL}, true},
		{{"p", "-f", "", NULL},
		 true}, /* a slip in master.cf: not the daemon's exit codes */
		{{"p", "-a", "x", NULL}, true},
		{{"p", "-e", "-r", "x", "y", NULL}, true},
		{{"p", "deliver", "-d", "y", NULL}, true},
		{{"p", "user", NULL}, true},
		{{"p", "-w", "90", NULL}, true},
		{{"p", "-x", NULL}, true},
		{{"p", "-h", NULL}, false},
		{{"p", "-cfile", "--check", NULL}, false},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int argc = 0;

		while (table[i].argv[argc])
			argc++;
		ck_assert_msg(agent_wanted(argc, (char **)table[i].argv) == table[i].agent,
			      "row %zu", i);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("agent");
	TCase *tests = tcase_create("agent"), *served = tcase_create("handed over");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, agent_setup, agent_teardown);
	tcase_set_timeout(tests, 120);
	tcase_add_test(tests, test_exit_codes);
	tcase_add_test(tests, test_all_is_read);
	tcase_add_test(tests, test_trouble);
	tcase_add_test(tests, test_descriptors_and_limits);
	tcase_add_test(tests, test_header_lines);
	tcase_add_test(tests, test_bytes);
	tcase_add_test(tests, test_parent_killed);
	tcase_add_test(tests, test_options);
	tcase_add_test(tests, test_forms);
	tcase_add_test(tests, test_top_of_message);
	tcase_add_test(tests, test_several_recipients);
	tcase_add_test(tests, test_message_file);
	tcase_add_test(tests, test_signals);
	tcase_add_test(tests, test_nobody_listens);
	tcase_add_test(tests, test_agent_or_daemon);
	suite_add_tcase(suite, tests);
	/* The same, said to the server. */
	tcase_add_checked_fixture(served, agent_setup_serving, agent_teardown);
	tcase_set_timeout(served, 120);
	tcase_add_test(served, test_exit_codes);
	tcase_add_test(served, test_all_is_read);
	tcase_add_test(served, test_header_lines);
	tcase_add_test(served, test_bytes);
	tcase_add_test(served, test_parent_killed);
	tcase_add_test(served, test_forms);
	tcase_add_test(served, test_top_of_message);
	tcase_add_test(served, test_several_recipients);
	tcase_add_test(served, test_message_file);
	tcase_add_test(served, test_signals);
	tcase_add_test(served, test_nobody_listens);
	suite_add_tcase(suite, served);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
