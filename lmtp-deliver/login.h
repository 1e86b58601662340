/*
 * Logins of LMTP clients, through Cyrus SASL: service "lmtp", configuration lmtp.conf. The library
 * and its plugins are entered by one thread at a time.
 */
#ifndef POSTERN_LMTP_LOGIN_H
#define POSTERN_LMTP_LOGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/result.h"

/* Starts the library, which reads lmtp.conf; once for the process, later calls find it so. */
enum result login_start_library(struct error *err) MUST_CHECK;

struct login;

enum login_verdict {
	LOGIN_ACCEPTED,
	LOGIN_CHALLENGE, /* go on with login_continue() */
	LOGIN_REFUSED,   /* wrong password, no such login, and everything that tells no more */
	LOGIN_TROUBLE,   /* cannot be known now */
	LOGIN_MALFORMED, /* no base64, or not what the mechanism expects */
	LOGIN_UNKNOWN,   /* no such mechanism here */
};

/*
 * HOSTNAME is ours; PEER "ADDRESS:PORT"; ALLOWED the mechanisms that may be used, blank separated,
 * of which PLAIN and LOGIN inside TLS only. It must outlive the login.
 */
enum result login_open(const char *hostname, const char *peer, bool tls, const char *allowed,
		       struct login **login_r, struct error *err) MUST_CHECK;
void login_free(struct login **login);
/* Appends the names of the mechanisms, each with a blank in front. */
void login_mechanisms(struct login *login, struct buf *out);
/*
 * RESPONSE is base64 as it came; NULL: the client sent none. On LOGIN_CHALLENGE the challenge is in
 * CHALLENGE_R, in base64. Each start forgets the exchange before.
 */
enum login_verdict login_start(struct login *login, const char *mechanism, const char *response,
			       size_t len, struct buf *challenge_r) MUST_CHECK;
enum login_verdict login_continue(struct login *login, const char *response, size_t len,
				  struct buf *challenge_r) MUST_CHECK;
/* After LOGIN_ACCEPTED: the name; else what is known of it, at least "". */
const char *login_name(const struct login *login);
/* For the log, after any other verdict. */
const char *login_reason(const struct login *login);

#endif
