/*
 * NAME
 *	policyd - SMTPD policy service: sending limits, full mailboxes
 *
 * SYNOPSIS
 *	policyd [-c FILE] [--check | --dump-config | --version | --help]
 *
 * DESCRIPTION
 *	See policyd(8). The protocol is policy.c's, the rules limit.c's and mailbox_quota.c's.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/daemon.h"
#include "policyd/policy.h"

static enum result state_open(const struct settings *settings, void **state_r, struct error *err)
{
	struct policy *policy;
	enum result result = policy_open(settings, &policy, err);

	*state_r = policy;
	return result;
}

static void state_free(void *state)
{
	struct policy *policy = state;

	policy_free(&policy);
}

static enum result state_check(void *state, struct error *err)
{
	return policy_check(state, err);
}

static enum result plan(const struct settings *settings, struct daemon_plan *plan_r,
			struct error *err)
{
	if (settings->policy.listen[0] == '\0')
		return result_error(err, RESULT_PERM,
				    "[policy] listen is empty: name a socket or HOST:PORT");
	plan_r->listeners[plan_r->listener_count++] = (struct daemon_listener){
		.endpoints = settings->policy.listen,
		.mode = {.mode = (mode_t)settings->policy.socket_mode,
			 .group = settings->policy.socket_group},
		.service = &policy_service,
	};
	plan_r->user = settings->policy.user;
	plan_r->workers = settings->policy.workers;
	plan_r->max_connections = settings->policy.max_connections;
	return RESULT_FOUND;
}

int main(int argc, char **argv)
{
	static const struct daemon_program program = {
		.name = "policyd",
		.synopsis = "",
		.state_open = state_open,
		.state_free = state_free,
		.state_check = state_check,
		.plan = plan,
		.idle_ms = 0, /* Postfix pays a second for a connection that we closed */
	};

	return daemon_main(&program, argc, argv);
}
