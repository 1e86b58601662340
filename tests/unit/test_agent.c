/*
 * test_agent - lmtp-deliver as a pipe(8) agent: the real program, its exit codes and its words
 *
 * POSTERN_TOP_BUILDDIR tells where the program is.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lmtp-deliver/agent.h"
#include "lmtp-deliver/agent_options.h"
#include "tests/unit/mailhost.h"

static struct mailhost host;
static char base[96], program[4096], owner[64];
static uid_t owner_uid;

static const char rows[] =
	"INSERT INTO t_domain (name) VALUES ('example.com');"
	"INSERT INTO t_alias (address, members) VALUES ('sales@example.com', 'alice@example.com');"
	"INSERT INTO t_mailbox (address, path) VALUES ('alice@example.com', 'alice/'),"
	"  ('-odd@example.com', 'odd/'), ('a b@example.com', 'ab/'),"
	"  ('out@example.com', '../outside/');"
	"INSERT INTO t_mailbox (address, path, may_receive) VALUES ('mute@example.com', 'm/', 0);"
	"INSERT INTO t_mailbox (address, path, quota) VALUES ('full@example.com', 'full/', '10');";

static bool serving; /* the LMTP server runs, too, and the messages are handed over to it */
static pid_t server;
static char listener[100], server_log[112];

static void server_stop(void)
{
	int status;

	if (server <= 0)
		return;
	(void)kill(server, SIGTERM);
	ck_assert_int_eq(waitpid(server, &status, 0), server);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "server: %x", status);
	server = 0;
}

static bool server_answers(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char greeting[64];
	bool answers;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", listener);
	answers = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		  read(fd, greeting, sizeof(greeting)) > 4;
	(void)close(fd);
	return answers;
}

static void server_start(void)
{
	const char *const argv[] = {"lmtp-deliver", "-c", host.file, NULL};

	server = fork();
	if (server == 0) {
		int log = open(server_log, O_WRONLY | O_CREAT | O_APPEND, 0644);

		(void)dup2(log, STDOUT_FILENO);
		(void)dup2(log, STDERR_FILENO);
		(void)execv(program, (char *const *)argv);
		_exit(127);
	}
	for (int i = 0; i < 2000 && !server_answers(); i++)
		ck_assert_int_eq(poll(NULL, 0, 10), 0);
	ck_assert(server_answers());
}

/* MORE begins with keys of [lmtp], or with a section. */
static void configure(const char *more)
{
	char ini[1024];

	server_stop();
	(void)snprintf(ini, sizeof(ini),
		       "[mail]\nbase = %s\nowner = %s\n[lmtp]\nlisten = %s\nsocket_group =\n%s",
		       base, owner, listener, strncmp(more, "[lmtp]\n", 7) == 0 ? more + 7 : more);
	mailhost_configure(&host, ini);
	ck_assert_int_eq(chown(host.file, owner_uid, (gid_t)-1), 0);
	if (serving)
		server_start();
}

static void setup(void)
{
	const char *top = getenv("POSTERN_TOP_BUILDDIR");
	const struct passwd *account = geteuid() == 0 ? getpwnam("nobody") : getpwuid(geteuid());

	ck_assert_msg(top != NULL, "POSTERN_TOP_BUILDDIR is not set");
	(void)snprintf(program, sizeof(program), "%s/lmtp-deliver/lmtp-deliver", top);
	ck_assert_msg(access(program, X_OK) == 0, "%s: %s", program, strerror(errno));
	ck_assert_ptr_nonnull(account);
	(void)snprintf(owner, sizeof(owner), "%s", account->pw_name);
	owner_uid = account->pw_uid;
	mailhost_open(&host, rows, "");
	(void)snprintf(base, sizeof(base), "%s/mail", host.folder);
	(void)snprintf(listener, sizeof(listener), "%s/lmtp", host.folder);
	(void)snprintf(server_log, sizeof(server_log), "%s/server.log", host.folder);
	ck_assert_int_eq(mkdir(base, 0700), 0);
	for (const char *const *path =
		     (const char *const[]){host.folder, base, host.preset, host.database, NULL};
	     *path; path++)
		ck_assert_int_eq(chown(*path, owner_uid, (gid_t)-1), 0);
	configure("");
}

static void setup_serving(void)
{
	serving = true;
	setup();
}

static void teardown(void)
{
	char command[400];

	serving = false;
	server_stop();
	(void)snprintf(command, sizeof(command), "rm -rf %s %s %s", base, listener, server_log);
	ck_assert_int_eq(system(command), 0);
	mailhost_close(&host);
}

#define ARGUMENTS_MAX 12

/* Fills in "lmtp-deliver -c FILE" before ARGUMENTS (ended by NULL). */
static void command_line(const char *argv[ARGUMENTS_MAX + 4], const char *const *arguments)
{
	size_t count = 0;

	argv[count++] = "lmtp-deliver";
	argv[count++] = "-c";
	argv[count++] = host.file;
	while (*arguments) {
		ck_assert_uint_lt(count, ARGUMENTS_MAX + 3);
		argv[count++] = *arguments++;
	}
	argv[count] = NULL;
}

static void become_program(const char *const *argv)
{
	/* As pipe(8) has it: output and errors are one. */
	(void)dup2(STDOUT_FILENO, STDERR_FILENO);
	(void)execv(program, (char *const *)argv);
	_exit(127);
}

static char output[8192];

/* Feeds LEN bytes and reads the output until the program is gone. Returns its exit status. */
static int run_bytes(const char *const *arguments, const char *message, size_t len)
{
	const char *argv[ARGUMENTS_MAX + 4];
	int in[2], out[2], status;
	size_t sent = 0, got = 0;
	ssize_t now;
	pid_t pid;

	command_line(argv, arguments);
	(void)signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		(void)dup2(in[0], STDIN_FILENO);
		(void)dup2(out[1], STDOUT_FILENO);
		become_program(argv);
	}
	ck_assert_int_gt(pid, 0);
	(void)close(in[0]);
	(void)close(out[1]);
	while (sent < len && (now = write(in[1], message + sent, len - sent)) > 0)
		sent += (size_t)now;
	(void)close(in[1]);
	ck_assert_msg(sent == len, "%zu of %zu bytes read", sent, len);
	while (got < sizeof(output) - 1 &&
	       (now = read(out[0], output + got, sizeof(output) - 1 - got)) > 0)
		got += (size_t)now;
	output[got] = '\0';
	(void)close(out[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "signal %d: %s", WTERMSIG(status), output);
	return WEXITSTATUS(status);
}

static const char text[] = "Subject: x\n\nbody\n";

/* Delivers TEXT from <a@b> to RECIPIENT: exit status CODE, output begins with WORDS. */
static void deliver(const char *recipient, int code, const char *words)
{
	int status = run_bytes((const char *const[]){"-f", "a@b", "-d", recipient, NULL}, text,
			       sizeof(text) - 1);

	ck_assert_msg(status == code, "%s: exit %d: %s", recipient, status, output);
	ck_assert_msg(strncmp(output, words, strlen(words)) == 0, "%s: %s", recipient, output);
}

static int count_files(const char *name)
{
	char path[300];
	struct dirent *entry;
	int count = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s/%s", base, name);
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	(void)closedir(dir);
	return count;
}

/* The one file of a folder below the base; it is removed. */
static void assert_stored(const char *name, const char *data, size_t len)
{
	char path[300], full[700];
	struct dirent *entry;
	struct stat st;
	char *content;
	DIR *dir;
	int fd;

	ck_assert_int_eq(count_files(name), 1);
	(void)snprintf(path, sizeof(path), "%s/%s", base, name);
	dir = opendir(path);
	while ((entry = readdir(dir)) && entry->d_name[0] == '.')
		;
	(void)snprintf(full, sizeof(full), "%s/%s", path, entry->d_name);
	(void)closedir(dir);
	fd = open(full, O_RDONLY);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(st.st_uid, owner_uid);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0600);
	content = calloc(1, (size_t)st.st_size + 1);
	ck_assert_int_eq(read(fd, content, (size_t)st.st_size), st.st_size);
	(void)close(fd);
	ck_assert_msg((size_t)st.st_size == len && memcmp(content, data, len) == 0, "%s", content);
	free(content);
	ck_assert_int_eq(unlink(full), 0);
}

START_TEST(test_exit_codes)
{
	deliver("alice@example.com", 0, serving ? "" : "info: delivered ");
	deliver("nobody@example.com", 67, "5.1.1 ");
	deliver("alice@elsewhere.test", 67, "5.1.1 ");
	deliver("sales@example.com", 67, "5.1.1 ");
	deliver("mute@example.com", 77, "5.2.1 ");
	deliver("full@example.com", 75, "4.2.2 ");
	deliver("out@example.com", 75, "4.3.5 ");
	deliver("", 75, "4.3.5 ");
	deliver("alice@", 75, "4.3.5 ");
	deliver("alice", 75, "4.3.5 "); /* no default_domain */
	deliver("-odd@example.com", 0, "");
	configure("[lmtp]\nquota_full = reject\nmax_size = 1024\n");
	deliver("full@example.com", 77, "5.2.2 ");
	ck_assert_int_eq(count_files("full/new"), 0);
	ck_assert_int_eq(count_files("odd/new"), 1);
	assert_stored("alice/new",
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
		run_bytes((const char *const[]){"-f", "", "-d", "nobody@example.com", NULL}, big,
			  sizeof(big)),
		67);
	configure("[lmtp]\nmax_size = 2M\n");
	ck_assert_int_eq(run_bytes((const char *const[]){"-f", "", "-d", "alice@example.com", NULL},
				   big, sizeof(big)),
			 77);
	ck_assert_int_eq(strncmp(output, "5.3.4 ", 6), 0);
	ck_assert_int_eq(count_files("alice/new"), 0);
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
		int status = run_bytes(wrong[i], text, sizeof(text) - 1);

		ck_assert_msg(status == 75 && strncmp(output, "4.3.5 ", 6) == 0, "row %zu: %d %s",
			      i, status, output);
	}
	configure("[lmtp]\nexpand_aliases = yes\n");
	deliver("alice@example.com", 75, "4.3.5 ");
	configure("");
	(void)snprintf(away, sizeof(away), "%s.away", base);
	ck_assert_int_eq(rename(base, away), 0);
	deliver("alice@example.com", 75, "4.2.0 ");
	ck_assert_ptr_nonnull(strstr(output, base)); /* the log line says where */
	ck_assert_int_eq(rename(away, base), 0);
	(void)snprintf(away, sizeof(away), "%s.away", host.database);
	ck_assert_int_eq(rename(host.database, away), 0);
	deliver("alice@example.com", 75, "4.3.0 ");
	ck_assert_int_eq(rename(away, host.database), 0);
	ck_assert_int_eq(chmod(host.file, 0), 0);
	if (geteuid() != 0)
		deliver("alice@example.com", 75, "4.3.5 ");
	ck_assert_int_eq(chmod(host.file, 0600), 0);
	ck_assert_int_eq(truncate(host.file, 20), 0);
	deliver("alice@example.com", 75, "4.3.5 ");
	ck_assert_int_eq(count_files("alice/new"), 0);
	configure("");
	deliver("alice@example.com", 0, "");
}
END_TEST

START_TEST(test_descriptors_and_limits)
{
	static const char *const arguments[] = {"-f", "a@b", "-d", "alice@example.com", NULL};
	const char *argv[ARGUMENTS_MAX + 4];

	command_line(argv, arguments);
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
			(void)execv(program, (char *const *)argv);
			_exit(127);
		}
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == (step == 0 ? 0 : 75),
			      "step %d: %x", step, status);
	}
	ck_assert_int_eq(count_files("alice/new"), 1);
	ck_assert_int_eq(count_files("alice/tmp"), 0);
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
		int status = run_bytes(table[i].arguments, "", 0);

		ck_assert_msg(status == 0, "row %zu: %s", i, output);
		assert_stored("alice/new", table[i].stored, strlen(table[i].stored));
	}
	ck_assert_int_eq(
		run_bytes((const char *const[]){"-f", "a@b", "-d", "a b@example.com", NULL}, "", 0),
		0);
	assert_stored("ab/new", "Return-Path: <a@b>\nDelivered-To: a b@example.com\n", 49);
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
		run_bytes((const char *const[]){"-f", "a@b", "-d", "alice@example.com", NULL},
			  message, sizeof(message) - 1),
		0);
	assert_stored("alice/new", stored, sizeof(stored) - 1);
}
END_TEST

/*
 * pipe(8) is killed in the middle of a message: the agent sees the end of its input, and stores
 * nothing. Every process of this test holds `alive`; its end of file says that all are gone.
 */
START_TEST(test_parent_killed)
{
	static char half[500000];
	const char *argv[ARGUMENTS_MAX + 4];
	int alive[2], ready[2], status;
	char byte;
	pid_t parent;
	struct pollfd poller;

	memset(half, 'x', sizeof(half));
	command_line(argv, (const char *const[]){"-f", "a@b", "-d", "alice@example.com", NULL});
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
			(void)execv(program, (char *const *)argv);
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
	ck_assert_int_eq(count_files("alice/new"), 0);
	ck_assert_int_eq(count_files("alice/tmp"), 0);
	deliver("alice@example.com", 0, "");
	ck_assert_int_eq(count_files("alice/new"), 1);
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
		(void)snprintf(path, sizeof(path), "%s/%s%s", base, name, below[i]);
		ck_assert_msg(mkdir(path, 0700) == 0 || errno == EEXIST, "%s", path);
		ck_assert_int_eq(chown(path, owner_uid, (gid_t)-1), 0);
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

	configure("[address]\ndefault_domain = example.com\n");
	make_folder("alice");
	make_folder("alice/.lists");
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int status = run_bytes(table[i].arguments, text, sizeof(text) - 1);

		ck_assert_msg(status == 0, "row %zu: exit %d: %s", i, status, output);
		ck_assert_msg(count_files(table[i].folder) == 1, "row %zu", i);
		assert_stored(table[i].folder, HEADER "Subject: x\n\nbody\n",
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
		status = run_bytes(arguments, table[i].message, strlen(table[i].message));
		ck_assert_msg(status == 0, "row %zu: exit %d: %s", i, status, output);
		assert_stored("alice/new", table[i].stored, strlen(table[i].stored));
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
		int status = run_bytes(arguments, text, sizeof(text) - 1);
		char command[256];

		ck_assert_msg(status == table[i].status, "row %zu: exit %d: %s", i, status, output);
		ck_assert_msg(strncmp(output, table[i].words, strlen(table[i].words)) == 0,
			      "row %zu: %s", i, output);
		ck_assert_int_eq(count_files("alice/new"), table[i].alice);
		ck_assert_int_eq(count_files("ab/new"), table[i].odd);
		(void)snprintf(command, sizeof(command), "rm -rf %s/alice %s/ab", base, base);
		ck_assert_int_eq(system(command), 0);
	}
}
END_TEST

START_TEST(test_message_file)
{
	char path[160];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/message", host.folder);
	fd = open(path, O_WRONLY | O_CREAT, 0644);
	ck_assert_int_eq(write(fd, text, sizeof(text) - 1), (ssize_t)sizeof(text) - 1);
	(void)close(fd);
	ck_assert_int_eq(run_bytes((const char *const[]){"-f", "a@b", "-d", "alice@example.com",
							 "-p", path, NULL},
				   "", 0),
			 0);
	(void)unlink(path);
	assert_stored("alice/new", HEADER "Subject: x\n\nbody\n",
		      sizeof(HEADER "Subject: x\n\nbody\n") - 1);
}
END_TEST

/* Starts the program; *IN_R is its input, *OUT_R its output, both the caller's. */
static pid_t start(int *in_r, int *out_r)
{
	const char *argv[ARGUMENTS_MAX + 4];
	int in[2], out[2];
	pid_t pid;

	command_line(argv, (const char *const[]){"-f", "a@b", "-d", "alice@example.com", NULL});
	(void)signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		(void)dup2(in[0], STDIN_FILENO);
		(void)dup2(out[1], STDOUT_FILENO);
		become_program(argv);
	}
	ck_assert_int_gt(pid, 0);
	(void)close(in[0]);
	(void)close(out[1]);
	*in_r = in[1];
	*out_r = out[0];
	return pid;
}

START_TEST(test_signals)
{
	static const int signals[] = {SIGTERM, SIGHUP, SIGINT};
	static char half[500000];

	memset(half, 'x', sizeof(half));
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		int in, out, status;
		pid_t pid = start(&in, &out);
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
	ck_assert_int_eq(count_files("alice/new"), 0);
	ck_assert_int_eq(count_files("alice/tmp"), 0);
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
		pid_t pid = start(&in, &out);

		ck_assert_int_eq(write(in, half, len), (ssize_t)len);
		(void)close(out);
		(void)close(in);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 75, "%x", status);
		ck_assert_int_eq(count_files("alice/new"), 0);
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

/* How often the server's log says WORD. */
static int server_said(const char *word)
{
	static char log[1 << 20];
	int fd = open(server_log, O_RDONLY), count = 0;
	ssize_t len = read(fd, log, sizeof(log) - 1);

	(void)close(fd);
	ck_assert_int_ge(len, 0);
	log[len] = '\0';
	for (const char *at = log; (at = strstr(at, word)); at++)
		count++;
	return count;
}

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
		int before = server_said(" delivered "), status;

		status = run_bytes(table[i].arguments, table[i].input, strlen(table[i].input));
		ck_assert_msg(status == 0, "row %zu: %d %s", i, status, output);
		ck_assert_msg((server_said(" delivered ") > before) == table[i].by_server,
			      "row %zu", i);
		ck_assert_msg((strstr(output, "delivered ") == NULL) == table[i].by_server,
			      "row %zu: %s", i, output);
	}
	configure("[lmtp]\nreceived = yes\n");
	deliver("alice@example.com", 0, "info: delivered ");
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
		ck_assert_int_eq(run_bytes((const char *const[]){"-f", "a@b", "-d",
								 "alice@example.com", NULL},
					   message, sizes[i]),
				 0);
		memcpy(stored + sizeof(top) - 1, message, sizes[i]);
		assert_stored("alice/new", stored, sizeof(top) - 1 + sizes[i]);
	}
	if (serving)
		ck_assert_int_ge(server_said(" delivered "),
				 (int)(sizeof(sizes) / sizeof(sizes[0])));
}
END_TEST

/* It goes away in the middle: deferred, whoever delivers, and all of the input was read. */
START_TEST(test_server_killed)
{
	static char half[500000];
	int in, out, status;
	char said[64] = "";
	pid_t pid = start(&in, &out);

	memset(half, 'x', sizeof(half));
	ck_assert_int_eq(write(in, half, sizeof(half)), sizeof(half));
	ck_assert_int_eq(kill(server, SIGKILL), 0);
	ck_assert_int_eq(waitpid(server, &status, 0), server);
	server = 0;
	ck_assert_int_eq(write(in, half, sizeof(half)), sizeof(half));
	(void)close(in);
	ck_assert_int_gt(read(out, said, sizeof(said) - 1), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 75, "%x", status);
	ck_assert_int_eq(strncmp(said, "4.3.0 ", 6), 0);
	(void)close(out);
	ck_assert_int_eq(count_files("alice/new"), 0);
	/* Its socket is there still, and nobody behind it. */
	deliver("alice@example.com", 0, "info: delivered ");
	server_start();
	/* The same message once more is one more: the server knows that its reply has come. */
	for (int i = 0; i < 10; i++)
		deliver("alice@example.com", 0, "");
	ck_assert_int_eq(count_files("alice/new"), 11);
}
END_TEST

/* One session of a server that says only this; what it says stops at "!", after the message. */
static pid_t puppet(const char *greeting, const char *replies)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	(void)unlink(listener);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", listener);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(chmod(listener, 0666), 0);
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

		deliver("alice@example.com", table[i].status, table[i].words);
		ck_assert_msg(count_files("alice/new") == table[i].by_itself, "row %zu", i);
		if (table[i].by_itself)
			assert_stored("alice/new",
				      "Return-Path: <a@b>\nDelivered-To: alice@example.com\n"
				      "Subject: x\n\nbody\n",
				      68);
		(void)kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	}
	(void)unlink(listener);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("agent");
	TCase *tests = tcase_create("agent"), *served = tcase_create("handed over");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, setup, teardown);
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
	tcase_add_test(tests, test_blocks);
	tcase_add_test(tests, test_replies);
	suite_add_tcase(suite, tests);
	/* The same, said to the server. */
	tcase_add_checked_fixture(served, setup_serving, teardown);
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
