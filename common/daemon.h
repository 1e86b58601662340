/*
 * What every daemon does besides its protocol: options, configuration, log, listening, privileges,
 * signals, readiness, reload, drain. A program is a table (struct daemon_program) and short main.
 *
 *   -c FILE        configuration (default SETTINGS_DEFAULT_FILE)
 *   --check        read and check the configuration, open the database once, and leave
 *   --dump-config  print the effective configuration
 *   --version      version and drivers
 *   --help
 * Exit: 0; 64 usage; 78 configuration; 71 system (cannot listen, cannot drop privileges);
 * 75 --check found the database unreachable.
 * SIGHUP: build the new state, check it, then swap; or keep the old one and log why.
 * SIGTERM, SIGINT: drain and leave.
 */
#ifndef POSTERN_DAEMON_H
#define POSTERN_DAEMON_H

#include "common/serve.h"
#include "common/settings.h"

struct daemon_listener {
	const char *endpoints; /* of the settings */
	struct endpoint_mode mode;
	const struct service *service;
};

#define DAEMON_LISTENERS_MAX 2

/* What the settings ask for; points into them. */
struct daemon_plan {
	struct daemon_listener listeners[DAEMON_LISTENERS_MAX];
	size_t listener_count;
	const char *user; /* the account to run as, "" = stay; its supplementary groups are taken */
	int64_t workers, max_connections; /* of each listener */
	bool keeps_identities;            /* its threads may act as other users: identity_enter() */
	int64_t worker_descriptors;       /* that a worker may hold beside its connection */
};

struct daemon_program {
	const char *name;     /* "postfix-lookup" */
	const char *synopsis; /* for --help, after the common options; may be "" */
	/* Builds the shared state from settings (which outlive it). PERM or TEMP end the start;
	   TEMP from an unreachable database must not: the program serves TEMP until it is back. */
	enum result (*state_open)(const struct settings *settings, void **state_r,
				  struct error *err);
	void (*state_free)(void *state);
	/* --check and reload: a real round trip to the database. May be NULL. */
	enum result (*state_check)(void *state, struct error *err);
	/* PERM: no listener is configured. PLAN_R comes as zeros. */
	enum result (*plan)(const struct settings *settings, struct daemon_plan *plan_r,
			    struct error *err);
	int64_t idle_ms;
};

/* Everything, until SIGTERM; returns the exit code. */
int daemon_main(const struct daemon_program *program, int argc, char **argv) MUST_CHECK;

/* The parts that non-daemons (pipe agent, postern) share. */
void daemon_log_open(const struct settings *settings, const char *name);
/* The level only; safe while threads run. */
void daemon_log_level(const struct settings *settings);
/* setgroups/setgid/setuid, verified; a no-op when already that user; refuses uid 0 as a target. */
enum result daemon_drop_privileges(const char *owner, struct error *err) MUST_CHECK;
void daemon_print_version(const char *name);

#endif
