/*
 * NAME
 *	daemon - what every daemon does besides its protocol
 *
 * DESCRIPTION
 *	Start: options, configuration, log, sockets, account, state, workers, READY=1. The sockets
 *	are made before privileges are dropped, the state after it, so that every file is opened as
 *	the account that will open it again.
 *
 *	The main thread then waits for signals. SIGHUP builds and checks new settings and a new
 *	state; if they are good, a thread swaps the state in every engine and waits until no request
 *	uses the old one, while the main thread can still be told to end. Options that a reload
 *	cannot change keep their values and are named in the log. READY=1 is sent again when the old
 *	state is gone.
 *
 *	SIGTERM and SIGINT: requests under way are finished for up to ten seconds.
 *
 * BUGS
 *	A reload reads the configuration as the account of the daemon, which must be allowed to.
 *	With several listeners each has the full number of workers.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "common/daemon.h"

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/identity.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/notify.h"
#include "common/owner.h"
#include "common/sql.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

#define DRAIN_MS  10000
#define SPARE_FDS 256 /* database handles, files, log */

struct listener {
	const struct service *service;
	struct endpoint_mode mode;
	struct endpoint *endpoints;
	size_t count;
	struct serve *serve;
};

struct daemon {
	const struct daemon_program *program;
	const char *file;
	struct settings *settings;
	void *state;
	struct daemon_plan plan; /* of the settings at the start; a reload frees their strings */
	struct listener listeners[DAEMON_LISTENERS_MAX];
	size_t listener_count;
	pthread_t main_thread;

	pthread_t reload_thread;
	bool reloading;    /* reload_thread must be joined */
	bool reload_again; /* SIGHUP came meanwhile */
	_Atomic bool reload_done;
	struct settings *old_settings;
	void *old_state;
};

static struct metric build_info = {
	.name = "postern_build_info",
	.help = "Always 1; the labels tell program and version.",
	.type = "gauge",
	.value = 1,
};
static struct metric reloads_ok = {
	.name = "postern_config_reloads_total",
	.labels = "result=\"ok\"",
	.help = "Reloads of the configuration.",
	.type = "counter",
};
static struct metric reloads_failed = {
	.name = "postern_config_reloads_total",
	.labels = "result=\"failed\"",
	.help = "Reloads of the configuration.",
	.type = "counter",
};

enum action { ACTION_RUN, ACTION_CHECK, ACTION_DUMP, ACTION_VERSION, ACTION_HELP, ACTION_BAD };

static void print_usage(const struct daemon_program *program, FILE *out)
{
	fprintf(out,
		"usage: %s [-c FILE] [--check | --dump-config | --version | --help]\n"
		"  -c FILE        configuration (default " SETTINGS_DEFAULT_FILE ")\n"
		"  --check        read and check the configuration, ask the database once, leave\n"
		"  --dump-config  print the effective configuration\n"
		"  --version      version and database drivers\n"
		"  --help         this text\n%s",
		program->name, program->synopsis ? program->synopsis : "");
}

static enum action parse_options(struct daemon *daemon, int argc, char **argv)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, 'k'},
		{"dump-config", no_argument, NULL, 'd'},  {"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
	};
	enum action action = ACTION_RUN;
	int option;
	optind = 1;
	while ((option = getopt_long(argc, argv, "c:h", longs, NULL)) != -1) {
		switch (option) {
		case 'c':
			daemon->file = optarg;
			break;
		case 'k':
			action = ACTION_CHECK;
			break;
		case 'd':
			action = ACTION_DUMP;
			break;
		case 'v':
			return ACTION_VERSION;
		case 'h':
			return ACTION_HELP;
		default:
			return ACTION_BAD;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "%s: unexpected argument \"%s\"\n", daemon->program->name,
			argv[optind]);
		return ACTION_BAD;
	}
	return action;
}

static int exit_code(enum result result)
{
	switch (result) {
	case RESULT_FOUND:
		return EX_OK;
	case RESULT_TEMP:
		return EX_TEMPFAIL;
	default:
		return EX_CONFIG;
	}
}

static void settings_release(struct settings **settings)
{
	if (*settings != NULL)
		settings_free(*settings);
	free(*settings);
	*settings = NULL;
}

/* The mistakes, one a line, are appended to MISTAKES. */
static enum result read_settings(const char *file, struct settings **settings_r,
				 struct buf *mistakes, struct error *err)
{
	*settings_r = NULL;
	struct settings *settings = calloc(1, sizeof(*settings));
	if (settings == NULL)
		return result_error(err, RESULT_TEMP, "out of memory");
	enum result result = settings_load(file, settings, mistakes, err);
	if (result != RESULT_FOUND) {
		free(settings);
		return result;
	}
	*settings_r = settings;
	return RESULT_FOUND;
}

static void print_lines(const char *name, const char *lines)
{
	while (*lines != '\0') {
		size_t len = strcspn(lines, "\n");
		fprintf(stderr, "%s: %.*s\n", name, (int)len, lines);
		lines += len + (lines[len] == '\n');
	}
}

static int start_settings(struct daemon *daemon)
{
	struct buf mistakes = BUF_INIT;
	struct error err = {""};
	enum result result = read_settings(daemon->file, &daemon->settings, &mistakes, &err);
	if (result != RESULT_FOUND)
		print_lines(daemon->program->name,
			    mistakes.len > 0 ? buf_str(&mistakes) : err.text);
	buf_free(&mistakes);
	return result == RESULT_TEMP ? EX_OSERR : exit_code(result);
}

static int dump_settings(const struct daemon *daemon)
{
	struct buf text = BUF_INIT;
	conf_dump(&settings_table, daemon->settings, &text);
	bool ok = buf_ok(&text) && fputs(buf_str(&text), stdout) >= 0 && fflush(stdout) == 0;
	buf_free(&text);
	return ok ? EX_OK : EX_OSERR;
}

static enum result make_plan(struct daemon *daemon, struct error *err)
{
	enum result result = daemon->program->plan(daemon->settings, &daemon->plan, err);
	if (result != RESULT_FOUND)
		return result;
	for (size_t i = 0; i < daemon->plan.listener_count; i++) {
		const struct daemon_listener *planned = &daemon->plan.listeners[i];
		struct listener *listener = &daemon->listeners[daemon->listener_count];
		result = endpoint_parse(planned->endpoints, &listener->endpoints, &listener->count,
					err);
		if (result != RESULT_FOUND)
			return result;
		if (listener->count == 0)
			continue;
		listener->service = planned->service;
		listener->mode = planned->mode;
		daemon->listener_count++;
	}
	if (daemon->listener_count == 0)
		return result_error(err, RESULT_PERM, "no endpoint to listen on is configured");
	return RESULT_FOUND;
}

static enum result open_listeners(struct daemon *daemon, struct error *err)
{
	for (size_t i = 0; i < daemon->listener_count; i++) {
		struct listener *listener = &daemon->listeners[i];
		for (size_t k = 0; k < listener->count; k++) {
			enum result result =
				endpoint_listen(&listener->endpoints[k], &listener->mode, err);
			if (result != RESULT_FOUND)
				return result;
		}
	}
	return RESULT_FOUND;
}

static void free_listeners(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->listener_count; i++)
		endpoint_free(&daemon->listeners[i].endpoints, daemon->listeners[i].count, true);
	daemon->listener_count = 0;
}

/* Becomes the configured account if we are root; otherwise that is what --check can do. */
static enum result become_user(const struct daemon *daemon, struct error *err)
{
	const struct daemon_plan *plan = &daemon->plan;
	uid_t uid;
	gid_t gid;
	if (plan->user[0] == '\0')
		return RESULT_FOUND;
	if (!plan->keeps_identities || geteuid() != 0)
		return daemon_drop_privileges(plan->user, err);
	enum result result = owner_parse(plan->user, &uid, &gid, err);
	if (result != RESULT_FOUND)
		return result;
	return identity_keep(uid, gid, err);
}

static enum result open_state(struct daemon *daemon, struct error *err)
{
	enum result result = daemon->program->state_open(daemon->settings, &daemon->state, err);
	if (result != RESULT_FOUND)
		daemon->state = NULL;
	return result;
}

static enum result check_state(struct daemon *daemon, struct error *err)
{
	enum result result = open_state(daemon, err);
	if (result == RESULT_FOUND && daemon->program->state_check != NULL)
		result = daemon->program->state_check(daemon->state, err);
	return result;
}

static int run_check(struct daemon *daemon)
{
	struct error err = {""};
	int code = EX_OK;
	enum result result = make_plan(daemon, &err);
	if (result == RESULT_FOUND) {
		result = become_user(daemon, &err);
		code = result == RESULT_FOUND ? EX_OK : EX_OSERR;
	}
	if (result == RESULT_FOUND)
		result = check_state(daemon, &err);
	if (code == EX_OK)
		code = exit_code(result);
	if (result == RESULT_FOUND)
		printf("%s: configuration and database are usable\n", daemon->file);
	else
		fprintf(stderr, "%s: %s: %s\n", daemon->program->name, daemon->file, err.text);
	return code;
}

static void raise_descriptor_limit(size_t wanted)
{
	struct rlimit limit;
	wanted += SPARE_FDS;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	rlim_t before = limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (geteuid() == 0 && limit.rlim_max < wanted)
		limit.rlim_cur = limit.rlim_max = wanted;
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= wanted)
		return;
	log_warning("fewer descriptors than connections limit=%llu wanted=%zu do=<raise "
		    "LimitNOFILE, or lower max_connections>",
		    (unsigned long long)(limit.rlim_cur < before ? before : limit.rlim_cur),
		    wanted);
}

static void start_metrics(struct daemon *daemon)
{
	static char labels[160];
	struct error err = {""};
	snprintf(labels, sizeof(labels), "program=\"%s\",version=\"%s\"", daemon->program->name,
		 PACKAGE_VERSION);
	build_info.labels = labels;
	metrics_register(&build_info);
	metrics_register(&reloads_ok);
	metrics_register(&reloads_failed);
	/* Mail goes on without them. */
	if (metrics_start(daemon->settings->metrics.listen, &err) != RESULT_FOUND)
		log_error("metrics not served error=<%s>", err.text);
}

static enum result start_engines(struct daemon *daemon, struct error *err)
{
	for (size_t i = 0; i < daemon->listener_count; i++) {
		struct listener *listener = &daemon->listeners[i];
		const struct serve_config config = {
			.service = listener->service,
			.endpoints = listener->endpoints,
			.endpoint_count = listener->count,
			.workers = (size_t)daemon->plan.workers,
			.max_connections = (size_t)daemon->plan.max_connections,
			.idle_ms = daemon->program->idle_ms,
			.state = daemon->state,
		};
		enum result result = serve_start(&config, &listener->serve, err);
		if (result != RESULT_FOUND)
			return result;
	}
	return RESULT_FOUND;
}

static void *reload_main(void *argument)
{
	struct daemon *daemon = argument;
	for (size_t i = 0; i < daemon->listener_count; i++)
		serve_reload(daemon->listeners[i].serve, daemon->state);
	daemon->reload_done = true;
	pthread_kill(daemon->main_thread, SIGUSR1);
	return NULL;
}

/* One log line for each line of TEXT. */
static void log_lines(enum log_level level, const char *what, const struct buf *text)
{
	const char *line = buf_str(text);
	while (*line != '\0') {
		size_t len = strcspn(line, "\n");
		log_event(level, "%s=<%.*s>", what, (int)len, line);
		line += len + (line[len] == '\n');
	}
}

static void keep_fixed_options(const struct settings *before, struct settings *after)
{
	struct buf changed = BUF_INIT;
	if (!conf_reloadable(&settings_table, before, after, &changed))
		log_lines(LOG_LEVEL_WARNING, "option unchanged until a restart option", &changed);
	buf_free(&changed);
	conf_keep(&settings_table, before, after);
}

/* New settings and a checked state on top of them, or why not. */
static enum result build_reload(struct daemon *daemon, struct settings **settings_r, void **state_r,
				struct error *err)
{
	const struct daemon_program *program = daemon->program;
	struct buf mistakes = BUF_INIT;
	enum result result = read_settings(daemon->file, settings_r, &mistakes, err);
	log_lines(LOG_LEVEL_ERROR, "configuration mistake text", &mistakes);
	buf_free(&mistakes);
	if (result != RESULT_FOUND)
		return result;
	keep_fixed_options(daemon->settings, *settings_r);
	result = program->state_open(*settings_r, state_r, err);
	if (result == RESULT_FOUND && program->state_check != NULL) {
		result = program->state_check(*state_r, err);
		if (result != RESULT_FOUND)
			program->state_free(*state_r);
	}
	if (result != RESULT_FOUND)
		settings_release(settings_r);
	return result;
}

static void end_reload(struct daemon *daemon)
{
	if (!daemon->reloading)
		return;
	pthread_join(daemon->reload_thread, NULL);
	daemon->program->state_free(daemon->old_state);
	settings_release(&daemon->old_settings);
	daemon->reloading = false;
	metric_add(&reloads_ok, 1);
	log_info("configuration reloaded file=%s", daemon->file);
}

static void begin_reload(struct daemon *daemon)
{
	struct settings *settings;
	void *state = NULL;
	struct error err = {""};
	notify_reloading();
	if (build_reload(daemon, &settings, &state, &err) != RESULT_FOUND) {
		metric_add(&reloads_failed, 1);
		log_error("configuration not reloaded, the old one stays error=<%s>", err.text);
		notify_send("READY=1");
		return;
	}
	daemon->old_settings = daemon->settings;
	daemon->old_state = daemon->state;
	daemon->settings = settings;
	daemon->state = state;
	daemon->reload_done = false;
	daemon_log_level(settings);
	int code = pthread_create(&daemon->reload_thread, NULL, reload_main, daemon);
	if (code == 0) {
		daemon->reloading = true;
		return;
	}
	daemon->settings = daemon->old_settings;
	daemon->state = daemon->old_state;
	daemon_log_level(daemon->settings);
	daemon->program->state_free(state);
	settings_release(&settings);
	metric_add(&reloads_failed, 1);
	log_error("configuration not reloaded, the old one stays error=<%s>", strerror(code));
	notify_send("READY=1");
}

static void handle_signals(struct daemon *daemon, const sigset_t *signals)
{
	for (;;) {
		int signal_number;
		if (sigwait(signals, &signal_number) != 0)
			continue;
		if (signal_number == SIGTERM || signal_number == SIGINT)
			return;
		if (signal_number == SIGHUP && daemon->reloading)
			daemon->reload_again = true;
		else if (signal_number == SIGHUP)
			begin_reload(daemon);
		else if (daemon->reloading && daemon->reload_done) {
			end_reload(daemon);
			notify_send("READY=1");
			if (daemon->reload_again)
				begin_reload(daemon);
			daemon->reload_again = false;
		}
	}
}

static void stop(struct daemon *daemon)
{
	struct deadline deadline = deadline_in(DRAIN_MS);
	for (size_t i = 0; i < daemon->listener_count; i++)
		if (daemon->listeners[i].serve != NULL)
			serve_drain(daemon->listeners[i].serve, deadline_left_ms(deadline));
	end_reload(daemon);
	for (size_t i = 0; i < daemon->listener_count; i++)
		serve_stop(&daemon->listeners[i].serve, 0);
}

/* From root with sockets to READY=1. */
static int start(struct daemon *daemon)
{
	struct error err = {""};
	int code = EX_OSERR;
	enum result result = sql_library_begin(&err);
	if (result == RESULT_FOUND) {
		result = make_plan(daemon, &err);
		if (result == RESULT_PERM)
			code = EX_CONFIG;
	}
	if (result == RESULT_FOUND) {
		raise_descriptor_limit(
			(size_t)daemon->plan.max_connections * daemon->listener_count +
			(size_t)(daemon->plan.workers * daemon->plan.worker_descriptors));
		result = open_listeners(daemon, &err);
	}
	if (result == RESULT_FOUND) {
		start_metrics(daemon);
		result = become_user(daemon, &err);
	}
	if (result == RESULT_FOUND) {
		result = open_state(daemon, &err);
		if (result == RESULT_PERM)
			code = EX_CONFIG;
		if (result == RESULT_FOUND)
			result = start_engines(daemon, &err);
	}
	if (result == RESULT_FOUND)
		return EX_OK;
	log_error("not started program=%s error=<%s>", daemon->program->name, err.text);
	return code;
}

static int run(struct daemon *daemon)
{
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	umask(077);
	daemon->main_thread = pthread_self();
	daemon_log_open(daemon->settings, daemon->program->name);

	int code = start(daemon);
	if (code == EX_OK) {
		log_info("started program=%s version=%s file=%s", daemon->program->name,
			 PACKAGE_VERSION, daemon->file);
		notify_send("READY=1");
		handle_signals(daemon, &signals);
		notify_send("STOPPING=1");
		log_info("stopping program=%s", daemon->program->name);
	}
	stop(daemon);
	metrics_stop();
	return code;
}

int daemon_main(const struct daemon_program *program, int argc, char **argv)
{
	struct daemon daemon = {.program = program, .file = SETTINGS_DEFAULT_FILE};
	enum action action = parse_options(&daemon, argc, argv);
	switch (action) {
	case ACTION_BAD:
		print_usage(program, stderr);
		return EX_USAGE;
	case ACTION_HELP:
		print_usage(program, stdout);
		return EX_OK;
	case ACTION_VERSION:
		daemon_print_version(program->name);
		return EX_OK;
	default:
		break;
	}
	int code = start_settings(&daemon);
	if (code != EX_OK)
		return code;
	if (action == ACTION_DUMP)
		code = dump_settings(&daemon);
	else
		code = action == ACTION_CHECK ? run_check(&daemon) : run(&daemon);
	if (daemon.state != NULL)
		program->state_free(daemon.state);
	free_listeners(&daemon);
	settings_release(&daemon.settings);
	return code;
}
