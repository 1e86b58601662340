/*
 * The decision that both protocols of sasl-authd share, with its log line and its metrics.
 */
#ifndef POSTERN_VERDICT_H
#define POSTERN_VERDICT_H

#include "common/accounts.h"
#include "common/schema.h"
#include "common/serve.h"
#include "common/settings.h"

struct authd { /* the state behind the services, shared by the workers */
	const struct settings *settings;
	struct schema *schema;
};

enum verdict_protocol { VERDICT_SASLAUTHD, VERDICT_AUTHDAEMOND, VERDICT_PROTOCOLS };

struct verdict_question { /* none is NUL-terminated */
	enum verdict_protocol protocol;
	const char *service, *login, *password, *client; /* CLIENT may be NULL */
	size_t service_len, login_len, password_len, client_len;
};

/*
 * FOUND: accepted, the account's name is appended to ACCOUNT_R. NONE: refused. TEMP: not known; an
 * unusable stored password (PERM elsewhere) is TEMP here, because a client can do nothing else.
 * ACCOUNTS is NULL when the worker has no database.
 */
enum result verdict(const struct authd *authd, struct accounts *accounts,
		    const struct verdict_question *question, struct buf *account_r) MUST_CHECK;
/* Counts and logs a request that could not be read, or a command that is not served. */
void verdict_refused(enum verdict_protocol protocol, const char *why);
void verdict_metrics_register(void);

/* The per-worker half of a struct service: its database handle. */
enum result verdict_worker_open(void *state, void **worker_r, struct error *err) MUST_CHECK;
void verdict_worker_close(void *worker);

#endif
