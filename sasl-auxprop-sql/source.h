/*
 * Where the plugin's answers come from: the accounts of postern.ini, the site's own query
 * (sql_select), or a saslauthd socket. One for a process; not safe from two threads at once.
 */
#ifndef POSTERN_SASL_SOURCE_H
#define POSTERN_SASL_SOURCE_H

#include "common/accounts.h"
#include "common/buf.h"
#include "common/result.h"
#include "sasl-auxprop-sql/options.h"

struct source;

struct source_login {
	const char *name;
	size_t len;
	const char *realm;   /* of a NAME without '@', as the application has it; may be NULL */
	const char *host;    /* the server's name, a query's %r without any realm; may be NULL */
	const char *service; /* "smtp" */
};

/*
 * Takes OPTIONS over (also when it fails, and empties it) and reads every file now: later the
 * process may be in a chroot and without rights. Nothing is connected. FOUND, or TEMP (out of
 * memory). OPTIONS_RESULT and OPTIONS_ERROR are those of options_read(): a source that cannot work
 * exists all the same and answers every question PERM, because "no such plugin" would tell users
 * that their password is wrong.
 */
enum result source_open(struct options *options, enum result options_result,
			const struct error *options_error, struct source **source_r,
			struct error *err) MUST_CHECK;
void source_free(struct source **source);
/* PERM with the reason when the source cannot work, else FOUND. */
enum result source_usable(const struct source *source, struct error *err) MUST_CHECK;

/*
 * Results as authenticate(). On FOUND the account's name is appended to ACCOUNT_R. REASON_R is one
 * constant word for the log after NONE.
 */
enum result source_verify(struct source *source, const struct source_login *login,
			  const char *password, struct buf *account_r, const char **reason_r,
			  struct error *err) MUST_CHECK;

/* Whether source_values() depends on the property. */
bool source_values_vary(const struct source *source);
/*
 * The stored values of a login. PROPERTY without '*'. NONE: no such login, inactive, or barred from
 * sending; always from a saslauthd socket. A FOUND may hold no value.
 */
enum result source_values(struct source *source, const struct source_login *login,
			  const char *property, struct secrets *values_r,
			  struct error *err) MUST_CHECK;
/* The clear text in a stored value, and whether it is a SCRAM verifier: as password.h. */
enum result source_clear_text(const struct source *source, const char *stored,
			      struct buf *clear_r) MUST_CHECK;

#endif
