/*
 * session_data - the message of an LMTP session: DATA, BDAT (RFC 3030), and its replies
 *
 * Once 354 was sent, or a chunk was announced, its bytes are read to their end, whatever happens.
 * After the final dot, or the last chunk, each accepted recipient gets exactly one reply, in the
 * order of RCPT, and the transaction is over; equal recipients get a copy each. A chunk before the
 * last gets one reply. Without an accepted recipient DATA and chunks are answered 503, but the last
 * chunk with as many replies as there are recipients: none (RFC 2033 section 4.2). A message that
 * went wrong in one chunk stays wrong: its last chunk gets the same answer.
 *
 * A BDAT whose size cannot be read ends the session, since its data would be taken for commands.
 *
 * Limits: [lmtp] max_size; message data must advance by DATA_PROGRESS bytes in [lmtp] timeout.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <sys/ioctl.h>
#include <time.h>

#include "common/log.h"
#include "lmtp-deliver/guard.h"
#include "lmtp-deliver/received.h"
#include "lmtp-deliver/session_private.h"

#define DATA_PROGRESS 4096

/*
 * Takes one piece of the body, VIRTUAL_SIZE bytes with every LF as CRLF. The outcome's code stays 0
 * as long as nothing is wrong.
 */
static void take_body(struct session *session, const struct buf *piece, uint64_t virtual_size)
{
	struct outcome *outcome = &session->outcome;
	struct error err = {0};
	bool no_space = false;
	bool ok = buf_ok(piece);

	if (outcome->code != 0)
		return;
	if (!ok)
		error_set(&err, "out of memory for a message");
	else
		ok = message_add_counted(&session->message, piece->data, piece->len, virtual_size,
					 &no_space, &err) == RESULT_FOUND;
	if (!ok) {
		log_error("message not taken peer=%s from=<%s> reason=<%s>",
			  session->connection->peer, buf_str(&session->sender), err.text);
		outcome_set(outcome, no_space ? 452 : 451, no_space ? "4.3.1" : "4.3.0",
			    "the message cannot be taken now");
	} else if (session_too_big(session, session->message.virtual_size)) {
		outcome_set(outcome, 552, "5.3.4", "the message is too big");
	}
	if (outcome->code != 0) { /* the rest is read and dropped */
		message_reset(&session->message);
	}
}

/* A time-out that is put off by progress. */
struct progress {
	struct deadline deadline;
	size_t bytes;
};

static void made_progress(const struct session *session, struct progress *progress, size_t bytes)
{
	progress->bytes += bytes;
	if (progress->bytes < DATA_PROGRESS)
		return;
	progress->deadline = deadline_in(session->settings->lmtp.timeout);
	progress->bytes = 0;
}

/* Reads to the final dot. False: the session is over and nothing may be stored. */
static bool receive_data(struct session *session)
{
	struct smtp_data data = {0};
	struct buf *in = &session->connection->in;
	struct buf piece = BUF_INIT;
	struct progress progress = {deadline_in(session->settings->lmtp.timeout), 0};
	bool more = true;

	while (more) {
		uint64_t before = data.virtual_size;
		size_t used;

		more = smtp_data_parse(&data, in->data, in->len, &piece, &used) != PARSE_OK;
		buf_consume(in, used);
		take_body(session, &piece, data.virtual_size - before);
		buf_reset(&piece);
		made_progress(session, &progress, used);
		if (more && !session_wait(session, progress.deadline, "the end of a message"))
			break;
	}
	buf_free(&piece);
	return !more;
}

/* Of a chunk, whose bytes nobody has counted. */
static void take_chunk(struct session *session, const struct buf *piece)
{
	take_body(session, piece,
		  maildir_virtual_size(piece->data, piece->len, &session->message.last_was_cr));
}

/* Reads LEFT bytes. False: the session is over and nothing may be stored. */
static bool receive_chunk(struct session *session, uint64_t left)
{
	struct buf *in = &session->connection->in;
	struct buf piece = BUF_INIT;
	struct progress progress = {deadline_in(session->settings->lmtp.timeout), 0};

	while (left > 0) {
		size_t len = in->len < left ? in->len : (size_t)left;

		if (session->outcome.code == 0)
			smtp_chunk_parse(&session->chunk, in->data, len, &piece);
		take_chunk(session, &piece);
		buf_reset(&piece);
		buf_consume(in, len);
		left -= len;
		made_progress(session, &progress, len);
		if (left > 0 && !session_wait(session, progress.deadline, "the end of a chunk"))
			break;
	}
	buf_free(&piece);
	return left == 0;
}

static void make_received(const struct session *session, struct buf *out)
{
	const struct received received = {
		.helo = buf_str(&session->helo),
		.peer = session->connection->peer,
		.hostname = session->state->hostname,
		.id = session->xforward.ident,
		.recipient = session->recipient_count == 1
				     ? buf_str(&session->recipients[0].address)
				     : NULL,
		.smtputf8 = session->smtputf8,
		.tls = session->tls != NULL,
		.authenticated = session->user.len > 0,
		.now = time(NULL),
	};

	if (session->settings->lmtp.received)
		received_make(&received, out);
}

/*
 * Says what became of some recipients. False: it is not known whether the client heard it; it will
 * send the message to them again.
 */
static bool send_outcomes(struct session *session, const struct recipient *recipients,
			  const struct outcome *outcomes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		session_reply(session, outcomes[i].code, outcomes[i].status, "<%s> %s",
			      buf_str(&recipients[i].address), outcomes[i].text.text);
	return session_flush(session);
}

/* Whether the client has said more before it could have our replies, read by us or not. */
static bool is_ahead(const struct session *session)
{
	int bytes = 0;

	return session->connection->in.len > 0 ||
	       ioctl(session->connection->fd, FIONREAD, &bytes) != 0 || bytes > 0;
}

/* One reply for each recipient. False: the peer is gone; those left get the message again. */
static bool deliver(struct session *session, const struct envelope *envelope)
{
	struct outcome outcomes[DELIVERY_BATCH];
	bool refused = session->outcome.code != 0;

	for (size_t at = 0, count; at < session->recipient_count; at += count) {
		const struct recipient *recipients = session->recipients + at;

		count = session->recipient_count - at;
		if (count > DELIVERY_BATCH)
			count = DELIVERY_BATCH;
		for (size_t i = 0; refused && i < count; i++) {
			outcomes[i] = session->outcome;
			delivery_refused(envelope, &session->message, &recipients[i], &outcomes[i]);
		}
		if (!refused)
			delivery_store(session->settings, envelope, &session->message, recipients,
				       count, outcomes);
		/* What was sent before the replies says nothing of them. */
		session->unconfirmed = is_ahead(session) ? 0 : envelope->transaction;
		if (!send_outcomes(session, recipients, outcomes, count))
			return false;
	}
	return true;
}

/* Delivers what was received and ends the transaction. False: the session is over. */
static bool finish_message(struct session *session)
{
	uint64_t transaction = guard_transaction();
	struct buf received = BUF_INIT;
	struct error err = {0};
	bool go_on;

	make_received(session, &received);
	if (session->outcome.code == 0 &&
	    (!buf_ok(&received) || message_finish(&session->message, &err) != RESULT_FOUND)) {
		log_error("message not taken peer=%s from=<%s> reason=<%s>",
			  session->connection->peer, buf_str(&session->sender),
			  buf_ok(&received) ? err.text : "out of memory");
		outcome_set(&session->outcome, 451, "4.3.0", "the message cannot be taken now");
	}
	go_on = deliver(session, &(struct envelope){.sender = buf_str(&session->sender),
						    .started_ms = session->started_ms,
						    .queue_id = session->xforward.ident,
						    .received = buf_str(&received),
						    .transaction = transaction});
	buf_free(&received);
	session_reset(session);
	return go_on;
}

bool session_data(struct session *session, size_t argument_len)
{
	if (argument_len > 0) {
		session_reply(session, 501, "5.5.4", "DATA takes no argument");
		return true;
	}
	if (session->chunking) {
		session_reply(session, 503, "5.5.1", "the message has begun with BDAT");
		return true;
	}
	if (!session->in_transaction || session->recipient_count == 0) {
		session_reply(session, 503, "5.5.1", "%s",
			      session->in_transaction ? "no recipient was accepted"
						      : "MAIL comes first");
		return true;
	}
	session_reply(session, 354, "", "end the message with <CR><LF>.<CR><LF>");
	return receive_data(session) && finish_message(session);
}

bool session_bdat(struct session *session, const char *argument, size_t len)
{
	struct buf rest = BUF_INIT;
	uint64_t size;
	bool last;

	if (!smtp_bdat_parse(argument, len, &size, &last)) {
		session_reply(session, 501, "5.5.4",
			      "BDAT needs a size, and nothing else but LAST");
		log_info("session ended peer=%s reason=<BDAT without a size>",
			 session->connection->peer);
		return false;
	}
	if (session->recipient_count == 0)
		outcome_set(&session->outcome, 503, "5.5.1", "%s",
			    session->in_transaction ? "no recipient was accepted"
						    : "MAIL comes first");
	session->chunking = session->in_transaction;
	if (!receive_chunk(session, size))
		return false;
	if (!last) {
		if (session->outcome.code != 0)
			session_reply(session, session->outcome.code, session->outcome.status, "%s",
				      session->outcome.text.text);
		else
			session_reply(session, 250, "2.0.0", "%llu bytes",
				      (unsigned long long)size);
		if (!session->in_transaction)
			session->outcome = (struct outcome){0};
		return true;
	}
	smtp_chunk_end(&session->chunk, &rest);
	if (rest.len > 0 || !buf_ok(&rest))
		take_chunk(session, &rest);
	buf_free(&rest);
	return finish_message(session);
}
