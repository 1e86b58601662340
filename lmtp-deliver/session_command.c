/*
 * session_command - the commands of an LMTP session but those that carry a message or log in
 *
 * Who may do what: over TCP, STARTTLS comes first where [lmtp] tls = require, and AUTH where
 * [lmtp] auth = required; 454 until then. DATA and BDAT need no such rule of their own, since
 * without MAIL there is nothing to send.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/deadline.h"
#include "common/log.h"
#include "lmtp-deliver/session_private.h"

#define COMMANDS "LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT STARTTLS AUTH XFORWARD"

void session_reset(struct session *session)
{
	for (size_t i = 0; i < session->recipient_count; i++)
		recipient_free(&session->recipients[i]);
	session->recipient_count = 0;
	session->in_transaction = false;
	session->smtputf8 = false;
	session->xforward = (struct xforward){0};
	session->chunking = false;
	session->chunk = (struct smtp_chunk){0};
	session->outcome = (struct outcome){0};
	message_reset(&session->message);
	buf_reset(&session->sender);
}

bool session_too_big(const struct session *session, uint64_t size)
{
	int64_t max = session->settings->lmtp.max_size;

	return max > 0 && size > (uint64_t)max;
}

static void command_lhlo(struct session *session, const char *argument, size_t len)
{
	if (len == 0) {
		session_reply(session, 501, "5.5.4", "LHLO needs a host name");
		return;
	}
	session_reset(session);
	buf_reset(&session->helo);
	buf_append(&session->helo, argument, len);
	if (!buf_ok(&session->helo)) {
		buf_reset(&session->helo);
		session_reply(session, 452, "4.3.1", "out of memory");
		return;
	}
	session->last_code = 250;
	buf_printf(&session->out,
		   "250-%s\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n"
		   "250-SIZE %lld\r\n",
		   session->state->hostname, (long long)session->settings->lmtp.max_size);
	if (session_offers_tls(session))
		buf_puts(&session->out, "250-STARTTLS\r\n");
	session_offer_login(session);
	/* Also before a login: Postfix does not ask again after it. */
	buf_puts(&session->out,
		 "250-XFORWARD " XFORWARD_ATTRIBUTES "\r\n250 ENHANCEDSTATUSCODES\r\n");
}

/* Answers a path that cannot be used. True: FAULT is none. */
static bool path_ok(struct session *session, enum smtp_path_fault fault, const char *syntax_status)
{
	switch (fault) {
	case SMTP_PATH_OK:
		return true;
	case SMTP_PATH_SYNTAX:
		session_reply(session, 501, syntax_status, "the address is not well-formed");
		break;
	case SMTP_PATH_PARAMETER:
		session_reply(session, 501, "5.5.4", "a parameter has a bad value or comes twice");
		break;
	case SMTP_PATH_UNKNOWN:
	default:
		session_reply(session, 555, "5.5.4", "a parameter is not known");
		break;
	}
	return false;
}

static void begin_transaction(struct session *session, const struct smtp_path *path)
{
	if (path->has_size && session_too_big(session, path->size)) {
		session_reply(session, 552, "5.3.4", "the message is too big");
		return;
	}
	buf_puts(&session->sender, buf_str(&path->address));
	if (!buf_ok(&session->sender) || !buf_ok(&path->address)) {
		buf_reset(&session->sender);
		session_reply(session, 452, "4.3.1", "out of memory");
		return;
	}
	if (path->unreadable)
		log_info("sender not readable, taken for <> peer=%s", session->connection->peer);
	session->in_transaction = true;
	session->smtputf8 = path->smtputf8;
	session->started_ms = deadline_now_ms();
	session_reply(session, 250, "2.1.0", "sender accepted");
}

static void command_mail(struct session *session, const char *argument, size_t len)
{
	struct smtp_path path = {0};

	if (session->helo.len == 0)
		session_reply(session, 503, "5.5.1", "LHLO comes first");
	else if (session->in_transaction)
		session_reply(session, 503, "5.5.1", "there is a sender already");
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
		session_reply(session, 452, "4.3.1", "out of memory");
		return;
	}
	if (delivery_resolve(session->settings, session->accounts, path->address.data,
			     path->address.len, &recipient, &outcome)) {
		recipient.original = path->orcpt;
		path->orcpt = BUF_INIT;
		session->recipients[session->recipient_count++] = recipient;
	}
	session_reply(session, outcome.code, outcome.status, "%s", outcome.text.text);
}

static void command_rcpt(struct session *session, const char *argument, size_t len)
{
	struct smtp_path path = {0};

	if (!session->in_transaction)
		session_reply(session, 503, "5.5.1", "MAIL comes first");
	else if (session->chunking)
		session_reply(session, 503, "5.5.1", "the message has begun");
	else if ((int64_t)session->recipient_count >= session->settings->lmtp.max_recipients)
		session_reply(session, 452, "4.5.3", "too many recipients");
	else if (path_ok(session, smtp_path_parse(argument, len, "TO", &path), "5.1.3"))
		add_recipient(session, &path);
	smtp_path_free(&path);
}

static void command_xforward(struct session *session, const char *argument, size_t len)
{
	if (session->in_transaction)
		session_reply(session, 503, "5.5.1", "not within a transaction");
	else if (!xforward_parse(argument, len, &session->xforward))
		session_reply(session, 501, "5.5.4",
			      "an attribute is not known or not well-formed");
	else
		session_reply(session, 250, "2.0.0", "ok");
}

/*
 * Whether the client has come so far that it may say this. Else 454 and not RFC 4954's 530: whoever
 * forgot the settings of a client shall find its mail in the queue, not bounced.
 */
static bool is_allowed(struct session *session, enum smtp_verb verb)
{
	bool mail = verb == SMTP_MAIL || verb == SMTP_RCPT || verb == SMTP_VRFY ||
		    verb == SMTP_XFORWARD;

	if (!mail && verb != SMTP_AUTH)
		return true;
	if (session->is_tcp && !session->tls && strcmp(session->settings->lmtp.tls, "require") == 0)
		session_reply(session, 454, "4.7.0", "STARTTLS comes first");
	else if (mail && !session_may_deliver(session))
		session_reply(session, 454, "4.7.0", "AUTH comes first");
	else
		return true;
	return false;
}

static bool command_quit(struct session *session)
{
	session_reply(session, 221, "2.0.0", "%s closes", session->state->hostname);
	return false;
}

static void command_rset(struct session *session)
{
	session_reset(session);
	session_reply(session, 250, "2.0.0", "reset");
}

bool session_command(struct session *session, const char *line, size_t len)
{
	const char *argument;
	size_t argument_len;
	enum smtp_verb verb = smtp_verb_parse(line, len, &argument, &argument_len);

	if (!is_allowed(session, verb))
		return true;
	switch (verb) {
	case SMTP_LHLO:
		command_lhlo(session, argument, argument_len);
		return true;
	case SMTP_MAIL:
		command_mail(session, argument, argument_len);
		return true;
	case SMTP_RCPT:
		command_rcpt(session, argument, argument_len);
		return true;
	case SMTP_DATA:
		return session_data(session, argument_len);
	case SMTP_BDAT:
		return session_bdat(session, argument, argument_len);
	case SMTP_RSET:
		command_rset(session);
		return true;
	case SMTP_NOOP:
		session_reply(session, 250, "2.0.0", "ok");
		return true;
	case SMTP_VRFY:
		session_reply(session, 252, "2.0.0", "send RCPT to find out");
		return true;
	case SMTP_HELP:
		session_reply(session, 214, "2.0.0", COMMANDS);
		return true;
	case SMTP_QUIT:
		return command_quit(session);
	case SMTP_STARTTLS:
		return session_starttls(session, argument_len);
	case SMTP_AUTH:
		return session_auth(session, argument, argument_len);
	case SMTP_XFORWARD:
		command_xforward(session, argument, argument_len);
		return true;
	case SMTP_HELO:
	case SMTP_EHLO:
		session_reply(session, 500, "5.5.1", "this is LMTP: say LHLO");
		return true;
	case SMTP_UNKNOWN:
	default:
		session_reply(session, 500, "5.5.2", "command not known");
		return true;
	}
}
