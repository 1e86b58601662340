/*
 * lmtp-deliver - puts mail into Maildirs: an LMTP server, or with -d a pipe(8) agent
 *
 * The full program, which agent_front.c becomes where it cannot hand over a message. The daemon
 * starts as root or as [mail] owner, listens, and goes on as [mail] owner.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/account_usage.h"
#include "common/accounts.h"
#include "common/daemon.h"
#include "lmtp-deliver/agent.h"
#include "lmtp-deliver/agent_options.h"
#include "lmtp-deliver/delivery.h"
#include "lmtp-deliver/session.h"
#include "lmtp-deliver/usage.h"

static enum result state_open(const struct settings *settings, void **state_r, struct error *err)
{
	struct session_state *state = NULL;
	enum result result = session_state_open(settings, &state, err);

	if (result == RESULT_FOUND)
		result = usage_start(settings, state->schema, err);
	if (result != RESULT_FOUND)
		session_state_free(&state);
	*state_r = state;
	return result;
}

static void state_free(void *state)
{
	struct session_state *session_state = state;

	if (session_state)
		usage_stop(session_state->settings);
	session_state_free(&session_state);
}

static enum result state_check(void *state, struct error *err)
{
	const struct session_state *shared = state;
	enum result result = accounts_try(shared->settings, shared->schema, err);

	if (result == RESULT_FOUND && shared->settings->quota.publish)
		result = accounts_usage_try(shared->settings, shared->schema, err);
	return result;
}

/* The agent runs as [mail] owner, and must be able to reach the server. */
static const char *owner_user_name(const struct settings *settings)
{
	static char user[64];

	(void)snprintf(user, sizeof(user), "%.*s", (int)strcspn(settings->mail.owner, ":"),
		       settings->mail.owner);
	return user;
}

static enum result plan(const struct settings *settings, struct daemon_plan *plan_r,
			struct error *err)
{
	if (settings->lmtp.listen[0] == '\0')
		return result_error(err, RESULT_PERM, "[lmtp] listen is empty: name a socket");
	plan_r->listeners[plan_r->listener_count++] = (struct daemon_listener){
		.endpoints = settings->lmtp.listen,
		.mode = {.mode = (mode_t)settings->lmtp.socket_mode,
			 .group = settings->lmtp.socket_group,
			 .owner = owner_user_name(settings)},
		.service = &session_service,
	};
	plan_r->user = settings->mail.owner;
	plan_r->keeps_identities = strcmp(settings->mail.identity, "account") == 0;
	plan_r->worker_descriptors = (int64_t)4 * DELIVERY_BATCH;
	plan_r->workers = settings->lmtp.workers;
	plan_r->max_connections = settings->lmtp.max_connections;
	return RESULT_FOUND;
}

static const struct daemon_program program = {
	.name = "lmtp-deliver",
	.synopsis = "  [-f SENDER] -d RECIPIENT [-a ORIGINAL] [-m FOLDER] [-p MESSAGE]\n"
		    "  -w PERCENT [-f SENDER] -d RECIPIENT [WORD ...]\n"
		    "  [-r SENDER] [-m FOLDER] [-e] [-k] [-q] USER ...\n"
		    "                 deliver the message on standard input (pipe(8) agent)\n",
	.state_open = state_open,
	.state_free = state_free,
	.state_check = state_check,
	.plan = plan,
};

int main(int argc, char **argv)
{
	if (agent_wanted(argc, argv))
		return agent_main(argc, argv);
	(void)signal(SIGXFSZ, SIG_IGN); /* write(2) then says EFBIG */
	delivery_metrics();
	return daemon_main(&program, argc, argv);
}
