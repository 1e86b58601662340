/*
 * NAME
 *	prompt - passwords and confirmations
 *
 * DESCRIPTION
 *	The question goes to the terminal even when standard output and error are redirected. While
 *	the echo is off, a signal restores it before it takes effect.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "postern/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "common/io.h"
#include "common/password.h"
#include "common/secret.h"

static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
#define CAUGHT_COUNT (sizeof(caught) / sizeof(*caught))

static volatile sig_atomic_t pending;

static void on_signal(int number)
{
	pending = number;
}

/*
 * One byte, as read(2). With MASK the caught signals are blocked, and let in only while we wait, so
 * that none can slip in between a look at `pending` and the wait.
 */
static ssize_t read_byte(char *c_r, const sigset_t *mask)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

	if (mask && ppoll(&input, 1, NULL, mask) < 0)
		return -1;
	return read(STDIN_FILENO, c_r, 1);
}

/* Byte by byte: what follows the line is not ours to swallow. */
static enum result read_line(struct buf *line_r, const sigset_t *mask, struct error *err)
{
	char c;

	buf_reset(line_r);
	for (;;) {
		const ssize_t got = read_byte(&c, mask);

		if (got < 0)
			return result_error(err, RESULT_PERM, "standard input: %s",
					    pending ? "interrupted" : strerror(errno));
		if (got == 0 && line_r->len == 0)
			return result_error(err, RESULT_PERM, "nothing on standard input");
		if (got == 0 || c == '\n')
			break;
		if (line_r->len >= PASSWORD_MAX)
			return result_error(err, RESULT_PERM, "the line is over %d bytes long",
					    PASSWORD_MAX);
		if (c == '\0')
			return result_error(err, RESULT_PERM, "the line has a NUL byte");
		buf_putc(line_r, c);
	}
	secret_wipe(&c, 1);
	if (line_r->len > 0 && line_r->data[line_r->len - 1] == '\r')
		buf_truncate(line_r, line_r->len - 1);
	if (!buf_ok(line_r))
		return result_error(err, RESULT_TEMP, "out of memory");
	return RESULT_FOUND;
}

static void say(const char *text)
{
	int fd = open("/dev/tty", O_WRONLY | O_NOCTTY | O_CLOEXEC);

	/* A question that cannot be shown is no reason not to read the answer. */
	if (fd >= 0) {
		(void)!io_write_file(fd, text, strlen(text));
		close(fd);
	} else {
		(void)!io_write_file(STDERR_FILENO, text, strlen(text));
	}
}

static enum result read_hidden(const char *question, struct buf *line_r, struct error *err)
{
	struct sigaction action = {.sa_handler = on_signal}, before[CAUGHT_COUNT];
	struct termios visible, hidden;
	sigset_t blocked, mask;
	enum result result;

	if (tcgetattr(STDIN_FILENO, &visible) != 0)
		return result_error(err, RESULT_PERM, "terminal: %s", strerror(errno));
	hidden = visible;
	hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
	pending = 0;
	sigemptyset(&action.sa_mask);
	sigemptyset(&blocked);
	for (size_t i = 0; i < CAUGHT_COUNT; i++)
		sigaddset(&blocked, caught[i]);
	sigprocmask(SIG_BLOCK, &blocked, &mask);
	for (size_t i = 0; i < CAUGHT_COUNT; i++)
		sigaction(caught[i], &action, &before[i]);
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) != 0) {
		result = result_error(err, RESULT_PERM, "terminal: %s", strerror(errno));
	} else {
		say(question);
		result = read_line(line_r, &mask, err);
		say("\n");
	}
	/* Nothing better can be done when the terminal is gone. */
	(void)!tcsetattr(STDIN_FILENO, TCSAFLUSH, &visible);
	for (size_t i = 0; i < CAUGHT_COUNT; i++)
		sigaction(caught[i], &before[i], NULL);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	if (pending)
		raise(pending);
	return result;
}

enum result prompt_password(const char *question, bool confirm, struct buf *password_r,
			    struct error *err)
{
	struct buf again = BUF_SECRET;
	enum result result;

	if (!isatty(STDIN_FILENO)) {
		result = read_line(password_r, NULL, err);
		if (result == RESULT_PERM)
			error_prefix(err, "password");
	} else {
		result = read_hidden(question, password_r, err);
		if (result == RESULT_FOUND && confirm)
			result = read_hidden("Again: ", &again, err);
		if (result == RESULT_FOUND && confirm &&
		    !secret_equal(buf_str(password_r), password_r->len, buf_str(&again), again.len))
			result = result_error(err, RESULT_PERM,
					      "the two passwords differ, nothing was changed");
		buf_free(&again);
	}
	if (result == RESULT_FOUND && password_r->len == 0)
		result = result_error(err, RESULT_PERM, "the password is empty");
	return result;
}

enum result prompt_confirm(const char *question, struct error *err)
{
	struct buf answer = BUF_INIT;
	enum result result;
	bool yes;

	if (!isatty(STDIN_FILENO))
		return result_error(err, RESULT_PERM,
				    "not deleted: add --yes, as nobody can be asked here");
	say(question);
	result = read_line(&answer, NULL, err);
	yes = result == RESULT_FOUND &&
	      (strcasecmp(buf_str(&answer), "y") == 0 || strcasecmp(buf_str(&answer), "yes") == 0);
	buf_free(&answer);
	return yes ? RESULT_FOUND : RESULT_NONE;
}
