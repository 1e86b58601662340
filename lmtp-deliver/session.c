/*
 * session - the LMTP dialogue
 *
 * RFC 2033 over RFC 5321's grammar: LHLO, MAIL, RCPT, DATA, RSET, NOOP, VRFY, HELP, QUIT;
 * PIPELINING, 8BITMIME, SMTPUTF8, SIZE, ENHANCEDSTATUSCODES. Replies are sent when the input runs
 * dry, those after the final dot one by one as each message is durable, because the client crosses
 * a recipient off when it reads its reply.
 *
 * Once 354 was sent the message is read to its end, whatever happens, and then gets exactly one
 * reply per accepted recipient, in the order of RCPT. Equal recipients get a copy each.
 *
 * Limits: [lmtp] max_size, max_recipients; a command line must come within [lmtp] timeout, message
 * data must advance by DATA_PROGRESS bytes in that time.
 *
 * Known gaps: no BDAT, STARTTLS, AUTH, XFORWARD or DSN. An unannounced BDAT ends the session, since
 * its data would be taken for commands.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/accounts.h"
#include "common/io.h"
#include "common/log.h"
#include "common/smtp_line.h"
#include "lmtp-deliver/delivery.h"
#include "lmtp-deliver/message.h"
#include "lmtp-deliver/session.h"

#define READ_MAX      65536
#define REPLIES_MAX   16384 /* bytes of replies kept back while input is waiting */
#define REPLY_TEXT    400   /* bytes of one reply's text */
#define DATA_PROGRESS 4096
#define STOP_POLL_MS  500 /* how soon an idle session notices that the daemon stops */

struct session {
	struct connection *connection;
	const struct session_state *state;
	const struct settings *settings;
	struct accounts *accounts; /* NULL: no database handle */
	struct buf out;            /* replies not sent yet */
	bool greeted;              /* LHLO came */
	bool in_transaction;       /* MAIL was accepted */
	struct buf sender;
	struct recipient *recipients;
	size_t recipient_count, recipient_room;
	int64_t started_ms; /* of the transaction */
};

static void reset_transaction(struct session *session)
{
	for (size_t i = 0; i < session->recipient_count; i++)
		recipient_free(&session->recipients[i]);
	session->recipient_count = 0;
	session->in_transaction = false;
	buf_reset(&session->sender);
}

/* Appends one reply line; STATUS "" for none. What is not printable ASCII becomes '?'. */
static void reply(struct session *session, unsigned code, const char *status, const char *format,
		  ...) PRINTF_LIKE(4, 5);
static void reply(struct session *session, unsigned code, const char *status, const char *format,
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
}

/* False: the peer is gone or does not read. */
static bool flush(struct session *session)
{
	enum io_result result;

	if (!buf_ok(&session->out)) /* a reply is missing: the client must not count on */
		return false;
	if (session->out.len == 0)
		return true;
	result = io_write(session->connection->fd, session->out.data, session->out.len,
			  deadline_in(session->settings->lmtp.timeout));
	if (result != IO_OK)
		log_info("session ended peer=%s reason=<sending a reply: %s>",
			 session->connection->peer, io_result_name(result));
	buf_reset(&session->out);
	return result == IO_OK;
}

/*
 * Sends what is due and waits for input. False: the session is over (peer gone, time out, or the
 * daemon stops and no transaction is open); what was to be said was said.
 */
static bool wait_input(struct session *session, struct deadline deadline, const char *doing)
{
	enum io_result result;

	if (!flush(session))
		return false;
	do {
		if (serve_stopping() && !session->in_transaction) {
			reply(session, 421, "4.3.2", "%s is shutting down",
			      session->state->hostname);
			(void)flush(session);
			return false;
		}
		result = io_read(session->connection->fd, &session->connection->in, READ_MAX,
				 deadline_min(deadline, deadline_in(STOP_POLL_MS)));
	} while (result == IO_TIMEOUT && !deadline_passed(deadline));
	if (result == IO_OK)
		return true;
	if (result == IO_TIMEOUT) {
		reply(session, 421, "4.4.2", "%s: waited too long for %s", session->state->hostname,
		      doing);
		(void)flush(session);
	}
	if (result != IO_EOF || session->in_transaction)
		log_info("session ended peer=%s reason=<waiting for %s: %s>",
			 session->connection->peer, doing, io_result_name(result));
	return false;
}

enum line { LINE_OK, LINE_TOO_LONG, LINE_END };

/* Drops an over-long line with its end; what is behind it stays. */
static enum line discard_line(struct session *session, struct deadline deadline)
{
	struct buf *in = &session->connection->in;
	size_t used;

	for (;;) {
		enum parse found = smtp_line_discard(in->data, in->len, &used);

		buf_consume(in, used);
		if (found == PARSE_OK)
			return LINE_TOO_LONG;
		if (!wait_input(session, deadline, "the end of a line"))
			return LINE_END;
	}
}

/* The next command line: the first *LINE_LEN_R bytes of the input, of which it takes *USED_R. */
static enum line next_line(struct session *session, size_t *line_len_r, size_t *used_r)
{
	struct deadline deadline = deadline_in(session->settings->lmtp.timeout);
	struct buf *in = &session->connection->in;

	for (;;) {
		switch (smtp_line_parse(in->data, in->len, line_len_r, used_r)) {
		case PARSE_OK:
			return session->out.len < REPLIES_MAX || flush(session) ? LINE_OK
										: LINE_END;
		case PARSE_BAD:
			return discard_line(session, deadline);
		case PARSE_MORE:
		default:
			if (!wait_input(session, deadline, "a command"))
				return LINE_END;
		}
	}
}

static void command_lhlo(struct session *session, size_t argument_len)
{
	if (argument_len == 0) {
		reply(session, 501, "5.5.4", "LHLO needs a host name");
		return;
	}
	reset_transaction(session);
	session->greeted = true;
	buf_printf(&session->out,
		   "250-%s\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
		   "250-SIZE %lld\r\n250 ENHANCEDSTATUSCODES\r\n",
		   session->state->hostname, (long long)session->settings->lmtp.max_size);
}

static bool too_big(const struct session *session, uint64_t size)
{
	int64_t max = session->settings->lmtp.max_size;

	return max > 0 && size > (uint64_t)max;
}

/* Answers a path that cannot be used. True: FAULT is none. */
static bool path_ok(struct session *session, enum smtp_path_fault fault, const char *syntax_status)
{
	switch (fault) {
	case SMTP_PATH_OK:
		return true;
	case SMTP_PATH_SYNTAX:
		reply(session, 501, syntax_status, "the address is not well-formed");
		break;
	case SMTP_PATH_PARAMETER:
		reply(session, 501, "5.5.4", "a parameter has a bad value or comes twice");
		break;
	case SMTP_PATH_UNKNOWN:
	default:
		reply(session, 555, "5.5.4", "a parameter is not known");
		break;
	}
	return false;
}

static void begin_transaction(struct session *session, const struct smtp_path *path)
{
	if (path->has_size && too_big(session, path->size)) {
		reply(session, 552, "5.3.4", "the message is too big");
		return;
	}
	buf_puts(&session->sender, buf_str(&path->address));
	if (!buf_ok(&session->sender) || !buf_ok(&path->address)) {
		buf_reset(&session->sender);
		reply(session, 452, "4.3.1", "out of memory");
		return;
	}
	session->in_transaction = true;
	session->started_ms = deadline_now_ms();
	reply(session, 250, "2.1.0", "sender accepted");
}

static void command_mail(struct session *session, const char *argument, size_t len)
{
	struct smtp_path path = {0};

	if (!session->greeted)
		reply(session, 503, "5.5.1", "LHLO comes first");
	else if (session->in_transaction)
		reply(session, 503, "5.5.1", "there is a sender already");
	else if (path_ok(session, smtp_path_parse(argument, len, "FROM", &path), "5.1.7"))
		begin_transaction(session, &path);
	smtp_path_free(&path);
}

/* Room for one more recipient; false: out of memory. */
static bool reserve_recipient(struct session *session)
{
	size_t room = session->recipient_room ? 2 * session->recipient_room : 8;
	struct recipient *grown;

	if (session->recipient_count < session->recipient_room)
		return true;
	grown = reallocarray(session->recipients, room, sizeof(*grown));
	if (!grown)
		return false;
	session->recipients = grown;
	session->recipient_room = room;
	return true;
}

/* RFC 5321 section 4.5.1: "<postmaster>" without a domain is an address everywhere. */
static void complete_postmaster(const struct session *session, struct buf *address)
{
	const char *domain = session->settings->address.default_domain;

	if (*domain && strcasecmp(buf_str(address), "postmaster") == 0)
		buf_printf(address, "@%s", domain);
}

static void add_recipient(struct session *session, struct smtp_path *path)
{
	struct recipient recipient;
	struct outcome outcome;

	complete_postmaster(session, &path->address);
	if (!buf_ok(&path->address) || !buf_ok(&path->orcpt) || !reserve_recipient(session)) {
		reply(session, 452, "4.3.1", "out of memory");
		return;
	}
	if (delivery_resolve(session->settings, session->accounts, path->address.data,
			     path->address.len, &recipient, &outcome)) {
		recipient.original = path->orcpt;
		path->orcpt = BUF_INIT;
		session->recipients[session->recipient_count++] = recipient;
	}
	reply(session, outcome.code, outcome.status, "%s", outcome.text.text);
}

static void command_rcpt(struct session *session, const char *argument, size_t len)
{
	struct smtp_path path = {0};

	if (!session->in_transaction)
		reply(session, 503, "5.5.1", "MAIL comes first");
	else if ((int64_t)session->recipient_count >= session->settings->lmtp.max_recipients)
		reply(session, 452, "4.5.3", "too many recipients");
	else if (path_ok(session, smtp_path_parse(argument, len, "TO", &path), "5.1.3"))
		add_recipient(session, &path);
	smtp_path_free(&path);
}

/* Takes one piece of the body; OUTCOME's code stays 0 as long as nothing is wrong. */
static void take_body(struct session *session, struct message *message, const struct buf *piece,
		      struct outcome *outcome)
{
	struct error err = {0};
	bool no_space = false;
	bool ok = buf_ok(piece);

	if (outcome->code != 0)
		return;
	if (!ok)
		error_set(&err, "out of memory for a message");
	else
		ok = message_add(message, piece->data, piece->len, &no_space, &err) == RESULT_FOUND;
	if (!ok) {
		log_error("message not taken peer=%s from=<%s> reason=<%s>",
			  session->connection->peer, buf_str(&session->sender), err.text);
		outcome_set(outcome, no_space ? 452 : 451, no_space ? "4.3.1" : "4.3.0",
			    "the message cannot be taken now");
	} else if (too_big(session, message->virtual_size)) {
		outcome_set(outcome, 552, "5.3.4", "the message is too big");
	}
	if (outcome->code != 0) { /* the rest is read and dropped */
		struct message empty;

		message_init(&empty, session->settings->mail.base);
		message_free(message);
		*message = empty;
	}
}

/* Reads to the final dot. False: the session is over and nothing may be stored. */
static bool receive_body(struct session *session, struct message *message, struct outcome *outcome)
{
	struct smtp_data data = {0};
	struct buf *in = &session->connection->in;
	struct buf piece = BUF_INIT;
	struct deadline deadline = deadline_in(session->settings->lmtp.timeout);
	size_t progress = 0, used;
	bool more = true;

	while (more) {
		more = smtp_data_parse(&data, in->data, in->len, &piece, &used) != PARSE_OK;
		buf_consume(in, used);
		take_body(session, message, &piece, outcome);
		buf_reset(&piece);
		progress += used;
		if (progress >= DATA_PROGRESS) {
			deadline = deadline_in(session->settings->lmtp.timeout);
			progress = 0;
		}
		if (more && !wait_input(session, deadline, "the end of a message"))
			break;
	}
	buf_free(&piece);
	return !more;
}

/* One reply per recipient. False: the peer is gone; the recipients left get the message again. */
static bool deliver(struct session *session, struct message *message, struct outcome *outcome)
{
	struct envelope envelope = {.sender = buf_str(&session->sender),
				    .started_ms = session->started_ms};
	struct error err = {0};
	bool decided;

	if (outcome->code == 0 && message_finish(message, &err) != RESULT_FOUND) {
		log_error("message not taken peer=%s from=<%s> reason=<%s>",
			  session->connection->peer, buf_str(&session->sender), err.text);
		outcome_set(outcome, 451, "4.3.0", "the message cannot be taken now");
	}
	decided = outcome->code != 0;
	for (size_t i = 0; i < session->recipient_count; i++) {
		const struct recipient *recipient = &session->recipients[i];

		if (decided)
			delivery_refused(&envelope, message, recipient, outcome);
		else
			delivery_store(session->settings, &envelope, message, recipient, 1,
				       outcome);
		reply(session, outcome->code, outcome->status, "<%s> %s",
		      buf_str(&recipient->address), outcome->text.text);
		if (!flush(session))
			return false;
	}
	return true;
}

/* False: the session is over. */
static bool command_data(struct session *session, size_t argument_len)
{
	struct message message;
	struct outcome outcome = {0};
	bool go_on;

	if (argument_len > 0) {
		reply(session, 501, "5.5.4", "DATA takes no argument");
		return true;
	}
	if (!session->in_transaction || session->recipient_count == 0) {
		reply(session, 503, "5.5.1", "%s",
		      session->in_transaction ? "no recipient was accepted" : "MAIL comes first");
		return true;
	}
	reply(session, 354, "", "end the message with <CR><LF>.<CR><LF>");
	message_init(&message, session->settings->mail.base);
	go_on = receive_body(session, &message, &outcome) && deliver(session, &message, &outcome);
	message_free(&message);
	reset_transaction(session);
	return go_on;
}

/* Carries out one command. False: the session is over. */
static bool command(struct session *session, const char *line, size_t len)
{
	const char *argument;
	size_t argument_len;

	switch (smtp_verb_parse(line, len, &argument, &argument_len)) {
	case SMTP_LHLO:
		command_lhlo(session, argument_len);
		return true;
	case SMTP_MAIL:
		command_mail(session, argument, argument_len);
		return true;
	case SMTP_RCPT:
		command_rcpt(session, argument, argument_len);
		return true;
	case SMTP_DATA:
		return command_data(session, argument_len);
	case SMTP_RSET:
		reset_transaction(session);
		reply(session, 250, "2.0.0", "reset");
		return true;
	case SMTP_NOOP:
		reply(session, 250, "2.0.0", "ok");
		return true;
	case SMTP_VRFY:
		reply(session, 252, "2.0.0", "send RCPT to find out");
		return true;
	case SMTP_HELP:
		reply(session, 214, "2.0.0", "LHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT");
		return true;
	case SMTP_QUIT:
		reply(session, 221, "2.0.0", "%s closes", session->state->hostname);
		return false;
	case SMTP_HELO:
	case SMTP_EHLO:
		reply(session, 500, "5.5.1", "this is LMTP: say LHLO");
		return true;
	case SMTP_BDAT:
		reply(session, 502, "5.5.1", "BDAT was not offered");
		return false;
	case SMTP_STARTTLS:
	case SMTP_AUTH:
	case SMTP_XFORWARD:
		reply(session, 502, "5.5.1", "command not offered");
		return true;
	case SMTP_UNKNOWN:
	default:
		reply(session, 500, "5.5.2", "command not known");
		return true;
	}
}

static enum serve_next session_handle(struct connection *connection, void *state, void *worker)
{
	struct session session = {.connection = connection,
				  .state = state,
				  .settings = ((struct session_state *)state)->settings,
				  .accounts = worker};
	bool go_on = true;

	reply(&session, 220, "", "%s LMTP Postern", session.state->hostname);
	while (go_on) {
		size_t line_len, used;

		switch (next_line(&session, &line_len, &used)) {
		case LINE_OK: {
			char line[SMTP_LINE_MAX];

			memcpy(line, connection->in.data, line_len);
			buf_consume(&connection->in, used);
			go_on = command(&session, line, line_len);
			break;
		}
		case LINE_TOO_LONG:
			reply(&session, 500, "5.5.2", "the line is too long");
			break;
		case LINE_END:
		default:
			go_on = false;
			break;
		}
	}
	(void)flush(&session);
	reset_transaction(&session);
	free(session.recipients);
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

enum result session_state_open(const struct settings *settings, struct session_state **state_r,
			       struct error *err)
{
	struct session_state *state;
	enum result result;

	if (settings->lmtp.expand_aliases)
		return result_error(err, RESULT_PERM,
				    "[lmtp] expand_aliases = yes is not supported yet: set it to "
				    "\"no\" and let Postfix expand aliases (virtual_alias_maps)");
	state = calloc(1, sizeof(*state));
	if (!state)
		return result_error(err, RESULT_TEMP, "out of memory");
	state->settings = settings;
	if (*settings->lmtp.hostname)
		(void)snprintf(state->hostname, sizeof(state->hostname), "%s",
			       settings->lmtp.hostname);
	else if (gethostname(state->hostname, sizeof(state->hostname) - 1) != 0)
		(void)snprintf(state->hostname, sizeof(state->hostname), "localhost");
	result = schema_load(settings->schema.preset, &state->schema, err);
	if (result != RESULT_FOUND) {
		session_state_free(&state);
		return result;
	}
	if (access(settings->mail.base, X_OK) != 0)
		log_error("[mail] base %s cannot be used: mail is deferred until it exists and "
			  "belongs to [mail] owner",
			  settings->mail.base);
	*state_r = state;
	return RESULT_FOUND;
}

void session_state_free(struct session_state **state)
{
	if (!*state)
		return;
	schema_free(&(*state)->schema);
	free(*state);
	*state = NULL;
}
