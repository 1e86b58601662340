/*
 * Login and password to yes or no: resolve_login(), the sending bar, every secret of the account.
 * The plugin's PLAIN and LOGIN, sasl-authd and `postern auth` all call this.
 */
#ifndef POSTERN_AUTHENTICATE_H
#define POSTERN_AUTHENTICATE_H

#include "common/resolve.h"

/*
 * FOUND: the password is right; the account's name is appended to ACCOUNT_R (may be NULL).
 * NONE: wrong password, no such or inactive account, barred from sending: say 535 for all of
 * them; REASON_R (may be NULL) tells the log which, in one constant word.
 * TEMP: the database could not be asked. PERM: the stored value is unusable (say TEMP to the
 * client: a broken configuration never tells a user that the password is wrong), unless another
 * secret of the account matched.
 */
enum result authenticate(struct accounts *accounts, const struct settings *settings,
			 const char *login, size_t login_len, const char *password,
			 struct buf *account_r, const char **reason_r, struct trace *trace,
			 struct error *err) MUST_CHECK;

#endif
