/*
 * session - the LMTP dialogue
 *
 * RFC 2033 over RFC 5321's grammar, with PIPELINING, 8BITMIME, SMTPUTF8, SIZE, CHUNKING,
 * ENHANCEDSTATUSCODES and XFORWARD; over TCP also STARTTLS and AUTH. Replies are sent when the
 * input runs dry, those after a message as its recipients are served, because the client crosses a
 * recipient off when it reads its reply.
 *
 * Limits: a command line must come within [lmtp] timeout; BAD_COMMANDS_MAX commands in a row that
 * make no sense end the session.
 *
 * Known gaps: no DSN, which would oblige us to send reports: RET, ENVID, NOTIFY and ORCPT are
 * accepted all the same.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/io.h"
#include "common/log.h"
#include "lmtp-deliver/guard.h"
#include "lmtp-deliver/session_private.h"

#define READ_MAX         65536
#define REPLIES_MAX      16384 /* bytes of replies kept back while input is waiting */
#define REPLY_TEXT       400   /* bytes of one reply's text */
#define STOP_POLL_MS     500   /* how soon an idle session notices that the daemon stops */
#define BAD_COMMANDS_MAX 20

/* Appends one reply line; STATUS "" for none. What is not printable ASCII becomes '?'. */
void session_reply(struct session *session, unsigned code, const char *status, const char *format,
		   ...)
{
	char text[REPLY_TEXT];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
			*c = '?';
	buf_printf(&session->out, "%u %s%s%s\r\n", code, status, *status ? " " : "", text);
	session->last_code = code;
}

static enum io_result read_input(struct session *session, struct deadline deadline)
{
	struct connection *connection = session->connection;

	return session->tls ? tls_read(session->tls, &connection->in, READ_MAX, deadline)
			    : io_read(connection->fd, &connection->in, READ_MAX, deadline);
}

static enum io_result write_output(struct session *session, struct deadline deadline)
{
	const struct buf *out = &session->out;

	return session->tls ? tls_write(session->tls, out->data, out->len, deadline)
			    : io_write(session->connection->fd, out->data, out->len, deadline);
}

bool session_flush(struct session *session)
{
	enum io_result result;

	if (!buf_ok(&session->out)) /* a reply is missing: the client must not count on */
		return false;
	if (session->out.len == 0)
		return true;
	result = write_output(session, deadline_in(session->settings->lmtp.timeout));
	if (result != IO_OK)
		log_info("session ended peer=%s reason=<sending a reply: %s>",
			 session->connection->peer, io_result_name(result));
	buf_reset(&session->out);
	return result == IO_OK;
}

bool session_wait(struct session *session, struct deadline deadline, const char *doing)
{
	enum io_result result;

	if (!session_flush(session))
		return false;
	do {
		if (serve_stopping() && !session->in_transaction) {
			session_reply(session, 421, "4.3.2", "%s is shutting down",
				      session->state->hostname);
			(void)session_flush(session);
			return false;
		}
		result = read_input(session, deadline_min(deadline, deadline_in(STOP_POLL_MS)));
	} while (result == IO_TIMEOUT && !deadline_passed(deadline));
	if (result == IO_OK)
		return true;
	if (result == IO_TIMEOUT) {
		session_reply(session, 421, "4.4.2", "%s: waited too long for %s",
			      session->state->hostname, doing);
		(void)session_flush(session);
	}
	if (result != IO_EOF || session->in_transaction)
		log_info("session ended peer=%s reason=<waiting for %s: %s>",
			 session->connection->peer, doing, io_result_name(result));
	return false;
}

/* Drops an over-long line with its end; what is behind it stays. */
static enum session_line discard_line(struct session *session, struct deadline deadline)
{
	struct buf *in = &session->connection->in;
	size_t used;

	for (;;) {
		enum parse found = smtp_line_discard(in->data, in->len, &used);

		session_consume_secret(session, used);
		if (found == PARSE_OK)
			return SESSION_TOO_LONG;
		if (!session_wait(session, deadline, "the end of a line"))
			return SESSION_END;
	}
}

/* Initial responses of AUTH are longer than commands. */
static size_t command_max(const struct buf *in)
{
	return strncasecmp(buf_str(in), "AUTH ", 5) == 0 ? SMTP_AUTH_LINE_MAX : SMTP_LINE_MAX;
}

enum session_line session_next_line(struct session *session, size_t max, size_t *line_len_r,
				    size_t *used_r)
{
	struct deadline deadline = deadline_in(session->settings->lmtp.timeout);
	struct buf *in = &session->connection->in;

	for (;;) {
		switch (smtp_line_parse_max(in->data, in->len, max ? max : command_max(in),
					    line_len_r, used_r)) {
		case PARSE_OK:
			return session->out.len < REPLIES_MAX || session_flush(session)
				       ? SESSION_LINE
				       : SESSION_END;
		case PARSE_BAD:
			return discard_line(session, deadline);
		case PARSE_MORE:
		default:
			if (!session_wait(session, deadline, "a command"))
				return SESSION_END;
		}
	}
}

void session_consume_secret(struct session *session, size_t len)
{
	struct buf *in = &session->connection->in;
	size_t before = in->len;

	buf_consume(in, len);
	if (in->data)
		explicit_bzero(in->data + in->len, before - in->len);
}

/* False: the client does not speak our language. */
static bool count_bad(struct session *session, enum smtp_verb verb)
{
	bool counts = verb != SMTP_RCPT && verb != SMTP_DATA && verb != SMTP_BDAT;

	if (session->last_code < 500)
		session->bad_commands = 0;
	else if (counts && ++session->bad_commands >= BAD_COMMANDS_MAX) {
		session_reply(session, 421, "4.7.0", "too many bad commands");
		log_info("session ended peer=%s reason=<too many bad commands>",
			 session->connection->peer);
		return false;
	}
	return true;
}

static bool one_command(struct session *session)
{
	char line[SMTP_AUTH_LINE_MAX];
	size_t len, used, argument_len;
	const char *argument;
	enum smtp_verb verb = SMTP_UNKNOWN;
	bool go_on = true;

	switch (session_next_line(session, 0, &len, &used)) {
	case SESSION_LINE:
		if (session->unconfirmed > 0)
			guard_confirm(session->unconfirmed);
		session->unconfirmed = 0;
		memcpy(line, session->connection->in.data, len);
		session_consume_secret(session, used);
		verb = smtp_verb_parse(line, len, &argument, &argument_len);
		go_on = session_command(session, line, len);
		if (verb == SMTP_AUTH)
			explicit_bzero(line, sizeof(line));
		break;
	case SESSION_TOO_LONG:
		session_reply(session, 500, "5.5.2", "the line is too long");
		break;
	case SESSION_END:
	default:
		return false;
	}
	return go_on && count_bad(session, verb);
}

static enum serve_next session_handle(struct connection *connection, void *state, void *worker)
{
	struct session session = {.connection = connection,
				  .state = state,
				  .settings = ((struct session_state *)state)->settings,
				  .accounts = worker,
				  .is_tcp = connection->endpoint && !connection->endpoint->is_unix};

	message_init(&session.message, session.settings->mail.base);
	/* Else the first wait says 421, and an agent goes elsewhere. */
	if (!serve_stopping())
		session_reply(&session, 220, "", "%s LMTP Postern", session.state->hostname);
	while (one_command(&session))
		;
	(void)session_flush(&session);
	session_reset(&session);
	session_forget_login(&session);
	tls_session_free(&session.tls);
	message_free(&session.message);
	free(session.recipients);
	buf_free(&session.user);
	buf_free(&session.helo);
	buf_free(&session.sender);
	buf_free(&session.out);
	return SERVE_CLOSE;
}

static enum result worker_open(void *state, void **worker_r, struct error *err)
{
	const struct session_state *shared = state;
	struct accounts *accounts = NULL;
	enum result result = accounts_open(shared->settings, shared->schema, &accounts, err);

	*worker_r = accounts;
	return result;
}

static void worker_close(void *worker)
{
	struct accounts *accounts = worker;

	accounts_free(&accounts);
}

const struct service session_service = {
	.name = "lmtp-deliver",
	.worker_open = worker_open,
	.worker_close = worker_close,
	.handle = session_handle,
	.greets = true,
	.input_max = 2 * READ_MAX,
};
