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

	return accounts_try(authd->settings, authd->schema, err);
}

static void add_listener(const struct settings *settings, const char *endpoints,
			 const struct service *service, struct daemon_plan *plan)
{
	if (endpoints[0] != '\0')
		plan->listeners[plan->listener_count++] = (struct daemon_listener){
			.endpoints = endpoints,
			.mode = {.mode = (mode_t)settings->auth.socket_mode,
				 .group = settings->auth.socket_group},
			.service = service,
		};
}

static enum result authd_plan(const struct settings *settings, struct daemon_plan *plan_r,
			      struct error *err)
{
	add_listener(settings, settings->auth.saslauthd, &saslauthd_service, plan_r);
	add_listener(settings, settings->auth.authdaemond, &authdaemond_service, plan_r);
	if (plan_r->listener_count == 0)
		return result_error(
			err, RESULT_PERM,
			"[auth] saslauthd and authdaemond are both empty: set a socket");
	plan_r->user = settings->auth.user;
	plan_r->workers = settings->auth.workers;
	plan_r->max_connections = settings->auth.max_connections;
	return RESULT_FOUND;
}

static const struct daemon_program program = {
	.name = "sasl-authd",
	.synopsis = "",
	.state_open = authd_open,
	.state_free = authd_free,
	.state_check = authd_check,
	.plan = authd_plan,
	.idle_ms = IDLE_MS,
};

int main(int argc, char **argv)
{
	verdict_metrics_register();
	return daemon_main(&program, argc, argv);
}
