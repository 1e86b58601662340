/*
 * sasl-authd: verifies mail passwords for Cyrus SASL (pwcheck_method: saslauthd or authdaemond).
 *
 * It keeps hashes, database credentials and the memory that Argon2 takes out of smtpd, which may be
 * chrooted. Protocols: saslauthd.c, authdaemond.c. Everything else is common/daemon.c.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdlib.h>

#include "common/daemon.h"
#include "sasl-auxprop-sql/authdaemond.h"
#include "sasl-auxprop-sql/saslauthd.h"
#include "sasl-auxprop-sql/verdict.h"

#define IDLE_MS 30000 /* for a whole request to come in */

static enum result authd_open(const struct settings *settings, void **state_r, struct error *err)
{
	struct authd *authd = calloc(1, sizeof(*authd));
	enum result result;

	*state_r = NULL;
	if (authd == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	authd->settings = settings;
	result = schema_load(settings->schema.preset, &authd->schema, err);
	if (result != RESULT_FOUND) {
		free(authd);
		return result;
	}
	*state_r = authd;
	return RESULT_FOUND;
}

static void authd_free(void *state)
{
	struct authd *authd = state;

	if (authd == NULL)
		return;
	schema_free(&authd->schema);
	free(authd);
}

static enum result authd_check(void *state, struct error *err)
{
	const struct authd *authd = state;
	struct accounts *accounts = NULL;
	enum result result = accounts_open(authd->settings, authd->schema, &accounts, err);

	if (result != RESULT_FOUND)
		return result;
	result = accounts_check(accounts, err);
	accounts_free(&accounts);
	return result;
}

static size_t authd_listeners(const struct settings *settings,
			      struct daemon_listener listeners_r[4], struct error *err)
{
	const struct endpoint_mode mode = {
		.mode = (mode_t)settings->auth.socket_mode,
		.group = settings->auth.socket_group,
		.owner = "",
	};
	size_t count = 0;

	if (settings->auth.saslauthd[0] != '\0')
		listeners_r[count++] = (struct daemon_listener){settings->auth.saslauthd, mode,
								&saslauthd_service};
	if (settings->auth.authdaemond[0] != '\0')
		listeners_r[count++] = (struct daemon_listener){settings->auth.authdaemond, mode,
								&authdaemond_service};
	if (count == 0)
		error_set(err, "[auth] saslauthd and authdaemond are both empty: set a socket");
	return count;
}

static const char *authd_user(const struct settings *settings)
{
	return settings->auth.user;
}

static size_t authd_workers(const struct settings *settings)
{
	return (size_t)settings->auth.workers;
}

static size_t authd_max_connections(const struct settings *settings)
{
	return (size_t)settings->auth.max_connections;
}

static const struct daemon_program program = {
	.name = "sasl-authd",
	.synopsis = "",
	.state_open = authd_open,
	.state_free = authd_free,
	.state_check = authd_check,
	.listeners = authd_listeners,
	.user = authd_user,
	.workers = authd_workers,
	.max_connections = authd_max_connections,
	.idle_ms = IDLE_MS,
};

int main(int argc, char **argv)
{
	verdict_metrics_register();
	return daemon_main(&program, argc, argv);
}
