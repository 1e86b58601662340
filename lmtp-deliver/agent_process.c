/*
 * agent_process - a child of pipe(8)
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/io.h"
#include "common/log.h"
#include "common/proc_stat.h"
#include "lmtp-deliver/agent_process.h"

#define PF_EXITING 0x4 /* of the kernel */

static void on_signal(int number)
{
	static const char said[] = "4.3.2 ended by a signal\n";
	ssize_t ignored = write(STDOUT_FILENO, said, sizeof(said) - 1);

	(void)number;
	(void)ignored; /* the exit status says it, too */
	_exit(EX_TEMPFAIL);
}

static const int ending_signals[] = {SIGTERM, SIGHUP, SIGINT};
#define ENDING_SIGNALS (sizeof(ending_signals) / sizeof(ending_signals[0]))

void agent_catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal}, before;

	/* Errors of write(2) are answered; a signal would only say less. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < ENDING_SIGNALS; i++)
		if (sigaction(ending_signals[i], NULL, &before) == 0 &&
		    before.sa_handler != SIG_IGN)
			(void)sigaction(ending_signals[i], &action, NULL);
}

void agent_hold_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < ENDING_SIGNALS; i++)
		(void)sigaddset(&set, ending_signals[i]);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
}

/* Who is killed closes its files first and is somebody's parent for a little longer. */
static bool is_exiting(pid_t pid)
{
	int64_t flags;

	return proc_stat_field(pid, PROC_STAT_FLAGS, &flags) && (flags & PF_EXITING);
}

bool agent_caller_is_gone(pid_t parent)
{
	struct pollfd said = {.fd = STDOUT_FILENO};

	return getppid() != parent || is_exiting(parent) ||
	       (poll(&said, 1, 0) == 1 && (said.revents & POLLERR));
}

bool agent_die_with_parent(pid_t parent)
{
	return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && !agent_caller_is_gone(parent);
}

ssize_t agent_read(int fd, char *to, size_t room)
{
	ssize_t got;

	do
		got = read(fd, to, room);
	while (got < 0 && errno == EINTR);
	return got;
}

void agent_drain(void)
{
	static char bytes[65536];

	if (isatty(STDIN_FILENO))
		return;
	while (agent_read(STDIN_FILENO, bytes, sizeof(bytes)) > 0)
		;
}

static int exit_status(unsigned code, const char *status)
{
	if (code < 300)
		return EX_OK;
	if (code < 500)
		return EX_TEMPFAIL;
	return strcmp(status, "5.1.1") == 0 ? EX_NOUSER : EX_NOPERM;
}

int agent_finish(unsigned code, const char *status, const char *text)
{
	struct buf line = BUF_INIT;
	int result = exit_status(code, status);

	if (result != EX_OK) {
		buf_printf(&line, "%s %s\n", status, text);
		if (!buf_ok(&line) || io_write_file(STDOUT_FILENO, line.data, line.len) != 0)
			log_warning("nobody reads the status: %s", status);
	}
	buf_free(&line);
	return result;
}
