/*
 * One LMTP session, as the files session*.c share it. A function that returns false has ended the
 * session: nothing more is read, and what was to be said was said or waits in `out`.
 */
#ifndef POSTERN_LMTP_SESSION_PRIVATE_H
#define POSTERN_LMTP_SESSION_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/accounts.h"
#include "common/smtp_line.h"
#include "common/tls.h"
#include "lmtp-deliver/delivery.h"
#include "lmtp-deliver/login.h"
#include "lmtp-deliver/message.h"
#include "lmtp-deliver/session.h"
#include "lmtp-deliver/xforward.h"

struct session {
	struct connection *connection;
	const struct session_state *state;
	const struct settings *settings;
	struct accounts *accounts; /* NULL: no database handle */
	bool is_tcp;
	struct tls_session *tls; /* NULL: plain text */
	struct login *login;     /* NULL until LHLO over TCP */
	struct buf user;         /* who logged in, "" */
	unsigned refused_logins;
	struct buf out;        /* replies not sent yet */
	unsigned last_code;    /* of the last reply */
	unsigned bad_commands; /* in a row */
	struct buf helo;       /* "" before LHLO */

	/* The transaction. */
	struct xforward xforward; /* comes before MAIL */
	bool in_transaction;      /* MAIL was accepted */
	bool smtputf8;
	struct buf sender;
	struct recipient *recipients;
	size_t recipient_count, recipient_room;
	int64_t started_ms;
	struct message message; /* while DATA or BDAT is taken */
	struct outcome outcome; /* of taking it; code 0: nothing is wrong */
	bool chunking;          /* a BDAT came */
	uint64_t unconfirmed;   /* the last transaction, until the client goes on; 0: none */
	struct smtp_chunk chunk;
};

/* session.c */

void session_reply(struct session *session, unsigned code, const char *status, const char *format,
		   ...) PRINTF_LIKE(4, 5);
/* Sends what is due. False: the peer is gone or does not read. */
bool session_flush(struct session *session);
/* Sends what is due and waits for input; DOING is "a command", for the texts of a time-out. */
bool session_wait(struct session *session, struct deadline deadline, const char *doing) MUST_CHECK;

enum session_line { SESSION_LINE, SESSION_TOO_LONG, SESSION_END };
/*
 * The next line: the first *LINE_LEN_R bytes of the input, of which it takes *USED_R. A line over
 * MAX bytes is dropped. MAX 0: as long as the command allows.
 */
enum session_line session_next_line(struct session *session, size_t max, size_t *line_len_r,
				    size_t *used_r) MUST_CHECK;
/* Takes LEN bytes off the input and wipes them. */
void session_consume_secret(struct session *session, size_t len);

/* session_command.c */

bool session_command(struct session *session, const char *line, size_t len) MUST_CHECK;
/* Ends the transaction, with what was forwarded for it. */
void session_reset(struct session *session);
bool session_too_big(const struct session *session, uint64_t size);

/* session_data.c */

bool session_data(struct session *session, size_t argument_len) MUST_CHECK;
bool session_bdat(struct session *session, const char *argument, size_t len) MUST_CHECK;

/* session_login.c */

/* Whether the client may do what MAIL, RCPT, VRFY and XFORWARD do. */
bool session_may_deliver(const struct session *session);
bool session_offers_tls(const struct session *session);
/* Appends LHLO's line "250-AUTH ..." where there is something to offer. */
void session_offer_login(struct session *session);
bool session_starttls(struct session *session, size_t argument_len) MUST_CHECK;
bool session_auth(struct session *session, const char *argument, size_t len) MUST_CHECK;
void session_forget_login(struct session *session);

#endif
