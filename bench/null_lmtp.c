/*
 * NAME
 *	null_lmtp - the least that an LMTP server can do
 * SYNOPSIS
 *	null_lmtp SOCKET
 * DESCRIPTION
 *	The yardstick of scripts/bench: a thread for each connection, blocking reads, fixed replies. It
 *	takes every message for every recipient and keeps none: of a message's bytes it looks for the
 *	end alone. What a server that delivers loses against it is the server's own, or its disk's.
 *
 *	Replies are sent when the input runs dry, so commands may come in any pieces. The socket is
 *	open to everybody. It ends by a signal; the socket file stays behind.
 * BUGS
 *	Lines end with CRLF, and one that does not fit the buffer ends the session. The order of the
 *	commands is the client's affair.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "bench/null_server.h"

#define INPUT_MAX   65536
#define REPLIES_MAX 4096

struct session {
	int fd;
	unsigned recipients;
	size_t used, len; /* of `in` */
	size_t out_len;
	char in[INPUT_MAX];
	char out[REPLIES_MAX];
};

static bool flush(struct session *session)
{
	size_t len = session->out_len;

	session->out_len = 0;
	return len == 0 || write(session->fd, session->out, len) == (ssize_t)len;
}

static bool reply(struct session *session, const char *text)
{
	size_t len = strlen(text);

	if (session->out_len + len > sizeof(session->out) && !flush(session))
		return false;
	memcpy(session->out + session->out_len, text, len);
	session->out_len += len;
	return true;
}

/* Reads behind what is not yet used. False: the session is over. */
static bool more(struct session *session)
{
	ssize_t n;

	session->len -= session->used;
	memmove(session->in, session->in + session->used, session->len);
	session->used = 0;
	if (session->len == sizeof(session->in) || !flush(session))
		return false;
	n = read(session->fd, session->in + session->len, sizeof(session->in) - session->len);
	if (n <= 0)
		return false;
	session->len += (size_t)n;
	return true;
}

/* Behind "CRLF . CRLF", or NULL. It looks for dots, which are rare. */
static const char *message_end(const char *text, size_t len)
{
	const char *end = text + len, *dot = text;

	while ((dot = memchr(dot, '.', (size_t)(end - dot))) != NULL) {
		if (dot - text >= 2 && end - dot >= 3 && memcmp(dot - 2, "\r\n.\r\n", 5) == 0)
			return dot + 3;
		dot++;
	}
	return NULL;
}

/* The CRLF of DATA is still there: it is also that of a dot which comes at once. */
static bool message(struct session *session)
{
	const char *end;

	if (!reply(session, "354 go on\r\n"))
		return false;
	while ((end = message_end(session->in + session->used, session->len - session->used)) ==
	       NULL) {
		if (session->len - session->used > 4) /* the end may have begun */
			session->used = session->len - 4;
		if (!more(session))
			return false;
	}
	session->used = (size_t)(end - session->in);
	for (; session->recipients > 0; session->recipients--)
		if (!reply(session, "250 2.0.0 ok\r\n"))
			return false;
	return true;
}

static bool is(const char *line, const char *verb)
{
	return strncasecmp(line, verb, strlen(verb)) == 0;
}

/* LINE ends with CRLF and is used up. False: the session is over. */
static bool command(struct session *session, const char *line)
{
	const char *text = "250 2.0.0 ok\r\n";

	if (is(line, "DATA\r\n") && session->recipients > 0) {
		session->used -= strlen("\r\n");
		return message(session);
	}
	if (is(line, "QUIT\r\n")) {
		if (reply(session, "221 2.0.0 bye\r\n"))
			(void)flush(session); /* a client that is gone needs no farewell */
		return false;
	}
	if (is(line, "RCPT "))
		session->recipients++;
	else if (is(line, "MAIL ") || is(line, "RSET\r\n"))
		session->recipients = 0;
	else if (is(line, "LHLO "))
		text = "250-null\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 0\r\n"
		       "250 ENHANCEDSTATUSCODES\r\n";
	else if (is(line, "DATA\r\n"))
		text = "503 5.5.1 RCPT comes first\r\n";
	else if (!is(line, "NOOP"))
		text = "500 5.5.2 command not known\r\n";
	return reply(session, text);
}

static void converse(struct session *session)
{
	bool goes_on = reply(session, "220 null LMTP\r\n");

	while (goes_on) {
		const char *line = session->in + session->used;
		const char *end = memmem(line, session->len - session->used, "\r\n", 2);

		if (end) {
			session->used = (size_t)(end + 2 - session->in);
			goes_on = command(session, line);
		} else {
			goes_on = more(session);
		}
	}
}

static void serve(int fd)
{
	struct session session;

	session.fd = fd;
	session.recipients = 0;
	session.used = session.len = session.out_len = 0;
	converse(&session);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: null_lmtp SOCKET\n");
		return 64;
	}
	return null_server_run("null_lmtp", argv[1], serve);
}
