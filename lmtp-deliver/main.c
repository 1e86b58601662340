/*
 * lmtp-deliver - puts mail into Maildirs: an LMTP server, or with -d a pipe(8) agent
 *
 * The daemon starts as root or as [mail] owner, listens, and goes on as [mail] owner.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <signal.h>

#include "common/accounts.h"
#include "common/daemon.h"
#include "lmtp-deliver/agent.h"
#include "lmtp-deliver/delivery.h"
#include "lmtp-deliver/session.h"

static enum result state_open(const struct settings *settings, void **state_r, struct error *err)
{
	struct session_state *state = NULL;
	enum result result = session_state_open(settings, &state, err);

	*state_r = state;
	return result;
}

static void state_free(void *state)
{
	struct session_state *session_state = state;

	session_state_free(&session_state);
}

static enum result state_check(void *state, struct error *err)
{
	const struct session_state *shared = state;
	struct accounts *accounts = NULL;
	enum result result = accounts_open(shared->settings, shared->schema, &accounts, err);

	if (result == RESULT_FOUND)
		result = accounts_check(accounts, err);
	accounts_free(&accounts);
	return result;
}

static size_t listeners(const struct settings *settings, struct daemon_listener listeners_r[4],
			struct error *err)
{
	if (!*settings->lmtp.listen) {
		error_set(err, "[lmtp] listen is empty: name a socket");
		return 0;
	}
	listeners_r[0] = (struct daemon_listener){
		.endpoints = settings->lmtp.listen,
		.mode = {.mode = (mode_t)settings->lmtp.socket_mode,
			 .group = settings->lmtp.socket_group},
		.service = &session_service,
	};
	return 1;
}

static const char *user(const struct settings *settings)
{
	return settings->mail.owner;
}

static size_t workers(const struct settings *settings)
{
	return (size_t)settings->lmtp.workers;
}

static size_t max_connections(const struct settings *settings)
{
	return (size_t)settings->lmtp.max_connections;
}

static const struct daemon_program program = {
	.name = "lmtp-deliver",
	.synopsis = "  -f SENDER -d RECIPIENT [-a ORIGINAL]\n"
		    "                 deliver the message on standard input (pipe(8) agent)\n",
	.state_open = state_open,
	.state_free = state_free,
	.state_check = state_check,
	.listeners = listeners,
	.user = user,
	.workers = workers,
	.max_connections = max_connections,
};

int main(int argc, char **argv)
{
	if (agent_wanted(argc, argv))
		return agent_main(argc, argv);
	(void)signal(SIGXFSZ, SIG_IGN); /* write(2) then says EFBIG */
	delivery_metrics();
	return daemon_main(&program, argc, argv);
}
