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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lmtp-deliver/agent.h"
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

static void configure(const char *more)
{
	char ini[1024];

	(void)snprintf(ini, sizeof(ini), "[mail]\nbase = %s\nowner = %s\n%s", base, owner, more);
	mailhost_configure(&host, ini);
	ck_assert_int_eq(chown(host.file, owner_uid, (gid_t)-1), 0);
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
	ck_assert_int_eq(mkdir(base, 0700), 0);
	for (const char *const *path =
		     (const char *const[]){host.folder, base, host.preset, host.database, NULL};
	     *path; path++)
		ck_assert_int_eq(chown(*path, owner_uid, (gid_t)-1), 0);
	configure("");
}

static void teardown(void)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf %s", base);
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
	deliver("alice@example.com", 0, "info: delivered ");
	deliver("nobody@example.com", 67, "5.1.1 ");
	deliver("alice@elsewhere.test", 67, "5.1.1 ");
	deliver("sales@example.com", 67, "5.1.1 ");
	deliver("mute@example.com", 77, "5.2.1 ");
	deliver("full@example.com", 75, "4.2.2 ");
	deliver("out@example.com", 75, "4.3.5 ");
	deliver("", 67, "5.1.1 ");
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
		{"-d", "alice@example.com", NULL},
		{"-f", "a@b", "-d", NULL},
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
	TCase *tests = tcase_create("agent");
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
	tcase_add_test(tests, test_agent_or_daemon);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
