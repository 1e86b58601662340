/*
 * NAME
 *	postfix-lookup - Postfix's maps from the account database
 * SYNOPSIS
 *	postfix-lookup [-c FILE] [--check | --dump-config | --version | --help]
 * DESCRIPTION
 *	The table that makes lookup.c a daemon. See postfix-lookup(8).
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/daemon.h"
#include "postfix-lookup/lookup.h"

/*
 * Postfix closes idle connections after 10 s, but an smtpd that waits for its client keeps them
 * longer; closing one early costs it a reconnect, no error.
 */
#define IDLE_MS (15 * 60 * 1000)

static enum result plan(const struct settings *settings, struct daemon_plan *plan_r,
			struct error *err)
{
	if (settings->lookup.listen[0] == '\0')
		return result_error(err, RESULT_PERM,
				    "[lookup] listen is empty: name a socket or HOST:PORT");
	plan_r->listeners[plan_r->listener_count++] = (struct daemon_listener){
		.endpoints = settings->lookup.listen,
		.mode = {.mode = (mode_t)settings->lookup.socket_mode,
			 .group = settings->lookup.socket_group},
		.service = &lookup_service,
	};
	plan_r->user = settings->lookup.user;
	plan_r->workers = settings->lookup.workers;
	plan_r->max_connections = settings->lookup.max_connections;
	return RESULT_FOUND;
}

int main(int argc, char **argv)
{
	static const struct daemon_program program = {
		.name = "postfix-lookup",
		.synopsis = "",
		.state_open = lookup_open,
		.state_free = lookup_free,
		.state_check = lookup_check,
		.plan = plan,
		.idle_ms = IDLE_MS,
	};

	return daemon_main(&program, argc, argv);
}
