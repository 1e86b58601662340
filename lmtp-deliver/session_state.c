/*
 * session_state - what all LMTP sessions share, and the checks of [lmtp] that need more than one key
 *
 * A listener on TCP needs a decision: who may deliver. Without one the program does not start, since
 * it would either take mail from anybody or, unnoticed, from nobody.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/endpoint.h"
#include "common/log.h"
#include "lmtp-deliver/login.h"
#include "lmtp-deliver/session.h"

static enum result listens_on_tcp(const struct settings *settings, bool *tcp_r, struct error *err)
{
	struct endpoint *endpoints = NULL;
	size_t count = 0;
	enum result result = endpoint_parse(settings->lmtp.listen, &endpoints, &count, err);

	*tcp_r = false;
	if (result != RESULT_FOUND) {
		error_prefix(err, "[lmtp] listen");
		return result;
	}
	for (size_t i = 0; i < count; i++)
		*tcp_r = *tcp_r || !endpoints[i].is_unix;
	endpoint_free(&endpoints, count, false);
	return RESULT_FOUND;
}

static enum result open_tls(struct session_state *state, struct error *err)
{
	const char *certificate = state->settings->lmtp.tls_certificate;
	const char *key = state->settings->lmtp.tls_key;
	enum result result;

	if (!*certificate) {
		if (*key)
			return result_error(err, RESULT_PERM,
					    "[lmtp] tls_key is set but tls_certificate is not");
		return RESULT_FOUND;
	}
	result = tls_context_open(certificate, *key ? key : certificate, &state->tls, err);
	if (result != RESULT_FOUND)
		error_prefix(err, "[lmtp] tls_certificate");
	return result;
}

/* What TCP needs: TLS where it is required, and logins. */
static enum result open_tcp(const struct session_state *state, struct error *err)
{
	const struct settings *settings = state->settings;

	if (strcmp(settings->lmtp.tls, "require") == 0 && !state->tls)
		return result_error(err, RESULT_PERM,
				    "[lmtp] tls = require needs a certificate: set "
				    "tls_certificate, and tls_key");
	if (strcmp(settings->lmtp.auth, "required") != 0)
		return RESULT_FOUND;
	if (!*settings->lmtp.auth_users)
		return result_error(err, RESULT_PERM,
				    "[lmtp] listen names a TCP port, but nobody could deliver "
				    "there: set auth_users to the logins of your Postfix hosts, or "
				    "auth = off in a network that you trust");
	return login_start_library(err);
}

static enum result fill(struct session_state *state, struct error *err)
{
	const struct settings *settings = state->settings;
	bool tcp = false;
	enum result result;

	if (*settings->lmtp.hostname)
		(void)snprintf(state->hostname, sizeof(state->hostname), "%s",
			       settings->lmtp.hostname);
	else if (gethostname(state->hostname, sizeof(state->hostname) - 1) != 0)
		(void)snprintf(state->hostname, sizeof(state->hostname), "localhost");
	result = schema_load(settings->schema.preset, &state->schema, err);
	if (result == RESULT_FOUND)
		result = listens_on_tcp(settings, &tcp, err);
	if (result == RESULT_FOUND)
		result = open_tls(state, err);
	if (result == RESULT_FOUND && tcp)
		result = open_tcp(state, err);
	return result;
}

enum result session_state_open(const struct settings *settings, struct session_state **state_r,
			       struct error *err)
{
	struct session_state *state;
	enum result result;

	*state_r = NULL;
	if (settings->lmtp.expand_aliases)
		return result_error(err, RESULT_PERM,
				    "[lmtp] expand_aliases = yes is not supported yet: set it to "
				    "\"no\" and let Postfix expand aliases (virtual_alias_maps)");
	state = calloc(1, sizeof(*state));
	if (!state)
		return result_error(err, RESULT_TEMP, "out of memory");
	state->settings = settings;
	result = fill(state, err);
	if (result != RESULT_FOUND) {
		session_state_free(&state);
		return result;
	}
	if (access(settings->mail.base, X_OK) != 0)
		log_error("[mail] base %s cannot be used: mail is deferred until it exists and "
			  "belongs to [mail] owner",
			  settings->mail.base);
	*state_r = state;
	return RESULT_FOUND;
}

void session_state_free(struct session_state **state)
{
	if (!*state)
		return;
	tls_context_free(&(*state)->tls);
	schema_free(&(*state)->schema);
	free(*state);
	*state = NULL;
}
