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

static size_t listeners(const struct settings *settings, struct daemon_listener listeners_r[4],
			struct error *err)
{
	if (!settings->policy.listen[0]) {
		error_set(err, "[policy] listen is empty: name a socket or HOST:PORT");
		return 0;
	}
	listeners_r[0] = (struct daemon_listener){
		.endpoints = settings->policy.listen,
		.mode = {.mode = (mode_t)settings->policy.socket_mode,
			 .group = settings->policy.socket_group},
		.service = &policy_service,
	};
	return 1;
}

static const char *user(const struct settings *settings)
{
	return settings->policy.user;
}

static size_t workers(const struct settings *settings)
{
	return (size_t)settings->policy.workers;
}

static size_t max_connections(const struct settings *settings)
{
	return (size_t)settings->policy.max_connections;
}

int main(int argc, char **argv)
{
	static const struct daemon_program program = {
		.name = "policyd",
		.synopsis = "",
		.state_open = state_open,
		.state_free = state_free,
		.state_check = state_check,
		.listeners = listeners,
		.user = user,
		.workers = workers,
		.max_connections = max_connections,
		.idle_ms = 0, /* Postfix pays a second for a connection that we closed */
	};

	return daemon_main(&program, argc, argv);
}
