/*
 * agent_rig - see agent_rig.h
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/agent_rig.h"
struct mailhost agent_host;
char agent_base[96], agent_program[4096], agent_output[8192];
static char owner[64];
uid_t agent_owner_uid;

static const char rows[] =
	"INSERT INTO t_domain (name) VALUES ('example.com');"
	"INSERT INTO t_alias (address, members) VALUES ('sales@example.com', 'alice@example.com');"
	"INSERT INTO t_mailbox (address, path) VALUES ('alice@example.com', 'alice/'),"
	"  ('-odd@example.com', 'odd/'), ('a b@example.com', 'ab/'),"
	"  ('out@example.com', '../outside/');"
	"INSERT INTO t_mailbox (address, path, may_receive) VALUES ('mute@example.com', 'm/', 0);"
	"INSERT INTO t_mailbox (address, path, quota) VALUES ('full@example.com', 'full/', '10');";

bool agent_serving;
pid_t agent_server;
char agent_listener[100];
static char server_log[112];

static void agent_server_stop(void)
{
	int status;

	if (agent_server <= 0)
		return;
	(void)kill(agent_server, SIGTERM);
	ck_assert_int_eq(waitpid(agent_server, &status, 0), agent_server);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "server: %x", status);
	agent_server = 0;
}

static bool server_answers(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char greeting[64];
	bool answers;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", agent_listener);
	answers = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
		  read(fd, greeting, sizeof(greeting)) > 4;
	(void)close(fd);
	return answers;
}

void agent_server_start(void)
{
	const char *const argv[] = {"lmtp-deliver", "-c", agent_host.file, NULL};

	agent_server = fork();
	if (agent_server == 0) {
		int log = open(server_log, O_WRONLY | O_CREAT | O_APPEND, 0644);

		(void)dup2(log, STDOUT_FILENO);
		(void)dup2(log, STDERR_FILENO);
		(void)execv(agent_program, (char *const *)argv);
		_exit(127);
	}
	for (int i = 0; i < 2000 && !server_answers(); i++)
		ck_assert_int_eq(poll(NULL, 0, 10), 0);
	ck_assert(server_answers());
}

/* MORE begins with keys of [lmtp], or with a section. */
void agent_configure(const char *more)
{
	char ini[1024];

	agent_server_stop();
	(void)snprintf(ini, sizeof(ini),
		       "[mail]\nbase = %s\nowner = %s\n[lmtp]\nlisten = %s\nsocket_group =\n%s",
		       agent_base, owner, agent_listener,
		       strncmp(more, "[lmtp]\n", 7) == 0 ? more + 7 : more);
	mailhost_configure(&agent_host, ini);
	ck_assert_int_eq(chown(agent_host.file, agent_owner_uid, (gid_t)-1), 0);
	if (agent_serving)
		agent_server_start();
}

void agent_setup(void)
{
	const char *top = getenv("POSTERN_TOP_BUILDDIR");
	const struct passwd *account = geteuid() == 0 ? getpwnam("nobody") : getpwuid(geteuid());

	ck_assert_msg(top != NULL, "POSTERN_TOP_BUILDDIR is not set");
	(void)snprintf(agent_program, sizeof(agent_program), "%s/lmtp-deliver/lmtp-deliver", top);
	ck_assert_msg(access(agent_program, X_OK) == 0, "%s: %s", agent_program, strerror(errno));
	ck_assert_ptr_nonnull(account);
	(void)snprintf(owner, sizeof(owner), "%s", account->pw_name);
	agent_owner_uid = account->pw_uid;
	mailhost_open(&agent_host, rows, "");
	(void)snprintf(agent_base, sizeof(agent_base), "%s/mail", agent_host.folder);
	(void)snprintf(agent_listener, sizeof(agent_listener), "%s/lmtp", agent_host.folder);
	(void)snprintf(server_log, sizeof(server_log), "%s/server.log", agent_host.folder);
	ck_assert_int_eq(mkdir(agent_base, 0700), 0);
	for (const char *const *path =
		     (const char *const[]){agent_host.folder, agent_base, agent_host.preset,
					   agent_host.database, NULL};
	     *path; path++)
		ck_assert_int_eq(chown(*path, agent_owner_uid, (gid_t)-1), 0);
	agent_configure("");
}

void agent_setup_serving(void)
{
	agent_serving = true;
	agent_setup();
}

void agent_teardown(void)
{
	char command[400];

	agent_serving = false;
	agent_server_stop();
	(void)snprintf(command, sizeof(command), "rm -rf %s %s %s", agent_base, agent_listener,
		       server_log);
	ck_assert_int_eq(system(command), 0);
	mailhost_close(&agent_host);
}

/* Fills in "lmtp-deliver -c FILE" before ARGUMENTS (ended by NULL). */
void agent_command_line(const char *argv[AGENT_ARGUMENTS_MAX + 4], const char *const *arguments)
{
	size_t count = 0;

	argv[count++] = "lmtp-deliver";
	argv[count++] = "-c";
	argv[count++] = agent_host.file;
	while (*arguments) {
		ck_assert_uint_lt(count, AGENT_ARGUMENTS_MAX + 3);
		argv[count++] = *arguments++;
	}
	argv[count] = NULL;
}

static void agent_become_program(const char *const *argv)
{
	/* As pipe(8) has it: output and errors are one. */
	(void)dup2(STDOUT_FILENO, STDERR_FILENO);
	(void)execv(agent_program, (char *const *)argv);
	_exit(127);
}

/* Starts the program; *IN_R is its input, *OUT_R its output, both the caller's. */
static pid_t spawn(const char *const *arguments, int *in_r, int *out_r)
{
	const char *argv[AGENT_ARGUMENTS_MAX + 4];
	int in[2], out[2];
	pid_t pid;

	agent_command_line(argv, arguments);
	(void)signal(SIGPIPE, SIG_IGN);
	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		static const int ending[] = {SIGHUP, SIGINT, SIGTERM};

		/* Behind nohup they are ignored, and so the agent leaves them. */
		for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
			(void)signal(ending[i], SIG_DFL);
		(void)dup2(in[0], STDIN_FILENO);
		(void)dup2(out[1], STDOUT_FILENO);
		agent_become_program(argv);
	}
	ck_assert_int_gt(pid, 0);
	(void)close(in[0]);
	(void)close(out[1]);
	*in_r = in[1];
	*out_r = out[0];
	return pid;
}

pid_t agent_start(int *in_r, int *out_r)
{
	return spawn((const char *const[]){"-f", "a@b", "-d", "alice@example.com", NULL}, in_r,
		     out_r);
}

int agent_run(const char *const *arguments, const char *message, size_t len)
{
	int in, out, status;
	size_t sent = 0, got = 0;
	ssize_t now;
	pid_t pid = spawn(arguments, &in, &out);

	while (sent < len && (now = write(in, message + sent, len - sent)) > 0)
		sent += (size_t)now;
	(void)close(in);
	ck_assert_msg(sent == len, "%zu of %zu bytes read", sent, len);
	while (got < sizeof(agent_output) - 1 &&
	       (now = read(out, agent_output + got, sizeof(agent_output) - 1 - got)) > 0)
		got += (size_t)now;
	agent_output[got] = '\0';
	(void)close(out);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "signal %d: %s", WTERMSIG(status), agent_output);
	return WEXITSTATUS(status);
}

const char agent_text[] = AGENT_TEXT;

/* Delivers TEXT from <a@b> to RECIPIENT: exit status CODE, output begins with WORDS. */
void agent_deliver(const char *recipient, int code, const char *words)
{
	int status = agent_run((const char *const[]){"-f", "a@b", "-d", recipient, NULL},
			       agent_text, strlen(agent_text));

	ck_assert_msg(status == code, "%s: exit %d: %s", recipient, status, agent_output);
	ck_assert_msg(strncmp(agent_output, words, strlen(words)) == 0, "%s: %s", recipient,
		      agent_output);
}

int agent_count_files(const char *name)
{
	char path[300];
	struct dirent *entry;
	int count = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s/%s", agent_base, name);
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	(void)closedir(dir);
	return count;
}

/* The one file of a folder below the base; it is removed. */
void agent_assert_stored(const char *name, const char *data, size_t len)
{
	char path[300], full[700];
	struct dirent *entry;
	struct stat st;
	char *content;
	DIR *dir;
	int fd;

	ck_assert_int_eq(agent_count_files(name), 1);
	(void)snprintf(path, sizeof(path), "%s/%s", agent_base, name);
	dir = opendir(path);
	while ((entry = readdir(dir)) && entry->d_name[0] == '.')
		;
	(void)snprintf(full, sizeof(full), "%s/%s", path, entry->d_name);
	(void)closedir(dir);
	fd = open(full, O_RDONLY);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(st.st_uid, agent_owner_uid);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0600);
	content = calloc(1, (size_t)st.st_size + 1);
	ck_assert_int_eq(read(fd, content, (size_t)st.st_size), st.st_size);
	(void)close(fd);
	ck_assert_msg((size_t)st.st_size == len && memcmp(content, data, len) == 0, "%s", content);
	free(content);
	ck_assert_int_eq(unlink(full), 0);
}

/* How often the server's log says WORD. */
int agent_server_said(const char *word)
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
