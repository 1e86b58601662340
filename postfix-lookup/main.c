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

static size_t listeners(const struct settings *settings, struct daemon_listener listeners_r[4],
			struct error *err)
{
	if (*settings->lookup.listen == '\0') {
		error_set(err, "[lookup] listen is empty: name a socket or HOST:PORT");
		return 0;
	}
	listeners_r[0] = (struct daemon_listener){
		.endpoints = settings->lookup.listen,
		.mode = {.mode = (mode_t)settings->lookup.socket_mode,
			 .group = settings->lookup.socket_group},
		.service = &lookup_service,
	};
	return 1;
}

static const char *user(const struct settings *settings)
{
	return settings->lookup.user;
}

static size_t workers(const struct settings *settings)
{
	return (size_t)settings->lookup.workers;
}

static size_t max_connections(const struct settings *settings)
{
	return (size_t)settings->lookup.max_connections;
}

int main(int argc, char **argv)
{
	static const struct daemon_program program = {
		.name = "postfix-lookup",
		.synopsis = "",
		.state_open = lookup_open,
		.state_free = lookup_free,
		.state_check = lookup_check,
		.listeners = listeners,
		.user = user,
		.workers = workers,
		.max_connections = max_connections,
		.idle_ms = IDLE_MS,
	};

	return daemon_main(&program, argc, argv);
}
