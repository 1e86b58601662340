/*
 * session_login - STARTTLS (RFC 3207) and AUTH (RFC 4954) of an LMTP session
 *
 * Both exist over TCP only: who can open the Unix socket may deliver. What came behind STARTTLS in
 * plain text is dropped, and with it all that was said before.
 *
 * Limits: a response has SMTP_AUTH_LINE_MAX bytes at most; LOGINS_MAX refused logins end the
 * session.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <string.h>
#include <strings.h>

#include "common/log.h"
#include "lmtp-deliver/session_private.h"

#define LOGINS_MAX         3
#define MECHANISM_NAME_MAX 20 /* RFC 4422 */

static bool needs_login(const struct session *session)
{
	return session->is_tcp && strcmp(session->settings->lmtp.auth, "required") == 0;
}

bool session_may_deliver(const struct session *session)
{
	return !needs_login(session) || session->user.len > 0;
}

bool session_offers_tls(const struct session *session)
{
	return session->is_tcp && session->state->tls && !session->tls;
}

void session_forget_login(struct session *session)
{
	login_free(&session->login);
	buf_reset(&session->user);
}

/* Makes session->login. False: libsasl cannot; it was logged. */
static bool open_login(struct session *session)
{
	struct error err = {0};

	if (session->login)
		return true;
	if (login_open(session->state->hostname, session->connection->peer, session->tls != NULL,
		       session->settings->lmtp.auth_mechanisms, &session->login,
		       &err) == RESULT_FOUND)
		return true;
	log_error("no login possible peer=%s reason=<%s>", session->connection->peer, err.text);
	return false;
}

void session_offer_login(struct session *session)
{
	struct buf names = BUF_INIT;

	if (!needs_login(session) || !open_login(session))
		return;
	if (strcmp(session->settings->lmtp.tls, "require") == 0 && !session->tls)
		return;
	login_mechanisms(session->login, &names);
	if (names.len > 0)
		buf_printf(&session->out, "250-AUTH%s\r\n", buf_str(&names));
	buf_free(&names);
}

bool session_starttls(struct session *session, size_t argument_len)
{
	struct error err = {0};

	if (session->tls) {
		session_reply(session, 503, "5.5.1", "this is TLS already");
		return true;
	}
	if (!session_offers_tls(session)) {
		session_reply(session, 502, "5.5.1", "STARTTLS was not offered");
		return true;
	}
	if (argument_len > 0) {
		session_reply(session, 501, "5.5.4", "STARTTLS takes no argument");
		return true;
	}
	session_reply(session, 220, "2.0.0", "begin");
	if (!session_flush(session))
		return false;
	buf_reset(&session->connection->in);
	session_reset(session);
	session_forget_login(session);
	buf_reset(&session->helo);
	if (tls_accept(session->state->tls, session->connection->fd,
		       deadline_in(session->settings->lmtp.timeout), &session->tls,
		       &err) == RESULT_FOUND) {
		log_debug("tls peer=%s with=<%s>", session->connection->peer,
			  tls_description(session->tls));
		return true;
	}
	log_info("session ended peer=%s reason=<%s>", session->connection->peer, err.text);
	return false;
}

/* The client's answer to a challenge. False: the session is over. */
static bool read_response(struct session *session, struct buf *response, bool *too_long_r)
{
	size_t len, used;

	buf_reset(response);
	*too_long_r = false;
	switch (session_next_line(session, SMTP_AUTH_LINE_MAX, &len, &used)) {
	case SESSION_LINE:
		buf_append(response, session->connection->in.data, len);
		session_consume_secret(session, used);
		return true;
	case SESSION_TOO_LONG:
		*too_long_r = true;
		return true;
	case SESSION_END:
	default:
		return false;
	}
}

/* Whether the login may deliver here: [lmtp] auth_users. */
static bool is_listed(const struct session *session, const char *name)
{
	const char *at = session->settings->lmtp.auth_users;
	size_t len = strlen(name);

	while (*at) {
		size_t word = strcspn(at, " \t");

		if (word == len && strncasecmp(at, name, len) == 0)
			return true;
		at += word;
		at += strspn(at, " \t");
	}
	return false;
}

/* False: that was one refused login too many. */
static bool refuse_login(struct session *session, const char *name, const char *reason)
{
	log_warning("login refused peer=%s user=<%s> reason=<%s>", session->connection->peer, name,
		    reason);
	session_reply(session, 535, "5.7.8", "the login is not accepted");
	if (++session->refused_logins < LOGINS_MAX)
		return true;
	session_reply(session, 421, "4.7.0", "too many refused logins");
	return false;
}

static bool end_login(struct session *session, enum login_verdict verdict)
{
	const char *name = login_name(session->login);
	bool go_on = true;

	switch (verdict) {
	case LOGIN_ACCEPTED:
		if (is_listed(session, name))
			buf_puts(&session->user, name);
		else
			go_on = refuse_login(session, name, "not one of [lmtp] auth_users");
		if (!buf_ok(&session->user)) {
			session_reply(session, 454, "4.7.0", "out of memory");
			break;
		}
		if (session->user.len == 0)
			break;
		log_info("logged in peer=%s user=<%s>", session->connection->peer, name);
		session_reply(session, 235, "2.7.0", "logged in");
		return true;
	case LOGIN_REFUSED:
		go_on = refuse_login(session, name, login_reason(session->login));
		break;
	case LOGIN_UNKNOWN:
		session_reply(session, 504, "5.5.4", "this mechanism is not offered");
		break;
	case LOGIN_MALFORMED:
		session_reply(session, 501, "5.5.2", "the response is not well-formed");
		break;
	case LOGIN_TROUBLE:
	case LOGIN_CHALLENGE:
	default:
		log_error("login deferred peer=%s user=<%s> reason=<%s>", session->connection->peer,
			  name, login_reason(session->login));
		session_reply(session, 454, "4.7.0", "logins cannot be checked now");
		break;
	}
	session_forget_login(session);
	return go_on;
}

/* Challenges and responses until there is a verdict. False: the session is over. */
static bool exchange(struct session *session, enum login_verdict verdict, struct buf *challenge)
{
	struct buf response = BUF_SECRET;
	bool go_on = true, cancelled = false;

	while (go_on && !cancelled && verdict == LOGIN_CHALLENGE) {
		bool too_long;

		buf_printf(&session->out, "334 %s\r\n", buf_str(challenge));
		buf_reset(challenge);
		go_on = read_response(session, &response, &too_long);
		cancelled = go_on && (too_long || strcmp(buf_str(&response), "*") == 0 ||
				      !buf_ok(&response));
		if (go_on && !cancelled)
			verdict = login_continue(session->login, buf_str(&response), response.len,
						 challenge);
		else if (go_on && too_long)
			session_reply(session, 500, "5.5.6", "the response is too long");
		else if (go_on)
			session_reply(session, 501, "5.7.0", "the login was cancelled");
	}
	buf_free(&response);
	if (cancelled)
		session_forget_login(session);
	return go_on && (cancelled || end_login(session, verdict));
}

/* False: AUTH cannot be carried out now, which was said. */
static bool auth_possible(struct session *session)
{
	if (!needs_login(session))
		session_reply(session, 502, "5.5.1", "AUTH was not offered");
	else if (session->helo.len == 0)
		session_reply(session, 503, "5.5.1", "LHLO comes first");
	else if (session->in_transaction)
		session_reply(session, 503, "5.5.1", "not within a transaction");
	else if (session->user.len > 0)
		session_reply(session, 503, "5.5.1", "logged in already");
	else if (!open_login(session))
		session_reply(session, 454, "4.7.0", "logins cannot be checked now");
	else
		return true;
	return false;
}

bool session_auth(struct session *session, const char *argument, size_t len)
{
	char mechanism[MECHANISM_NAME_MAX + 1];
	struct buf challenge = BUF_INIT;
	const char *blank = memchr(argument, ' ', len);
	const char *response = NULL;
	size_t name = blank ? (size_t)(blank - argument) : len, response_len = 0;
	bool go_on;

	if (!auth_possible(session))
		return true;
	if (name == 0) {
		session_reply(session, 501, "5.5.4", "AUTH needs a mechanism");
		return true;
	}
	if (name > MECHANISM_NAME_MAX) {
		session_reply(session, 504, "5.5.4", "this mechanism is not offered");
		return true;
	}
	memcpy(mechanism, argument, name);
	mechanism[name] = '\0';
	if (blank && blank + 1 < argument + len) {
		response = blank + 1;
		response_len = len - name - 1;
	}
	go_on = exchange(session,
			 login_start(session->login, mechanism, response, response_len, &challenge),
			 &challenge);
	buf_free(&challenge);
	return go_on;
}
