/*
 * login - logins of LMTP clients, through Cyrus SASL
 *
 * libsasl does not lock what its plugins share, and ours has one database handle for a process, so
 * a mutex is held around every call. A slow database thus slows other logins down, not deliveries:
 * clients log in once for a connection.
 *
 * No security layer is negotiated; TLS is the one. libsasl's codes become verdicts by the rule that
 * only a certain no is one: whatever is not known to be the client's fault is LOGIN_TROUBLE.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <pthread.h>
#include <sasl/sasl.h>
#include <sasl/saslutil.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/log.h"
#include "common/smtp_line.h"
#include "lmtp-deliver/login.h"

#define SERVICE       "lmtp"
#define NAME_SIZE     256
#define REASON_MAX    256
#define MECHANISM_MAX 20 /* RFC 4422 */

struct login {
	sasl_conn_t *sasl;
	const char *allowed;
	bool tls;
	char name[NAME_SIZE];
	char reason[REASON_MAX];
};

static pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;

static void *mutex_new(void)
{
	pthread_mutex_t *mutex = malloc(sizeof(*mutex));

	if (mutex && pthread_mutex_init(mutex, NULL) != 0) {
		free(mutex);
		mutex = NULL;
	}
	return mutex;
}

static int mutex_lock(void *mutex)
{
	return pthread_mutex_lock(mutex) == 0 ? SASL_OK : SASL_FAIL;
}

static int mutex_unlock(void *mutex)
{
	return pthread_mutex_unlock(mutex) == 0 ? SASL_OK : SASL_FAIL;
}

static void mutex_free(void *mutex)
{
	if (mutex)
		(void)pthread_mutex_destroy(mutex);
	free(mutex);
}

static int log_message(void *context, int level, const char *message)
{
	(void)context;
	if (!message)
		return SASL_BADPARAM;
	switch (level) {
	case SASL_LOG_NONE:
	case SASL_LOG_PASS: /* traces that hold passwords */
	case SASL_LOG_TRACE:
		break;
	case SASL_LOG_ERR:
	case SASL_LOG_WARN:
		log_warning("sasl reason=<%s>", message);
		break;
	case SASL_LOG_FAIL:
		log_info("sasl reason=<%s>", message);
		break;
	default:
		log_debug("sasl reason=<%s>", message);
		break;
	}
	return SASL_OK;
}

enum result login_start_library(struct error *err)
{
	static const sasl_callback_t callbacks[] = {
		{SASL_CB_LOG, (int (*)(void))(void (*)(void))log_message, NULL},
		{SASL_CB_LIST_END, NULL, NULL},
	};
	static bool started;
	int code = SASL_OK;

	(void)pthread_mutex_lock(&library_lock);
	if (!started) {
		sasl_set_mutex(mutex_new, mutex_lock, mutex_unlock, mutex_free);
		code = sasl_server_init(callbacks, SERVICE);
		started = code == SASL_OK;
		if (!started)
			sasl_done();
	}
	(void)pthread_mutex_unlock(&library_lock);
	if (code == SASL_OK)
		return RESULT_FOUND;
	return result_error(err, code == SASL_NOMEM ? RESULT_TEMP : RESULT_PERM,
			    "Cyrus SASL does not start: %s (look at " SERVICE
			    ".conf in its configuration folder)",
			    sasl_errstring(code, NULL, NULL));
}

/* "127.0.0.1:4711" and "[::1]:4711" as libsasl wants them: "127.0.0.1;4711". */
static const char *sasl_peer(const char *peer, char *out, size_t size)
{
	const char *colon = strrchr(peer, ':');
	size_t skip = peer[0] == '[' ? 1 : 0;

	if (!colon || (size_t)(colon - peer) < 2 * skip)
		return NULL;
	(void)snprintf(out, size, "%.*s;%s", (int)((size_t)(colon - peer) - 2 * skip), peer + skip,
		       colon + 1);
	return out;
}

static int set_properties(struct login *login)
{
	const sasl_security_properties_t properties = {
		.security_flags =
			SASL_SEC_NOANONYMOUS | (login->tls ? 0u : (unsigned)SASL_SEC_NOPLAINTEXT),
	};

	return sasl_setprop(login->sasl, SASL_SEC_PROPS, &properties);
}

enum result login_open(const char *hostname, const char *peer, bool tls, const char *allowed,
		       struct login **login_r, struct error *err)
{
	struct login *login = calloc(1, sizeof(*login));
	char remote[80];
	int code;

	*login_r = NULL;
	if (!login)
		return result_error(err, RESULT_TEMP, "out of memory");
	login->allowed = allowed;
	login->tls = tls;
	(void)pthread_mutex_lock(&library_lock);
	code = sasl_server_new(SERVICE, hostname, NULL, NULL,
			       sasl_peer(peer, remote, sizeof(remote)), NULL, 0, &login->sasl);
	if (code == SASL_OK)
		code = set_properties(login);
	(void)pthread_mutex_unlock(&library_lock);
	if (code != SASL_OK) {
		login_free(&login);
		return result_error(err, RESULT_TEMP, "Cyrus SASL: %s",
				    sasl_errstring(code, NULL, NULL));
	}
	*login_r = login;
	return RESULT_FOUND;
}

void login_free(struct login **login)
{
	if (!*login)
		return;
	(void)pthread_mutex_lock(&library_lock);
	sasl_dispose(&(*login)->sasl);
	(void)pthread_mutex_unlock(&library_lock);
	free(*login);
	*login = NULL;
}

/* Whether LIST, words separated by blanks, has the word. */
static bool has_word(const char *list, const char *word, size_t len)
{
	for (const char *at = list; *at;) {
		size_t this = strcspn(at, " \t");

		if (this == len && strncasecmp(at, word, len) == 0)
			return true;
		at += this;
		at += strspn(at, " \t");
	}
	return false;
}

static bool may_use(const struct login *login, const char *mechanism, size_t len)
{
	return has_word(login->allowed, mechanism, len) &&
	       (login->tls || !has_word("PLAIN LOGIN", mechanism, len));
}

void login_mechanisms(struct login *login, struct buf *out)
{
	const char *list = NULL;
	struct buf names = BUF_INIT;

	(void)pthread_mutex_lock(&library_lock);
	if (sasl_listmech(login->sasl, NULL, "", " ", "", &list, NULL, NULL) == SASL_OK)
		buf_puts(&names, list);
	(void)pthread_mutex_unlock(&library_lock);
	for (const char *at = buf_str(&names); *at;) {
		size_t len = strcspn(at, " ");
		/* Two plugins may have the same mechanism. */
		bool again = false;

		for (const char *before = buf_str(&names); before < at && !again;) {
			size_t this = strcspn(before, " ");

			again = this == len && strncasecmp(before, at, len) == 0;
			before += this + 1;
		}
		if (!again && may_use(login, at, len))
			buf_printf(out, " %.*s", (int)len, at);
		at += len;
		at += strspn(at, " ");
	}
	buf_free(&names);
}

static enum login_verdict verdict(int code)
{
	switch (code) {
	case SASL_OK:
		return LOGIN_ACCEPTED;
	case SASL_CONTINUE:
		return LOGIN_CHALLENGE;
	case SASL_BADAUTH:
	case SASL_NOUSER:
	case SASL_NOAUTHZ:
	case SASL_DISABLED:
	case SASL_EXPIRED:
	case SASL_TOOWEAK:
	case SASL_ENCRYPT:
	case SASL_TRANS:
	case SASL_BADMAC:
	case SASL_PWLOCK:
	case SASL_WEAKPASS:
	case SASL_NOUSERPASS:
		return LOGIN_REFUSED;
	case SASL_BADPROT:
	case SASL_BADPARAM:
		return LOGIN_MALFORMED;
	case SASL_NOMECH:
		return LOGIN_UNKNOWN;
	default:
		return LOGIN_TROUBLE;
	}
}

static bool decode(const char *text, size_t len, struct buf *out)
{
	unsigned decoded = 0;
	char *room = buf_reserve(out, len + 1);

	if (!room || len > SMTP_AUTH_LINE_MAX ||
	    sasl_decode64(text, (unsigned)len, room, (unsigned)len + 1, &decoded) != SASL_OK)
		return false;
	buf_added(out, decoded);
	return true;
}

static bool encode(const char *data, unsigned len, struct buf *out)
{
	unsigned size = (len + 2) / 3 * 4 + 1, encoded = 0;
	char *room = buf_reserve(out, size);

	if (!room || sasl_encode64(data, len, room, size, &encoded) != SASL_OK)
		return false;
	buf_added(out, encoded);
	return true;
}

static void set_reason(struct login *login, const char *reason)
{
	(void)snprintf(login->reason, sizeof(login->reason), "%s", reason);
}

/* What a step brought: the challenge, the name, or the reason. Called with the lock held. */
static enum login_verdict step_end(struct login *login, int code, const char *challenge,
				   unsigned len, struct buf *challenge_r)
{
	enum login_verdict result = verdict(code);
	const void *name = NULL;

	if (sasl_getprop(login->sasl, SASL_USERNAME, &name) != SASL_OK)
		name = NULL;
	if (!name && sasl_getprop(login->sasl, SASL_AUTHUSER, &name) != SASL_OK)
		name = NULL;
	(void)snprintf(login->name, sizeof(login->name), "%s", name ? (const char *)name : "");
	if (result == LOGIN_ACCEPTED) {
		if (name && strlen(name) < sizeof(login->name))
			return result;
		set_reason(login, "the login has no name, or a very long one");
		return LOGIN_TROUBLE;
	}
	if (result == LOGIN_CHALLENGE) {
		if (encode(challenge ? challenge : "", len, challenge_r))
			return result;
		set_reason(login, "out of memory");
		return LOGIN_TROUBLE;
	}
	set_reason(login, sasl_errdetail(login->sasl));
	return result;
}

/* RESPONSE decoded; "=" stands for an empty one with the command itself. */
static bool take_response(struct login *login, const char *response, size_t len,
			  struct buf *decoded)
{
	if (decode(response, len, decoded))
		return true;
	set_reason(login, "a response is not base64");
	return false;
}

enum login_verdict login_start(struct login *login, const char *mechanism, const char *response,
			       size_t len, struct buf *challenge_r)
{
	struct buf decoded = BUF_SECRET;
	const char *challenge = NULL;
	unsigned challenge_len = 0;
	enum login_verdict result;
	int code;

	login->name[0] = '\0';
	if (strlen(mechanism) > MECHANISM_MAX || !may_use(login, mechanism, strlen(mechanism))) {
		set_reason(login, "the mechanism is not offered");
		return LOGIN_UNKNOWN;
	}
	if (response && !(len == 1 && *response == '=') &&
	    !take_response(login, response, len, &decoded)) {
		buf_free(&decoded);
		return LOGIN_MALFORMED;
	}
	(void)pthread_mutex_lock(&library_lock);
	code = sasl_server_start(login->sasl, mechanism, response ? buf_str(&decoded) : NULL,
				 (unsigned)decoded.len, &challenge, &challenge_len);
	result = step_end(login, code, challenge, challenge_len, challenge_r);
	(void)pthread_mutex_unlock(&library_lock);
	buf_free(&decoded);
	return result;
}

enum login_verdict login_continue(struct login *login, const char *response, size_t len,
				  struct buf *challenge_r)
{
	struct buf decoded = BUF_SECRET;
	const char *challenge = NULL;
	unsigned challenge_len = 0;
	enum login_verdict result;
	int code;

	if (!take_response(login, response, len, &decoded)) {
		buf_free(&decoded);
		return LOGIN_MALFORMED;
	}
	(void)pthread_mutex_lock(&library_lock);
	code = sasl_server_step(login->sasl, buf_str(&decoded), (unsigned)decoded.len, &challenge,
				&challenge_len);
	result = step_end(login, code, challenge, challenge_len, challenge_r);
	(void)pthread_mutex_unlock(&library_lock);
	buf_free(&decoded);
	return result;
}

const char *login_name(const struct login *login)
{
	return login->name;
}

const char *login_reason(const struct login *login)
{
	return login->reason;
}
